# %% [markdown]
# # Solve Burgers' equation across levels
#
# A wave whose crest travels faster than its foot gets steeper until friction stops it. The simplest equation
# that does this is Burgers',
#
# $$u_t + u\, u_x = \nu\, u_{xx} \;\text{ on } [-1, 1] \times [0, 1], \qquad u(x, 0) = -\sin \pi x, \qquad
#   u(\pm 1, t) = 0,$$
#
# and with $\nu = 0.01$ it is the second example of the multilevel paper (Southworth et al., arXiv 2603.04827,
# section 5). It is harder than Poisson's equation (tutorial 06): a front of width $4 \nu$ appears out of
# nowhere in a solution that is smooth elsewhere. A coarse grid cannot show it, a fine one is hard to train. So
# we train on a coarse one, refine it *without changing the function* (tutorial 11), and go on.
#
# **What you'll do.** Compute an exact solution, write the residual by hand, build initial and boundary values
# into the network, and train it on 4, 8 and 16 intervals to a relative error of
# a few in ten thousand.
#
# **What you'll learn**
#
# - how a nonlinear equation turns into a linear one, and why it is worth having such a reference;
# - hard conditions in space and time;
# - what a refinement keeps, what it makes possible, and what it costs;
# - why a small loss can come with a large error, and where points belong.
#
# **What you'll need.** Tutorials 06 (collocation, Levenberg-Marquardt) and 11 (refine and train).

# %%
import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import check, jets, pde
from kanref.multilevel.nested import Stage, least_squares, nested
from kanref.pde.trial import Trial, cap

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
# ## Step 1: a reference
#
# Hopf and Cole found that $u = -2 \nu f_x / f$ solves Burgers' equation if $f$ solves the heat equation
# $f_t = \nu f_{xx}$. (Insert it: the nonlinear terms cancel.) At $t = 0$ this reads
# $f_x / f = \sin(\pi x)/(2 \nu)$, so $f = \exp(-\cos(\pi x)/(2 \pi \nu))$, and heat spreads by a Gaussian:
#
# $$u(x, t) = -\frac{\int \sin(\pi y)\, w\, ds}{\int w\, ds}, \qquad y = x - \sqrt{4 \nu t}\, s, \qquad
#   w = \exp\Big(-s^2 - \frac{\cos \pi y}{2 \pi \nu}\Big).$$
#
# The integrands are smooth and vanish quickly, which is when the plainest rule, equal steps, is the best.
# Only the exponent needs care: the largest one is taken out, as $w$ itself may overflow.

# %%
NU = 0.01


def exact(x, step=1 / 16):
    """u at points x (N, 2)."""
    s = np.arange(-10, 10 + step, step)
    y = np.pi * (x[:, :1] - np.sqrt(4 * NU * x[:, 1:]) * s)
    exponent = -(s**2) - np.cos(y) / (2 * np.pi * NU)
    w = np.exp(exponent - exponent.max(1, keepdims=True))
    return -(np.sin(y) * w).sum(1) / w.sum(1)


def grid(x, t):
    """All pairs (x_i, t_j), t fastest."""
    return np.stack(np.meshgrid(x, t, indexing="ij"), -1).reshape(-1, 2)


X, T = np.linspace(-1, 1, 161), np.linspace(0, 1, 41)
view = grid(X, T)
u_star = exact(view)
print(f"a rougher rule changes it by {np.abs(exact(view, step=1 / 8) - u_star).max():.0e}")
assert np.abs(exact(view, step=1 / 8) - u_star).max() < 1e-12
assert np.abs(pde.PROBLEMS["burgers"](nu=NU).reference(view) - u_star).max() < 1e-12  # kanref has it, too

front = [-np.gradient(exact(grid(np.array([-1e-4, 1e-4]), [t])), 2e-4)[0] for t in T]
print(f"steepest slope {-max(front):.1f} at t = {T[np.argmax(front)]:.2f}")
assert max(front) > 40

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for j, colour in zip((0, 8, 16, 24, 40), (PALE, GOLD, GREEN, BLUE, INK)):
    axes[0].plot(X, u_star.reshape(161, 41)[:, j], color=colour, label=f"t = {T[j]:.1f}")
