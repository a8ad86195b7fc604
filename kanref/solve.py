"""Differential equations solved by networks, ready to use: what `kanref solve` does.

    solved = solve(make("burgers", {"nu": 0.02}))
    print(solved.table())
    solved.write("burgers-out")

Training is nested iteration (`kanref.multilevel.nested`): L-BFGS on the coarsest level, then Levenberg-Marquardt on every level,
between levels every span of every grid is halved. Networks are B-splines without base functions, hidden values pass a
tanh so that no value leaves the knots, and conditions are built in where a problem allows it. `PLANS` has the rest, for
each problem what was found to serve.
"""

from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np

from kanref import io, optimize
from kanref.arrays import integer
from kanref.bases import MinMax
from kanref.multilevel.nested import Stage, least_squares, nested
from kanref.network import KAN, kan
from kanref.pde import PROBLEMS
from kanref.pde.problem import Problem
from kanref.words import aligned

MODEL = "model.safetensors"
LOOKS = 0.1  # share of the time that looking at the error may take
UNSOLVED = 0.05  # relative L2 error beyond which a solution is called none


@dataclass(frozen=True)
class Plan:
    """How a problem is trained unless somebody says otherwise.

    widths, intervals, degree: of the first network; levels: grids, each twice as fine as the one before; points: {part: N};
    kind: of the points; steps: of L-BFGS at first, and of Levenberg-Marquardt on every level; hard: conditions built in.
    """

    points: dict[str, int]
    widths: tuple[int, ...] = (2, 8, 1)
    intervals: int = 4
    levels: int = 3
    degree: int = 5
    steps: tuple[int, int] = (200, 40)
    kind: str = "sobol"
    hard: bool = True


PLANS = {
    "poisson": Plan({"equation": 1024, "boundary": 200}, levels=4),
    "poisson_jump": Plan({"equation": 3072, "boundary": 200, "interface": 50}, (3, 8, 1), levels=4),
    "helmholtz": Plan({"equation": 2048, "boundary": 200}, levels=4),
    "heat": Plan({"equation": 2048, "initial": 100, "boundary": 100}, levels=4),
    "burgers": Plan({"equation": 4096, "initial": 100, "left": 50, "right": 50}, (2, 6, 6, 1)),
    "reaction_diffusion": Plan({"equation": 2048, "initial": 100}, (3, 8, 1)),
    "allen_cahn": Plan({"equation": 3072, "initial": 100, "left": 50, "right": 50}, (2, 5, 5, 1), steps=(200, 60)),
}


# -------------------------------------------------------------------------------------------------- problems by name


def overview():
    """All problems by name with their equations and parameters, as text."""
    problems = [factory() for factory in PROBLEMS.values()]
    told = lambda p: ", ".join(f"{name}={value:g}" for name, value in p.parameters.items())
    return aligned([(f"  {p.name}", p.equation, told(p)) for p in problems], 3)


