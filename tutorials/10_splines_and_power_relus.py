# %% [markdown]
# # The same function as splines and as power ReLUs
#
# A spline of degree $d$ with knots $t_j$ can be written in two ways:
#
# $$f(x) = \sum_i u_i\, B_i(x) = \sum_j w_j\, \mathrm{ReLU}(x - t_j)^d .$$
#
# On the left, B-splines: the KAN. On the right, truncated powers: put many such edges together and you have a
# multilayer perceptron whose activation is a power of ReLU and whose biases are the knots. So far a fact from
# textbooks of spline theory. What follows from it is the subject of Southworth, Actor, Harper and Cyr (arXiv
# 2603.04827): *as functions* a KAN and such an MLP are the same, *for descent* they could hardly differ more.
#
# **What you'll do.** Compute the matrix between the two bases, carry networks from one to the other and back, and
# then train the same network twice, from the same start, by the same optimiser, in either basis.
#
# **What you'll learn**
#
# - the change of basis, its exact inverse, and how many digits a round trip costs;
# - that a KAN is an MLP, and an ordinary ReLU MLP is a KAN of linear splines;
# - why gradients depend on the basis although functions do not;
# - why a finer grid helps descent in splines, and does nothing for descent in power ReLUs.
#
# **What you'll need.** Tutorials 01 (B-splines) and 04 (networks); some linear algebra.

# %%
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import grids, objectives, optimize
from kanref.mlp import mlp, start
from kanref.multilevel.geometry import sign_changes, spectrum
from kanref.multilevel.relu_form import as_relus, as_splines, from_mlp, in_relus, to_mlp
from kanref.network import kan
from kanref.power_relu import PowerReLU, change_of_basis, differences, inverse, sums

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)
INK, BLUE, RED, GREEN, GOLD, PALE = "#222222", "#2a6fbb", "#c8442c", "#2e8b57", "#d9a441", "#b9c4d0"

# %% [markdown]
# ## Step 1: two bases of one space
#
# Cubics on five intervals of $[-1, 1]$. Eight B-splines, and as many powers, one for each of the first eight knots
# (three of them left of the domain). To keep numbers at a human size we measure $x$ in units of the knot spacing
# $h$: $\psi_j(x) = \mathrm{ReLU}((x - t_j)/h)^3$.

# %%
degree, n = 3, 5
splines = kanref.BSpline.uniform(1, n, degree)
knots = splines.knots[0]
powers = PowerReLU(splines.knots, degree)
x = np.linspace(-1, 1, 401)
B = splines.dense(x[:, None])[:, 0]
psi = powers.derivatives(x[:, None], 0)[1][0, :, 0]
assert B.shape == psi.shape == (401, 8)

figure, axes = plt.subplots(1, 2, figsize=(10, 3))
axes[0].plot(x, B, lw=1.2)
axes[0].set(title="B-splines: local, between 0 and 1", xlabel="x")
axes[1].semilogy(x, np.maximum(psi, 1e-3), lw=1.2)
axes[1].set(title="power ReLUs: one-sided, up to hundreds", xlabel="x", ylim=(1e-3, 1e3))
plt.show()

# %% [markdown]
# Both sets span the same functions. Differentiate a cubic B-spline three times and it is a staircase; its jumps at
# the knots say how much of each $\psi_j$ is in it. For uniform knots these jumps are binomials: with the shift $S$
# (ones above the diagonal)
#
# $$B = A\,\psi, \qquad A = \frac{(I - S)^{d+1}}{d!}, \qquad A_{ij} = \frac{(-1)^{j-i}}{d!}\binom{d+1}{j-i}.$$
#
# A cubic B-spline is a *fourth difference* of powers. For knots that are not uniform, a recursion gives $A$
# (equation in `kanref.power_relu`). The inverse needs no elimination: it is Marsden's identity,
# $\psi_i = \sum_{j \ge i} \prod_{l=1}^{d} \frac{t_{j+l} - t_i}{h}\, B_j$.

# %%
A, A_inverse = change_of_basis(knots, degree), inverse(knots, degree)
print((6 * A).round(10).astype(int))
print(A_inverse.round(10).astype(int))
assert np.abs(B - psi @ A.T).max() < 1e-12
assert np.abs(6 * A - differences(8, 4)).max() < 1e-12
rational = [Fraction(k - degree) for k in range(len(knots))]  # the same code, in exact numbers
product = change_of_basis(rational, degree) @ inverse(rational, degree)
assert (product == np.eye(8, dtype=int)).all() and isinstance(product[0, 0], Fraction)

