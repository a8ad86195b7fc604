"""Transfers between a network and its refinement, as data: prolongation P, restriction P', projection.

A finer grid acts on every trained array of splines as a -> a x_mode M (see `kanref.weights`), on all the others as the
identity. So the prolongation theta_f = P theta_c is linear and block diagonal, and everything follows from the list of M:

    prolong    P theta_c               a x_mode M
    restrict   P' g_f                  a x_mode M'           the adjoint: the coarse gradient of L_f(P theta_c) is P' g_f
    project    argmin |P theta_c - theta_f|     a x_mode M^+      the least-squares inverse: project(prolong(theta_c)) = theta_c

A hierarchy is properly nested if g_c(x; theta_c) = g_f(x; P theta_c) for all theta_c (multilevel paper, eq. 22): then to
minimise the coarse loss is to minimise the fine one over range(P). It rests on the coarse knots being among the fine ones,
so that coarse splines are fine ones (the paper prints this inclusion of spaces reversed). Here it is by construction: of
the spline functions on the whole line ("nested"), or on the domain ("fine") and with it wherever outside="linear", "clamp"
or "error" decides; with outside="zero" and "fine" it holds as long as no hidden value leaves the domain, and is wrong beyond.

M has as many rows as there are fine functions; rows of those inside the domain sum to 1, columns to 2, less for functions
at the ends of "fine" (degree 3: 5/8, 15/8, 2, ...). The two-scale weights are 2^-d C(d + 1, s) for degree d; the paper
prints 2^-(d+1) in eq. 25, which halves the function.
"""

from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from kanref.arrays import integer
from kanref.grids.insertion import halvings, insertions, oslo
from kanref.grids.rebase import rebased, splines
from kanref.network import KAN
from kanref.power_relu import change_of_basis, inverse, spacing, strict
from kanref.tensors import mode_dot


@dataclass(frozen=True, eq=False)
class Transfer:
    """P from the parameters of `coarse` to those of `fine`; maps: {array: (mode, M)}, M (K', K) or (P, K', K).

    Vectors go in and come out as flat theta of the two networks, in their own precision.
    """

    coarse: KAN
    fine: KAN
    maps: dict[str, tuple[int, np.ndarray]]

    def prolong(self, theta):
        """P theta: the parameters of the fine network for the same function."""
        return _mapped(self.coarse, self.fine, self.maps, theta)

    def restrict(self, gradient):
        """P' gradient: <restrict(g), theta> = <g, prolong(theta)>."""
        return _mapped(self.fine, self.coarse, self._adjoints, gradient)

    def project(self, theta):
        """The coarse parameters whose prolongation is nearest to theta in the Euclidean norm: (P'P)^-1 P' theta."""
        return _mapped(self.fine, self.coarse, self._inverses, theta)

    def prolong_squares(self, v):
        """(P o P) v: for averages of squared gradients, as Adam keeps; the variances of P m for independent entries m."""
        squared = {name: (mode, np.square(M)) for name, (mode, M) in self.maps.items()}
        return _mapped(self.coarse, self.fine, squared, v)

    def then(self, finer):
        """The transfer from `coarse` to the fine network of a transfer that starts where this one ends."""
        if finer.coarse.layout != self.fine.layout:
            raise ValueError(
                f"the next transfer must start from this one's fine network of {self.fine.size} parameters, but it starts "
                f"from one of {finer.coarse.size}"
            )
        own = {name: (mode, finer.maps[name][1] @ M if name in finer.maps else M) for name, (mode, M) in self.maps.items()}
        return Transfer(self.coarse, finer.fine, {**finer.maps, **own})

    def matrix(self):
        """P written out, (fine.size, coarse.size): for study and tests."""
        return np.stack([self.prolong(e) for e in np.eye(self.coarse.size)], 1)

    @cached_property
    def _adjoints(self):
        return {name: (mode, np.swapaxes(M, -1, -2)) for name, (mode, M) in self.maps.items()}

    @cached_property
    def _inverses(self):
        return {name: (mode, np.linalg.pinv(M)) for name, (mode, M) in self.maps.items()}


def _mapped(source, target, maps, theta):
    """The arrays of `source` in theta, those in `maps` by a -> a x_mode M, as parameters of `target`."""
    theta = source.vector(theta)
    arrays = {name: a.astype(np.float64, copy=False) for name, a in source.split(theta).items()}
    moved = {name: mode_dot(arrays[name], M, mode) for name, (mode, M) in maps.items()}
    return target.join({**arrays, **moved}).astype(theta.dtype, copy=False)


# --------------------------------------------------------------------------------------------------------- builders


def dyadic(net, exterior=None, times=1, layers=None, theta=None):
    """The transfer from `net` to the network with every span of its B-splines halved, `times` times.

    exterior: "fine", the paper's; "nested", on the whole line, for outside="zero"; None for the one of them that keeps the
    function everywhere. layers: which to refine, all for None. theta: where free knots are, if there are some: P is then
    the transfer for these knots. As `grids.refine`, which raises the same errors; and ValueError if there is nothing to refine.
    """
    transfer = _changed(net, ())
    for _ in range(integer(times, "times", 0, 30)):
        here = None if theta is None else transfer.prolong(theta)
        changes = list(halvings(transfer.fine, exterior, layers, here))
        if not changes:
            raise ValueError(
                f"there are no B-splines to refine in the chosen layers; stay on one level (refine=0), or turn power ReLUs into "
                f"B-splines by relu_form.as_splines. The network is\n{net!r}"
            )
        transfer = transfer.then(_changed(transfer.fine, changes))
    return transfer


