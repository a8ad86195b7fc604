"""jaxKAN's parameters and grids, as npz or as msgpack that flax.serialization writes: read and written without jax.

    y_o = sum_i (c_spl[o,i] sum_m c_basis[o,i,m] B_m(x_i) + c_res[o,i] silu(x_i)) + bias_o

Keys: layers.{l}.c_basis, c_spl, c_res, bias, the state of nnx.Param of a `KAN` of layer type "spline" (c_basis (out, in, G+d)) or
"base" (rows o * in + i); and grids.{l}, layer.grid.item, which flax does not keep, so that whoever saves must add it:

    tree = nnx.state(model, nnx.Param).to_pure_dict()
    tree["grids"] = {l: layer.grid.item for l, layer in enumerate(model.layers)}
    open("model.msgpack", "wb").write(flax.serialization.msgpack_serialize(tree))

or numpy.savez with the same names. layers.{l}.grid.item is read too. The other layer types (Chebyshev, Legendre, Fourier, RBF,
sine, ...) are not read, nor are orbax's folders.
"""

import re

import numpy as np

from kanref import bases
from kanref.arrays import integer
from kanref.bases import MAX_DEGREE
from kanref.interop.efficient_kan import singular
from kanref.interop.parts import Base, Edges, Splines, assembled, finished, opened, plain
from kanref.interop.report import Report
from kanref.interop.tensors import checked, dtype_of, shaped
from kanref.io import FileError, damage
from kanref.model import Model

OWN = "jaxKAN"


def read(path, grids=None, base=bases.silu, strict=True):
    """The `Model` in a file, and a `Report`.

    grids: a list of knots for every layer, layer.grid.item, for files without them; `uniform` makes those that were never
    updated. base: the residual function, a `Pointwise`.

    Raises FileNotFoundError, `FileError` for files that are damaged or hostile, `Unrepresentable` if the function would differ.
    """
    layers, others, report = opened(path, OWN, "c_basis", base)
    with damage(path):
        knots = {int(name.rpartition(".")[2]): a for name, a in others.items() if re.fullmatch(r"grids\.\d+", name)}
        report.strangers([name for name in others if not re.fullmatch(r"grids\.\d+", name)])
        knots |= {l: own[name] for l, own in enumerate(layers) for name in ("grid.item", "grid") if name in own}
        knots |= {} if grids is None else dict(enumerate(np.asarray(a) for a in grids))
        if missing := [l for l in range(len(layers)) if l not in knots]:
            raise FileError(
                f"{path} has no grids.{missing[0]}: flax does not keep knots. Save layer.grid.item with the parameters, or give "
                "grids=[...]; kanref.interop.jaxkan.uniform makes those that were never updated"
            )
        pairs = [_edges(own, knots[l], l, base, report).layer() for l, own in enumerate(layers)]
        net, theta = assembled(pairs, dtype_of(own["c_basis"] for own in layers), report)
    return Model(net, theta), report.settled(strict)


def uniform(inputs, intervals, degree, low=-1.0, high=1.0):
    """The knots (inputs, intervals + 2 degree + 1) of a new layer, computed in float32 as jaxKAN does."""
    h = np.float32((high - low) / intervals)
    row = np.arange(-degree, intervals + degree + 1, dtype=np.float32) * h + np.float32(low)
    return np.tile(row, (inputs, 1))


def _edges(own, knots, l, base, report):
    coef, knots = shaped(own, "c_basis", (2, 3), l), shaped({"grid": np.asarray(knots)}, "grid", (2,), l)
    if coef.ndim == 2:
        widths = own.get("c_res", own.get("c_spl"))
        if widths is None or widths.ndim != 2 or len(coef) != widths.size:
            raise FileError(f"c_basis of layer {l} has shape {coef.shape}, but no c_res or c_spl says how many inputs it has")
        own = own | {"c_basis": coef.reshape(*widths.shape, -1)}
    Q, P, K = own["c_basis"].shape
    degree = integer(knots.shape[-1] - K - 1, f"degree of layer {l} (knots less functions less 1)", 0, MAX_DEGREE)
    T = K + degree + 1
    edges = coef.ndim == 2 and len(knots) == Q * P
    shapes = {"c_basis": (Q, P, K), "[c_spl]": (Q, P), "[c_res]": (Q, P), "[bias]": (Q,), "grid": (Q * P if edges else P, T)}
    coef, scale, weight, bias, knots = checked(own | {"grid": knots}, shapes, l)
    if known := set(own) - {"c_basis", "c_spl", "c_res", "bias", "grid", "grid.item"}:
        extra = sorted(name for name in known if not name.startswith("rngs"))
        report.differs.extend(f"layer {l}: {name}, which layers of B-splines do not have" for name in extra)
    singular(knots, degree, l, OWN, report)
    knots = knots.astype(np.float64)
    splines = Splines(knots.reshape(Q, P, T) if edges else knots, degree, coef, scale)
    return Edges((Q, P), (splines,), () if weight is None else (Base(base, weight),), bias=bias)


def write(model, path, strict=True):
    """Write a `Model` as parameters and grids of layers of type "spline": msgpack if the path ends so, npz if it ends so; returns
    a `Report`, which says how to build the model.

    Masks and affine maps of nodes are multiplied into weights and biases; products, formulas and input maps have no place:
    `Unrepresentable`, and nothing is written.
    """
    report = Report(f"kanref to {OWN}")
    layers, base = plain(model, OWN, report)
    if base not in (bases.silu, bases.identity, bases.tanh, bases.sigmoid):
        report.differs.append(f"the base function {base.name}; jax.nn has no such residual, give one of your own")
    options = {"c_spl": "scale", "c_res": "weight", "bias": "bias"}
    given = {name: any(getattr(own, part) is not None for own in layers) for name, part in options.items()}
    sizes, state = {(own.degree, own.coef.shape[2] - own.degree) for own in layers}, {}
    for l, own in enumerate(layers):
        edge = np.zeros(own.coef.shape[:2])
        default = {"c_spl": edge + 1, "c_res": edge, "bias": edge[:, 0]}
        parts = {"c_basis": own.coef}
        for name, part in options.items():
            if given[name]:
                parts[name] = default[name] if getattr(own, part) is None else getattr(own, part)
        state |= {f"layers.{l}.{name}": a for name, a in parts.items()}
    state |= {f"grids.{l}": own.knots for l, own in enumerate(layers)}
    widths = [layers[0].coef.shape[1], *(own.coef.shape[0] for own in layers)]
    if len(sizes) == 1:
        ((degree, intervals),) = sizes
        residual = f"nnx.{base.name}" if given["c_res"] else "None"
        flags = f"external_weights={given['c_spl']}, add_bias={given['bias']}, residual={residual}"
        report.kept.append(f"KAN({widths}, 'spline', dict(k={degree}, G={intervals}, {flags})), {model.theta.dtype}")
    else:
        report.impossible.append(f"layers differ in degree and intervals, {sorted(sizes)}; a KAN of {OWN} has the same in all")
    report.reading["base"] = base
    return finished(model, path, state, report, strict)
