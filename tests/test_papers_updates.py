"""The rank of real updates: every inequality on networks of this minute, what a cut leaves, and the record's claims."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import lotra
from kanref.bases import BSpline
from kanref.network import KAN, kan, spline_layer
from kanref.papers import updates
from kanref.tensors import hosvd, tucker

RECORD = Path(__file__).parent / "data" / "updates.json"


def pair(seed, size=0.3):
    """A network, theta, another theta, and samples, some of them outside the knots."""
    net = kan([2, 5, 4, 2], intervals=4, degree=4, outside="linear", base=None)
    rng, theta = np.random.default_rng(seed), net.init(seed)
    return net, theta, theta + rng.normal(0, size, net.size), rng.uniform(-1.3, 1.3, (200, 2))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_inequality(seed, rank):
    """max tau <= best <= HOSVD <= sum tau; outputs of a layer and of the network within their bounds at every sample."""
    net, before, after, x = pair(seed)
    cut = updates.cut(net, before, after, x, rank, lambda *_: 0.0, updates.steepness(net, after))
    chain = np.array([cut[name] for name in updates.CHAIN])
    assert (np.diff(chain, axis=0) >= -1e-12).all()
    assert (np.array(cut["layer"]) <= cut["layer bound"]).all() and cut["layer holds"]
    assert cut["network"] <= cut["estimate"] <= cut["bound"] and cut["network holds"]  # the estimate: as a rule only
    assert cut["network"] > 1e-3 * cut["bound"]


def test_full_ranks_leave_everything():
    net, before, after, x = pair(7)
    new, vector, T = updates.truncated(net, before, updates.weights(net, after - before), 9)
    assert_allclose(new(vector, x), net(after, x), rtol=0, atol=1e-12)
    cut = updates.cut(net, before, after, x, 9, lambda *_: 0.0, updates.steepness(net, after))
    assert max(cut["off"]) < 1e-13 and cut["network"] < 1e-12 and cut["network holds"]


def test_a_cut_is_the_first_network_plus_the_truncated_update():
    net, before, after, x = pair(8)
    update = updates.weights(net, after - before)
    new, vector, T = updates.truncated(net, before, update, 2)
    merged, theta = lotra.merge(new, vector)
    for l, (E, own) in enumerate(zip(update, T)):
        assert_allclose(own, tucker(*hosvd(E, tuple(min(2, n) for n in E.shape))), rtol=0, atol=1e-13)
        expected = net.split(before)[f"{l}.spline.W"] + own
        assert_allclose(merged.split(theta)[f"{l}.spline.W"], expected, rtol=0, atol=1e-13)


def test_steepness_bounds_every_layer_and_is_tight_for_a_line():
    net, _, theta, _ = pair(9)
    z = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 500, 5))
    layer, arrays = net.layers[1], net.of_layers(theta)[1]
    y = [layer.forward(arrays, own[None])[0][0] for own in z]
    quotient = np.linalg.norm(y[0] - y[1], axis=1) / np.linalg.norm(z[0] - z[1], axis=1)
    L = updates.steepness(net, theta)[1]
    assert quotient.max() <= L < 20 * quotient.max()
    basis = BSpline.uniform(1, 4, 4, outside="linear")
    line = KAN((spline_layer(1, 1, basis, base=None),))
    t = basis.knots[0]
    greville = np.array([t[i + 1 : i + 5].mean() for i in range(basis.size)])
    assert updates.steepness(line, 3 * greville)[0] == pytest.approx(3, rel=1e-12)


def test_gradients_are_those_of_the_layers_after():
    net, _, theta, x = pair(10)
    first, second, last = updates.gradients(net, theta, net.activations(theta, x))
    z, h = net.activations(theta, x)[2], 1e-6
    turned = [(net.layers[2].forward(net.of_layers(theta)[2], (z + s * h * e)[None])[0][0]) for e in np.eye(4) for s in (1, -1)]
    J = np.stack([(a - b) / (2 * h) for a, b in zip(turned[::2], turned[1::2])], -1)
    assert second == pytest.approx(np.linalg.norm(J, 2, axis=(1, 2)).max(), rel=1e-6)
    assert last == 1.0 and first <= np.prod(updates.steepness(net, theta)[1:])


def test_tables_of_splines_inside_the_knots_are_at_most_the_root_of_the_inputs():
    net, theta, _, _ = pair(11)
    x = np.random.default_rng(1).uniform(-1, 1, (100, 2))
    basis = net.layers[0].terms["spline"].basis
    B = updates.tables(net, theta, x)[0]
    assert_allclose(B, np.linalg.norm(basis.dense(x), axis=(1, 2)), rtol=1e-14)
    assert B.max() <= 2**0.5


def test_ranks_of_given_energies():
    assert updates.energy_ranks([3.1, 1.0, 0.15, 0.01]) == [1, 2, 3]  # 0.904, 0.998, 1 of the sum
    assert updates.energy_ranks([1.0]) == [1, 1, 1]


def test_short_form(tmp_path, monkeypatch):
    table = updates.run(tmp_path, short=True)
    done = json.loads((tmp_path / "updates-short.json").read_text())["cells"]
    check(done.values(), updates.SHORT)
    assert "random" in table and "10 of 10 cuts" in table
    assert (tmp_path / "updates-short.png").stat().st_size > 10_000
    monkeypatch.setattr(updates, "compute", lambda *args, **options: pytest.fail("the cell was there already"))
    assert updates.run(tmp_path, short=True) == table


def check(cells, plan):
    """Every inequality in the cuts of cells, and an error that training has made smaller."""
    for cell in cells:
        assert cell["errors"][1] < cell["errors"][0]
        for cut in cell["cuts"].values():
            chain = np.array([cut[name] for name in updates.CHAIN])
            assert (np.diff(chain, axis=0) >= -1e-3 * chain[1:] - 1e-12).all()  # four digits are kept
            assert cut["layer holds"] and cut["network holds"]
            assert cut["network"] <= cut["bound"] * 1.001 + 1e-12
        assert cell["cuts"][str(plan["ranks"][-1])]["error"] == pytest.approx(cell["errors"][1], rel=0.3)


# ------------------------------------------------------------------------------------------------------------ the record


@pytest.fixture(scope="module")
def record():
    """What `kanref reproduce updates` wrote."""
    record = json.loads(RECORD.read_text())
    assert record["settings"] == json.loads(json.dumps(updates.PLAN))
    return record["cells"]


def runs(record, row):
    return [record[f"{row} / {seed}"] for seed in updates.PLAN["seeds"]]


def test_every_inequality_in_the_record(record):
    check(record.values(), updates.PLAN)
    assert sum(len(cell["cuts"]) for cell in record.values()) == 150


@pytest.mark.parametrize("row", updates.PLAN["rows"])
def test_recorded_ranks_of_the_middle_layer(record, row):
    """90 % of the squares along outputs and inputs: updates below weights below random; along the basis, weights are lowest."""
    random = [updates.energy_ranks(s)[0] for s in updates.chance((16, 16, 12))]
    for run in runs(record, row):
        update, weights = ([updates.energy_ranks(s)[0] for s in run[what][1]] for what in ("update", "weights"))
        assert max(update[:2]) <= 7 and min(weights[:2]) >= 8 and min(random[:2]) >= 13
        assert weights[2] == 1 < update[2] <= 6 < random[2]


@pytest.mark.parametrize("row", updates.PLAN["rows"])
def test_recorded_cuts(record, row):
    """Low ranks are not enough: ranks 4 leave five times the error of the whole update, ranks 8 up to 62 times."""
    for run in runs(record, row):
        times = {rank: run["cuts"][str(rank)]["error"] / run["errors"][1] for rank in (4, 8, 16)}
        assert times[4] > 5 and 1.7 < times[8] < 62 and times[16] == pytest.approx(1, rel=1e-3)
        for rank in updates.PLAN["ranks"][:-1]:
            cut = run["cuts"][str(rank)]
            assert 5 < cut["bound"] / cut["network"] < 250 and 1 < cut["bound"] / cut["estimate"] < 3.5
            assert cut["network"] < cut["estimate"]
