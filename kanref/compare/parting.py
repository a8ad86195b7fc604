"""Where two sides part: every layer of B is fed what A feeds its own, so that differences are found where they arise."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from kanref.compare.sides import Refused

MOST = 2**23  # edges times samples that are looked at one by one
STAGES = ("input map", "mapped"), ("edge", "edges"), ("sum", "sums"), ("node", "nodes")


class Row(NamedTuple):
    """Of one layer: the largest difference of what it makes of A's inputs, and of its own; how far beyond the tolerance the first
    is (at most 1 is fair); what B said instead of an answer."""

    layer: int
    local: float | None
    accumulated: float | None
    excess: float | None
    refused: str = ""


class Parting(NamedTuple):
    """The first place where B is another function. kind: "input map", "edge", "sum" (its bias), "node", "layer" or "output";
    layer None for outputs as a whole. output, input: of the edge; sample: where the difference is largest, with the value x there
    that comes in, and what A and B make of it; first: the first sample beyond the tolerance, count how many are; edges: how many
    others of this kind are beyond it."""

    kind: str
    layer: int | None
    output: int | None
    input: int | None
    sample: int
    x: float | None
    a: float
    b: float
    first: int
    count: int
    others: int

    @property
    def difference(self):
        return far(self.a, self.b)

    def __str__(self):
        where = {
            "edge": f"edge from input {self.input} to output {self.output}",
            "input map": f"the map of input {self.input}",
            "sum": f"sum {self.output}, whose edges agree: its bias",
            "node": f"node {self.output}, whose sums agree",
            "layer": f"output {self.output} of the layer as a whole",
            "output": f"output {self.output} of the network as a whole",
        }[self.kind]
        where = where if self.layer is None else f"layer {self.layer}, {where}"
        others = f", and {self.others} more" if self.others else ""
        at = "" if self.x is None else f" (x = {self.x:.9g})"
        text = f"{where}{others}; sample {self.sample}{at}: A {self.a:.9g}, B {self.b:.9g}, difference {self.difference:.1e}"
        return f"{text}; beyond the tolerance at {self.count} samples, first at sample {self.first}"


@dataclass(frozen=True, eq=False)
class Place:
    """A stage of a layer where B is another function: z (R, P) what A feeds it there; a and b (R, ...) what A and B make of it;
    allowed, broadcast to them; samples (R,) where."""

    kind: str
    stage: str
    layer: int
    z: np.ndarray
    a: np.ndarray
    b: np.ndarray
    allowed: np.ndarray
    samples: np.ndarray

    def fits(self, found, expected):
        """Whether arrays agree as two networks of one function would."""
        return np.shape(found) == expected.shape and bool((far(found, expected) <= self.allowed).all())

    @property
    def beyond(self):
        return far(self.a, self.b) > self.allowed

    def parting(self):
        beyond, apart = self.beyond, far(self.a, self.b)
        n, *at = (int(i) for i in np.unravel_index(np.argmax(np.where(beyond, apart, -1)), apart.shape))
        q, p = (at[0], at[1]) if self.kind == "edge" else (None, at[0]) if self.kind == "input map" else (at[0], None)
        own = beyond[(slice(None), *at)]
        x = None if p is None else float(self.z[n, p])
        values = float(self.a[(n, *at)]), float(self.b[(n, *at)])
        others = int(beyond.any(0).sum()) - 1
        first = int(self.samples[own].min(initial=self.samples[n]))
        return Parting(self.kind, self.layer, q, p, int(self.samples[n]), x, *values, first, int(own.sum()), max(0, others))


def far(a, b):
    """|a - b|, with no difference between what is the same and not finite."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf, posinf=np.inf))


def rows_of(A, B, levels, own, tolerance):
    """A `Row` for every layer; levels: A's inputs of every layer and its outputs, own: B's or None."""
    found = []
    for l, (x, y) in enumerate(zip(levels, levels[1:])):
        accumulated = None if own is None else float(far(y, own[l + 1]).max(initial=0))
        try:
            local = far(y, B.outputs(l, x))
        except Refused as refusal:
            found.append(Row(l, None, accumulated, None, str(refusal)))
            continue
        allowed = tolerance.local(l, A.mapped(l, x), y)
        found.append(Row(l, float(local.max(initial=0)), accumulated, float(_share(local, allowed).max(initial=0))))
    return found


