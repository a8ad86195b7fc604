"""Where the parts of a network's diagram lie, in inches: nodes, sums and the boxes of edges.

Inputs are at the bottom. Between two levels the boxes of the edges that are drawn stand in one row, in the order of their
inputs and then outputs, so that no line crosses a box: below the row lines go from nodes up to boxes, above it from boxes to
sums. A box is as large as the number of boxes in its row allows; where it would be smaller than SMALLEST, about a hundred
edges, the layer has no boxes and its lines go straight from node to sum.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

NARROWEST, WIDEST = 3.2, 11.0  # widths of the diagram
SLOT = 0.5  # width for a node
PITCH, SHARE = 0.66, 0.8  # largest distance of boxes in a row, and the share of it that a box takes
SMALLEST = 0.085  # side of a box that can still be seen
PRODUCT = 0.42  # from sums to the products of them


@dataclass(frozen=True, eq=False)
class Row:
    """A layer. edges: (E, 2) pairs (q, p) that are drawn; x: (E,) centres of their boxes, y: of all of them; side: of a
    box, 0 for none; sums: (S,) and sums_y: where the layer's sums lie."""

    edges: np.ndarray
    x: np.ndarray
    y: float
    side: float
    sums: np.ndarray
    sums_y: float

    @property
    def centres(self):
        """(E, 2), of the boxes."""
        return at_height(self.x, self.y)

    def lines(self, nodes, y):
        """Lines (E, 2, 2) from the nodes of the level below, at height y, to the boxes, and from boxes to sums; without
        boxes only those from nodes to sums. A list of two, or one."""
        q, p = self.edges.T
        ends = at_height(nodes[p], y), at_height(self.sums[q], self.sums_y)
        if not self.side:
            return [np.stack(ends, 1)]
        half = np.array([0, self.side / 2])
        return [np.stack([ends[0], self.centres - half], 1), np.stack([self.centres + half, ends[1]], 1)]


@dataclass(frozen=True, eq=False)
class Places:
    """width, height; nodes: x of every level, inputs first; levels: their y; rows: of every layer."""

    width: float
    height: float
    nodes: list[np.ndarray]
    levels: list[float]
    rows: list[Row]

    @classmethod
    def of(cls, net, drawn):
        """For a network, and for every layer whether its edges (Q, P) are drawn."""
        arities = [layer.nodes.arity if layer.nodes else (1,) * layer.sums for layer in net.layers]
        slots = [net.inputs, *map(sum, arities)]
        pairs = [np.argwhere(d.T)[:, ::-1] for d in drawn]  # by input, then by output
        width = float(np.clip(max(SLOT * max(slots), PITCH * max(map(len, pairs))), NARROWEST, WIDEST))
        gap = float(np.clip(0.075 * width, 0.42, 0.8))
        nodes, levels, rows, y = [_evenly(net.inputs, width)], [0.0], [], 0.0
        for arity, edges in zip(arities, pairs):
            sums, below = _evenly(sum(arity), width), nodes[-1]
            pitch = min(PITCH, width / max(1, len(edges)))
            side = SHARE * pitch if SHARE * pitch >= SMALLEST else 0.0
            share = len(below) / (len(below) + len(sums))  # boxes are nearer to the level with more nodes
            wanted = share * below[edges[:, 1]] + (1 - share) * sums[edges[:, 0]]
            x = _apart(wanted, pitch, pitch / 2, width - pitch / 2) if side else wanted
            top = y + (2 * gap + side if side else float(np.clip(0.3 * width, 1.0, 2.4)))
            rows.append(Row(edges, x, (y + top) / 2, side, sums, top))
            y = top + (PRODUCT if max(arity) > 1 else 0.0)
            ends = np.cumsum(arity)
            nodes.append(np.array([sums[end - a : end].mean() for a, end in zip(arity, ends)]))
            levels.append(y)
        return cls(width, y, nodes, levels, rows)


def at_height(x, y):
    """Points (n, 2)."""
    return np.stack([x, np.full(len(x), y)], 1)


def _evenly(count, width):
    return (np.arange(count) + 0.5) * width / count


def _apart(wanted, pitch, low, high):
    """The centres nearest to those wanted, in their order, at least `pitch` apart and within [low, high]."""
    if not len(wanted):
        return wanted
    steps = pitch * np.arange(len(wanted))
    return np.clip(isotonic_regression(wanted - steps).x, low, max(low, high - steps[-1])) + steps
