"""Formulas that prove themselves: how far is the formula from the network, and how short may it be made?

    certificate(expressions, net, theta, x)          largest difference on the samples x and all over their box
    rounded(expressions, net, theta, x, digits=4)    a tidy formula with short numbers, and the certificates of both

An expression is tidied in two steps. First redundancy goes, by identities that hold wherever the expression is real: constants
in c f(a u + b) + d move outwards (e^(u + b) = e^b e^u, (a u + b)^n = a^n (u + b/a)^n for a > 0 or whole n, log(a u) =
log a + log u, signs out of odd functions, phases of sines into (-pi/2, pi/2]), until the same function is written in one
way whatever its affine parameters were. Then numbers become short: summands too small to matter vanish, 3.14159265 is pi, and
0.3333333 is 1/3. Nothing of this is trusted: of several forms the shortest is taken that passes the check.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from kanref import arrays as border
from kanref.symbolic.formula import constant_and_rest, exchanged, real, real_symbols, summands, symbols

GRID = 4096  # about so many points fill a box
MOST_DIGITS = 15
SAMPLES = 2000  # that rounding is checked on
LONG = 200  # operations from which only one form is tried


@dataclass(frozen=True)
class Certificate:
    """Formula against network: largest differences over all outputs, on samples and on `grid_points` of their box.

    data, grid: max |f - g|, f the formula, g the network; data_relative, grid_relative: the same over max |g| of
    each output, the largest one.
    undefined: points of either kind where the network itself is not finite; they are not compared. Where the formula alone is not
    finite, the difference is infinite.
    """

    expressions: tuple = field(repr=False)
    box: tuple[tuple[float, float], ...]
    samples: int
    grid_points: int
    data: float
    data_relative: float
    grid: float
    grid_relative: float
    undefined: int

    @property
    def largest(self):
        """The larger one of the two relative differences."""
        return max(self.data_relative, self.grid_relative)

    def __str__(self):
        several = len(self.expressions) > 1
        lines = [f"y{o + 1 if several else ''} = {e}" for o, e in enumerate(self.expressions)]
        lines += [
            "largest difference between formula and network:",
            f"  {self.data:.1e} (relative {self.data_relative:.1e}) on {self.samples} samples",
            f"  {self.grid:.1e} (relative {self.grid_relative:.1e}) on {self.grid_points} points of the samples' box",
        ]
        if self.undefined:
            lines.append(f"  the network is not defined at {self.undefined} of these points")
        return "\n".join(lines)


def certificate(expressions, net, theta, x, names=None, points=GRID):
    """Compare expressions (from `formula`, or your own) with a network, as a `Certificate`.

    expressions: one for each output; x: samples (N, n), whose box is also filled with about `points` points: a regular grid
    in up to 3 dimensions, a Sobol sequence in more. names: as in `formula`.
    Raises ValueError for expressions with other variables, or with marks of edges that have no formula.
    """
    x = border.points(x, net.inputs, dtype=np.float64)
    border.integer(points, "points", 1)
    expressions = checked(expressions, net.outputs)
    f = function(expressions, symbols(net.inputs, names))
    dense = fill(x.min(0), x.max(0), points)
    (data, data_relative, undefined), (grid, grid_relative, more) = (compare(f, net, theta, z) for z in (x, dense))
    box = tuple(zip(x.min(0).tolist(), x.max(0).tolist()))
    return Certificate(expressions, box, len(x), len(dense), data, data_relative, grid, grid_relative, undefined + more)


def checked(expressions, outputs):
    """The expressions as a tuple of one for each output."""
    import sympy

    try:
        expressions = tuple(expressions)
    except TypeError:
        expressions = (expressions,)
    if len(expressions) != outputs:
        raise ValueError(f"expressions must be one for each of the {outputs} outputs, but there are {len(expressions)}")
    if any(isinstance(e, str) for e in expressions):
        raise TypeError("expressions must be sympy expressions, but they are text; use sympy.sympify on text you trust")
    return tuple(map(sympy.sympify, expressions))


def function(expressions, variables):
    """The function x (N, n) -> (N, m) of sympy expressions; NaN where they are not real, without warnings."""
    import sympy
    from sympy.core.function import AppliedUndef

    everything = sympy.Tuple(*expressions)
    if marks := everything.atoms(AppliedUndef):
        names = ", ".join(sorted({mark.func.__name__ for mark in marks})[:8])
        raise ValueError(
            f"the formula has edges without a formula, {names}; find formulas with suggest, fix or auto first"
        )
    if extra := everything.free_symbols - set(variables):
        raise ValueError(
            f"the formula is in {', '.join(sorted(map(str, extra)))}, but the network's variables are "
            f"{', '.join(map(str, variables))}; give names in the order of the columns"
        )
    inputs, floats = arguments(len(variables)), list(everything.atoms(sympy.Float))
    printed = [sympy.Float(f, 17) for f in floats]  # the same numbers, of which code then has all digits
    expressions = exchanged(expressions, [*variables, *floats], [*inputs, *printed])
    call = sympy.lambdify(inputs, expressions, ["scipy", "numpy"], cse=True)

    def f(x):
        with np.errstate(all="ignore"):
            columns = [np.broadcast_to(np.asarray(y), len(x)) for y in call(*np.asarray(x, np.float64).T)]
        y = np.stack(columns, 1)
        return np.where(y.imag == 0, y.real, np.nan) if np.iscomplexobj(y) else y.astype(np.float64)

    return f


def arguments(count):
    """Real symbols whose names mean nothing in code, as those of columns may: exp, log, select."""
    import sympy

    return [sympy.Symbol(f"column_{i}", real=True) for i in range(count)]


def fill(low, high, points):
    """About so many points that fill a box: a grid in up to 3 dimensions, a Sobol sequence in more; (N, n)."""
    n = len(low)
    if n <= 3:
        side = max(2, round(points ** (1 / n)))
        grid = np.meshgrid(*(np.linspace(0, 1, side if a < b else 1) for a, b in zip(low, high)), indexing="ij")
        unit = np.stack([axis.ravel() for axis in grid], 1)
    else:
        from scipy.stats import qmc

        unit = qmc.Sobol(n, scramble=False).random_base2(max(1, round(math.log2(points))))
    return (1 - unit) * low + unit * high


def compare(f, net, theta, x):
    """max |f - g|, the largest of the outputs' max |f - g| / max |g|, and how often g, the network, is not finite."""
    g = net(theta, x).astype(np.float64)
    defined = np.isfinite(g).all(1)
    if not defined.any():
        raise ValueError("the network is not finite at any of the points; check its functions' domains")
    g, difference = g[defined], np.abs(f(x)[defined] - g[defined])
    largest, size = np.where(np.isfinite(difference), difference, np.inf).max(0), np.abs(g).max(0)
    relative = largest / np.where(size > 0, size, 1)  # of every output, so that large ones do not hide small ones
    return float(largest.max()), float(relative.max()), int((~defined).sum())


