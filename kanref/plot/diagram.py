"""The diagram of a network (Liu et al., figure 2.4): every edge's curve drawn in its place."""

import warnings
from numbers import Real
from textwrap import fill

import numpy as np
from matplotlib.cbook import is_math_text
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from kanref import arrays as border
from kanref.edges import Symbolic
from kanref.plot.places import Places, at_height
from kanref.plot.style import INK, VERMILLION, activations, checked_names, seen, short, styled
from kanref.sparsify.attribution import METHODS, attribute
from kanref.weights import Masked

POINTS = 61  # of a curve
FILLED = 0.76  # share of its box that a curve takes
NAMED = 0.26  # share of the box of a formula that its name takes
LEGIBLE = 4.0  # points: smaller names are not written
LONGEST = 28  # characters of a name
EM = 72.0  # points to an inch


@styled
def network(model, X, names=None, outputs=None, beta=3.0, scores=None, title=None, metric="backward"):
    """The network with every edge's curve in its place, inputs at the bottom (Liu et al., figure 2.4).

    A curve shows phi_{q,p} over the range of what arrives at it from the samples X (N, n); each fills its box. An edge is
    as opaque as alpha = tanh(beta score), with `scores` as `sparsify.attribute` returns them, by default those of
    attribute(net, theta, X, method=metric), "backward" or "paper". Edges that are masked in all terms are not drawn.
    Formulas are red (vermillion, which is not black to anybody) with the name of the function in the box, or below the
    diagram where boxes are too small for names. A product is a multiplication sign above its factors; a node that no edge
    reaches or leaves is hollow. Boxes shrink with the number of edges in a layer; above about a hundred a layer shows
    lines only. Names that cannot be told apart, of hundreds of inputs, are left out.

    names, outputs: of inputs and outputs; a name between dollar signs is set as mathematics, as parts of the title are.
    Returns a Figure: one set of axes in inches, with one collection of lines, boxes and curves for each layer.
    """
    net, theta = model.net, model.theta
    X, names = seen(model, X, names)
    names = checked_names(names, "names", net.inputs, "x")
    outputs = checked_names(outputs, "outputs", net.outputs, "y")
    if not (isinstance(beta, Real) and 0 < beta < np.inf):
        raise ValueError(f"beta must be a positive number, but it is {beta!r}")
    x_of = activations(model, X)
    if scores is None:
        scores = attribute(net, theta, X, border.choice(metric, "metric", METHODS))
    drawn = [alive(layer) for layer in net.layers]
    alphas = _alphas(net, scores, beta)
    places = Places.of(net, drawn)
    canvas = _Canvas(places)
    for l, x in enumerate(x_of[:-1]):
        canvas.layer(l, net.layers[l], alphas[l], _curves(net, theta, l, x) if places.rows[l].side else None)
    canvas.nodes(net, drawn)
    canvas.words(names, outputs, title)
    return canvas.figure


def alive(layer):
    """Which edges (S, P) of a layer some term keeps: a mask of 0 in every term switches an edge off."""
    kept = np.zeros((layer.sums, layer.inputs), bool)
    for term in layer.terms.values():
        if isinstance(term, Symbolic):
            for q, p, _ in term.formulas:
                kept[q, p] = True
            continue
        own, weights = np.ones_like(kept), getattr(term, "weights", None)
        while weights is not None:
            if isinstance(weights, Masked):
                own &= weights.mask != 0
            weights = getattr(weights, "inner", None)
        kept |= own
    return kept


def formulas(layer):
    """{(q, p): Function} of a layer's edges that are formulas."""
    terms = (term for term in layer.terms.values() if isinstance(term, Symbolic))
    return {(q, p): function for term in terms for q, p, function in term.formulas}


def _alphas(net, scores, beta):
    """tanh(beta score) of every layer's edges."""
    edges = [border.real_array(a, f"scores.edges[{l}]", np.float64) for l, a in enumerate(scores.edges)]
    expected = [(layer.sums, layer.inputs) for layer in net.layers]
    if [a.shape for a in edges] != expected:
        raise ValueError(
            f"scores.edges must have the shapes {expected} of the network's layers, but they are "
            f"{[a.shape for a in edges]}; attribute the same network"
        )
    return [np.clip(np.tanh(beta * a), 0, 1) for a in edges]


