"""The interpolation threshold: train and test RMSE of exp(sin(pi x) + y^2) on grids that outgrow 1000 training points.

Liu et al., Fig. 2.3, extend the grids of [2, 5, 1] and [2, 1, 1] from 3 to 1000 intervals, 200 L-BFGS steps on each. They
print no numbers; the lowest test loss of [2, 5, 1], which they count as 15 G parameters, lies near 50 intervals, where
the parameters are about as many as the samples: 1000/15 = 67. At 1000 intervals their line search fails.

Here: L-BFGS as theirs, 200 steps on each grid; knots are moved to where the activations are before each extension. Beyond
the threshold more coefficients than samples are trained: the training loss falls on, the test loss rises.
"""

import os
from functools import partial

import numpy as np

from kanref.data.toys import SCALING
from kanref.model import Model
from kanref.papers.experiment import cells
from kanref.words import aligned

SHAPES = ((2, 5, 1), (2, 1, 1))
INTERVALS = (3, 5, 10, 20, 50, 100, 200, 500, 1000)
SAMPLES = 1000
SEEDS = (0, 1, 2)
PAPER = {(2, 5, 1): 50}  # intervals of the lowest test loss, read from the figure


def train(key, intervals=INTERVALS, steps=200):
    """[train RMSE, test RMSE] after every grid, for a key "2,5,1 SEED"."""
    shape, seed = key.split()
    rng, target = np.random.default_rng(int(seed)), SCALING["staircase"]
    X, y = target.sample(SAMPLES, rng)
    X_test, y_test = target.sample(10 * SAMPLES, rng)
    model = Model.build([int(width) for width in shape.split(",")], intervals=intervals[0], seed=int(seed))
    model = model.fit(X, y, steps=steps // 2, progress=False)
    errors = []
    for G in intervals:
        model = model.update_grid(X).fit(X, y, steps=steps, intervals=[G], progress=False)
        if model.history.interrupted:
            raise KeyboardInterrupt  # half a curve is no result
        errors.append((model.rmse(X, y), model.rmse(X_test, y_test)))
    return errors


def run(folder, progress=None, short=False, jobs=1):
    """Both shapes and all seeds; returns the table. Writes threshold.json and threshold.png.

    short: one seed and fewer grids and steps, in threshold-short.json.
    """
    intervals, seeds, steps = ((3, 10, 50, 200), SEEDS[:1], 60) if short else (INTERVALS, SEEDS, 200)
    stem = os.path.join(folder, "threshold-short" if short else "threshold")
    settings = {"intervals": intervals, "samples": SAMPLES, "steps": steps}
    keys = {shape: [f"{','.join(map(str, shape))} {seed}" for seed in seeds] for shape in SHAPES}
    compute = partial(train, intervals=intervals, steps=steps)
    done = cells(f"{stem}.json", settings, [key for own in keys.values() for key in own], compute, progress, jobs)
    errors = {shape: np.array([done[key] for key in own]) for shape, own in keys.items()}
    draw(intervals, errors).savefig(f"{stem}.png", dpi=150)
    return text(intervals, errors)


def parameters(shape, intervals):
    """What the paper counts: edges times intervals."""
    return sum(P * Q for P, Q in zip(shape, shape[1:])) * intervals


def text(intervals, errors):
    """Medians of train and test RMSE on every grid, and where the test error is lowest."""
    head, seeds = ["intervals"], len(next(iter(errors.values())))
    for shape in errors:
        head += [f"{list(shape)}: {parameters(shape, 1)} G", "train", "test"]
    rows = [head]
    for k, G in enumerate(intervals):
        row = [str(G)]
        for shape, values in errors.items():
            row += [str(parameters(shape, G)), *(f"{error:.1e}" for error in np.median(values[:, k], 0))]
        rows.append(row)
    lines = [f"RMSE on {SAMPLES} training points and on test points, medians of {seeds} seeds", aligned(rows), ""]
    for shape, values in errors.items():
        lowest = intervals[int(np.median(values[:, :, 1], 0).argmin())]
        paper = f" (paper: near {PAPER[shape]})" if shape in PAPER else ""
        threshold = SAMPLES / parameters(shape, 1)
        lines.append(
            f"{list(shape)}: lowest test RMSE at {lowest} intervals{paper}; as many parameters as samples at {threshold:.0f}"
        )
    return "\n".join(lines)


def draw(intervals, errors):
    """Train and test RMSE against intervals, one panel for each shape, with the threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, len(errors), sharey=True)
    for axes, (shape, values) in zip(panels, errors.items()):
        for column, (label, colour) in enumerate((("train", "#0072B2"), ("test", "#D55E00"))):
            for seed in values:
                axes.loglog(intervals, seed[:, column], color=colour, alpha=0.3, lw=0.8)
            axes.loglog(intervals, np.median(values[:, :, column], 0), "o-", color=colour, ms=4, label=label)
        axes.axvline(SAMPLES / parameters(shape, 1), color="0.4", ls=":", label="parameters = samples")
        axes.set(title=f"{list(shape)}", xlabel="intervals G")
        axes.set_xticks(intervals, [str(G) for G in intervals], fontsize=8)
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("RMSE, exp(sin πx + y²), 1000 points")
    panels[0].legend(frameon=False)
    return figure
