"""Spectra of the change of basis, tangent kernels, descent, cost and digits of both forms of a layer (multilevel paper, 3.3).

spectra   lambda_max / lambda_min of A' A for A = (I - S)^r of size n; the paper: growth n^2r, "more than 1e2" for r = 1 and
          "more than 1e6" for r = 3 at n = 10. `DERIVED` has these ratios as computed independently through exact inverses.
          Beside it: sign changes of the eigenvectors, ||A||/(r - 1)!, and the smallest eigenvalue of (A + A')/2, negative
          where steps along the other basis' gradient may climb.
kernels   eigenvalues of NTK_S and NTK_R of [2, 5, 1], first layer linear, cubic, at 200 points; the paper proves a bound of
          the ratio of the largest ones (printed as 4; it is 16) and shows none.
rows      the four rows of the paper's table: [2, 5, 1] of cubic splines, iterate and gradient in either basis, from the
          same functions, by L-BFGS and by Adam. The paper trains with the two rows whose gradient is its own.
cost      one layer of 64 inputs and 64 outputs at 1000 points: local B-splines (kanref's kernel), all B-splines by the
          recursion of Cox and de Boor in NumPy, and power ReLUs. The paper times three hidden layers of width 64 on a GPU
          and states O(PQ(n r + r^2)) for splines, O(PQ(n + r)) for power ReLUs: dense forms both. Processor time, the
          shortest of some repetitions; it depends on the machine.
digits    largest error of sum_j w_j psi_j for given cubic weights, relative to max |y|, against rational arithmetic:
          summed as it stands, through splines with weights converted in float64, and converted exactly.
"""

import os
from fractions import Fraction
from functools import partial
from time import process_time

import numpy as np

from kanref import objectives, optimize
from kanref.bases import BSpline
from kanref.data.toys import SCALING
from kanref.multilevel.geometry import condition, norm, sign_changes, spectrum, tangent_bound, tangent_kernels, within
from kanref.multilevel.relu_form import in_relus, rational
from kanref.network import kan
from kanref.papers.experiment import cells, rounded
from kanref.power_relu import PowerReLU, differences, inverse, sums, to_relu, to_splines
from kanref.terms import Linear
from kanref.weights import Full
from kanref.words import aligned

DERIVED = {  # ratio by order r, for sizes 10, 20, 40, 80
    "1": (175.1, 677.6, 2655, 1.050e4),
    "2": (1.793e4, 2.481e5, 3.644e6, 5.566e7),
    "3": (1.102e6, 5.077e7, 2.678e9, 1.544e11),
    "4": (4.614e7, 6.642e9, 1.210e12, 2.575e14),
}
PAPER = {"1": "> 1e2", "3": "> 1e6"}  # at size 10
PLAN = {
    "sizes": (10, 20, 40, 80),
    "kernels": (5, 10, 20, 40),
    "points": 200,
    "degrees": (1, 2, 3, 4),
    "cost": (4, 8, 16, 32, 64),
    "samples": 1000,
    "width": 64,
    "repeats": 10,
    "digits": (5, 10, 20, 40, 80),
    "rows": {
        "intervals": 10,
        "samples": 500,
        "L-BFGS": 100,
        "Adam": 500,
        "rates": (1e-2, 1e-3),
        "seeds": (0, 1, 2, 3, 4),
    },
}
FEW = {"degrees": (1, 3), "cost": (4, 16), "samples": 100, "width": 16, "repeats": 3}
SHORT = PLAN | {"kernels": (5, 10), "points": 60} | FEW
SHORT["rows"] = PLAN["rows"] | {"samples": 100, "L-BFGS": 10, "Adam": 20, "seeds": (0,)}
ROWS = tuple((iterate, gradient) for iterate in ("relu", "spline") for gradient in ("relu", "spline"))
WAYS = "local splines", "all splines", "power ReLUs"
SUMS = "as it stands", "splines, converted in float64", "splines, converted exactly"


# ----------------------------------------------------------------------------------------------------------- the cells


def spectra(order, plan):
    """Ratios for every size, and at the first: sign changes in order, norm, least eigenvalue of the symmetric part."""
    n = plan["sizes"][0]
    A = differences(n, order)
    V, U = spectrum(A, sums(n, order))[1:]
    return {
        "ratios": [condition(size, order) for size in plan["sizes"]],
        "changes": [sign_changes(V).tolist(), sign_changes(U).tolist()],
        "norm": float(np.linalg.norm(differences(plan["sizes"][-1], order), 2) * norm(order) / 2**order),
        "symmetric": float(np.linalg.eigvalsh((A + A.T) / 2)[0]),
    }


