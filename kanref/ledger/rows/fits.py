"""Least squares: refits on other knots, where some coefficients are not determined or hardly so."""

import numpy as np
from scipy.interpolate import BSpline as Reference

from kanref.bases import BSpline
from kanref.grids import extend, refine, transfer_matrix, update_from_samples
from kanref.ledger.row import Row, near
from kanref.ledger.rows.splines import cubic, curve, dense
from kanref.network import kan

RUNS = 20


def uniform_knots(intervals):
    """Of cubic splines on [-1, 1], continued by three steps."""
    return np.arange(-3, intervals + 4) * 2 / intervals - 1


def values(x, intervals):
    """Every cubic B-spline on those knots at points of the domain, by SciPy: (N, intervals + 3)."""
    return Reference(uniform_knots(intervals), np.eye(intervals + 3), 3)(x)


def size(a):
    return float(np.abs(a).max())


# ----------------------------------------------------------------------------------- B4: rank-deficient least squares


def solves():
    """The system as a refit: splines of degree 0 on two intervals, samples in the second one."""
    basis = BSpline.uniform(1, 2, 0)
    refit = lambda: transfer_matrix(basis, basis, np.array([0.25, 0.5, 0.75]), prior=0)[0] @ np.ones(2)
    answers = [tuple(refit()) for _ in range(RUNS)]
    return {"answers": sorted(set(answers)), f"right of {RUNS}": sum(np.allclose(c, (0, 1), 0, 1e-14) for c in answers)}


B4 = Row(
    number="B4",
    title="Rank-deficient least squares: the minimum-norm solution, the same in every run",
    peers=("torch",),
    right=lambda: {"answers": [[0, 1]], f"right of {RUNS}": RUNS},
    ours=solves,
    derivation="""The solutions of 3 equations y = 1 for a zero column and a column of ones are (c, 1); the shortest is
        (0, 1). LAPACK's gelsy finds it if its array of pivots holds zeros on entry. torch.linalg.lstsq, whose default
        driver on a CPU it is, hands over uninitialised memory instead: a nonzero entry keeps its column in front, and a
        zero column in front gives rank 0 and the solution (0, 0). So what comes out depends on the memory's past
        (PyTorch#187411). pykan, efficient-kan, KANLib and MatrixKAN refit with it: B5, B6. kanref's refits use SciPy's
        gelsy, whose pivots are zeros.""",
    reproduce="""The system ((0, 1), (0, 1), (0, 1)) c = (1, 1, 1), solved 20 times. In splines: degree 0, two
        intervals, three samples in the second one.""",
    agrees=lambda right, found: found[f"right of {RUNS}"] == RUNS,
)

# ------------------------------------------------------------------------------------- B5: refinement of a whole network

SAMPLES = np.stack([np.sin(np.arange(500)), np.cos(1.7 * np.arange(500))], 1)


def fresh():
    """[2, 3, 1], G = 5: hidden values reach from -0.5 to 0.5, so that some intervals of the second layer have no samples."""
    net = kan([2, 3, 1], base="zero")
    q, p, m = np.ogrid[:3, :2, :8]
    first, second = 0.3 * np.sin(1 + p + 2 * q + m), np.sin(4 + q.reshape(1, 3, 1) + m)
    return net, net.join({"0.spline.W": first, "1.spline.W": second})


def refined():
    net, theta = fresh()
    y = net(theta, SAMPLES)
    runs = [new(t, SAMPLES) for new, t, _ in (extend(net, theta, 20, SAMPLES) for _ in range(3))]
    return {
        "largest change": max(size(z - y) for z in runs) / size(y),
        "different results": len({z.tobytes() for z in runs}),
    }


