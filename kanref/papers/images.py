"""Images classified by Slim KANs, beside full KANs and MLPs: handwritten digits, and MNIST if it is there.

Gao, Ng and Tan (arXiv 2502.06153) say in their abstract that Slim KANs classify images; what networks, ranks and accuracies they
have could not be read, so that all of this is a reconstruction. No number here is compared with one of theirs.

Digits: the 1797 images of 8 x 8 pixels that come with scikit-learn. 300 of them, always the same, are the test, by which
nothing was chosen. Of the others, four parts are made: "validation" is the accuracy on each of them of a network that was trained
on the other three, "test" that of one trained on all four. Means over four seeds, which draw starts, minibatches and jitter;
"worst" is the seed with the lowest test accuracy; seconds are processor time of one training.

    full      B-splines alone, all of W trained, on 2 intervals of degree 2 or 5 of degree 3
    slim      Tucker weights from scratch; ranks are (out, in, basis) of each layer
    hosvd     a full network, cut to these ranks by HOSVD and trained on for as many passes at half the rate
    mlp       one hidden layer of SiLUs

All alike: cross-entropy plus decay |theta|^2, Adam in minibatches of 64, a rate that falls to 0 as a cosine, 80 passes, the last
iterate. Pixels are from -1 to 1, hidden knots from -2 to 2, splines go straight on beyond. Every image is seen jittered: shifted
by up to 0.4 pixels each way, linearly between pixels, plus noise of deviation 0.2. This matters more than anything else: without
it, all networks learn the training images by heart and validate about one per cent lower, Slim KANs more than full ones.
(Shifts by whole pixels, of eight, make everything worse.)

Chosen by validation, on the 1497 images: jitter, knots, widths, ranks, and the rate and decay of each kind of network, by many
configurations of full KANs and about as many of Slim ones. Two findings: equal rates for all factors validate better here than
those of `lotra.rates`; and the start that HOSVD leaves of a full network's start (`net.init`), which is what "slim" has, somewhat
better than the variance rule of `kanref.slim.slim`.

What comes out: the Slim KAN with 1812 parameters is right on 99.4 % of the test images, more than any full KAN here, of up to
18,944 parameters. "At least five times fewer parameters than the full KAN of equal accuracy" may mean several full KANs, which
the second table has: the one of the same widths and knots (10.5 times as many, less accurate); the smallest one on the same
knots that is at least as accurate (none is); the smallest one on either of the knots that were tried (none by the test, but 2.6
times as many by validation, where full KANs on two intervals are ahead: there the bound is missed; 4.9 times at best, for 1440
parameters). The test's 300 images tell accuracies to half a per cent only, more than what these differ by; the 1497 of the
validation to a third of one. MLPs of the same size are as accurate by the test, and more accurate by validation.

IDX files: if the folder of the results has folders `mnist` or `fashion` with the four files of MNIST or Fashion-MNIST
(`kanref.data.images.idx_images` has their names), three networks of 784 inputs are trained on each: three passes, one seed; a
sixth of the 60,000 images is for validation, and the files' own test is the test.
"""

import os
from functools import partial
from itertools import zip_longest
from time import process_time

import numpy as np

from kanref import mlp, optimize
from kanref.bases import BSpline
from kanref.data.images import digits, idx_images
from kanref.network import KAN, spline_layer
from kanref.objectives import cross_entropy
from kanref.optimize import schedules
from kanref.papers.experiment import cells, finished, rounded
from kanref.slim import slim, slimmed
from kanref.words import aligned

