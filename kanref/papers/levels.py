"""Poisson's equation with a smooth solution, solved across levels by Levenberg-Marquardt.

    u_xx + u_yy = f on [-1, 1]^2, u = 0 on the boundary,        u = sin(pi x) sin(pi y^2)

is the problem of Liu et al., section 3.4, who report a mean squared error of 1e-7; `papers.poisson` brings their network
[2, 10, 1] to 1e-10. u = (cos(pi x - pi y^2) - cos(pi x + pi y^2))/2 is a KAN of two hidden nodes, so that nothing but the
splines limits it.

What brings the error further down, all of it here: conditions by construction, u = (1 - x^2)(1 - y^2) N, so that the loss is the
equation alone; Sobol points, four for each parameter and 1000 at least, so that the loss sees what is between the knots; splines
of degree 6, on 4, 8, 16, 32 intervals; knots moved to the activations before every refinement; Levenberg-Marquardt
on every level, after 100 L-BFGS steps on the first.

    nested        exact dyadic refinement between levels
    extension     least-squares fit to samples, as Liu et al. extend grids, on 4, 7, 15, 32 intervals
    fine          32 intervals from the start, with as many steps as cost the same
    soft          nested, with the boundary in the loss (weight 0.01 of the equation, 1 of the boundary)
    [2, 10, 1]    nested on 5, 10, 20 intervals of degree 5: the network of `papers.poisson`, 750 parameters

Work is the sum over Levenberg-Marquardt steps of residuals times parameters squared, which is what their QR costs, in units of
1e9. Errors are means over an even grid of 101 x 101 points: of (u - u*)^2 (MSE), and of that plus |grad(u - u*)|^2 (H1 squared).
Times are processor seconds of training.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from time import process_time

import numpy as np

from kanref import grids, optimize
from kanref.multilevel.nested import least_squares
from kanref.network import kan
from kanref.papers.experiment import cells, finished, rounded
from kanref.pde.poisson import poisson, solution
from kanref.words import aligned

PROBLEM = poisson()
PAPER, BEFORE = 1e-7, 9.9e-11  # mean squared errors: Liu et al., and `papers.poisson`
SEEDS = (0, 1, 2)
SETUP = {"width": 6, "degree": 6, "intervals": (4, 8, 16, 32), "steps": (40, 30, 30, 20), "hard": True, "kind": "nested"}
PLAN = {
    "rows": {
        "nested": SETUP,
        "extension": SETUP | {"intervals": (4, 7, 15, 32), "kind": "extension"},
        "fine": SETUP | {"kind": "fine"},
        "soft": SETUP | {"hard": False},
        "[2, 10, 1]": SETUP | {"width": 10, "degree": 5, "intervals": (5, 10, 20), "steps": (40, 30, 30)},
    },
    "first": 100,  # L-BFGS steps
    "share": 4,  # points for each parameter
    "least": 1000,  # points
    "mesh": 101,
}
SMALL = {"width": 3, "degree": 4, "intervals": (4, 8), "steps": (20, 10)}
SHORT = PLAN | {
    "rows": {
        "nested": SETUP | SMALL,
        "extension": SETUP | SMALL | {"intervals": (4, 7), "kind": "extension"},
        "fine": SETUP | SMALL | {"kind": "fine"},
        "soft": SETUP | SMALL | {"hard": False},
    },
    "first": 50,
    "least": 400,
    "mesh": 41,
}
FIELD = 41  # points of the error field each way
COLOURS = {"nested": "#D55E00", "extension": "#0072B2", "fine": "#009E73", "soft": "#CC79A7", "[2, 10, 1]": "#E69F00"}


# ----------------------------------------------------------------------------------------------------------- training


def points(size, plan, seed):
    """{part: Sobol points} for a network with `size` parameters; a fifth as many on the boundary as inside."""
    count = max(plan["least"], plan["share"] * size)
    return PROBLEM.points({"equation": count, "boundary": count // 5}, "sobol", seed)


def errors(u, theta, x):
    """Means of the squared error, and with that of its gradient, of a trial function."""
    exact, gradient = solution(x)
    value, slope, _ = u.derivatives(theta, x)
    L2 = np.square(value[:, 0] - exact).mean()
    return float(L2), float(L2 + np.square(slope[..., 0].T - gradient).sum(1).mean())


def work(net, plan, steps, seed=0):
    """What Levenberg-Marquardt steps cost: residuals inside times parameters squared for each, in units of 1e9; the boundary's,
    a fifth more in the row "soft", are not counted."""
    return steps * len(points(net.size, plan, seed)["equation"]) * net.size**2 / 1e9


def network(setup, intervals):
    return kan([2, setup["width"], 1], intervals=intervals, degree=setup["degree"], base=None)


def schedule(setup, plan):
    """Pairs (intervals, steps) of the levels; for "fine", the last one with steps of the same work."""
    levels = list(zip(setup["intervals"], setup["steps"]))
    if setup["kind"] != "fine":
        return levels
    total, last = sum(work(network(setup, n), plan, steps) for n, steps in levels), levels[-1][0]
    return [(last, round(total / work(network(setup, last), plan, 1)))]


def finer(net, theta, intervals, x, kind):
    """Knots moved to the activations, then more of them: by exact refinement, or by a fit to samples."""
    net, theta = grids.update_from_samples(net, theta, x)[:2]
    if kind == "nested":
        return grids.refine(net, theta, exterior="fine")
    return grids.extend(net, theta, intervals, x, prior=0.0)[:2]


@dataclass
class Watch:
    """A callback that keeps rows [seconds, loss, MSE]; looking takes none of the seconds."""

    hard: bool
    x: np.ndarray
    rows: list = field(default_factory=list)
    began: float = field(default_factory=process_time)

    def __call__(self, net, state):
        if state.step % 2 == 0:
            now = process_time()
            self.rows.append([now - self.began, state.value, errors(PROBLEM.function(net, self.hard), state.theta, self.x)[0]])
            self.began += process_time() - now


def train(key, plan):
    """The record of a key "ROW / SEED": levels [intervals, parameters, loss at first, loss, MSE, H1, work, seconds], the trace
    [seconds, loss, MSE], and for the first seed the error on an even grid."""
    name, seed = key.rsplit(" / ", 1)
    setup, seed = plan["rows"][name], int(seed)
    plans = schedule(setup, plan)
    net = network(setup, plans[0][0])
    theta, at = net.init(seed), points(net.size, plan, seed)
    PROBLEM.objective(net, at, setup["hard"]).residuals(theta)  # compiles, before the clock starts
    watch, levels, total = Watch(setup["hard"], PROBLEM.mesh(plan["mesh"])), [], 0.0
    for l, (intervals, steps) in enumerate(plans):
        if l:
            net, theta = finer(net, theta, intervals, at["equation"], setup["kind"])
            at = points(net.size, plan, seed)
        loss = partial(PROBLEM.objective, points=at, hard=setup["hard"])
        if l == 0:
            theta = finished(optimize.lbfgs(loss(net), theta, steps=plan["first"], callback=partial(watch, net))).theta
            net, theta = grids.update_from_samples(net, theta, at["equation"])[:2]
        result = finished(least_squares(steps)(loss(net), theta, callback=partial(watch, net)))
        theta, total, now = result.theta, total + work(net, plan, result.evaluations, seed), process_time()
        reached = [result.history.value[0], result.value, *errors(PROBLEM.function(net, setup["hard"]), theta, watch.x)]
        levels.append([intervals, net.size, *rounded([*reached, total, now - watch.began], 4)])
        watch.began += process_time() - now
    record = {"levels": levels, "trace": [rounded(row, 4) for row in watch.rows]}
    if seed == SEEDS[0] and name == "nested":
        x = PROBLEM.mesh(FIELD)
        record["field"] = rounded(PROBLEM.function(net, setup["hard"])(theta, x)[:, 0] - PROBLEM.reference(x), 3)
    return record


# ------------------------------------------------------------------------------------------------------------ results


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the table. Writes levels.json and levels.png.

    short: one seed, small networks, two levels, in levels-short.json.
    """
    plan, seeds = (SHORT, SEEDS[:1]) if short else (PLAN, SEEDS)
    stem = os.path.join(folder, "levels-short" if short else "levels")
    keys = [f"{name} / {seed}" for seed in seeds for name in plan["rows"]]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {name: [done[f"{name} / {seed}"] for seed in seeds] for name in plan["rows"]}
    draw(results).savefig(f"{stem}.png", dpi=150)
    return text(results)


