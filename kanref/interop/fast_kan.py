"""fast-kan state dicts, in torch's zip format or safetensors: read and written without torch.

    y = spline_linear(exp(-((LayerNorm(x) - c)/h)^2)) + base_linear(silu(x))

Keys: layers.{l}.rbf.grid (n,), spline_linear.weight (out, in * n), and, if the model has them, base_linear.weight and .bias,
layernorm.weight and .bias. Not stored: the activation (SiLU by default) and the width h, by default the grid's range over n - 1.

LayerNorm couples all inputs, so a layer with it is no KAN layer: its edges are no functions of one variable. It is one of four,
with formulas and product nodes, exactly the same function (`normalised`):

    x            ->  x, c_p = x_p - mean(x)                     sums
    x, c         ->  x, c, v = mean(c^2) + 1e-5                 squares
    x, c, v      ->  x, n_p = (w_p c_p) v^(-1/2) + b_p          products
    x, n         ->  sums of silu(x) and of Gaussians of n
"""

import numpy as np

from kanref import bases
from kanref.bases import Pointwise
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.gaussians import Gaussians
from kanref.interop.parts import assembled, finished, opened
from kanref.interop.report import Report
from kanref.interop.tensors import checked, dtype_of, shaped
from kanref.io import FileError, damage, encode
from kanref.model import Model
from kanref.network import Layer, describe
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked

OWN = "fast-kan"
EPSILON = 1e-5  # torch's LayerNorm adds it to the variance
MAX_NORMALISED = 2000  # inputs of a LayerNorm, which becomes 12 of them squared fixed numbers


def read(path, base=bases.silu, widths=None, strict=True):
    """The `Model` in a state dict, and a `Report`.

    base: the activation, a `Pointwise`. widths: h of every layer, for models built with a denominator of their own.
    Raises FileNotFoundError, `FileError` for files that are damaged or hostile.
    """
    found, others, report = opened(path, OWN, "spline_linear.weight", base)
    report.strangers(list(others))
    with damage(path):
        if widths is not None and len(widths) != len(found):
            raise FileError(f"widths must name {len(found)} numbers, one for each layer, but it is {widths!r}")
        pairs = []
        for l, own in enumerate(found):
            pairs += _layers(own, l, base, None if widths is None else widths[l], report)
        net, theta = assembled(pairs, dtype_of(own["spline_linear.weight"] for own in found), report)
    report.kept.append("neither activation nor width of the Gaussians is stored; fast-kan's defaults are taken if not given")
    return Model(net, theta), report.settled(strict)


def _layers(own, l, base, width, report):
    """The layers of one layer of fast-kan, with their arrays."""
    Q, flat = shaped(own, "spline_linear.weight", (2,), l).shape
    n = own["rbf.grid"].size if "rbf.grid" in own else 0
    if n < 1 or flat % n or (n < 2 and width is None):
        raise FileError(f"layer {l} has {n} centres and spline_linear.weight of shape {(Q, flat)}")
    P = flat // n
    shapes = {"rbf.grid": (n,), "spline_linear.weight": (Q, flat), "[base_linear.weight]": (Q, P), "[base_linear.bias]": (Q,)}
    shapes |= {"[layernorm.weight]": (P,), "[layernorm.bias]": (P,)}
    grid, W, weight, bias, w, b = checked(own, shapes, l)
    if w is not None and P > MAX_NORMALISED:
        raise FileError(f"layer {l} has a LayerNorm of {P} inputs, more than the {MAX_NORMALISED} that are written as formulas")
    if (w is None) != (b is None):
        raise FileError(f"layer {l} has one of layernorm.weight and layernorm.bias, but not the other")
    if extra := sorted(set(own) - {name.strip("[]") for name in shapes}):
        report.differs.append(f"layer {l}: {extra[0]}, which layers of {OWN} do not have")
    h = float(grid[-1] - grid[0]) / (n - 1) if width is None else width
    terms, arrays, W = {}, {}, W.reshape(Q, P, n)
    if weight is not None:
        terms["base"] = Linear(base, Full((Q, P, 1)))
        arrays["base.W"] = weight[:, :, None]
    terms["rbf"] = Linear(Gaussians(grid.astype(np.float64), h), Full((Q, P, n)))
    arrays["rbf.W"] = W
    arrays |= {} if bias is None else {"bias": bias}
    if w is None:
        return [(Layer(terms, bias is not None), arrays)]
    report.changed.append(f"layer {l}: its LayerNorm is written as three layers of sums, squares and products, which stay fixed")
    on_x = np.tile(np.repeat([1.0, 0.0], P), (Q, 1))
    for name, mask in (("base", on_x), ("rbf", 1 - on_x)):
        if name in terms:
            other = np.zeros_like(arrays[f"{name}.W"])
            pair = (arrays[f"{name}.W"], other) if name == "base" else (other, arrays[f"{name}.W"])
            arrays[f"{name}.W"] = np.concatenate(pair, 1)
            terms[name] = Linear(terms[name].basis, Masked(Full((Q, 2 * P, terms[name].basis.size)), mask))
    return [*normalised(w, b), (Layer(terms, bias is not None), arrays)]


