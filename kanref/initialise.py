"""Starting values by name: the three generations of the KAN paper, a default, and variance-preserving rules.

| scheme          | base weights w_b           | w_s (if trained) | spline coefficients c                     |
|-----------------|----------------------------|------------------|-------------------------------------------|
| "kanref"        | N(0, 1/P)                  | 1                | N(0, (0.1/G)^2), smooth; see below        |
| "paper"         | U(-a, a), a^2 = 6/(P + Q)  | 1                | N(0, 0.1^2)  (footnote 2; Xavier)         |
| "pykan-0.0"     | 1/sqrt(P) + 0.1 N(-1, 4)   | 1                | noise of amplitude 0.1/G                  |
| "pykan-0.2.8"   | U(-1, 1)/sqrt(P)           | 1/sqrt(P)        | noise of amplitude 0.3/G                  |
| "efficient-kan" | U(-1, 1)/sqrt(P)           | U(-1, 1)/sqrt(P) | noise of amplitude 0.1/G                  |
| "lecun"         | N(0, 1/P)                  | 1                | N(0, 1/(P K))                             |
| "glorot"        | N(0, 2/(P + Q))            | 1                | N(0, 2/((P + Q) K))                       |

P inputs, Q outputs, K functions, G intervals. "noise" means: uniform values in [-amplitude/2, amplitude/2] at the G + 1
grid points, turned into coefficients by minimum-norm least squares, as both pykan generations and efficient-kan do.
pykan-0.0 meant a centred uniform draw and wrote N(-1, 4); the code is followed. If w_s is not trained, pykan-0.2.8's
1/sqrt(P) is folded into c. "paper" is jaxKAN's default, too.

The default starts from smooth edges, because training from wiggly ones ends in local minima more often. A layer without
a base branch starts as a random linear map a_{q,p} x_p, a ~ N(0, 1/P), which splines represent exactly by the Greville
abscissae xi_i = mean(t_{i+1}, ..., t_{i+d}): c = a xi + N(0, (0.1/G)^2).

Terms of other bases start with variance 1/(P mean_x sum_i b_i(x)^2), measured on [-1, 1]; plain matrices N(0, 1/P);
biases 0; affine nodes the identity. Draws are independent for every layer, from one Generator.
"""

import numpy as np

from kanref import bases
from kanref.arrays import choice
from kanref.bases import BSpline, Pointwise
from kanref.terms import Linear
from kanref.weights import Masked, Scaled

AMPLITUDE = {"pykan-0.0": 0.1, "pykan-0.2.8": 0.3, "efficient-kan": 0.1}  # times 1/G, of noise
SCHEMES = ("kanref", "paper", *AMPLITUDE, "lecun", "glorot")


def initial(net, seed, scheme):
    """theta for a network; `seed` is an integer or a `numpy.random.Generator`."""
    choice(scheme, "scheme", SCHEMES)
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    arrays = {}
    for l, layer in enumerate(net.layers):
        kinds = [getattr(term, "basis", None) for term in layer.terms.values()]
        base = any(isinstance(basis, Pointwise) and basis is not bases.zero for basis in kinds)
        splines = any(isinstance(basis, BSpline) for basis in kinds)
        for name, term in layer.terms.items():
            own = (
                term.weights.start(draw(term, rng, scheme, base, splines))
                if isinstance(term, Linear)
                else term.start(rng)
            )
            if "scale" in own and scheme == "pykan-0.2.8":
                own["scale"] = np.full(own["scale"].shape, layer.inputs**-0.5)
            if "scale" in own and scheme == "efficient-kan":
                own["scale"] = rng.uniform(-1, 1, own["scale"].shape) / np.sqrt(layer.inputs)
            arrays.update((f"{l}.{name}.{array}", value) for array, value in own.items())
        if layer.bias:
            arrays[f"{l}.bias"] = np.zeros(layer.sums)
        if layer.nodes:
            arrays.update((f"{l}.{name}", value) for name, value in layer.nodes.start().items())
    return net.join(arrays)


def draw(term, rng, scheme, base, splines):
    """A random tensor (Q, P, K) for one term; `base`, `splines`: what its layer has."""
    Q, P, K = term.weights.shape
    if isinstance(term.basis, BSpline):
        if scheme == "paper":
            return rng.normal(0, 0.1, (Q, P, K))
        if scheme in AMPLITUDE:
            noise = spline_noise(term.basis, Q, AMPLITUDE[scheme], rng)
            return noise if scheme != "pykan-0.2.8" or trains_scale(term.weights) else noise / np.sqrt(P)
        if scheme in ("lecun", "glorot"):
            return rng.normal(0, np.sqrt((1 / P if scheme == "lecun" else 2 / (P + Q)) / K), (Q, P, K))
        slope = 0.0 if base else rng.normal(0, P**-0.5, (Q, P, 1))
        return slope * greville(term.basis) + rng.normal(0, 0.1 / term.basis.intervals, (Q, P, K))
    if term.basis is bases.identity and not splines:
        return rng.normal(0, P**-0.5, (Q, P, K))
    if K == 1:
        if scheme == "paper":
            a = np.sqrt(6 / (P + Q))
            return rng.uniform(-a, a, (Q, P, 1))
        if scheme == "pykan-0.0":
            return P**-0.5 + 0.1 * rng.normal(-1, 2, (Q, P, 1))
        if scheme in ("pykan-0.2.8", "efficient-kan"):
            return rng.uniform(-1, 1, (Q, P, 1)) / np.sqrt(P)
        if scheme in ("lecun", "glorot"):
            return rng.normal(0, np.sqrt(1 / P if scheme == "lecun" else 2 / (P + Q)), (Q, P, 1))
        return rng.normal(0, P**-0.5, (Q, P, 1))
    return rng.normal(0, (P * mean_square(term.basis, P)) ** -0.5, (Q, P, K))


def trains_scale(weights):
    """Whether w_s is among the trained arrays."""
    return isinstance(weights, Scaled) or (isinstance(weights, Masked) and trains_scale(weights.inner))


def mean_square(basis, P):
    """Mean over x in [-1, 1] and inputs of sum_i b_i(x)^2."""
    x = np.broadcast_to((np.arange(1000)[:, None] + 0.5) / 500 - 1, (1000, P))
    return float((basis.derivatives(x, 0)[1] ** 2).sum(-1).mean())


def greville(basis):
    """xi_i = (t_{i+1} + ... + t_{i+d})/d, (P, K): the coefficients of the function x (span midpoints for degree 0)."""
    if basis.degree == 0:
        return (basis.knots[:, :-1] + basis.knots[:, 1:]) / 2
    windows = np.lib.stride_tricks.sliding_window_view(basis.knots[:, 1:-1], basis.degree, axis=1)
    return windows.mean(-1)


def spline_noise(basis, Q, amplitude, rng):
    """Coefficients of curves that are uniform noise at the grid points, (Q, P, K)."""
    G, d = basis.intervals, basis.degree
    grid = basis.knots[:, d : d + G + 1].T  # (G+1, P)
    noise = (rng.random((G + 1, basis.inputs, Q)) - 0.5) * amplitude / G
    B = basis.dense(grid)
    return np.stack([np.linalg.lstsq(B[:, p], noise[:, p], rcond=None)[0].T for p in range(basis.inputs)], 1)
