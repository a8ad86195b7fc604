"""Scaling laws: test RMSE against the number of parameters on the five toy functions, KAN beside MLP.

Liu et al., section 3.1 and Fig. 3.1, train KANs of the shapes in `kanref.data.toys.SHAPES` on finer and finer grids and
MLPs of several widths, and compare RMSE ~ N^-alpha with alpha = degree + 1 = 4 of their theorem 2.1 and with -4/d of
dense networks, d the number of inputs. They print no numbers.

Here, for every seed: 3000 training points ("hundred": 5000) and 10000 test points, uniform in the box; the corners of boxes
of up to four sides are training points too, as sums of monotone functions are extreme there, where else no grid learns.
Both kinds of network: the best of three starts ("four": ten) by training loss after 100 L-BFGS steps. KAN: B-splines alone
(as in the theorem), degree 3, continued straight outside their knots; starts on 3 intervals; then on every grid knots moved
to where the activations are, and Levenberg-Marquardt steps until five of them gain less than 2 %, 60 at most. MLP: two
hidden layers of tanh; 300 L-BFGS steps more, and Levenberg-Marquardt until twenty gain less, 100 at most. "hundred" has too many
parameters for that: there it is L-BFGS, three times as many steps.

Exponents are least-squares slopes of log RMSE for every seed; RMSE within rounding (`ROUNDING`) are left out. J_0(20 x)
has 6.4 periods, so that nothing is resolved by less than 13 intervals and its own law begins only after that.
"""

import itertools
import os
from dataclasses import dataclass, replace

import numpy as np

from kanref import optimize
from kanref.data.toys import SCALING
from kanref.mlp import mlp, start
from kanref.model import Model
from kanref.papers.experiment import cells, finished
from kanref.words import aligned

FINE = (3, 5, 10, 20, 50, 100)
GRIDS = (3, 5, 10, 20, 50)
COARSE = (3, 5, 10, 20)
WIDTHS = (4, 8, 16)
SEEDS = (0, 1, 2)
STARTS = {"bessel": 3, "staircase": 3, "product": 3, "hundred": 3, "four": 10}
SAMPLES, TEST_SAMPLES = 3000, 10000
SAMPLES_OF_HUNDRED = 5000  # more than parameters
MAX_CORNERS = 4  # inputs of a box whose corners are training points
THEORY = 4.0
FITTED = 50  # intervals up to which exponents are fitted
ROUNDING = 1e-12

PLAN = {  # target: [(shape, grids)], the shape of the exponent first
    "bessel": [((1, 1), FINE)],
    "staircase": [((2, 1, 1), FINE)],
    "product": [((2, 2, 1), FINE)],
    "hundred": [((100, 1, 1), COARSE)],
    "four": [((4, 2, 1, 1), GRIDS), ((4, 2, 2, 1), COARSE), ((4, 4, 2, 1), COARSE)],
}
MLP_WIDTHS = {name: WIDTHS for name in PLAN} | {"hundred": (2, 4, 8)}
SHORT = {"bessel": [((1, 1), (3, 5, 10, 20))], "staircase": [((2, 1, 1), (3, 5, 10))]}
SHORT_WIDTHS = {"bessel": (3, 4), "staircase": (3, 4)}


# ---------------------------------------------------------------------------------------------------------- training


class Settled:
    """A callback that ends a run when `patience` steps lowered the value by less than `part` of it."""

    def __init__(self, patience, part=0.02):
        self.patience, self.part, self.values = patience, part, []

    def __call__(self, state):
        self.values.append(state.value)
        early = self.values[-1 - self.patience] if len(self.values) > self.patience else np.inf
        return self.values[-1] > (1 - self.part) * early


def polish(model, X, y, name, steps, patience):
    """Levenberg-Marquardt until settled; L-BFGS for the target that is too large for it."""
    objective = model.objective(X, y)
    if name == "hundred":
        return reached(model, optimize.lbfgs(objective, model.theta, steps=3 * steps))
    options = {"steps": steps, "gradient_tolerance": 0.0, "callback": Settled(patience)}
    return reached(model, optimize.levenberg_marquardt(objective.residuals, model.theta, **options))