axes[0].set(title="the solution", xlabel="x", ylabel="u")
axes[0].legend()
axes[1].plot(T, front, color=RED)
axes[1].set(title="slope of the front, $-u_x(0, t)$", xlabel="t")
plt.show()

# %% [markdown]
# The crests, coming from both sides, meet at $x = 0$. From $\pi$ at the start the slope rises to nearly
# $1/(2 \nu)$, then friction wins and the front decays.
#
# ## Step 2: the residual, and conditions that cannot be violated
#
# As always, the residual comes with its partial derivatives. Now the equation is nonlinear, so one of them
# depends on the solution:
#
# $$r = u_t + u\, u_x - \nu\, u_{xx}, \qquad
#   r_u = u_x, \quad r_{u_x} = u, \quad r_{u_t} = 1, \quad r_{u_{xx}} = -\nu.$$


# %%
def burgers(x, u, u_i, u_ij):
    u, u_x, u_t, u_xx = u[:, 0], u_i[:, 0, 0], u_i[:, 0, 1], u_ij[:, 0, 0, 0]
    by_first = np.stack([u, np.ones_like(u)], 1)[:, None]  # (N, 1, 2)
    by_second = np.zeros(u_ij.shape)
    by_second[:, 0, 0, 0] = -NU
    return u_t + u * u_x - NU * u_xx, (u_x[:, None], by_first, by_second)


# %% [markdown]
# Tutorial 06 built the boundary in with a factor that vanishes there. In space and time it is the same:
#
# $$u(x, t) = -\sin(\pi x) + t\, (1 - x^2)\, N(x, t; \theta)$$
#
# meets the initial and the boundary values whatever the network $N$ does. There is then no weight to choose
# between the equation and its conditions. `Trial` does the product rule for us, as both factors are given as
# jets: functions that carry their derivatives.


# %%
def offset(z):
    """-sin(pi x) with its derivatives."""
    pi = np.pi
    wave = (lambda x: -np.sin(pi * x), lambda x: -pi * np.cos(pi * x), lambda x: pi**2 * np.sin(pi * x))
    return jets.compose(wave, z[..., :1])


def distance(z):
    """t (1 - x^2)."""
    return jets.times(z[..., 1:], cap(z[..., :1]))


def solution(net):
    return Trial(net, 2, offset=offset, distance=distance)


def loss(net, x):
    return kanref.collocation(solution(net), x, burgers, pairs=((0, 0),))


small = kanref.kan([2, 2, 1], intervals=2, degree=4, base=None, outside="linear")
at = small.init(seed=1)
report = check.check_objective(loss(small, grid(X[::40], T[::10])), at, np.random.default_rng(0))
print(report)
assert abs(report.first - 2) < 0.1
assert np.abs(solution(small)(at, grid([-1.0, 1.0], T))).max() < 1e-15
assert np.abs(solution(small)(at, grid(X, [0.0]))[:, 0] + np.sin(np.pi * X)).max() < 1e-15

# %% [markdown]
# ## Step 3: the coarse level
#
# The network: two hidden layers, splines of degree 5 on 4 intervals. Hidden values pass through tanh, so that
# none can leave the knots; beyond them a spline goes on as a straight line, whose kink in $u''$ would cost the
# optimiser more than we would notice at first.
#
# The points: half of the action is within $0.05$ of $x = 0$. So they crowd there, by
# $x = \sinh(3 \xi)/\sinh 3$ with even $\xi$. The knots of the first layer should do the same. After a few
# steps of L-BFGS, which find the rough shape, `update_from_samples` moves them: to quantiles of the samples, mixed
# with even ones.

# %%
xi = np.linspace(-1, 1, 64)
points = grid(np.sinh(3 * xi) / np.sinh(3), np.linspace(0, 1, 26))


