# %% [markdown]
# # From a network to a formula
#
# Tutorial 07 ended with a picture of three curves: a sine, a parabola, an exponential. That was the eye's
# judgement. Here we make it a formula, and a formula that can be trusted: with a certificate of how far it is
# from the network, to the last digit. The way is that of the KAN paper (Liu et al., arXiv 2404.19756, section
# 2.5.1 and figure 2.4): name the edges one by one, train the few numbers that are left, read the result.
#
# **What you'll do.** Recognise an edge by hand, let kanref suggest functions for all of them, fix them, train
# to fifteen digits, read and certify the formula; do it wrong on purpose; export network and formula as NumPy
# and C; and at last do everything in one call.
#
# **What you'll learn**
#
# - why four numbers $a, b, c, d$ belong to each function, and how to find them;
# - that on a short range everything looks like everything, and what decides then;
# - what a certificate says, and the one thing it cannot say;
# - that a spline network *is* a formula, only a long one.
#
# **What you'll need.** Tutorial 07.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy
from matplotlib.backends.backend_agg import FigureCanvasAgg

import kanref
from kanref import symbolic
from kanref.functions import LIBRARY

plt.rcParams.update(
    {
        "figure.dpi": 110,
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
X, X_test = rng.uniform(-1, 1, (2, 1000, 2))
y, y_test = f(X), f(X_test)

# %% [markdown]
# ## Step 1: an accurate network first
#
# A formula is read off curves, so the curves should be good: coarse to fine, with Levenberg-Marquardt.

# %%
splines = kanref.Model.build([2, 1, 1], intervals=3, seed=0).fit(X, y, steps=100).update_grid(X)
splines = splines.fit(X, y, optimizer="lm", intervals=[3, 10, 20], steps=40)
print(f"{splines.net.size} parameters, test error {splines.rmse(X_test, y_test):.0e}")
assert splines.rmse(X_test, y_test) < 1e-4

# %% [markdown]
# ## Step 2: one edge by hand
#
# Take the edge from $x_1$. It looks like a sine, but not like $\sin x$: what a network learns is
#
# $$\phi(x) \approx c\, f(a x + b) + d,$$
#
# since layers can trade shifts and scales with each other. Two of the four are easy. For given $a$ and $b$
# the best $c$ and $d$ are a straight-line fit of $\phi$ to $f(ax + b)$, and its quality is the squared
# correlation $R^2$. The paper's code scans $a$ and $b$ over a grid, and so do we.

# %%
x, phi = X[:, 0], splines.net.edges(splines.theta, 0, X)[:, 0, 0]
a_grid, b_grid = np.linspace(0.1, 20, 200), np.linspace(-np.pi / 2, np.pi / 2, 41)


def r_squared(u):
    """Of the best c u + d to phi."""
    u, v = u - u.mean(0), phi[:, None] - phi.mean()
    return (u * v).sum(0) ** 2 / ((u**2).sum(0) * (v**2).sum())


landscape = np.array([r_squared(np.sin(a * x[:, None] + b_grid)) for a in a_grid])
i, j = np.unravel_index(landscape.argmax(), landscape.shape)
fit = symbolic.fit_affine(LIBRARY["sin"], x, phi)
print(f"by hand a = {a_grid[i]:.2f}, b = {b_grid[j]:.2f}, 1 - R^2 = {1 - landscape.max():.0e}")
print(f"kanref  a = {fit.a:.8f}, b = {fit.b:.1e}, 1 - R^2 = {1 - fit.r2:.0e}")
assert abs(a_grid[i] - np.pi) < 0.1 and abs(fit.a - np.pi) < 1e-3 and abs(fit.b) < 1e-3
assert 1 - fit.r2 < 1e-8 < 1 - landscape.max()

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
image = axes[0].pcolormesh(a_grid, b_grid, landscape.T, cmap="viridis", vmin=0, vmax=1, rasterized=True)
axes[0].plot(fit.a, fit.b, "o", mfc="none", mec=RED, ms=9)
axes[0].set(title="R² of c sin(a x + b) + d", xlabel="a", ylabel="b")
figure.colorbar(image, ax=axes[0])
axes[1].semilogy(a_grid, landscape.max(1), color=INK)
axes[1].set(title="the best b for every a", xlabel="a", ylabel="R²")
hills = 1 + np.flatnonzero(np.diff(np.sign(np.diff(landscape.max(1)))) < 0)
axes[1].plot(a_grid[hills], landscape.max(1)[hills], "o", color=RED)
assert len(hills) >= 3
plt.show()

# %% [markdown]
# The landscape has many hills, and a local method that starts at $a = 10$ climbs a wrong one. `fit_affine`
# starts everywhere and then polishes the best starts by least squares, which gives seven digits of $\pi$
# where the grid gives two.
#
# ## Step 3: suggestions, and functions that look alike
#
# `suggest` does this for a whole library and ranks the results. Look at the edge from $x_2$:

# %%
suggestions = splines.suggest(X, 0, 0, 1)
print("\n".join(str(suggestions).split("\n")[:6]))
by_name = {suggestion.function.name: suggestion for suggestion in suggestions}
assert suggestions[0].function.name == "x^2"
assert by_name["cos"].r2 > 0.99999

# %% [markdown]
# The parabola comes first, but a cosine fits just as well: $\cos(ax) \approx 1 - a^2 x^2/2$ for small $a$,
# blown up by a huge $c$. Everything smooth is a parabola if one looks closely enough, so **$R^2$ alone cannot
# choose.** A function must be worth its price:
#
# $$\text{score} = \tfrac23\, \text{price} + \tfrac13 \log_2(1 - R^2 + \varepsilon),$$
#
# where the price counts complexity and free parameters. How alike functions are depends on the range on which
# they are seen. Here is an exponential on $[-h, h]$, and what four others make of it:

# %%
ranges = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
rivals = {
    name: [1 - symbolic.fit_affine(LIBRARY[name], t, np.exp(t)).r2 for h in ranges for t in [np.linspace(-h, h, 400)]]
    for name in ("1/x", "x^5", "tanh", "x^2")
}
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for (name, values), colour in zip(rivals.items(), (RED, BLUE, GREEN, GOLD)):
    axis.loglog(ranges, np.maximum(values, 1e-16), "o-", color=colour, label=name)
    print(f"{name:5s}", " ".join(f"{value:.0e}" for value in values))
axis.set(title="how well others imitate exp on [−h, h]", xlabel="h", ylabel="1 − R²")
axis.set_xticks(ranges, labels=[f"{h:g}" for h in ranges])
axis.minorticks_off()
axis.legend()
plt.show()
assert all(rivals[name][0] < 1e-4 < rivals[name][-1] for name in ("1/x", "x^5", "x^2"))
assert max(rivals["tanh"]) < 1e-9

# %% [markdown]
# On a short range a fifth power is an exponential for all practical purposes; on a long one it is not. The
# tanh imitates it on every range, since far from its centre tanh *is* an exponential, plus a constant: there
# only the price decides. Two remedies: data from a range as wide as you can get, and a network so accurate
# that the tenth digit of $R^2$ means something.
#
# ## Step 4: fix, and train what is left
#
# `fix` replaces one spline by its formula; the others stay splines, and the mixed network trains like any
# other. Here all three at once by `auto_symbolic`, which takes the best suggestion if its $R^2$ is at least
# 0.99:

# %%
mixed = splines.fix(X, 0, 0, 0, "sin")
print(f"one edge fixed: test error {mixed.rmse(X_test, y_test):.0e}")
assert mixed.rmse(X_test, y_test) < 1e-3

snapped = splines.auto_symbolic(X)
print(snapped.report)
trained = snapped.fit(X, y, optimizer="lm", steps=100)
errors = {"splines": splines, "snapped": snapped, "trained": trained}
errors = {name: model.rmse(X_test, y_test) for name, model in errors.items()}
print(", ".join(f"{name} {error:.0e}" for name, error in errors.items()))
assert errors["snapped"] < 1e-3 and errors["trained"] < 1e-12

# %% [markdown]
# Twelve numbers remain, and Levenberg-Marquardt takes them to rounding. *That* is evidence. A wrong function
# may fit an edge to four digits, but no training will bring the network to fifteen. This jump, from the error
# of a grid to the error of arithmetic, is how you know a formula has been found.
#
# ## Step 5: read it, and let it prove itself
#
# The exact formula holds all numbers as they are. `read` makes it short, in steps that each are checked on
# the data, and attaches a **certificate**: the largest difference between formula and network, on the samples
# and on a dense grid of their box.

# %%
print(trained.formula()[0])
reading = trained.read(X)
print(reading)
x1, x2 = sympy.symbols("x1 x2")
assert reading.expressions[0] == sympy.exp(sympy.sin(sympy.pi * x1) + x2**2)
assert reading.after.largest < 1e-10

# %% [markdown]
# A certificate is nothing mysterious: turn the formula into code, evaluate both, subtract.

# %%
code = sympy.lambdify([x1, x2], reading.expressions[0], "numpy")
t = np.linspace(-1, 1, 200)
dense = np.stack(np.meshgrid(t, t), -1).reshape(-1, 2)
by_hand = np.abs(code(*dense.T) - trained.predict(dense)).max()
rough = sympy.exp(sympy.sin(3.14 * x1) + x2**2)
print(f"by hand {by_hand:.0e};  with 3.14 for pi {trained.certificate(X, [rough]).grid:.0e}")
assert by_hand < 1e-10
assert 1e-4 < trained.certificate(X, [rough]).grid < 0.1

# %% [markdown]
# Formulas that are rounded to be pretty should come with this number. One more digit costs nothing, and a
# formula that is printed with three is another function.
#
# ## Step 6: do it wrong
#
# What if the eye had said $|x|$ for the edge from $x_2$? It is even, it has its minimum at zero.

# %%
wrong = splines.fix(X, 0, 0, 1, "abs")
r2 = {s.function.name: s.r2 for s in splines.suggest(X, 0, 0, 1, library=["abs", "x^2"])}["abs"]
wrong = wrong.auto_symbolic(X).fit(X, y, optimizer="lm", steps=100)
verdict = wrong.certificate(X)
print(f"R^2 of |x| {r2:.3f}; test error {wrong.rmse(X_test, y_test):.2f}, certificate {verdict.largest:.0e}")
assert 0.8 < r2 < 0.99
assert wrong.rmse(X_test, y_test) > 0.01 and verdict.largest < 1e-10

# %% [markdown]
# Read the last line again. The error is terrible and **the certificate is perfect**. It says that the formula
# is what the network computes, and nothing about whether the network is right. For that there is the test
# error, and a formula should be quoted with both.
#
# A spline can be had back with `unfix`, and a library without the right function leaves its edges alone:

# %%
again = wrong.unfix(X, 0, 0, 1).fit(X, y, optimizer="lm", steps=100)
print(f"a spline again: test error {again.rmse(X_test, y_test):.0e}")
assert again.rmse(X_test, y_test) < wrong.rmse(X_test, y_test) / 3

poor = splines.auto_symbolic(X, library=["x", "x^2", "exp"])
print(poor.report)
try:
    poor.formula()
except ValueError as refusal:
    print("refused:", refusal)
else:
    raise AssertionError("an edge without a formula was printed")

# %% [markdown]
# ## Step 7: splines are formulas, too
#
# Nothing forces you to name an edge. A cubic spline is a cubic polynomial on each interval, and its
# coefficients are rational numbers, since floating-point numbers are. `piecewise` computes them without any
# rounding:

# %%
coarse = kanref.Model.build([2, 1, 1], intervals=3, base=None, seed=0).fit(X, y, steps=100)
pieces = symbolic.piecewise(coarse.net, coarse.theta, 0, 0, 1)
inside = np.array([float(b) for b in pieces.breaks])
cubic, condition = pieces.sympy(sympy.Symbol("x2")).evalf(3).args[5]
print(f"up to {condition}:  {cubic}")
edge = coarse.net.edges(coarse.theta, 0, X)[:, 0, 1]
assert np.abs(pieces(X[:, 1]) - edge).max() < 1e-13
assert all(type(c).__name__ == "Fraction" for row in pieces.coefficients for c in row)

fine = np.linspace(inside[0], inside[-1], 801)
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
for k, (start, stop) in enumerate(zip(inside, inside[1:])):
    cubic = sum(float(c) * (fine - start) ** i for i, c in enumerate(pieces.coefficients[k + 1]))
    axis.plot(fine, cubic, color=PALE, lw=1)
    own = (start <= fine) & (fine <= stop)
    axis.plot(fine[own], cubic[own], color=plt.cm.viridis(k / len(inside)), lw=2.5)
axis.set(title="one edge: a cubic for each interval, and where each of them would go", xlabel="x₂", xticks=inside)
low, high = pieces(fine).min(), pieces(fine).max()
axis.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
axis.xaxis.set_major_formatter("{x:.2f}")
plt.show()

# %% [markdown]
# The same holds for whole networks. `to_numpy` and `to_c` write source text that computes what the network
# computes, named edges and splines alike, without kanref. Here is the C of our formula:

# %%
print(symbolic.to_c(trained.net, trained.theta, name="kan").split("static void", 1)[1])

# %% [markdown]
# Save it, compile it with `cc -std=c99 -c kan.c`, call `kan(x, y)`. (kanref's tests do that, and compare to
# $10^{-12}$.) The NumPy version can be run right here, for the formula and for the spline network it came
# from:

# %%
for model in (trained, splines):
    space = {}
    source = symbolic.to_numpy(model.net, model.theta)
    exec(source, space)
    difference = np.abs(space["kan"](X_test)[:, 0] - model.predict(X_test)).max()
    print(f"{len(source.splitlines())} lines, largest difference {difference:.0e}")
    assert "kanref" not in source.split("def ", 1)[1] and difference < 1e-12
print(symbolic.to_latex(reading.expressions))

# %% [markdown]
# ## Step 8: the whole pipeline in one call
#
# Train, sparsify, prune, drop what can be dropped, name the edges, exchange single names where that validates
# better, polish, read. `discover` makes every decision of tutorials 07 and 08 by measurement on held-out
# data, beginning with the dense $[2, 5, 1]$:

# %%
found = kanref.discover.discover(kanref.Model.build([2, 5, 1], intervals=3, seed=0), X, y)
for what, widths, size, error in found.steps:
    print(f"{what:28s} {list(widths)!s:10s} {size:4d} parameters   {error:.0e}")
print(found)
assert found.model.net.widths == (2, 1, 1)
assert found.model.rmse(X_test, y_test) < 1e-9
assert found.formula.after.largest < 1e-10

# %%
diagrams = [
    m.plot(X, names=["$x_1$", "$x_2$"], title=t) for m, t in ((found.splines, "pruned"), (found.model, "named"))
]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for axis, diagram in zip(axes, diagrams):
    diagram.set_dpi(220)
    canvas = FigureCanvasAgg(diagram)
    canvas.draw()
    axis.imshow(np.asarray(canvas.buffer_rgba()))
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## In practice
#
# - `kanref fit table.csv --target y --sparsify --symbolic` does all this for a file, and
#   `kanref demo --symbolic` shows it.
# - Quote a formula with its test error *and* its certificate, and with the range of the data.
# - An edge that matches many functions equally is not recognised. Get a wider range, or leave it a spline.
# - With noise there is no jump to $10^{-15}$; the evidence is then a test error at the level of the noise,
#   and stays weaker. Prefer the cheaper function.
# - Two formulas can be the same function, $x y = [(x + y)^2 - (x - y)^2]/4$. A network finds the one that its
#   shape has room for.
#
# ## On your own
#
# 1. Repeat step 4 with only $[3, 10]$ intervals, or with 100 samples. From which accuracy on does
#    `auto_symbolic` choose right?
# 2. Add noise of size 0.1 to `y`. Which edges are still recognised? What does `y=` in `symbolic.suggest`
#    change?
# 3. Write $\operatorname{sinc}$ as a `Function.from_formula` and find $\operatorname{sinc}(5 x_1) + x_2$ with
#    it.
# 4. `symbolic.compile_expression` goes the other way, from a formula to a network. Compile `x1*x2`, and look
#    at the network it makes.
