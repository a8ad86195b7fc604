"""Knot insertion: the same function in more B-splines, exactly.

If the knots t are among the knots t', every B-spline on t is a sum of those on t' on the whole line,
B_i = sum_j R[j,i] B'_j, and weights follow as W x_3 R. For one new knot tau this is Boehm's rule

    c'_i = a_i c_i + (1 - a_i) c_{i-1},   a_i = (tau - t_i)/(t_{i+d} - t_i) kept within [0, 1];

`insertion_matrix` inserts any number at once. Dyadic refinement halves every span (multilevel paper). What it does to
the exterior knots matters, because hidden values do leave the domain:

    "nested"   every span of the whole vector is halved. Exact on the whole line. The knots double including the
               exterior ones: 2 K + degree functions, which sum to one on more than the old domain.
    "fine"     only the nearest `degree` of those knots are kept on each side, and functions that vanish on the domain
               are dropped: 2 G + degree functions for G intervals, the paper's. Exact inside; for outside="linear",
               "clamp" and "error" also outside, since value and slope of the edges stay. For outside="zero" the
               function changes outside: it fades over half the distance.
"""

from dataclasses import replace
from math import comb

import numpy as np

from kanref.arrays import choice, integer, real_array
from kanref.bases import MAX_DEGREE
from kanref.free_knots import FreeKnots
from kanref.grids.rebase import chosen_layers, join_layers, rebase, splines, split_layers


def insertion_matrix(knots, degree, new_knots):
    """The knots (T + n,) with n new ones put in, and R (K + n, K) with B_i = sum_j R[j,i] B'_j.

    By the recursion of Cox and de Boor with the new knots in the place of x (Cohen, Lyche and Riesenfeld 1980, the Oslo
    algorithm; Boehm's rule if n = 1): with a_i(tau) = (tau - t_i)/(t_{i+e} - t_i),

        R_0[j,i] = 1 if t_i <= t'_j < t_{i+1} else 0,
        R_e[j,i] = a_i(t'_{j+e}) R_{e-1}[j,i] + (1 - a_{i+1}(t'_{j+e})) R_{e-1}[j,i+1].

    Entries are nonnegative and rows of functions inside the domain sum to one, so no digits are lost. Knots may be
    repeated, and new ones lie anywhere in [t_0, t_last]; ValueError outside, and for one more than degree + 1 times.
    """
    t, new = real_array(knots, "knots", np.float64), real_array(new_knots, "new_knots", np.float64)
    degree = integer(degree, "degree", 0, MAX_DEGREE)
    if t.ndim != 1 or new.ndim != 1:
        raise ValueError(
            f"knots and new_knots must be vectors, but they have shapes {t.shape} and {new.shape}; insert row by row"
        )
    falls = np.flatnonzero(np.diff(t) < 0)
    if len(falls):
        raise ValueError(f"knots must not decrease, but {t[falls[0]]:g} is followed by {t[falls[0] + 1]:g}; sort them")
    if len(t) < degree + 2:
        raise ValueError(f"degree {degree} needs at least {degree + 2} knots, but knots has {len(t)}")
    fine = np.sort(np.concatenate([t, new]))
    if len(new) and not t[0] <= new.min() <= new.max() <= t[-1]:
        raise ValueError(
            f"new_knots must lie in [{t[0]:g}, {t[-1]:g}], but they reach from {new.min():g} to {new.max():g}; "
            "update_from_samples widens a grid"
        )
    count = np.searchsorted(fine, new, "right") - np.searchsorted(fine, new, "left")
    if (count > degree + 1).any():
        tau = new[np.argmax(count)]
        raise ValueError(
            f"knot {tau:g} would appear {count.max()} times, but degree {degree} allows {degree + 1}; "
            "leave it out of new_knots"
        )
    return fine, oslo(t, fine, degree, fine[:-1])


