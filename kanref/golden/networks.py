"""Golden vectors of forward values: single layers, networks, product nodes, formulas, low-rank weights.

Reference: `kanref.spec` in exact rationals where a network is rational, else in 50 digits. Confirmed by SciPy's
piecewise polynomials and closed forms (`kanref.golden.second`).
"""

from fractions import Fraction

import numpy as np

from kanref import spec
from kanref.golden import second
from kanref.golden.exact import Draw, confirm, converted, digits
from kanref.golden.functions import BASE
from kanref.golden.protocol import AFFINE, TUCKER
from kanref.golden.record import case
from kanref.golden.splines import knot_vector

RATIONAL = "identity", "zero", "x^2"
ROUTES = (
    "kanref.spec.network in exact rationals or 50 digits",
    "scipy.interpolate.PPoly and closed forms in float64 (1e-12)",
)


# -------------------------------------------------------------------------------------------------- drawing networks


def layer(
    draw, outputs, inputs, *, degree=3, kind="uniform", intervals=3, outside="zero", base="silu", bias=False, scaled=False,
    mask=None, arity=None, affine=(), formulas=None, ranks=None, frozen=False, normalise=None, splines=True,
):  # fmt: skip
    """A layer with drawn weights; inputs have knots of their own where they are not uniform."""
    made, Q = {}, outputs if arity is None else sum(arity)
    if splines:
        rows = [knot_vector(kind, degree, intervals) for _ in range(inputs)]
        if kind != "uniform":
            rows = [t + Fraction(p, 8) for p, t in enumerate(rows)]
        K = len(rows[0]) - degree - 1
        made |= {"knots": np.array(rows, object), "degree": degree, "outside": outside}
        if ranks:
            sizes = zip((Q, inputs, K), ranks)
            made |= {"core": draw(*ranks), **{name: draw(n, r) for name, (n, r) in zip(TUCKER[1:], sizes)}}
            made |= {"frozen": draw(Q, inputs, K), "alpha": Fraction(3, 4)} if frozen else {}
        else:
            made["spline"] = draw(Q, inputs, K)
    if scaled:
        made["scale"] = draw(Q, inputs, low=0, high=2)
    if mask is not None:
        made["mask"] = np.array([[Fraction(m) for m in row] for row in mask], object)
    if base:
        made |= {"base_function": base, "base": draw(Q, inputs)}
    if formulas:
        made |= {"formulas": formulas, "affine": draw(len(formulas), 4)}
    if bias:
        made["bias"] = draw(Q)
    if normalise:
        made["normalise"] = normalise
    if arity:
        made["arity"] = list(arity)
    for name in affine:
        made[name] = draw(Q if name.startswith("sub") else len(arity or range(Q)))
    return made


def is_rational(network):
    """Whether rationals come out of it."""
    functions = [
        n for l in network for n in (l.get("base_function"), l.get("normalise"), *(f[2] for f in l.get("formulas", ())))
    ]
    return all(name is None or name in RATIONAL for name in functions)


# ------------------------------------------------------------------------------------------------------ the definition


def effective(layer):
    """The spline weights (Q, P, K) by the definition, without scale and mask."""
    if "core" not in layer:
        return layer["spline"]
    W = spec.tucker(*(layer[name] for name in TUCKER))
    return spec.lotra(layer["frozen"], layer["alpha"], W) if "frozen" in layer else W


def defined(network, numeric=False):
    """The layers of the definition for a network of any exact numbers; numeric: without formulas."""
    return [_defined(layer, numeric) for layer in network]


def _defined(layer, numeric):
    masked = lambda W: spec.masked(W, layer["mask"]) if "mask" in layer else W
    terms = []
    if "knots" in layer:
        W = spec.scaled(effective(layer), layer["scale"]) if "scale" in layer else effective(layer)
        basis = spec.bspline_basis([list(t) for t in layer["knots"]], layer["degree"], layer["outside"])
        terms.append((basis, masked(W)))
    if "base" in layer:
        terms.append((spec.base_basis(BASE[layer["base_function"]][0]), masked(layer["base"][:, :, None])))
    formulas = [
        (q, p, spec.FORMULAS[f], row) for (q, p, f), row in zip(layer.get("formulas", ()), layer.get("affine", ()))
    ]
    if not terms:  # formulas alone: the definition adds them to something
        shape = [1 + max(edge[axis] for edge in layer["formulas"]) for axis in (0, 1)]
        terms = [(spec.base_basis(spec.identity), np.zeros((*shape, 1), int))]
    S = terms[0][1].shape[0]
    arity, nodes = layer.get("arity", [1] * S), None
    if "arity" in layer or any(name in layer for name in AFFINE):
        identity = lambda name: [int(name.endswith("scale"))] * (S if name.startswith("sub") else len(arity))
        maps = [layer.get(name, identity(name)) for name in AFFINE]
        nodes = lambda u: spec.nodes(u, arity, *maps)
    normalise = BASE[layer["normalise"]][0] if "normalise" in layer else None
    mapped = (lambda p, z: normalise(z)) if normalise else None
    return spec.Layer(terms, layer.get("bias"), mapped, nodes, [] if numeric else formulas)


def values(network, x):
    """(N, m) by the definition."""
    layers = defined(network)
    return np.array([spec.network(layers, list(sample))[:, 0] for sample in x], object)


# --------------------------------------------------------------------------------------------------------------- cases


