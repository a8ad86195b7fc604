"""The command line and the job behind it: what is written is what was computed, and what cannot be used is refused."""

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kanref
from kanref import bench, check, cli, job
from kanref.model import Model
from kanref.tables import TableError, read_csv, write_csv

FILES = {
    *("model.safetensors", "metrics.json", "predictions.csv", "summary.txt"),
    *("training.png", "edges.png", "fit.png", "figures.pdf"),
}
QUICK = ("--hidden", "2", "--intervals", "2,4", "--steps", "12")


def run(*arguments):
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(a) for a in arguments])
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def rows_of(path_or_text):
    file = io.StringIO(path_or_text) if isinstance(path_or_text, str) else open(path_or_text, newline="")
    with file:
        return list(csv.DictReader(file))


def column(rows, name, kind=float):
    return np.array([kind(row[name]) for row in rows])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Files to learn from: numbers, three classes, two classes."""
    folder, rng, N = tmp_path_factory.mktemp("data"), np.random.default_rng(5), 160
    a, b, kind = rng.uniform(2, 9, N), rng.normal(size=N), rng.integers(0, 3, N)
    y = 100 + 20 * np.sin(a) + 8 * kind + rng.normal(size=N)
    gaps = [f"{value:.3f}" if n % 20 else "" for n, value in enumerate(a)]
    target = [f"{value:.4f}" if n not in (7, 50, 99) else "NA" for n, value in enumerate(y)]
    names = ["a ($)", "b", "kind", "id", "y"]
    inputs = [gaps, b.round(4), np.array(["x, small", "größer", "z"])[kind], [f"row {n}" for n in range(N)]]
    write_csv(folder / "numbers.csv", names, [*inputs, target])
    three = np.array(["low", "mid", "top"])[(y > 95).astype(int) + (y > 112)]
    write_csv(folder / "three.csv", [*names[:4], "level"], [*inputs, three])
    write_csv(folder / "two.csv", [*names[:4], "level"], [*inputs, np.where(y > 105, "7", "3")])
    write_csv(folder / "inputs.csv", names[:4], inputs)
    write_csv(folder / "plain.csv", ["p", "q"], [a.round(3), b.round(3)])
    write_csv(folder / "tiny.csv", ["p", "y"], [a[:12].round(3), y[:12].round(3)])
    return folder


def fit(tables, name, target, folder, *options):
    return run("fit", tables / name, "--target", target, "--out", folder, *QUICK, *options)


@pytest.fixture(scope="module")
def results(tables, tmp_path_factory):
    """A regression that was run once, and what it printed."""
    folder = tmp_path_factory.mktemp("out") / "numbers"
    done = fit(tables, "numbers.csv", "y", folder)
    done.folder, done.report = folder, json.loads((folder / "metrics.json").read_text())
    done.rows = rows_of(folder / "predictions.csv")
    return done


# --------------------------------------------------------------------------------------------------------------- fit


def test_fit_writes_its_files_and_nothing_else(results):
    assert results.code == 0 and results.err == ""
    assert {path.name for path in results.folder.iterdir()} == FILES
    assert all(path.stat().st_size > 300 for path in results.folder.iterdir())
    assert (results.folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert (results.folder / "figures.pdf").read_bytes().startswith(b"%PDF")


def test_fit_tells_what_it_does(results):
    said = results.out
    for part in (
        "data      160 rows, 5 columns",
        "target    y: regression, the target has 157 distinct numbers",
        "rows      110 train, 24 validation, 23 test (seed 0); 3 without target",
        "features  6: a ($), a ($) (missing), b, kind=größer, kind=x, small, kind=z",
        "dropped   id: text that differs in every row (an identifier?)",
        "filled with the median",
        "[6, 2, 1]          2          84",
        "train (110)  validation (24)  test (23)",
        "RMSE  kan ",
        "model.safetensors  the network, for kanref predict and kanref.load",
    ):
        assert part in said
    summary = (results.folder / "summary.txt").read_text()
    for table in said.split("\n\n")[:3]:
        assert table in summary
    assert "KAN [6, 2, 1]" in summary


def test_predictions_tell_every_row_with_its_split(results, tables):
    table = read_csv(tables / "numbers.csv")
    assert len(results.rows) == 160
    assert_array_equal(column(results.rows, "line", int), table.lines)
    assert [row["true"] for row in results.rows] == list(table.columns[4])
    parts = [row["split"] for row in results.rows]
    assert {name: parts.count(name) for name in set(parts)} == {
        "train": 110,
        "validation": 24,
        "test": 23,
        "no target": 3,
    }
    assert [n for n, part in enumerate(parts) if part == "no target"] == [7, 50, 99]


def test_figures_are_those_of_the_predictions(results):
    for part in ("train", "validation", "test"):
        rows = [row for row in results.rows if row["split"] == part]
        y, f = column(rows, "true"), column(rows, "predicted")
        told = results.report["metrics"]["kan"][part]
        assert_allclose(told["rmse"], np.sqrt(np.mean((f - y) ** 2)), rtol=1e-9)
        assert_allclose(told["mae"], np.abs(f - y).mean(), rtol=1e-9)
        assert_allclose(told["r2"], 1 - ((f - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rtol=1e-9)
        assert f"{told['rmse']:.4g}" in results.out


def test_baselines_are_the_mean_and_least_squares_on_the_training_rows(results, tables):
    y_train = column([row for row in results.rows if row["split"] == "train"], "true")
    prepared = job.prepare(read_csv(tables / "numbers.csv"), "y")
    design = np.column_stack([prepared.data.X, np.ones(157)])
    train = prepared.splits["train"]
    y = prepared.schema.decode(prepared.data.y)
    linear = design @ np.linalg.pinv(design[train]) @ y[train]
    for part, rows in prepared.splits.items():
        told = results.report["metrics"]
        assert_allclose(told["constant"][part]["rmse"], np.sqrt(np.mean((y[rows] - y_train.mean()) ** 2)), rtol=1e-9)
        assert_allclose(told["linear"][part]["mae"], np.abs(y - linear)[rows].mean(), rtol=1e-8)
        assert_allclose(told["linear"][part]["rmse"], np.sqrt(np.mean((y - linear)[rows] ** 2)), rtol=1e-8)


def test_the_report_tells_the_choices(results):
    told = results.report
    assert told["settings"] == {
        "seed": 0,
        "degree": 3,
        "optimizer": "lbfgs",
        "steps": 12,
        "patience": 50,
        "batch": None,
        "sparsify": None,
        "symbolic": False,
    }
    assert told["rows"] == {"table": 160, "train": 110, "validation": 24, "test": 23}
    assert list(told["dropped"]) == ["id"] and told["kanref"] == kanref.__version__
    (network,) = told["networks"]
    assert [run["intervals"] for run in network["runs"]] == [2, 4] and network["widths"] == [6, 2, 1]
    assert network["validation"] == min(run["validation"] for run in network["runs"])
    assert not told["interrupted"] and told["chosen"] == 0


def test_the_model_file_is_the_model_of_the_figures(results):
    model = kanref.load(results.folder / "model.safetensors")
    schema = job.schema_of(model)
    assert schema.target == "y" and len(model.history.reasons) == 2
    std = schema.std
    validation = results.report["metrics"]["kan"]["validation"]["rmse"]
    assert_allclose(np.sqrt(results.report["networks"][0]["validation"]) * std, validation, rtol=1e-9)


def test_same_seed_same_results_and_overwrite(tables, results, tmp_path):
    again = fit(tables, "numbers.csv", "y", tmp_path / "out", "--quiet")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert (tmp_path / "out/predictions.csv").read_bytes() == (results.folder / "predictions.csv").read_bytes()
    refused = fit(tables, "numbers.csv", "y", tmp_path / "out")
    assert refused.code == 2 and "is not empty; choose another with --out, or add --overwrite" in refused.err
    assert fit(tables, "numbers.csv", "y", tmp_path / "out", "--overwrite", "--seed", "1").code == 0
    assert (tmp_path / "out/predictions.csv").read_bytes() != (results.folder / "predictions.csv").read_bytes()


@pytest.mark.parametrize("name, labels", [("three.csv", ["low", "mid", "top"]), ("two.csv", ["3", "7"])])
def test_classes(tables, tmp_path, name, labels):
    done = fit(tables, name, "level", tmp_path / "out")
    assert done.code == 0 and "accuracy" in done.out and "cross-entropy" in done.out
    rows = rows_of(tmp_path / "out/predictions.csv")
    P = np.column_stack([column(rows, f"P({label})") for label in labels])
    assert_allclose(P.sum(1), 1, rtol=1e-12)
    assert [labels[c] for c in P.argmax(1)] == [row["predicted"] for row in rows]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    split, true = column(rows, "split", str), column(rows, "true", labels.index)
    for part in ("train", "validation", "test"):
        at = np.flatnonzero(split == part)
        assert metrics["kan"][part]["accuracy"] == (P.argmax(1) == true)[at].mean()
        assert_allclose(metrics["kan"][part]["cross_entropy"], -np.log(P[at, true[at]]).mean(), rtol=1e-9)
        shares = np.bincount(true[split == "train"]) / (split == "train").sum()
        assert_allclose(metrics["constant"][part]["cross_entropy"], -np.log(shares[true[at]]).mean(), rtol=1e-9)
        assert metrics["constant"][part]["accuracy"] == (true[at] == shares.argmax()).mean()
    assert metrics["linear"]["train"]["cross_entropy"] < metrics["constant"]["train"]["cross_entropy"]
    assert metrics["kan"]["train"]["accuracy"] > metrics["constant"]["train"]["accuracy"]
    told = run("predict", tmp_path / "out", tables / name)
    assert told.out.splitlines()[0] == "line,predicted," + ",".join(f"P({label})" for label in labels)
    assert f"accuracy {(P.argmax(1) == true).mean():.4g}" in told.err


# ----------------------------------------------------------------------------------------------------------- predict


def test_predict_gives_the_predictions_of_fit(results, tables):
    done = run("predict", results.folder, tables / "numbers.csv")
    assert done.code == 0
    assert [(row["line"], row["predicted"]) for row in rows_of(done.out)] == [
        (row["line"], row["predicted"]) for row in results.rows
    ]
    labelled = [row for row in results.rows if row["split"] != "no target"]
    rmse = np.sqrt(np.mean((column(labelled, "predicted") - column(labelled, "true")) ** 2))
    assert f"kanref: against the target in {tables / 'numbers.csv'}: RMSE {rmse:.4g}, MAE" in done.err
    assert "kanref: note: a ($): 8 missing, filled with the median" in done.err


def test_predict_needs_only_the_inputs_and_writes_files(results, tables, tmp_path):
    model, out = results.folder / "model.safetensors", tmp_path / "p.csv"
    done = run("predict", model, tables / "inputs.csv", "--out", out)
    assert (done.code, done.out) == (0, "") and "RMSE" not in done.err
    assert [row["predicted"] for row in rows_of(out)] == [row["predicted"] for row in results.rows]
    before = out.read_bytes()
    again = run("predict", model, tables / "plain.csv", "--out", out)
    assert again.code == 2 and out.read_bytes() == before
    assert "exists; choose another file or add --overwrite" in again.err
    assert run("predict", model, tables / "inputs.csv", "--out", out, "--overwrite").code == 0


def test_labels_unknown_to_the_model_do_not_stop_predictions(tables, tmp_path):
    table = read_csv(tables / "three.csv")
    fitted = job.fit_table(table, "level", hidden=(), intervals=(2,), steps=5)
    write_csv(tmp_path / "new.csv", table.names, [*table.columns[:4], ["best"] * len(table)])
    predicted = job.predict_table(fitted.model, read_csv(tmp_path / "new.csv"))
    assert predicted.metrics is None and len(predicted.columns["predicted"]) == 160
    assert predicted.notes[-1].startswith("no figures: column 'level', line 2: 'best' is none of the training labels")


def test_models_from_python_take_plain_numbers_in_order(tables, tmp_path):
    model, path = Model.build([2, 2]), tmp_path / "m.safetensors"
    model.save(path)
    rows = rows_of(run("predict", path, tables / "plain.csv").out)
    X = np.array(read_csv(tables / "plain.csv").columns, float).T
    assert_array_equal(column(rows, "predicted 1"), model.predict(X)[:, 0])
    assert_array_equal(column(rows, "predicted 2"), model.predict(X)[:, 1])
    Model.build([2, 1], task="binary").save(path)
    assert set(rows_of(run("predict", path, tables / "plain.csv").out)[0]) == {"line", "predicted", "P(0)", "P(1)"}
    done = run("predict", path, tables / "numbers.csv")
    assert (
        done.code == 2
        and "so the table must have exactly its 2 inputs as columns, in order; it has 5: a ($)" in done.err
    )
    write_csv(tmp_path / "gap.csv", ["p", "q"], [[1, 2], [3, "NA"]])
    done = run("predict", path, tmp_path / "gap.csv")
    assert done.code == 2 and "column 'q', line 3: 'NA' is no finite number" in done.err


# ----------------------------------------------------------------------------------------------------------- solve

SMALL = ("--widths", "2,3,1", "--intervals", "3", "--degree", "3", "--levels", "2", "--steps", "30,5")


def test_solve_tells_the_error_by_level_and_writes_two_files(tmp_path):
    done = run("solve", "heat", "--param", "diffusivity=0.05", *SMALL, "--out", tmp_path / "out")
    assert done.code == 0 and done.err == ""
    assert "diffusivity = 0.05" in done.out and "relative L2 error" in done.out
    levels = [line.split() for line in done.out.splitlines() if re.match(r" *(3|6) ", line)]
    assert [row[0] for row in levels] == ["3", "6"] and float(levels[1][5]) < float(levels[0][5])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "fields.png"}
    again = run("solve", "heat", *SMALL, "--out", tmp_path / "out")
    assert again.code == 2 and "is not empty" in again.err


def test_solve_lists_the_problems():
    listed = run("solve", "list")
    assert listed.code == 0
    for name in ("poisson", "poisson_jump", "helmholtz", "heat", "burgers", "reaction_diffusion", "allen_cahn"):
        assert re.search(rf"^  {name} +\S", listed.out, re.M)
    unknown = run("solve", "waves")
    assert unknown.code == 2 and "there is no problem 'waves'" in unknown.err and "helmholtz" in unknown.err


# ----------------------------------------------------------------------------------------------------------- adapt


NEW = ("--param", "diffusivity=0.06")


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """The folder of a solved problem."""
    folder = tmp_path_factory.mktemp("solved") / "base"
    assert run("solve", "heat", "--param", "diffusivity=0.05", *SMALL, "--out", folder, "--quiet").code == 0
    return folder


def test_adapt_tells_the_errors_and_writes_three_files(solved, tmp_path):
    done = run("adapt", solved, "heat", *NEW, "--steps", "4", "--out", tmp_path / "out")
    assert done.code == 0 and done.err == ""
    for part in (
        "base        heat with diffusivity = 0.05: relative L2 error",
        "parameters  diffusivity = 0.06",
        "trained     adapters of ranks (3, 2, 4); (1, 3, 4) on layers 0, 1: ",
        "4 of Levenberg-Marquardt on every grid: 3, 6 intervals",
        "intervals  parameters  steps",
        "adapter.safetensors  the adapter alone, ",
    ):
        assert part in done.out
    before, after = map(float, re.search(r"relative L2 error (\S+) before, (\S+) after", done.out).groups())
    assert after < before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"adapter.safetensors", "model.safetensors", "fields.png"}
    again = ("--param", "diffusivity=0.07", "--method", "full", "--steps", "2", "--out", tmp_path / "again")
    assert run("adapt", tmp_path / "out" / "model.safetensors", "heat", *again, "--quiet").out == ""
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"model.safetensors", "fields.png"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["heat"], "the base solves heat with diffusivity = 0.05 already; give a parameter"),
        (["heat", "--param", "nu=0.05"], "heat has no parameter 'nu'; it has diffusivity"),
        (["heat", "--param", "nu"], "a parameter must be given as name=value, but it is 'nu'"),
        (["waves"], "there is no problem 'waves'; there are"),
        (["poisson"], "the base cannot be adapted, as heat has 2 inputs from x, t"),
        (["heat", *NEW, "--ranks", "0"], "every one of ranks must be at least 1, but it is 0"),
        (["heat", *NEW, "--ranks", "4,2"], r"ranks must be one number or three, \(r_out, r_in, r_basis\), but they are \(4, 2\)"),
        (["heat", *NEW, "--ranks", "4", "--method", "full"], 'ranks bound adapters, but method "full" has none'),
        (["heat", *NEW, "--rate", "0.1"], 'rate is for method "adam"'),
        (["heat", *NEW, "--layers", "5"], "an entry of layers must be from 0 to 1, but it is 5"),
        (["heat", *NEW, "--steps", "0"], "steps must be at least 1, but it is 0"),
        (["heat", *NEW, "--minutes", "-1"], "minutes must be above 0, but it is -1"),
        (["heat", *NEW, "--seed", "-1"], "seed must be at least 0, but it is -1"),
    ],
)
def test_what_adapt_refuses(solved, tmp_path, arguments, message):
    done = run("adapt", solved, *arguments, "--out", tmp_path / "out", "--quiet")
    assert done.code == 2 and done.err.startswith("kanref: error: ") and re.search(message, done.err)
    assert list(tmp_path.iterdir()) == []


def test_adapt_keeps_the_parameters_that_are_not_given(tmp_path):
    small = ("--widths", "3,2,1", "--intervals", "3", "--degree", "3", "--levels", "1", "--steps", "3,1", "--quiet")
    run("solve", "reaction_diffusion", "--param", "diffusion=0.05", *small, "--out", tmp_path / "base")
    new = ("--param", "reaction=4", "--steps", "1", "--out", tmp_path / "out")
    done = run("adapt", tmp_path / "base", "reaction_diffusion", *new)
    assert done.code == 0 and "parameters  diffusion = 0.05, reaction = 4\n" in done.out


def test_adapt_leaves_its_base_alone(solved, tmp_path):
    before = {path.name: path.read_bytes() for path in solved.iterdir()}
    done = run("adapt", solved / "model.safetensors", "heat", "--out", solved, "--overwrite")
    assert done.code == 2 and "holds the base, which the adapter needs; choose another folder with --out" in done.err
    assert {path.name: path.read_bytes() for path in solved.iterdir()} == before
    none = run("adapt", tmp_path / "none", "heat", "--out", tmp_path / "out")
    assert none.code == 2 and "there is no model file" in none.err
    picture = run("adapt", solved / "fields.png", "heat", "--out", tmp_path / "out")
    assert picture.code == 2 and "is damaged or no safetensors file" in picture.err


# -------------------------------------------------------------------------------------------------------- refusals

REFUSED = [
    (["fit", "nothing.csv", "--target", "y"], "cannot read '.*nothing.csv' as a CSV file: No such file"),
    (["fit", "numbers.csv", "--target", "Y"], "target 'Y' is not a column; the closest is 'y'"),
    (["fit", "numbers.csv", "--target", "y", "--drop", "c"], "drop 'c' is not a column"),
    (["fit", "numbers.csv", "--target", "id"], "more than 50; mend it"),
    (["fit", "three.csv", "--target", "level", "--task", "regression"], "'top' is not a number"),
    (["fit", "tiny.csv", "--target", "y"], "only 12 rows have a target 'y'.*need at least 20; give more rows"),
    (["fit", "numbers.csv", "--target", "y", "--split", "0.5,0.5"], "fractions must be three shares"),
    (["fit", "numbers.csv", "--target", "y", "--split", "0.5,0.4,0.3"], "fractions must be positive and add up to 1"),
    (["fit", "numbers.csv", "--target", "y", "--degree", "-1"], "degree must be from 0 to 15, but it is -1"),
    (
        ["fit", "numbers.csv", "--target", "y", "--intervals", "0,3"],
        "intervals must be at least 1, but it is 0|from 1 to",
    ),
    (["fit", "numbers.csv", "--target", "y", "--steps", "-3"], "steps must be at least 0, but it is -3"),
    (["fit", "numbers.csv", "--target", "y", "--seed", "-3"], "seed must be at least 0, but it is -3"),
    (["fit", "three.csv", "--target", "level", "--optimizer", "lm"], 'optimizer="lm" minimises squared errors only'),
    (["fit", "numbers.csv", "--target", "y", "--out", "plain.csv"], "plain.csv is a file, but a folder .* is needed"),
    (["predict", "nothing", "plain.csv"], "there is no model file .*nothing"),
    (["predict", "plain.csv", "plain.csv"], "plain.csv is damaged or no safetensors file"),
    (["bench", "--cases", "none"], "--cases knows tiny"),
    (["solve", "heat", "--param", "x=3"], "heat has no parameter 'x'; it has diffusivity"),
    (["solve", "heat", "--param", "x"], "must be given as name=value, but it is 'x'"),
    (["solve", "heat", "--steps", "3"], "steps must be two numbers"),
    (["solve", "heat", "--widths", "3,1"], "widths must begin with 2"),
    (["solve", "heat", "--minutes", "0"], "minutes must be above 0"),
]


@pytest.mark.parametrize("arguments, message", REFUSED)
def test_refusals_are_one_line_and_leave_nothing(tables, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [tables / a if a.endswith(".csv") or a == "nothing" else a for a in arguments]
    before = sorted(tables.iterdir())
    done = run(*arguments)
    assert done.code == 2
    assert done.err.startswith("kanref: error: ") and done.err.count("\n") == 1
    assert re.search(message, done.err)
    assert sorted(tables.iterdir()) == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["fit", "x.csv"], "required: --target"),
        (["fit", "x.csv", "--target", "y", "--hidden", "a"], "whole numbers separated by commas are expected, not 'a'"),
        (
            ["fit", "x.csv", "--target", "y", "--hidden", "3,0"],
            "every level needs at least one node, and 0 alone means none",
        ),
        (["fit", "x.csv", "--target", "y", "--split", "a"], "numbers separated by commas are expected, not 'a'"),
        (["fit", "x.csv", "--target", "y", "--task", "ranking"], "invalid choice: 'ranking'"),
        (["predict", "m"], "required: DATA.csv"),
        (["tidy"], "invalid choice: 'tidy'"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_help_has_examples_and_is_quick():
    code = """
