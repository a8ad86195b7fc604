"""Any new knots, by least squares that cannot fail silently.

For every input, the curves of all its edges move to the new B-splines B' by one matrix, c' = R c. With samples x_n and
the domain [a, b] of the new knots, the new curve g minimises

    1/N sum_n (g(x_n) - f(x_n))^2 + prior/(b - a) int_a^b (g - f)^2 dx

where f is the old curve, inside and outside its domain. The integral is exact: Gauss points on the spans of both rows.
It keeps the old curve where there are no samples, so the problem stays well posed: if some spline on the new knots is
within delta of f everywhere, then g is within sqrt(1 + prior) delta of f on the samples and within sqrt(1 + 1/prior)
delta on the domain, both as root mean squares. Without samples it is the projection in L^2. With prior = 0 it is the
paper's fit to samples alone (Liu et al., eq. 2.16), where empty spans leave coefficients undetermined and sparse
samples let them explode.

In every case R = pinv(B'_) B_ by a complete orthogonal factorisation with a rank decision (LAPACK gelsy): the
minimum-norm solution, whose rank is reported. Two libraries do otherwise, and `refit` does what they do:

    "efficient"   trained scales w_s enter twice: c' = w_s R c where R c is right, and the edge becomes w_s^2 R c
    "jaxkan"      normal equations by Cholesky's factorisation: R = (B'^T B')^-1 B'^T B; ValueError where B'^T B' is
                  singular to rounding, as with intervals without samples: jaxKAN has NaN there
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lstsq

from kanref.arrays import choice, integer, points
from kanref.grids.rebase import chosen_layers, join_layers, rebase, splines, split_layers
from kanref.grids.rules import knots_from_samples
from kanref.optimize.threads import one_blas_thread
from kanref.weights import Full, Masked, Scaled

REFITS = "kanref", "efficient", "jaxkan"
PRIOR = 0.01  # the samples' error grows by half a per cent at most, and stays within 10 delta between them


@dataclass(frozen=True, eq=False)
class Transfer:
    """What a least-squares change of knots did to one term.

    name: "layer.term"; columns: K', the functions on the new knots; rank: (P,) of each input's least squares, below
    `columns` if samples left some undetermined; error: (P,) largest change of an edge's curve over all samples, those
    outside the new domain included, or over the domain if there are none.
    """

    name: str
    columns: int
    rank: np.ndarray
    error: np.ndarray


def update_from_samples(
    net, theta, x, rule="kanref", mix=None, layers=None, *, intervals=None, prior=None, refit="kanref"
):
    """Moves knots to where the inputs of every layer are, and refits: new network and theta, list of `Transfer`.

    Layer by layer, with inputs computed by the layers updated before: new knots for what the splines see (after the
    layer's own `normalise`) by `knots_from_samples`, then the least squares above. The network keeps its values on x up
    to the fit; beyond the new domains it has new ones.

    x: (N, n) samples. rule, mix: see `kanref.grids.rules`. layers: which to change, all for None. intervals: a new
    number of them (jaxKAN's update_grids). prior: None is 0.01 for rule "kanref", and 0 for the others, which fit the
    samples alone as those libraries do. Weights change by W x_3 R: scales and masks stay as they are, and enter once.
    refit: see the module's text; with the rule of the same name, another library's update with its faults.
    For outside="error" an old curve is continued straight beyond its domain.
    """
    choice(refit, "refit", REFITS)
    if intervals is not None:
        integer(intervals, "intervals", 1, 10**7)
    dtype = np.asarray(theta).dtype
    if prior is None:
        prior = PRIOR if rule == "kanref" else 0.0

    def knots(basis, z):
        return knots_from_samples(z.astype(dtype), intervals or basis.intervals, basis.degree, rule, mix)

    return _refit(net, theta, points(x, net.inputs, dtype=np.float64), layers, knots, prior, refit)


def extend(net, theta, intervals, x=None, layers=None, *, prior=PRIOR):
    """Another number of intervals on the same domains, finer or coarser: new network and theta, list of `Transfer`.

    New interior knots are the old ones resampled piecewise linearly at intervals + 1 equal steps of their index, as in
    pykan: a grid keeps its density. Exterior knots keep their distances in proportion, as pykan's do on its own grids.
    Coefficients by the least squares above, on the domains alone, or with samples x (N, n); those outside a domain are
    left out. If the old interior knots are among the new ones, as for a multiple of the old number, the function on the
    domain stays to rounding.

    Outside the domain, outside="zero" fades over the new exterior knots: there `refine` is exact, this is not.
    """
    intervals = integer(intervals, "intervals", 1, 10**7)

    def knots(basis, z):
        d, G = basis.degree, basis.intervals
        inner = basis.knots[:, d : d + G + 1]
        at = np.arange(intervals + 1) * G / intervals
        inner = np.stack([np.interp(at, np.arange(G + 1), row) for row in inner])
        left = inner[:, :1] + (basis.knots[:, :d] - inner[:, :1]) * (G / intervals)
        right = inner[:, -1:] + (basis.knots[:, d + G + 1 :] - inner[:, -1:]) * (G / intervals)
        return np.hstack([left, inner, right])

    return _refit(net, theta, None if x is None else points(x, net.inputs, dtype=np.float64), layers, knots, prior)


def _refit(net, theta, x, layers, knots, prior, refit="kanref"):
    """Layer by layer: knots(basis, z) -> rows for each B-spline term, and the weights that fit them."""
    if not prior >= 0:
        raise ValueError(f"prior must be at least 0, but it is {prior!r}")
    chosen, arrays, report = chosen_layers(net, layers), split_layers(net, theta), []
    new_layers, z = list(net.layers), x
    for l, layer in enumerate(net.layers):
        for name, basis in splines(layer).items() if l in chosen else ():
            seen = z
            if z is not None and layer.normalise is not None:
                seen = layer.normalise.derivatives(z, 0)[1][0, ..., 0]
            new = replace(basis, knots=knots(basis, seen))
            term = layer.terms[name]
            W = term.weights.tensor({key: arrays[l][f"{name}.{key}"] for key in term.arrays})
            again = _scale(term.weights, f"{l}.{name}", arrays[l], name) if refit == "efficient" else None
            R, rank, error = _transfer(basis, new, W, seen, prior, refit, again)
            report.append(Transfer(f"{l}.{name}", new.size, rank, error))
            new_layers[l], arrays[l] = rebase(new_layers[l], arrays[l], name, new, R)
            if again is not None:
                arrays[l][f"{name}.W"] = arrays[l][f"{name}.W"] * again[:, :, None]
        if z is not None and l + 1 < len(net.layers):
            z = new_layers[l].forward(arrays[l], z[None])[0][0]
    return *join_layers(net, new_layers, arrays, np.asarray(theta).dtype), report


def _scale(weights, place, arrays, name):
    """The scales (Q, P) that efficient-kan multiplies twice; None if there are none."""
    if isinstance(weights, Masked):
        return _scale(weights.inner, place, arrays, name)
    if not isinstance(weights, Scaled):
        return None
    if not isinstance(weights.inner, Full):
        inner = type(weights.inner).__name__
        raise ValueError(f'refit="efficient" multiplies stored coefficients, but {place} has scales of {inner} weights')
    return arrays[f"{name}.scale"]


def _transfer(old, new, W, x, prior, refit, again):
    """R (P, K', K), rank (P,) and error (P,) for all inputs; without samples, rows that are equal are solved once."""
    R, rank, error, solved = [], [], [], {}
    for p in range(old.inputs):
        key = (old.knots[p].tobytes(), new.knots[p].tobytes())
        one = [replace(basis, knots=basis.knots[p : p + 1]) for basis in (old, new)]
        if x is not None:
            at, (M, r) = x[:, p], transfer_matrix(*one, _inside(new.domain[p], x[:, p]), prior, refit)
        elif key in solved:
            at, (M, r) = solved[key]
        else:
            at, (M, r) = solved[key] = _gauss(*one)[0], transfer_matrix(*one)
        B, B_new = _values(one, at)
        R.append(M)
        rank.append(r)
        w = W[:, p].T
        change = (B_new @ M - B) @ w if again is None else B_new @ M @ (w * again[:, p]) - B @ w
        error.append(np.abs(change).max())
    return np.stack(R), np.array(rank), np.array(error)


def _inside(domain, x):
    """The samples in the domain, which its edges may miss by rounding."""
    slack = 8 * np.finfo(float).eps * np.abs(domain).max()
    return x[(domain[0] - slack <= x) & (x <= domain[1] + slack)]


@one_blas_thread()
def transfer_matrix(old, new, x=None, prior=PRIOR, refit="kanref"):
    """R (K', K) from the B-splines `old` to `new`, of one input each, and its rank.

    x: (N,) samples, None for the projection on the domain of `new`. refit: see the module's text. Raises ValueError if
    there is nothing to fit: no sample and prior = 0.
    """
    parts = []
    if x is not None and len(x):
        parts.append((x, np.full(len(x), 1 / len(x))))
    if x is None or prior > 0:
        g, w = _gauss(old, new)
        parts.append((g, w if x is None else prior * w))
    if not parts:
        raise ValueError(
            "no sample lies in the domain of the new knots, and prior is 0; give prior > 0 or samples that reach it"
        )
    at, weight = (np.concatenate(part) for part in zip(*parts))
    B, B_new = (np.sqrt(weight)[:, None] * values for values in _values((old, new), at))
    if refit == "jaxkan":
        return _by_normal_equations(B_new, B)
    cut = np.finfo(float).eps * max(B_new.shape)
    R, _, rank, _ = lstsq(B_new, B, cond=cut, lapack_driver="gelsy", check_finite=False)
    return R, int(rank)


def _by_normal_equations(B_new, B):
    """R and its rank."""
    gram = B_new.T @ B_new
    sizes = np.linalg.eigvalsh(gram)
    if sizes[0] <= np.finfo(float).eps * sizes[-1]:  # Cholesky's factorisation may still run through, by luck
        raise ValueError(
            f"the normal equations of {len(gram)} B-splines on their samples are singular, for which jaxKAN has NaN; give "
            'more samples, fewer intervals, or refit="kanref" for the solution of least norm'
        )
    return cho_solve(cho_factor(gram, check_finite=False), B_new.T @ B, check_finite=False), len(gram)


def _gauss(old, new):
    """degree + 1 Gauss points on every span of both rows in the domain of `new`, and weights that sum to one."""
    low, high = new.domain[0]
    breaks = np.unique(np.clip(np.concatenate([old.knots[0], new.knots[0], [low, high]]), low, high))
    u, w = np.polynomial.legendre.leggauss(max(old.degree, new.degree) + 1)
    half = np.diff(breaks)[:, None] / 2
    return ((breaks[:-1, None] + half) + half * u).ravel(), (half * w / (high - low)).ravel()


def _values(bases, at):
    """Every function of one-input B-splines at points (N,): (N, K) each. Where the policy is to refuse, straight on."""
    continued = (replace(b, outside="linear") if b.outside == "error" else b for b in bases)
    at = np.ascontiguousarray(at)[:, None]
    return [b.dense(at)[:, 0] for b in continued]
