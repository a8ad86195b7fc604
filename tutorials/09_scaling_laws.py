# %% [markdown]
# # Scaling laws yourself
#
# The boldest claim of the KAN paper is a number. If the target is a composition of smooth functions, a
# network of that shape with splines of degree $d$ has an error that falls like $G^{-(d+1)}$ with the number
# of intervals $G$ (Liu et al., arXiv 2404.19756, theorem 2.1), *whatever the dimension*: an exponent of **4**
# for cubics, where theory for general smooth functions of $n$ variables offers $4/n$. Figure 3.1 of the paper
# shows it for five toy functions, beside multilayer perceptrons that fall more slowly.
#
# An exponent is a slope on logarithmic axes, and slopes are easily made to lie. Let us measure some.
#
# **What you'll do.** Measure exponents of an edge, of a network and of an MLP, under the same conditions, and
# find all the places where the law ends.
#
# **What you'll learn**
#
# - how to fit an exponent, and why the range of the fit is part of the result;
# - that counting parameters or intervals gives different exponents, and which one the theorem is about;
# - why one takes the median over seeds, and never the mean;
# - four ways for a law to stop: resolution, rounding, data, and the wrong shape.
#
# **What you'll need.** Tutorials 02 and 04.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import j0

import kanref
from kanref.mlp import mlp, start

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
# ## Step 1: one edge, and the fit of a slope
#
# The first toy function is $J_0(20 x)$ on $[-1, 1]$ with one edge, $[1, 1]$. One edge is linear in its
# coefficients (tutorial 02), so that there is no training in it, and the law is seen without a veil. If
# $\text{error} = C\, G^{-\alpha}$, then $\log \text{error} = \log C - \alpha \log G$: a straight line by
# least squares.


# %%
def exponent(sizes, errors):
    """alpha of errors ~ sizes^-alpha."""
    A = np.stack([np.ones(len(sizes)), -np.log(sizes)], 1)
    return np.linalg.lstsq(A, np.log(errors))[0][1]


x = np.linspace(-1, 1, 4001)


def edge_errors(target, grids, degree=3):
    """Root mean squared errors of least-squares splines."""
    found = []
    for G in grids:
        B = kanref.BSpline.uniform(1, G, degree, -1, 1).dense(x[:, None])[:, 0]
        found.append(np.sqrt(np.mean((B @ np.linalg.lstsq(B, target)[0] - target) ** 2)))
    return np.array(found)


grids = np.array([3, 6, 12, 24, 48, 96, 192, 384])
bessel = edge_errors(j0(20 * x), grids)
local = np.diff(np.log(bessel)) / -np.log(2)  # the exponent of every doubling
print("errors     ", " ".join(f"{error:.0e}" for error in bessel))
print("doublings  ", " ".join(f"{alpha:.1f}" for alpha in local))
print(f"all grids: alpha = {exponent(grids, bessel):.2f}; from 48 on: {exponent(grids[4:], bessel[4:]):.2f}")
assert local[0] < 1 and local[1] > 4 and local[2] < 3 and abs(local[-1] - 4) < 0.1
assert abs(exponent(grids[4:], bessel[4:]) - 4) < 0.2
assert exponent(grids, bessel) < 3.8

# %% [markdown]
# **Stop one: resolution.** The function has more than six full waves. Three intervals cannot see them, and
# neither can six: nothing happens at all. Then the error falls in leaps, now faster than the theory says and
# now slower, and only after that comes the line of slope 4. The law is asymptotic. So state the range of a
# fit, and look at the doublings one by one: a straight line through a curve also has a slope.
#
# ## Step 2: the degree is the exponent
#
# For other degrees theory says $\alpha = d + 1$. Our target is now slower, $\sin \pi x$.

