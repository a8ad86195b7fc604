"""A network as source text that stands alone: a NumPy function, a C99 function, LaTeX.

    to_numpy(net, theta)      def kan(x): (N, n) -> (N, m);   needs NumPy, and scipy.special only for erf and j0
    to_c(net, theta)          void kan(const double *x, double *y);   needs math.h only
    to_latex(net, theta)      the formula, one line for each output

The code computes what the network computes, in double precision: splines with their outside policies and closed last interval,
base branches, formulas with their true domains (NaN beyond), input maps, product nodes, affine nodes. It agrees with the
network to rounding. Where a spline with outside="error" would raise, the code returns NaN.
"""

import keyword
import re
import textwrap
from dataclasses import dataclass

import numpy as np

from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise
from kanref.bases import tanh as TANH
from kanref.edges import Symbolic
from kanref.functions import REALS, Function
from kanref.network import KAN
from kanref.symbolic.formula import POINTWISE, formula, symbols, template
from kanref.terms import Linear

POLICY = {"zero": 0, "linear": 1, "clamp": 2, "error": 3}
RESERVED = set(  # keywords of C, and the functions of math.h
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main "
    "acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax fmin "
    "fmod frexp hypot ilogb j0 j1 jn ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint "
    "nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc y0 y1 yn "
    "isfinite isinf isnan isnormal signbit INFINITY NAN HUGE_VAL".split()
)


# ------------------------------------------------------------------------------------------------------ what to write


@dataclass(frozen=True)
class Step:
    """One layer with its numbers. linear: pairs (basis, W (Q, P, K)); edges: (q, p, Function, (a, b, c, d)); affine maps and bias
    are vectors or None."""

    layer: object
    linear: list
    edges: list
    bias: object
    affine: dict


def steps(net, theta):
    """The layers of a network as `Step`s, in double precision."""
    views, found = net.split(net.vector(theta)), []
    for l, layer in enumerate(net.layers):
        arrays = {name: np.asarray(views[f"{l}.{name}"], np.float64) for name in layer.arrays}
        linear, edges = [], []
        for name, term in layer.terms.items():
            own = {array: arrays[f"{name}.{array}"] for array in term.arrays}
            if isinstance(term, Symbolic):
                edges += [(q, p, f, tuple(row.tolist())) for (q, p, f), row in zip(term.formulas, own["affine"])]
            elif isinstance(term, Linear) and known(term.basis):
                W = term.weights.tensor(own)
                linear += [(term.basis, W)] if W.any() else []
            else:
                kind = getattr(term, "basis", term)
                raise ValueError(f"no code can be written for the term {name!r} of layer {l}, {kind!r}")
        if layer.normalise is not None and not (isinstance(layer.normalise, MinMax) or known(layer.normalise)):
            raise ValueError(f"no code can be written for the input map of layer {l}, {layer.normalise!r}")
        affine = {**(layer.nodes.constants if layer.nodes else {}), **{k: a for k, a in arrays.items() if "node_" in k}}
        found.append(Step(layer, linear, edges, arrays.get("bias"), affine))
    return found


def known(basis):
    return isinstance(basis, BSpline | Chebyshev) or (isinstance(basis, Pointwise) and basis in POINTWISE)


def functions(found):
    """{Function or Pointwise: an identifier} of everything that is called, in order."""
    called = []
    for step in found:
        maps = [step.layer.normalise, *(basis for basis, _ in step.linear)]
        called += [f for f in maps if isinstance(f, Pointwise)] + [f for _, _, f, _ in step.edges]
        called += [TANH for basis, _ in step.linear if isinstance(basis, Chebyshev)]
    names = {}
    for f in called:
        if f not in names:
            name = f.name.replace("^", "_to_").replace("/", "_over_").replace(".", "_")
            name = "f_" + re.sub(r"[^A-Za-z0-9_]", "", name)
            while name in names.values():
                name += "_"
            names[f] = name
    return names


