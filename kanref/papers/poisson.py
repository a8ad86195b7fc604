"""Poisson's equation by a [2, 10, 1] KAN and by MLPs (Liu et al., section 3.4, Fig. 3.3).

    u_xx + u_yy = f on [-1, 1]^2, u = 0 on the boundary,        u = sin(pi x) sin(pi y^2)

Loss: 0.01 times the mean squared residual at interior points plus the mean of u^2 at boundary points. The paper's KAN
reaches a mean squared error of 1e-7 with about 1e2 parameters, its MLP of four layers of 100 units 1e-5 with about 1e4;
it uses 10000 interior and 800 boundary points; steps, grids and times are not printed.

Here: 1000 interior and 400 boundary points, uniform random. KAN: degree 5 (the second derivatives of cubic splines are
only piecewise linear), B-splines alone, 100 L-BFGS steps on 3 intervals, then 40 Levenberg-Marquardt steps on each of
3, 5, 10, 20 intervals, knots moved to the activations before. MLPs: tanh; four layers of 100 by 1000 L-BFGS steps, and two of
16, small enough for Levenberg-Marquardt, by 200 of each. Errors are means over a grid of 101 x 101 points: of (u - u*)^2
(L2 squared), and of (u - u*)^2 + |grad(u - u*)|^2 (H1 squared). Times are processor seconds of training.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from time import process_time

import numpy as np

from kanref import grids, objectives, optimize
from kanref.mlp import mlp, start
from kanref.network import kan
from kanref.papers.experiment import cells, finished, rounded
from kanref.pde.poisson import ALPHA, residual, solution
from kanref.words import aligned

PAPER = {"KAN [2, 10, 1]": ("1e-7", "~1e2"), "MLP 4 x 100": ("1e-5", "~1e4")}
SEEDS = (0, 1, 2)
PLAN = {
    "interior": 1000,
    "boundary": 400,
    "degree": 5,
    "grids": (3, 5, 10, 20),
    "steps": 40,
    "start": 100,
    "mlps": {"MLP 4 x 100": ((100,) * 4, 1000, 0), "MLP 2 x 16": ((16,) * 2, 200, 200)},  # hidden, L-BFGS, LM steps
}
SHORT = PLAN | {
    "interior": 400,
    "boundary": 160,
    "degree": 3,
    "grids": (3, 5),
    "steps": 20,
    "start": 50,
    "mlps": {"MLP 2 x 8": ((8,) * 2, 40, 20)},
}
KAN_NAME = "KAN [2, 10, 1]"
EVERY = 10  # steps from one look at the errors to the next


# ----------------------------------------------------------------------------------------------------------- problem


def objective(net, x, edge):
    """The loss on interior points x and boundary points `edge`."""
    inside = objectives.collocation(net, x, residual, pairs=((0, 0), (1, 1)))
    return objectives.weighted_sum([(ALPHA, inside), (1.0, objectives.mse(net, edge, np.zeros(len(edge))))])


def points(plan, seed):
    """Random points in the square, and on its sides in turn."""
    rng = np.random.default_rng(seed)
    x, edge = rng.uniform(-1, 1, (plan["interior"], 2)), rng.uniform(-1, 1, (plan["boundary"], 2))
    side = np.arange(len(edge))
    edge[side, side % 2] = np.where(side // 2 % 2, 1.0, -1.0)
    return x, edge


def mesh(count):
    """count x count points of the square, (count^2, 2), y first."""
    axis = np.linspace(-1, 1, count)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


def errors(net, theta, x):
    """Means of the squared error, and with that of its gradient: L2 and H1, squared."""
    u, gradient = solution(x)
    L2 = np.square(net(theta, x)[:, 0] - u).mean()
    return float(L2), float(L2 + np.square(net.gradient(theta, x)[:, 0] - gradient).sum(1).mean())


# ---------------------------------------------------------------------------------------------------------- training


@dataclass
class Trace:
    """A callback that keeps [seconds, loss, L2, H1] every so many steps; looking takes none of the seconds."""

    x: np.ndarray
    rows: list = field(default_factory=list)
    began: float = field(default_factory=process_time)

    def of(self, net, factor):
        """The callback of a run whose value times `factor` is the loss."""

        def look(state):
            if state.step % EVERY == 0:
                now = process_time()
                self.rows.append([now - self.began, factor * state.value, *errors(net, state.theta, self.x)])
                self.began += process_time() - now

        return look


def descend(net, theta, loss, trace, lbfgs=0, lm=0):
    """theta after L-BFGS and Levenberg-Marquardt steps."""
    for method, function, steps, factor in (
        (optimize.lbfgs, loss, lbfgs, 1),
        (optimize.levenberg_marquardt, loss.residuals, lm, 2),
    ):
        if steps:
            theta = finished(method(function, theta, steps=steps, callback=trace.of(net, factor))).theta
    return theta


def train(key, plan):
    """The record of a key "NETWORK / SEED": parameters, trace, stages [intervals, parameters, L2, H1], error field."""
    name, seed = key.rsplit(" / ", 1)
    x, edge = points(plan, int(seed))
    test, stages = mesh(101), []
    trace = Trace(test)
    if name == KAN_NAME:
        net = kan([2, 10, 1], intervals=plan["grids"][0], degree=plan["degree"], base=None)
        theta = descend(net, net.init(int(seed)), objective(net, x, edge), trace, lbfgs=plan["start"])
        for G in plan["grids"]:
            net, theta = grids.update_from_samples(net, theta, x)[:2]
            net, theta = grids.extend(net, theta, G, x)[:2]
            theta = descend(net, theta, objective(net, x, edge), trace, lm=plan["steps"])
            stages.append([G, net.size, *errors(net, theta, test)])
    else:
        hidden, lbfgs, lm = plan["mlps"][name]
        net = mlp([2, *hidden, 1])
        theta = descend(net, start(net, int(seed)), objective(net, x, edge), trace, lbfgs, lm)
    rows = rounded(trace.rows, 4)
    shown = mesh(61)
    difference = net(theta, shown)[:, 0] - solution(shown)[0]
    return {
        "parameters": net.size,
        "seconds": round(process_time() - trace.began, 2),
        "L2": errors(net, theta, test)[0],
        "H1": errors(net, theta, test)[1],
        "trace": rows,
        "stages": stages,
        "field": rounded(difference, 3) if int(seed) == SEEDS[0] else [],
    }


# ----------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All networks and seeds; returns the table. Writes poisson.json and poisson.png.

    short: one seed, cubic splines, few points, grids and steps, in poisson-short.json.
    """
    plan, seeds = (SHORT, SEEDS[:1]) if short else (PLAN, SEEDS)
    stem = os.path.join(folder, "poisson-short" if short else "poisson")
    names = (KAN_NAME, *plan["mlps"])
    keys = [f"{name} / {seed}" for name in names for seed in seeds]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {name: [done[f"{name} / {seed}"] for seed in seeds] for name in names}
    draw(results).savefig(f"{stem}.png", dpi=150)
    return text(results)


