"""The ledger's rows on formulas, models and penalties: what its derivations say of others is what they gave, switches give it,
and every row notices when kanref has the defect."""

from dataclasses import replace
from importlib import import_module
from math import exp, log2, sqrt
from pathlib import Path

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

from kanref import arrays, initialise
from kanref.conventions import guarded
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.golden import conformance
from kanref.ledger import report
from kanref.ledger import rows as all_rows
from kanref.ledger.rows import penalties, symbolic
from kanref.model import Model
from kanref.network import KAN
from kanref.sparsify.metrics import METRICS
from kanref.symbolic.affine_fit import scan

ROWS = {row.number: row for row in all_rows()}

# --------------------------------------------------------------------------------- what the derivations say of others


def entropy(*V):
    """pykan's, of a layer with one input: the mean over rows, and the one column."""
    p, q = [v / (v + 1) for v in V], [v / (sum(V) + 1) for v in V]
    return -sum(a * log2(a + 1e-4) for a in p) / len(V) - sum(a * log2(a + 1e-4) for a in q)


def normalised(a, b):
    """Layer norm of two inputs, the first entry."""
    return (a - b) / 2 / sqrt(((a - b) / 2) ** 2 + 1e-5)


def gaussians(x):
    """fast-kan's eight, as far apart as they are wide, on [-2, 2]."""
    return [exp(-(((x + 2) * 7 / 4 - m) ** 2)) for m in range(8)]


def edge(x):
    return sum(f / (1 + m) for m, f in enumerate(gaussians(x)))


def bound(scale):
    """Of efficient-kan's uniform draws, but for the number of inputs."""
    return sqrt(6 / (1 + 5 * scale**2))


V = [sqrt(2) * w / (sqrt(2) + 0.1) for w in (3, 1)]  # of 3x and -x at 1 and -1
RIGHT = ROWS["B25"].right()["scores of inputs"]
GIVEN = [
    ("B11", "efficient_kan", "size at scale 1/2, 2, 10", [bound(s) / bound(1) for s in (0.5, 2, 10)]),
    ("B11", "efficient_kan", "penalty of a thousandth", 1),
    ("B17", "pykan", "formula", 0.6 * 0.7 * 0.8 + 0.8 * 0.9 * 1.0),
    ("B18", "pykan", "its formula", 1 / 4 + 1 / 4),
    ("B19", "pykan", "sqrt below and at 1/100", [0.001 * (0.01 - 1e-9), 0.1]),
    ("B19", "pykan", "exp(3)", 10),
    ("B21", "pykan", "after", 2 / 4 + 1 / 8),
    ("B25", "pykan", "scores of inputs", RIGHT[::-1]),
    ("B28", "pykan", "L1 of 3x and -x", sum(V)),
    ("B28", "pykan", "their entropy", entropy(*V)),
    ("B28", "pykan", "1024 times as large", entropy(*(1024 * v for v in V))),
    ("B28", "pykan", "of one edge", entropy(V[0])),
    ("B32", "fast_kan", "change of phi(x1) with x2", edge(normalised(0.5, 1)) - edge(normalised(0.5, 0))),
    ("B32", "fast_kan", "sum of the basis at 1/4", sum(gaussians(0.25))),
]


