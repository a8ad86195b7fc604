"""Cycles against nested iteration at equal work, on the four problems of the multilevel paper (arXiv 2603.04827).

The paper goes up once, from grid to grid, and leaves cycling between them open ("nonlinear multigrid is notoriously
sensitive"). Here, for the same amount of work in its unit, an evaluation on level l costing 2^l:

    fine        everything on the finest grid, from its own random start
    nested      an equal part of the work on every level
    V, W        nested iteration with half of the work, then V- or W-cycles (`multilevel.cycles`) on the finest grid
    adaptive    V-cycles as long as they pay, and only if |P' g| >= |g|/2
    smoothing   V-cycles without corrections: as many steps of the smoother, with all its restarts, on the finest grid alone

each with L-BFGS and with Adam on every level, as trainer and as smoother. Set-ups are those of the other experiments of this
paper (`regression`, `burgers`, `jump`, `allen_cahn`), with fewer points, and for Burgers a smaller network, so that a cell
takes seconds; in the network of `jump` hidden values go through tanh, so that they stay inside and levels are properly
nested. Errors: mean squares at other points for the regression, relative L2 on an even mesh for the equations, which
points as few as these determine only roughly: what is compared is the loss.

"cycles" counts corrections asked for on the finest grid, "accepted" those of them that lowered the loss at all; |P'g|/|g| is
the share of the gradient that the coarse level sees, and |tau|/|P'g| how far the coarse problem had to be bent to agree
with the fine one (`multilevel.cycles`).

What it teaches. With L-BFGS nested iteration is ahead on all three equations (by medians; one of its seeds on the jump ends
above all but "fine"), and "fine" is behind, in worse places rather than on a slower way. Cycles do as well as their smoother by
itself, no better: coarse corrections are accepted, but small, since tau is up to 220 times the gradient it makes
room for, and going back and forth costs L-BFGS its curvature at every turn. Where "V" beats "nested" with Adam, "smoothing"
does too: it is the lower rate, or the longer stay on the finest grid; on Burgers "fine" is then lowest and "nested" last, by
a third. Half of the work pays for one to four V-cycles on the finest grid, and for two W-cycles or fewer (none on the
regression with Adam): enough to see what a correction is worth, too few for rates of convergence. On the regression all
end at what 40 intervals can represent, "fine" as well. Multigrid's own reason, errors that are smooth and therefore slow,
is there for quadratic losses of differential operators (tests/test_cycles.py, tutorial 11); in these networks what is slow
lies elsewhere, and levels serve best as a start.
"""

import os
from functools import partial
from time import process_time

import numpy as np

from kanref import optimize
from kanref.multilevel.cycles import cycle, hierarchy
from kanref.multilevel.nested import Stage, nested
from kanref.network import kan
from kanref.optimize import schedules
from kanref.papers import allen_cahn, burgers, jump, regression
from kanref.papers.experiment import cells, rounded
from kanref.words import aligned

SEEDS = (1234, 1235, 1236)
METHODS = {  # shape, kappa, adaptive
    "fine": None,
    "nested": None,
    "V": ("V", 0.0, False),
    "W": ("W", 0.0, False),
    "adaptive": ("V", 0.5, True),
    "smoothing": ("V", np.inf, False),
}
PLAN = {
    "problems": {  # levels, work, points
        "regression": (4, 2400, 4000),
        "Burgers": (3, 1600, 576),
        "Poisson with a jump": (4, 4800, 31),
        "Allen-Cahn": (4, 4800, 576),
    },
    "smoothers": {"L-BFGS": 20, "Adam": 40},  # evaluations before and after a correction
    "rate": 1e-2,  # of Adam, a third of it when smoothing
    "mesh": 61,
}
SHORT = PLAN | {
    "problems": {
        "regression": (3, 240, 200),
        "Poisson with a jump": (2, 120, 11),
    },
    "smoothers": {"L-BFGS": 4, "Adam": 4},
    "mesh": 11,
}
COLOURS = {"fine": "#009E73", "nested": "#D55E00", "V": "#0072B2", "W": "#56B4E9", "adaptive": "#CC79A7", "smoothing": "#999999"}
ROWS = 40  # of a trace


