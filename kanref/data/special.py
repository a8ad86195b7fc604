"""The fifteen special functions of two variables of the KAN paper (Liu et al., Table 1), by SciPy's names.

`TARGETS` is a dictionary of `Target`. The paper gives no ranges. Chosen here, one rule for each kind:

    angles             a whole period, or as far as symmetry and addition of quarter periods do not give the rest
    Bessel functions   orders 0..4 and arguments to 10 where the function stays bounded (J) or to 5 where it grows (I);
                       Y and K, singular at 0, orders 0..2 and arguments from 1
    elliptic           parameter m (not modulus) up to 0.95, short of the singularity at 1 if the function has one
    Legendre           degrees 0..4, real; |x| <= 0.9, short of the singularities at x = -1 (and 1)
    harmonics          the sphere

Where SciPy's function has several values, the paper does not say which it takes: here ellipj is its first, sn(u, m),
and sph_harm its real part, with the order and degree first as in the paper, the azimuth as first variable and the
Condon-Shortley phase.
"""

from math import pi

from kanref.data import Target


def _scipy(name, *fixed):
    """X (N, 2) -> scipy.special.name(*fixed, x, y)."""

    def function(X):
        from scipy import special

        return getattr(special, name)(*fixed, X[:, 0], X[:, 1])

    return function


def sn(X):
    """Jacobi's sn(u, m)."""
    return _scipy("ellipj")(X)[0]


def harmonic(m, n):
    """X = (azimuth, polar angle) -> Re Y_n^m."""

    def function(X):
        from scipy.special import sph_harm_y

        return sph_harm_y(n, m, X[:, 1], X[:, 0]).real

    return function


_ORDER = ("order", "z")
_SPHERE = ((0.0, 2 * pi), (0.0, pi))
_AZIMUTH = ("azimuth", "polar")

_ROWS = (
    ("ellipj", "sn(u, m)", sn, ((0.0, 2 * pi), (0.0, 0.95)), ("u", "m"), "a whole period for m = 0; m short of 1"),
    (
        "ellipkinc",
        "F(phi, m), elliptic integral of the first kind",
        _scipy("ellipkinc"),
        ((0.0, pi / 2), (0.0, 0.95)),
        ("phi", "m"),
        "a quarter period gives the rest; singular at (pi/2, 1)",
    ),
    (
        "ellipeinc",
        "E(phi, m), elliptic integral of the second kind",
        _scipy("ellipeinc"),
        ((0.0, pi / 2), (0.0, 1.0)),
        ("phi", "m"),
        "a quarter period gives the rest; finite everywhere",
    ),
    ("jv", "J_v(z)", _scipy("jv"), ((0.0, 4.0), (0.0, 10.0)), _ORDER, "from z = 0, where z^v is not smooth"),
    ("yv", "Y_v(z)", _scipy("yv"), ((0.0, 2.0), (1.0, 10.0)), _ORDER, "singular at z = 0"),
    ("kv", "K_v(z)", _scipy("kv"), ((0.0, 2.0), (1.0, 5.0)), _ORDER, "singular at z = 0"),
    ("iv", "I_v(z)", _scipy("iv"), ((0.0, 4.0), (0.0, 5.0)), _ORDER, "from z = 0, where z^v is not smooth; up to 27.2"),
    *(
        (
            f"lpmv({m})",
            f"P_v^{m}(x)",
            _scipy("lpmv", m),
            ((0.0, 4.0), (-0.9, 0.9)),
            ("degree", "x"),
            "singular at x = -1 if v is no integer",
        )
        for m in (0, 1, 2)
    ),
    *(
        (f"sph_harm({m},{n})", f"Re Y_{n}^{m}(azimuth, polar)", harmonic(m, n), _SPHERE, _AZIMUTH, "the whole sphere")
        for m, n in ((0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
    ),
)

TARGETS = {
    name: Target(name, formula, function, ranges, names, f"Liu et al., Table 1; range chosen here: {reason}")
    for name, formula, function, ranges, names, reason in _ROWS
}
