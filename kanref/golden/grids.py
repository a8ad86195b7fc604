"""Golden vectors of grids: knots from samples by every named rule, extension, insertion, refinement, change of basis.

Reference: exact rationals throughout. Rules: as their texts say, on sorted Fractions. Refits: the normal equations,
solved exactly (full rank). Insertion: Boehm's rule, one knot after the other; change of basis: the formula for any knots.
Confirmed by NumPy's transcriptions of the libraries' lines, by SciPy's lstsq, and, to the last digit, by collocation:
matrices that turn the values of `spec.bspline` on one row of knots into those on the other at as many points.
"""

from fractions import Fraction
from itertools import chain
from math import factorial, floor, prod

import numpy as np

from kanref import spec
from kanref.golden import second
from kanref.golden.exact import MP, Draw, confirm, converted, digits, solved
from kanref.golden.networks import layer, samples
from kanref.golden.networks import values as network_values
from kanref.golden.record import case
from kanref.golden.splines import knot_vector

HUNDREDTH = Fraction(1, 100)

# --------------------------------------------------------------------------------------------------------- named rules


def by_index(index, margin, mix, uniform_step=False):
    """A rule that takes sorted samples by their index."""

    def grid(x, G, mix_given):
        weight = mix if mix_given is None else mix_given
        low, high = x[0] - margin, x[-1] + margin
        step = (high - low) / G
        adaptive = [x[i] for i in index(len(x), G)]
        inner = [weight * (low + i * step) + (1 - weight) * a for i, a in enumerate(adaptive)]
        return inner, step if uniform_step else (inner[-1] - inner[0]) / G

    return grid


def quantiles(x, G, mix):
    """kanref's rule."""
    mix, reach = 1 if mix is None else mix, x[-1] - x[0]
    low, high = x[0] - HUNDREDTH * reach, x[-1] + HUNDREDTH * reach
    at = [Fraction(len(x) - 1) * i / G for i in range(G + 1)]
    adaptive = [x[floor(a)] + (a - floor(a)) * (x[min(floor(a) + 1, len(x) - 1)] - x[floor(a)]) for a in at]
    adaptive[0], adaptive[-1] = low, high
    spans = [max(b - a, (high - low) / G / 10) for a, b in zip(adaptive, adaptive[1:])]
    ends = [low + (high - low) * sum(spans[:i]) / sum(spans) for i in range(G + 1)]
    inner = [mix * (low + i * (high - low) / G) + (1 - mix) * a for i, a in enumerate(ends)]
    return inner, (inner[-1] - inner[0]) / G