def errors(net, theta):
    """Relative L2 and largest error."""
    e = solution(net)(theta, view)[:, 0] - u_star
    return np.linalg.norm(e) / np.linalg.norm(u_star), np.abs(e).max()


def begin(intervals, points, seed=0):
    """A network that has the rough shape, with its first knots where the points are."""
    net = kanref.kan([2, 4, 4, 1], intervals=intervals, degree=5, base=None, outside="linear", normalise="tanh")
    rough = kanref.lbfgs(loss(net, points), net.init(seed), steps=150)
    return kanref.update_from_samples(net, rough.theta, points, mix=0.3, layers=[0])[:2]


net, theta = begin(4, points)
coarse = kanref.levenberg_marquardt(loss(net, points).residuals, theta, steps=40)
print("after the rough start:   relative L2 error {:.3f}, largest {:.3f}".format(*errors(net, theta)))
print("Levenberg-Marquardt:     relative L2 error {:.4f}, largest {:.4f}".format(*errors(net, coarse.theta)))

# %% [markdown]
# ## Step 4: a finer level, the same function
#
# `refine` halves every interval in every layer and computes the coefficients exactly. Nothing happens to the
# solution, or to the loss; what changes is in how many directions one can go from here.

# %%
fine, theta_fine = kanref.refine(net, coarse.theta)
before, after = (loss(n, points).value(th) for n, th in ((net, coarse.theta), (fine, theta_fine)))
change = np.abs(solution(fine)(theta_fine, view) - solution(net)(coarse.theta, view)).max()
print(f"{net.size} -> {fine.size} parameters: the solution changes by {change:.0e}")
print(f"loss {before:.9e} -> {after:.9e}")
assert change < 1e-12
assert abs(after - before) < 1e-9 * before

# %% [markdown]
# ## Step 5: three levels
#
# `nested` does this for any number of levels and any optimiser: a `Stage` is how to minimise, and how often to
# halve the intervals before. `least_squares` is Levenberg-Marquardt as such a stage. The paper counts work: one
# evaluation on the coarsest level is one unit, on each finer level twice as much.

# %%
stages = [Stage(least_squares(40)), Stage(least_squares(30)), Stage(least_squares(20))]
done = nested(net, theta, lambda net: loss(net, points), stages)
print(done)
table = [(level.net.size, level.result.value, *errors(level.net, level.theta)) for level in done.levels]
for size, value, L2, top in table:
    print(f"{size:4d} parameters: loss {value:.1e}, relative L2 error {L2:.1e}, largest {top:.1e}")
assert (np.diff([row[1:3] for row in table], axis=0) < 0).all()
assert table[-1][2] < 1e-3

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
work = 0
for k, (level, colour) in enumerate(zip(done.levels, (GOLD, GREEN, BLUE))):
    history = level.result.history
    at, name = work + history.evaluations * 2**k, f"{4 * 2**k} intervals"
    axes[0].semilogy(at, history.value, color=colour, lw=1.8, label=name)
    work += level.work
axes[0].set(title="loss on every level", xlabel="work: evaluations × 2^level")
axes[0].legend()
sizes, _, L2, top = np.array(table).T
axes[1].loglog(4 * 2 ** np.arange(3), top, "o-", color=GOLD, label="largest error")
axes[1].loglog(4 * 2 ** np.arange(3), L2, "o-", color=BLUE, label="relative L2 error")
axes[1].set(title="errors", xlabel="intervals", xticks=(4, 8, 16), xticklabels=("4", "8", "16"))
axes[1].minorticks_off()
axes[1].legend()
plt.show()

