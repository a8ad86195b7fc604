# %% [markdown]
# # Fit one edge
#
# A Kolmogorov-Arnold network is a sum of functions of one variable inside functions of one variable. Before we
# stack anything, we take a single edge and learn all that can go right and wrong with it. One edge is *linear*
# in its coefficients, so the best ones can be computed instead of searched.
#
# **What you'll do.** Fit one edge function by least squares, measure how the error falls when the grid gets
# finer, break the fit in three ways, and understand each failure.
#
# **What you'll learn**
#
# - the error of a cubic edge falls like $h^4$: twice the intervals, a sixteenth of the error;
# - what happens where there are no samples, and which of the many best fits to take;
# - what the base function $b(x)$ in $\phi = w_b\, b + w_s \sum_i c_i B_i$ is good for (and what not);
# - why a finer grid is not a better grid once the data are noisy.
#
# **What you'll need.** Tutorial 01, and least squares as `numpy.linalg.lstsq` does it.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import j0, j1

import kanref

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
# ## Step 1: a fit is a linear system
#
# Our target is the first toy example of the paper (Liu et al., arXiv 2404.19756, section 3.1): the Bessel
# function $f(x) = J_0(20x)$ on $[-1, 1]$. At samples $x_1, \dots, x_N$ a spline with coefficients $c$ takes the
# values $Bc$ with the *design matrix* $B_{ni} = B_i(x_n)$. The best coefficients in the mean square solve
#
# $$\min_c\; \lVert B c - y \rVert^2.$$


# %%
def design(x, intervals, degree=3, order=0):
    """All B-splines (or a derivative of them) on uniform intervals of [-1, 1] at points x: (N, K)."""
    return kanref.BSpline.uniform(1, intervals, degree, -1, 1).dense(np.asarray(x)[:, None], order)[:, 0]


def f(x):
    return j0(20 * x)


x = np.linspace(-1, 1, 2001)
B = design(x, 24)
c, _, rank, _ = np.linalg.lstsq(B, f(x))
error = np.abs(B @ c - f(x)).max()
print(f"24 intervals, {B.shape[1]} coefficients, largest error {error:.4f}")
assert B.shape == (2001, 27) and rank == 27
assert error < 0.01
assert np.count_nonzero(np.diff(np.sign(f(x)))) == 12
assert (B > 0).sum(1).max() == 4

# %% [markdown]
# Twenty-seven numbers for a curve with twelve zeros, and the largest error is below one percent. Every row of
# $B$ has only four entries that are not zero, so each sample speaks to four coefficients only.

# %%
figure, axes = plt.subplots(2, 1, figsize=(9, 4), sharex=True, height_ratios=(3, 1))
for i, colour in enumerate(plt.cm.viridis(np.linspace(0.05, 0.9, 27))):
    axes[0].fill_between(x, c[i] * B[:, i], color=colour, alpha=0.35, lw=0)
axes[0].plot(x, f(x), color=PALE, lw=5, label="target J₀(20x)")
axes[0].plot(x, B @ c, color=INK, lw=1.4, label="the spline: sum of the coloured bumps")
axes[0].legend(loc="upper right", fontsize=8)
axes[1].plot(x, B @ c - f(x), color=RED, lw=1)
for axis in axes:
    axis.set_xticks(np.linspace(-1, 1, 25), labels=[])
axes[0].set(title="one edge with 24 intervals")
axes[1].set(title="error", xlabel="x   (ticks: the 25 knots in the domain)")
plt.show()

# %% [markdown]
# ## Step 2: measure the rate
#
# How much does a finer grid help? With $h$ the width of an interval, approximation theory promises an error of
# order $h^{d+1}$ for degree $d$, and one power less for every derivative. The paper's theorem 2.1 promises the
# same for whole networks, if the target can be written as a network of smooth functions:
#
# $$\lVert f - f_G \rVert_{C^m} \le C\, G^{-d-1+m}, \qquad 0 \le m \le d.$$
#
# A promise about a rate is easily checked: on logarithmic axes it is a slope.

