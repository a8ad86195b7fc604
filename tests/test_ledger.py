"""The ledger: kanref is right in every row, what is called wrong is not, and other libraries are asked safely."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline as Reference
from scipy.linalg import null_space

import kanref.ledger
from kanref import cli, ledger
from kanref.conventions import half_open
from kanref.grids import least_squares
from kanref.ledger import peers, report
from kanref.ledger.peers import PEERS, Peer, ask, probes
from kanref.ledger.row import Row
from kanref.ledger.rows import fits, polynomials, splines

ROWS = {row.number: row for row in ledger.rows()}
RECORDED = report.read()
SOUND = {("B10", "pykan"), ("B34", "pykan")}  # asked beside those that are wrong
UNAVAILABLE = {"kanlib", "torchkan"}  # no package that the others' interpreter takes: formulas only
FOLDER = Path(kanref.ledger.__file__).parent


# ----------------------------------------------------------------------------------------------------------------- rows


def test_there_are_34_rows():
    assert list(ROWS) == [f"B{n}" for n in range(1, 35)]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_kanref_is_right(row):
    assert row.met(row.ours()), f"kanref gives {row.ours()}, right is {row.right()}"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_right_value_is_right(row):
    assert row.met(row.right())


@pytest.mark.parametrize("number, peer", [(row.number, peer) for row in ROWS.values() for peer in row.wrong])
def test_formulas_called_wrong_are_wrong(number, peer):
    row = ROWS[number]
    assert peer in row.peers and not row.met(row.wrong[peer]())


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows_say_why_and_how(row):
    assert row.title and row.derivation and row.reproduce and row.peers
    shown = [peer for peer in row.peers if peer in row.wrong or (peer in PEERS and row.number in probes(peer))]
    assert shown, "no library can be asked or computed"
    assert set(row.peers) & set(PEERS) <= set(shown)


@pytest.mark.parametrize("peer", PEERS)
def test_probes_belong_to_rows(peer):
    assert probes(peer) or peer in UNAVAILABLE
    assert probes(peer) <= {number for number, row in ROWS.items() if peer in row.peers}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("probes/*.py")), ids=lambda path: path.stem)
def test_probes_import_no_kanref(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(name.startswith("kanref") for name in names)


def test_right_values_by_scipy():
    B = Reference(splines.CLAMPED, np.eye(5), 3)(splines.PLACES)
    for name, value in splines.on_clamped(B).items():
        assert_allclose(value, ROWS["B1"].right()[name], atol=1e-15)
    for name, value in splines.between(Reference(splines.UNIFORM, np.eye(7), 3)(splines.INSIDE)).items():
        assert_allclose(value, ROWS["B31"].right()[name], atol=1e-15)
    t = splines.tied_knots()
    assert_allclose(np.diff(t[3:9]), [0.8, 0.2, 0, 0.2, 0.8], atol=1e-15)
    tied = Reference(t, np.eye(8), 3)
    assert_allclose(tied(splines.AMONG).sum(1), ROWS["B2"].right()["row sums"], atol=1e-15)
    assert_allclose(
        tied(splines.AMONG) @ splines.cubic(t), splines.curve(splines.AMONG), atol=1e-15
    )  # Marsden's identity


def test_right_derivatives_by_differences():
    h = 1e-6
    s = np.tanh(np.array([polynomials.FAR[0] + h, polynomials.FAR[0] - h]))
    slope = np.diff(np.cos(np.arange(5)[:, None] * np.arccos(s)).sum(0))[0] / (-2 * h)
    assert_allclose(ROWS["B16"].right()["derivative"][0], slope, rtol=1e-8)
    P = [np.polynomial.legendre.legval([0.5 - h, 0.5 + h], e) for e in np.eye(5)]
    assert_allclose(ROWS["B30"].right()["derivatives at 1/2"], np.diff(P)[:, 0] / (2 * h), atol=1e-9)


# --------------------------------------------------------------------------------------------------------------- record


@pytest.mark.parametrize("number, peer", [(row.number, peer) for row in ROWS.values() for peer in row.peers])
def test_every_probe_is_recorded(number, peer):
    assert ((number, peer) in RECORDED) == (peer in PEERS and number in probes(peer))


@pytest.mark.parametrize("number, peer", RECORDED)
def test_recorded_answers_are_wrong_unless_they_are_there_for_comparison(number, peer):
    answer = RECORDED[number, peer]
    assert answer["version"].startswith(PEERS[peer].recorded)
    assert report.meets(ROWS[number], answer) == ((number, peer) in SOUND)


@pytest.mark.parametrize(
    "number, peer, quantity, value",
    [
        ("B1", "pykan", "row sums", [0, 0.5, 0.5, 0]),
        ("B1", "pykan", "at 1/4", [0, 0.28125, 0.1875, 0.03125, 0]),
        ("B1", "efficient_kan", "row sums", [np.nan] * 4),
        ("B1", "jaxkan", "row sums", [np.nan] * 4),
        ("B3", "pykan", "sum at the end", 0),
        ("B10", "efficient_kan", "change of each edge", [0.5, 3]),
        ("B15", "flashkan", "by x", [-0.0659375, -0.19, -0.19, -0.5365625]),
    ],
)
def test_recorded_values(number, peer, quantity, value):
    assert_allclose(RECORDED[number, peer]["finding"][quantity], value, rtol=1e-12)


@pytest.mark.parametrize(
    "number, peer", [("B1", "pykan"), ("B15", "flashkan"), ("B16", "cheby_kan"), ("B34", "matrixkan")]
)
def test_published_formulas_give_what_the_library_gave(number, peer):
    row, found = ROWS[number], RECORDED[number, peer]["finding"]
    for name, value in row.wrong[peer]().items():
        assert_allclose(found[name], value, rtol=2e-6, equal_nan=True)


@pytest.mark.parametrize("tied, peer", [(0.0, "pykan"), (np.nan, "efficient_kan"), (np.nan, "jaxkan")])
def test_half_open_is_the_switch_of_B1(tied, peer):
    B = half_open(splines.PLACES, splines.CLAMPED, 3, tied)
    for name, value in splines.on_clamped(B).items():
        assert_allclose(RECORDED["B1", peer]["finding"][name], value, rtol=1e-14)


@pytest.mark.parametrize("peer", ["pykan", "efficient_kan", "jaxkan"])
def test_no_prior_is_the_switch_of_B9(peer):
    found = fits.sparse(prior=0)
    assert_allclose(list(found.values()), RECORDED["B9", peer]["finding"]["error between the samples"], rtol=1e-4)


def test_what_B9_says_of_other_draws():
    fitted, kept = (
        np.concatenate([[*fits.sparse(n, **more).values()] for n in range(100)]) for more in ({"prior": 0}, {})
    )
    assert (fitted > 0.84).sum() == 4 and fitted.argmax() == 58
    assert_allclose(np.median(fitted), 9e-5, rtol=0.05)
    assert all(ROWS["B9"].met({"error between the samples": error}) for error in kept)


def test_the_refit_of_efficient_kan_is_the_switch_of_B10():
    found = fits.rescaled(refit="efficient")
    assert_allclose(
        *(a["change of each edge"] for a in (found, RECORDED["B10", "efficient_kan"]["finding"])), rtol=1e-6
    )


def test_the_refit_of_jaxkan_is_the_switch_of_B13():
    with pytest.raises(ValueError, match="singular"):
        fits.crowded(refit="jaxkan")


def test_records_are_merged_and_read_back(tmp_path):
    path = tmp_path / "record.json"
    first = {("B10", "pykan"): {"version": "1", "finding": {"a": np.array([1.0, np.nan]), "b": -np.inf, "c": True}}}
    report.record(path, first | {("B1", "torch"): {"absent": "not here"}})
    report.record(path, {("B2", "efficient_kan"): {"version": "", "raised": "ValueError: no"}})
    back = report.read(path)
    assert list(back) == [("B2", "efficient_kan"), ("B10", "pykan")]
    assert back["B2", "efficient_kan"] == {"version": "c26e27a", "raised": "ValueError: no"}
    found = back["B10", "pykan"]["finding"]
    assert found["b"] == -np.inf and found["c"] is True
    assert_allclose(found["a"], [1, np.nan])
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("text", ["", "[1]", '{"B1": 3}', "\x00"])
def test_other_files_are_no_records(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(ValueError, match=r"record\.json holds something else than `kanref ledger --record` writes"):
        report.read(tmp_path / "record.json")


def solved_by(change):
    """A defect of every refit: change(A, R) of the least squares' matrix and solution."""

    def patched(patch):
        solve = least_squares.lstsq
        changed = lambda A, B, **options: (change(A, solve(A, B, **options)[0]), None, 0, None)
        patch.setattr(least_squares, "lstsq", changed)

    return patched


