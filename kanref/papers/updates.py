"""The rank of real updates, W after fine-tuning minus W before, and what cutting it costs (Gao, Ng and Tan, arXiv 2502.06153).

Only the paper's abstract could be read: parameter updates of KANs have low tensor rank, and what adapters can express follows
from Tucker approximations. Problems, networks and bounds here are a reconstruction.

A network [2, 16, 16, 1] of B-splines of degree 4 on 8 intervals is trained on one problem, then all its numbers are trained
on another: a differential equation whose parameter changed (conditions built in, 400 Sobol points), or data of a function
that changed (400 random points). L-BFGS with 500 evaluations and 300, and for one row Adam. Knots cover [-2, 2]: beyond,
splines go on linearly, so that second derivatives jump at the ends, and line searches fail if many activations are there.
With knots on [-1, 1] one of three runs of the heat equation ended so before its first step; that equation was left out. The
update E of every layer is unfolded along its modes out, in, basis; beside its singular values stand those of the trained
weights, and of a random tensor of that shape.

Then E is cut to ranks (r, r, r) by its HOSVD T and put into the first network as `LoTRA` weights. With tau_m the squared singular
values that are cut off in mode m, z the inputs of a layer and B(z) the table of its basis functions, (in, basis), it must hold

    max_m tau_m <= |E - T*|^2 <= |E - T|^2 <= sum_m tau_m                               T*: the best one, here that of HOOI
    |(E - T) B(z)| <= |E - T|_F |B(z)|_F                                                     at every sample: a layer's outputs
    |f(x) - g(x)| <= sum_l (prod_{j>l} Lip_j) |E_l - T_l|_F |B(z_l)|_F                       the network's

f with E, g with T, z_l the inputs of layer l in g. Lip_j is the largest singular value of the matrix of the largest slopes of
layer j's edges, which are bounded rigorously (`kanref.bounds`, on the whole line, as splines go on linearly): a bound that is
proved. In the place of the product, "estimate" has the largest norm of the gradient of the layers after l that occurs at the
samples: what a bound could be at best, and no proof.

What came out. In the layer from 16 to 16, 90 % of the squares of an update lie in 3 to 7 of 16 singular values along outputs
and inputs, of trained weights in 8 or 9, of a random tensor in 14. Along the basis the weights' ranks are lower, as they
start as straight lines. But what is cut off matters more than its size: cut to ranks 4, every update leaves at least 5 times
the error of the whole, cut to 8, 1.8 to 61 times; for Burgers' equation ranks 1 and 2 are worse than no update. So low rank is
roughly true of what full training does; how far adapters get that are trained at low rank is another matter
(`papers.transfer`). The proved bounds of networks are 8 to 230 times what is attained; the Lipschitz constants are up to 3.1
times the gradients that occur, the rest comes with norms of tensors and tables.
"""

import os
from functools import partial

import numpy as np

from kanref import lotra, objectives, optimize
from kanref.bounds import layer_range
from kanref.intervals import Interval
from kanref.network import KAN, kan
from kanref.papers.experiment import cells, finished, rounded
from kanref.solve import make
from kanref.tensors import hooi, hosvd, singular_values, tails, tucker
from kanref.weights import FACTORS
from kanref.words import aligned

