"""The conformance runner: kanref passes, mutants are caught and explained, adapters that misbehave never break it."""

import json
import re
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import kanref
from kanref import cli, golden
from kanref.golden import conformance, mutants, running
from kanref.golden.adapters import kanref as own
from kanref.golden.exact import MP
from kanref.golden.explain import explained, place, rows, wiped
from kanref.golden.protocol import OPERATIONS

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")

pytest_plugins = ["pytester"]


def adapter(**operations):
    """kanref's adapter with some operations replaced."""
    names = {name: getattr(own, name) for name in OPERATIONS}
    return types.SimpleNamespace(**{**names, **operations})


@pytest.fixture(scope="module")
def report():
    return conformance.run(own)


# ----------------------------------------------------------------------------------------------------- kanref itself


@pytest.mark.parametrize("dtype", conformance.DTYPES)
@pytest.mark.parametrize("group", golden.groups())
def test_kanref_passes_everything(report, group, dtype):
    outcomes = report.parts[group, dtype]
    assert not [f"{o.case.id}: {o.status} {o.why}" for o in outcomes if o.status != "passed"]
    assert (
        max(o.ulps / o.case.ulps[dtype] for o in outcomes) < 0.6
    )  # tolerances have some room, for other orders of sums


def test_the_table_of_ulps_is_measured(report):
    """At most what is stated, and not so little that the table says nothing."""
    assert set(own.ULPS) == set(golden.groups())
    for row in report.summary():
        stated = own.ULPS[row["group"]][conformance.DTYPES.index(row["precision"])]
        assert row["ulps"] <= stated <= 4 * max(1, row["ulps"]), (row["group"], row["precision"], row["ulps"])


def readme_rows(name):
    """The cells of the table below a comment in the README, without its head; None if the comment is not there."""
    if name not in README:
        return None
    table = re.search(r"(?:^\|.*\n?)+", README.split(name, 1)[1], re.MULTILINE).group(0)
    return [[cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in table.splitlines()[2:]]


def test_the_readme_has_the_table_of_ulps():
    """Groups stand several to a line, each with two numbers."""
    if (found := readme_rows("<!-- golden ulps")) is None:
        pytest.skip("the README has no table of ulps")
    cells = [cell for row in found for cell in row]
    table = {name: (int(a), int(b)) for name, a, b in zip(cells[::3], cells[1::3], cells[2::3]) if name}
    assert table == own.ULPS


@pytest.mark.parametrize("group", golden.groups())
def test_the_runner_judges_as_the_files_say(group):
    """The rule for readers in other languages, on the files' own numbers in plain Python: off by ulps eps s, s the largest."""
    content = json.loads((golden.FOLDER / f"{group}.json").read_text("utf-8"))
    for raw, case in list(zip(content["cases"], golden.load(group)))[:3]:
        for dtype, eps in (("float64", 2.0**-52), ("float32", 2.0**-23)):
            for name, array in raw["expected"].items():
                s = max(map(abs, array["values"]), default=0) or 1
                for share, status in ((0.8, "passed"), (1.2, "failed")):
                    answer = {key: np.array(a["values"], float).reshape(a["shape"]) for key, a in raw["expected"].items()}
                    answer[name].flat[-1] += share * raw["ulps"][dtype] * eps * s
                    assert conformance.judged(case, dtype, answer).status == status


# ------------------------------------------------------------------------------------------------ what rounding may do


@pytest.fixture(scope="module")
def bounded(report):
    """Outcomes with a bound."""
    return [outcome for outcome in report.outcomes if outcome.rounding is not None]


def test_bounds_are_known_wherever_the_definition_can_be_run(bounded):
    found = {outcome.case.operation for outcome in bounded}
    assert found == set(running.BY_DEFINITION)
    every = [case for group in golden.groups() for case in golden.load(group) if case.operation in found]
    assert {outcome.case.id for outcome in bounded} == {case.id for case in every} and len(every) >= 400


def test_values_of_networks_have_certified_bounds():
    missing, ratios = set(), []
    for case in (c for group in golden.groups() for c in golden.load(group) if c.operation == "forward"):
        try:
            ratios.append(conformance.certified(case, "float64") / running.ulps(case))
        except TypeError as error:
            assert "no bounds are known" in str(error)
            missing.add(case.id)
    assert min(ratios) > 0.5 and 5 < np.median(ratios) < 50  # wider than by the definition, which leaves out u^2
    assert missing == {"layers/base-sin", "layers/formulas-beside-splines", "layers/formulas-alone"}


def test_tolerances_are_fair(bounded):
    """kanref stays below what rounding may cause. A tolerance is above what kanref needs (tested above), hides no error beyond
    8 times what rounding may cause, or 64 ulps, and is no less than a 64th of it: bounds take all roundings to be
    largest and of one sign, which in calculations of hundreds of them never happens."""
    for case, dtype, bound, ulps in ((o.case, o.dtype, o.rounding, o.ulps) for o in bounded):
        assert ulps <= bound, case.id
        assert bound / 64 <= case.ulps[dtype] <= max(64, 8 * bound), (case.id, bound)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b, c: a + b * c,
        lambda a, b, c: (a - b) / c - 1,
        lambda a, b, c: 3 / (a * a + b) - c**3,
        lambda a, b, c: sum([a, b, c]) / 7 + 2 * a * b * c / (b + 5),
    ],
)
def test_running_errors_bound_what_rounding_does(operation):
    rng = np.random.default_rng(0)
    for numbers in rng.uniform(0.5, 2, (300, 3)):
        found = operation(*map(running.Running, numbers))
        exact = operation(*map(Fraction, numbers.tolist()))
        assert abs(Fraction(found.value) - exact) <= Fraction(found.error * (1 + 1e-9)) * Fraction(1, 2**53)
        assert found.error > 0


