"""The conformance runner: an implementation is asked everything that the golden vectors know, and told where it parts.

    report = run(load("package.module:adapter"))
    print(report.table())

An adapter is a module or object with functions of `kanref.golden.protocol`. Whatever it does, raise, return nonsense or
write into its arguments, becomes a line of the report; only an endless loop is beyond it.

Tolerances stand in the cases. How they compare with what rounding alone may do at worst is in every `Outcome`: `rounding`.
"""

import importlib
import json
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kanref import golden
from kanref.golden.explain import explained, rows, sign, symptom
from kanref.golden.protocol import objective
from kanref.words import aligned

DTYPES = "float64", "float32"
STATUS = "passed", "failed", "not offered"
SAFE = 2.0**-7  # of the answer; bounds beyond it say nothing, as where a sample may be moved across a jump


class Outcome(NamedTuple):
    """What became of one case: ulps is the largest error in units of machine epsilon times the largest entry, relative the
    same without epsilon (both None if there is no error to measure), why what went wrong."""

    case: golden.Case
    dtype: str
    status: str
    ulps: float | None = None
    relative: float | None = None
    why: str = ""

    @property
    def rounding(self):
        """How many ulps rounding alone may cause at most, None where no bound is known: see `rounding`."""
        return rounding(self.case, self.dtype)

    @property
    def rows(self):
        """The rows of the ledger that the explanation names, one of which it is."""
        return rows(self.why)


