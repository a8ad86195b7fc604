"""Poisson's equation with a jump of the coefficient, across levels (multilevel paper, section 5, Fig. 6).

The paper: the problem of `pde.poisson_jump`; points are those of an even 51 x 51 grid, 2401 inside, 200 on the boundary, 49 at
the interface; weights 0.01, 1 and 0.1. A KAN [2, 5, 1] of cubic B-splines alone with the level set |x| as a third input, on 4,
8, 16, 32 intervals: 140, 220, 380, 700 parameters; an MLP that the paper calls [2, 16, 16, 1], with 352 ([3, 16, 16, 1]).
Adam with rate 1e-2, ramped up from 1e-4 in ten steps at the start and after every refinement, residual-based attention with
mu = 1e-4, 1250 steps on each of four levels.
It shows curves of the relative L2 error and prints no numbers.

What it leaves open: whether the loss has sums or means (here means; with sums the boundary weighs twelve times less beside the
equation, and errors are larger), what becomes of hidden values outside the knots (nothing: splines end there), the MLP's
activation (tanh; 352 parameters are without the bias of the output, which is trained here). "relu" trains the same KAN by the
weights of its power ReLUs (`InBasis`). Adam's last iterate counts.

Rows with L-BFGS have the paper's 1250 evaluations on each level; rows with LM, Levenberg-Marquardt, have far fewer steps, which
cost more each: compare seconds. Attention is for Adam; the others minimise one function.

The limit of the paper's set-up is not the optimiser alone: on 32 intervals, splines of x and of |x| have more coefficients for
x > 0 than the grid has lines there, so a loss at the grid's points can be made small with errors between the lines. "Sobol" rows
have as many points, no two of them on one line, and hard boundary conditions. The rows "best" have moreover hidden knots moved
to the activations before every level, and a start that is the best by its loss of several, trained on the two coarsest levels
(`seconds` and `evaluations` count them all); "best" itself is of degree 5, whose second derivatives are smooth.

Errors are relative L2 on an even grid of 101 x 101 points.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from time import process_time

import numpy as np

from kanref import grids, optimize
from kanref.mlp import mlp
from kanref.mlp import start as mlp_start
from kanref.multilevel.nested import Stage, least_squares, nested
from kanref.multilevel.relu_form import in_relus
from kanref.network import kan
from kanref.optimize import schedules
from kanref.papers.experiment import cells, finished, rounded
from kanref.pde.poisson_jump import grid, poisson_jump
from kanref.pde.weighting import Attention
from kanref.words import aligned

PROBLEM = poisson_jump()
PAPER = {4: 140, 8: 220, 16: 380, 32: 700}  # parameters
SEEDS = (0, 1, 2)
SETUP = {"degree": 3, "count": 51, "kind": "grid", "hard": False}  # the paper's
SOBOL = SETUP | {"kind": "sobol", "hard": True}
BEST = SOBOL | {"degree": 5}
PLAN = {
    "rows": {  # form, optimiser, steps on every level, set-up
        "multilevel": ("spline", "adam", (1250, 1250, 1250, 1250), SETUP),
        "coarse": ("spline", "adam", (5000, 0, 0, 0), SETUP),
        "fine": ("spline", "adam", (0, 0, 0, 5000), SETUP),
        "relu multilevel": ("relu", "adam", (1250, 1250, 1250, 1250), SETUP),
        "MLP [3, 16, 16, 1]": ("mlp", "adam", (5000,), SETUP),
        "multilevel, L-BFGS": ("spline", "lbfgs", (1250, 1250, 1250, 1250), SETUP),
        "multilevel, LM": ("spline", "lm", (30, 30, 30, 30), SETUP),
        "multilevel, LM, Sobol": ("spline", "lm", (30, 30, 30, 30), SOBOL),
        "MLP, LM, Sobol": ("mlp", "lm", (150,), SOBOL),
    },
    "best": {  # set-up, starts, L-BFGS and LM steps of every start on two levels, LM steps from the second level on
        "best, cubic": (SOBOL, 4, 100, (20, 20), (20, 30, 30)),
        "best": (BEST, 4, 100, (20, 20), (20, 30, 30)),
    },
    "mesh": 101,
}
COSTLY = ("coarse", "fine", "relu multilevel", "MLP [3, 16, 16, 1]")  # two seeds
SHORT = PLAN | {
    "rows": {
        name: (form, method, tuple(count // (60 if method != "lm" else 5) for count in steps[:3]), setup | {"count": 21})
        for name, (form, method, steps, setup) in PLAN["rows"].items()
        if name not in ("coarse", "fine")
    },
    "best": {"best": (BEST | {"count": 21}, 2, 60, (15, 15), (15,))},
    "mesh": 41,
}
SHOWN = ("multilevel", "multilevel, LM", "best")  # rows whose errors are drawn
FIELD = 51  # points of a field each way
TRACE = 60  # points of a training curve at most
EVERY = {"adam": 50, "lbfgs": 50, "lm": 2}  # steps from one look at the error to the next
LOOKS = {  # colour and line of every row
    "multilevel": ("#D55E00", "-"),
    "coarse": ("#0072B2", "-"),
    "fine": ("#009E73", "-"),
    "relu multilevel": ("#D55E00", ":"),
    "MLP [3, 16, 16, 1]": ("#E69F00", "--"),
    "multilevel, L-BFGS": ("#CC79A7", "-"),
    "multilevel, LM": ("#56B4E9", "-"),
    "multilevel, LM, Sobol": ("#56B4E9", "--"),
    "MLP, LM, Sobol": ("#8C6D1F", "--"),
    "best, cubic": ("#222222", "--"),
    "best": ("#222222", "-"),
}


# ------------------------------------------------------------------------------------------------------------- set-ups


def points(setup=SETUP):
    """{part: points}: the paper's, or as many Sobol points inside and on the boundary."""
    even = grid(setup["count"])
    if setup["kind"] == "grid":
        return even
    return even | PROBLEM.points({part: len(even[part]) for part in ("equation", "boundary")}, "sobol")


