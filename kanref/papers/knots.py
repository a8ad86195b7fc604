"""Signatures of knots from their geometry: Liu et al., section 4.3, on the table of `kanref.data.knots`.

The paper learns the signature from seventeen geometric invariants with one hidden node, [17, 1, 14], attributes it to three,
the longitudinal translation lambda and the meridional translation mu_r + i mu_i of the cusp, and reads off formulas. Its
table is DeepMind's, ours has six invariants and ten signatures, so that accuracies do not compare to the last per cent;
theory, the even number nearest to -slope/2, is right for 83.1 % of theirs and 76.2 % of ours.

One hidden node h can be a sum of functions of one variable, as in the paper, or a product of such sums (a product node of
KAN 2.0): the slope lambda mu_r/(mu_r^2 + mu_i^2) is a product, which no sum resembles. Both are trained alike:

    1. regression of the signature by g(h), Levenberg-Marquardt on 16,000 knots, from the best of six short starts;
    2. the class scores psi_c(h) start as c g(h)/s^2 - c^2/(2 s^2), the ordinal model for errors of variance s^2;
    3. softmax cross-entropy on all training knots, 600 L-BFGS steps.

Inputs have the mean 0 and deviation 1 of the training knots; splines reach over 3.5 deviations and go on straight beyond; no
base functions. The sum has degree 3 and 3 intervals, as in the paper. Of products of three sums there are two: quadratic
polynomials (degree 2, one interval, 84 parameters), and degree 3 on 3 intervals (168). A fifth of the knots, the same for
all, is held out for the accuracies, mutants together. Beside them: multinomial logistic regression, and tanh MLPs with one
hidden layer of the least width that has as many parameters as each product (95, 180), both trained as in 3. "Longer" is thrice
the steps. The standard error of an accuracy on the held-out knots is 0.3 %: product and MLP of one size are about equal.

Attribution: the regression of step 1 by a sum of all six inputs, sparsified (lambda = 1e-2), scored backward (KAN 2.0).
Formulas: regressions of the signature on the three cusp shape numbers with every edge snapped to a function, automatically or
as the theory has it, trained again and rounded to the nearest even number.
"""

import os
from functools import partial

import numpy as np

from kanref import mlp, symbolic
from kanref.bases import BSpline, MinMax
from kanref.data import knots
from kanref.initialise import greville
from kanref.model import Model
from kanref.network import KAN, spline_layer
from kanref.nodes import Nodes
from kanref.papers.experiment import cells
from kanref.words import aligned

SHORTLY = ("vol", "CS", "cusp vol", "λ", "μᵣ", "μᵢ")  # the columns of `knots.GEOMETRIC`
CUSP = slice(3, 6)
PAPER = {  # test accuracies in per cent on DeepMind's table; theirs: [17, 1, 14] and [3, 1, 14], formulas by shape
    "theory": 83.1,
    "MLP": 78.0,
    "sum": 81.6,
    "sum of three": 78.2,
    "formula [3, 1]": 62.6,
    "formula [3, 1, 1]": 71.9,
    "formula [3, 2, 1]": 84.0,
}
CLASSIFIERS = {  # factors of the hidden node, degree and intervals of the splines, columns
    "sum": (1, 3, 3, slice(None)),
    "small product": (3, 2, 1, slice(None)),
    "product": (3, 3, 3, slice(None)),
    "product, longer": (3, 3, 3, slice(None)),
    "sum of three": (1, 3, 3, CUSP),
}
PERCEPTRONS = {
    "small MLP": 84,
    "MLP": 168,
    "MLP, longer": 168,
}  # at least the parameters of the product of the same size
LONGER = 3  # times as many L-BFGS steps
FORMULAS = {
    "formula [3, 1]": [3, 1],
    "formula [3, 1, 1]": [3, 1, 1],
    "formula [3, 2, 1]": [3, 2, 1],
    "formula, product": [3, [0, [3]], 1],
}
GUIDED = "formula, guided"
NAMES = ("lambda", "mu_r", "mu_i")
CLASSES = np.arange(-8, 11, 2)
TITLES = {
    "theory": "slope theory",
    "logistic": "logistic regression",
    "small MLP": "MLP [6, 5, 10]",
    "MLP": "MLP [6, 10, 10]",
    "MLP, longer": "MLP [6, 10, 10], longer",
    "sum": "KAN [6, 1, 10]: sum",
    "small product": "KAN [6, 1, 10]: product, quadratic",
    "product": "KAN [6, 1, 10]: product",
    "product, longer": "KAN [6, 1, 10]: product, longer",
    "sum of three": "KAN [3, 1, 10]: sum",
    "formula, product": "formula [3, 1, 1]: product",
    GUIDED: "formula of the theory's form",
}
NETWORKS = ("small product", "small MLP", "product", "MLP", "sum")  # with every seed
ONCE = ("sum of three", "product, longer", "MLP, longer")
BLUE, GREEN, VERMILLION, GREY = "#0072B2", "#009E73", "#D55E00", "0.6"
HYPOTHESIS = "L*r/(r**2 + i**2)"  # the form alone: all arguments and summands get numbers of their own
REACH = 3.5  # deviations that the grids cover
SPREAD = 0.3  # s of the ordinal start, in units of two
SEEDS = (0, 1, 2)
SETTINGS = {
    "count": None,  # of all knots
    "rows": 16000,  # knots for regressions
    "starts": 6,
    "screen": (4000, 25),  # knots and steps of a short start
    "fitting": 50,  # steps of a regression
    "steps": 600,
    "sparsity": 1e-2,
}
SHORT = {**SETTINGS, "count": 4000, "rows": 1500, "starts": 2, "screen": (500, 10), "fitting": 15, "steps": 30}