B5 = Row(
    number="B5",
    title="Refinement keeps the function and is repeatable",
    peers=("pykan",),
    right=lambda: {"largest change": 0, "different results": 1},
    ours=refined,
    derivation="""The knots of G = 5 are among those of G = 20, so every spline on the old grid is one on the new grid,
        and the least squares have residual 0. The hidden values cover half of their grid, which makes them
        rank-deficient; a torch that leaves pivots to chance (B4) then returns zeros for some inputs, or all.""",
    reproduce="""[2, 3, 1], cubic, G = 5, base functions off, coefficients 0.3 sin(1 + p + 2 q + m) and sin(4 + q + m)
        of function m from input p to output q (in the second layer from q); 500 points (sin i, cos 1.7 i); refine to G
        = 20, several times. Largest change of the output relative to its largest value.""",
    agrees=lambda right, found: found["largest change"] < 1e-6 and found["different results"] == 1,
)

# --------------------------------------------------------------------------------------------- B6: samples in half a grid

HALF = np.linspace(-0.5, 0.5, 100)
WAVE = np.sin(np.arange(8))


def refitted(x):
    """Coefficients of the curve sum_m sin(m) B_m, fitted to its values at x alone by kanref."""
    basis = BSpline.uniform(1, 5, 3)
    return transfer_matrix(basis, basis, x, prior=0)[0] @ WAVE


def half_covered(coefficients):
    return {"error on the samples": size(values(HALF, 5) @ (np.asarray(coefficients) - WAVE))}


B6 = Row(
    number="B6",
    title="A refit from samples in half of the grid gives the curve on them",
    peers=("efficient_kan", "pykan"),
    right=lambda: {"error on the samples": 0},
    ours=lambda: half_covered(refitted(HALF)),
    derivation="""The samples come from a curve of the space, so the residual of the least squares is 0. The first and
        the last function vanish on all samples: the zero column in front that B4 is about.""",
    reproduce="""The curve sum_m sin(m) B_m, G = 5, degree 3 on [-1, 1], at 100 equally spaced points of [-0.5, 0.5];
        its coefficients from these values by the library's own refit, 20 times; the worst error at the points.""",
    agrees=lambda right, found: found["error on the samples"] < 1e-6,
)

# ---------------------------------------------------------------------------------------- B7: drivers that assume full rank

DISCRETE = np.repeat([-0.9, -0.5, -0.1, 0.3, 0.6, 0.9], 20)


def discrete(coefficients):
    c = np.asarray(coefficients)
    return {"length": float(np.linalg.norm(c)), "error on the samples": size(values(DISCRETE, 5) @ (c - WAVE))}


def shortest():
    A = values(DISCRETE, 5)
    return {"length": float(np.linalg.norm(np.linalg.pinv(A) @ A @ WAVE)), "error on the samples": 0}


B7 = Row(
    number="B7",
    title="Fewer distinct samples than functions: a driver for full rank does not give the shortest solution",
    peers=("torch",),
    right=shortest,
    ours=lambda: discrete(refitted(DISCRETE)),
    derivation="""6 distinct samples leave 2 of 8 coefficients open. Of all solutions, which have residual 0, the
        shortest is that of the pseudo-inverse (Moore-Penrose), here by NumPy's singular values. gels, the only driver
        of torch.linalg.lstsq on CUDA, is for full rank; here it divides by rounding errors. torch's documentation says
        so: at fault is who refits with it unchecked, as pykan, efficient-kan and KANLib do on CUDA (pykan#364). It is
        asked for on the CPU here (driver="gels"), where exact zeros raise; on CUDA they do not (PyTorch#180157).""",
    reproduce="""The curve of B6 at -0.9, -0.5, -0.1, 0.3, 0.6, 0.9, 20 samples each; its 8 coefficients by least
        squares: their length, and the largest error on the samples.""",
    agrees=lambda right, found: all(near(right[name], found[name], 1e-7) for name in right),
)

# ------------------------------------------------------------------------------------------- B8: refit from pseudo-samples

DENSE = np.linspace(-1, 1, 201)


def halved():
    net = kan([1, 1], base="zero")
    new, theta, _ = extend(net, WAVE, 10)
    return {"largest change": size(new(theta, DENSE[:, None])[:, 0] - values(DENSE, 5) @ WAVE)}


