"""The conformance runner: an implementation is asked everything that the golden vectors know, and told where it parts.

    report = run(load("package.module:adapter"))
    print(report.table())

An adapter is a module or object with functions of `kanref.golden.protocol`. Whatever it does, raise, return nonsense or
write into its arguments, becomes a line of the report; only an endless loop is beyond it.
"""

import importlib
import json
import traceback
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kanref import golden
from kanref.golden.explain import explained
from kanref.golden.protocol import OPERATIONS, objective
from kanref.words import aligned

DTYPES = "float64", "float32"
STATUS = "passed", "failed", "not offered"


class Outcome(NamedTuple):
    """What became of one case: ulps is the largest error in units of machine epsilon times the largest entry, relative the
    same without epsilon (both None if there is no error to measure), why what went wrong."""

    case: golden.Case
    dtype: str
    status: str
    ulps: float | None = None
    relative: float | None = None
    why: str = ""


def load(name):
    """The adapter "package.module:name"; without ":name" the module's own `adapter`, or the module. A class is instantiated.

    Raises ValueError, with what the import said, if it is not there.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"adapter must be MODULE:NAME of something that can be imported, but {name!r} gave: {error}"
        ) from error
    if not attribute:
        found = getattr(found, "adapter", found)
    return found() if isinstance(found, type) else found


def run(adapter, groups=None, dtypes=DTYPES, progress=None):
    """A `Report` on an adapter: all groups for None, both precisions; progress(done, total) after each case."""
    names = golden.groups() if groups is None else list(groups)
    cases = [(case, dtype) for group in names for case in golden.load(group) for dtype in dtypes]
    outcomes = []
    for case, dtype in cases:
        outcomes.append(examine(adapter, case, dtype))
        if progress is not None:
            progress(len(outcomes), len(cases))
    return Report(tuple(outcomes))


def examine(adapter, case, dtype="float64"):
    """The `Outcome` of one case."""
    operation = getattr(adapter, case.operation, None)
    if operation is None:
        return Outcome(case, dtype, "not offered")
    arguments = case.arguments(dtype)
    if "objective" in arguments:
        arguments["objective"] = objective(arguments["objective"])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = arrays(operation(**arguments), case)
        except NotImplementedError as error:
            return Outcome(case, dtype, "not offered", why=str(error))
        except (Exception, SystemExit) as error:
            return Outcome(case, dtype, "failed", why=raised(error))
        return judged(case, dtype, found)


def raised(error):
    """What was raised, and where if it does not say more."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f" (line {frame.lineno} of {Path(frame.filename).name}, in {frame.name})"
    return f"{type(error).__name__}: {error}" + where


def arrays(result, case):
    """What an operation returned as {name: float64 array}; a lone array is "result"."""
    expected = case.expected
    result = result if isinstance(result, dict) else {"result": result}
    if missing := [name for name in expected if name not in result]:
        raise ValueError(f"the answer lacks {', '.join(missing)}; it must have {', '.join(expected)}")
    return {name: np.asarray(result[name], np.float64) for name in expected}


def judged(case, dtype, found):
    """Compare with what is expected."""
    expected, epsilon, worst = case.answers(), float(np.finfo(dtype).eps), 0.0
    for name, exact in expected.items():
        if found[name].shape != exact.shape:
            turned = " (transposed?)" * (found[name].T.shape == exact.shape)
            why = f"{name} must have shape {exact.shape}, but it has shape {found[name].shape}{turned}"
            return Outcome(case, dtype, "failed", why=why)
        error = np.abs(found[name] - exact).max(initial=0)
        worst = max(worst, float(error) / scale(exact)) if np.isfinite(found[name]).all() else np.inf
    if worst <= case.ulps[dtype] * epsilon:
        return Outcome(case, dtype, "passed", worst / epsilon, worst)
    why = explained(case, dtype, found, expected)
    return Outcome(case, dtype, "failed", *((worst / epsilon, worst) if np.isfinite(worst) else (None, None)), why)


def scale(exact):
    """The largest entry, 1 for zeros."""
    return float(np.abs(exact).max(initial=0)) or 1.0


@dataclass(frozen=True, eq=False)
class Report:
    """Outcomes in the order of the cases."""

    outcomes: tuple

    @property
    def passed(self):
        """Whether nothing failed, and something was offered."""
        return not self.failures and any(outcome.status == "passed" for outcome in self.outcomes)

    @cached_property
    def failures(self):
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @cached_property
    def parts(self):
        """{(group, dtype): its outcomes}."""
        found = {}
        for outcome in self.outcomes:
            found.setdefault((outcome.case.group, outcome.dtype), []).append(outcome)
        return found

    def summary(self):
        """A dictionary for every group and precision: counts, largest errors, the first failure in words."""
        return [_summed(group, dtype, outcomes) for (group, dtype), outcomes in self.parts.items()]

    def table(self):
        """The summary as text, and below it the first failure of each group explained."""
        head = ("group", "precision", "cases", *STATUS, "ulps", "relative")
        cell = lambda value, form: "-" if value is None else format(value, form)
        rows, words = [head], []
        for row in self.summary():
            counts = (row[status] for status in STATUS)
            errors = cell(row["ulps"], ".2g" if (row["ulps"] or 0) < 100 else ".1e"), cell(row["relative"], ".1e")
            rows.append((row["group"], row["precision"], row["cases"], *counts, *errors))
            if row["first"]:
                words.append(f"{row['first']['id']} ({row['precision']})\n    {row['first']['why']}")
        text = aligned(rows, 2).split("\n")
        counts = [sum(outcome.status == status for outcome in self.outcomes) for status in STATUS]
        verdict = ", ".join(f"{count} {status}" for count, status in zip(counts, STATUS))
        verdict = f"{len(self.outcomes)} questions: {verdict}"
        return "\n".join([text[0], "-" * max(map(len, text)), *text[1:], "", verdict, *words])

    def json(self):
        """The summary and all failures as JSON."""
        keep = lambda o: {"id": o.case.id, "precision": o.dtype, "ulps": o.ulps, "relative": o.relative, "why": o.why}
        content = {"version": golden.VERSION, "passed": self.passed, "groups": self.summary()}
        return json.dumps(content | {"failures": [keep(outcome) for outcome in self.failures]}, indent=1)


def _summed(group, dtype, outcomes):
    count = {status: sum(outcome.status == status for outcome in outcomes) for status in STATUS}
    largest = lambda key: max((e for o in outcomes if (e := getattr(o, key)) is not None), default=None)
    failed = next((o for o in outcomes if o.status == "failed"), None)
    first = failed and {"id": failed.case.id, "why": failed.why}
    errors = {"ulps": largest("ulps"), "relative": largest("relative"), "first": first}
    return {"group": group, "precision": dtype, "cases": len(outcomes), **count, **errors}


def offered(adapter):
    """Names of the operations that an adapter has."""
    return tuple(name for name in OPERATIONS if callable(getattr(adapter, name, None)))
