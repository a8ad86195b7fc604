# %% [markdown]
# # Decompose a tensor
#
# The weights of a KAN layer form a tensor with three modes, $W_{q p i}$: output, input, basis function. A matrix of low
# rank is told by its singular value decomposition; a tensor has three of them, one for every way of laying it out as a
# matrix. The Tucker decomposition puts the three together, and with it come adapters of low tensor rank and Slim KANs
# (Gao, Ng and Tan, arXiv 2502.06153; of that paper only the abstract could be read, what follows is standard multilinear
# algebra).
#
# **What you'll do.** Unfold a tensor by hand, decompose it three ways, bound the error from both sides before computing
# it, and look at what training changes in a layer.
#
# **What you'll learn**
#
# - unfoldings and mode products, and that refining a grid is one of them;
# - the higher-order SVD, its error bounds, and what iteration adds;
# - what training changes in a layer, and how far an adapter of low rank goes.
#
# **What you'll need.** The singular value decomposition; tutorial 03 (a layer).

# %%
import matplotlib.pyplot as plt
import numpy as np

from kanref import grids, lotra, objectives, optimize, tensors
from kanref.network import kan

plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
BLUE, RED, GREEN, INK = "#2a6fbb", "#c8442c", "#2e8b57", "#222222"

# %% [markdown]
# ## Step 1: three matrices from one tensor
#
# The unfolding $W_{(m)}$ along mode $m$ has the fibres of that mode as its columns. A mode product multiplies all of
# them by a matrix, $(W \times_m M)_{(m)} = M\, W_{(m)}$.

# %%
rng = np.random.default_rng(0)
W, M = rng.normal(size=(4, 3, 5)), rng.normal(size=(7, 5))
by_hand = np.stack([W[q, p] for q in range(4) for p in range(3)], 1)  # the fibres along the basis, as columns
assert np.array_equal(tensors.unfold(W, 2), by_hand)
assert np.allclose(tensors.unfold(tensors.mode_dot(W, M, 2), 2), M @ by_hand)

# %% [markdown]
# ## Step 2: refinement is a mode product
#
# Refining a grid is such a product along the basis, $W \times_3 R$ with the two-scale matrix $R$; so is a change of basis.
# Here is a layer before and after, and the same numbers by hand.

# %%
net = kan([3, 4], intervals=4, base=None)
theta = net.init(1)
fine, theta_fine = grids.refine(net, theta, exterior="fine")
coarse_W, fine_W = net.split(theta)["0.spline.W"], fine.split(theta_fine)["0.spline.W"]
R = np.linalg.lstsq(tensors.unfold(coarse_W, 2).T, tensors.unfold(fine_W, 2).T, rcond=None)[0].T
assert np.allclose(tensors.mode_dot(coarse_W, R, 2), fine_W)
print("W", coarse_W.shape, "times R", R.shape, "along the basis gives", fine_W.shape)

# %% [markdown]
# ## Step 3: the higher-order SVD
#
# Take the left singular vectors $U_m$ of each unfolding, keep $r_m$ of them, and rotate the tensor into them:
#
# $$ W \approx G \times_1 U_1 \times_2 U_2 \times_3 U_3, \qquad G = W \times_1 U_1^T \times_2 U_2^T \times_3 U_3^T. $$
#
# The tails $\tau_m$ of the squared singular values bound the squared error before it is known,
# $\max_m \tau_m \le \|W - T\|^2 \le \sum_m \tau_m$: no tensor of these ranks can be nearer than the left side.

# %%
shape = (24, 16, 12)
W = rng.normal(size=shape)
for mode, size in enumerate(shape):  # singular values that fall, as those of real weights do
    W = tensors.mode_dot(W, np.diag(0.7 ** np.arange(size)) @ np.linalg.qr(rng.normal(size=(size, size)))[0], mode)
norm, ranks = np.linalg.norm(W), np.arange(1, 13)
rows = []
for rank in ranks:
    tau = tensors.tails(W, (rank,) * 3)
    error = [np.linalg.norm(W - tensors.tucker(*method(W, rank))) for method in (tensors.hosvd, tensors.st_hosvd, tensors.hooi)]
    assert np.sqrt(tau.max()) * (1 - 1e-9) - 1e-12 <= min(error) and error[0] <= np.sqrt(tau.sum()) + 1e-12
    assert error[2] <= error[0] * (1 + 1e-12) + 1e-12, "the iteration never is worse"
    rows.append((np.sqrt(tau.max()), *error, np.sqrt(tau.sum())))
