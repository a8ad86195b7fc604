"""Fifteen special functions by small KANs: Liu et al., section 3.2 and Table 1; the method of Table 2 is here, too.

The paper trains KANs of width 5 and 2 to 6 layers, unpruned and pruned, on grids of 3, 5, 10, 20, 50, 100, 200 intervals,
with 200 L-BFGS steps on each and 3 seeds, and reports the lowest test RMSE of all: `PAPER`, beside that of its best MLP.
pykan's data are 1000 training points by default; the paper names neither their number nor the ranges.

Here, one protocol for all rows (`learn`): 3000 training, 1000 validation and 1000 test points, all drawn anew for every
seed; unpruned KANs [n,5,1], [n,5,5,1], [n,5,5,5,1] of degree 3 with SiLU as base function; 60 L-BFGS steps on 3
intervals, knots moved to the activations, 20 Levenberg-Marquardt steps on each of 3, 5, 10, 20, 50 intervals. The shapes
are compared on the grids that leave 6 training points for each parameter, and the best of them goes on to those that
leave 3. Shape, grid and step are chosen by validation error alone; the test points are looked at once, at the end, where
the paper takes the lowest test error. A row is met if the best of three seeds is at or below the paper's number. As the
ranges are chosen and the points are probably more than the paper's, a row met is no like-for-like win.
"""

import os
from functools import partial
from operator import itemgetter
from time import process_time

import numpy as np

from kanref.bases import MinMax
from kanref.data.special import TARGETS
from kanref.model import Model
from kanref.papers.experiment import cells
from kanref.words import aligned

PAPER = {  # test RMSE: best KAN, best MLP
    "ellipj": (1.33e-4, 6.48e-4),
    "ellipkinc": (1.24e-4, 5.52e-4),
    "ellipeinc": (8.26e-5, 3.04e-4),
    "jv": (1.64e-3, 5.52e-3),
    "yv": (1.49e-5, 3.45e-4),
    "kv": (2.52e-5, 1.67e-4),
    "iv": (9.28e-3, 1.07e-2),
    "lpmv(0)": (5.25e-5, 1.74e-2),
    "lpmv(1)": (6.90e-4, 1.50e-3),
    "lpmv(2)": (2.26e-4, 9.43e-4),
    "sph_harm(0,1)": (2.21e-7, 1.25e-6),
    "sph_harm(1,1)": (1.22e-4, 6.70e-4),
    "sph_harm(0,2)": (1.95e-7, 2.85e-6),
    "sph_harm(1,2)": (1.50e-5, 1.84e-3),
    "sph_harm(2,2)": (9.45e-5, 6.21e-4),
}
COLUMNS = ("KAN", "MLP")
SEEDS = (0, 1, 2)
PROTOCOL = {
    "samples": (3000, 1000, 1000),  # training, validation, test
    "hidden": ((5,), (5, 5), (5, 5, 5)),
    "intervals": (3, 5, 10, 20, 50),  # while there are enough points
    "steps": (60, 20),  # L-BFGS on the first grid, Levenberg-Marquardt on every grid
    "points": (6, 3),  # for training, at least, for each parameter: of the shapes compared, of the one chosen
}
SHORT = {**PROTOCOL, "hidden": ((5,),), "intervals": (3, 5, 10)}
TITLES = {
    "special": "Special functions (Liu et al., Table 1): KANs of width 5",
    "feynman": "Feynman formulas (Liu et al., Table 2): KANs of width 5",
}
STYLE = {  # of the paper's columns
    "KAN": ("s", "#D55E00"),
    "human": ("D", "#CC79A7"),
    "pruned": ("s", "#D55E00"),
    "unpruned": ("^", "#E69F00"),
    "MLP": ("v", "0.45"),
}


def learn(target, seed, samples, hidden, intervals, steps, points):
    """Train by the protocol above; what was chosen and its errors, as JSON types."""
    began, rng = process_time(), np.random.default_rng(seed)
    training, validation, test = (target.sample(n, rng) for n in samples)
    climbs = []
    for nodes in hidden:
        shape = [target.inputs, *nodes, 1]
        grids = [[G for G in intervals if parameters(shape, G) * p <= samples[0]] for p in points]
        start = begin(target, shape, intervals[0], seed, training, steps[0])
        climbs.append((shape, grids[1][len(grids[0]) :], climb(start, grids[0], training, validation, steps[1])))
    shape, finer, (lowest, best, last) = min(climbs, key=lambda tried: tried[2][0])
    lowest, best, _ = min((lowest, best, last), climb(last, finer, training, validation, steps[1]), key=itemgetter(0))
    return {
        "shape": shape,
        "intervals": best.net.layers[0].terms["spline"].basis.intervals,
        "parameters": best.net.size,
        "train": best.rmse(*training),
        "validation": lowest,
        "test": best.rmse(*test),
        "compared": [tried[2][0] for tried in climbs],
        "seconds": round(process_time() - began, 1),
    }