B8 = Row(
    number="B8",
    title="Extension without samples takes enough pseudo-samples to determine the curve",
    peers=("pykan",),
    right=lambda: {"largest change": 0},
    ours=halved,
    derivation="""The knots of G = 5 are among those of G = 10: the curve is in the finer space, and any fit on enough
        points returns it. initialize_grid_from_parent(mode="grid") means to take 2 G + 1 points, but takes G + 1 for G
        + 3 coefficients, because its inner function ignores its argument.""",
    reproduce="""The curve sum_m sin(m) B_m, G = 5, degree 3, on to G = 10 without samples; largest change on [-1, 1]
        (curve up to 0.84).""",
)

# ----------------------------------------------------------------------------------------------------- B9: sparse samples

EVERYWHERE = np.linspace(-1, 1, 2001)


def sparse(seed=58, **options):
    """The curve's extension, by default with kanref's prior, on the draw of a seed."""
    samples = np.random.default_rng(seed).uniform(-1, 1, 100)
    x = EVERYWHERE[(samples.min() < EVERYWHERE) & (EVERYWHERE < samples.max())]
    coarse = np.sin(np.arange(10))
    _, fine, _ = extend(kan([1, 1], intervals=7, base="zero"), coarse, 50, samples[:, None], **options)
    return {"error between the samples": size(values(x, 50) @ fine - values(x, 7) @ coarse)}


B9 = Row(
    number="B9",
    title="Sparse samples: a refit stays near the curve between them, too",
    peers=("pykan", "efficient_kan", "jaxkan"),
    right=lambda: {"error between the samples": 0},
    ours=sparse,
    derivation="""Cubic splines on 50 intervals come within 1e-3 of the curve, a cubic spline on 7. Random samples may
        leave some of the 53 functions to one sample at the edge of their support (here the condition is 1e9), and a fit
        to the samples alone can pay for those 1e-3 with any error between them. Of the draws of seeds 0, ..., 99 four
        give errors above the curve's own size, this one the largest; the median is 9e-5. With the prior w/(b - a) int
        (g - f)^2, by default w = 0.01, the root mean square error is at most sqrt(1 + 1/w) = 10 times 1e-3. What is
        asked here: within 0.02 everywhere.""",
    reproduce="""The curve sum_m sin(m) B_m, G = 7, degree 3 on [-1, 1] (largest value 0.84), refitted with G = 50 on
        100 samples, numpy.random.default_rng(58).uniform(-1, 1, 100); largest error between the least and the largest
        sample.""",
    switch="kanref.extend(net, theta, 50, x, prior=0): samples alone, as the others fit",
    tolerance=0.02,
)

# ------------------------------------------------------------------------------------------------ B10: scales in a refit

EVEN = np.linspace(-1, 1, 101)
SCALES = np.array([0.5, -2.0])


def rescaled(refit="kanref"):
    net = kan([1, 2], base="zero", scaled=True)
    W = np.broadcast_to(cubic(uniform_knots(5)), (2, 1, 8))
    theta = net.join({"0.spline.W": W, "0.spline.scale": SCALES[:, None]})
    new, theta, _ = update_from_samples(net, theta, EVEN[:, None], rule="efficient", refit=refit)
    y = new(theta, EVEN[:, None])
    return {
        "change of each edge": [size(y[:, q] - s * curve(EVEN)) / size(s * curve(EVEN)) for q, s in enumerate(SCALES)]
    }