@pytest.mark.parametrize("name", vars(running.FUNCTIONS))
def test_running_errors_of_functions(name):
    """Against 50 digits, from inputs that are wrong by as much as they say."""
    at = (0.3, 0.55, 0.9)
    for x in at:
        off = running.Running(x, 1000)
        found, moved = getattr(running.FUNCTIONS, name)(off), MP.mpf(x) + MP.mpf(1000) / 2**53
        assert abs(found.value - getattr(MP, name)(moved)) <= MP.mpf(found.error) * (1 + MP.mpf(10) ** -6) / 2**53
    assert running.Running(-2.0) ** 3 == -8 and float(running.Running(4.0) ** 0.5) == 2


def test_bounds_are_told_where_something_fails():
    wrong = adapter(**later("forward", lambda y: y * (1 + 1e-9)))
    found = conformance.run(wrong, ["networks"], ["float64"])
    outcome = next(o for o in found.failures if o.case.id == "networks/2-3-1-degree-1")
    assert outcome.why.endswith(f"rounding alone may cause {outcome.rounding:.0f} ulps, not 4.5e+06")
    row = json.loads(found.json())["failures"][0]
    assert row["rounding"] == outcome.rounding == conformance.rounding(outcome.case, "float64") > 100
    worst = max(found.outcomes, key=lambda o: o.ulps)
    assert f" {conformance.figure(worst.ulps)} " in found.table() and f" {worst.rounding:.0f} " in found.table()


def test_a_bound_that_cannot_be_computed_ends_no_report(monkeypatch):
    conformance.rounding.cache_clear()
    for bound in ("certified", "by_definition"):
        monkeypatch.setattr(conformance, bound, lambda *a: 1 / 0)
    found = conformance.run(adapter(**later("forward", lambda y: y + 1)), ["networks"], ["float64"])
    assert "rounding alone" not in found.failures[0].why and found.table() and json.loads(found.json())
    conformance.rounding.cache_clear()


def test_kanref_offers_everything():
    assert all(callable(getattr(own, name)) for name in OPERATIONS)


def test_the_table_and_the_json_say_so(report):
    assert report.passed
    text = report.table()
    half = len(report.outcomes) // 2
    assert f"{2 * half} questions: {2 * half} passed, 0 failed, 0 not offered" in text
    assert f"  float32: {half} passed, 0 failed, 0 not offered" in text and "ledger" not in text
    assert all(group in text for group in golden.groups())
    content = json.loads(report.json())
    assert content["passed"] and not content["failures"] and len(content["groups"]) == 2 * len(golden.groups())
    assert all(row["passed"] == row["cases"] and row["first"] is None for row in content["groups"])


# ------------------------------------------------------------------------------------------------------------ mutants


def changed_network(change):
    """Every layer of a network understood in another way."""
    return lambda operation: (
        lambda network, **rest: operation(network=[change(dict(layer)) for layer in network], **rest)
    )


def without(*keys):
    return changed_network(lambda layer: {key: a for key, a in layer.items() if key not in keys})


def mutant(name, words, group, **operations):
    return pytest.param(adapter(**operations), words, group, id=name)


def later(name, change):
    """The operation with its result changed."""
    operation = getattr(own, name)
    return {name: lambda **arguments: change(operation(**arguments))}


def earlier(name, change):
    """The operation with its arguments changed."""
    operation = getattr(own, name)
    return {name: lambda **arguments: operation(**change(arguments))}


def layered(name, decorate):
    return {name: decorate(getattr(own, name))}


def half_open(**a):
    B = own.bspline(**a)
    B[a["x"] == a["knots"][-1]] = 0
    return B


def half_open_degree_0(**a):
    return half_open(**a) if a["degree"] == 0 else own.bspline(**a)


def shifted_knot(a):
    return {**a, "knots": np.concatenate([a["knots"][:1] - 1, a["knots"][:-1]])}


def through_float32(network, x):
    single = [
        {k: v.astype(np.float32) if isinstance(v, np.ndarray) else v for k, v in layer.items()} for layer in network
    ]
    return own.forward(single, x.astype(np.float32))


