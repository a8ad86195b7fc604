"""Learning rates as functions of the step: small, and composable.

A schedule is any callable `step -> rate` with step = 0, 1, .... Wherever a rate is expected below,
a number, a vector (one rate per component) or another schedule may be given, so that

    warmup(exponential_decay(net_rates, 0.999), start=1e-5, steps=100)

ramps up and then decays every component's rate in its own proportion.
"""

from bisect import bisect_right
from math import cos, inf, pi

import numpy as np

from .run import whole, within


def constant(rate):
    """The same rate at every step. A schedule is returned as it is."""
    if callable(rate):
        return rate
    rate = np.array(rate, dtype=float) if np.ndim(rate) else float(rate)
    if not (np.all(np.isfinite(rate)) and np.all(np.greater_equal(rate, 0))):
        raise ValueError(f"rate must be finite and not negative, got {rate}")
    return lambda step: rate


def warmup(rate, start, steps):
    """A linear ramp from `start` at step 0 to `rate`, reached at step `steps`, and `rate` after.

    The multilevel paper ramps from eta_0 to eta over S_LR steps, at the beginning and again after
    every change of level (see `restart`). With a schedule the ramp ends on that schedule.
    """
    rate, start, steps = constant(rate), within("start", start, 0, inf), whole("steps", steps, 1)

    def schedule(step):
        if step >= steps:
            return rate(step)
        return start + (rate(step) - start) * (step / steps)

    return schedule


def exponential_decay(rate, factor):
    """rate factor^step."""
    rate, factor = constant(rate), positive("factor", factor)
    return lambda step: rate(step) * factor**step


def cyclic(rate, period, factor):
    """A triangular wave under an exponential envelope: rate factor^step w(step mod period).

    w(s) = 1 - |2 (s + 1/2) / period - 1| rises from near 0 to near 1 and falls again; the half
    keeps it positive at every step, and its mean over an even period is exactly 1/2.

    The multilevel paper's Burgers run names "exponential cyclic" with eta = 1e-3, cycle 100 and
    decay 0.9995 and gives no formula. This is a reconstruction: the "exponential range" cycle of
    Smith (2017, Cyclical learning rates) from 0 to the rate, its decay counted in steps, since
    0.9995^100 per cycle would hardly be a decay and 0.9995^10000 over the run is 0.0067.
    """
    rate, period, factor = constant(rate), whole("period", period, 1), positive("factor", factor)

    def schedule(step):
        wave = 1 - abs((2 * (step % period) + 1) / period - 1)
        return rate(step) * (factor**step * wave)

    return schedule


def cosine(rate, steps, final=0.0):
    """Half a cosine from `rate` at step 0 down to `final` at step `steps`, and `final` after."""
    rate, steps, final = constant(rate), whole("steps", steps, 1), within("final", final, 0, inf)

    def schedule(step):
        part = 0.5 * (1 + cos(pi * min(step / steps, 1)))
        return final + (rate(step) - final) * part

    return schedule


def restart(schedule, at):
    """`schedule` begun afresh at each of the increasing steps `at`, as after a change of level."""
    schedule, at = constant(schedule), [whole("at", step, 1) for step in at]
    if any(b <= a for a, b in zip(at, at[1:], strict=False)):
        raise ValueError(f"at must be increasing steps, got {at}")
    beginnings = [0, *at]
    return lambda step: schedule(step - beginnings[bisect_right(at, step)])


def positive(name, number):
    """`number` as a finite float above 0."""
    if not 0 < (number := within(name, number, 0, inf)):
        raise ValueError(f"{name} must be above 0, got {number:g}")
    return number