def few_points(patch):
    inner = lambda new: new.knots[0, new.degree : -new.degree]
    patch.setattr(least_squares, "_gauss", lambda old, new: (inner(new), np.ones(len(inner(new)))))


DEFECTS = {
    "B4": solved_by(lambda A, R: R * A[:, :1].any()),
    "B5": solved_by(lambda A, R: 0 * R),
    "B6": solved_by(lambda A, R: R * A[:, :1].any()),
    "B7": solved_by(lambda A, R: R + null_space(A).sum(1, keepdims=True)),
    "B8": few_points,
}


@pytest.mark.parametrize("number, defect", DEFECTS.items(), ids=DEFECTS)
def test_rows_of_fits_notice_when_kanref_has_the_defect(monkeypatch, number, defect):
    defect(monkeypatch)
    assert not ROWS[number].met(ROWS[number].ours())


# -------------------------------------------------------------------------------------------------------------- verdicts


def made(**changes):
    """A row about a number that must be 2."""
    parts = {"number": "B7", "title": "Two", "peers": ("pykan", "torchkan"), "right": lambda: {"two": 2.0}}
    parts |= {
        "ours": lambda: {"two": 2.0},
        "derivation": "1 + 1\n    = 2",
        "reproduce": "Add.",
        "wrong": {"torchkan": three},
    }
    return Row(**parts | changes)