def transposed_square(layer):
    W = layer.get("spline")
    return (
        {**layer, "spline": np.ascontiguousarray(W.swapaxes(0, 1))}
        if W is not None and W.shape[0] == W.shape[1]
        else layer
    )


def scale_twice(layer):
    return {**layer, "scale": layer["scale"] ** 2} if "scale" in layer else layer


def adam_without(**a):
    """No bias correction."""
    f, theta, rows, m, v = a["objective"], a["start"], [a["start"]], 0, 0
    for _ in range(a["steps"]):
        g = f(theta)[1]
        m, v = a["beta1"] * m + (1 - a["beta1"]) * g, a["beta2"] * v + (1 - a["beta2"]) * g * g
        theta = theta - a["rate"] * m / (np.sqrt(v) + a["eps"])
        rows.append(theta)
    return np.array(rows)


def only(name, factor):
    """One array of an answer times a factor."""
    return lambda answer: {key: a * (factor if key.endswith(name) else 1) for key, a in answer.items()}


def forgotten_inner(**a):
    """Mixed second derivatives taken for sums of pure ones."""
    H = own.input_hessian(**a)
    H[..., 0, 1] = H[..., 1, 0] = 0
    return H


def gauss_newton(network, x, target, direction):
    """2/(N m) J'J v alone."""
    net, theta = own.built(network)
    J = net.jacobian(theta, x).reshape(-1, net.size)
    return own.parts(net, 2 / len(J) * (J @ own.joined(net, direction)) @ J)


MUTANTS = [
    mutant("right end left open", "half-open spans", "bspline", bspline=half_open),
    mutant("degree 0 left open", "half-open spans", "bspline", bspline=half_open_degree_0),
    mutant("off-by-one knot", "", "bspline", **earlier("bspline", shifted_knot)),
    mutant("functions reversed", "axis 1 in reverse order", "bspline", **later("bspline", lambda B: B[:, ::-1])),
    mutant("functions shifted", "axis 1 shifted by 1", "bspline", **later("bspline", lambda B: np.roll(B, 1, 1))),
    mutant("clamped for linear", "outside='clamp'", "bspline",
           **earlier("bspline", lambda a: {**a, "outside": "clamp" if a["outside"] == "linear" else a["outside"]})),
    mutant("factor of the derivative", "times what is expected", "bspline",
           bspline=lambda **a: own.bspline(**a) / (a["degree"] if a["order"] and a["degree"] > 1 else 1)),
    mutant("sigmoid for silu", "", "base",
           **earlier("base_function", lambda a: {**a, "name": a["name"].replace("silu", "sigmoid")})),
    mutant("order of the derivative", "the derivative of order", "functions",
           **earlier("function", lambda a: {**a, "order": min(a["order"], 2)})),
    mutant("wrong sign", "minus what is expected", "functions", **later("function", lambda y: -y)),
    mutant("mask forgotten", "mask left out", "layers", **layered("forward", without("mask"))),
    mutant("scale forgotten", "scale left out", "layers", **layered("forward", without("scale"))),
    mutant("scale twice", "scales applied twice", "layers", **layered("forward", changed_network(scale_twice))),
    mutant("base forgotten", "base functions left out", "networks",
           **layered("forward", without("base", "base_function"))),
    mutant("swapped index", "spline weights as (input, output)", "networks",
           **layered("forward", changed_network(transposed_square))),
    mutant("float32 slip", "single precision", "networks", forward=through_float32),
    mutant("affine maps forgotten", "affine maps of the nodes left out", "nodes",
           **layered("forward", without("subnode_scale", "subnode_bias", "node_scale", "node_bias"))),
    mutant("sum for mean", "times what is expected", "losses",
           loss=lambda name, prediction, target: {k: v * len(prediction) for k, v in own.loss(name, prediction, target).items()}),
    mutant("adjoint of one array", "0.base is half, 1.base is half", "gradients",
           **later("gradient", only("base", 0.5))),
    mutant("gradient without a factor", "", "lotra", **later("gradient", only("U_in", 0.0))),
    mutant("hessian without mixed parts", "input 0, input 1", "inputs", input_hessian=forgotten_inner),
    mutant("input gradient transposed", "", "inputs", **later("input_gradient", lambda g: g[..., ::-1])),
    mutant("Gauss-Newton for Hessian", "", "hessian-vector", hessian_vector=gauss_newton),
    mutant("Taylor coefficients", "Taylor coefficients", "jets",
           **later("jet", lambda J: J / np.array([1, 1, 2])[:, None, None])),
    mutant("sign of the diffusion", "coefficient with the other sign", "pinn",
           **earlier("residual", lambda a: {**a, "coefficient": -a["coefficient"]})),
    mutant("another grid rule", "rule 'pykan'", "grids",
           **earlier("grid_update", lambda a: {**a, "rule": "pykan" if a["rule"] == "jaxkan" else a["rule"], "mix": a["mix"]})),
    mutant("two-scale factor", "matrix is half what is expected", "refinement",
           halve=lambda **a: {k: v / (2 if k == "matrix" else 1) for k, v in own.halve(**a).items()}),
    mutant("insertion transposed", "(transposed?)", "insertion",
           insert=lambda **a: {k: v.T for k, v in own.insert(**a).items()}),
    mutant("restriction with the average", "0.spline is half, 1.spline is half", "prolongation",
           **later("restrict", only("spline", 0.5))),
    mutant("another metric", "metric 'edge_forward_sum'", "magnitudes",
           **earlier("magnitudes", lambda a: {**a, "metric": a["metric"].replace("spline_n", "sum")})),
    mutant("binary logarithm", "an entropy in bits (log2)", "penalties",
           **earlier("penalty", lambda a: {**a, "entropy": a["entropy"] / np.log(2)})),
    mutant("another attribution", "method 'paper'", "attribution",
           **earlier("attribution", lambda a: {**a, "method": "paper"})),
    mutant("change of basis transposed", "axes in the order (1, 0)", "change-of-basis",
           **later("change_of_basis", lambda r: {k: v.T for k, v in r.items()})),
    mutant("Tucker factors exchanged", "", "tucker", **earlier("tucker", lambda a: {**a, "core": a["core"][::-1]})),
    mutant("singular values squared", "", "hosvd",
           **later("singular_values", lambda r: {k: v**2 for k, v in r.items()})),
    mutant("no bias correction", "no bias correction", "adam", adam=adam_without),
    mutant("oldest pair for newest", "pairs newest first", "lbfgs",
           lbfgs_direction=lambda gradient, S, Y: own.lbfgs_direction(gradient, S[::-1], Y[::-1])),
    mutant("history of one", "a history of 1", "lbfgs", **earlier("lbfgs", lambda a: {**a, "history": 1})),
    mutant("no pairs", "steepest descent", "lbfgs", **earlier("lbfgs", lambda a: {**a, "history": -a["steps"]})),
]  # fmt: skip


