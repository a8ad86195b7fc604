"""A compiler from formulas to networks: the KAN that computes a sympy expression.

    net, theta = compile_expression(sympy.sympify("x1*x2 + exp(-x3)"), ["x1", "x2", "x3"])

Kolmogorov-Arnold networks compose functions of one variable, sums and products, and so do formulas. A node is a sum of
functions c f(a n + b) + d of nodes n one level below, or a product of such sums (Liu et al., KAN 2.0, arXiv
2408.10205, section 4.1: kanpiler). Each subexpression becomes one node, however often it occurs, and is handed on by
identities to the level where it is needed.
"""

from dataclasses import dataclass

import numpy as np

from kanref.edges import Symbolic
from kanref.functions import CONSTANTS, LIBRARY, Function, power_of
from kanref.network import KAN, Layer
from kanref.nodes import Nodes
from kanref.symbolic.formula import constant_and_rest, real, summands, symbols

NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "atanh": "arctanh", "Abs": "abs"}
NAMES |= {"sign": "sgn"}  # sympy's names of functions that the library calls otherwise
POWERS = {0.5: "sqrt", 1.5: "x^1.5", -0.5: "1/sqrt(x)", -1: "1/x"}
POWERS |= {n: f"x^{n}" for n in (2, 3, 4, 5)} | {-n: f"1/x^{n}" for n in (2, 3, 4, 5)}


def compile_expression(expressions, variables, library=None):
    """The network of symbolic edges and product nodes that computes an expression, or a list of them: net, theta.

    variables: of the columns, in order: symbols or names; some may be unused. library: {name: Function} for functions beyond
    `kanref.functions.LIBRARY`; sympy.Function(name)(x) calls them.
    Network and expression agree to rounding wherever the expression is real; u**v with a variable v is exp(v log u), u > 0.
    All arrays are trainable: `net` fits like any other, and `formula(net, theta)` returns the expression.
    Raises ValueError for variables that are not named, and for functions that are not in the library.
    """
    import sympy

    several = isinstance(expressions, list | tuple)
    expressions = list(expressions if several else [expressions])
    if any(isinstance(e, str) for e in expressions):
        raise TypeError("expressions must be sympy expressions, but one is text; use sympy.sympify on text you trust")
    expressions = [sympy.sympify(e) for e in expressions]
    variables = symbols(len(variables), variables)
    for e in expressions:
        if not isinstance(e, sympy.Expr):
            raise TypeError(f"expressions must be sympy expressions, but one is {e!r}")
        if extra := e.free_symbols - set(variables):
            raise ValueError(
                f"variables must name every symbol of the expression, but {', '.join(sorted(map(str, extra)))} is missing"
            )
    if not expressions or not variables:
        raise ValueError("expressions and variables must not be empty")
    reader = _Reader(dict(LIBRARY) | dict(library or {}))
    targets = [reader.node(e) for e in expressions]
    depth = max(1, *(node.level for node in targets))
    levels = [targets]  # what every level must hold, from the outputs down
    for level in range(depth, 0, -1):
        sources = (e.node for node in levels[0] for _, edges in _sums(node, level) for e in edges)
        levels.insert(0, list(dict.fromkeys(sources)))
    levels[0] = [reader.node(v) for v in variables]
    layers, affine = zip(*(_layer(levels[level], levels[level - 1], level) for level in range(1, depth + 1)))
    net = KAN(layers)
    return net, net.join({f"{l}.symbolic.affine": own for l, own in enumerate(affine)})


@dataclass(frozen=True, eq=False)
class Edge:
    """c f(a n + b) of a node n."""

    function: Function
    node: "Node"
    a: float = 1.0
    b: float = 0.0
    c: float = 1.0


@dataclass(frozen=True, eq=False)
class Node:
    """A product of sums, each a pair (constant, edges); a variable has none. level: the first layer that can have it."""

    sums: tuple
    level: int


def _sums(node, level):
    """How `node` comes about at a level: computed, or handed on."""
    return node.sums if node.level == level else ((0.0, (Edge(LIBRARY["x"], node),)),)


