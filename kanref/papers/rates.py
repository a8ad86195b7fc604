"""A learning rate for every component of an adapter, or one for all (Gao, Ng and Tan, arXiv 2502.06153).

Only the paper's abstract could be read: identical rates for all components are inefficient, and theory gives better ones. What is
called the theory here is the reconstruction at the head of `kanref.lotra`; here it is measured.

steps     the change of a layer's outputs by one step of one factor alone, against every size: exponents, beside those that
          undo the shares of `lotra.factor_shares`. Layers of 32 inputs, 32 outputs, 16 functions, ranks 2, one of them varied;
          factors as `lotra.adapt` draws them, U_out N(0, 1/r_out), residuals in the span of U_out; medians over 24 seeds. A sign
          step is what Adam does at first; a gradient step is of a loss summed over outputs.
parts     how such changes are shared among the four factors, with equal rates and with those of the theory.
studies   the best base rate when one size grows and the problem stays: a frozen layer, trained adapters, and a target that an
          update of ranks (2, 2, 2) has made, by smooth functions, so that outputs change by 1 (root mean square). Inputs are
          hidden activations, 128 samples of tanh(A xi + c) with xi in [-1, 1]^2: as in networks, there are few variables however
          many the inputs are. "network" is [2, n, 4], adapters on both layers. 100 steps of Adam, its rate falling by half a
          cosine, or of gradient descent with a constant rate, from U_out = 0. Wider layers have all the inputs of narrower
          ones, and the same draws.

Final losses, relative to the loss at the start and at most 1, are averaged over seeds geometrically; the best base rate is the
vertex of the parabola through the logarithm of the lowest and two neighbours on each side, on a grid of factors of 2. "drift" is
the largest best rate over the smallest; "kept", how many times higher the loss at the largest size is with the best rate of
the smallest than at best.

What came out. With the theory Adam's best base rate stays within a factor of 2 over 16..256 inputs, 8..64 functions and ranks
2..8, in single layers and in networks (2.04 over the functions of Chebyshev), that of descent over inputs and outputs; it
misses by a tenth over functions and ranks of descent: gradient steps grow more slowly with r_out than the rule allows for.
Equal rates drift with inputs (1.9 to 3.6), outputs (7.0) and the ranks of Adam (2.5), and a rate that was tuned on a narrow
layer costs up to 19 times the loss. They drift less than the theory's with the number of functions (1.2 to 1.5) and the ranks of
descent (1.5): with many samples sizes grow less with functions than with few, for which the theory is made. So the factor of 2
is kept in 7 of 10 studies with the theory, and in 5 with equal rates. And tuned anew at the largest size, equal rates end at
0.36 to 1.9 times the theory's loss: what the theory saves is the tuning. RATIO = 8 and the dependence on ranks were chosen on
problems of this kind, some of the seeds among them: rates without it drifted well beyond the factor of 2 over the ranks.
"""

import os
from functools import partial

import numpy as np

from kanref import lotra, objectives, optimize
from kanref.bases import BSpline, Chebyshev
from kanref.network import KAN, Layer, kan
from kanref.optimize import schedules
from kanref.papers.experiment import cells, finished, rounded
from kanref.tensors import tucker
from kanref.terms import Linear
from kanref.weights import FACTORS, Full, Tucker
from kanref.words import aligned