# ------------------------------------------------------------------------------------------------------------ set-ups


def setup(name, seed, points, mesh):
    """The coarsest network, its theta, network -> loss, and (network, theta) -> error, of a problem."""
    if name == "regression":
        net, loss, new = regression.network(), regression.loss(seed, points), regression.loss(seed + 1000, points)
        return net, regression.start(net, seed), loss, lambda net, theta: new(net)(theta)[0]
    if name == "Burgers":
        line = round(points**0.5)
        counts = {"equation": points, "initial": line, "left": line // 2, "right": line // 2}
        own = burgers.SETUP | {"widths": (2, 8, 8, 1), "points": counts}
        net, theta = burgers.start(seed, own)
        problem, hard, loss = burgers.PROBLEM, False, lambda net: burgers.loss(net, own)
    elif name == "Poisson with a jump":
        net = kan([3, 5, 1], intervals=4, base=None, normalise="tanh")
        theta, own = net.init(seed), jump.SETUP | {"count": points}
        problem, hard, loss = jump.PROBLEM, False, lambda net: jump.loss(net, own)
    else:
        net, theta = allen_cahn.start(seed)
        problem, hard, loss = allen_cahn.problem, True, lambda net: allen_cahn.loss(net, seed, points)
    return net, theta, loss, lambda net, theta: problem.errors(net, theta, problem.mesh(mesh), hard)[0]


def trainer(smoother, evaluations, rate):
    """A minimiser of so many evaluations."""
    if smoother == "L-BFGS":
        return partial(optimize.lbfgs, steps=evaluations, evaluations=evaluations)
    return partial(optimize.adam, steps=evaluations - 1, rate=schedules.warmup(rate, rate / 100, 10))


# ----------------------------------------------------------------------------------------------------------- training


class Trace:
    """A callback for `nested` and, by `of`, for cycles: keeps [work, least loss], and ends at a limit of work."""

    def __init__(self, limit):
        self.limit, self.rows = limit, []

    def __call__(self, net, state, work):
        least = min(state.value, self.rows[-1][1]) if self.rows else state.value
        self.rows.append((work, least))
        return work >= self.limit

    def of(self, net, before, unit):
        """The callback of a cycle that starts after so much work, with evaluations of so much each."""
        return lambda state: self(net, state, before + unit * state.evaluations)

    def thinned(self):
        chosen = np.unique(np.linspace(0, len(self.rows) - 1, ROWS).astype(int))
        return [[round(self.rows[i][0]), rounded(self.rows[i][1], 4)] for i in chosen]


def train(key, plan):
    """The record of a key "PROBLEM / SMOOTHER / METHOD / SEED"."""
    name, smoother, method, seed = key.split(" / ")
    levels, work, points = plan["problems"][name]
    coarsest, theta, loss, error = setup(name, int(seed), points, plan["mesh"])
    transfers, top = hierarchy(coarsest, levels - 1), 2 ** (levels - 1)
    rate, trace, log, began = plan["rate"], Trace(work), [], process_time()
    cycled = METHODS[method]
    if method == "fine":
        net = transfers[-1].fine
        theta = regression.start(net, int(seed)) if name == "regression" else net.init(int(seed))
        result = trainer(smoother, work // top, rate)(loss(net), theta, callback=trace.of(net, 0, top))
        spent, evaluations = top * result.evaluations, result.evaluations
    else:
        part = work / (2 if cycled else 1) / levels
        stages = [Stage(trainer(smoother, round(part / 2**k), rate)) for k in range(levels)]
        done = nested(coarsest, theta, loss, stages, safeguard=False, callback=trace)
        net, result, spent = done.net, done.levels[-1].result, done.work
        evaluations = sum(level.result.evaluations for level in done.levels)
    if cycled:
        shape, kappa, adaptive = cycled
        counted = Counted(loss)
        smoothers = [trainer(smoother, plan["smoothers"][smoother], rate / 3)] * levels
        record = lambda level, correction: log.append(correction) if level == levels - 1 else None
        minimise = cycle(transfers, counted, smoothers, work, shape, kappa, adaptive, record)
        result = minimise(counted(net), done.theta, callback=trace.of(net, spent, top))
        spent, evaluations = spent + top * result.evaluations, evaluations + counted.calls
    asked = [c for c in log if c.asked]
    return {
        "parameters": net.size,
        "loss": result.value,
        "error": error(net, result.theta),
        "work": round(spent),
        "evaluations": evaluations,
        "seconds": round(process_time() - began, 1),
        "cycles": len(asked),
        "accepted": sum(c.alpha > 0 for c in asked),
        "share": float(np.median([c.share for c in log])) if log else 0.0,
        "tau": float(np.median([c.tau for c in asked])) if asked else 0.0,
        "trace": trace.thinned(),
    }


class Counted:
    """A loss whose evaluations are counted, on all levels alike."""

    def __init__(self, loss):
        self.loss, self.calls = loss, 0

    def __call__(self, net):
        objective = self.loss(net)

        def counted(theta):
            self.calls += 1
            return objective(theta)

        return counted


# ------------------------------------------------------------------------------------------------------------ results


def run(folder, progress=None, short=False, jobs=1):
    """All problems, smoothers, methods and seeds; returns the table. Writes cycles.json and cycles.png.

    short: one seed, few points, little work, in cycles-short.json.
    """
    plan, seeds = (SHORT, SEEDS[:1]) if short else (PLAN, SEEDS)
    stem = os.path.join(folder, "cycles-short" if short else "cycles")
    groups = [(name, smoother) for name in plan["problems"] for smoother in plan["smoothers"]]
    keys = [f"{name} / {smoother} / {method} / {seed}" for seed in seeds for name, smoother in groups for method in METHODS]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {
        group: {method: [done[" / ".join((*group, method, str(seed)))] for seed in seeds] for method in METHODS}
        for group in groups
    }
    draw(results, plan).savefig(f"{stem}.png", dpi=150)
    return text(results)


def text(results):
    """A table of medians for every problem and smoother."""
    head = "method", "loss", "least", "largest", "error", "evaluations", "seconds"
    head = *head, "cycles", "accepted", "|P'g|/|g|", "|tau|/|P'g|"
    parts, count = [], 0
    for (name, smoother), methods in results.items():
        rows = [head]
        for method, runs in methods.items():
            count, losses = len(runs), [run["loss"] for run in runs]
            keys = "error", "evaluations", "seconds", "cycles", "accepted", "share", "tau"
            error, evaluations, seconds, *counts, share, tau = (np.median([run[key] for run in runs]) for key in keys)
            row = [f"{np.median(losses):.2e}", f"{min(losses):.1e}", f"{max(losses):.1e}", f"{error:.1e}"]
            row += [f"{evaluations:.0f}", f"{seconds:.0f}", *(f"{c:.0f}" if METHODS[method] else "" for c in counts)]
            row += [f"{number:.1f}" if number else "" for number in (share, tau)]
            rows.append((method, *row))
        size, work = runs[0]["parameters"], methods["nested"][0]["work"]
        parts.append(f"{name}, {smoother}: {size} parameters on the finest grid, work {work}\n{aligned(rows)}")
    return f"Cycles at equal work, medians of {count} seed{'s' * (count > 1)}\n\n" + "\n\n".join(parts)


def draw(results, plan):
    """The least loss so far against work, a row for each smoother: first seed thick, the others thin."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(14, 6.4), layout="constrained")
    grid = figure.subplots(len(plan["smoothers"]), len(plan["problems"]), squeeze=False)
    for axes, smoother in zip(grid, plan["smoothers"]):
        for panel, (name, (_, work, _)) in zip(axes, plan["problems"].items()):
            for method, runs in results[name, smoother].items():
                for k, run in enumerate(runs):
                    spent, losses = np.array(run["trace"]).T
                    label = method if k == 0 else None
                    panel.loglog(spent, losses, color=COLOURS[method], lw=1.6 if k == 0 else 0.6, label=label)
            panel.set(title=f"{name}, {smoother}", xlim=(work / 100, work * 1.1))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.grid(alpha=0.25)
        axes[0].set_ylabel("loss")
    for panel in grid[-1]:
        panel.set_xlabel("work, evaluations × 2^level")
    grid[0, -1].legend(frameon=False, fontsize=8)
    return figure