import sys
from kanref import cli
for arguments in (["--help"], ["fit", "--help"], ["predict", "--help"], ["demo", "--help"], ["--version"]):
    try:
        cli.main(arguments)
    except SystemExit as end:
        assert end.code == 0
assert not {"numpy", "numba", "matplotlib", "scipy"} & set(sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"kanref {kanref.__version__}" in out.splitlines()
    assert "kanref fit houses.csv --target price" in out and "kanref predict kanref-out new.csv" in out


# ------------------------------------------------------------------------------------------------------ interruption


def interrupting(monkeypatch, network, step):
    """Ctrl-C at a step of the network's training (0, 1, ...); None: before its first step."""
    whole, count = Model.fit, []

    def fit(self, *data, **options):
        count.append(1)

        def callback(state):
            if state.step == step:
                raise KeyboardInterrupt

        if len(count) - 1 != network:
            return whole(self, *data, **options)
        if step is None:
            raise KeyboardInterrupt
        return whole(self, *data, **options, callback=callback)

    monkeypatch.setattr(Model, "fit", fit)


@pytest.mark.parametrize("network, step, trained", [(0, 4, 1), (1, 4, 2), (1, None, 1)])
def test_ctrl_c_writes_the_best_so_far(tables, tmp_path, monkeypatch, network, step, trained):
    interrupting(monkeypatch, network, step)
    done = run(
        "fit", tables / "numbers.csv", "--target", "y", "--out", tmp_path / "out", "--steps", "6", "--intervals", "3"
    )
    assert done.code == 130 and "kanref: interrupted; what follows is the best so far" in done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    assert report["interrupted"] and len(report["networks"]) == trained
    assert report["networks"][-1]["runs"][0]["steps"] == (6 if step is None else step)
    assert report["metrics"]["kan"]["train"]["rmse"] < report["metrics"]["constant"]["train"]["rmse"]


def test_ctrl_c_before_the_first_step_leaves_nothing(tables, tmp_path, monkeypatch):
    interrupting(monkeypatch, 0, None)
    done = fit(tables, "numbers.csv", "y", tmp_path / "out")
    assert done.code == 130 and done.err == "\nkanref: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- demo, check, bench


def test_demo_on_a_fresh_machine(tmp_path):
    done = run("demo", "--out", tmp_path / "demo")
    assert done.code == 0
    assert {path.name for path in (tmp_path / "demo").iterdir()} == FILES | {"throws.csv"}
    metrics = json.loads((tmp_path / "demo/metrics.json").read_text())["metrics"]
    assert metrics["kan"]["test"]["rmse"] < 1.3 * cli.NOISE < 5 < metrics["linear"]["test"]["rmse"]
    assert f"kanref predict {tmp_path / 'demo'}" in done.out
    told = run("predict", tmp_path / "demo", tmp_path / "demo/throws.csv")
    assert told.code == 0 and len(told.out.splitlines()) == 1201


def test_demo_data_are_what_they_are_said_to_be(tmp_path):
    names, columns = cli.throws()
    assert names == ["speed", "angle", "height", "ball", "hour", "range"]
    for first, second in zip(columns, cli.throws()[1]):
        assert_array_equal(first, second)
    v, a, h, distance = (np.array([float(cell or "nan") for cell in columns[c]]) for c in (0, 1, 2, 5))
    assert np.isnan(h).sum() == 24
    length = np.array([{"golf": 400, "tennis": 150, "foam": 60}[ball] for ball in columns[3]])
    vx, vy = v * np.cos(np.deg2rad(a)), v * np.sin(np.deg2rad(a))
    time = (vy + np.sqrt(vy**2 + 2 * 9.81 * h)) / 9.81
    error = distance - 1 / (1 / (vx * time) + 1 / length)
    assert_allclose(np.nanstd(error), cli.NOISE, rtol=0.1)
    assert abs(np.nanmean(error)) < 0.1


def test_check_prints_its_table_and_fails_if_a_check_does(monkeypatch):
    row = check.run.__globals__["Row"]("net", "mse", 10, 1e-15, 1e-9, 1e-15, 2.0)
    seen = []
    monkeypatch.setattr(check, "run", lambda seed, progress: seen.append(seed) or [row])
    done = run("check", "--seed", "4")
    assert done.code == 0 and seen == [4] and "all passed" in done.out
    monkeypatch.setattr(check, "run", lambda seed, progress: [row, row._replace(complex_step=1e-3)])
    done = run("check")
    assert done.code == 1 and "1 FAILED" in done.out


def test_bench_hands_its_options_on(monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "main", lambda *options: seen.append(options) or 0)
    assert run("bench", "--peers", "py", "--cases", "a,b", "--json", "f", "--quick").code == 0
    assert run("bench").code == 0
    assert seen == [("py", ("a", "b"), "f", True), (None, None, None, False)]


# --------------------------------------------------------------------------------------------------------- the job


def table_of(tmp_path, X, y):
    write_csv(tmp_path / "t.csv", [*(f"x{p}" for p in range(X.shape[1])), "y"], [*X.T, y])
    return read_csv(tmp_path / "t.csv")


SHAPES = [(30, 1), (40, 60), (200, 5), (1000, 3)]


@pytest.mark.parametrize("rows, inputs", SHAPES)
def test_networks_and_grids_stay_below_the_data(tmp_path, rows, inputs):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(rows, inputs))
    fitted = job.fit_table(table_of(tmp_path, X, X[:, 0] ** 2 + 0.1 * rng.normal(size=rows)), "y", steps=3)
    values = len(fitted.splits["train"])
    first, *others = fitted.candidates
    assert first["widths"] == [inputs, 1]
    count = lambda widths, G: sum(a * b for a, b in zip(widths, widths[1:])) * (G + 4)
    assert all(run["intervals"] == 1 or count([inputs, 1], run["intervals"]) <= values for run in first["runs"])
    for other in others:
        assert other["widths"][1] <= min(2 * inputs + 1, 10)
        assert count(other["widths"], 3) <= values / 2
        assert all(count(other["widths"], run["intervals"]) <= values for run in other["runs"])
    assert len(others) == (count([inputs, 1, 1], 3) <= values / 2)
    lowest = [candidate["validation"] for candidate in fitted.candidates]
    assert fitted.chosen == int(np.argmin(lowest))
    assert fitted.model.net.widths == tuple(fitted.candidates[fitted.chosen]["widths"])