# %%
u = solution(done.net)(done.theta, view)[:, 0]
residual = loss(done.net, view).residual_values(done.theta)[:, 0]
figure, axes = plt.subplots(1, 3, figsize=(10, 3.0), sharey=True)
for axis, values, title in zip(axes, (u, u - u_star, residual), ("solution", "error", "residual")):
    limit = np.quantile(np.abs(values), 0.999)
    image = axis.pcolormesh(T, X, values.reshape(161, 41), cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    axis.set(title=title, xlabel="t")
    figure.colorbar(image, ax=axis, shrink=0.9)
axes[0].set_ylabel("x")
plt.show()

# %% [markdown]
# Every level takes the loss down by more than a factor of ten, and each of them begins where the one before
# had become slow. What error is left was made where we have the fewest points, near the walls and early, and
# drifts with the flow towards the front. The residual is largest in the front, where it does little harm.
#
# ## Step 6: does the fine level need the coarse one?
#
# It has the same best function, whoever finds it. So let us start there, with 16 intervals from the first
# step, and spend the same work.

# %%
alone, theta_alone = begin(16, points)
result = kanref.levenberg_marquardt(loss(alone, points).residuals, theta_alone, steps=int(done.work / 4))
print("16 intervals at once:    loss {:.1e}, relative L2 error {:.1e}, largest {:.1e}".format(
    2 * result.value, *errors(alone, result.theta)))  # fmt: skip
print("4, then 8, then 16:      loss {:.1e}, relative L2 error {:.1e}, largest {:.1e}".format(*table[-1][1:]))
assert alone.size == done.net.size
assert errors(alone, result.theta)[0] > 3 * table[-1][2]

# %% [markdown]
# The fine network alone settles for less: with many parameters it fits the residual point by point, before the
# shape as a whole is right. Coarse levels cannot, and that is their use. (In our code one evaluation costs nearly
# the same on every level, since only six splines are alive at any point; it is the linear algebra of
# Levenberg-Marquardt that gets dearer, like the square of the number of parameters.)
#
# ## Step 7: a trap: points that do not see the front
#
# The paper takes an even grid. Take as many points as before, evenly spaced, and look at the loss and at the
# error:

# %%
even = grid(np.linspace(-1, 1, 64), np.linspace(0, 1, 26))
blind = nested(*begin(4, even), lambda net: loss(net, even), stages[:2])
other = blind.levels[-1]
print(f"even points:     loss {other.result.value:.1e}, relative L2 error {errors(other.net, other.theta)[0]:.1e}")
print(f"crowded points:  loss {table[1][1]:.1e}, relative L2 error {table[1][2]:.1e}")
assert other.result.value < table[1][1]
assert errors(other.net, other.theta)[0] > 1.5 * table[1][2]

# %% [markdown]
# The smaller loss belongs to the worse solution: several times smaller, several times worse. The even points
# are nearly as far from each other as the front is wide: between two of them the network can do what it likes,
# and the knots, twice as dense after every refinement, let it. A loss is a promise about the points it has seen.
# The residual at other points, as in the figure above, is the check that costs nothing.
#
# ## In practice
#
# - `kanref solve burgers` trains like this, shows progress, and draws what we drew.
# - `kanref reproduce burgers` has the paper's table: the network $[2, 20, 20, 1]$ under the paper's schedule, with
#   its optimiser and with a better one, in both bases, and a set-up like ours, which is a thousand times more
#   accurate with a tenth of the parameters.
# - Refine when the loss of a level falls slowly, not before. Move knots before the first refinement, not after, as
#   only halving keeps the function exactly.
# - Add points along with the knots, where the solution is steep.
# - If hidden values can leave the knots, they will. Use `normalise="tanh"`, or look at `net.activations`.
#
# ## On your own
#
# 1. The solution is odd in $x$. Use that: train on $x \ge 0$ only, with $d = t\, x\, (1 - x)$ as the distance.
#    How much faster is it?
# 2. Take $\nu = 0.01/\pi$, the value of most papers on this equation. The front is three times as steep. What has
#    to change: the stretch of the points, the number of levels, or both?
# 3. Replace Levenberg-Marquardt by `partial(kanref.lbfgs, steps=400)` in the stages. How far does it get in the
#    same time, and on which level does it lose the most?
