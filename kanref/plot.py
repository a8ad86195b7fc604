"""Figures of training, edges and fit, as `matplotlib.figure.Figure` objects: nothing is shown, nothing is written.

    plot.training(model.history).savefig("training.pdf")

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from functools import wraps

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kanref import arrays as border
from kanref.bases import BSpline

BLUE, VERMILLION, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#8C8C8C"
MAX_SHOWN = 12  # rows and columns of a grid of edges
WRAP = 6  # columns of edges that all lead to one output
CELL, LEFT, MIN_WIDTH = 1.3, 0.68, 5.5  # inches: of panels of edges with their gap, the margin, and a figure's least
HEAD, FOOT, FLAT, TALL = 0.62, 0.36, 0.82, 1.48  # heights: a layer's title, its foot, a row of panels, a wrapped row
MAX_SAMPLES = 4000  # points in a scatter
MAX_KNOTS = 50  # ticks that can still be told apart
MAX_LEVELS = 5  # distinct values up to which an input is marked by dots
MAX_NUMBERED = 12  # classes up to which a confusion matrix shows its counts
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,
}


def _styled(draw):
    """`draw` in this module's style; the user's settings are as before when it returns."""

    @wraps(draw)
    def styled(*args, **kwargs):
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


# ---------------------------------------------------------------------------------------------------------- training


@_styled
def training(history, intervals=None):
    """Loss and validation loss against the step on a logarithmic axis, with a line where a new run begins.

    history: of a `Model`; intervals: a number for each run, to label it with. Returns a Figure.
    """
    if not len(history):
        raise ValueError("history is empty: there is no training to show; call fit first")
    runs = len(history.reasons)
    if intervals is not None and len(intervals) != runs:
        raise ValueError(f"intervals must have one entry for each of {runs} runs, but it has {len(intervals)}")
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    ax = figure.add_subplot()
    step, starts = np.arange(len(history)), np.searchsorted(history.run, np.arange(runs))
    ax.plot(*_apart(step, history.loss, history.run), color=BLUE, lw=1.6, label="training")
    known = np.isfinite(history.validation)
    if known.any():
        line = _apart(step[known], history.validation[known], history.run[known])
        ax.plot(*line, color=VERMILLION, lw=1.6, label="validation")
        best = np.nanargmin(history.validation)
        ring = {"ms": 7, "mfc": "white", "mec": VERMILLION, "mew": 1.6, "ls": ""}
        ax.plot(best, history.validation[best], "o", **ring, label=f"lowest, {history.validation[best]:.3g}")
    for start in starts[1:]:
        ax.axvline(start, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
    if intervals is not None:
        _label_runs(ax, starts / max(1, len(history) - 1), intervals)
    ax.set(xlabel="step", ylabel="loss", xlim=(0, max(1, len(history) - 1)), yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.grid(axis="y", which="both", color="#EBEBEB", lw=0.6)
    ax.legend(loc="best")
    seconds = sum(history.seconds[history.run == k].max() for k in range(runs))
    figure.suptitle(f"Training: {len(history) - runs} steps in {seconds:.2g} s", fontsize=10.5)
    return figure


def _apart(x, y, run):
    """x and y with a NaN between runs, where a line is interrupted."""
    cuts = np.flatnonzero(np.diff(run)) + 1
    return np.insert(x.astype(float), cuts, np.nan), np.insert(y, cuts, np.nan)


def _label_runs(ax, starts, intervals):
    """Numbers of intervals above the axis where runs start (in shares of the axis), stacked where they would meet."""
    level, free = 0, -1.0
    for start, number in zip(starts, intervals):
        level = 0 if start >= free else level + 1
        free = max(free, start + 0.14)
        text = f"{number} {_plural('interval', number)}"
        options = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "color": "#555555"}
        ax.annotate(text, (start, 1), (0, 3 + 10 * level), **options)


# ------------------------------------------------------------------------------------------------------------- edges


@_styled
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
    X = border.points(X, net.inputs, "X")
    layers = range(len(net.layers)) if layer is None else [border.integer(layer, "layer", 0, len(net.layers) - 1)]
    names = _names(names, "names", net.inputs, "x")
    outputs = _names(outputs, "outputs", net.outputs, "y")
    ranges = np.tile([-1.0, 1.0], (net.inputs, 1)) if ranges is None else np.asarray(ranges, float)
    if ranges.shape != (net.inputs, 2):
        raise ValueError(f"ranges must have shape ({net.inputs}, 2), but it has shape {ranges.shape}")
    x_of = net.activations(model.theta, X[:: -(-len(X) // MAX_SAMPLES)])
    parts = [_Panels(model, l, x_of[l], ranges if l == 0 else None) for l in layers]
    wrap = max(WRAP, *(len(part.columns) for part in parts if len(part.rows) > 1), 0)
    columns = max(part.shape(wrap)[1] for part in parts)
    cell = max(CELL, (MIN_WIDTH - LEFT) / columns)
    width, height = LEFT + cell * columns, sum(part.height(wrap) for part in parts)
    figure, top = Figure(figsize=(width, height)), height
    for l, part in zip(layers, parts):
        nodes = net.layers[l].nodes
        above = outputs if l == len(net.layers) - 1 and not nodes else None
        above = _names(above, "outputs", net.layers[l].sums, "sum " if nodes else "node ")
        below = names if l == 0 else _names(None, "names", net.layers[l].inputs, "node ")
        part.draw(figure, top, cell, wrap, below, above)
        top -= part.height(wrap)
    return figure


def _names(names, what, count, default):
    names = [f"{default}{k + 1}" for k in range(count)] if names is None else [str(name) for name in names]
    if len(names) != count:
        raise ValueError(f"{what} must be {count} names, but there are {len(names)}")
    return names


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
        splines = [term.basis for term in layer.terms.values() if isinstance(term.basis, BSpline)]
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
                    ax.set_title(_short(below[p]), parse_math=False, pad=4)
                if column == 0:
                    ax.set_ylabel(_short(above[q]), parse_math=False)
                    ax.yaxis.set_label_coords(-0.4 / (cell - 0.2), 0.5)
        title = f"Layer {self.l + 1}: from {P} {_plural('input', P)} to {Q} "
        title += _plural("sum" if self.layer.nodes else "node", Q)
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


def _plural(word, count):
    return word if count == 1 else word + "s"


def _short(name, length=16):
    return name if len(name) <= length else name[: length - 1] + "…"


# --------------------------------------------------------------------------------------------------------------- fit


@_styled
def fit_quality(y, prediction, splits, name="y"):
    """How well predictions meet the truth.

    Numbers: predicted against true values, and a histogram of residuals (1% at the ends are not shown). Labels (text or
    integers): a confusion matrix for each split, coloured by the share of its row.

    y, prediction: (N,) in the user's units; splits: {"train": rows, ...}; name: of the target. Returns a Figure.
    """
    y, prediction = np.asarray(y), np.asarray(prediction)
    if y.shape != prediction.shape or y.ndim != 1:
        raise ValueError(
            f"y and prediction must be vectors of one length, but they have shapes {y.shape} and {prediction.shape}"
        )
    if not splits or not all(len(rows) for rows in splits.values()):
        raise ValueError("splits must be {name: rows} with at least one row in each")
    return (_scatter if y.dtype.kind == "f" else _confusion)(y, prediction, splits, name)


def _scatter(y, prediction, splits, name):
    figure = Figure(figsize=(8.2, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    ends = min(y.min(), prediction.min()), max(y.max(), prediction.max())
    left.plot(ends, ends, color="#555555", lw=0.9, zorder=3)
    size = float(np.clip(5000 / len(y), 5, 20))
    residual = prediction - y
    reach = np.quantile(np.abs(residual), 0.99) or 1.0
    fewest = min(len(rows) for rows in splits.values())
    bins = np.linspace(-reach, reach, 1 + int(np.clip(2 * np.sqrt(fewest), 6, 40)))
    for (split, rows), colour in zip(splits.items(), (BLUE, ORANGE, VERMILLION, GREEN)):
        few = rows[:: -(-len(rows) // MAX_SAMPLES)]
        dots = {"s": size, "color": colour, "alpha": 0.6, "linewidths": 0, "rasterized": len(few) > 1000}
        left.scatter(y[few], prediction[few], **dots)
        rmse = np.sqrt(np.mean(residual[rows] ** 2))
        label = f"{split} ({len(rows)}), RMSE {rmse:.3g}"
        weights = np.full(len(rows), 100 / len(rows))
        look = {"histtype": "step", "lw": 1.7} if split != "train" else {"alpha": 0.3}
        right.hist(residual[rows], bins, weights=weights, color=colour, label=label, **look)
    left.set_xlabel(f"true {name}", parse_math=False)
    left.set_ylabel(f"predicted {name}", parse_math=False)
    left.set_aspect("equal", adjustable="datalim")
    right.axvline(0, color="#555555", lw=0.9, zorder=0)
    right.set(xlabel="predicted less true", ylabel="rows, %")
    right.set_ylim(0, 1.25 * right.get_ylim()[1])
    right.legend(loc="upper left")
    return figure


def _confusion(y, prediction, splits, name):
    labels = np.unique(np.concatenate([y, prediction]))
    code = {label: i for i, label in enumerate(labels.tolist())}
    texts = [_short(str(label)) for label in labels]
    K, longest = len(labels), max(map(len, texts))
    upright = longest * K > 24
    side = float(np.clip(0.45 * K, 2.0, 6))
    size = len(splits) * side + 0.08 * longest + 1.7, side + 0.8 + (0.08 * longest if upright else 0.15)
    figure = Figure(figsize=size, layout="compressed")
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for ax, (split, rows) in zip(axes, splits.items()):
        C = np.zeros((K, K), int)
        np.add.at(C, ([code[v] for v in y[rows].tolist()], [code[v] for v in prediction[rows].tolist()]), 1)
        share = C / np.maximum(1, C.sum(1, keepdims=True))
        image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        if K <= MAX_NUMBERED:
            for i, j in np.argwhere(C):
                colour = "white" if share[i, j] > 0.55 else "black"
                ax.text(j, i, str(C[i, j]), ha="center", va="center", fontsize=8, color=colour)
        ax.set_title(f"{split} ({len(rows)}): {np.trace(C) / len(rows):.1%} correct")
        ax.set_xlabel(f"predicted {name}", parse_math=False)
        ax.set_xticks(range(K), texts, rotation=90 if upright else 0, parse_math=False)
        ax.set_yticks(range(K), texts, parse_math=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel(f"true {name}", parse_math=False)
    bar = figure.colorbar(image, ax=axes, aspect=25, format="{x:.0%}", label="share of the true class")
    bar.outline.set_visible(False)
    return figure
