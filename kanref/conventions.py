"""Conventions: what other libraries do where kanref does otherwise, and published numbers that only their ways give.

    Model.build([2, 5, 1], convention="pykan-0.2.8")       a model with that library's defaults; kept in its file
    CONVENTIONS["pykan-0.2.8"].prune                        what it passes to Model.prune, as far as nothing else is given
    half_open(x, knots, degree)                             B-splines on half-open spans, tied knots as in pykan
    guarded("sqrt", 10)                                     a function without its singularity, as in pykan

A convention is a table of keyword arguments, in kanref's words: each field has the name of a method of `Model`, `penalty` that
of `kanref.sparsify.penalty`. What is not there is as in "strict", which has none: kanref's own defaults, each of them stated
where it is. An argument that is given always wins. All of these libraries take degree 3, SiLU and [-1, 1] like kanref.

| convention              | start, intervals   | grid update      | penalty             | pruning by            | formulas by   |
|-------------------------|--------------------|------------------|---------------------|-----------------------|---------------|
| "pykan-0.0"             | its own, 3, biases | uniform, margins | mean |phi| / range  | the same, nodes alone | R^2 alone     |
| "pykan-0.2.8"           | its own, 3         | ranks, no margin | deviations          | backward scores       | price and R^2 |
| "efficient-kan-7b6ce1c" | its own, 5         | ranks, w_s twice | stored coefficients | -                     | -             |
| "jaxkan-0.3.7"          | "paper", 3, biases | normal equations | -                   | -                     | -             |

Both pykans search a and b of c f(a x + b) + d on a grid, by an R^2 with 1e-4 in its denominator (`symbolic.affine_fit.scan`).

Read in: pykan 0.0, kan/KAN.py and kan/utils.py of the release of the paper (044826d, 9c00ccc); pykan 0.2.8, ecde4ec;
efficient-kan, 7b6ce1c; jaxKAN 0.3.7, 9763fa3 (all in single precision: give dtype=numpy.float32). Training is kanref's: pykan
updates grids within `fit`, every 5 steps up to 50, and draws other random numbers.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from kanref.arrays import choice, integer, real_array
from kanref.functions import LIBRARY, Function

PYKAN = tuple(LIBRARY)[:29]  # the library of pykan 0.2.8
PYKAN_0_0 = (
    "x x^2 x^3 x^4 1/x 1/x^2 1/x^3 1/x^4 sqrt 1/sqrt(x) exp log abs sin tan tanh sigmoid sgn arcsin arctan arctanh 0 gaussian "
    "cosh"
).split()


@dataclass(frozen=True, eq=False)
class Convention:
    """Keyword arguments of `Model`'s methods, and of `sparsify.penalty` in `Model.fit`, that amount to a library's ways."""

    name: str
    build: dict = field(default_factory=dict)
    update_grid: dict = field(default_factory=dict)
    penalty: dict = field(default_factory=dict)
    attribute: dict = field(default_factory=dict)
    prune: dict = field(default_factory=dict)
    fix: dict = field(default_factory=dict)
    suggest: dict = field(default_factory=dict)
    auto_symbolic: dict = field(default_factory=dict)


_by_price = {"rule": "pykan-0.2.8", "search": "pykan-0.2.8", "library": PYKAN}
_by_fit = {"rule": "pykan-0.2.8", "simplicity": 0.0, "search": "pykan-0.0", "library": PYKAN_0_0}

CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("strict"),
        Convention(
            "pykan-0.0",
            build={"intervals": 3, "scaled": True, "bias": True, "scheme": "pykan-0.0"},
            update_grid={"rule": "pykan-0.0"},
            penalty={"metric": "pykan-0.0", "l1": 1.0, "entropy": 2.0},
            attribute={"method": "pykan-0.0"},
            prune={"method": "pykan-0.0", "nodes": 1e-2, "edges": 0.0, "means": False},
            fix={"search": "pykan-0.0"},
            suggest=_by_fit,
            auto_symbolic={**_by_fit, "r2": 0.0},
        ),
        Convention(
            "pykan-0.2.8",
            build={"intervals": 3, "scaled": True, "scheme": "pykan-0.2.8"},
            update_grid={"rule": "pykan"},
            penalty={"metric": "pykan-0.2.8", "l1": 1.0, "entropy": 2.0},
            attribute={"method": "backward"},
            prune={"method": "backward", "nodes": 1e-2, "edges": 3e-2, "means": False},
            fix={"search": "pykan-0.2.8"},
            suggest=_by_price,
            auto_symbolic={**_by_price, "r2": 0.0},
        ),
        Convention(
            "efficient-kan-7b6ce1c",
            build={"intervals": 5, "scaled": True, "scheme": "efficient-kan"},
            update_grid={"rule": "efficient", "refit": "efficient"},
            penalty={"metric": "efficient-kan", "l1": 1.0, "entropy": 1.0},
        ),
        Convention(
            "jaxkan-0.3.7",
            build={"intervals": 3, "scaled": True, "bias": True, "scheme": "paper"},
            update_grid={"rule": "jaxkan", "refit": "jaxkan"},
        ),
    )
}


def convention(name):
    """The `Convention` of a name; ValueError that names them all for others."""
    return CONVENTIONS[choice(name, "convention", tuple(CONVENTIONS))]


# ---------------------------------------------------------------------------------------------------------- B-splines


def half_open(x, knots, degree, tied=0.0):
    """All K = T - degree - 1 B-splines at x (N,) on knots (T,) by the recursion of pykan, efficient-kan and jaxKAN: (N, K).

        B_{i,0} = 1 on [t_i, t_{i+1}),   B_{i,d} = (x - t_i)/(t_{i+d} - t_i) B_{i,d-1} + (t_{i+d+1} - x)/(...) B_{i+1,d-1}

    without closing the last span: 0 at the last knot, so also at the right edge of clamped knots and of degree 0. Tied knots
    make one of the two terms 0/0, and the sum NaN, even where the other is right: `tied` is what becomes of it in every step.
    0 is pykan's (its nan_to_num comes after the sum), NaN that of the others. Right values are those of `kanref.BSpline`.
    """
    x, t = real_array(x, "x", np.float64), real_array(knots, "knots", np.float64)
    integer(degree, "degree", 0)
    if x.ndim != 1 or t.ndim != 1 or len(t) < degree + 2:
        raise ValueError(
            f"x and knots must be vectors, of at least degree + 2 = {degree + 2} knots, but they have shapes {x.shape} and "
            f"{t.shape}; take one input at a time"
        )
    x = x[:, None]
    B = ((x >= t[:-1]) & (x < t[1:])).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        for d in range(1, degree + 1):
            left = (x - t[: -d - 1]) / (t[d:-1] - t[: -d - 1])
            right = (t[d + 1 :] - x) / (t[d + 1 :] - t[1:-d])
            B = left * B[:, :-1] + right * B[:, 1:]
            B = np.where(np.isnan(B), tied, B)
    return B


# ---------------------------------------------------------------------------------------------------------- functions

GUARDS = {  # what pykan 0.2.8 puts in a function's place where `singularity_avoiding` is on, y being its y_th
    "1/x": "Piecewise((y**2*x, Abs(x) < 1/y), (1/x, True))",
    "1/x^2": "Piecewise((y, Abs(x) < y**(-1/2)), (x**-2, True))",
    "1/x^3": "Piecewise((y**(4/3)*x, Abs(x) < y**(-1/3)), (x**-3, True))",
    "1/x^4": "Piecewise((y, Abs(x) < y**(-1/4)), (x**-4, True))",
    "1/x^5": "Piecewise((y**(6/5)*x, Abs(x) < y**(-1/5)), (x**-5, True))",
    "sqrt": "Piecewise((x/y**3, Abs(x) < y**-2), (sign(x)*sqrt(Abs(x)), True))",
    "1/sqrt(x)": "Piecewise((y, Abs(x) < y**-2), (1/sqrt(Abs(x)), True))",
    "log": "Piecewise((-y, Abs(x) < exp(-y)), (log(Abs(x)), True))",
    "exp": "Piecewise((y, x > log(y)), (exp(x), True))",
    "arctanh": "Piecewise((y*sign(x), Abs(x) > tanh(y) - 1e-4), (atanh(x), True))",
    "arcsin": "Piecewise((pi/2*sign(x), Abs(x) > 1), (asin(x), True))",
    "arccos": "Piecewise((pi/2*(1 - sign(x)), Abs(x) > 1), (acos(x), True))",
}
GUARDS |= {"x^0.5": GUARDS["sqrt"], "1/x^0.5": GUARDS["1/sqrt(x)"]}


@cache
def guarded(name, y_th=10.0):
    """The `Function` that pykan 0.2.8 evaluates for one of its library under singularity_avoiding=True.

    y_th: 10 in pykan's forward, 1000 in its fit. Continuous but for sqrt, which jumps from y_th^-5 to 1/y_th, and arctanh,
    which jumps to y_th about 1e-4 before its pole, where it is 4.95; odd or even beyond 0, where the plain functions have no
    value. The formula says all of it, so an exported formula is the function that was trained. Files keep it by its name: load
    with functions={"sqrt guarded at 10": guarded("sqrt", 10)}.

    Raises ValueError for functions without a guard in pykan; those of tan and x^1.5 return other things there, or nothing.
    """
    choice(name, "name", tuple(GUARDS))
    if not 1 < y_th < np.inf:
        raise ValueError(f"y_th must be a number above 1, the largest value that is not cut off, but it is {y_th!r}")
    import sympy

    x, y = sympy.Symbol("x", real=True), sympy.Symbol("y", positive=True)
    formula = sympy.sympify(GUARDS[name], locals={"x": x, "y": y}).subs(y, sympy.Float(float(y_th), 17))
    return Function.from_formula(f"{name} guarded at {y_th:g}", str(formula), LIBRARY[name].complexity)