def one(group, name, network, x, ulps=64):
    """The values of a network at x (N, P)."""
    exact = network, x
    if not is_rational(network):
        exact = converted(exact, digits)
    reference = values(*exact)
    confirm(name, reference, second.values(*converted((network, x), float)))
    inputs = {"network": network, "x": x}
    call = "spec.network(layers, x), layers as defined by the network's arrays"
    return case(group, name, "forward", inputs, {"result": reference}, call=call, ulps=ulps, routes=ROUTES)


def samples(draw, inputs, count=4, reach=1.75):
    """Points on [-reach, reach]: some lie beyond the domain [-1, 1/2] of the drawn splines."""
    x = draw(count, inputs, low=-reach, high=reach, bits=10)
    x[0] = Fraction(1, 2)  # a knot, and the right edge of uniform splines
    return x


LAYERS = {
    **{f"degree-{d}": {"degree": d} for d in range(8)},
    **{
        f"{kind}-degree-{d}": {"kind": kind, "degree": d}
        for kind in ("clamped", "repeated", "nonuniform")
        for d in (1, 3)
    },
    **{f"outside-{o}": {"outside": o} for o in ("linear", "clamp")},
    **{f"outside-{o}-nonuniform": {"outside": o, "kind": "nonuniform"} for o in ("linear", "clamp")},
    **{f"base-{b}": {"base": b} for b in ("identity", "tanh", "sin", "sigmoid", "zero")},
    "splines-alone": {"base": None},
    "base-alone": {"splines": False},
    "scaled": {"scaled": True},
    "masked": {"mask": [[1, 0], [0, 1], [1, "1/2"]]},
    "masked-and-scaled": {"scaled": True, "mask": [[1, 0], [0, 1], ["1/2", 1]]},
    "bias": {"bias": True},
    "normalised-tanh": {"normalise": "tanh"},
    "normalised-sigmoid": {"normalise": "sigmoid", "bias": True},
    "one-interval": {"intervals": 1},
    "sixteen-intervals": {"intervals": 16, "degree": 2},
    "formulas-beside-splines": {"formulas": [[0, 1, "sin"], [2, 0, "gaussian"]]},
    "formulas-alone": {"formulas": [[0, 0, "exp"], [1, 1, "arctan"], [2, 0, "x^2"]], "splines": False, "base": None},
    "tucker": {"ranks": (2, 1, 3)},
    "lotra": {"ranks": (2, 2, 2), "frozen": True},
}


def layers():
    """One layer of 2 inputs and 3 outputs, of every kind."""
    for name, options in LAYERS.items():
        draw = Draw("layer", name)
        yield one("layers", name, [layer(draw, 3, 2, **options)], samples(draw, 2))
    for outputs, inputs in ((1, 1), (1, 5), (5, 1)):
        draw = Draw("shape", outputs, inputs)
        yield one("layers", f"shape-{outputs}-{inputs}", [layer(draw, outputs, inputs)], samples(draw, inputs))


NETWORKS = {
    **{f"2-3-1-degree-{d}": ([2, 3, 1], {"degree": d}) for d in (1, 2, 3, 5)},
    **{f"2-2-1-{kind}": ([2, 2, 1], {"kind": kind}) for kind in ("clamped", "repeated", "nonuniform")},
    **{f"2-2-1-outside-{o}": ([2, 2, 1], {"outside": o}) for o in ("linear", "clamp")},
    "1-2-2-1-splines-alone": ([1, 2, 2, 1], {"base": None, "degree": 2}),
    "2-2-2-scaled-bias": ([2, 2, 2], {"scaled": True, "bias": True}),
    "2-3-1-tanh-between": ([2, 3, 1], {"normalise": "tanh"}),
    "2-2-1-tucker": ([2, 2, 1], {"ranks": (1, 1, 3)}),
    "2-2-1-lotra": ([2, 2, 1], {"ranks": (1, 1, 2), "frozen": True}),
    "3-2-1-masked": ([3, 2, 1], {"degree": 2}),
    "1-1-1-1-1-deep": ([1, 1, 1, 1, 1], {}),
}


def drawn(name, widths, options):
    """The layers of a network of the table."""
    draw = Draw("network", name)
    made = [layer(draw, Q, P, **options) for P, Q in zip(widths, widths[1:])]
    if name.endswith("masked"):
        made[0]["mask"] = np.array([[Fraction(m) for m in row] for row in ([1, 0, 1], [0, 1, 1])], object)
    return draw, made


def networks():
    """Two layers and more: hidden values reach knots, exterior spans and the outside."""
    for name, (widths, options) in NETWORKS.items():
        draw, made = drawn(name, widths, options)
        yield one("networks", name, made, samples(draw, widths[0]))


NODES = {
    "product-of-2": ((2,), ()),
    "sum-and-product": ((1, 2), ()),
    "product-first": ((2, 1), ()),
    "products-of-2-and-3": ((1, 2, 3), ()),
    "sums-affine": ((1, 1), AFFINE),
    "product-affine": ((1, 2), AFFINE),
    "node-scale": ((2, 1), ("node_scale",)),
    "node-bias": ((2, 1), ("node_bias",)),
    "subnode-scale": ((1, 3), ("subnode_scale",)),
    "subnode-bias": ((1, 3), ("subnode_bias",)),
}


def nodes():
    """Product nodes of arity 2 and 3, affine maps of nodes and subnodes, with a layer behind them."""
    for name, (arity, affine) in NODES.items():
        draw = Draw("nodes", name)
        first = layer(draw, None, 2, arity=arity, affine=affine, degree=2)
        yield one("nodes", name, [first, layer(draw, 1, len(arity), degree=2)], samples(draw, 2))


GROUPS = {"layers": layers, "networks": networks, "nodes": nodes}