# --------------------------------------------------------------------------------------------------- values on samples


def evaluator(variables, x):
    """The function of a sympy expression to its values on samples x (N, n): every subexpression is computed once."""
    import sympy

    known = dict(zip(variables, x.T))

    def value(e):
        if e not in known:
            if e.is_number:
                known[e] = real(e)
            elif isinstance(e, sympy.Piecewise):
                own = sorted(e.free_symbols, key=str)
                places = arguments(len(own))
                call = sympy.lambdify(places, e.xreplace(dict(zip(own, places))), ["scipy", "numpy"])
                known[e] = call(*map(value, own))
            else:
                known[e] = operation(e.func, len(e.args))(*map(value, e.args))
        return known[e]

    def quiet(e):
        with np.errstate(all="ignore"):
            return np.broadcast_to(value(e), len(x))

    return quiet


@cache
def operation(head, arguments):
    """A sympy class as a function of arrays."""
    import sympy

    if head is sympy.Pow:
        return lambda u, n: np.power(np.asarray(u, np.float64), n)
    own = sympy.symbols(f"u:{arguments}")
    return sympy.lambdify(own, head(*own), ["scipy", "numpy"])


# ---------------------------------------------------------------------------------------- step one: without redundancy


def tidied(e, value, lead, expand):
    """An equal expression in which constants have moved outwards; see the module's text.

    value: from `evaluator`; lead: which coefficient of a sum of several summands becomes 1 inside powers and logarithms: that of
    the "largest" or "smallest" summand on the samples, or "keep" them all; expand: multiply products of sums out.
    """
    import sympy

    again = lambda e: tidied(e, value, lead, expand)
    if not e.args or e.is_number or isinstance(e, sympy.Piecewise):
        return e
    args = [again(a) for a in e.args]
    if e.is_Add:
        return sympy.Add(*args)
    if e.is_Mul or e.is_Pow:
        e = e.func(*args)
        e = sympy.expand(e, deep=False, log=False, power_base=False, power_exp=False) if expand else e
        return sympy.Add(*(product(part, value, lead) for part in sympy.Add.make_args(e)))
    if isinstance(e, sympy.exp):
        return exponential(args[0])
    u = args[0]
    if isinstance(e, sympy.log | sympy.Abs) and not u.is_number:
        c, u = leading(u, value, lead)
        if isinstance(e, sympy.Abs):
            return abs(c) * sympy.Abs(u)
        return sympy.log(abs(c)) + sympy.log(sympy.sign(c) * u) if c.has(sympy.Float) else sympy.log(c * u)
    if isinstance(e, sympy.sin | sympy.cos | sympy.tan):
        return periodic(e.func, u, value)
    return e.func(*args)


