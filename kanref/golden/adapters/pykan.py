"""pykan 0.2.8 behind the protocol, everything by its own functions and torch's automatic differentiation.

Left out, as pykan has no such thing: policies outside the domain, maps of inputs, Tucker weights, product nodes before sum
nodes. Its L-BFGS starts with a step of its own, so no trajectory of it is asked for.
"""

from types import SimpleNamespace

import numpy as np
import torch
from kan import KAN
from kan.KANLayer import KANLayer
from kan.spline import B_batch, coef2curve, curve2coef
from kan.utils import SYMBOLIC_LIB

from kanref.golden.adapters.autograd import arrays, derivative, numpy, operations, refuse_outside, slopes
from kanref.golden.protocol import AFFINE

BASE = {
    "silu": "silu",
    "identity": "identity",
    "zero": "zero",
    "tanh": torch.tanh,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
}
METRICS = {"edge_forward_spline_n": "acts_scale_spline", "edge_forward_sum": "acts_scale"}
METRICS |= {"edge_forward_spline_u": "edge_actscale", "edge_backward": "edge_scores", "node_backward": "node_attribute_scores"}
SCORES = {"edge_backward": "attribute", "node_backward": "node_attribute"}


def model_of(network):
    """The MultKAN of a network, and its leaves."""
    refuse_outside(network)
    arity = [layer.get("arity", [1] * _shape(layer)[0]) for layer in network]
    if any(list(own) != sorted(own) or 1 in own[own.count(1) :] for own in arity):
        raise NotImplementedError("sum nodes come before product nodes, these in any order")
    if len({layer["base_function"] for layer in network if "base" in layer}) > 1:
        raise NotImplementedError("a model has one base function")
    width = [[_shape(network[0])[1], 0]] + [[own.count(1), len(own) - own.count(1)] for own in arity]
    products = [[]] + [own[own.count(1) :] for own in arity]
    degree = max(layer.get("degree", 1) for layer in network)
    knots = [layer["knots"].shape[1] if "knots" in layer else 2 * degree + 2 for layer in network]
    made = KAN(
        width=width,
        grid=[T - 2 * degree - 1 for T in knots],
        k=degree,
        mult_arity=products if len(set(sum(products, []))) > 1 else max(sum(products, [2])),
        base_fun=BASE[next((layer["base_function"] for layer in network if "base" in layer), "zero")],
        affine_trainable=True,
        auto_save=False,
    )
    dtype = torch.tensor(next(a for a in network[0].values() if isinstance(a, np.ndarray))).dtype
    made = made.double() if dtype == torch.float64 else made
    leaves = {}
    for l, layer in enumerate(network):
        leaves |= {f"{l}.{name}": leaf for name, leaf in _fill(made, l, layer).items()}
    return made, leaves


def _shape(layer):
    if "base" in layer or "spline" in layer:
        return layer["base" if "base" in layer else "spline"].shape[:2]
    return tuple(1 + max(edge[axis] for edge in layer["formulas"]) for axis in (0, 1))


def _fill(made, l, layer):
    """Puts a layer's arrays in place: {array: (leaf, axes)}."""
    act, formulas, leaves = made.act_fun[l], made.symbolic_fun[l], {}
    zeros = np.zeros(_shape(layer)[::-1])
    values = {"scale_base": zeros, "scale_sp": zeros + 1, "mask": zeros + 1, "coef": np.zeros(act.coef.shape)}
    if "knots" in layer:
        values |= {"grid": layer["knots"], "coef": layer["spline"].transpose(1, 0, 2)}
        leaves["spline"] = act.coef, (1, 0, 2)
    for name, own in (("base", "scale_base"), ("scale", "scale_sp"), ("mask", "mask")):
        if name in layer:
            values[own] = layer[name].T
    if "base" in layer:
        leaves["base"] = act.scale_base, (1, 0)
    if "scale" in layer:
        leaves["scale"] = act.scale_sp, (1, 0)
    for name, value in values.items():
        own = getattr(act, name)
        own.data = torch.tensor(np.ascontiguousarray(value)).to(own.dtype)
    for name in AFFINE:
        if name in layer:
            own = getattr(made, name)[l]
            own.data = torch.tensor(layer[name])
            leaves[name] = own, (0,)
    if "bias" in layer:
        if "subnode_bias" in layer or "subnode_scale" in layer:
            raise NotImplementedError("a bias is the subnodes' own")
        own = made.subnode_bias[l]
        own.data = torch.tensor(layer["bias"])
        leaves["bias"] = own, (0,)
    if "formulas" in layer:
        if len({tuple(edge[:2]) for edge in layer["formulas"]}) < len(layer["formulas"]):
            raise NotImplementedError("one formula for an edge")
        for (q, p, name), row in zip(layer["formulas"], layer["affine"]):
            formulas.fix_symbolic(p, q, name)
            formulas.mask.data[q, p] = 1
            formulas.affine.data[q, p] = torch.tensor(row)
    return leaves