@pytest.mark.parametrize("wrong, words, group", MUTANTS)
def test_mutants_are_caught_and_explained(wrong, words, group):
    found = conformance.run(wrong, [group], ["float64"])
    assert not found.passed
    assert any(words in outcome.why for outcome in found.failures), [o.why for o in found.failures][:4]
    assert found.failures[0].case.id in found.table()


def test_there_are_enough_mutants():
    assert len(MUTANTS) >= 20 and len(mutants.MUTANTS) >= 20


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_of_the_source_can_be_made(mutant):
    """The whole table, 41 of 41 caught, is printed by python -m kanref.golden.mutants in a minute."""
    text = (Path(kanref.__file__).parent / mutant.file).read_text("utf-8")
    assert mutants.changed(text, mutant) != text
    assert set(mutant.groups.split()) <= set(golden.groups())
    with pytest.raises(ValueError, match="must have its old text once, but has it 2 times"):
        mutants.changed(text + mutant.old, mutant)


def test_mutants_of_the_source_are_spread_and_named():
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS)
    assert len({mutant.file for mutant in mutants.MUTANTS}) >= 15


CHOSEN = "right end left open", "product rule with a dropped factor", "wrong bias correction"


def test_some_mutants_of_the_source_are_caught(capsys):
    assert mutants.main(CHOSEN) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 of 3 mutants caught"
    assert all("caught" in next(line for line in lines if line.startswith(name)) for name in CHOSEN)


def test_what_changes_nothing_or_breaks_everything_is_not_caught():
    harmless = mutants.Mutant("harmless", "nodes.py", "import numpy as np\n", "import numpy as np  # here\n", "nodes")
    broken = mutants.Mutant("broken", "nodes.py", "import numpy as np\n", "import nothing as np\n", "nodes")
    verdicts = list(mutants.judged([harmless, broken]))
    assert [verdict.caught for verdict in verdicts] == [False, False]
    assert "missed" in mutants.table(verdicts) and "ModuleNotFoundError: No module named 'nothing'" in mutants.table(verdicts)


def test_an_unknown_mutant_is_refused():
    with pytest.raises(SystemExit, match="mutants are off-by-one knot, .* but got something"):
        mutants.main(["something"])


# ---------------------------------------------------------------------------------------------- adapters that misbehave


def quits(**a):
    raise SystemExit("bye")


def overwrites(**a):
    a["x"][:] = 0
    a["knots"][:] = 0
    return own.bspline(**a)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


class Asleep(BaseException):
    """As the exceptions of pytest.skip and of tasks that were cancelled."""


