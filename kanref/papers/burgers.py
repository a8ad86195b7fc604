"""Burgers' equation across levels (multilevel paper, section 5 and its supplement), and how well it can be solved.

The paper: nu = 1e-2, 64 x 64 points in space and time, 64 on the initial line, weights 1 and 1, full batch; a KAN [2, 20, 20, 1]
of B-splines alone and MLPs; Adam, rate 1e-3 in exponential cycles of 100 steps with decay 0.9995; steps on 5, 10 and 20
intervals: coarse [3200, 0, 0], fine [0, 0, 800], multilevel [800, 400, 200]. It prints means of training losses.

What it leaves open, and what is done here: domain and data as in `pde.burgers`. Boundary: the mean of u^2 at 64 points on the
sides, added with weight 1, without which the problem has many solutions. The parameter counts 3400 and 9700 decode as a linear
first layer without bias and cubic splines after it; hidden values go through tanh to the domain [-1, 1]. How its Adam was
"weight-regularised" is not said: this one is not. MLPs: tanh, with an output bias, 1400 steps, as many as multilevel has.
"relu" trains the same KANs by the weights of their power ReLUs (`InBasis`). Adam's last iterate counts.

Rows with L-BFGS (50 pairs) have the paper's numbers of steps as numbers of evaluations. A loss on 64 x 64 points hardly sees
the front, which is as wide as their distance, so small losses come with errors of per cents there. The rows "best" are meant
for the error: conditions by construction, points that crowd at x = 0, a smaller network of degree 5 whose first knots crowd
there too, Levenberg-Marquardt on every level; beside it an MLP with everything it can use of that.

Errors are against Cole-Hopf on an even mesh of 201 x 201 points. Work is evaluations times 2^level, the paper's unit; an
evaluation of local splines costs as much on every level, so seconds (of one processor, training alone) are there too.
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
from kanref.pde.burgers import burgers
from kanref.words import aligned

PROBLEM = burgers(nu=0.01)
PAPER = {  # mean and standard deviation of the training loss
    "coarse": (6.635e-3, 4.060e-3),
    "fine": (4.072e-3, 2.514e-3),
    "multilevel": (2.402e-5, 1.897e-5),
    "MLP [2, 20, 20, 1]": (2.334e-2, 1.740e-3),
    "MLP [2, 56, 56, 1]": (1.734e-2, 7.989e-3),
}
SEEDS = (1234, 1244, 1254, 1264, 1274)
SETUP = {  # the paper's
    "widths": (2, 20, 20, 1),
    "intervals": 5,
    "degree": 3,
    "first": "linear",
    "normalise": "tanh",
    "points": {"equation": 4096, "initial": 64, "left": 32, "right": 32},
    "hard": False,
}
BEST = {
    "widths": (2, 5, 5, 1),
    "intervals": 5,
    "degree": 5,
    "first": "spline",
    "normalise": "tanh",
    "points": (96, 48, 3.0),  # in x, in t, stretch
    "hard": True,
}
PLAN = {
    "paper": SETUP,
    "rows": {  # form or widths of an MLP, optimiser, steps on every level
        "coarse": ("spline", "adam", (3200, 0, 0)),
        "fine": ("spline", "adam", (0, 0, 800)),
        "multilevel": ("spline", "adam", (800, 400, 200)),
        "relu multilevel": ("relu", "adam", (800, 400, 200)),
        "MLP [2, 20, 20, 1]": ((2, 20, 20, 1), "adam", (1400,)),
        "MLP [2, 56, 56, 1]": ((2, 56, 56, 1), "adam", (1400,)),
        "multilevel, L-BFGS": ("spline", "lbfgs", (800, 400, 200)),
        "relu multilevel, L-BFGS": ("relu", "lbfgs", (800, 400, 200)),
    },
    "setup": BEST,
    "best": {  # L-BFGS steps at first, then Levenberg-Marquardt steps on every level
        "best, KAN": (None, 200, (60, 60, 30)),
        "best, MLP": ((2, 20, 20, 1), 500, (150,)),
    },
    "mix": 0.3,  # of uniform knots and quantiles, in the first layer
    "mesh": 201,
}
RUNS = {  # how many of the seeds
    "coarse": 1,
    "fine": 5,
    "multilevel": 5,
    "relu multilevel": 1,
    "MLP [2, 20, 20, 1]": 3,
    "MLP [2, 56, 56, 1]": 1,
    "multilevel, L-BFGS": 5,
    "relu multilevel, L-BFGS": 3,
    "best, KAN": 5,
    "best, MLP": 3,
}
SHORT = PLAN | {
    "paper": SETUP | {"widths": (2, 4, 4, 1), "points": {"equation": 256, "initial": 16, "left": 8, "right": 8}},
    "rows": {
        "coarse": ("spline", "adam", (160, 0, 0)),
        "multilevel": ("spline", "adam", (40, 20, 10)),
        "relu multilevel": ("relu", "adam", (40, 20, 10)),
        "MLP [2, 20, 20, 1]": ((2, 20, 20, 1), "adam", (70,)),
        "multilevel, L-BFGS": ("spline", "lbfgs", (40, 20, 10)),
    },
    "setup": BEST | {"widths": (2, 4, 4, 1), "points": (40, 16, 3.0)},
    "best": {"best, KAN": (None, 60, (20, 10)), "best, MLP": ((2, 8, 8, 1), 60, (20,))},
    "mesh": 61,
}
SHOWN = ("multilevel, L-BFGS", "best, KAN")  # rows whose errors and residuals are drawn
FIELD = (49, 31, 3.0)  # points that fields are drawn on
TRACE = 24  # points of a training curve
LOOKS = {  # colour and line of every row
    "coarse": ("#0072B2", "-"),
    "fine": ("#009E73", "-"),
    "multilevel": ("#D55E00", "-"),
    "relu multilevel": ("#D55E00", ":"),
    "MLP [2, 20, 20, 1]": ("#E69F00", "--"),
    "MLP [2, 56, 56, 1]": ("#8C6D1F", "--"),
    "multilevel, L-BFGS": ("#CC79A7", "-"),
    "relu multilevel, L-BFGS": ("#CC79A7", ":"),
    "best, KAN": ("#222222", "-"),
    "best, MLP": ("#222222", "--"),
}


# ------------------------------------------------------------------------------------------------------------- set-ups


def points(setup=SETUP):
    """{part: points}: the paper's even grids, or for numbers (in x, in t, stretch) those of `crowded`."""
    given = setup["points"]
    return PROBLEM.points(given) if isinstance(given, dict) else {"equation": crowded(*given)}


