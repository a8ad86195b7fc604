"""kanref itself: its fast code behind the protocol. Every operation is offered."""

from dataclasses import replace

import numpy as np

from kanref import bases, functions, grids, jets, objectives, optimize, sparsify, tensors
from kanref import power_relu as powers
from kanref.edges import Symbolic
from kanref.free_knots import LEAST, FreeKnots
from kanref.golden.protocol import AFFINE, TUCKER
from kanref.grids.insertion import halved
from kanref.multilevel.transfer import dyadic
from kanref.network import KAN, Layer
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Full, LoTRA, Masked, Scaled, Tucker

# The largest errors of kanref's own kernels by group, (float64, float32), at most, in ulps as `Outcome` counts them. Where
# float32 is 1 the calculation runs in float64. tests/test_conformance.py measures them.
ULPS = {
    "adam": (20, 100), "attribution": (3, 3), "base": (4, 5), "bases": (8, 8), "bspline": (3, 4),
    "change-of-basis": (2, 1), "extension": (60, 1), "free-knots": (1, 4), "functions": (15, 5), "gradients": (20, 15),
    "grids": (3, 1), "hessian-vector": (50, 50), "hosvd": (12, 3), "inputs": (15, 10), "insertion": (2, 1),
    "jets": (12, 5), "layers": (3, 2), "lbfgs": (60, 15), "losses": (1, 2), "lotra": (15, 30), "magnitudes": (3, 3),
    "networks": (5, 7), "nodes": (2, 4), "penalties": (12, 12), "pinn": (200, 150), "prolongation": (1, 1),
    "refinement": (1, 1), "tucker": (1, 2), "updates": (60, 1),
}  # fmt: skip

PLACES = {"spline": "spline.W", "base": "base.W", "scale": "spline.scale", "affine": "symbolic.affine"}
PLACES |= {name: f"spline.{name}" for name in TUCKER}

# ---------------------------------------------------------------------------------------------------------- networks


def built(network):
    """The KAN of a network of the protocol, and its theta in the precision of the arrays."""
    net = KAN(tuple(_layer(layer) for layer in network))
    arrays = {f"{l}.{name}": a for l, layer in enumerate(network) for name, a in layer.items()}
    theta = joined(net, arrays)
    return net, theta.astype(next(a.dtype for a in arrays.values() if isinstance(a, np.ndarray)))


def _layer(layer):
    Q, P = _shape(layer)
    masked = (lambda weights: Masked(weights, layer["mask"])) if "mask" in layer else (lambda weights: weights)
    terms = {}
    if "base" in layer:
        terms["base"] = Linear(bases.BASE_FUNCTIONS[layer["base_function"]], masked(Full((Q, P, 1))))
    if "knots" in layer:
        basis = bases.BSpline(layer["knots"], layer["degree"], layer["outside"])
        weights = Full((Q, P, basis.size))
        if "core" in layer:
            weights = Tucker((Q, P, basis.size), layer["core"].shape)
            weights = LoTRA(layer["frozen"], weights, layer["alpha"]) if "frozen" in layer else weights
        terms["spline"] = Linear(basis, masked(Scaled(weights) if "scale" in layer else weights))
    if "formulas" in layer:
        terms["symbolic"] = Symbolic((Q, P), tuple((q, p, functions.LIBRARY[name]) for q, p, name in layer["formulas"]))
    affine = tuple(name for name in AFFINE if name in layer)
    nodes = Nodes(tuple(layer.get("arity", (1,) * Q)), affine) if affine or "arity" in layer else None
    normalise = bases.BASE_FUNCTIONS[layer["normalise"]] if "normalise" in layer else None
    return Layer(terms, "bias" in layer, normalise, nodes)


def _shape(layer):
    for name in ("base", "spline", "frozen"):
        if name in layer:
            return layer[name].shape[:2]
    if "core" in layer:
        return len(layer["U_out"]), len(layer["U_in"])
    return tuple(1 + max(edge[axis] for edge in layer["formulas"]) for axis in (0, 1))