def reached(model, result):
    """The model with the parameters of a run that was not cut short by Ctrl-C."""
    return replace(model, theta=finished(result).theta)


def data(name, seed):
    """Training and test points of a seed."""
    rng, target = np.random.default_rng(seed), SCALING[name]
    samples = SAMPLES_OF_HUNDRED if name == "hundred" else SAMPLES
    X, X_test = target.sample(samples, rng)[0], target.sample(TEST_SAMPLES, rng)[0]
    if target.inputs <= MAX_CORNERS:
        X = np.vstack([X, list(itertools.product(*target.ranges))])
    return X, target.function(X), X_test, target.function(X_test)


def best_start(models, X, y):
    """The model of lowest training loss after 100 L-BFGS steps."""
    runs = [(model, optimize.lbfgs(model.objective(X, y), model.theta, steps=100)) for model in models]
    return reached(*min(runs, key=lambda run: run[1].value))


def train_kan(name, shape, grids, seed):
    """[parameters, train RMSE, test RMSE] after every grid."""
    X, y, X_test, y_test = data(name, seed)
    options = {"intervals": grids[0], "degree": 3, "base": None, "outside": "linear"}
    model = best_start([Model.build(list(shape), seed=1000 * seed + s, **options) for s in range(STARTS[name])], X, y)
    rows = []
    for G in grids:
        model = polish(model.update_grid(X).refine(G, X), X, y, name, 60, patience=5)
        rows.append((model.net.size, model.rmse(X, y), model.rmse(X_test, y_test)))
    return rows


def train_mlp(name, width, seed):
    """[parameters, train RMSE, test RMSE] of one width, in a list."""
    X, y, X_test, y_test = data(name, seed)
    net = mlp([X.shape[1], width, width, 1])
    model = best_start([Model(net, start(net, 1000 * seed + s)) for s in range(STARTS[name])], X, y)
    model = reached(model, optimize.lbfgs(model.objective(X, y), model.theta, steps=300))
    model = polish(model, X, y, name, 100, patience=20)
    return [(net.size, model.rmse(X, y), model.rmse(X_test, y_test))]


@dataclass(frozen=True)
class Cell:
    """Computes one key, "kan NAME 2,1,1 SEED" with the grids of a plan or "mlp NAME WIDTH SEED"."""

    plan: dict

    def __call__(self, key):
        kind, name, shape, seed = key.split()
        if kind == "mlp":
            return train_mlp(name, int(shape), int(seed))
        shape = tuple(map(int, shape.split(",")))
        return train_kan(name, shape, dict(self.plan[name])[shape], int(seed))


def kan_key(name, shape, seed):
    return f"kan {name} {','.join(map(str, shape))} {seed}"


def mlp_key(name, width, seed):
    return f"mlp {name} {width} {seed}"


# ----------------------------------------------------------------------------------------------------------- results


def exponent(sizes, errors):
    """alpha of errors ~ sizes^-alpha by least squares of the logarithms, without errors that are rounding."""
    sizes, errors = np.asarray(sizes, float), np.asarray(errors, float)
    kept = errors > ROUNDING
    if kept.sum() < 2:
        return np.nan
    return float(-np.polyfit(np.log(sizes[kept]), np.log(errors[kept]), 1)[0])


def run(folder, progress=None, short=False, jobs=1):
    """All cells, or two targets and one seed; returns the tables. Writes scaling.json and scaling.png (short: -short)."""
    plan, widths, seeds = (SHORT, SHORT_WIDTHS, SEEDS[:1]) if short else (PLAN, MLP_WIDTHS, SEEDS)
    stem = os.path.join(folder, "scaling-short" if short else "scaling")
    settings = {
        "plan": plan,
        "widths": widths,
        "samples": [SAMPLES, SAMPLES_OF_HUNDRED],
        "starts": STARTS,
        "degree": 3,
        "outside": "linear",
    }
    keys = [kan_key(name, shape, s) for name in plan for shape, _ in plan[name] for s in seeds]
    keys += [mlp_key(name, width, s) for name in plan for width in widths[name] for s in seeds]
    done = cells(f"{stem}.json", settings, keys, Cell(plan), progress, jobs)
    kans = {
        (name, shape): np.array([done[kan_key(name, shape, s)] for s in seeds])
        for name in plan
        for shape, _ in plan[name]
    }
    mlps = {name: np.array([[done[mlp_key(name, w, s)][0] for w in widths[name]] for s in seeds]) for name in plan}
    draw(plan, kans, mlps).savefig(f"{stem}.png", dpi=150)
    return text(plan, widths, kans, mlps)