def _share(difference, allowed):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / allowed)


def place(A, B, l, x, y, tolerance):
    """The `Place` in layer l that is fed x and gives y in A: the first stage that differs beyond the tolerance."""
    b = B.outputs(l, x)
    allowed = tolerance.local(l, A.mapped(l, x), y)
    kept = np.arange(len(x))
    most = max(64, MOST // (y.shape[1] * x.shape[1]))
    if len(x) > most:
        kept = np.sort(np.argsort(-_share(far(y, b), allowed).max(1), kind="stable")[:most])
    x, y, b, allowed = x[kept], y[kept], b[kept], allowed[kept]
    z = A.mapped(l, x)
    whole = Place("layer", "outputs", l, x, y, b, allowed, kept)
    if len({side.net.layers[l].sums for side in tolerance.sides}) > 1:
        return whole
    of_sums = tolerance.local(l, z, A.sums(l, z), nodes=False)
    fair = {"edges": of_sums[:, :, None], "sums": of_sums, "nodes": allowed}
    for kind, stage in STAGES:
        try:
            if kind == "input map":
                pair, fed = (z, B.mapped(l, x)), x
                fair["mapped"] = 64 * np.finfo(tolerance.dtype).eps * (1 + np.abs(z))
            else:
                pair, fed = tuple(getattr(side, stage)(l, z) for side in (A, B)), z
        except Refused:
            continue
        found = Place(kind, stage, l, fed, *pair, np.broadcast_to(fair[stage], pair[0].shape), kept)
        if found.beyond.any():
            return found
    return whole


# ---------------------------------------------------------------------------------------------- nodes in another order


def matched(A, B, levels, inputs, tolerance):
    """For every level the nodes of A that B's nodes are, B's layers being fed by A: index arrays, inputs first, or None if B has
    nodes that A has not. Where no other order fits more nodes, it is A's own."""
    net, other, tolerance = A.net, B.net, replace(tolerance, sides=(A, A))
    if len(net.layers) != len(other.layers) or net.outputs != other.outputs:
        return None
    chosen = [np.array(inputs)]
    for l in range(len(net.layers) - 1):
        y, Q = levels[l + 1], other.layers[l].outputs
        if len(chosen[l]) != other.layers[l].inputs:
            return None
        if Q > y.shape[1]:
            return None
        try:
            b = B.outputs(l, np.ascontiguousarray(levels[l][:, chosen[l]]))
        except Refused:
            b = np.full((len(y), Q), np.nan)
        fair = tolerance.local(l, A.mapped(l, levels[l]), y)
        cost = np.array([_share(far(y, b[:, [q]]), fair).max(0) for q in range(Q)])
        at = linear_sum_assignment(np.minimum(np.nan_to_num(np.log1p(cost), posinf=1e3), 1e3))[1]
        exact = (cost[np.arange(Q), at] <= 1).sum()
        if Q == y.shape[1] and exact <= (np.diagonal(cost) <= 1).sum():
            at = np.arange(Q)
        elif Q < y.shape[1] and exact < Q:
            return None
        chosen.append(at)
    return [*chosen, np.arange(net.outputs)]


def rearranged(A, chosen):
    """A on the nodes of every level that were chosen, in that order."""
    net, theta = A.net.select(A.theta, chosen)
    return replace(A, net=net, theta=theta)


def scaled_nodes(levels, own, tolerance):
    """For hidden levels whose nodes in B are c A + d, not all c = 1 and d = 0: triples (level, c, d), if all levels are so."""
    found = []
    for l, (a, b) in enumerate(zip(levels[1:-1], own[1:-1]), 1):
        if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
            return []
        centre = a - a.mean(0)
        c = (centre * b).sum(0) / np.maximum((centre**2).sum(0), np.finfo(float).tiny)
        d = b.mean(0) - c * a.mean(0)
        size = np.abs(b).max(initial=0)
        if far(c * a + d, b).max(initial=0) > 1e4 * np.finfo(tolerance.dtype).eps * size:
            return []
        if np.abs(c - 1).max() > 1e-4 or np.abs(d).max() > 1e-4 * size:
            found.append((l, c, d))
    return found
