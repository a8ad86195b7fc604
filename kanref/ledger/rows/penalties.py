"""Scales and penalties: that they mean what they are called."""

from math import log

import numpy as np

from kanref import bases, sparsify
from kanref.ledger.row import Row
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Full

# ------------------------------------------------------------------------------------------------------------------ B11

X = np.linspace(-1, 1, 21)[:, None] * [1, 1]


def edges(mask, scale):
    """A layer [2, 2] of splines that are 1 where mask is, times scales: net, theta."""
    net = kan([2, 2], intervals=5, base=None, scaled=True)
    (term,) = net.layers[0].terms.values()
    ones = np.ones((2, 2, term.basis.size))
    return net, net.join({"0.spline.W": ones * mask[..., None], "0.spline.scale": np.full((2, 2), scale)})


def scales(metric="paper"):
    net = kan([16, 16], intervals=5, base=None, scaled=True)
    start, x = net.init(0), np.repeat(X[:, :1], 16, 1)

    def size(scale):
        views = {name: a.copy() for name, a in net.split(start).items()}
        views["0.spline.scale"] *= scale
        return sparsify.magnitudes(net, net.join(views), x)[0].sum()

    def penalty(mask, scale, **weights):
        net, theta = edges(np.array(mask), scale)
        return sparsify.penalty(net, X, metric, **weights).value(theta)

    three, four = [[0, 1], [1, 1]], [[1, 1], [1, 1]]
    return {
        "size at scale 1/2, 2, 10": [size(s) / size(1) for s in (0.5, 2, 10)],
        "entropy with an edge at 0": penalty(three, 1, l1=0),
        "penalty of a thousandth": penalty(four, 1e-3, entropy=0) / penalty(four, 1, entropy=0),
    }


B11 = Row(
    number="B11",
    title="Larger scales make larger edges, and the penalty sees them; 0 log 0 is 0",
    peers=("efficient_kan",),
    right=lambda: {
        "size at scale 1/2, 2, 10": [1 / 2, 2, 10],
        "entropy with an edge at 0": log(3),
        "penalty of a thousandth": 1e-3,
    },
    ours=scales,
    derivation="""A scale multiplies. The entropy -sum p log p of three equal edges and one that is zero is log 3, since
        p log p goes to 0 with p; the magnitude of a spline times 1e-3 is 1e-3 of its magnitude. efficient-kan, which by
        default has a scaler for every edge, gives scale_spline to an initialisation of it that draws uniformly up to
        sqrt(6/((1 + 5 scale^2) inputs)), which falls as the scale rises: 1.63, 0.53, 0.11 instead of 0.5, 2, 10. Its
        penalty takes the coefficients without the scaler that multiplies them, and log 0 of an edge at zero.""",
    reproduce="""Mean size of a layer's starting splines at scales 1/2, 2, 10 (the spline's scale) over that at 1, all
        from one seed; the entropy of a layer [2, 2] whose splines are 1, one of them 0; with none of them 0, its L1
        after the scales were multiplied by 1e-3, over that before.""",
    switch='kanref.sparsify.penalty(net, x, metric="efficient-kan"), of which an edge at 0 makes no NaN',
)

# ------------------------------------------------------------------------------------------------------------------ B28


def lines(*weights):
    """Edges w x from one input: net, theta."""
    return KAN((Layer({"base": Linear(bases.identity, Full((len(weights), 1, 1)))}),)), np.array(weights)


def of_lines(l1, entropy, *weights, metric="paper"):
    """The penalty of edges w x at x = 1 and -1."""
    net, theta = lines(*weights)
    return sparsify.penalty(net, np.array([[1.0], [-1.0]]), metric, l1, entropy).value(theta)


def entropies(metric="paper", scheme="kanref"):
    w = kan([64, 64]).split(kan([64, 64]).init(0, scheme))["0.base.W"]
    return {
        "L1 of 3x and -x": of_lines(1, 0, 3.0, -1.0, metric=metric),
        "their entropy": of_lines(0, 1, 3.0, -1.0, metric=metric),
        "1024 times as large": of_lines(0, 1, 3072.0, -1024.0, metric=metric),
        "of one edge": of_lines(0, 1, 3.0, metric=metric),
        "w_b beyond 3 sigma": bool((np.abs(w) > 3 * w.std()).any()),
    }


def entropies_right():
    S = -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4))
    return {
        "L1 of 3x and -x": 4,
        "their entropy": S,
        "1024 times as large": S,
        "of one edge": 0,
        "w_b beyond 3 sigma": True,
    }


B28 = Row(
    number="B28",
    title="L1 and entropy of edges as the paper defines them, starting values as documented",
    peers=("pykan",),
    right=entropies_right,
    ours=entropies,
    derivation="""Liu et al., eq. 2.17-2.19: the magnitude of an edge is its mean absolute value, 3 and 1 at x = 1, -1;
        L1 is their sum, the entropy -sum p ln p with p = V/sum V = 3/4, 1/4: the same for edges 1024 times as large,
        and 0 for one edge. pykan takes standard deviations over 0.1 + those of the input, probabilities V/(1 + sum V)
        along rows and along columns, means of -sum p log2(p + 1e-4): 3.74, and 1.33, 0.81 and 0.65. Its base weights
        are said to be normal (4096 normal draws all within 3 sigma: a chance of 2e-5), but are uniform, which ends at
        sqrt(3) sigma.""",
    reproduce="""Edges 3x and -x from one input at x = 1 and -1: L1, entropy, entropy of 1024 times the edges, and of
        the first edge alone; whether any of 4096 base weights of a new layer [64, 64] is beyond 3 standard
        deviations.""",
    switch='kanref.sparsify.penalty(net, x, metric="pykan-0.2.8"), net.init(seed, scheme="pykan-0.2.8")',
)

ROWS = (B11, B28)