def three():
    return {"two": 3.0}


def answer(value, **more):
    return {"version": "0.3", "finding": {"two": value, **more}}


RAISED = {"version": "0.3", "raised": "KeyError: 2"}
THREE = {"version": "0.2.8", "finding": {"two": 3.0}}


@pytest.mark.parametrize(
    "now, then, verdict",
    [
        (answer(2.0), THREE, "right (fixed)"),
        (answer(2.0), RAISED, "right (fixed)"),
        (answer(2.0), answer(2.0), "right"),
        (answer(2.0), {}, "right"),
        (answer(3.0), THREE, "as recorded"),
        (answer(3.0, unasked=1.0), answer(3.0, unasked=5.0), "as recorded"),
        (answer(3.0003), THREE, "as recorded"),
        (answer(4.0), THREE, "wrong, but otherwise"),
        (answer(np.nan), THREE, "wrong, but otherwise"),
        (answer(np.nan), answer(np.nan), "as recorded"),
        (answer([3.0]), THREE, "wrong, but otherwise"),
        (answer("three"), THREE, "wrong, but otherwise"),
        ({"version": "0.3", "finding": {}}, THREE, "wrong, but otherwise"),
        (RAISED, THREE, "wrong, but otherwise"),
        (RAISED, RAISED, "as recorded"),
        (answer(3.0), {}, "wrong"),
        ({"absent": "gone"}, THREE, "not installed (recorded: wrong)"),
        ({}, answer(2.0), "not installed (recorded: right)"),
        ({"absent": "gone"}, {}, "not installed"),
    ],
)
def test_verdicts(now, then, verdict):
    told = report.report([made()], {("B7", "pykan"): now} if now else {}, {("B7", "pykan"): then} if then else {})
    (_, _, entries), *_ = told.rows
    assert {entry.who: entry.verdict for entry in entries} == {
        "kanref": "right",
        "pykan": verdict,
        "torchkan": "formula",
    }
    assert told.passed


def test_answers_that_vary_are_judged_by_their_criterion_alone():
    row = made(agrees=lambda right, found: found["two"] == 2)
    told = report.report([row], {("B7", "pykan"): answer(17.0)}, {("B7", "pykan"): THREE})
    assert told.rows[0][2][1].verdict == "as recorded"


@pytest.mark.parametrize(
    "ours, shown", [(three, "two 3"), (lambda: 1 / 0, "raised ZeroDivisionError: division by zero")]
)
def test_an_error_of_kanref_fails_the_report(ours, shown):
    told = report.report([made(ours=ours), made()], {}, {})
    assert not told.passed
    assert f"kanref       wrong    {shown}" in told.table() and "kanref is right in 1 of 2 rows" in told.table()


# -------------------------------------------------------------------------------------------------------------- form


def test_the_table():
    long = {"two": 2.0, "list": np.arange(12) / 3, "yes": True}
    row = made(right=lambda: {"two": 2.0}, ours=lambda: long)
    told = report.report([row], {("B7", "pykan"): RAISED}, {("B7", "pykan"): THREE})
    assert told.table() == (
        "B7   Two\n"
        "     right value                        two 2\n"
        "     kanref       right                 two 2; list (0 0.3333 0.6667 1 1.333 1.667 2 2.333 ... (12)); yes yes\n"
        "     pykan 0.3    wrong, but otherwise  raised KeyError: 2\n"
        "     torchkan     formula               two 3\n"
        "\n"
        "kanref is right in 1 of 1 rows; others: 1 wrong, but otherwise, 1 formula"
    )
    full = told.table(full=True)
    assert "     derivation: 1 + 1 = 2\n     reproduce:  Add.\n     switch:     none\n" in full
    assert "0.3333333333" in full and "..." not in full