def floor_index(N, G):
    return [N * i // G for i in range(G)] + [N - 1]


def linspace_index(N, G):
    return [(N - 1) * i // G for i in range(G + 1)]


RULES = {
    "pykan": by_index(floor_index, 0, Fraction(1, 50)),
    "pykan-0.0": by_index(floor_index, HUNDREDTH, 1),
    "jaxkan": by_index(floor_index, HUNDREDTH, Fraction(1, 20)),
    "efficient": by_index(linspace_index, HUNDREDTH, Fraction(1, 50), uniform_step=True),
    "kanref": quantiles,
}


def transcribed(rule, x, G, degree, mix):
    """The libraries' own lines in NumPy, for samples (N, P) of floats."""
    x, N = np.sort(x, 0), len(x)
    if rule == "kanref":
        mix, reach = 1 if mix is None else mix, np.ptp(x, 0)
        uniform = np.linspace(x[0] - 0.01 * reach, x[-1] + 0.01 * reach, G + 1)
        adaptive = np.quantile(x, np.linspace(0, 1, G + 1), axis=0)
        adaptive[[0, -1]] = uniform[[0, -1]]
        spans = np.maximum(np.diff(adaptive, axis=0), 0.1 * (uniform[-1] - uniform[0]) / G)
        spans *= (uniform[-1] - uniform[0]) / spans.sum(0)
        adaptive = uniform[0] + np.cumsum(np.vstack([0 * spans[:1], spans]), 0)
    else:
        margin = 0.0 if rule == "pykan" else 0.01
        mix = {"pykan": 0.02, "pykan-0.0": 1, "jaxkan": 0.05, "efficient": 0.02}[rule] if mix is None else mix
        ids = (
            np.linspace(0, N - 1, G + 1).astype(int)
            if rule == "efficient"
            else [*(int(N / G * i) for i in range(G)), -1]
        )
        adaptive, uniform = x[ids], np.linspace(x[0] - margin, x[-1] + margin, G + 1)
    grid = mix * uniform + (1 - mix) * adaptive
    h = (uniform[-1] - uniform[0]) / G if rule == "efficient" else (grid[-1] - grid[0]) / G
    for _ in range(degree):
        grid = np.vstack([grid[:1] - h, grid, grid[-1:] + h])
    return grid.T


def grid_updates():
    """Squares, crowded and tied samples; rules with their own mix, and with others."""
    dyadic = lambda n: Fraction(round(n * 2**12), 2**12)
    sets = {
        "squares": (np.array([[dyadic((i / 96) ** 2), dyadic(-i / 64)] for i in range(97)], object), 5, 3),
        "few": (Draw("few")(7, 1, low=-3, high=3), 3, 2),
        "tied": (Draw("tied")(23, 2, low=-2, high=2, bits=1), 4, 1),
    }
    for label, (x, G, degree) in sets.items():
        for rule, grid in RULES.items():
            for mix in (None, Fraction(1, 2)):
                rows = []
                for column in x.T:
                    inner, step = grid(sorted(column), G, mix)
                    left = [inner[0] - k * step for k in range(degree, 0, -1)]
                    rows.append([*left, *inner, *(inner[-1] + k * step for k in range(1, degree + 1))])
                name = f"{label}-{rule}" + "-mix-half" * (mix is not None)
                knots = np.array(rows, object)
                confirm(name, knots, transcribed(rule, converted(x, float), G, degree, mix and float(mix)))
                inputs = {"samples": x, "intervals": G, "degree": degree, "rule": rule, "mix": mix}
                routes = "the rule in exact rationals", "the library's lines in NumPy (1e-12)"
                call = f"kanref.golden.grids.RULES[{rule!r}](sorted samples, {G}, mix)"
                yield case("grids", name, "grid_update", inputs, {"result": knots}, call=call, ulps=16, routes=routes)


# ----------------------------------------------------------------------------------------------------------- extension


def table(t, degree, x, outside="zero"):
    """All functions at points, (N, K), exactly."""
    return np.array([spec.bspline(u, list(t), degree, 0, outside) for u in x], object)


def extended(t, degree, intervals):
    """Resampled knots, exactly."""
    inner = list(t[degree : len(t) - degree])
    G = len(inner) - 1
    at = [Fraction(i * G, intervals) for i in range(intervals + 1)]
    new = [inner[floor(a)] + (a - floor(a)) * (inner[min(floor(a) + 1, G)] - inner[floor(a)]) for a in at]
    ratio = Fraction(G, intervals)
    left = [new[0] + (k - inner[0]) * ratio for k in t[:degree]]
    return np.array([*left, *new, *(new[-1] + (k - inner[-1]) * ratio for k in t[len(t) - degree :])], object)


def inner_product(s, t, degree, low, high):
    """int B_i B'_j over [low, high] for all i, j, exactly: Lagrange polynomials of degree 2 d on every common span."""
    breaks = sorted({k for k in (*s, *t, low, high) if low <= k <= high})
    total = 0
    for a, b in zip(breaks, breaks[1:]):
        x = [a + (b - a) * (2 * i + 1) / (4 * degree + 2) for i in range(2 * degree + 1)]
        moments = np.array([[(b ** (m + 1) - a ** (m + 1)) / (m + 1)] for m in range(len(x))], object)
        w = solved([[u**m for u in x] for m in range(len(x))], moments)[:, 0]
        total = total + table(s, degree, x).T @ (w[:, None] * table(t, degree, x))
    return total


def gauss(knots, degree, low, high):
    """Points on the spans between knots in [low, high], and weights that sum to one, exact for products of splines."""
    g, w = np.polynomial.legendre.leggauss(degree + 1)
    breaks = np.unique(np.clip(np.array(knots, float), float(low), float(high)))
    half = np.diff(breaks)[:, None] / 2
    return (breaks[:-1, None] + half + half * g).ravel(), (half * w).ravel() / float(high - low)


def extensions():
    """Knots of other numbers of intervals, and refits to them, from samples and in L2."""
    from scipy.linalg import lstsq

    plans = [
        ("uniform", 3, 3, 6),
        ("uniform", 3, 3, 7),
        ("nonuniform", 2, 4, 6),
        ("nonuniform", 1, 5, 3),
        ("uniform", 2, 4, 2),
    ]
    for kind, degree, G, intervals in plans:
        t = knot_vector(kind, degree, G)
        fine, name = extended(t, degree, intervals), f"{kind}-degree-{degree}-{G}-to-{intervals}"
        inner, ends = (
            t[degree : degree + G + 1].astype(float),
            [t[:degree].astype(float), t[degree + G + 1 :].astype(float)],
        )
        other = np.interp(np.linspace(0, G, intervals + 1), np.arange(G + 1), inner)
        outer = [(e - inner[i]) * G / intervals + other[i] for e, i in zip(ends, (0, -1))]
        confirm(name, fine, np.concatenate([outer[0], other, outer[1]]))
        routes = "linear interpolation in exact rationals", "numpy.interp (1e-12)"
        inputs = {"knots": t, "degree": degree, "intervals": intervals}
        call = f"kanref.golden.grids.extended(knots, {degree}, {intervals})"
        yield case(
            "extension", f"knots-{name}", "extended_knots", inputs, {"result": fine}, call=call, ulps=16, routes=routes
        )

        new = np.array([Fraction(round(k * 512), 512) for k in fine], object)  # dyadic knots to refit on
        new[degree], new[-degree - 1] = t[degree], t[-degree - 1]
        draw = Draw("refit", name)
        W = draw(2, len(t) - degree - 1)
        low, high = new[degree], new[-degree - 1]
        x = low + (high - low) * np.array([Fraction(i, 64) for i in range(1, 64, 2)], object)
        for label, at in (("samples", x), ("projection", None)):
            if at is None:
                M, N = inner_product(new, new, degree, low, high), inner_product(new, t, degree, low, high)
                points, w = gauss([*t, *new], degree, low, high)
                root = np.sqrt(w)
            else:
                B, B_new = table(t, degree, at), table(new, degree, at)
                M, N = B_new.T @ B_new, B_new.T @ B
                points, root = at.astype(float), np.ones(len(at))
            c = (solved(M, N) @ W.T).T
            B, B_new = (second.bsplines(points, k.astype(float), degree, "zero")[0] * root[:, None] for k in (t, new))
            confirm(f"{label} {name}", c, lstsq(B_new, B @ W.T.astype(float))[0].T, 1e-10)
            inputs = {"knots": t, "degree": degree, "W": W, "new_knots": new, "samples": at}
            routes = (
                "normal equations in exact rationals",
                "scipy.linalg.lstsq on PPoly, Gauss points without samples (1e-10)",
            )
            call = "solved(B'^T B', B'^T B W^T)" if at is not None else "solved(int B' B', int B' B) W^T"
            yield case(
                "extension", f"{label}-{name}", "refit", inputs, {"result": c}, call=call, ulps=2048, routes=routes
            )


def sparse_refits():
    """Samples in part of the domain: functions that see none of them get 0, the solution of least norm."""
    from scipy.linalg import lstsq

    for degree, intervals in ((1, 6), (3, 5), (3, 10)):
        t = np.array([Fraction(n, 4) - 1 for n in range(-degree, intervals + degree + 1)], object)
        low, high = t[degree], t[-degree - 1]
        x = low + (high - low) * np.array([Fraction(i, 128) for i in range(80, 128)], object)
        name = f"uniform-degree-{degree}-{intervals}-intervals"
        W = Draw("sparse", name)(2, len(t) - degree - 1)
        B = table(t, degree, x)
        seen = [i for i in range(B.shape[1]) if B[:, i].any()]
        c = np.full(W.shape, Fraction(0), object)
        c[:, seen] = solved(B[:, seen].T @ B[:, seen], B[:, seen].T @ (B @ W.T)).T
        B, W_float = second.bsplines(x.astype(float), t.astype(float), degree, "zero")[0], W.astype(float)
        confirm(name, c, lstsq(B, B @ W_float.T)[0].T, 1e-9)
        routes = "normal equations of the functions with samples, in exact rationals", "scipy.linalg.lstsq (1e-9)"
        inputs = {"knots": t, "degree": degree, "W": W, "new_knots": t, "samples": x}
        call, expected = "solved(B^T B, B^T B W^T) on the columns of B that are not zero", {"result": c}
        yield case("extension", f"sparse-{name}", "refit", inputs, expected, call=call, ulps=2**16, routes=routes)


def updates():
    """A layer moved to new knots by the rules of the libraries, its spline scaled and not."""
    from scipy.linalg import lstsq

    x = np.array([[Fraction(round((i / 40) ** 2 * 2**10), 2**10), Fraction(i - 20, 32)] for i in range(41)], object)
    for rule in ("pykan", "efficient", "jaxkan", "pykan-0.0", "kanref"):
        for scaled, degree in ((False, 3), (True, 3), (True, 1)):
            name = f"{rule}-degree-{degree}" + "-scaled" * scaled
            own = layer(Draw("update", name), 2, 2, degree=degree, scaled=scaled)
            W = own["spline"] * own["scale"][:, :, None] if scaled else own["spline"]
            rows, weights, other = [], [], []
            for p, t in enumerate(own["knots"]):
                inner, step = RULES[rule](sorted(x[:, p]), 3, None)
                left = [inner[0] - k * step for k in range(degree, 0, -1)]
                new = np.array([*left, *inner, *(inner[-1] + k * step for k in range(1, degree + 1))], object)
                B, B_new = (table(converted(k, digits), degree, converted(x[:, p], digits)) for k in (t, new))
                left, right = B_new.T @ B_new, B_new.T @ B
                low, high = new[degree], new[-degree - 1]
                if rule == "kanref":
                    share = HUNDREDTH * len(x) / (high - low)
                    left = left + converted(share * inner_product(new, new, degree, low, high), digits)
                    right = right + converted(share * inner_product(new, t, degree, low, high), digits)
                right, A = right @ converted(W[:, p].T, digits), MP.matrix(left.tolist())
                rows.append(new)
                weights.append(np.array([list(MP.lu_solve(A, MP.matrix(list(column)))) for column in right.T], object))
                at, root = x[:, p].astype(float), np.ones(len(x))
                if rule == "kanref":
                    points, w = gauss([*t, *new], degree, low, high)
                    at, root = np.append(at, points), np.sqrt(np.append(root, 0.01 * len(x) * w))
                B, B_new = (second.bsplines(at, k.astype(float), degree, "zero")[0] * root[:, None] for k in (t, new))
                other.append(lstsq(B_new, B @ W[:, p].T.astype(float))[0].T)
            expected = {"knots": np.array(rows, object), "weights": np.stack(weights, 1)}
            confirm(name, expected["weights"], np.stack(other, 1), 1e-10)
            confirm(name, expected["knots"], transcribed(rule, x.astype(float), 3, degree, None))
            inputs = {"network": [own], "samples": x, "rule": rule}
            routes = "normal equations in 50 digits, knots in exact rationals", "scipy.linalg.lstsq on PPoly (1e-10)"
            call = "lu_solve(B'^T B', B'^T B W^T) on the rule's knots"
            if rule == "kanref":
                call = "lu_solve(M, R W^T), M = B'^T B' + N/100 int B' B'/(b - a), R likewise, on the rule's knots"
            yield case("updates", name, "update", inputs, expected, call=call, ulps=2**14, routes=routes)


# --------------------------------------------------------------------------------------------- insertion and refinement


def boehm(t, degree, tau):
    """The knots with tau put in, and R: c'_i = a_i c_i + (1 - a_i) c_{i-1}, a_i = (tau - t_i)/(t_{i+d} - t_i) within [0, 1]."""
    K = len(t) - degree - 1

    def share(i):
        if tau >= t[i + degree]:
            return Fraction(1)
        return (tau - t[i]) / (t[i + degree] - t[i]) if tau > t[i] else Fraction(0)

    a = [share(i) for i in range(K + 1)]
    R = [[a[i] * (i == j) + (1 - a[i]) * (i - 1 == j) for j in range(K)] for i in range(K + 1)]
    return np.array(sorted([*t, tau]), object), np.array(R, object)


def inserted(t, degree, new):
    """Knots and R for several new knots."""
    R = np.array(
        [[Fraction(int(i == j)) for j in range(len(t) - degree - 1)] for i in range(len(t) - degree - 1)], object
    )
    for tau in new:
        t, step = boehm(t, degree, tau)
        R = step @ R
    return t, R


def check_insertion(name, t, fine, R, degree, low, high):
    """B_i = sum_j R[j, i] B'_j on [low, high): at degree + 2 points of every span, more than polynomials need."""
    spans = sorted({k for k in fine if low <= k <= high})
    x = [a + (b - a) * Fraction(i, degree + 2) for a, b in zip(spans, spans[1:]) for i in range(degree + 2)]
    confirm(name, table(t, degree, x), table(fine, degree, x) @ R, 0)


INSERTED = "Boehm's rule in exact rationals", "collocation of spec.bspline on both rows of knots (equal)"


def rows():
    """Knots of five degrees."""
    for degree in (0, 1, 2, 3, 5):
        for kind in ("uniform", "clamped", "nonuniform") if degree else ("nonuniform",):
            yield f"{kind}-degree-{degree}", knot_vector(kind, degree), degree


def insertions():
    """One knot, three, and one twice."""
    for label, t, degree in rows():
        low, high = t[degree], t[-degree - 1]
        plans = {"one": [1], "three": [1, 2, 3], "twice": [1, 1]}
        for plan, quarters in plans.items() if degree > 1 else list(plans.items())[:2]:
            new = np.array([Fraction(round((low + (high - low) * q / 4) * 256), 256) for q in quarters], object)
            fine, R = inserted(t, degree, new)
            check_insertion(label, t, fine, R, degree, t[0], t[-1])
            inputs, expected = {"knots": t, "degree": degree, "new_knots": new}, {"knots": fine, "matrix": R}
            call = "kanref.golden.grids.inserted(knots, degree, new_knots)"
            yield case("insertion", f"{plan}-{label}", "insert", inputs, expected, call=call, ulps=16, routes=INSERTED)


def refinements():
    """Every span halved, nested and fine."""
    for label, t, degree in rows():
        for exterior in ("nested", "fine"):
            fine, R = halved(t, degree, exterior)
            reach = (t[0], t[-1]) if exterior == "nested" else (t[degree], t[-degree - 1])
            check_insertion(label, t, fine, R, degree, *reach)
            inputs, expected = {"knots": t, "degree": degree, "exterior": exterior}, {"knots": fine, "matrix": R}
            call = f"kanref.golden.grids.halved(knots, {degree}, {exterior!r})"
            yield case(
                "refinement", f"{exterior}-{label}", "halve", inputs, expected, call=call, ulps=16, routes=INSERTED
            )


def halved(t, degree, exterior):
    """Knots and R with every span halved."""
    middles = [(a + b) / 2 for a, b in zip(t, t[1:]) if a < b]
    fine, R = inserted(t, degree, middles)
    if exterior == "nested":
        return fine, R
    first = max(i for i, k in enumerate(fine) if k == t[degree])
    last = min(i for i, k in enumerate(fine) if k == t[-degree - 1])
    return fine[first - degree : last + degree + 1], R[first - degree : last]


def prolongations():
    """Networks on halved spans, and the adjoint for gradients."""
    for name, exterior, options in (
        ("nested", "nested", {"degree": 3}),
        ("nested-scaled", "nested", {"degree": 2, "scaled": True, "bias": True}),
        ("nested-nonuniform", "nested", {"degree": 2, "kind": "nonuniform"}),
        ("fine-linear", "fine", {"degree": 3, "outside": "linear"}),
        ("fine-clamp", "fine", {"degree": 1, "outside": "clamp"}),
        ("fine-tucker", "fine", {"degree": 2, "outside": "linear", "ranks": (1, 1, 2)}),
    ):
        draw = Draw("prolong", name)
        network = [layer(draw, 2, 2, base="identity", **options), layer(draw, 1, 2, base="identity", **options)]
        fine, coarse, gradient = {}, {}, {}
        for l, own in enumerate(network):
            pairs = [halved(t, own["degree"], exterior) for t in own["knots"]]
            fine[f"{l}.knots"] = np.array([t for t, _ in pairs], object)
            for key, a in second.trained([own]).items():
                array = key.split(".")[1]
                R = {"spline": [M for _, M in pairs], "U_basis": pairs[0][1]}.get(array)
                moved = (
                    a
                    if R is None
                    else R @ a
                    if array == "U_basis"
                    else np.stack([a[:, p] @ M.T for p, M in enumerate(R)], 1)
                )
                g = draw(*moved.shape)
                back = (
                    g
                    if R is None
                    else R.T @ g
                    if array == "U_basis"
                    else np.stack([g[:, p] @ M for p, M in enumerate(R)], 1)
                )
                key = f"{l}.{array}"
                fine[key], gradient[key], coarse[key] = moved, g, back
        x = samples(draw, 2)
        refined = [{**own, "knots": fine[f"{l}.knots"]} for l, own in enumerate(network)]
        refined = second.replaced(refined, {key: a for key, a in fine.items() if not key.endswith("knots")})
        confirm(name, network_values(network, x), network_values(refined, x), 0)
        pairing = lambda a, b: sum((a[key] * b[key]).sum() for key in a)
        theta = second.trained(network)
        confirm(
            name, np.array([pairing(coarse, theta)]), np.array([pairing(gradient, {k: fine[k] for k in gradient})]), 0
        )
        inputs = {"network": network, "exterior": exterior}
        routes = "Boehm's rule in exact rationals", "the network's values stay equal, by kanref.spec in exact rationals"
        call = "W x_3 kanref.golden.grids.halved(knots)"
        yield case("prolongation", name, "prolong", inputs, fine, call=call, ulps=16, routes=routes)
        routes = "the transposed matrices in exact rationals", "<P' g, theta> = <g, P theta> in exact rationals (equal)"
        inputs = {**inputs, "gradient": gradient}
        yield case(
            "prolongation", f"adjoint-{name}", "restrict", inputs, coarse, call=call + "'", ulps=16, routes=routes
        )


def changes_of_basis():
    """A and its inverse for degrees 0..4, uniform and other knots."""
    for degree in range(5):
        for kind, intervals in (("uniform", 3), ("nonuniform", 3), ("uniform", 7)):
            t = knot_vector(kind, degree, intervals)
            K, h = len(t) - degree - 1, (t[-1] - t[0]) / (len(t) - 1)
            A = np.array([[Fraction(0)] * K for _ in range(K)], object)
            for i in range(K):
                for s in range(min(degree + 2, K - i)):
                    others = prod(t[i + l] - t[i + s] for l in range(degree + 2) if l != s)
                    A[i, i + s] = h**degree * (t[i + degree + 1] - t[i]) / others if degree else Fraction((-1) ** s)
            name = f"{kind}-{intervals}-intervals-degree-{degree}"
            spans = list(zip(t[degree : K + 1], t[degree + 1 : K + 1]))
            x = [a + (b - a) * Fraction(i, degree + 2) for a, b in spans for i in range(degree + 2)]
            powers = spec.power_relu_basis([list(t)], degree)
            psi = np.array([[series[0] for series in powers(0, [u])] for u in x], object)
            confirm(name, table(t, degree, x), psi @ A.T, 0)
            marsden = [
                [prod((t[j + l] - t[i]) / h for l in range(1, degree + 1)) * (j >= i) for j in range(K)]
                for i in range(K)
            ]
            inverse = solved(A, np.array([[Fraction(int(i == j)) for j in range(K)] for i in range(K)], object))
            confirm(name, inverse, np.array(marsden, object), 0)
            if kind == "uniform":
                assert A[0, 0] == Fraction(1, factorial(degree))
            expected = {"A": A, "inverse": inverse}
            routes = (
                "the formula for any knots and elimination in exact rationals",
                "collocation of spec.bspline and power ReLUs; Marsden's identity (equal)",
            )
            call = "A[i, i+s] = h^d (t_{i+d+1} - t_i) / prod_{l /= s} (t_{i+l} - t_{i+s})"
            inputs = {"knots": t, "degree": degree}
            yield case("change-of-basis", name, "change_of_basis", inputs, expected, call=call, ulps=32, routes=routes)


GROUPS = {
    "grids": grid_updates,
    "extension": lambda: chain(extensions(), sparse_refits()),
    "updates": updates,
    "insertion": insertions,
    "refinement": refinements,
    "prolongation": prolongations,
    "change-of-basis": changes_of_basis,
}
