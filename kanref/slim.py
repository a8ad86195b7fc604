"""Slim KANs (Gao, Ng and Tan, arXiv 2502.06153; reconstruction): Tucker weights in the place of full ones, all trained.

    W = core x_1 U_out x_2 U_in x_3 U_basis,   r_out r_in r_basis + Q r_out + P r_in + K r_basis numbers instead of Q P K

    slim(net, ranks)                   Tucker weights from scratch
    slimmed(net, theta, ranks)         those of the truncated HOSVD of trained weights; any optimiser trains them on
    choices(net, theta, loss, ranks)   a table of error against parameters, from which to choose

ranks, in all three: a number (cut to the sizes) or (r_out, r_in, r_basis), or {layer: either} for some layers. Edges that a
mask switches off stay off.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kanref.bases import BSpline
from kanref.grids.rebase import change_terms, chosen_layers
from kanref.lotra import names, under_mask
from kanref.network import KAN
from kanref.optimize import Stop
from kanref.tensors import chosen_ranks
from kanref.terms import Linear
from kanref.weights import Tucker
from kanref.words import aligned

BENT = 0.03  # of curved functions in the core at the start, beside 1 of the straight one: layers begin nearly linear


# --------------------------------------------------------------------------------------------------------- from scratch


def slim(net, ranks, *, variance=1 / 3, layers=None, terms=("spline",), seed=0):
    """Tucker weights in the place of full ones, and theta from scratch: net, theta.

    Variance rule: for independent inputs, uniform on the domain, the outputs of a layer have on average this variance, or of it
    the share of the edges that are not masked. 1/3 is that of such inputs on [-1, 1], so that hidden values stay on the knots.

        U_basis   Legendre polynomials P_1, P_2, ... of mean square 1 on the domain, as nearly as splines have them; of a
                  global basis, its functions 1, 2, ... themselves
        U_in      orthonormal columns: the sums of these functions over inputs have variance 1, and are uncorrelated
        U_out     orthogonal columns of squared norm Q/r_out
        core      normal, all but the first function times `BENT`, and |core|^2 = r_out variance

    Equal steps from four normal parts end at larger errors: their functions wiggle, and with outputs of variance 1 hidden values
    lie outside of the knots (tutorial 15 trains from both).
    Raises ValueError or TypeError for ranks that do not fit, and if no layer has such terms, or one that is not linear.
    """
    if not 0 < variance < np.inf:
        raise ValueError(f"variance must be positive and finite, but it is {variance}")
    rng = np.random.default_rng(seed)

    def tucker(term, own, ranks):
        kind = Tucker(term.weights.shape, chosen_ranks(np.empty(term.weights.shape), ranks))
        return kind, start(kind, term.basis, variance, rng)

    return _changed(net, net.init(rng), tucker, ranks, layers, terms)


def start(kind, basis, variance, rng):
    """The arrays of Tucker weights by the variance rule of `slim`."""
    (Q, P, _), (r_out, r_in, r_basis) = kind.shape, kind.ranks
    orthonormal = lambda size, rank: np.linalg.qr(rng.normal(size=(size, rank)))[0]
    core = rng.normal(size=kind.ranks) * np.where(np.arange(r_basis) > 0, BENT, 1)
    return {
        "core": core * (r_out * variance) ** 0.5 / np.linalg.norm(core),
        "U_out": orthonormal(Q, r_out) * (Q / r_out) ** 0.5,
        "U_in": orthonormal(P, r_in),
        "U_basis": smooth(basis, P)[:, :r_basis],
    }


def smooth(basis, inputs):
    """U (K, K): the columns are smooth functions of mean square 1 on the domain (or [-1, 1]), the constant last; see `slim`."""
    local = isinstance(basis, BSpline)
    points, ends = max(200, 4 * basis.size), np.array([[-1.0, 1.0]] * inputs)  # enough to determine all functions
    s = ((np.arange(points) + 0.5) / (points / 2) - 1)[:, None]
    low, high = (basis.domain if local else ends).T
    first, values = basis.derivatives((low + high) / 2 + s * (high - low) / 2, 0)
    B = np.zeros((*first.shape, basis.size))
    np.put_along_axis(B, first[..., None] + np.arange(basis.window), values[0], -1)
    degrees = np.roll(np.arange(basis.size), -1)
    polynomials = np.polynomial.legendre.legvander(s[:, 0], basis.size - 1)
    U = (np.linalg.lstsq(B.mean(1), polynomials, rcond=None)[0] if local else np.eye(basis.size))[:, degrees]
    return U / np.sqrt(np.square(B @ U).mean((0, 1)))


# ------------------------------------------------------------------------------------------------- from trained weights


def slimmed(net, theta, ranks=None, *, tolerance=None, energy=None, layers=None, terms=("spline",)):
    """Tucker weights in the place of the trained ones, by truncated HOSVD: net, theta.

    ranks, tolerance, energy: exactly one of them, see `tensors.chosen_ranks`; the latter two choose for every layer. Masks are
    written out before the cut, and what it brings back to edges that are off is masked again.

    Nearest in norm is not nearest in function: weights keep what they began with where training did not need a change, and
    a cut takes from both alike. Expect a large error before, and a small one after some more steps.
    """

    def tucker(term, own, ranks):
        W = term.weights.tensor(own)
        kind = Tucker(W.shape, chosen_ranks(W, ranks, tolerance, energy))
        return kind, kind.start(W)

    return _changed(net, theta, tucker, ranks, layers, terms)


def _changed(net, theta, tucker, ranks, layers, terms):
    """The network with tucker(term, arrays, ranks) -> (weights, arrays) applied to the terms of those names."""
    if isinstance(ranks, dict) and layers is not None:
        raise ValueError("ranks that name layers leave no choice of layers; leave one of the two away")
    chosen, terms = chosen_layers(net, list(ranks) if isinstance(ranks, dict) else layers), names(terms)
    count = 0

    def change(l, name, term, own):
        nonlocal count
        if l not in chosen or name not in terms:
            return term, own
        if not isinstance(term, Linear):
            raise TypeError(f"layer {l} has a term {name!r} of type {type(term).__name__}; only linear terms have a tensor")
        count += 1
        weights, own = tucker(term, own, ranks[l] if isinstance(ranks, dict) else ranks)
        return Linear(term.basis, under_mask(weights, term.weights)), own

    changed = change_terms(net, theta, change)
    if not count:
        raise ValueError(f"no layer has terms named {', '.join(terms)}; the network is\n{net!r}")
    return changed


# ---------------------------------------------------------------------------------------------------------- which ranks


@dataclass(frozen=True, eq=False)
class Choice:
    """A Slim network: its ranks, its errors before and after training it on (None without), and itself."""

    ranks: object
    before: float
    after: float | None
    net: KAN = field(repr=False)
    theta: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class Choices:
    """Error against parameters: a full network, and Slim ones of several ranks. Printed, it is a table."""

    size: int
    error: float
    rows: tuple[Choice, ...]

    def __repr__(self):
        trained = any(row.after is not None for row in self.rows)
        head = ["ranks", "parameters", "times fewer", "error", *["trained on"] * trained]
        lines = [head, ["full", self.size, "", f"{self.error:.2e}", *[""] * trained]]
        for row in self.rows:
            errors = [f"{error:.2e}" for error in (row.before, row.after) if error is not None]
            lines.append([row.ranks, row.net.size, f"{self.size / row.net.size:.1f}", *errors])
        return aligned(lines)


def choices(net, theta, loss, ranks=(1, 2, 3, 4, 6, 8), *, minimise: Callable | None = None, measure: Callable | None = None):
    """Slim networks from trained weights for several ranks, beside the full one: `Choices`.

    loss: net -> objective. ranks: a list of what `slimmed` takes. minimise: (objective, theta) -> `Result`, as
    functools.partial(lbfgs, steps=100); None does not train on. measure: (net, theta) -> error, on data that were not trained
    on, best; by default the loss itself. Ctrl-C while a row is trained ends the table with that row.

        table = choices(net, theta, lambda net: mse(net, x, y), minimise=partial(lbfgs, steps=100))
        print(table); net, theta = table.rows[3].net, table.rows[3].theta
    """
    measure = measure or (lambda net, theta: loss(net).value(theta))
    rows = []
    for wanted in ranks:
        small, few = slimmed(net, theta, wanted)
        before, after = float(measure(small, few)), None
        if minimise is not None:
            result = minimise(loss(small), few)
            few, after = result.theta, float(measure(small, result.theta))
        rows.append(Choice(wanted, before, after, small, few))
        if minimise is not None and result.reason is Stop.INTERRUPTED:
            break
    return Choices(net.size, float(measure(net, theta)), tuple(rows))
