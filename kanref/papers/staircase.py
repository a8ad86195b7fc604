"""The staircase of grid extension: f(x, y) = exp(sin(pi x) + y^2) by a [2, 1, 1] network of degree 3.

Liu et al., section 2.4 and Fig. 2.3 train the same network on finer and finer grids; the authors' example 8 prints the
test RMSE for 3000 training points on [-1, 1]^2 after grids of 5, 10, 20, 50, 100 intervals (`PAPER`).

Here: 100 L-BFGS steps on 5 intervals, knots moved once to where the activations are, then 50 Levenberg-Marquardt steps on
every grid, the function carried over by least squares. Training points, test points and start depend on the seed.
"""

import os
from functools import partial

import numpy as np

from kanref.data.toys import SCALING
from kanref.model import Model
from kanref.papers.experiment import cells
from kanref.words import aligned

INTERVALS = (5, 10, 20, 50, 100)
PAPER = (6.77e-3, 3.35e-4, 1.86e-5, 4.93e-7, 3.27e-8)  # pykan-v0, example 8, 3000 points, test RMSE
SEEDS = (0, 1, 2, 3, 4)
SAMPLES = 3000


def staircase(seed, intervals=INTERVALS, samples=SAMPLES):
    """[train RMSE, test RMSE] after every grid."""
    target, rng = SCALING["staircase"], np.random.default_rng(int(seed))
    X, X_test = rng.uniform(-1, 1, (2, samples, 2))
    y, y_test = target.function(X), target.function(X_test)
    model = Model.build([2, 1, 1], intervals=intervals[0], degree=3, seed=int(seed))
    model = model.fit(X, y, steps=100, progress=False).update_grid(X)
    errors = []
    for G in intervals:
        model = model.fit(X, y, optimizer="lm", steps=50, intervals=[G], progress=False)
        if model.history.interrupted:
            raise KeyboardInterrupt  # half a staircase is no result
        errors.append((model.rmse(X, y), model.rmse(X_test, y_test)))
    return errors


def run(folder, progress=None, short=False, jobs=1):
    """All seeds; returns the table. Writes staircase.json and staircase.png.

    short: one seed and grids up to 20, in staircase-short.json.
    """
    intervals, seeds = (INTERVALS[:3], SEEDS[:1]) if short else (INTERVALS, SEEDS)
    stem = os.path.join(folder, "staircase-short" if short else "staircase")
    settings = {"intervals": intervals, "samples": SAMPLES, "paper": PAPER[: len(intervals)]}
    keys = [str(seed) for seed in seeds]
    done = cells(f"{stem}.json", settings, keys, partial(staircase, intervals=intervals), progress, jobs)
    errors = np.array([done[key] for key in keys])
    draw(intervals, errors).savefig(f"{stem}.png", dpi=150)
    return text(intervals, errors)


def text(intervals, errors):
    """The table: the authors' test RMSE beside the median, best and worst of the seeds."""
    rows = [("intervals", "authors", "kanref", "best", "worst", "train")]
    for k, G in enumerate(intervals):
        test, train = errors[:, k, 1], np.median(errors[:, k, 0])
        figures = (PAPER[k], np.median(test), test.min(), test.max(), train)
        rows.append((str(G), *(f"{figure:.2e}" for figure in figures)))
    return f"test RMSE, median of {len(errors)} seeds\n{aligned(rows)}"


def draw(intervals, errors):
    """RMSE against the number of intervals, every seed, the authors' figures and the slope G^-4 of the theory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot(
        xlabel="intervals G", ylabel="test RMSE", title="exp(sin πx + y²), [2, 1, 1], 3000 points"
    )
    for k, seed in enumerate(errors):
        axes.loglog(
            intervals, seed[:, 1], color="#0072B2", alpha=0.35, lw=1, label="kanref, every seed" if k == 0 else None
        )
    median = np.median(errors[:, :, 1], 0)
    axes.loglog(intervals, median, "o-", color="#0072B2", label="kanref, median")
    axes.loglog(intervals, PAPER[: len(intervals)], "s--", color="#D55E00", label="authors (pykan, example 8)")
    axes.loglog(intervals, median[0] * (np.array(intervals) / intervals[0]) ** -4.0, ":", color="0.4", label="slope −4")
    axes.set_xticks(intervals, [str(G) for G in intervals])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