# %% [markdown]
# ## Step 2: what a round trip costs
#
# If $f = u \cdot B$ then $f = w \cdot \psi$ with $w = A^\top u$. Look at the sizes: entries of $A$ alternate in sign
# and are of order one, entries of $A^{-1}$ are positive and grow as $n^3$. To sum $w \cdot \psi$ is to add large
# numbers of both signs that nearly cancel. Rounding $w$ is the first loss, the sum the second:

# %%
rng = np.random.default_rng(0)
sizes, lost, condition = (5, 10, 20, 40, 80), [], []
for intervals in sizes:
    basis = kanref.BSpline.uniform(1, intervals, degree)
    u = rng.uniform(-1, 1, basis.size)
    w = u @ change_of_basis(basis.knots[0], degree)
    by_powers = PowerReLU(basis.knots, degree).derivatives(x[:, None], 0)[1][0, :, 0] @ w
    lost.append(np.abs(by_powers - basis.dense(x[:, None])[:, 0] @ u).max())
    condition.append(np.linalg.norm(differences(basis.size, 4), 2) * np.linalg.norm(sums(basis.size, 4), 2))
    print(f"{intervals:3d} intervals: condition of A {condition[-1]:.0e}, error of the sum {lost[-1]:.0e}")
assert lost[0] < 1e-12 and 1e-11 < lost[-1] < 1e-7
assert 3.3 < np.log2(condition[-1] / condition[-2]) < 4.1  # n^(degree + 1)

# %% [markdown]
# The condition grows as $n^{d+1}$. In float32 (seven digits) cubics on 80 intervals would be noise. So: *train* in
# whichever basis you like, but *evaluate* in splines. This is what `kanref.weights.InBasis` does: its array is $w$,
# its tensor is $A^{-\top} w$, and the layer never sees a power.
#
# ## Step 3: one network, four ways to write it
#
# `in_relus` puts the weights of a network into power ReLUs, `as_relus` writes the literal multichannel MLP, `to_mlp`
# an ordinary one, where every input of a layer is copied to $K$ units.

# %%
net = kan([2, 5, 1], intervals=6, base=None, domain=(-3, 3))
theta = net.init(0)
X = rng.uniform(-1, 1, (200, 2))
forms = {
    "B-splines": (net, theta),
    "weights in power ReLUs": in_relus(net, theta),
    "power ReLUs": as_relus(net, theta),
    "MLP": to_mlp(net, theta),
}
for name, (form, parameters) in forms.items():
    error = np.abs(form(parameters, X) - net(theta, X)).max()
    print(f"{name:23s} widths {list(form.widths)!s:15s} {form.size:5d} parameters, differs by {error:.0e}")
    assert error < 1e-11
assert np.abs(as_splines(*forms["power ReLUs"])[1] - theta).max() < 1e-11

# %% [markdown]
# The MLP has seven times the parameters for the same function: its matrices are copies of few rows and fixed
# biases. A KAN is an MLP with a very particular pattern. And the other way round? One ReLU for each input is a
# linear spline with one knot, at minus the bias:

# %%
perceptron = mlp([2, 6, 4, 1], "relu")
weights = start(perceptron, 1)
as_kan, coefficients = from_mlp(perceptron, weights)
print(as_kan)
far = 10 * rng.normal(size=(200, 2))
assert np.abs(as_kan(coefficients, far) - perceptron(weights, far)).max() < 1e-12

# %% [markdown]
# ## Step 4: the same descent in two bases
#
# Now fit one function by plain gradient descent, with one edge. Loss and function do not depend on the basis. The
# gradient does: by the chain rule $g_u = A\, g_w$, so that a step $w \leftarrow w - \eta\, g_w$ moves $u = A^{-\top} w$ by
#
# $$u \leftarrow u - \eta\, A^{-\top} A^{-1} g_u = u - \eta\, (A A^\top)^{-1} g_u .$$
#
# Descent in power ReLUs is descent in splines with a *preconditioner*. Both get the largest step that is safe,
# one over the largest eigenvalue of their Gram matrix.

# %%
f = np.sin(2 * np.pi * x) + 0.3 * np.abs(np.sin(5 * np.pi * x**2))


def descend(F, steps):
    """Weights after steps of gradient descent on 1/2 mean (F w - f)^2, and the root mean squared error on the way."""
    G = F.T @ F / len(x)
    w, eta, errors = np.zeros(F.shape[1]), 1 / np.linalg.eigvalsh(G)[-1], []
    for _ in range(steps):
        r = F @ w - f
        errors.append(np.sqrt(np.mean(r**2)))
        w = w - eta * F.T @ r / len(x)
    return w, np.array(errors)