least, hosvd, sequential, iterated, most = np.array(rows).T / norm

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for mode, (s, colour) in enumerate(zip(tensors.singular_values(W), (BLUE, RED, GREEN))):
    left.semilogy(np.arange(1, len(s) + 1), s / s[0], "o-", ms=3, color=colour, label=f"mode {mode + 1}")
left.set(title="singular values of the unfoldings", xlabel="index")
left.legend()
right.fill_between(ranks, least, np.maximum(most, 1e-16), color="#dddddd", label="between the bounds")
right.semilogy(ranks[:-1], hosvd[:-1], "o-", ms=3, color=BLUE, label="HOSVD")
right.semilogy(ranks[:-1], iterated[:-1], "x", color=RED, label="iterated (HOOI)")
right.set(title="relative error at equal ranks", xlabel="rank", ylim=(1e-3, 1))
right.legend()
plt.show()

# %% [markdown]
# ## Step 4: what does training change?
#
# Train a network on one function, then go on with a similar one, as somebody does who has solved one equation and needs
# the next. The difference of the weights, not the weights, is what an adapter has to hold.

# %%
X = rng.uniform(-1, 1, (600, 2))
first, second = (np.sin(np.pi * a * X[:, 0]) * np.cos(np.pi * X[:, 1]) for a in (1.0, 1.2))
net = kan([2, 8, 8, 1], intervals=5, base=None, outside="linear")
trained = optimize.lbfgs(objectives.mse(net, X, first), net.init(0), steps=150).theta
tuned = optimize.lbfgs(objectives.mse(net, X, second), trained, steps=150).theta
name = "1.spline.W"
parts = {"weights": net.split(trained)[name], "update": net.split(tuned)[name] - net.split(trained)[name]}

figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, (what, A) in zip(axes, parts.items()):
    for mode, (s, colour) in enumerate(zip(tensors.singular_values(A), (BLUE, RED, GREEN))):
        axis.semilogy(np.arange(1, len(s) + 1), s / s[0], "o-", ms=3, color=colour, label=("out", "in", "basis")[mode])
    axis.set(title=f"{what} of the middle layer, {A.shape}", xlabel="index")
    axis.legend()
axes[0].set_ylabel("singular values, relative")
plt.show()
for what, A in parts.items():
    kept = {r: np.square(tensors.hosvd(A, r)[0]).sum() / np.square(A).sum() for r in (1, 2, 4)}  # |core|^2 / |A|^2
    print(f"{what}: share of the square kept at ranks", {r: round(float(s), 2) for r, s in kept.items()})

# %% [markdown]
# A layer of 8 x 8 edges has little room for a low rank: neither tensor is one here. Whether few directions of the update are
# what matters is another question, which the next step asks.
#
# ## Step 5: an adapter instead of all weights
#
# Freeze the trained network and train adapters of ranks (4, 4, 4) alone. They start at exactly the frozen network.

# %%
new, vector = lotra.adapt(net, trained, 4)
assert np.array_equal(new(vector, X), lotra.freeze(net, trained)[0](np.zeros(0), X))
adapted = optimize.lbfgs(objectives.mse(new, X, second), vector, steps=150)
before, after = objectives.mse(net, X, second).value(trained), adapted.value
print(f"{new.size} of {net.size} numbers trained: mean squared error {before:.1e} -> {after:.1e}")
assert after < before / 100
merged, whole = lotra.merge(new, adapted.theta)
assert np.allclose(merged(whole, X), new(adapted.theta, X), rtol=0, atol=1e-13)

# %% [markdown]
# ## In practice
#
# `tensors.hosvd(W, ranks)` takes ranks, a tolerance or a share of energy; `tensors.hooi` improves a little on it. Adapters are
# made by `lotra.adapt`, taken off and kept in small files by `kanref.adapters`, and merged by `lotra.merge`, after which the
# network costs what it did before.
#
# ## On your own
#
# 1. Decompose the update by tolerance, `tensors.hosvd(A, tolerance=0.1)`: which mode needs the largest rank?
# 2. Replace the weights of the trained network by `kanref.slim.slimmed(net, trained, energy=0.99)`, look at the error; then
#    train the slim network for fifty steps.
