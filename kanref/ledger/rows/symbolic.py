"""Formulas: what is read off must be what is computed."""

from fractions import Fraction
from math import exp, prod, sqrt

import numpy as np

from kanref import initialise, sparsify
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.ledger.row import Row
from kanref.model import Model
from kanref.network import KAN, Layer
from kanref.nodes import Nodes
from kanref.symbolic import fit_affine


def model(*layers):
    """A model of formulas: of every layer the arity of its nodes, and edges {(q, p): (name or Function, a, b, c, d)}."""
    made, arrays = [], {}
    for l, (arity, edges) in enumerate(layers):
        places = tuple((q, p, LIBRARY.get(f, f)) for (q, p), (f, *_) in edges.items())
        shape = sum(arity), 1 + max(p for _, p in edges)
        made.append(Layer({"symbolic": Symbolic(shape, places)}, nodes=Nodes(arity)))
        arrays[f"{l}.symbolic.affine"] = np.array([numbers for _, *numbers in edges.values()], float)
    net = KAN(tuple(made))
    return Model(net, net.join(arrays))


def identity_spline():
    """A model of one cubic spline on [-1, 1], which is f(x) = x."""
    made = Model.build([1, 1], intervals=3, base=None)
    (term,) = made.net.layers[0].terms.values()
    return Model(made.net, initialise.greville(term.basis).ravel())


def at(made, *points):
    """The first output at points."""
    return made.raw(np.array(points, float))[:, 0]


def refuses(action):
    try:
        action()
    except ValueError:
        return True
    return False


def value(made, *numbers):
    """The formula's, at a point."""
    (expression,) = made.formula()
    return float(expression.subs(dict(zip(map(str, made.input_names), numbers))))


# ------------------------------------------------------------------------------------------------------------------ B17


def products_right():
    u = [Fraction(1, 2) + Fraction(j + 1, 10) for j in range(6)]
    y = float(prod(u[:3]) + prod(u[3:]))
    return {"model": y, "formula": y}


def products():
    first = {(j, 0): ("x", 1, 0, 1, (j + 1) / 10) for j in range(6)}
    made = model(((3, 3), first), ((1,), {(0, p): ("x", 1, 0, 1, 0) for p in range(2)}))
    return {"model": at(made, [0.5])[0], "formula": value(made, 0.5)}


B17 = Row(
    number="B17",
    title="Formulas of product nodes of arity 3 multiply the sums that the model multiplies",
    peers=("pykan",),
    right=products_right,
    ours=products,
    derivation="""Product node q multiplies the sums from n_sum + the arities of the product nodes before it, as many as
        its own arity. At x = 1/2 the sums are 6/10, 7/10, ..., 11/10, so y = 0.6 0.7 0.8 + 0.9 1.0 1.1 = 1.326. pykan's
        formula starts node q at 2 q, whatever the arity: 0.6 0.7 0.8 + 0.8 0.9 1.0 = 1.056.""",
    reproduce="""Six sums u_j = x + (j + 1)/10, two product nodes of arity 3, their sum as output; the model and its
        formula at x = 1/2.""",
)

# ------------------------------------------------------------------------------------------------------------------ B18


def unfixed_right():
    return {
        "refuses a spline": True,
        "also after suggestions": True,
        "model with x1^2 masked": 1 / 4,
        "its formula": 1 / 4,
    }


def unfixed():
    spline = identity_spline()
    refused = [refuses(spline.formula)]
    spline.suggest(np.linspace(-1, 1, 21)[:, None], 0, 0, 0, library=["x", "sin", "gaussian"])
    refused.append(refuses(spline.formula))
    made = model(((1,), {(0, 0): ("x^2", 1, 0, 1, 0), (0, 1): ("x", 1, 0, 1, 0)}))
    masked = Model(*sparsify.masked(made.net, made.theta, edges=[np.array([[0, 1]])]))
    return {
        "refuses a spline": refused[0],
        "also after suggestions": refused[1],
        "model with x1^2 masked": at(masked, [0.5, 0.25])[0],
        "its formula": value(masked, 0.5, 0.25),
    }


B18 = Row(
    number="B18",
    title="Formulas of edges that have none are refused; masked edges are zero",
    peers=("pykan",),
    right=unfixed_right,
    ours=unfixed,
    derivation="""A spline is no formula of the library, and asking which function it may be does not make it one:
        without a formula for every edge the answer is an error (or a mark, or the piecewise polynomial). An edge that
        is masked adds 0 to the model, so it adds 0 to the formula: x1^2 + x2 without its first edge is x2, 1/4 at (1/2,
        1/4). pykan writes 0 for splines, and after suggest_symbolic the function that was tried last; its warning never
        comes, and masks are not looked at.""",
    reproduce="""The formula of one cubic spline with f(x) = x, at once, and after suggestions were asked for; model and
        formula of x1^2 + x2 at (1/2, 1/4), the edge of x1 masked.""",
)

# ------------------------------------------------------------------------------------------------------------------ B19


