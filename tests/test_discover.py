"""The pipeline finds exact formulas by itself, approximate ones where there is noise, and loses nothing to Ctrl-C."""

from dataclasses import replace

import numpy as np
import pytest

import kanref.discover as pipeline
from kanref import optimize
from kanref.discover import discover
from kanref.edges import Symbolic
from kanref.model import Model

X = np.random.default_rng(0).uniform(-1, 1, (400, 3))


def sum_of_two(X):
    return np.sin(3 * X[:, 0]) + X[:, 1] ** 2


@pytest.fixture(scope="module")
def hello():
    """Hello world, and what was said on the way."""
    X, said = np.random.default_rng(3).uniform(-1, 1, (1000, 2)), []
    y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)
    return discover(Model.build([2, 5, 1], intervals=3), X, y, say=lambda *step: said.append(step)), said


def test_hello_world_is_exact(hello):
    found, _ = hello
    X = np.random.default_rng(9).uniform(-1, 1, (1000, 2))
    assert [str(e) for e in found.formula.expressions] == ["exp(x2**2 + sin(pi*x1))"]
    assert found.formula.after.largest < 1e-10
    assert found.model.rmse(X, np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)) < 1e-9
    assert not found.interrupted and "x**2" not in str(found)


def test_every_step_is_told_and_kept(hello):
    found, said = hello
    assert tuple(said) == found.steps
    whats, widths, sizes, errors = zip(*said)
    assert whats[:3] == ("trained", "sparse training", "pruned by scores") and whats[-1].startswith("edge ")
    assert widths[0] == (2, 5, 1) and widths[-1] == (2, 1, 1) and sizes[0] == found.sparse.net.size
    assert errors[-1] < 1e-10 < errors[-2]


def test_stages_are_the_networks_of_the_paper(hello):
    found, _ = hello
    assert found.sparse.net.widths == (2, 5, 1) and found.splines.net.widths == (2, 1, 1)
    assert not any(isinstance(term, Symbolic) for layer in found.splines.net.layers for term in layer.terms.values())
    assert [row.split()[:4] for row in found.model.report.splitlines()[1:]] == [
        ["0", "0", "->", "0"],
        ["0", "1", "->", "0"],
        ["1", "0", "->", "0"],
    ]


def test_nothing_but_formulas_is_left_in_theta(hello):
    net = hello[0].model.net
    assert all(set(layer.terms) == {"symbolic"} for layer in net.layers)
    assert {name.split(".", 1)[1] for name in net.layout} <= {"symbolic.affine", "bias"}


def test_the_same_seed_gives_the_same_bits():
    runs = [discover(Model.build([2, 1], intervals=3), X[:, :2], sum_of_two(X), seed=4) for _ in range(2)]
    assert runs[0].model.theta.tobytes() == runs[1].model.theta.tobytes()


EXACT = {
    "no hidden node": (Model.build([2, 1], intervals=3), sum_of_two, ["x2**2 + sin(3*x1)"]),
    "absolute errors": (Model.build([2, 1], intervals=3, task="absolute"), sum_of_two, ["x2**2 + sin(3*x1)"]),
    "two outputs": (
        Model.build([2, 2], intervals=3),
        lambda X: np.stack([np.sin(3 * X[:, 0]), X[:, 1] ** 2], 1),
        ["sin(3*x1)", "x2**2"],
    ),
    "an idle column": (
        Model.build([3, 2, 1], intervals=3),
        lambda X: np.exp(2 * X[:, 0]) + X[:, 2],
        ["x3 + exp(2*x1)"],
    ),
    "a root": (Model.build([2, 2, 1], intervals=3), lambda X: np.hypot(X[:, 0], X[:, 1]), ["sqrt(x1**2 + x2**2)"]),
    "a layer too many": (
        Model.build([2, 1, 1, 1], intervals=3),
        lambda X: np.exp(X[:, 0] + X[:, 1] ** 2),
        ["exp(x1 + x2**2)"],
    ),
}


