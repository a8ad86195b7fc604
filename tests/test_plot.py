"""Figures: they show the numbers they claim to show, say what they leave out, and touch nothing else."""

import subprocess
import sys
from importlib import import_module
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from kanref import plot
from kanref.bases import BSpline, Chebyshev, tanh
from kanref.model import History, Model
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.plot.style import BLUE, GREY
from kanref.terms import Linear
from kanref.weights import Full

RNG = np.random.default_rng(11)
X = RNG.uniform(-1, 1, (150, 3))
X[:, 2] = X[:, 2] > 0
Y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + X[:, 2]
MODEL = Model.build([3, 4, 1], intervals=4, outside="linear")


def drawn(figure):
    """The figure, after drawing it in every way that can fail."""
    assert isinstance(figure, Figure)
    for form in ("png", "pdf"):
        figure.savefig(BytesIO(), format=form, dpi=40)
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def titles(figure):
    return [text for text in texts(figure) if text.startswith("Layer")]


def curve(ax):
    """x and y of the edge in a panel."""
    return ax.lines[1].get_xydata().T


def test_nothing_global_is_touched():
    code = "import sys; from kanref import plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    before = dict(matplotlib.rcParams)
    plot.edges(MODEL, X)
    plot.fit_quality(Y, Y, {"all": np.arange(150)})
    assert dict(matplotlib.rcParams) == before


# ---------------------------------------------------------------------------------------------------------- training


def fitted(**options):
    return MODEL.fit(X, Y, steps=6, intervals=[4, 5, 8], **options).history


def test_training_shows_every_step_of_both_losses():
    h = fitted(validation=0.3)
    figure = drawn(plot.training(h, [4, 5, 8]))
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in ax.lines}
    for label, values in (("training", h.loss), ("validation", h.validation)):
        shown = lines[label].get_ydata()
        assert_array_equal(shown[np.isfinite(shown)], values)
        assert_array_equal(np.flatnonzero(np.isnan(shown)), [7, 15])  # the line stops where a run does
    best = h.validation.argmin()
    assert_array_equal(lines[f"lowest, {h.validation[best]:.3g}"].get_xydata(), [[best, h.validation[best]]])
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "step"
    starts = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() not in ("-", "None")]
    assert_array_equal(starts, [7, 14])
    assert {"4 intervals", "5 intervals", "8 intervals"} < set(texts(figure))
    assert any(text.startswith("Training: 18 steps in") for text in texts(figure))


def test_training_without_validation_or_with_gaps_in_it():
    assert {line.get_label() for line in plot.training(fitted()).axes[0].lines} & {"training", "validation"} == {
        "training"
    }
    h = MODEL.fit(X, Y, optimizer="adam", batch=50, steps=8, validation=0.2).history
    line = next(line for line in drawn(plot.training(h)).axes[0].lines if line.get_label() == "validation")
    assert np.isfinite(line.get_ydata()).all() and len(line.get_ydata()) < len(h)


def test_labels_of_short_runs_do_not_overlap():
    h = MODEL.fit(X, Y, steps=60, intervals=[4]).fit(X, Y, steps=1, intervals=[5, 6, 8]).history
    figure = drawn(plot.training(h, [4, 5, 6, 8]))
    labels = [text for text in figure.findobj(matplotlib.text.Annotation) if "interval" in text.get_text()]
    boxes = [text.get_window_extent() for text in labels]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_training_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="history is empty: there is no training to show; call fit first"):
        plot.training(History.empty())
    with pytest.raises(ValueError, match="intervals must have one entry for each of 3 runs, but it has 2"):
        plot.training(fitted(), [4, 5])


# ------------------------------------------------------------------------------------------------------------- edges


def test_every_edge_is_drawn_as_it_is():
    figure = drawn(plot.edges(MODEL, X, ["a", "b", "c"], outputs=["u"]))
    assert len(figure.axes) == 3 * 4 + 4
    activations = MODEL.net.activations(MODEL.theta, X)
    panels = iter(figure.axes)
    for l, x in enumerate(activations[:-1]):
        means = MODEL.net.edges(MODEL.theta, l, x).mean(0)
        for q, p in np.ndindex(means.shape):
            shown_x, shown_y = curve(next(panels))
            inputs = np.zeros((len(shown_x), x.shape[1]))
            inputs[:, p] = shown_x
            assert_allclose(shown_y, MODEL.net.edges(MODEL.theta, l, inputs)[:, q, p] - means[q, p], atol=1e-12)
            assert shown_x.min() <= x[:, p].min() and x[:, p].max() <= shown_x.max()


