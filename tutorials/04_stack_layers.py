# %% [markdown]
# # Stack layers and train them
#
# One layer adds up functions of one variable. Two layers put functions inside functions, and that is enough for
# surprisingly much. Our example is the one that runs through the KAN paper (Liu et al., arXiv 2404.19756,
# figure 2.3),
#
# $$f(x_1, x_2) = \exp\!\big(\sin(\pi x_1) + x_2^2\big).$$
#
# Somebody who is given only samples of $f$ will not see a sine, a square and an exponential in them. A network
# of shape $[2, 1, 1]$, two inputs, one hidden node, one output, has exactly three edges. Will it find them?
#
# **What you'll do.** Stack two layers, train them with two optimisers of your own, find out why finer grids do
# not help at first, climb a staircase of ever finer grids to a test error of $2 \cdot 10^{-5}$, and look at
# what the edges have become.
#
# **What you'll learn**
#
# - why all parameters live in one flat vector, and how to look into it;
# - that every objective is a function `theta -> (value, gradient)`, and every optimiser takes any of them;
# - that hidden values wander off their grid, and what to do about it;
# - what grid extension buys, and when it stops paying.
#
# **What you'll need.** Tutorials 02 and 03.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

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


def f(X):
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


rng = np.random.default_rng(0)
X, X_test = rng.uniform(-1, 1, (1000, 2)), rng.uniform(-1, 1, (1000, 2))
y, y_test = f(X), f(X_test)

# %% [markdown]
# ## Step 1: structure here, numbers there
#
# A `KAN` is structure only: shapes, knots, base functions. It holds no parameters. All that is trained is one
# flat vector `theta`, and `net(theta, X)` reads as $f(x; \theta)$.

# %%
net = kanref.kan([2, 1, 1], intervals=5, degree=3)
theta = net.init(seed=1)
print(net)
assert net.size == theta.size == 27  # three edges, each with 5 + 3 splines and one base weight
assert net(theta, X).shape == (1000, 1)

# %% [markdown]
# `split` gives names to pieces of the vector. They are *views*: writing into one writes into `theta`. So an
# optimiser sees a plain vector and never hears of layers, while we see arrays of shape (out, in, basis).

# %%
for name, view in net.split(theta).items():
    print(f"{name:15s} {view.shape}")
copy = theta.copy()
net.split(copy)["1.spline.W"][...] = 0
assert np.count_nonzero(copy != theta) == 8

# %% [markdown]
# ## Step 2: backward through the stack
#
# A network is a composition (eq. 2.7 of the paper). Forward, each layer hands its output to the next and keeps
# a *tape* of what its backward pass will need. Backward, each hands the adjoint of its input to the layer
# below. Stacking is nothing but two loops:

# %%
arrays = [{name: net.split(theta)[f"{l}.{name}"] for name in layer.arrays} for l, layer in enumerate(net.layers)]

z, tapes = X[None], []
for layer, own in zip(net.layers, arrays):
    z, tape = layer.forward(own, z)
    tapes.append(tape)

bar = 2 * (z - y[None, :, None]) / len(y)  # the adjoint of the outputs for the mean squared error
gradients = {}
for l in reversed(range(2)):
    own_bar, bar = net.layers[l].pullback(tapes[l], bar)
    gradients.update({f"{l}.{name}": array for name, array in own_bar.items()})

objective = kanref.mse(net, X, y)
value, gradient = objective(theta)
assert np.abs(net.join(gradients) - gradient).max() < 1e-13 * np.abs(gradient).max()

# %% [markdown]
# `kanref.mse(net, X, y)` does the same. It returns an **objective**, a function `theta -> (value, gradient)`,
# and this is the only thing that networks and optimisers ever say to each other.
#
# ## Step 3: two optimisers, by hand
#
# **Adam** (Kingma and Ba, algorithm 1) follows averaged gradients, each component scaled by its own typical
# size.


# %%
def my_adam(objective, theta, steps, rate):
    m, v, values = 0, 0, []
    for t in range(1, steps + 1):
        value, g = objective(theta)
        values.append(value)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta, values


