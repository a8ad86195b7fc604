"""A line search for the strong Wolfe conditions that goes on where values are only rounding."""

from math import copysign, inf, isfinite, nan, sqrt
from typing import NamedTuple

import numpy as np


class Point(NamedTuple):
    """A point of a line, theta + step d: phi(step) and phi'(step) = g'd, and where it is."""

    step: float
    value: float
    slope: float
    theta: np.ndarray = None
    gradient: np.ndarray = None


def strong_wolfe(evaluate, start, step, *, c1=1e-4, c2=0.9, rounding=0.0, trials=30):
    """A point of the line that meets the strong Wolfe conditions, or the best found, or None.

        phi(a) <= phi(0) + c1 a phi'(0)        (sufficient decrease)
        |phi'(a)| <= c2 |phi'(0)|              (curvature)

    Nocedal and Wright (2006), algorithms 3.5 and 3.6, in one loop: `lo` is the lowest point so far
    with sufficient decrease; once a trial went too far, a minimiser lies between `lo` and `hi`. A
    trial is the minimiser of the cubic through the values and slopes of the two ends.

    Two departures. A trial whose value or slope is not finite is "too far" and nothing else. And
    the decrease drowns in the rounding of the values long before the slopes lose their meaning:
    where two values differ by no more than `rounding`, slopes decide. Sufficient decrease is then
    phi'(a) <= (2 c1 - 1) phi'(0), which is the same for a parabola (the approximate Wolfe condition
    of Hager and Zhang, 2005, eq. 4.1), and the next trial is the secant of the slopes.

    Parameters
    ----------
    evaluate : step -> Point.
    start : the Point at step 0; its slope is negative.
    step : the first trial, positive.
    trials : evaluations at most.

    Returns the Point with both conditions; without one, the lowest Point with sufficient decrease
    (at a kink none may meet the curvature condition); without that, None.
    """

    def sufficient(point):
        if point.value <= start.value + c1 * point.step * start.slope:
            return True
        alike = abs(point.value - start.value) <= rounding
        return alike and point.slope <= (2 * c1 - 1) * start.slope

    lo, hi = start, None
    last, last_but_one = inf, inf
    for _ in range(trials):
        trial = evaluate(step)
        if not (isfinite(trial.value) and isfinite(trial.slope)):
            hi = trial._replace(value=inf)
        elif not sufficient(trial) or trial.value > lo.value + rounding:
            hi = trial
        elif abs(trial.slope) <= -c2 * start.slope:
            return trial
        else:
            onward = hi is None or hi.step > lo.step
            if onward == (trial.slope > 0):
                hi = lo
            before, lo = lo, trial
        if hi is None:
            step = extrapolated(before, lo)
            continue
        width = abs(hi.step - lo.step)
        if width <= 4e-16 * max(hi.step, lo.step):
            break
        stuck = width > 0.66 * last_but_one
        step = 0.5 * (lo.step + hi.step) if stuck else interpolated(lo, hi, rounding)
        last, last_but_one = width, last
    return lo if lo.value < start.value else None


def extrapolated(before, point):
    """A longer step: where the cubic has its minimiser, one to four times the last stride on."""
    stride = point.step - before.step
    step = cubic_minimiser(before, point)
    if step > point.step:
        return min(max(step, point.step + stride), point.step + 4 * stride)
    return point.step + 4 * stride


def interpolated(lo, hi, rounding):
    """A step between `lo` and `hi`, a hundredth of their distance off the ends at least."""
    span = hi.step - lo.step
    if hi.value == inf:
        return lo.step + (0.1 if lo.step == 0 else 0.5) * span
    if abs(hi.value - lo.value) <= rounding:
        rise = hi.slope - lo.slope
        part = -lo.slope / rise if rise else nan
    else:
        part = (cubic_minimiser(lo, hi) - lo.step) / span
    return lo.step + (min(max(part, 0.01), 0.99) if isfinite(part) else 0.5) * span


def cubic_minimiser(p, q):
    """Where the cubic with the values and slopes of `p` and `q` has its minimum; else NaN.

    Nocedal and Wright (2006), eq. 3.59, scaled against overflow.
    """
    span = q.step - p.step
    d1 = p.slope + q.slope - 3 * (q.value - p.value) / span
    scale = max(abs(d1), abs(p.slope), abs(q.slope))
    if not 0 < scale < inf:
        return nan
    square = (d1 / scale) ** 2 - (p.slope / scale) * (q.slope / scale)
    if square < 0:
        return nan
    d2 = copysign(scale * sqrt(square), span)
    denominator = q.slope - p.slope + 2 * d2
    return q.step - span * (q.slope + d2 - d1) / denominator if denominator else nan
