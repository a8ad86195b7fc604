"""Regression across levels: target and limits without an optimiser, the map onto [0, 1], the short form, the record."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.check import check_basis, check_objective
from kanref.papers import regression

RECORD = Path(__file__).parent / "data" / "regression.json"


@pytest.mark.parametrize(
    "intervals, degree, angle, low, high",
    [  # bounds of four other sample seeds, computed independently, and 15 % for the seed
        (5, 3, 0.175, 1.71e-3, 1.78e-3),
        (10, 3, 0.175, 3.5e-4, 4.0e-4),
        (20, 3, 0.175, 1.7e-5, 2.4e-5),
        (40, 3, 0.175, 3.1e-6, 4.6e-6),
        (5, 2, 0.175, 4.1e-3, 4.1e-3),
        (5, 3, -0.175, 2.9e-3, 2.9e-3),
        (40, 3, -0.175, 1.0e-5, 1.1e-5),
    ],
)
def test_limits_on_the_true_directions(intervals, degree, angle, low, high):
    assert 0.85 * low <= regression.limit(intervals, 1234, degree, angle) <= 1.15 * high


def test_data_fill_the_square_and_the_unit_interval():
    x, y = regression.data(1234, 500)
    assert x.shape == (500, 2) and x.min() >= 1e-4 and x.max() <= 1 - 1e-4
    assert (y.min(), y.max()) == (0, 1)
    X, Y = regression.coordinates(np.array([[np.cos(0.175), np.sin(0.175)]]))
    assert_allclose([X[0], Y[0]], [1, 0], atol=1e-15)
    assert_allclose(regression.target(np.zeros((1, 2))), 1)
    assert not np.array_equal(x, regression.data(1235, 500)[0])


def test_directions_map_the_square_onto_the_unit_interval():
    w = np.array([[0.3, -2.0], [1.0, 0.0], [-0.5, -0.25]])
    net = regression.network()
    weights = regression.Directions((3, 2, 2))
    W = weights.tensor({"w": w})
    x = np.random.default_rng(0).random((50, 2))
    z = np.einsum("qpi,npi->nq", W, net.layers[0].terms["linear"].basis.derivatives(x, 0)[1][0])
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]) @ w.T
    assert_allclose(z, (x @ w.T - corners.min(0)) / np.ptp(corners, 0), atol=1e-14)
    assert_allclose(weights.tensor({"w": 7 * w}), W, atol=1e-15)
    with pytest.raises(TypeError, match="no other basis"):
        weights.rebased(np.eye(2))


def test_parts_keep_the_contracts():
    rng = np.random.default_rng(3)
    check_basis(regression.Ends(), rng.random((20, 2)))
    weights = regression.Directions((4, 3, 2))
    w = rng.normal(size=(4, 3))
    W_bar, step = rng.normal(size=weights.shape), 1e-6 * rng.normal(size=w.shape)
    change = weights.tensor({"w": w + step}) - weights.tensor({"w": w - step})
    assert_allclose((weights.pullback({"w": w}, W_bar)["w"] * step).sum(), (W_bar * change).sum() / 2, rtol=1e-6)
    kind, part = weights.select({"w": w}, np.array([2, 0]), np.array([1, 2]))
    assert kind.shape == (2, 2, 2) and (part["w"] == w[[2, 0]][:, [1, 2]]).all()
    W = weights.tensor({"w": w})
    assert_allclose(weights.tensor(weights.start(W)), W, atol=1e-15)


@pytest.mark.parametrize("trained_range, sizes", [(False, (50, 225)), (True, (55, 230))])
def test_networks_start_with_hidden_values_that_fill_the_domain(trained_range, sizes):
    for intervals, size in zip((5, 40), sizes):
        net = regression.network(intervals, trained_range)
        assert net.size == size
        theta = regression.start(net, 1234)
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
        z = net.activations(theta, corners)[1]
        assert_allclose([z.min(0), z.max(0)], [[0] * 5, [1] * 5], atol=1e-15)
    check_objective(regression.loss(1234, 40)(net), theta, np.random.default_rng(0))


def test_both_readings_start_with_one_function():
    x = regression.data(1234, 30)[0]
    values = []
    for trained_range in (False, True):
        net = regression.network(5, trained_range)
        values.append(net(regression.start(net, 1236), x))
    assert_allclose(*values, atol=1e-14)


def test_perceptrons_have_the_papers_numbers_of_parameters():
    sizes = [regression.perceptron(widths).size for widths in regression.PLAN["mlps"].values()]
    assert sizes == [20, 120, 500]


def test_short_form(tmp_path, monkeypatch):
    table = regression.run(tmp_path, short=True)
    done = json.loads((tmp_path / "regression-short.json").read_text())["cells"]
    loss = {key.split(" / ")[0]: cell["loss"] for key, cell in done.items() if "loss" in cell}
    assert loss["spline, multilevel"] < 0.1 * loss["spline, coarse"] < 0.1 * loss["ReLU, coarse"]
    assert loss["ReLU, multilevel"] > 100 * loss["spline, multilevel"]
    grids = [level[0] for level in done["spline, multilevel / 1234"]["levels"]]
    assert grids == [50, 75, 125, 225]  # 10 + 5 (n + 3)
    trace = np.array(done["spline, multilevel / 1234"]["trace"])
    assert (np.diff(trace[:, :2], axis=0) >= 0).all()
    assert "3.67e-05" in table and "true directions" in table
    assert (tmp_path / "regression-short.png").stat().st_size > 10_000
    monkeypatch.setattr(regression, "train", lambda *args, **options: pytest.fail("the cell was there already"))
    assert regression.run(tmp_path, short=True) == table
