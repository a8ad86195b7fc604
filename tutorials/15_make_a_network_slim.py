# %% [markdown]
# # Make a network slim
#
# A layer with $P$ inputs, $Q$ outputs and $K$ functions on every edge has $Q P K$ numbers. A Slim KAN (Gao, Ng and Tan, arXiv
# 2502.06153; of that paper only the abstract could be read, the rest is a reconstruction) has a Tucker tensor in their place,
#
# $$ W = G \times_1 U_{out} \times_2 U_{in} \times_3 U_{basis}, $$
#
# and trains its four parts, $r_{out} r_{in} r_{basis} + Q r_{out} + P r_{in} + K r_{basis}$ numbers.
#
# **What you'll do.** Train a wide network, look at its singular values, cut it, train it on; train a slim one from nothing;
# and choose the ranks from a table of error against parameters.
#
# **What you'll learn**
#
# - why a trained tensor does not look as if it could be cut, and why it can be;
# - how a Slim network has to begin;
# - what fewer numbers are good for, and what they do not buy.
#
# **What you'll need.** Tutorial 13 (decompose a tensor), tutorial 04 (training a network).

# %%
from time import process_time

import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import objectives, slim, tensors
from kanref.multilevel.nested import least_squares
from kanref.network import kan

plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
BLUE, RED, GREEN, INK = "#2a6fbb", "#c8442c", "#2e8b57", "#222222"

# %% [markdown]
# ## Step 1: a wide network
#
# The target is a spherical harmonic, $\sin\theta \cos\theta \cos\varphi$, on the whole sphere; the network $[2, 16, 16, 1]$ with
# 8 cubic splines on every edge. It has more numbers than there are points.

# %%
rng = np.random.default_rng(0)
harmonic = lambda X: np.sin(np.pi * (X[:, 1] + 1) / 2) * np.cos(np.pi * (X[:, 1] + 1) / 2) * np.cos(np.pi * (X[:, 0] + 1))
train, held = (rng.uniform(-1, 1, (n, 2)) for n in (800, 2000))
loss = lambda net: objectives.mse(net, train, harmonic(train))
error = lambda net, theta: objectives.mse(net, held, harmonic(held)).value(theta) ** 0.5

net = kan([2, 16, 16, 1], intervals=5, base=None, outside="linear")
theta0 = net.init(0)
full = kanref.lbfgs(loss(net), theta0, steps=600, history=50)
print(net)
print(f"root mean square error on {len(held)} other points: {error(net, full.theta):.1e}")
assert net.size == 304 * 8 and error(net, full.theta) < 3e-3

# %% [markdown]
# ## Step 2: can it be cut?
#
# A low rank would show as singular values that fall quickly. They do not: the middle layer looks as full as can be.

# %%
name = "1.spline.W"
begun, trained = (np.ascontiguousarray(net.split(theta)[name]) for theta in (theta0, full.theta))
parts = {"trained weights": trained, "what they began with": begun, "their difference": trained - begun}
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), sharey=True)
for axis, (what, A) in zip(axes, parts.items()):
    for mode, s, colour in zip(("out", "in", "basis"), tensors.singular_values(A), (BLUE, RED, GREEN)):
        axis.semilogy(np.arange(1, len(s) + 1), s / np.linalg.norm(trained), "o-", ms=3, color=colour, label=mode)
    axis.set(title=what, xlabel="index", xticks=(1, 4, 8, 12, 16))
axes[0].set_ylabel("singular values")
axes[0].legend()
plt.show()

# %% [markdown]
# Most of what is there is what it began with: 16 x 16 straight lines of random slope, of full rank in the outputs and inputs,
# and of rank 1 in the basis. Training had no reason to remove them. Cutting takes from them and from what was learned
# alike, and nothing is left of the function:

# %%
cut, few = slim.slimmed(net, full.theta, 4)
tau = tensors.tails(trained, (4, 4, 4))
kept = 1 - tau / np.square(trained).sum()
print(f"{net.size} -> {cut.size} numbers; of the square of the middle layer's weights are kept, by mode:", kept.round(2))
print(f"error {error(net, full.theta):.1e} -> {error(cut, few):.1e}")
assert error(cut, few) > 50 * error(net, full.theta)

# %% [markdown]
# ## Step 3: train it on
#
# Nearest in the sum of squares is not nearest in function. But it is a start, and a good one. Now that there are few numbers,
# Levenberg-Marquardt is cheap: its steps cost like the square of their number.

# %%
began = process_time()
tuned = kanref.levenberg_marquardt(loss(cut).residuals, few, steps=40)
seconds = process_time() - began
print(f"40 steps: error {error(cut, few):.1e} -> {error(cut, tuned.theta):.1e}, in {seconds:.1f} processor seconds")
assert error(cut, tuned.theta) < 0.02 * error(cut, few)