def test_a_curve_is_found_where_a_line_fails(tmp_path):
    x = np.linspace(-3, 3, 200)[:, None]
    fitted = job.fit_table(table_of(tmp_path, x, np.sin(2 * x[:, 0])), "y")
    test = {name: part["test"]["rmse"] for name, part in fitted.metrics.items()}
    assert test["kan"] < 0.01 < 0.5 < test["linear"]


def test_a_line_is_not_lost_where_a_line_is_right(tmp_path):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 4))
    fitted = job.fit_table(table_of(tmp_path, X, X @ [1, 2, 3, 0] + rng.normal(size=300)), "y")
    test = {name: part["test"]["rmse"] for name, part in fitted.metrics.items()}
    assert test["kan"] < 1.15 * test["linear"]


def test_large_tables_are_learnt_in_minibatches(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "LARGE", 600)
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (900, 2))
    prepared = job.prepare(table_of(tmp_path, X, X[:, 0] * X[:, 1]), "y")
    fitted = job.train(prepared, hidden=(3,), intervals=(3,))
    chosen = {"degree": 3, "optimizer": "adam", "steps": 40, "patience": None, "batch": 256}
    assert fitted.settings == {**chosen, "sparsify": None, "symbolic": False}
    assert job.train(prepared, hidden=(), intervals=(3,), steps=1, optimizer="lbfgs").settings["batch"] is None
    fitted = job.train(prepared, hidden=(3,), intervals=(3,), steps=800)
    test = {name: part["test"]["rmse"] for name, part in fitted.metrics.items()}
    assert test["kan"] < 0.5 * test["linear"]


