"""kanref: a NumPy/Numba reference implementation of Kolmogorov-Arnold networks.

Names are found in their modules on first use, so that `import kanref` itself is quick.
"""

from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

_PUBLIC = {
    # networks: structure, and one flat vector of parameters
    "network": ("KAN", "Layer", "kan", "spline_layer"),
    "nodes": ("Nodes",),
    "terms": ("Linear",),
    "bases": ("BSpline", "Chebyshev", "MinMax", "Pointwise", "identity", "sigmoid", "silu", "sin", "tanh", "zero"),
    "power_relu": ("PowerReLU",),
    "free_knots": ("FreeKnots",),
    "weights": ("Fixed", "Full", "InBasis", "LoTRA", "LowRank", "Masked", "Scaled", "Tucker"),
    # training
    "objectives": ("collocation", "cross_entropy", "logistic", "mae", "minibatches", "mse", "weighted_sum"),
    "optimize": ("adam", "lbfgs", "levenberg_marquardt", "schedules"),
    "grids": ("extend", "insert_knots", "refine", "update_from_samples"),
    "multilevel.nested": ("Stage", "least_squares", "nested"),
    # the face
    "model": ("Model",),
    "io": ("load",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        if find_spec(f"kanref.{name}"):
            return import_module(f"kanref.{name}")
        raise AttributeError(f"kanref has no public name {name!r}; see kanref.__all__")
    return getattr(import_module(f"kanref.{_HOME[name]}"), name)


def __dir__():
    return __all__
