# %% [markdown]
# # Refine and train across levels
#
# Fine grids can represent more, but training on them from a random start is slow and often ends badly. The cure is as
# old as multigrid: train on a coarse grid, carry the function *exactly* to a grid twice as fine, go on. For networks of
# B-splines this is possible because splines nest: every spline on the coarse knots is one on the fine knots. Southworth,
# Actor, Harper and Cyr (arXiv 2603.04827) made a training method of it, with errors orders of magnitude below those of
# training on one grid.
#
# **What you'll do.** Write the transfer between two grids by hand, find it in the library, train across four levels at
# the work of one, mend a stage that is stuck, and try to do better with the multigrid cycle itself.
#
# **What you'll learn**
#
# - the two-scale relation, and what becomes of the knots outside the domain;
# - prolongation, restriction and projection, and what "properly nested" buys;
# - nested iteration with equal work as the measure;
# - when cycles between levels pay, and why they rarely do here.
#
# **What you'll need.** Tutorial 01 (B-splines) and tutorial 04 (networks); for step 7, tutorial 05 (derivatives).

# %%
from functools import partial
from math import comb

import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import grids, optimize
from kanref.multilevel.cycles import cycle, hierarchy
from kanref.multilevel.nested import nested
from kanref.multilevel.transfer import dyadic

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
# ## Step 1: one B-spline is five smaller ones
#
# On uniform knots a B-spline of degree $d$ is a sum of $d + 2$ B-splines of half its width,
#
# $$B(x) = \sum_{s=0}^{d+1} w_s\, B(2x - s), \qquad w_s = 2^{-d} \binom{d+1}{s}.$$
#
# For cubics the weights are $(1, 4, 6, 4, 1)/8$. The paper prints $2^{-(d+1)}$ in its eq. 25: its $r$ is $d + 1$, and the
# exponent should have been $1 - r$. A test finds such a slip at once, since the sum would be half as high.

# %%
d = 3
w = np.array([comb(d + 1, s) for s in range(d + 2)]) / 2**d
x = np.linspace(0, 4, 401)[:, None]


def bump(x):
    """The cubic B-spline on the knots 0, 1, 2, 3, 4."""
    basis = kanref.BSpline([np.arange(-3.0, 8.0)], d)
    return basis.dense(x)[:, 0, 3]


parts = np.stack([weight * bump(2 * x - s) for s, weight in enumerate(w)])
print("weights:", w, " largest difference:", np.abs(parts.sum(0) - bump(x)).max())
assert np.abs(parts.sum(0) - bump(x)).max() < 1e-15

figure, axes = plt.subplots(figsize=(6.5, 2.4))
axes.plot(x, parts.T, color=BLUE, lw=1)
axes.plot(x, bump(x), color=INK, lw=2)
axes.set(title="A cubic B-spline (black) and the five that make it up (blue)", xlabel="x")
plt.show()

# %% [markdown]
# ## Step 2: from a function to its coefficients
#
# A curve $\sum_i c_i B_i$ on $n$ intervals becomes $\sum_j c'_j B'_j$ on $2n$ intervals. Collecting the weights of step 1,
# $c' = R\,c$ with $R_{2i+s-d,\,i} = w_s$: for cubics every second fine coefficient is $(c_i + c_{i+1})/2$ and the others
# are $(c_{i-1} + 6 c_i + c_{i+1})/8$. Near the ends there is nothing special to do: fine functions that vanish on the
# domain are dropped. Rows of $R$ sum to one, as constants must stay constants.

# %%
n, rng = 6, np.random.default_rng(0)
R = np.zeros((2 * n + d, n + d))
for i in range(n + d):
    for s in range(d + 2):
        if 0 <= 2 * i + s - d < len(R):
            R[2 * i + s - d, i] = w[s]
print(8 * R[:6, :5])
assert (R.sum(1) == 1).all()

c = rng.normal(size=n + d)
coarse, fine = (kanref.BSpline.uniform(1, count, d) for count in (n, 2 * n))
x = np.linspace(-1, 1, 301)[:, None]
curves = [coarse.dense(x)[:, 0] @ c, fine.dense(x)[:, 0] @ (R @ c)]
assert np.abs(curves[0] - curves[1]).max() < 1e-15


def abscissae(basis):
    """Where the coefficients live: means of the inner knots of every function (Greville)."""
    return np.array([basis.knots[0, i + 1 : i + 1 + d].mean() for i in range(basis.size)])


figure, axes = plt.subplots(figsize=(6.5, 2.6))
axes.plot(x, curves[0], color=INK, lw=1.5)
for basis, values, colour, size in ((coarse, c, RED, 28), (fine, R @ c, BLUE, 12)):
    axes.plot(abscissae(basis), values, color=colour, lw=0.6)
    axes.scatter(abscissae(basis), values, color=colour, s=size, label=f"{basis.intervals} intervals", zorder=3)