def inserted(net, new):
    """The transfer from `net` to the network with new knots, {layer: (n,) or (P, n)}; see `grids.insert_knots`."""
    steps = (lambda t, l=l, knots=knots: t.then(_changed(t.fine, insertions(t.fine, l, knots))) for l, knots in new.items())
    return reduce(lambda transfer, step: step(transfer), steps, _changed(net, ()))


def between(coarse, fine):
    """The transfer between two networks of one architecture, the knots of `coarse` inside the domains among those of `fine`.

    Exterior knots of the fine splines may be others than the coarse ones', as in the paper's refinement; then the function
    is kept inside. Knots count as equal within rounding. Raises ValueError if a coarse knot is missing, or if the networks
    differ in more than their knots.
    """
    if len(coarse.layers) != len(fine.layers):
        raise ValueError(f"the networks have {len(coarse.layers)} and {len(fine.layers)} layers; they must agree")
    changes = []
    for l, (layer, finer) in enumerate(zip(coarse.layers, fine.layers)):
        for name, basis in splines(layer).items():
            other = splines(finer).get(name)
            if other is None or (other.degree, other.inputs) != (basis.degree, basis.inputs):
                raise ValueError(f"layer {l} of the fine network has no B-splines {name!r} of the coarse one's degree and inputs")
            rows = enumerate(zip(basis.knots, other.knots))
            pairs = [_nested(t, finer, basis.degree, f"input {p} of layer {l}") for p, (t, finer) in rows]
            knots, R = (np.stack(parts) for parts in zip(*pairs))
            changes.append((l, name, replace(basis, knots=knots), R[0] if (R == R[0]).all() else R))
    transfer = _changed(coarse, changes)
    if transfer.fine.layout != fine.layout:
        raise ValueError("the fine network differs from the coarse one in more than its knots; refine the coarse one instead")
    return transfer


def through_power_relus(knots, fine, degree):
    """R (K', K) by the paper's general formula (eq. 24), A'^-T I A^T with I the inclusion of the coarse knots in the fine
    ones, for comparison: what `grids.insertion_matrix` finds without the condition of A', for the fine functions that
    start left of the coarse domain's end; beyond it powers go on where splines fade, and the rows differ.

    Every coarse knot, the exterior ones too, must be a fine one (ValueError): a refinement that halves the exterior spacing
    as well, the paper's own in eq. 25, is not of this kind.
    """
    t, fine = strict(knots, degree), strict(fine, degree)
    i = np.minimum(np.searchsorted(fine, t), len(fine) - 1)
    if (fine[i] != t).any():
        raise ValueError(
            f"the formula needs every knot of the coarse row in the fine one, but {t[fine[i] != t]} are missing; exterior "
            "knots count: use dyadic or between"
        )
    K = len(t) - degree - 1
    inclusion = np.zeros((len(fine) - degree - 1, K))
    inclusion[i[:K], np.arange(K)] = (spacing(fine) / spacing(t)) ** degree
    return inverse(fine, degree).T @ inclusion @ change_of_basis(t, degree).T


def _nested(t, fine, degree, where):
    """The fine knots, rounded to the coarse ones t where they are equal, and R (K', K) with B_i = sum_j R[j,i] B'_j."""
    right = np.clip(np.searchsorted(t, fine), 1, len(t) - 1)
    nearest = np.where(fine - t[right - 1] < t[right] - fine, t[right - 1], t[right])
    fine = np.where(np.abs(fine - nearest) <= 64 * np.finfo(float).eps * np.abs(t).max(), nearest, fine)
    counts = [np.searchsorted(knots, t, "right") - np.searchsorted(knots, t) for knots in (t, fine)]
    low, high = t[[degree, -degree - 1]]
    missing = counts[1] < counts[0]
    inside = t[missing & (low < t) & (t < high)]
    if len(inside) or fine[degree] > low or fine[-degree - 1] < high:
        raise ValueError(
            f"the knots of {where} are not nested: the fine ones must cover the domain [{low:g}, {high:g}] of the coarse ones, "
            f"but cover [{fine[degree]:g}, {fine[-degree - 1]:g}], and must have all coarse knots in it, but lack {inside}"
        )
    pieces = fine[:-1] if not missing.any() else np.clip(fine[:-1], low, None)
    return fine, oslo(t, fine, degree, pieces)


def _changed(net, changes):
    """The transfer to a network with other bases; changes: (l, term, basis, R)."""
    layers, maps = list(net.layers), {}
    for l, name, basis, R in changes:
        layers[l], own = rebased(layers[l], name, basis, R)
        maps.update((f"{l}.{array}", pair) for array, pair in own.items())
    return Transfer(net, replace(net, layers=tuple(layers)), maps)