# %%
grids = np.array([32, 64, 128, 256])
truth = {0: f(x), 1: -20 * j1(20 * x), 2: 400 * (j1(20 * x) / (20 * x + (x == 0)) - j0(20 * x))}
truth[2][x == 0] = -200  # the limit of J1(u)/u is 1/2


def errors(degree, order=0):
    """Largest error of the order-th derivative for each grid."""
    found = []
    for G in grids:
        c = np.linalg.lstsq(design(x, G, degree), f(x))[0]
        found.append(np.abs(design(x, G, degree, order) @ c - truth[order]).max())
    return np.array(found)


def slope(values):
    """Exponent p of a fit error ~ intervals^p."""
    return np.polyfit(np.log(grids), np.log(values), 1)[0]


by_degree = {degree: errors(degree) for degree in (1, 2, 3)}
by_order = {order: errors(3, order) for order in (0, 1, 2)}
for degree, values in by_degree.items():
    print(f"degree {degree}: error ~ intervals^{slope(values):.2f}")
    assert abs(slope(values) + degree + 1) < 0.2
for order, values in by_order.items():
    assert abs(slope(values) + 4 - order) < 0.2
assert 14 < by_degree[3][2] / by_degree[3][3] < 18  # the last doubling: about sixteen times

# %% [markdown]
# The slopes are $-2$, $-3$, $-4$ for degrees 1, 2, 3, and $-4$, $-3$, $-2$ for the value, first and second
# derivative of the cubic fit. The last doubling of the cubic grid divides the error by about sixteen. This is
# the reason to prefer a fine grid over a wide network when the target is smooth: no other knob has an exponent
# like that.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharex=True)
for (degree, values), colour in zip(by_degree.items(), (GOLD, GREEN, BLUE)):
    axes[0].loglog(grids, values, "o-", color=colour, label=f"degree {degree}: slope {slope(values):.2f}")
for (order, values), colour in zip(by_order.items(), (BLUE, "#7d5ba6", RED)):
    name = ("value", "first derivative", "second derivative")[order]
    axes[1].loglog(grids, values, "o-", color=colour, label=f"{name}: slope {slope(values):.2f}")
axes[0].set(title="largest error of the fit", xlabel="intervals", ylim=(1e-9, 1))
axes[1].set(title="degree 3: largest error of its derivatives", xlabel="intervals", ylim=(1e-9, 1e2))
for axis in axes:
    axis.set_xticks(grids, labels=grids)
    axis.minorticks_off()
    axis.legend(loc="lower left")
plt.show()

# %% [markdown]
# ## Step 3: intervals without samples
#
# Now take away the samples between $-0.25$ and $0.45$. Some B-splines stand entirely in the gap. Their columns
# are zero, no sample ever hears of them, and *any* coefficient there is as good as any other. The system has
# lost rank.

# %%
rng = np.random.default_rng(3)
g = lambda x: np.sin(3 * x) + 0.3 * np.cos(9 * x)
samples = rng.uniform(-1, 1, 300)
samples = np.sort(samples[(samples < -0.25) | (samples > 0.45)])
B = design(samples, 20)
least, _, rank, singular = np.linalg.lstsq(B, g(samples))
silent = np.flatnonzero((B == 0).all(0))
print(f"{B.shape[1]} coefficients, rank {rank}; silent functions: {silent}")
assert B.shape[1] == 23 and rank == 20 and len(silent) == 3
assert singular[18] < singular[17] / 5  # the last two before the cliff

# %% [markdown]
# Twenty-three coefficients, rank 20, three silent functions. `lstsq` returns the solution with the smallest
# $\lVert c \rVert$, which sets the three to zero. Here is another one. On the data nobody can tell them apart:

# %%
other = least.copy()
other[silent] = [2, -3, 2.5]
assert np.abs(least[silent]).max() < 1e-12
assert np.abs(B @ least - B @ other).max() < 1e-12

# %% [markdown]
# The school-book way, the normal equations $B^T B c = B^T y$, does not survive this: the matrix is singular.
# Even when it is not, forming $B^T B$ squares the condition number and throws away half of the digits. kanref's
# refits use an orthogonal factorisation, take the minimum-norm solution, and report the rank.

