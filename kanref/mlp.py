"""Multilayer perceptrons, the networks that the papers compare with, under the contract of a KAN.

An MLP is a KAN with one fixed function on every edge: x_{l+1,q} = sum_p W[q,p] sigma(x_{l,p}) + b_q, sigma the identity in
the first layer. So jets, objectives, Levenberg-Marquardt, `Model` and files serve both, and a comparison of the two
compares networks, not programs.

`start` draws what torch.nn.Linear starts from. `net.init(seed)` serves too: weights N(0, 1/P) for P inputs (LeCun's rule),
but biases 0, so that the bends of all first units lie on hyperplanes through the origin.
"""

import numpy as np

from kanref import arrays as border
from kanref import bases
from kanref.bases import Pointwise
from kanref.network import KAN, MAX_SIZE, MAX_WIDTH, Layer
from kanref.terms import Linear
from kanref.weights import Full

relu = Pointwise(
    "relu", (lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, 0), np.zeros_like, np.zeros_like)
)  # the slope at 0 is 0, the delta there is left out

ACTIVATIONS = {f.name: f for f in (bases.tanh, bases.silu, bases.sin, bases.sigmoid, relu)}


def mlp(widths, activation="tanh"):
    """The network A_{L-1} sigma ... A_1 sigma A_0 of affine maps A_l, for widths [n, hidden, ..., m].

    activation: "tanh", "silu", "sin", "sigmoid", "relu", or a `Pointwise`. Losses with second derivatives of the network
        need a smooth one.
    The parameters are {l.linear.W: (out, in, 1)} and {l.bias: (out,)}: sum_l (n_l + 1) n_{l+1} numbers.
    Raises ValueError or TypeError for widths that are no list of at least two positive numbers.
    """
    if not isinstance(widths, (list, tuple)) or len(widths) < 2:
        raise ValueError(f"widths must list at least inputs and outputs, as [2, 100, 100, 1], but it is {widths!r}")
    widths = [border.integer(width, f"widths[{l}]", 1, MAX_WIDTH) for l, width in enumerate(widths)]
    size = sum((P + 1) * Q for P, Q in zip(widths, widths[1:]))
    if size > MAX_SIZE:
        raise ValueError(f"widths {widths} make {size:.1e} parameters; at most {MAX_SIZE:.0e} are allowed")
    if not isinstance(activation, Pointwise):
        activation = ACTIVATIONS[border.choice(activation, "activation", tuple(ACTIVATIONS))]
    functions = [bases.identity] + [activation] * (len(widths) - 2)
    shapes = zip(widths[1:], widths)
    return KAN(tuple(Layer({"linear": Linear(f, Full((Q, P, 1)))}, bias=True) for f, (Q, P) in zip(functions, shapes)))


def start(net, seed=0):
    """theta of an MLP: weights and biases U(-1/sqrt P, 1/sqrt P), P inputs of a layer, as torch.nn.Linear starts.

    seed: an integer or a `numpy.random.Generator`.
    """
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    reach = net.spread(
        {f"{l}.{name}": layer.inputs**-0.5 for l, layer in enumerate(net.layers) for name in layer.arrays}
    )
    return rng.uniform(-reach, reach)
