# %% [markdown]
# # Differentiate a network by its inputs, and solve an equation with it
#
# Training differentiates the loss by the *parameters*. Physics asks for something else: how the network changes
# with its *inputs*. A function that solves $u'' = f$ must have the right second derivative, and to train it we
# need the gradient of a loss that contains $u''$. No framework is needed for that; the chain rule, carried
# forward in a small packet of numbers, does it.
#
# **What you'll do.** Carry first and second derivatives through a network by hand, assemble gradients, Hessians
# and Laplacians from them, and solve two boundary value problems to more than six digits, one of them twice.
#
# **What you'll learn**
#
# - what a *jet* is, and the three lines of chain rule that move it through a layer;
# - how a mixed derivative comes out of three pure ones (polarisation);
# - how to write a differential equation as an objective, with boundary conditions of both kinds;
# - why cubic splines are a trap for second-order equations, and what to use in their place.
#
# **What you'll need.** Tutorials 03 and 04.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq

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
# ## Step 1: a jet goes through a layer
#
# Walk through the input space along a straight line $x + t v$. Every number in the network becomes a function
# of $t$, and of each we carry three things: the value, the first and the second derivative at $t = 0$. Such a
# packet $(z_0, z_1, z_2)$ is a *jet*. At the entrance it is $(x, v, 0)$. A basis function $b$ changes it by the
# chain rule,
#
# $$F_0 = b(z_0), \qquad F_1 = b'(z_0)\, z_1, \qquad F_2 = b''(z_0)\, z_1^2 + b'(z_0)\, z_2,$$
#
# and the weights, being linear, mix the three parts alike. That is all:


# %%
def layer(basis, W, z):
    """A jet z (3, N, P) of the inputs -> the jet (3, N, Q) of the outputs."""
    b, b_1, b_2 = (basis.dense(z[0], order) for order in (0, 1, 2))  # each (N, P, K)
    _, z_1, z_2 = z[..., None]
    F = np.stack([b, b_1 * z_1, b_2 * z_1**2 + b_1 * z_2])
    return np.einsum("qpi,mnpi->mnq", W, F)


net = kanref.kan([2, 3, 1], intervals=4, degree=5, base=None, outside="linear")
rng = np.random.default_rng(4)
theta = 0.5 * rng.normal(size=net.size)
x = rng.uniform(-0.9, 0.9, (50, 2))
v = np.array([0.6, -0.8])

z = np.stack([x, np.broadcast_to(v, x.shape), np.zeros_like(x)])
for l in range(2):
    z = layer(net.layers[l].terms["spline"].basis, net.split(theta)[f"{l}.spline.W"], z)
u, slope, curvature = z[..., 0]

# %% [markdown]
# kanref does the same in its compiled kernel, for any number of directions at once: `net.derivatives`. The
# definition `kanref.spec` takes another road, truncated Taylor series, and goes to any order. Finite
# differences take a third. The first two agree to all digits; the differences to the few that they have.

# %%
_, kernel_slope, kernel_curvature = net.derivatives(theta, x, v[None])
assert np.abs(kernel_slope[0, :, 0] - slope).max() < 1e-12 * np.abs(slope).max()
assert np.abs(kernel_curvature[0, :, 0] - curvature).max() < 1e-12 * np.abs(curvature).max()

definition = check.definition(net, theta)
by_series = np.array([spec.derivatives(definition, point, v, order=4)[0] for point in x])
h = 1e-4
value = lambda t: net(theta, x + t * v)[:, 0]
by_difference = (value(h) - 2 * value(0) + value(-h)) / h**2
scale = np.abs(curvature).max()
series_error = np.abs(by_series[:, 2] - curvature).max() / scale
difference_error = np.abs(by_difference - curvature).max() / scale
print(f"second derivatives against the jet: series {series_error:.0e}, differences {difference_error:.0e}")
assert series_error < 1e-12
assert 1e-9 < difference_error < 1e-4

# %% [markdown]
# A jet of order two knows the parabola that hugs the curve best:

# %%
line_net = kanref.kan([1, 3, 1], intervals=4, degree=5, outside="linear")
line_theta = np.random.default_rng(2).normal(size=line_net.size)
t = np.linspace(-1, 1, 601)
curve, _, _ = line_net.derivatives(line_theta, t)
figure, axis = plt.subplots(figsize=(8, 3.2))
axis.plot(t, curve[:, 0], color=INK, lw=2, label="the network u(x)")
for point, colour in ((-0.72, BLUE), (-0.1, GREEN), (0.55, RED)):
    at, first, second = (part.item() for part in line_net.derivatives(line_theta, np.array([point])))
    near = np.linspace(-0.28, 0.28, 101)
    axis.plot(point + near, at + first * near + second * near**2 / 2, color=colour, lw=1.4)
    axis.plot(point, at, "o", color=colour)
low, high = curve.min(), curve.max()
axis.set(ylim=(low - 0.25 * (high - low), high + 0.25 * (high - low)), xlabel="x")
axis.set(title="three jets and their parabolas  u + u′ t + u″ t² / 2")
axis.legend()
plt.show()

# %% [markdown]
# ## Step 2: gradient, Hessian, Laplacian
#
# Directions along the axes give the gradient and the pure second derivatives $u_{ii}$; the sum of these is the
# Laplacian. What about $u_{ij}$? Along the diagonal $v = e_i + e_j$ the second derivative is
#
# $$u_{vv} = u_{ii} + 2 u_{ij} + u_{jj}, \qquad\text{hence}\qquad 2 u_{ij} = u_{vv} - u_{ii} - u_{jj}.$$
#
# Mixed derivatives come from pure ones. So a jet never needs more than one direction at a time, and a full
# Hessian in $n$ dimensions takes $n(n+1)/2$ of them. (This trick is called polarisation.)

# %%
directions = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
u, first, second = (part[..., 0] for part in net.derivatives(theta, x, directions))
u_xx, u_yy = second[0], second[1]
u_xy = (second[2] - u_xx - u_yy) / 2

hessian = net.hessian(theta, x)[:, 0]
assert np.abs(np.array([u_xx, u_xy, u_yy]) - hessian[:, [0, 0, 1], [0, 1, 1]].T).max() < 1e-12 * np.abs(hessian).max()
assert np.abs(net.gradient(theta, x)[:, 0].T - first[:2]).max() < 1e-12

# An independent witness for u_xy: the slope along y, differentiated along x by a complex step through the definition.
h = 1e-30
witness = [spec.derivatives(definition, [a + 1j * h, b + 0j], [0, 1], 1)[0, 1].imag / h for a, b in x]
assert np.abs(u_xy - witness).max() < 1e-12 * np.abs(hessian).max()