# %%
try:
    np.linalg.solve(B.T @ B, B.T @ g(samples))
except np.linalg.LinAlgError as error:
    trouble = error
print("normal equations:", trouble)
assert isinstance(trouble, np.linalg.LinAlgError)

# %%
fine = design(x, 20)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1.8, 1))
axes[0].axvspan(-0.25, 0.45, color=PALE, alpha=0.3, lw=0)
axes[0].plot(x, g(x), color=PALE, lw=5, label="target")
axes[0].plot(x, fine @ other, color=RED, lw=1.3, label="another best fit")
axes[0].plot(x, fine @ least, color=BLUE, lw=1.6, label="the one of minimum norm")
axes[0].plot(samples, g(samples), "|", color=INK, ms=5, label="samples")
axes[0].legend(fontsize=8, ncols=2, loc="lower right")
axes[0].set(title="nobody was here: the data do not decide", xlabel="x", ylim=(-2.6, 2.2))
axes[1].semilogy(np.arange(1, 24), singular.clip(1e-18), "o", color=INK, ms=4)
axes[1].axhline(singular[0] * 300 * 2.2e-16, color=RED, lw=1, ls="--")
axes[1].annotate("rounding: below is zero", (1, 8e-13), color=RED)
axes[1].set(title="23 singular values, rank 20", xlabel="number", ylim=(1e-19, 1e2))
plt.show()

# %% [markdown]
# Look at the two singular values that dip before the cliff. They belong to functions that only stick a toe out
# of the gap: determined, but barely. Noise in the data is amplified there by one over the singular value.
#
# ## Step 4: the base function
#
# The paper's edge is $\phi(x) = w_b\, b(x) + w_s \sum_i c_i B_i(x)$ with
# $b(x) = \mathrm{silu}(x) = x / (1 + e^{-x})$ (eqs 2.10, 2.11). What does $b$ add? In accuracy, nothing: on the
# grid, splines can imitate it almost perfectly.


# %%
def silu(x):
    return x / (1 + np.exp(-x))


def silu_slope(x):
    s = 1 / (1 + np.exp(-x))
    return s * (1 + x * (1 - s))


B = design(x, 5)
imitation = np.linalg.lstsq(B, silu(x))[0]
gap = np.abs(B @ imitation - silu(x)).max()
condition = np.linalg.cond(B)
with_base = np.linalg.cond(np.column_stack([silu(x), B]))
print(f"5 intervals imitate silu to {gap:.1e}; condition number {condition:.0f} without b, {with_base:.0f} with it")
assert gap < 2e-5
assert 30 < condition < 50 and 8e4 < with_base < 1e5

# %% [markdown]
# Five intervals imitate silu to $2 \cdot 10^{-5}$. So $w_b$ and $c$ can trade places, and the condition number
# of the fit rises from about 40 to about 90 000. (Do not read a meaning into $w_b$ alone: only $\phi$ is
# determined.)
#
# Its service is elsewhere, *outside of the grid*. Beyond the last knot all B-splines are zero: the edge is
# flat, its slope is zero, and gradient descent hears nothing. In a network this happens all the time, since the
# inputs of a hidden layer move as training goes on. There $b$ keeps the edge alive.

# %%
far = np.array([2.4])
assert np.abs(design(far, 5)).max() == 0 and np.abs(design(far, 5, order=1)).max() == 0
assert 1.09 < silu_slope(far)[0] < 1.1

target = lambda x: x + 0.35 * np.sin(4 * x)
wide = np.linspace(-2.7, 2.7, 1081)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for policy, colour in (("zero", RED), ("clamp", GOLD), ("linear", GREEN)):
    basis = kanref.BSpline.uniform(1, 5, 3, -1, 1, outside=policy)
    c = np.linalg.lstsq(basis.dense(x[:, None])[:, 0], target(x))[0]
    for axis, order in zip(axes, (0, 1)):
        axis.plot(wide, basis.dense(wide[:, None], order)[:, 0] @ c, color=colour, label=f'outside="{policy}"')