class Opaque:
    """A lazy library."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name} today")


class Untold:
    def __array__(self, *options, **more):
        raise Asleep("no array")


def raises(error):
    def operation(**a):
        raise error

    return operation


MISBEHAVING = {
    "raises": (lambda **a: 1 / 0, "failed", "ZeroDivisionError: division by zero"),
    "is skipped": (raises(Asleep("not here")), "failed", "Asleep: not here"),
    "stops a generator": (raises(GeneratorExit()), "failed", "GeneratorExit: "),
    "raises what cannot be told": (raises(Unspeakable()), "failed", "Unspeakable:  .line"),
    "an array that raises": (lambda **a: Untold(), "failed", "Asleep: no array"),
    "complex": (lambda **a: own.bspline(**a) + 0j, "failed", "TypeError: result must be real, but it is complex"),
    "a generator": (lambda **a: (row for row in own.bspline(**a)), "failed", "TypeError"),
    "an array beyond all memory": (lambda **a: np.broadcast_to(np.int8(1), (10**6, 10**7)), "failed", "MemoryError"),
    "beyond the range": (lambda **a: own.bspline(**a) + 1e308, "failed", "entries are off"),
    "other rules for errors": (lambda **a: np.seterr(all="raise") and None, "failed", "must have shape"),
    "quits": (quits, "failed", "SystemExit: bye"),
    "nothing": (lambda **a: None, "failed", "must have shape"),
    "text": (lambda **a: "twelve", "failed", "ValueError: could not convert string to float"),
    "ragged": (lambda **a: [[1, 2], [3]], "failed", "inhomogeneous"),
    "another shape": (
        lambda **a: np.zeros((1, 2, 3)),
        "failed",
        r"result must have shape \(8, 3\), but it has shape \(1, 2, 3\)",
    ),
    "another name": (lambda **a: {"B": 1}, "failed", "the answer lacks result; it must have result"),
    "NaN": (
        lambda **a: own.bspline(**a) * np.nan,
        "failed",
        r"result\[0, 0\] .* is nan, expected 1; 24 entries are not finite",
    ),
    "infinite": (lambda **a: own.bspline(**a) + np.inf, "failed", "is inf"),
    "wrong arguments": (lambda x: x, "failed", "TypeError: .* unexpected keyword argument 'knots'"),
    "no function": (3, "failed", "TypeError: 'int' object is not callable"),
    "not for this": (lambda **a: _not_offered(), "not offered", "only cubic"),
    "overwrites its arguments": (overwrites, "failed", "ValueError"),
}


def _not_offered():
    raise NotImplementedError("only cubic splines")


@pytest.mark.parametrize("name", MISBEHAVING)
def test_whatever_an_adapter_does_is_a_line_of_the_report(name):
    operation, status, words = MISBEHAVING[name]
    report = conformance.run(types.SimpleNamespace(bspline=operation), ["bspline", "base"], ["float64"])
    first, last = report.outcomes[0], report.outcomes[-1]
    assert (first.status, last.status) == (status, "not offered")
    assert re.search(words, first.why), first.why
    assert not report.passed and report.table() and json.loads(report.json(), parse_constant=lambda name: 1 / 0)
    assert golden.load("bspline")[0].arguments()["knots"].any()  # the vectors themselves are out of reach


def test_an_object_that_raises_whatever_it_is_asked_for():
    report = conformance.run(Opaque(), ["bspline"], ["float64"])
    assert {o.status for o in report.outcomes} == {"failed"} and "RuntimeError: no bspline today" in report.table()


@pytest.mark.parametrize("number", [np.nan, np.inf, -1e308, 1e-300])
def test_one_entry_may_be_anything(number):
    """In every case of every group: that there is no explanation on which the report ends."""

    def spoilt(a):
        a = np.array(a, float)
        a.flat[a.size // 2 : a.size // 2 + 1] = number
        return a

    def operation(name):
        find = getattr(own, name)
        each = lambda found: {k: spoilt(a) for k, a in found.items()} if isinstance(found, dict) else spoilt(found)
        return lambda **a: each(find(**a))

    report = conformance.run(types.SimpleNamespace(**{name: operation(name) for name in OPERATIONS}), dtypes=["float32"])
    assert report.table() and json.loads(report.json(), parse_constant=lambda name: 1 / 0) and len(report.failures) > 550


def test_what_an_adapter_prints_is_no_part_of_the_report(tmp_path, monkeypatch, capsys):
    (tmp_path / "talks.py").write_text(
        "from kanref.golden.adapters import kanref\nprint('imported')\n\n"
        "def bspline(**a):\n    print('asked')\n    return kanref.bspline(**a)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["conformance", "talks", "--group", "bspline", "--dtype", "float64", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["passed"] and shown.err.startswith("imported\nasked\nasked\n")


def test_a_module_that_fails_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "fails.py").write_text("raise RuntimeError('boom')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["conformance", "fails"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("kanref: error: adapter must be MODULE:NAME") and said.count("\n") == 1
    assert said.endswith("RuntimeError: boom (line 1 of fails.py, in <module>)\n")


def test_an_interrupt_keeps_what_has_been_asked():
    answers = iter(range(7))

    def interrupted(**a):
        if next(answers) == 5:
            raise KeyboardInterrupt
        return own.bspline(**a)

    report = conformance.run(types.SimpleNamespace(bspline=interrupted), ["bspline"])
    assert [outcome.status for outcome in report.outcomes] == ["passed"] * 5
    assert report.left == 2 * len(golden.load("bspline")) - 5 and not report.passed
    assert f"interrupted: {report.left} more were not asked" in report.table()
    assert json.loads(report.json())["left"] == report.left


def test_lists_and_single_numbers_are_answers_too():
    plain = types.SimpleNamespace(
        bspline=lambda **a: own.bspline(**a).tolist(),
        loss=lambda **a: {k: v.tolist() for k, v in own.loss(**a).items()},
    )
    assert conformance.run(plain, ["bspline", "losses"], ["float64"]).passed


def test_progress_is_told():
    seen = []
    conformance.run(types.SimpleNamespace(), ["free-knots"], progress=lambda *a: seen.append(a))
    assert seen == [(k, 8) for k in range(1, 9)]


def test_nothing_offered_is_not_passed():
    assert not conformance.run(types.SimpleNamespace(), ["free-knots"]).passed


# ------------------------------------------------------------------------------------------------------- explanations


def case_named(name):
    return next(case for group in golden.groups() for case in golden.load(group) if case.id == name)


def sentence(name, change):
    """The explanation of an answer that is the expected one changed."""
    case = case_named(name)
    expected = case.answers()
    return explained(case, "float64", {key: change(a) for key, a in expected.items()}, expected)


def test_places_are_named():
    case = case_named("bspline/clamped-degree-3-order-0-zero")
    x = case.arguments()["x"]
    text = place(case, "result", (int(np.argmax(x == case.arguments()["knots"][-1])), 2))
    assert text == "result[5, 2] (point 5, function 2, x = 1.5, the right edge of the domain)"
    assert "outside the domain [-1, 1.5]" in place(case, "result", (7, 0))
    assert "an inner knot" in place(case, "result", (1, 0)) and "between knots" in place(case, "result", (2, 0))
    assert (
        place(case_named("gradients/degree-3"), "0.spline", (1, 0, 2))
        == "0.spline[1, 0, 2] (output 1, input 0, function 2)"
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: -a, "it is minus what is expected"),
        (lambda a: 2 * a, "it is twice what is expected"),
        (lambda a: np.float64(np.float32(a)), "it agrees to single precision"),
        (lambda a: a[::-1], "it would fit axis 0 in reverse order"),
        (lambda a: a * (1 + 2e-14), "it is rounding, not far beyond the tolerance"),
        (lambda a: 0 * a, "result is zero everywhere, not what is expected"),
        (lambda a: a + 1, "entries are off"),
    ],
)
def test_changes_are_recognised(change, words):
    assert words in sentence("networks/2-3-1-degree-3", change)


def test_the_wiped_recursion_is_pykans():
    """The ledger's row B1: row sums 2 min(x, 1 - x) on clamped knots."""
    t = np.array([0, 0, 0, 0, 0.5, 1, 1, 1, 1])
    np.testing.assert_allclose(wiped(np.array([0, 0.25, 0.75, 1]), t, 3).sum(1), [0, 0.5, 0.5, 0])
    pykan = types.SimpleNamespace(bspline=lambda x, knots, degree, order, outside: wiped(x, knots, degree))
    outcome = conformance.examine(pykan, case_named("bspline/clamped-degree-3-order-0-zero"))
    words = "it would fit a recursion in which 0/0 in one term wipes out the sum, as pykan 0.2.8 (ledger B1)"
    assert words in outcome.why and outcome.rows == ("B1",)


