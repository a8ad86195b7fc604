"""Regression across levels by [2, 5, 1] (multilevel paper, arXiv 2603.04827, section 5.1 and supplement D.1).

    f(x, y) = g(cos(a) x + sin(a) y, cos(a) y - sin(a) x),  a = 0.175
    g(X, Y) = cos(4 pi X) + sin(pi Y) + sin(2 pi Y) + |sin(3 pi Y^2)|

at 20000 uniform random points of [0.0001, 0.9999]^2, mapped onto [0, 1]. A linear layer to five hidden values, then cubic
B-splines on 5, 10, 20, 40 intervals of [0, 1], trained by L-BFGS with 128 epochs on the coarsest grid, 16 on the finest, or
32, 16, 8, 4 from grid to grid: equal work, if a step costs twice as much on a grid twice as fine. The paper says neither how
many steps an epoch has (here 20, as torch's L-BFGS takes by default) nor how hidden values get into [0, 1]. Two readings:

    fixed range     z_q = (w_q.x - low)/(high - low) with the range over the square, which depends on w_q: `Directions`. Only
                    the direction of w_q counts. 50 parameters, 225 on the finest grid; the paper's 55 and 230 would have
                    one more for each hidden value, as a bias, which this map would cancel. With epochs of up to ten steps
                    the coarse error is the paper's.
    trained range   z_q = w_q.x + b_q, splines continued linearly: 55 and 230 parameters, each of which counts. Knots are
                    so moved and spaced by training, and the coarse error is far below the paper's.

"ReLU" is the fixed range with spline weights trained in the power-ReLU basis, from the same functions (multilevel/relu_form.py).
Stages are those of `multilevel.nested` with its safeguard, but for "ReLU": Levenberg-Marquardt steps, by which a stalled
stage is started again, hardly know what basis they are in. MLPs have ReLUs, no output bias, and as many steps as "multilevel".

"fine at equal steps" has as many steps as "multilevel": equal seconds here, where a local spline costs the same on every
grid. "true directions" is no training but linear least squares for splines of X and Y, each on its own range. How much hangs on
the steps of an epoch is shown by shorter ones, without the safeguard and with it.
"""

import os
from dataclasses import dataclass, field, replace
from functools import partial
from time import process_time

import numpy as np

from kanref import mlp, objectives, optimize
from kanref.bases import BSpline, identity
from kanref.multilevel.nested import Stage, nested
from kanref.multilevel.relu_form import in_relus
from kanref.network import KAN, Layer
from kanref.papers.experiment import cells, finished, rounded
from kanref.terms import Linear
from kanref.weights import Full
from kanref.words import aligned

PAPER = {  # mean and standard deviation of the mean squared error over five seeds
    "spline, coarse": (1.65e-3, 4.18e-5),
    "spline, fine": (2.54e-3, 5.64e-3),
    "spline, multilevel": (3.67e-5, 7.19e-5),
    "ReLU, coarse": (1.10e-2, 8.32e-3),
    "ReLU, fine": (1.35e0, 1.50e-1),
    "ReLU, multilevel": (1.06e-2, 8.03e-3),
    "MLP [2, 5, 1]": (2.94e-2, 1.60e-2),
    "MLP [2, 30, 1]": (1.02e-3, 9.42e-4),
    "MLP [2, 20, 20, 1]": (3.33e-4, 2.92e-4),
}
SEEDS = (1234, 1235, 1236, 1237, 1238)
ANGLE = 0.175
HIDDEN, DEGREE, INTERVALS = 5, 3, 5
SAMPLES = 20000
KINDS = "spline", "ReLU", "trained range"
EQUAL, TRUE, SHORTER = "fine at equal steps", "true directions", "shorter epochs"
PLAN = {
    "samples": SAMPLES,
    "epoch": 20,  # steps
    "schedules": {  # epochs on every grid
        "coarse": (128, 0, 0, 0),
        "fine": (0, 0, 0, 16),
        "multilevel": (32, 16, 8, 4),
        EQUAL: (0, 0, 0, 60),
    },
    "mlps": {"MLP [2, 5, 1]": [2, 5, 1], "MLP [2, 30, 1]": [2, 30, 1], "MLP [2, 20, 20, 1]": [2, 20, 20, 1]},
    "mlp epochs": 60,
    "shorter": (1, 2, 5, 10),  # epochs to compare with
}
SHORT = PLAN | {
    "samples": 1000,
    "epoch": 5,
    "shorter": (1, 2),
    "mlps": {"MLP [2, 5, 1]": [2, 5, 1]},
}
ROWS = 40  # of a trace
COLOURS = {"coarse": "#E69F00", "fine": "#D55E00", "multilevel": "#0072B2"}
SHOWN = [f"spline, {schedule}" for schedule in COLOURS] + ["trained range, multilevel"]  # fits that are drawn