axes.set(title="One curve, two control polygons", xlabel="x")
axes.legend()
plt.show()

# %% [markdown]
# ## Step 3: a network on a finer grid
#
# The weights of a layer are $W_{q,p,i}$, and refinement is $W \times_3 R$: every edge by itself, nodes and layers as they
# are. `dyadic` builds the whole transfer. It is linear in the trained numbers, a matrix $P$ from the coarse $\theta$ to
# the fine one, and `prolong` applies it.

# %%
net = kanref.kan([2, 3, 1], intervals=n, base=None, outside="linear")
theta = 2 * net.init(seed=0)
transfer = dyadic(net)
points = rng.uniform(-2, 2, (500, 2))  # half of them outside of the splines' domain [-1, 1]
hidden = net.activations(theta, points)[1]
print(f"parameters: {net.size} -> {transfer.fine.size}; hidden values from {hidden.min():.1f} to {hidden.max():.1f}")
change = np.abs(transfer.fine(transfer.prolong(theta), points) - net(theta, points)).max()
print(f"largest change of the network's values: {change:.0e}")
assert change < 1e-13

# %% [markdown]
# This holds for inputs and hidden values far outside the domain too, because `outside="linear"` continues splines by their
# value and slope at the edge, which stay. With pykan's `outside="zero"` the splines fade over the exterior knots, and
# there are two ways to refine these. The paper gives the fine grid exterior knots at the *fine* spacing ("fine"), which
# changes the function outside. Halving the whole knot vector ("nested") keeps it on the whole line, at the price of a
# few more functions. Left to itself, `dyadic` takes the one that changes nothing.

# %%
fading = kanref.kan([1, 1], intervals=4, base=None, outside="zero")
curve = fading.init(seed=3) + 0.4
line = np.linspace(-3, 3, 601)[:, None]
figure, axes = plt.subplots(figsize=(6.5, 2.4))
axes.plot(line, fading(curve, line), color=INK, lw=3, alpha=0.35, label="4 intervals")
for exterior, colour in (("nested", BLUE), ("fine", RED)):
    step = dyadic(fading, exterior)
    values = step.fine(step.prolong(curve), line)
    axes.plot(line, values, color=colour, lw=1.2, label=f'8 intervals, "{exterior}", {step.fine.size} functions')
    inside = np.abs(line[:, 0]) <= 1
    assert np.abs(values - fading(curve, line))[inside].max() < 1e-14
    assert (np.abs(values - fading(curve, line)).max() < 1e-14) == (exterior == "nested")
axes.axvspan(-1, 1, color=PALE, alpha=0.3, lw=0)
axes.set(title="Outside the domain (shaded) the two refinements differ", xlabel="x")
axes.legend()
plt.show()

# %% [markdown]
# ## Step 4: restriction, and what nested levels mean
#
# If $g_c(x; \theta) = g_f(x; P\theta)$ for every $\theta$, the levels are *properly nested*: the coarse loss is the fine loss on
# the range of $P$, $L_c(\theta) = L_f(P\theta)$. Differentiate, and the coarse gradient is the fine one under the adjoint,
#
# $$\nabla L_c(\theta) = P^\top \nabla L_f(P\theta).$$
#
# So training on a coarse grid *is* training on the fine grid, in a subspace, at a lower price. `restrict` is $P^\top$.
# `project` goes the other way with solutions: the coarse $\theta$ whose prolongation is nearest.

# %%
y = np.sin(3 * points[:, 0]) * points[:, 1]
gradient = kanref.mse(net, points, y)(theta)[1]
fine_gradient = kanref.mse(transfer.fine, points, y)(transfer.prolong(theta))[1]
difference = np.abs(transfer.restrict(fine_gradient) - gradient).max() / np.abs(gradient).max()
print(f"coarse gradient against the restricted fine one: {difference:.0e}")
assert difference < 1e-12

v = rng.normal(size=transfer.fine.size)
assert np.isclose(transfer.restrict(v) @ theta, v @ transfer.prolong(theta), rtol=1e-12)  # the dot test of an adjoint
assert np.abs(transfer.project(transfer.prolong(theta)) - theta).max() < 1e-13
assert np.abs(grids.refine(net, theta)[1] - transfer.prolong(theta)).max() < 1e-15  # the same, without the machinery

# %% [markdown]
# ## Step 5: train across levels
#
# The paper's regression: a sum of waves of $x$ and of $y$, rotated by 0.175 rad, so that the network has to find the
# two directions before its splines can fit the waves. `nested` takes the coarsest network and a minimiser for
# every level. The measure is *work*: an evaluation on a grid twice as fine is charged twice. Here each level gets a quarter of
# the work, that is half as many evaluations as the one before, and the competitors spend all of it on one grid.