def joined(net, arrays):
    """theta from {"layer.array": array} of the protocol."""
    views = net.split(theta := np.empty(net.size))
    for key, a in arrays.items():
        l, name = key.split(".")
        if (place := f"{l}.{PLACES.get(name, name)}") in views:
            views[place][...] = np.reshape(a, views[place].shape)
    return theta


def parts(net, theta):
    """{"layer.array": array} of the protocol from theta."""
    names, found = {place: name for name, place in PLACES.items()}, {}
    for place, a in net.split(theta).items():
        l, array = place.split(".", 1)
        found[f"{l}.{names.get(array, array)}"] = a[..., 0] if array == "base.W" else a
    return found


# --------------------------------------------------------------------------------------------------------- functions


def _dense(basis, x, order):
    """All functions of a basis of one input: (N, K)."""
    first, values = basis.derivatives(x[:, None], order)
    B = np.zeros((len(x), basis.size), x.dtype)
    np.put_along_axis(B, first + np.arange(basis.window), values[order][:, 0], 1)
    return B


def bspline(x, knots, degree, order, outside):
    return _dense(bases.BSpline(knots[None], degree, outside), x, order)


def base_function(name, x, order):
    return _dense(bases.BASE_FUNCTIONS[name], x, order)[:, 0]


def function(name, x, order):
    return functions.LIBRARY[name].derivatives(x, order)[order]


def chebyshev(x, degree, order):
    return _dense(bases.Chebyshev(degree), x, order)


def power_relu(x, knots, degree, order):
    return _dense(powers.PowerReLU(knots[None], degree), x, order)


def free_knots(spacing, degree, low, high, least):
    if least != LEAST:
        raise NotImplementedError(f"the least share of a span is {LEAST}")
    return FreeKnots(Full((1, 1, len(spacing) + degree)), degree, low, high).knots(spacing[None])[0]


# ------------------------------------------------------------------------------------------- values and derivatives


def forward(network, x):
    net, theta = built(network)
    return net(theta, x)


def loss(name, prediction, target):
    values = {
        "mse": objectives.squared,
        "mae": objectives.absolute,
        "cross_entropy": objectives.softmax_cross_entropy,
        "logistic": objectives.binary_logistic,
    }
    value, gradient = values[name](prediction, np.asarray(target))
    return {"value": value, "gradient": gradient}


def gradient(network, x, target, loss):
    net, theta = built(network)
    value, slope = getattr(objectives, loss)(net, x, np.asarray(target))(theta)
    return {"value": value, **parts(net, slope)}


def input_gradient(network, x):
    net, theta = built(network)
    return net.gradient(theta, x)


def input_hessian(network, x):
    net, theta = built(network)
    return net.hessian(theta, x)


def hessian_vector(network, x, target, direction):
    """Exact, by the pullback of a jet, for sums that are linear in what is trained, and nodes that are not trained.

    With z' and theta' = v the change of the values, the jet of a layer's sums has the slope u' = (its jet's slope at z') +
    u(v; z); and for the adjoint jet (u_bar', u_bar) the pullback gives the changes theta_bar' and z_bar' beside z_bar.
    """
    if any(layer.keys() & {"scale", "affine", *TUCKER, *AFFINE} for layer in network):
        raise NotImplementedError("only for layers that are linear in what is trained")
    net, theta = built(network)
    own, v = net.of_layers(theta), net.of_layers(joined(net, direction).astype(theta.dtype))
    z, tape = jets.seed(x, np.zeros((1, net.inputs))), []
    for layer, arrays, change in zip(net.layers, own, v):
        sums = replace(layer, nodes=None)
        moved, record = sums.forward(change, np.ascontiguousarray(z[:1]))
        u, kept = sums.forward(arrays, z)
        u[1] += moved[0]
        tape.append((sums, kept, record, u))
        z = layer.nodes.forward({}, u) if layer.nodes else u
    y_bar = np.stack([z[1], z[0] - target, 0 * z[0]]) * z.dtype.type(2 / z[0].size)
    found = np.empty_like(theta)
    for layer, (sums, kept, record, u), views in list(zip(net.layers, tape, net.of_layers(found)))[::-1]:
        u_bar = np.ascontiguousarray(layer.nodes.pullback_rows({}, u, y_bar)[1]) if layer.nodes else y_bar
        arrays_bar, z_bar = sums.pullback(kept, u_bar)
        z_bar[0] += sums.pullback(record, np.ascontiguousarray(u_bar[1:2]))[1][0]
        for name, view in views.items():
            view[...] = arrays_bar[name]
        y_bar = np.stack([z_bar[0], z_bar[1], 0 * z_bar[0]])
    return parts(net, found)


