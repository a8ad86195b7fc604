"""Relations found without supervision: permuted samples, what seeds find, the record, resuming."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.papers import unsupervised

RECORD = json.loads((Path(__file__).parent / "data" / "unsupervised.json").read_text())


def test_samples_obey_both_relations_and_permuted_ones_neither():
    X, y = unsupervised.contrast(400, seed=5)
    real, permuted = X[y == 1], X[y == 0]
    assert_allclose(np.log(real[:, 2]), np.sin(real[:, 0]) + real[:, 1] ** 2, atol=1e-12)
    assert_array_equal(real[:, 4], real[:, 3] ** 3)
    assert_array_equal(np.sort(permuted, axis=0), np.sort(real, axis=0))  # every column by itself is the same
    assert (np.abs(permuted[:, 4] - permuted[:, 3] ** 3) > 0.01).mean() > 0.9
    assert np.abs(np.corrcoef(permuted.T) - np.eye(6)).max() < 0.2


def test_a_seed_finds_one_relation():
    found = unsupervised.learn(0, **unsupervised.SETTINGS)
    assert found["group"] == "x1 x2 x3"
    assert found["accuracy"] > 0.85
    assert max(found["deviations"][3:]) < 0.05 * max(found["deviations"])


def test_edges_of_the_inverse_relation_cancel():
    settings = {name: value for name, value in unsupervised.SETTINGS.items() if name != "share"}
    model, X, y = unsupervised.train(1, **settings)
    assert unsupervised.learn(1, **unsupervised.SETTINGS)["group"] == "x4 x5"
    phi = model.net.edges(model.theta, 0, X[y == 1])[:, 0]
    assert phi.sum(1).std() < 0.25 * phi[:, 3].std()  # phi4(x4) + phi5(x4^3) = 0 where samples are real


def test_the_record_finds_relations_with_most_seeds():
    assert RECORD["settings"] == json.loads(json.dumps(unsupervised.SETTINGS))
    groups = [cell["group"] for cell in RECORD["cells"].values()]
    assert len(groups) == unsupervised.SEEDS
    assert all(groups.count(group) >= 10 for group in unsupervised.RELATIONS)
    assert sum(group in unsupervised.RELATIONS for group in groups) >= 0.9 * len(groups)
    table = unsupervised.text(RECORD["cells"])
    assert "2024" in table and f"of {unsupervised.SEEDS} seeds find exactly one relation" in table


def test_a_short_run_writes_and_resumes(tmp_path, monkeypatch):
    table = unsupervised.run(tmp_path, progress=False, short=True)
    assert "3 of 3 seeds find exactly one relation" in table
    assert (tmp_path / "unsupervised-short.png").stat().st_size > 10_000
    monkeypatch.setattr(unsupervised, "learn", lambda *_, **__: pytest.fail("computed again"))
    assert unsupervised.run(tmp_path, progress=False, short=True) == table
