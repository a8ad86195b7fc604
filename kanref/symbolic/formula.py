"""What a network computes, written down: sympy expressions of its outputs.

    formula(net, theta)                      exact: the numbers are theta's
    formula(net, theta, names=["T", "p"])    the variables by name, in the order of the columns
    formula(net, theta, missing="mark")      edges without a formula as phi_l_q_p(x)

Nothing is guessed: an edge that is a spline is refused, marked, or written as the piecewise polynomial it is; one that is
switched off contributes 0. Products may have any arity, and affine nodes and input maps are part of the formula.
"""

from functools import cache

import numpy as np

from kanref import bases
from kanref.arrays import choice, integer
from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.functions import Function
from kanref.mlp import relu
from kanref.symbolic.piecewise import number, spline_pieces
from kanref.terms import Linear

POINTWISE = {  # formulas of the base functions and input maps
    bases.silu: "x/(1 + exp(-x))",
    bases.identity: "x",
    bases.zero: "0",
    bases.tanh: "tanh(x)",
    bases.sin: "sin(x)",
    bases.sigmoid: "1/(1 + exp(-x))",
    relu: "Max(x, 0)",
}


def formula(net, theta, names=None, digits=None, missing="refuse"):
    """The outputs of a network as a list of sympy expressions, one for each.

    names: of the variables in the order of the columns: strings, sympy symbols, or, after inputs were pruned, the
        numbers of the columns that were kept, counted from 0: [0, 4] gives x1 and x5. By default x1, x2, ...
    digits: significant digits for the numbers, None for all; `rounded` rounds with a check.
    missing: what to do with edges that have no formula: "refuse"; "mark" them as undefined functions phi_l_q_p of the
        layer's input, whose values are net.edges(theta, l, x)[:, q, p]; or write "piecewise" polynomials for splines, as
        long as no spline takes the value of another one: sympy cannot hold conditions on piecewise expressions.

    The numbers are theta's to the last bit; the formula differs from the network by rounding alone. It is the formula of
    the functions themselves, not of their domains: where the network is NaN, as c sqrt(a x + b) + d beyond the branch
    point, the formula is not real. `certificate` measures both.
    Raises ValueError naming the edges without a formula.
    """
    import sympy

    choice(missing, "missing", ("refuse", "mark", "piecewise"))
    if digits is not None:
        integer(digits, "digits", 1, 17)
    views, absent = net.split(net.vector(theta)), []
    public = symbols(net.inputs, names)
    x = inputs = real_symbols(public)
    for l, layer in enumerate(net.layers):
        arrays = {name: views[f"{l}.{name}"] for name in layer.arrays}
        z = [mapped(layer.normalise, p, x[p]) for p in range(layer.inputs)]
        edge = edges(layer, arrays)
        sums = [number(b) for b in arrays["bias"]] if layer.bias else [sympy.Integer(0)] * layer.sums
        for q in range(layer.sums):
            parts = [sums[q]]
            for p in range(layer.inputs):
                own = edge(q, p, z[p], missing == "piecewise")
                if None in own and missing == "mark":
                    own = [sympy.Function(f"phi_{l}_{q}_{p}")(x[p])]
                elif None in own:
                    absent.append((l, q, p))
                    own = []
                parts += own
            sums[q] = sympy.Add(*parts)
        x = nodes(layer.nodes, arrays, sums) if layer.nodes else sums
    if absent:
        shown = ", ".join(map(str, absent[:8])) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
        raise ValueError(
            f"the network has {len(absent)} edge{'s' * (len(absent) > 1)} without a formula, (layer, q, p): {shown}; find "
            'formulas with suggest, fix or auto, prune them, or ask for missing="mark" or, for splines of the inputs, '
            'missing="piecewise"; to_numpy and to_c export any network'
        )
    x = [shortened(e, digits) for e in x] if digits else x
    return exchanged(x, inputs, public)


def symbols(n, names=None):
    """The variables of n columns: x1, x2, ..., or as `names` (see `formula`) says."""
    import sympy

    names = [f"x{i + 1}" for i in range(n)] if names is None else list(names)
    if len(names) != n:
        raise ValueError(f"names must name each of the {n} inputs, but it has {len(names)}: {names}")
    names = [f"x{name + 1}" if isinstance(name, int | np.integer) else name for name in names]
    if any(not isinstance(name, str | sympy.Symbol) or not str(name) for name in names):
        raise TypeError(f"names must be strings, sympy symbols or numbers of columns, but they are {names!r}")
    if len(set(map(str, names))) < n:
        raise ValueError(f"names must differ, but they are {', '.join(map(str, names))}")
    return [name if isinstance(name, sympy.Symbol) else sympy.Symbol(name) for name in names]


def real_symbols(variables):
    """Real symbols of the same names. Internally all are: sympy asks often, and of real expressions it has the answer at once."""
    import sympy

    return [sympy.Symbol(v.name, real=True) for v in variables]