def test_long_lines_are_broken():
    told = report.report([made(ours=lambda: {"two": 2.0, **{f"quantity {n}": n for n in range(40)}})], {}, {})
    assert max(map(len, told.table().splitlines())) <= 126


def test_json_holds_everything():
    row = made(right=lambda: {"two": np.array([2, np.inf])})
    told = json.loads(report.report([row], {("B7", "pykan"): answer(np.nan)}, {}).json())
    assert told["kanref"] == kanref.__version__ and told["passed"] is False
    (found,) = told["rows"]
    assert found["number"] == "B7" and found["derivation"] == "1 + 1 = 2" and found["peers"] == ["pykan", "torchkan"]
    assert found["right"] == {"two": [2.0, "inf"]} and found["kanref"]["finding"] == {"two": 2.0}
    assert found["found"][0] == {"who": "pykan", "version": "0.3", "verdict": "wrong", "finding": {"two": "nan"}}


# ------------------------------------------------------------------------------------------------------ asking processes

PROBES = """
import os, sys, time
import numpy as np

def b1():
    return {"array": np.arange(3.0), "nan": np.float64("nan"), "yes": np.True_, "where": os.listdir()}

def b2():
    raise ValueError("no\\nsecond line")

def b3():
    os.abort()

def b4():
    print("printed")
    os.write(1, b"written\\n")
    open("left behind", "w").close()
    return {"path": any(path.endswith("ledger") for path in sys.path)}

def b5():
    sys.exit(3)

def b6():
    time.sleep(60)

def b11():
    return {"left": os.path.exists("left behind")}

def helper():
    pass
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "fake.py").write_text(PROBES)
    (tmp_path / "gone.py").write_text("def b1():\n    return {}\n")
    (tmp_path / "broken.py").write_text("import numpy.no_such_part\n\n\ndef b1():\n    return {}\n")
    return tmp_path


FAKE = {
    "fake": Peer("numpy", "numpy", "1"),
    "gone": Peer("no_such_module", "gone", "1"),
    "broken": Peer("json", "no-such", "1"),
}
FAKE["without_probes"] = Peer("json", "no-such", "1")


def test_peers_are_asked_in_processes_that_may_fail(folder, monkeypatch, capfd):
    monkeypatch.setattr(peers, "SECONDS", 20)
    counts = []
    numbers = ("B1", "B2", "B3", "B4", "B5", "B11", "B12")
    answers = ask(sys.executable, numbers, lambda done, total: counts.append((done, total)), FAKE, folder)
    assert list(answers) == [
        ("B1", "fake"),
        ("B2", "fake"),
        ("B3", "fake"),
        ("B4", "fake"),
        ("B5", "fake"),
        ("B11", "fake"),
    ] + [
        ("B1", "gone"),
        ("B1", "broken"),
    ]
    here = {"version": np.__version__}
    found = answers["B1", "fake"]["finding"]
    assert found["array"] == [0, 1, 2] and np.isnan(found["nan"]) and found["yes"] is True and found["where"] == []
    assert answers["B2", "fake"] == here | {"raised": "ValueError: no"}
    assert answers["B3", "fake"] == here | {"raised": f"the process ended (signal 6, {signal.strsignal(6)})"}
    assert answers["B4", "fake"] == here | {"finding": {"path": False}}
    assert answers["B5", "fake"] == here | {"raised": "the process ended (exit code 3)"}
    assert answers["B11", "fake"] == here | {"finding": {"left": False}}  # a new process, a new folder
    assert answers["B1", "gone"] == {"absent": "ModuleNotFoundError: No module named 'no_such_module'"}
    assert "numpy.no_such_part" in answers["B1", "broken"]["absent"]
    assert counts == [(done, 8) for done in range(1, 9)]
    assert capfd.readouterr() == ("", "")


def test_a_peer_that_does_not_answer_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(peers, "SECONDS", 1.5)
    answers = ask(sys.executable, ("B6", "B11"), peers=FAKE, folder=folder)
    assert answers["B6", "fake"]["raised"] == "the process ended (no answer within 1.5 s)"
    assert answers["B11", "fake"]["finding"] == {"left": False}


def test_nothing_is_started_for_rows_without_probes(folder):
    assert ask("no such interpreter", ("B33",), peers=FAKE, folder=folder) == {}


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true", "/bin/echo", str(FOLDER)])
def test_peers_must_be_an_interpreter(python, folder, capsys):
    with pytest.raises(ValueError, match=f"--peers must be a Python interpreter .*{python} is none"):
        ask(python, ("B1",), peers=FAKE, folder=folder)
    assert cli.main(["ledger", "B1", "--peers", python]) == 2
    assert "kanref: error: --peers must be a Python interpreter" in capsys.readouterr().err


def test_interrupting_ends_the_worker(folder):
    """Ctrl-C that only the parent gets: it ends at once, and leaves no process behind."""
    (folder / "fake.py").write_text(
        f"import os, time\n\ndef b1():\n    open({str(folder / 'pid')!r}, 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
    )
    program = f"""
