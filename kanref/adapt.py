"""A trained network carried over to another equation by a small adapter: what `kanref adapt` does.

    adapted = adapt("kanref-solve", make("helmholtz", {"wave_number": 6.2}))
    print(adapted.table())
    adapted.write("helmholtz-6.2")                                 # adapter.safetensors, model.safetensors, fields.png
    problem, net, theta, hard = load("kanref-solve", "helmholtz-6.2")

All that was trained stays as it is. What is trained is D in (W_0 + D) b(x) = W_0 b(x) + D b(x), zero at first, as
`kanref.solve` trains, from coarse to fine: beside the fine splines b of the base stand coarse ones, W_0 b(x) + D_h b_h(x),
which are refined, D_h with them, until they are those of the base. So large changes, as they are smooth, need few numbers.

    "lm"      D of low tensor rank, which refinement keeps: LoTRA, by Levenberg-Marquardt on every grid. The core begins as
              zero, the factors as singular vectors of the first gradient (`lotra.adapt(start="gradient")`)
    "adam"    the same by Adam, with a rate for each component (`lotra.rates`): for comparison, it is slower
    "full"    D of full rank by Levenberg-Marquardt: no small adapter, and nothing is lost

What to expect if a parameter changes by a tenth to a factor of two: adapters leave a small part of the error that the unchanged
network has, the smaller the nearer the new equation is; the table and the verdict of a run say how much. The networks of
`kanref solve` are narrow, so that adapters of ranks 4 hold nearly half as many numbers (`Task.heading`). "full" comes nearer to
solving anew, in less time than that takes. If the solution changes its character, solve anew.

The coarse terms and Levenberg-Marquardt are not from arXiv 2502.06153, of which only the abstract could be read.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np

from kanref import adapters, io, lotra, optimize, solve
from kanref.arrays import choice, integer
from kanref.bases import BSpline, zero
from kanref.grids.rebase import chosen_layers
from kanref.multilevel.nested import least_squares
from kanref.multilevel.transfer import dyadic
from kanref.network import KAN
from kanref.optimize import schedules
from kanref.pde import PROBLEMS
from kanref.pde.problem import Problem
from kanref.solve import UNSOLVED, Plan, Solved, Watch
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked

ADAPTER = "adapter.safetensors"
TERM = "spline"  # what is adapted
BESIDE = "adapter"  # the coarse term beside it while training
COARSEST = 3  # intervals of the coarsest grid at least
DAMPING = 1e-5  # of the first step on every grid: less than by default, as the base is near
METHODS = {"lm": "Levenberg-Marquardt", "adam": "Adam, a rate for each component", "full": "Levenberg-Marquardt"}
STEPS = {"lm": 15, "adam": 200, "full": 10}  # on every grid
RANKS = 4
RATE = 3e-2  # of Adam on the coarsest grid, half of it on the next one; on each, half a cosine leads to zero
FAR = 10.0  # times the base's own error: beyond, more is told to be within reach


@dataclass(frozen=True, eq=False)
class Task:
    """What is adapted to what, and how; made by `prepare`.

    base: problem, network, theta, whether conditions are built in; problem: the new one; plan: its points;
    ranks: {layer: (r_out, r_in, r_basis)}, for "full" {layer: None}; depth: how often the base's grid is made coarser;
    own, before: relative L2 and largest error of the base on its own problem and on the new one.
    """

    base: tuple[Problem, KAN, np.ndarray, bool]
    problem: Problem
    plan: Plan
    method: str
    ranks: dict[int, tuple[int, int, int] | None]
    steps: int
    rate: float
    depth: int
    own: tuple[float, float]
    before: tuple[float, float]

    @property
    def intervals(self):
        """Of the grids, coarse to fine."""
        finest = min(self._spline(l).basis.intervals for l in self.ranks)
        return tuple(finest >> times for times in reversed(range(self.depth + 1)))

    @property
    def size(self):
        """How many numbers are trained, on the last grid."""
        _, net, theta, _ = self.base
        if self.method == "full":
            return sum(int(np.prod(self._spline(l).weights.shape)) for l in self.ranks)
        return lotra.adapt(net, theta, self.ranks, layers=tuple(self.ranks), terms=(TERM,))[0].size

    def heading(self):
        """What is adapted to what, and how, as text."""
        solved, net, _, _ = self.base
        listed = lambda numbers: ", ".join(map(str, numbers))
        grids, share = listed(self.intervals), self.size / net.size
        ranks = "; ".join(dict.fromkeys(f"({listed(ranks)})" for ranks in self.ranks.values() if ranks))
        what = f"adapters of ranks {ranks}" if ranks else "all weights of the splines"
        lines = [
            ("base", f"{_named(solved)}: relative L2 error {self.own[0]:.2e}"),
            ("problem", f"{self.problem.name}: {self.problem.equation}"),
            ("parameters", _told(self.problem) or "none"),
            ("unchanged", "relative L2 error {:.2e}, largest error {:.2e}".format(*self.before)),
            ("trained", f"{what} on layers {listed(self.ranks)}: {self.size} of {net.size} numbers, {share:.0%}"),
            ("steps", f"{self.steps} of {METHODS[self.method]} on every grid: {grids} intervals"),
        ]
        return "\n".join(f"{what:<12}{text}" for what, text in lines)

    def corrections(self, times):
        """The network of the terms D_h b_h alone, spans 2^times as wide as the base's, D_h full."""
        layers = []
        for l, layer in enumerate(lotra.freeze(*self.base[1:3])[0].layers):
            term = Linear(zero, Fixed(np.zeros((layer.sums, layer.inputs, 1))))
            if l in self.ranks:
                basis, mask = _coarser(self._spline(l).basis, times), getattr(self._spline(l).weights, "mask", None)
                weights = Full((layer.sums, layer.inputs, basis.size))
                term = Linear(basis, weights if mask is None else Masked(weights, mask))
            layers.append(replace(layer, terms={TERM: term}))
        return KAN(tuple(layers))

    def start(self, loss):
        """The coarsest corrections with a theta that makes them zero; loss: of the networks of corrections."""
        net = self.corrections(self.depth)
        theta = np.zeros(net.size)
        if self.method == "full":
            return net, theta
        gradient = loss(net)(theta)[1]
        layers = tuple(self.ranks)
        return lotra.adapt(net, theta, self.ranks, start="gradient", gradient=gradient, layers=layers, terms=(TERM,))

    def run(self, *, minutes=None, seed=0, progress=False):
        """Train. Returns `Adapted`; arguments as those of `adapt`."""
        began, (_, base, theta, hard) = perf_counter(), self.base
        frozen = lotra.freeze(base, theta)[0]
        whole = cache(lambda net: _beside(frozen, net))
        of = solve.loss_of(self.problem, self.plan, integer(seed, "seed", 0))
        loss = lambda net: of(whole(net))
        watch = Watch(self.problem, hard, self.intervals[0], (self.steps,) * (self.depth + 1), minutes, progress, whole)
        start = self.start(loss)
        solved = solve.train(watch, *start, loss, self._stages(start[0]), began)
        net, vector, adapter = self._placed(solved)
        merged, weights = lotra.merge(net, vector)
        return Adapted(self, replace(solved, net=merged, theta=weights), net, vector, adapter)

    def _stages(self, net):
        """A minimiser for every grid, `net` on the coarsest."""
        if self.method != "adam":
            return [least_squares(self.steps, damping=DAMPING)] * (self.depth + 1)
        nets = [dyadic(net, "fine", times).fine for times in range(self.depth + 1)]
        rates = [lotra.rates(net, self.rate / 2**times) for times, net in enumerate(nets)]
        return [partial(optimize.adam, steps=self.steps, rate=schedules.cosine(rate, self.steps)) for rate in rates]

    def _placed(self, solved):
        """Network, theta and `Adapter` (None for "full") on the base's own grid."""
        _, base, theta, hard = self.base
        up = dyadic(solved.net, "fine", self.depth + 1 - len(solved.levels))  # of a run that ended early
        corrections, found = up.fine, up.prolong(solved.theta)
        if self.method != "full":
            about = {"problem": self.problem.name, "parameters": self.problem.parameters, "hard": hard}
            kept = adapters.detach(corrections, found)
            adapter = replace(kept, base=adapters.fingerprint(base, theta), about=about)
            return *adapters.attach(base, theta, adapter), adapter
        net, vector = lotra.merge(base, theta)
        mine = net.split(vector)
        for name, D in corrections.split(found).items():
            mine[name] += D
        return net, vector, None

    def _spline(self, l):
        return self.base[1].layers[l].terms[TERM]


