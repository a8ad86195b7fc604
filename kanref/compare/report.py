"""What came out of a comparison, for people and for machines."""

import json
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from kanref.compare.parting import Parting, Place, Row, far
from kanref.compare.tolerance import ULPS, Tolerance
from kanref.words import aligned


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out.

    equal: whether all outputs agree within the tolerance; absolute, relative: their largest difference, and as a share of A's
    largest output (None if B gave none); allowed: what would be fair there; parting: the first place where the two are
    different functions, None if there is none; reasons: sentences; layers: a `Row` for each, () if they cannot be compared;
    names: of A and B; samples, tolerance, rounding: in words; point: the sample of the parting, as A takes it.
    """

    equal: bool
    absolute: float | None
    relative: float | None
    allowed: float
    parting: Parting | None
    reasons: tuple[str, ...]
    layers: tuple[Row, ...]
    names: tuple[str, str]
    samples: str
    tolerance: str
    rounding: str = ""
    point: tuple[float, ...] = ()

    def table(self):
        """The report for people."""
        lines = [f"A  {self.names[0]}", f"B  {self.names[1]}", f"on {self.samples}", f"tolerance: {self.tolerance}", ""]
        if self.absolute is None:
            lines.append("They cannot be compared: B gives no outputs.")
        else:
            size = f"outputs differ by {self.absolute:.2e} at most, {self.relative:.2e} of the largest"
            size += f"; {self.allowed:.2e} would be fair"
            lines.append(f"{'They agree' if self.equal else 'They part'}: {size}.")
        if self.rounding:
            lines.append(self.rounding)
        if self.layers:
            cell = lambda value: "-" if value is None else f"{value:.1e}"
            rows = [("layer", "fed by A", "fed by itself", "fed by A, in tolerances")]
            rows += [(row.layer, cell(row.local), cell(row.accumulated), cell(row.excess)) for row in self.layers]
            lines += ["", "largest difference of B's layers from A's", *(f"  {line}" for line in aligned(rows).split("\n"))]
        if self.parting:
            shown = ", ".join(f"{value:.9g}" for value in self.point[:8]) + ", ..." * (len(self.point) > 8)
            lines += ["", f"{'inside, they' if self.equal else 'they'} part first in {self.parting}"]
            lines.append(f"sample {self.parting.sample} is ({shown})")
        if self.reasons:
            lines += ["", "why", *(f"  - {sentence}" for sentence in self.reasons)]
        return "\n".join(lines)

    __str__ = table

    def json(self):
        """The same for machines; numbers that are not finite are texts."""
        content = dict(vars(self)) | {"parting": self.parting and self.parting._asdict() | {"text": str(self.parting)}}
        content["layers"] = [row._asdict() for row in self.layers]
        return json.dumps(_plain(content), indent=1)


def _plain(part):
    if isinstance(part, dict):
        return {key: _plain(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_plain(value) for value in part]
    return str(part) if isinstance(part, float) and not isfinite(part) else part


@dataclass(frozen=True, eq=False)
class Verdict:
    """Outputs y of A and values of B (None if it gave none), what is allowed, and what float32 might do."""

    y: np.ndarray
    values: np.ndarray | None
    allowed: np.ndarray
    single: np.ndarray
    tolerance: Tolerance

    @classmethod
    def of(cls, y, values, tolerance, x, units=None):
        """units: (factor, shift) of A's and B's outputs, if they have other ones than 1 and 0."""
        allowed = tolerance.whole(x, y)
        single = replace(tolerance, dtype=np.float32, given=None).whole(x, y)
        if units and values is not None:
            (a, a_0), (b, b_0) = units
            y, values, allowed, single = a * y + a_0, b * values + b_0, max(a, b) * allowed, max(a, b) * single
        return cls(y, values, allowed, single, tolerance)

    @property
    def equal(self):
        return self.values is not None and bool((far(self.y, self.values) <= self.allowed).all())

    def place(self, x):
        """The outputs as a `Place`."""
        return Place("output", "values", None, x, self.y, self.values, self.allowed, np.arange(len(x)))

    def comparison(self, given, rows, parting, reasons, names):
        largest = lambda a: float(a[np.isfinite(a)].max(initial=0))
        absolute, relative, words, reasons, fair = None, None, "", list(reasons), largest(self.allowed)
        if self.values is not None:
            difference = far(self.y, self.values)
            absolute, worst = float(difference.max(initial=0)), difference.argmax()
            fair = float(self.allowed.flat[worst])
            relative = absolute / (largest(np.abs(self.y)) or 1.0)
            sort = "certified bound" if self.tolerance.certified else f"{ULPS} units of its epsilon"
            bound = f"{sort} {self.single.flat[worst]:.1e}"
            within = f"within what float32 may do: {bound}"
            other = len({side.dtype for side in self.tolerance.sides}) > 1
            if not self.equal and (difference <= self.single).all():
                words = f"The difference is {within}."
                if not reasons:
                    reasons.append(f"it may be that numbers are, or pass through, single precision: the difference is {within}")
            elif not self.equal:
                words = f"It is more than rounding: what float32 may do has the {bound} there."
            elif other:
                reasons.append(f"one side is in float32, the other in float64: the difference is {within}")
            if not self.equal and parting is None:
                parting = self.place(given.X[0]).parting()
        point = tuple(given.X[0][parting.sample].tolist()) if parting else ()
        found = self.equal, absolute, relative, fair, parting, tuple(dict.fromkeys(reasons)), tuple(rows)
        return Comparison(*found, names, given.words, str(self.tolerance), words, point)
