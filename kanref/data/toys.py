"""The toy functions of the KAN paper: five for the scaling laws (Liu et al., Fig. 3.1), eight to look into (Fig. 4.1).

`SCALING` and `INTERPRETABLE` are dictionaries of `Target`; `SHAPES` has the networks that the paper names for them. The
paper gives no ranges. [-1, 1] for every input is the domain of pykan's grids, on which its notebooks sample too; where
a formula needs another range, `Target.source` says so.
"""

import numpy as np

from kanref.data import Target

BOX = (-1.0, 1.0)


def bessel(X):
    """J_0(20 x)."""
    from scipy.special import j0

    return j0(20 * X[:, 0])


def staircase(X):
    """exp(sin(pi x) + y^2)."""
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


def product(X):
    """x y."""
    return X[:, 0] * X[:, 1]


def hundred(X):
    """exp(mean_i sin^2(pi x_i / 2))."""
    return np.exp((np.sin(np.pi * X / 2) ** 2).mean(1))


def four(X):
    """exp((sin(pi (x1^2 + x2^2)) + sin(pi (x3^2 + x4^2))) / 2)."""
    first, second = (X[:, :2] ** 2).sum(1), (X[:, 2:] ** 2).sum(1)
    return np.exp((np.sin(np.pi * first) + np.sin(np.pi * second)) / 2)


def quotient(X):
    """x / y."""
    return X[:, 0] / X[:, 1]


def first_digit(X):
    """The first decimal digit of x in [0, 1): a label 0..9."""
    return np.floor(10 * X[:, 0]).astype(int)


def bessel_square(X):
    """exp(J_0(20 x) + y^2)."""
    return np.exp(bessel(X) + X[:, 1] ** 2)


def shell(X):
    """tanh(5 (x1^4 + x2^4 + x3^4 - 1))."""
    return np.tanh(5 * ((X**4).sum(1) - 1))


def distance(X):
    """sqrt((x1 - x2)^2 + (x3 - x4)^2)."""
    return np.hypot(X[:, 0] - X[:, 1], X[:, 2] - X[:, 3])


def velocities(X):
    """(u + v) / (1 + u v)."""
    return X.sum(1) / (1 + X[:, 0] * X[:, 1])


def transition(X):
    """1 where sin(pi x1) + cos(pi x2) + tan(pi x3 / 2) > 0, else 0."""
    total = np.sin(np.pi * X[:, 0]) + np.cos(np.pi * X[:, 1]) + np.tan(np.pi * X[:, 2] / 2)
    return (total > 0).astype(int)


def _target(name, formula, function, ranges, names, source):
    return Target(name, formula, function, tuple(ranges), tuple(names), source)


def _named(targets):
    return {target.name: target for target in targets}


_LAWS = "Liu et al., section 3.1 and Fig. 3.1; range chosen here, that of pykan's grids"
_LOOK = "Liu et al., section 4.2 and Fig. 4.1; "

SCALING = _named(
    [
        _target("bessel", "J0(20 x)", bessel, [BOX], ["x"], _LAWS),
        _target("staircase", "exp(sin(pi x) + y^2)", staircase, [BOX] * 2, ["x", "y"], _LAWS),
        _target("product", "x y", product, [BOX] * 2, ["x", "y"], _LAWS),
        _target("hundred", "exp(mean sin^2(pi xi / 2))", hundred, [BOX] * 100, [f"x{i}" for i in range(1, 101)], _LAWS),
        _target(
            "four",
            "exp((sin(pi (x1^2 + x2^2)) + sin(pi (x3^2 + x4^2))) / 2)",
            four,
            [BOX] * 4,
            ["x1", "x2", "x3", "x4"],
            _LAWS,
        ),
    ]
)

INTERPRETABLE = _named(
    [
        _target("product", "x y", product, [BOX] * 2, ["x", "y"], _LOOK + "range chosen here"),
        _target(
            "quotient",
            "x / y",
            quotient,
            [(0.1, 1.0)] * 2,
            ["x", "y"],
            _LOOK + "positive by the paper; [0.1, 1] chosen here, for a bounded quotient",
        ),
        _target(
            "first digit",
            "floor(10 x)",
            first_digit,
            [(0.0, 1.0)],
            ["x"],
            _LOOK + "the range is the formula's; the paper writes the digit as ten outputs, here it is a label",
        ),
        _target(
            "bessel square", "exp(J0(20 x) + y^2)", bessel_square, [BOX] * 2, ["x", "y"], _LOOK + "range chosen here"
        ),
        _target(
            "shell",
            "tanh(5 (x1^4 + x2^4 + x3^4 - 1))",
            shell,
            [BOX] * 3,
            ["x1", "x2", "x3"],
            _LOOK + "a smooth phase transition; range chosen here",
        ),
        _target(
            "distance",
            "sqrt((x1 - x2)^2 + (x3 - x4)^2)",
            distance,
            [BOX] * 4,
            ["x1", "x2", "x3", "x4"],
            _LOOK + "range chosen here",
        ),
        _target(
            "velocities",
            "(u + v) / (1 + u v)",
            velocities,
            [(-0.9, 0.9)] * 2,
            ["u", "v"],
            "relativistic addition, Liu et al., section 3.3; range of pykan's example",
        ),
        _target(
            "transition",
            "[sin(pi x1) + cos(pi x2) + tan(pi x3 / 2) > 0]",
            transition,
            [BOX] * 3,
            ["x1", "x2", "x3"],
            "pykan's example of a phase boundary; a label 0 or 1; range chosen here",
        ),
    ]
)

SHAPES = {  # of the network that the paper (or, for the last two, pykan's example) names for each target
    "bessel": ((1, 1),),
    "staircase": ((2, 1, 1),),
    "product": ((2, 2, 1),),
    "hundred": ((100, 1, 1),),
    "four": ((4, 4, 2, 1), (4, 2, 2, 1), (4, 2, 1, 1)),  # text, a later printing, code
    "quotient": ((2, 1, 1),),
    "first digit": ((1, 10),),  # not printed: what ten outputs need
    "bessel square": ((2, 1, 1),),  # not printed: what the formula needs
    "shell": ((3, 1, 1),),  # not printed: what the formula needs
    "distance": ((4, 2, 1, 1),),
    "velocities": ((2, 1, 1),),
    "transition": ((3, 1, 1),),
}