# %%
degrees = (1, 2, 3, 5, 7)
slow = np.array([4, 8, 16, 32, 64, 128, 256])
by_degree = {degree: edge_errors(np.sin(np.pi * x), slow, degree) for degree in degrees}
for degree, errors in by_degree.items():
    above = errors > 1e-12
    print(f"degree {degree}: alpha = {exponent(slow[above], errors[above]):.2f}, lowest error {errors.min():.0e}")
    assert abs(exponent(slow[above], errors[above]) - degree - 1) < 0.5
assert by_degree[3][-1] < 1e-9
assert 1e-17 < by_degree[7].min() < 1e-13 and by_degree[7][-1] < 1e-13

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5))
axes[0].loglog(grids, bessel, "o-", color=BLUE)
axes[0].loglog(grids[2:], bessel[4] * (grids[2:] / grids[4]) ** -4.0, ":", color=INK, label="slope −4")
axes[0].axvspan(3, 13, color=PALE, alpha=0.3, lw=0)
axes[0].set(title="J₀(20x): nothing, leaps, the law", xlabel="intervals", ylabel="root mean squared error")
axes[0].legend()
for (degree, errors), colour in zip(by_degree.items(), (GOLD, GREEN, BLUE, RED, "#7d5ba6")):
    axes[1].loglog(slow, errors, "o-", color=colour, label=f"degree {degree}")
axes[1].axhspan(1e-17, 3e-15, color=PALE, alpha=0.4, lw=0)
axes[1].set(title="sin πx: slope −(degree + 1), down to rounding", xlabel="intervals", ylim=(1e-17, 1))
axes[1].legend(fontsize=8, loc="lower left", ncols=2)
plt.show()

# %% [markdown]
# **Stop two: rounding.** The steep ones arrive at $10^{-15}$ and stay. Points down there belong to the
# floating-point unit, not to the law: leave them out of the fit.
#
# ## Step 3: a network, and what to count
#
# Now $f = \exp(\sin \pi x_1 + x_2^2)$ with $[2, 1, 1]$. Three edges, trained: the best shape is given, the
# numbers must be found. For every seed new data, a new start, and a staircase of grids (tutorial 04). The
# four corners of the square are always among the samples: sums of monotone functions are extreme there, and
# an edge that has never seen its extreme values cannot know them.


# %%
def f(X):
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


def samples(f, seed, n=1000, noise=0.0):
    """X, y to train on and X_test, y_test without noise."""
    rng = np.random.default_rng(seed)
    X, X_test = rng.uniform(-1, 1, (n, 2)), rng.uniform(-1, 1, (4000, 2))
    X[:4] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    return X, f(X) + noise * rng.normal(size=n), X_test, f(X_test)


def staircase(f, widths, grids, seed, n=1000, noise=0.0):
    """Rows (intervals, parameters, training error, test error, median and largest error of the test points)."""
    X, y, X_test, y_test = samples(f, seed, n, noise)
    model = kanref.Model.build(widths, intervals=grids[0], base=None, seed=seed).fit(X, y, steps=100)
    rows = []
    for G in grids:
        model = model.update_grid(X).fit(X, y, optimizer="lm", intervals=[G], steps=40)
        sizes = np.abs(model.predict(X_test) - y_test)
        rows.append((G, model.net.size, model.rmse(X, y), model.rmse(X_test, y_test), np.median(sizes), sizes.max()))
    return np.array(rows)


seeds = (0, 1, 2)
runs = np.array([staircase(f, [2, 1, 1], (5, 10, 20, 40), seed) for seed in seeds])
G, N, _, test = np.moveaxis(runs, 2, 0)[:4]
by_G = np.array([exponent(*pair) for pair in zip(G, test)])
by_N = np.array([exponent(*pair) for pair in zip(N, test)])
print("exponents by intervals  ", by_G.round(2))
print("exponents by parameters ", by_N.round(2))
assert 3.5 < np.median(by_G) < 4.5
assert np.median(by_N) > np.median(by_G) + 0.5