# ------------------------------------------------------------------------------------------------------------ the data


def data(count=None, standard=True):
    """X, signatures and labels of (training, test) knots: a fifth is test, families of mutants stay together.

    count: of so many knots only; standard: X with the mean 0 and deviation 1 of the training knots.
    """
    table, rng = knots.load(), np.random.default_rng(0)
    chosen = rng.permutation(len(table))[:count]
    family = table.families[chosen]
    place = rng.permutation(family.max() + 1)[family]
    held_out = place <= np.sort(place)[len(chosen) // 5]
    test, training = chosen[held_out], chosen[~held_out]
    X = table.X
    if standard:
        X = (X - X[training].mean(0)) / X[training].std(0)
    return [
        (X[rows], table.signature[rows], np.searchsorted(CLASSES, table.signature[rows])) for rows in (training, test)
    ]


def _fit(model, X, y, **options):
    model = model.fit(X, y, progress=False, **options)
    if model.history.interrupted:
        raise KeyboardInterrupt  # half a cell is no result
    return model


def result(model, training, test):
    """Parameters and accuracies of a classifier, as JSON types."""
    (X, _, labels), (X_test, _, labels_test) = training, test
    return {"parameters": model.net.size, "train": model.score(X, labels), "test": model.score(X_test, labels_test)}


# --------------------------------------------------------------------------------------------------- one hidden node


def splines(X, outputs, factors, degree, intervals, low=-REACH, high=REACH):
    """A layer of B-splines over the data, at most over [low, high]; factors: of its product node, 1 for a sum."""
    low, high = np.maximum(X.min(0), low), np.minimum(X.max(0), high)
    basis = BSpline.uniform(X.shape[1], intervals, degree, low, high, "linear")
    nodes = Nodes((factors,)) if factors > 1 else None
    return spline_layer(X.shape[1], outputs * factors, basis, base=None, nodes=nodes)


def regression(X, y, factors, degree, intervals, seed, rows, starts, screen, fitting):
    """The network g(h) of one hidden node h, fitted to half the signature: h alone from several short starts, then both."""
    net, rng, (few, short) = KAN((splines(X, 1, factors, degree, intervals),)), np.random.default_rng(seed), screen
    around = (factors > 1) / X.shape[1]  # B-splines sum to one: factors start around 1
    tried = []
    for _ in range(starts):
        model = Model(net, net.init(rng) + around)
        model = _fit(model, X[:few], y[:few] / 2, optimizer="lm", steps=short)
        tried.append((model.loss(X[:few], y[:few] / 2), model))
    h = min(tried, key=lambda pair: pair[0])[1]
    h = _fit(h, X[:rows], y[:rows] / 2, optimizer="lm", steps=fitting)
    values = h.predict(X)[:, None]
    low, high = np.quantile(values, [5e-4, 1 - 5e-4])
    head = splines(values, 1, 1, degree, intervals, low, high)
    identity = greville(head.terms["spline"].basis)[0]  # coefficients of the function x
    g = Model(KAN((*net.layers, head)), np.concatenate([h.theta, identity]))
    return _fit(g, X[:rows], y[:rows] / 2, optimizer="lm", steps=2 * fitting)


def classifier(g):
    """The network of class scores psi_c(h), as the ordinal model has them."""
    first, head = g.net.layers
    basis = head.terms["spline"].basis
    net = KAN((first, spline_layer(1, len(CLASSES), basis, base=None)))
    theta = np.concatenate([g.theta[: -basis.size], np.zeros(net.size - g.net.size + basis.size)])
    c = CLASSES / 2
    net.split(theta)["1.spline.W"][:, 0] = (np.outer(c, g.theta[-basis.size :]) - (c**2 / 2)[:, None]) / SPREAD**2
    return Model(net, theta, "classification")


def one_node(name, seed, count, rows, starts, screen, fitting, steps, sparsity):
    """A KAN with one hidden node; for the sum of all inputs also its attribution."""
    *shape, columns = CLASSIFIERS[name]
    training, test = ((np.ascontiguousarray(X[:, columns]), y, labels) for X, y, labels in data(count))
    X, y, labels = training
    g = regression(X, y, *shape, seed, rows, starts, screen, fitting)
    model = _fit(classifier(g), X, labels, steps=steps)
    found = result(model, training, test)
    if name == "sum":
        sparse = _fit(g, X[:rows], y[:rows] / 2, steps=2 * fitting, sparsity={"weight": sparsity, "entropy": 2.0})
        found["scores"] = sparse.attribute(X[:rows]).nodes[0].round(4).tolist()
    if name == "product" and seed == SEEDS[0]:
        found["figure"] = along(model, X)
    return found


def along(model, X):
    """The class probabilities as functions of the hidden node, for the figure."""
    h = model.net.activations(model.theta, X)[1][:, 0]
    grid = np.linspace(*np.quantile(h, [5e-4, 1 - 5e-4]), 200)
    head = Model(KAN(model.net.layers[1:]), model.theta[model.net.layout["1.spline.W"][0] :], "classification")
    return {"h": grid.round(4).tolist(), "probabilities": head.probabilities(grid[:, None]).round(4).tolist()}


def others(name, seed, count, steps):
    """Multinomial logistic regression, or an MLP."""
    training, test = data(count)
    X, _, labels = training
    if name == "logistic":
        net = mlp.mlp([X.shape[1], len(CLASSES)])
        theta = np.zeros(net.size)
    else:
        P, Q = X.shape[1], len(CLASSES)
        net = mlp.mlp([P, -(-(PERCEPTRONS[name] - Q) // (P + 1 + Q)), Q])
        theta = mlp.start(net, seed)
    return result(_fit(Model(net, theta, "classification"), X, labels, steps=steps), training, test)


# ----------------------------------------------------------------------------------------------------------- formulas


def formula(name, count, rows, fitting):
    """A formula of the three cusp shape numbers, and how often the nearest even number is the signature."""
    (X, y, _), (X_test, y_test, _) = data(count, standard=False)
    X, X_test = X[:, CUSP], X_test[:, CUSP]
    X_few, y_few = X[:rows], y[:rows].astype(float)
    if name == GUIDED:
        model = hypothesis()
    else:
        box = MinMax(X.min(0), X.max(0))
        model = Model.build(FORMULAS[name], intervals=5, outside="linear", inputs=box, base=None, names=NAMES)
        model = _fit(model, X_few, y_few, optimizer="lm", steps=fitting).update_grid(X_few)
        model = _fit(model, X_few, y_few, optimizer="lm", steps=fitting).auto_symbolic(X_few, r2=-np.inf)
    model = _fit(model, X_few, y_few, optimizer="lm", steps=fitting)
    right = [float((knots.nearest_even(model.predict(A)) == b).mean()) for A, b in ((X, y), (X_test, y_test))]
    expression = str(model.formula(digits=3)[0])
    return {"parameters": model.net.size, "train": right[0], "test": right[1], "formula": expression}


def hypothesis():
    """The network of the theory's form, whose numbers are to be learned."""
    import sympy

    variables = sympy.symbols(NAMES)
    form = sympy.sympify(HYPOTHESIS, locals=dict(zip("Lri", variables)))
    return Model(*symbolic.compile_expression(form, variables), names=NAMES)


# ------------------------------------------------------------------------------------------------------------ running


def cell(key, **settings):
    """The result for "name" or "name/seed", as JSON types."""
    name, _, seed = key.partition("/")
    if name.endswith("longer"):
        settings["steps"] *= LONGER
    if name in CLASSIFIERS:
        return one_node(name, int(seed), **settings)
    if name.startswith("formula"):
        return formula(name, settings["count"], settings["rows"], settings["fitting"])
    return others(name, int(seed or 0), settings["count"], settings["steps"])


def run(folder, progress=None, short=False, jobs=1):
    """Everything; returns the table. Resumes from knots.json; writes knots.png. short: few knots, steps and networks."""
    seeds, settings = (SEEDS[:1], SHORT) if short else (SEEDS, SETTINGS)
    stem = os.path.join(folder, "knots-short" if short else "knots")
    keys = ["logistic", *(f"{name}/{seed}" for name in NETWORKS[-3 if short else 0 :] for seed in seeds)]
    if not short:
        keys += [*(f"{name}/{SEEDS[0]}" for name in ONCE), *FORMULAS, GUIDED]
    done = cells(f"{stem}.json", settings, keys, partial(cell, **settings), progress, jobs)
    rows = accuracies(done)
    draw(done, rows).savefig(f"{stem}.png", dpi=150)
    return text(done, rows)


def accuracies(done):
    """{what: (parameters, mean test accuracy, best, seeds)}, the theory's first."""
    table = knots.load()
    right = float((knots.nearest_even(-table.slope / 2) == table.signature).mean())
    rows = {"theory": (0, right, right, 1)}
    for name in dict.fromkeys(key.partition("/")[0] for key in done):
        group = [found for key, found in done.items() if key.partition("/")[0] == name]
        tests = [found["test"] for found in group]
        rows[name] = (group[0]["parameters"], float(np.mean(tests)), max(tests), len(tests))
    return rows


def text(done, rows):
    """Accuracies beside the paper's, attribution, formulas."""
    lines = [("held-out accuracy in %", "parameters", "seeds", "mean", "best", "paper, its own table")]
    for name, (parameters, mean, best, seeds) in rows.items():
        paper = f"{PAPER[name]:.1f}" if name in PAPER else "-"
        lines.append(
            (TITLES.get(name, name), str(parameters), str(seeds), f"{100 * mean:.1f}", f"{100 * best:.1f}", paper)
        )
    words = [aligned(lines), "", "attribution, share of the input scores in %"]
    found = [("seed", *SHORTLY)]
    for key, cell in done.items():
        if "scores" in cell:
            scores = np.array(cell["scores"])
            found.append((key.partition("/")[2], *(f"{100 * score:.1f}" for score in scores / scores.sum())))
    words += [aligned(found), ""]
    return "\n".join(words + [f"{key}: {cell['formula']}" for key, cell in done.items() if "formula" in cell])


def draw(done, rows):
    """Class probabilities along the hidden node; attribution; accuracies, the paper's beside ours."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.3), layout="constrained")
    nodes, inputs, bars = figure.subplots(1, 3, width_ratios=(1.25, 0.75, 1.2))
    shown, colours = done[f"product/{SEEDS[0]}"]["figure"], colormaps["plasma"](np.linspace(0, 0.9, len(CLASSES)))
    for c, colour, p in zip(CLASSES, colours, np.array(shown["probabilities"]).T):
        nodes.plot(shown["h"], p, color=colour, lw=2)
        if p.max() > 0.3:
            nodes.annotate(f"{c:+d}" if c else "0", (shown["h"][p.argmax()], p.max() + 0.02), ha="center", color=colour)
    nodes.set(xlabel="hidden node h", ylabel="probability of the signature", ylim=(0, 1.12), title="One product node")

    scores = np.array([cell["scores"] for cell in done.values() if "scores" in cell])
    shares, places = 100 * scores / scores.sum(1, keepdims=True), np.arange(len(SHORTLY))[::-1]
    inputs.barh(places, shares.mean(0), color=[GREY] * 3 + [BLUE] * 3, height=0.65)
    for share in shares:
        inputs.plot(share, places, ".", color="black", ms=4)
    inputs.set_yticks(places, SHORTLY)
    inputs.set(xscale="log", xlim=(0.01, 150), xlabel="share of the scores in %", title="Attribution by the sparse sum")

    places = np.arange(len(rows))[::-1]
    ours = [100 * mean for _, mean, _, _ in rows.values()]
    kinds = [BLUE if name in CLASSIFIERS else GREEN if name.startswith("formula") else GREY for name in rows]
    bars.barh(places, ours, color=kinds, height=0.65)
    theirs = [(PAPER[name], place) for name, place in zip(rows, places) if name in PAPER]
    bars.plot(*zip(*theirs), "D", color=VERMILLION, ms=5)
    for place, value in zip(places, ours):
        bars.text(41, place, f"{value:.1f}", va="center", color="white", fontsize=8)
    bars.set_yticks(places, [TITLES.get(name, name) for name in rows], fontsize=8.5)
    bars.set(xlim=(40, 90), xlabel="held-out accuracy in %", title="Accuracy (diamonds: paper)")
    for axes in (nodes, inputs, bars):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