PLAN = {
    "rows": {  # problem and parameters before and after, or the function's, and the optimiser
        "burgers, nu": ("burgers", {"nu": 0.03}, {"nu": 0.02}, "lbfgs"),
        "helmholtz, wave number": ("helmholtz", {"wave_number": 2.0}, {"wave_number": 2.5}, "lbfgs"),
        "poisson, power": ("poisson", {"power": 2}, {"power": 1}, "lbfgs"),
        "function": (None, {"a": 3.0, "b": 1.0}, {"a": 3.5, "b": 1.5}, "lbfgs"),
        "function, Adam": (None, {"a": 3.0, "b": 1.0}, {"a": 3.5, "b": 1.5}, "adam"),
    },
    "widths": (2, 16, 16, 1),
    "intervals": 8,
    "degree": 4,
    "domain": (-2.0, 2.0),
    "points": 400,
    "steps": {"lbfgs": (500, 300), "adam": (2000, 1000)},  # evaluations before and after
    "rate": 3e-3,  # of Adam
    "seeds": (0, 1, 2),
    "ranks": (1, 2, 3, 4, 6, 8, 10, 12, 14, 16),
    "samples": 1000,
    "mesh": 41,
}
SHORT = PLAN | {
    "rows": {name: PLAN["rows"][name] for name in ("burgers, nu", "function")},
    "widths": (2, 6, 6, 1),
    "points": 200,
    "steps": {"lbfgs": (80, 40)},
    "seeds": (0,),
    "ranks": (1, 2, 4, 6, 10),
    "samples": 200,
    "mesh": 21,
}
ENERGIES = 0.9, 0.99, 0.999
MODES = "out", "in", "basis"
CHAIN = "largest tail", "best", "off", "tails"  # each at most the next
PRINTED = (1, 2, 4, 8, 12, 16)  # ranks in the table
COLOURS = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"


# ------------------------------------------------------------------------------------------------------------ problems


def function(x, a, b):
    """exp(sin(a x) + b y^2) / 3."""
    return np.exp(np.sin(a * x[:, 0]) + b * x[:, 1] ** 2) / 3


def task(name, parameters, plan, seed):
    """net -> objective, and (net, theta) -> relative L2 error, of a row's problem."""
    if name is None:
        x, even = np.random.default_rng(seed).uniform(-1, 1, (plan["points"], 2)), mesh(plan["mesh"])
        y, exact = function(x, **parameters), function(even, **parameters)
        error = lambda net, theta: np.linalg.norm(net(theta, even)[:, 0] - exact) / np.linalg.norm(exact)
        return lambda net: objectives.mse(net, x, y), error
    problem = make(name, parameters)
    counts = {part.name: plan["points"] // (1 if part is problem.parts[0] else 10) for part in problem.parts}
    points, even = problem.points(counts, "sobol", seed), problem.mesh(plan["mesh"])
    return lambda net: problem.objective(net, points, True), lambda net, theta: problem.errors(net, theta, even, True)[0]


def mesh(count):
    """Points of an even grid of [-1, 1]^2."""
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, count)] * 2, indexing="ij"), -1).reshape(-1, 2)


def trained(objective, theta, method, steps, rate):
    """theta after so many evaluations of an optimiser."""
    if method == "adam":
        result = optimize.adam(objective, theta, steps=steps, rate=optimize.schedules.cosine(rate, steps))
    else:
        result = optimize.lbfgs(objective, theta, steps=steps, evaluations=steps)
    return finished(result).theta


# -------------------------------------------------------------------------------------------------------------- bounds


def weights(net, theta):
    """W (out, in, basis) of every layer."""
    return [np.ascontiguousarray(net.split(theta)[f"{l}.spline.W"]) for l in range(len(net.layers))]


def tables(net, theta, x):
    """|B(z)|_F at every sample, a vector for every layer, z being its inputs in the network."""
    activations = net.activations(theta, x)
    bases = [layer.terms["spline"].basis for layer in net.layers]
    return [np.sqrt(np.square(basis.derivatives(z, 0)[1][0]).sum((1, 2))) for basis, z in zip(bases, activations)]


def steepness(net, theta):
    """Lip_j for every layer: |y(z) - y(z')| <= Lip_j |z - z'| for all z, z', in Euclidean norms."""
    found = []
    for layer, arrays in zip(net.layers, net.of_layers(theta)):
        line = np.full((1, layer.inputs), 1e6)  # slopes are constant outside the knots
        slopes = layer_range(layer, arrays, Interval(-line, line))[1].magnitude[0]
        found.append(float(np.linalg.norm(slopes, 2)))
    return found


def gradients(net, theta, activations):
    """For every layer the largest norm of the gradient of all layers after it, at the outputs given; 1 for the last."""
    found = []
    for l in range(1, len(net.layers)):
        rest = KAN(net.layers[l:])
        J = rest.gradient(theta[-rest.size :], activations[l])
        found.append(float(np.linalg.norm(J, 2, axis=(1, 2)).max()))
    return [*found, 1.0]