def kernels(intervals, plan):
    """Eigenvalues of both kernels at the start of training, descending, and the bound of their ratio."""
    net = kan([2, 5, 1], intervals=intervals, base=None, first="linear")
    x = np.random.default_rng(1).uniform(-1, 1, (plan["points"], 2))
    pair = tangent_kernels(net, net.init(0), x)
    S, R = (np.linalg.eigvalsh(kernel)[::-1] for kernel in pair)
    return {
        "S": rounded(np.maximum(S, 0), 4),
        "R": rounded(np.maximum(R, 0), 4),
        "ratio": float(S[0] / R[0]),
        "bound": tangent_bound(net),
        "modes": [within(kernel) for kernel in pair],
    }


def recursion(x, knots, degree):
    """All K B-splines at x (N, P) by Cox and de Boor, dense: (N, P, K)."""
    x, t = x[..., None], knots
    B = ((t[:, :-1] <= x) & (x < t[:, 1:])).astype(float)
    for e in range(1, degree + 1):
        a, b = t[:, e:-1] - t[:, : -e - 1], t[:, e + 1 :] - t[:, 1:-e]
        B = (x - t[:, : -e - 1]) / a * B[..., :-1] + (t[:, e + 1 :] - x) / b * B[..., 1:]
    return B


def cost(degree, intervals, plan):
    """Processor seconds of an evaluation in each of the `WAYS`."""
    rng, P = np.random.default_rng(2), plan["width"]
    basis = BSpline.uniform(P, intervals, degree)
    x, W = rng.uniform(-1, 1, (plan["samples"], P)), rng.normal(size=(P, P, basis.size))
    splines, powers = (Linear(b, Full(W.shape)) for b in (basis, PowerReLU(basis.knots, degree)))
    rows = np.ascontiguousarray(W.transpose(1, 2, 0)).reshape(-1, P)
    ways = (
        lambda: splines.forward({"W": W}, x[None]),
        lambda: recursion(x, basis.knots, degree).reshape(len(x), -1) @ rows,
        lambda: powers.forward({"W": W}, x[None]),
    )
    return rounded([min(_seconds(way) for _ in range(plan["repeats"])) for way in ways], 3)


def _seconds(way):
    began = process_time()
    way()
    return process_time() - began


def digits(intervals, plan):
    """Errors of the three `SUMS` for rounded weights of a random cubic on 0, ..., n; the knots are whole numbers."""
    rng, degree = np.random.default_rng(3), 3
    t = np.arange(-degree, intervals + degree + 1.0)
    w = to_relu(rng.uniform(-1, 1, intervals + degree), t, degree)
    x = rng.uniform(0, intervals, 50)
    exact = [
        sum(c * max(Fraction(point) - k, 0) ** degree for c, k in zip(rational(w), range(-degree, intervals)))
        for point in x.tolist()
    ]
    y = np.array(exact).astype(float)
    B = BSpline(t[None], degree).dense(x[:, None])[:, 0]
    found = (
        PowerReLU(t[None], degree).derivatives(x[:, None], 0)[1][0, :, 0] @ w,
        B @ (w @ inverse(t, degree)),
        B @ to_splines(rational(w), rational(t), degree).astype(float),
    )
    return rounded([np.abs(f - y).max() / np.abs(y).max() for f in found], 3)


def row(iterate, gradient, seed, plan):
    """Mean squared errors at the start, after L-BFGS and why it stopped, and after Adam at every rate."""
    own, rng = plan["rows"], np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (own["samples"], 2))
    net = kan([2, 5, 1], intervals=own["intervals"], base=None, outside="linear")
    net, theta = in_relus(net, net.init(seed), iterate, gradient)
    loss = objectives.mse(net, x, SCALING["staircase"].function(x))
    result = optimize.lbfgs(loss, theta, steps=own["L-BFGS"])
    adam = [optimize.adam(loss, theta, steps=own["Adam"], rate=rate, keep="last") for rate in own["rates"]]
    values = [loss.value(theta), result.value, *(run.value for run in adam)]
    return {"values": rounded(values, 4), "reason": result.reason.name}


def compute(key, plan):
    """The result of a key: "spectra ORDER", "kernels n", "rows ITERATE GRADIENT SEED", "cost DEGREE n" or "digits n"."""
    kind, *words = key.split()
    numbers = [int(word) if word.isdigit() else word for word in words]
    return {"spectra": spectra, "kernels": kernels, "rows": row, "cost": cost, "digits": digits}[kind](*numbers, plan)


# ----------------------------------------------------------------------------------------------------------- results


def keys(plan):
    """All cells of a plan."""
    return (
        [f"spectra {r}" for r in DERIVED]
        + [f"kernels {n}" for n in plan["kernels"]]
        + [f"digits {n}" for n in plan["digits"]]
        + [f"rows {iterate} {gradient} {seed}" for iterate, gradient in ROWS for seed in plan["rows"]["seeds"]]
        + [f"cost {d} {n}" for d in plan["degrees"] for n in plan["cost"]]
    )


