"""All edge functions of a network in small panels."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kanref import arrays as border
from kanref.bases import BSpline
from kanref.plot.style import (
    BLUE,
    GREY,
    MAX_KNOTS,
    MAX_SAMPLES,
    activations,
    checked_names,
    plural,
    seen,
    short,
    styled,
)

MAX_SHOWN = 12  # rows and columns of a grid of edges
WRAP = 6  # columns of edges that all lead to one output
CELL, LEFT, MIN_WIDTH = 1.3, 0.68, 5.5  # inches: of panels of edges with their gap, the margin, and a figure's least
HEAD, FOOT, FLAT, TALL = 0.62, 0.36, 0.82, 1.48  # heights: a layer's title, its foot, a row of panels, a wrapped row
MAX_LEVELS = 5  # distinct values up to which an input is marked by dots


@styled
def edges(model, X, names=None, layer=None, outputs=None, ranges=None):
    """Every edge function phi_{q,p} in a small panel: rows are outputs of the layer, columns inputs.

    A function is shown less its mean over the samples (constants move freely between the edges of a sum), over its grid
    and the samples, on one y-axis for the layer. Shaded: where the samples lie; ticks: the knots; dots: the values of
    inputs that have at most 5. Curves whose standard deviation over the samples is below 1% of the layer's largest are
    grey. Of wide layers the 12 rows and 12 columns of largest standard deviation are shown, and the title says so.

    X: (N, n) samples; names: of the inputs; layer: only this one, default all; outputs: names of the network's outputs;
    ranges: (n, 2), what -1 and 1 stand for in the user's units, for the axes of the first layer. Returns a Figure.
    """
    net = model.net
    X, names = seen(model, X, names)
    layers = range(len(net.layers)) if layer is None else [border.integer(layer, "layer", 0, len(net.layers) - 1)]
    names = checked_names(names, "names", net.inputs, "x")
    outputs = checked_names(outputs, "outputs", net.outputs, "y")
    ranges = np.tile([-1.0, 1.0], (net.inputs, 1)) if ranges is None else np.asarray(ranges, float)
    if ranges.shape != (net.inputs, 2):
        raise ValueError(f"ranges must have shape ({net.inputs}, 2), but it has shape {ranges.shape}")
    x_of = activations(model, X[:: -(-len(X) // MAX_SAMPLES)])
    parts = [_Panels(model, l, x_of[l], ranges if l == 0 else None) for l in layers]
    wrap = max(WRAP, *(len(part.columns) for part in parts if len(part.rows) > 1), 0)
    columns = max(part.shape(wrap)[1] for part in parts)
    cell = max(CELL, (MIN_WIDTH - LEFT) / columns)
    width, height = LEFT + cell * columns, sum(part.height(wrap) for part in parts)
    figure, top = Figure(figsize=(width, height), layout="none"), height
    for l, part in zip(layers, parts):
        nodes = net.layers[l].nodes
        above = outputs if l == len(net.layers) - 1 and not nodes else None
        above = checked_names(above, "outputs", net.layers[l].sums, "sum " if nodes else "node ")
        below = names if l == 0 else checked_names(None, "names", net.layers[l].inputs, "node ")
        part.draw(figure, top, cell, wrap, below, above)
        top -= part.height(wrap)
    return figure


def _leading(strength, axis):
    """The rows or columns of largest strength, in their own order."""
    return np.sort(np.argsort(-strength.max(axis), kind="stable")[:MAX_SHOWN])


class _Panels:
    """The panels of one layer: what is drawn in each, then the drawing."""

    def __init__(self, model, l, x, ranges):
        layer = model.net.layers[l]
        block = max(1, 10**7 // (layer.sums * layer.inputs))  # bounds the memory of wide layers
        x = x[:: -(-len(x) // block)]
        phi = model.net.edges(model.theta, l, x)
        self.layer, self.l, self.x, self.means = layer, l, x, phi.mean(0)
        self.strength = phi.std(0)
        self.rows, self.columns = _leading(self.strength, 1), _leading(self.strength, 0)
        self.phi = phi - self.means
        shown = self.phi[:, self.rows][:, :, self.columns]
        low, high = float(shown.min()), float(shown.max())
        margin = 0.12 * (high - low) or 1.0
        self.limits = low - margin, high + margin
        splines = [b for term in layer.terms.values() if isinstance(b := getattr(term, "basis", None), BSpline)]
        self.basis = splines[0] if splines and layer.normalise is None else None
        self.ranges = ranges
        start, stop = x.min(0), x.max(0)
        if self.basis is not None:
            start, stop = np.minimum(start, self.basis.domain[:, 0]), np.maximum(stop, self.basis.domain[:, 1])
        start, stop = np.where(start < stop, [start, stop], [start - 1, stop + 1])
        self.points = np.linspace(start, stop, 201).astype(x.dtype)
        self.curves = model.net.edges(model.theta, l, self.points) - self.means

    @property
    def wrapped(self):
        """Whether the panels belong to one sum, and may be put into several rows."""
        return len(self.rows) == 1

    def shape(self, wrap):
        """Rows and columns of panels, where at most `wrap` of one sum stand side by side."""
        Q, P = len(self.rows), len(self.columns)
        return (-(-P // wrap), min(P, wrap)) if self.wrapped else (Q, P)

    def height(self, wrap):
        """In inches."""
        return HEAD + self.shape(wrap)[0] * (TALL if self.wrapped else FLAT) + (0 if self.wrapped else FOOT)

    def draw(self, figure, top, cell, wrap, below, above):
        """Panels below `top`, in cells of a width, both in inches; `below` and `above` name the layer's inputs and sums.

        Places are computed here, as matplotlib's own layout takes minutes for hundreds of panels.
        """
        (W, H), (Q, P) = figure.get_size_inches(), self.strength.shape
        last = self.shape(wrap)[0] - 1
        step, tall = (TALL, TALL - 0.48) if self.wrapped else (FLAT, FLAT - 0.14)
        for k, q in enumerate(self.rows):
            for c, p in enumerate(self.columns):
                row, column = divmod(c, wrap) if self.wrapped else (k, c)
                left, bottom = LEFT + column * cell, top - HEAD - row * step - tall
                ax = figure.add_axes([left / W, bottom / H, (cell - 0.2) / W, tall / H])
                self._panel(ax, q, p, self.wrapped or row == last, column == 0)
                if row == 0 or self.wrapped:
                    ax.set_title(short(below[p]), parse_math=False, pad=4)
                if column == 0:
                    ax.set_ylabel(short(above[q]), parse_math=False)
                    ax.yaxis.set_label_coords(-0.4 / (cell - 0.2), 0.5)
        title = f"Layer {self.l + 1}: from {P} {plural('input', P)} to {Q} "
        title += plural("sum" if self.layer.nodes else "node", Q)
        if (len(self.rows), len(self.columns)) != (Q, P):
            shown = f"{len(self.rows)} x {len(self.columns)}"
            title += f"; of {Q} x {P} edges the {shown} with the largest standard deviation"
        figure.text(0.5, (top - 0.24) / H, title, fontsize=10.5, ha="center")

    def _panel(self, ax, q, p, x_axis, y_axis):
        scale = lambda x: x
        if self.ranges is not None:
            low, high = self.ranges[p]
            scale = lambda x: low + (x + 1) / 2 * (high - low)
        x, points = scale(self.x[:, p]), scale(self.points[:, p])
        values, first = np.unique(x, return_index=True)
        discrete = len(values) <= MAX_LEVELS
        span = (values[0], values[-1]) if discrete and len(values) > 1 else (points[0], points[-1])
        counts, bins = np.histogram(x, 25, span)
        ax.stairs(0.55 * counts / counts.max(), bins, fill=True, color="#E6E6E6", transform=ax.get_xaxis_transform())
        ax.axhline(0, color="#BBBBBB", lw=0.6)
        colour = GREY if self.strength[q, p] <= 0.01 * self.strength.max() else BLUE
        if discrete:
            ax.plot(values, self.phi[first, q, p], "o-", color=colour, ms=4, lw=0.8)
        else:
            ax.plot(points, self.curves[:, q, p], color=colour, lw=1.7, solid_capstyle="round")
        pad = (0.15 if discrete else 0.03) * (span[1] - span[0])
        ax.set(xlim=(span[0] - pad, span[1] + pad), ylim=self.limits)
        ends = span
        if self.basis is not None and not discrete:
            ends = scale(self.basis.domain[p])
            if self.basis.intervals <= MAX_KNOTS:
                knots = scale(self.basis.knots[p, self.basis.degree : self.basis.size + 1])
                ends, at = knots[[0, -1]], ax.get_xaxis_transform()
                ax.plot(knots, np.zeros(len(knots)), "|", color="#555555", ms=4, mew=0.6, transform=at, clip_on=False)
        ax.set_xticks(ends if x_axis else ())
        ax.set_yticks(()) if not y_axis else ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.tick_params(labelsize=7, length=3.5, pad=2)
        if x_axis:
            told = [f"{end:.4g}".replace("-", "\N{MINUS SIGN}") for end in ends]
            for text, side in zip(ax.set_xticklabels(told), ("left", "right")):
                text.set_horizontalalignment(side)