runs = {}
for intervals in (8, 16, 32):
    basis = kanref.BSpline.uniform(1, intervals, degree)
    tables = basis.dense(x[:, None])[:, 0], PowerReLU(basis.knots, degree).derivatives(x[:, None], 0)[1][0, :, 0]
    best = np.sqrt(np.mean((tables[0] @ np.linalg.lstsq(tables[0], f)[0] - f) ** 2))
    for name, F in zip(("splines", "power ReLUs"), tables):
        values = np.linalg.eigvalsh(F.T @ F)
        runs[name, intervals] = F, *descend(F, 1000), (values > 1e-3 * values[-1]).sum()
        error, modes = runs[name, intervals][2][-1], runs[name, intervals][3]
        print(f"{intervals:2d} intervals, {name:11s}: error {error:.3f}, best possible {best:.3f}, {modes:2d} modes")
        assert (error < 1.2 * best) == (name == "splines")
assert runs["power ReLUs", 32][2][-1] > 0.95 * runs["power ReLUs", 8][2][-1] > 0.6

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.3))
for axis, name in zip(axes, ("splines", "power ReLUs")):
    axis.plot(x, f, color=INK, lw=0.8)
    for intervals, colour in zip((8, 16, 32), (GOLD, GREEN, BLUE)):
        F, w = runs[name, intervals][:2]
        axis.plot(x, F @ w, color=colour, lw=1.4, label=f"{intervals} intervals")
    axis.set(title=f"1000 steps in {name}", xlabel="x", ylim=(-1.3, 1.4))
    axis.legend(fontsize=8, loc="lower right")
for (name, intervals), (_, _, errors, _) in runs.items():
    colour = dict(zip((8, 16, 32), (GOLD, GREEN, BLUE)))[intervals]
    axes[2].loglog(np.arange(1, 1001), errors, "-" if name == "splines" else ":", color=colour)
axes[2].set(title="error against steps; dotted: power ReLUs", xlabel="step")
plt.show()

# %% [markdown]
# In splines, ten steps do most of the work, and a finer grid gives a better function. In power ReLUs a thousand steps
# find little more than a smooth curve, *the same curve on every grid*. The finer functions are all there
# (least squares finds them); descent does not get to them.
#
# ## Step 5: where the gradient goes
#
# $A$ is a difference of order $r = d + 1$, so $A A^\top$ is one of order $2 r$, a discrete version of the $2r$-th
# derivative. Its eigenvectors are ordered by their number of sign changes, from none for the smallest eigenvalue to
# $K - 1$ for the largest. (A theorem of Gantmacher and Krein, as all minors of $A^{-1}$ are nonnegative.) The preconditioner
# $(A A^\top)^{-1}$ turns this upside down: what is smooth in the knot index is enlarged $n^{2r}$ times as much as what
# oscillates.

# %%
size = 20
values, _, vectors = spectrum(differences(size, 4), sums(size, 4))
assert (sign_changes(vectors) == np.arange(size)).all()
print(f"(A A')^-1 enlarges the smoothest vector {values[-1] / values[0]:.0e} times as much as the roughest")
assert 6e9 < values[-1] / values[0] < 7e9

figure, axes = plt.subplots(1, 2, figsize=(10, 3.3))
for row, (k, colour) in enumerate(zip((0, 1, 4, size - 1), (BLUE, GREEN, GOLD, RED))):
    axes[0].axhline(-row, color=PALE, lw=0.6)
    axes[0].plot(0.45 * vectors[:, k] / np.abs(vectors[:, k]).max() - row, ".-", color=colour, lw=1)
    axes[0].text(-0.5, 0.15 - row, f"{k}", color=colour, ha="right")
axes[0].set(title="eigenvectors of AAᵀ, and their sign changes", xlabel="knot index", yticks=[], xlim=(-1.7, size))
for order, colour in zip((1, 2, 3, 4), (BLUE, GREEN, GOLD, RED)):
    spread = spectrum(differences(size, order), sums(size, order))[0]
    axes[1].semilogy(spread[0] / spread, ".-", color=colour, label=f"degree {order - 1}")
axes[1].set(title="weight of each in a step in power ReLUs", xlabel="sign changes")
axes[1].legend()
plt.show()

# %% [markdown]
# ## Step 6: refine and train
#
# This decides whether *multilevel training* works: train on a coarse grid, halve every interval (which keeps the
# function), go on. The new functions of a fine grid are the oscillating ones. Let us take the rotated target of
# the paper, a network whose first layer is a matrix, and L-BFGS. `in_relus` with `iterate` and `gradient` writes either
# geometry as weights; objective, optimiser and refinement do not know which one they work on.