def leading(e, value, lead):
    """(c, u) with e = c u, and u with the coefficient 1 for one summand."""
    import sympy

    if not e.is_Add:
        return constant_and_rest(e, False)
    constant, parts = summands(e)
    sizes = [np.nan_to_num(np.ptp(value(c * u)), posinf=0.0, neginf=0.0) for c, u in parts]
    counted = [i for i, size in enumerate(sizes) if size >= max(sizes) / 100]
    i = (min if lead == "smallest" else max)(counted, key=sizes.__getitem__)
    c = parts[i][0] if lead != "keep" or len(parts) == 1 else sympy.sign(parts[i][0])
    return c, sympy.Add(*(a / c * u for a, u in parts), constant / c)


def product(e, value, lead):
    """A product or power: the coefficients of its factors together in front, into a sum if that is all there is."""
    import sympy

    c, e = constant_and_rest(e, False)
    if e.is_Add:
        return sympy.Add(*(c * part for part in e.args))
    factors = []
    for factor in sympy.Mul.make_args(e):
        u, n = factor.as_base_exp() if not isinstance(factor, sympy.exp) else (factor, sympy.Integer(1))
        if n.is_number and u.is_Add:
            a, u = leading(u, value, lead)
            if not n.is_integer:
                a, u = abs(a), sympy.sign(a) * u
            c *= a**n
        factors.append(u**n)
    e = sympy.Mul(*factors)
    return sympy.Add(*(c * part for part in e.args)) if e.is_Add else c * e


def exponential(u):
    """e^u: floating-point constants in front, logarithms undone."""
    import sympy

    factors, inside = [], []
    for part in sympy.Add.make_args(u):
        logs = [factor for factor in sympy.Mul.make_args(part) if isinstance(factor, sympy.log)]
        if part.is_number and part.has(sympy.Float):
            factors.append(sympy.exp(part))
        elif len(logs) == 1 and not part.is_number:
            factors.append(logs[0].args[0] ** (part / logs[0]))
        else:
            inside.append(part)
    return sympy.Mul(*factors, sympy.exp(sympy.Add(*inside)))