ARRAYS = ("core", *FACTORS)
AXES = "n_out", "n_in", "n_d", "r_out", "r_in", "r_basis"
WIDE, SMOOTH, LATENT = 256, 5, 2  # inputs that are drawn, functions of the target, variables
STUDIES = {  # method, basis, what grows, through which sizes, and all else
    "Adam, splines, n_in": ("adam", "splines", "n_in", (16, 32, 64, 128, 256), {"n_out": 4, "n_d": 16, "ranks": 2}),
    "Adam, splines, n_d": ("adam", "splines", "n_d", (8, 16, 32, 64), {"n_out": 4, "n_in": 32, "ranks": 2}),
    "Adam, splines, ranks": ("adam", "splines", "ranks", (2, 4, 8), {"n_out": 8, "n_in": 64, "n_d": 16}),
    "Adam, Chebyshev, n_in": ("adam", "chebyshev", "n_in", (16, 32, 64, 128, 256), {"n_out": 4, "n_d": 8, "ranks": 2}),
    "Adam, Chebyshev, n_d": ("adam", "chebyshev", "n_d", (8, 16, 32, 64), {"n_out": 4, "n_in": 16, "ranks": 2}),
    "Adam, network, n": ("adam", "network", "n_in", (16, 32, 64, 128, 256), {"n_out": 4, "n_d": 8, "ranks": 2}),
    "descent, splines, n_in": ("descent", "splines", "n_in", (16, 32, 64, 128, 256), {"n_out": 4, "n_d": 16, "ranks": 2}),
    "descent, splines, n_d": ("descent", "splines", "n_d", (8, 16, 32, 64), {"n_out": 4, "n_in": 32, "ranks": 2}),
    "descent, splines, n_out": ("descent", "splines", "n_out", (4, 16, 64), {"n_in": 32, "n_d": 16, "ranks": 2}),
    "descent, splines, ranks": ("descent", "splines", "ranks", (2, 4, 8), {"n_out": 8, "n_in": 64, "n_d": 16}),
}
PLAN = {
    "studies": STUDIES,
    "seeds": (0, 1, 2, 3, 4),
    "samples": 128,
    "steps": 100,
    "rates": {"adam": (1, -8), "descent": (1, -10)},  # powers of 2, largest and smallest
    "ratio": lotra.RATIO,
    "draws": 24,
}
SHORT = PLAN | {
    "studies": {
        "Adam, splines, n_in": ("adam", "splines", "n_in", (16, 64), {"n_out": 4, "n_d": 8, "ranks": 2}),
        "descent, splines, n_in": ("descent", "splines", "n_in", (16, 64), {"n_out": 4, "n_d": 8, "ranks": 2}),
    },
    "seeds": (0,),
    "samples": 64,
    "steps": 60,
    "draws": 4,
}
GROWTH = {  # sizes in the table of exponents
    "n_out": (32, 128, 512),
    "n_in": (32, 128, 512),
    "n_d": (8, 16, 32, 64),
    "r_out": (2, 4, 8),
    "r_in": (2, 4, 8),
    "r_basis": (2, 4, 8),
}
STEPS = tuple(f"{method} {basis} {n}" for method in ("adam", "descent") for basis in ("splines", "chebyshev") for n in (4, 64))
LAYERS = {"narrow": (4, 16, 16), "wide": (4, 256, 16), "fine": (4, 16, 64)}  # out, in, basis in the table of parts
WAYS = "theory", "equal"
BOUND = 2  # times that the best base rate should move at most


# ------------------------------------------------------------------------------------------------------------ one step


def basis_of(kind, P, K):
    """K functions of every of P inputs."""
    return Chebyshev(K - 1) if kind == "chebyshev" else BSpline.uniform(P, K - 3, 3, outside="linear")


def changes(shape, ranks, kind, method, samples, seed):
    """{factor: root mean square change of a layer's outputs by a step of this factor alone, rate 1}."""
    (_, P, K), (r_out, r_in, r_basis) = shape, ranks
    rng = np.random.default_rng(seed)
    variances = {"core": 1 / (r_in * r_basis), "U_out": 1 / r_out, "U_in": 1 / P}
    variances["U_basis"] = 1 / K if kind == "chebyshev" else 1.0
    term = Linear(basis_of(kind, P, K), Tucker(shape, ranks))
    arrays = {name: rng.normal(0, variances[name] ** 0.5, size) for name, size in term.arrays.items()}
    z = rng.uniform(-1, 1, (1, samples, P))
    y_bar = rng.normal(size=(1, samples, r_out)) @ arrays["U_out"].T
    slopes, y = term.pullback(arrays, z, y_bar, inputs=False)[0], term.forward(arrays, z)
    steps = {name: np.sign(slopes[name]) if method == "adam" else slopes[name] for name in ARRAYS}
    moved = {name: term.forward(arrays | {name: arrays[name] - steps[name]}, z) for name in ARRAYS}
    return {name: np.square(moved[name] - y).mean() ** 0.5 for name in ARRAYS}


def exponents(method, kind, samples, draws):
    """{factor: exponents of the change by one step against the sizes in `AXES`}."""
    found = {name: [] for name in ARRAYS}
    for axis, sizes in enumerate(GROWTH.values()):
        medians = []
        for size in sizes:
            numbers = [32, 32, 16, 2, 2, 2]
            numbers[axis] = size
            many = [changes(tuple(numbers[:3]), tuple(numbers[3:]), kind, method, samples, seed) for seed in range(draws)]
            medians.append({name: np.median([one[name] for one in many]) for name in ARRAYS})
        for name in ARRAYS:
            found[name].append(np.polyfit(np.log(sizes), np.log([m[name] for m in medians]), 1)[0])
    return {name: rounded(row, 3) for name, row in found.items()}