def crowded(in_x, in_t, stretch):
    """Points (in_x in_t, 2) of a grid, sides included, that is even in t and in arsinh(sinh(stretch) x)/stretch."""
    x = np.sinh(stretch * np.linspace(-1, 1, in_x)) / np.sinh(stretch)
    return np.stack(np.meshgrid(x, np.linspace(0, 1, in_t), indexing="ij"), -1).reshape(-1, 2)


def network(intervals=5, setup=SETUP):
    """A KAN of the set-up on any number of intervals: structure alone."""
    options = {name: setup[name] for name in ("degree", "first", "normalise")}
    return kan(list(setup["widths"]), intervals=intervals, base=None, outside="linear", **options)


def loss(net, setup=SETUP):
    """The objective of a network at the set-up's points."""
    return PROBLEM.objective(net, points(setup), setup["hard"])


def start(seed, setup=SETUP):
    """The coarsest network and a random theta."""
    net = network(setup["intervals"], setup)
    return net, net.init(seed)


def perceptron(widths, seed):
    """An MLP and a random theta."""
    net = mlp(list(widths))
    return net, mlp_start(net, seed)


# ------------------------------------------------------------------------------------------------------------- training


@dataclass
class Watch:
    """A callback of `nested` that keeps rows (parameters, work, loss, seconds); several runs follow one another."""

    rows: list = field(default_factory=list)
    before: float = 0.0
    unit: float = 1.0
    began: float = field(default_factory=process_time)

    def __call__(self, net, state, work):
        self.rows.append((net.size, self.before + self.unit * work, state.value, process_time() - self.began))


def minimiser(method, steps):
    """The optimiser of a stage."""
    if method == "lbfgs":
        return partial(optimize.lbfgs, steps=steps, evaluations=steps, history=50)
    return partial(optimize.adam, steps=steps, rate=schedules.cyclic(1e-3, 100, 0.9995), keep="last")


