"""efficient-kan state dicts, in torch's zip format or safetensors: read and written without torch.

    y = act(x) base_weight^T + sum_i sum_m spline_scaler[o,i] spline_weight[o,i,m] B_m(x_i)

Keys: layers.{l}.grid (in, G+2d+1), base_weight (out, in), spline_weight (out, in, G+d), and spline_scaler (out, in) unless the
model was built with enable_standalone_scale_spline=False. The activation is not stored; SiLU is the default.
"""

import numpy as np

from kanref import bases
from kanref.arrays import integer
from kanref.bases import MAX_DEGREE
from kanref.interop.parts import Base, Edges, Splines, assembled, finished, opened, plain
from kanref.interop.report import Report
from kanref.interop.tensors import checked, dtype_of, shaped
from kanref.io import damage
from kanref.model import Model

OWN = "efficient-kan"
TORCH = {"identity": "Identity", "tanh": "Tanh", "sigmoid": "Sigmoid"}  # activations of torch.nn under kanref's names


def read(path, base=bases.silu, strict=True):
    """The `Model` in a state dict, and a `Report`. base: the activation, a `Pointwise`.

    Raises FileNotFoundError, `FileError` for files that are damaged or hostile, `Unrepresentable` if the function would differ.
    """
    layers, others, report = opened(path, OWN, "spline_weight", base)
    report.strangers(list(others))
    with damage(path):
        pairs = [_edges(own, l, base, report).layer() for l, own in enumerate(layers)]
        net, theta = assembled(pairs, dtype_of(own["spline_weight"] for own in layers), report)
    if base is bases.silu:
        report.kept.append("the activation is not stored; SiLU, the default, is taken")
    scaled = any("spline_scaler" in own for own in layers)
    return Model(net, theta, extra={} if scaled else {OWN: {"scaler": False}}), report.settled(strict)


def _edges(own, l, base, report):
    (Q, P, K), T = shaped(own, "spline_weight", (3,), l).shape, shaped(own, "grid", (2,), l).shape[1]
    degree = integer(T - K - 1, f"degree of layer {l} (knots less functions less 1)", 0, MAX_DEGREE)
    shapes = {"grid": (P, T), "base_weight": (Q, P), "spline_weight": (Q, P, K), "[spline_scaler]": (Q, P)}
    grid, weight, coef, scale = checked(own, shapes, l)
    singular(grid, degree, l, OWN, report)
    return Edges((Q, P), (Splines(grid.astype(np.float64), degree, coef, scale),), (Base(base, weight),))


def singular(grid, degree, l, library, report):
    """Remark on knots where the library's recursion divides by zero, and on its right end for degree 0."""
    if (grid[:, 1:] == grid[:, :-1]).any():
        report.differs.append(f"layer {l}: repeated knots, at which {library} gives NaN")
    if degree == 0:
        report.differs.append(f"layer {l}: degree 0; {library} gives 0 at the right end of the knots")


def write(model, path, strict=True):
    """Write a `Model` as a state dict, as safetensors if the path ends so, else in torch's format; returns a `Report`.

    model.load_state_dict(torch.load(path)) fits KAN(widths, grid_size=G, spline_order=degree). Masks and scales of nodes are
    multiplied into the weights; biases, products, formulas and input maps have no place: `Unrepresentable`, and nothing is
    written.
    """
    report = Report(f"kanref to {OWN}")
    layers, base = plain(model, OWN, report, biases=False)
    if len({(own.degree, own.coef.shape[2]) for own in layers}) > 1:
        report.changed.append("layers differ in degree or intervals: build each KANLinear with its own")
    if base in (bases.sin, bases.zero) or (base is not bases.silu and base.name not in TORCH):
        report.differs.append(f"the base function {base.name}; torch has no such activation, give one of your own")
    elif base is not bases.silu:
        report.changed.append(f"the activation is not stored: build the model with base_activation=torch.nn.{TORCH[base.name]}")
    scaled = model.extra.get(OWN, {}).get("scaler", True) or any(own.scale is not None for own in layers)
    state = {}
    for l, own in enumerate(layers):
        edge = np.zeros(own.coef.shape[:2])
        found = {"grid": own.knots, "base_weight": edge if own.weight is None else own.weight, "spline_weight": own.coef}
        if scaled:
            found["spline_scaler"] = edge + 1 if own.scale is None else own.scale
        state |= {f"layers.{l}.{name}": a for name, a in found.items()}
        report.kept.append(f"layer {l}: spline_order={own.degree}, grid_size={own.coef.shape[2] - own.degree}")
    if not scaled:
        report.changed.append("no scaler: build the model with enable_standalone_scale_spline=False")
    report.reading["base"] = base
    return finished(model, path, state, report, strict)
