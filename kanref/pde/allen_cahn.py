"""Allen-Cahn: a reaction that sharpens fronts against a diffusion that smears them.

    u_t = eps u_xx + rho (u - u^3)  on [-1, 1] x [0, 1],    u(x, 0) = x^2 cos(pi x),    u periodic in x

with eps = 1e-4, rho = 5: fronts of width sqrt(2 eps / rho) grow at x = +-1/2. The multilevel paper prints
u_t = -eps u_xx + 5 u^3 - 5 u, which is backward diffusion, ill posed for these data, and makes 0 stable and +-1 unstable,
against its own text; it gives neither eps nor boundary conditions. What stands here is the usual benchmark (Raissi,
Perdikaris and Karniadakis 2019).

The data are even, so u stays even, and periodic means u_x = 0 at x = +-1. But as a periodic function they have a kink there,
u_x(+-1, 0) = -+2, which diffusion rounds off at once over s = sqrt(4 eps t). The layer is known: with
i(y) = e^(-y^2)/sqrt(pi) - y erfc(y),

    h(x, t) = 2 s (i((1 - x)/s) + i((1 + x)/s))

solves the heat equation, vanishes at t = 0 and has the slope +-2 at x = +-1. The reference solution and the hard conditions
add it, and what is left to compute is smooth.
"""

from functools import lru_cache
from math import ceil, log2, pi, sqrt

import numpy as np

from kanref import jets
from kanref.pde.problem import Part, Problem, within
from kanref.pde.trial import Trial

LEVELS = 120  # of sqrt(t) at which the reference is kept


def initial(x):
    """u(x, 0) = x^2 cos(pi x)."""
    return x**2 * np.cos(pi * x)


def layer(x, t, eps, derivatives=0):
    """h and its x-derivatives up to `derivatives` <= 4 at x, t: a list. Walls further away than +-1 do not matter while
    erfc(2/s) is nothing."""
    from scipy.special import erfc

    s = np.sqrt(4 * eps * np.maximum(t, 1e-16))
    total = [0.0] * (derivatives + 1)
    for sign in (1, -1):
        y = (1 - sign * x) / s  # dy/dx = -sign / s
        gauss, tail = np.exp(-(y**2)) * (2 / sqrt(pi)), erfc(y)
        own = (s * (gauss - 2 * y * tail), 2 * sign * tail, 2 * gauss / s, 4 * sign * y * gauss / s**2,
               (8 * y**2 - 4) * gauss / s**3)  # fmt: skip
        total = [a + b for a, b in zip(total, own)]
    return total


# --------------------------------------------------------------------------------------------------------- reference


@lru_cache(8)
def interpolant(diffusion, reaction, refinement):
    """A spline of v = u - h + x^2 + 2 eps t over x in [0, 1] and sqrt(t).

    With w = h - x^2 - 2 eps t, which takes the kink away and solves the heat equation, v_t = eps v_xx + rho (u - u^3) for
    u = v + w, v(x, 0) = x^2 (cos(pi x) + 1): by cosine collocation in N + 1 points, and by the explicit Runge-Kutta method of
    Dormand and Prince in sqrt(t), of which v is a smooth function. The stiffness eps (pi N)^2 is moderate, as fronts that
    are resolved by N = 6 sqrt(rho/(2 eps)) make it about 170 rho.
    """
    from scipy.fft import dct
    from scipy.integrate import solve_ivp
    from scipy.interpolate import RectBivariateSpline

    eps, rho = diffusion, reaction
    N = round(2 ** ceil(log2(max(128, 6 * sqrt(rho / (2 * eps))))) * refinement)
    x, k = np.linspace(0, 1, N + 1), np.arange(N + 1)
    decay = -eps * (pi * k) ** 2 / (2 * N)  # 2 N: a cosine transform of type 1 is its own inverse but for that

    def slope(root, v):
        u = v + layer(x, root**2, eps)[0] - x**2 - 2 * eps * root**2
        return 2 * root * (dct(decay * dct(v, 1), 1) + rho * (u - u**3))

    roots = np.linspace(0, 1, round(LEVELS * refinement) + 1)
    v = solve_ivp(slope, (0, 1), initial(x) + x**2, "RK45", roots, rtol=1e-9, atol=1e-9).y
    series = dct(v, 1, axis=0) / (2 * N)
    series[-1] /= 2  # the last cosine counts once on N intervals, but twice on the 2 N to come
    fine = dct(np.concatenate([series, np.zeros((N, len(roots)))]), 1, axis=0)
    return RectBivariateSpline(np.linspace(0, 1, 2 * N + 1), roots, fine, kx=5, ky=5)