# %% [markdown]
# **L-BFGS** remembers the last few steps $s$ and how the gradient changed along them, $y$. From these pairs it
# makes a model of the curvature, and jumps towards the minimum of the model (Nocedal and Wright, algorithms 7.4
# and 7.5). The two loops over the pairs multiply $-g$ by the inverse Hessian of the model, which is never
# written down. Our line search is the simplest: halve the step until the value goes down enough.


# %%
def my_lbfgs(objective, theta, steps, memory=10):
    value, g = objective(theta)
    pairs, values = [], [value]
    for _ in range(steps):
        d, alphas = -g, []
        for s, y in reversed(pairs):
            alphas.append((s @ d) / (s @ y))
            d = d - alphas[-1] * y
        if pairs:
            s, y = pairs[-1]
            d = d * (s @ y) / (y @ y)
        for (s, y), alpha in zip(pairs, reversed(alphas)):
            d = d + (alpha - (y @ d) / (s @ y)) * s
        t = 1.0 if pairs else 1 / np.linalg.norm(g)
        while (trial := objective(theta + t * d))[0] > value + 1e-4 * t * (g @ d):
            t = t / 2
        if t * d @ (trial[1] - g) > 1e-8 * np.linalg.norm(t * d) * np.linalg.norm(trial[1] - g):
            pairs = [*pairs, (t * d, trial[1] - g)][-memory:]
        theta, (value, g) = theta + t * d, trial
        values.append(value)
    return theta, values


# %% [markdown]
# Since objectives are plain functions, ours, kanref's and SciPy's optimisers all take the same one, unchanged:

# %%
curves = {}
adam_theta, curves["Adam, rate 0.001"] = my_adam(objective, theta, 400, rate=0.001)
_, curves["Adam, rate 0.02"] = my_adam(objective, theta, 400, rate=0.02)
_, curves["L-BFGS, ours"] = my_lbfgs(objective, theta, 400)
result = kanref.lbfgs(objective, theta, steps=400)
curves["L-BFGS, kanref"] = result.history.value
seen = []
watch = lambda t: seen.append(objective(t)[0])
options = {"maxiter": 400, "ftol": 0, "gtol": 1e-12}
minimize(objective, theta, jac=True, method="L-BFGS-B", callback=watch, options=options)
curves["L-BFGS, SciPy"] = seen

theirs = kanref.adam(objective, theta, steps=399, rate=0.001)
assert np.allclose(theirs.history.value, curves["Adam, rate 0.001"], rtol=1e-10)  # the same method, the same numbers
final = {name: np.sqrt(values[-1]) for name, values in curves.items()}
for name, rmse in final.items():
    print(f"{name:18s} root mean squared error {rmse:.4f}")
assert final["Adam, rate 0.001"] > 0.5
assert final["Adam, rate 0.02"] > 10 * max(error for name, error in final.items() if "BFGS" in name)
assert all(0.005 < error < 0.009 for name, error in final.items() if "BFGS" in name)

# %%
figure, axis = plt.subplots(figsize=(8, 3.6))
for (name, values), colour in zip(curves.items(), ("#e8c98b", GOLD, RED, BLUE, GREEN)):
    axis.semilogy(np.sqrt(values), color=colour, lw=1.8, label=name)
axis.set(title="the same objective, five runs", xlabel="steps", ylabel="root mean squared error")
axis.legend(fontsize=8, loc="center right", bbox_to_anchor=(1, 0.35))
plt.show()

# %% [markdown]
# Curvature pays: after 400 steps L-BFGS is ten times below Adam, without a learning rate to choose. (Adam has
# its day with minibatches, where values are noisy and line searches are lost.) And all three L-BFGS end close
# together, near 0.007. No optimiser gets below 0.005 here: this is all that five intervals can do.
#
# ## Step 4: the staircase, first attempt
#
# A coarse grid trains quickly, since it has few parameters. A fine grid is accurate. *Grid extension* has both:
# train with few intervals, move every edge to more intervals by least squares (eq. 2.16), and go on from there.
# Theory says that each doubling of a cubic grid divides the error by up to $2^4 = 16$.


