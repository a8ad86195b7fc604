# %% [markdown]
# # Solve Poisson's equation
#
# A network that is twice differentiable can be asked to *be* the solution of a differential equation: no
# mesh, no matrix of a discretised Laplacian, only points at which the equation shall hold. The KAN paper (Liu
# et al., arXiv 2404.19756, section 3.4 and figure 3.3) does this for Poisson's equation on a square,
#
# $$u_{xx} + u_{yy} = f \;\text{ in } \Omega = [-1, 1]^2, \qquad u = 0 \;\text{ on } \partial\Omega,$$
#
# with $f$ chosen so that $u = \sin(\pi x) \sin(\pi y^2)$ solves it, and measures errors in two norms.
# Tutorial 05 solved such equations on a line. Here we write the loss of the paper by hand, train it with two
# optimisers on finer and finer grids, and end with a bound for the error that does not need to know the
# solution.
#
# **What you'll do.** Write down a residual and its partial derivatives, add the boundary, minimise with
# L-BFGS and with Levenberg-Marquardt, refine the grid, and look at where the errors are.
#
# **What you'll learn**
#
# - what a physics-informed loss sees, and what it does not: the error itself;
# - how to weigh the boundary against the interior, and how to get rid of the question;
# - $L^2$ and $H^1$ errors, and the inequality that bounds both by the residual;
# - three traps: too few points, degree 3, and patience with the wrong optimiser.
#
# **What you'll need.** Tutorial 05 (jets and collocation).

# %%
import matplotlib.pyplot as plt
import numpy as np

import kanref
from kanref import check

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
# ## Step 1: a problem with a known answer
#
# From $u = \sin(\pi x) \sin(\pi y^2)$ follows, by the chain rule twice,
#
# $$f = -\pi^2 (1 + 4 y^2) \sin(\pi x) \sin(\pi y^2) + 2 \pi \sin(\pi x) \cos(\pi y^2).$$
#
# A slip in $f$ would look like a bad solver for the rest of the day, so it is checked first, with the
# five-point Laplacian $[u(x \pm h, y) + u(x, y \pm h) - 4 u]/h^2$. Its error is of order $h^2$.


# %%
def exact(x):
    """u, and its gradient (2, N)."""
    s, c, S, C = (g(np.pi * a) for a in (x[:, 0], x[:, 1] ** 2) for g in (np.sin, np.cos))
    return s * S, np.pi * np.array([c * S, 2 * x[:, 1] * s * C])


def f(x):
    s, S, C = np.sin(np.pi * x[:, 0]), np.sin(np.pi * x[:, 1] ** 2), np.cos(np.pi * x[:, 1] ** 2)
    return -(np.pi**2) * (1 + 4 * x[:, 1] ** 2) * s * S + 2 * np.pi * s * C


def square(t):
    """All pairs of some coordinates, (len(t)^2, 2)."""
    return np.stack(np.meshgrid(t, t), -1).reshape(-1, 2)


def lattice(n):
    """n x n points, the outermost on the boundary."""
    return square(np.linspace(-1, 1, n))


def boundary(n):
    """n points on each side of the square, (4 n, 2)."""
    t, one = np.linspace(-1, 1, n), np.ones(n)
    return np.vstack([np.column_stack(side) for side in ((t, -one), (t, one), (-one, t), (one, t))])


def by_differences(x, h):
    moves = h * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    return (sum(exact(x + move)[0] for move in moves) - 4 * exact(x)[0]) / h**2


coarse, fine = (np.abs(by_differences(lattice(20), h) - f(lattice(20))).max() for h in (0.02, 0.01))
print(f"five-point Laplacian against f: {coarse:.3f}, with half the h {fine:.3f}")
assert 3.9 < coarse / fine < 4.1
assert np.abs(exact(boundary(50))[0]).max() < 1e-15

# %% [markdown]
# ## Step 2: the loss, by hand
#
# The network is $u$. Its derivatives with respect to $x$ and $y$ come as jets along the two axes (tutorial
# 05). The loss of the paper is
#
# $$\alpha \, \frac{1}{n_i} \sum_{i} \big| u_{xx}(z_i) + u_{yy}(z_i) - f(z_i) \big|^2
#   + \frac{1}{n_b} \sum_{b} u(z_b)^2, \qquad \alpha = 0.01,$$
#
# over points $z_i$ inside and $z_b$ on the boundary. We take splines of **degree 4**: at degree 3 the second
# derivative is a broken line, and the gradient of this loss jumps (step 7).