# %% [markdown]
# ## Step 4: slim from the start
#
# Need there be a full network at all? `slim.slim` puts Tucker weights into the same network. How they begin matters.
# Columns of $U_{basis}$ are functions, $g_c(x) = \sum_i U_{basis}[i, c]\, b_i(x)$. Were all four parts normal, so that outputs
# have variance 1, these functions would be wiggly, all of them would count alike, and many hidden values would leave the
# knots. `slim.slim` takes Legendre polynomials, nearly all of the first, orthogonal columns for the other modes, and keeps the
# variance of the inputs, 1/3.

# %%
small, smooth = slim.slim(net, 4, seed=0)
wiggly = smooth.copy()
for l, layer in enumerate(small.layers):
    parts, (r_out, r_in, r_basis) = small.split(wiggly), layer.terms["spline"].weights.ranks
    variances = {"core": 1 / (r_in * r_basis), "U_out": 1 / r_out, "U_in": 1 / layer.inputs}
    variances["U_basis"] = 1 / 0.479  # the mean over x of sum_i b_i(x)^2 for cubic splines
    for part, variance in variances.items():
        A = parts[f"{l}.spline.{part}"]
        A[...] = rng.normal(0, variance**0.5, A.shape)

grid = np.linspace(-1, 1, 200)
basis = net.layers[0].terms["spline"].basis.dense(np.stack([grid, grid], 1))[:, 0]
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9))
runs = {}
for axis, (what, theta, colour) in zip(axes, (("smooth", smooth, BLUE), ("wiggly", wiggly, RED))):
    axis.plot(grid, basis @ small.split(theta)["0.spline.U_basis"], color=colour, lw=1.2)
    axis.set(title=f"{what}: the functions of layer 0", xlabel="x")
    rough = kanref.lbfgs(loss(small), theta, steps=100, history=50)
    runs[what] = kanref.levenberg_marquardt(loss(small).residuals, rough.theta, steps=40)
    values = np.r_[rough.history.value, 2 * runs[what].history.value] ** 0.5
    axes[2].semilogy(values, color=colour, label=what)
axes[2].axhline(loss(net).value(full.theta) ** 0.5, color=INK, lw=0.8, ls="--", label="full, 600 steps")
axes[2].set(title="training error", xlabel="steps, from 100 on of Levenberg-Marquardt")
axes[2].legend()
plt.show()
for what, result in runs.items():
    print(f"{what}: error {error(small, result.theta):.1e}")
assert error(small, runs["smooth"].theta) < 0.5 * error(small, runs["wiggly"].theta)

# %% [markdown]
# ## Step 5: choose the ranks
#
# Nobody knows the ranks beforehand. `slim.choices` cuts the trained network at several of them, trains each on, and prints a
# table. Ranks may differ from layer to layer and mode to mode; a number stands for all three, cut to the sizes.

# %%
ranks = [1, 2, 3, 4, {0: (8, 2, 4), 1: 3, 2: 3}]
table = slim.choices(net, full.theta, loss, ranks, minimise=least_squares(25), measure=error)
print(table)
sizes, after = [row.net.size for row in table.rows], [row.after for row in table.rows]
assert after[3] < after[1] < after[0]

# %%
figure, axis = plt.subplots(figsize=(5.5, 3.2))
axis.loglog(sizes, [row.before for row in table.rows], "x", color=RED, label="cut")
axis.loglog(sizes, after, "o", color=BLUE, label="cut, then 25 steps")
axis.loglog(small.size, error(small, runs["smooth"].theta), "D", color=GREEN, label="slim from the start")
axis.loglog(net.size, table.error, "s", color=INK, label="full")
for row, size in zip(table.rows[:4], sizes):
    axis.annotate(f"r = {row.ranks}", (size, row.after), xytext=(5, 5), textcoords="offset points", fontsize=8)
axis.set(title="error against parameters", xlabel="numbers trained", ylabel="error on other points")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## What it buys, and what not
#
# Five times fewer numbers reach about the error of the full network, at about the same work: fewer numbers are harder to train
# by gradients alone (equal steps of L-BFGS leave a Slim network several times behind), but allow a better method. Memory,
# files, and steps at wide layers are where it pays: a layer of 256 inputs and outputs at rank 8 costs a fraction of the full
# one's step. And for so smooth a function an MLP of as many numbers is a rival; `kanref reproduce slim` has all of them on
# fifteen special functions.
#
# ## In practice
#
# - `slim.slimmed(net, theta, energy=0.99)` chooses the ranks itself, `slim.slim(net, {1: 4})` makes one layer slim.
# - Train a Slim network by Levenberg-Marquardt where there are few numbers and residuals, else give L-BFGS a long history.
# - The result is a network like any other: it can be refined, frozen, adapted, saved.
#
# ## On your own
#
# 1. Start the full network from `lotra.merge(*slim.slim(net, 4))`, train it, and look at the singular values again. What does
#    the cut cost now?
# 2. Which mode needs its rank most? Try (2, 4, 4), (4, 2, 4) and (4, 4, 2) in the middle layer.
# 3. Write $W$ as a matrix of low rank instead, by unfolding it along the outputs. What does it need for the same error?