def solution(x, diffusion=1e-4, reaction=5.0, refinement=1.0):
    """u at x (N, 2), columns x and t: (N,), to about 6 digits in the largest norm, 7 or 8 in the mean.

    The spline behind it takes half a second at first, many where reaction/diffusion is largest, and is kept. refinement:
    multiplies its points in x and t, for checks.
    """
    distance, t = np.abs(x[:, 0]), x[:, 1]
    v = interpolant(float(diffusion), float(reaction), float(refinement)).ev(distance, np.sqrt(t))
    return v + layer(distance, t, diffusion)[0] - distance**2 - 2 * diffusion * t


# ----------------------------------------------------------------------------------------------------------- problem


def allen_cahn(diffusion=1e-4, reaction=5.0):
    """The problem for eps = diffusion in [1e-5, 0.05] and rho = reaction in [0, 20]; ValueError outside.

    Parts: "equation" with the paper's weight 0.1, "initial", and u_x = 0 at "left" and "right" with 1. `hard` needs the first
    alone: u = x^2 cos(pi x) + h(x, t) + t N(cos(pi x), 2 t - 1) is even, periodic, and right at t = 0 for any network N.
    """
    eps, rho = within(diffusion, "diffusion", 1e-5, 0.05), within(reaction, "reaction", 0, 20)

    def equation(x, u, u_i, u_ij):
        v = u[:, 0]
        r = u_i[:, 0, 1] - eps * u_ij[:, 0, 0, 0] - rho * (v - v**3)
        return r, (rho * (3 * u**2 - 1), np.array([[0.0, 1.0]]), np.array([[[-eps, 0.0], [0.0, 0.0]]]))

    def start(x, u, u_i, u_ij):
        return u[:, 0] - initial(x[:, 0]), (np.ones(1), None, None)

    def flat(x, u, u_i, u_ij):
        return u_i[:, 0, 0], (None, np.array([[1.0, 0.0]]), None)

    return Problem(
        name="allen_cahn",
        equation=f"u_t = {eps:g} u_xx + {rho:g} (u - u^3), u(x, 0) = x^2 cos(pi x), periodic in x",
        parameters={"diffusion": eps, "reaction": rho},
        coordinates=("x", "t"),
        domain=((-1.0, 1.0), (0.0, 1.0)),
        parts=(
            Part("equation", equation, ((0, 0),), weight=0.1),
            Part("initial", start, face={1: 0.0}),
            Part("left", flat, face={0: -1.0}),
            Part("right", flat, face={0: 1.0}),
        ),
        reference=lambda x: solution(x, eps, rho),
        hard=lambda net: Trial(net, 2, even, lambda z: begin(z, eps), lambda z: z[..., 1:]),
        soft=("initial", "left", "right"),
    )


COSINE = tuple(lambda x, f=f, c=c: c * f(pi * x) for f, c in ((np.cos, 1), (np.sin, -pi), (np.cos, -(pi**2))))
SQUARE = lambda x: x**2, lambda x: 2 * x, lambda x: np.full_like(x, 2)


def even(z):
    """The jet of (cos(pi x), 2 t - 1)."""
    t = 2 * z[..., 1:]
    t[0] -= 1
    return np.concatenate([jets.compose(COSINE, z[..., :1]), t], -1)


def begin(z, eps):
    """The jet of x^2 cos(pi x) + h(x, t); h_t = eps h_xx, so that its derivatives in t are some in x."""
    x, t = z[..., :1], z[..., 1:]
    (x_0, x_1, x_2), (t_0, t_1, t_2) = jets.parts(x), jets.parts(t)
    start = jets.times(jets.compose(SQUARE, x), jets.compose(COSINE, x))
    if len(z) == 1:
        return start + layer(x_0, t_0, eps)[0]
    h, h_x, h_xx, h_xxx, h_xxxx = layer(x_0, t_0, eps, derivatives=4)
    first = h_x * x_1 + eps * h_xx * t_1
    second = h_xx * x_1**2 + 2 * eps * h_xxx * x_1 * t_1 + eps**2 * h_xxxx * t_1**2 + h_x * x_2 + eps * h_xx * t_2
    return start + np.concatenate([h[None], first, second])