# %%
def train(net, theta, X, y, steps):
    """L-BFGS: theta, and the root mean squared errors along the way."""
    result = kanref.lbfgs(kanref.mse(net, X, y), theta, steps=steps)
    return result.theta, list(np.sqrt(result.history.value[1:]))


def rmse(net, theta, X, y):
    return np.sqrt(np.mean((net(theta, X)[:, 0] - y) ** 2))


fixed_net, fixed_theta, flat = net, theta, []
for G, steps in ((5, 1200), (10, 1050), (20, 1050)):
    if G > 5:
        fixed_net, fixed_theta, _ = kanref.extend(fixed_net, fixed_theta, G, X)
    fixed_theta, errors = train(fixed_net, fixed_theta, X, y, steps)
    flat.append(errors)
    print(f"{G:2d} intervals: {errors[-1]:.1e}")
assert flat[0][-1] > 0.005
assert flat[0][-1] < 50 * flat[2][-1]

# %% [markdown]
# Two doublings should bring a factor of 256. They bring nothing of the kind. Something is wrong, and it is
# worth knowing, because it happens to everybody. Look at the values that arrive at the second layer, and at the
# domain of its B-splines:

# %%
hidden = fixed_net.activations(fixed_theta, X)[1][:, 0]
low, high = fixed_net.layers[1].terms["spline"].basis.domain[0]
print(f"hidden values from {hidden.min():.2f} to {hidden.max():.2f}, domain [{low:.0f}, {high:.0f}]")
assert low == -1 and high == 1
assert hidden.min() < -1 and hidden.max() < 0

# %% [markdown]
# ## Step 5: follow the hidden values
#
# Some values lie outside of the grid, where the B-splines fade away, and more than half of the grid sees no
# value at all. Nothing in the loss keeps hidden values in $[-1, 1]$; stretching or shifting them, and undoing
# it in the last edge, gives the same function. So they drift. The paper's remedy is to move the knots after
# them: `update_from_samples` lays a new grid over the range of the values that really arrive, layer by layer,
# and refits the coefficients by least squares, as in tutorial 02, so that the function changes little. (pykan
# does this every five steps at the beginning of training; a few times is enough.)

# %%
snapshots, stairs = {}, []
short_theta, _ = train(net, theta, X, y, 8)
snapshots["after 8 steps"] = net, short_theta
for G, updates in ((5, 4), (10, 1), (20, 1)):
    errors = []
    if G > 5:
        net, theta, _ = kanref.extend(net, theta, G, X)
    for _ in range(updates):
        theta, more = train(net, theta, X, y, 50)
        net, theta, _ = kanref.update_from_samples(net, theta, X)
        errors += more
    theta, more = train(net, theta, X, y, 1000)
    stairs.append((G, errors + more, rmse(net, theta, X_test, y_test)))
    snapshots[f"{G} intervals"] = net, theta

published = {5: 6.62e-3, 10: 4.15e-4, 20: 4.51e-5}
print("intervals  training   test       test, authors")
for G, errors, test in stairs:
    print(f"{G:<11d}{errors[-1]:<11.1e}{test:<11.1e}{published[G]:.1e}")
tests = np.array([test for _, _, test in stairs])
assert (tests < [7e-3, 4.5e-4, 4e-5]).all() and 1.5e-5 < tests[2] < 2.5e-5
assert 18 < tests[0] / tests[1] < 26 and 13 < tests[1] / tests[2] < 19
assert flat[-1][-1] > 10 * stairs[-1][1][-1]

# %%
figure, axis = plt.subplots(figsize=(8, 3.8))
begin = 0
for (G, errors, test), without in zip(stairs, flat):
    at = begin + np.arange(len(errors))
    axis.semilogy(begin + np.arange(len(without)), without, color=RED, lw=1.2)
    axis.semilogy(at, errors, color=BLUE, lw=1.6)
    axis.semilogy(at[-1], test, "o", color=INK, ms=5)
    axis.annotate(f"G = {G}\n{test:.1e}", (at[-1], 0.45 * test), ha="right", va="top", fontsize=8)
    axis.axvline(begin, color=PALE, lw=0.8)
    begin += len(errors)
