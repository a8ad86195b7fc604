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
from kanref.interop.parts import left_behind
from kanref.interop.report import Report
from kanref.interop.tensors import checked, dtype_of, numbered, read_arrays, write_arrays
from kanref.io import FileError, damage
from kanref.model import Model
from kanref.network import KAN, Layer, describe
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked

OWN = "fast-kan"
EPSILON = 1e-5  # torch's LayerNorm adds it to the variance


def read(path, base=bases.silu, widths=None, strict=True):
    """The `Model` in a state dict, and a `Report`.

    base: the activation, a `Pointwise`. widths: h of every layer, for models built with a denominator of their own.
    Raises FileNotFoundError, `FileError` for files that are damaged or hostile.
    """
    if not isinstance(base, Pointwise):
        raise TypeError(f"base must be a Pointwise, as kanref.bases.silu, but it is {base!r}")
    report = Report(f"{OWN} to kanref")
    state = read_arrays(path)
    with damage(path):
        found, others = numbered(state, "spline_linear.weight", path)
        report.dropped.extend(f"{name}, which is no part of a KAN" for name in others)
        if widths is not None and len(widths) != len(found):
            raise FileError(f"widths must name {len(found)} numbers, one for each layer, but it is {widths!r}")
        layers, arrays = [], []
        for l, own in enumerate(found):
            built = _layers(own, l, base, None if widths is None else widths[l], report)
            layers += [layer for layer, _ in built]
            arrays += [a for _, a in built]
        net = KAN(tuple(layers))
        theta = net.join({f"{l}.{name}": a for l, own in enumerate(arrays) for name, a in own.items()})
        theta = theta.astype(dtype_of(own["spline_linear.weight"] for own in found))
    report.kept.append(f"{list(net.widths)} with {net.size} parameters in {theta.dtype}")
    report.kept.append("neither activation nor width of the Gaussians is stored; fast-kan's defaults are taken if not given")
    return Model(net, theta), report.settled(strict)


def _layers(own, l, base, width, report):
    """The layers of one layer of fast-kan, with their arrays."""
    Q, flat = own["spline_linear.weight"].shape
    n = own["rbf.grid"].size if "rbf.grid" in own else 0
    if n < 1 or flat % n or (n < 2 and width is None):
        raise FileError(f"layer {l} has {n} centres and spline_linear.weight of shape {(Q, flat)}")
    P = flat // n
    shapes = {"rbf.grid": (n,), "spline_linear.weight": (Q, flat), "[base_linear.weight]": (Q, P), "[base_linear.bias]": (Q,)}
    shapes |= {"[layernorm.weight]": (P,), "[layernorm.bias]": (P,)}
    grid, W, weight, bias, w, b = checked(own, shapes, l)
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
        state |= {f"layers.{l}.{name}": np.asarray(a, model.theta.dtype) for name, a in found.items()}
        l += 1
    report.settled(strict)
    write_arrays(path, state)
    report.dropped.extend(left_behind(model))
    return report


def _norm(pairs):
    """Scale and shift of the LayerNorm that the first three layers are; None if they are none."""
    if len(pairs) < 4:
        return None
    quotient, P = pairs[2][0], pairs[0][0].inputs
    linear = quotient.terms.get("linear")
    if quotient.nodes is None or quotient.nodes.arity != (1,) * P + (2,) * P or not isinstance(linear, Linear):
        return None
    if not isinstance(linear.weights, Fixed) or linear.weights.shape != (3 * P, 2 * P + 1, 1):
        return None
    w = linear.weights.W[P + 2 * np.arange(P), P + np.arange(P), 0]
    b = quotient.nodes.constants.get("node_bias", np.zeros(2 * P))[P:]
    for (layer, arrays), (same, own) in zip(pairs, normalised(w, b)):
        if list(layer.terms) != list(same.terms) or set(arrays) != set(own) or layer.normalise is not None:
            return None
        fixed, there = (x.terms["linear"].weights if isinstance(x.terms["linear"], Linear) else None for x in (layer, same))
        if not isinstance(fixed, Fixed) or not np.array_equal(fixed.W, there.W):
            return None
        for name in own:
            term = name.partition(".")[0]
            if layer.terms[term].formulas != same.terms[term].formulas:
                return None
            if not np.array_equal(arrays[name], own[name].astype(arrays[name].dtype)):
                return None
    return w, b


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
    default = float(c[-1] - c[0]) / (len(c) - 1) if len(c) > 1 else None
    if default is None or abs(h - default) > 1e-6 * h:
        report.changed.append(f"layer {l}: build it with denominator={h!r}, which is not stored")
    if "base" in found or layer.bias:
        own, weight = found.get("base", (bases.silu, np.zeros((Q, P, 1))))
        state |= {"base_linear.weight": weight[:, :, 0], "base_linear.bias": arrays["bias"] if layer.bias else np.zeros(Q)}
        if own is not bases.silu:
            report.changed.append(f"layer {l}: the activation is not stored: build it with base_activation = {own.name}")
    report.kept.append(f"layer {l}: {P} -> {Q}, num_grids={len(c)}, use_layernorm={norm is not None}")
    return state
