"""Burgers' equation: a wave that steepens into a front whose width is set by the viscosity.

    u_t + u u_x = nu u_xx on [-1, 1] x [0, 1],     u(x, 0) = -sin(pi x),     u(-1, t) = u(1, t) = 0

The multilevel paper (section 5) has nu = 1e-2 and prints neither domain nor data; these are the ones in common use (Basdevant et
al. 1986, who take nu = 0.01/pi). The front at x = 0 is steepest near t = 0.5, with a slope of about -1/(2 nu).
"""

from functools import partial

import numpy as np

from kanref import arrays as border
from kanref import jets
from kanref.pde.problem import Part, Problem, dirichlet, within
from kanref.pde.trial import Trial, cap

REACH = 40.0  # exp(-40) is below rounding
STEP = 1 / 16  # of the quadrature
CHUNK = 2**20  # values of w at a time


def burgers(nu=0.01):
    """The problem, coordinates (x, t); nu from 1e-5 to 5, in practice from 1e-3 (a front of width 4e-3) to 1.

    Parts: equation, initial, and left and right, which make together the mean of u^2 over the boundary. Hard conditions:
    u = -sin(pi x) + t (1 - x^2) N. Reference: `cole_hopf`.
    """
    nu = within(nu, "nu", 1e-5, 5)
    return Problem(
        name="burgers",
        equation="u_t + u u_x = nu u_xx, u(x, 0) = -sin(pi x), u(-1, t) = u(1, t) = 0",
        parameters={"nu": nu},
        coordinates=("x", "t"),
        domain=((-1.0, 1.0), (0.0, 1.0)),
        parts=(
            Part("equation", partial(residual, nu), ((0, 0),)),
            Part("initial", dirichlet(lambda x: -np.sin(np.pi * x[:, 0])), face={1: 0.0}),
            Part("left", dirichlet(), weight=0.5, face={0: -1.0}),
            Part("right", dirichlet(), weight=0.5, face={0: 1.0}),
        ),
        reference=partial(cole_hopf, nu=nu),
        hard=partial(Trial, inputs=2, offset=offset, distance=distance),
        soft=("initial", "left", "right"),
    )


def residual(nu, x, u, u_i, u_ij):
    """r = u_t + u u_x - nu u_xx and its partials (u_x; u, 1; -nu)."""
    u, u_x, u_t = u[:, 0], u_i[:, 0, 0], u_i[:, 0, 1]
    by_second = np.zeros(u_ij.shape)
    by_second[:, 0, 0, 0] = -nu
    return u_t + u * u_x - nu * u_ij[:, 0, 0, 0], (u_x[:, None], np.stack([u, np.ones_like(u)], 1)[:, None], by_second)


def offset(z):
    """The jet (M, N, 1) of g = -sin(pi x)."""
    pi = np.pi
    functions = (lambda x: -np.sin(pi * x), lambda x: -pi * np.cos(pi * x), lambda x: pi**2 * np.sin(pi * x))
    return jets.compose(functions, z[..., :1])


def distance(z):
    """The jet (M, N, 1) of d = t (1 - x^2)."""
    return jets.times(z[..., 1:], cap(z[..., :1]))


def cole_hopf(x, nu=0.01):
    """The solution at points x (N, 2) with t >= 0: (N,), with errors of about 1e-16/nu.

    By u = -2 nu f_x/f, f solves the heat equation (Hopf 1950, Cole 1951), so that with y = x - sqrt(4 nu t) s

        u = -int sin(pi y) w ds / int w ds,     w = exp(-s^2 - cos(pi y)/(2 pi nu)).

    w is entire and its logarithm bends by no more than 2 + 2 pi t, whatever nu: the trapezoidal rule with steps of 1/16
    converges geometrically, down to rounding for nu t <= 5; beyond that sin(pi y) turns too fast for them. w is divided by
    its largest value.
    """
    x = border.points(x, 2, dtype=np.float64)
    if len(x) and x[:, 1].min() < 0:
        raise ValueError(f"t must be at least 0, but it goes down to {x[:, 1].min():g}; x has columns (x, t)")
    reach = np.sqrt(REACH + 1 / (np.pi * nu))
    s = STEP * np.arange(-np.ceil(reach / STEP), np.ceil(reach / STEP) + 1)
    u, each = np.empty(len(x)), max(1, CHUNK // len(s))
    for start in range(0, len(x), each):
        rows = slice(start, start + each)
        y = np.pi * (x[rows, :1] - np.sqrt(4 * nu * x[rows, 1:]) * s)
        exponent = -(s**2) - np.cos(y) / (2 * np.pi * nu)
        w = np.exp(exponent - exponent.max(1, keepdims=True))
        u[rows] = -(np.sin(y) * w).sum(1) / w.sum(1)
    return u
