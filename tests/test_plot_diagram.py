"""The diagram, the film of it and single edges: they show what the network computes, in places that keep apart."""

import subprocess
import sys
from dataclasses import dataclass, replace
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from kanref import plot
from kanref.bases import Chebyshev, MinMax
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.optimize import State
from kanref.plot.places import Places
from kanref.plot.style import INK, VERMILLION
from kanref.sparsify import attribute
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled

RNG = np.random.default_rng(5)


def samples(net, count=60):
    return RNG.uniform(-1, 1, (count, net.inputs))


def changed(net, masks=None, formulas=()):
    """A model of `net` with edges masked, {l: mask}, and formulas (l, q, p, name) in place of others."""
    layers = []
    for l, layer in enumerate(net.layers):
        own = tuple((q, p, LIBRARY[name]) for k, q, p, name in formulas if k == l)
        mask = np.array((masks or {}).get(l, np.ones((layer.sums, layer.inputs))), float)
        for q, p, _ in own:
            mask[q, p] = 0
        terms = {name: replace(term, weights=Masked(term.weights, mask)) for name, term in layer.terms.items()}
        if own:
            terms["symbolic"] = Symbolic(mask.shape, own)
        layers.append(replace(layer, terms=terms))
    net = KAN(tuple(layers))
    return Model(net, net.init(3))


def drawn(figure):
    """The figure, after drawing it in every format."""
    assert isinstance(figure, Figure)
    for form in ("png", "svg", "pdf"):
        file = BytesIO()
        figure.savefig(file, format=form, dpi=40)
        assert file.getbuffer().nbytes > 500
    return figure


def part(figure, gid):
    """The artist with a name, None if there is none."""
    return next(iter(figure.findobj(lambda artist: artist.get_gid() == gid)), None)


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def outlines(collection):
    return np.array([path.vertices for path in collection.get_paths()])


# ------------------------------------------------------------------------------------------------------------ diagram

