"""Slim KANs (Gao, Ng and Tan, arXiv 2502.06153; reconstruction): Tucker weights in the place of full ones, all trained.

    W = core x_1 U_out x_2 U_in x_3 U_basis

    slim(net, ranks)                Tucker weights from scratch
    slimmed(net, theta, ranks)      those nearest to trained weights, by HOSVD
"""

import numpy as np

from kanref.bases import BSpline
from kanref.grids.rebase import change_terms, chosen_layers
from kanref.initialise import mean_square
from kanref.tensors import chosen_ranks
from kanref.terms import Linear
from kanref.weights import Tucker


def slim(net, ranks, *, layers=None, terms=("spline",), seed=0):
    """Tucker weights in the place of full ones, and theta from scratch: net, theta.

    Variance rule (reconstruction): U_in N(0, 1/P), U_basis N(0, 1) (local) or N(0, 1/K) (global), U_out N(0, 1/r_out), core
    N(0, 1/(m r_in r_basis)) with m the mean over x of sum_i b_i(x)^2 (0.479 for cubic splines) or 1/K of it, so that the
    outputs of a layer have variance 1.
    """
    rng = np.random.default_rng(seed)
    chosen = chosen_layers(net, layers)

    def change(l, name, term, own):
        if l not in chosen or name not in terms:
            return term, own
        kind = Tucker(term.weights.shape, chosen_ranks(np.empty(term.weights.shape), ranks))
        (_, P, K), (r_out, r_in, r_basis) = kind.shape, kind.ranks
        local = isinstance(term.basis, BSpline)
        basis_variance = 1.0 if local else 1 / K
        spread = mean_square(term.basis, P) * basis_variance
        variances = {"core": 1 / (spread * r_in * r_basis), "U_out": 1 / r_out, "U_in": 1 / P, "U_basis": basis_variance}
        return Linear(term.basis, kind), {array: rng.normal(0, v**0.5, kind.arrays[array]) for array, v in variances.items()}

    return change_terms(net, net.init(rng), change)


def slimmed(net, theta, ranks=None, *, tolerance=None, energy=None, layers=None, terms=("spline",)):
    """Tucker weights nearest to the trained ones, by truncated HOSVD: net, theta.

    ranks, tolerance, energy: see `tensors.chosen_ranks`; masks are written out, as zeros are no obstacle to a low rank.
    """
    chosen = chosen_layers(net, layers)

    def change(l, name, term, own):
        if l not in chosen or name not in terms:
            return term, own
        W = term.weights.tensor(own)
        kind = Tucker(W.shape, chosen_ranks(W, ranks, tolerance, energy))
        return Linear(term.basis, kind), kind.start(W)

    return change_terms(net, theta, change)
