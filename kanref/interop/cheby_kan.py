"""ChebyKAN state dicts, in torch's zip format or safetensors: read and written without torch.

    y_o = sum_i sum_d cheby_coeffs[i,o,d] T_d(tanh x_i)

A layer is <name>.cheby_coeffs (in, out, degree + 1), and in some versions a buffer <name>.arange; the layers are taken in the
order of the file (safetensors: of their names). The library has no network of its own: whatever else stands between the
layers, as LayerNorm in its MNIST example, is in the file by its numbers only, and refused.
"""

import re

import numpy as np

from kanref.bases import Chebyshev
from kanref.interop.parts import assembled, finished
from kanref.interop.report import Report
from kanref.interop.tensors import dtype_of, format_of, read_arrays, some
from kanref.io import FileError, damage
from kanref.model import Model
from kanref.network import Layer, describe
from kanref.terms import Linear
from kanref.weights import Full

OWN = "ChebyKAN"
KEY = "cheby_coeffs"
NUMBERS = re.compile(r"(\D*)(\d*)")


def read(path, strict=True):
    """The `Model` in a state dict, and a `Report`.

    Raises FileNotFoundError, `FileError` for files that are damaged or hostile, `Unrepresentable` if the function would differ.
    """
    report = Report(f"{OWN} to kanref")
    state = read_arrays(path)
    with damage(path):
        own = {name: a for name, a in state.items() if name == KEY or name.endswith(f".{KEY}")}
        if not own:
            raise FileError(f"{path} has no {KEY}; it has {some(state)}")
        if format_of(path) != "torch":  # the others do not keep an order: layer2 before layer10
            own = dict(sorted(own.items(), key=lambda item: [(int(n or -1), text) for text, n in NUMBERS.findall(item[0])]))
        if odd := [name for name, a in own.items() if a.ndim != 3 or a.dtype.kind != "f"]:
            raise FileError(f"{odd[0]} must be floats (in, out, degree + 1), but it has shape {own[odd[0]].shape}")
        others = [name for name in state if name not in own and name.rpartition(".")[2] != "arange"]
        if others:
            report.differs.append(f"{', '.join(others[:3])}: only the layers are known, not what stands between them")
        weights = [a.swapaxes(0, 1) for a in own.values()]
        pairs = [(Layer({"cheby": Linear(Chebyshev(W.shape[2] - 1), Full(W.shape))}), {"cheby.W": W}) for W in weights]
        net, theta = assembled(pairs, dtype_of(weights), report)
    report.kept.append(f"layers {', '.join(own)} in this order")
    return Model(net, theta, extra={OWN: {"names": [name.removesuffix(KEY) for name in own]}}), report.settled(strict)


def write(model, path, strict=True):
    """Write a `Model` of Chebyshev layers as a state dict, as safetensors if the path ends so; returns a `Report`.

    Names are layers.0.cheby_coeffs, ... or those that the model was read with. Anything but such layers is `Unrepresentable`.
    """
    report = Report(f"kanref to {OWN}")
    state, names = {}, model.extra.get(OWN, {}).get("names", [])
    names = names if len(names) == len(model.net.layers) else [f"layers.{l}." for l in range(len(model.net.layers))]
    if len(model.columns) < model.width:
        report.differs.append(f"the columns {model.columns} of {model.width}: give the layers these columns only")
    for l, (layer, arrays) in enumerate(zip(model.net.layers, model.net.of_layers(model.theta))):
        if layer.bias or layer.nodes or layer.normalise is not None:
            report.differs.append(f"layer {l}: {OWN} has no biases, nodes and input maps")
        fits = {name: t for name, t in layer.terms.items() if isinstance(t, Linear) and isinstance(t.basis, Chebyshev)}
        for name, term in layer.terms.items():
            if name in fits:
                continue
            report.differs.append(f"layer {l}, term {name!r}: {describe(getattr(term, 'basis', term))} is not Chebyshev's")
        W = np.zeros((layer.sums, layer.inputs, max((term.basis.size for term in fits.values()), default=1)), model.theta.dtype)
        for name, term in fits.items():
            W[:, :, : term.basis.size] += term.weights.tensor({a: arrays[f"{name}.{a}"] for a in term.arrays})
            if not isinstance(term.weights, Full):
                report.changed.append(f"layer {l}: {type(term.weights).__name__} weights are written out in full")
        state[f"{names[l]}{KEY}"] = W.swapaxes(0, 1)
        report.kept.append(f"{names[l]}: ChebyKANLayer({layer.inputs}, {layer.sums}, {W.shape[2] - 1})")
    return finished(model, path, state, report, strict)