def test_splits_are_by_the_seed_and_classes_in_proportion(tables):
    table = read_csv(tables / "three.csv")
    first, again, other = (job.prepare(table, "level", seed=s) for s in (0, 0, 1))
    for name in job.SPLITS:
        assert_array_equal(first.splits[name], again.splits[name])
        shares = np.bincount(first.part(name)[1], minlength=3) / len(first.splits[name])
        assert_allclose(shares, np.bincount(first.data.y) / 160, atol=0.05)
    assert (first.splits["train"] != other.splits["train"]).any()
    assert first.schema.why == "the target is text with 3 labels"


def test_options_of_the_job(tables):
    table = read_csv(tables / "numbers.csv")
    fitted = job.fit_table(
        table, "y", drop=("b",), fractions=(0.5, 0.25, 0.25), hidden=(3, 2), intervals=[2], degree=2, steps=3, seed=4
    )
    assert fitted.model.net.widths == (5, 3, 2, 1)
    basis = fitted.model.net.layers[0].terms["spline"].basis
    assert (basis.degree, basis.intervals) == (2, 2) and basis.outside == "linear"
    assert len(fitted.splits["train"]) == 79 and "b" not in fitted.schema.inputs
    with pytest.raises(TableError, match="drop must be a sequence"):
        job.fit_table(table, "y", drop="b")
    with pytest.raises(ValueError, match="optimizer must be one of 'lbfgs', 'adam', 'lm', but it is 'sgd'"):
        job.fit_table(table, "y", optimizer="sgd")


