"""The conformance runner: kanref passes, mutants are caught and explained, adapters that misbehave never break it."""

import json
import re
import types

import numpy as np
import pytest

from kanref import golden
from kanref.golden import conformance
from kanref.golden.adapters import kanref as own
from kanref.golden.explain import explained, place, wiped
from kanref.golden.protocol import OPERATIONS

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


def test_kanref_offers_everything():
    assert conformance.offered(own) == tuple(OPERATIONS)


def test_the_table_and_the_json_say_so(report):
    assert report.passed
    text = report.table()
    assert f"{len(report.outcomes)} questions: {len(report.outcomes)} passed, 0 failed, 0 not offered" in text
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
    assert len(MUTANTS) >= 20


# ---------------------------------------------------------------------------------------------- adapters that misbehave


def quits(**a):
    raise SystemExit("bye")


def overwrites(**a):
    a["x"][:] = 0
    a["knots"][:] = 0
    return own.bspline(**a)


MISBEHAVING = {
    "raises": (lambda **a: 1 / 0, "failed", "ZeroDivisionError: division by zero"),
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
    assert not report.passed and report.table() and json.loads(report.json())
    assert golden.load("bspline")[0].arguments()["knots"].any()  # the vectors themselves are out of reach


def test_an_interrupt_passes():
    def interrupted(**a):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conformance.run(types.SimpleNamespace(bspline=interrupted), ["bspline"])


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
    assert "it would fit a recursion in which 0/0 in one term wipes out the sum (pykan 0.2.8)" in outcome.why


# ------------------------------------------------------------------------------------------------------------ loading


@pytest.mark.parametrize("name", ["no.such.module", "kanref.golden.adapters:none", "", "json:a.b"])
def test_adapters_that_are_not_there(name):
    with pytest.raises(ValueError, match="adapter must be MODULE:NAME of something that can be imported, but"):
        conformance.load(name)


def test_adapters_are_modules_objects_or_classes():
    assert conformance.load("kanref.golden.adapters.kanref") is own
    assert conformance.load("kanref.golden.adapters:kanref") is own
    assert isinstance(conformance.load("types:SimpleNamespace"), types.SimpleNamespace)


# -------------------------------------------------------------------------------------------------- other libraries

KNOTS = r"clamped|repeated"  # knots that coincide: 0/0
DEFECTS = {  # library: what must be importable, groups asked (None: all), {cases that fail: row of the ledger}, others that may
    "pykan": (
        ("kan",),
        None,
        {KNOTS: "B1", "degree-0": "B3", "edge_forward_sum": "detached", "products-of-2-and-3": "arities that differ"},
        "extension/sparse",  # B4: the answer depends on memory
    ),
    "efficient_kan": (
        ("efficient_kan",),
        None,
        {KNOTS: "B2", "degree-0": "B3", "updates/.*-scaled": "B10"},
        "extension/sparse",  # B6, from B4
    ),
    "jaxkan": (
        ("jaxkan", "flax"),
        ("extension", "grids", "networks", "updates"),
        {KNOTS: "B2", "extension/sparse": "B13"},
        "never",
    ),
    "fast_kan": (("fastkan",), None, {}, "never"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DEFECTS)
def test_libraries_show_their_known_defects_and_nothing_sound_is_blamed(name):
    modules, groups, known, possible = DEFECTS[name]
    for module in modules:
        pytest.importorskip(module)
    report = conformance.run(conformance.load(f"kanref.golden.adapters.{name}"), groups, ["float64"])
    failed = [outcome.case.id for outcome in report.failures]
    for pattern in known:
        assert any(re.search(pattern, case) for case in failed), pattern
    sound = [case for case in failed if not any(re.search(pattern, case) for pattern in (*known, possible))]
    assert not sound
    assert any(outcome.status == "passed" for outcome in report.outcomes)


# ------------------------------------------------------------------------------------------------------- pytest plugin


@pytest.fixture
def library(pytester):
    """Somebody's library with an adapter and a test of its own."""
    pytester.makepyfile(
        mine="""
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
    result = library("--kanref-adapter", "mine", "-k", "silu or zero-order or tanh-order or mine", "-rs")
    cases = sum(len(golden.load(group)) for group in golden.groups())
    result.assert_outcomes(passed=9, skipped=24, failed=8, deselected=2 * cases + 1 - 41)
    result.stdout.fnmatch_lines(["*it is twice what is expected*", "*no such function here*"])


def test_plugin_in_one_precision(library):
    library("--kanref-adapter", "mine", "--kanref-dtype", "float64", "-k", "silu").assert_outcomes(
        passed=4, deselected=1 + sum(len(golden.load(g)) for g in golden.groups()) - 4
    )


def test_plugin_stays_away_unless_asked(library):
    library().assert_outcomes(passed=1)


def test_plugin_refuses_adapters_that_are_not_there(library):
    result = library("--kanref-adapter", "nobody")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*adapter must be MODULE:NAME*nobody*"])
