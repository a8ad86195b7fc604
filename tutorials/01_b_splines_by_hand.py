# %% [markdown]
# # Build B-splines by hand
#
# Every edge of a Kolmogorov-Arnold network carries a function of one variable,
#
# $$\phi(x) = w_b\, b(x) + w_s \sum_i c_i\, B_i(x) \qquad \text{(Liu et al., arXiv 2404.19756, eqs 2.10-2.12),}$$
#
# and the $B_i$ are B-splines. This page makes them from nothing: from a step, to a hat, to a smooth bump.
#
# **What you'll do.** Type the Cox-de Boor recursion in ten lines, find the two places where it breaks, repair
# them, and meet the same digits again in SciPy and in kanref's compiled kernel.
#
# **What you'll learn**
#
# - why B-splines sum to one, why only a few of them are alive at any point, and what their derivatives are;
# - what $0/0$ means in spline theory, and what happens to the right edge of a half-open interval;
# - where the knots of a KAN go, and why there are some outside the data;
# - that refining a grid is nothing but averaging.
#
# **What you'll need.** Python, NumPy, and the idea of a piecewise polynomial. Exact fractions come with Python;
# they let us write `==` where floating point would only say "close".

# %%
from fractions import Fraction
from math import comb
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import BSpline as SciPyBSpline

import kanref
from kanref import spec

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
INK, BLUE, RED, GREEN, PALE = "#222222", "#2a6fbb", "#c8442c", "#2e8b57", "#b9c4d0"

# %% [markdown]
# ## Step 1: a hat, and what a basis is for
#
# Take points $t_0 < t_1 < \dots$, the *knots*. The hat function that peaks at $t_{i+1}$ climbs from 0 to 1
# between $t_i$ and $t_{i+1}$, falls back to 0 at $t_{i+2}$, and is zero elsewhere.


# %%
def hat(x, knots, i):
    """The hat on knots i, i+1, i+2 at points x."""
    up = (x - knots[i]) / (knots[i + 1] - knots[i])
    down = (knots[i + 2] - x) / (knots[i + 2] - knots[i + 1])
    return np.clip(np.minimum(up, down), 0, None)


knots = np.array([0.0, 1.0, 2.0, 3.5, 4.0, 5.0, 6.0])
heights = np.array([0.4, 1.3, 0.7, 1.6, 0.5])
x = np.linspace(0, 6, 601)
hats = np.array([hat(x, knots, i) for i in range(5)])

# %% [markdown]
# Weighted hats add up to the polygon through the weights. Five numbers describe a whole function, and each
# number acts only where its own hat stands: this *locality* is what makes splines easy to fit and easy to read.

# %%
polygon = np.interp(x, knots[1:-1], heights)
between = (x >= knots[1]) & (x <= knots[-2])
assert np.abs(heights @ hats - polygon)[between].max() < 1e-15

figure, axes = plt.subplots(1, 2, figsize=(9, 2.7), sharex=True)
for i, colour in enumerate(plt.cm.viridis(np.linspace(0.1, 0.85, 5))):
    axes[0].plot(knots[i : i + 3], [0, 1, 0], color=colour)
    axes[1].fill_between(x, heights[i] * hats[i], color=colour, alpha=0.25, lw=0)
axes[1].plot(x, heights @ hats, color=INK, lw=2)
axes[1].plot(knots[1:-1], heights, "o", color=INK)
axes[0].set(title="five hats on seven knots", xticks=knots, xlabel="x")
axes[1].set(title="their weighted sum is the polygon", xticks=knots, xlabel="x")
plt.show()

# %% [markdown]
# ## Step 2: the Cox-de Boor recursion
#
# A hat is made of two *steps*, the functions that are 1 on one interval and 0 elsewhere: one is multiplied by a
# rising line, its neighbour by a falling one. Do it again with two hats and a smooth bump of parabolas comes
# out; once more, and we have the cubics that KANs use. In general, for the polynomial *degree* $d$,
#
# $$B_{i,0}(x) = 1 \text{ if } t_i \le x < t_{i+1}, \text{ else } 0,$$
#
# $$B_{i,d}(x) = \frac{x - t_i}{t_{i+d} - t_i}\, B_{i,d-1}(x)
#   + \frac{t_{i+d+1} - x}{t_{i+d+1} - t_{i+1}}\, B_{i+1,d-1}(x).$$
#
# That is the whole definition (de Boor, *A Practical Guide to Splines*, chapter IX). Here it is, for one point:


# %%
def first_bspline(x, t, degree):
    """All B-splines of a degree on knots t at the point x. A first version: it breaks in step 5."""
    B = [int(t[i] <= x < t[i + 1]) for i in range(len(t) - 1)]
    for d in range(1, degree + 1):
        B = [
            (x - t[i]) / (t[i + d] - t[i]) * B[i] + (t[i + d + 1] - x) / (t[i + d + 1] - t[i + 1]) * B[i + 1]
            for i in range(len(t) - 1 - d)
        ]
    return B


# %% [markdown]
# Every step uses up one function: $T$ knots give $T - 1$ steps, $T - 2$ hats, and $K = T - d - 1$ functions of
# degree $d$. Degree 1 must be our hats:

# %%
by_recursion = np.array([first_bspline(point, knots, 1) for point in x]).T
assert by_recursion.shape == (5, 601)
assert np.abs(by_recursion - hats).max() < 1e-15

t = np.arange(10.0)
x = np.linspace(0, 9, 901)[:-1]
figure, axes = plt.subplots(2, 2, figsize=(9, 4.6), sharex=True, sharey=True)
for degree, axis in enumerate(axes.flat):
    B = np.array([first_bspline(point, t, degree) for point in x]).T
    assert len(B) == 9 - degree
    axis.axvspan(t[degree], t[-1 - degree], color=PALE, alpha=0.25, lw=0)
    axis.plot(x, B.T, color=PALE, lw=1)
    axis.plot(x, B[3], color=BLUE, lw=2.2)
    axis.plot(x, B.sum(0), color=RED, ls="--", lw=1.2)
    axis.plot(t, 0 * t, "|", color=INK, ms=7)
    axis.set(title=f"degree {degree}: {9 - degree} functions", ylim=(-0.04, 1.12), xticks=t)
for axis, text in ((axes[0, 1], "sum of all"), (axes[1, 1], "shaded: the domain")):
    axis.annotate(text, (4.5, 1.03), ha="center", color=RED if text[0:3] == "sum" else "#66788a")
plt.show()

# %% [markdown]
# ## Step 3: three facts, exactly
#
# The picture shows three facts that the rest of this library leans on.
#
# - **Local support.** $B_{i,d}$ lives on $[t_i, t_{i+d+1}]$, so at most $d + 1$ functions are alive at a point.
#   A cubic edge with 5 intervals or with 5000 costs four multiplications per point.
# - **Positivity.** No function is ever negative.
# - **Partition of unity.** Where $d + 1$ functions are alive, on the *domain* $[t_d, t_K]$ (shaded), they sum
#   to exactly 1. So a spline never leaves the range of its coefficients, and adding 1 to all of them adds 1 to
#   the function.
#
# With fractions in, fractions come out. We can ask for *equality*:

# %%
t = [Fraction(n) for n in (0, 1, 2, 4, 5, 7, 8, 9, 12, 13)]
low, high = t[3], t[-4]
points = [low + (high - low) * Fraction(n, 97) for n in range(97)]
for point in points:
    B = first_bspline(point, t, 3)
    assert sum(B) == 1
    assert all(value >= 0 for value in B)
    assert sum(value > 0 for value in B) <= 4

print("at x =", points[20], " B =", ", ".join(map(str, first_bspline(points[20], t, 3))))

# %% [markdown]
# ## Step 4: derivatives
#
# The slope of a hat is $+1/h$ on the way up and $-1/h$ on the way down: a difference of two steps. This stays
# true for every degree:
#
# $$B'_{i,d} = d \left( \frac{B_{i,d-1}}{t_{i+d} - t_i} - \frac{B_{i+1,d-1}}{t_{i+d+1} - t_{i+1}} \right).$$
#
# Derivatives of B-splines are B-splines of lower degree. Apply the formula again for $B''$, and again for
# $B'''$.


# %%
def first_derivative(x, t, degree, order):
    """The derivative of an order of all B-splines; order 0 is the value."""
    if order == 0:
        return first_bspline(x, t, degree)
    B = first_derivative(x, t, degree - 1, order - 1)
    return [
        degree * (B[i] / (t[i + degree] - t[i]) - B[i + 1] / (t[i + degree + 1] - t[i + 1]))
        for i in range(len(t) - degree - 1)
    ]