def network(intervals=4, setup=SETUP):
    """The KAN on any number of intervals: structure alone."""
    return kan([3, 5, 1], intervals=intervals, degree=setup["degree"], base=None)


def loss(net, setup=SETUP, attention=None):
    """The objective of a network at the set-up's points; attention: a weighting of those inside."""
    return PROBLEM.objective(net, points(setup), setup["hard"], attention and {"equation": attention})


def start(seed, setup=SETUP):
    """The coarsest network and a random theta."""
    net = network(4, setup)
    return net, net.init(seed)


# ------------------------------------------------------------------------------------------------------------- training


@dataclass
class Watch:
    """A callback that keeps rows [evaluations, loss, L2, seconds]; looking at errors takes none of the seconds."""

    setup: dict
    x: np.ndarray
    every: int
    rows: list = field(default_factory=list)
    levels: list = field(default_factory=list)
    began: float = field(default_factory=process_time)
    before: int = 0

    def __call__(self, net, state, work=None):
        if state.step % self.every == 0:
            now = process_time()
            L2, _ = PROBLEM.errors(net, state.theta, self.x, self.setup["hard"])
            self.rows.append([self.before + state.evaluations, state.value, L2, now - self.began])
            self.began += process_time() - now

    def ended(self, net, result):
        """A level [intervals, parameters, loss, L2, largest error, evaluations, seconds] that was trained to its end."""
        now, self.before = process_time(), self.before + finished(result).evaluations
        basis = getattr(net.layers[0].terms.get("spline"), "basis", None)
        errors = PROBLEM.errors(net, result.theta, self.x, self.setup["hard"])
        level = [basis.intervals if basis else 0, net.size, result.value, *errors, self.before, now - self.began]
        self.levels.append(rounded(level, 5))
        self.began += process_time() - now


def minimiser(method, steps):
    """The optimiser of a stage."""
    if method == "lm":
        return least_squares(steps)
    if method == "lbfgs":
        return partial(optimize.lbfgs, steps=steps, evaluations=steps)
    return partial(optimize.adam, steps=steps, rate=schedules.warmup(1e-2, 1e-4, 10), keep="last")


def by_schedule(row, seed, watch):
    """The network and theta of a row of the paper's kind; levels go to `watch`."""
    form, method, steps, setup = row
    first = next(l for l, count in enumerate(steps) if count)
    net = mlp([3, 16, 16, 1]) if form == "mlp" else network(4 * 2**first, setup)
    theta = mlp_start(net, seed) if form == "mlp" else net.init(seed)
    if form == "relu":
        net, theta = in_relus(net, theta)
    attention = Attention(len(points(setup)["equation"])) if method == "adam" else None
    for l, count in enumerate(steps[first:]):
        if count:
            stage = Stage(minimiser(method, count))
            if l:
                net, theta = grids.refine(net, theta, exterior="fine")
            done = nested(net, theta, partial(loss, setup=setup, attention=attention), [stage], callback=watch)
            watch.ended(net, done.levels[0].result)
            theta = done.theta
    return net, theta


def as_well_as_possible(row, seed, watch):
    """The network and theta of a row "best"."""
    setup, starts, first, coarse, steps = row
    x = points(setup)["equation"]
    x = np.column_stack([x, np.abs(x[:, 0])])

    def level(net, theta, minimise, refine):
        """Knots halved, if wanted, and moved to the activations; then training."""
        net, theta = grids.refine(net, theta, refine, exterior="fine")
        net, theta = grids.update_from_samples(net, theta, x)[:2]
        result = minimise(loss(net, setup), theta, callback=partial(watch, net))
        watch.ended(net, result)
        return net, result.theta, result.value

    candidates = []
    for k in range(starts):
        watch.levels = []
        trained = level(*start(100 * seed + k, setup), minimiser("lbfgs", first), 0)
        for l, count in enumerate(coarse):
            trained = level(*trained[:2], minimiser("lm", count), int(l > 0))
        candidates.append((trained, watch.levels))
    trained, watch.levels = min(candidates, key=lambda candidate: candidate[0][2])
    for l, count in enumerate(steps):
        trained = level(*trained[:2], minimiser("lm", count), int(l > 0))
    return trained[:2]