def parameters(shape, intervals):
    """Of a KAN of degree 3: intervals + 3 coefficients and the weight of the base function on every edge."""
    return sum(P * Q for P, Q in zip(shape, shape[1:])) * (intervals + 4)


def begin(target, shape, intervals, seed, training, steps):
    """A KAN of degree 3, warmed up by L-BFGS, knots moved to the activations; its inputs are mapped from the box to [-1, 1]."""
    box = MinMax(*np.array(target.ranges).T)
    model = Model.build(shape, intervals=intervals, outside="linear", inputs=box, seed=seed)
    return _uninterrupted(model.fit(*training, steps=steps, progress=False)).update_grid(training[0])


def climb(model, grids, training, validation, steps):
    """Levenberg-Marquardt on finer and finer grids: lowest validation RMSE, its model, and the last model."""
    lowest, best = np.inf, model
    for G in grids:
        model = model.fit(*training, optimizer="lm", steps=steps, intervals=[G], validation=validation, progress=False)
        error = _uninterrupted(model).rmse(*validation)
        if error < lowest:
            lowest, best = error, model
        model = model.update_grid(training[0])
    return lowest, best, model


def _uninterrupted(model):
    if model.history.interrupted:
        raise KeyboardInterrupt  # half a cell is no result
    return model


def cell(key, **protocol):
    """`learn` for "name/seed"."""
    name, seed = key.rsplit("/", 1)
    return learn(TARGETS[name], int(seed), **protocol)


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the table. Resumes from special.json. short: the last row, one seed and shape, coarse grids."""
    return reproduce("special", PAPER, COLUMNS, cell, folder, progress, short, jobs)


def reproduce(name, paper, columns, cell, folder, progress, short, jobs):
    """Train every row of `paper` with every seed; write NAME.json and NAME.png, return the table."""
    rows, seeds, protocol = (list(paper)[-1:], SEEDS[:1], SHORT) if short else (list(paper), SEEDS, PROTOCOL)
    path = os.path.join(folder, f"{name}-short.json" if short else f"{name}.json")
    keys = [f"{row}/{seed}" for seed in seeds for row in rows]
    done = cells(path, protocol, keys, partial(cell, **protocol), progress, jobs)
    results = {row: [done[f"{row}/{seed}"] for seed in seeds] for row in rows}
    draw(results, paper, columns, TITLES[name]).savefig(os.path.join(folder, f"{name}.png"), dpi=150)
    return table(results, paper, columns)


def table(results, paper, columns):
    """The paper's numbers, kanref's best and median, best over the paper's lowest number, and the network of the best seed."""
    lines, met = [["test RMSE", *columns, "best", "median", "best/paper", "shape", "intervals", "parameters"]], []
    for row, seeds in results.items():
        best, median = min(seeds, key=itemgetter("test")), np.median([seed["test"] for seed in seeds])
        least = min(paper[row])
        met.append((best["test"] <= least, median <= least))
        ratio = f"{best['test'] / least:.2g}" + ("  " if met[-1][0] else " !")
        figures = [f"{error:.2e}" for error in (*paper[row], best["test"], median)]
        network = ["-".join(map(str, best["shape"])), str(best["intervals"]), str(best["parameters"])]
        lines.append([row, *figures, ratio, *network])
    by_best, by_median = np.sum(met, 0)
    verdict = f"at or below the paper's lowest number: best of {len(seeds)} seeds in {by_best} of {len(results)} rows"
    return f"{aligned(lines)}\n{verdict} (! marks the others), median in {by_median}"


def draw(results, paper, columns, title):
    """Every row a line: the paper's columns as open symbols, kanref's best and median seed as dots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.7 + 0.27 * len(results)), layout="constrained")
    axes = figure.add_subplot(xlabel="test RMSE", xscale="log")
    axes.set_title(title, loc="left", fontsize=11)
    height = -np.arange(len(results))
    numbers = np.array([paper[row] for row in results])
    errors = np.array([[seed["test"] for seed in seeds] for seeds in results.values()])
    best, median = errors.min(1), np.median(errors, 1)
    axes.hlines(height, best, numbers.min(1), color="0.87", lw=3, zorder=1)
    for column, label in zip(numbers.T, columns):
        marker, color = STYLE[label]
        axes.plot(column, height, marker, mfc="white", mec=color, mew=1.3, ms=6, label=f"paper, {label}", zorder=2)
    axes.plot(median, height, "o", color="#7FB8DD", ms=6, label=f"kanref, median of {errors.shape[1]} seeds", zorder=3)
    axes.plot(best, height, "o", color="#0072B2", ms=6, label="kanref, best", zorder=4)
    axes.set_yticks(height, results, fontsize=9)
    axes.set_ylim(height[-1] - 0.7, 0.7)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=-(-(len(columns) + 2) // 2), frameon=False, fontsize=9)
    return figure