def periodic(f, u, value):
    """sin, cos or tan with a positive largest summand, and its phase in (-pi/2, pi/2]."""
    import sympy

    phase, rest = constant_and_rest(u, True)
    sign = 1
    if not rest.is_number and leading(rest, value, "largest")[0].is_negative:
        phase, rest, sign = -phase, -rest, 1 if f is sympy.cos else -1
    if phase.has(sympy.Float):
        turns = math.ceil(float(phase) / math.pi - 0.5)
        phase = sympy.Float(float(phase) - turns * math.pi)
        sign *= 1 if f is sympy.tan else (-1) ** turns
    return sign * f(rest + phase)


# --------------------------------------------------------------------------------------------- step two: short numbers


def nice(v, digits):
    """A simple number that is v to so many digits, as sympy has it, or None.

    Whole numbers, and halves, thirds, quarters and sixths up to 20 of them; such multiples of pi; and, where they are v to
    eight digits, of e, sqrt 2, sqrt 3, sqrt pi, sqrt(2 pi) and the reciprocals of these.
    """
    import sympy

    if v == 0:
        return sympy.Integer(0)
    for unit, needed in units():
        ratio = v / float(unit)
        for q in (1, 2, 3, 4, 6):
            p = round(ratio * q)
            close = abs(ratio * q - p) <= 0.5 * 10.0 ** -max(digits, needed) * abs(p)
            if close and p and (abs(p) <= 20 or (unit == q == 1 and abs(p) < 10**digits)):
                return sympy.Rational(p, q) * unit
    return None


@cache
def units():
    """What nice numbers are multiples of, and to how many digits they must be."""
    import sympy

    pi, two, three = sympy.pi, sympy.sqrt(2), sympy.sqrt(3)
    rare = (1 / pi, two, three, sympy.sqrt(pi), 1 / sympy.sqrt(pi), sympy.sqrt(2 * pi), 1 / sympy.sqrt(2 * pi))
    return ((sympy.Integer(1), 0), (pi, 0), *((unit, 8) for unit in (*rare, sympy.E, 1 / sympy.E)))


def shorter(e, value, snap, digits, unit=False):
    """The expression with nice numbers where they agree to `snap` digits, the others rounded to `digits`.

    Summands too small to show in `snap` digits of a sum vanish; unit: sizes beyond 1 count as 1, in arguments of functions.
    """
    import sympy

    if e.is_Float:
        found = nice(float(e), snap)
        return sympy.Float(f"{float(e):.{digits - 1}e}") if found is None else found
    if not e.args or isinstance(e, sympy.Piecewise):
        return e
    parts = e.args
    if e.is_Add and not e.is_number:
        size = lambda part: np.abs(value(part)).max()
        whole = np.median(np.abs(value(e) - np.median(value(e))))  # not the range: that is the tails'
        least = 0.5 * 10.0**-snap * (min(whole, 1.0) if unit else whole)
        parts = [part for part in parts if not size(part) <= least]
    inner = isinstance(e, sympy.Function) and not isinstance(e, sympy.log | sympy.Abs)
    parts = [shorter(part, value, snap, digits, inner or (unit and not e.is_Pow)) for part in parts]
    if e.is_Pow and parts[1].is_even and parts[0].could_extract_minus_sign():
        parts[0] = -parts[0]
    return e.func(*parts)


def cost(e):
    """Operations, numbers that are not whole, and their digits."""
    import sympy

    atoms = [part for part in sympy.preorder_traversal(e) if part.is_Rational or part.is_Float]
    digits = [len(f"{float(number):.15g}".strip("-0.")) for number in atoms if number.is_Float]
    return e.count_ops() + sum(not number.is_Integer for number in atoms) + sum(digits)