def _coarser(basis, times):
    """B-splines with spans 2^times as wide on the same domain."""
    if not times:
        return basis
    return BSpline.uniform(basis.inputs, basis.intervals >> times, basis.degree, *basis.domain.T, basis.outside)


def _beside(frozen, corrections):
    """Both in one network: in every layer the frozen terms and the correction."""
    more = [{BESIDE: layer.terms[TERM]} if layer.arrays else {} for layer in corrections.layers]
    return KAN(tuple(replace(layer, terms={**layer.terms, **own}) for layer, own in zip(frozen.layers, more)))


@dataclass(frozen=True, eq=False)
class Adapted:
    """A network on its new problem.

    task: what was to be done; solved: the new problem with the merged network, an ordinary one, and how training went;
    net, theta: the frozen base with its adapters (the merged network for "full"); adapter: by itself, None for "full".
    """

    task: Task
    solved: Solved
    net: KAN
    theta: np.ndarray
    adapter: adapters.Adapter | None

    def __call__(self, x):
        """u at points x (N, n): (N,)."""
        return self.solved(x)

    @property
    def errors(self):
        """Relative L2 error and largest error on the new problem."""
        last = self.solved.levels[-1]
        return last.L2, last.largest

    @property
    def interrupted(self):
        """Whether Ctrl-C ended training."""
        return self.solved.interrupted

    def table(self):
        """Every grid in a line; parameters are those that were trained."""
        return self.solved.table()

    def verdict(self):
        """The errors before and after, how training ended, and what would go further, in a sentence."""
        task, solved, (L2, largest) = self.task, self.solved, self.errors
        end = "; interrupted" if solved.interrupted else "; the minutes were used up" if solved.late else ""
        if not end and L2 > UNSOLVED:
            end = "; not solved: the equations differ too much, solve the new one by itself"
        elif not end and L2 > FAR * task.own[0]:
            more = "more steps" if task.method == "full" else "larger ranks, all weights (full)"
            end = f"; the base has {task.own[0]:.2e} on its own problem: {more}, or solving anew may come nearer"
        return (
            f"relative L2 error {task.before[0]:.2e} before, {L2:.2e} after, largest error {largest:.2e}, "
            f"after {solved.seconds:.0f} seconds{end}"
        )

    def plot(self):
        """Solution, reference, error, residual and the course of training, a `matplotlib.figure.Figure`."""
        return self.solved.plot()

    def write(self, folder):
        """Write adapter.safetensors (not for "full"), model.safetensors and fields.png as `Solved.write`. Returns
        {path: what it is}."""
        written = self.solved.write(folder)
        if self.adapter is None:
            return written
        path = Path(folder) / ADAPTER
        adapters.save_adapter(path, self.adapter)
        return {path: f"the adapter alone, {self.adapter.size} numbers, for kanref.adapt.load"} | written