def jet(network, x, direction, order):
    net, theta = built(network)
    values, first, second = net.derivatives(theta, x, direction[None])
    return np.stack([values, first[0], second[0]])[: order + 1]


def residual(network, x, equation, coefficient, forcing):
    net, theta = built(network)
    terms, pairs = EQUATIONS[equation]

    def equations(x, u, u_i, u_ij):
        value, r_u, slopes, bends = terms(coefficient, u[:, 0], u_i[:, 0], u_ij[:, 0])
        r_ui, r_uij = np.zeros_like(u_i), np.zeros_like(u_ij)
        for i, slope in slopes.items():
            r_ui[:, 0, i] = slope
        for (i, j), bend in bends.items():
            r_uij[:, 0, i, j] = bend
        return value - forcing, (np.broadcast_to(r_u, len(x))[:, None], r_ui, r_uij)

    objective = objectives.collocation(net, x, equations, pairs)
    value, slope = objective(theta)
    return {"residual": objective.residual_values(theta)[:, 0], "value": value, **parts(net, slope)}


XX, YY, XY = (0, 0), (1, 1), (0, 1)
EQUATIONS = {  # value, derivatives in u, in u_i, in u_ij; and the second derivatives that it has
    "poisson": (lambda c, u, d, h: (h[:, 0, 0] + h[:, 1, 1], 0 * u, {}, {XX: 1, YY: 1}), (XX, YY)),
    "helmholtz": (lambda c, u, d, h: (h[:, 0, 0] + h[:, 1, 1] + c * u, c + 0 * u, {}, {XX: 1, YY: 1}), (XX, YY)),
    "heat": (lambda c, u, d, h: (d[:, 1] - c * h[:, 0, 0], 0 * u, {1: 1}, {XX: -c}), (XX,)),
    "burgers": (lambda c, u, d, h: (d[:, 1] + u * d[:, 0] - c * h[:, 0, 0], d[:, 0], {0: u, 1: 1}, {XX: -c}), (XX,)),
    "allen-cahn": (lambda c, u, d, h: (d[:, 1] - c * h[:, 0, 0] + u**3 - u, 3 * u**2 - 1, {1: 1}, {XX: -c}), (XX,)),
    "mixed": (lambda c, u, d, h: (h[:, 0, 1] + c * u * d[:, 1], c * d[:, 1], {1: c * u}, {XY: 1}), (XY,)),
}

# ------------------------------------------------------------------------------------------------------------- grids


def grid_update(samples, intervals, degree, rule, mix):
    return grids.knots_from_samples(samples, intervals, degree, rule, mix)


def extended_knots(knots, degree, intervals):
    basis = bases.BSpline(knots[None], degree)
    net = KAN((Layer({"spline": Linear(basis, Full((1, 1, basis.size)))}),))
    return grids.extend(net, np.zeros(net.size), intervals)[0].layers[0].terms["spline"].basis.knots[0]


def refit(knots, degree, W, new_knots, samples):
    old, new = (bases.BSpline(t[None], degree) for t in (knots, new_knots))
    samples = None if samples is None else samples.astype(float)
    return W @ grids.transfer_matrix(old, new, samples, prior=0.0)[0].T