@dataclass(frozen=True)
class Rounded:
    """Tidy expressions, the digits of the numbers of each (None where no shortening passed), certificates before and after."""

    expressions: tuple
    digits: tuple
    before: Certificate
    after: Certificate

    def __str__(self):
        digits = ", ".join("all" if d is None else str(d) for d in self.digits)
        return f"{self.after}\nnumbers to {digits} digits; exact ones: relative {self.before.data_relative:.1e} on the samples"


def rounded(expressions, net, theta, x, digits=4, names=None, y=None, tolerance=None):
    """Tidy, short expressions that still agree with the network: a `Rounded`.

    Numbers get `digits` significant digits, or more, one by one up to 15, until the check passes; simple fractions and multiples
    of pi are recognised. The check, for every output by itself, on the samples x:
        with targets y       the root mean squared error to y grows by at most 1 %
        without              no value changes by more than `tolerance` times the range of the output, by default 10^-digits
    Of the forms that pass, the one with the fewest operations and odd numbers is taken; if none does, the expression
    itself comes back. Numbers never round to zero and no expression makes this fail. Rounding is checked on 2000 to
    4000 of more samples, evenly spaced; the certificates take all.
    """
    border.integer(digits, "digits", 1, MOST_DIGITS)
    x = border.points(x, net.inputs, dtype=np.float64)
    before = certificate(expressions, net, theta, x, names)
    public = symbols(net.inputs, names)
    inputs = real_symbols(public)
    targets = [None] * net.outputs if y is None else list(border.points(y, net.outputs, "y", np.float64).T)
    if y is not None and len(targets[0]) != len(x):
        raise ValueError(f"y must have a row for each of the {len(x)} samples, but it has {len(targets[0])}")
    tolerance = 10.0**-digits if tolerance is None else tolerance
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, but it is {tolerance!r}")
    some, short = slice(None, None, max(1, len(x) // SAMPLES)), []
    for e, target in zip(exchanged(before.expressions, public, inputs), targets):
        passes = check(evaluator(inputs, x[some])(e), target if target is None else target[some], tolerance)
        short.append(shortest(e, inputs, x[some], digits, passes))
    found = tuple(exchanged([e for e, _ in short], inputs, public))
    return Rounded(found, tuple(d for _, d in short), before, certificate(found, net, theta, x, names))


def check(exact, target, tolerance):
    """The function values -> whether they are good enough; see `rounded`."""
    defined = np.isfinite(exact)
    scale = np.ptp(exact[defined]) if defined.any() else 0.0
    rounding = 1e-14 * (scale + np.abs(exact[defined]).max(initial=0.0))
    error = lambda f: np.sqrt(np.mean((f - target)[defined] ** 2))

    def passes(f):
        if target is None:
            return bool((np.abs(f - exact)[defined] <= tolerance * scale + rounding).all())
        return bool(error(f) <= 1.01 * error(exact) + rounding)

    return passes


def shortest(e, inputs, x, digits, passes):
    """The cheapest of the forms of e, each with the fewest digits with which its values pass, and these digits."""
    size, value = e.count_ops(), evaluator(inputs, x)
    ways = [("keep", False)]
    if size < LONG:
        ways = [(lead, expand) for lead in ("largest", "smallest", "keep") for expand in (False, True)]
    forms = {e, *(form for form in (tidied(e, value, *way) for way in ways) if form.count_ops() < 4 * size + LONG)}
    levels = [(snap, more) for more in range(digits, MOST_DIGITS + 1) for snap in (2, 3, digits, more)]
    found = []
    for form in forms:
        tries = ((shorter(form, value, *level), level[1]) for level in levels)
        found.append(next((pair for pair in tries if passes(evaluator(inputs, x)(pair[0]))), (e, None)))
    return min(found, key=lambda pair: (pair[1] is None, cost(pair[0]), str(pair[0])))
