# %% [markdown]
# # Write a layer and its backward pass
#
# Deep learning frameworks differentiate for you. kanref does not: every backward pass in it is written by hand,
# next to its forward pass, and *proved* by tests. This page shows that it is neither long nor magic, and how to
# be sure.
#
# **What you'll do.** Write a KAN layer in NumPy, derive its backward pass on paper, type it, and put it to four
# tests that are independent of one another. Then plant three bugs and see which test catches which. At the end,
# the compiled kernel of kanref must give the same numbers.
#
# **What you'll learn**
#
# - what an adjoint is, and how to derive one without tears;
# - the four tests: dot test, finite differences, complex step, Taylor test, and what each can and cannot see;
# - why a derivative by finite differences has ten good digits at best, and how the complex step gets nearly all
#   sixteen.
#
# **What you'll need.** Tutorial 01 for the basis functions, the chain rule, and `numpy.einsum`.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import check, spec

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
# ## Step 1: the layer
#
# A layer takes $P$ inputs to $Q$ outputs. On every edge from input $p$ to output $q$ sits a function
# $\phi_{q,p}(x) = \sum_i W_{qpi}\, B_i(x)$, and a node adds up what arrives (eq. 2.5 of Liu et al., arXiv
# 2404.19756):
#
# $$y_q = \sum_{p=1}^{P} \sum_{i=1}^{K} W_{qpi}\, B_i(x_p).$$
#
# Two steps: a **basis** turns each coordinate into $K$ numbers (nonlinear, nothing to train), a **weight
# tensor** mixes them (linear, all there is to train). In NumPy, with $N$ samples at once, the formula is its
# own program:

# %%
N, P, Q, degree = 20, 3, 2, 3
basis = kanref.BSpline.uniform(P, intervals=6, degree=degree)
K = basis.size


def layer(W, x):
    """W (Q, P, K), x (N, P) -> y (N, Q)."""
    return np.einsum("qpi,npi->nq", W, basis.dense(x))


rng = np.random.default_rng(7)
W = rng.normal(size=(Q, P, K))
x = rng.uniform(-1, 1, (N, P))
y = layer(W, x)
assert K == 9 and y.shape == (20, 2)

# %% [markdown]
# The slow definition `kanref.spec`, which evaluates one sample at a time and was written without looking at
# this, agrees:


# %%
def by_definition(W, x):
    """The same layer from the textbook; real or complex numbers."""
    of_spec = spec.Layer([(spec.bspline_basis(basis.knots, degree), W)])
    return np.array([[series[0] for series in spec.layer(of_spec, [[c] for c in sample])] for sample in x])


assert np.abs(by_definition(W, x) - y).max() < 1e-14

# %% [markdown]
# ## Step 2: the backward pass, on paper
#
# Somewhere behind the layer there is a number $L$, the loss. For any array $v$ on the way to it write $\bar v$
# for the array of derivatives $\partial L / \partial v$. This is the *adjoint* of $v$; it has the shape of $v$.
# The backward pass is given $\bar y$ and must find $\bar W$ and $\bar x$. The recipe has three lines.
#
# **1. Differentiate.** Wiggle the inputs by $dW$ and $dx$; the output moves by
#
# $$dy_{nq} = \sum_{p,i} dW_{qpi}\, B_i(x_{np}) + \sum_{p,i} W_{qpi}\, B_i'(x_{np})\, dx_{np}.$$
#
# **2. Pair with the adjoint.** The loss moves by
#
# $$dL = \sum_{n,q} \bar y_{nq}\, dy_{nq}
#   = \sum_{q,p,i} \Big[ \sum_n \bar y_{nq} B_i(x_{np}) \Big] dW_{qpi}
#   + \sum_{n,p} \Big[ \sum_{q,i} \bar y_{nq} W_{qpi} B_i'(x_{np}) \Big] dx_{np}.$$
#
# **3. Read off.** By definition also $dL = \sum \bar W\, dW + \sum \bar x\, dx$, whatever $dW$ and $dx$ are. So
# the brackets *are* the adjoints:
#
# $$\bar W_{qpi} = \sum_n \bar y_{nq}\, B_i(x_{np}), \qquad
#   \bar x_{np} = \sum_{q,i} \bar y_{nq}\, W_{qpi}\, B_i'(x_{np}).$$
#
# The weights get a sum over samples, since all samples share them. The inputs get a sum over outputs, since an
# input feeds all of them. In general: *what forward copies, backward adds*.
#
# ## Step 3: the backward pass, typed


# %%
def tangent(W, x, dW, dx):
    """dy: how the output moves (line 1)."""
    return np.einsum("qpi,npi->nq", dW, basis.dense(x)) + np.einsum("qpi,npi,np->nq", W, basis.dense(x, 1), dx)