def text(results):
    """Errors, parameters and times beside the paper's; the KAN's grids below."""
    rows = [("network", "parameters", "paper", "MSE", "paper", "best", "worst", "H1 squared", "seconds")]
    for name, runs in results.items():
        L2, H1, seconds = (np.array([run[column] for run in runs]) for column in ("L2", "H1", "seconds"))
        mse, size = PAPER.get(name, ("-", "-"))
        figures = [f"{np.median(L2):.1e}", mse, f"{L2.min():.1e}", f"{L2.max():.1e}", f"{np.median(H1):.1e}"]
        rows.append((name, str(runs[0]["parameters"]), size, *figures, f"{np.median(seconds):.0f}"))
    stages = np.array([run["stages"] for run in results[KAN_NAME]])
    grid_rows = [("intervals", "parameters", "MSE", "H1 squared")]
    for G, size, L2, H1 in np.median(stages, 0):
        grid_rows.append((f"{G:.0f}", f"{size:.0f}", f"{L2:.1e}", f"{H1:.1e}"))
    return (
        f"Mean squared error of the solution, medians of {len(stages)} seeds\n{aligned(rows)}\n\n"
        f"{KAN_NAME} after each grid\n{aligned(grid_rows)}"
    )


def draw(results):
    """L2 and H1 errors against time for every run; below, the solution and the error of every network's first run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    names, colours = list(results), ("#0072B2", "#D55E00", "#E69F00")
    figure = Figure(figsize=(13.5, 6.6), layout="constrained")
    (*curves, legend), fields = figure.subplots(2, 4)
    for axes, (column, label) in zip(curves, ((1, "loss"), (2, "L2 squared"), (3, "H1 squared"))):
        for name, colour in zip(names, colours):
            for k, run in enumerate(results[name]):
                seconds, values = np.array(run["trace"])[:, [0, column]].T
                label_ = f"{name}, {run['parameters']} parameters" if k == 0 else None
                axes.loglog(np.maximum(seconds, 0.05), values, color=colour, lw=1.1, label=label_)
        axes.set(title=label, xlabel="processor seconds")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.25)
    legend.axis("off")
    legend.legend(*curves[0].get_legend_handles_labels(), frameon=False, loc="center", fontsize=8)
    count = 61
    shown = [("u = sin(πx) sin(πy²)", solution(mesh(count))[0])]
    shown += [(f"error of {name}", np.array(results[name][0]["field"])) for name in names]
    for axes in fields[len(shown) :]:
        axes.axis("off")
    for axes, (title, values) in zip(fields, shown):
        top = np.abs(values).max()
        square = {"origin": "lower", "extent": (-1, 1, -1, 1), "cmap": "RdBu_r", "vmin": -top, "vmax": top}
        image = axes.imshow(values.reshape(count, count), **square)
        axes.set(title=title, xlabel="x", ylabel="y")
        figure.colorbar(image, ax=axes, shrink=0.75, ticks=(-top, 0, top), format="%.0e" if top < 0.1 else "%.1f")
    return figure