def theory(method, kind):
    """{factor: exponents that its share of the base rate undoes}."""
    found = {name: [] for name in ARRAYS}
    for axis in range(6):
        shares = []
        for size in (2, 4):
            numbers = [8, 8, 8, 2, 2, 2]
            numbers[axis] = size
            shares.append(lotra.factor_shares(numbers[:3], numbers[3:], kind != "chebyshev", method))
        for name in ARRAYS:
            found[name].append(round(-np.log2(shares[1][name] / shares[0][name]), 2) + 0.0)
    return found


def parts(method, plan):
    """{layer: {way: percentages of the factors}}: medians of changes by one step at 4 samples, times rates."""
    found = {}
    for layer, shape in LAYERS.items():
        many = [changes(shape, (2, 2, 2), "splines", method, 4, seed) for seed in range(plan["draws"])]
        sizes = np.array([np.median([one[name] for one in many]) for name in ARRAYS])
        shares = lotra.factor_shares(shape, (2, 2, 2), True, method, plan["ratio"])
        moved = {"theory": sizes * [shares[name] for name in ARRAYS], "equal": sizes}
        found[layer] = {way: rounded(100 * v / v.sum(), 3) for way, v in moved.items()}
    return found


# ------------------------------------------------------------------------------------------------------------- problems


def update(rng, basis, Q, P, K):
    """A tensor (Q, P, K) of ranks (2, 2, 2) whose functions are polynomials of degree 4: the same for any P and K."""
    core, U_out, U_in = rng.normal(size=(2, 2, 2)), rng.normal(size=(Q, 2)), rng.normal(size=(WIDE, 2))[:P] * P**-0.5
    coefficients = rng.normal(size=(SMOOTH, 2)) / np.arange(1, SMOOTH + 1)[:, None]
    U_basis = np.zeros((K, 2))
    if isinstance(basis, Chebyshev):
        U_basis[:SMOOTH] = coefficients
    else:
        s = np.linspace(-1, 1, 8 * K)
        B = basis.select([0]).dense(s[:, None])[:, 0]
        U_basis = np.linalg.lstsq(B, np.polynomial.chebyshev.chebval(s, coefficients).T, rcond=None)[0]
    return tucker(core, [U_out, U_in, U_basis])


def layer_problem(kind, Q, P, K, samples, seed):
    """A layer, theta, its inputs (N, P), and the targets (N, Q)."""
    rng = np.random.default_rng(seed)
    xi = rng.uniform(-1, 1, (samples, LATENT))
    x = np.tanh(1.2 * xi @ rng.normal(size=(WIDE, LATENT))[:P].T + 0.3 * rng.normal(size=WIDE)[:P])
    basis = basis_of(kind, P, K)
    net = KAN((Layer({"spline": Linear(basis, Full((Q, P, K)))}),))
    change = net.join({"0.spline.W": update(rng, basis, Q, P, K)})
    theta = rng.normal(0, (P * (K if kind == "chebyshev" else 1)) ** -0.5, net.size)
    points = np.arctanh(x) if kind == "chebyshev" else x  # which sees tanh of its inputs
    return net, theta, points, net(theta + change / net(change, points).std(), points)