def on_splines(table):
    """A library of base functions and its own splines."""

    def forward(network, x):
        for layer in network:
            tables = [table(x[:, p], t, layer["degree"]) for p, t in enumerate(layer["knots"])]
            x = own.forward([{"base": layer["base"], "base_function": "silu"}], x) + sum(
                B @ layer["spline"][:, p].T for p, B in enumerate(tables)
            )
        return x

    def bspline(x, knots, degree, order, outside):
        if outside != "zero" or order:
            raise NotImplementedError
        return table(x, knots, degree)

    return types.SimpleNamespace(forward=forward, bspline=bspline)


def test_rows_of_the_ledger_are_named():
    """Splines of another library in networks: the row where one is certain; where two may be, the one seen elsewhere."""
    asked = "bspline/clamped-degree-3-order-0-zero", "layers/clamped-degree-3", "networks/2-2-1-repeated"
    for instead, row in ((0.0, "B1"), (np.nan, "B2")):
        library = on_splines(lambda x, t, d, instead=instead: wiped(x, t, d, instead))
        for name in asked:
            if np.isnan(instead) and name.startswith("networks"):
                continue  # kanref's part of this library refuses NaN
            assert conformance.examine(library, case_named(name)).rows == (row,)
        assert conformance.examine(library, case_named("layers/degree-0")).rows == ("B3",)
    lost = adapter(jet=lambda network, **a: own.jet(network, **a) * (np.nan if repeated(network) else 1))
    outcome = conformance.examine(lost, case_named("jets/2-2-1-repeated"))
    assert outcome.rows == ("B1", "B2")
    assert conformance.Report((outcome,)).ledger == {"B1": 1, "B2": 1}
    alone = conformance.examine(on_splines(wiped), case_named(asked[0]))
    assert conformance.Report((outcome, alone)).ledger == {"B1": 2}
    assert "known defects, rows of `kanref ledger`: B1 (2)" in conformance.Report((outcome, alone)).table()


