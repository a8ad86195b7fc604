"""One edge: its function, what it is made of, and the data that arrive at it."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kanref import arrays as border
from kanref.bases import BSpline
from kanref.edges import Symbolic
from kanref.plot.style import BLUE, GREEN, MAX_KNOTS, ORANGE, VERMILLION, activations, seen, styled
from kanref.terms import Linear

POINTS = 401
BINS = 40


@styled
def edge(model, X, l, q, p, name=None):
    """The function phi_{q,p} of layer l, its parts, and below it a histogram of what arrives from samples X (N, n).

    The parts add up to the function: basis functions times their coefficients, thin; every term of one function, dashed.
    All is drawn over the samples and, if the edge has B-splines, the domain of their grid; ticks are the knots. Where an
    input map comes first, the axis shows values before the map. The title of a formula names function and parameters.

    l, q, p: counted from 0, as in `KAN.edges`; the title counts from 1, as `edges` does; name: of the quantity that
    arrives. Returns a Figure.
    """
    net, theta = model.net, model.theta
    X, _ = seen(model, X)
    l = border.integer(l, "l", 0, len(net.layers) - 1)
    layer = net.layers[l]
    q, p = border.integer(q, "q", 0, layer.sums - 1), border.integer(p, "p", 0, layer.inputs - 1)
    x = activations(model, X)[l]
    arrays = {key.split(".", 1)[1]: a for key, a in net.split(theta).items() if key.startswith(f"{l}.")}
    basis = next((b for _, b in _live(layer, arrays, q, p) if isinstance(b, BSpline)), None)
    ends = [x[:, p].min(), x[:, p].max()]
    if basis is not None and layer.normalise is None:
        ends = [min(ends[0], basis.domain[p, 0]), max(ends[1], basis.domain[p, 1])]
    start, stop = ends if ends[0] < ends[1] else (ends[0] - 1, ends[1] + 1)
    points = np.tile(x[:1], (POINTS, 1))  # the other inputs are those of some sample
    points[:, p] = np.clip(np.linspace(start, stop, POINTS), start, stop)
    inner = points if layer.normalise is None else layer.normalise.derivatives(points, 0)[1][0, ..., 0]
    parts = [_values(layer.terms[label], arrays, label, inner, q, p) for label, _ in _live(layer, arrays, q, p)]
    formula = _formula(layer, arrays, q, p)

    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.axhline(0, color="#CCCCCC", lw=0.6, zorder=0)
    at = points[:, p]
    for (label, function), values in zip(_live(layer, arrays, q, p), parts):
        if values.shape[1] > 1:
            idle = values == 0
            idle[1:-1] &= (values[:-2] == 0) & (values[2:] == 0)  # outside its support a function is not drawn
            lines = [np.stack([at, v], 1) for v in np.where(idle, np.nan, values).T if np.isfinite(v).any()]
            label = "B-splines" if isinstance(function, BSpline) else label
            top.add_collection(LineCollection(lines, colors=ORANGE, linewidths=0.9, label=f"{label}, each scaled"))
        elif len(parts) > 1:
            top.plot(at, values, color=GREEN, lw=1.2, ls=(0, (4, 2)), label=getattr(function, "name", label))
    phi = net.edges(theta, l, points)[:, q, p]
    top.plot(at, phi, color=VERMILLION if formula else BLUE, lw=2, label="edge function", zorder=3)
    top.autoscale()
    if basis is not None and basis.intervals <= MAX_KNOTS:
        ticks = _ticks(basis.knots[p, basis.degree : basis.size + 1], inner[:, p], at)
        style = {"color": "#555555", "ms": 7, "mew": 0.8, "clip_on": False}
        top.plot(ticks, np.zeros(len(ticks)), "|", transform=top.get_xaxis_transform(), label="knots", **style)
    top.set_ylabel(rf"$\varphi_{{{q + 1},{p + 1}}}$", fontsize=11)
    top.yaxis.set_major_locator(MaxNLocator(5))
    top.tick_params(axis="x", bottom=False)
    if len(top.get_legend_handles_labels()[0]) > 1:
        top.legend(loc="best", fontsize=8)

    counts, bins = np.histogram(x[:, p], BINS, (start, stop))
    bottom.stairs(counts, bins, fill=True, color="#C9C9C9")
    pad = 0.02 * (stop - start)
    bottom.set(xlim=(start - pad, stop + pad), ylim=(0, 1.1 * counts.max()), ylabel="samples")
    bottom.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    source = f"{'node' if l else 'input'} {p + 1}"
    bottom.set_xlabel(source if name is None else str(name), parse_math=False)
    figure.align_ylabels()
    title = f"Layer {l + 1}: from {source} to {'sum' if layer.nodes else 'node'} {q + 1}"
    figure.suptitle("\n".join(filter(None, (title, formula))), fontsize=10.5, parse_math=False)
    return figure


def _live(layer, arrays, q, p):
    """(label, basis or term) of the terms that contribute to an edge."""
    for label, term in layer.terms.items():
        if isinstance(term, Linear) and _weights(term, arrays, label)[q, p].any():
            yield label, term.basis
        elif not isinstance(term, Linear | Symbolic) or (isinstance(term, Symbolic) and _row(term, q, p) is not None):
            yield label, term


def _own(term, arrays, label):
    return {key: arrays[f"{label}.{key}"] for key in term.arrays}


def _weights(term, arrays, label):
    return term.weights.tensor(_own(term, arrays, label))


def _row(term, q, p):
    """The index of an edge's formula."""
    return next((e for e, edge in enumerate(term.formulas) if edge[:2] == (q, p)), None)


def _values(term, arrays, label, x, q, p):
    """The summands of a term on an edge at x (N, P): (N, K) for K basis functions, else (N, 1)."""
    if not isinstance(term, Linear):
        return term.edges(_own(term, arrays, label), x)[:, q, p, None]
    first, b = term.basis.derivatives(x, 0)
    B = np.zeros((len(x), term.basis.size), x.dtype)
    np.put_along_axis(B, first[:, p, None] + np.arange(term.basis.window), b[0][:, p], -1)
    return B * _weights(term, arrays, label)[q, p].astype(x.dtype)


def _ticks(knots, inner, at):
    """Where knots are reached on the axis `at`, if `inner`, its image under the input map, rises."""
    if not (np.diff(inner) > 0).all():
        return np.empty(0)
    return np.interp(knots[(inner[0] <= knots) & (knots <= inner[-1])], inner, at)


def _formula(layer, arrays, q, p):
    """The formula of an edge in words, "" if it has none."""
    for label, term in layer.terms.items():
        if isinstance(term, Symbolic) and (e := _row(term, q, p)) is not None:
            a, b, c, d = arrays[f"{label}.affine"][e]
            name = term.formulas[e][2].name
            return f"c f(a x + b) + d with f = {name}, a = {a:.4g}, b = {b:.4g}, c = {c:.4g}, d = {d:.4g}"
    return ""