def pullback(W, x, y_bar):
    """W_bar and x_bar (line 3)."""
    W_bar = np.einsum("nq,npi->qpi", y_bar, basis.dense(x))
    x_bar = np.einsum("nq,qpi,npi->np", y_bar, W, basis.dense(x, 1))
    return W_bar, x_bar


# %% [markdown]
# To have something to differentiate, take the mean squared error against some targets $t$. Its adjoint is
# $\bar y = 2 (y - t) / (N Q)$, and the gradient of the loss is one call:

# %%
targets = rng.normal(size=(N, Q))


def loss(W, x, layer=layer):
    return np.sum((layer(W, x) - targets) ** 2) / targets.size


def gradient(W, x, pullback):
    return pullback(W, x, 2 * (layer(W, x) - targets) / targets.size)


def inner(a, b):
    """The inner product of two lists of arrays."""
    return sum(np.vdot(u, v) for u, v in zip(a, b))


# %% [markdown]
# ## Step 4: the dot test
#
# Line 1 is a linear map of $(dW, dx)$, and line 3 claims to be its adjoint:
# $\langle \bar y, J v \rangle = \langle J^T \bar y, v \rangle$ for *all* $v$ and $\bar y$. Take random ones and
# compare two numbers. Random vectors leave no place to hide, and there is no step size to choose.

# %%
v = rng.normal(size=W.shape), rng.normal(size=x.shape)


def dot_test(tangent, pullback):
    """Relative difference of the two sides."""
    y_bar = np.random.default_rng(1).normal(size=(N, Q))
    left = np.vdot(y_bar, tangent(W, x, *v))
    right = inner(pullback(W, x, y_bar), v)
    return abs(left - right) / abs(left)


print(f"dot test: {dot_test(tangent, pullback):.1e}")
assert dot_test(tangent, pullback) < 1e-13

# %% [markdown]
# ## Step 5: finite differences, and something better
#
# The dot test compares our line 3 with our line 1. Is line 1 itself right? Ask the loss: along the direction
# $v$ its slope at 0 must be $\langle g, v \rangle$, with $g$ the gradient. The usual way is a difference,
# $[L(h) - L(-h)]/2h$, and everyone who tried knows the dilemma. A large $h$ bends the answer; a small $h$
# subtracts two nearly equal numbers and loses digits.
#
# The **complex step** has no dilemma. For a function made of analytic pieces,
# $L(ih) = L(0) + ih\,L'(0) - \dots$, hence
#
# $$L'(0) = \operatorname{Im} L(ih) / h + O(h^2).$$
#
# Nothing is subtracted, so $h$ may be $10^{-40}$. The catch: the program must accept complex numbers. The
# definition does (a complex $x$ is placed between the knots by its real part); fast code need not.

# %%
g = gradient(W, x, pullback)
slope = inner(g, v)
along = lambda t, layer=layer: loss(W + t * v[0], x + t * v[1], layer)
steps = 10.0 ** -np.arange(1, 16)
forward = np.array([abs((along(h) - along(0)) / h - slope) for h in steps]) / abs(slope)
central = np.array([abs((along(h) - along(-h)) / (2 * h) - slope) for h in steps]) / abs(slope)
complex_h = 10.0 ** -np.arange(1, 41, 3)
by_complex = np.array([abs(along(1j * h, by_definition).imag / h - slope) for h in complex_h]) / abs(slope)

print(f"best forward difference {forward.min():.0e}, best central difference {central.min():.0e}")
print(f"complex step with h = 1e-40: {by_complex[-1]:.0e}")
assert 1e-10 < forward.min() < 1e-6
assert 1e-13 < central.min() < 1e-8
assert by_complex[-1] < 1e-13

# %%
figure, axis = plt.subplots(figsize=(8, 3.6))
axis.loglog(steps, forward, "o-", color=GOLD, ms=4, label="forward difference")
axis.loglog(steps, central, "o-", color=RED, ms=4, label="central difference")
axis.loglog(complex_h, by_complex.clip(1e-16), "o-", color=BLUE, ms=4, label="complex step")
axis.axhline(2.2e-16, color=PALE, lw=1)
axis.annotate("machine epsilon", (1e-34, 2e-17), color="#66788a")
axis.annotate("too long:\nthe curve bends", (3e-3, 1e-13), ha="center", color="#66788a")
axis.annotate("too short:\ndigits cancel", (1e-13, 3e-9), ha="center", color="#66788a")
axis.set(title="how wrong is the slope?", xlabel="step h", ylabel="relative error", ylim=(3e-18, 30), xlim=(1, 1e-41))
axis.legend(loc="upper right")
plt.show()