NETS = {
    "hello": kan([2, 5, 1], intervals=4, outside="linear"),
    "products": kan([2, [1, [2, 3]], [0, 1]], intervals=3, affine=("subnode_scale", "node_bias")),
    "one edge": kan([1, 1], base=None, bias=True),
    "normalised": kan([3, 2, 2], intervals=2, normalise="tanh", inputs=MinMax([-1, -1, -1], [1, 1, 1])),
    "linear first": kan([3, 2, 1], first="linear", scaled=True),
    "strict": kan([3, 2], intervals=2, outside="error"),
    "chebyshev": KAN((Layer({"cheb": Linear(Chebyshev(3), Full((2, 3, 4)))}),)),
    "formulas": changed(kan([3, 2, 1]), formulas=[(0, 0, 1, "sin"), (1, 0, 0, "exp")]).net,
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_edge_is_drawn_as_it_is(kind, dtype):
    """A curve is phi over the range of its input, moved and stretched into its box, and as opaque as its score says."""
    net = NETS[kind]
    model, X = Model(net, net.init(1).astype(dtype)), samples(net)
    figure = drawn(plot.network(model, X))
    scores = attribute(net, model.theta, X)
    for l, x in enumerate(net.activations(model.theta, X)[:-1]):
        curves, boxes = part(figure, f"layer-{l + 1}-curves"), part(figure, f"layer-{l + 1}-boxes")
        Q, P = net.layers[l].sums, net.layers[l].inputs
        assert len(curves.get_segments()) == len(outlines(boxes)) == Q * P
        points = np.linspace(x.min(0), x.max(0), 61).astype(dtype)
        with np.errstate(invalid="ignore"):
            phi = net.edges(model.theta, l, np.clip(points, x.min(0), x.max(0)))
        for e, (p, q) in enumerate(np.ndindex(P, Q)):
            y, shown = phi[:, q, p].astype(float), curves.get_paths()[e].vertices
            if np.isfinite(y).all() and np.ptp(y) > 1e-6:
                scaled = (y - y.min()) / np.ptp(y)
                assert_allclose((shown[:, 1] - shown[:, 1].min()) / np.ptp(shown[:, 1]), scaled, atol=1e-5)
            low, high = outlines(boxes)[e].min(0), outlines(boxes)[e].max(0)
            assert (low < np.nanmin(shown, 0)).all() and (np.nanmax(shown, 0) < high).all()
            assert_allclose(curves.get_color()[e, 3], np.tanh(3 * scores.edges[l][q, p]), rtol=1e-6)
            assert_array_equal(boxes.get_edgecolor()[e], curves.get_color()[e])


@dataclass(frozen=True)
class Given:
    """Scores of somebody else's."""

    edges: list


def test_opacity_follows_scores_and_beta():
    net = NETS["hello"]
    scores = Given([RNG.uniform(size=(5, 2)), RNG.uniform(size=(1, 5))])
    figure = plot.network(Model(net, net.init(0)), samples(net), beta=1.7, scores=scores)
    lines = part(figure, "layer-1-lines").get_color()
    assert_allclose(lines[:, 3], np.tanh(1.7 * np.tile(scores.edges[0].T.ravel(), 2)))
    paper = plot.network(Model(net, net.init(0)), X := samples(net), metric="paper")
    expected = np.tanh(3 * attribute(net, net.init(0), X, "paper").edges[1][0])
    assert_allclose(part(paper, "layer-2-curves").get_color()[:, 3], expected)


def test_names_and_title():
    net = kan([2, 3, 2])
    words = {"names": ["$x_1$", "cost in $"], "outputs": ["$f$", 7], "title": r"a $\gamma$ b"}
    figure = drawn(plot.network(Model(net, net.init(0)), samples(net), **words))
    shown = {text.get_text(): text.get_parse_math() for text in figure.axes[0].texts}
    assert shown == {"$x_1$": True, "cost in $": False, "$f$": True, "7": False, r"a $\gamma$ b": True}
    plain = plot.network(Model(net, net.init(0)), samples(net))
    assert texts(plain) == ["x1", "x2", "y1", "y2"]


def test_mathematics_that_cannot_be_set_is_shown_as_it_stands():
    net = kan([2, 1])
    figure = drawn(plot.network(Model(net, net.init(0)), samples(net), names=[r"$\nonsense{$", ""]))
    assert texts(figure) == [r"$\nonsense{$", "y1"]


def test_a_product_is_a_sign_above_its_factors():
    net = NETS["products"]
    figure = plot.network(Model(net, net.init(0)), samples(net))
    signs = part(figure, "level-1-products").get_offsets()
    factors = outlines(part(figure, "layer-1-factors"))
    assert len(signs) == 2 and len(factors) == 6 and len(part(figure, "level-2-products").get_offsets()) == 1
    ends, counts = np.unique(factors[:, 1], axis=0, return_counts=True)
    assert_array_equal(counts, [1, 2, 3])
    assert_allclose(ends[1:], signs)
    assert (factors[:, 0, 1] < factors[:, 1, 1]).all()
    assert part(figure, "level-0-products") is None


def test_masked_edges_are_absent_and_idle_nodes_hollow():
    masks = {0: [[1, 1], [0, 0], [1, 0]], 1: [[1, 1, 0]]}
    model = changed(kan([2, 3, 1], scaled=True), masks)
    figure = drawn(plot.network(model, X := samples(model.net)))
    assert len(part(figure, "layer-1-curves").get_segments()) == 3
    assert len(part(figure, "layer-2-curves").get_segments()) == 2
    assert len(part(figure, "layer-1-lines").get_segments()) == 6
    white = to_rgba("white")
    hollow = [tuple(colour) == white for colour in part(figure, "level-1-nodes").get_facecolor()]
    assert hollow == [False, True, True]
    only_spline = replace(
        model.net.layers[0],
        terms={**model.net.layers[0].terms, "base": Linear(model.net.layers[0].terms["base"].basis, Full((3, 2, 1)))},
    )
    partly = KAN((only_spline, model.net.layers[1]))
    figure = plot.network(Model(partly, partly.init(0)), X)
    assert len(part(figure, "layer-1-curves").get_segments()) == 6


def test_nothing_left_can_be_drawn():
    model = changed(kan([2, 1]), {0: [[0, 0]]})
    figure = drawn(plot.network(model, samples(model.net)))
    assert part(figure, "layer-1-curves").get_segments() == []


def test_masks_are_found_below_scales():
    net = kan([2, 1])
    scaled = {name: replace(t, weights=Scaled(Masked(t.weights, [[1, 0]]))) for name, t in net.layers[0].terms.items()}
    net = KAN((replace(net.layers[0], terms=scaled),))
    figure = plot.network(Model(net, net.init(0)), samples(net))
    assert len(part(figure, "layer-1-curves").get_segments()) == 1


def test_formulas_are_red_and_named():
    model = changed(kan([2, 5, 1]), formulas=[(0, 1, 0, "sin"), (0, 0, 1, "x^2"), (1, 0, 1, "gaussian")])
    figure = drawn(plot.network(model, samples(model.net)))
    colours = part(figure, "layer-1-curves").get_color()
    red = [np.array_equal(colour[:3], to_rgba(VERMILLION)[:3]) for colour in colours]
    assert np.flatnonzero(red).tolist() == [1, 5]
    assert all(np.array_equal(colour[:3], to_rgba(INK)[:3]) for colour, is_red in zip(colours, red) if not is_red)
    assert {"sin", "x^2", "gaussian"} < set(texts(figure))
    boxes = outlines(part(figure, "layer-1-boxes"))[[1, 5]]
    to_inches = figure.axes[0].transData.inverted()
    canvas = FigureCanvasAgg(figure)
    for name, box in zip(("sin", "x^2"), boxes):
        text = next(text for text in figure.axes[0].texts if text.get_text() == name)
        extent = text.get_window_extent(canvas.get_renderer()).transformed(to_inches)
        assert (box.min(0) < extent.min).all() and (extent.max < box.max(0)).all()


def test_formulas_in_small_boxes_are_named_below():
    model = changed(kan([9, 9, 1], intervals=2), formulas=[(0, 3, 3, "sin"), (0, 4, 4, "exp"), (0, 5, 5, "sin")])
    assert "formulas: exp, sin" in texts(plot.network(model, samples(model.net)))


WIDTHS = [[2, 5, 1], [4, 2, 1, 1], [2, [1, 2], 1], [17, 1, 14], [3, 5, 5, 1], [10, 10, 10], [20, 20, 2], [1, 1]]


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_boxes_keep_apart_and_lines_clear_of_them(widths, share):
    net = kan(widths, intervals=1)
    masks = [RNG.uniform(size=(layer.sums, layer.inputs)) < share for layer in net.layers]
    places = Places.of(net, masks)
    for l, (row, mask) in enumerate(zip(places.rows, masks)):
        assert sorted(map(tuple, row.edges.tolist())) == sorted(map(tuple, np.argwhere(mask).tolist()))
        assert bool(row.side) == (0.8 * places.width / max(1, mask.sum()) >= 0.085)
        if not row.side or not mask.any():
            continue
        assert row.x.min() >= row.side / 2 and row.x.max() <= places.width - row.side / 2
        assert (np.diff(row.x) > 1.1 * row.side).all()
        assert places.levels[l] < row.y - row.side / 2 and row.y + row.side / 2 < row.sums_y <= places.levels[l + 1]
        lower, upper = row.lines(places.nodes[l], places.levels[l])
        assert lower[..., 1].max() <= row.y - row.side / 2 + 1e-12 and upper[..., 1].min() >= row.y + row.side / 2 - 1e-12


def test_many_edges_are_lines_only():
    net = kan([12, 12, 1], intervals=2)
    figure = drawn(plot.network(Model(net, net.init(0)), samples(net)))
    assert part(figure, "layer-1-boxes") is None and part(figure, "layer-1-curves") is None
    assert len(part(figure, "layer-1-lines").get_segments()) == 144
    assert len(part(figure, "layer-2-curves").get_segments()) == 12


LABELS = {
    "short": {"names": list("abcde"), "outputs": ["u", "v"]},
    "upright": {"names": [f"a rather long name {k}" for k in range(5)], "outputs": ["u" * 40, "v" * 40]},
    "title": {"title": "a long title that says more than one line has room for " * 3},
    "mathematics": {"names": [rf"$\theta_{{{k}}}$" for k in range(5)], "title": r"$\frac{\sin \pi x_1}{x_2^2 + \Gamma}$"},
}


@pytest.mark.parametrize("words", LABELS)
@pytest.mark.parametrize("hidden", [2, 30])
def test_labels_are_inside_and_apart(words, hidden):
    model = changed(kan([5, hidden, 2], intervals=1), formulas=[(0, 0, 0, "sin"), (1, 1, 1, "gaussian")])
    figure = plot.network(model, samples(model.net), **LABELS[words])
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) >= 7
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_thousand_inputs_are_drawn_without_names():
    net = kan([400, 1], intervals=1)
    figure = plot.network(Model(net, net.init(0)), samples(net))
    assert texts(figure) == ["y1"]


