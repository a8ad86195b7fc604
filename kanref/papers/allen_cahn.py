"""Allen-Cahn by [2, 5, 5, 1] KANs across levels, and what else solves it (multilevel paper, section 5, Fig. 9).

    u_t = 1e-4 u_xx + 5 (u - u^3),  u(x, 0) = x^2 cos(pi x),  periodic on [-1, 1] x [0, 1]        (see `kanref.pde.allen_cahn`)

Paper: cubic splines, sigmoid before hidden layers, 4 intervals halved three times, 4 x 2500 steps of Adam, residual-based
attention, weights 0.1 of the equation and 1 of conditions, seed 1234; no numbers, only a figure in which the spline KAN across
levels gets the solution, and the one in power ReLUs and an MLP of equal size do not. It names the rate 1e-3 and 20000 random
points in the text, the rate 1e-4 to 1e-2 over 10 steps after every change of level and 251001 points in the supplement.

"Adam": the rate of the supplement on the points of the text. Of 20480 random points one of 40 batches is used in turn, each
with attention of its own that moves 40 times as fast, so that by steps all is as with all points at once. Fine only: the same
10000 steps on 32 intervals. Power ReLUs: the rate 1e-4, which is not small enough after every refinement; with 1e-2 the loss
of seed 1234 ends at 5e7.
"Adam, hard": the same, but the initial and periodic conditions hold by construction.
"L-BFGS, LM": hard conditions, degree 4, 4 intervals halved twice, one set of 2048 Sobol points; L-BFGS on the coarsest level, and
Levenberg-Marquardt on each. Fine only: the same work, one evaluation on level l counted as 2^l. MLP: the same steps.

Knots are on [-1, 1], as the paper says, though sigmoids use only [0, 1] of it; for Levenberg-Marquardt on [0, 1].

Nothing reaches 1e-2 by Adam here.

Errors: relative L2 on a grid of 161 x 101 points, against the spectral reference. Times are processor seconds of training.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from time import process_time

import numpy as np

from kanref import bases, optimize
from kanref.bases import BSpline
from kanref.mlp import mlp
from kanref.mlp import start as mlp_start
from kanref.multilevel.nested import Stage, least_squares, nested
from kanref.multilevel.relu_form import in_relus
from kanref.network import KAN, spline_layer
from kanref.optimize import schedules
from kanref.papers.experiment import cells, finished, rounded
from kanref.pde.allen_cahn import allen_cahn
from kanref.pde.weighting import Attention
from kanref.words import aligned

SEEDS = (1234, 1235, 1236)
ADAM, HARD, NEWTON = "Adam", "Adam, hard", "L-BFGS, LM"
SPLINE, FINE, RELU, MLP = "splines, levels", "splines, fine only", "power ReLUs, levels", "MLP"
PLAN = {
    "levels": 4,
    "steps": 2500,
    "rate": [1e-2, 1e-4, 10],  # largest, first, steps from one to the other
    "ReLU rate": 1e-4,  # largest for power ReLUs
    "mu": 1e-4,
    "batches": 40,
    "points": {"equation": 512, "initial": 101, "left": 26, "right": 26},
    "mlp": 25,
    "newton": {"levels": 3, "degree": 4, "lbfgs": 300, "lm": 80, "points": 2048, "mlp": 19},
    "every": 100,
}
SHORT = PLAN | {
    "levels": 2,
    "steps": 60,
    "batches": 2,
    "points": {"equation": 128, "initial": 21, "left": 5, "right": 5},
    "mlp": 8,
    "newton": {"levels": 2, "degree": 4, "lbfgs": 40, "lm": 12, "points": 400, "mlp": 8},
    "every": 20,
}
WIDTHS = 2, 5, 5, 1
SHOWN = 81, 41  # points in x and t of the stored fields
DRAWN = (ADAM, SPLINE), (ADAM, RELU), (NEWTON, SPLINE)


# ------------------------------------------------------------------------------------------------------------- parts

problem = allen_cahn()


def points(count=2048, seed=SEEDS[0]):
    """Sobol points for the hard form of the problem."""
    return problem.points({"equation": count}, "sobol", seed)


def network(n=4, degree=3, hard=True, hidden=(0, 1)):
    """[2, 5, 5, 1] in B-splines on n intervals of the box, or of what the hard form makes of it; behind sigmoids, of `hidden`."""
    layers = []
    for l, (P, Q) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        low, high = hidden if l else (-1, 1) if hard else ([-1, 0], [1, 1])
        basis = BSpline.uniform(P, n, degree, low, high)
        layers.append(spline_layer(P, Q, basis, base=None, normalise=bases.sigmoid if l else None))
    return KAN(tuple(layers))


def loss(net, seed=SEEDS[0], count=2048):
    """The hard form on Sobol points."""
    return problem.objective(net, points(count, seed), hard=True)


def start(seed=SEEDS[0], n=4, degree=3):
    """A network and where its training starts."""
    net = network(n, degree)
    return net, net.init(seed)


# ---------------------------------------------------------------------------------------------------------- training


@dataclass
class Trace:
    """A callback for `nested` that keeps [steps, work, loss, relative L2 error] every so many steps, and the seconds of training:
    looking takes none of them."""

    hard: bool
    every: int
    rows: list = field(default_factory=list)
    began: float = field(default_factory=process_time)
    before: int = 0
    last: int = 0

    def __call__(self, net, state, work):
        if state.step < self.last:  # a new stage counts from 0
            self.before += self.last
        self.last = state.step
        if state.step and state.step % self.every == 0:
            now = process_time()
            error = problem.errors(net, state.theta, problem.mesh(61), self.hard)[0]
            self.rows.append([self.before + state.step, work, state.value, error])
            self.began += process_time() - now

    @property
    def seconds(self):
        return process_time() - self.began


def in_turn(net, pool, attentions, conditions, hard):
    """The loss on the next batch of the pool at every call, each with its own attention."""
    losses = [
        problem.objective(net, {**conditions, "equation": x}, hard, {"equation": attention})
        for x, attention in zip(pool, attentions)
    ]
    turns = cycle(losses)
    return lambda theta: next(turns)(theta)


def adam_plan(row, seed, plan, hard):
    """Network, start, loss of a network, stages."""
    peak, first, ramp = plan["rate"]
    peak = plan["ReLU rate"] if row == RELU else peak
    adam = partial(optimize.adam, rate=schedules.warmup(peak, min(first, peak), ramp), keep="last")
    total = plan["levels"] * plan["steps"]
    if row == MLP:
        net = mlp([2, *(plan["mlp"],) * 3, 1])
        theta = mlp_start(net, seed)
    else:
        net = network(4 * 2 ** (plan["levels"] - 1) if row == FINE else 4, hard=hard, hidden=(-1, 1))
        theta = net.init(seed)
    if row == RELU:
        net, theta = in_relus(net, theta)
    count, n = plan["batches"], plan["points"]["equation"]
    pool = np.split(problem.points({"equation": count * n}, "random", seed)["equation"], count)
    conditions = problem.points({name: m for name, m in plan["points"].items() if name != "equation"})
    attentions = [Attention(n, plan["mu"] * count) for _ in pool]
    loss = partial(in_turn, pool=pool, attentions=attentions, conditions=conditions, hard=hard)
    many = row in (SPLINE, RELU)
    stages = [Stage(partial(adam, steps=plan["steps"]))] * plan["levels"] if many else [Stage(partial(adam, steps=total))]
    return net, theta, loss, stages, False


def newton_plan(row, seed, plan):
    """Network, start, loss of a network, stages."""
    own = plan["newton"]
    share = {SPLINE: 1, FINE: (2 ** own["levels"] - 1) / 2 ** (own["levels"] - 1), MLP: own["levels"]}[row]
    first = own["lbfgs"] if row != FINE else own["lbfgs"] / 2 ** (own["levels"] - 1)
    descent, squares = partial(optimize.lbfgs, steps=round(first)), least_squares(round(share * own["lm"]))
    stages = [Stage(descent), Stage(squares, refine=0)] + [Stage(squares)] * (own["levels"] - 1 if row == SPLINE else 0)
    if row == MLP:
        net = mlp([2, *(own["mlp"],) * 3, 1])
        theta = mlp_start(net, seed)
    else:
        net, theta = start(seed, 4 if row == SPLINE else 4 * 2 ** (own["levels"] - 1), own["degree"])
    return net, theta, partial(loss, seed=seed, count=own["points"]), stages, True


def train(key, plan):
    """The record of a key "RECIPE / NETWORK / SEED"."""
    recipe, row, seed = key.split(" / ")
    hard, seed = recipe != ADAM, int(seed)
    if recipe == NEWTON:
        net, theta, loss_of, stages, safeguard = newton_plan(row, seed, plan)
    else:
        net, theta, loss_of, stages, safeguard = adam_plan(row, seed, plan, hard)
    problem.reference(np.zeros((1, 2)))  # computed once, before the clock starts
    trace = Trace(hard, plan["every"] if recipe != NEWTON else plan["every"] // 10)
    done = finished(nested(net, theta, loss_of, stages, safeguard=safeguard, callback=trace))
    seconds = trace.seconds
    L2, largest = problem.errors(done.net, done.theta, grid(161, 101), hard)
    x = grid(*SHOWN)
    difference = problem.function(done.net, hard)(done.theta, x)[:, 0] - problem.reference(x)
    return {
        "parameters": done.net.size,
        "seconds": round(seconds, 1),
        "evaluations": sum(level.result.evaluations for level in done.levels),
        "work": done.work,
        "loss": rounded(done.levels[-1].result.value, 4),
        "L2": L2,
        "largest": largest,
        "ends": np.cumsum([level.result.steps for level in done.levels]).tolist(),
        "trace": rounded(trace.rows, 4),
        "field": rounded(difference, 2) if (recipe, row) in DRAWN and seed == SEEDS[0] else [],
    }


def grid(nx, nt):
    """nx times nt points of the box, t fastest."""
    x, t = np.meshgrid(np.linspace(-1, 1, nx), np.linspace(0, 1, nt), indexing="ij")
    return np.stack([x.ravel(), t.ravel()], 1)


# ----------------------------------------------------------------------------------------------------------- results

ROWS = {(ADAM, SPLINE): 3, (ADAM, FINE): 3, (ADAM, RELU): 3, (ADAM, MLP): 3, (HARD, SPLINE): 3,
        (NEWTON, SPLINE): 3, (NEWTON, FINE): 3, (NEWTON, MLP): 3}  # numbers of seeds  # fmt: skip


def run(folder, progress=None, short=False, jobs=1):
    """All networks and seeds; returns the table. Writes allen_cahn.json and allen_cahn.png.

    short: one seed, few points and steps, two levels, in allen_cahn-short.json.
    """
    plan, most = (SHORT, 1) if short else (PLAN, len(SEEDS))
    stem = os.path.join(folder, "allen_cahn-short" if short else "allen_cahn")
    keys = {pair: [f"{' / '.join(pair)} / {seed}" for seed in SEEDS[: min(count, most)]] for pair, count in ROWS.items()}
    done = cells(f"{stem}.json", plan, sum(keys.values(), []), partial(train, plan=plan), progress, jobs)
    results = {pair: [done[key] for key in own] for pair, own in keys.items()}
    draw(results).savefig(f"{stem}.png", dpi=150)
    return text(results)


def text(results):
    """Relative L2 errors of every seed and their median, largest error, loss, parameters, evaluations, seconds."""
    seeds = max(map(len, results.values()))
    middle = lambda runs, name: np.median([run[name] for run in runs])
    rows = [("training", "network", "parameters", *SEEDS[:seeds], "median", "largest", "loss", "evaluations", "seconds")]
    for pair, runs in results.items():
        L2 = [f"{run['L2']:.1e}" for run in runs] + ["-"] * (seeds - len(runs))
        medians = [f"{middle(runs, name):.1e}" for name in ("L2", "largest", "loss")]
        costs = [f"{middle(runs, name):.0f}" for name in ("evaluations", "seconds")]
        rows.append((*pair, runs[0]["parameters"], *L2, *medians, *costs))
    return (
        "Allen-Cahn: relative L2 error of every seed, and medians: of that, of the largest error, and of the rest\n"
        f"{aligned(rows, left=2)}\n"
        "Paper (figure, seed 1234, no numbers): by Adam, splines across levels get the solution, power ReLUs and the MLP do not."
    )


COLOURS = {SPLINE: "#0072B2", FINE: "#009E73", RELU: "#D55E00", MLP: "#7F7F7F"}


def draw(results):
    """Loss and error against steps for every training; below, the solution and the errors of first seeds."""
    from matplotlib.figure import Figure

    recipes = list(dict.fromkeys(recipe for recipe, _ in results))
    figure = Figure(figsize=(13.5, 10.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    for recipe, *pair in zip(recipes, *upper.subplots(2, len(recipes), sharey="row")):
        for (own, row), runs in results.items():
            for k, run in enumerate(runs if own == recipe else []):
                lines = np.array(run["trace"]).T
                for axes, values in zip(pair, lines[2:]):
                    axes.semilogy(lines[0], values, color=COLOURS[row], lw=1, label=row if k == 0 else None)
        ends = results[recipe, SPLINE][0]["ends"]
        for axes, label in zip(pair, ("loss", "relative L2 error")):
            axes.set(title=f"{label}: {recipe}", xlabel="steps")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize=8)
            for end in ends[1:-1] if recipe == NEWTON else ends[:-1]:
                axes.axvline(end, color="k", lw=0.6, ls=":")
    exact = problem.reference(grid(*SHOWN))
    shown = [("u", exact)] + [(f"error: {', '.join(key)}", np.array(results[key][0]["field"])) for key in DRAWN]
    for axes, (title, values) in zip(lower.subplots(1, len(shown), sharey=True), shown):
        top = np.abs(values).max()
        image = axes.imshow(values.reshape(SHOWN).T, origin="lower", extent=(-1, 1, 0, 1), aspect="auto", cmap="RdBu_r",
                            vmin=-top, vmax=top)  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="x", ylabel="t" if values is exact else None)
        lower.colorbar(image, ax=axes, shrink=0.85, ticks=(-top, 0, top), format="%.0e" if top < 0.1 else "%.1f")
    return figure