# %% [markdown]
# Finite differences make a valley with a floor; the complex step falls to machine precision and stays there.
#
# ## Step 6: the Taylor test
#
# The fourth test needs neither complex numbers nor a reference, and no tolerance on an error either. Go a step
# $\varepsilon$ along $v$ and look at two remainders:
#
# $$R_0 = |L(\varepsilon) - L(0)| = O(\varepsilon), \qquad
#   R_1 = |L(\varepsilon) - L(0) - \varepsilon \langle g, v \rangle| = O(\varepsilon^2).$$
#
# Whatever the constants, halving $\varepsilon$ must halve $R_0$ and quarter $R_1$. If the gradient is wrong,
# what is left in $R_1$ is of first order, and the slope drops from 2 to 1. That cannot be overlooked.

# %%
epsilons = 2.0 ** -np.arange(8, 19)


def remainders(g):
    rise = np.array([along(epsilon) - along(0) for epsilon in epsilons])
    return abs(rise), abs(rise - epsilons * inner(g, v))


def order(values):
    return np.polyfit(np.log(epsilons), np.log(values), 1)[0]


zeroth, first = remainders(g)
print(f"Taylor orders: {order(zeroth):.3f} without the gradient, {order(first):.3f} with it")
assert abs(order(zeroth) - 1) < 0.05
assert abs(order(first) - 2) < 0.05

slightly_wrong = g[0] * 1.01, g[1]
_, wrong = remainders(slightly_wrong)
assert abs(np.log2(wrong[-2] / wrong[-1]) - 1) < 0.05  # the last halving only halves it

# %%
figure, axis = plt.subplots(figsize=(7, 3.6))
axis.loglog(epsilons, zeroth, "o-", color=GOLD, ms=4, label="$R_0$: without the gradient")
axis.loglog(epsilons, wrong, "o--", color=RED, ms=4, label="$R_1$ with a gradient 1% off")
axis.loglog(epsilons, first, "o-", color=BLUE, ms=4, label="$R_1$ with our gradient")
for values, power in ((zeroth, 1), (first, 2)):
    a, b = epsilons[6], epsilons[4]
    corner = 0.4 * values[6]
    axis.loglog([a, b, b, a], [corner, corner, corner * (b / a) ** power, corner], color=INK, lw=0.8)
    axis.annotate("1", (np.sqrt(a * b), corner * 0.55), ha="center", va="top", fontsize=8)
    axis.annotate(str(power), (b * 1.1, corner * (b / a) ** (power / 2)), va="center", fontsize=8)
axis.set(title="Taylor test: read the slopes", xlabel="ε")
axis.legend()
plt.show()

# %% [markdown]
# ## Step 7: plant three bugs
#
# Why four tests? Because each has a blind spot. Here are three wrong backward passes:
#
# - **forgotten prime**: $\bar x$ uses $B_i$ in the place of $B_i'$, a slip on line 3;
# - **wrong formula**: someone believes $B' $ carries the factor $d - 1$, and uses it in line 1 *and* line 3;
# - **seventh digit**: the right formula with a constant that was typed with seven digits.


# %%
def forgotten_prime(W, x, y_bar):
    return pullback(W, x, y_bar)[0], np.einsum("nq,qpi,npi->np", y_bar, W, basis.dense(x))


def wrong_formula(W, x, y_bar):
    W_bar, x_bar = pullback(W, x, y_bar)
    return W_bar, x_bar * (degree - 1) / degree


def wrong_tangent(W, x, dW, dx):
    return tangent(W, x, dW, dx * (degree - 1) / degree)


def seventh_digit(W, x, y_bar):
    W_bar, x_bar = pullback(W, x, y_bar)
    return W_bar * 1.0000001, x_bar


def verdicts(tangent, pullback):
    """Which of the four tests pass."""
    g = gradient(W, x, pullback)
    difference = (along(1e-5) - along(-1e-5)) / 2e-5
    complex_step = along(1e-40j, by_definition).imag / 1e-40
    _, first = remainders(g)
    return (
        dot_test(tangent, pullback) < 1e-12,
        abs(difference / inner(g, v) - 1) < 1e-6,
        abs(complex_step / inner(g, v) - 1) < 1e-12,
        order(first) > 1.9,
    )


outcome = {
    "ours": verdicts(tangent, pullback),
    "forgotten prime": verdicts(tangent, forgotten_prime),
    "wrong formula": verdicts(wrong_tangent, wrong_formula),
    "seventh digit": verdicts(tangent, seventh_digit),
}
print(f"{'':17s}{'dot test':14s}{'differences':14s}{'complex step':14s}Taylor test")
for name, passed in outcome.items():
    print(f"{name:17s}" + "".join(f"{'pass' if p else 'CAUGHT':14s}" for p in passed))