# %% [markdown]
# Is the formula right? Between two knots a cubic spline is a cubic, and on cubics the five-point difference
#
# $$f'(x) = \frac{8\,[f(x+h) - f(x-h)] - [f(x+2h) - f(x-2h)]}{12\,h}$$
#
# makes no error at all. In exact arithmetic the two must be *equal*, digit for digit:

# %%
h = Fraction(1, 10)
for point in (Fraction(9, 2), Fraction(6), Fraction(22, 3)):  # each more than 2 h away from all knots
    f = lambda shift, point=point: np.array(first_bspline(point + shift, t, 3))
    difference = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
    assert list(difference) == first_derivative(point, t, 3, 1)

# %% [markdown]
# A spline of degree $d$ has $d - 1$ continuous derivatives. For the cubic, the second derivative is a zigzag
# and the **third derivative jumps at the knots**. Keep this in mind: when a network is trained on a
# differential equation with second derivatives, the gradient of the loss contains $b'''$ (tutorial 05).

# %%
t = np.arange(5.0)
x = np.linspace(0, 4, 801)[:-1]
tables = [np.array([first_derivative(point, t, 3, order)[0] for point in x]) for order in range(4)]
third = [round(float(tables[3][200 * span + 100]), 12) for span in range(4)]
assert third == [1, -3, 3, -1]  # the heights of the four steps: Pascal's triangle with alternating signs

figure, axes = plt.subplots(1, 4, figsize=(11, 2.5), sharex=True)
for order, (axis, values) in enumerate(zip(axes, tables)):
    axis.axhline(0, color=PALE, lw=0.8)
    for span in range(4):
        part = slice(200 * span, 200 * span + 200)
        axis.plot(x[part], values[part], color=plt.cm.viridis(0.15 + 0.2 * span), lw=2)
    axis.set(title=("B", "B′", "B″", "B‴ jumps")[order], xticks=t)
axes[3].plot(t[:4], third, "o", color=INK, ms=4)  # a step includes its left end, not its right end
axes[3].plot(t[1:], third, "o", color=INK, ms=4, mfc="white")
plt.show()

# %% [markdown]
# ## Step 5: repair the edges
#
# So far all knots were different and we never asked for the last one. Real code meets both. Knots that follow
# the data coincide when samples coincide; *clamped* knots repeat the ends on purpose. Take five cubics on
# $(0, 0, 0, 0, \tfrac12, 1, 1, 1, 1)$ and look at $x = \tfrac14$:

# %%
clamped = [Fraction(n) for n in (0, 0, 0, 0, Fraction(1, 2), 1, 1, 1, 1)]
try:
    first_bspline(Fraction(1, 4), clamped, 3)
except ZeroDivisionError as error:
    trouble = error
print("trouble:", trouble)
assert isinstance(trouble, ZeroDivisionError)

# %% [markdown]
# **First repair: $0/0 = 0$, term by term.** If $t_{i+d} = t_i$, the function $B_{i,d-1}$ has no room to live
# and is zero. The fraction in front of it is then read as 0, *before* the two terms are added. The order
# matters. Array code often divides blindly and replaces the NaN at the end of each round. But a NaN in one term
# has by then swallowed its healthy neighbour:


# %%
def careless(x, t, degree):
    """The recursion with NaN replaced after the addition: wrong for repeated knots."""
    B = ((t[:-1] <= x) & (x < t[1:])).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        for d in range(1, degree + 1):
            left = (x - t[: -d - 1]) / (t[d:-1] - t[: -d - 1]) * B[:-1]
            right = (t[d + 1 :] - x) / (t[d + 1 :] - t[1:-d]) * B[1:]
            B = np.nan_to_num(left + right)
    return B


wrong = careless(0.25, np.array(clamped, float), 3)
assert wrong.tolist() == [0, 0.28125, 0.1875, 0.03125, 0]
assert wrong.sum() == 0.5

# %% [markdown]
# They sum to 0.5, not to 1. No error, no warning, half of the function is missing. (Published KAN code has done
# this.)
#
# **Second repair: close the last interval.** With $t_i \le x < t_{i+1}$, the point $x = t_{\rm last}$ lies in
# no interval, and every function is zero at the right end. So the last interval *of positive width* is closed
# on the right.
#
# With both repairs, the recursion in its final form:


# %%
def ratio(a, b):
    return a / b if b != 0 else 0 * a