def prepare(base, problem, *, method="lm", ranks=None, layers=None, steps=None, rate=None, points=None):
    """The `Task` of adapting `base` to `problem`; arguments as those of `adapt`."""
    solved, net, theta, hard = base = _opened(base)
    choice(method, "method", METHODS)
    if (solved.name, solved.parameters) == (problem.name, problem.parameters) and problem.name in PROBLEMS:
        raise ValueError(f"the base solves {_named(problem)} already; give a parameter another value")
    _fits(solved, problem, net, hard)
    if method == "full" and ranks is not None:
        raise ValueError('ranks bound adapters, but method "full" has none; leave ranks out')
    if method != "adam" and rate is not None:
        raise ValueError(f'rate is for method "adam", but method is "{method}"; leave it out')
    if rate is not None and not 0 < rate < np.inf:
        raise ValueError(f"rate must be above 0, but it is {rate}")
    chosen = sorted(chosen_layers(net, layers))
    if not chosen:
        raise ValueError("layers must name at least one layer, but it is empty")
    bases = {l: _basis(net, l) for l in chosen}
    if taken := [l for l in chosen if BESIDE in net.layers[l].terms]:
        raise ValueError(f"layer {taken[0]} has a term named {BESIDE!r}, the name of the terms that adapt adds; rename it")
    depth = _depth(bases.values())
    ranks = (RANKS if ranks is None else ranks,) * 3 if np.ndim(ranks) == 0 else tuple(ranks)
    if len(ranks) != 3:
        raise ValueError(f"ranks must be one number or three, (r_out, r_in, r_basis), but they are {ranks}")
    ranks = [integer(rank, "every one of ranks", 1) for rank in ranks]
    sizes = {l: (net.layers[l].sums, net.layers[l].inputs, _coarser(basis, depth).size) for l, basis in bases.items()}
    cut = {l: None if method == "full" else tuple(map(min, ranks, sizes[l])) for l in chosen}
    steps = integer(STEPS[method] if steps is None else steps, "steps", 1)
    plan = solve.plan_of(problem, points=points, hard=hard)
    own, before = solved.errors(net, theta, hard=hard), problem.errors(net, theta, hard=hard)
    return Task(base, problem, plan, method, cut, steps, RATE if rate is None else rate, depth, own, before)


