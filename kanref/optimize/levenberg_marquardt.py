"""Levenberg-Marquardt: least squares by damped linear least squares."""

from math import inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from .result import Stop
from .run import Halt, Run, largest, within
from .threads import one_blas_thread


@one_blas_thread()
def levenberg_marquardt(
    residuals,
    theta,
    *,
    steps,
    damping=1e-3,
    gradient_tolerance=1e-14,
    value_tolerance=0.0,
    callback=None,
    seconds=None,
):
    """Minimise 1/2 |r(theta)|^2. A step p solves  min |J p + r|^2 + mu |p|^2.

    The damping mu follows the gain ratio, the decrease over the decrease of the linear model
    (Nielsen, 1999; Madsen, Nielsen and Tingleff, 2004, algorithm 3.16):

        accepted:  mu <- mu max(1/10, 1 - (2 ratio - 1)^3),  nu <- 2
        rejected:  mu <- mu nu,                              nu <- 2 nu

    (1/10 where Nielsen has 1/3). It starts as damping |J g|^2 / |g|^2,
    relative to the curvature along the gradient g = J'r. All parameters are damped alike: scaling
    by the columns of J is what Marquardt does, but columns of zeros (the
    coefficients of empty intervals, which then stay as they are) would need a rule of their own.

    A dense J is reduced once to its triangle, J = Q R, and every damping tried costs one more QR of
    the small [R; sqrt(mu) I]. J'J is not formed, which would square the condition; no rank is
    needed as the damping fills it up. A LinearOperator is solved by `cgls` up to 1e-6 |g|.

    LAPACK runs on one thread meanwhile, so that the result does not depend on their number.

    Where the decrease is only rounding, a step that halves the gradient is accepted too.

    Parameters
    ----------
    residuals : theta -> (r, J) with r (R,) and J either an array (R, n) or a
        scipy.sparse.linalg.LinearOperator with matvec (J v) and rmatvec (J'w), which has to stay
        valid when `residuals` is called at another theta.
    theta : (n,) float64 or float32, the start; it is not changed.
    steps : accepted steps at most. For one step at most some twenty dampings are tried.
    damping : of the first step, relative to the curvature.
    gradient_tolerance : stop when the largest component of J'r is not above it.
    value_tolerance : stop when a step lowers the value relatively by no more; 0 never does.
    callback : called with a `State` at the start and after every step; returning True stops.
    seconds : time allowed, looked at before each evaluation.

    Returns a `Result` with value 1/2 |r|^2. Trial residuals that are not finite count as too long a
    step. KeyboardInterrupt ends the run with `Stop.INTERRUPTED` and the last accepted theta, except
    during the first evaluation, which has nothing to return.

    Raises ValueError or TypeError for arguments out of range and for a start that is not finite.
    """
    run = Run(
        residuals,
        theta,
        steps=steps,
        callback=callback,
        seconds=seconds,
        gradient_tolerance=gradient_tolerance,
        value_tolerance=value_tolerance,
        name="residuals",
        returns="(r, J)",
    )
    damping = within("damping", damping, 0, inf)
    theta = run.theta
    eps, tiny = float(np.finfo(theta.dtype).eps), float(np.finfo(theta.dtype).tiny)

    now = linearised(run, theta)
    run.check_start(now.value, now.norm)
    least = now.norm
    try:
        run.accept(now.theta, now.value, now.norm, 0.0)
        uphill = now.gradient / now.norm
        curvature = float(np.linalg.norm(now.J @ uphill) / np.linalg.norm(uphill)) ** 2
        # r is a difference of numbers like J theta: the error of |r|^2 grows with both.
        scale = max(now.value, 0.5 * float(np.linalg.norm(now.J @ theta)) ** 2)
        mu = damping * curvature
        for _ in range(run.steps):
            noise = 10 * eps * sqrt(now.value * scale)
            solve = damped_solver(now)
            mu, nu = max(mu, eps**2 * curvature, tiny), 2.0
            negligible = None
            while True:
                p, square = solve(mu)
                predicted = -float(now.gradient @ p) - 0.5 * square
                new = linearised(run, now.theta + p)
                finite = isfinite(new.value) and isfinite(new.norm)
                decrease = 0.5 * float((now.r - new.r) @ (now.r + new.r)) if finite else -inf
                ratio = decrease / predicted if predicted > 0 else 0.0
                if ratio > 1e-4:
                    break
                if abs(decrease) <= noise and new.norm <= 0.5 * least:
                    ratio = 1.0
                    break
                if negligible is None:
                    negligible = predicted <= noise
                if negligible:
                    raise Halt(Stop.ROUNDING)
                mu, nu = mu * nu, 2 * nu
                if mu * eps**2 > curvature:
                    raise Halt(Stop.DAMPING)
            now, least = new, min(least, new.norm)
            run.accept(now.theta, now.value, now.norm, mu)
            mu *= max(0.1, 1 - (2 * ratio - 1) ** 3)
        reason = Stop.STEPS
    except Halt as halt:
        reason = halt.reason
    except KeyboardInterrupt:
        reason = Stop.INTERRUPTED
    return run.result(now.theta, now.value, now.norm, reason)