axis.plot([], [], color=RED, label="training, knots fixed on [-1, 1]")
axis.plot([], [], color=BLUE, label="training, knots follow the hidden values")
axis.plot([], [], "o", color=INK, ms=5, label="test")
axis.set(title="a staircase of grids", xlabel="L-BFGS steps", ylabel="root mean squared error", ylim=(1e-6, 3))
axis.legend(fontsize=8, loc="upper right")
plt.show()

# %% [markdown]
# The test errors fall by a factor near twenty and one near sixteen, and end at $2 \cdot 10^{-5}$. The last
# column has the numbers of the authors' own notebook for the same problem.
#
# ## Step 6: look inside
#
# What have the three edges become? They cannot be *exactly* $\sin \pi x_1$, $x_2^2$ and $\exp$: a hidden value
# $u = \alpha\,(\sin \pi x_1 + x_2^2) + \beta$ serves as well, if the last edge computes
# $\exp((u - \beta)/\alpha)$. So we compare each edge with its target up to such a scale and shift.

# %%
line = np.linspace(-1, 1, 401)
pair = np.column_stack([line, line])
targets = np.sin(np.pi * line), line**2


def inner_edges(net, theta):
    """phi_1(x), phi_2(x) with their best alpha and beta: two rows of (curve, fit, alpha, beta)."""
    rows = []
    for curve, target in zip(net.edges(theta, 0, pair)[:, 0].T, targets):
        A = np.column_stack([target, np.ones_like(target)])
        alpha, beta = np.linalg.lstsq(A, curve)[0]
        rows.append((curve, A @ [alpha, beta], alpha, beta))
    return rows


(first, first_fit, alpha, beta), (second, second_fit, alpha_2, beta_2) = inner_edges(net, theta)
print(f"edge 1 = {alpha:.4f} sin(pi x) + {beta:.4f} up to {np.abs(first - first_fit).max():.0e}")
print(f"edge 2 = {alpha_2:.4f} x^2 + {beta_2:.4f} up to {np.abs(second - second_fit).max():.0e}")
u = np.linspace(*np.quantile(net.activations(theta, X)[1], [0, 1]), 401)
last = net.edges(theta, 1, u[:, None])[:, 0, 0]
exponential = np.exp((u - beta - beta_2) / alpha)
print(f"edge 3 = exp((u - {beta + beta_2:.4f}) / {alpha:.4f}) up to {np.abs(last - exponential).max():.0e}")

assert np.abs(first - first_fit).max() < 1e-3 * abs(alpha)
assert np.abs(second - second_fit).max() < 1e-3 * abs(alpha)
assert abs(alpha_2 / alpha - 1) < 1e-3  # one scale for both: the outer edge can undo only one
assert np.abs(last - exponential).max() < 1e-2

# %%
figure, axes = plt.subplots(3, 3, figsize=(9, 6.2))
for row, label in zip(axes, ("after 8 steps", "5 intervals", "20 intervals")):
    n, t = snapshots[label]
    (c1, fit1, a, b1), (c2, fit2, _, b2) = inner_edges(n, t)
    u = np.linspace(*np.quantile(n.activations(t, X)[1], [0, 1]), 401)
    c3 = n.edges(t, 1, u[:, None])[:, 0, 0]
    row[0].plot(line, fit1, color=PALE, lw=5, label="target, scaled, shifted")
    row[0].plot(line, c1, color=INK, lw=1.4, label="learned")
    row[1].plot(line, fit2, color=PALE, lw=5)
    row[1].plot(line, c2, color=INK, lw=1.4)
    if label != "after 8 steps":
        row[2].plot(u, np.exp((u - b1 - b2) / a), color=PALE, lw=5)
    row[2].plot(u, c3, color=INK, lw=1.4)
    row[0].set_ylabel(label, fontsize=10)
