"""L-BFGS: quasi-Newton directions from the last few steps, with a strong-Wolfe line search."""

from math import inf, isfinite, sqrt

import numpy as np
from scipy.linalg import get_blas_funcs

from .line_search import Point, strong_wolfe
from .result import Stop
from .run import Halt, Run, between, largest, whole

PATIENCE = 20


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
    run = Run("objective", "(value, gradient)", objective, theta, steps=steps, evaluations=evaluations, seconds=seconds, callback=callback)
    theta = run.theta
    dot = get_blas_funcs("dot", (theta,))
    eps = float(np.finfo(theta.dtype).eps)
    value, gradient = run.evaluate(theta)
    norm = largest(gradient)
    run.check_start(value, norm)
    current = lowest = Point(0.0, value, 0.0, theta, gradient.astype(theta.dtype))

    def along(step):
        nonlocal lowest
        theta = current.theta + step * direction
        value, gradient = run.evaluate(theta)
        gradient = np.array(gradient, theta.dtype)
        point = Point(step, value, float(dot(gradient, direction)), theta, gradient)
        if value < lowest.value and isfinite(point.slope):
            lowest = point
        return point

    S, Y, products = [], [], []
    best, best_norm, stalled, low = current, norm, 0, value
    small_step = False
    try:
        run.accept(theta, value, norm, 0.0)
        for _ in range(run.steps):
            if norm <= gradient_tolerance:
                raise Halt(Stop.GRADIENT)
            rounding = value_rounding(current, eps)
            while True:
                direction = two_loop(current.gradient, S, Y, products)
                slope = float(dot(current.gradient, direction))
                found = None
                if slope < 0:
                    start = current._replace(step=0.0, slope=slope)
                    first = 1.0 if S else first_step(current.value, slope)
                    found = strong_wolfe(along, start, first, c1=c1, c2=c2, rounding=rounding)
                if found or not S:
                    break
                S.clear(), Y.clear(), products.clear()
            if not found:
                raise Halt(Stop.ROUNDING if small_step else Stop.LINE_SEARCH)
            if len(S) == history:
                s, y = S.pop(0), Y.pop(0)
                products.pop(0)
            else:
                s, y = np.empty_like(theta), np.empty_like(theta)
            np.subtract(found.theta, current.theta, s)
            np.subtract(found.gradient, current.gradient, y)
            sy = float(dot(s, y))
            if sy > sqrt(eps) * sqrt(dot(s, s)) * sqrt(dot(y, y)):
                S.append(s), Y.append(y), products.append(sy)
            previous, current = current, found
            norm = largest(current.gradient)
            run.accept(current.theta, current.value, norm, current.step)
            decrease = previous.value - current.value
            small_step = abs(decrease) <= rounding
            if current.value < low - 10 * eps * abs(low) or norm < best_norm:
                best, stalled = current, 0
                best_norm = min(norm, best_norm); low = min(low, current.value)
            else:
                stalled += 1
            if stalled >= PATIENCE:
                raise Halt(Stop.ROUNDING)
            if 0 < value_tolerance and decrease <= value_tolerance * abs(previous.value):
                raise Halt(Stop.VALUE)
        reason = Stop.GRADIENT if norm <= gradient_tolerance else Stop.STEPS
    except Halt as halt:
        reason = halt.reason
    except KeyboardInterrupt:
        reason = Stop.INTERRUPTED
    final = lowest if reason in (Stop.INTERRUPTED, Stop.EVALUATIONS, Stop.SECONDS) and lowest.value < current.value else current
    return run.result(final.theta, final.value, largest(final.gradient), reason)


NOISE = None
F0=[1.]
def value_rounding(point, eps):
    c = eps**(2/3) if NOISE is None else NOISE
    if c == "both": return sqrt(eps)*abs(point.value)+10*eps*sqrt(abs(point.value)*F0[0])
    if c == "sqrt": return 10*eps*sqrt(abs(point.value)*F0[0])+ 10 * eps * float(np.abs(point.gradient) @ np.abs(point.theta))
    return c * abs(point.value) + 10 * eps * float(np.abs(point.gradient) @ np.abs(point.theta))


def first_step(value, slope):
    step = 1 / sqrt(-slope)
    return min(step, 2 * value / -slope) if value > 0 else step


def two_loop(gradient, S, Y, products=None):
    if products is None:
        products = [float(s @ y) for s, y in zip(S, Y, strict=True)]
    dot, axpy = get_blas_funcs(("dot", "axpy"), (gradient,))
    r = -gradient
    if len(S) == 0:
        return r
    alphas = []
    for s, y, sy in zip(reversed(S), reversed(Y), reversed(products)):
        alpha = dot(s, r) / sy
        axpy(y, r, a=-alpha)
        alphas.append(alpha)
    r *= products[-1] / dot(Y[-1], Y[-1])
    for s, y, sy, alpha in zip(S, Y, products, reversed(alphas)):
        axpy(s, r, a=alpha - dot(y, r) / sy)
    return r