def train(key, plan):
    """The record of a key "ROW / SEED": levels, see `Watch.ended`; trace [evaluations, loss, L2, seconds]; and for the first
    seed of some rows the error on an even grid."""
    name, seed = key.rsplit(" / ", 1)
    best = name in plan["best"]
    row = plan["best" if best else "rows"][name]
    setup, method = (row[0], "lm") if best else (row[3], row[1])
    watch = Watch(setup, PROBLEM.mesh(plan["mesh"]), EVERY[method])
    net, theta = (as_well_as_possible if best else by_schedule)(row, int(seed), watch)
    kept = np.unique(np.linspace(0, len(watch.rows) - 1, TRACE).round().astype(int))
    record = {"levels": watch.levels, "trace": [rounded(watch.rows[i], 4) for i in kept]}
    if name in SHOWN and int(seed) == SEEDS[0]:
        x = PROBLEM.mesh(FIELD)
        u = PROBLEM.function(net, setup["hard"])(theta, x)[:, 0]
        record["field"] = rounded(u - PROBLEM.reference(x), 3)
    return record


# -------------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the table. Writes jump.json and jump.png.

    short: one seed, three levels, few points and steps, in jump-short.json.
    """
    plan = SHORT if short else PLAN
    stem = os.path.join(folder, "jump-short" if short else "jump")
    seeds = {name: SEEDS[: 1 if short else 2 if name in COSTLY else 3] for name in (*plan["rows"], *plan["best"])}
    keys = [f"{name} / {seed}" for seed in SEEDS for name in reversed(seeds) if seed in seeds[name]]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {name: [done[f"{name} / {seed}"] for seed in seeds[name]] for name in seeds}
    draw(results).savefig(f"{stem}.png", dpi=150)
    return text(results)


def text(results):
    """Errors, evaluations and seconds of every row; below, errors after every level."""
    rows = [("", "seeds", "parameters", "loss", "L2", "best", "worst", "largest", "evaluations", "seconds")]
    levels = [("L2 after", "n = 4", "8", "16", "32")]
    for name, runs in results.items():
        _, size, value, L2, top, evaluations, seconds = np.array([run["levels"][-1] for run in runs]).T
        errors = [f"{e:.1e}" for e in (np.median(value), np.median(L2), L2.min(), L2.max(), np.median(top))]
        rows.append((name, len(runs), f"{size[0]:.0f}", *errors, f"{np.median(evaluations):.0f}", f"{np.median(seconds):.0f}"))
        after = [{int(level[0]): level[3] for level in run["levels"]} for run in runs]
        medians = [f"{np.median([a[n] for a in after]):.1e}" if n in after[0] else "-" for n in PAPER]
        if runs[0]["levels"][0][0]:
            levels.append((name, *medians))
    sizes = ", ".join(f"{size} on {n} intervals" for n, size in PAPER.items())
    return (
        f"Relative L2 error, medians; the paper prints none. Its parameters: {sizes}; MLP 352\n"
        f"{aligned(rows)}\n\n{aligned(levels)}"
    )


def draw(results):
    """Errors against evaluations and against seconds, all seeds; below, the solution, and errors of the rows `SHOWN`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(13.5, 7.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    left, right, legend = top.subplots(1, 3, width_ratios=(1, 1, 0.36))
    for name, runs in results.items():
        colour, line = LOOKS[name]
        for k, run in enumerate(runs):
            evaluations, _, L2, _ = np.array(run["trace"]).T
            look = {"color": colour, "ls": line, "lw": 1}
            if "LM" not in name and "best" not in name:
                left.semilogy(evaluations, L2, **look)
            levels = np.array(run["levels"])
            right.loglog(levels[:, 6], levels[:, 3], marker=".", label=None if k else name, **look)
    left.set(title="relative L2 error by evaluations: Adam, L-BFGS", xlabel="evaluations")
    right.set(title="after every level, by time (all starts of the best)", xlabel="processor seconds")
    right.xaxis.set_minor_formatter(NullFormatter())
    for axes in (left, right):
        axes.axhline(1e-3, color="0.6", lw=0.8, zorder=0)
        axes.grid(alpha=0.25)
    legend.axis("off")
    legend.legend(*right.get_legend_handles_labels(), frameon=False, loc="center", fontsize=8)
    shown = [("u", PROBLEM.reference(PROBLEM.mesh(FIELD)))]
    shown += [(f"error: {name}", np.array(results[name][0]["field"])) for name in SHOWN]
    fields = bottom.subplots(1, len(shown), sharey=True)
    fields[0].set_ylabel("y")
    for axes, (title, values) in zip(fields, shown):
        reach = np.abs(values).max()
        square = {"origin": "lower", "extent": (-1, 1, -1, 1), "cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        image = axes.imshow(values.reshape(FIELD, FIELD).T, **square)
        axes.set(title=title, xlabel="x")
        bottom.colorbar(image, ax=axes, shrink=0.8, ticks=(-reach, 0, reach), format="%.0e" if reach < 0.5 else "%.1f")
    return figure