def oslo(t, fine, degree, pieces):
    """R (K', K) with f = sum_i c_i B_i = sum_j (R c)_j B'_j, by the recursion of `insertion_matrix`.

    Row j holds the blossom of one polynomial piece of f at t'_{j+1}, ..., t'_{j+degree}: of the piece at pieces[j]. Any
    piece within the support of B'_j will do where f has no knots but those of `fine`; t'_j itself is the first.
    """
    R = ((t[:-1] <= pieces[:, None]) & (pieces[:, None] < t[1:])).astype(float)
    for e in range(1, degree + 1):
        rise, width = fine[e:-1, None] - t[:-e], t[e:] - t[:-e]
        a = np.divide(rise, width, out=np.zeros_like(rise), where=width > 0)  # an empty support has R = 0
        R = a[:, :-1] * R[:-1, :-1] + (1 - a[:, 1:]) * R[:-1, 1:]
    return R


def two_scale(degree):
    """Weights of B(x) = sum_s w_s B(2 x - s) on integer knots: w_s = 2^-degree C(degree + 1, s), s = 0..degree + 1.

    The multilevel paper prints 2^-(degree + 1), which halves the function.
    """
    degree = integer(degree, "degree", 0, MAX_DEGREE)
    return np.array([comb(degree + 1, s) for s in range(degree + 2)]) / 2**degree


# --------------------------------------------------------------------------------------------------- in a network


def insert_knots(net, theta, l, new):
    """The same function with more knots in the B-splines of layer l: new network and theta.

    new: (n,), the same knots for every input, or (P, n); in the domain, for outside="zero" anywhere on the knots.
    """
    return _carried(net, split_layers(net, theta), insertions(net, l, new), theta)


def refine(net, theta, times=1, exterior=None, layers=None):
    """The same function with every span halved, `times` times, in the B-splines of all layers: new network and theta.

    exterior: "nested" or "fine", see above; None takes what keeps the function on the whole line: "nested" for
    outside="zero", "fine" for the others. "nested" moves the edges of the domain, so it is refused for those
    (ValueError). Free knots are always halved as "fine". layers: which to change, all for None. Empty spans are not halved;
    where the rows of a layer would then differ in length, the widest spans of the shorter ones are halved again.
    """
    choice(exterior, "exterior", (None, "nested", "fine"))
    for _ in range(integer(times, "times", 0, 30)):
        net, theta = _carried(net, split_layers(net, theta), halvings(net, exterior, layers, theta), theta)
    return net, theta


def insertions(net, l, new):
    """What `insert_knots` changes: (l, term, basis, R) for every term of layer l with B-splines."""
    l = integer(l, "l", 0, len(net.layers) - 1)
    layer, new = net.layers[l], real_array(new, "new", np.float64)
    bases = splines(layer)
    if not bases:
        raise ValueError(f"layer {l} has no B-splines to put knots in; its terms are {', '.join(layer.terms)}")
    if new.ndim not in (1, 2) or new.shape[:-1] not in ((), (layer.inputs,)):
        raise ValueError(f"new must have shape (n,) or ({layer.inputs}, n), but it has shape {new.shape}")
    rows = np.broadcast_to(new, (layer.inputs, new.shape[-1]))
    for name, basis in bases.items():
        low, high = basis.domain.T if basis.outside != "zero" else basis.knots[:, [0, -1]].T
        bad = (rows < low[:, None]) | (rows > high[:, None])
        if bad.any():
            p, i = np.argwhere(bad)[0]
            raise ValueError(
                f"new knots of input {p} must lie in [{low[p]:g}, {high[p]:g}], but one is {rows[p, i]:g}; "
                f"outside={basis.outside!r} decides the function beyond"
            )
        pairs = [insertion_matrix(t, basis.degree, row) for t, row in zip(basis.knots, rows)]
        knots, R = (np.stack(parts) for parts in zip(*pairs))
        yield l, name, replace(basis, knots=knots), R