SEEDS = (0, 1, 2, 3)
FINE, COARSE = (5, 3), (2, 2)  # intervals and degree
RANKS = (10, 10, 1), (10, 10, 3)
DIGITS = {
    "rows": {  # kind, hidden widths, knots, ranks of every layer
        "full [64, 10] 2/2": ("full", (), COARSE, None),
        "full [64, 8, 10] 2/2": ("full", (8,), COARSE, None),
        "full [64, 16, 10] 2/2": ("full", (16,), COARSE, None),
        "full [64, 24, 10] 2/2": ("full", (24,), COARSE, None),
        "full [64, 32, 10] 2/2": ("full", (32,), COARSE, None),
        "full [64, 8, 10] 5/3": ("full", (8,), FINE, None),
        "full [64, 16, 10] 5/3": ("full", (16,), FINE, None),
        "full [64, 32, 10] 5/3": ("full", (32,), FINE, None),
        "slim [64, 16, 10] 5/3": ("slim", (16,), FINE, ((6, 6, 1), (10, 8, 3))),
        "slim [64, 24, 10] 5/3": ("slim", (24,), FINE, ((8, 8, 1), (10, 10, 3))),
        "slim [64, 32, 10] 5/3": ("slim", (32,), FINE, RANKS),
        "hosvd [64, 32, 10] 5/3": ("hosvd", (32,), FINE, RANKS),
        "mlp [64, 14, 10]": ("mlp", (14,), None, None),
        "mlp [64, 24, 10]": ("mlp", (24,), None, None),
    },
    "shown": "slim [64, 32, 10] 5/3",
    "rate": {"full": 0.04, "slim": 0.02, "hosvd": 0.02, "mlp": 0.02},
    "decay": {"full": 1e-4, "slim": 1e-3, "hosvd": 1e-3, "mlp": 1e-4},
    "reach": 2.0,
    "passes": 80,
    "batch": 64,
    "shift": 0.4,  # pixels, at most
    "noise": 0.2,  # where pixels are from -1 to 1
    "test": 300,
    "folds": 4,
}
LARGE = DIGITS | {
    "rows": {
        "full [784, 64, 10] 5/3": ("full", (64,), FINE, None),
        "slim [784, 64, 10] 5/3": ("slim", (64,), FINE, ((16, 16, 1), (10, 10, 3))),
        "mlp [784, 18, 10]": ("mlp", (18,), None, None),
    },
    "shown": None,
    "rate": dict.fromkeys(DIGITS["rate"], 0.005),
    "decay": dict.fromkeys(DIGITS["decay"], 1e-5),
    "passes": 3,
    "batch": 128,
}
IDX = ("mnist", "fashion")
PLANS = {"digits": DIGITS, **dict.fromkeys(IDX, LARGE)}
SHORT = {
    "digits": DIGITS
    | {
        "rows": {name: DIGITS["rows"][name] for name in ("full [64, 8, 10] 5/3", DIGITS["shown"], "mlp [64, 24, 10]")},
        "passes": 6,
        "folds": 2,
    }
}
MEASURES = ("validation", "test")
FEWER = 5  # times fewer parameters than a full KAN of equal accuracy: the bound
BLOCK = 2000  # images
CURVES = {  # label, colour, marker
    "full 2/2": ("full KAN, 2 intervals of degree 2", "#56B4E9", "s"),
    "full 5/3": ("full KAN, 5 intervals of degree 3", "#0072B2", "s"),
    "slim": ("Slim KAN from scratch", "#D55E00", "o"),
    "hosvd": ("full KAN cut by HOSVD, trained on", "#CC79A7", "D"),
    "mlp": ("MLP", "0.5", "^"),
}


# ------------------------------------------------------------------------------------------------------------ networks


def full(widths, intervals, degree, reach):
    """A KAN of B-splines alone on pixels from -1 to 1; hidden knots over [-reach, reach]."""
    layers = []
    for l, (P, Q) in enumerate(zip(widths, widths[1:])):
        side = reach if l else 1.0
        layers.append(spline_layer(P, Q, BSpline.uniform(P, intervals, degree, -side, side, "linear"), base=None))
    return KAN(tuple(layers))


def begun(row, widths, plan, seed):
    """A network of a row, and theta from scratch."""
    kind, _, knots, ranks = row
    if kind == "mlp":
        net = mlp.mlp(widths, "silu")
        return net, mlp.start(net, seed)
    net = full(widths, *knots, plan["reach"])
    if kind != "slim":
        return net, net.init(seed)
    net, _ = slim(net, dict(enumerate(ranks)))
    return net, net.init(seed)


# ------------------------------------------------------------------------------------------------------------ training


def jittered(images, rng, shift, noise):
    """Inputs (N, height width): every image shifted by up to `shift` pixels each way, linearly between pixels, black coming
    in, plus normal noise."""
    a = images.pixels * (2 / images.white)
    for axis in (1, 2):
        s = rng.uniform(-shift, shift, (len(a), 1, 1))
        before, after = (np.roll(a, step, axis) for step in (1, -1))
        for moved, edge in ((before, 0), (after, -1)):
            moved[(slice(None),) * axis + (edge,)] = 0
        a = (1 - np.abs(s)) * a + np.maximum(s, 0) * before + np.maximum(-s, 0) * after
    return a.reshape(len(a), -1) - 1 + rng.normal(0, noise, (len(a), a[0].size))