def normalised(w, b):
    """x (P,) -> x, LayerNorm(x) with scale w and shift b (P,): three layers with their arrays, the linear ones fixed."""
    P, eye = len(w), np.eye(len(w))
    linear = lambda W: Linear(bases.identity, Fixed(np.asarray(W, np.float64)[:, :, None]))
    centre = Layer({"linear": linear(np.concatenate([eye, eye - 1 / P]))})
    squares = Symbolic((2 * P + 1, 2 * P), tuple((2 * P, P + p, LIBRARY["x^2"]) for p in range(P)))
    spread = Layer({"linear": linear(np.eye(2 * P + 1, 2 * P)), "squares": squares})
    factors = np.zeros((3 * P, 2 * P + 1))
    factors[:P, :P] = eye
    factors[P + 2 * np.arange(P), P + np.arange(P)] = w
    root = Symbolic((3 * P, 2 * P + 1), tuple((P + 2 * p + 1, 2 * P, LIBRARY["1/sqrt(x)"]) for p in range(P)))
    nodes = Nodes((1,) * P + (2,) * P, constants={"node_bias": np.concatenate([np.zeros(P), b])})
    quotient = Layer({"linear": linear(factors), "root": root}, nodes=nodes)
    rows = lambda c, d: np.tile([1.0, 0.0, c, d], (P, 1))
    return [
        (centre, {}),
        (spread, {"squares.affine": rows(1 / P, EPSILON / P)}),
        (quotient, {"root.affine": rows(1.0, 0.0)}),
    ]


# ------------------------------------------------------------------------------------------------------------- writing


def write(model, path, strict=True):
    """Write a `Model` of Gaussian layers as a state dict, as safetensors if the path ends so; returns a `Report`.

    Layers that `read` made of a LayerNorm become one again, if their formulas are as they were. Anything but Gaussians and a base
    branch has no place: `Unrepresentable`, and nothing is written.
    """
    report = Report(f"kanref to {OWN}")
    if len(model.columns) < model.width:
        report.differs.append(f"the columns {model.columns} of {model.width}: give the model these columns only")
    pairs, state, l = list(zip(model.net.layers, model.net.of_layers(model.theta))), {}, 0
    while pairs:
        norm = _norm(pairs)
        if norm is not None:
            del pairs[:3]
        found = _state(*pairs.pop(0), norm, l, report)
        state |= {f"layers.{l}.{name}": a for name, a in found.items()}
        l += 1
    return finished(model, path, state, report, strict)


