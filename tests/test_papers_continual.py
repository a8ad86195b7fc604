"""Continual learning in its short form: the KAN keeps what it learnt, the MLP does not."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.papers import continual


def test_the_data_are_five_peaks_shown_one_by_one():
    points = continual.phases()
    assert points.shape == (5, 100)
    assert_allclose(points[[0, 2, 4]][:, [0, -1]], [[-1, -0.6], [-0.2, 0.2], [0.6, 1]], atol=1e-15)
    assert_allclose(continual.peaks(continual.centres()), 1, rtol=1e-10)
    assert_allclose(continual.peaks(np.array([0.05])), np.exp(-300 * 0.05**2), rtol=1e-12)


def test_the_kan_remembers_and_the_mlp_forgets(tmp_path, monkeypatch):
    table = continual.run(tmp_path, short=True)
    done = json.loads((tmp_path / "continual-short.json").read_text())["cells"]
    kan = np.array([phase[:2] for phase in done["KAN [1, 1]"]["phases"]])
    assert done["KAN [1, 1]"]["parameters"] == 203
    assert_allclose(kan, continual.PAPER, rtol=0.02)  # on the phase's data and on all so far
    for name in ("MLP tanh", "MLP relu"):
        own, seen = np.array([phase[:2] for phase in done[name]["phases"]]).T
        assert_allclose(own[0], seen[0], rtol=1e-12)
        assert (seen[1:] > 2 * own[1:]).all() and (seen[1:] > 1e4 * kan[1:, 1]).all()
    assert table.count("3.99e-06") >= 15
    assert (tmp_path / "continual-short.png").stat().st_size > 10_000
    monkeypatch.setattr(continual, "learn", lambda *args, **options: pytest.fail("the cell was there already"))
    assert continual.run(tmp_path, short=True) == table


def test_starts_follow_their_seed():
    for name in continual.NETWORKS:
        (net, theta), (_, again), (_, other) = (continual.build(name, seed) for seed in (0, 0, 1))
        assert theta.shape == (net.size,)
        assert_array_equal(theta, again)
        assert (theta != other).any()


def test_the_record_has_pykans_figure_in_every_phase():
    record = json.loads((Path(__file__).parent / "data" / "continual.json").read_text())
    kan = np.array([phase[:2] for phase in record["cells"]["KAN [1, 1]"]["phases"]])
    assert_allclose(kan, continual.PAPER, rtol=2e-3)
    assert min(record["cells"][name]["phases"][4][1] for name in ("MLP tanh", "MLP relu")) > 1
