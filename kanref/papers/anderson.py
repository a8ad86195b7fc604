"""Mobility edges of quasi-periodic chains: Liu et al., section 4.4.

States of three tight-binding models are extended or localised; a KAN learns which from energy and parameters, and its
formula is the mobility edge. The paper trains [2, 1] for the mosaic model, [4, 2, 1, 1] for GAAM and [4, 3, 1, 1] for MAAM
(`SHAPES`), then snaps edges to functions, automatically or guided by a physicist; `PAPER` has its accuracies.

Here: 800 chains with 10 eigenstates each for training, 200 other chains with 20 each for testing, energies and parameters
drawn as in `kanref.data.anderson`, labels from eigenvectors. Logistic loss, L-BFGS: 50 steps on 3 intervals, knots moved to
the activations, 250 steps. Reported, in test accuracy, for each of three seeds of the network:

    KAN      the network as trained
    auto     the same network sparsified (lambda = 3e-3), pruned, every edge snapped without a human choice, trained again
    guided   functions and products named by a person (`HYPOTHESES`), all numbers learned from the states
    theory   the exact mobility edge of an infinite chain
"""

import os
from functools import partial

import numpy as np

from kanref import symbolic
from kanref.bases import MinMax
from kanref.data.anderson import CHAINS
from kanref.model import Model
from kanref.papers.experiment import cells, rounded
from kanref.words import aligned

PAPER = {  # accuracies in per cent: KAN, auto, best of guided, theory; none in numbers for the mosaic model
    "mosaic": (None, None, None, None),
    "GAAM": (98.7, None, 99.0, 99.2),
    "MAAM": (98.4, 97.1, 97.7, 98.6),
}
COLUMNS = ("KAN", "auto", "guided", "theory")
SHAPES = {"mosaic": [2, 1], "GAAM": [4, 2, 1, 1], "MAAM": [4, 3, 1, 1]}
HYPOTHESES = {  # the form alone: every product, argument and summand gets numbers of its own, and none of these is the truth
    "mosaic": "Abs(E*L) - 1/2",
    "GAAM": "E*alpha + L - 1/2",
    "MAAM": "L*cosh(p) - E - exp(p)",
}
LEADING = {"mosaic": "1", "GAAM": "E*alpha", "MAAM": "E"}  # the summand that is scaled to one, in size
SEEDS = (0, 1, 2)
SETTINGS = {"systems": (800, 200), "each": (10, 20), "steps": (50, 250), "sparsity": 3e-3, "formula_steps": 200}
SHORT = {**SETTINGS, "systems": (40, 20), "steps": (15, 30), "formula_steps": 30}
SLICE = {"mosaic": {}, "GAAM": {"alpha": 0.5}, "MAAM": {"p": 1.0}}  # parameters that the figure keeps fixed
GRID = 80  # points of the figure's decision contour in each direction


def inputs(chain, X):
    """What the network sees: all columns; for the mosaic model, as in the paper, E and lambda alone."""
    return X[:, : SHAPES[chain.name][0]]


def learn(name, seed, systems, each, steps, sparsity, formula_steps):
    """Train, snap and guide on one model's states; accuracies and formulas as JSON types."""
    chain = CHAINS[name]
    training, test = (chain.sample(n, k, seed=part) for part, (n, k) in enumerate(zip(systems, each)))
    X, X_test = inputs(chain, training.X), inputs(chain, test.X)
    y, y_test = training.localised, test.localised
    fresh = Model.build(
        SHAPES[name],
        intervals=3,
        outside="linear",
        inputs=MinMax(X.min(0), X.max(0)),
        task="binary",
        seed=seed,
        names=chain.names[: X.shape[1]],
    )
    kan = _fit(_fit(fresh, X, y, steps[0]).update_grid(X), X, y, steps[1])
    sparse = _fit(kan, X, y, 2 * steps[0], sparsity={"weight": sparsity, "entropy": 2.0})
    pruned = _fit(sparse.prune(X), X, y, 2 * steps[0])
    auto = _fit(pruned.auto_symbolic(X, r2=-np.inf), X, y, formula_steps)
    guided = _fit(hypothesis(chain, X.shape[1]), X, y, formula_steps)
    return {
        "states": [len(y), len(y_test)],
        "localised": float(y.mean()),
        "theory": [float((chain.theory(part.X) == part.localised).mean()) for part in (training, test)],
        **{
            what: [model.score(X, y), model.score(X_test, y_test)]
            for what, model in {"KAN": kan, "pruned": pruned, "auto": auto, "guided": guided}.items()
        },
        "parameters": {what: model.net.size for what, model in {"KAN": kan, "auto": auto, "guided": guided}.items()},
        "inputs": list(auto.input_names),
        "auto formula": str(
            symbolic.rounded(auto.formula(), auto.net, auto.theta, X, 4, auto.input_names).expressions[0]
        ),
        "guided formula": reading(chain, guided),
        "contour": contour(chain, kan) if seed == SEEDS[0] else None,
    }