def _layer(nodes, below, level):
    """The layer that computes `nodes` from those below, and its affine parameters."""
    place = {node: p for p, node in enumerate(below)}
    sums = [part for node in nodes for part in _sums(node, level)]
    formulas, rows = [], []
    for s, (constant, edges) in enumerate(sums):
        for edge in edges or (Edge(LIBRARY["0"], below[0]),):
            formulas.append((s, place[edge.node], edge.function))
            rows.append((edge.a, edge.b, edge.c, constant))
            constant = 0.0
    arity = tuple(len(_sums(node, level)) for node in nodes)
    nodes = Nodes(arity) if max(arity) > 1 else None
    return Layer({"symbolic": Symbolic((len(sums), len(below)), tuple(formulas))}, nodes=nodes), np.array(rows)


class _Reader:
    """Makes nodes of sympy expressions, one for each that differs."""

    def __init__(self, library):
        self.library, self.nodes = library, {}

    def node(self, e):
        """The node that computes e."""
        if e not in self.nodes:
            self.nodes[e] = Node((), 0) if e.is_Symbol else self.computed(e)
        return self.nodes[e]

    def computed(self, e):
        factors = ()
        if e.free_symbols:
            c, rest = constant_and_rest(e, False)
            factors = rest.args if rest.is_Mul else ()
        parts = [self.sum(f * (c if i == 0 else 1)) for i, f in enumerate(factors)] if factors else [self.sum(e)]
        return Node(tuple(parts), 1 + max((edge.node.level for _, edges in parts for edge in edges), default=0))

    def sum(self, e):
        """The constant and the edges of a sum; two functions of one node take nodes of their own."""
        constant, parts, rest = 0.0, {}, [(1, e)]
        while rest:
            c, e = rest.pop()
            own, summed = summands(e)
            constant += finite(c * own)
            for factor, g in summed:
                if g.is_Add:
                    rest.append((c * factor, g))
                elif not g.is_number:
                    parts[g] = parts.get(g, 0) + c * factor
        edges, taken = [(self.edge(c, g), g) for g, c in parts.items()], {}
        while edges:
            new = edges.pop()
            held = taken.setdefault(new[0].node, new)
            if held is not new:
                keep, (move, g) = (held, new) if held[0].function is LIBRARY["x"] else (new, held)
                taken[keep[0].node] = keep
                edges.append((Edge(LIBRARY["x"], self.node(g), c=move.c), g))
        return constant, tuple(edge for edge, _ in taken.values())

    def edge(self, c, g):
        """c g as an edge: a function of one node where g is one, else the identity of g's node."""
        import sympy

        if g.is_Symbol or g.is_Mul:
            return Edge(LIBRARY["x"], self.node(g), c=finite(c))
        if g.is_Pow and not g.exp.is_number:
            g = sympy.exp(g.exp * sympy.log(g.base), evaluate=False)
        f, u = self.function(g)
        b, parts = summands(u)
        a, first = parts[0]
        inner = sympy.Add(first, *(factor / a * part for factor, part in parts[1:]))
        return Edge(f, self.node(inner), finite(a), finite(b), finite(c))

    def function(self, g):
        """The library's function f and the argument u of g = f(u)."""
        import sympy

        if g.is_Pow and not isinstance(g, sympy.exp):
            return self.power(g.exp), g.base
        name = NAMES.get(g.func.__name__, g.func.__name__)
        if isinstance(g, sympy.besselj) and g.args[0] == 0:
            return self.library["j0"], g.args[1]
        if name not in self.library or len(g.args) != 1:
            raise ValueError(
                f"no function of the library computes {g.func.__name__}({', '.join(map(str, g.args))}); add one of one variable: "
                f'library={{"{name}": Function.from_formula("{name}", formula in x)}}'
            )
        return self.library[name], g.args[0]

    def power(self, n):
        value = finite(n)
        name = POWERS.get(value)
        return self.library[name] if name else power_function(n)


def power_function(n):
    """x^n for a sympy number n that the library does not have."""
    return power_of(str(n) if n.is_Rational or str(n) in CONSTANTS else repr(finite(n)))


def finite(number):
    """A number of sympy as a float."""
    value = real(number)
    if not np.isfinite(value):
        raise ValueError(f"numbers in expressions must be real and finite, but one is {number}")
    return value