def adapt(base, problem, *, minutes=None, seed=0, progress=False, **choices):
    """Adapt a network that solves one problem to another one of the same kind. Returns `Adapted`.

    base: the file or the folder that `kanref solve` or `kanref adapt` wrote, or `Solved`, or `Adapted`, or what `solve.load`
    returns; problem: `solve.make("heat", {"diffusivity": 0.2})`; or another problem with the same coordinates and domain, and
    the same embedding if there is one.
    choices: method: "lm", "adam" or "full", see above; ranks: of the adapters, one number for all modes or (r_out, r_in,
    r_basis), cut to the sizes of the modes on the coarsest grid; layers: which, all for None; steps: on every grid; rate: of
    Adam on the coarsest grid, halved from grid to grid; points: {part: N}, needed for a problem of your own.
    minutes: time allowed for training; seed: of the points; progress: show bars. Ctrl-C ends training with the best so far.
    """
    return prepare(base, problem, **choices).run(minutes=minutes, seed=seed, progress=progress)


def load(base, adapter):
    """The problem, the network with its adapters, its theta, and whether conditions are built in.

    base: the file or folder of the network that was adapted; adapter: the file or folder that `Adapted.write` wrote. A base
    may have any number of adapters. ValueError if the adapter was made for another network.
    """
    _, net, theta, _ = solve.load(base)
    path = Path(adapter) / ADAPTER if Path(adapter).is_dir() else adapter
    kept = adapters.load_adapter(path)
    about = kept.about
    if not {"problem", "parameters", "hard"} <= about.keys() or about["problem"] not in PROBLEMS:
        own = f"the problem {about['problem']} of your own" if "problem" in about else "no problem"
        raise io.FileError(f"{path} holds an adapter for {own}; use kanref.adapters.load_adapter")
    try:
        net, vector = adapters.attach(net, theta, kept)
    except ValueError as error:
        raise ValueError(f"{path} does not belong to {base}: {error}") from None
    return solve.make(about["problem"], about["parameters"]), net, vector, about["hard"]


def _opened(base):
    """Problem, network, theta, whether conditions are built in."""
    if isinstance(base, Adapted):
        base = base.solved
    if isinstance(base, Solved):
        return base.problem, base.net, base.theta, base.hard
    return base if isinstance(base, tuple) else solve.load(base)


def _told(problem):
    return ", ".join(f"{name} = {value:g}" for name, value in problem.parameters.items())


def _named(problem):
    return f"{problem.name} with {_told(problem)}" if problem.parameters else problem.name


def _fits(solved, problem, net, hard):
    """ValueError unless a network for one problem can be one for the other."""
    place = lambda p: f"{p.name} has {p.inputs or len(p.coordinates)} inputs from {', '.join(p.coordinates)} on {p.domain}"
    embedding = lambda p: getattr(p.function(net, hard), "embedding", None)
    if hard and problem.hard is None:
        raise ValueError(
            f"the base has its conditions built in, but {problem.name} has no hard conditions; solve it by itself"
        )
    if place(solved) != place(replace(problem, name=solved.name)) or embedding(solved) is not embedding(problem):
        other = "" if solved.domain != problem.domain else "; what the networks are given of the coordinates must agree, too"
        raise ValueError(
            f"the base cannot be adapted, as {place(solved)}, but {place(problem)}{other}; solve {problem.name} by itself"
        )


def _basis(net, l):
    """The B-splines of a layer."""
    basis = getattr(net.layers[l].terms.get(TERM), "basis", None)
    if not isinstance(basis, BSpline):
        raise ValueError(
            f"layer {l} has no B-splines named {TERM!r} with fixed knots, which adapters go on; the network is\n{net!r}"
        )
    return basis


def _depth(bases):
    """How often the spans of all can be doubled."""
    if not all((basis.steps > 0).all() for basis in bases):
        return 0
    fits = lambda times: all(b.intervals % 2**times == 0 and b.intervals >> times >= COARSEST for b in bases)
    return max(times for times in range(12) if fits(times) or not times)