c = np.linalg.lstsq(design(x, 5), target(x) - silu(x))[0]  # w_b = 1, and the spline does the rest
for axis, order, b in zip(axes, (0, 1), (silu, silu_slope)):
    axis.plot(wide, b(wide) + design(wide, 5, order=order) @ c, color=BLUE, label='"zero", plus b(x)')
    axis.axvspan(-1, 1, color=PALE, alpha=0.3, lw=0)
    axis.set(xlabel="x   (shaded: the grid)")
axes[0].legend(fontsize=8)
axes[0].set(title="one edge, looked at from afar")
axes[1].set(title="its slope: what gradient descent feels")
plt.show()

# %% [markdown]
# Two more reasons. At the start of training the coefficients $c$ are near zero; the network is then a smooth
# network with silu activations, and signals pass through every layer. And silu is not a straight line: sums of
# straight lines of straight lines would collapse into one.
#
# ## Step 5: noise, and the price of a fine grid
#
# With exact samples, finer is better. With noise, every coefficient must be paid for in data. Take $N = 60$
# noisy samples of $f(x) = e^{\sin \pi x}$ with noise of standard deviation $\sigma = 0.2$, and fit all grids
# from 2 to 300 intervals, forty times each with new noise.

# %%
N, sigma, trials = 60, 0.2, 40
h = lambda x: np.exp(np.sin(np.pi * x))
test = np.linspace(-1, 1, 401)
many = np.array([2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40, 50, 57, 65, 80, 110, 150, 200, 300])


def noisy_samples(seed):
    rng = np.random.default_rng(seed)
    x = -1 + 2 * (np.arange(N) + rng.random(N)) / N  # one sample in each of N cells
    return x, h(x) + sigma * rng.normal(size=N)


train_error, test_error = np.empty((2, len(many), trials))
for j, G in enumerate(many):
    T = design(test, G)
    for trial in range(trials):
        x_n, y_n = noisy_samples(trial)
        B = design(x_n, G)
        c = np.linalg.lstsq(B, y_n, rcond=1e-10)[0]
        train_error[j, trial] = np.sqrt(np.mean((B @ c - y_n) ** 2))
        test_error[j, trial] = np.sqrt(np.mean((T @ c - h(test)) ** 2))
train, typical = np.median(train_error, 1), np.median(test_error, 1)
at = {G: j for j, G in enumerate(many.tolist())}
print("intervals", "train", "test", sep="\t")
for G in (2, 4, 10, 20, 50, 80, 300):
    print(G, f"{train[at[G]]:.3f}", f"{typical[at[G]]:.3f}", sep="\t")

# %% [markdown]
# - **Too coarse** (2 intervals): the spline cannot bend enough. The error, 0.13, is *bias*: more data would not
#   help.
# - **Just right** (4 intervals, 7 coefficients): a typical error of 0.07, a third of the noise. Averaging
#   works.
# - **Finer**: the error is *variance*. Each coefficient costs its share of the noise, so it grows like
#   $\sigma \sqrt{K / N}$, while the error on the training samples keeps falling and tells us nothing.
# - **The interpolation threshold** ($K$ just below $N$): the spline passes through nearly every noisy sample,
#   at any price. At 50 intervals typical errors exceed 5.
# - **Beyond**, many splines pass through all samples, and the one of minimum norm is chosen among them. At 80
#   intervals the error is down to about 0.3, but then the fit sinks to zero between samples and it climbs
#   again.

