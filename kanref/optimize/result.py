"""What an optimiser reports and returns: where it is, how it got there, why it stopped."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np


class Stop(Enum):
    """Why a run ended. The value is a sentence that says what happened and what to try."""

    GRADIENT = (
        "The largest gradient component is within gradient_tolerance: a stationary point. "
        "Lower gradient_tolerance to go on."
    )
    VALUE = (
        "The last step lowered the value by no more than value_tolerance, relatively. Lower value_tolerance to go on."
    )
    ROUNDING = (
        "Steps change the value only by rounding and no longer make the gradient smaller: the "
        "precision of the objective is reached. To go further use float64 or rescale the problem."
    )
    STEPS = "All steps are used up. Give more steps, or go on from the theta returned."
    EVALUATIONS = "The budget of evaluations is used up. Give more evaluations, or go on from the theta returned."
    SECONDS = "The time is used up. Give more seconds, or go on from the theta returned."
    CALLBACK = "The callback ended the run by returning True. Go on from the theta returned."
    INTERRUPTED = (
        "The run was interrupted by KeyboardInterrupt. The theta returned is the best so far: go on from there."
    )
    NON_FINITE = (
        "The value or the gradient became infinite or NaN. The theta returned is a finite one: "
        "try a smaller rate or a warm-up, and check the objective for overflow."
    )
    LINE_SEARCH = (
        "The line search found no lower value, not even along steepest descent. Check the "
        "gradient by a Taylor test; if it is right, the objective is not smooth here, or at its "
        "precision."
    )
    DAMPING = (
        "No damping, however large, lowered the sum of squares. Check the Jacobian by a Taylor "
        "test; if it is right, the residuals are not smooth here, or at their precision."
    )


@dataclass(frozen=True, eq=False)
class State:
    """What a callback sees after each accepted step. Step 0 is the start.

    `rate` is the learning rate (Adam; the largest one if there are many), the step length as a
    multiple of the search direction (L-BFGS) or the damping (Levenberg-Marquardt); 0 at the start.
    `gradient_norm` is the largest gradient component in modulus, `theta` a copy of its own.
    """

    step: int
    theta: np.ndarray = field(repr=False)
    value: float
    gradient_norm: float
    rate: float
    evaluations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """Arrays with one entry per accepted step, the start first; the columns are as in `State`.

    `evaluations[i]` counts all evaluations made until step i was accepted.
    """

    value: np.ndarray
    gradient_norm: np.ndarray
    rate: np.ndarray
    evaluations: np.ndarray

    def __len__(self):
        return len(self.value)


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of a run: `value` and `gradient_norm` (max-norm) belong to `theta`.

    `steps` counts accepted steps, `evaluations` all calls of the objective. `moments` is what Adam needs to go on: averages of
    gradients and of their squares, and over how many steps; None for other methods.
    """

    theta: np.ndarray
    value: float
    gradient_norm: float
    steps: int
    evaluations: int
    reason: Stop
    history: History
    moments: tuple | None = field(default=None, repr=False)

    @property
    def converged(self):
        """Whether a tolerance was met, or the precision of the objective reached."""
        return self.reason in (Stop.GRADIENT, Stop.VALUE, Stop.ROUNDING)

    def __repr__(self):
        return (
            f"Result({'converged' if self.converged else 'not converged'} [{self.reason.name}]: "
            f"value {self.value:.6g}, gradient {self.gradient_norm:.2g}, {self.steps} steps, "
            f"{self.evaluations} evaluations, {self.theta.size} parameters)\n  {self.reason.value}"
        )
