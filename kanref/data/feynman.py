"""The twenty-seven dimensionless formulas of the Feynman lectures in the KAN paper (Liu et al., Table 2).

`TARGETS` is a dictionary of `Target` by the paper's names; `formula` is an expression that Python reads, in the
variables `names`. The paper gives no ranges but (-1, 1) for velocities. pykan has ranges for the formulas before they are
made dimensionless; from these, and else chosen here:

    pykan      the variable itself is in pykan's formula, with this range
    quotient   the variable is a product or quotient of pykan's variables; the range is what theirs give
    ratio      a quotient whose denominator reaches 0 in pykan: the smaller by the larger, [-1, 1], or as stated
    chosen     as stated

Angles go once round. Velocities end at 0.9 where the formula is singular at 1. The paper's II.11.7 is pykan's II.11.17,
and its I.6.2 and I.6.2b are I.6.20 and I.6.20b.
"""

import numpy as np
from numpy import arcsin, cos, exp, log, pi, sin, sqrt

from kanref.data import Target

ROUND = (0.0, 2 * pi)


def _of_columns(function):
    return lambda X: function(*X.T)


_ROWS = (
    (
        "I.6.2",
        "exp(-th**2 / (2*s**2)) / sqrt(2*pi*s**2)",
        lambda th, s: exp(-(th**2) / (2 * s**2)) / sqrt(2 * pi * s**2),
        {"th": (-1, 1), "s": (0.5, 2)},
        "pykan",
    ),
    (
        "I.6.2b",
        "exp(-(th - th1)**2 / (2*s**2)) / sqrt(2*pi*s**2)",
        lambda th, th1, s: exp(-((th - th1) ** 2) / (2 * s**2)) / sqrt(2 * pi * s**2),
        {"th": (-1.5, 1.5), "th1": (-1.5, 1.5), "s": (0.5, 2)},
        "pykan",
    ),
    (
        "I.9.18",
        "a / ((b - 1)**2 + (c - d)**2 + (e - f)**2)",
        lambda a, b, c, d, e, f: a / ((b - 1) ** 2 + (c - d) ** 2 + (e - f) ** 2),
        {"a": (-4, 4), "b": (-2, -0.5), "c": (0.5, 2), "d": (-2, -0.5), "e": (0.5, 2), "f": (-2, -0.5)},
        "quotient: all coordinates over the first, x1 in [-1, -0.5]",
    ),
    ("I.12.11", "1 + a*sin(th)", lambda a, th: 1 + a * sin(th), {"a": (-1, 1), "th": ROUND}, "a = B v/E: ratio"),
    (
        "I.13.12",
        "a * (1/b - 1)",
        lambda a, b: a * (1 / b - 1),
        {"a": (0, 2), "b": (0.25, 4)},
        "quotient: a = G m1 m2/r1, b = r2/r1",
    ),
    (
        "I.15.3x",
        "(1 - a) / sqrt(1 - b**2)",
        lambda a, b: (1 - a) / sqrt(1 - b**2),
        {"a": (-1, 1), "b": (-0.9, 0.9)},
        "a = u t/x: ratio; b = u/c: a velocity",
    ),
    (
        "I.16.6",
        "(a + b) / (1 + a*b)",
        lambda a, b: (a + b) / (1 + a * b),
        {"a": (-0.8, 0.8), "b": (-0.8, 0.8)},
        "quotient: velocities over c",
    ),
    (
        "I.18.4",
        "(1 + a*b) / (1 + a)",
        lambda a, b: (1 + a * b) / (1 + a),
        {"a": (0.5, 2), "b": (-1, 1)},
        "a = m2/m1: quotient; b = r2/r1: ratio",
    ),
    ("I.26.2", "asin(n * sin(th2))", lambda n, th2: arcsin(n * sin(th2)), {"n": (0, 0.99), "th2": ROUND}, "pykan"),
    (
        "I.27.6",
        "1 / (1 + a*b)",
        lambda a, b: 1 / (1 + a * b),
        {"a": (0.5, 2), "b": (0.25, 2)},
        "a = n: pykan; b = d1/d2: quotient",
    ),
    (
        "I.29.16",
        "sqrt(1 + a**2 - 2*a*cos(th1 - th2))",
        lambda a, th1, th2: np.hypot(1 - a * cos(th1 - th2), a * sin(th1 - th2)),  # no cancellation
        {"a": (-1, 1), "th1": ROUND, "th2": ROUND},
        "a = x2/x1: ratio; conical points at a = 1, th1 = th2 and a = -1, th1 - th2 = +-pi",
    ),
    (
        "I.30.3",
        "sin(n*th/2)**2 / sin(th/2)**2",
        lambda n, th: sin(n * th / 2) ** 2 / sin(th / 2) ** 2,
        {"n": (0, 4), "th": (0.4 * pi, 1.6 * pi)},
        "pykan",
    ),
    (
        "I.30.5",
        "asin(a / n)",
        lambda a, n: arcsin(a / n),
        {"a": (-1, 1), "n": (1, 1.5)},
        "a = lambda/d: ratio; n: pykan; square roots at a = +-1, n = 1",
    ),
    (
        "I.37.4",
        "1 + a + 2*sqrt(a)*cos(d)",
        lambda a, d: 1 + a + 2 * sqrt(a) * cos(d),
        {"a": (0.1, 1), "d": ROUND},
        "a = I2/I1: the weaker by the stronger, pykan's intensities are in [0.1, 1]",
    ),
    (
        "I.40.1",
        "n0 * exp(-a)",
        lambda n0, a: n0 * exp(-a),
        {"n0": (0, 1), "a": (-1, 1)},
        "n0: pykan; a = m g x/(k T): quotient",
    ),
    (
        "I.44.4",
        "n * log(a)",
        lambda n, a: n * log(a),
        {"n": (0, 1), "a": (0.25, 4)},
        "n: pykan; a = V2/V1: quotient",
    ),
    (
        "I.50.26",
        "cos(a) + al*cos(a)**2",
        lambda a, al: cos(a) + al * cos(a) ** 2,
        {"a": ROUND, "al": (0, 1)},
        "a = omega t: quotient; al: pykan",
    ),
    (
        "II.2.42",
        "(a - 1) * b",
        lambda a, b: (a - 1) * b,
        {"a": (0, 2), "b": (0, 2)},
        "a = T2/T1: chosen, colder and hotter; b = kappa T1 A/d: quotient",
    ),
    (
        "II.6.15a",
        "c * sqrt(a**2 + b**2) / (4*pi)",
        lambda a, b, c: c * sqrt(a**2 + b**2) / (4 * pi),
        {"a": (0, 1), "b": (0, 1), "c": (0, 1)},
        "chosen: a = x/r and b = y/r, with c up to 1; a conical point at a = b = 0",
    ),
    (
        "II.11.7",
        "n0 * (1 + a*cos(th))",
        lambda n0, a, th: n0 * (1 + a * cos(th)),
        {"n0": (0, 1), "a": (-4, 4), "th": ROUND},
        "n0: pykan; a = p E/(k T): quotient",
    ),
    (
        "II.11.27",
        "n*al / (1 - n*al/3)",
        lambda n, al: n * al / (1 - n * al / 3),
        {"n": (0, 1), "al": (0, 2)},
        "pykan",
    ),
    (
        "II.35.18",
        "n0 / (exp(a) + exp(-a))",
        lambda n0, a: n0 / (exp(a) + exp(-a)),
        {"n0": (0, 1), "a": (0, 4)},
        "n0: pykan; a = mu B/(k T): quotient",
    ),
    (
        "II.36.38",
        "a + al*b",
        lambda a, al, b: a + al * b,
        {"a": (0, 4), "al": (0, 1), "b": (0, 4)},
        "a = mu B/(k T): quotient; al: pykan; b = mu M/(epsilon c^2 k T): chosen as a",
    ),
    (
        "II.38.3",
        "a / b",
        lambda a, b: a / b,
        {"a": (0, 1), "b": (0.5, 2)},
        "a = Y A x: quotient; b = d: pykan",
    ),
    (
        "III.9.52",
        "a * sin((b - c)/2)**2 / ((b - c)/2)**2",
        lambda a, b, c: a * np.sinc((b - c) / (2 * pi)) ** 2,
        {"a": (0, 2), "b": ROUND, "c": ROUND},
        "a = p E t/hbar: quotient; b, c = omega t, omega0 t: chosen, to the first zeros (pykan: to pi)",
    ),
    (
        "III.10.19",
        "sqrt(1 + a**2 + b**2)",
        lambda a, b: sqrt(1 + a**2 + b**2),
        {"a": (-1, 1), "b": (-1, 1)},
        "a, b = Bx/Bz, By/Bz: ratio",
    ),
    (
        "III.17.37",
        "be * (1 + al*cos(th))",
        lambda be, al, th: be * (1 + al * cos(th)),
        {"be": (0, 1), "al": (0, 1), "th": ROUND},
        "pykan",
    ),
)

TARGETS = {
    name: Target(
        name,
        formula,
        _of_columns(function),
        tuple((float(low), float(high)) for low, high in ranges.values()),
        tuple(ranges),
        f"Liu et al., Table 2; ranges: {reason}",
    )
    for name, formula, function, ranges, reason in _ROWS
}
