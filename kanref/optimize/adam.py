"""Adam: gradient descent with averaged gradients, every component scaled by its own size."""

from dataclasses import replace
from math import inf, isfinite

import numpy as np

from .result import Stop
from .run import Halt, Run, largest, whole, within


def adam(
    objective,
    theta,
    *,
    steps,
    rate=1e-3,
    beta1=0.9,
    beta2=0.999,
    eps=1e-8,
    keep="best",
    moments=None,
    callback=None,
    seconds=None,
):
    """Minimise by Adam (Kingma and Ba, 2015, algorithm 1, with the bias correction).

    With g the gradient at theta, for t = 1, 2, ..., steps:

        m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
        theta <- theta - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    objective : theta -> (value, gradient). The vector it is given is written over two steps later:
        it must not keep it.
    theta : (n,) float64 or float32, the start; it is not changed.
    steps : the number of updates. The start and every new iterate are evaluated once.
    rate : a number; a vector (n,), one rate per component; or a schedule, a callable from the step
        0, 1, ... to a number or a vector (see `schedules`).
    keep : "best" returns the iterate with the lowest value; "last" returns the last one, as is
        right for minibatches, whose values cannot be compared.
    moments : (m, v, t) of an earlier run, as its result has them, to go on as if it had not ended;
        rates still count from step 0.
    callback : called with a `State` at the start and after every update; returning True stops.
    seconds : time allowed, looked at before each evaluation.

    Returns a `Result` with `moments`, those of the last step. A value or gradient that is not
    finite ends the run with `Stop.NON_FINITE` and a finite iterate; KeyboardInterrupt ends it with
    `Stop.INTERRUPTED`, except during the first evaluation, which has nothing to return.

    Raises ValueError or TypeError for arguments out of range and for a start that is not finite.
    """
    run = Run(objective, theta, steps=steps, callback=callback, seconds=seconds)
    beta1, beta2 = within("beta1", beta1, 0, 1), within("beta2", beta2, 0, 1)
    eps = within("eps", eps, 0, inf)
    if keep not in ("best", "last"):
        raise ValueError(f'keep must be "best" or "last", got {keep!r}')
    theta = run.theta
    rate_at = checked_rates(rate, theta)

    value, gradient = run.evaluate(theta)
    norm = largest(gradient)
    run.check_start(value, norm)
    # Three vectors take turns as the current iterate, the best one and the next one: nothing is
    # copied, and an interrupt at any moment finds the first two whole.
    vectors = theta, np.empty_like(theta), np.empty_like(theta)
    current = best = theta, value, norm
    m, v, before = checked_moments(moments, theta)
    t, work = before, np.empty_like(theta)
    try:
        run.accept(theta, value, norm, 0.0)
        for t in range(before + 1, before + run.steps + 1):
            step_rate, largest_rate = rate_at(t - before - 1)
            np.multiply(m, beta1, m)
            np.multiply(gradient, 1 - beta1, work)
            np.add(m, work, m)
            np.multiply(v, beta2, v)
            np.multiply(gradient, gradient, work)
            np.multiply(work, 1 - beta2, work)
            np.add(v, work, v)
            np.divide(v, 1 - beta2**t, work)
            np.sqrt(work, work)
            np.add(work, eps, work)
            np.divide(m, work, work)
            np.multiply(work, step_rate / (1 - beta1**t), work)
            theta = next(u for u in vectors if u is not current[0] and u is not best[0])
            np.subtract(current[0], work, theta)
            value, gradient = run.evaluate(theta)
            norm = largest(gradient)
            if not (isfinite(value) and isfinite(norm)):
                raise Halt(Stop.NON_FINITE)
            current = theta, value, norm
            if keep == "last" or value < best[1]:
                best = current
            run.accept(theta, value, norm, largest_rate)
        reason = Stop.STEPS
    except Halt as halt:
        reason = halt.reason
    except KeyboardInterrupt:
        reason = Stop.INTERRUPTED
    return replace(run.result(*best, reason), moments=(m, v, t))


def checked_moments(moments, theta):
    """Own copies of m and v, and the number of steps they are averages over; zeros to start with."""
    if moments is None:
        return np.zeros_like(theta), np.zeros_like(theta), 0
    if not isinstance(moments, tuple | list) or len(moments) != 3:
        raise TypeError(f"moments must be (m, v, t) of an earlier result, got {type(moments).__name__}; pass result.moments")
    m, v = (np.array(a, theta.dtype) for a in moments[:2])
    if m.shape != theta.shape or v.shape != theta.shape or not (np.isfinite(m).all() and (v >= 0).all()):
        raise ValueError(
            f"moments must be (m, v, t) with finite m and with v >= 0, both as long as theta, {theta.shape}, got shapes "
            f"{m.shape} and {v.shape}, m from {m.min(initial=0):g}, v from {v.min(initial=0):g}"
        )
    return m, v, whole("t of moments", moments[2], 0)


def checked_rates(rate, theta):
    """A function from the step to the rate there and its largest entry."""
    if callable(rate):
        return lambda step: checked_rate(rate(step), theta)
    fixed = checked_rate(rate, theta)
    return lambda step: fixed


def checked_rate(rate, theta):
    """`rate` as a float, or as a vector of the dtype of theta; and its largest entry."""
    if np.ndim(rate) == 0:
        smallest = top = rate = float(rate)
    else:
        rate = np.asarray(rate, theta.dtype)
        if rate.shape != theta.shape:
            raise ValueError(
                f"rate must be one number or a vector as long as theta, {theta.shape}, got shape {rate.shape}"
            )
        smallest, top = float(rate.min()), float(rate.max())
    if not 0 <= smallest <= top < inf:
        raise ValueError(f"rate must be finite and not negative, got entries from {smallest:g} to {top:g}")
    return rate, top
