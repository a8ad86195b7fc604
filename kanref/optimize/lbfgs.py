"""L-BFGS: quasi-Newton directions from the last few steps, and a strong Wolfe line search."""

from functools import cache
from math import inf, isfinite, sqrt

import numpy as np

from .line_search import Point, strong_wolfe
from .result import Stop
from .run import Halt, Run, largest, whole, within

PATIENCE = 20  # steps without progress that end a run


def lbfgs(
    objective,
    theta,
    *,
    steps,
    history=10,
    gradient_tolerance=1e-10,
    value_tolerance=0.0,
    evaluations=None,
    callback=None,
    seconds=None,
    c1=1e-4,
    c2=0.9,
):
    """Minimise by L-BFGS (Nocedal and Wright, 2006, algorithms 7.4 and 7.5).

    The direction -H g comes from `two_loop` over the last `history` pairs (s, y), the step along it
    from `strong_wolfe`, tried first at 1. Beside the textbook:

    - With no pairs yet, the first trial has length 1, but goes no further than 2 value / |g|^2 if
      the value is positive: a parabola that stays above 0 has its minimum before that. A start next
      to a minimum, as after a prolongation, is so kept where it is.
    - A pair is kept if y's > sqrt(eps) |y| |s| (Dennis and Schnabel, 1983, A9.4.1), else skipped.
    - If the direction is not one of descent, or the line search finds nothing, the pairs are
      dropped and the search goes along -g; if that fails too, the run ends.
    - Fits go down over fifteen orders of magnitude, so that the last decreases are smaller than the
      rounding of the values. `rounding_of` says how large that is; there the line search goes by
      slopes. The run ends with `Stop.ROUNDING` after `PATIENCE` steps in which neither the value
      fell beyond rounding nor the gradient reached a new low, and returns the iterate before them.
    - At a kink no point may meet the curvature condition: a step that only decreases is taken.

    Parameters
    ----------
    objective : theta -> (value, gradient). It may return the same gradient buffer every time.
    theta : (n,) float64 or float32, the start; it is not changed.
    steps : accepted steps at most.
    history : pairs kept, at least 1.
    gradient_tolerance : stop when the largest gradient component is not above it.
    value_tolerance : stop when a step lowers the value relatively by no more; 0 never does.
    evaluations, seconds : budgets, looked at before each evaluation.
    callback : called with a `State` at the start and after every step; returning True stops.
    c1, c2 : of the Wolfe conditions, 0 < c1 < c2 < 1.

    Returns a `Result`. No step raises the value by more than rounding. A run that a budget or
    KeyboardInterrupt ends in the middle of a line search returns the lowest point of that search,
    its start included. An interrupt during the first evaluation has nothing to return and passes.

    Raises ValueError or TypeError for arguments out of range and for a start that is not finite.
    """
    run = Run(
        objective,
        theta,
        steps=steps,
        callback=callback,
        seconds=seconds,
        evaluations=evaluations,
        gradient_tolerance=gradient_tolerance,
        value_tolerance=value_tolerance,
    )
    history = whole("history", history, 1)
    c1, c2 = within("c1", c1, 0, 1), within("c2", c2, 0, 1)
    if not 0 < c1 < c2:
        raise ValueError(f"c1 and c2 must satisfy 0 < c1 < c2 < 1, got c1 = {c1}, c2 = {c2}")
    theta = run.theta
    dtype = theta.dtype
    eps = float(np.finfo(dtype).eps)
    dot, _ = blas(dtype)

    value, gradient = run.evaluate(theta)
    norm = largest(gradient)
    run.check_start(value, norm)
    current = best = Point(0.0, value, 0.0, theta, np.array(gradient, dtype))

    def along(step):
        nonlocal best
        theta = current.theta + step * direction
        value, gradient = run.evaluate(theta)
        gradient = np.array(gradient, dtype)
        point = Point(step, value, float(dot(gradient, direction)), theta, gradient)
        if value < best.value and isfinite(point.slope):
            best = point
        return point

    S, Y, products = [], [], []
    inverse_curvature = inf
    calm, lowest, least, idle = current, value, norm, 0
    scale = abs(value)
    try:
        run.accept(theta, value, norm, 0.0)
        for _ in range(run.steps):
            rounding = rounding_of(current.value, scale, eps)
            while True:
                direction = two_loop(current.gradient, S, Y, products)
                slope = float(dot(direction, current.gradient))
                if slope < 0:
                    start = current._replace(step=0.0, slope=slope)
                    first = 1.0 if S else first_step(current.value, slope)
                    found = strong_wolfe(along, start, first, c1=c1, c2=c2, rounding=rounding)
                    if found is not None:
                        break
                if not S:
                    # What the step could gain if the curvature were that of the last pair:
                    if -slope * inverse_curvature <= rounding:
                        best = calm
                        raise Halt(Stop.ROUNDING)
                    raise Halt(Stop.LINE_SEARCH)
                for rows in S, Y, products:
                    rows.clear()

            s, y = found.theta - current.theta, found.gradient - current.gradient
            product, square = float(dot(s, y)), float(dot(y, y))
            if product > sqrt(eps * square * dot(s, s)):
                inverse_curvature = product / square
                for rows, row in (S, s), (Y, y), (products, product):
                    rows.append(row)
                    del rows[:-history]
            current = best = found
            norm = largest(found.gradient)
            run.accept(found.theta, found.value, norm, found.step)
            if norm < least or found.value < lowest - 10 * eps * abs(lowest):
                calm, lowest, least, idle = found, min(lowest, found.value), min(least, norm), 0
            elif (idle := idle + 1) == PATIENCE:
                best = calm
                raise Halt(Stop.ROUNDING)
        reason = Stop.STEPS
    except Halt as halt:
        reason = halt.reason
    except KeyboardInterrupt:
        reason = Stop.INTERRUPTED
    return run.result(best.theta, best.value, largest(best.gradient), reason)


