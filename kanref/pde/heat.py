"""The heat equation: two waves that fade, the short one nine times as fast.

    u_t = D u_xx on [-1, 1] x [0, 1],     u(x, 0) = sin(pi x) + sin(3 pi x)/2,     u(-1, t) = u(1, t) = 0
    u = exp(-pi^2 D t) sin(pi x) + exp(-9 pi^2 D t) sin(3 pi x)/2
"""

from functools import partial

import numpy as np

from kanref import jets
from kanref.pde.problem import Part, Problem, dirichlet, positive
from kanref.pde.trial import Trial, cap

MODES = ((1, 1.0), (3, 0.5))  # m and c of c sin(m pi x)


def heat(diffusivity=0.1):
    """The problem, coordinates (x, t), with parts "equation", "initial" and "boundary"; diffusivity D > 0.

    Hard: u = u(x, 0) + t (1 - x^2) N. Reference: the formula.
    """
    D = positive(diffusivity, "diffusivity")
    return Problem(
        name="heat",
        equation="u_t = D u_xx, u(x, 0) = sin(pi x) + sin(3 pi x)/2, u(-1, t) = u(1, t) = 0",
        parameters={"diffusivity": D},
        coordinates=("x", "t"),
        domain=((-1.0, 1.0), (0.0, 1.0)),
        parts=(
            Part("equation", partial(residual, D), ((0, 0),)),
            Part("initial", dirichlet(partial(solution, diffusivity=D)), face={1: 0.0}),
            Part("boundary", dirichlet(), face=({0: -1.0}, {0: 1.0})),
        ),
        reference=partial(solution, diffusivity=D),
        hard=lambda net: Trial(net, 2, offset=offset, distance=distance),
        soft=("initial", "boundary"),
    )


def solution(x, diffusivity):
    """u at points x (N, 2): (N,)."""
    k = lambda m: m * np.pi
    return sum(c * np.exp(-(k(m) ** 2) * diffusivity * x[:, 1]) * np.sin(k(m) * x[:, 0]) for m, c in MODES)


def residual(D, x, u, u_i, u_ij):
    """r = u_t - D u_xx and its partials."""
    r_ui, r_uij = np.zeros_like(u_i), np.zeros_like(u_ij)
    r_ui[:, 0, 1], r_uij[:, 0, 0, 0] = 1, -D
    return u_i[:, 0, 1] - D * u_ij[:, 0, 0, 0], (None, r_ui, r_uij)


def offset(z):
    """The jet (M, N, 1) of u(x, 0)."""
    mode = lambda m, c: jets.compose([lambda x, d=d: c * wave(m * np.pi, d, x) for d in range(3)], z[..., :1])
    return sum(mode(m, c) for m, c in MODES)


def wave(k, d, x):
    """The d-th derivative of sin(k x)."""
    return k**d * np.sin(k * x + d * np.pi / 2)


def distance(z):
    """The jet (M, N, 1) of t (1 - x^2)."""
    return jets.times(z[..., 1:], cap(z[..., :1]))