def batches(net, images, decay, plan, seed):
    """theta -> (value, gradient) of cross-entropy and decay, on the next jittered batch at every call; batches in a pass."""
    rng, count, waiting = np.random.default_rng(seed), max(1, len(images) // plan["batch"]), []

    def objective(theta):
        if not waiting:
            waiting.extend(np.array_split(rng.permutation(len(images)), count))
        batch = images[waiting.pop()]
        x = jittered(batch, rng, plan["shift"], plan["noise"])
        value, gradient = cross_entropy(net, x, batch.labels)(theta)
        return value + decay * float(theta @ theta), gradient + 2 * decay * theta

    return objective, count


def trained(net, theta, kind, images, plan, seed, share=1.0):
    """theta after all passes of Adam; share: of the rate."""
    objective, count = batches(net, images, plan["decay"][kind], plan, seed)
    steps = plan["passes"] * count
    rate = schedules.cosine(share * plan["rate"][kind], steps)
    return finished(optimize.adam(objective, theta, steps=steps, rate=rate, keep="last")).theta


def learned(row, images, plan, seed):
    """A network of a row, trained; for "hosvd" also the cut one before it was trained on, else None."""
    widths = [images.pixels[0].size, *row[1], 10]
    net, theta = begun(row, widths, plan, seed)
    theta = trained(net, theta, "full" if row[0] == "hosvd" else row[0], images, plan, seed)
    if row[0] != "hosvd":
        return net, theta, None
    net, cut = slimmed(net, theta, dict(enumerate(row[3])))
    return net, trained(net, cut, "hosvd", images, plan, seed, share=0.5), cut


def guesses(net, theta, images):
    """The classes with the largest scores, a block of images at a time."""
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    return np.concatenate([net(theta, block.X).argmax(1) for block in blocks])


def accuracy(net, theta, images):
    return float((guesses(net, theta, images) == images.labels).mean())


def cell(key, data, plan, folder):
    """The record of a key "ROW / SEED" for a data set, as JSON types."""
    name, seed = key.split(" / ")
    row, seed = plan["rows"][name], int(seed)
    if data == "digits":
        rest, test = digits().split((plan["test"],))
        parts = np.array_split(np.arange(len(rest)), plan["folds"])
        folds = [(rest[np.concatenate(parts[:k] + parts[k + 1 :])], rest[part]) for k, part in enumerate(parts)]
    else:
        rest, test = idx_images(os.path.join(folder, data))
        rest, held_out = rest.split((len(rest) // 6,))
        folds = []
    validation = [accuracy(*learned(row, training, plan, seed)[:2], held_out) for training, held_out in folds]
    began = process_time()
    net, theta, cut = learned(row, rest, plan, seed)
    seconds = process_time() - began
    record = {
        "parameters": net.size,
        "validation": rounded(validation or [accuracy(net, theta, held_out)], 5),
        "training": rounded(accuracy(net, theta, rest), 5),
        "test": rounded(accuracy(net, theta, test), 5),
        "seconds": rounded(seconds, 3),
    }
    if cut is not None:
        record["cut"] = rounded(accuracy(net, cut, test), 5)
    if name == plan["shown"] and seed == SEEDS[0]:
        guess = guesses(net, theta, test)
        record["wrong"] = [
            [test.pixels[k].tolist(), int(test.labels[k]), int(guess[k])] for k in np.flatnonzero(guess != test.labels)
        ]
    return record


# ------------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """Everything; returns the tables. Writes images.json and images.png, images-mnist.json, images-fashion.json; resumes there.

    short: three networks of the digits, one seed, few passes. Raises ValueError or FileNotFoundError for a folder `mnist` or
    `fashion` with other files than it should have.
    """
    plans, seeds = (SHORT, SEEDS[:1]) if short else (PLANS, SEEDS)
    there = [data for data in plans if data == "digits" or os.path.isdir(os.path.join(folder, data))]
    for data in there[1:]:
        idx_images(os.path.join(folder, data))  # what is wrong with the files is better known before the work
    stem, results = os.path.join(folder, "images-short" if short else "images"), {}
    for data in there:
        rows, own = plans[data]["rows"], seeds if data == "digits" else SEEDS[:1]
        compute = partial(cell, data=data, plan=plans[data], folder=folder)
        path = f"{stem}.json" if data == "digits" else f"{stem}-{data}.json"
        done = cells(path, plans[data], [f"{name} / {seed}" for seed in own for name in rows], compute, progress, jobs)
        results[data] = {name: [done[f"{name} / {seed}"] for seed in own] for name in rows}
    draw(results["digits"], plans["digits"]).savefig(f"{stem}.png", dpi=150)
    return text(results, plans)


def mean(records, measure):
    """Over seeds and folds."""
    return float(np.mean([record[measure] for record in records]))


def rival(results, rows, name, measure, knots=None):
    """In words: how many times more parameters the smallest full network has whose mean is at least that of a row, among all or
    those on the same knots, and which one it is, "!" below the bound; more than the largest one if none is as accurate."""
    least, size = mean(results[name], measure), lambda other: results[other][0]["parameters"]
    fulls = [other for other, row in rows.items() if row[0] == "full" and knots in (None, row[2])]
    fitting = [other for other in fulls if mean(results[other], measure) >= least]
    if not fitting:
        return f"> {max(map(size, fulls)) / size(name):.1f}"
    smallest = min(fitting, key=size)
    times = size(smallest) / size(name)
    return f"{times:.1f} ({smallest}){'' if times >= FEWER else ' !'}"


def text(results, plans):
    """The table of every data set, and how many times fewer parameters the Slim KAN has."""
    words = []
    for data, own in results.items():
        lines = [(data, "ranks", "parameters", "validation", "test", "worst", "seconds")]
        for name, (*_, ranks) in plans[data]["rows"].items():
            records = own[name]
            tests = [record["test"] for record in records]
            lines.append((
                name,
                "; ".join(" ".join(map(str, part)) for part in ranks) if ranks else "-",
                records[0]["parameters"],
                percent(mean(records, "validation")),
                percent(np.mean(tests)),
                percent(min(tests)),
                f"{mean(records, 'seconds'):.1f}",
            ))  # fmt: skip
        words += [aligned(lines, left=2), ""]
    words += [claims(results["digits"], plans["digits"])]
    cuts = {name: [record["cut"] for record in own] for name, own in results["digits"].items() if "cut" in own[0]}
    words += ["", *(f"{name}: test {percent(np.mean(own))} right after the cut" for name, own in cuts.items())]
    missing = [data for data in IDX if data not in results]
    if missing:
        words += ["", f"No {' and no '.join(missing)} in the folder of the results: put the four IDX files of MNIST into"]
        words += ["`mnist`, those of Fashion-MNIST into `fashion` there, and networks are trained on them as well."]
    return "\n".join(words)


def percent(share):
    return f"{100 * share:.2f}"


def claims(results, plan):
    """Every Slim KAN beside full ones: its counterpart, and those that are as accurate; ! below the bound."""
    rows = plan["rows"]
    lines = [("full KANs: times as many parameters", "by", "accuracy", "same widths, knots", "same knots", "any knots")]
    for name, (kind, hidden, knots, _) in rows.items():
        if kind not in ("slim", "hosvd"):
            continue
        alike = next((other for other, row in rows.items() if row[0] == "full" and row[1:3] == (hidden, knots)), None)
        for measure in MEASURES:
            ratio = "-"
            if alike:
                times = results[alike][0]["parameters"] / results[name][0]["parameters"]
                ratio = f"{times:.1f} (at {percent(mean(results[alike], measure))})"
            rivals = (rival(results, rows, name, measure, on) for on in (knots, None))
            lines.append((name, measure, percent(mean(results[name], measure)), ratio, *rivals))
    return f"{aligned(lines, left=2)}\n! less than {FEWER} times as many, at equal accuracy"


def draw(results, plan):
    """Errors against parameters, validation and test, a curve for each kind of network; and what the Slim KAN gets wrong."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullFormatter

    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    *panels, wrong = figure.subfigures(1, 3, width_ratios=(1, 1, 0.4))
    for panel, measure in zip(panels, MEASURES):
        axes = panel.subplots()
        for kind, (label, colour, marker) in CURVES.items():
            names = [name for name, row in plan["rows"].items() if curve(row) == kind]
            if not names:
                continue
            sizes = np.array([results[name][0]["parameters"] for name in names])
            errors = [[100 * (1 - np.mean(record[measure])) for record in results[name]] for name in names]
            order = np.argsort(sizes)
            means = np.array([np.mean(own) for own in errors])
            axes.plot(sizes[order], means[order], marker=marker, color=colour, lw=1.4, ms=6, label=label)
            for size, own in zip(sizes, errors):
                axes.plot(np.full(len(own), size), own, ".", color=colour, alpha=0.35, ms=5)
        axes.set(xscale="log", xlabel="parameters", title=f"{measure} error in %", ylim=(0, None))
        axes.xaxis.set_major_locator(FixedLocator((500, 1000, 2000, 5000, 10000, 20000)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8.5, frameon=False)
    mistakes = next((record["wrong"] for record in results[plan["shown"]] if "wrong" in record), [])[:6]
    grid = wrong.subplots(max(1, min(3, len(mistakes))), 1 + (len(mistakes) > 3), squeeze=False)
    wrong.suptitle(f"test errors, seed {SEEDS[0]}, of\n{plan['shown']}", fontsize=11)
    for axes, mistake in zip_longest(grid.flat, mistakes):
        axes.axis("off")
        if mistake:
            axes.imshow(mistake[0], cmap="gray_r")
            axes.set_title(f"{mistake[1]} taken for {mistake[2]}", fontsize=9)
    return figure


def curve(row):
    """Which curve a row belongs to: full KANs by their knots, others by their kind."""
    return f"full {row[2][0]}/{row[2][1]}" if row[0] == "full" else row[0]
