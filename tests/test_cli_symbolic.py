"""The command line's way to a formula: `kanref demo --symbolic`, `kanref fit --sparsify --symbolic`."""

import csv
import json
import runpy
from dataclasses import replace

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

import kanref
from kanref import cli, job
from kanref.model import Model
from kanref.symbolic import compile_expression
from kanref.tables import read_csv, write_csv

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
    assert report["metrics"]["sparse"]["test"]["rmse"] < 0.15  # the noise is 0.1; three intervals alone give 0.16


def test_files_of_an_earlier_formula_do_not_stay_beside_another_network(noisy):
    out = noisy / "again"
    out.mkdir()
    for name in (*FORMULA, "notes.txt"):
        (out / name).write_text("of another network")
    options = ["--target", "z", "--hidden", "0", "--steps", "3", "--quiet", "--overwrite", "--out", str(out)]
    assert cli.main(["fit", str(noisy / "noisy.csv"), *options]) == 0
    assert not FORMULA & {path.name for path in out.iterdir()} and (out / "notes.txt").exists()


def test_no_hidden_nodes_are_none(noisy):
    """A sum of functions of one variable goes to a formula as it is."""
    out = noisy / "plain"
    options = ["--target", "z", "--symbolic", "--hidden", "0", "--quiet", "--out", str(out)]
    assert cli.main(["fit", str(noisy / "noisy.csv"), *options]) == 0
    model = kanref.load(out / "model.safetensors")
    assert len(model.net.layers) == 1
    assert json.loads((out / "metrics.json").read_text())["metrics"]["formula"]["test"]["rmse"] < 0.15


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


def test_rows_where_the_formula_has_no_value_are_told(noisy, tmp_path, capsys):
    fitted = job.fit_table(read_csv(noisy / "noisy.csv"), "z", hidden=(), steps=2)
    x = sympy.symbols(f"x1:{fitted.model.width + 1}")
    net, theta = compile_expression(sympy.sqrt(x[0] + 2) + x[1], x)
    replace(fitted.model, net=net, theta=theta).save(tmp_path / "m")
    for z, told in ((4.0, "RMSE -, MAE -, R2 -"), ("", "the formula has no value in 1 of 3 rows, the first of them in line 3")):
        write_csv(tmp_path / "new.csv", ["size (m)", "idle", "kind", "z"], [[5, -900, 9], [0] * 3, ["p"] * 3, [z, 5.0, 6.0]])
        assert cli.main(["predict", str(tmp_path / "m"), str(tmp_path / "new.csv")]) == 0
        done = capsys.readouterr()
        assert [line.split(",")[1] == "nan" for line in done.out.splitlines()[1:]] == [False, True, False]
        assert "no value in 1 of 3 rows, the first of them in line 3" in done.err and told in done.err


def test_a_pruned_model_without_a_schema_takes_all_columns(tmp_path, capsys):
    X = np.random.default_rng(0).uniform(-1, 1, (100, 3))
    model = Model.build([3, 1, 1], intervals=3).fit(X, np.exp(X[:, 0] + X[:, 2]), steps=30).prune(X, keep_inputs=2)
    model.save(tmp_path / "m")
    assert model.net.inputs == 2
    write_csv(tmp_path / "x.csv", ["a", "b", "c"], list(X.T))
    assert cli.main(["predict", str(tmp_path / "m"), str(tmp_path / "x.csv")]) == 0
    told = [float(line.split(",")[1]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert_allclose(told, model.predict(X), rtol=1e-12)