def parameters_of(texts):
    """{name: text} of texts "name=value"; ValueError for others."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, value) in zip(texts, pairs):
        if not (name and equals and value):
            raise ValueError(f"a parameter must be given as name=value, but it is {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def make(name, parameters=None):
    """The problem of a name with parameters {name: number or text}; ValueError with a list of what there is."""
    if name not in PROBLEMS:
        raise ValueError(f"there is no problem {name!r}; there are, with their parameters,\n{overview()}")
    factory, given = PROBLEMS[name], {}
    known = {key: parameter.default for key, parameter in signature(factory).parameters.items()}
    for key, value in (parameters or {}).items():
        if key not in known:
            raise ValueError(f"{name} has no parameter {key!r}; it has {', '.join(known)}")
        number = type(known[key])
        try:
            given[key] = number(value)
            if given[key] != float(value):
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            kind = "a whole number" if number is int else "a number"
            raise ValueError(f"parameter {key} of {name} must be {kind}, but it is {value!r}") from None
    return factory(**given)


# ----------------------------------------------------------------------------------------------------------- solving


@dataclass(frozen=True, eq=False)
class Reached:
    """A level: intervals, network, theta, loss, steps, seconds of training; relative L2 and largest error on an even grid
    of 101 points each way."""

    intervals: int
    net: KAN
    theta: np.ndarray
    loss: float
    steps: int
    seconds: float
    L2: float
    largest: float


@dataclass(frozen=True, eq=False)
class Solved:
    """A problem, the last network and its theta, and how they came about.

    levels: `Reached`, coarse to fine; curves: for `plot.fields`; seconds: all in all; interrupted: Ctrl-C ended training, and
    this is the best until then; late: the minutes were used up.
    """

    problem: Problem
    net: KAN
    theta: np.ndarray
    hard: bool
    levels: tuple[Reached, ...]
    curves: tuple
    seconds: float
    interrupted: bool = False
    late: bool = False

    def __call__(self, x):
        """u at points x (N, n): (N,)."""
        return self.problem.function(self.net, self.hard)(self.theta, x)[:, 0]

    def table(self):
        """Every level in a line."""
        rows = [("intervals", "parameters", "steps", "seconds", "loss", "relative L2 error", "largest error")]
        for level in self.levels:
            numbers = f"{level.loss:.2e}", f"{level.L2:.2e}", f"{level.largest:.2e}"
            rows.append((level.intervals, level.net.size, level.steps, f"{level.seconds:.1f}", *numbers))
        return aligned(rows, 0)

    def verdict(self):
        """The errors at the end, and how training ended, in a sentence."""
        last = self.levels[-1]
        end = "; interrupted" if self.interrupted else "; the minutes were used up" if self.late else ""
        if not end and last.L2 > UNSOLVED:
            end = "; not solved: try more levels, wider ones, more steps, or conditions in the loss (hard=False, --soft)"
        return f"relative L2 error {last.L2:.2e}, largest error {last.largest:.2e}, after {self.seconds:.0f} seconds{end}"

    def plot(self):
        """Solution, reference, error, residual and the course of training, a `matplotlib.figure.Figure`."""
        from kanref import plot

        return plot.fields(self.problem, self.net, self.theta, self.hard, self.curves)

    def write(self, folder):
        """Write model.safetensors into a folder, made if need be, and fields.png if there are two coordinates. Returns
        {path: what it is}."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        model, picture = folder / MODEL, folder / "fields.png"
        extra = {"problem": self.problem.name, "parameters": self.problem.parameters, "hard": self.hard}
        io.save_network(model, self.net, self.theta, extra)
        written = {model: "the network, for kanref.solve.load"}
        if len(self.problem.coordinates) != 2:
            return written
        drawn = BytesIO()
        self.plot().savefig(drawn, format="png", dpi=160)
        io.write_atomically(picture, drawn.getvalue())
        return written | {picture: "solution, error, residual, training"}


def plan_of(problem, *, points=None, **choices):
    """The `Plan` for a problem: that of `PLANS`, for a problem of your own that of `Plan`, where points must be given; what is
    chosen here, unless it is None, put in. choices: widths, intervals, levels, degree, steps, kind, hard."""
    if problem.name in PLANS:
        plan = PLANS[problem.name]
    elif points is None:
        names = ", ".join(part.name for part in problem.parts)
        raise ValueError(f"points must say how many there are for the parts {names} of your own problem {problem.name}")
    else:
        plan = Plan(points, (_inputs(problem), 8, 1), hard=problem.hard is not None)
    plan = replace(plan, **{name: value for name, value in {"points": points, **choices}.items() if value is not None})
    integer(plan.levels, "levels", 1, 12)
    if integer(plan.degree, "degree", 0) < 2 and any(part.pairs for part in problem.parts):
        raise ValueError(f"degree must be at least 2, as {problem.name} has second derivatives, but it is {plan.degree}")
    if len(plan.steps) != 2:
        raise ValueError(f"steps must be two numbers, of L-BFGS and of Levenberg-Marquardt, but it is {plan.steps}")
    return plan


