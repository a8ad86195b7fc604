"""The benchmark's arithmetic: who is compared, what the verdicts say. The peers are a script, and no speed is claimed."""

import io
import json
import os
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import bench

FIT = bench.Case("own", (2, 3), 4, 20, must=1e-9, goal=1e9)
FORWARD = bench.Case("own-forward", (2, 3), 4, 20, "forward")

# Speaks the peers' protocol; computes a one-layer KAN, which is linear in its parameters, by SciPy's B-splines.
WORKER = """#!{python}
import json, os, sys
import numpy as np
from scipy.interpolate import BSpline

NAMES = "agrees", "nan", "nan-value", "off", "off-value", "partial", "broken", "fast-kan"

def compute(case, data):
    X, y, coef, base = (data[name] for name in ("X", "y", "l0.coef", "l0.base"))
    B = np.stack([BSpline.design_matrix(x, t, 3).toarray() for x, t in zip(X.T, data["l0.knots"])], 1)
    silu = X / (1 + np.exp(-X))
    f = np.einsum("nim,oim->no", B, coef) + silu @ base.T
    value, slope = np.mean((f - y) ** 2), 2 * (f - y) / f.size
    if case["kind"] == "forward":
        return value, {{"y": f}}
    return value, {{"l0.coef": np.einsum("no,nim->oim", slope, B), "l0.base": slope.T @ silu}}

def setup(peer, case, file, out):
    if peer == "broken":
        return {{"error": "OSError: no such luck"}}
    value, arrays = compute(case, np.load(file))
    last = list(arrays)[-1]
    if peer == "nan":
        arrays[last].flat[0] = np.nan
    if peer == "off":
        arrays[last].flat[np.abs(arrays[last]).argmax()] *= 1 + 1e-6
    if peer == "partial":
        del arrays[last]
    value = {{"nan-value": np.nan, "off-value": value * (1 + 1e-6)}}.get(peer, value)
    np.savez(out, **({{}} if peer == "fast-kan" else arrays))
    return {{"value": float(value), "agrees": peer != "fast-kan"}}

for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "hello":
        spins = {{"version": os.environ.get("GOMP_SPINCOUNT", "unset")}}
        reply = {{"peers": dict.fromkeys(NAMES, spins) | {{"absent": {{"absent": "ImportError"}}}}}}
    elif request["do"] == "setup":
        reply = setup(request["peer"], request["case"], request["file"], request["out"])
    else:
        seconds = 1e-6 if request["peer"] == "fast-kan" else 2e-3
        reply = {{"seconds": [seconds] * request["repeat"]}}
    print(json.dumps(reply), flush=True)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "interpreter"
    path.write_text(WORKER.format(python=sys.executable))
    path.chmod(0o700)
    return str(path)


@pytest.fixture
def unmeasured(monkeypatch):
    """A benchmark of two small cases, whose start-up and properties are given."""
    monkeypatch.setattr(bench, "CASES", (FIT, FORWARD))
    monkeypatch.setattr(bench, "startup", lambda: [("import", 0.2, "s", 0.25), ("cold", 16.0, "s", 15.0)])
    monkeypatch.setattr(bench, "properties", lambda: [("linear", 4.6, "x", 4.6), ("memory", np.nan, "x", 2)])


def main(*options):
    out = io.StringIO()
    return bench.main(*options, out=out), out.getvalue()


# ------------------------------------------------------------------------------------------------------------ agreement


@pytest.mark.parametrize("case", [FIT, FORWARD], ids=lambda case: case.kind)
def test_only_those_who_agree_are_compared(script, case):
    peers = bench.Peers(script)
    try:
        row = bench.bench(case, peers, rounds=1)
    finally:
        peers.close()
    found = row["peers"]
    assert "absent" not in found
    assert {name for name in found if "ms" in found[name]} == {"agrees", "fast-kan"}
    assert 0 < found["agrees"]["deviation"] <= 1e-12  # other arithmetic, so other rounding
    assert found["fast-kan"]["deviation"] is None
    assert found["nan"]["error"] == found["nan-value"]["error"] == "differs by nan"
    assert found["off-value"]["error"] == "differs by 1.0e-06"
    assert found["off"]["error"].startswith("differs by ") and found["off"]["error"].endswith("e-06")
    assert found["partial"]["error"] == "differs by inf"
    assert found["broken"]["error"] == "OSError: no such luck"
    assert_allclose(found["agrees"]["ms"], 2)
    assert_allclose(row["ratio"], 2 / row["kanref"])  # fast-kan, though faster, is no part of it


@pytest.mark.parametrize("kind", ["fit", "pinn", "forward"])
def test_the_loss_is_part_of_what_is_compared(kind):
    mine = bench.Mine(bench.Case("own", (2, 1), 3, 7, kind))
    value = {
        "fit": lambda: mine.objective(mine.theta)[0],
        "pinn": lambda: mine.objective(mine.theta)[0],
        "forward": lambda: np.square(mine.net(mine.theta, mine.x) - mine.y).mean(),
    }[kind]()
    assert_allclose(mine.results(kind)["value"], value, rtol=1e-14)


def test_deviation_is_the_largest_difference_relative_to_the_largest_entry():
    a, b = np.array([1.0, -4.0]), np.array([[0.5]])
    assert bench.deviation({"a": a, "b": b}, {"a": a, "b": b, "more": a}) == 0
    assert bench.deviation({"a": a, "b": b}, {"a": a + [0.4, 0], "b": b}) == pytest.approx(0.1)
    assert bench.deviation({"a": a, "b": b}, {"a": a + [0.4, 0], "b": -b}) == 2
    assert bench.deviation({"a": 1e6 * a}, {"a": 1e6 * (a + [0.4, 0])}) == pytest.approx(0.1)  # no units
    assert bench.deviation({"a": np.zeros(2)}, {"a": np.zeros(2)}) == 0
    assert bench.deviation({"a": a, "b": b}, {"a": a}) == np.inf


@pytest.mark.parametrize("name", ["first", "middle", "last"])
def test_deviation_loses_no_nan(name):
    mine = {name: np.ones(2) for name in ("first", "middle", "last")}
    assert np.isnan(bench.deviation(mine, mine | {name: np.array([1, np.nan])}))


@pytest.mark.parametrize("before, seen", [(None, "unset"), ("10000", "unset"), ("77", "77")])
def test_peers_spin_as_the_user_said_and_not_as_kanref_does(script, monkeypatch, before, seen):
    bench.threads()  # kanref's kernels have set theirs
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if before:
        monkeypatch.setenv("GOMP_SPINCOUNT", before)
    peers = bench.Peers(script)
    peers.close()
    assert set(peers.versions.values()) == {seen}


def test_peers_that_cannot_start_or_end_at_once_are_refused(tmp_path):
    path = tmp_path / "interpreter"
    with pytest.raises(ValueError, match="--peers must be a Python interpreter, but .* cannot be started"):
        bench.Peers(str(path))
    path.write_text(f"#!{sys.executable}\n")
    path.chmod(0o700)
    with pytest.raises(ValueError, match="the peers' process ended; is --peers the interpreter"):
        bench.Peers(str(path))


@pytest.mark.parametrize("kind", ["slim", "lotra", "slim-pinn", "lotra-pinn"])
def test_networks_of_low_rank_are_timed_beside_the_same_function_in_full(kind, monkeypatch):
    case = bench.Case("own-" + kind, (2, 4, 1), 3, 20, kind, 1e-9, 1e9, ranks=2)
    row = bench.bench(case, None, rounds=1)
    assert 0 <= row["peers"]["full"]["deviation"] <= 1e-12
    assert_allclose(row["ratio"], row["peers"]["full"]["ms"] / row["kanref"])
    head, line = (text.split() for text in bench.table([row], None).splitlines())
    assert head == ["case", "kanref", "ms", "full", "ratio", "must", "goal"] and line[-1] == "must" and len(line) == 7
    monkeypatch.setattr(bench, "pulled_back", lambda net, theta, *rest: {name: a + 1 for name, a in net.split(theta).items()})
    with pytest.raises(ArithmeticError, match="own-.*: the full network differs by"):
        bench.bench(case, None, rounds=1)


# --------------------------------------------------------------------------------------------------- tables and verdicts


@pytest.mark.parametrize("ratio, verdict", [(None, ""), (9.99, "MISSED"), (10, "must"), (24.9, "must"), (25, "goal")])
def test_the_table_says_which_target_is_met(ratio, verdict):
    row = {"case": "own", "kanref": 0.5, "peers": {}, "ratio": ratio, "must": 10, "goal": 25}
    last = bench.table([row], None).splitlines()[1].split()
    assert last == ["own", "0.5", "-" if ratio is None else f"{ratio:.3g}", "10", "25", *verdict.split()]


def test_a_case_without_a_target_gets_no_verdict():
    row = {"case": "own", "kanref": 0.5, "peers": {}, "ratio": 3.0, "must": None, "goal": None}
    assert bench.table([row], None).splitlines()[1].split() == ["own", "0.5", "3", "-", "-"]


def test_ratios_of_pykan_as_shipped_and_of_fast_kan():
    row = lambda case, **ms: {"case": case, "kanref": 2.0, "peers": {name: {"ms": v} for name, v in ms.items()}}
    rows = [row("tiny", pykan=180.0), row("small", pykan=90.0), row("deep100", **{"fast-kan": 1.0, "pykan": 400.0})]
    rows[0]["peers"]["fast-kan"] = {"error": "memory"}
    assert bench.ratios(rows) == [
        ("pykan as shipped, least (small)", 45, "x", 50),
        ("fast-kan, deep100", 0.5, "x", 1),
    ]
    assert bench.ratios([row("tiny", **{"fast-kan": 1.0}), row("deep100")]) == []


# ---------------------------------------------------------------------------------------------------------- the command


def test_the_report_says_who_was_left_out_and_what_was_missed(script, unmeasured, tmp_path):
    code, text = main(script, None, str(tmp_path / "report.json"), True)
    assert code == 0
    for name in ("nan", "nan-value", "off", "off-value", "partial", "broken"):
        assert f"  own: {name} left out: " in text and f"  own-forward: {name} left out: " in text
    assert "agrees left out" not in text and "fast-kan left out" not in text
    lines = [line.split() for line in text.splitlines()]
    assert next(line for line in lines if line[:1] == ["own"])[-1] == "must"
    assert ["import", "0.2", "s", "0.25", "ok"] in lines and ["cold", "16", "s", "15.0", "MISSED"] in lines
    assert ["linear", "4.6", "x", "4.6", "ok"] in lines and ["memory", "nan", "x", "2", "MISSED"] in lines
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["case"] for row in report["rows"]] == ["own", "own-forward"]
    assert report["startup"][1] == ["cold", 16.0, "s", 15.0, "MISSED"]
    assert report["ratios"] == []  # pykan is not among these peers


def test_chosen_cases_come_without_startup_and_properties(unmeasured):
    code, text = main(None, ["own-forward"], None, True)
    assert code == 0 and "own-forward" in text and "MISSED" not in text and "startup" not in text


def test_an_interrupt_prints_what_is_finished(unmeasured, monkeypatch):
    def interrupted(case, *rest, one=bench.bench):
        if case is FORWARD:
            raise KeyboardInterrupt
        return one(case, *rest)

    def never():
        raise AssertionError("measured after an interrupt")

    monkeypatch.setattr(bench, "bench", interrupted)
    monkeypatch.setattr(bench, "startup", never)
    monkeypatch.setattr(bench, "properties", never)
    code, text = main(None, None, None, True)
    assert code == 130 and "interrupted" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("own")] == ["own"]


def test_an_unknown_case_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="--cases knows tiny, .*lotra-mnist, but got huge, none$"):
        main(None, ["tiny", "none", "huge"])


@pytest.mark.skipif(not os.path.exists(bench.RESET), reason="the peak memory of a process is reset on Linux only")
def test_a_step_takes_the_memory_it_needs_and_not_many_times_that():
    assert 1 < bench.memory("mnist128") < 4
