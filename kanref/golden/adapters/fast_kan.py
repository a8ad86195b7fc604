"""fast-kan behind the protocol, as far as it is a KAN: it is another model, so almost nothing can be asked.

Its layers mix Gaussians of inputs that pass a layer norm first, which couples them: the edges are no functions of one
variable, and no choice of numbers makes them B-splines. What it shares with others is the base function.
"""

from types import SimpleNamespace

import torch.nn.functional as functional
from fastkan import FastKANLayer

from kanref.golden.adapters.autograd import derivative


def base_function(name, x, order):
    if name != "silu":
        raise NotImplementedError("the base activation is silu")
    return derivative(functional.silu, x, order)


def forward(network, x):
    raise NotImplementedError(
        f"{FastKANLayer.__name__} mixes Gaussians of normalised inputs, not B-splines of single ones (ledger B32)"
    )


adapter = SimpleNamespace(library="fast_kan", base_function=base_function, forward=forward)
