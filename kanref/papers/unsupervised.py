"""Relations among variables, found without being told which depends on which: Liu et al., section 4.2 (unsupervised toy).

Six variables: x1, x2, x4, x6 are free, x3 = exp(sin x1 + x2^2), x5 = x4^3. Real samples are labelled 1; the same with every
column permuted by itself, 0. A network whose last activation is fixed to exp(-h^2/2 w^2) says 1 where h = 0: where a
relation h(x1, ..., x6) = 0 holds. A sparse h holds one relation at a time, and which one depends on the seed. The paper's
seed 0 finds (x1, x2, x3), its seed 2024 (x4, x5); its ranges and counts are not reported.

Here: free variables uniform in [-1, 1], columns mapped to it, 500 real and 500 permuted samples (pykan's example), the same
for all seeds; [6, 1, 1] on 5 intervals without base functions, 2 w^2 = 1; mean squared error plus 0.01 times L1 + 10 times
entropy (eq. 2.20), 100 L-BFGS steps, all at once. Networks start five times as large as usual: with small h the Gaussian is 1
everywhere, and the penalty wins before there is anything to keep. A group is the inputs whose edges have at least a tenth
of the deviation of the strongest.
"""

import os
from collections import Counter
from functools import partial

import numpy as np

from kanref.bases import MinMax, Pointwise
from kanref.functions import LIBRARY
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.papers.experiment import cells
from kanref.terms import Linear
from kanref.weights import Fixed
from kanref.words import aligned

PAPER = {0: "x1 x2 x3", 2024: "x4 x5"}  # seed: group
RELATIONS = ("x1 x2 x3", "x4 x5")
SEEDS = 40
SETTINGS = {
    "samples": 500,
    "intervals": 5,
    "steps": 100,
    "sparsity": {"weight": 0.01, "entropy": 10.0},
    "start": 5.0,
    "share": 0.1,
}
GAUSSIAN = Pointwise("gaussian", LIBRARY["gaussian"].functions)


def sample(n, seed=0):
    """n samples of the six variables, (n, 6); `seed` is an integer or a `numpy.random.Generator`."""
    X = np.random.default_rng(seed).uniform(-1, 1, (n, 6))
    X[:, 2] = np.exp(np.sin(X[:, 0]) + X[:, 1] ** 2)
    X[:, 4] = X[:, 3] ** 3
    return X


def contrast(n, seed=0):
    """n real samples, then n with every column permuted by itself, (2 n, 6), and the labels 1 and 0."""
    rng = np.random.default_rng(seed)
    X = sample(n, rng)
    return np.concatenate([X, rng.permuted(X, axis=0)]), np.repeat([1.0, 0.0], n)


def train(seed, samples, intervals, steps, sparsity, start):
    """A network that tells real samples from permuted ones; and the data."""
    X, y = contrast(samples)
    first = kan([6, 1], intervals=intervals, base=None, inputs=MinMax(X.min(0), X.max(0))).layers[0]
    net = KAN((first, Layer({"gaussian": Linear(GAUSSIAN, Fixed(np.ones((1, 1, 1))))})))
    model = Model(net, start * net.init(seed)).fit(X, y, steps=steps, sparsity=sparsity, progress=False)
    if model.history.interrupted:
        raise KeyboardInterrupt  # half a cell is no result
    return model, X, y


def learn(seed, share, **settings):
    """Which inputs a seed finds, as JSON types."""
    model, X, y = train(seed, **settings)
    deviations = model.net.edges(model.theta, 0, X)[:, 0].std(0)
    return {
        "group": " ".join(f"x{p + 1}" for p in np.flatnonzero(deviations >= share * deviations.max())),
        "deviations": deviations.round(4).tolist(),
        "accuracy": float(((model.predict(X) > 0.5) == y).mean()),
        "rmse": model.rmse(X, y),
    }


def cell(key, **settings):
    """`learn` for a seed in text."""
    return learn(int(key), **settings)


def run(folder, progress=None, short=False, jobs=1):
    """All seeds; returns the table. Resumes from unsupervised.json; writes unsupervised.png. short: three seeds."""
    keys = [str(seed) for seed in range(3 if short else SEEDS)]
    stem = os.path.join(folder, "unsupervised-short" if short else "unsupervised")
    done = cells(f"{stem}.json", SETTINGS, keys, partial(cell, **SETTINGS), progress, jobs)
    draw(done).savefig(f"{stem}.png", dpi=150)
    return text(done)