def truncated(net, theta, update, rank):
    """The first network with its update cut to ranks (rank, rank, rank) as `LoTRA` weights, its theta, and the T."""
    ranks = {l: tuple(min(rank, size) for size in E.shape) for l, E in enumerate(update)}
    new, vector = lotra.adapt(net, theta, ranks)
    views, T = new.split(vector), []
    for l, E in enumerate(update):
        core, Us = hosvd(E, ranks[l])
        T.append(tucker(core, Us))
        for name, a in zip(("core", *FACTORS), (core, *Us)):
            views[f"{l}.spline.{name}"][...] = a
    return new, vector, T


def cut(net, before, after, x, rank, error, steep):
    """What a rank leaves of an update: {what: number, or one for each layer}; steep: `steepness` of the network after it."""
    update = [b - a for a, b in zip(weights(net, before), weights(net, after))]
    new, vector, T = truncated(net, before, update, rank)
    ranks = [tuple(min(rank, size) for size in E.shape) for E in update]
    tau = [tails(E, r) for E, r in zip(update, ranks)]
    off = [float(np.linalg.norm(E - own)) for E, own in zip(update, T)]
    best = [float(np.linalg.norm(E - tucker(*hooi(E, r, sweeps=10)))) for E, r in zip(update, ranks)]
    size = [float(np.linalg.norm(E)) for E in update]
    activations, B = net.activations(after, x), tables(net, after, x)
    parts = [layer.forward({"spline.W": E - own}, z[None])[0][0] for layer, E, own, z in zip(net.layers, update, T, activations)]
    moved = [np.linalg.norm(part, axis=1) for part in parts]
    middle, seen = new.activations(vector, x), tables(new, vector, x)
    outputs = [layer.forward(arrays, z[None])[0][0] for layer, arrays, z in zip(net.layers, net.of_layers(after), middle)]
    after_layers = np.append(np.cumprod(steep[:0:-1])[::-1], 1.0)
    factors = {"bound": after_layers, "estimate": gradients(net, after, [x, *outputs])}
    through = {name: sum(L * e * b for L, e, b in zip(own, off, seen)) for name, own in factors.items()}
    difference = np.linalg.norm(net(after, x) - new(vector, x), axis=1)
    return {
        "numbers": new.size,
        "off": [e / s for e, s in zip(off, size)],
        "best": [e / s for e, s in zip(best, size)],
        "largest tail": [float(t.max() ** 0.5 / s) for t, s in zip(tau, size)],
        "tails": [float(t.sum() ** 0.5 / s) for t, s in zip(tau, size)],
        "layer": [float(m.max()) for m in moved],
        "layer bound": [float((e * b).max()) for e, b in zip(off, B)],
        "layer holds": bool(all((m <= e * b * (1 + 1e-9) + 1e-12).all() for m, e, b in zip(moved, off, B))),
        "network": float(difference.max()),
        "bound": float(through["bound"].max()),
        "estimate": float(through["estimate"].max()),
        "network holds": bool((difference <= through["bound"] * (1 + 1e-9) + 1e-12).all()),
        "error": float(error(new, vector)),
    }


# ----------------------------------------------------------------------------------------------------------- the cells