# %%
def target(X):
    """cos(4 pi a) + sin(pi b) + sin(2 pi b) + |sin(3 pi b^2)| in coordinates rotated by 0.175."""
    c, s = np.cos(0.175), np.sin(0.175)
    a, b = c * X[:, 0] + s * X[:, 1], -s * X[:, 0] + c * X[:, 1]
    return np.cos(4 * np.pi * a) + np.sin(np.pi * b) + np.sin(2 * np.pi * b) + np.abs(np.sin(3 * np.pi * b**2))


X = np.random.default_rng(1).uniform(0, 1, (1000, 2))
y = target(X)
coarse = kan([2, 5, 1], intervals=5, base=None, first="linear", domain=(-3, 3), outside="linear")
losses, curves = {}, {}
for geometry in ("spline", "relu"):
    net, theta = in_relus(coarse, coarse.init(1), geometry, geometry)
    losses[geometry], curves[geometry] = [], []
    for level in range(4):
        if level:
            net, theta = grids.refine(net, theta)
        trace = []
        loss = objectives.mse(net, X, y)
        theta = optimize.lbfgs(loss, theta, steps=100, callback=lambda state, t=trace: t.append(state.value)).theta
        losses[geometry].append(loss.value(theta))
        curves[geometry] += trace
    print(f"{geometry:6s}", " -> ".join(f"{value:.1e}" for value in losses[geometry]))
assert all(b < a / 3 for a, b in zip(losses["spline"], losses["spline"][1:]))
assert losses["relu"][-1] > 0.5 * losses["relu"][0]

# %%
figure, axis = plt.subplots(figsize=(7.5, 3.4))
for (geometry, trace), colour in zip(curves.items(), (BLUE, RED)):
    axis.semilogy(trace, color=colour, label="in splines" if geometry == "spline" else "in power ReLUs")
for level in (1, 2, 3):
    axis.axvline(level * len(curves["spline"]) / 4, color=PALE, lw=1, zorder=0)
axis.set(title="5, 10, 20, 40 intervals by L-BFGS from the same start", xlabel="step", ylabel="mean squared error")
axis.legend()
plt.show()

# %% [markdown]
# Every refinement pays in splines. In power ReLUs the new freedom lies idle, although L-BFGS is no plain descent and
# builds a preconditioner of its own: a hundred steps are too few to undo ten orders of magnitude. In the words of the
# paper, coarse and fine grids of splines offer *complementary relaxation*, the principle of multigrid.
#
# ## Step 7: a trap on the way
#
# The paper's table has two more rows: iterate in one basis, but use the gradient of the other, for example
# $w \leftarrow w - \eta\, g_u = w - \eta A g_w$. It calls this a gradient in another inner product. For that $A$ would have
# to be symmetric and positive. The slope of the loss along this step is $-g_w^\top A\, g_w$, and for degrees from one
# on, $A + A^\top$ has negative eigenvalues. So there are losses that *rise*, however short the step:

# %%
basis = kanref.BSpline.uniform(1, 8, 1)
A = change_of_basis(basis.knots[0], basis.degree)
lowest, V = np.linalg.eigh(A + A.T)
w_best = V[:, 0]  # a target whose error at w = 0 points along the worst direction, on the loss 1/2 |w - w_best|^2
slopes = {"own": -w_best @ w_best, "other": -w_best @ A @ w_best}
for name, slope in slopes.items():
    print(f"slope of the loss along minus the gradient of its {name} basis: {slope:+.2f}")
assert lowest[0] < 0 and slopes["other"] > 0 > slopes["own"]

# %% [markdown]
# `in_relus(net, theta, iterate="relu", gradient="spline")` lets you try it on networks. Of the four rows only the two whose
# gradient is their own train: in `kanref reproduce geometry`, L-BFGS stops for want of a descent direction in one of
# the mixed rows and stands still in the other, and Adam diverges in one and crawls in the other.
#
# ## In practice
#
# - `in_relus`, `as_relus`, `as_splines`, `to_mlp` and `from_mlp` (in `kanref.multilevel.relu_form`) carry networks
#   between the forms. Weights are converted in rational arithmetic and rounded once.
# - Evaluate in splines. `InBasis` trains in the other geometry without summing powers.
# - `kanref reproduce geometry` draws spectra, tangent kernels of networks in both bases, and the cost of evaluation.
# - If an MLP of ReLUs does not profit from more units, think of step 4: it may have the functions, and lack the
#   descent.
#
# ## On your own
#
# 1. Repeat step 4 with degree 1, the ordinary ReLU. How many modes move now, and does a finer grid help?
# 2. Give step 4 Adam in place of plain descent, on `in_relus(kan([1, 1], ...), theta)`. Adam divides by the size of
#    each component: does this undo the preconditioner?
# 3. In step 6, train with `optimize.levenberg_marquardt`. Why does a Gauss-Newton step not care about the basis, and what
#    is left of the difference?
