"""What all methods share: checking the start, counting, budgets, tolerances, history, callback."""

from array import array
from math import inf, isfinite
from operator import index
from time import perf_counter

import numpy as np

from .result import History, Result, State, Stop


class Halt(Exception):
    """Ends a run from anywhere inside its loop; `reason` is a `Stop`."""

    def __init__(self, reason):
        self.reason = reason


class Run:
    """One run of a method: calls the function and keeps the books.

    `call`, `evaluate` and `accept` raise `Halt` when a budget is used up, a tolerance met, or the
    callback ends the run, so that the loop of a method is only its mathematics.
    """

    def __init__(
        self,
        function,
        theta,
        *,
        steps,
        callback,
        seconds,
        evaluations=None,
        gradient_tolerance=None,
        value_tolerance=0.0,
        name="objective",
        returns="(value, gradient)",
    ):
        if not callable(function):
            raise TypeError(f"{name} must be callable, theta -> {returns}, got {function!r}")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, State -> bool, got {callback!r}")
        self.function, self.name, self.returns, self.callback = function, name, returns, callback
        self.theta = start_vector(theta)
        self.steps = whole("steps", steps, least=0)
        self.budget = inf if evaluations is None else whole("evaluations", evaluations, least=1)
        self.gradient_tolerance = -1.0  # none: a batch without gradient is no reason to stop
        if gradient_tolerance is not None:
            self.gradient_tolerance = within("gradient_tolerance", gradient_tolerance, 0, inf)
        self.value_tolerance = within("value_tolerance", value_tolerance, 0, 1)
        self.began = perf_counter()
        self.deadline = inf if seconds is None else self.began + within("seconds", seconds, 0, inf)
        self.evaluations = 0
        self.log = array("d")

    def call(self, theta):
        """The pair that the function returns at `theta`. The first call is always granted."""
        if self.evaluations:
            if self.evaluations >= self.budget:
                raise Halt(Stop.EVALUATIONS)
            if perf_counter() >= self.deadline:
                raise Halt(Stop.SECONDS)
        pair = self.function(theta)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{self.name} must return {self.returns}, got {type(pair).__name__}")
        self.evaluations += 1
        return pair

    def evaluate(self, theta):
        """Value, a float, and gradient, as the objective returned it (it may be its buffer)."""
        value, gradient = self.call(theta)
        gradient = np.asarray(gradient)
        if gradient.shape != theta.shape or gradient.dtype.kind != "f":
            raise ValueError(
                f"{self.name} must return a floating gradient of the shape of theta, "
                f"{theta.shape}, got {gradient.dtype} of shape {gradient.shape}"
            )
        try:
            return float(value), gradient
        except TypeError:
            raise TypeError(
                f"{self.name} must return one number as its value, got {type(value).__name__} of "
                f"shape {np.shape(value)}; sum or average it"
            ) from None

    def check_start(self, value, norm):
        """Refuse a start at which the value or the gradient says nothing."""
        if not (isfinite(value) and isfinite(norm)):
            raise ValueError(
                f"{self.name} must be finite at the start, got value {value} and largest gradient "
                f"component {norm}; choose another theta, or check the objective for overflow"
            )

    def accept(self, theta, value, norm, rate):
        """Log an accepted step (the first is the start), show it, and test the tolerances."""
        log = self.log
        log.extend((value, norm, rate, self.evaluations))
        if self.callback is not None:
            seconds = perf_counter() - self.began
            step = len(log) // 4 - 1
            state = State(step, theta.copy(), value, norm, rate, self.evaluations, seconds)
            if self.callback(state):
                raise Halt(Stop.CALLBACK)
        if norm <= self.gradient_tolerance:
            raise Halt(Stop.GRADIENT)
        if self.value_tolerance and len(log) > 4:
            if log[-8] - value <= self.value_tolerance * abs(log[-8]):
                raise Halt(Stop.VALUE)

    def result(self, theta, value, norm, reason):
        """The outcome, with the history as arrays."""
        values, norms, rates, counts = np.array(self.log).reshape(-1, 4).T.copy()
        history = History(values, norms, rates, counts.astype(int))
        steps = max(len(history) - 1, 0)
        return Result(theta, value, norm, steps, self.evaluations, reason, history)


def start_vector(theta):
    """An own copy of `theta`, checked: a finite flat vector of float64 or float32."""
    theta = np.asarray(theta)
    if theta.dtype not in (np.float64, np.float32):
        raise TypeError(f"theta must be float64 or float32, got {theta.dtype}; convert it: theta.astype(float)")
    if theta.ndim != 1 or theta.size == 0:
        raise ValueError(
            f"theta must be one flat vector that is not empty, got shape {theta.shape}; flatten it: theta.ravel()"
        )
    wrong = np.flatnonzero(~np.isfinite(theta))
    if wrong.size:
        raise ValueError(f"theta must be finite, got {theta[wrong[0]]} at index {wrong[0]}")
    return theta.copy()


def whole(name, number, least):
    """`number` as an int that is at least `least`."""
    try:
        number = index(number)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {number!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def within(name, number, low, high):
    """`number` as a float with low <= number < high."""
    try:
        number = float(number)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {number!r}") from None
    if not low <= number < high:
        raise ValueError(f"{name} must be at least {low:g} and less than {high:g}, got {number:g}")
    return number


def largest(vector):
    """The max-norm; NaN if an entry is NaN."""
    return float(np.maximum.reduce(np.abs(vector)))