def text(done):
    """How many seeds found which group."""
    found = Counter(result["group"] for result in done.values())
    lines = [("inputs found", "seeds", "a relation", "accuracy", "the paper's seeds", "of these seeds the first")]
    for group, count in found.most_common():
        own = [(int(seed), result["accuracy"]) for seed, result in done.items() if result["group"] == group]
        verdict = "yes" if group in RELATIONS else "both at once" if group == " ".join(RELATIONS) else "no"
        paper = ", ".join(str(seed) for seed, theirs in PAPER.items() if theirs == group) or "-"
        lines.append((group, str(count), verdict, f"{np.median([a for _, a in own]):.3f}", paper, str(own[0][0])))
    hits = sum(found[group] for group in RELATIONS)
    return f"{hits} of {len(done)} seeds find exactly one relation\n{aligned(lines, 1)}"


# --------------------------------------------------------------------------------------------------------- the figure


def draw(done):
    """Deviations of all edges, seed by seed, beside the edges of the first seed that found each relation."""
    from matplotlib.figure import Figure

    order = {group: k for k, group in enumerate(RELATIONS)}
    seeds = sorted(done, key=lambda seed: (order.get(done[seed]["group"], 2), int(seed)))
    first = {group: next((seed for seed in seeds if done[seed]["group"] == group), None) for group in RELATIONS}
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.1))
    strengths(left, [done[seed] for seed in seeds], seeds)
    panels = right.subplots(2, 3)
    for row, group in zip(panels, RELATIONS):
        for axes in row:
            axes.spines[["top", "right"]].set_visible(False)
        if first[group] is None:
            row[0].text(0.5, 0.5, f"no seed found {group}", ha="center", transform=row[0].transAxes)
        elif group == "x4 x5":
            row[-1].set_visible(False)
            inverse(row[:-1], first[group])
        else:
            additive(row, first[group])
    return figure


def strengths(figure, results, seeds):
    """A picture of the seeds' edges: dark is strong."""
    axes = figure.subplots()
    D = np.array([result["deviations"] for result in results])
    axes.imshow(D / D.max(1, keepdims=True), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(6), [f"$x_{p + 1}$" for p in range(6)])
    size = 7 if len(seeds) > 10 else 9
    axes.set_yticks(range(len(seeds)), seeds, fontsize=size)
    axes.tick_params(length=0)
    axes.set(ylabel="seed, by what it found", title="strength of the input edges")
    axes.spines[:].set_visible(False)
    groups = [result["group"] for result in results]
    for k in range(1, len(groups)):
        if groups[k] != groups[k - 1] and (groups[k] in RELATIONS or groups[k - 1] in RELATIONS):
            axes.axhline(k - 0.5, color="#D55E00", lw=1)


def curves(seed):
    """Grids (N,) and edges (N,) of all six inputs in their own units, over the data."""
    settings = {name: value for name, value in SETTINGS.items() if name != "share"}
    model, X, _ = train(int(seed), **settings)
    grid = np.linspace(X.min(0), X.max(0), 101)
    return grid.T, model.net.edges(model.theta, 0, grid)[:, 0].T


def additive(row, seed):
    """phi1, phi2, phi3 beside sin x1, x2^2, -log x3, all with one factor and the constants that fit."""
    grid, phi = curves(seed)
    truths = (np.sin(grid[0]), grid[1] ** 2, -np.log(grid[2]))
    centred = [a - a.mean() for a in truths]
    factor = sum(p @ t for p, t in zip(phi, centred)) / sum(t @ t for t in centred)
    labels = (r"$c\,\sin x_1$", r"$c\,x_2^2$", r"$-c\,\log x_3$")
    for p, (axes, truth, label) in enumerate(zip(row, centred, labels)):
        axes.plot(grid[p], factor * truth + phi[p].mean(), color="black", ls="--", lw=1.4, label=label)
        axes.plot(grid[p], phi[p], color="#0072B2", lw=2, zorder=1, label=rf"$\phi_{p + 1}$, seed {seed}")
        axes.set(xlabel=f"$x_{p + 1}$", title=r"$\log x_3 = \sin x_1 + x_2^2$" if p == 1 else "")
        axes.legend(frameon=False, fontsize=8)
    low, high = min(axes.get_ylim()[0] for axes in row), max(axes.get_ylim()[1] for axes in row)
    for axes in row:
        axes.set_ylim(low, high)


def inverse(row, seed):
    """phi4(x4) beside -phi5(x4^3), whatever function it is."""
    grid, phi = curves(seed)
    other = -np.interp(grid[3] ** 3, grid[4], phi[4])
    row[0].plot(grid[3], phi[3], color="#0072B2", lw=2, label=rf"$\phi_4(x_4)$, seed {seed}")
    row[0].plot(
        grid[3], other - other.mean() + phi[3].mean(), color="black", ls="--", lw=1.4, label=r"$-\phi_5(x_4^3)$"
    )
    row[0].set(xlabel="$x_4$", title="$x_5 = x_4^3$")
    row[1].plot(grid[4], phi[4], color="#0072B2", lw=2, label=rf"$\phi_5(x_5)$, seed {seed}")
    row[1].set(xlabel="$x_5$")
    for axes in row:
        axes.legend(frameon=False, fontsize=8)