def printed(f, write):
    """What `write`, a printer of sympy, makes of f(x)."""
    expr = template(f)
    text = write(expr)
    if "ot supported" in text:
        raise ValueError(
            f"function {f.name!r} cannot be written as code, because {expr} has functions that sympy does not print"
        )
    return text


def wrapped(text, indent):
    """Long literals in lines."""
    return "\n".join(
        textwrap.wrap(text, 110, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    )


def title(net):
    return f"A Kolmogorov-Arnold network {list(net.widths)}, written by kanref"


# --------------------------------------------------------------------------------------------------------------- NumPy


def to_numpy(net, theta, names=None, name="kan"):
    """Source text of a module with one function `name`(x): outputs (N, m) at x (N, n), x of doubles.

    names: of the columns, for the docstring. The module imports numpy, and scipy.special where erf or j0 occurs, which NumPy
    does not have. Raises ValueError naming a basis, input map or function that cannot be written.
    """
    identifier(name)
    found = steps(net, theta)
    called = functions(found)
    bodies = [_numpy_function(f, own, printed(f, numpy_code)) for f, own in called.items()]
    splines = any(isinstance(basis, BSpline) for step in found for basis, _ in step.linear)
    helpers = [NUMPY_SPLINES] * splines + [NUMPY_INSIDE] * any("inside(" in body for body in bodies)
    tables, lines = [], []
    for l, step in enumerate(found):
        lines += _numpy_layer(l, step, called, tables)
    if name in {"np", "scipy", "float", "ValueError", *re.findall(r"\w+", "\n".join([*helpers, *bodies, *tables, *lines]))}:
        raise ValueError(f"name must not be one that the code uses itself, but it is {name!r}; give another, as kan")
    columns = ", ".join(map(str, symbols(net.inputs, names)))
    imports = "import numpy as np\n" + "import scipy.special\n" * any("scipy." in body for body in bodies)
    head = f'"""{title(net)}."""\n\n{imports}'
    shape = f"(N, {net.outputs}) at x (N, {net.inputs})"
    body = [
        f"def {name}(x):",
        *(f"    {line}" for line in wrapped(f'"""Outputs {shape}, the columns {_plain(columns)}."""', 4).split("\n")),
        "    x = np.asarray(x, dtype=np.float64)",
        f"    if x.ndim != 2 or x.shape[1] != {net.inputs}:",
        f'        raise ValueError(f"x must have shape (samples, {net.inputs}), but it has shape {{x.shape}}")',
        '    with np.errstate(all="ignore"):',
        *(f"        {line}" for line in lines),
        "    return x",
    ]
    parts = [head.rstrip(), *helpers, *bodies, "\n".join(tables), "\n".join(body)]
    return "\n\n\n".join(filter(None, parts)) + "\n"


NUMPY_SPLINES = '''
def splines(x, t, degree, outside):
    """All B-splines on the knots t (P, T) at x (N, P): (N, P, T - degree - 1), by the recursion of Cox and de Boor."""
    low, high = (t[:, 0], t[:, -1]) if outside == "zero" else (t[:, degree], t[:, -degree - 1])
    u = np.clip(x, low, high)[..., None]
    high, beyond, slope = high[:, None], u[..., 0] != x, 0.0
    B = ((t[:, :-1] <= u) & ((u < t[:, 1:]) | ((u == high) & (t[:, 1:] >= high))) & (t[:, :-1] < high)).astype(float)
    for d in range(1, degree + 1):
        width = t[:, d:] - t[:, :-d]
        share = B / np.where(width > 0, width, 1.0)[:, : B.shape[2]]
        slope = d * (share[..., :-1] - share[..., 1:])
        B = (u - t[:, : -d - 1]) * share[..., :-1] + (t[:, d + 1 :] - u) * share[..., 1:]
    other = {"zero": 0.0, "linear": B + slope * (x[..., None] - u), "clamp": B, "error": np.nan}[outside]
    return np.where(np.isnan(x)[..., None], np.nan, np.where(beyond[..., None], other, B))
'''.strip()

NUMPY_INSIDE = '''
def inside(x, y, intervals, period=None):
    """y where x lies in one of the intervals, repeated with the period, and y is finite; NaN elsewhere."""
    t = x if period is None else x - np.floor((x - intervals[0][0]) / period) * period
    return np.where(np.any([(a <= t) & (t <= b) for a, b in intervals], axis=0) & np.isfinite(y), y, np.nan)
'''.strip()


def _plain(text):
    """Text that may stand in a docstring or a comment."""
    return re.sub(r'[\\"\n\r]|\*/|/\*', " ", text)


def numpy_code(expr):
    """NumPy of an expression in x."""
    import sympy
    from sympy.printing.numpy import SciPyPrinter

    expr = expr.replace(sympy.Max, sympy.Function("maximum")).replace(sympy.Min, sympy.Function("minimum"))
    settings = {"user_functions": {"maximum": "np.maximum", "minimum": "np.minimum"}, "strict": False}
    return SciPyPrinter(settings).doprint(expr).replace("numpy.", "np.")


def _numpy_function(f, name, text):
    if not re.search(r"\bx\b", text):
        text = f"np.where(np.isnan(x), x, {text})"
    if isinstance(f, Function) and f.domain != REALS:
        ends = ", ".join(f"({_end(a)}, {_end(b)})" for a, b in f.domain)
        text = f"inside(x, {text}, ({ends},){f', {f.period!r}' if f.period else ''})"
    return f"def {name}(x):\n    return {text}"


def _end(value):
    return repr(float(value)) if np.isfinite(value) else f"{'-' if value < 0 else ''}np.inf"


def _numpy_layer(l, step, called, tables):
    """Statements that take x to the next x; constants are added to `tables`."""
    layer = step.layer

    def table(name, a):
        tables.append(wrapped(f"{name}_{l} = np.array({a.tolist()})", 4))
        return f"{name}_{l}"

    lines = [f"# layer {l}: {layer.inputs} inputs, {layer.sums} sums, {layer.outputs} nodes"]
    if isinstance(layer.normalise, MinMax):
        low, high = layer.normalise.low, layer.normalise.high
        low, slope = table("LOW", low), table("SLOPE", 2 / (high - low))
        lines.append(f"x = (x - {low}) * {slope} - 1")
    elif layer.normalise is not None:
        lines.append(f"x = {called[layer.normalise]}(x)")
    lines.append(f"u = np.zeros((len(x), {layer.sums}))")
    for i, (basis, W) in enumerate(step.linear):
        own = table(f"W{i}", W[:, :, 0] if isinstance(basis, Pointwise) else W)
        if isinstance(basis, BSpline):
            knots = table(f"KNOTS{i}", basis.knots)
            values = f'splines(x, {knots}, {basis.degree}, "{basis.outside}")'
            lines.append(f'u += np.einsum("npk,qpk->nq", {values}, {own})')
        elif isinstance(basis, Chebyshev):
            lines += [f"s = {called[TANH]}(x)", f"T = [np.ones_like(s), s][: {basis.size}]"]
            lines += [f"while len(T) < {basis.size}:", "    T.append(2 * s * T[-1] - T[-2])"]
            lines.append(f'u += np.einsum("npk,qpk->nq", np.stack(T, 2), {own})')
        else:
            lines.append(f"u += {called[basis]}(x) @ {own}.T")
    for q, p, f, (a, b, c, d) in step.edges:
        lines.append(f"u[:, {q}] += {c!r} * {called[f]}({a!r} * x[:, {p}] + {b!r}) + {d!r}")
    if step.bias is not None:
        lines.append(f"u += {table('BIAS', step.bias)}")
    for level in ("subnode", "node"):
        if level == "node" and layer.nodes and max(layer.nodes.arity) > 1:
            factors = [" * ".join(f"u[:, {s}]" for s in layer.nodes.subnodes([q])) for q in range(layer.outputs)]
            lines.append(wrapped(f"u = np.stack([{', '.join(factors)}], 1)", 4))
        for kind, sign in (("scale", "*"), ("bias", "+")):
            if (a := step.affine.get(f"{level}_{kind}")) is not None:
                lines.append(f"u = u {sign} {table(f'{level}_{kind}'.upper(), a)}")
    return [part for line in [*lines, "x = u"] for part in line.split("\n")]


# ----------------------------------------------------------------------------------------------------------------- C99


def to_c(net, theta, name="kan"):
    """C99 source text of `void name(const double *x, double *y)`: outputs y[m] at inputs x[n].

    Everything else is static and begins with the name. It needs math.h; j0 is POSIX and declared. Raises ValueError for a name
    that is no C identifier, and for a basis, input map or function that cannot be written.
    """
    identifier(name)
    if name in RESERVED:
        raise ValueError(f"name must not be a keyword of C or a name of math.h, but it is {name!r}")
    found = steps(net, theta)
    called = {f: f"{name}_{own}" for f, own in functions(found).items()}
    bodies = [_c_function(f, own, printed(f, c_code)) for f, own in called.items()]
    splines = any(isinstance(basis, BSpline) for step in found for basis, _ in step.linear)
    declared = [f"double {j}(double);" for j in ("j0", "j1") if any(re.search(rf"\b{j}\(", body) for body in bodies)]
    parts = [
        f"/* {title(net)}.\n   void {name}(const double *x, double *y): {net.outputs} outputs y at {net.inputs} inputs x. */",
        "\n".join(["#include <math.h>", *declared]),
        *[C_SPLINES.replace("NAME", name)] * splines,
        *bodies,
    ]
    for l, step in enumerate(found):
        parts += _c_layer(l, step, called, name)
    last = len(found) - 1
    place = lambda l: "x" if l < 0 else "y" if l == last else f"h{l}"
    lines = [f"    double h{l}[{step.layer.outputs}];" for l, step in enumerate(found[:-1])]
    lines += [f"    {name}_layer_{l}({place(l - 1)}, {place(l)});" for l in range(len(found))]
    parts.append("\n".join([f"void {name}(const double *x, double *y)", "{", *lines, "}"]))
    return "\n\n".join(parts) + "\n"


C_SPLINES = """
/* The d + 1 B-splines of degree d that may differ from zero at x, in b; returns the number of the first.
   t: T knots, with d more before and behind them; outside: 0 zero, 1 linear, 2 clamp, 3 not a number. */
static int NAME_splines(double x, const double *t, int T, int d, int outside, double *b)
{
    int low = outside ? d : 0, high = outside ? T - d - 1 : T - 1;
    const double left = t[low], right = t[high], u = x < left ? left : x > right ? right : x;
    double slope[16] = {0.0};
    while (low < high - 1 && t[low + 1] == t[low])
        ++low;
    while (high - 1 > low && t[high - 1] == t[high])
        --high;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (u < t[middle])
            high = middle;
        else
            low = middle;
    }
    b[0] = 1.0;
    for (int e = 1; e <= d; ++e) {
        double saved = 0.0, change = 0.0;
        for (int i = 0; i < e; ++i) {
            const double l = t[low + 1 - e + i], r = t[low + 1 + i], share = b[i] / (r - l);
            slope[i] = change - e * share;
            change = e * share;
            b[i] = saved + (r - u) * share;
            saved = (u - l) * share;
        }
        slope[e] = change;
        b[e] = saved;
    }
    if (x < left || x > right)
        for (int i = 0; i <= d; ++i)
            b[i] = outside == 0 ? 0.0 : outside == 1 ? b[i] + slope[i] * (x - u) : outside == 2 ? b[i] : NAN;
    return low - d;
}
""".strip()


def c_code(expr):
    """C99 of an expression in x."""
    import sympy

    bessel = {n: sympy.Function(f"j{n}") for n in (0, 1)}
    expr = expr.replace(sympy.besselj, lambda n, x: bessel[n](x) if n in bessel else sympy.besselj(n, x))
    expr = expr.xreplace({e: sympy.Float(e, 17) for e in expr.atoms(sympy.NumberSymbol)})  # M_PI is not C99
    functions = {"j0": "j0", "j1": "j1"}
    return sympy.ccode(expr, standard="c99", user_functions=functions, math_macros={}, strict=False)


def _c_function(f, name, text):
    lines = [f"static double {name}(double x)", "{"]
    if not isinstance(f, Function) or f.domain == REALS:
        return "\n".join([*lines, f"    return isnan(x) ? x : {text};", "}"])
    t = "x"
    if f.period:
        low = float(f.domain[0][0])
        t = "t"
        lines.append(f"    const double t = x - floor((x - {low!r}) / {float(f.period)!r}) * {float(f.period)!r};")
    pieces = []
    for low, high in f.domain:
        ends = [f"{t} {sign} {float(e)!r}" for sign, e in ((">=", low), ("<=", high)) if np.isfinite(e)]
        pieces.append(f"({' && '.join(ends or [f'!isnan({t})'])})")
    lines += [f"    const double y = {text};", f"    return ({' || '.join(pieces)}) && isfinite(y) ? y : NAN;", "}"]
    return "\n".join(lines)


def _c_layer(l, step, called, name):
    """Tables and the function of one layer."""
    layer, parts = step.layer, []
    P, S = layer.inputs, layer.sums

    def table(kind, a):
        text = str(a.tolist()).replace("[", "{").replace("]", "}")
        shape = "".join(f"[{n}]" for n in a.shape)
        parts.append(wrapped(f"static const double {name}_{kind}_{l}{shape} = {text};", 4))
        return f"{name}_{kind}_{l}"

    lines, each_p, each_q = [], f"    for (int p = 0; p < {P}; ++p) {{", f"for (int q = 0; q < {S}; ++q)"
    if layer.normalise is not None:
        lines.append(f"    double z[{P}];")
        if isinstance(layer.normalise, MinMax):
            low, high = layer.normalise.low, layer.normalise.high
            low, slope = table("low", low), table("slope", 2 / (high - low))
            mapped = f"(x[p] - {low}[p]) * {slope}[p] - 1.0"
        else:
            mapped = f"{called[layer.normalise]}(x[p])"
        lines += [each_p[:-2], f"        z[p] = {mapped};"]
    z = "x" if layer.normalise is None else "z"
    lines.append(f"    double u[{S}] = {{0.0}};")
    if not step.linear and not step.edges:
        lines.append(f"    (void){z};")
    for i, (basis, W) in enumerate(step.linear):
        K = W.shape[2]
        own = table(f"W{i}", np.ascontiguousarray(W.transpose(1, 2, 0)))
        if isinstance(basis, BSpline):
            d, T = basis.degree, basis.knots.shape[1]
            first, last = basis.knots[:, :1], basis.knots[:, -1:]
            beyond = (last - first) * np.arange(1, d + 1)
            knots = table(f"knots{i}", np.concatenate([first - beyond[:, ::-1], basis.knots, last + beyond], 1))
            lines += [
                each_p,
                f"        double b[{d + 1}];",
                f"        const int first = {name}_splines({z}[p], {knots}[p] + {d}, {T}, {d}, {POLICY[basis.outside]}, b);",
                f"        for (int i = 0; i < {d + 1}; ++i)",
                f"            if (first + i >= 0 && first + i < {K})",
                f"                {each_q}",
                f"                    u[q] += b[i] * {own}[p][first + i][q];",
                "    }",
            ]
        elif isinstance(basis, Chebyshev):
            lines += [
                each_p,
                f"        const double s = {called[TANH]}({z}[p]);",
                "        double now = 1.0, next = s;",
                f"        for (int i = 0; i < {K}; ++i) {{",
                f"            {each_q}",
                f"                u[q] += now * {own}[p][i][q];",
                "            const double after = 2.0 * s * next - now;",
                "            now = next;",
                "            next = after;",
                "        }",
                "    }",
            ]
        else:
            lines += [each_p, f"        const double b = {called[basis]}({z}[p]);"]
            lines += [f"        {each_q}", f"            u[q] += b * {own}[p][0][q];", "    }"]
    for q, p, f, (a, b, c, d) in step.edges:
        lines.append(f"    u[{q}] += {c!r} * {called[f]}({a!r} * {z}[{p}] + {b!r}) + {d!r};")
    changes = [f"u[q] += {table('bias', step.bias)}[q];"] if step.bias is not None else []
    changes += _c_affine("u", "subnode", step, table)
    for change in changes:
        lines += [f"    {each_q}", f"        {change}"]
    for j in range(layer.outputs):
        own = layer.nodes.subnodes([j]) if layer.nodes else [j]
        lines.append(f"    y[{j}] = {' * '.join(f'u[{s}]' for s in own)};")
    for change in _c_affine("y", "node", step, table):
        lines += [f"    for (int q = 0; q < {layer.outputs}; ++q)", f"        {change}"]
    parts.append("\n".join([f"static void {name}_layer_{l}(const double *x, double *y)", "{", *lines, "}"]))
    return parts


def _c_affine(target, level, step, table):
    given = ((kind, sign, step.affine.get(f"{level}_{kind}")) for kind, sign in (("scale", "*"), ("bias", "+")))
    return [f"{target}[q] {sign}= {table(f'{level}_{kind}', a)}[q];" for kind, sign, a in given if a is not None]


def identifier(name):
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(f"name must be an identifier, as kan or my_model2, but it is {name!r}")


# --------------------------------------------------------------------------------------------------------------- LaTeX


def to_latex(source, theta=None, names=None, digits=4, missing="mark"):
    """The formula in LaTeX: y = ..., or one aligned line for each output.

    source: a network, with its theta, or expressions from `formula` or `rounded`, which are written as they are.
    names, missing, and digits of the numbers: as in `formula`. Variables whose names are no mathematical symbols are set upright,
    with LaTeX's special characters escaped.
    """
    import sympy

    expressions = formula(source, theta, names, digits, missing) if isinstance(source, KAN) else list(source)
    variables = sorted(set().union(*(e.free_symbols for e in expressions)), key=str)
    called = {v: latex_name(str(v)) for v in variables}
    lines = [sympy.latex(e, symbol_names=called) for e in expressions]
    if len(lines) == 1:
        return f"y = {lines[0]}"
    rows = " \\\\\n".join(f"y_{{{o + 1}}} &= {line}" for o, line in enumerate(lines))
    return f"\\begin{{aligned}}\n{rows}\n\\end{{aligned}}"


def latex_name(name):
    """x1 as x_{1}, alpha as \\alpha, heat flux as \\mathrm{heat\\ flux}."""
    import sympy

    letter, digits = re.fullmatch(r"(.*?)_?(\d*)", name, re.DOTALL).groups()
    translated = sympy.latex(sympy.Symbol(letter)) if letter.isalpha() and letter.isascii() else ""
    if len(letter) != 1 and not translated.startswith("\\"):
        special = {"\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge ", " ": r"\ ", "\n": r"\ "}
        special |= {c: f"\\{c}" for c in "#$%&_{}"}
        return f"\\mathrm{{{''.join(special.get(c, c) for c in name)}}}"
    return (translated or letter) + (f"_{{{digits}}}" if digits else "")