@pytest.mark.parametrize("group", golden.groups())
@pytest.mark.parametrize("answer", [np.nan, 0.0, None], ids=["NaN", "zeros", "an exception"])
def test_what_happens_everywhere_is_put_down_to_no_row(group, answer):
    """A library that knows nothing at all has none of the known defects."""
    same = {name: changed_everywhere(name, answer) for name in OPERATIONS}
    assert conformance.run(types.SimpleNamespace(**same), [group], ["float64"]).ledger == {}


def changed_everywhere(name, answer):
    def operation(**arguments):
        if answer is None:
            raise ArithmeticError
        found = getattr(own, name)(**arguments)
        return {key: a * answer for key, a in found.items()} if isinstance(found, dict) else found * answer

    return operation


def repeated(network):
    return any((np.diff(layer["knots"]) == 0).any() for layer in network if "knots" in layer)


def test_refits_updates_and_refusals_have_rows():
    sparse = case_named("extension/sparse-uniform-degree-3-5-intervals")
    dense = case_named("extension/samples-uniform-degree-3-3-to-6")
    few = lambda a: a["samples"] is not None and np.array_equal(a["samples"], sparse.arguments("float64")["samples"])
    for number, known in ((0.0, ("B4", "B6")), (np.nan, ("B13",))):
        gives_up = adapter(refit=lambda number=number, **a: own.refit(**a) * (number if few(a) else 1))
        assert conformance.examine(gives_up, sparse).rows == known
        assert conformance.examine(adapter(**later("refit", lambda c, number=number: c * number)), sparse).rows == ()
        assert conformance.examine(adapter(**later("refit", lambda c, number=number: c * number)), dense).rows == ()
    scaled = case_named("updates/efficient-degree-3-scaled")
    scale = scaled.arguments()["network"][0]["scale"][:, :, None]
    twice = adapter(**later("update", lambda found: {**found, "weights": found["weights"] * scale}))
    assert conformance.examine(twice, scaled).rows == ("B10",)
    refuses = adapter(forward=lambda network, x: own.forward(network, x) if network[0].get("degree") else 1 / 0)
    assert conformance.examine(refuses, case_named("layers/degree-0")).rows == ("B3",)
    mixed = lambda network: any({2, 3} <= set(layer.get("arity", ())) for layer in network)
    scores = adapter(attribution=lambda network, **a: 1 / 0 if mixed(network) else own.attribution(network, **a))
    words = "products of different arities are refused where edges get scores, as by pykan 0.2.8"
    assert words in conformance.examine(scores, case_named("attribution/backward-products-of-2-and-3")).why
    assert words not in conformance.examine(scores, case_named("attribution/backward-product")).why
    for detached, said in ((lambda metric: metric == "edge_forward_sum", True), (lambda metric: True, False)):
        why = conformance.examine(without_gradient(detached), case_named("penalties/edge_forward_sum-size-2-3-1")).why
        assert ("it is magnitudes that no gradient passes, as pykan 0.2.8" in why) == said
    assert rows("as one (ledger B1, B2) and another (ledger B13)") == ("B1", "B2", "B13")


def without_gradient(detached):
    """kanref with penalties that have none for some metrics."""

    def penalty(metric, **a):
        found = own.penalty(metric=metric, **a)
        return {key: b * (key == "value" or not detached(metric)) for key, b in found.items()}

    return adapter(penalty=penalty)


def test_numbers_of_the_ledger_exist():
    ledger = pytest.importorskip("kanref.ledger")
    from kanref.golden.explain import KNOWN

    named = {row for sentence in KNOWN.values() for row in rows(sentence)}
    assert named == {"B1", "B2", "B3", "B4", "B6", "B10", "B13"}
    assert named <= {row.number for row in ledger.rows()}


# ------------------------------------------------------------------------------------------------------------ loading


@pytest.mark.parametrize("name", ["no.such.module", "kanref.golden.adapters:none", "", "json:a.b"])
def test_adapters_that_are_not_there(name):
    with pytest.raises(ValueError, match="adapter must be MODULE:NAME of something that can be imported, but"):
        conformance.load(name)


@pytest.mark.parametrize(
    "text, said",
    [
        ("import nothing", "No module named 'nothing'"),
        ("raise RuntimeError('two\\nlines')", r"RuntimeError: two lines \(line 1 of .*.py, in <module>\)"),
        ("def f(:", "SyntaxError: "),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("class adapter:\n    def __init__(self): 1 / 0", "ZeroDivisionError: division by zero"),
        ("def __getattr__(name): raise KeyError(name)", "KeyError: "),
    ],
)
def test_modules_that_fail_while_they_are_imported(text, said, tmp_path, monkeypatch):
    name = tmp_path.name  # another for every text
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"but '{name}' gave: .*{said}") as error:
        conformance.load(name)
    assert "\n" not in str(error.value)