# %% [markdown]
# Four, in two dimensions as in one. The theorem holds, as far as one can tell from four grids. But look at
# the second line: as a law in *parameters* the same numbers have an exponent of five! No miracle. A spline
# edge has $G + 3$ coefficients, so five intervals cost 8 numbers and ten cost 13: from 5 to 40, $G$ grows
# eightfold, $N$ only fivefold. The theorem is about $G$. Asymptotically $N \sim 3 G$ and both agree, but
# nobody measures there. A plot against $N$ (as in the paper's figure 3.1) flatters small grids, and a
# comparison must use the same axis for both sides.

# %%
constant = np.log(N[0, -1] / N[0, 0]) / np.log(G[0, -1] / G[0, 0])
print(
    f"log N grows {constant:.2f} times as fast as log G: {np.median(by_G):.2f} / {constant:.2f} = "
    f"{np.median(by_G) / constant:.2f}"
)
assert abs(np.median(by_G) / constant - np.median(by_N)) < 0.3

# %% [markdown]
# ## Step 4: median, not mean
#
# Training is a search, and sometimes it fails. Suppose that one of three runs had got stuck after its first
# grid. What do mean and median over the seeds make of it?

# %%
stuck = test.copy()
stuck[2, 1:] = test[2, 0]
summary = {
    "mean": exponent(G[0], stuck.mean(0)),
    "geometric mean": exponent(G[0], np.exp(np.log(stuck).mean(0))),
    "median": exponent(G[0], np.median(stuck, 0)),
}
for name, alpha in summary.items():
    print(f"{name:15s} alpha = {alpha:.2f}")
assert summary["mean"] < 1 < summary["geometric mean"] < summary["median"] - 0.5

# %% [markdown]
# One bad run, and the mean tells of nothing else, since errors of good runs are smaller by orders of
# magnitude and do not count in a sum. It measures how often training fails, not how accurate a network is.
# The median asks the second question. (State the first as well: in how many runs?)
#
# The same happens inside one network. A mean square over test points is ruled by the worst of them. On the
# finest grid of seed 3 this is a *single* point of four thousand, at the rim of the square, where the hidden
# value is larger than any of the training samples':

# %%
rough = staircase(f, [2, 1, 1], (5, 10, 20, 40), seed=3)
for name, column in (("root mean square", 3), ("median of points", 4)):
    errors = " ".join(f"{error:.0e}" for error in rough[:, column])
    print(f"{name}: {errors}   alpha = {exponent(G[0], rough[:, column]):.2f}")
share = rough[-1, 5] ** 2 / (4000 * rough[-1, 3] ** 2)
print(f"share of one point in the mean square on the finest grid: {share:.0%}")
assert share > 0.8 and rough[-1, 3] > 10 * rough[-1, 4]
assert exponent(G[0], rough[:, 3]) < 3.5 and exponent(G[0], rough[:, 4]) > 4

# %% [markdown]
# The paper reports just this for the same function: an exponent of 3 for the mean and of 4 for the median, by
# effects of the boundary.
#
# ## Step 5: the MLP, by the same rules
#
# A fair comparison changes the network and nothing else: the same data, the same optimisers, float64, several
# sizes. `kanref.mlp` is a KAN with a fixed tanh on every edge, so the same `fit` trains it,
# Levenberg-Marquardt and all.


# %%
def perceptron(width, seed):
    """(parameters, test error) of an MLP with two hidden layers."""
    X, y, X_test, y_test = samples(f, seed)
    net = mlp([2, width, width, 1], "tanh")
    model = kanref.Model(net, start(net, seed)).fit(X, y, steps=100)
    model = model.fit(X, y, optimizer="lm", steps=50)
    return net.size, model.rmse(X_test, y_test)


widths = (3, 6, 12)
theirs = np.array([[perceptron(width, seed) for width in widths] for seed in seeds])
alphas = [exponent(*rows.T) for rows in theirs]
for width, rows in zip(widths, np.moveaxis(theirs, 1, 0)):
    errors = " ".join(f"{error:.0e}" for error in rows[:, 1])
    print(f"width {width:2d}: {rows[0, 0]:3.0f} parameters, test errors {errors}")