@pytest.mark.parametrize("number, peer, name, value", GIVEN, ids=[f"{number}-{name}" for number, _, name, _ in GIVEN])
def test_what_was_recorded_follows_from_what_the_derivation_says(number, peer, name, value):
    assert_allclose(report.read()[number, peer]["finding"][name], value, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------ switches


def root(x):
    return guarded("sqrt")(np.array(x)).tolist()


SWITCHES = [
    ("B11", "efficient_kan", "penalty of a thousandth", lambda name: penalties.scales("efficient-kan")[name]),
    ("B19", "pykan", "sqrt below and at 1/100", lambda _: root([0.01 - 1e-9, 0.01])),
    ("B19", "pykan", "a value for sqrt(-1)", lambda _: root(-1.0) == -1),
    ("B19", "pykan", "exp(3)", lambda _: guarded("exp")(3.0)),
    ("B20", "pykan", "R^2", lambda name: symbolic.sines(scan)[name]),
]
SWITCHES += [
    ("B28", "pykan", name, lambda name: penalties.entropies("pykan-0.2.8", "pykan-0.2.8")[name])
    for name in ROWS["B28"].right()
]


@pytest.mark.parametrize(
    "number, peer, name, switched", SWITCHES, ids=[f"{number}-{name}" for number, _, name, _ in SWITCHES]
)
def test_switches_give_what_was_published(number, peer, name, switched):
    assert ROWS[number].switch
    assert_allclose(switched(name), report.read()[number, peer]["finding"][name], rtol=1e-3)


# ------------------------------------------------------------------------------------------- defects that rows notice


def same_seed(patch):
    draw = initialise.draw
    patch.setattr(initialise, "draw", lambda term, rng, *rest: draw(term, np.random.default_rng(0), *rest))


def stride_two(patch):
    module = import_module("kanref.symbolic.formula")
    multiplied = lambda nodes, _, u: [sympy.Mul(*u[2 * q : 2 * q + a]) for q, a in enumerate(nodes.arity)]
    patch.setattr(module, "nodes", multiplied)


def splines_left_out(patch):
    module = import_module("kanref.symbolic.formula")
    patch.setattr(module, "mixed", lambda *arguments: sympy.Integer(0))


def functions_stay(patch):
    select = Symbolic.select

    def selected(self, *arguments):
        term, own = select(self, *arguments)
        there = {(q, p): f for q, p, f in self.formulas}
        return replace(term, formulas=tuple((q, p, there[q, p]) for q, p, _ in term.formulas)), own

    patch.setattr(Symbolic, "select", selected)


def columns_forgotten(patch):
    load = Model.load
    first = lambda made: replace(made, columns=tuple(range(made.net.inputs)))
    patch.setattr(Model, "load", lambda path: first(load(path)))


def numbers_refused(patch):
    def load(path):
        raise ValueError(f"{path} has a tag that is not known")

    patch.setattr(Model, "load", load)


def pruned_in_place(patch):
    prune = Model.prune

    def pruned(self, *arguments, **options):
        made = prune(self, *arguments, **options)
        self.theta[: len(self.theta) // 2] = 0
        return made

    patch.setattr(Model, "prune", pruned)


def last_data(patch):
    fit, attribute, seen = Model.fit, Model.attribute, []

    def fitted(self, *arguments, validation, **options):
        seen.append(validation[0])
        return fit(self, *arguments, validation=validation, **options)

    patch.setattr(Model, "fit", fitted)
    patch.setattr(Model, "attribute", lambda self, X: attribute(self, seen[-1]))


def global_seed(patch):
    initial = initialise.initial
    patch.setattr(initialise, "initial", lambda *arguments: (np.random.seed(0), initial(*arguments))[1])  # noqa: NPY002


def files_written(patch):
    build = Model.build
    patch.setattr(Model, "build", lambda *arguments: (Path("history.txt").write_text(""), build(*arguments))[1])


def columns_dropped(patch):
    points = arrays.points
    patch.setattr(arrays, "points", lambda x, n, *rest, **kind: points(np.asarray(x)[:, :n], n, *rest, **kind))


def layer_norm(patch):
    call = KAN.__call__
    normalised = lambda x: (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    patch.setattr(KAN, "__call__", lambda self, theta, x: call(self, theta, normalised(x)))


def nothing_fails(patch):
    patch.setattr(conformance, "judged", lambda case, dtype, found, special: conformance.Outcome(case, dtype, "passed"))


DEFECTS = [
    ("B11", lambda patch: patch.setitem(METRICS, "paper", METRICS["efficient-kan"])),
    ("B12", same_seed),
    ("B17", stride_two),
    ("B18", splines_left_out),
    ("B19", lambda patch: patch.setitem(LIBRARY, "sqrt", guarded("sqrt"))),
    ("B20", lambda patch: patch.setattr(ROWS["B20"].ours, "__defaults__", (scan,))),
    ("B21", functions_stay),
    ("B22", columns_forgotten),
    ("B23", numbers_refused),
    ("B24", pruned_in_place),
    ("B25", last_data),
    ("B26", global_seed),
    ("B27", files_written),
    ("B28", lambda patch: patch.setitem(METRICS, "paper", METRICS["pykan-0.2.8"])),
    ("B29", columns_dropped),
    ("B32", layer_norm),
    ("B33", nothing_fails),
]


@pytest.mark.parametrize("number, defect", DEFECTS, ids=[number for number, _ in DEFECTS])
def test_rows_notice_when_kanref_has_the_defect(monkeypatch, number, defect):
    row = ROWS[number]
    assert row.met(row.ours())
    defect(monkeypatch)
    assert not row.met(row.ours())