def exchanged(expressions, old, new):
    """The expressions with other symbols, every part as it stands: nothing is evaluated anew."""
    import sympy

    known = dict(zip(old, new))

    def rebuilt(e):
        if e not in known:
            if not e.args:
                known[e] = e
            elif isinstance(e, sympy.Piecewise):
                known[e] = e.xreplace(dict(zip(old, new)))
            else:
                known[e] = e.func(*map(rebuilt, e.args), evaluate=False)
        return known[e]

    return [rebuilt(e) for e in expressions]


def mapped(normalise, p, x):
    """What the terms of a layer see of its input x_p."""
    if normalise is None:
        return x
    if isinstance(normalise, MinMax):
        low, high = float(normalise.low[p]), float(normalise.high[p])
        return number(2 / (high - low)) * (x - number(low)) - 1
    if not isinstance(normalise, Pointwise) or normalise not in POINTWISE:
        raise ValueError(f"no formula is known for the input map {normalise!r}; use MinMax, tanh or sigmoid")
    return applied(normalise, x)


def edges(layer, arrays):
    """The function (q, p, x, pieces) -> summands of that edge at the sympy expression x, None for one without a formula.

    pieces: whether splines are written as piecewise polynomials.
    """
    terms = []
    for name, term in layer.terms.items():
        own = {array: arrays[f"{name}.{array}"] for array in term.arrays}
        if isinstance(term, Symbolic):
            place = {(q, p): e for e, (q, p, _) in enumerate(term.formulas)}
            terms.append((term, place, own["affine"]))
        elif isinstance(term, Linear):
            terms.append((term, None, term.weights.tensor(own)))
        else:
            raise ValueError(f"no formula is known for the term {name!r} of type {type(term).__name__}")

    def edge(q, p, x, pieces):
        found = []
        for term, place, values in terms:
            if place is None:
                if values[q, p].any():
                    found.append(mixed(term.basis, p, values[q, p], x, pieces))
            elif (q, p) in place:
                e = place[q, p]
                a, b, c, d = map(number, values[e])
                found.append(c * applied(term.formulas[e][2], a * x + b) + d)
        return found

    return edge


def mixed(basis, p, w, x, pieces):
    """sum_i w_i b_i(x) for one edge, None if it has no formula."""
    import sympy

    if isinstance(basis, BSpline):
        return spline_pieces(basis, p, w).sympy(x) if pieces and not x.has(sympy.Piecewise) else None
    if isinstance(basis, Chebyshev):
        return sympy.Add(*(number(c) * sympy.chebyshevt(j, sympy.tanh(x)) for j, c in enumerate(w)))
    known = isinstance(basis, Pointwise) and basis in POINTWISE
    return number(w[0]) * applied(basis, x) if known else None


def applied(f, x):
    """A `Function`, or a `Pointwise` whose formula is known, of the sympy expression x."""
    import sympy

    return template(f).xreplace({sympy.Symbol("x"): x})


@cache
def template(f):
    """The formula of f in the symbol x, read once."""
    import sympy

    x = sympy.Symbol("x")
    return f.sympy(x) if isinstance(f, Function) else sympy.sympify(POINTWISE[f])


def nodes(nodes, arrays, u):
    """What `Nodes` make of the sums u."""
    import sympy

    def affine(level, values):
        given = {**nodes.constants, **arrays}
        scale, bias = (given.get(f"{level}_{kind}") for kind in ("scale", "bias"))
        values = values if scale is None else [number(s) * v for s, v in zip(scale, values)]
        return values if bias is None else [v + number(b) for b, v in zip(bias, values)]

    u, v = affine("subnode", u), []
    for q in range(len(nodes.arity)):
        v.append(sympy.Mul(*(u[s] for s in nodes.subnodes([q]))))
    return affine("node", v)


def shortened(expression, digits):
    """The expression with its floating-point numbers to so many significant digits; none becomes zero."""
    import sympy

    return expression.xreplace({f: sympy.Float(f"{float(f):.{digits - 1}e}") for f in expression.atoms(sympy.Float)})


def constant_and_rest(e, Add):
    """Numbers and the rest of a sum (Add) or a product."""
    import sympy

    if e.is_number:
        return (e, sympy.Integer(0)) if Add else (e, sympy.Integer(1))
    return e.as_independent(*e.free_symbols, as_Add=Add)


def summands(e):
    """The constant of a sum, and coefficients and the rest of its other summands."""
    import sympy

    constant, rest = constant_and_rest(e, True)
    return constant, [constant_and_rest(part, False) for part in sympy.Add.make_args(rest)]


def real(e):
    """A sympy number as a float, NaN if it is not real."""
    try:
        return float(e)
    except TypeError:
        return float("nan")