def formulas_apart(answer):
    """Wraps gradients: the rows of pykan's dense affine array that belong to formulas are not collected here."""

    def wrapped(network, **arguments):
        if any("affine" in layer for layer in network):
            raise NotImplementedError("parameters of formulas are spread over a dense array of all edges")
        return answer(network=network, **arguments)

    return wrapped


def basis(x, knots, degree):
    return B_batch(x[:, None], knots[None], k=degree)[:, 0].to(x.dtype)


def base_function(name, x, order):
    made = {"silu": torch.nn.SiLU(), "identity": torch.nn.Identity(), "zero": lambda x: x * 0.0}
    if name not in made:
        raise NotImplementedError("base functions by name are silu, identity and zero")
    return derivative(made[name], x, order)


def function(name, x, order):
    if name not in SYMBOLIC_LIB:
        raise NotImplementedError("not in pykan's library")
    return derivative(SYMBOLIC_LIB[name][0], x, order)


def _layer(samples, intervals, degree, mix):
    made = KANLayer(samples.shape[1], 1, num=intervals, k=degree, grid_eps=0.02 if mix is None else mix)
    return made.double() if samples.dtype == np.float64 else made


def grid_update(samples, intervals, degree, rule, mix):
    if rule != "pykan":
        raise NotImplementedError("another library's rule")
    made = _layer(samples, intervals, degree, mix)
    made.update_grid_from_samples(torch.tensor(samples))
    return numpy(made.grid)


def refit(knots, degree, W, new_knots, samples):
    if samples is None:
        raise NotImplementedError("refits are made from samples")
    x, (old, new) = torch.tensor(samples)[:, None], (torch.tensor(t)[None] for t in (knots, new_knots))
    y = coef2curve(x, old, torch.tensor(W)[None], degree)
    return numpy(curve2coef(x, y, new, degree))[0]


def update(network, samples, rule):
    if rule != "pykan":
        raise NotImplementedError("another library's rule")
    act = model_of(network)[0].act_fun[0]
    act.update_grid_from_samples(torch.tensor(samples))
    weights = act.coef * (act.scale_sp * act.mask)[:, :, None]
    return {"knots": numpy(act.grid), "weights": numpy(weights).transpose(1, 0, 2)}


def magnitudes(network, x, metric):
    if metric not in METRICS:
        raise NotImplementedError("a metric of another release")
    made = model_of(network)[0]
    made(torch.tensor(x))
    if metric in SCORES:
        getattr(made, SCORES[metric])()
    return {f"{l}": numpy(V) for l, V in enumerate(getattr(made, METRICS[metric]))}


def penalty(network, x, metric, l1, entropy, coefficients, differences):
    if metric not in METRICS or metric in SCORES:
        raise NotImplementedError("a metric of another release, or a score")
    if coefficients + differences > 0 and any("scale" in layer or "mask" in layer for layer in network):
        raise NotImplementedError("coefficients are taken without scales and masks")
    made, leaves = model_of(network)
    made(torch.tensor(x))
    value = made.reg(metric, l1, entropy, coefficients, differences)
    return {"value": numpy(value), **arrays(leaves, slopes(value, leaves))}


def attribution(network, x, method):
    if method != "backward":
        raise NotImplementedError("another method")
    made = model_of(network)[0]
    made(torch.tensor(x))
    made.attribute()
    levels = {"nodes": made.node_scores, "edges": made.edge_scores}
    return {f"{kind}.{l}": numpy(a) for kind, arrays in levels.items() for l, a in enumerate(arrays)}


def adam(objective, start, steps, rate, beta1, beta2, eps):
    """torch's, which pykan uses."""
    theta = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=rate, betas=(float(beta1), float(beta2)), eps=eps)
    rows = [start]
    for _ in range(steps):
        theta.grad = torch.tensor(objective(numpy(theta).copy())[1])
        optimizer.step()
        rows.append(numpy(theta).copy())
    return np.array(rows)


_made = operations(model_of, basis)
for _name in ("gradient", "hessian_vector", "residual"):
    _made[_name] = formulas_apart(_made[_name])
_others = base_function, function, grid_update, refit, update, magnitudes, attribution, adam
adapter = SimpleNamespace(library="pykan", **_made, penalty=formulas_apart(penalty), **{own.__name__: own for own in _others})
