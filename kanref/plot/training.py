"""The course of training."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kanref.plot.style import BLUE, GREY, VERMILLION, plural, styled


@styled
def training(history, intervals=None):
    """Loss and validation loss against the step on a logarithmic axis, with a line where a new run begins.

    history: of a `Model`; intervals: a number for each run, to label it with. Returns a Figure.
    """
    if not len(history):
        raise ValueError("history is empty: there is no training to show; call fit first")
    runs = len(history.reasons)
    if intervals is not None and len(intervals) != runs:
        raise ValueError(f"intervals must have one entry for each of {runs} runs, but it has {len(intervals)}")
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    ax = figure.add_subplot()
    step, starts = np.arange(len(history)), np.searchsorted(history.run, np.arange(runs))
    ax.plot(*_apart(step, history.loss, history.run), color=BLUE, lw=1.6, label="training")
    known = np.isfinite(history.validation)
    if known.any():
        line = _apart(step[known], history.validation[known], history.run[known])
        ax.plot(*line, color=VERMILLION, lw=1.6, label="validation")
        best = np.nanargmin(history.validation)
        ring = {"ms": 7, "mfc": "white", "mec": VERMILLION, "mew": 1.6, "ls": ""}
        ax.plot(best, history.validation[best], "o", **ring, label=f"lowest, {history.validation[best]:.3g}")
    for start in starts[1:]:
        ax.axvline(start, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
    if intervals is not None:
        _label_runs(ax, starts / max(1, len(history) - 1), intervals)
    ax.set(xlabel="step", ylabel="loss", xlim=(0, max(1, len(history) - 1)), yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.grid(axis="y", which="both", color="#EBEBEB", lw=0.6)
    ax.legend(loc="best")
    seconds = sum(history.seconds[history.run == k].max() for k in range(runs))
    figure.suptitle(f"Training: {len(history) - runs} steps in {seconds:.2g} s", fontsize=10.5)
    return figure


def _apart(x, y, run):
    """x and y with a NaN between runs, where a line is interrupted."""
    cuts = np.flatnonzero(np.diff(run)) + 1
    return np.insert(x.astype(float), cuts, np.nan), np.insert(y, cuts, np.nan)


def _label_runs(ax, starts, intervals):
    """Numbers of intervals above the axis where runs start (in shares of the axis), stacked where they would meet."""
    level, free = 0, -1.0
    for start, number in zip(starts, intervals):
        level = 0 if start >= free else level + 1
        free = max(free, start + 0.14)
        text = f"{number} {plural('interval', number)}"
        options = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 8, "color": "#555555"}
        ax.annotate(text, (start, 1), (0, 3 + 10 * level), **options)