def test_one_axes_in_inches_and_nothing_global(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, net = dict(matplotlib.rcParams), kan([10, 10, 10])
    figure = drawn(plot.network(Model(net, net.init(0)), samples(net)))
    (ax,) = figure.axes
    assert_allclose(figure.get_size_inches(), [np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    plot.edge(Model(net, net.init(0)), samples(net), 1, 2, 3)
    assert dict(matplotlib.rcParams) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("column", [np.zeros(40), np.arange(40) % 2.0])
def test_inputs_of_few_values(column):
    net = NETS["hello"]
    X = np.column_stack([column, RNG.uniform(-1, 1, 40)])
    drawn(plot.network(Model(net, net.init(0)), X))
    drawn(plot.edge(Model(net, net.init(0)), X, 0, 0, 0))


BAD = [
    ({"names": ["a"]}, ValueError, "names must be 2 names, but there are 1"),
    ({"outputs": "ab"}, ValueError, "outputs must be 1 names, but there are 2"),
    ({"beta": 0}, ValueError, "beta must be a positive number, but it is 0"),
    ({"beta": "3"}, ValueError, "beta must be a positive number, but it is '3'"),
    ({"metric": "forward"}, ValueError, "metric must be one of 'backward', 'paper', 'pykan-0.0', but it is 'forward'"),
    ({"scores": Given([np.ones((5, 2))])}, ValueError, r"scores.edges must have the shapes \[\(5, 2\), \(1, 5\)\]"),
    ({"scores": Given([np.full((5, 2), np.nan)])}, ValueError, r"scores.edges\[0\] must be finite"),
]


@pytest.mark.parametrize("options, error, message", BAD)
def test_network_refuses_what_does_not_fit(options, error, message):
    net = NETS["hello"]
    with pytest.raises(error, match=message):
        plot.network(Model(net, net.init(0)), samples(net), **options)


def test_networks_that_are_not_finite_on_the_samples_are_refused():
    model = changed(kan([1, 1]), formulas=[(0, 0, 0, "log")])
    for draw in (plot.network, plot.edges, lambda *given: plot.edge(*given, 0, 0, 0)):
        with pytest.raises(ValueError, match=r"must be finite on X, but those of X\[1\] are \[nan\]; it lies outside the domain"):
            draw(model, np.array([0.5, -0.5]))
    drawn(plot.edge(model, np.array([0.5, 0.9]), 0, 0, 0))


def test_samples_are_checked():
    net = NETS["hello"]
    with pytest.raises(ValueError, match=r"X must have shape \(samples, 2\)"):
        plot.network(Model(net, net.init(0)), np.zeros((5, 3)))


# ----------------------------------------------------------------------------------------------------------- one edge


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_parts_of_an_edge_add_up_to_it(kind, dtype):
    net = NETS[kind]
    model, X = Model(net, net.init(1).astype(dtype)), samples(net)
    l = len(net.layers) - 1
    top, bottom = drawn(plot.edge(model, X, l, 0, 0, name="speed ($v$)")).axes
    lines = {line.get_label(): line for line in top.lines}
    x, phi = lines["edge function"].get_data()
    points = np.tile(net.activations(model.theta, X)[l][:1], (len(x), 1))
    points[:, 0] = x
    assert_allclose(phi, net.edges(model.theta, l, points)[:, 0, 0], atol=1e-6)
    parts = [y for label in ("silu", "identity") if label in lines for y in [lines[label].get_ydata()]]
    if top.collections:
        shapes = {tuple(path.vertices[:, 0]) for path in top.collections[0].get_paths()}
        assert shapes == {tuple(x)}
        parts += [np.nan_to_num(path.vertices[:, 1]) for path in top.collections[0].get_paths()]
    if parts:
        assert_allclose(np.sum(parts, 0), phi, atol=1e-5)
    assert bottom.get_xlabel() == "speed ($v$)"
    counts = bottom.patches[0].get_data()[0]
    assert counts.sum() == len(X)


def test_basis_functions_are_drawn_on_their_supports_and_knots_ticked():
    net = kan([2, 3, 1], intervals=4, degree=2, base=None)
    model = Model(net, net.init(0))
    top = plot.edge(model, samples(net), 0, 1, 1).axes[0]
    W, basis = net.split(model.theta)["0.spline.W"], net.layers[0].terms["spline"].basis
    (collection,) = top.collections
    assert len(collection.get_paths()) == np.count_nonzero(W[1, 1]) == 6
    for k, path in enumerate(collection.get_paths()):
        x, y = path.vertices[np.isfinite(path.vertices[:, 1])].T
        dense = basis.dense(np.column_stack([x, x]))[:, 1, k]
        assert_allclose(y, W[1, 1, k] * dense, atol=1e-12)
        assert x.min() >= max(-1, basis.knots[1, k]) - 0.01 and x.max() <= min(1, basis.knots[1, k + 3]) + 0.01
    knots = next(line.get_xdata() for line in top.lines if line.get_label() == "knots")
    assert_allclose(knots, [-1, -0.5, 0, 0.5, 1])


def test_knots_behind_an_input_map_are_where_the_map_reaches_them():
    net = kan([1, 1], intervals=4, inputs="tanh")
    top = plot.edge(Model(net, net.init(0)), np.linspace(-2, 2, 50), 0, 0, 0).axes[0]
    knots = next(line.get_xdata() for line in top.lines if line.get_label() == "knots")
    assert_allclose(knots, np.arctanh([-0.5, 0, 0.5]), atol=1e-4)


def test_the_title_of_a_formula_names_its_parameters():
    model = changed(kan([2, 3, 1]), formulas=[(0, 2, 1, "sin")])
    model.net.split(model.theta)["0.symbolic.affine"][:] = [[3.14159, 0.25, -2, 7]]
    figure = drawn(plot.edge(model, samples(model.net), 0, 2, 1))
    title = "Layer 1: from input 2 to node 3\nc f(a x + b) + d with f = sin, a = 3.142, b = 0.25, c = -2, d = 7"
    assert title in texts(figure)
    (zero, line) = figure.axes[0].lines  # no knots, no other part: the splines are masked here
    assert line.get_color() == VERMILLION
    others = plot.edge(model, samples(model.net), 0, 2, 0)
    assert "Layer 1: from input 1 to node 3" in texts(others) and "input 1" in texts(others)


def test_edge_refuses_what_is_not_there():
    net = NETS["products"]
    model, X = Model(net, net.init(0)), samples(net)
    for place, message in {
        (2, 0, 0): "l must be from 0 to 1, but it is 2",
        (0, 6, 0): "q must be from 0 to 5, but it is 6",
        (0, 0, 2): "p must be from 0 to 1, but it is 2",
    }.items():
        with pytest.raises(ValueError, match=message):
            plot.edge(model, X, *place)
    with pytest.raises(TypeError, match="q must be an integer"):
        plot.edge(model, X, 0, 0.5, 0)
    assert "Layer 1: from input 1 to sum 6" in texts(plot.edge(model, X, 0, 5, 0))


# --------------------------------------------------------------------------------------------------------------- film

X = RNG.uniform(-1, 1, (50, 2))
Y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
SMALL = Model.build([2, 2, 1], intervals=3)


def steps(film):
    return [frame.step for frame in film.frames]


def test_a_film_of_training(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    film = plot.Film(SMALL, X, every=2, names=["a", "b"], title="T")
    trained = SMALL.fit(X, Y, steps=5, callback=film)
    assert steps(film) == [0, 2, 4] and not list(tmp_path.iterdir())
    figures = list(film.figures())
    assert ["a", "b", "y1", "T, step 5"] == texts(figures[-1]) and "T, step 0" in texts(figures[0])
    same = plot.network(trained, X)
    for l in (1, 2):
        shown, expected = (part(figure, f"layer-{l}-curves") for figure in (figures[-1], same))
        assert_array_equal(shown.get_color(), expected.get_color())
    film.save("training.gif", dpi=30)
    with Image.open("training.gif") as gif:
        assert gif.n_frames == 4
        assert_allclose(gif.size, 30 * figures[0].get_size_inches(), atol=1)
        gif.seek(3)
        assert gif.info["duration"] > 2000
    assert SMALL.fit(X, Y, steps=5).theta.tobytes() == trained.theta.tobytes()


def test_a_film_follows_the_grid():
    film = plot.Film(SMALL, X, every=4)
    trained = SMALL.fit(X, Y, steps=6, intervals=[3, 5, 9], callback=film)
    assert steps(film) == [0, 4, 8, 12, 16]
    assert [frame.net.layers[0].terms["spline"].basis.intervals for frame in film.frames] == [3, 3, 5, 5, 9]
    for ours, theirs in zip(film._last.net.layers, trained.net.layers):
        assert_allclose(ours.terms["spline"].basis.knots, theirs.terms["spline"].basis.knots, rtol=1e-14)
    assert len(list(film.figures())) == 6  # and the last state


def test_memory_is_bounded():
    film = plot.Film(SMALL, X, every=1, limit=4)
    for step in range(40):
        film(State(step, SMALL.theta, 0.0, 0.0, 0.0, step, 0.0))
        assert len(film.frames) <= 4
    assert steps(film) == [0, 16, 32] and film.every == 16


def test_what_a_film_refuses(tmp_path):
    film = plot.Film(SMALL, X)
    with pytest.raises(ValueError, match=r"the film has no frames: train with fit\(..., callback=film\) first"):
        film.save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="a film is a GIF, so path must end in .gif, but it is 'a.mp4'"):
        film.save("a.mp4")
    with pytest.raises(ValueError, match="the film is of a network with 42 parameters, but theta has 43"):
        film(State(0, np.zeros(43), 0.0, 0.0, 0.0, 0, 0.0))
    with pytest.raises(ValueError, match="seconds must be a positive number, but it is 0"):
        film.save("a.gif", seconds=0)
    with pytest.raises(ValueError, match="every must be at least 1, but it is 0"):
        plot.Film(SMALL, X, every=0)
    with pytest.raises(ValueError, match=r"X must have shape \(samples, 2\)"):
        plot.Film(SMALL, X[:, :1])
    assert not list(tmp_path.iterdir())


def test_pyplot_is_never_imported(tmp_path):
    code = (
        "import sys; import numpy as np; from kanref import Model, plot; m = Model.build([2, 1], intervals=2);"
        "X = np.random.default_rng(0).uniform(-1, 1, (9, 2)); film = plot.Film(m, X, every=1);"
        f"m.fit(X, X[:, 0], steps=1, callback=film); film.save({str(tmp_path / 'a.gif')!r}, dpi=20);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