def by_schedule(row, seed, plan, watch):
    """Levels (2^l, network, theta) of a row of the paper's table; without safeguard, which would spend more evaluations."""
    form, method, steps = row
    first = next(l for l, count in enumerate(steps) if count)
    setup = plan["paper"]
    if form in ("spline", "relu"):
        net = network(setup["intervals"] * 2**first, setup)
        theta = net.init(seed)
        if form == "relu":
            net, theta = in_relus(net, theta)
    else:
        net, theta = perceptron(form, seed)
    watch.unit = 2**first
    stages = [Stage(minimiser(method, count)) for count in steps[first:] if count]
    done = finished(nested(net, theta, partial(loss, setup=setup), stages, safeguard=False, callback=watch))
    return [(2 ** (first + k), level.net, level.theta) for k, level in enumerate(done.levels)]


def as_well_as_possible(row, seed, plan, watch):
    """Levels (2^l, network, theta) of a row "best"."""
    widths, first, steps = row
    setup = plan["setup"]
    train = partial(nested, loss=partial(loss, setup=setup), callback=watch)
    net, theta = start(seed, setup) if widths is None else perceptron(widths, seed)
    done = finished(train(net, theta, stages=[partial(optimize.lbfgs, steps=first, evaluations=first)]))
    net, theta, watch.before = done.net, done.theta, done.work
    if widths is None:
        net, theta = grids.update_from_samples(net, theta, points(setup)["equation"], mix=plan["mix"], layers=[0])[:2]
    stages = [Stage(least_squares(count), refine=int(l > 0)) for l, count in enumerate(steps)]
    done = finished(train(net, theta, stages=stages))
    return [(2**l, level.net, level.theta) for l, level in enumerate(done.levels)]


def train(key, plan):
    """The record of a key "ROW / SEED": levels [2^l, parameters, loss, L2, largest error, work, seconds], trace [work, loss],
    and for the first seed of some rows fields of error and residual at the points `FIELD`."""
    name, seed = key.rsplit(" / ", 1)
    watch, best = Watch(), name in plan["best"]
    setup, recipe = (plan["setup"], as_well_as_possible) if best else (plan["paper"], by_schedule)
    reached = recipe(plan["best" if best else "rows"][name], int(seed), plan, watch)
    levels, mesh, hard = [], PROBLEM.mesh(plan["mesh"]), setup["hard"]
    for l, net, theta in reached:
        work, seconds = [(row[1], row[3]) for row in watch.rows if row[0] == net.size][-1]
        value = loss(net, setup).value(theta)
        levels.append([l, net.size, *rounded([value, *PROBLEM.errors(net, theta, mesh, hard), work, seconds], 5)])
    record = {"levels": levels, "trace": [rounded(row[1:3], 4) for row in thinned(watch.rows, TRACE)]}
    if name in SHOWN and int(seed) == SEEDS[0]:
        x = crowded(*FIELD)
        record["error"] = rounded(PROBLEM.function(net, hard)(theta, x)[:, 0] - PROBLEM.reference(x), 3)
        record["residual"] = rounded(PROBLEM.residual(net, theta, x, hard)[:, 0], 3)
    return record


def thinned(rows, count):
    """Up to `count` rows, the first and the last among them, evenly in the logarithm of their index."""
    return [rows[i] for i in np.unique(np.geomspace(1, len(rows), count).round().astype(int) - 1)]