def compute(key, plan):
    """The record of a key "ROW / SEED": errors, singular values of every layer's update and weights, and the cuts."""
    row, seed = key.split(" / ")
    name, old, changed, method = plan["rows"][row]
    splines = {name: plan[name] for name in ("intervals", "degree", "domain")}
    net = kan(list(plan["widths"]), outside="linear", base=None, **splines)
    (first, _), (second, error) = (task(name, parameters, plan, int(seed)) for parameters in (old, changed))
    before = trained(first(net), net.init(int(seed)), method, plan["steps"][method][0], plan["rate"])
    after = trained(second(net), before, method, plan["steps"][method][1], plan["rate"])
    box = np.array([(-1, 1), (-1, 1)] if name is None else make(name, changed).domain, float)
    x = np.random.default_rng(1000 + int(seed)).uniform(*box.T, (plan["samples"], 2))
    W = weights(net, after)
    update = [b - a for a, b in zip(weights(net, before), W)]
    steep = steepness(net, after)
    cuts = {rank: cut(net, before, after, x, rank, error, steep) for rank in plan["ranks"]}
    kept = lambda v: v if isinstance(v, bool | int) else rounded(v, 4)
    return {
        "errors": rounded([float(error(net, before)), float(error(net, after))], 4),
        "update": [[rounded(s, 4) for s in singular_values(E)] for E in update],
        "weights": [[rounded(s, 4) for s in singular_values(own)] for own in W],
        "cuts": {str(rank): {what: kept(v) for what, v in own.items()} for rank, own in cuts.items()},
    }


def energy_ranks(s):
    """How many singular values hold the shares `ENERGIES` of the sum of squares."""
    share = np.cumsum(np.square(s)) / np.sum(np.square(s))
    return [int(np.argmax(share >= e)) + 1 for e in ENERGIES]


def chance(shape):
    """Singular values of a normal tensor, along every mode."""
    return singular_values(np.random.default_rng(0).normal(size=shape))


