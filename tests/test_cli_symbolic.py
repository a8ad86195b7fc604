"""The command line's way to a formula: `kanref demo --symbolic`, `kanref fit --sparsify --symbolic`."""

import csv
import json
import runpy

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kanref
from kanref import cli
from kanref.model import Model
from kanref.tables import write_csv

FORMULA = {"formula.txt", "formula.tex", "formula.py", "formula.c", "network.png"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demonstration writes, and its figures."""
    folder = tmp_path_factory.mktemp("symbolic") / "demo"
    assert cli.main(["demo", "--symbolic", "--quiet", "--out", str(folder)]) == 0
    return folder, json.loads((folder / "metrics.json").read_text())


def test_the_demonstration_ends_in_the_formula_with_its_certificate(demo):
    folder, report = demo
    assert FORMULA <= {path.name for path in folder.iterdir()}
    text = (folder / "formula.txt").read_text()
    assert text.startswith("y = exp(x2**2 + sin(pi*x1))\nlargest difference between formula and network:")
    assert report["formula"]["expressions"] == ["exp(x2**2 + sin(pi*x1))"]
    assert report["formula"]["certificate"]["data"] < 1e-10
    assert report["metrics"]["formula"]["test"]["rmse"] < 1e-9
    assert list(report["metrics"]) == ["kan", "sparse", "formula", "linear", "constant"]
    assert "e^{x_{2}^{2} + \\sin{\\left(\\pi x_{1} \\right)}}" in (folder / "formula.tex").read_text()
    assert "0 -> 0  sin" in (folder / "summary.txt").read_text()


def test_the_function_that_was_written_predicts_in_the_tables_units(demo):
    folder, _ = demo
    kan = runpy.run_path(folder / "formula.py")["kan"]
    with open(folder / "hello.csv", newline="") as file:
        rows = np.array([[float(cell) for cell in row] for row in list(csv.reader(file))[1:]])
    assert_allclose(kan(rows[:, :2])[:, 0], rows[:, 2], atol=1e-9)


def test_the_model_that_was_written_predicts(demo, capsys):
    folder, _ = demo
    assert cli.main(["predict", str(folder), str(folder / "hello.csv")]) == 0
    out = capsys.readouterr().out.splitlines()
    x1, x2, y = (float(cell) for cell in (folder / "hello.csv").read_text().splitlines()[1].split(","))
    assert_allclose(float(out[1].split(",")[1]), y, atol=1e-9)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """z = 3 sqrt(size) + 5 and noise, a column of text that matters, one of numbers that does not."""
    folder, rng, N = tmp_path_factory.mktemp("noisy"), np.random.default_rng(2), 300
    size, idle, kind = rng.uniform(2, 90, N), rng.normal(size=N), rng.integers(0, 2, N)
    z = 3 * np.sqrt(size) + 5 + 4 * kind + 0.1 * rng.normal(size=N)
    write_csv(folder / "noisy.csv", ["size (m)", "idle", "kind", "z"], [size, idle, np.array(["p", "q"])[kind], z])
    return folder


def test_a_noisy_table_gives_a_formula_as_good_as_the_noise_allows(noisy):
    out = noisy / "out"
    options = ["--target", "z", "--symbolic", "--hidden", "1", "--quiet", "--out", str(out)]
    assert cli.main(["fit", str(noisy / "noisy.csv"), *options]) == 0
    report = json.loads((out / "metrics.json").read_text())
    assert report["metrics"]["formula"]["test"]["rmse"] < 0.2
    assert "size (m)" in report["formula"]["expressions"][0] and "idle" not in report["formula"]["expressions"][0]
    assert report["formula"]["certificate"]["data_relative"] < 1e-3


def test_sparse_training_drops_inputs_that_do_not_matter(noisy):
    out = noisy / "sparse"
    options = ["--target", "z", "--sparsify", "0.01", "--hidden", "2", "--steps", "60", "--quiet", "--out", str(out)]
    assert cli.main(["fit", str(noisy / "noisy.csv"), *options]) == 0
    report = json.loads((out / "metrics.json").read_text())
    assert list(report["metrics"]) == ["kan", "sparse", "linear", "constant"]
    assert report["settings"]["sparsify"] == 0.01
    assert (out / "network.png").stat().st_size > 10_000 and not (out / "formula.txt").exists()
    model = kanref.load(out / "model.safetensors")
    assert model.width == len(report["features"]) and model.net.size < 200
    assert "does not matter: idle" in (out / "summary.txt").read_text()


@pytest.mark.parametrize("option", ["--sparsify", "--symbolic"])
def test_ctrl_c_on_the_way_keeps_what_was_trained_before(noisy, monkeypatch, capsys, option):
    whole, calls = Model.fit, []

    def fit(self, *data, callback=None, **options):
        calls.append(1)

        def stop(state):
            if state.step == 3:
                raise KeyboardInterrupt

        return whole(self, *data, callback=stop if len(calls) == 2 else callback, **options)

    monkeypatch.setattr(Model, "fit", fit)
    out = noisy / f"stopped{option}"
    options = ["--target", "z", option, "--hidden", "1", "--intervals", "3", "--quiet", "--out", str(out)]
    assert cli.main(["fit", str(noisy / "noisy.csv"), *options]) == 130
    report = json.loads((out / "metrics.json").read_text())
    assert len(calls) == 2 and report["interrupted"] and list(report["metrics"]) == ["kan", "linear", "constant"]
    assert "kanref: interrupted; what follows is the best so far" in capsys.readouterr().err
    assert kanref.load(out / "model.safetensors").net.widths[1:] == (1, 1)


def test_it_is_said_what_y_is(noisy, capsys):
    """For labels it is no label but a score."""
    X = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    word = np.where(X[:, 0] + 0.3 * np.random.default_rng(1).normal(size=200) > 0, "yes, sir", "no")
    write_csv(noisy / "labels.csv", ["a", "b", "idle", "answer"], [*X.T, word])
    options = ["--target", "answer", "--symbolic", "--hidden", "1", "--out", str(noisy / "labels")]
    assert cli.main(["fit", str(noisy / "labels.csv"), *options]) == 0
    told = "y is the logarithm of the odds that answer is yes, sir"
    assert told in capsys.readouterr().out and told in (noisy / "labels/formula.txt").read_text()