def halvings(net, exterior=None, layers=None, theta=None):
    """What one `refine` changes: (l, term, basis, R) for every term with B-splines of the chosen layers.

    theta: where free knots are now; ValueError if there are some and it is not given. They are halved as "fine".
    """
    choice(exterior, "exterior", (None, "nested", "fine"))
    arrays = None if theta is None else split_layers(net, theta)
    for l in chosen_layers(net, layers):
        for name, term in net.layers[l].terms.items():
            if isinstance(term, FreeKnots):
                if arrays is None:
                    raise ValueError(f"the knots of {name!r} in layer {l} are free, so a refinement depends on theta; give it")
                basis = term.splines(arrays[l][f"{name}.spacing"])
                knots, R = halved(basis, "fine")
                yield l, name, replace(basis, knots=knots), R
        for name, basis in splines(net.layers[l]).items():
            if exterior == "nested" and basis.outside != "zero":
                raise ValueError(
                    f'exterior="nested" widens the domain, which changes the function of layer {l} with outside='
                    f"{basis.outside!r}; leave exterior out"
                )
            kind = exterior or ("nested" if basis.outside == "zero" else "fine")
            knots, R = halved(basis, kind)
            yield l, name, replace(basis, knots=knots), R


def _carried(net, arrays, changes, theta):
    """The network with other bases, and its theta."""
    layers = list(net.layers)
    for l, name, basis, R in changes:
        layers[l], arrays[l] = rebase(layers[l], arrays[l], name, basis, R)
    return join_layers(net, layers, arrays, np.asarray(theta).dtype)


def halved(basis, exterior):
    """Knots (P, T') with every span halved, and R (K', K), or (P, K', K) where rows differ: B_i = sum_j R[j,i] B'_j."""
    return _uniform(basis, exterior) if (basis.steps > 0).all() else _any(basis, exterior)


def _uniform(basis, exterior):
    """Halved rows and their common R, from the two-scale weights: R[2 i + s, i] = w_s, without the ends if "fine"."""
    t, K, d = basis.knots, basis.size, basis.degree
    knots = np.empty((len(t), 2 * t.shape[1] - 1))
    knots[:, ::2], knots[:, 1::2] = t, _middle(t)
    R, i = np.zeros((2 * K + d, K)), np.arange(K)
    for s, w in enumerate(two_scale(d)):
        R[2 * i + s, i] = w
    cut = d if exterior == "fine" else 0
    return knots[:, cut : knots.shape[1] - cut], R[cut : len(R) - cut]


def _any(basis, exterior):
    """Halved rows (P, T') and R (P, K', K) for any knots."""
    d = basis.degree
    whole = [(0, basis.knots.shape[1] - 1)] * len(basis.knots)
    inner = [
        (np.searchsorted(t, low, "right") - 1, np.searchsorted(t, high, "left"))
        for t, (low, high) in zip(basis.knots, basis.domain)
    ]
    ends = whole if exterior == "nested" else inner
    spans = max(e - s + np.count_nonzero(np.diff(t[s : e + 1])) for t, (s, e) in zip(basis.knots, ends))
    pairs = []
    for t, (low, high), (s, e) in zip(basis.knots, basis.domain, ends):
        outer = [_halve(t[: s + 1]), _halve(t[e:])]
        fine, R = insertion_matrix(t, d, np.concatenate([*outer, _halve(t[s : e + 1], spans - (e - s))]))
        if exterior == "fine":
            s, e = np.searchsorted(fine, low, "right") - 1, np.searchsorted(fine, high, "left")
            fine, R = fine[s - d : e + d + 1], R[s - d : e]
        pairs.append((fine, R))
    return tuple(np.stack(parts) for parts in zip(*pairs))


def _middle(t):
    return t[..., :-1] / 2 + t[..., 1:] / 2


def _halve(t, count=0):
    """The middles of the spans of t that are not empty; then, up to `count`, of the widest spans that result."""
    new = _middle(t)[np.diff(t) > 0]
    while len(new) < count:
        fine = np.sort(np.concatenate([t, new]))
        new = np.append(new, _middle(fine)[np.argmax(np.diff(fine))])
    return new
