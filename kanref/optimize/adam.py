"""Adam: gradient descent with averaged gradients, each component scaled by its own size."""

from math import inf, isfinite

import numpy as np

from .result import Stop
from .run import Halt, Run, between, largest


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
    callback=None,
    seconds=None,
):
    """Minimise by Adam (Kingma and Ba, 2015, algorithm 1, with bias correction).

    For t = 1, 2, ... with the gradient g at theta:

        m <- beta1 m + (1 - beta1) g           m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2         v^ = v / (1 - beta2^t)
        theta <- theta - rate m^ / (sqrt(v^) + eps)

    Parameters
    ----------
    objective : callable, theta -> (value, gradient). The vector it is given is overwritten later;
        it must not keep it.
    theta : (n,) float64 or float32, the start; not changed.
    steps : number of updates; each costs one evaluation, and the start one more.
    rate : a float; a vector (n,), one rate per component; or a schedule, a callable from the step
        0, 1, ... to a float or a vector (see `schedules`).
    keep : "best" returns the iterate of the lowest value; "last" the last one evaluated, as
        minibatches need, whose values cannot be compared.
    callback : called with a `State` at the start and after every update; a true answer stops.
    seconds : time allowed, looked at before each evaluation.

    Returns a `Result`. A value or gradient that is not finite ends the run with `Stop.NON_FINITE`
    and a finite iterate; KeyboardInterrupt with `Stop.INTERRUPTED`.

    Raises ValueError or TypeError for arguments out of range and for a start that is not finite.
    """
    run = Run(objective, theta, steps=steps, seconds=seconds, callback=callback)
    beta1 = between("beta1", beta1, 0, 1)
    beta2 = between("beta2", beta2, 0, 1)
    eps = between("eps", eps, 0, inf)
    if keep not in ("best", "last"):
        raise ValueError(f'keep must be "best" or "last", got {keep!r}')
    theta = run.theta
    rate_at = rates(rate, theta)

    value, gradient = run.evaluate(theta)
    norm = largest(gradient)
    run.check_start(value, norm)
    current = best = (theta, value, norm)
    # Three vectors take turns: the current iterate, the best one, and the one to write next. No
    # iterate is ever copied, and an interrupt always finds the first two whole.
    buffers = (theta, np.empty_like(theta), np.empty_like(theta))
    m, v, work = np.zeros_like(theta), np.zeros_like(theta), np.empty_like(theta)
    try:
        run.accept(theta, value, norm, 0.0)
        for t in range(1, run.steps + 1):
            step_rate, size = rate_at(t - 1)
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
            theta = next(b for b in buffers if b is not current[0] and b is not best[0])
            np.subtract(current[0], work, theta)
            value, gradient = run.evaluate(theta)
            norm = largest(gradient)
            if not (isfinite(value) and isfinite(norm)):
                raise Halt(Stop.NON_FINITE)
            current = (theta, value, norm)
            if value < best[1] or keep == "last":
                best = current
            run.accept(theta, value, norm, size)
        reason = Stop.STEPS
    except Halt as halt:
        reason = halt.reason
    except KeyboardInterrupt:
        reason = Stop.INTERRUPTED
    return run.result(*best, reason)


def rates(rate, theta):
    """A function of the step giving (rate, largest rate), checked."""
    if not callable(rate):
        fixed = checked_rate(rate, theta)
        return lambda step: fixed
    return lambda step: checked_rate(rate(step), theta)


def checked_rate(rate, theta):
    """`rate` as a float or as a vector of theta's dtype, and its largest entry."""
    if np.ndim(rate) == 0:
        rate = size = float(rate)
        valid = 0 <= rate < inf
    else:
        rate = np.asarray(rate, dtype=theta.dtype)
        if rate.shape != theta.shape:
            raise ValueError(
                f"rate must be one number or one per component, shape {theta.shape}, got shape "
                f"{rate.shape}"
            )
        size = float(rate.max())
        valid = rate.min() >= 0 and isfinite(size)
    if not valid:
        raise ValueError(f"rate must be finite and not negative, got {rate}")
    return rate, size