def bspline(x, t, degree, order=0):
    """All B-splines (or a derivative of them) of a degree on non-decreasing knots t, at the point x."""
    if order > 0:
        B, d = bspline(x, t, degree - 1, order - 1), degree
        return [
            d * (ratio(B[i], t[i + d] - t[i]) - ratio(B[i + 1], t[i + d + 1] - t[i + 1])) for i in range(len(t) - d - 1)
        ]
    spans = range(len(t) - 1)
    last = max(i for i in spans if t[i] < t[i + 1])
    B = [int(t[i] <= x < t[i + 1] or (i == last and x == t[i + 1])) for i in spans]
    for d in range(1, degree + 1):
        B = [
            ratio(x - t[i], t[i + d] - t[i]) * B[i] + ratio(t[i + d + 1] - x, t[i + d + 1] - t[i + 1]) * B[i + 1]
            for i in range(len(t) - 1 - d)
        ]
    return B


# %%
right = bspline(Fraction(1, 4), clamped, 3)
assert right == [Fraction(1, 8), Fraction(19, 32), Fraction(1, 4), Fraction(1, 32), 0]
assert [float(value) for value in right] == [0.125, 0.59375, 0.25, 0.03125, 0]
for point in (0, Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), 1):
    assert sum(bspline(Fraction(point), clamped, 3)) == 1
assert bspline(Fraction(1), clamped, 3) == [0, 0, 0, 0, 1]  # the right end belongs to the last function

# %% [markdown]
# The careless sum is $2\min(x, 1-x)$: right only in the very middle.

# %%
x = np.linspace(0, 1, 201)
t = np.array(clamped, float)
good = np.array([bspline(point, t, 3) for point in x])
bad = np.array([careless(point, t, 3) for point in x])
assert np.abs(good.sum(1) - 1).max() < 1e-15
assert np.abs(bad.sum(1) - 2 * np.minimum(x, 1 - x)).max() < 1e-15

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True)
for axis, B in zip(axes, (bad, good)):
    for i, colour in enumerate(plt.cm.viridis(np.linspace(0.1, 0.85, 5))):
        axis.fill_between(x, B[:, i], color=colour, alpha=0.15, lw=0)
        axis.plot(x, B[:, i], color=colour)
    axis.plot(x, B.sum(1), color=RED, ls="--")
    axis.set(xlabel="x", xticks=[0, 0.25, 0.5, 0.75, 1])
axes[0].set_title("NaN replaced after adding")
axes[1].set_title("0/0 = 0 term by term, last interval closed")
axes[0].annotate("sum", (0.72, 0.62), color=RED)
axes[1].annotate("sum", (0.5, 0.92), color=RED)
plt.show()

# %% [markdown]
# ## Step 6: the knots of a KAN
#
# The paper divides the domain $[a, b]$ into $G$ *intervals* and continues the knots by $d$ on each side with
# the same spacing (section 2.4). That makes $G + 2d + 1$ knots and $K = G + d$ functions. All of them are
# shifts of one and the same bump; the price is that the outermost ones stand mostly outside of the domain,
# where they fade to zero.
#
# (Most papers call the degree "order $k$" and $G$ the "grid size". We say *degree* and *intervals*, because in
# spline theory order means degree + 1.)

# %%
G, degree = 5, 3
basis = kanref.BSpline.uniform(inputs=1, intervals=G, degree=degree, low=-1, high=1)
t = basis.knots[0]
assert len(t) == G + 2 * degree + 1 == 12
assert basis.size == G + degree == 8
assert np.abs(np.diff(t) - 2 / G).max() < 1e-15

x = np.linspace(-2.3, 2.3, 921)
uniform = np.array([bspline(point, t, degree) for point in x])
inside = (x >= -1) & (x <= 1)
assert np.abs(uniform[inside].sum(1) - 1).max() < 1e-15
assert uniform[np.abs(x) > 2.2 + 1e-12].max() == 0

ends = np.concatenate([[-1] * 3, t[3:-3], [1] * 3])
repeated = np.array([bspline(point, ends, degree) for point in x])
figure, axes = plt.subplots(2, 1, figsize=(9, 4.2), sharex=True)
for axis, B, knots in zip(axes, (uniform, repeated), (t, ends)):
    axis.axvspan(-1, 1, color=PALE, alpha=0.25, lw=0)
    for i, colour in enumerate(plt.cm.viridis(np.linspace(0.05, 0.9, 8))):
        visible = np.where(B[:, i] > 0, B[:, i], np.nan)
        axis.plot(x, visible, color=colour, lw=1.8)
    axis.plot(x, np.where(B.sum(1) > 0, B.sum(1), np.nan), color=RED, ls="--", lw=1.2)
    axis.plot(knots, 0 * knots, "|", color=INK, ms=10, mew=1.5)
    axis.set(ylim=(-0.08, 1.12))