# %%
assert many[typical.argmin()] == 4
assert abs(typical[at[2]] - 0.13) < 0.015
assert abs(typical[at[4]] - 0.07) < 0.015
assert typical[at[50]] > 5
assert 0.2 < typical[at[80]] < 0.4
assert typical[at[300]] > 0.9
assert (np.diff(train[at[4] :]) < 0.01).all() and train[at[80]] < 1e-9
theory = sigma * np.sqrt((many + 3) / N)
steady = (many >= 5) & (many <= 20)
assert (np.abs(typical / theory - 1)[steady] < 0.15).all()

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1.25, 1))
low, high = np.quantile(test_error, [0.1, 0.9], axis=1)
axes[0].axvline(N - 3, color=PALE, lw=6, alpha=0.6)
axes[0].fill_between(many, low, high, color=BLUE, alpha=0.2, lw=0)
axes[0].loglog(many, typical, "o-", color=BLUE, ms=3.5, label="test error (median, 10 to 90 percent)")
axes[0].loglog(many, np.where(train > 1e-6, train, np.nan), "o-", color=GOLD, ms=3.5, label="training error")
axes[0].loglog(many[many <= 57], theory[many <= 57], color=RED, ls="--", label="σ √(K/N)")
axes[0].annotate("K = N", (N, 2e3), color="#66788a")
axes[0].set(title="60 noisy samples, ever finer grids", xlabel="intervals", ylim=(0.02, 1e4))
axes[0].set_xticks([2, 5, 10, 20, 50, 100, 300], labels=[2, 5, 10, 20, 50, 100, 300])
axes[0].minorticks_off()
axes[0].legend(fontsize=8, loc="upper left")
x_n, y_n = noisy_samples(0)
axes[1].plot(x_n, y_n, "o", color=INK, ms=3, label="samples")
axes[1].plot(test, h(test), color=PALE, lw=5, zorder=0, label="truth")
for G, colour, width in ((40, RED, 0.9), (4, BLUE, 1.8)):
    c = np.linalg.lstsq(design(x_n, G), y_n, rcond=1e-10)[0]
    axes[1].plot(test, design(test, G) @ c, color=colour, lw=width, label=f"{G} intervals")
axes[1].set(title="a good fit and an eager one", xlabel="x", ylim=(-0.4, 4.2))
axes[1].legend(fontsize=8, ncols=2, loc="upper left")
plt.show()

# %% [markdown]
# The same thing happens to whole networks. The paper counts $15\,G$ parameters for a $[2, 5, 1]$ network; with
# 1000 samples the threshold is near $G = 1000/15 \approx 67$, and its figure 2.3 shows the best test error near
# $G = 50$.

# %%
assert round(1000 / 15) == 67

# %% [markdown]
# ## Step 6: the same edge as a network
#
# A network with one input and one output *is* one edge. For a single edge the mean squared error is a quadratic
# function of the parameters, so Levenberg-Marquardt, which solves a damped least-squares problem in every step,
# should find in a few steps what `lstsq` finds in one.

# %%
net = kanref.kan([1, 1], intervals=24, base=None)
print(net)
points = np.linspace(-1, 1, 400)
objective = kanref.mse(net, points[:, None], f(points))
result = kanref.levenberg_marquardt(objective.residuals, net.init(seed=0), steps=50)
direct = np.linalg.lstsq(design(points, 24), f(points))[0]
print(result)
assert result.steps < 15
assert np.abs(result.theta - direct).max() < 1e-8
assert np.abs(net(result.theta, points[:, None])[:, 0] - design(points, 24) @ direct).max() < 1e-10

# %% [markdown]
# ## In practice
#
# - Degree 3 is a good default. Raise it when you need derivatives (each one costs a power of $h$), not to
#   repair a fit.
# - `kanref.extend(net, theta, intervals, X)` moves a trained network to another number of intervals by least
#   squares for every edge. Where samples are missing it keeps to the old curve, so that the gap of step 3 does
#   no harm; it reports the rank.
# - To choose the grid for noisy data, hold some out: `Model.fit(X, y, validation=0.2)`.
# - Count parameters against samples. Near the threshold no optimiser will save you, and a good one makes it
#   worse.
#
# ## On your own
#
# 1. Replace $J_0(20x)$ by $|x|$. What is the rate now, for odd and for even numbers of intervals? Why do they
#    differ?
# 2. In step 3 the minimum-norm fit falls to zero in the gap. Add to the least-squares system rows that ask for
#    small second differences of $c$, with a small weight. What does the fit do in the gap now, and which rank
#    do you get?
# 3. Repeat step 5 with $N = 240$. The theory $\sigma\sqrt{K/N}$ says where the best grid goes: check it.
# 4. Redo step 5 in step 6's way, by L-BFGS from `net.init()`, stopped after 20, 200, 2000 steps. Does stopping
#    early act like a coarser grid?
