"""The second route to networks: SciPy's piecewise polynomials, closed forms, the chain rule written out, in floats.

Nothing here comes from `kanref.spec`: B-splines are `scipy.interpolate.PPoly` in powers of x - t_i on padded knots, base
functions and formulas have their derivatives by hand, jets are z, z', z'' with f'' z'^2 + f' z''. Everything holds for complex
numbers too, placed by their real parts, so that complex steps give gradients in double precision.
"""

import math

import numpy as np

from kanref.golden.protocol import TRAINED

STEP = 1e-30


def _sigmoid(x):
    s = 1 / (1 + np.exp(-x))
    return s, s * (1 - s), s * (1 - s) * (1 - 2 * s)


def _silu(x):
    s, s1, s2 = _sigmoid(x)
    return x * s, s + x * s1, 2 * s1 + x * s2


def _tanh(x):
    t = np.tanh(x)
    return t, 1 - t * t, -2 * t * (1 - t * t)


FUNCTIONS = {
    "silu": _silu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "identity": lambda x: (x, np.ones_like(x), np.zeros_like(x)),
    "zero": lambda x: (0 * x, 0 * x, 0 * x),
    "sin": lambda x: (np.sin(x), np.cos(x), -np.sin(x)),
    "x^2": lambda x: (x * x, 2 * x, 2 + 0 * x),
    "exp": lambda x: (np.exp(x),) * 3,
    "gaussian": lambda x: (np.exp(-x * x), -2 * x * np.exp(-x * x), (4 * x * x - 2) * np.exp(-x * x)),
    "arctan": lambda x: (np.arctan(x), 1 / (1 + x * x), -2 * x / (1 + x * x) ** 2),
}


def bsplines(x, t, degree, outside, orders=3):
    """All functions of one row of knots and their derivatives at x (N,), real or complex: (orders, N, K)."""
    from scipy.interpolate import BSpline, PPoly

    K = len(t) - degree - 1
    padded = np.concatenate([[t[0]] * degree, t, [t[-1]] * degree])
    units = np.eye(K + 2 * degree)[degree : degree + K]
    c = np.stack([PPoly.from_spline(BSpline(padded, unit, degree)).c for unit in units], -1)
    low, high, out = t[degree], t[K], np.zeros((orders, len(x), K), np.result_type(x, float))
    for n, u in enumerate(x):
        for order in range(orders):
            if outside == "zero" or low <= u.real <= high:
                out[order, n] = _piece(c, padded, u, order, left=u.real == (t[-1] if outside == "zero" else high))
            else:
                right = u.real > high
                edge = high if right else low
                value, slope = (_piece(c, padded, edge, k, left=right) for k in (0, 1))
                linear = outside == "linear"
                out[order, n] = [value + linear * (u - edge) * slope, linear * slope, 0 * slope, 0 * slope][order]
    return out


def _piece(c, t, u, order, left):
    """Derivative of the polynomials of u's interval, the one to its left if `left`; 0 beyond all knots."""
    if not t[0] <= u.real <= t[-1]:
        return np.zeros(c.shape[-1])
    i = np.searchsorted(t, u.real, "left" if left else "right") - 1
    d = len(c) - 1
    return sum(math.perm(d - m, order) * c[m, i] * (u - t[i]) ** (d - m - order) for m in range(d + 1 - order))


def weights(layer):
    """The effective spline weights of a layer, (Q, P, K)."""
    W = layer.get("spline", 0)
    if "core" in layer:
        W = np.einsum("abc,qa,pb,kc->qpk", *(layer[name] for name in ("core", "U_out", "U_in", "U_basis")))
        W = layer["frozen"] + layer["alpha"] * W if "frozen" in layer else W
    return W * (layer["scale"] * layer.get("mask", 1))[..., None] if "scale" in layer else W * _mask(layer)[..., None]


def _mask(layer):
    return layer.get("mask", np.ones(1))


def chain(f, z):
    """The jet of f(z) from f, f', f'' at z_0; all with the same axes."""
    return np.stack([f[0], f[1] * z[1], f[2] * z[1] ** 2 + f[1] * z[2]])