for axis, title in zip(axes[0], ("edge 1: sin πx?", "edge 2: x²?", "edge 3: exp?")):
    axis.set_title(title)
axes[0, 0].legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, 1.05))
axes[0, 0].set_ylim(top=0.5)
plt.show()

# %% [markdown]
# A sine, a parabola and an exponential, found from samples alone. From here it is a small step to snap each
# edge to its formula, and to read off $f$.
#
# ## Step 7: when finer is worse
#
# The shape $[2, 1, 1]$ was a gift: usually nobody tells us. Take $[2, 5, 1]$, and only 300 samples.

# %%
few, few_y = X[:300], y[:300]
wide_net = kanref.kan([2, 5, 1], intervals=3)
wide_theta = wide_net.init(seed=0)
ladder = []
for G in (3, 5, 10, 20, 40, 80):
    if G > 3:
        wide_net, wide_theta, _ = kanref.extend(wide_net, wide_theta, G, few)
    for _ in range(2 if G == 3 else 0):
        wide_theta, _ = train(wide_net, wide_theta, few, few_y, 50)
        wide_net, wide_theta, _ = kanref.update_from_samples(wide_net, wide_theta, few)
    wide_theta, errors = train(wide_net, wide_theta, few, few_y, 300)
    ladder.append((G, wide_net.size, errors[-1], rmse(wide_net, wide_theta, X_test, y_test)))
print("intervals  parameters  training   test")
for G, size, training, test in ladder:
    print(f"{G:<11d}{size:<12d}{training:<11.1e}{test:.1e}")
G, sizes, training, test = map(np.array, zip(*ladder))
assert (np.diff(training) < 0).all()
assert G[test.argmin()] in (5, 10) and test[-1] > 10 * test.min()
assert sizes[2] == 210 and sizes[3] == 360

figure, axis = plt.subplots(figsize=(6.5, 3.4))
axis.axvline(300 / 15, color=PALE, lw=6, alpha=0.6)
axis.annotate("15 G = 300", (300 / 15 * 1.07, 1.5e-6), color="#66788a")
axis.loglog(G, training, "o-", color=GOLD, label="training")
axis.loglog(G, test, "o-", color=BLUE, label="test")
axis.set(title="[2, 5, 1] on 300 samples", xlabel="intervals G", ylabel="root mean squared error")
axis.set_xticks(G, labels=G)
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown]
# The training error falls and falls. The test error is lowest at 5 or 10 intervals and then climbs by more than
# a factor of ten: near $G = 300/15 = 20$ there are as many parameters as samples, and from there on the network
# interpolates. No noise is needed for that; between the samples it is free, and uses its freedom. The right
# *shape* is worth more than the finest grid: finding it is what sparsification and pruning are for.
#
# ## In practice
#
# All of this page once more with `Model`, the face of kanref, which keeps `net` and `theta` together:

# %%
model = kanref.Model.build([2, 1, 1], seed=0)
for G in (5, 10):
    model = model.fit(X, y, steps=100, intervals=[G]).update_grid(X).fit(X, y, steps=600)
print(f"test error {model.rmse(X_test, y_test):.1e}")
assert model.rmse(X_test, y_test) < 1e-3

# %% [markdown]
# - Start from several seeds and keep the best: small networks have bad valleys. It costs seconds.
# - Update grids early and seldom. Right after an update, a quasi-Newton method has to learn its curvature
#   again.
# - Extend until the *test* error stops falling, never longer.
#
# ## On your own
#
# 1. Run step 5 with seeds 0 to 9. How many reach $10^{-4}$ at $G = 20$? What do the others look like inside?
# 2. Replace `kanref.lbfgs` in `train` by `kanref.levenberg_marquardt(objective.residuals, ...)`. How many steps
#    does it need?
# 3. Train $f = x_1 x_2$ with shape $[2, 2, 1]$. Which two squares does it find? (Write the product as a
#    difference.)
# 4. Give the last edge of step 2 `outside="linear"` in the place of the default. What becomes of step 4?