axes[0].set_title("knots continued outside: the KAN way")
axes[1].set_title("knots repeated at the ends: clamped")
axes[1].set_xlabel("x   (shaded: the domain, where the functions sum to one)")
plt.show()

# %% [markdown]
# ## Step 7: compare with the machines
#
# Four programs now claim to know B-splines: ours, SciPy's, kanref's definition `kanref.spec.bspline`, and
# kanref's compiled kernel behind `kanref.BSpline`. The kernel never builds the dense table; per point it
# returns the index of the first living function and the $d + 1$ living values. Who is right? The fractions are:
# a float *is* a fraction, so the exact value at a float is well defined, and we can count errors in units of
# the machine epsilon $\varepsilon = 2.2 \cdot 10^{-16}$.

# %%
rng = np.random.default_rng(1)
uneven = np.sort(rng.uniform(-1, 1, 14))
x = rng.uniform(uneven[3], uneven[-4], 150)
exact_knots = [Fraction(knot) for knot in uneven]
exact = [bspline(Fraction(point), exact_knots, 3) for point in x]

first, values = kanref.BSpline(uneven[None], 3).derivatives(x[:, None], 0)
assert values.shape == (1, 150, 1, 4)  # order, samples, inputs, living functions
answers = {
    "ours, in floats": np.array([bspline(point, uneven, 3) for point in x]),
    "kanref.spec": np.array([spec.bspline(point, uneven, 3) for point in x]),
    "SciPy": SciPyBSpline.design_matrix(x, uneven, 3).toarray(),
    "kanref's kernel": kanref.BSpline(uneven[None], 3).dense(x[:, None])[:, 0],
}
epsilon = np.finfo(float).eps
assert f"{epsilon:.1e}" == "2.2e-16"
for name, table in answers.items():
    errors = [abs(Fraction(value) - truth) for row, truths in zip(table, exact) for value, truth in zip(row, truths)]
    worst = float(max(errors)) / epsilon
    print(f"{name:18s} largest error {worst:.2f} epsilon")
    assert worst < 4

# %% [markdown]
# All four agree with the truth to within four epsilon. They do not agree in speed:

# %%
many = np.linspace(-0.999, 0.999, 50_000)
even = kanref.BSpline.uniform(1, 20, 3)
even.derivatives(many[:, None], 0)  # the first call compiles, or loads what was compiled before
start = perf_counter()
even.derivatives(many[:, None], 0)
kernel_time = (perf_counter() - start) / len(many)
start = perf_counter()
for point in many[:100]:
    bspline(point, even.knots[0], 3)
our_time = (perf_counter() - start) / 100
print(f"ours: {1e6 * our_time:.0f} microseconds a point; kernel: {1e9 * kernel_time:.0f} nanoseconds a point")

# %% [markdown]
# ## Step 8: insert knots, or: refining is averaging
#
# Put a new knot into the middle of every interval. The coarse functions are still splines on the finer knots,
# so each is a sum of fine ones. For uniform cubics the weights are a row of Pascal's triangle divided by 8:
#
# $$B(x) = \tfrac18 \left[ b_0(x) + 4\, b_1(x) + 6\, b_2(x) + 4\, b_3(x) + b_4(x) \right].$$

# %%
coarse, fine = [Fraction(n) for n in range(5)], [Fraction(n, 2) for n in range(9)]
weights = [Fraction(comb(4, j), 8) for j in range(5)]
assert weights == [Fraction(w, 8) for w in (1, 4, 6, 4, 1)]
for point in (Fraction(n, 37) for n in range(4 * 37)):
    assert bspline(point, coarse, 3)[0] == sum(w * b for w, b in zip(weights, bspline(point, fine, 3)))

# %% [markdown]
# Read the same row the other way and it tells how coefficients travel from the coarse to the fine knots:
# **write every coefficient twice, then average neighbours, $d$ times**. For cubics, three times. The function
# does not change; only its description gets finer, and the polygon of the coefficients closes in on the curve,
# about four times closer each round.


# %%
def refine(c, degree):
    """Coefficients of the same uniform spline on half the spacing."""
    c = np.repeat(c, 2)
    for _ in range(degree):
        c = (c[:-1] + c[1:]) / 2
    return c