def rounding_of(value, scale, eps):
    """A difference of values that may be rounding: sqrt(eps) |f| + 10 eps sqrt(|f| scale).

    The first term is a margin below which a relative change is not believed. The second is for sums
    of squares f = |r|^2 that were as large as `scale`: r is a difference of numbers of the size
    sqrt(scale), known to eps sqrt(scale), which makes an error of 2 eps sqrt(f scale) in f.
    """
    return sqrt(eps) * abs(value) + 10 * eps * sqrt(abs(value) * scale)


def first_step(value, slope):
    """The first trial along d = -g with g'd = `slope`: length 1, or less (see `lbfgs`)."""
    step = 1 / sqrt(-slope)
    return min(step, 2 * value / -slope) if value > 0 else step


def two_loop(gradient, S, Y, products=None):
    """The quasi-Newton direction -H g from pairs (s, y), oldest first.

    H is the dense matrix of the BFGS updates of gamma I, gamma = s'y / y'y of the newest pair,

        H <- (I - rho s y') H (I - rho y s') + rho s s',    rho = 1 / y's,

    never formed: Nocedal and Wright (2006), algorithm 7.4, costs 4 m n for m pairs.

    gradient : (n,) float64 or float32. S, Y : m vectors (n,) each, of that dtype; y's > 0 for every
    pair. products : the m numbers y's, if they are known already. Returns (n,).
    """
    dot, axpy = blas(gradient.dtype)
    if products is None:
        products = [float(dot(s, y)) for s, y in zip(S, Y, strict=True)]
    direction = -gradient
    alphas = []
    for s, y, product in zip(reversed(S), reversed(Y), reversed(products), strict=True):
        alpha = dot(s, direction) / product
        direction = axpy(y, direction, a=-alpha)  # direction - alpha y, in place
        alphas.append(alpha)
    if products:
        direction *= products[-1] / dot(Y[-1], Y[-1])
    for s, y, product in zip(S, Y, products, strict=True):
        beta = dot(y, direction) / product
        direction = axpy(s, direction, a=alphas.pop() - beta)
    return direction


@cache
def blas(dtype):
    """BLAS dot and axpy for `dtype`; imported here since scipy.linalg takes its time to load."""
    from scipy.linalg import get_blas_funcs

    return get_blas_funcs(("dot", "axpy"), dtype=dtype)