# %%
def target(x):
    c, s = np.cos(0.175), np.sin(0.175)
    X, Y = c * x[:, 0] + s * x[:, 1], c * x[:, 1] - s * x[:, 0]
    return np.cos(4 * np.pi * X) + np.sin(np.pi * Y) + np.sin(2 * np.pi * Y) + np.abs(np.sin(3 * np.pi * Y**2))


samples = np.random.default_rng(0).uniform(0, 1, (1000, 2))
values = target(samples)
values = (values - values.min()) / np.ptp(values)
LEVELS, WORK = 4, 2048


def loss(net):
    return kanref.mse(net, samples, values)


def lbfgs(evaluations):
    return partial(optimize.lbfgs, steps=evaluations, evaluations=evaluations)


def coarsest(seed):
    net = kanref.kan(
        [2, 5, 1], intervals=5, base=None, first="linear", bias=True, normalise="sigmoid", domain=(0, 1), outside="linear"
    )
    return net, net.init(seed)


net, theta = coarsest(seed=0)
stages = [lbfgs(WORK // LEVELS // 2**level) for level in range(LEVELS)]
rows = {"nested": []}
done = nested(net, theta, loss, stages, callback=lambda net, state, work: rows["nested"].append((work, state.value)))
print(done)

top = done.net
for name, own, price in (("coarse only", net, 1), ("fine only", top, 2 ** (LEVELS - 1))):
    result = lbfgs(WORK // price)(loss(own), own.init(seed=0))
    rows[name] = list(zip(price * result.history.evaluations, result.history.value))
final = {name: row[-1][1] for name, row in rows.items()}
print({name: f"{value:.1e}" for name, value in final.items()})
assert done.work <= WORK and final["nested"] < 0.2 * min(final["coarse only"], final["fine only"])

figure, axes = plt.subplots(figsize=(6.5, 3))
for (name, row), colour in zip(rows.items(), (RED, BLUE, GREEN)):
    axes.loglog(*zip(*row), color=colour, lw=1.5, label=name)
for level in range(1, LEVELS):
    axes.axvline(WORK * level / LEVELS, color=PALE, lw=0.8, zorder=0)
axes.set(title="Loss against work; grey lines are refinements", xlabel="work", ylabel="mean squared error", xlim=(8, None))
axes.legend()
plt.show()

# %% [markdown]
# Look at the table: the loss before every stage is the loss after the one before, to all digits. And look at the price
# list with some doubt. "Twice as fine costs twice as much" is right for the ReLU form of the paper, where
# every knot is a channel. A B-spline evaluation touches $d + 1$ functions however many there are, so in seconds all
# levels cost the same. What the coarse levels really save is not time but *mistakes*: five intervals leave little room for
# wrong directions.
#
# ## Step 6: a stage that does not get on
#
# Every stage starts L-BFGS afresh, without the curvature it had learnt, at a point where the old optimum is still
# optimal in all old directions. Sometimes it makes nothing of that. `nested` watches: a stage that does not halve the loss
# is continued by a few Levenberg-Marquardt steps, which see all the curvature at once, and then tried again.
# The work for that is counted.

# %%
net, theta = coarsest(seed=2)
trusting, safe = (nested(net, theta, loss, stages, safeguard=safeguard) for safeguard in (False, True))
for name, run in (("trusting", trusting), ("safe", safe)):
    ends = " ".join(f"{level.result.value:.1e}{'*' * level.restarted}" for level in run.levels)
    print(f"{name:>9}: {ends}   work {run.work:.0f}")
assert safe.levels[-1].result.value < trusting.levels[-1].result.value

# %% [markdown]
# ## Step 7: back and forth
#
# Multigrid does not only go up. Smooth on the fine grid; ask the coarse grid for a correction of what is left; smooth
# again: a V-cycle. For nonlinear problems this is the full approximation scheme. With $u$ on the fine level,
# $v_0$ = `project(u)`, and $g$ the fine gradient, the coarse level minimises
#
# $$L_c(v) - \langle \tau, v \rangle, \qquad \tau = \nabla L_c(v_0) - P^\top g,$$
#
# and its answer comes back as $u + \alpha P(v - v_0)$, with $\alpha$ from a line search. Where this shines is a stiff
# linear problem: $u'' = f$ by cubic splines. The squared second derivative makes smooth errors invisible to the gradient,
# as $n^4$. Plain gradient steps stand still on 32 intervals; with the coarse grids below, they converge.


# %%
def poisson(net):
    """Mean squared residual of u'' = -pi^2 sin(pi x), u(-1) = u(1) = 0."""

    def residual(x, u, u_i, u_ij):
        return u_ij[:, 0, 0, 0] + np.pi**2 * np.sin(np.pi * x[:, 0]), (None, None, np.ones((len(x), 1, 1, 1)))

    x, ends = np.linspace(-1, 1, 200)[:, None], np.array([[-1.0], [1.0]])
    return kanref.weighted_sum([(1, kanref.collocation(net, x, residual)), (100, kanref.mse(net, ends, np.zeros(2)))])


def descent(objective, theta, callback=None, steps=6):
    """Gradient steps of length 1/|H| for a quadratic objective; its Hessian is measured."""
    gradient = objective(theta)[1]
    H = np.stack([objective(theta + e)[1] - gradient for e in np.eye(theta.size)], 1)
    for _ in range(steps):
        theta = theta - objective(theta)[1] / np.linalg.norm(H, 2)
    return optimize.lbfgs(objective, theta, steps=0)


line = kanref.kan([1, 1], intervals=4, base=None)
transfers = hierarchy(line, 3)
objective, start = poisson(transfers[-1].fine), rng.normal(size=transfers[-1].fine.size)
cycled, alone, u, v = [], [], start, start
smoothers = [partial(optimize.lbfgs, steps=100), descent, descent, descent]  # the coarsest level is solved
for _ in range(10):
    result = cycle(transfers, poisson, smoothers)(objective, u)
    u = result.theta
    v = descent(objective, v, steps=24).theta  # about the work of the cycle
    cycled.append(result.value)
    alone.append(objective(v)[0])
least = optimize.lbfgs(objective, u, steps=2000).value
print(f"loss above the least: {cycled[-1] - least:.0e} with cycles, {alone[-1] - least:.0e} without")
assert cycled[-1] - least < 1e-8 * (alone[-1] - least)

figure, axes = plt.subplots(figsize=(6.5, 2.6))
for values_, colour, label in ((alone, GREEN, "gradient steps alone"), (cycled, BLUE, "V-cycles of gradient steps")):
    axes.semilogy(range(1, 11), np.maximum(np.array(values_) - least, 1e-16), ".-", color=colour, label=label)
axes.set(title="A linear problem on 32 intervals: loss above its least value", xlabel="cycles, or their work")
axes.legend()
plt.show()

# %% [markdown]
# And for the network of step 5? Take the function that nested iteration has reached with half of the work, and spend the other
# half on V-cycles, or on more of the same.

# %%
half = [lbfgs(WORK // 2 // LEVELS // 2**level) for level in range(LEVELS)]
net, theta = coarsest(seed=0)
begun = nested(net, theta, loss, half, safeguard=False)
transfers, log = hierarchy(net, LEVELS - 1), []
rest = (WORK - begun.work) / 2 ** (LEVELS - 1)  # evaluations on the finest grid
minimise = cycle(transfers, loss, [lbfgs(10)] * LEVELS, 100, record=lambda level, c: log.append((level, c)))
cycled = minimise(loss(begun.net), begun.theta, callback=lambda state: state.evaluations >= rest)
print(f"start {begun.levels[-1].result.value:.1e}, cycles {cycled.value:.1e}, nested iteration {final['nested']:.1e}")
for level, c in log:
    if level == LEVELS - 1:
        print(f"  |tau| = {c.tau:.0f} |P'g|, correction taken with length {c.alpha:.2g}")
assert cycled.value <= begun.levels[-1].result.value

# %% [markdown]
# Nested iteration wins, and $\tau$ says why. In a linear problem the correction is exact whatever $\tau$ is. Here the coarse
# problem lives at the function $P v_0$, which lacks all the fine details and has a loss many times larger; it has to be
# bent by a $\tau$ much longer than the gradient it should work for, and it is a good model of the fine loss only very
# near $v_0$. And there is little to correct: regression in B-splines is well conditioned on every grid, and what is
# slow in training a network is not smoothness along the knots. The experiment `kanref reproduce cycles` repeats this for three
# differential equations.
#
# ## In practice
#
# - `nested(net, theta, loss, stages)` with L-BFGS stages of equal work is a good default; add `least_squares(steps)` as the last
#   stage for small networks and smooth problems.
# - Choose `outside="linear"`, or `normalise=` so that hidden values stay inside: then "fine" keeps the function.
# - Adam wants its ramp after every transfer: `partial(optimize.adam, steps=800, rate=schedules.warmup(1e-2, 1e-4, 10))`.
# - `print(done)` shows losses before and after every stage, restarts and work. `Ctrl-C` keeps what is there.
# - `grids.refine` and `grids.insert_knots` do the transfer without the machinery; `Model.refine` does it for models.
#
# ## On your own
#
# 1. In step 5, give all levels the same number of evaluations (equal seconds for local splines) and compare with as many on
#    the finest grid alone. Does nested iteration still win?
# 2. Start step 5 on 10 intervals with three levels, or on 3 with four. How coarse can the first grid be?
# 3. In step 7, refine `line` once more. How many cycles, and how many gradient steps, until the loss is within $10^{-6}$ of
#    the least?