def test_adapters_are_modules_objects_or_classes():
    assert conformance.load("kanref.golden.adapters.kanref") is own
    assert conformance.load("kanref.golden.adapters:kanref") is own
    assert isinstance(conformance.load("types:SimpleNamespace"), types.SimpleNamespace)


# -------------------------------------------------------------------------------------------------- other libraries

MODULES = {"pykan": "kan", "efficient_kan": "efficient_kan", "jaxkan": "jaxkan", "fast_kan": "fastkan"}
ROWS = {"pykan": {"B1", "B3", "B4", "B6"}, "efficient_kan": {"B2", "B3", "B4", "B6", "B10"}, "jaxkan": {"B2", "B3", "B13"}}
OTHERS = {  # what is wrong and no row of the ledger: magnitudes that are detached, scores of products whose arities differ
    "pykan": {"penalties/edge_forward_sum-size-.*", "(attribution|magnitudes)/.*backward-products-of-2-and-3"}
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_libraries_show_their_known_defects_and_nothing_sound_is_blamed(name, tmp_path, monkeypatch):
    """Where they are installed: PEERS_PYTHON -m pytest tests/test_conformance.py -k libraries; jaxKAN takes a minute."""
    pytest.importorskip(MODULES[name])
    monkeypatch.chdir(tmp_path)
    report = conformance.run(conformance.load(f"kanref.golden.adapters.{name}"))
    assert set(report.ledger) == ROWS.get(name, set())
    others = {outcome.case.id for outcome in report.failures if not outcome.rows}
    found = {pattern: {case for case in others if re.fullmatch(pattern, case)} for pattern in OTHERS.get(name, ())}
    assert all(found.values()) and others == set().union(*found.values())
    assert all(counts["passed"] for counts in report.counts.values())
    if (table := readme_rows("<!-- golden libraries")) is not None:
        told = {(row[0].strip("`"), row[1]): row[2:] for row in table}
        for dtype, counts in report.counts.items():
            passed, failed, missing = map(int, told[name, dtype][:3])
            chance = 3 if "B4" in report.ledger else 0  # refits by a solver that is right now and then
            assert missing == counts["not offered"] and passed + failed == counts["passed"] + counts["failed"]
            assert abs(passed - counts["passed"]) <= chance
            assert set(re.findall(r"B\d+", told[name, dtype][3])) == set(report.ledger)


# ------------------------------------------------------------------------------------------------------- pytest plugin


@pytest.fixture
def library(pytester):
    """Somebody's library with an adapter and a test of its own."""
    pytester.makepyfile(
        somebodys="""
        from kanref.golden.adapters import kanref

        def base_function(name, x, order):
            if name == "zero":
                raise NotImplementedError("no such function here")
            return kanref.base_function(name=name, x=x, order=order) * (1 if name != "tanh" else 2)
        """,
        test_mine="def test_mine(): pass",
    )
    pytester.syspathinsert()
    return lambda *options: pytester.runpytest_inprocess(
        "-p", "kanref.golden.pytest_plugin", "-p", "no:xdist", *options
    )


def test_plugin_makes_every_case_a_test(library):
    result = library("--kanref-adapter", "somebodys", "-k", "silu or zero-order or tanh-order or mine", "-rs")
    cases = sum(len(golden.load(group)) for group in golden.groups())
    result.assert_outcomes(passed=9, skipped=24, failed=8, deselected=2 * cases + 1 - 41)
    result.stdout.fnmatch_lines(["*it is twice what is expected*", "*no such function here*"])


def test_plugin_in_one_precision(library):
    library("--kanref-adapter", "somebodys", "--kanref-dtype", "float64", "-k", "silu").assert_outcomes(
        passed=4, deselected=1 + sum(len(golden.load(g)) for g in golden.groups()) - 4
    )


def test_plugin_stays_away_unless_asked(library):
    library().assert_outcomes(passed=1)


def test_plugin_finds_adapters_in_the_current_folder(pytester):
    pytester.makepyfile(here="from kanref.golden.adapters.kanref import base_function")
    plugins = "-p", "kanref.golden.pytest_plugin", "-p", "no:xdist"
    result = pytester.runpytest_inprocess(*plugins, "--kanref-adapter", "here", "-k", "silu")
    assert result.parseoutcomes()["passed"] == 8


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two"])
def test_plugin_refuses_adapters_that_are_not_there(pytester, processes):
    if processes:
        pytest.importorskip("xdist")
    result = pytester.runpytest_inprocess("-p", "kanref.golden.pytest_plugin", "--kanref-adapter", "nobody", *processes)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*adapter must be MODULE:NAME*nobody*"])