def update(network, samples, rule):
    net, theta, _ = grids.update_from_samples(*built(network), samples, rule)
    term = net.layers[0].terms["spline"]
    arrays = {name.removeprefix("0.spline."): a for name, a in net.split(theta).items()}
    return {"knots": term.basis.knots, "weights": term.weights.tensor(arrays)}


def insert(knots, degree, new_knots):
    fine, R = grids.insertion_matrix(knots, degree, new_knots)
    return {"knots": fine, "matrix": R}


def halve(knots, degree, exterior):
    fine, R = halved(bases.BSpline(knots[None], degree), exterior)
    return {"knots": fine[0], "matrix": R[0] if R.ndim == 3 else R}


def prolong(network, exterior):
    net, theta = built(network)
    transfer = dyadic(net, exterior)
    rows = {f"{l}.knots": layer.terms["spline"].basis.knots for l, layer in enumerate(transfer.fine.layers)}
    return {**rows, **parts(transfer.fine, transfer.prolong(theta))}


def restrict(network, exterior, gradient):
    net, theta = built(network)
    transfer = dyadic(net, exterior)
    return parts(net, transfer.restrict(joined(transfer.fine, gradient).astype(theta.dtype)))


def change_of_basis(knots, degree):
    return {"A": powers.change_of_basis(knots, degree), "inverse": powers.inverse(knots, degree)}


# ---------------------------------------------------------------------------------------------------------- sparsity


def magnitudes(network, x, metric):
    return {f"{l}": V for l, V in enumerate(sparsify.magnitudes(*built(network), x, metric))}


def penalty(network, x, metric, l1, entropy, coefficients, differences):
    net, theta = built(network)
    value, slope = sparsify.penalty(net, x, metric, l1, entropy, coefficients, differences)(theta)
    return {"value": value, **parts(net, slope)}


def attribution(network, x, method):
    scores = sparsify.attribute(*built(network), x, method)
    levels = {"nodes": scores.nodes, "edges": scores.edges}
    return {f"{kind}.{l}": a for kind, arrays in levels.items() for l, a in enumerate(arrays)}


# ----------------------------------------------------------------------------------------------------------- tensors


def tucker(core, U_out, U_in, U_basis):
    return tensors.tucker(core, [U_out, U_in, U_basis])


def tucker_pullback(core, U_out, U_in, U_basis, W_bar):
    core_bar, U_bars = tensors.tucker_pullback(core, [U_out, U_in, U_basis], W_bar)
    return dict(zip(TUCKER, (core_bar, *U_bars)))


def singular_values(W):
    return dict(zip(("out", "in", "basis"), tensors.singular_values(W)))


def hosvd(W, ranks):
    core, Us = tensors.hosvd(W, ranks)
    return {"reconstruction": tensors.tucker(core, Us), **{key: U @ U.T for key, U in zip(("out", "in", "basis"), Us)}}


# -------------------------------------------------------------------------------------------------------- optimisers


def adam(objective, start, steps, rate, beta1, beta2, eps):
    rows = []
    options = {"steps": steps, "rate": rate, "beta1": beta1, "beta2": beta2, "eps": eps, "keep": "last"}
    optimize.adam(objective, start, callback=lambda state: rows.append(state.theta), **options)
    return np.array(rows)


def lbfgs_direction(gradient, S, Y):
    return optimize.two_loop(gradient, list(S), list(Y))


def lbfgs(objective, start, steps, history, step):
    rows, S, Y = [start], [], []
    g = objective(start)[1]
    for _ in range(steps):
        rows.append(rows[-1] + start.dtype.type(step) * optimize.two_loop(g, S[-history:], Y[-history:]))
        slope = objective(rows[-1])[1]
        S.append(rows[-1] - rows[-2])
        Y.append(slope - g)
        g = slope
    return np.array(rows)
