"""Poisson's equation with a coefficient that jumps (multilevel paper, section 5; Tseng et al., cusp-capturing PINN).

    div(eps grad u) = f on [-1, 1]^2, u = 0 on the boundary,        eps = 1 for x < 0, 1/ratio for x >= 0
    u = sin(a pi x) sin(frequency pi y),                            a = 1 for x < 0, ratio for x >= 0

u and the flux eps u_x are continuous at x = 0, where u has a kink: u_x doubles for ratio = 2. The network takes the level set
|x| as a third input, u(x, y) = N(x, y, |x|), so that smooth edge functions make kinks. The two slopes there are
N_1 -+ N_3, and the jump of the flux is one directional derivative of N,

    u_x|_left - u_x|_right/ratio = (N_1 - N_3) - (N_1 + N_3)/ratio = d/ds N((1 - 1/ratio) s, y, -(1 + 1/ratio) s) at s = 0.
"""

import numpy as np

from kanref import jets
from kanref.arrays import integer
from kanref.pde.poisson import ALPHA, SIDES
from kanref.pde.problem import Part, Problem, dirichlet
from kanref.pde.trial import Trial, cap

LEVEL = (np.abs, lambda x: np.where(x < 0, -1.0, 1.0), np.zeros_like)  # |x|; at 0 the slope of the right side, as eps


def poisson_jump(ratio=2, frequency=3):
    """The problem with parts "equation", "boundary" and "interface", weights 0.01, 1 and 0.1; the paper's parameters by default.

    ratio: of the coefficients, frequency: along y, both whole numbers, at least 1, so that u vanishes on the boundary.
    The network takes three inputs. Hard: u = (1 - x^2)(1 - y^2) N; there the interface part is the jump of N's flux, which
    vanishes where u's does.
    """
    ratio, frequency = integer(ratio, "ratio", 1), integer(frequency, "frequency", 1)
    a = lambda x: np.where(x[:, 0] < 0, 1, ratio)

    def reference(x):
        return np.sin(a(x) * np.pi * x[:, 0]) * np.sin(frequency * np.pi * x[:, 1])

    def equation(x, u, u_i, u_ij):
        """(u_xx + u_yy)/a - f, f = -pi^2 (a^2 + frequency^2)/a u."""
        source = -(np.pi**2) * (a(x) ** 2 + frequency**2) / a(x) * reference(x)
        r_uij = np.eye(2) / a(x)[:, None, None, None]
        return np.einsum("nmii->n", u_ij) / a(x) - source, (None, None, r_uij)

    def flux(z):
        """The line through N's inputs along which its slope is the jump."""
        x, y = z[..., 0], z[..., 1]
        return np.stack([(1 - 1 / ratio) * x, y, -(1 + 1 / ratio) * x], -1)

    return Problem(
        name="poisson_jump",
        equation="div(eps grad u) = f, u = 0 on the boundary, eps jumps at x = 0",
        parameters={"ratio": ratio, "frequency": frequency},
        coordinates=("x", "y"),
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        parts=(
            Part("equation", equation, ((0, 0), (1, 1)), ALPHA),
            Part("boundary", dirichlet(), face=SIDES),
            Part("interface", jump, (), 0.1, {0: 0.0}, lambda net: Trial(net, 2, flux)),
        ),
        reference=reference,
        inputs=3,
        trial=lambda net: Trial(net, 2, with_level_set),
        hard=lambda net: Trial(net, 2, with_level_set, distance=cap),
        soft=("boundary",),
    )


def jump(x, u, u_i, u_ij):
    """The slope along x of what `flux` makes of the network."""
    r_ui = np.zeros_like(u_i)
    r_ui[:, 0, 0] = 1
    return u_i[:, 0, 0], (None, r_ui, None)


def with_level_set(z):
    """(x, y) -> (x, y, |x|)."""
    return np.concatenate([z, jets.compose(LEVEL, z[..., :1])], -1)


def grid(count=51):
    """The paper's points, those of an even grid: inside, on the boundary, and at x = 0 inside (`count` odd).

    51 gives 2401, 200 and 49. Inner points with x = 0 belong to the right side.
    """
    if integer(count, "count", 3) % 2 == 0:
        raise ValueError(f"count must be odd, so that the grid has points at x = 0, but it is {count}")
    axis = np.linspace(-1, 1, count)
    axis[count // 2] = 0
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    outer = np.abs(x).max(1) == 1
    inner = x[~outer]
    return {"equation": inner, "boundary": x[outer], "interface": inner[inner[:, 0] == 0]}