# -------------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All rows and seeds; returns the tables. Writes updates.json and updates.png.

    short: two rows, one seed, [2, 6, 6, 1] and few steps, in updates-short.json.
    """
    plan = SHORT if short else PLAN
    stem = os.path.join(folder, "updates-short" if short else "updates")
    keys = [f"{row} / {seed}" for row in plan["rows"] for seed in plan["seeds"]]
    done = cells(f"{stem}.json", plan, keys, partial(compute, plan=plan), progress, jobs)
    results = {row: [done[f"{row} / {seed}"] for seed in plan["seeds"]] for row in plan["rows"]}
    draw(results, plan).savefig(f"{stem}.png", dpi=150)
    return text(results, plan)


def text(results, plan):
    """Ranks of the updates, and what cutting them costs."""
    K, widths = plan["intervals"] + plan["degree"], plan["widths"]
    shapes = [(q, p, K) for p, q in zip(widths, widths[1:])]
    rows = [("layer", "", *(f"{mode} {e:.1%}".replace(".0%", "%") for mode in MODES for e in ENERGIES))]
    for l, shape in enumerate(shapes):
        title = f"{l}: {shape[1]} -> {shape[0]}, {K} functions"
        for row, runs in results.items():
            for what in ("update", "weights"):
                ranks = [np.median([energy_ranks(run[what][l][m]) for run in runs], 0) for m in range(3)]
                rows.append((title, f"{row}: {what}", *(f"{r:.0f}" for mode in ranks for r in mode)))
                title = ""
        rows.append(("", "random", *(r for s in chance(shape) for r in energy_ranks(s))))
    chained = "max tau <= best <= HOSVD <= sum tau"
    cuts = [("problem", "rank", "numbers", chained, "layer", "bound", "network", "estimate", "bound", "L2")]
    full, middle = sum(map(np.prod, shapes)), len(shapes) // 2
    for row, runs in results.items():
        before, after = np.median([run["errors"] for run in runs], 0)
        cuts.append((row, 0, "", "", "", "", "", "", "", f"{before:.1e}"))
        for rank in (r for r in plan["ranks"] if r in PRINTED):
            chain = " <= ".join(f"{median(runs, rank, name, middle):.3f}" for name in CHAIN)
            numbers = [f"{median(runs, rank, name, middle):.1e}" for name in ("layer", "layer bound")]
            numbers += [f"{median(runs, rank, name):.1e}" for name in ("network", "estimate", "bound", "error")]
            cuts.append(("", rank, f"{runs[0]['cuts'][str(rank)]['numbers'] / full:.0%}", chain, *numbers))
        cuts.append(("", "all", "100%", "", "", "", "", "", "", f"{after:.1e}"))
    every = [cut for runs in results.values() for run in runs for cut in run["cuts"].values()]
    held = sum(cut["layer holds"] and cut["network holds"] for cut in every)
    count = len(plan["seeds"])
    return (
        f"How many singular values hold 90, 99 and 99.9 % of their squares, medians of {count} seed{'s' * (count > 1)}\n"
        f"{aligned(rows, 2)}\n\n"
        f"Updates cut to ranks (r, r, r): layer {middle} relative to |E|; largest changes of its outputs and of the network's,\n"
        "with bounds; relative L2 error on the new problem, without the update (0), cut, with all of it\n"
        f"{aligned(cuts, 1)}\nbounds of layer and network hold at all samples in {held} of {len(every)} cuts"
    )


def median(runs, rank, name, l=0):
    """Of all runs: a number of a cut, of layer l if there is one for each."""
    return np.median([np.atleast_1d(run["cuts"][str(rank)][name])[l] for run in runs])


def draw(results, plan):
    """Singular values of the middle layer along every mode above; the bounds of the first row and the errors below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.4), layout="constrained")
    top, bottom = figure.subplots(2, 3)
    widths, K = plan["widths"], plan["intervals"] + plan["degree"]
    middle = (len(widths) - 1) // 2
    shape = (widths[middle + 1], widths[middle], K)
    for m, axes in enumerate(top):
        for (row, runs), colour in zip(results.items(), COLOURS):
            for what, line in (("update", "-"), ("weights", ":")):
                s = np.median([np.array(run[what][middle][m]) / run[what][middle][m][0] for run in runs], 0)
                look = {"marker": ".", "label": row} if what == "update" else {}
                axes.semilogy(np.arange(1, len(s) + 1), s, line, color=colour, lw=1.3, **look)
        random = chance(shape)[m]
        axes.semilogy(np.arange(1, len(random) + 1), random / random[0], "--", color="0.3", lw=1.3, label="random")
        axes.set(title=f"layer {middle}, {shape[1]} to {shape[0]}: along {MODES[m]}", xlabel="number", ylim=(2e-3, 1.3))
        axes.grid(alpha=0.25)
    top[0].set_ylabel("singular value / largest")
    top[0].plot([], [], ":", color="0.3", label="trained weights")
    top[0].legend(fontsize=8, frameon=False)
    row, runs = next(iter(results.items()))
    ranks = [r for r in plan["ranks"] if runs[0]["cuts"][str(r)]["off"][middle] > 1e-12]
    of = lambda name, l=0: [median(runs, r, name, l) for r in ranks]
    tensor, network, error = bottom
    tensor.fill_between(ranks, of("largest tail", middle), of("tails", middle), color="0.85", label="between the bounds")
    tensor.semilogy(ranks, of("off", middle), "o-", color=COLOURS[0], ms=4, label="HOSVD")
    tensor.semilogy(ranks, of("best", middle), "x--", color="0.2", ms=5, label="HOOI")
    tensor.set(title=f"{row}: |E - T| / |E|, layer {middle}", xlabel="rank")
    for name, label, colour, line in (
        ("bound", "network, proved bound", COLOURS[0], "--"),
        ("estimate", "network, estimate", COLOURS[0], ":"),
        ("network", "network, attained", COLOURS[0], "-"),
        ("layer bound", "layer, bound", COLOURS[1], "--"),
        ("layer", "layer, attained", COLOURS[1], "-"),
    ):
        network.semilogy(ranks, of(name, middle if "layer" in name else 0), line, color=colour, marker=".", label=label)
    network.set(title=f"{row}: largest change of outputs", xlabel="rank", ylim=(network.get_ylim()[0] / 60, None))
    for (name, runs), colour in zip(results.items(), COLOURS):
        before, after = np.median([run["errors"] for run in runs], 0)
        values = [median(runs, r, "error") for r in plan["ranks"]]
        error.semilogy([0, *plan["ranks"]], [before, *values], ".-", color=colour, lw=1.2, label=name)
        error.axhline(after, color=colour, lw=0.7, ls=":")
    error.set(title="relative L2 error with the update cut", xlabel="rank (0: no update)")
    for axes in bottom:
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    return figure