def run(folder, progress=None, short=False, jobs=1):
    """All cells; returns the tables. Writes geometry.json, geometry.png, geometry-kernels.png and geometry-cost.png.

    short: fewer and smaller kernels and layers, in geometry-short.*.
    """
    plan = SHORT if short else PLAN
    stem = os.path.join(folder, "geometry-short" if short else "geometry")
    done = cells(f"{stem}.json", plan, keys(plan), partial(compute, plan=plan), progress, jobs)
    draw(stem, plan, done)
    return text(plan, done)


def draw(stem, plan, done):
    """The three figures."""
    from kanref.plot import spectra as figures

    figures.spectra().savefig(f"{stem}.png", dpi=150)
    pairs = {f"n = {n}": (done[f"kernels {n}"]["S"], done[f"kernels {n}"]["R"]) for n in plan["kernels"]}
    figures.tangents(pairs).savefig(f"{stem}-kernels.png", dpi=150)
    times = {
        way: {d: [(n, done[f"cost {d} {n}"][k]) for n in plan["cost"]] for d in plan["degrees"]}
        for k, way in enumerate(WAYS)
    }
    errors = {way: [(n, done[f"digits {n}"][k]) for n in plan["digits"]] for k, way in enumerate(SUMS)}
    figures.costs(times, errors).savefig(f"{stem}-cost.png", dpi=150)


def text(plan, done):
    """Five tables."""
    sizes = plan["sizes"]
    ratios = (f"{whose}n={n}" for n in sizes for whose in ("derived ", ""))
    rows = [("r", "paper n=10", *ratios, "slope", "sign changes", "||A||", "(A + A')/2, n=10")]
    for r, derived in DERIVED.items():
        cell = done[f"spectra {r}"]
        slope = np.log(cell["ratios"][-1] / cell["ratios"][-2]) / np.log(sizes[-1] / sizes[-2])
        ratios = [f"{v:.4g}" for pair in zip(derived, cell["ratios"]) for v in pair]
        ordered = all(changes == list(range(sizes[0])) for changes in cell["changes"])
        told = f"0..{sizes[0] - 1}" if ordered else "out of order"
        figures = (f"{slope:.2f}", told, f"{cell['norm']:.3f}", f"{cell['symmetric']:.2f}")
        rows.append((r, PAPER.get(r, "-"), *ratios, *figures))
    modes = [("intervals", "modes, splines", "modes, ReLUs", "rho S / rho R", "bound", "paper")]
    for n in plan["kernels"]:
        cell = done[f"kernels {n}"]
        modes.append((n, *cell["modes"], f"{cell['ratio']:.1e}", f"{cell['bound']:.2f}", "4"))
    rates = plan["rows"]["rates"]
    descent = [("iterate", "gradient", "start", "L-BFGS", "worst", "stops", *(f"Adam {rate:g}" for rate in rates))]
    for pair in ROWS:
        runs = [done[f"rows {' '.join(pair)} {seed}"] for seed in plan["rows"]["seeds"]]
        values = np.array([run["values"] for run in runs])
        start, lbfgs, *adam = np.median(values, 0)
        stops = sum(run["reason"] == "LINE_SEARCH" for run in runs)
        told = [f"{value:.1e}" for value in (start, lbfgs, values[:, 1].max(), *adam)]
        descent.append((*pair, *told[:3], stops, *told[3:]))
    lost = [("intervals", *SUMS)]
    lost += [(n, *(f"{error:.1e}" for error in done[f"digits {n}"])) for n in plan["digits"]]
    times = [("r", "intervals", *WAYS)]
    for d in plan["degrees"]:
        times += [(d + 1, n, *(f"{1e3 * s:.2f}" for s in done[f"cost {d} {n}"])) for n in plan["cost"]]
    return (
        f"lambda_max / lambda_min of A'A for A = (I - S)^r of size n; limit of ||A||/(r-1)!; least eigenvalue of (A + A')/2\n"
        f"{aligned(rows)}\n\ntangent kernels of [2, 5, 1]: modes within 1e-3 of the largest, ratio of the largest\n"
        f"{aligned(modes)}\n\nmean squared errors of [2, 5, 1] on exp(sin(pi x) + y^2), medians of {len(runs)} seeds; "
        f"stops: line searches that failed\n{aligned(descent, 2)}\n\n"
        f"error of cubic power ReLUs with given weights, relative to max |y|\n{aligned(lost)}\n\n"
        f"milliseconds to evaluate {plan['width']} -> {plan['width']} at {plan['samples']} points\n{aligned(times, 2)}"
    )