def _inputs(problem):
    return problem.inputs or len(problem.coordinates)


def heading(problem, plan):
    """What is solved by what, as text."""
    told = ", ".join(f"{name} = {value:g}" for name, value in problem.parameters.items())
    used = [part.name for part in problem.parts if part.name in plan.points and not (plan.hard and part.name in problem.soft)]
    grids = ", ".join(str(plan.intervals * 2**level) for level in range(plan.levels))
    net = network(problem, plan)
    lines = [
        ("problem", f"{problem.name}: {problem.equation}"),
        ("parameters", told or "none"),
        ("conditions", "built into the network" if plan.hard else "in the loss"),
        ("points", ", ".join(f"{plan.points[name]} {name}" for name in used) + f" ({plan.kind})"),
        ("network", f"{list(plan.widths)}, degree {plan.degree}, intervals {grids}, {net.size} parameters at first"),
        ("steps", f"{plan.steps[0]} of L-BFGS, then {plan.steps[1]} of Levenberg-Marquardt on every grid"),
    ]
    return "\n".join(f"{what:<12}{text}" for what, text in lines)


def solve(problem, *, minutes=None, seed=0, progress=False, **choices):
    """Solve a `pde.Problem` by networks on finer and finer grids. Returns `Solved`.

    choices: widths, inputs first, intervals, degree: of the first network; levels: number of grids; steps: of L-BFGS at first,
    and of Levenberg-Marquardt on every level; points: {part: N}; kind: of the points; hard: conditions built in (True) or in
    the loss (False). Left open, `plan_of` has them. minutes: time allowed for training; seed: of starting values and points;
    progress: show bars. Ctrl-C ends training with the best so far; before the first step it raises KeyboardInterrupt.
    """
    began, seed = perf_counter(), integer(seed, "seed", 0)
    plan = plan_of(problem, **choices)
    net = network(problem, plan)
    loss = loss_of(problem, plan, seed)
    squares = least_squares(plan.steps[1])
    stages = [partial(optimize.lbfgs, steps=plan.steps[0]), Stage(squares, refine=0), *[squares] * (plan.levels - 1)]
    totals = (sum(plan.steps), *[plan.steps[1]] * (plan.levels - 1))
    watch = Watch(problem, plan.hard, plan.intervals, totals, minutes, progress)
    return train(watch, net, net.init(seed), loss, stages, began)


def loss_of(problem, plan, seed):
    """net -> the loss of a problem at the points of a plan; ValueError if a part that is needed has none."""
    places = problem.points(plan.points, plan.kind, seed)
    needed = [part.name for part in problem.parts if not (plan.hard and part.name in problem.soft)]
    if missing := [name for name in needed if name not in places]:
        raise ValueError(f"points must say how many there are for {', '.join(missing)} too, which {problem.name} needs")
    return lambda net: problem.objective(net, places, plan.hard)


def train(watch, net, theta, loss, stages, began):
    """Nested iteration under a `Watch`, from which the problem comes, as `Solved`; began: `perf_counter` at the start."""
    problem, hard = watch.problem, watch.hard
    with watch:
        done = nested(net, theta, loss, stages, safeguard=False, callback=watch)
    if not done.levels:
        raise KeyboardInterrupt  # before the first step there is nothing to keep
    reached = []
    for k, net in enumerate(dict.fromkeys(level.net for level in done.levels)):
        parts = [level for level in done.levels if level.net is net]
        last, count = parts[-1], sum(part.result.steps for part in parts)
        errors = problem.errors(watch.whole(net), last.theta, hard=hard)
        seconds = sum(part.seconds for part in parts) - watch.looked[net]
        reached.append(Reached(watch.intervals * 2**k, net, last.theta, last.result.value, count, seconds, *errors))
    ends = {"interrupted": done.reason is optimize.Stop.INTERRUPTED, "late": done.reason is optimize.Stop.CALLBACK}
    return Solved(problem, done.net, done.theta, hard, tuple(reached), watch.curves(), perf_counter() - began, **ends)