def _fit(model, X, y, steps, **options):
    model = model.fit(X, y, steps=steps, progress=False, **options)
    if model.history.interrupted:
        raise KeyboardInterrupt  # half a cell is no result
    return model


def hypothesis(chain, count):
    """The network of a formula whose numbers are to be learned."""
    import sympy

    variables = [sympy.Symbol(name) for name in chain.names[:count]]
    spoken = {str(v): v for v in variables} | {"L": sympy.Symbol("lambda")}  # lambda is a word of Python's
    net, theta = symbolic.compile_expression(sympy.sympify(HYPOTHESES[chain.name], locals=spoken), variables)
    return Model(net, theta, "binary", names=chain.names[:count])


def reading(chain, model):
    """The guided formula, expanded, with its leading summand scaled to one and three digits after the point; 0 is the edge."""
    import sympy

    spoken = {name: sympy.Symbol(name) for name in chain.names}
    expression = sympy.expand(model.formula()[0])
    leading = sympy.sympify(LEADING[chain.name], locals=spoken)
    scale = expression.as_coefficients_dict()[leading]
    summands = []
    for summand in sympy.Add.make_args(sympy.expand(expression / abs(scale))):
        factor, rest = summand.as_coeff_Mul()
        if isinstance(rest, sympy.Abs):
            rest, factor = sympy.Abs(sympy.expand(abs(factor) * rest.args[0])), sympy.sign(factor)
        summands.append(factor * rest)
    expression = sympy.Add(*summands)
    short = {f: sympy.Float(f"{float(f):.3f}") for f in expression.atoms(sympy.Float)}
    return str(expression.xreplace({f: sympy.Integer(round(g)) if abs(float(g)) == 1 else g for f, g in short.items()}))


# --------------------------------------------------------------------------------------------------------- the figure


def box(chain):
    """(E range, lambda range) of the figure, and the fixed parameters in the order of the columns after lambda."""
    bounds = {"mosaic": (-4.0, 4.0), "GAAM": (-3.5, 8.0), "MAAM": (-4.5, 5.0)}[chain.name]
    return bounds, chain.parameters["lambda"], [SLICE[chain.name][name] for name in chain.names[2:-1]]


def plane(chain):
    """The figure's points as rows of X: (GRID, GRID, n), lambda down, E across, phase pi."""
    energies, strengths, fixed = box(chain)
    E, lambda_ = np.meshgrid(np.linspace(*energies, GRID), np.linspace(*strengths, GRID))
    return np.stack([E, lambda_, *(np.full_like(E, value) for value in (*fixed, np.pi))], -1)


def contour(chain, model):
    """The network's score in the figure's plane, three digits: rows of numbers."""
    X = plane(chain)
    score = model.raw(inputs(chain, X.reshape(GRID * GRID, -1)))[:, 0]
    return rounded(score.reshape(GRID, GRID), 3)


def spectrum(chain, strengths, sites):
    """Energies and fractal dimensions of whole chains in the figure's plane: E, lambda, D, each (strengths * sites,)."""
    from scipy.linalg import eigh

    from kanref.data.anderson import fractal_dimension

    E, D, fixed = [], [], box(chain)[2]
    for lambda_ in strengths:
        energies, u = eigh(chain.hamiltonian(sites, np.pi, lambda_, *fixed), driver="evd", overwrite_a=True)
        E.append(energies)
        D.append(fractal_dimension(u))
    return np.concatenate(E), np.repeat(strengths, sites), np.concatenate(D)


