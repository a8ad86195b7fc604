"""Hello world: f(x1, x2) = exp(sin(pi x1) + x2^2) from 1000 samples to its formula (Liu et al., Fig. 2.4; pykan's first example).

pykan's example (hellokan, 0.2.8) starts from [2, 5, 1] with 3 intervals: train with sparsity, prune, refine, train, symbolic,
train, with numbers of steps and thresholds that its authors chose for one seed; `PAPER` is the test RMSE and the formula that its
documentation prints.

Here `kanref.discover` runs by itself from the same shape for seeds 0 to 9, each with samples and a start of its own. Wanted:
the formula and a test RMSE below 1e-9 in 9 of them. `toys` has what the figures of a seed mean.
"""

import os
from dataclasses import replace

import numpy as np

from kanref.data.toys import SCALING
from kanref.papers.experiment import cells
from kanref.papers.toys import EXACT, SAMPLES, TEST, dashes, decoded, encoded, exact, gallery, learn
from kanref.words import aligned

SHAPE, INTERVALS = [2, 5, 1], 3
FORMULA = "exp(x2**2 + sin(pi*x1))"
PAPER = ("exp(x2**2 + sin(3.1416*x1))", 7.2e-11)  # test RMSE
SEEDS = tuple(range(10))
SETTINGS = {"shape": SHAPE, "intervals": INTERVALS, "samples": SAMPLES["regression"], "test": TEST}
TARGET = replace(SCALING["staircase"], names=("x1", "x2"))


def cell(seed):
    """`learn` for a seed, with the sparse and the pruned network of seed 0 for the figure."""
    record, found = learn(TARGET, SHAPE, INTERVALS, int(seed))
    return record | ({"sparse": encoded(found.sparse), "pruned": encoded(found.splines)} if seed == "0" else {})


def run(folder, progress=None, short=False, jobs=1):
    """All seeds; returns the table. Resumes from hello.json. short: seed 0."""
    stem = os.path.join(folder, "hello-short" if short else "hello")
    done = cells(f"{stem}.json", SETTINGS, list(map(str, SEEDS[:1] if short else SEEDS)), cell, progress, jobs)
    draw(done["0"]).savefig(f"{stem}.png", dpi=150)
    return table(done)


def table(done):
    """Every seed beside pykan's example."""
    lines = [["seed", "formula", "shape", "test RMSE", "certificate", "seconds"]]
    lines.append(["pykan", PAPER[0], "2-1-1", f"{PAPER[1]:.2e}", "-", "-"])
    for seed, own in done.items():
        figures = f"{own['test']:.2e}", f"{own['certificate']:.1e}", f"{own['seconds']:.1f}"
        lines.append([seed, own["formula"], dashes(own["shape"]), *figures])
    met = sum(own["formula"] == FORMULA and exact(own) for own in done.values())
    seconds = np.median([own["seconds"] for own in done.values()])
    verdict = f"{FORMULA} with a test RMSE below {EXACT:.0e}: {met} of {len(done)} seeds, median {seconds:.1f} s"
    return aligned(lines, 2) + "\n" + verdict


def draw(own):
    """Seed 0 after sparse training, after pruning, and with formulas."""
    X = TARGET.sample(500)[0]
    sparse, pruned, formulas = (decoded(own[stage]) for stage in ("sparse", "pruned", "model"))
    error = f"test RMSE {own['splines']:.1e}", f"{own['formula'].replace('**', '^')}\ntest RMSE {own['test']:.1e}"
    panels = (sparse, X, "sparse", ""), (pruned, X, "pruned, refined", error[0]), (formulas, X, "symbolic", error[1])
    return gallery(panels, 3)