def guards_right():
    return {
        "sqrt below and at 1/100": [sqrt(0.01 - 1e-9), 0.1],
        "a value for sqrt(-1)": False,
        "exp(3)": exp(3),
        "tan evaluates": True,
        "x^1.5 evaluates": True,
        "own function evaluates": True,
    }


def guards():
    edge = lambda f, *points: at(model(((1,), {(0, 0): (f, 1, 0, 1, 0)})), *([x] for x in points))
    below, there, negative = edge("sqrt", 0.01 - 1e-9, 0.01, -1)
    evaluates = lambda f: bool(np.isfinite(edge(f, 0.5, 0.25)).all())
    return {
        "sqrt below and at 1/100": [below, there],
        "a value for sqrt(-1)": bool(np.isfinite(negative)),
        "exp(3)": edge("exp", 3, 0)[0],
        "tan evaluates": evaluates("tan"),
        "x^1.5 evaluates": evaluates("x^1.5"),
        "own function evaluates": evaluates(Function.from_formula("bump", "1/(1 + x**2)")),
    }


B19 = Row(
    number="B19",
    title="Guards against singularities: continuous, for every function, and the function that the formula names",
    peers=("pykan",),
    right=guards_right,
    ours=guards,
    derivation="""What is exported as sqrt(x) must be computed as sqrt(x). A guard of slope y_th = 10 below x = 1/y_th^2
        = 0.01 would be continuous there, 0.1 from both sides, and within the tolerance here. pykan's slope is 1/y_th^3
        = 0.001, so that its sqrt jumps from 0.00001 to 0.1; it is odd, though its formula has no real value at -1; exp
        is cut off at y_th, on purpose, but the formula does not say so; of what their guards return, tan and x^1.5
        take the wrong element, functions of one's own get an argument too many, and all of these raise.""",
    reproduce="""One edge f(x) in the mode that avoids singularities (y_th = 10), where there is one: sqrt at 0.01 -
        1e-9, 0.01 and -1, exp at 3, and tan, x^1.5 and 1/(1 + x^2) given as a function at 1/2 and 1/4.""",
    switch="kanref.conventions.guarded(name, y_th), a Function",
    tolerance=1e-6,
)

# ------------------------------------------------------------------------------------------------------------------ B20


def sines(search=fit_affine):
    x = np.array([np.pi * (i - 100) / 100 for i in range(201)])
    found = [search(LIBRARY["sin"], x, A * np.sin(x)).r2 for A in (1, 1e-2, 1e-3, 1e-4)]
    return {"R^2": found, "above 1": max(found) > 1}


B20 = Row(
    number="B20",
    title="R^2 of a perfect fit is 1 for any amplitude, and never above",
    peers=("pykan",),
    right=lambda: {"R^2": [1, 1, 1, 1], "above 1": False},
    ours=sines,
    derivation="""R^2 = 1 - sum (y - fit)^2 / sum (y - mean y)^2 does not change if y and fit are scaled together, and
        what is subtracted from 1 is not negative. pykan's r2 has 1e-4 added to the product v of two sums of
        squares in its denominator: for a perfect fit v/(v + 1e-4), where v = (100 A)^2 for A sin x over a period in 200
        steps: 0.99990, 0.990, 0.50 for A = 1e-2, 1e-3, 1e-4 (and a little more where its search finds a larger v). Its
        single precision gives 1.0000002 for A = 1.""",
    reproduce="A sin x fitted by c sin(a x + b) + d at 201 even points of [-pi, pi], for A = 1, 1e-2, 1e-3, 1e-4.",
    switch='Model.suggest(X, l, q, p, search="pykan-0.2.8"), the fits\' r2',
)

# ------------------------------------------------------------------------------------------------------------------ B21


def exchanged():
    second = {(0, 0): ("x", 1, 0, 1, 0), (0, 1): ("x", 1, 0, 2, 0)}
    made = model(((1, 1), {(0, 0): ("x^2", 1, 0, 1, 0), (1, 0): ("x^3", 1, 0, 1, 0)}), ((1,), second))
    net, theta = made.net.select(made.theta, [[0], [1, 0], [0]])
    return {"before": at(made, [0.5])[0], "after": at(Model(net, theta), [0.5])[0]}


B21 = Row(
    number="B21",
    title="Exchanging two hidden nodes changes nothing, with edges that are formulas too",
    peers=("pykan",),
    right=lambda: {"before": 1 / 2, "after": 1 / 2},
    ours=exchanged,
    derivation="""The output is a sum over the hidden nodes, 1 x^2 + 2 x^3, in any order: 1/4 + 2/8 = 1/2 at x = 1/2.
        pykan exchanges names, parameters and masks of formulas, but not the functions that are evaluated: 2 x^2 + 1 x^3
        = 5/8.""",
    reproduce="A network [1, 2, 1] with hidden nodes x^2 and x^3, output h1 + 2 h2, at x = 1/2; then h1 and h2 are exchanged.",
)

ROWS = (B17, B18, B19, B20, B21)
