"""Cycles between levels: the full approximation scheme for training (Brandt 1977; as optimisation: Nash 2000, MG/Opt).

Nested iteration goes up once. A cycle comes back: smooth on the fine level; then ask the coarse level for a correction of
what smoothing leaves over. With g the fine gradient at u and v = I u its coarse approximation (`Transfer.project`), the
coarse problem and what becomes of its solution v* are

    min_v L_c(v) - <tau, v>,   tau = grad L_c(I u) - P' g,         u <- u + alpha P (v* - I u)

so that the coarse gradient at I u is P' g, the restricted fine one: coarse progress is fine descent to first order, and
alpha from a line search on the fine loss makes it certain (no loss rises). A V-cycle asks once on every level, a W-cycle
twice. On coarse levels the loss is already of this shifted kind, and its tau passes down.

What tau is here. Levels are properly nested and have the same samples, so L_c(v) = L_f(P v) exactly (Galerkin), and
tau = P' (grad L_f(P I u) - grad L_f(u)): zero for u in range(P), just after a prolongation, where the coarse problem is the
one that nested iteration has solved; later -P' H (u - P I u) to first order. If L is quadratic the correction is the best one
in range(P), whatever tau. For a network the coarse problem lives at P I u, which lacks the fine details and has a much
larger loss; tau is then many times longer than the P' g that it makes room for, and the coarse problem resembles the fine
one only near I u. Corrections get small, or are refused (`kanref.papers.cycles`).

When to go down: only if the coarse level can see enough of the gradient, |P' g| >= kappa |g| (the condition of the recursive
trust-region method; Gratton, Sartenaer and Toint 2008; Wen and Goldfarb 2009 for line searches). kappa = 0 always goes.
|P' g|/|g| lies between 0 and |P|, which is near sqrt(2). With adaptive=True a cycle has moreover to pay: if its correction
took off less of the loss than the smoothing around it, work for work, the next 1, 2, 4, ... rounds only smooth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from kanref.arrays import choice, integer
from kanref.multilevel.nested import Stage, nested
from kanref.multilevel.transfer import dyadic
from kanref.optimize import History, Result, State, Stop
from kanref.optimize.line_search import Point, strong_wolfe

VISITS = {"V": 1, "W": 2}  # how often a level asks the one below
TRIALS = 8  # evaluations of a line search along a correction


@dataclass(frozen=True, eq=False)
class Shifted:
    """L(theta) - <tau, theta>, with its gradient: what is minimised on a coarse level."""

    objective: Callable
    tau: np.ndarray

    def __call__(self, theta):
        value, gradient = self.objective(theta)
        return value - float(self.tau @ theta), gradient - self.tau


@dataclass(frozen=True, eq=False)
class Correction:
    """What a coarse level gave.

    theta, value, norm: the new fine parameters, their loss and its largest gradient component; alpha: the length of the
    correction, 0 if there was none; share: |P' g|/|g|; tau: |tau|/|P' g|; asked: whether the coarse level was asked, one
    coarse evaluation beside those of its solver; evaluations: on the fine level.
    """

    theta: np.ndarray
    value: float
    norm: float
    alpha: float
    share: float
    tau: float
    asked: bool
    evaluations: int


def correct(transfer, fine, coarse, theta, solve, kappa=0.0):
    """One coarse-level correction of theta on the fine level.

    fine, coarse: objectives theta -> (value, gradient); solve: (objective, theta) -> theta, an approximate minimiser of the
    shifted coarse problem from where it starts. Returns `Correction`; its value is never above that at theta.
    """
    value, gradient = fine(theta)
    gradient = np.array(gradient)
    restricted = transfer.restrict(gradient)
    tiny = np.finfo(float).tiny
    norm = float(np.linalg.norm(restricted))
    share, stay = norm / max(float(np.linalg.norm(gradient)), tiny), Point(0.0, value, 0.0, theta, gradient)
    if norm == 0 or share < kappa:
        return Correction(theta, value, float(np.abs(gradient).max()), 0.0, share, 0.0, False, 1)
    start = transfer.project(theta)
    tau = np.array(coarse(start)[1]) - restricted
    d = transfer.prolong(solve(Shifted(coarse, tau), start) - start)
    trials = []

    def along(alpha):
        v, g = fine(theta + alpha * d)
        trials.append(Point(alpha, v, float(g @ d), theta + alpha * d, np.array(g)))
        return trials[-1]

    slope = float(gradient @ d)
    found = strong_wolfe(along, stay._replace(slope=slope), 1.0, trials=TRIALS) if slope < 0 else None
    end = found or stay
    largest = float(np.abs(end.gradient).max())
    return Correction(end.theta, end.value, largest, end.step, share, float(np.linalg.norm(tau)) / norm, True, 1 + len(trials))


def cycle(transfers, loss, smoothers, count=1, shape="V", kappa=0.0, adaptive=False, record=None):
    """A minimiser (objective, theta, callback=None) -> Result on the fine network of the last transfer: `count` cycles.

    transfers: from the coarsest level up, each halving the spans once, as `hierarchy` makes them;
    loss: network -> objective, for the coarse levels;
    smoothers: one minimiser for each level, coarsest first, of few steps: run before and after the correction, on the
        coarsest level instead of it. Coarse objectives are shifted, so only methods of gradients fit there;
    shape: "V" or "W"; kappa, adaptive: when to go down, see the module's text;
    record: called as record(level, correction) after every one.

    The result counts evaluations in units of the fine level, coarse ones a half for every level down; steps are those on
    the fine level, corrections included. It ends with `Stop.LINE_SEARCH` after a cycle that changed nothing.
    """
    transfers, smoothers = tuple(transfers), tuple(smoothers)
    integer(count, "count", 1)
    choice(shape, "shape", tuple(VISITS))
    if len(smoothers) != len(transfers) + 1:
        raise ValueError(
            f"smoothers must have one minimiser for each of the {len(transfers) + 1} levels, but there are {len(smoothers)}"
        )

    def minimise(objective, theta, callback=None):
        objectives = [*(loss(transfer.coarse) for transfer in transfers), objective]
        books = _Books(callback, len(transfers), theta)
        try:
            pause = rest = 0
            for _ in range(count):
                before = books.value
                if rest:
                    rest -= 1
                    theta = books.smooth(len(transfers), smoothers[-1], objective, theta)
                    continue
                theta = _cycled(books, transfers, objectives, smoothers, VISITS[shape], kappa, record, theta)
                if books.value == before:
                    raise _End(Stop.LINE_SEARCH)
                pause = rest = max(1, 2 * pause) if adaptive and not books.paid() else 0
        except _End as end:
            return books.result(end.reason)
        except KeyboardInterrupt:
            if not books.rows:
                raise
            return books.result(Stop.INTERRUPTED)
        return books.result(Stop.STEPS)

    return minimise


def hierarchy(net, levels, exterior="fine"):
    """Transfers from `net` up: `levels` of them, each halving the spans of the one before. Knots must be fixed (ValueError)."""
    transfers = []
    for _ in range(integer(levels, "levels", 0, 30)):
        transfers.append(dyadic(transfers[-1].fine if transfers else net, exterior))
    return tuple(transfers)


def cycles(
    net, theta, loss, stages, count=1, shape="V", kappa=0.0, adaptive=False, exterior="fine", callback=None, record=None
):
    """Nested iteration with cycles on every level (full multigrid): as `nested`, with every stage a smoother.

    The first stage is run as it is; on arriving at level k, `count` cycles over levels k..0 are run, smoothed by stages k..0.
    Every stage after the first refines once. Other arguments as for `nested` and `cycle`. The line search of a correction
    never raises the loss; for outside="zero" use exterior=None, which keeps the function in transfers too.
    """
    stages = [stage if isinstance(stage, Stage) else Stage(stage) for stage in stages]
    if any(stage.carry for stage in stages):
        raise ValueError("smoothers of cycles start without moments, on every level anew; leave carry out")
    if any(stage.refine != 1 for stage in stages[1:]):
        raise ValueError(f"stages of cycles must refine once each, but they refine {[s.refine for s in stages[1:]]} times")
    transfers, smoothers = hierarchy(net, max(len(stages) - 1, 0), exterior), [stage.minimise for stage in stages]
    cycled = [
        Stage(cycle(transfers[:k], loss, smoothers[: k + 1], count, shape, kappa, adaptive, record) if k else smoothers[0])
        for k in range(len(stages))
    ]
    return nested(net, theta, loss, cycled, exterior, safeguard=False, callback=callback)


# ------------------------------------------------------------------------------------------------------- the recursion


def _cycled(books, transfers, objectives, smoothers, visits, kappa, record, theta):
    """theta after one cycle over the levels of `transfers` and the one above, objectives and smoothers coarsest first."""
    l = len(transfers)
    theta = books.smooth(l, smoothers[l], objectives[l], theta)
    if l == 0:
        return theta

    def solve(objective, start):
        for _ in range(visits if l > 1 else 1):  # asking the coarsest level twice is asking it for longer
            start = _cycled(books, transfers[:-1], [*objectives[: l - 1], objective], smoothers, visits, kappa, record, start)
        return start

    correction = correct(transfers[-1], objectives[l], objectives[l - 1], theta, solve, kappa)
    books.corrected(l, correction)
    if record is not None:
        record(l, correction)
    return books.smooth(l, smoothers[l], objectives[l], correction.theta)


class _End(Exception):
    """Ends a cycle from any level; `reason` is a `Stop`."""

    def __init__(self, reason):
        self.reason = reason


@dataclass
class _Books:
    """Counts evaluations in units of the level `top`, and keeps and reports the steps on that level.

    rows: (value, gradient norm, rate, evaluations) of every step; theta, value, norm: where the cycle is; gains: relative
    decrease and work of smoothing and of corrections; asked: evaluations when the coarse level was last asked.
    """

    callback: Callable | None
    top: int
    theta: np.ndarray
    value: float = np.nan
    norm: float = np.nan
    gains: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    evaluations: float = 0.0
    asked: float = 0.0
    began: float = field(default_factory=perf_counter)

    def smooth(self, level, smoother, objective, theta):
        """theta after the smoother's steps."""
        top = level == self.top
        before = self.evaluations
        result = smoother(objective, theta, callback=self._look if top and self.callback else None)
        self.evaluations = before + result.evaluations * 2.0 ** (level - self.top)
        if top:
            history, first = result.history, bool(self.rows)  # a later run starts at a point that is in the books
            columns = history.value, history.gradient_norm, history.rate, before + history.evaluations
            self.rows += list(zip(*columns))[first:]
            self.theta, self.value, self.norm = result.theta, result.value, result.gradient_norm
            self._gained("smoothing", history.value[0], result.evaluations)
            self.asked = self.evaluations
        if result.reason in (Stop.INTERRUPTED, Stop.CALLBACK):
            raise _End(result.reason)
        return result.theta

    def corrected(self, level, correction):
        """Books a correction of a level."""
        self.evaluations += correction.evaluations * 2.0 ** (level - self.top) + correction.asked * 2.0 ** (level - 1 - self.top)
        if level < self.top:
            return
        before, self.value = self.value, correction.value
        self._gained("correction", before, self.evaluations - self.asked)
        if correction.alpha == 0:
            return
        self.theta, self.norm = correction.theta, correction.norm
        self.rows.append((correction.value, correction.norm, correction.alpha, self.evaluations))
        if self.callback and self.callback(State(len(self.rows) - 1, self.theta.copy(), *self.rows[-1], self._seconds)):
            raise _End(Stop.CALLBACK)

    def _gained(self, kind, before, work):
        gain, spent = self.gains.get(kind, (0.0, 0.0))
        self.gains[kind] = gain + (before - self.value) / max(abs(before), np.finfo(float).tiny), spent + work

    def paid(self):
        """Whether the corrections since the last question took off more of the loss, for their work, than smoothing did."""
        (smoothed, by), (corrected, at) = self.gains.pop("smoothing"), self.gains.pop("correction", (0.0, 0.0))
        return corrected * by > smoothed * at

    def _look(self, state):
        if state.step == 0 and self.rows:
            return None
        state = replace(
            state,
            step=max(len(self.rows) - 1, 0) + state.step,
            evaluations=self.evaluations + state.evaluations,
            seconds=self._seconds,
        )
        return self.callback(state)

    @property
    def _seconds(self):
        return perf_counter() - self.began

    def result(self, reason):
        values, norms, rates, counts = np.array(self.rows).reshape(-1, 4).T.copy()
        history = History(values, norms, rates, counts)
        return Result(self.theta, self.value, self.norm, len(self.rows) - 1, self.evaluations, reason, history)