assert outcome["ours"] == (True, True, True, True)
assert outcome["forgotten prime"] == (False, False, False, False)
assert outcome["wrong formula"] == (True, False, False, False)
assert outcome["seventh digit"] == (False, True, False, True)

# %% [markdown]
# The dot test cannot see an error that both lines share. Differences and the Taylor test cannot see the seventh
# digit: it drowns in their own error. The complex step catches everything, and needs a definition that takes
# complex numbers. This is why kanref has one.
#
# ## Step 8: the compiled kernel
#
# Our program stores the whole table $B_i(x_{np})$: $N \times P \times K$ numbers, nearly all of them zero.
# kanref's kernel walks through the samples in blocks that fit the processor's cache, computes the $d + 1$
# living functions of a coordinate, uses them at once, and forgets them. The backward pass computes them
# *again*: that is cheaper than to store and to load them. What it keeps from the forward pass, the *tape*, is
# little more than $x$ itself.

# %%
fused = kanref.spline_layer(P, Q, basis, base=None)
z = x[None]  # a jet without directions: tutorial 05
y_fused, tape = fused.forward({"spline.W": W}, z)
y_bar = 2 * (y - targets) / targets.size
arrays_bar, z_bar = fused.pullback(tape, y_bar[None])
print(fused.arrays)
assert np.abs(y_fused[0] - y).max() < 1e-13
assert np.abs(arrays_bar["spline.W"] - g[0]).max() < 1e-13
assert np.abs(z_bar[0] - g[1]).max() < 1e-13

# %% [markdown]
# The same numbers, to $10^{-13}$. And the time, for a layer of a size that people use:


# %%
def best_of(runs, f):
    """The shortest of a few runs, in milliseconds."""
    times = []
    for _ in range(runs):
        start = perf_counter()
        f()
        times.append(perf_counter() - start)
    return 1e3 * min(times)


wide = kanref.BSpline.uniform(16, intervals=20, degree=3)
big_W, big_x = rng.normal(size=(16, 16, 23)), rng.uniform(-1, 1, (2000, 16))
big_y_bar = rng.normal(size=(2000, 16))


def numpy_way():
    b, slopes = wide.dense(big_x), wide.dense(big_x, 1)
    y = np.einsum("qpi,npi->nq", big_W, b, optimize=True)
    W_bar = np.einsum("nq,npi->qpi", big_y_bar, b, optimize=True)
    x_bar = np.einsum("nq,qpi,npi->np", big_y_bar, big_W, slopes, optimize=True)
    return y, W_bar, x_bar


def fused_way():
    y, tape = big.forward({"spline.W": big_W}, big_x[None])
    arrays_bar, z_bar = big.pullback(tape, big_y_bar[None])
    return y[0], arrays_bar["spline.W"], z_bar[0]


big = kanref.spline_layer(16, 16, wide, base=None)
for a, b in zip(numpy_way(), fused_way()):
    assert np.abs(a - b).max() < 1e-12 * np.abs(a).max()
slow, fast = best_of(3, numpy_way), best_of(5, fused_way)
print(f"16 -> 16, 20 intervals, 2000 samples: NumPy {slow:.1f} ms, fused {fast:.2f} ms, {slow / fast:.0f} times faster")

# %% [markdown]
# ## In practice
#
# You need not write these tests again: `kanref.check` has them, for anything that you may add to kanref.

# %%
objective = lambda theta: (
    float(loss(theta.reshape(W.shape), x)),
    gradient(theta.reshape(W.shape), x, pullback)[0].ravel(),
)
report = check.check_objective(objective, W.ravel(), np.random.default_rng(0))
error = check.check_adjoint(
    lambda dW: tangent(W, x, dW, 0 * x), lambda y_bar: pullback(W, x, y_bar)[0], v[0], rng.normal(size=(N, Q))
)
print(report, f"dot test {error:.0e}")
assert abs(report.first - 2) < 0.1 and error < 1e-12

# %% [markdown]
# - Write forward and backward under each other, with the same letters, and call the adjoint of `v` `v_bar`.
# - Test with sizes that all differ ($N$, $P$, $Q$, $K$ = 20, 3, 2, 9): a transposed array then has the wrong
#   shape.
# - `einsum` is not fast, but it is the formula. Make it right first.
#
# ## On your own
#
# 1. Set `degree = 1` and run all. Which test fails now, and for which inputs $x$? What about degree 2?
# 2. Add the base term: $y_q \mathrel{+}= \sum_p V_{qp}\, \mathrm{silu}(x_p)$. Derive $\bar V$ and its share of
#    $\bar x$ with the recipe of step 2, and extend all four tests.
# 3. Stack two layers. What is the only thing that the backward pass of the first needs from the second?
# 4. A fourth bug: return $\bar x$ computed from $W$ *after* it was updated by a training step. Which test could
#    catch it?