# ----------------------------------------------------------------------------------------------------------- problem


def coordinates(x, angle=ANGLE):
    """The rotated coordinates X, Y (N,) of points x (N, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    return c * x[:, 0] + s * x[:, 1], c * x[:, 1] - s * x[:, 0]


def target(x, angle=ANGLE):
    """f at points x (N, 2), before it is mapped onto [0, 1]: (N,)."""
    X, Y = coordinates(x, angle)
    return np.cos(4 * np.pi * X) + np.sin(np.pi * Y) + np.sin(2 * np.pi * Y) + np.abs(np.sin(3 * np.pi * Y**2))


def data(seed, samples=SAMPLES, angle=ANGLE):
    """Points x (samples, 2), and values y (samples,) mapped onto [0, 1]."""
    x = np.random.default_rng(seed).uniform(1e-4, 1 - 1e-4, (samples, 2))
    f = target(x, angle)
    return x, (f - f.min()) / np.ptp(f)


def loss(seed, samples=SAMPLES, parts=1):
    """Network -> the mean squared error on the data of a seed: what `nested` and `cycles` take.

    parts: a divisor of `samples`, to sum over that many pieces, which stay in the cache: twice as fast for MLPs.
    """
    x, y = data(seed, samples)
    pieces = list(zip(np.split(x, parts), np.split(y, parts)))
    return lambda net: objectives.weighted_sum([(1 / parts, objectives.mse(net, *piece)) for piece in pieces])


def limit(intervals, seed, degree=DEGREE, angle=ANGLE, samples=SAMPLES):
    """The least mean squared error of spline(X) + spline(Y), each on a uniform grid over the range of its samples."""
    x, y = data(seed, samples, angle)
    z = np.stack(coordinates(x, angle), 1)
    B = BSpline.uniform(2, intervals, degree, z.min(0), z.max(0), "clamp").dense(z).reshape(len(x), -1)
    return float(np.square(B @ np.linalg.lstsq(B, y, rcond=None)[0] - y).mean())


# ----------------------------------------------------------------------------------------------------------- network


@dataclass(frozen=True)
class Ends:
    """The basis 1 - x, x of every coordinate: linear functions by their values at 0 and 1."""

    size = window = 2

    def derivatives(self, x, order):
        values = np.zeros((order + 1, *x.shape, 2), x.dtype)
        values[0] = np.stack([1 - x, x], -1)
        values[1:2] = -1, 1
        return np.zeros(x.shape, np.int64), values

    def select(self, inputs):
        return self


@dataclass(frozen=True)
class Directions:
    """W[q,p] = (ReLU(-w[q,p]), ReLU(w[q,p])) / sum_p |w[q,p]| on `Ends`: the values w_q.x, mapped onto [0, 1].

    Over the unit square w.x goes from -sum ReLU(-w) to sum ReLU(w), and w x + ReLU(-w) = ReLU(-w) (1 - x) + ReLU(w) x.
    There is a kink where a w[q,p] changes its sign, as for any map of a range onto [0, 1].
    """

    shape: tuple[int, int, int]

    @property
    def arrays(self):
        return {"w": self.shape[:2]}

    def tensor(self, arrays):
        w = arrays["w"]
        return np.stack([np.maximum(-w, 0), np.maximum(w, 0)], -1) / np.abs(w).sum(1)[:, None, None]

    def pullback(self, arrays, W_bar):
        w, W = arrays["w"], self.tensor(arrays)
        mean = (W * W_bar).sum((-1, -2))[..., None]
        return {"w": np.sign(w) * (np.where(w < 0, W_bar[..., 0], W_bar[..., 1]) - mean) / np.abs(w).sum(1)[:, None]}

    def rebased(self, R, basis=None):
        raise TypeError("Directions are values at the ends of [0, 1]; they have no other basis")

    def select(self, arrays, outputs, inputs):
        w = arrays["w"][np.ix_(outputs, inputs)]
        return Directions((*w.shape, 2)), {"w": w}

    def start(self, W):
        return {"w": W[..., 1] - W[..., 0]}


def network(intervals=INTERVALS, trained_range=False):
    """[2, 5, 1] of the module's text: structure."""
    outside = "linear" if trained_range else "clamp"  # a fixed range has no outside but by rounding
    splines = Linear(BSpline.uniform(HIDDEN, intervals, DEGREE, 0, 1, outside), Full((1, HIDDEN, intervals + DEGREE)))
    first = Linear(identity, Full((HIDDEN, 2, 1))) if trained_range else Linear(Ends(), Directions((HIDDEN, 2, 2)))
    return KAN((Layer({"linear": first}, bias=trained_range), Layer({"spline": splines})))


