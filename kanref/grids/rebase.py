"""A change of basis in a network, layer by layer: new B-splines, weights W x_3 R, everything else as it was."""

from dataclasses import replace

import numpy as np

from kanref.arrays import integer
from kanref.bases import BSpline
from kanref.tensors import mode_dot
from kanref.terms import Linear


def split_layers(net, theta):
    """A dictionary of float64 arrays for every layer of `net`."""
    theta = np.asarray(theta)
    if theta.ndim != 1:
        raise ValueError(
            f"theta must be one vector of {net.size} numbers, but it has shape {theta.shape}; change one at a time"
        )
    arrays = [{} for _ in net.layers]
    for name, view in net.split(theta).items():
        l, own = name.split(".", 1)
        arrays[int(l)][own] = view.astype(np.float64)
    return arrays


def join_layers(net, layers, arrays, dtype):
    """The network of new layers, and its theta in the precision of the old one."""
    net = replace(net, layers=tuple(layers))
    theta = net.join({f"{l}.{name}": a for l, own in enumerate(arrays) for name, a in own.items()})
    return net, theta.astype(dtype)


def change_terms(net, theta, change):
    """The network with change(l, name, term, arrays) -> (term, arrays) applied to all its terms, and its theta."""
    arrays, layers = split_layers(net, theta), []
    for l, layer in enumerate(net.layers):
        terms = {}
        for name, term in layer.terms.items():
            own = {array: arrays[l].pop(f"{name}.{array}") for array in term.arrays}
            terms[name], own = change(l, name, term, own)
            arrays[l].update((f"{name}.{array}", a) for array, a in own.items())
        layers.append(replace(layer, terms=terms))
    return join_layers(net, layers, arrays, np.asarray(theta).dtype)


def chosen_layers(net, layers):
    """The layers to change: all of them for None."""
    count = len(net.layers)
    if layers is not None and np.ndim(layers) != 1:
        raise TypeError(f"layers must be None or a list of layer indices, but it is {layers!r}; use [{layers!r}]")
    return range(count) if layers is None else {integer(l, "an entry of layers", 0, count - 1) for l in layers}


def splines(layer):
    """{name: BSpline} of the terms that have fixed knots."""
    linear = {name: term for name, term in layer.terms.items() if isinstance(term, Linear)}
    return {name: term.basis for name, term in linear.items() if isinstance(term.basis, BSpline)}


def rebased(layer, name, basis, R):
    """The layer with term `name` on another basis, W x_3 R with R (K', K) or (P, K', K), and what becomes of its arrays:
    {array of the layer: (mode, M)} for those that change, by a -> a x_mode M."""
    term, maps = layer.terms[name].rebased(R, basis)
    layer = replace(layer, terms={**layer.terms, name: term})
    return layer, {f"{name}.{array}": pair for array, pair in maps.items()}


def rebase(layer, arrays, name, basis, R):
    """The layer of `rebased`, and its arrays."""
    layer, maps = rebased(layer, name, basis, R)
    return layer, arrays | {array: mode_dot(arrays[array], M, mode) for array, (mode, M) in maps.items()}