class Linearised(NamedTuple):
    """Residuals and their Jacobian at theta, with gradient J'r, its max-norm, value 1/2 |r|^2."""

    theta: np.ndarray
    r: np.ndarray
    J: object
    gradient: np.ndarray
    value: float
    norm: float


def linearised(run, theta):
    """`Linearised` at `theta`, after checking what `residuals` returned."""
    r, J = run.call(theta)
    r = np.array(r)
    if r.ndim != 1 or r.dtype.kind != "f":
        raise ValueError(f"residuals must return a floating vector r, got {r.dtype} of shape {r.shape}")
    shape = getattr(J, "shape", None)
    if shape != (r.size, theta.size):
        raise ValueError(
            f"residuals must return J of shape (residuals, parameters) = {(r.size, theta.size)}, "
            f"an array or a LinearOperator, got {type(J).__name__} of shape {shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = J.T @ r
        return Linearised(theta, r, J, gradient, 0.5 * float(r @ r), largest(gradient))


def damped_solver(now):
    """A function from mu to the minimiser p of |J p + r|^2 + mu |p|^2 and |J p|^2."""
    r, J = now.r, now.J
    n = now.theta.size
    if not isinstance(J, np.ndarray):
        return lambda mu: cgls(J, r, mu, tolerance=1e-6, iterations=4 * n)

    from scipy.linalg import solve_triangular  # here since scipy.linalg takes its time to load

    triangle = np.linalg.qr(np.column_stack([J, r]), mode="r")
    rows = len(triangle)
    stacked = np.zeros((rows + n, n + 1), triangle.dtype)
    diagonal = rows + np.arange(n), np.arange(n)

    def solve(mu):
        stacked[:rows] = triangle
        stacked[diagonal] = sqrt(mu)
        reduced = np.linalg.qr(stacked, mode="r")
        p = -solve_triangular(reduced[:n, :n], reduced[:n, n], check_finite=False)
        forward = triangle[:, :n] @ p
        return p, float(forward @ forward)

    return solve


def cgls(J, r, mu, tolerance, iterations):
    """Conjugate gradients on (J'J + mu I) p = -J'r, without forming J'J; p and |J p|^2.

    Bjorck (1996), algorithm 7.4.1, damped. Ends when the residual of these equations is `tolerance`
    times that of p = 0, or after `iterations`.
    """
    p = np.zeros(J.shape[1], r.dtype)
    rest = -r
    q = direction = J.T @ rest
    start = square = float(q @ q)
    for _ in range(iterations):
        forward = J @ direction
        alpha = square / float(forward @ forward + mu * (direction @ direction))
        p = p + alpha * direction
        rest = rest - alpha * forward
        q = J.T @ rest - mu * p
        square, before = float(q @ q), square
        if square <= tolerance**2 * start:
            break
        direction = q + (square / before) * direction
    forward = rest + r
    return p, float(forward @ forward)
