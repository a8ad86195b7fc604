"""Minimisers for plain flat vectors: Adam, L-BFGS, Levenberg-Marquardt, and learning rates.

An objective is any callable `theta -> (value, gradient)`; `scipy.optimize.minimize(objective,
theta, jac=True)` runs the same one. Which method:

- `lbfgs` first, for full-batch fits: no learning rate, and it goes down to rounding.
- `levenberg_marquardt` for least squares with up to a few thousand parameters: it converges
  quadratically where the residuals get small.
- `adam` for minibatches and for objectives that are noisy or not smooth.
"""

from . import schedules
from .adam import adam
from .lbfgs import lbfgs, two_loop
from .levenberg_marquardt import levenberg_marquardt
from .result import History, Result, State, Stop

__all__ = [
    "History",
    "Result",
    "State",
    "Stop",
    "adam",
    "lbfgs",
    "levenberg_marquardt",
    "schedules",
    "two_loop",
]
