"""Bookkeeping that all methods share: the start, counting, budgets, history, callback, result."""

from array import array
from math import inf, isfinite
from operator import index
from time import perf_counter

import numpy as np

from .result import History, Result, State, Stop


class Halt(Exception):
    """Ends a run from anywhere inside its loop; `reason` is a `Stop`."""

    def __init__(self, reason):
        super().__init__(reason.value)
        self.reason = reason


def largest(vector):
    """The max-norm; NaN if any entry is NaN."""
    return float(np.maximum.reduce(np.abs(vector)))


def whole(name, number, least):
    """`number` as an int, at least `least`."""
    try:
        number = index(number)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {number!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def between(name, number, low, high):
    """`number` as a float with low <= number < high."""
    if not low <= number < high:
        raise ValueError(f"{name} must be at least {low:g} and below {high:g}, got {number!r}")
    return float(number)


def start_vector(theta):
    """An own copy of `theta` after checking that it is a finite 1-D float32 or float64 vector."""
    theta = np.asarray(theta)
    if theta.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"theta must be float64 or float32, got {theta.dtype}; convert it with theta.astype(float)"
        )
    if theta.ndim != 1 or theta.size == 0:
        raise ValueError(
            f"theta must be one flat vector with at least one entry, got shape {theta.shape}; "
            "flatten it with theta.ravel()"
        )
    if not np.isfinite(theta).all():
        where = np.flatnonzero(~np.isfinite(theta))
        raise ValueError(f"theta must be finite, got {theta[where[0]]} at index {where[0]}")
    return theta.copy()


class Run:
    """One run of a method: calls the function, counts, keeps the history, serves the callback.

    `evaluate` and `accept` raise `Halt` when a budget is used up or the callback ends the run, so
    that a method's loop is only its mathematics. `name` and `returns` are for messages.
    """

    def __init__(self, name, returns, function, theta, *, steps, evaluations, seconds, callback):
        if not callable(function):
            raise TypeError(f"{name} must be callable: theta -> {returns}, got {function!r}")
        self.name, self.returns, self.function = name, returns, function
        self.theta = start_vector(theta)
        self.steps = whole("steps", steps, 0)
        self.limit = inf if evaluations is None else whole("evaluations", evaluations, 1)
        self.callback = callback
        self.began = perf_counter()
        self.deadline = inf if seconds is None else self.began + between("seconds", seconds, 0, inf)
        self.evaluations = 0
        self.log = array("d")

    def call(self, theta):
        """The pair that the function returns at theta, within the budgets."""
        if self.evaluations >= self.limit:
            raise Halt(Stop.EVALUATIONS)
        if self.evaluations and perf_counter() >= self.deadline:
            raise Halt(Stop.SECONDS)
        pair = self.function(theta)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{self.name} must return {self.returns}, got {type(pair).__name__}")
        self.evaluations += 1
        return pair

    def evaluate(self, theta):
        """Value (a float) and gradient (as returned: its owner may reuse it) at theta."""
        value, gradient = self.call(theta)
        gradient = np.asarray(gradient)
        if gradient.shape != theta.shape or gradient.dtype.kind != "f":
            raise ValueError(
                f"{self.name} must return a floating gradient of theta's shape {theta.shape}, got "
                f"{gradient.dtype} of shape {gradient.shape}"
            )
        return float(value), gradient

    def check_start(self, value, norm):
        """Refuses a start at which nothing can be improved because nothing is known."""
        if not (isfinite(value) and isfinite(norm)):
            raise ValueError(
                f"{self.name} must be finite at the start, got value {value} and largest gradient "
                f"component {norm}; choose another theta, or check the objective for overflow"
            )

    def accept(self, theta, value, norm, rate):
        """Logs an accepted step (the start is step 0) and shows it to the callback."""
        self.log.extend((value, norm, rate, self.evaluations))
        step = len(self.log) // 4 - 1
        if self.callback is not None:
            seconds = perf_counter() - self.began
            state = State(step, theta.copy(), value, norm, rate, self.evaluations, seconds)
            if self.callback(state):
                raise Halt(Stop.CALLBACK)

    def result(self, theta, value, norm, reason):
        """The outcome, with the history as arrays."""
        value_log, norm_log, rate_log, count_log = np.array(self.log).reshape(-1, 4).T.copy()
        history = History(value_log, norm_log, rate_log, count_log.astype(int))
        steps = max(len(history) - 1, 0)
        return Result(theta, value, norm, steps, self.evaluations, reason, history)