# %%
net = kanref.kan([2, 5, 1], intervals=3, degree=4)
theta = net.init(seed=0)
inside, border = lattice(20), boundary(40)

_, _, second = net.derivatives(theta, inside)  # along the axes: (2, N, 1)
r = second[0, :, 0] + second[1, :, 0] - f(inside)
by_hand = 0.01 * np.mean(r**2) + np.mean(net(theta, border) ** 2)
print(f"the loss of an untrained network: {by_hand:.3f}")

# %% [markdown]
# To train we need the gradient by $\theta$, and $\theta$ acts on $r$ through $u$, $u_i$ and $u_{ij}$. So
# `kanref.collocation` asks for the residual *and its partial derivatives* by these, and sends them backward
# through the jets. For Poisson, $\partial r / \partial u_{xx} = \partial r / \partial u_{yy} = 1$, the rest
# is zero:


# %%
def poisson(x, u, u_i, u_ij):
    r = u_ij[:, 0, 0, 0] + u_ij[:, 0, 1, 1] - f(x)
    return r, (None, None, np.broadcast_to(np.eye(2), (len(x), 1, 2, 2)))


def loss(net, inside, border, alpha=0.01):
    equation = kanref.collocation(net, inside, poisson)
    return kanref.weighted_sum([(alpha, equation), (1, kanref.mse(net, border, np.zeros(len(border))))])


objective = loss(net, inside, border)
value, gradient = objective(theta)
assert abs(value - by_hand) < 1e-12 * by_hand

# %% [markdown]
# Partial derivatives written by hand are wrong until they are tested. Two tests: along a line through
# $\theta$, what the gradient leaves over must fall like $t^2$ (Taylor), and the gradient must equal a complex
# step through the definition.

# %%
small = kanref.kan([2, 2, 1], intervals=2, degree=4)
trial, at = loss(small, lattice(4), boundary(3)), small.init(seed=5)
report = check.check_objective(trial, at, np.random.default_rng(0))
stepped = check.complex_step(lambda t: check.value(trial, t), at)
print(report, f"against the complex step: {np.abs(trial(at)[1] - stepped).max():.0e}")
assert abs(report.first - 2) < 0.1
assert np.abs(trial(at)[1] - stepped).max() < 1e-12 * np.abs(stepped).max()


def forgetful(x, u, u_i, u_ij):
    """The same residual, with a slip: u_yy is missing from the partials."""
    return poisson(x, u, u_i, u_ij)[0], (None, None, np.broadcast_to(np.diag([1.0, 0.0]), (len(x), 1, 2, 2)))


try:
    check.check_objective(kanref.collocation(small, lattice(4), forgetful), at, np.random.default_rng(0))
except check.CheckError as error:
    print(error)
else:
    raise AssertionError("the slip was not noticed")

# %% [markdown]
# A test that has never failed proves little. This one can: with a slip in the partials, the order drops from
# 2 to 1, and it says so.
#
# ## Step 3: L-BFGS, and two ways to measure
#
# How good is a solution? The $L^2$ norm of the error $e = u - u_\theta$ looks at values, the $H^1$ norm at
# slopes too, as an engineer does whose stress is a slope:
#
# $$\lVert e \rVert_{L^2}^2 = \int e^2, \qquad
#   \lVert e \rVert_{H^1}^2 = \int e^2 + e_x^2 + e_y^2.$$
#
# We divide both by the area and take roots, so that they read as typical sizes, and compute the integrals
# with the midpoint rule on 100 x 100 little squares, at points where the network has never been trained.

# %%
t = (2 * np.arange(100) + 1) / 100 - 1
view = square(t)


def plain(net, theta, x):
    """u, its gradient (2, N) and its Laplacian, where the network itself is u."""
    u, first, second = (part[..., 0] for part in net.derivatives(theta, x))
    return u, first, second.sum(0)


def sizes(solution, x=view):
    """(residual, L2 error, H1 error) of a solution (u, gradient, Laplacian), root mean squares."""
    u, gradient, laplacian = solution
    e, e_i = u - exact(x)[0], gradient - exact(x)[1]
    return np.sqrt([np.mean((laplacian - f(x)) ** 2), np.mean(e**2), np.mean(e**2 + (e_i**2).sum(0))])


