"""Nested iteration: train on a coarse grid, carry the function to a finer one, go on (multilevel paper, algorithm 1).

    stages = [Stage(partial(optimize.lbfgs, steps=640)), Stage(partial(optimize.lbfgs, steps=320)), Stage(least_squares(40))]
    done = nested(net, theta, lambda net: objectives.mse(net, x, y), stages)

A stage is a minimiser, any function (objective, theta, callback=None) -> `optimize.Result`; optimisers that need a ramp after
every transfer bring it in their own schedule, partial(optimize.adam, steps=800, rate=schedules.warmup(1e-2, 1e-4, 10)).

Work is counted in the paper's unit: one evaluation on the coarsest level costs 1, on a network refined l times 2^l.

The safeguard. A transfer keeps the function, so the loss does not rise; where "fine" cannot promise that (outside="zero"
and hidden values that leave the domain) the loss is measured, and if it did rise the transfer is made on the whole line;
free knots know no transfer but "fine". A stage after a transfer that does not get on is started again from another place,
which a few Levenberg-Marquardt steps lead to, downhill: they see all curvature at once, of which L-BFGS knows ten directions
and starts with none. Getting on means to halve the loss, as long as the objective has residuals and is small enough for such
steps; else to lower it by a hundredth, and small Adam steps lead away. Runs that follow a printed schedule to the letter
take safeguard=False.

Optimiser state. Curvature pairs and moments belong to the old parameters, and by default every stage starts without. With
Stage(..., carry=True) the moments of the stage before come along, m as P m and v as (P o P) v: a heuristic, exact for
gradients whose entries are independent and of mean zero. It takes a minimiser that knows `moments`, (m, v, number of steps):
as an argument, and as an attribute of its result.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from kanref.arrays import integer
from kanref.grids.rebase import splines
from kanref.multilevel.transfer import dyadic
from kanref.network import KAN
from kanref.objectives import squared
from kanref.optimize import History, Result, Stop, adam, levenberg_marquardt, schedules
from kanref.optimize.lbfgs import rounding_of

RESCUE = 20  # Levenberg-Marquardt steps of a restart; ten times as many Adam steps
DENSE = 2000  # parameters up to which a restart takes Levenberg-Marquardt steps
PROGRESS = {True: 0.5, False: 0.01}  # what a stage has to take off the loss, relatively: with such steps at hand, or not


@dataclass(frozen=True)
class Stage:
    """What to do on one level.

    minimise: (objective, theta, callback=None) -> `optimize.Result`, as `partial(optimize.lbfgs, steps=100)`;
    refine: how often the spans are halved before it; the first stage runs on the network as given;
    carry: whether to take over the moments of the stage before, see the module's text.
    """

    minimise: Callable
    refine: int = 1
    carry: bool = False

    def __post_init__(self):
        if not callable(self.minimise):
            raise TypeError(
                f"minimise must be a function (objective, theta, callback=None) -> Result, got {self.minimise!r}; "
                "use partial(optimize.lbfgs, steps=100)"
            )
        integer(self.refine, "refine", 0, 30)


@dataclass(frozen=True, eq=False)
class Level:
    """A stage that was run: the network, what it was trained to, how, at what cost.

    result: of all runs of the stage together, `result.theta` is theta; work: evaluations times 2^level, those that compare
    a transfer included; seconds: wall clock; restarted: whether the safeguard had to start it again.
    """

    net: KAN
    theta: np.ndarray
    result: Result
    work: float
    seconds: float
    restarted: bool = False


@dataclass(frozen=True, eq=False)
class Nested:
    """The last network and its parameters, what every stage did, and why it ended: `Stop.STEPS` if all stages were run."""

    net: KAN
    theta: np.ndarray
    levels: tuple[Level, ...]
    reason: Stop

    @property
    def work(self):
        """Of all stages."""
        return sum(level.work for level in self.levels)

    def __repr__(self):
        from kanref.words import aligned

        rows = [("stage", "parameters", "loss before", "after", "steps", "evaluations", "work", "seconds", "end")]
        for k, level in enumerate(self.levels):
            r = level.result
            end = r.reason.name + " after a restart" * level.restarted
            numbers = [f"{r.history.value[0]:.3e}", f"{r.value:.3e}", r.steps, r.evaluations, level.work]
            rows.append((k, level.net.size, *numbers, f"{level.seconds:.1f}", end))
        return f"Nested [{self.reason.name}]\n{aligned([tuple(map(str, row)) for row in rows])}"


def least_squares(steps, **options):
    """A minimiser for a stage: `optimize.levenberg_marquardt` on the objective's residuals, its values as losses r'r.

    options: damping, gradient_tolerance, value_tolerance, seconds. An evaluation makes the Jacobian and costs more than one
    of a gradient; the unit of work does not know.
    """

    def minimise(objective, theta, callback=None):
        if not hasattr(objective, "residuals"):
            raise TypeError(
                f"least_squares needs an objective with residuals, but {type(objective).__name__} has none; use lbfgs or adam"
            )
        look = callback and (lambda s: callback(replace(s, value=2 * s.value, gradient_norm=2 * s.gradient_norm)))
        result = levenberg_marquardt(objective.residuals, theta, steps=steps, callback=look, **options)
        history = replace(result.history, value=2 * result.history.value, gradient_norm=2 * result.history.gradient_norm)
        return replace(result, value=2 * result.value, gradient_norm=2 * result.gradient_norm, history=history)

    return minimise


def nested(net, theta, loss, stages, exterior="fine", safeguard=True, callback=None):
    """Train `net` from theta through `stages`, each on a finer grid with the function of the one before.

    loss: network -> objective, theta -> (value, gradient);
    stages: `Stage`s, or minimisers alone for Stage(minimise);
    exterior: of the refinement, "fine" (the paper's), "nested" or None, see `transfer.dyadic`;
    safeguard: see the module's text; False trusts transfers and stages;
    callback: called as callback(net, state, work) after every step with the optimiser's `State` and the work so far;
        returning True ends everything.

    Returns `Nested`. KeyboardInterrupt, and a callback that returns True, end it with what has been reached; its `reason`
    says so. Values of different stages compare as long as `loss` is the same function of the network's values.
    """
    stages = [stage if isinstance(stage, Stage) else Stage(stage) for stage in stages]
    if not stages:
        raise ValueError("stages must hold at least one Stage, but it is empty")
    levels, depth, total = [], 0, 0.0
    theta = np.array(net.vector(theta))
    try:
        for k, stage in enumerate(stages):
            began, unit, extra = perf_counter(), 2.0**depth, 0
            moments = getattr(levels[-1].result, "moments", None) if k and stage.carry else None
            if k and stage.refine:
                transfer, extra = _finer(net, theta, loss, stage.refine, exterior, safeguard)
                net, theta = transfer.fine, transfer.prolong(theta)
                moments = moments and (transfer.prolong(moments[0]), transfer.prolong_squares(moments[1]), moments[2])
                depth += stage.refine
                unit = 2.0**depth
            run = _Run(net, loss(net), callback, total + unit * extra, unit)
            result = run(partial(stage.minimise, moments=moments) if moments else stage.minimise, theta)
            restarted = safeguard and k > 0 and _stalled(result, run.rescue)
            if restarted:
                result = _again(run, stage.minimise, result)
            work = unit * (result.evaluations + extra)
            theta, total = result.theta, total + work
            levels.append(Level(net, theta, result, work, perf_counter() - began, restarted))
            if result.reason in (Stop.INTERRUPTED, Stop.CALLBACK):
                return Nested(net, theta, tuple(levels), result.reason)
    except KeyboardInterrupt:
        return Nested(net, theta, tuple(levels), Stop.INTERRUPTED)
    return Nested(net, theta, tuple(levels), Stop.STEPS)


def _finer(net, theta, loss, times, exterior, safeguard):
    """The transfer to take, and evaluations spent on the choice: one on either side where "fine" may change values."""
    transfer = dyadic(net, exterior, times, theta=theta)
    bases = [basis for layer in net.layers for basis in splines(layer).values()]
    if not (safeguard and exterior == "fine" and any(basis.outside == "zero" for basis in bases)):
        return transfer, 0
    before, after = loss(net)(theta)[0], loss(transfer.fine)(transfer.prolong(theta))[0]
    same = after <= before + rounding_of(before, before, np.finfo(theta.dtype).eps)
    return transfer if same else dyadic(net, None, times, theta=theta), 2


@dataclass
class _Run:
    """Minimisers one after the other on one level, reported to one callback."""

    net: KAN
    objective: Callable
    callback: Callable | None
    before: float
    unit: float
    steps: int = 0
    evaluations: int = 0

    def __call__(self, minimise, theta):
        result = minimise(self.objective, theta, callback=self.callback and self._look)
        self.steps, self.evaluations = self.steps + result.steps, self.evaluations + result.evaluations
        return result

    def _look(self, state):
        state = replace(state, step=self.steps + state.step, evaluations=self.evaluations + state.evaluations)
        return self.callback(self.net, state, self.before + self.unit * state.evaluations)

    @property
    def rescue(self):
        """Whether Levenberg-Marquardt steps are at hand."""
        if self.net.size > DENSE or not hasattr(self.objective, "residuals"):
            return False
        parts = getattr(self.objective, "parts", ((1, self.objective),))
        return all(getattr(part, "loss", squared) is squared for _, part in parts)


def _stalled(result, rescue):
    """Whether a run lowered the loss too little, though it was free to: nobody ended it and the gradient is not zero."""
    ended = result.reason in (Stop.INTERRUPTED, Stop.CALLBACK, Stop.SECONDS, Stop.GRADIENT)
    return not ended and not result.value <= (1 - PROGRESS[rescue]) * result.history.value[0]


def _again(run, minimise, result):
    """The stalled run, steps that lead away, and the stage once more: the best of them, and their history in a row."""
    results = [result]
    for method in (least_squares(RESCUE) if run.rescue else _small_steps, minimise):
        try:
            results.append(run(method, results[-1].theta))
        except KeyboardInterrupt:  # before the first evaluation is done
            results[-1] = replace(results[-1], reason=Stop.INTERRUPTED)
        if results[-1].reason in (Stop.INTERRUPTED, Stop.CALLBACK):
            break
    return _joined(results)


def _small_steps(objective, theta, callback=None):
    """Adam, by a thousandth of the parameters' size at a step."""
    rate = 1e-3 * float(np.sqrt(np.mean(np.square(theta))))
    return adam(objective, theta, steps=10 * RESCUE, rate=schedules.warmup(rate, rate / 100, RESCUE), callback=callback)


def _joined(results):
    """One result of several runs, each started where the one before ended; the best theta, the last reason."""
    best = min(results, key=lambda result: result.value)
    counts = np.cumsum([0, *(result.evaluations for result in results)])
    columns = {name: np.concatenate([getattr(r.history, name) for r in results]) for name in ("value", "gradient_norm", "rate")}
    evaluations = np.concatenate([count + result.history.evaluations for count, result in zip(counts, results)])
    steps = sum(result.steps for result in results)
    return replace(best, steps=steps, evaluations=int(counts[-1]), reason=results[-1].reason,
                   history=History(**columns, evaluations=evaluations))  # fmt: skip