print(f"alpha by parameters: MLP {np.median(alphas):.2f}, KAN {np.median(by_N):.2f}")
assert np.median(alphas) < np.median(by_N) - 1
assert np.median(test[:, -1]) < np.median(theirs[:, -1, 1]) / 10

# %%
figure, axis = plt.subplots(figsize=(7.5, 3.8))
for sizes, errors, colour, name in ((N, test, BLUE, "KAN [2, 1, 1]"), (theirs[..., 0], theirs[..., 1], RED, "MLP")):
    for row in zip(sizes, errors):
        axis.loglog(*row, color=colour, lw=0.8, alpha=0.5)
    axis.loglog(sizes[0], np.median(errors, 0), "o-", color=colour, lw=2, label=f"{name}, median")
axis.loglog(N[0], test[0, 0] * (N[0] / N[0, 0]) ** -4.0, ":", color=INK, label="slope −4")
axis.loglog(N[0], test[0, 0] * (N[0] / N[0, 0]) ** -2.0, "--", color=INK, lw=0.8, label="slope −4/2")
axis.set(title="the same data, the same optimisers", xlabel="parameters", ylabel="test error")
axis.set_xticks((25, 50, 100, 200), labels=["25", "50", "100", "200"])
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown]
# The KAN falls faster and ends lower by orders of magnitude with fewer numbers. Two honest remarks. It was
# *given* the shape of the formula, and the MLP had no use for such a gift. And the MLP's points scatter by
# factors from seed to seed, so a slope from three widths is a rough figure: its first digit at best.
#
# ## Step 6: where it stops
#
# **Stop three: data.** A network with $N$ parameters and fewer than $N$ samples can satisfy them all and be
# anything in between. The paper sees the test error turn upwards near $N$ = samples (section 2.4 and figure
# 2.3): the *interpolation threshold*. With 100 samples that comes early:

# %%
few = np.array([staircase(f, [2, 1, 1], (5, 10, 20, 40), seed, n=100) for seed in seeds])
train_few, test_few = np.median(few[..., 2], 0), np.median(few[..., 3], 0)
for k, size in enumerate(few[0, :, 1]):
    print(f"{size:3.0f} parameters, 100 samples: training error {train_few[k]:.0e}, test error {test_few[k]:.0e}")
assert (np.diff(train_few) < 0).all()
assert test_few[-1] > 30 * train_few[-1] and test_few[-1] > 10 * np.median(test[:, -1])

# %% [markdown]
# Training and test part company before the threshold: splines are local, so what counts is not the samples in
# all but those in the emptiest interval. **Noise** is the same stop in slow motion. With noise of size
# $\sigma$ in $n$ samples, least squares with $K$ coefficients has on average
#
# $$\text{error}^2 = \underbrace{(C\, G^{-4})^2}_{\text{bias}} + \underbrace{\sigma^2 K / n}_{\text{variance}},$$
#
# (the trace of a projection is its rank). Every coefficient costs the same and brings less than the one
# before.

# %%
sigma, n = 1e-3, 1000
t = np.linspace(-1, 1, n)
noisy_grids = np.array([4, 8, 16, 32, 64, 128])
squares, bias = np.zeros(len(noisy_grids)), np.zeros(len(noisy_grids))
rng = np.random.default_rng(0)
for k, intervals in enumerate(noisy_grids):
    B = kanref.BSpline.uniform(1, intervals, 3, -1, 1).dense(t[:, None])[:, 0]
    Q = np.linalg.qr(B)[0]
    clean = np.sin(np.pi * t)
    noise = sigma * rng.normal(size=(n, 50))
    fitted = Q @ (Q.T @ (clean[:, None] + noise))
    squares[k] = np.mean((fitted - clean[:, None]) ** 2)
    bias[k] = np.mean((Q @ (Q.T @ clean) - clean) ** 2)