def load(name):
    """The adapter "package.module:name"; without ":name" the module's own `adapter`, or the module. A class is instantiated.

    Raises ValueError, with what the import said, if it is not there.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
        found = found if attribute else getattr(found, "adapter", found)
        return found() if isinstance(found, type) else found
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may fail in any way while it is imported
        said = " ".join((words(error) if isinstance(error, ImportError | AttributeError) else raised(error)).split())
        raise ValueError(f"adapter must be MODULE:NAME of something that can be imported, but {name!r} gave: {said}") from error


def run(adapter, groups=None, dtypes=DTYPES, progress=None):
    """A `Report` on an adapter: all groups for None, both precisions; progress(done, total) after each case. Ctrl-C ends it with
    what has been asked until then."""
    names = golden.groups() if groups is None else list(groups)
    cases = [(case, dtype) for group in names for case in golden.load(group) for dtype in dtypes]
    outcomes = []
    try:
        for case, dtype in cases:
            outcomes.append(examine(adapter, case, dtype))
            if progress is not None:
                progress(len(outcomes), len(cases))
    except KeyboardInterrupt:
        return Report(tuple(outcomes), len(cases) - len(outcomes))
    return Report(tuple(outcomes))


def examine(adapter, case, dtype="float64"):
    """The `Outcome` of one case."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            if getattr(adapter, case.operation, None) is None:
                return Outcome(case, dtype, "not offered")
            found = asked(adapter, case, dtype)
        except NotImplementedError as error:
            return Outcome(case, dtype, "not offered", why=words(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pytest.skip and others are no Exception
            return Outcome(case, dtype, "failed", why=raised(error) + peculiar(adapter, case, dtype))
        return judged(case, dtype, found, lambda found: peculiar(adapter, case, dtype, found))


def asked(adapter, case, dtype):
    """The adapter's answer to a case as {name: float64 array}."""
    arguments = case.arguments(dtype)
    if "objective" in arguments:
        arguments["objective"] = objective(arguments["objective"])
    return arrays(getattr(adapter, case.operation)(**arguments), case)


def peculiar(adapter, case, dtype, found=None):
    """The `symptom` of an answer, if the adapter does better in a case of the same group without what the symptom is put down
    to: what happens everywhere has another cause. Else empty."""
    said = symptom(case, found)
    for plain in golden.load(case.group) if said else ():
        if plain.operation == case.operation and not symptom(plain, found):
            try:
                answer = asked(adapter, plain, dtype)
            except NotImplementedError:
                continue
            except KeyboardInterrupt:
                raise
            except BaseException:
                answer = None
            return said if sign(answer) != sign(found) else ""
    return ""


def words(error):
    """What an error says, if it can."""
    try:
        return str(error)
    except Exception:
        return ""


def raised(error):
    """What was raised, and where if it does not say more."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f" (line {frame.lineno} of {Path(frame.filename).name}, in {frame.name})"
    return f"{type(error).__name__}: {words(error)}" + where


def arrays(result, case):
    """What an operation returned as {name: float64 array}; a lone array is "result"."""
    expected = case.expected
    result = result if isinstance(result, dict) else {"result": result}
    if missing := [name for name in expected if name not in result]:
        raise ValueError(f"the answer lacks {', '.join(missing)}; it must have {', '.join(expected)}")
    return {name: real(result[name], name) for name in expected}


def real(a, name):
    """As float64; TypeError for complex numbers, whose imaginary part would be lost without a word."""
    if np.asarray(a).dtype.kind == "c":
        raise TypeError(f"{name} must be real, but it is complex")
    return np.asarray(a, np.float64)


def judged(case, dtype, found, special=lambda found: ""):
    """Compare with what is expected; special(found): more that is known to go with such answers."""
    expected, epsilon, worst = case.answers(), float(np.finfo(dtype).eps), 0.0
    for name, exact in expected.items():
        if found[name].shape != exact.shape:
            turned = " (transposed?)" * (found[name].T.shape == exact.shape)
            why = f"{name} must have shape {exact.shape}, but it has shape {found[name].shape}{turned}"
            return Outcome(case, dtype, "failed", why=why)
        error = np.abs(found[name] - exact).max(initial=0)
        worst = max(worst, float(error) / scale(exact)) if np.isfinite(found[name]).all() else np.inf
    ulps = worst / epsilon
    if worst <= case.ulps[dtype] * epsilon:
        return Outcome(case, dtype, "passed", ulps, worst)
    why = explained(case, dtype, found, expected, special(found))
    if (fair := rounding(case, dtype)) is not None:
        why += f"; rounding alone may cause {figure(fair)} ulps" + f", not {figure(ulps)}" * bool(np.isfinite(ulps))
    return Outcome(case, dtype, "failed", *((ulps, worst) if np.isfinite(ulps) else (None, None)), why)


def scale(exact):
    """The largest entry, 1 for zeros."""
    return float(np.abs(exact).max(initial=0)) or 1.0


@cache
def rounding(case, dtype):
    """How many ulps, as outcomes count them, rounding alone may cause at most; None where no bound is known, or where a sample
    lies so near to a jump that rounding may move it across.

    For values of networks the bound is certified, by `kanref.bounds.rounding_errors` at each sample. Where that knows none, and
    for functions, bases and derivatives of inputs, it holds to first order, for a calculation by the definition: see
    `kanref.golden.running`. It is never the end of a report.
    """
    for bound in (certified, by_definition):
        with suppress(LookupError, TypeError, ValueError, ArithmeticError):  # what it knows none for
            if (found := bound(case, dtype)) * np.finfo(dtype).eps <= SAFE:
                return found
    return None


def certified(case, dtype):
    """By `kanref.bounds`."""
    from kanref.bounds import rounding_errors
    from kanref.golden.adapters import kanref

    inputs = case.arguments()
    if case.operation != "forward":
        raise KeyError(case.operation)
    error = rounding_errors(*kanref.built(inputs["network"]), inputs["x"], np.dtype(dtype)).max()
    return float(error / scale(case.answers()["result"]) / np.finfo(dtype).eps)


def by_definition(case, dtype):
    """By running error analysis."""
    from kanref.golden.running import ulps

    return ulps(case)


@dataclass(frozen=True, eq=False)
class Report:
    """Outcomes in the order of the cases; left: how many were not asked, because of Ctrl-C."""

    outcomes: tuple
    left: int = 0

    @property
    def passed(self):
        """Whether all was asked, nothing failed, and something was offered."""
        return not self.left and not self.failures and any(outcome.status == "passed" for outcome in self.outcomes)

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

    @cached_property
    def counts(self):
        """{precision: how many questions have which status}."""
        found = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.dtype, Counter())[outcome.status] += 1
        return found

    @cached_property
    def ledger(self):
        """{row of the ledger: how many failures show it}. Where an explanation names several rows, those that others name alone
        come first."""
        alone = Counter(outcome.rows[0] for outcome in self.failures if len(outcome.rows) == 1)
        found = Counter()
        for outcome in self.failures:
            found.update([row for row in outcome.rows if row in alone] or outcome.rows)
        return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))

    def summary(self):
        """A dictionary for every group and precision: counts, largest errors, the first failure in words."""
        return [_summed(group, dtype, outcomes) for (group, dtype), outcomes in self.parts.items()]

    def table(self):
        """The summary as text, and below it the first failure of each group explained. Columns: the largest error in ulps, what
        rounding alone may cause there at most ("-" where no bound is known), the largest relative error."""
        head = ("group", "precision", "cases", *STATUS, "ulps", "rounding", "relative")
        rows, words = [head], []
        for row in self.summary():
            counts = (row[status] for status in STATUS)
            relative = "-" if row["relative"] is None else f"{row['relative']:.1e}"
            errors = figure(row["ulps"]), figure(row["rounding"]), relative
            rows.append((row["group"], row["precision"], row["cases"], *counts, *errors))
            if row["first"]:
                words.append(f"{row['first']['id']} ({row['precision']})\n    {row['first']['why']}")
        text = aligned(rows, 2).split("\n")
        told = lambda counts: ", ".join(f"{counts[status]} {status}" for status in STATUS)
        verdict = f"{len(self.outcomes)} questions: {told(sum(self.counts.values(), Counter()))}"
        if len(self.counts) > 1:
            verdict = "\n".join([verdict, *(f"  {dtype}: {told(counts)}" for dtype, counts in self.counts.items())])
        if self.left:
            verdict += f"\ninterrupted: {self.left} more were not asked"
        if self.ledger:
            shown = ", ".join(f"{row} ({count})" for row, count in self.ledger.items())
            verdict += f"\nknown defects, rows of `kanref ledger`: {shown}"
        return "\n".join([text[0], "-" * max(map(len, text)), *text[1:], "", verdict, *words])

    def json(self):
        """The summary and all failures as JSON."""
        names = "ulps", "rounding", "relative", "rows", "why"
        keep = lambda o: {"id": o.case.id, "precision": o.dtype, **{name: getattr(o, name) for name in names}}
        content = {"version": golden.VERSION, "passed": self.passed, "left": self.left, "ledger": self.ledger}
        content["groups"] = self.summary()
        return json.dumps(content | {"failures": [keep(outcome) for outcome in self.failures]}, indent=1)


def figure(ulps):
    """A number of ulps in words."""
    return "-" if ulps is None else format(ulps, ".2g" if ulps < 100 else ".0f" if ulps < 1e4 else ".1e")


def _summed(group, dtype, outcomes):
    count = {status: sum(outcome.status == status for outcome in outcomes) for status in STATUS}
    largest = lambda key: max((e for o in outcomes if (e := getattr(o, key)) is not None), default=None)
    failed = next((o for o in outcomes if o.status == "failed"), None)
    first = failed and {"id": failed.case.id, "why": failed.why}
    worst = max((o for o in outcomes if o.ulps is not None), key=lambda o: o.ulps, default=None)
    errors = {"ulps": largest("ulps"), "rounding": worst and worst.rounding, "relative": largest("relative"), "first": first}
    return {"group": group, "precision": dtype, "cases": len(outcomes), **count, **errors}