def test_r2_of_a_constant_part_is_not_a_number():
    schema = SimpleNamespace(task="regression", std=2.0)
    told = job.figures(schema, np.ones(4), np.array([1.0, 1, 1, 2]))
    assert told == {"rmse": 1.0, "mae": 0.5, "r2": None}
    assert job.cell(None) == "-"


def test_long_lists_are_cut_in_print_only(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 40))
    prepared = job.prepare(table_of(tmp_path, X, X[:, 0]), "y")
    said = job.overview(prepared).splitlines()
    assert sum(line.startswith("note") for line in said) == 8
    assert said[-1].endswith(f"... and {len(prepared.data.report) - 7} more, in metrics.json")


# ------------------------------------------------------------------------------------------------------- other libraries


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize(("finding", "code"), [((1, 1), 0), ((1, 0), 1)], ids=["sound", "defective"])
def test_conformance_of_a_library_goes_on_to_the_ledger(form, finding, code, monkeypatch, capsys):
    """What no vector can express: here B21, asked of a library whose vectors are kanref's own."""
    from kanref import golden
    from kanref.golden.adapters import kanref as own
    from kanref.ledger import peers

    adapter = SimpleNamespace(library="pykan", **{name: getattr(own, name) for name in ("tucker", "tucker_pullback")})
    monkeypatch.setitem(sys.modules, "adapter_of_a_library", SimpleNamespace(adapter=adapter))
    monkeypatch.setattr(golden, "groups", lambda: ("tucker",))
    row = {"before": 0.5 * finding[0], "after": 0.5 * finding[1]}
    monkeypatch.setattr(peers, "ask", lambda *_: {("B21", "pykan"): {"version": "9.9", "finding": row}})
    assert cli.main(["conformance", "adapter_of_a_library", *form]) == code
    printed = capsys.readouterr().out
    verdict = "right" if code == 0 else "wrong, but otherwise"
    if form:
        (told,) = json.loads(printed)["beyond"]
        assert told["number"] == "B21" and [e["verdict"].split(" (")[0] for e in told["found"]] == [verdict]
    else:
        line = next(line for line in printed.splitlines() if "pykan 9.9" in line)
        assert verdict in line and "beyond the vectors" in printed and "B21" in printed
