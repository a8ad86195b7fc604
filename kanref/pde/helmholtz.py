"""Helmholtz's equation: the waves of a source in a closed box.

    u_xx + u_yy + k^2 u = -f on [-1, 1]^2, u = 0 on the boundary,      f = 100 exp(-((x - 0.3)^2 + (y + 0.2)^2)/(2 0.2^2))

The source sits off the middle, so that waves of all symmetries are excited. At k^2 = (m^2 + n^2) pi^2/4 the box resonates, and
there is no solution.
"""

from functools import cache, partial

import numpy as np

from kanref.pde.poisson import SIDES
from kanref.pde.problem import Part, Problem, dirichlet, positive
from kanref.pde.trial import Trial, cap

CENTRE, WIDTH, STRENGTH = np.array([0.3, -0.2]), 0.2, 100.0
DEGREE = 64  # of the reference


def helmholtz(wave_number=6.0):
    """The problem with parts "equation" and "boundary", weights 1e-3 and 1; wave number k > 0, up to 40.

    Hard: u = (1 - x^2)(1 - y^2) N. Reference: Chebyshev collocation (`nodal_values`). ValueError next to a resonance.
    """
    k = positive(wave_number, "wave_number")
    m = np.arange(1, 2 + int(2 * k / np.pi) + 1)
    resonances = np.pi / 2 * np.sqrt(m**2 + m[:, None] ** 2)
    near = resonances.flat[np.abs(resonances - k).argmin()]
    if k > 40 or abs(near - k) < 1e-3:
        raise ValueError(
            f"wave_number must be at most 40 and not within 0.001 of a resonance, but it is {k:g}, and {near:g} is one; "
            "change it a little"
        )
    return Problem(
        name="helmholtz",
        equation="u_xx + u_yy + k^2 u = -f, u = 0 on the boundary",
        parameters={"wave_number": k},
        coordinates=("x", "y"),
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        parts=(
            Part("equation", partial(residual, k), ((0, 0), (1, 1)), 1e-3),
            Part("boundary", dirichlet(), face=SIDES),
        ),
        reference=partial(solution, wave_number=k),
        hard=lambda net: Trial(net, 2, distance=cap),
        soft=("boundary",),
    )


def source(x):
    """f at points x (N, 2)."""
    return STRENGTH * np.exp(-np.square(x - CENTRE).sum(-1) / (2 * WIDTH**2))


def residual(k, x, u, u_i, u_ij):
    """r = u_xx + u_yy + k^2 u + f and its partials."""
    laplacian = np.einsum("nmii->n", u_ij)
    return laplacian + k**2 * u[:, 0] + source(x), (np.full_like(u, k**2), None, np.broadcast_to(np.eye(2), u_ij.shape))


# --------------------------------------------------------------------------------------------------------- reference


@cache
def nodal_values(wave_number, degree=DEGREE):
    """u at the Chebyshev points cos(i pi/degree) x cos(j pi/degree).

    The second difference matrix of the inner points is V diag(lambda) V^-1, so that the equation is
    (lambda_i + lambda_j + k^2) w_ij = -(V^-1 f V^-T)_ij with u = V w V^T (Trefethen 2000, Spectral methods in MATLAB, chapters 6
    and 7).
    """
    n = degree
    x, i = np.cos(np.pi * np.arange(n + 1) / n), np.arange(n + 1)
    c = np.where((i == 0) | (i == n), 2.0, 1.0) * (-1.0) ** i
    D = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    D -= np.diag(D.sum(1))
    eigenvalues, V = np.linalg.eig((D @ D)[1:-1, 1:-1])
    eigenvalues, V = eigenvalues.real, V.real
    f = source(np.stack(np.meshgrid(x[1:-1], x[1:-1], indexing="ij"), -1))
    spectral = np.linalg.solve(V, np.linalg.solve(V, f).T).T
    u = np.zeros((n + 1, n + 1))
    u[1:-1, 1:-1] = V @ (-spectral / (eigenvalues[:, None] + eigenvalues + wave_number**2)) @ V.T
    return u


def solution(x, wave_number):
    """u at points x (N, 2): (N,), by barycentric interpolation."""
    u = nodal_values(wave_number)
    return np.einsum("ni,ij,nj->n", barycentric(x[:, 0], len(u) - 1), u, barycentric(x[:, 1], len(u) - 1), optimize=True)


def barycentric(x, n):
    """Values (N, n + 1) at x of the cardinal functions of the Chebyshev points (Berrut and Trefethen 2004)."""
    i = np.arange(n + 1)
    weights = np.where((i == 0) | (i == n), 0.5, 1.0) * (-1.0) ** i
    gap = x[:, None] - np.cos(np.pi * i / n)
    hit = gap == 0
    row = weights / np.where(hit, 1.0, gap)
    return np.where(hit.any(1, keepdims=True), hit, row / row.sum(1, keepdims=True))