@pytest.mark.parametrize("model, function, expressions", EXACT.values(), ids=EXACT)
def test_exact_formulas(model, function, expressions):
    x = X[:, : model.width]
    found = discover(model, x, function(x))
    assert [str(e) for e in found.formula.expressions] == expressions
    assert found.formula.after.largest < 1e-10
    assert np.abs(found.model.predict(x) - function(x)).max() < 1e-7


def test_idle_columns_are_pruned_and_still_given():
    found = discover(Model.build([3, 1], intervals=3), X, np.exp(2 * X[:, 0]) + X[:, 2])
    assert found.model.columns == (0, 2) and found.model.width == 3
    assert np.abs(found.model.predict(X) - np.exp(2 * X[:, 0]) - X[:, 2]).max() < 1e-10


def test_noise_is_not_learnt():
    clean, noise = np.exp(sum_of_two(X)), 0.05 * np.random.default_rng(1).normal(size=len(X))
    found = discover(Model.build([2, 3, 1], intervals=3), X[:, :2], clean + noise)
    assert found.model.rmse(X[:, :2], clean) < 0.02
    assert found.model.net.size < 20


@pytest.mark.parametrize("task, widths, labels", [("binary", [2, 1], 2), ("classification", [2, 3], 3)])
def test_labels(task, widths, labels):
    wanted = lambda X: np.digitize((X[:, :2] ** 2).sum(1), [0.5, 1.0][: labels - 1])
    found = discover(Model.build(widths, intervals=3, task=task), X[:300, :2], wanted(X[:300]))
    more = np.random.default_rng(7).uniform(-1, 1, (1000, 2))
    assert found.model.score(more, wanted(more)) > 0.9
    assert len(found.formula.expressions) == widths[-1]


def test_a_table_longer_than_the_search_needs_is_used_in_the_end(monkeypatch):
    monkeypatch.setattr(pipeline, "SAMPLES", 100)
    rows, fit = [], Model.fit
    monkeypatch.setattr(Model, "fit", lambda self, X, y, **options: rows.append(len(X)) or fit(self, X, y, **options))
    found = discover(Model.build([2, 1], intervals=3), X[:, :2], sum_of_two(X))
    assert set(rows[:-1]) == {100} and rows[-1] == 320
    assert found.formula.after.largest < 1e-10


def test_interruption_before_there_is_a_formula_is_raised(monkeypatch):
    fit, count = Model.fit, iter(range(1000))

    def interrupted(self, X, y, **options):
        model = fit(self, X, y, **options)
        reason = optimize.Stop.INTERRUPTED.value
        stopped = replace(model.history, reasons=(*model.history.reasons[:-1], reason))
        return replace(model, history=stopped) if next(count) == 3 else model

    monkeypatch.setattr(Model, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        discover(Model.build([2, 1], intervals=3), X[:, :2], sum_of_two(X))


def test_interruption_later_keeps_the_formula(monkeypatch):
    def interrupted(self, model, splines):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(pipeline._Work, "exchanged", interrupted)
    found = discover(Model.build([2, 1], intervals=3), X[:, :2], sum_of_two(X))
    assert found.interrupted and [str(e) for e in found.formula.expressions] == ["x2**2 + sin(3*x1)"]


def test_a_library_without_any_use_is_refused():
    with pytest.raises(ValueError, match="library must have a function for every edge.*no network can be trained with"):
        library = [pipeline.symbolic.snap.LIBRARY["sqrt"]]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline._Work, "attempt", lambda self, model: (np.inf, model))
            discover(Model.build([1, 1], intervals=3), X[:, :1], X[:, 0] ** 2, library=library)


@pytest.mark.parametrize("y", [np.zeros(60), np.ones((60, 1))])
def test_a_constant_has_no_formula_to_find(y):
    with pytest.raises(ValueError, match="y is constant"):
        discover(Model.build([2, 2, 1]), np.random.default_rng(0).uniform(-1, 1, (60, 2)), y)