def text(results):
    """Errors after every level, medians, and the worst seed."""
    rows = [("", "intervals", "parameters", "loss at first", "loss", "MSE", "worst", "H1 squared", "work", "seconds")]
    for name, runs in results.items():
        for l, level in enumerate(np.moveaxis([run["levels"] for run in runs], 0, 1)):
            n, size, first, value, L2, H1, total, seconds = np.median(level, 0)
            numbers = [f"{v:.1e}" for v in (first, value, L2, level[:, 4].max(), H1)]
            rows.append((name if l == 0 else "", f"{n:.0f}", f"{size:.0f}", *numbers, f"{total:.1f}", f"{seconds:.1f}"))
    count = len(next(iter(results.values())))
    return (
        f"Mean squared error of u, medians of {count} seed{'s' * (count > 1)}. "
        f"Liu et al. report {PAPER:.0e} for [2, 10, 1]; papers.poisson has {BEFORE:.1e}\n{aligned(rows)}"
    )


def draw(results):
    """Errors against time, all seeds, with a dot at the end of every level; against parameters; and the error of a run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    by_time, by_size, error = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    for name, runs in results.items():
        for k, run in enumerate(runs):
            seconds, _, L2 = np.array(run["trace"]).T
            levels = np.array(run["levels"])
            look = {"color": COLOURS[name], "lw": 1}
            by_time.loglog(seconds, L2, label=None if k else name, **look)
            by_time.loglog(levels[:, 7], levels[:, 4], ".", color=COLOURS[name])
            by_size.loglog(levels[:, 1], levels[:, 4], marker=".", **look)
    by_time.set(title="mean squared error of u", xlabel="processor seconds")
    by_time.legend(fontsize=8, frameon=False)
    by_size.set(title="the same after every level", xlabel="parameters")
    for axes in (by_time, by_size):
        axes.axhline(1e-12, color="0.6", lw=0.8, zorder=0)
        axes.grid(alpha=0.25)
        axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = (100, 200, 400, 800)
    by_size.set_xticks(ticks, [str(tick) for tick in ticks])
    values = np.array(results["nested"][0]["field"]).reshape(FIELD, FIELD).T
    reach = np.abs(values).max()
    image = error.imshow(values, origin="lower", extent=(-1, 1, -1, 1), cmap="RdBu_r", vmin=-reach, vmax=reach)
    error.set(title="error of nested, first seed", xlabel="x", ylabel="y")
    figure.colorbar(image, ax=error, shrink=0.85, ticks=(-reach, 0, reach), format="%.0e")
    return figure