def network(problem, plan):
    """The network of a plan, coordinates mapped to [-1, 1] unless the problem's trial function embeds them."""
    n = _inputs(problem)
    if plan.widths[0] != n or plan.widths[-1] != 1:
        raise ValueError(
            f"widths must begin with {n}, the inputs of a network for {problem.name}, and end with 1, but they are "
            f"{', '.join(map(str, plan.widths))}"
        )
    options = {"intervals": plan.intervals, "degree": plan.degree, "outside": "linear", "base": None, "normalise": "tanh"}
    net = kan(list(plan.widths), **options)
    if getattr(problem.function(net, plan.hard), "embedding", None) is not None:
        return net
    return kan(list(plan.widths), inputs=MinMax(*np.array(problem.domain).T), **options)


class Watch:
    """The callback of training: a bar for each level, the curves, the time allowed.

    intervals: of the coarsest level; totals: steps on every level; minutes: allowed, None for all;
    whole: net -> the network that stands for the solution, if what is trained is only a part of it.
    """

    def __init__(self, problem, hard, intervals, totals, minutes, progress, whole=lambda net: net):
        if minutes is not None and not minutes > 0:
            raise ValueError(f"minutes must be above 0, but it is {minutes}")
        self.problem, self.hard, self.intervals, self.totals, self.whole = problem, hard, intervals, totals, whole
        self.allowed, self.progress = None if minutes is None else 60 * minutes, progress
        self.x = problem.mesh(41)
        self.exact = problem.reference(self.x)
        self.looking, self.looked, self.rows, self.bar = 0.0, {}, {}, None

    def __enter__(self):
        self.began = perf_counter()
        return self

    def __exit__(self, *error):
        self._close()

    def _close(self):
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __call__(self, net, state, work):
        now = perf_counter()
        trained = now - self.began - self.looking
        if net not in self.rows:
            self._close()
            self.rows[net], self.looked[net] = [], 0.0
            self._open(net)
        error = self._error(net, state.theta) if self.looking <= LOOKS * trained else np.nan
        self.rows[net].append((trained, state.value, error))
        if self.bar is not None:
            self._show(state, error)
        spent = perf_counter() - now
        self.looking += spent
        self.looked[net] += spent
        return self.allowed is not None and trained >= self.allowed

    def _open(self, net):
        if self.progress:
            from tqdm import tqdm

            level = len(self.rows) - 1
            form = "{desc}  {bar:14} {n_fmt:>4}/{total_fmt} steps  {elapsed}{postfix}"
            look = {"desc": f"{self.intervals * 2**level:>4} intervals", "bar_format": form, "dynamic_ncols": True}
            self.bar = tqdm(total=self.totals[level], **look)

    def _show(self, state, error):
        shown = {"loss": f"{state.value:.2e}", "error": f"{error:.2e}"}
        if np.isfinite(error):
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(state.step > 0)

    def curves(self):
        """For `plot.fields`."""
        label = lambda k, net: f"{self.intervals * 2**k} intervals, {net.size} parameters"
        return tuple((label(k, net), *np.array(rows).T) for k, (net, rows) in enumerate(self.rows.items()) if rows)

    def _error(self, net, theta):
        u = self.problem.function(self.whole(net), self.hard)(theta, self.x)[:, 0]
        return float(np.linalg.norm(u - self.exact) / np.linalg.norm(self.exact))


def load(path):
    """The problem, the network, its theta, and whether conditions are built in, from a file that `Solved.write` wrote, or
    the folder it stands in."""
    path = Path(path) / MODEL if Path(path).is_dir() else path
    net, theta, extra = io.load_network(path)
    if not {"problem", "parameters", "hard"} <= extra.keys() or extra["problem"] not in PROBLEMS:
        own = f"the problem {extra['problem']} of your own" if "problem" in extra else "no problem"
        raise io.FileError(f"{path} holds a network that solves {own}; use kanref.io.load_network")
    return make(extra["problem"], extra["parameters"]), net, theta, extra["hard"]
