"""Networks with free knots: from fixed knots, and back to them; the function stays.

Training moves weights and knots together (see `kanref.free_knots`). `grids.refine`, and with it nested iteration, halves every
interval, s_j -> s_j, s_j, and the weights follow by Boehm's insertion: the function stays there, too, but for outside="zero",
where it changes beyond the domain, since the exterior knots follow the shorter intervals.
"""

import numpy as np

from kanref.bases import BSpline
from kanref.free_knots import LEAST, FreeKnots
from kanref.grids.rebase import change_terms, chosen_layers


def _change(net, theta, layers, applies, what, change):
    """The network with `change(term, arrays) -> term, arrays` where `applies(term)`, and its theta; ValueError if nowhere."""
    chosen, count = chosen_layers(net, layers), 0

    def one(l, name, term, own):
        nonlocal count
        if l not in chosen or not applies(term):
            return term, own
        count += 1
        return change(term, own)

    changed = change_terms(net, theta, one)
    if not count:
        raise ValueError(f"the chosen layers have no {what}; the network is\n{net!r}")
    return changed


def free(net, theta, layers=None):
    """The same function with knots that are trained, in the B-splines of some layers (all for None).

    Knots must be such as the cumulative softmax makes: strictly increasing, the exterior ones spaced as the interval next to
    them, as uniform ones are (ValueError otherwise).
    """
    has_knots = lambda term: isinstance(getattr(term, "basis", None), BSpline)
    return _change(net, theta, layers, has_knots, "B-splines with fixed knots", _freed)


def fixed(net, theta, layers=None):
    """The same function with the knots where they are now, no longer trained."""
    is_free = lambda term: isinstance(term, FreeKnots)
    return _change(net, theta, layers, is_free, "free knots", lambda term, own: term.fixed(own))


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