def network_problem(Q, n, K, samples, seed):
    """The same for a network [2, n, Q] with updates of both layers, of size 0.3 at the hidden nodes."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (samples, LATENT))
    net = kan([LATENT, n, Q], intervals=K - 3, outside="linear", base=None)
    bases = [layer.terms["spline"].basis for layer in net.layers]
    theta, changed = net.init(seed), net.init(seed)
    hidden = update(rng, bases[0], WIDE, LATENT, K)[:n]
    outer = update(rng, bases[1], Q, n, K)
    zero = np.zeros(net.size)
    net.split(zero)["0.spline.W"][...] = hidden
    net.split(changed)["0.spline.W"][...] += 0.3 * hidden / net.activations(zero, x)[1].std()
    z = net.activations(changed, x)[1]
    net.split(changed)["1.spline.W"][...] += outer / net.layers[1].forward({"spline.W": outer}, z[None])[0].std()
    return net, theta, x, net(changed, x)


def problem(kind, sizes, samples, seed):
    """net, theta, x, y of a study."""
    Q, P, K = sizes["n_out"], sizes["n_in"], sizes["n_d"]
    return network_problem(Q, P, K, samples, seed) if kind == "network" else layer_problem(kind, Q, P, K, samples, seed)


# ------------------------------------------------------------------------------------------------------------- training


def grid(method, plan):
    """The base rates, largest first."""
    first, last = plan["rates"][method]
    return 2.0 ** np.arange(first, last - 1, -1)


def descent(objective, theta, rate, steps):
    """The value after steps of gradient descent; inf if it left what can be computed."""
    for _ in range(steps):
        value, gradient = objective(theta)
        if not value < 1e9:
            return np.inf
        theta = theta - rate * gradient
    return objective.value(theta)


def losses(key, plan):
    """{way: loss at the end for every base rate, relative to the start and at most 1} of a key "STUDY / SIZE / SEED"."""
    study, size, seed = key.split(" / ")
    method, kind, axis, _, sizes = plan["studies"][study]
    sizes = sizes | {axis: int(size)}
    net, theta, x, y = problem(kind, sizes, plan["samples"], int(seed))
    new, start = lotra.adapt(net, theta, sizes["ranks"], seed=1000 + int(seed))
    objective = objectives.mse(new, x, y)
    first, found = objective.value(start), {way: [] for way in WAYS}
    for way in WAYS:
        for base in grid(method, plan):
            rate = lotra.rates(new, base, method, plan["ratio"]) if way == "theory" else np.full(new.size, base)
            if method == "adam":
                falling = schedules.cosine(rate, plan["steps"])
                last = finished(optimize.adam(objective, start, steps=plan["steps"], rate=falling, keep="last"))
                value = last.value if last.reason is optimize.Stop.STEPS else np.inf
            else:
                with np.errstate(over="ignore", invalid="ignore"):
                    value = descent(objective, start, net.outputs * rate, plan["steps"])
            found[way].append(min(value / first, 1.0) if value == value else 1.0)
    return {way: rounded(values, 3) for way, values in found.items()}


def compute(key, plan):
    """The record of a key: of a study, of "steps METHOD BASIS SAMPLES" or of "parts METHOD"."""
    what, *rest = key.split()
    if what == "steps":
        return exponents(rest[0], rest[1], int(rest[2]), plan["draws"])
    return parts(rest[0], plan) if what == "parts" else losses(key, plan)


# -------------------------------------------------------------------------------------------------------------- results


def best(rates, curve):
    """The base rate at the vertex of the parabola through log2 of the lowest value and two neighbours on each side, at most a
    factor of 2 from the lowest, and on the grid."""
    u, v = np.log2(rates), np.log2(curve)
    i = int(np.argmin(v))
    near = slice(max(i - 2, 0), i + 3)
    a, b, _ = np.polyfit(u[near], v[near], 2)
    vertex = np.clip(-b / (2 * a), u[i] - 1, u[i] + 1) if a > 0 else u[i]
    return float(2 ** np.clip(vertex, u.min(), u.max()))


def summary(done, plan):
    """{study: {way: (curves (sizes, rates), best rates, drift, kept)}}."""
    found = {}
    for study, (method, _, _, sizes, _) in plan["studies"].items():
        rates, found[study] = grid(method, plan), {}
        for way in WAYS:
            values = np.array([[done[f"{study} / {n} / {seed}"][way] for seed in plan["seeds"]] for n in sizes])
            curves = np.exp(np.log(values).mean(1))
            vertices = np.array([best(rates, curve) for curve in curves])
            carried = np.exp(np.interp(np.log(vertices[0]), np.log(rates[::-1]), np.log(curves[-1, ::-1])))
            found[study][way] = curves, vertices, vertices.max() / vertices.min(), carried / curves[-1].min()
    return found


def run(folder, progress=None, short=False, jobs=1):
    """All studies; returns the tables. Writes rates.json and rates.png.

    short: two studies of one seed and two widths, in rates-short.json.
    """
    plan = SHORT if short else PLAN
    stem = os.path.join(folder, "rates-short" if short else "rates")
    keys = [f"steps {name}" for name in STEPS] + ["parts adam", "parts descent"]
    keys += [f"{study} / {n} / {seed}" for study, row in plan["studies"].items() for n in row[3] for seed in plan["seeds"]]
    done = cells(f"{stem}.json", plan, keys, partial(compute, plan=plan), progress, jobs)
    found = summary(done, plan)
    draw(found, plan).savefig(f"{stem}.png", dpi=150)
    return text(done, found, plan)


def text(done, found, plan):
    """Exponents, parts, best rates."""
    rows = [("step", "basis", "factor", *AXES, "n_in, n_d at 64 samples")]
    for method in ("adam", "descent"):
        for kind in ("splines", "chebyshev"):
            few, many = (done[f"steps {method} {kind} {n}"] for n in (4, 64))
            expected = theory(method, kind)
            for name in ARRAYS:
                pairs = [f"{m:.1f} ({e:g})".replace("-0.0", "0.0") for m, e in zip(few[name], expected[name])]
                both = f"{many[name][1]:.1f} {many[name][2]:.1f}".replace("-0.0", "0.0")
                first = ("sign" if method == "adam" else "gradient", kind) if name == "core" else ("", "")
                rows.append((*first, name, *pairs, both))
    shared = [("step", "layer (out, in, basis)", "rates", *ARRAYS)]
    for method in ("adam", "descent"):
        for layer, shape in LAYERS.items():
            for way in WAYS:
                numbers = [f"{v:.0f}" for v in done[f"parts {method}"][layer][way]]
                shared.append(("sign" if method == "adam" else "gradient", f"{layer} {shape}", way, *numbers))
    best_rates = [("study", "rates", "sizes", "best base rates", "drift", "kept", "loss")]
    for study, ways in found.items():
        sizes = plan["studies"][study][3]
        for way, (curves, vertices, drift, kept) in ways.items():
            rates = " ".join(f"{v:.2g}" for v in vertices)
            span = f"{sizes[0]}..{sizes[-1]}"
            best_rates.append((study, way, span, rates, marked(drift), f"{kept:.1f}", f"{curves[-1].min():.1e}"))
    within = (f"{way} {sum(ways[way][2] <= BOUND for ways in found.values())} of {len(found)} studies" for way in WAYS)
    seeds = len(plan["seeds"])
    return (
        "Growth of the outputs' change by one step of one factor: exponents measured, and in brackets the reconstruction's\n"
        f"{aligned(rows, 3)}\n\nParts of the change in percent, 4 samples, ranks 2\n{aligned(shared, 3)}\n\n"
        f"Best base rate, {seeds} seed{'s' * (seeds > 1)}: drift = largest / smallest; kept = loss at the largest size with the "
        "best rate of the smallest, over\nits lowest; loss = that lowest one, relative to the start. \"theory\": a rate for each "
        f"component; \"equal\": one for all\n{aligned(best_rates, 4)}\n"
        f"! drift above {BOUND}; not above it: {', '.join(within)}"
    )


def marked(drift):
    """A drift, with a mark if it is above the bound."""
    return f"{drift:.2f}{'' if drift <= BOUND else ' !'}"


def draw(found, plan):
    """Loss at the end against the base rate: the theory's above, equal ones below, a curve for each size, minima marked."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    count = len(found)
    figure = Figure(figsize=(3.1 * min(count, 5), 5.4 * -(-count // 5)), layout="constrained")
    grids = figure.subplots(2 * -(-count // 5), min(count, 5), squeeze=False, sharey=True)
    for k, (study, ways) in enumerate(found.items()):
        method, _, axis, sizes, _ = plan["studies"][study]
        rates, top = grid(method, plan), 2 * (k // 5)
        for row, (way, (curves, vertices, drift, _)) in enumerate(ways.items()):
            axes = grids[top + row, k % 5]
            for i, (n, curve, vertex) in enumerate(zip(sizes, curves, vertices)):
                colour = colormaps["viridis"](0.9 * i / (len(sizes) - 1))
                lowest = np.exp(np.interp(np.log(vertex), np.log(rates[::-1]), np.log(curve[::-1])))
                axes.loglog(rates, curve, color=colour, lw=1.2, label=f"{n}")
                axes.loglog(vertex, lowest, "o", color=colour, ms=6, mec="white", mew=0.8, zorder=3)
            axes.axvspan(vertices.min(), vertices.max(), color="0.85", zorder=0)
            axes.set_title(f"{study}\n" * (row == 0) + f"{way}: best moves by {drift:.2f}", fontsize=9)
            axes.grid(alpha=0.25)
            if row == 1:
                axes.set_xlabel("base rate")
            if k % 5 == 0:
                axes.set_ylabel("loss at the end")
            if row == 0:
                axes.legend(title=axis if "network" not in study else "n", fontsize=7, title_fontsize=7, frameon=False)
    return figure