def value(x, c, G):
    """The cubic spline with G uniform intervals on [-1, 1] and coefficients c, at points x."""
    return kanref.BSpline.uniform(1, G, 3).dense(np.asarray(x)[:, None])[:, 0] @ c


def centres(G):
    """Where the G + 3 functions peak: the places to draw their coefficients at."""
    return -1 + 2 / G * np.arange(-1, G + 2)


G = 6
levels = [(G, np.array([0.2, 0.9, -0.6, -0.8, 0.7, 1.0, -0.4, 0.1, 0.8]))]
for _ in range(4):
    G, c = levels[-1]
    levels.append((2 * G, refine(c, 3)))
x = np.linspace(-1, 1, 801)
curve = value(x, levels[0][1], 6)
gaps = []
for G, c in levels:
    assert np.abs(value(x, c, G) - curve).max() < 1e-14  # the function is the same
    gaps.append(np.abs(value(centres(G)[1:-1].clip(-1, 1), c, G) - c[1:-1]).max())
gaps = np.array(gaps)
print("distance of the polygon from the curve:", ", ".join(f"{gap:.1e}" for gap in gaps))
assert np.allclose(gaps[1:-1] / gaps[2:], 4, atol=0.5)

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.3))
x_bump = np.linspace(0, 4, 401)
total = np.array([bspline(point, [0.0, 1.0, 2.0, 3.0, 4.0], 3)[0] for point in x_bump])
small = np.array([bspline(point, np.arange(9) / 2, 3) for point in x_bump]) * np.array(weights, float)
for part, colour in zip(small.T, plt.cm.viridis(np.linspace(0.1, 0.85, 5))):
    axes[0].fill_between(x_bump, part, color=colour, alpha=0.25, lw=0)
    axes[0].plot(x_bump, part, color=colour)
axes[0].plot(x_bump, total, color=INK, lw=2)
for label, place, height in zip(("1/8", "4/8", "6/8", "4/8", "1/8"), np.arange(1, 3.5, 0.5), small.max(0)):
    axes[0].annotate(label, (place, 0.45 * height), ha="center", va="center", fontsize=8)
axes[0].set(title="one bump is five smaller ones", ylim=(0, 0.72))
for (G, c), colour, marker in zip(levels[:3], ("#d9a441", GREEN, BLUE), ("o", "s", ".")):
    axes[1].plot(centres(G), c, marker=marker, ms=5, lw=1, color=colour, label=f"{G} intervals")
axes[1].plot(x, curve, color=INK, lw=2, label="the spline, always the same")
axes[1].set(title="double, average three times, repeat")
axes[1].set(xlim=(-1.15, 1.15), ylim=(-1.0, 1.45))
axes[1].legend(ncols=2, loc="upper left", fontsize=8)
plt.show()

# %% [markdown]
# That is how kanref makes a trained network finer without changing what it computes, and it is the bridge from
# KANs to multigrid methods.
#
# ## In practice
#
# - `kanref.BSpline.uniform(inputs, intervals, degree, low, high)` makes the knots of step 6 for a whole layer;
#   `kanref.BSpline(knots, degree)` takes any non-decreasing rows, repeated knots included, up to degree 15.
# - A float rarely lands exactly on an edge, but a scaled data set always does: the largest sample *is* the
#   right end.
# - What happens outside of the knots is a decision, so it has a name: `outside="zero"` (as here and in the
#   papers), `"linear"`, `"clamp"` or `"error"`. Hidden layers do leave their domain.
# - Evaluate B-splines as they are. Going through powers of $x$, or through truncated powers, loses digits
#   quickly as the grid grows.
#
# ## On your own
#
# 1. Give the knots $(0, 1, 2, 2, 3, 4)$ to `bspline` with degree 2 and plot. How often is the function with the
#    double knot in its middle differentiable there? State the rule for a knot of multiplicity $m$.
# 2. `careless` fails for repeated knots. Which single change to its loop repairs it without an `if`?
# 3. Write the weights of step 8 for degrees 1 and 2 and check them with fractions. What do "double and average"
#    become for degree 0?
# 4. Show with fractions that $\sum_i \xi_i B_i(x) = x$ on the domain, where
#    $\xi_i = (t_{i+1} + \dots + t_{i+d})/d$. (These are the *Greville points*; it is why step 8 drew the
#    coefficients where it did.)
