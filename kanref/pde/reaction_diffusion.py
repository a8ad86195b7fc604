"""Fisher's equation: a population that spreads and grows up to 1.

    u_t = D u_xx + rho u (1 - u) on [-1, 1] x [0, 1],     u(x, 0) = exp(10 (cos(pi x) - 1)),     u periodic in x

The bump at x = 0 has the width 0.1; it grows and sends out fronts of width sqrt(D/rho) at the speed 2 sqrt(D rho).
"""

from functools import cache, partial
from math import ceil, log2, sqrt

import numpy as np

from kanref import jets
from kanref.pde.problem import Part, Problem, dirichlet, within
from kanref.pde.trial import Trial

SHARPNESS = 10.0  # of the bump


def reaction_diffusion(diffusion=0.01, reaction=5.0):
    """The problem, coordinates (x, t), with parts "equation" and "initial"; diffusion D in [1e-4, 1], reaction rho in [0, 20].

    The network takes (cos(pi x), sin(pi x), 2 t - 1), so that u is periodic. Hard: u = u(x, 0) + t N. Reference: cosine
    collocation (`cosines`).
    """
    D, rho = within(diffusion, "diffusion", 1e-4, 1), within(reaction, "reaction", 0, 20)
    return Problem(
        name="reaction_diffusion",
        equation="u_t = D u_xx + rho u (1 - u), u(x, 0) = exp(10 (cos(pi x) - 1)), u periodic in x",
        parameters={"diffusion": D, "reaction": rho},
        coordinates=("x", "t"),
        domain=((-1.0, 1.0), (0.0, 1.0)),
        parts=(
            Part("equation", partial(residual, D, rho), ((0, 0),)),
            Part("initial", dirichlet(lambda x: bump(x[:, 0])), face={1: 0.0}),
        ),
        reference=partial(solution, diffusion=D, reaction=rho),
        inputs=3,
        trial=lambda net: Trial(net, 2, embedding),
        hard=lambda net: Trial(net, 2, embedding, offset, lambda z: z[..., 1:]),
        soft=("initial",),
    )


def residual(D, rho, x, u, u_i, u_ij):
    """r = u_t - D u_xx - rho u (1 - u) and its partials."""
    v, r_ui, r_uij = u[:, 0], np.zeros_like(u_i), np.zeros_like(u_ij)
    r_ui[:, 0, 1], r_uij[:, 0, 0, 0] = 1, -D
    return u_i[:, 0, 1] - D * u_ij[:, 0, 0, 0] - rho * v * (1 - v), (rho * (2 * u - 1), r_ui, r_uij)


def bump(x):
    """u(x, 0)."""
    return np.exp(SHARPNESS * (np.cos(np.pi * x) - 1))


def offset(z):
    """The jet (M, N, 1) of u(x, 0): with g = -c pi sin(pi x), u' = g u and u'' = (g^2 + g') u."""
    g = lambda x: -SHARPNESS * np.pi * np.sin(np.pi * x)
    bend = lambda x: g(x) ** 2 - SHARPNESS * np.pi**2 * np.cos(np.pi * x)
    return jets.compose((bump, lambda x: g(x) * bump(x), lambda x: bend(x) * bump(x)), z[..., :1])


def embedding(z):
    """(x, t) -> (cos(pi x), sin(pi x), 2 t - 1)."""
    pi = np.pi
    x, t = z[..., :1], 2 * z[..., 1:]
    c = jets.compose((lambda x: np.cos(pi * x), lambda x: -pi * np.sin(pi * x), lambda x: -(pi**2) * np.cos(pi * x)), x)
    s = jets.compose((lambda x: np.sin(pi * x), lambda x: pi * np.cos(pi * x), lambda x: -(pi**2) * np.sin(pi * x)), x)
    t[0] -= 1
    return np.concatenate([c, s, t], -1)


# --------------------------------------------------------------------------------------------------------- reference


@cache
def cosines(diffusion, reaction, refinement=1):
    """t -> coefficients c (modes + 1, N) of u(x, t) = sum_k c_k cos(k pi x), as data and solution are even.

    Collocation at x = j/modes, modes a power of 2 that resolves bump and fronts, times `refinement`; the explicit Runge-Kutta
    method of order 8 by Dormand and Prince with errors of 1e-12 a step.
    """
    from scipy.fft import dct
    from scipy.integrate import solve_ivp

    modes = refinement * 2 ** ceil(log2(max(64, 4 * sqrt(reaction / diffusion))))
    x, k = np.arange(modes + 1) / modes, np.arange(modes + 1)
    decay = -diffusion * (np.pi * k) ** 2
    ends = np.where((k == 0) | (k == modes), 0.5, 1.0)

    def slope(t, u):
        return dct(decay * dct(u, 1), 1) / (2 * modes) + reaction * u * (1 - u)

    found = solve_ivp(slope, (0, 1), bump(x), "DOP853", rtol=1e-12, atol=1e-12, dense_output=True)
    return lambda t: ends[:, None] * dct(found.sol(t), 1, axis=0) / modes


def solution(x, diffusion, reaction):
    """u at points x (N, 2): (N,)."""
    times, back = np.unique(x[:, 1], return_inverse=True)
    c = cosines(diffusion, reaction)(times)
    waves = np.cos(np.pi * np.arange(len(c)) * x[:, :1])
    return np.einsum("nk,kn->n", waves, c[:, back])