def start(net, seed):
    """theta of a `network`: w ~ N(0, 1/2), mapped onto [0, 1] in either reading, and spline weights U(0, 0.2)."""
    rng = np.random.default_rng([seed, 1])
    w = rng.normal(0, 0.5**0.5, (HIDDEN, 2))
    arrays = {"0.linear.w": w, "1.spline.W": rng.uniform(0, 0.2, net.layers[1].terms["spline"].weights.shape)}
    if net.layers[0].bias:
        size = np.abs(arrays.pop("0.linear.w")).sum(1)
        arrays |= {"0.linear.W": (w / size[:, None])[..., None], "0.bias": np.maximum(-w, 0).sum(1) / size}
    return net.join(arrays)


def perceptron(widths):
    """An MLP with ReLUs and no output bias, as the paper counts: structure."""
    net = mlp.mlp(widths, "relu")
    return replace(net, layers=(*net.layers[:-1], replace(net.layers[-1], bias=False)))


# ---------------------------------------------------------------------------------------------------------- training


@dataclass
class Trace:
    """A callback of `nested` that keeps [work, processor seconds, loss] every so many steps."""

    every: int
    unit: float
    rows: list = field(default_factory=list)
    began: float = field(default_factory=process_time)

    def __call__(self, net, state, work):
        if state.step % self.every == 0:
            row = self.unit * work, process_time() - self.began, state.value
            self.rows.append(rounded(row, 4))


def run_of(key, plan):
    """The network, its start, the epochs of its stages and the level of the first one."""
    name, seed = key.rsplit(" / ", 1)
    if name in plan["mlps"]:
        net = perceptron(plan["mlps"][name])
        return net, mlp.start(net, int(seed)), [plan["mlp epochs"]], 0
    kind, schedule = name.split(", ", 1)
    epochs = plan["schedules"][schedule]
    first = int(np.flatnonzero(epochs)[0])
    net = network(INTERVALS * 2**first, kind == "trained range")
    theta = start(net, int(seed))
    if kind == "ReLU":
        net, theta = in_relus(net, theta)
    return net, theta, [count for count in epochs if count], first


