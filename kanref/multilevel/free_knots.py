"""Networks with free knots: from fixed knots, and back to them; the function stays.

Training moves weights and knots together (see `kanref.free_knots`). `grids.refine`, and with it nested iteration, halves every
interval, s_j -> s_j, s_j, and the weights follow by Boehm's insertion: the function stays there, too, but for outside="zero",
where it changes beyond the domain, since the exterior knots follow the shorter intervals.
"""

from dataclasses import replace

import numpy as np

from kanref.bases import BSpline
from kanref.free_knots import LEAST, FreeKnots
from kanref.grids.rebase import chosen_layers, split_layers
from kanref.terms import Linear


def _change(net, theta, layers, kind, change):
    """The network with `change(term, arrays) -> term, arrays` applied to the terms of a kind, and its theta."""
    arrays, new_layers, count = split_layers(net, theta), list(net.layers), 0
    for l in chosen_layers(net, layers):
        layer = net.layers[l]
        for name, term in layer.terms.items():
            if isinstance(term, kind) and not (kind is Linear and not isinstance(term.basis, BSpline)):
                own = {array: arrays[l].pop(f"{name}.{array}") for array in term.arrays}
                term, own = change(term, own)
                arrays[l].update((f"{name}.{array}", a) for array, a in own.items())
                new_layers[l] = replace(new_layers[l], terms={**new_layers[l].terms, name: term})
                count += 1
    if not count:
        what = "B-splines with fixed knots" if kind is Linear else "free knots"
        raise ValueError(f"the chosen layers have no {what}; the network is\n{net!r}")
    return net.rebuilt(new_layers, arrays, np.asarray(theta).dtype)


def free(net, theta, layers=None):
    """The same function with knots that are trained, in the B-splines of some layers (all for None).

    Knots must be such as the cumulative softmax makes: strictly increasing, the exterior ones spaced as the interval next to
    them, as uniform ones are (ValueError otherwise).
    """
    return _change(net, theta, layers, Linear, _freed)


def fixed(net, theta, layers=None):
    """The same function with the knots where they are now, no longer trained."""
    return _change(net, theta, layers, FreeKnots, lambda term, own: term.fixed(own))


def _freed(term, own):
    basis, d = term.basis, term.basis.degree
    tau = basis.knots[:, d : basis.size + 1]
    n, width = basis.intervals, tau[:, -1:] - tau[:, :1]
    q = (np.diff(tau) / width - LEAST / n) / (1 - LEAST)
    if (q <= 0).any():
        p, i = (int(k) for k in np.argwhere(q <= 0)[0])
        raise ValueError(f"interval {i} of input {p} has width {tau[p, i + 1] - tau[p, i]:g}, too small for free knots")
    new = FreeKnots(term.weights, d, tau[:, 0], tau[:, -1], basis.outside)
    spacing = np.log(q) - np.log(q).mean(1, keepdims=True)
    off = np.abs(new.knots(spacing) - basis.knots).max(1) > 1e-9 * width[:, 0]
    if off.any():
        raise ValueError(
            f"input {int(np.argmax(off))} has exterior knots that are not spaced as the interval next to them; free knots "
            "repeat the first and the last spacing"
        )
    return new, {**own, "spacing": spacing}