def draw(done, names, rows, sites):
    """Every model's plane: all states of `rows` chains by their fractal dimension, the exact edge, the network's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.1 * len(names) + 0.7, 4.2), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names):
        chain = CHAINS[name]
        energies, strengths, fixed = box(chain)
        E, lambda_, D = spectrum(chain, np.linspace(*strengths, rows), sites[name])
        axes.set_facecolor("#F4F4F4")
        points = axes.scatter(E, lambda_, c=D, s=2.5, cmap="viridis", vmin=0, vmax=1, lw=0, rasterized=True)
        X = plane(chain)
        truth = chain.edge(*np.moveaxis(X, -1, 0)[:-1])
        axes.contour(X[..., 0], X[..., 1], truth, [0], colors="black", linewidths=1.6, linestyles="--")
        learned = np.array(done[f"{name}/{SEEDS[0]}"]["contour"])
        axes.contour(X[..., 0], X[..., 1], learned, [0], colors="#D55E00", linewidths=2)
        where = "".join(f", {symbol} = {SLICE[name][symbol]:g}".replace("alpha", "α") for symbol in SLICE[name])
        accuracy = 100 * np.mean([cell["KAN"][1] for key, cell in done.items() if key.startswith(name + "/")])
        axes.set_title(f"{name}{where}: {accuracy:.1f} %", fontsize=11)
        axes.set(xlabel="energy E", xlim=energies, ylim=strengths)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("strength λ of the potential")
    empty = panels[-2:][0]  # GAAM's panel has room
    empty.plot([], [], color="black", ls="--", lw=1.6, label="exact")
    empty.plot([], [], color="#D55E00", lw=2, label="KAN")
    empty.legend(loc="lower right", framealpha=0.9, edgecolor="none", title="mobility edge")
    figure.colorbar(points, ax=panels, label="fractal dimension D of the state", pad=0.01, aspect=30)
    return figure


# ------------------------------------------------------------------------------------------------------------ running


def cell(key, **settings):
    """`learn` for "name/seed"."""
    name, seed = key.split("/")
    return learn(name, int(seed), **settings)


def run(folder, progress=None, short=False, jobs=1):
    """All models and seeds; returns the table. Resumes from anderson.json; writes anderson.png.

    short: GAAM alone, one seed, few states."""
    names, seeds, settings = (["GAAM"], SEEDS[:1], SHORT) if short else (list(SHAPES), SEEDS, SETTINGS)
    stem = os.path.join(folder, "anderson-short" if short else "anderson")
    keys = [f"{name}/{seed}" for name in names for seed in seeds]
    done = cells(f"{stem}.json", settings, keys, partial(cell, **settings), progress, jobs)
    rows, sites = (16, dict.fromkeys(SHAPES, 144)) if short else (90, {"mosaic": 610, "GAAM": 233, "MAAM": 233})
    draw(done, names, rows, sites).savefig(f"{stem}.png", dpi=150)
    return text(done, names, seeds)


def text(done, names, seeds):
    """Accuracies beside the paper's, and the guided formulas."""
    head = ("model", "shape", "", *(part for column in COLUMNS for part in (column, "paper")))
    lines = [head]
    for name in names:
        group = [done[f"{name}/{seed}"] for seed in seeds]
        for what, pick in (("mean", np.mean), ("best", np.max)):
            row = [name, str(SHAPES[name]), what] if what == "mean" else ["", "", what]
            for column, paper in zip(COLUMNS, PAPER[name]):
                ours = f"{100 * pick([result[column][1] for result in group]):.1f}"
                row += [ours, "" if what == "best" else "-" if paper is None else f"{paper:.1f}"]
            lines.append(tuple(row))
    words = [
        "test accuracy in %, labels from eigenvectors",
        aligned(lines, 2),
        "",
        "guided formulas, seed by seed alike:",
    ]
    for name in names:
        words.append(
            f"  {name:<7} 0 = {done[f'{name}/{seeds[0]}']['guided formula']:<60} exact: {CHAINS[name].formula}"
        )
    return "\n".join(words)