# -------------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the table. Writes burgers.json and burgers.png.

    short: one seed, small networks, few points and steps, in burgers-short.json.
    """
    plan = SHORT if short else PLAN
    stem = os.path.join(folder, "burgers-short" if short else "burgers")
    seeds = {name: SEEDS[: 1 if short else RUNS[name]] for name in (*plan["rows"], *plan["best"])}
    keys = [f"{name} / {seed}" for seed in SEEDS for name in reversed(seeds) if seed in seeds[name]]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {name: [done[f"{name} / {seed}"] for seed in seeds[name]] for name in seeds}
    draw(results).savefig(f"{stem}.png", dpi=150)
    return text(results, plan)


def text(results, plan):
    """Losses, errors and times beside the paper's means; below, all seeds; below that, the levels of the best."""
    rows = [("", "seeds", "parameters", "loss", "std", "median", "paper", "std", "L2", "worst", "largest", "seconds")]
    seeds = []
    for name, runs in results.items():
        last = np.array([run["levels"][-1] for run in runs])
        _, size, value, L2, top, _, seconds = last.T
        theirs = [f"{PAPER[name][0]:.2e}", f"{PAPER[name][1]:.1e}"] if name in PAPER else ["-", "-"]
        spread = f"{value.std(ddof=1):.1e}" if len(value) > 1 else "-"
        own = [f"{value.mean():.2e}", spread, f"{np.median(value):.2e}"]
        errors = [f"{np.median(L2):.1e}", f"{L2.max():.1e}", f"{np.median(top):.1e}", f"{np.median(seconds):.0f}"]
        rows.append((name, len(runs), f"{size[0]:.0f}", *own, *theirs, *errors))
        for title, numbers in (("loss", value), ("L2", L2)):
            seeds.append((name if title == "loss" else "", title, *(f"{v:.2e}" for v in numbers), *[""] * (5 - len(runs))))
    levels = [("intervals", "parameters", "loss", "L2", "worst", "largest", "seconds")]
    best = SHOWN[1]
    for level in np.moveaxis([run["levels"] for run in results[best]], 0, 1):
        l, size, value, L2, top, _, seconds = np.median(level, 0)
        numbers = (f"{value:.1e}", f"{L2:.1e}", f"{level[:, 3].max():.1e}", f"{top:.1e}", f"{seconds:.0f}")
        levels.append((f"{plan['setup']['intervals'] * l:.0f}", f"{size:.0f}", *numbers))
    return (
        "Training loss, means beside the paper's, and errors against Cole-Hopf: relative L2, median and worst; largest, median\n"
        f"{aligned(rows)}\n\nAll seeds\n{aligned([('', '', *SEEDS), *seeds], 2)}\n\n"
        f"{best}, {list(plan['setup']['widths'])}, after each level\n{aligned(levels)}"
    )


def draw(results):
    """Losses against work under the paper's schedules, all seeds; errors against seconds; below, the solution, and, on
    symmetric logarithmic scales, errors and residuals of the rows `SHOWN`."""
    from matplotlib.colors import SymLogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(14, 7.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    curves = top.subplots(1, 3)
    groups = [], []
    for name in results:
        if not name.startswith("best"):
            groups[name.endswith("L-BFGS")].append(name)
    for axes, names, title in zip(curves, groups, ("Adam, the paper's rates", "L-BFGS, the paper's numbers of steps")):
        for name in names:
            for k, run in enumerate(results[name]):
                work, value = np.array(run["trace"]).T
                look = dict(zip(("color", "ls"), LOOKS[name])) | {"lw": 1.1, "label": None if k else name}
                axes.loglog(work[1:], value[1:], **look)
        axes.axhline(PAPER["multilevel"][0], color="0.6", lw=0.8, zorder=0)  # the paper's mean
        axes.set(title=f"training loss: {title}", xlabel="work: evaluations × 2^level")
    curves[1].sharey(curves[0])
    for name, runs in results.items():
        colour, line = LOOKS[name]
        for k, run in enumerate(runs):
            levels = np.array(run["levels"])
            curves[2].semilogy(levels[:, 6], levels[:, 3], color=colour, ls=line, lw=1, marker=".", label=None if k else name)
    curves[2].set(title="relative L2 error after every level", xlabel="processor seconds")
    for axes in curves:
        axes.grid(alpha=0.25)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=7, frameon=False)
    x = crowded(*FIELD)
    shown = [("u by Cole-Hopf", PROBLEM.reference(x), None)]
    for name in SHOWN:
        shown += [(f"{quantity}: {name}", np.array(results[name][0][quantity]), 1e-3) for quantity in ("error", "residual")]
    panels = bottom.subplots(1, len(shown), sharey=True)
    panels[0].set_ylabel("x")
    for axes, (title, values, linear) in zip(panels, shown):
        reach = np.abs(values).max()
        norm = SymLogNorm(linear * reach, vmin=-reach, vmax=reach) if linear else None
        s, t = x[:, 1].reshape(FIELD[:2]), x[:, 0].reshape(FIELD[:2])
        look = {"cmap": "RdBu_r", "shading": "gouraud", "rasterized": True}
        image = axes.pcolormesh(s, t, values.reshape(FIELD[:2]), norm=norm, **look)
        axes.set(title=f"{title}\nlargest {reach:.0e}" if linear else title, xlabel="t", xticks=(0, 0.5, 1))
        axes.title.set_fontsize(9)
        bottom.colorbar(image, ax=axes, shrink=0.9, ticks=(-reach, 0, reach), format="%.0e" if linear else "%.1f")
    return figure
