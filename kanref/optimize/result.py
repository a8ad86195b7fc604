"""What an optimiser returns and reports: why it stopped, where, and how it got there."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np


class Stop(Enum):
    """Why a run ended; the value is a sentence that says what happened and what to try."""

    GRADIENT = (
        "The largest gradient component is within gradient_tolerance: a stationary point. "
        "Lower gradient_tolerance to go on."
    )
    VALUE = (
        "The last step lowered the value by less than value_tolerance allows (relative decrease). "
        "Lower value_tolerance to go on."
    )
    ROUNDING = (
        "Steps no longer change the value beyond rounding, nor make the gradient smaller: this is "
        "the precision of the objective. Use float64, or rescale the problem, to go further."
    )
    STEPS = "All steps are used. Give more steps, or go on from the theta returned."
    EVALUATIONS = (
        "The budget of evaluations is used up. Give more evaluations, or go on from the theta "
        "returned."
    )
    SECONDS = "The time is used up. Give more seconds, or go on from the theta returned."
    CALLBACK = "The callback returned True and so ended the run."
    INTERRUPTED = (
        "The run was interrupted (KeyboardInterrupt). The best parameters so far are returned: go "
        "on from there."
    )
    NON_FINITE = (
        "The value or the gradient became infinite or NaN. The finite iterate is returned: try a "
        "smaller rate or a warm-up, and check the objective for overflow."
    )
    LINE_SEARCH = (
        "The line search found no lower value, not even along steepest descent. Check the gradient "
        "by a Taylor test; if it is right, the objective is not smooth here or is at its precision."
    )
    DAMPING = (
        "No damping, however large, lowered the sum of squares. Check the Jacobian by a Taylor "
        "test; if it is right, the residuals are not smooth here or are at their precision."
    )


@dataclass(frozen=True, eq=False)
class State:
    """What a callback sees after each accepted step; step 0 is the start.

    `rate` is the learning rate (Adam; the largest one if there are many), the step length in units
    of the search direction (L-BFGS) or the damping (Levenberg-Marquardt); 0 at the start. `theta` is
    the callback's own copy.
    """

    step: int
    theta: np.ndarray
    value: float
    gradient_norm: float
    rate: float
    evaluations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """One entry per accepted step, the start first: `value[0]` is the value at the start.

    `rate` as in `State`; `evaluations[i]` counts all evaluations made until step i was accepted.
    """

    value: np.ndarray
    gradient_norm: np.ndarray
    rate: np.ndarray
    evaluations: np.ndarray

    def __len__(self):
        return len(self.value)


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of a run. `gradient_norm` is the largest gradient component in modulus.

    `value` and `gradient_norm` belong to `theta`; `steps` counts accepted steps; `evaluations` every
    call of the objective.
    """

    theta: np.ndarray = field(repr=False)
    value: float
    gradient_norm: float
    steps: int
    evaluations: int
    reason: Stop
    history: History = field(repr=False)

    @property
    def converged(self):
        """Whether a tolerance was met or the precision of the objective reached."""
        return self.reason in (Stop.GRADIENT, Stop.VALUE, Stop.ROUNDING)

    def __repr__(self):
        return (
            f"Result({'converged' if self.converged else 'not converged'}, {self.reason.name}: "
            f"value {self.value:.6g}, gradient {self.gradient_norm:.3g}, {self.steps} steps, "
            f"{self.evaluations} evaluations, {self.theta.size} parameters)\n  {self.reason.value}"
        )