slow = kanref.lbfgs(objective, theta, steps=200)
print("L-BFGS, 200 steps: residual {:.3f}, L2 {:.5f}, H1 {:.5f}".format(*sizes(plain(net, slow.theta, view))))
residual, l2, h1 = sizes(plain(net, slow.theta, view))
assert l2 < h1 < residual < 1.5
assert l2 < 0.02 < 0.4 < np.sqrt(np.mean(exact(view)[0] ** 2))

# %%
u, gradient, laplacian = plain(net, slow.theta, view)
fields = (u, u - exact(view)[0], laplacian - f(view))
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
for axis, field, title in zip(axes, fields, ("the solution after L-BFGS", "its error", "its residual")):
    limit = np.abs(field).max()
    image = axis.contourf(t, t, field.reshape(100, 100), 21, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set(title=title, aspect="equal", xlabel="x")
    figure.colorbar(image, ax=axis, shrink=0.8)
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# The error is smooth and worst at the boundary; the residual is rough and tens of times as large. That is the
# nature of the equation: the residual is the Laplacian of the error, and a wiggle of width $h$ is $h^{-2}$
# times larger in the Laplacian. It is also why gradient methods are slow here. The loss is steep for fast
# wiggles and nearly flat for slow ones, and the slow ones are what the error is made of.
#
# ## Step 4: how heavy is the boundary?
#
# The two parts of the loss compete. An $\alpha$ that is too large buys a beautiful residual for a solution of
# some other boundary value problem. Let us try three, from the same start:

# %%
shares = {}
for alpha in (1e-4, 1e-2, 1.0):
    result = kanref.lbfgs(loss(net, inside, border, alpha), theta, steps=200)
    residual, l2, h1 = sizes(plain(net, result.theta, view))
    shares[alpha] = residual, np.sqrt(np.mean(net(result.theta, border) ** 2)), l2
    print("alpha {:6g}: residual {:.3f}, boundary {:.5f}, L2 error {:.5f}".format(alpha, *shares[alpha]))
assert shares[1e-4][0] > 2 * shares[1.0][0]
assert shares[1e-4][1] < shares[1.0][1] / 2
assert shares[1e-2][2] < shares[1.0][2]

# %% [markdown]
# Inside and boundary trade places, and the error is least somewhere between. The best $\alpha$ is different
# for every problem and every grid, which is a nuisance. It can be avoided.
#
# ## Step 5: no boundary at all
#
# Let $g = (1 - x^2)(1 - y^2)$, which vanishes on the boundary, and write $u = g\, n$ with the network $n$.
# Whatever $n$ is, $u$ satisfies the boundary condition exactly. The product rule gives
#
# $$\Delta u = (\Delta g)\, n + 2\, \nabla g \cdot \nabla n + g\, \Delta n,$$
#
# and the partial derivatives can be read off: $\Delta g$ by $n$, $2 g_x$ and $2 g_y$ by $n_x$ and $n_y$, and
# $g$ by $n_{xx}$ and $n_{yy}$.


# %%
def bubble(x):
    """g, its gradient (2, N), its Laplacian."""
    p, q = 1 - x.T**2
    return p * q, -2 * np.array([x[:, 0] * q, x[:, 1] * p]), -2 * (p + q)


def built_in(x, n, n_i, n_ij):
    g, (g_x, g_y), g_2 = bubble(x)
    n, n_x, n_y, n_2 = n[:, 0], n_i[:, 0, 0], n_i[:, 0, 1], n_ij[:, 0, 0, 0] + n_ij[:, 0, 1, 1]
    r = g_2 * n + 2 * (g_x * n_x + g_y * n_y) + g * n_2 - f(x)
    by_slope = 2 * np.stack([g_x, g_y], 1)[:, None]
    return r, (g_2[:, None], by_slope, g[:, None, None, None] * np.eye(2))


def product(net, theta, x):
    """u, gradient and Laplacian of u = g n."""
    g, g_i, g_2 = bubble(x)
    n, n_i, n_ii = (part[..., 0] for part in net.derivatives(theta, x))
    return g * n, g_i * n + g * n_i, g_2 * n + 2 * (g_i * n_i).sum(0) + g * n_ii.sum(0)


trial = kanref.collocation(small, lattice(4), built_in)
assert abs(check.check_objective(trial, at, np.random.default_rng(0)).first - 2) < 0.1
assert np.abs(product(net, theta, border)[0]).max() == 0

# %% [markdown]
# ## Step 6: Levenberg-Marquardt on finer and finer grids
#
# The loss is a sum of squares, so there is a better method than L-BFGS. Levenberg-Marquardt takes residuals
# and their Jacobian and solves a damped linear least-squares problem in every step; this *sees* the
# directions that gradients hardly see. We begin with a short L-BFGS run on the coarsest grid, to find the
# right valley, and then alternate: train, move the knots to where the hidden values are (tutorial 04),
# refine, train on. Points must become denser along with the grid: about four for each interval and direction.


# %%
def staircase(seed, degree=4, grids=((3, 20), (6, 30), (12, 48))):
    """Rows (intervals, parameters, residual, L2, H1), all loss values, and the last network with its theta."""
    net = kanref.kan([2, 5, 1], intervals=3, degree=degree)
    start = kanref.lbfgs(kanref.collocation(net, lattice(20), built_in), net.init(seed), steps=200)
    theta, rows, losses = start.theta, [], [start.history.value]
    for intervals, n in grids:
        if intervals > 3:
            net, theta, _ = kanref.update_from_samples(net, theta, lattice(n))
            net, theta, _ = kanref.extend(net, theta, intervals, lattice(n))
        objective = kanref.collocation(net, lattice(n), built_in)
        result = kanref.levenberg_marquardt(objective.residuals, theta, steps=40)
        theta = result.theta
        losses.append(2 * result.history.value)  # it minimises half the sum of squares
        rows.append((intervals, net.size, *sizes(product(net, theta, view))))
    return np.array(rows), losses, net, theta


table, losses, net, theta = staircase(seed=0)
for row in table:
    print("{:3.0f} intervals, {:3.0f} parameters: residual {:.1e}, L2 {:.1e}, H1 {:.1e}".format(*row))
assert (np.diff(table[:, 3:], axis=0) < 0).all()
assert table[-1, 3] < 1e-4 and table[-1, 4] < 1e-3
assert table[0, 3] < l2 / 3  # three intervals with Levenberg-Marquardt, against 200 steps of L-BFGS

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
at, colours = 0, (PALE, GOLD, GREEN, BLUE)
for values, colour, name in zip(losses, colours, ("L-BFGS, 3", "3 intervals", "6 intervals", "12 intervals")):
    axes[0].semilogy(at + np.arange(len(values)), np.sqrt(values), color=colour, lw=1.8, label=name)
    at += len(values)
axes[0].set(title="residual at the training points", xlabel="steps")
axes[0].legend()
for column, colour, name in ((2, RED, "residual"), (4, GOLD, "H¹ error"), (3, BLUE, "L² error")):
    axes[1].loglog(table[:, 0], table[:, column], "o-", color=colour, label=name)
axes[1].loglog(table[:, 0], table[0, 2] * (table[:, 0] / 3) ** -3.0, ":", color=INK, label="slope −3")
axes[1].set(title="refinement", xlabel="intervals", xticks=table[:, 0], xticklabels=["3", "6", "12"])
axes[1].minorticks_off()
axes[1].legend()
plt.show()

# %% [markdown]
# Every refinement pays. Theorem 2.1 of the paper promises a residual, which is a second derivative, like
# $G^{-5 + 2} = G^{-3}$ at degree 4 (dotted). That is a promise about the best network, and forty steps do not
# quite find it.
#
# ### A bound without the solution
#
# In life nobody tells you $u$. But the residual is known, and for this equation it bounds the error. The
# error $e$ vanishes on the boundary (exactly, since step 5) and satisfies $\Delta e = r$. Multiply by $e$,
# integrate by parts, and use Poincaré's inequality $\lambda \int e^2 \le \int |\nabla e|^2$, where
# $\lambda = 2 (\pi/2)^2 = \pi^2/2$ is the lowest eigenvalue of $-\Delta$ on our square:
#
# $$\lVert \nabla e \rVert^2 = -\int e\, r \le \lVert e \rVert \lVert r \rVert
#   \quad\Rightarrow\quad \lVert e \rVert \le \frac{\lVert r \rVert}{\lambda}, \qquad
#   \lVert \nabla e \rVert \le \frac{\lVert r \rVert}{\sqrt{\lambda}}.$$

# %%
lowest = np.pi**2 / 2
for _, _, residual, l2, h1 in table:
    slope = np.sqrt(h1**2 - l2**2)
    print(f"L2 {l2:.1e} <= {residual / lowest:.1e},   slope {slope:.1e} <= {residual / np.sqrt(lowest):.1e}")
    assert l2 <= residual / lowest and slope <= residual / np.sqrt(lowest)

u, gradient, laplacian = product(net, theta, view)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
for axis, field, title in zip(axes, (u, u - exact(view)[0], laplacian - f(view)), ("solution", "error", "residual")):
    limit = np.abs(field).max()
    image = axis.pcolormesh(t, t, field.reshape(100, 100), cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    axis.set(title=f"{title} on 12 intervals", aspect="equal", xlabel="x")
    figure.colorbar(image, ax=axis, shrink=0.8)
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# The bound is honest but generous, by a factor of ten to a hundred, because the residual is mostly fast
# wiggles, and these are integrated away. It must be computed *between* the training points, as we did. Why?
#
# ## Step 7: two traps
#
# **Too few points.** Each point is one equation. With fewer equations than parameters they can all be
# satisfied, and say nothing about what happens elsewhere. This is the interpolation threshold of section 2.4,
# for equations.


# %%
def on_points(n):
    """Residuals at n x n points and everywhere, and the L2 error, of a network with 12 intervals."""
    few = kanref.kan([2, 5, 1], intervals=12, degree=4)
    objective = kanref.collocation(few, lattice(n), built_in)
    found = kanref.levenberg_marquardt(objective.residuals, few.init(seed=0), steps=60).theta
    return np.sqrt(objective.value(found)), *sizes(product(few, found, view))[:2]


threshold = {n: on_points(n) for n in (10, 20, 36)}
for n, row in threshold.items():
    print("{:4d} points: residual there {:.0e}, everywhere {:.0e}, L2 error {:.0e}".format(n * n, *row))
assert net.size == 255
assert threshold[10][0] < 1e-3 * threshold[10][1]
assert threshold[36][1] < 5 * threshold[36][0]
assert threshold[10][2] > 20 * threshold[36][2]

# %% [markdown]
# A hundred points for 255 parameters: the loss is nil, the solution worthless. Four hundred are more than
# there are parameters, and still too few: splines are local, and a knot interval that holds one or two points
# is free to bend between them. The remedy is what it is for data: hold points back, and look at the residual
# there.
#
# **Degree 3.** With cubics, $u''$ is piecewise linear and one power of $h$ is lost, and the gradient of the
# loss contains $b'''$, which jumps at the knots (tutorial 05, step 6). On the same grids, by the same steps:

# %%
cubic = staircase(seed=0, degree=3)[0]
for row, other in zip(table, cubic):
    print(f"{row[0]:3.0f} intervals: L2 error {other[3]:.1e} at degree 3, {row[3]:.1e} at degree 4")
assert cubic[-1, 2] > 2 * table[-1, 2]
assert cubic[-1, 3] > 2 * table[-1, 3]

# %% [markdown]
# ## In practice
#
# - The paper trains $[2, 10, 1]$ on 10 000 points inside and 800 on the boundary, with $\alpha = 0.01$, and
#   reports a mean squared error of $10^{-7}$; ours on 12 intervals is the square of the $L^2$ column.
#   `kanref reproduce poisson` does it with the paper's shape, beside an MLP.
# - Test the partials with `check.check_objective` before you train, and break them once to see the test fail.
# - Build boundary conditions in where the domain allows it; else find $\alpha$ by looking at both parts.
# - Report errors in the norm you need, and the residual between the points.
# - A library that offers no residual's Jacobian leaves you with L-BFGS: expect ten times the error.
#
# ## On your own
#
# 1. Put the boundary term back and run the staircase with `loss(net, inside, border, alpha)`, which has
#    `residuals` too. Which part stops falling first?
# 2. $u$ is a product, and a product node computes it exactly: try `kanref.kan([2, [0, 1], 1], degree=4)`,
#    with one product of two factors in the middle. How many parameters does it need for the same error?
# 3. Solve $\Delta u = f$ with $f = 1$, where no formula for $u$ exists. Use the bound to say how many digits
#    of $u(0, 0)$ you know. (A series gives $-0.2946854$.)