def test_names_knots_values_and_the_common_axis():
    figure = plot.edges(
        MODEL, X, ["speed ($v$)", "b" * 30, "is it?"], outputs=["u"], ranges=[(0, 10), (-1, 1), (-1, 1)]
    )
    drawn(figure)
    first, long, last = figure.axes[:3]
    assert [ax.get_title() for ax in figure.axes[:3]] == ["speed ($v$)", "b" * 15 + "…", "is it?"]
    assert [ax.get_ylabel() for ax in figure.axes[:12:3]] == [f"node {q}" for q in (1, 2, 3, 4)]
    assert figure.axes[12].get_ylabel() == "u" and figure.axes[12].get_title() == "node 1"
    assert titles(figure) == ["Layer 1: from 3 inputs to 4 nodes", "Layer 2: from 4 inputs to 1 node"]
    assert len({ax.get_ylim() for ax in figure.axes[:12]}) == 1
    knots = next(line.get_xdata() for line in first.lines if line.get_marker() == "|")
    assert_allclose(knots, [0, 2.5, 5, 7.5, 10])
    dots = next(line.get_xdata() for line in last.lines if line.get_marker() == "o")
    assert_array_equal(dots, [0, 1])
    assert not [line for line in last.lines if line.get_marker() == "|"]


def test_the_histogram_is_that_of_the_samples():
    patch = plot.edges(MODEL, X).axes[0].patches[0]
    counts, bins = patch.get_data()[:2]
    expected, edges = np.histogram(X[:, 0], 25, (-1, 1))
    assert_allclose(bins, edges, atol=1e-12)
    assert_allclose(counts / counts.max(), expected / expected.max())


def test_one_layer_alone():
    figure = drawn(plot.edges(MODEL, X, layer=1))
    assert len(figure.axes) == 4 and titles(figure) == ["Layer 2: from 4 inputs to 1 node"]


def test_wide_layers_show_their_largest_edges_and_say_so(monkeypatch):
    monkeypatch.setattr(import_module("kanref.plot.edges"), "MAX_SHOWN", 4)
    wide = Model.build([10, 6, 1], intervals=2)
    wide.net.split(wide.theta)["0.spline.W"][:, [0, 3, 9]] *= 50
    x = RNG.uniform(-1, 1, (60, 10))
    figure = drawn(plot.edges(wide, x))
    assert len(figure.axes) == 16 + 4
    first, second = titles(figure)
    assert first == "Layer 1: from 10 inputs to 6 nodes; of 6 x 10 edges the 4 x 4 with the largest standard deviation"
    assert second == "Layer 2: from 6 inputs to 1 node; of 1 x 6 edges the 1 x 4 with the largest standard deviation"
    names = [ax.get_title() for ax in figure.axes[:4]]
    assert {"x1", "x4", "x10"} < set(names) and names == sorted(names, key=lambda name: int(name[1:]))
    square = plot.edges(Model.build([4, 4], intervals=2), x[:, :4])
    assert titles(square) == ["Layer 1: from 4 inputs to 4 nodes"]


def test_weak_edges_are_grey():
    quiet = Model.build([2, 1], intervals=3)
    views = quiet.net.split(quiet.theta)
    views["0.spline.W"][:, 1] = 0
    views["0.base.W"][:, 1] = 1e-6
    colours = [ax.lines[1].get_color() for ax in plot.edges(quiet, X[:, :2]).axes]
    assert colours == [BLUE, GREY]