def train(key, plan, safeguard=True):
    """The record of a key "ROW / SEED"; the safeguard is for splines only."""
    name, seed = key.rsplit(" / ", 1)
    if name == TRUE:
        return {str(n): limit(n, int(seed), samples=plan["samples"]) for n in grids_of(plan)}
    if name == SHORTER:
        short = {str(steps): plan | {"epoch": steps, "shorter": ()} for steps in plan["shorter"]}
        twice = lambda own: [train(f"spline, multilevel / {seed}", own, guarded)["loss"] for guarded in (False, True)]
        return {steps: twice(own) for steps, own in short.items()}
    net, theta, epochs, first = run_of(key, plan)
    stages = [Stage(partial(optimize.lbfgs, steps=plan["epoch"] * count)) for count in epochs]
    trace = Trace(max(1, plan["epoch"] * sum(epochs) // ROWS), 2.0**first)
    objective = loss(int(seed), plan["samples"], parts=10 if name in plan["mlps"] else 1)
    safeguard = safeguard and not name.startswith("ReLU")
    done = finished(nested(net, theta, objective, stages, safeguard=safeguard, callback=trace))
    results = [level.result for level in done.levels]
    values = results[0].history.value
    early = {str(steps): values[min(steps * epochs[0], len(values) - 1)] for steps in plan["shorter"]}
    return {
        "parameters": done.net.size,
        "loss": results[-1].value,
        "work": 2.0**first * done.work,
        "evaluations": sum(result.evaluations for result in results),
        "seconds": round(process_time() - trace.began, 2),
        "levels": [[level.net.size, level.result.value, level.result.reason.name] for level in done.levels],
        "restarts": sum(level.restarted for level in done.levels),
        "shorter": early if len(epochs) == 1 else {},
        "trace": trace.rows,
        "theta": rounded(done.theta, 10) if name in SHOWN and int(seed) == SEEDS[0] else [],
    }


def grids_of(plan):
    """Intervals of every grid."""
    return [INTERVALS * 2**l for l in range(len(plan["schedules"]["coarse"]))]


# ----------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the table. Writes regression.json and regression.png.

    short: one seed, 1000 points, epochs of 5 steps, one MLP, in regression-short.json.
    """
    plan, seeds = (SHORT, SEEDS[:1]) if short else (PLAN, SEEDS)
    stem = os.path.join(folder, "regression-short" if short else "regression")
    names = [f"{kind}, {schedule}" for kind in KINDS for schedule in plan["schedules"]]
    names.remove(f"ReLU, {EQUAL}")  # about splines only
    names += [TRUE, SHORTER, *plan["mlps"]]
    keys = [f"{name} / {seed}" for name in names for seed in seeds]
    done = cells(f"{stem}.json", plan, keys, partial(train, plan=plan), progress, jobs)
    results = {name: [done[f"{name} / {seed}"] for seed in seeds] for name in names}
    draw(results, plan).savefig(f"{stem}.png", dpi=150)
    return text(results, plan, seeds)


def text(results, plan, seeds):
    """Errors of all seeds beside the paper's; those after every level beside the limits; those for shorter epochs."""
    return (
        "Mean squared error, target mapped onto [0, 1]; work in evaluations on the coarsest grid; processor seconds, all\n"
        f"of them and until the error is 1e-5\n{aligned(rows_of_seeds(results, seeds))}\n\n"
        "After every level, medians; least squares on the true directions, all seeds\n"
        f"{aligned(rows_of_levels(results, plan))}\n\n"
        "Fixed range, by the steps of an epoch: means; medians; multilevel with its safeguard, median and worst\n"
        f"{aligned(rows_of_epochs(results, plan))}"
    )


def rows_of_seeds(results, seeds):
    """A line for every kind of training."""
    head = "", "parameters", "paper", "(std)", "mean", "(std)", "median"
    rows = [(*head, *map(str, seeds), "work", "restarts", "seconds", "to 1e-5")]
    for name, runs in results.items():
        if name in (TRUE, SHORTER):
            continue
        losses, work, seconds = (np.array([run[column] for run in runs]) for column in ("loss", "work", "seconds"))
        paper = [f"{number:.2e}" for number in PAPER[name]] if name in PAPER else ["-", "-"]
        spread = losses.std(ddof=1) if len(losses) > 1 else 0.0
        own = [f"{number:.2e}" for number in (losses.mean(), spread, np.median(losses), *losses)]
        cost = f"{np.median(work):.0f}", str(sum(run["restarts"] for run in runs)), f"{np.median(seconds):.1f}"
        rows.append((name, str(runs[0]["parameters"]), *paper, *own, *cost, until(runs, 1e-5)))
    return rows


def rows_of_levels(results, plan):
    """The grids of multilevel training, and what they allow."""
    grids = grids_of(plan)
    rows = [("intervals", *map(str, grids))]
    for name in (f"{kind}, multilevel" for kind in KINDS):
        losses = np.array([[value for _, value, _ in run["levels"]] for run in results[name]])
        rows.append((name, *(f"{value:.2e}" for value in np.median(losses, 0))))
    limits = np.array([[run[str(n)] for n in grids] for run in results[TRUE]])
    return [*rows, (TRUE, *(f"{low:.2e}..{high:.2e}" for low, high in zip(limits.min(0), limits.max(0))))]


def rows_of_epochs(results, plan):
    """The same training with epochs of fewer steps."""
    shown = "ReLU, coarse", *(f"spline, {schedule}" for schedule in COLOURS)
    rows = [("steps", *shown, "fine, median", "multilevel, median", "safeguarded", "worst")]
    for steps in (*plan["shorter"], plan["epoch"]):
        fits = {name: [run["shorter"].get(str(steps), run["loss"]) for run in results[name]] for name in shown}
        guarded = fits["spline, multilevel"]
        if steps != plan["epoch"]:
            fits["spline, multilevel"], guarded = zip(*(run[str(steps)] for run in results[SHORTER]))
        medians = map(np.median, (fits["spline, fine"], fits["spline, multilevel"], guarded))
        figures = *map(np.mean, fits.values()), *medians, max(guarded)
        rows.append((str(steps), *(f"{figure:.2e}" for figure in figures)))
    return [*rows, ("paper", *(f"{PAPER[name][0]:.2e}" for name in shown), "-", "-", "-", "-")]


def until(runs, goal):
    """The median of processor seconds until the loss is at most `goal`, if most runs get there."""
    first = [next((seconds for _, seconds, value in run["trace"] if value <= goal), np.inf) for run in runs]
    return f"{np.median(first):.1f}" if np.median(first) < np.inf else "-"


def draw(results, plan):
    """Loss against work of every run, for every kind; below, the target, the multilevel fit and the errors of the first
    seed's fits, whose colours end at the largest but one in a hundred."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    curves, maps = above.subplots(1, 4), below.subplots(1, 6)
    kinds = [*KINDS, "MLP"]
    titles = ["B-splines, fixed range", "power ReLUs, fixed range", "B-splines, trained range", "MLPs"]
    mlps = dict(zip(plan["mlps"], ("#999999", "#009E73", "#CC79A7")))
    for axes, kind, title in zip(curves, kinds, titles):
        for name, colour in mlps.items() if kind == "MLP" else COLOURS.items():
            runs = results[name if kind == "MLP" else f"{kind}, {name}"]
            for k, run in enumerate(runs):
                work, _, values = np.array(run["trace"]).T
                axes.loglog(np.maximum(work, 1), values, color=colour, lw=1.1, label=name if k == 0 else None)
        axes.set(title=title, xlabel="work, coarse evaluations")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower left")
    low = min(axes.get_ylim()[0] for axes in curves)
    for axes in curves:
        axes.set_ylim(low, 3)
    curves[0].set_ylabel("mean squared error")
    x, f, fits = fitted(results, plan["samples"])
    shown = [("target", f), ("fit, multilevel", fits["spline, multilevel"])]
    shown += [("error, " + name.removeprefix("spline, "), fit - f) for name, fit in fits.items()]
    for axes, (title, values) in zip(maps, shown):
        count, error = int(len(x) ** 0.5), title.startswith("error")
        top = np.quantile(np.abs(values), 0.99)
        span = {"vmin": -top, "vmax": top, "cmap": "RdBu_r"} if error else {"vmin": 0, "vmax": 1}
        image = axes.imshow(values.reshape(count, count), origin="lower", extent=(0, 1, 0, 1), **span)
        axes.set_title(title.replace("trained range, ", "trained range,\n"), fontsize=10)
        axes.set(xticks=(0, 1), yticks=(0, 1))
        ends = (-top, 0, top) if error else (0, 0.5, 1)
        below.colorbar(image, ax=axes, location="bottom", shrink=0.9, ticks=ends, format="%.1e" if error else "%.1f")
    return figure


def fitted(results, samples, count=121):
    """A grid of points (count^2, 2), y first; the target there; what the first seed's fits make of it."""
    axis = np.linspace(0, 1, count)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    f = target(data(SEEDS[0], samples)[0])
    fits = {}
    for name in SHOWN:
        theta, trained_range = np.array(results[name][0]["theta"]), name.startswith("trained range")
        net = network(theta.size // HIDDEN - 2 - trained_range - DEGREE, trained_range)
        fits[name] = net(theta, x)[:, 0]
    return x, (target(x) - f.min()) / np.ptp(f), fits