def _curves(net, theta, l, x):
    """Every edge's curve in [-1/2, 1/2]^2, (S, P, POINTS, 2), over the range of its input in x (N, P)."""
    points = np.linspace(x.min(0), x.max(0), POINTS).astype(x.dtype)
    points = np.clip(points, x.min(0), x.max(0))  # rounding must not leave the range
    phi = np.moveaxis(net.edges(theta, l, points).astype(float), 0, -1)
    phi[~np.isfinite(phi)] = np.nan
    known = np.isfinite(phi)
    low = np.where(known, phi, np.inf).min(-1, keepdims=True)
    high = np.where(known, phi, -np.inf).max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        flat = ~(high - low > 1e-9 * np.maximum(np.abs(low), np.abs(high)))
        y = np.where(flat, phi - phi, (phi - low) / np.where(flat, 1, high - low) - 0.5)
    return np.stack([np.broadcast_to(np.linspace(-0.5, 0.5, POINTS), y.shape), y], -1)


class _Canvas:
    """A figure whose one set of axes is in inches, and what is drawn there."""

    def __init__(self, places):
        self.places, self.figure = places, Figure(layout="none")
        self.ax = self.figure.add_axes((0, 0, 1, 1))
        self.ax.set_axis_off()
        self.unnamed = set()  # formulas whose name is not in their box

    def layer(self, l, layer, alphas, curves):
        places, row = self.places, self.places.rows[l]
        q, p = row.edges.T
        known = formulas(layer)
        red = np.array([pair in known for pair in zip(q.tolist(), p.tolist())], bool)
        colours = np.where(red[:, None], to_rgba(VERMILLION), to_rgba(INK))
        colours[:, 3] = alphas[q, p]
        thin = float(np.clip(2.2 * row.side, 0.5, 1.0) if row.side else np.clip(100 / len(q), 0.1, 0.5))
        lines = row.lines(places.nodes[l], places.levels[l])
        self._lines(np.concatenate(lines), np.concatenate([colours] * len(lines)), thin, f"layer-{l + 1}-lines", 1)
        if not row.side:
            self.unnamed |= {function.name for function in known.values()}
            return
        square = row.side / 2 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        boxes = {"facecolors": "white", "edgecolors": colours, "linewidths": thin, "zorder": 2}
        boxes = PolyCollection(row.centres[:, None] + square, gid=f"layer-{l + 1}-boxes", **boxes)
        self.ax.add_collection(boxes, autolim=False)
        scale, shift = np.ones((len(q), 1, 2)), np.zeros((len(q), 1, 2))
        for e in np.flatnonzero(red):
            if self._name(known[int(q[e]), int(p[e])].name, row.x[e], row.y, row.side, colours[e]):
                scale[e, 0, 1], shift[e, 0, 1] = 1 - NAMED, NAMED / 2
        shapes = row.centres[:, None] + row.side * (FILLED * scale * curves[q, p] + shift)
        self._lines(shapes, colours, float(np.clip(3 * row.side, 0.6, 1.6)), f"layer-{l + 1}-curves", 3)

    def _lines(self, lines, colours, width, gid, zorder):
        style = {"colors": colours, "linewidths": width, "capstyle": "round", "joinstyle": "round"}
        self.ax.add_collection(LineCollection(lines, gid=gid, zorder=zorder, **style), autolim=False)

    def _name(self, name, x, y, side, colour):
        """The name of a formula at the foot of its box, if it fits there."""
        size = min(7.0, 0.9 * side * EM / _width(name, 1.0), 0.85 * NAMED * side * EM)
        if size < LEGIBLE:
            self.unnamed.add(name)
            return False
        style = {"fontsize": size, "ha": "center", "va": "center", "parse_math": False, "zorder": 4}
        self.ax.text(x, y - (0.5 - 0.55 * NAMED) * side, name, color=colour, **style)
        return True

    def nodes(self, net, drawn):
        """Dots, hollow if no edge reaches or leaves them; signs of multiplication, joined to their factors."""
        places = self.places
        for level, (x, y) in enumerate(zip(places.nodes, places.levels)):
            used = drawn[level].any(0) if level < len(drawn) else np.ones(len(x), bool)
            arity = np.ones(len(x), int)
            if level:
                row, nodes = places.rows[level - 1], net.layers[level - 1].nodes
                arity = np.array(nodes.arity) if nodes else arity
                reached = drawn[level - 1].any(1)
                used = used & np.array([a.all() for a in np.split(reached, np.cumsum(arity)[:-1])])
                if y > row.sums_y:
                    starts = at_height(row.sums, row.sums_y)
                    factors = np.stack([starts, np.repeat(at_height(x, y), arity, 0)], 1)
                    self._lines(factors, INK, 1.0, f"layer-{level}-factors", 1)
                    dots = starts[np.repeat(arity > 1, arity)].T
                    self.ax.scatter(*dots, s=14, color=INK, linewidths=0, zorder=4)
            plain, size = arity == 1, min(34.0, (0.7 * EM * places.width / len(x)) ** 2)
            dots = {"s": size, "c": np.where(used, INK, "white")[plain], "edgecolors": INK, "linewidths": 0.9}
            self.ax.scatter(*at_height(x[plain], y).T, gid=f"level-{level}-nodes", zorder=4, **dots)
            if not plain.all():
                at = at_height(x[~plain], y).T
                self.ax.scatter(*at, s=130, c="white", edgecolors=INK, linewidths=1.1, zorder=4)
                sign = {"s": 46, "c": INK, "marker": "x", "linewidths": 1.3, "zorder": 5}
                self.ax.scatter(*at, gid=f"level-{level}-products", **sign)

    def words(self, names, outputs, title):
        """Names, title and the names of formulas, and the size of the figure that holds everything."""
        places = self.places
        left = right = 0.12
        bottom = self._row(names, places.nodes[0], -0.13, "top")
        top = places.height + self._row(outputs, places.nodes[-1], places.height + 0.15, "bottom")
        if self.unnamed:
            text = fill("formulas: " + ", ".join(sorted(self.unnamed)), int(places.width * EM / 4.2))
            style = {"fontsize": 7, "ha": "center", "va": "top", "color": VERMILLION, "parse_math": False}
            self.ax.text(places.width / 2, -bottom - 0.1, text, **style)
            bottom += 0.1 + 0.13 * (1 + text.count("\n"))
        if title is not None:
            mathematics = _is_mathematics(title)
            text = title if mathematics else fill(title, max(20, int(places.width * EM / 6)))
            size = min(11.0, places.width * EM / max(_width(line, 1.0) for line in text.split("\n")))
            style = {"fontsize": size, "ha": "center", "va": "bottom", "parse_math": mathematics}
            self.ax.text(places.width / 2, top + 0.12, text, **style)
            top += 0.12 + 0.2 * (1 + text.count("\n"))
        low, high = -bottom - 0.1, top + 0.1
        self.figure.set_size_inches(left + places.width + right, high - low)
        self.ax.set(xlim=(-left, places.width + right), ylim=(low, high))

    def _row(self, names, x, y, side):
        """Names below or above a level, upright if they do not fit side by side. Returns the height they need."""
        texts = [name if _is_mathematics(name) else short(name, LONGEST) for name in names]
        slot = self.places.width / len(x)
        size = min(9.5, 0.9 * slot * EM)
        if size < LEGIBLE:
            return 0.0
        widths = [_width(text, size) / EM for text in texts]
        upright = max(widths) > slot - 0.08
        for text, at in zip(texts, x):
            style = {"fontsize": size, "ha": "center", "va": side, "rotation": 90 if upright else 0}
            self.ax.text(at, y, text, parse_math=_is_mathematics(text), **style)
        return 0.15 + (max(widths) if upright else 0.17)


def _is_mathematics(text):
    """Whether dollar signs enclose what matplotlib can set as mathematics."""
    if not is_math_text(text):
        return False
    try:
        TextPath((0, 0), text)
    except ValueError:
        return False
    return True


def _width(text, size):
    """Of a text in points, mathematics as such; never 0."""
    if not text.strip():
        return 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signs that the font does not have
        path = TextPath((0, 0), text if _is_mathematics(text) else text.replace("$", r"\$"), size=size)
        return max(path.get_extents().width, 1e-3)