law = bias + sigma**2 * (noisy_grids + 3) / n
for row in zip(noisy_grids, np.sqrt(squares), np.sqrt(law)):
    print("{:4d} intervals: error {:.1e}, by the formula {:.1e}".format(*row))
assert np.abs(squares / law - 1).max() < 0.15
assert 0 < squares.argmin() < 3  # the best grid is neither the coarsest nor a fine one

# %% [markdown]
# **Stop four: the wrong shape.** Theorem 2.1 has an *if*: if the target is a composition of that shape. The
# product $x_1 x_2 = \tfrac14 [(x_1 + x_2)^2 - (x_1 - x_2)^2]$ is one of shape $[2, 2, 1]$, but not of
# $[2, 1, 1]$:

# %%
product = lambda X: X[:, 0] * X[:, 1]
shapes = {
    tuple(widths): np.median([staircase(product, widths, (3, 6, 12), seed)[:, 3] for seed in seeds], 0)
    for widths in ([2, 1, 1], [2, 2, 1])
}
for shape, errors in shapes.items():
    print(list(shape), " ".join(f"{error:.0e}" for error in errors))
assert shapes[2, 1, 1].min() > 0.01
assert shapes[2, 2, 1][-1] < shapes[2, 1, 1][-1] / 30

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
axes[0].loglog(few[0, :, 1], train_few, "o-", color=PALE, label="training")
axes[0].loglog(few[0, :, 1], test_few, "o-", color=RED, label="test, 100 samples")
axes[0].loglog(N[0], np.median(test, 0), "o-", color=BLUE, label="test, 1000 samples")
axes[0].axvline(100, color=INK, ls=":", lw=1)
axes[0].set(title="data", xlabel="parameters")
axes[0].set_xticks((25, 50, 100), labels=["25", "50", "100"])
axes[0].minorticks_off()
axes[1].loglog(noisy_grids, np.sqrt(squares), "o", color=RED, label="error")
axes[1].loglog(noisy_grids, np.sqrt(law), color=INK, lw=1, label="formula")
axes[1].loglog(noisy_grids, np.sqrt(bias), ":", color=BLUE, label="bias")
axes[1].loglog(noisy_grids, sigma * np.sqrt((noisy_grids + 3) / n), ":", color=GOLD, label="variance")
axes[1].set(title="noise", xlabel="intervals", ylim=(1e-7, None))
for (shape, errors), colour in zip(shapes.items(), (RED, BLUE)):
    axes[2].loglog((3, 6, 12), errors, "o-", color=colour, label=str(list(shape)))
axes[2].set(title="shape", xlabel="intervals")
axes[2].set_xticks((3, 6, 12), labels=["3", "6", "12"])
axes[2].minorticks_off()
for axis in axes:
    axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# No grid helps against the wrong shape. This is what the number four is about. It is not a property of
# splines alone, nor of networks, but of a target that has the structure one assumes.
#
# ## In practice
#
# - `kanref reproduce scaling` does this for the five functions of the paper with more sizes, and prints the
#   exponents by intervals and by parameters beside the theory's.
# - Report: the range of the fit, what is counted, the number of seeds, median and worst, and the floor.
# - Train to convergence at every size, or the exponent is that of your patience. Levenberg-Marquardt makes
#   this cheap.
# - Choose the grid by validation. All four stops announce themselves there.
#
# ## On your own
#
# 1. Repeat step 3 with degree 5. Where does the line end, and why before $10^{-15}$?
# 2. Give the KAN the shape $[2, 5, 1]$ instead of $[2, 1, 1]$, and compare with the MLP again.
# 3. Fit the exponent of step 3 on $G = 5, 10$ alone, then on $20, 40$. By how much do you trust the second
#    digit?
# 4. In the formula for noise, find the best $G$ as a function of $\sigma^2/n$. How fast does the error fall
#    with $n$?
