"""Continual learning: five Gaussian peaks shown one after the other, KAN beside MLP (Liu et al., section 3.5, Fig. 3.4).

y = sum_i exp(-300 (x - c_i)^2), c_i = 2 (i - 3)/5 for i = 1..5; in phase i the network sees 100 points with
|x - c_i| <= 1/5 and nothing else. The figure of the paper has no numbers; pykan's example reports 3.99e-6 as the loss of
each phase on the data of that phase (root mean squared error), 100 L-BFGS steps each, knots left alone.

Here: the same peaks, points and phases. KAN: [1, 1], 200 intervals, degree 3, no base function (only local functions
stay where they are), random start of amplitude 0.1/200, 100 L-BFGS steps in each phase. MLPs: tanh and ReLU, two hidden
layers of 100, ten times as many steps, as they learn more slowly. Reported: RMSE on the data of the phase, and on the data
of all phases so far.
"""

import os
from functools import partial

import numpy as np

from kanref import objectives, optimize
from kanref.mlp import mlp, start
from kanref.network import kan
from kanref.papers.experiment import cells, finished
from kanref.words import aligned

PAPER = 3.99e-6  # pykan's example, every phase
PHASES, POINTS = 5, 100
INTERVALS = 200
STEPS = {"KAN": 100, "MLP": 1000}
SHORT_STEPS = {"KAN": 100, "MLP": 50}
NETWORKS = ("KAN [1, 1]", "MLP tanh", "MLP relu")
CURVE = np.linspace(-1, 1, 201)


def peaks(x):
    """sum_i exp(-300 (x - c_i)^2)."""
    return np.exp(-300 * (np.asarray(x)[..., None] - centres()) ** 2).sum(-1)


def centres():
    """c_i = 2/5 (i - 2) for i = 0..4."""
    return 0.4 * (np.arange(PHASES) - (PHASES - 1) / 2)


def phases():
    """The points of every phase, (PHASES, POINTS)."""
    return centres()[:, None] + np.linspace(-0.2, 0.2, POINTS)


def build(name, seed=0):
    """A network and its start."""
    if name.startswith("KAN"):
        net = kan([1, 1], intervals=INTERVALS, degree=3, base=None)
        return net, np.random.default_rng(seed).normal(0, 0.1 / INTERVALS, net.size)
    net = mlp([1, 100, 100, 1], name.split()[1])
    return net, start(net, seed)


def learn(name, steps=STEPS):
    """For every phase: RMSE on its data, RMSE on all data so far, and the predictions on `CURVE`."""
    net, theta = build(name)
    points, results = phases(), []
    for phase in range(PHASES):
        objective = objectives.mse(net, points[phase], peaks(points[phase]))
        result = finished(optimize.lbfgs(objective, theta, steps=steps[name[:3]]))
        theta = result.theta
        seen = points[: phase + 1].ravel()
        everything = objectives.mse(net, seen, peaks(seen)).value(theta)
        curve = net(theta, CURVE)[:, 0]
        results.append([result.value**0.5, everything**0.5, curve.round(4).tolist()])
    return {"parameters": net.size, "phases": results}


def run(folder, progress=None, short=False, jobs=1):
    """All networks; returns the table. Writes continual.json and continual.png (short: fewer steps, -short)."""
    steps = SHORT_STEPS if short else STEPS
    stem = os.path.join(folder, "continual-short" if short else "continual")
    settings = {"intervals": INTERVALS, "points": POINTS, "steps": steps}
    done = cells(f"{stem}.json", settings, NETWORKS, partial(learn, steps=steps), progress, jobs)
    draw(done).savefig(f"{stem}.png", dpi=150)
    return text(done)


def text(done):
    """RMSE of every network after every phase, on the data of the phase and on all data so far, beside pykan's."""
    head = ("network", "parameters", "RMSE on", *(f"phase {phase + 1}" for phase in range(PHASES)))
    rows = [head, ("pykan's example", "203", "its phase", *[f"{PAPER:.2e}"] * PHASES)]
    for name, result in done.items():
        for column, what in enumerate(("its phase", "all so far")):
            figures = [f"{phase[column]:.2e}" for phase in result["phases"]]
            rows.append((name, str(result["parameters"]), what, *figures))
    return aligned(rows, 3)


def draw(done):
    """The data of every phase on top, and below them what each network predicts after it (Fig. 3.4)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.35 * (1 + len(done)) + 0.5), layout="constrained")
    panels = figure.subplots(1 + len(done), PHASES, sharex=True, sharey=True)
    points, colours = phases(), ("#0072B2", "#D55E00", "#E69F00")
    for phase in range(PHASES):
        panels[0, phase].plot(points[phase], peaks(points[phase]), ".", color="black", ms=2)
        panels[0, phase].set_title(f"phase {phase + 1}", fontsize=10)
        for row, (result, colour) in zip(panels[1:], zip(done.values(), colours)):
            row[phase].plot(CURVE, peaks(CURVE), color="0.8", lw=2.5)
            row[phase].plot(CURVE, result["phases"][phase][2], color=colour, lw=1.2)
    for axes, label in zip(panels[:, 0], ("data", *done)):
        axes.set_ylabel(label)
    for axes in panels.flat:
        axes.set_ylim(-0.6, 1.4)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