B10 = Row(
    number="B10",
    title="A grid update applies the scale of an edge once",
    peers=("efficient_kan", "pykan"),
    right=lambda: {"change of each edge": [0, 0]},
    ours=rescaled,
    derivation="""x^3 - x/2 is a cubic spline on every row of knots, so the refit returns it exactly and the scaled edge
        w (x^3 - x/2) stays. Targets that include w, stored as if they did not, give w^2 (x^3 - x/2): a change by |w -
        1|, here 0.5 and 3. The same lines are in imodelsX, efficient-kan-jax, LKAN and the copies in fast-kan,
        faster-kan, FlashKAN, All-KAN, BSRBF_KAN, Convolutional-KANs and kan-gpt.""",
    reproduce="""One input, two outputs, G = 5, degree 3, every curve x^3 - x/2, scales 1/2 and -2; grid update from 101
        equally spaced samples of [-1, 1] with the library's defaults; largest change of an edge on the samples,
        relative.""",
    switch='kanref.update_from_samples(net, theta, x, rule="efficient", refit="efficient")',
    tolerance=1e-5,
)

# -------------------------------------------------------------------------------------------------- B13: normal equations

FEW = 2 * (np.arange(60) / 59) ** 2 - 1


def crowded(refit="kanref"):
    def error(dtype, mix):
        net, theta, x = kan([1, 1], base="zero"), cubic(uniform_knots(5)).astype(dtype), FEW[:, None].astype(dtype)
        net, theta, _ = update_from_samples(net, theta, x, rule="jaxkan", mix=mix, intervals=50, refit=refit)
        return size(net(theta, x)[:, 0] - curve(FEW))

    return {"error, default grid, float32": error(np.float32, None), "uniform grid, float64": error(np.float64, 1)}


B13 = Row(
    number="B13",
    title="A refit with nearly as many functions as samples stays finite",
    peers=("jaxkan",),
    right=lambda: {"error, default grid, float32": 0, "uniform grid, float64": 0},
    ours=crowded,
    derivation="""x^3 - x/2 is a cubic spline on every row of knots: the residual is 0 whatever the rank is. The normal
        equations square the condition number, and the Cholesky factor of a matrix that is singular to rounding is NaN; an
        orthogonal factorisation with a rank decision is not affected.""",
    reproduce="""One edge x^3 - x/2, G = 5, degree 3; grid update to G = 50 from the 60 samples 2 (i/59)^2 - 1; the largest error
        on them, for the library's default mix of quantiles in its default precision, and for uniform knots in float64.""",
    switch='kanref.update_from_samples(net, theta, x, rule="jaxkan", refit="jaxkan"), which raises instead of NaN',
    tolerance=1e-5,
)

# ---------------------------------------------------------------------------------------------- B14: where to fit a refinement


def dyadic(times):
    new, theta = refine(kan([1, 1], base="zero"), WAVE, times, "fine")
    return size(new(theta, DENSE[:, None])[:, 0] - values(DENSE, 5) @ WAVE)


def at_extended_knots(intervals):
    """Least squares at all knots of the fine row, those outside the domain included."""
    x = uniform_knots(intervals)
    fine, coarse = (dense(uniform_knots(G), 3, x) for G in (intervals, 5))
    c = np.linalg.lstsq(fine, coarse @ WAVE, rcond=None)[0]
    return size(values(DENSE, intervals) @ c - values(DENSE, 5) @ WAVE)


B14 = Row(
    number="B14",
    title="Nested refinement changes nothing on the domain",
    peers=("kanlib",),
    right=lambda: {"change from 5 to 10": 0, "from 5 to 20": 0},
    ours=lambda: {"change from 5 to 10": dyadic(1), "from 5 to 20": dyadic(2)},
    derivation="""On [-1, 1] the coarse space is in the fine one. Outside it is not: there the coarse functions reach
        further than the fine ones. A fit at all knots of the fine row, those outside included, pays for what cannot be
        matched there with errors inside.""",
    reproduce="""The curve sum_m sin(m) B_m, G = 5, degree 3, refined to G = 10 and 20; largest change on [-1, 1] (curve
        up to 0.84).""",
    wrong={"kanlib": lambda: {"change from 5 to 10": at_extended_knots(10), "from 5 to 20": at_extended_knots(20)}},
)

ROWS = (B4, B5, B6, B7, B8, B9, B10, B13, B14)