def edges(layer, z, numeric=False):
    """Jets of the edge functions, (3, N, Q, P), from the jet z (3, N, P)."""
    if "normalise" in layer:
        z = chain(FUNCTIONS[layer["normalise"]](z[0]), z)
    parts = []
    if "knots" in layer:
        B = [bsplines(z[0, :, p], t, layer["degree"], layer["outside"]) for p, t in enumerate(layer["knots"])]
        parts.append(np.einsum("jnpk,qpk->jnqp", chain(np.stack(B, 2), z[..., None]), weights(layer)))
    if "base" in layer:
        b = chain(FUNCTIONS[layer["base_function"]](z[0]), z)
        parts.append(np.einsum("jnp,qp->jnqp", b, layer["base"] * _mask(layer)))
    if layer.get("formulas") and not numeric:
        Q, phi = 1 + max(q for q, _, _ in layer["formulas"]), []
        Q = parts[0].shape[2] if parts else Q
        phi = np.zeros((3, z.shape[1], Q, z.shape[2]), np.result_type(z, layer["affine"]))
        for (q, p, name), (a, b, c, d) in zip(layer["formulas"], layer["affine"]):
            u = a * z[:, :, p] + np.array([b, 0 * b, 0 * b])[:, None]
            phi[:, :, q, p] = c * chain(FUNCTIONS[name](u[0]), u)
            phi[0, :, q, p] += d
        parts.append(phi)
    return sum(parts)


def sums(layer, z):
    """The jet (3, N, S) of the sums, bias included."""
    u = edges(layer, z).sum(-1)
    return np.concatenate([u[:1] + layer["bias"], u[1:]]) if "bias" in layer else u


def nodes(layer, u):
    """What follows the sums."""
    u = _affine(layer, "subnode", u)
    v, start = [], 0
    for arity in layer.get("arity", [1] * u.shape[-1]):
        y = u[..., start]
        for s in range(start + 1, start + arity):
            w = u[..., s]
            y = np.stack([y[0] * w[0], y[1] * w[0] + y[0] * w[1], y[2] * w[0] + 2 * y[1] * w[1] + y[0] * w[2]])
        v.append(y)
        start += arity
    return _affine(layer, "node", np.stack(v, -1))


def _affine(layer, level, u):
    u = u * layer.get(f"{level}_scale", 1)
    return np.concatenate([u[:1] + layer.get(f"{level}_bias", 0), u[1:]])


def forward(network, x, direction=None):
    """The jet (3, N, m) of a network at x (N, P) along a direction (P,)."""
    z = np.stack([x, np.broadcast_to(0 * x if direction is None else direction, x.shape), 0 * x])
    for layer in network:
        z = nodes(layer, sums(layer, z))
    return z


def values(network, x):
    """(N, m)."""
    return forward(network, x)[0]


# --------------------------------------------------------------------------------------------------------- derivatives


def trained(network):
    """{"layer.array": array} of what is trained, in a fixed order."""
    return {f"{l}.{name}": layer[name] for l, layer in enumerate(network) for name in TRAINED if name in layer}


def replaced(network, arrays):
    """The network with other trained arrays."""
    own = lambda l: {name.split(".")[1]: a for name, a in arrays.items() if name.split(".")[0] == str(l)}
    return [{**layer, **own(l)} for l, layer in enumerate(network)]


def flattened(arrays):
    return np.concatenate([np.ravel(a) for a in arrays.values()])


def unflattened(theta, arrays):
    """{name: part of theta} in the shapes of `arrays`; further axes of theta come first."""
    ends = np.cumsum([np.size(a) for a in arrays.values()])
    parts = np.split(theta, ends[:-1], -1)
    return {name: part.reshape(*part.shape[:-1], *np.shape(a)) for part, (name, a) in zip(parts, arrays.items())}


def gradient(f, network):
    """{name: d f / d array} of a real function f of networks, by complex steps in double precision."""
    arrays = trained(network)
    theta = flattened(arrays)
    moved = (theta + 1j * STEP * e for e in np.eye(len(theta)))
    slopes = [np.imag(f(replaced(network, unflattened(t, arrays)))) / STEP for t in moved]
    return unflattened(np.array(slopes), arrays)


def backward(network, x, target):
    """The gradient of the mean squared error by the chain rule, for sums of splines, base functions and biases alone."""
    z, tape = x, []
    for layer in network:
        B = [bsplines(z[:, p], t, layer["degree"], layer["outside"]) for p, t in enumerate(layer["knots"])]
        tape.append((np.stack(B, 2), FUNCTIONS[layer["base_function"]](z)))
        z = sums(layer, np.stack([z, 0 * z, 0 * z]))[0]
    z_bar, found = 2 * (z - target) / z.size, {}
    for l, layer, (B, b) in reversed(list(zip(range(len(network)), network, tape))):
        found[f"{l}.bias"] = z_bar.sum(0)
        found[f"{l}.spline"] = np.einsum("nq,npk->qpk", z_bar, B[0])
        found[f"{l}.base"] = np.einsum("nq,np->qp", z_bar, b[0])
        slope = np.einsum("qpk,npk->nqp", layer["spline"], B[1]) + np.einsum("qp,np->nqp", layer["base"], b[1])
        z_bar = np.einsum("nq,nqp->np", z_bar, slope)
    return {name: found[name] for name in trained(network)}
