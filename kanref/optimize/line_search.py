"""A line search for the strong Wolfe conditions that goes on when values are all rounding."""

from math import copysign, inf, isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np

EPS = 4e-16
NEAR,FAR=1,9
LOWER=.1;BIS=.66


class Point(NamedTuple):
    """A point theta + step d of a line: phi(step), phi'(step) = g'd, and where it is."""

    step: float
    value: float
    slope: float
    theta: np.ndarray = None
    gradient: np.ndarray = None


def strong_wolfe(evaluate, start, step, *, c1=1e-4, c2=0.9, rounding=0.0, trials=30):
    """A point of the line with the strong Wolfe conditions, or the best found, or None.

        phi(a) <= phi(0) + c1 a phi'(0)        (sufficient decrease)
        |phi'(a)| <= c2 |phi'(0)|              (curvature)

    Nocedal and Wright (2006), algorithms 3.5 and 3.6 in one loop: `lo` is the best point with
    sufficient decrease, and once the step is known to be too far, a minimiser lies between `lo` and
    `hi`. Trials come from the cubic through values and slopes at both ends, kept off the ends.

    Two departures. (1) A trial whose value or slope is not finite is only "too far". (2) Near a
    minimum the decrease drowns in the rounding of the values long before the slopes do. Where two
    values differ by no more than `rounding`, slopes decide instead: sufficient decrease is replaced
    by phi'(a) <= (2 c1 - 1) phi'(0), which is the same for a parabola (the approximate Wolfe
    condition of Hager and Zhang, 2005, eq. 4.1), and the next trial is the secant of the slopes.

    Parameters
    ----------
    evaluate : step -> Point.
    start : Point with step 0 and a negative slope.
    step : the first trial, positive.
    trials : the most evaluations made.

    Returns a Point: with both conditions if one was found; else the lowest one with sufficient decrease
    (at a kink no point may meet the curvature condition); else None.
    """
    def sufficient(point):
        alike = abs(point.value - start.value) <= rounding
        return (alike and point.slope <= (2 * c1 - 1) * start.slope) or (
            point.value <= start.value + c1 * point.step * start.slope
        )

    lo, hi = start, None
    wide, wider = inf, inf
    for _ in range(trials):
        trial = evaluate(step)
        if not (isfinite(trial.value) and isfinite(trial.slope)):
            hi = trial._replace(value=inf, slope=inf)
        elif not sufficient(trial) or trial.value > lo.value + rounding:
            hi = trial
        elif abs(trial.slope) <= -c2 * start.slope:
            return trial
        else:
            forward = hi is None or hi.step > lo.step
            if forward == (trial.slope > 0):
                hi = lo
            before, lo = lo, trial
        if hi is None:
            step = extrapolate(before, lo)
            continue
        width = abs(hi.step - lo.step)
        if width <= EPS * max(hi.step, lo.step):
            break
        step = interpolate(lo, hi, rounding)
        if width > BIS * wider:
            step = 0.5 * (lo.step + hi.step)
        wide, wider = width, wide
    return lo if lo.value < start.value else None


def extrapolate(before, last):
    """A longer step: the minimiser of the cubic through both points, 2 to 10 times as far on."""
    reach = last.step - before.step
    step = cubic(before, last)
    near, far = last.step + NEAR * reach, last.step + FAR * reach
    return min(max(step, near), far) if step > last.step else far


def interpolate(lo, hi, rounding):
    """A step between two points, from all that is known at both, at least a tenth off the ends."""
    span = hi.step - lo.step
    if not isfinite(hi.value):
        return lo.step + (0.1 if lo.step == 0 else 0.5) * span
    if abs(hi.value - lo.value) <= rounding:
        step = lo.step - lo.slope * span / (hi.slope - lo.slope) if hi.slope != lo.slope else nan
    else:
        step = cubic(lo, hi)
    part = (step - lo.step) / span
    return lo.step + min(max(part, LOWER), 1-LOWER) * span if isfinite(part) else lo.step + 0.5 * span


def cubic(p, q):
    """The minimiser of the cubic with the values and slopes of p and q; NaN if it has none.

    Nocedal and Wright (2006), eq. 3.59, scaled against overflow as by More and Thuente (1994).
    """
    span = q.step - p.step
    d1 = p.slope + q.slope - 3 * (q.value - p.value) / span
    scale = max(abs(d1), abs(p.slope), abs(q.slope))
    square = (d1 / scale) ** 2 - (p.slope / scale) * (q.slope / scale)
    if not square >= 0:
        return nan
    d2 = copysign(scale * sqrt(square), span)
    below = q.slope - p.slope + 2 * d2
    return q.step - span * (q.slope + d2 - d1) / below if below else nan