import signal
from pathlib import Path
from kanref.ledger.peers import Peer, ask
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job of a shell ignores
ask(peers={{"fake": Peer("json", "no-such", "1")}}, folder=Path({str(folder)!r}))
"""
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", program], **options) as parent:
        try:
            pid = _once(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
            parent.send_signal(signal.SIGINT)
            assert "KeyboardInterrupt" in parent.communicate(timeout=30)[1]
        finally:
            parent.kill()
    assert _once(lambda: not _alive(int(pid)))


def _once(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------- command line


def test_the_command_prints_all_rows(capsys):
    assert cli.main(["ledger"]) == 0
    out, err = capsys.readouterr()
    heads = [line.split()[0] for line in out.splitlines() if line.startswith("B")]
    assert heads == list(ROWS) and "kanref is right in 34 of 34 rows" in out and "derivation" not in out
    assert err == ""


def test_rows_at_length(capsys):
    assert cli.main(["ledger", "b1", "B31"]) == 0
    out = capsys.readouterr().out
    assert out.count("derivation:") == 2 and "0.59375" in out and "KAN-Tutorial" in out


def test_the_command_as_json(capsys):
    assert cli.main(["ledger", "B30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] and [row["number"] for row in told["rows"]] == ["B30"]


def test_unknown_rows_are_refused(capsys):
    assert cli.main(["ledger", "B99", "B1", "b0"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("kanref: error: there is no row B99, B0; the rows are B1, B2,") and err.rstrip().endswith(
        "B33, B34"
    )


def test_exit_code_1_if_kanref_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(ledger, "rows", lambda: (made(ours=three),))
    assert cli.main(["ledger"]) == 1
    assert "kanref is right in 0 of 1 rows" in capsys.readouterr().out


def test_answers_are_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "ask", lambda python, numbers, say: {("B1", "pykan"): answer(3.0)})
    path = tmp_path / "record.json"
    assert cli.main(["ledger", "B1", "--record", str(path)]) == 0
    assert report.read(path) == {("B1", "pykan"): answer(3.0)}


def test_records_that_cannot_be_written_are_refused_before_anybody_is_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "ask", lambda *_: pytest.fail("asked"))
    assert cli.main(["ledger", "--record", str(tmp_path / "none" / "record.json")]) == 2
    assert "kanref: error:" in capsys.readouterr().err


def test_a_record_that_is_replaced_is_what_answers_are_compared_with(tmp_path, monkeypatch, capsys):
    path = tmp_path / "record.json"
    report.record(path, {("B7", "pykan"): THREE})
    monkeypatch.setattr(report.report, "__defaults__", (report.read(path),))
    monkeypatch.setattr(ledger, "rows", lambda: (made(),))
    monkeypatch.setattr(peers, "ask", lambda python, numbers, say: {("B7", "pykan"): answer(2.0)})
    assert cli.main(["ledger", "--record", str(path)]) == 0
    assert "right (fixed)" in capsys.readouterr().out and report.read(path)["B7", "pykan"] == answer(2.0)


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(peers, "ask", interrupted)
    assert cli.main(["ledger"]) == 130
    assert capsys.readouterr().err == "\nkanref: interrupted\n"


# ----------------------------------------------------------------------------------------------------------------- live


@pytest.mark.parametrize("peer", [name for name in PEERS if probes(name)])
def test_libraries_that_are_installed_answer_as_recorded_or_better(peer):
    if find_spec(PEERS[peer].module) is None:
        pytest.skip(f"{peer} is not installed")
    for (number, _), now in ask(sys.executable, peers={peer: PEERS[peer]}).items():
        told = report.report([ROWS[number]], {(number, peer): now})
        verdict = next(entry.verdict for entry in told.rows[0][2] if entry.who == peer)
        assert verdict in ("as recorded", "right", "right (fixed)"), f"{number}: {now}"
