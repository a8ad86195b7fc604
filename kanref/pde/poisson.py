"""Poisson's equation with a smooth solution, and its family: frequency and variable coefficient.

    div(a grad u) = f on [-1, 1]^2, u = 0 on the boundary,      a = 1 + contrast sin(pi x) sin(pi y)
    u = sin(frequency pi x) sin(frequency pi y^power)

frequency = 1, power = 2, contrast = 0 is the problem of Liu et al., section 3.4.
"""

from functools import partial

import numpy as np

from kanref.arrays import integer
from kanref.pde.problem import Part, Problem, dirichlet
from kanref.pde.trial import Trial, cap

ALPHA = 0.01  # weight of the equation, Liu et al.
SIDES = ({0: -1.0}, {0: 1.0}, {1: -1.0}, {1: 1.0})


def poisson(frequency=1, power=2, contrast=0.0):
    """The problem with parts "equation" and "boundary", weights 0.01 and 1.

    frequency, power: whole numbers, at least 1, so that u vanishes on the boundary; |contrast| < 1, so that a > 0.
    Hard: u = (1 - x^2)(1 - y^2) N. Reference: the formula.
    """
    frequency, power = integer(frequency, "frequency", 1), integer(power, "power", 1)
    contrast = float(contrast)
    if not abs(contrast) < 1:
        raise ValueError(f"contrast must lie between -1 and 1, so that the coefficient is positive, but it is {contrast:g}")
    own = {"frequency": frequency, "power": power}
    equation = partial(residual, **own) if contrast == 0 else partial(elliptic, contrast=contrast, **own)
    return Problem(
        name="poisson",
        equation="div(a grad u) = f, u = 0 on the boundary",
        parameters={**own, "contrast": contrast},
        coordinates=("x", "y"),
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        parts=(
            Part("equation", equation, ((0, 0), (1, 1)), ALPHA),
            Part("boundary", dirichlet(), face=SIDES),
        ),
        reference=lambda x: solution(x, **own)[0],
        hard=lambda net: Trial(net, 2, distance=cap),
        soft=("boundary",),
    )


def solution(x, frequency=1, power=2):
    """u = sin(k pi x) sin(k pi y^p) and its gradient (N, 2)."""
    k, y = frequency * np.pi, x[:, 1]
    (s, c), (t, d) = ((np.sin(a), np.cos(a)) for a in (k * x[:, 0], k * y**power))
    return s * t, k * np.stack([c * t, power * y ** (power - 1) * s * d], 1)


def source(x, frequency=1, power=2):
    """u_xx + u_yy: with c = k pi, -c^2 (1 + p^2 y^(2p - 2)) sin(c x) sin(c y^p) + c p (p - 1) y^(p - 2) sin(c x) cos(c y^p)."""
    k, p, y = frequency * np.pi, power, x[:, 1]
    s, a = np.sin(k * x[:, 0]), k * y**p
    return -(k**2) * (1 + p**2 * y ** (2 * p - 2)) * s * np.sin(a) + k * p * (p - 1) * y ** max(p - 2, 0) * s * np.cos(a)


def residual(x, u, u_i, u_ij, frequency=1, power=2):
    """r = u_xx + u_yy - f and its partials, for `objectives.collocation`."""
    f = source(x, frequency, power)
    return np.einsum("nmii->n", u_ij) - f, (None, None, np.broadcast_to(np.eye(2), u_ij.shape))


def coefficient(x, contrast):
    """a = 1 + contrast sin(pi x) sin(pi y) and its gradient (N, 2)."""
    (s, t), (c, d) = np.sin(np.pi * x).T, np.cos(np.pi * x).T
    return 1 + contrast * s * t, contrast * np.pi * np.stack([c * t, s * d], 1)


def elliptic(x, u, u_i, u_ij, contrast, frequency=1, power=2):
    """r = a (u_xx + u_yy) + grad a . grad u - f and its partials."""
    a, slope = coefficient(x, contrast)
    f = a * source(x, frequency, power) + (slope * solution(x, frequency, power)[1]).sum(1)
    r = a * np.einsum("nmii->n", u_ij) + (slope * u_i[:, 0]).sum(1) - f
    return r, (None, slope[:, None], a[:, None, None, None] * np.eye(2))