def _norm(pairs):
    """Scale and shift of the LayerNorm that the first three layers are; None if they are none."""
    if len(pairs) < 4:
        return None
    quotient, P = pairs[2][0], pairs[0][0].inputs
    linear, bias = quotient.terms.get("linear"), quotient.nodes and quotient.nodes.constants.get("node_bias", np.zeros(2 * P))
    if not isinstance(linear, Linear) or not isinstance(linear.weights, Fixed) or np.shape(bias) != (2 * P,):
        return None
    if linear.weights.shape != (3 * P, 2 * P + 1, 1):
        return None
    w, b = linear.weights.W[P + 2 * np.arange(P), P + np.arange(P), 0], bias[P:]
    for (layer, arrays), (same, own) in zip(pairs, normalised(w, b)):
        if not _equal(layer, same) or set(arrays) != set(own):
            return None
        if not all(np.array_equal(arrays[name], a.astype(arrays[name].dtype)) for name, a in own.items()):
            return None
    return w, b


def _equal(layer, other):
    """Whether two layers are the same in all but their trained arrays, as model files have them."""
    constants, others = {}, {}
    try:
        same = encode(layer, constants) == encode(other, others)
    except (TypeError, ValueError):  # of a part that has no place in a model file
        return False
    return same and all(np.array_equal(a, others[name]) for name, a in constants.items())


def _state(layer, arrays, norm, l, report):
    """The arrays of one layer of fast-kan."""
    bad, Q = report.differs.append, layer.sums
    P = layer.inputs if norm is None else layer.inputs // 2
    if layer.nodes or layer.normalise is not None:
        bad(f"layer {l}: {OWN} has no nodes and no input maps but LayerNorm")
    found = {}
    for name, term in layer.terms.items():
        basis, weights = getattr(term, "basis", None), getattr(term, "weights", None)
        rbf = isinstance(basis, Gaussians)
        if not (rbf or isinstance(basis, Pointwise)) or {True: "rbf", False: "base"}[rbf] in found:
            bad(f"layer {l}, term {name!r}: {describe(basis or term)}; {OWN} has Gaussians and one base function")
            continue
        W = weights.tensor({a: arrays[f"{name}.{a}"] for a in term.arrays})
        if norm is not None:
            x, n = W[:, :P], W[:, P:]
            if (x if rbf else n).any():
                bad(f"layer {l}, term {name!r}: in {OWN} Gaussians see LayerNorm(x) and the base sees x, this term sees both")
            W = n if rbf else x
        elif not isinstance(weights, Full):
            report.changed.append(f"layer {l}: {type(weights).__name__} weights are written out in full")
        found["rbf" if rbf else "base"] = basis, W
    if "rbf" not in found:
        bad(f"layer {l}: no Gaussians")
        found["rbf"] = Gaussians(np.linspace(-2, 2, 8), 4 / 7), np.zeros((Q, P, 8))
    basis, W = found["rbf"]
    state = {} if norm is None else {"layernorm.weight": norm[0], "layernorm.bias": norm[1]}
    state |= {"rbf.grid": basis.centres, "spline_linear.weight": W.reshape(Q, -1)}
    c, h = basis.centres, basis.width
    report.reading.setdefault("widths", []).append(h)
    default = float(c[-1] - c[0]) / (len(c) - 1) if len(c) > 1 else None
    if default is None or abs(h - default) > 1e-6 * h:
        report.changed.append(f"layer {l}: build it with denominator={h!r}, which is not stored")
    if "base" in found or layer.bias:
        own, weight = found.get("base", (bases.silu, np.zeros((Q, P, 1))))
        state |= {"base_linear.weight": weight[:, :, 0], "base_linear.bias": arrays["bias"] if layer.bias else np.zeros(Q)}
        if report.reading.setdefault("base", own) is not own:
            bad(f"layer {l}: {OWN} has one activation, {report.reading['base'].name}, not {own.name} too")
        if own is not bases.silu:
            report.changed.append(f"layer {l}: the activation is not stored: build it with base_activation = {own.name}")
    report.kept.append(f"layer {l}: {P} -> {Q}, num_grids={len(c)}, use_layernorm={norm is not None}")
    return state