cheb = Layer({"cheb": Linear(Chebyshev(3), Full((2, 3, 4)))})
KINDS = {
    "chebyshev": KAN((cheb,)),
    "products": kan([3, [2, 2], 2], intervals=2),
    "linear first": kan([3, 2, 1], first="linear"),
    "normalised": kan([3, 2, 1], intervals=2, normalise=tanh),
    "strict": kan([3, 2], intervals=2, outside="error"),
    "many knots": kan([3, 1], intervals=80, degree=0, base=None),
    "uneven": KAN((spline_layer(3, 2, BSpline(np.sort(RNG.normal(size=(3, 12)), 1), 2)),)),
    "no edges": Model(net := kan([3, 2, 1]), np.zeros(net.size)).net,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_kind_of_network_is_drawn(kind, dtype):
    net = KINDS[kind]
    theta = np.zeros(net.size) if kind == "no edges" else net.init(0)
    figure = drawn(plot.edges(Model(net, theta.astype(dtype)), X))
    panels = sum(layer.sums * layer.inputs for layer in net.layers)
    assert len(figure.axes) == panels
    assert ("sum 4" in texts(figure)) == (kind == "products")


BAD_EDGES = [
    ({"names": ["a"]}, "names must be 3 names, but there are 1"),
    ({"outputs": ["a", "b"]}, "outputs must be 1 names, but there are 2"),
    ({"layer": 2}, "layer must be from 0 to 1, but it is 2"),
    ({"ranges": [(0, 1)]}, r"ranges must have shape \(3, 2\), but it has shape \(1, 2\)"),
]


@pytest.mark.parametrize("options, message", BAD_EDGES)
def test_edges_refuse_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        plot.edges(MODEL, X, **options)


def test_edges_check_the_samples():
    with pytest.raises(ValueError, match=r"X must have shape \(samples, 3\)"):
        plot.edges(MODEL, X[:, :2])


# --------------------------------------------------------------------------------------------------------------- fit

SPLITS = {"train": np.arange(100), "validation": np.arange(100, 125), "test": np.arange(125, 150)}


def test_numbers_are_scattered_and_their_residuals_counted():
    prediction = Y + 0.1 * RNG.normal(size=150)
    figure = drawn(plot.fit_quality(Y, prediction, SPLITS, "range"))
    left, right = figure.axes
    for dots, rows in zip(left.collections, SPLITS.values()):
        assert_allclose(dots.get_offsets(), np.column_stack([Y[rows], prediction[rows]]))
    legend = [text.get_text() for text in right.get_legend().get_texts()]
    rmse = [np.sqrt(np.mean((prediction - Y)[rows] ** 2)) for rows in SPLITS.values()]
    assert legend == [f"{name} ({len(rows)}), RMSE {e:.3g}" for (name, rows), e in zip(SPLITS.items(), rmse)]
    assert (left.get_xlabel(), left.get_ylabel()) == ("true range", "predicted range")


def test_many_points_are_thinned_out():
    y = RNG.normal(size=20_000)
    dots = plot.fit_quality(y, y + 1, {"all": np.arange(20_000)}).axes[0].collections[0]
    assert len(dots.get_offsets()) == 4000


def test_perfect_predictions_can_be_drawn():
    drawn(plot.fit_quality(Y, Y, SPLITS))
    drawn(plot.fit_quality(np.ones(150), np.ones(150), SPLITS))


@pytest.mark.parametrize("labels", [np.array(["ash", "beech", "$oak$"]), np.array([4, 7, 9])])
def test_labels_make_confusion_matrices(labels):
    true, predicted = labels[RNG.integers(0, 3, 150)], labels[RNG.integers(0, 3, 150)]
    figure = drawn(plot.fit_quality(true, predicted, SPLITS, "tree"))
    for ax, (name, rows) in zip(figure.axes, SPLITS.items()):
        order = np.unique(labels)
        C = np.array([[((true == a) & (predicted == b))[rows].sum() for b in order] for a in order])
        assert_allclose(ax.images[0].get_array(), C / C.sum(1, keepdims=True))
        assert [int(text.get_text()) for text in ax.texts] == [count for count in C.ravel() if count]
        assert ax.get_title() == f"{name} ({len(rows)}): {np.trace(C) / len(rows):.1%} correct"
        assert [text.get_text() for text in ax.get_xticklabels()] == list(map(str, order))


def test_many_classes_show_no_numbers():
    true = np.arange(150) % 30
    figure = drawn(plot.fit_quality(true, true, {"all": np.arange(150)}))
    assert figure.axes[0].texts == [] or len(figure.axes[0].texts) == 0
    assert_allclose(figure.axes[0].images[0].get_array(), np.eye(30))


def test_fit_quality_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"vectors of one length, but they have shapes \(150,\) and \(149,\)"):
        plot.fit_quality(Y, Y[1:], SPLITS)
    with pytest.raises(ValueError, match="splits must be .name: rows. with at least one row in each"):
        plot.fit_quality(Y, Y, {"train": []})