def text(plan, widths, kans, mlps):
    """The exponents beside the theory's, and below them the errors they come from."""
    head = ("target", "shape", "grids", "KAN: N^-a", "lowest", "G^-a", "last two", "MLP: N^-a", "theory")
    laws, errors = [head], [("target", "network", "parameters", "train", "test", "best", "worst")]
    for (name, shape), rows in kans.items():
        grids = dict(plan[name])[shape]
        used = np.array(grids) <= FITTED
        alphas = [exponent(seed[used, 0], seed[used, 2]) for seed in rows]
        by_grid = [exponent(np.array(grids)[used], seed[used, 2]) for seed in rows]
        last = [exponent(grids[-2:], seed[-2:, 2]) for seed in rows]
        theirs = [exponent(seed[:, 0], seed[:, 2]) for seed in mlps[name]]
        figures = np.median(alphas), np.min(alphas), np.median(by_grid), np.median(last), np.median(theirs), THEORY
        span = f"{grids[0]}..{max(G for G in grids if G <= FITTED)}"
        laws.append((name, str(list(shape)), span, *(f"{a:.2f}" if np.isfinite(a) else "rounding" for a in figures)))
        errors += [(name, f"{list(shape)}, G = {G}", *row) for G, row in zip(grids, _columns(rows))]
        if shape == plan[name][0][0]:
            errors += [(name, f"MLP, width {w}", *row) for w, row in zip(widths[name], _columns(mlps[name]))]
    count = len(next(iter(kans.values())))
    return (
        f"Exponents, medians of {count} seeds; the theory's is that of B-splines of degree 3\n{aligned(laws, 3)}\n\n"
        f"RMSE, medians of {count} seeds, and best and worst test RMSE\n{aligned(errors, 2)}"
    )


def _columns(rows):
    """Texts (parameters, train, test, best, worst) for every size from (seeds, sizes, 3)."""
    for sizes, train, test in rows.transpose(1, 2, 0):
        figures = np.median(train), np.median(test), test.min(), test.max()
        yield f"{sizes[0]:.0f}", *(f"{figure:.1e}" for figure in figures)


def draw(plan, kans, mlps):
    """Test RMSE against parameters for every target: every seed thin, medians bold, slopes -4 and -4/d."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    rows = -(-len(plan) // 3)
    figure = Figure(figsize=(3.6 * min(len(plan), 3) + 0.4, 3.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, min(len(plan), 3), squeeze=False).flat)
    for axes in panels[len(plan) :]:
        axes.axis("off")
    for axes, name in zip(panels, plan):
        target = SCALING[name]
        marks = zip(("#0072B2", "#56B4E9", "#009E73"), "o^v")
        ours = [(f"KAN {list(shape)}", kans[name, shape], *mark) for (shape, _), mark in zip(plan[name], marks)]
        for label, seeds, colour, marker in [*ours, ("MLP", mlps[name], "#D55E00", "s")]:
            N, median = seeds[0, :, 0], np.median(seeds[:, :, 2], 0)
            for seed in seeds:
                axes.loglog(N, seed[:, 2], color=colour, alpha=0.3, lw=0.8)
            axes.loglog(N, median, color=colour, marker=marker, ms=4, lw=1.6, label=label)
        N, median = ours[0][1][0, :, 0], np.median(ours[0][1][:, :, 2], 0)
        d = target.inputs
        axes.loglog(N, median[0] * (N / N[0]) ** -THEORY, ":", color="0.3", lw=1.2, label="$N^{-4}$")
        if d > 1:
            axes.loglog(N, median[0] * (N / N[0]) ** (-THEORY / d), "--", color="0.6", lw=1, label=f"$N^{{-4/{d}}}$")
        axes.set_title(target.formula, fontsize=8)
        axes.set(xlabel="parameters N", ylabel="test RMSE")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 1e-16))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=7)
    return figure
