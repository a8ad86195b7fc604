"""efficient-kan 7b6ce1c behind the protocol: sums of splines and a base function, its grid update, its refits.

Left out, as it has no such thing: masks, biases, nodes, formulas, policies outside the domain, penalties but its own.
"""

from types import SimpleNamespace

import numpy as np
import torch
from efficient_kan import KANLinear

from kanref.golden.adapters.autograd import arrays, numpy, operations, refuse, refuse_outside, slopes
from kanref.golden.protocol import AFFINE

BASE = {
    "silu": torch.nn.SiLU,
    "identity": torch.nn.Identity,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
}


def linear(layer):
    """The KANLinear of a layer, and its leaves."""
    Q, P, K = layer["spline"].shape
    degree, scaled = layer["degree"], "scale" in layer
    if layer.get("base_function", "silu") not in BASE:
        raise NotImplementedError("a base function is a class of torch.nn")
    made = KANLinear(
        P,
        Q,
        K - degree,
        degree,
        enable_standalone_scale_spline=scaled,
        base_activation=BASE[layer.get("base_function", "silu")],
    )
    values = {
        "grid": layer["knots"],
        "spline_weight": layer["spline"],
        "base_weight": layer.get("base", np.zeros((Q, P))),
    }
    names = {
        "spline": ("spline_weight", (0, 1, 2)),
        "base": ("base_weight", (0, 1)),
        "scale": ("spline_scaler", (0, 1)),
    }
    if scaled:
        values["spline_scaler"] = layer["scale"]
    for name, value in values.items():
        getattr(made, name).data = torch.tensor(value.astype(layer["knots"].dtype))
    return made, {name: (getattr(made, own), axes) for name, (own, axes) in names.items() if name in layer}


def build(network):
    refuse_outside(network)
    refuse(network, "mask", "bias", "arity", "formulas", *AFFINE)
    if not all("spline" in layer for layer in network):
        raise NotImplementedError("every layer has splines")
    pairs = [linear(layer) for layer in network]
    leaves = {f"{l}.{name}": own for l, (_, part) in enumerate(pairs) for name, own in part.items()}
    return torch.nn.Sequential(*(made for made, _ in pairs)), leaves


def _splines(knots, degree):
    """A KANLinear of one input and one output with these knots (T,)."""
    made = KANLinear(1, 1, max(1, len(knots) - 2 * degree - 1), max(1, degree), enable_standalone_scale_spline=False)
    made.grid, made.spline_order, made.grid_size = knots[None], degree, len(knots) - 2 * degree - 1
    return made


def basis(x, knots, degree):
    return _splines(knots, degree).b_splines(x[:, None])[:, 0]


def grid_update(samples, intervals, degree, rule, mix):
    if rule != "efficient":
        raise NotImplementedError("another library's rule")
    made = KANLinear(samples.shape[1], 1, intervals, degree, grid_eps=0.02 if mix is None else mix)
    made = made.double() if samples.dtype == np.float64 else made
    made.update_grid(torch.tensor(samples))
    return numpy(made.grid)


def refit(knots, degree, W, new_knots, samples):
    if samples is None:
        raise NotImplementedError("refits are made from samples")
    x = torch.tensor(samples)[:, None]
    old, new = (_splines(torch.tensor(t), degree) for t in (knots, new_knots))
    new.out_features = len(W)
    y = old.b_splines(x) @ torch.tensor(W.T.copy())
    return numpy(new.curve2coeff(x, y))[:, 0]


def update(network, samples, rule):
    if rule != "efficient":
        raise NotImplementedError("another library's rule")
    made = linear(network[0])[0]
    made.update_grid(torch.tensor(samples))
    return {"knots": numpy(made.grid), "weights": numpy(made.scaled_spline_weight)}


def penalty(network, x, metric, l1, entropy, coefficients, differences):
    if metric != "efficient-kan" or coefficients or differences:
        raise NotImplementedError("it has a penalty of its own, without samples")
    layers, leaves = build(network)
    value = sum(layer.regularization_loss(l1, entropy) for layer in layers)
    return {"value": numpy(value), **arrays(leaves, slopes(value, leaves))}


_others = grid_update, refit, update, penalty
adapter = SimpleNamespace(library="efficient_kan", **operations(build, basis), **{own.__name__: own for own in _others})