# %%
grid = np.linspace(-0.95, 0.95, 81)
plane = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
u, first, second = (
    part[..., 0].reshape(*part.shape[:-2], 81, 81) for part in net.derivatives(theta, plane, directions)
)
fields = u, (second[2] - second[0] - second[1]) / 2, second[0] + second[1]
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
for axis, field, title in zip(axes, fields, ("u and its gradient", "u_xy", "Laplacian u_xx + u_yy")):
    limit = np.abs(field).max()
    image = axis.contourf(grid, grid, field, 21, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set(title=title, aspect="equal", xlabel="x")
    figure.colorbar(image, ax=axis, shrink=0.8)
some = slice(4, None, 8)
axes[0].quiver(grid[some], grid[some], first[0][some, some], first[1][some, some], color=INK, width=0.006)
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# ## Step 3: higher orders
#
# kanref's kernels stop at order two: nearly all equations do. For more, and for doubt, there is the definition.
# We already have the fourth derivative from step 1; here the third is checked by a complex step of the jet's
# second.

# %%
by_step = []
for point in x:
    second_of = spec.derivatives(definition, point + 1j * 1e-30 * v, v, 2)[0, 2]
    by_step.append(second_of.imag / 1e-30)
assert by_series.shape == (50, 5)
assert np.abs(by_series[:, 3] - by_step).max() < 1e-12 * np.abs(by_series[:, 3]).max()

# %% [markdown]
# ## Step 4: an equation as an objective
#
# Now solve
#
# $$u''(x) = f(x), \quad x \in [-1, 1], \qquad u(-1) = u(1) = 0.$$
#
# We choose $u(x) = \sin \pi x + \tfrac15 \sin 5 \pi x$ and compute $f$ from it, so that the error can be
# measured (the *method of manufactured solutions*). The network is a single edge, and the loss is the mean
# squared *residual* $r = u'' - f$ at many points, plus a penalty for the boundary values. This is called
# collocation.
#
# `kanref.collocation` wants the residual and its partial derivatives by $u$, $u_i$ and $u_{ij}$; it takes care
# of the jets, forward and backward. Here $\partial r / \partial u_{xx} = 1$ and the others vanish:


# %%
def exact(x):
    return np.sin(np.pi * x) + np.sin(5 * np.pi * x) / 5


def f(x):
    return -(np.pi**2) * (np.sin(np.pi * x) + 5 * np.sin(5 * np.pi * x))


def poisson(x, u, u_i, u_ij):
    return u_ij[:, 0, 0, 0] - f(x[:, 0]), (None, None, np.ones((len(x), 1, 1, 1)))


def problem(intervals, degree):
    """The network and the objective."""
    net = kanref.kan([1, 1], intervals=intervals, degree=degree)
    points = np.linspace(-1, 1, 4 * intervals + 1)[:, None]
    ends = kanref.mse(net, np.array([[-1.0], [1.0]]), np.zeros(2))
    return net, kanref.weighted_sum([(1, kanref.collocation(net, points, poisson)), (100, ends)])


def error(net, theta):
    x = np.linspace(-1, 1, 2001)
    return np.abs(net(theta, x)[:, 0] - exact(x)).max()


# %% [markdown]
# The gradient of this loss contains third derivatives of the basis. Is it right? Ask the Taylor test and the
# complex step.

# %%
small_net, small = problem(8, 5)
point = small_net.init(seed=3)
report = check.check_objective(small, point, np.random.default_rng(0))
by_definition = check.complex_step(lambda theta: check.value(small, theta), point)
gradient = small(point)[1]
print(report, f"gradient against the complex step: {np.abs(gradient / by_definition - 1).max():.0e}")
assert abs(report.first - 2) < 0.1
assert np.abs(gradient - by_definition).max() < 1e-12 * np.abs(by_definition).max()

# %% [markdown]
# ## Step 5: solve it
#
# L-BFGS needs only the gradient. Levenberg-Marquardt asks for the residuals and their Jacobian,
# `objective.residuals`, and solves a damped least-squares problem in every step.

# %%
net, objective = problem(intervals=80, degree=5)
theta = net.init(seed=0)
slow = kanref.lbfgs(objective, theta, steps=1000)
fast = kanref.levenberg_marquardt(objective.residuals, theta, steps=50)
print(f"L-BFGS: {slow.steps} steps, error {error(net, slow.theta):.0e}")
print(f"Levenberg-Marquardt: {fast.steps} steps, error {error(net, fast.theta):.0e}")
assert error(net, fast.theta) < 2e-7
assert fast.steps < 15
assert not slow.converged and error(net, slow.theta) > 100 * error(net, fast.theta)

# %%
fine = np.linspace(-1, 1, 1201)
solution, _, second = (part[..., 0] for part in net.derivatives(fast.theta, fine))
residual = second[0] - f(fine)
assert np.abs(residual).max() > 1e4 * error(net, fast.theta)
figure, axes = plt.subplots(2, 2, figsize=(10, 4.8))
axes[0, 0].plot(fine, exact(fine), color=PALE, lw=5, label="exact")
axes[0, 0].plot(fine, solution, color=INK, lw=1.4, label="network")
axes[0, 0].legend(loc="upper left")
axes[0, 0].set(title="the solution u")
axes[0, 1].plot(fine, 1e8 * (solution - exact(fine)), color=RED, lw=1)
axes[0, 1].set(title="its error, times 10⁸")
axes[1, 0].plot(fine, residual, color=BLUE, lw=0.6)
axes[1, 0].set(title="the residual u″ − f, which the loss sees", xlabel="x")
axes[1, 1].semilogy(slow.history.value, color=GOLD, label="L-BFGS")
axes[1, 1].semilogy(2 * fast.history.value, "o-", color=GREEN, ms=3, label="Levenberg-Marquardt")
axes[1, 1].set(title="the loss", xlabel="steps", xscale="symlog", xlim=(0, 1000))
axes[1, 1].legend()
plt.show()

# %% [markdown]
# The error is below $2 \cdot 10^{-7}$ everywhere, after about ten steps. L-BFGS is not at the end after a
# thousand. Differential equations are hard on gradient methods: a wiggle of width $h$ counts $h^{-2}$ times
# more in $u''$ than in $u$, so the loss is steep in some directions and flat in others, more so on every finer
# grid. A method that solves the linear system does not mind.
#
# Note also that the residual is more than ten thousand times as large as the error: solving the equation means
# integrating twice, which smooths.
#
# ## Step 6: the cubic trap
#
# Why degree 5? Two reasons. The first is accuracy: two of the powers of $h$ are lost to $u''$.

# %%
table = {}
for degree in (3, 4, 5):
    trial_net, trial = problem(80, degree)
    result = kanref.levenberg_marquardt(trial.residuals, trial_net.init(seed=0), steps=100)
    table[degree] = error(trial_net, result.theta)
    print(f"degree {degree}, 80 intervals: error {table[degree]:.0e}")
assert table[3] > 1e-4 and table[4] < 1e-6 and table[5] < table[4] / 3

# %% [markdown]
# The second is subtler. In a network of two layers, the gradient of a loss with $u''$ contains $b'''$ of the
# second layer, at places that move with the parameters. For cubics $b'''$ is a staircase (tutorial 01):
# whenever a hidden value crosses a knot, the gradient *jumps*. Here is the slope of the loss along a straight
# line in parameter space:

# %%
walk = np.linspace(0, 0.3, 601)


def slopes(degree, samples):
    """g'v along theta + t v."""
    deep = kanref.kan([1, 2, 1], intervals=6, degree=degree)
    loss = kanref.collocation(deep, np.linspace(-0.9, 0.9, 9)[:, None], poisson)
    rng = np.random.default_rng(11)
    theta, v = rng.normal(size=(2, deep.size))
    return np.array([loss(theta + t * v)[1] @ v for t in samples])


by_degree = {degree: slopes(degree, walk) for degree in (3, 4)}
jumps = {}
for degree in (3, 4):
    coarse = np.abs(np.diff(by_degree[degree])).max()
    fine_walk = np.abs(np.diff(slopes(degree, np.linspace(0, 0.3, 4801)))).max()
    jumps[degree] = coarse / fine_walk
    print(f"degree {degree}: sampling 8 times finer makes the largest jump {jumps[degree]:.1f} times smaller")
assert jumps[3] < 2
assert jumps[4] > 5

figure, axes = plt.subplots(1, 2, figsize=(10, 3))
for axis, (degree, values), colour in zip(axes, by_degree.items(), (RED, BLUE)):
    axis.plot(walk, values, ".", color=colour, ms=2)
    axis.set(title=f"degree {degree}: slope of the loss along a line", xlabel="t")
plt.show()

# %% [markdown]
# At degree 3 the jumps stay however finely we look; at degree 4 they go away. Nothing is wrong with the
# gradient at degree 3, it is what the loss has. But a Taylor test or a finite difference that steps over a knot
# will cry wolf, and a quasi-Newton method builds its curvature from differences of gradients that jump. So:
# **degree 4 or more for equations of second order**, and the complex step to test what is cubic.
#
# ## Step 7: one equation, two solutions
#
# The last problem is nonlinear. Bratu's equation describes a slab that heats itself,
#
# $$u'' + 2\, e^u = 0, \quad x \in [0, 1], \qquad u(0) = u(1) = 0,$$
#
# and has the exact solutions $u = 2 \ln \big[\cosh(s/4) / \cosh\!\big(\tfrac{s}{2}(x - \tfrac12)\big)\big]$
# with $s = 2 \cosh(s/4)$. That last equation has *two* roots: a cool slab and a hot one.
#
# This time the boundary conditions are built in. Write $u = g\,n$ with $g(x) = x(1 - x)$ and the network $n$:
# whatever $n$ does, $u$ vanishes at both ends, and there is no penalty to weigh. By the product rule
# $u'' = g'' n + 2 g' n' + g n''$, and the partial derivatives follow the same pattern:


# %%
def bratu(x, n, n_i, n_ij):
    x, n, n_1, n_2 = x[:, 0], n[:, 0], n_i[:, 0, 0], n_ij[:, 0, 0, 0]
    g, g_1, g_2 = x * (1 - x), 1 - 2 * x, -2
    heat = 2 * np.exp(g * n)
    r = g_2 * n + 2 * g_1 * n_1 + g * n_2 + heat
    return r, ((g_2 + heat * g)[:, None], (2 * g_1)[:, None, None], g[:, None, None, None])


roots = [brentq(lambda s: s - 2 * np.cosh(s / 4), low, high) for low, high in ((1, 4), (5, 12))]
print("the roots s:", roots)
x = np.linspace(0, 1, 81)
truth = [2 * np.log(np.cosh(s / 4) / np.cosh(s / 2 * (x - 0.5))) for s in roots]

net = kanref.kan([1, 1], intervals=16, degree=5, domain=(0, 1))
objective = kanref.collocation(net, x[:, None], bratu)
answers = []
for level in (0, 16):  # start with n = 0, and with n = 16
    start = kanref.levenberg_marquardt(kanref.mse(net, x, np.full(81, level)).residuals, net.init(seed=0), steps=20)
    result = kanref.levenberg_marquardt(objective.residuals, start.theta, steps=100)
    answers.append(x * (1 - x) * net(result.theta, x)[:, 0])
errors = [np.abs(a - b).max() for a, b in zip(answers, truth)]
print("errors:", ", ".join(f"{e:.0e}" for e in errors))
assert errors[0] < 1e-9 and errors[1] < 1e-6

# %%
figure, axis = plt.subplots(figsize=(7, 3.4))
for u, u_true, colour, name in zip(answers, truth, (BLUE, RED), ("cool, from n = 0", "hot, from n = 16")):
    axis.plot(x, u_true, color=PALE, lw=6)
    axis.plot(x, u, color=colour, lw=1.6, label=name)
axis.set(title="Bratu's equation: two solutions, from two starts", xlabel="x", ylabel="u")
axis.legend()
plt.show()

# %% [markdown]
# From zero, the solver finds the cool slab, with an error below $10^{-9}$; from a hot start it finds the hot
# one, below $10^{-6}$. A residual of zero does not tell which solution you have.
#
# ## In practice
#
# - `net.gradient(theta, x)`, `net.hessian(theta, x)`, `net.derivatives(theta, x, directions)` for all outputs.
# - `kanref.collocation(net, x, residual, pairs=...)`: name the second derivatives that the equation uses,
#   `((0, 0), (0, 1))` for $u_{xx}$ and $u_{xy}$. Partial derivatives may be `None`. Test yours with
#   `check.check_objective` before training.
# - Scale: a residual of size 100 beside a boundary value of size 1 needs weights, or boundary conditions that
#   are built in.
# - Levenberg-Marquardt for up to some thousand parameters; beyond, L-BFGS, and patience.
#
# ## On your own
#
# 1. Extend `layer` of step 1 by a third derivative. (The rule is Faa di Bruno's; three terms.) Compare with
#    `spec`.
# 2. Solve step 5 with the boundary conditions built in, $u = (1 - x^2)\, n$. What happens to the error near the
#    ends?
# 3. For $u'' + \lambda e^u = 0$ the two solutions meet at $\lambda \approx 3.51$. Follow the cool one from
#    $\lambda = 2$ up in small steps, each starting from the last. What does Levenberg-Marquardt do at 3.6?
# 4. Solve $\Delta u = f$ on the square with shape $[2, 5, 1]$. How many points do you need before the error,
#    and not only the residual at the points, goes down?
