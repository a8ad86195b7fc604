# %% [markdown]
# # Check your own library
#
# Suppose you have written a library of Kolmogorov-Arnold networks, in whatever language, and it learns. Is it right? A
# network trains around its own mistakes: a wrong factor becomes another rate, a hole in a basis is filled by a neighbour. So a
# falling loss says little. kanref has hundreds of questions with answers that were computed exactly, or to fifty digits, in two
# ways that met (`kanref.golden`), and a runner that puts them to any implementation and says what its wrong answers look like.
#
# **What you'll do.** Write a small KAN library in NumPy, as one does; see it learn; put it to the questions; find six mistakes
# in it by reading what the runner says, and mend them one after the other.
#
# **What you'll learn**
#
# - what an adapter is, and that forty lines are enough;
# - how to read a report: ulps, what is not offered, which convention a wrong answer would fit;
# - that a network learns as well with mistakes as without;
# - where two models part, which tolerance is fair, and how to use the answers without Python.
#
# **What you'll need.** Tutorials 01 and 03: B-splines, and a layer with its backward pass.

# %%
# ruff: noqa: F811  functions are mended by writing them anew
import json
from dataclasses import dataclass
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

from kanref import Model, bounds, golden
from kanref.compare import compare
from kanref.compare.sides import network_of
from kanref.golden import conformance

plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
BLUE, RED, INK, PALE = "#2a6fbb", "#c8442c", "#222222", "#b9c4d0"

# %% [markdown]
# ## Step 1: a library
#
# B-splines by the recursion of Cox and de Boor, with their derivatives; layers of splines and SiLUs, with a mask that switches
# edges off, and their backward pass; the mean squared error; Adam. Read it once, and try to find six mistakes. Two of them are
# in libraries that many people use.


# %%
def spans(x, t):
    """B-splines of degree 0, one on [t_i, t_{i+1}): (N, T - 1)."""
    return ((t[:-1] <= x[:, None]) & (x[:, None] < t[1:])).astype(x.dtype)


def raised(lower, x, t, d):
    """B-splines of degree d from those of degree d - 1."""
    left = (x[:, None] - t[: -d - 1]) / (t[d:-1] - t[: -d - 1])
    right = (t[d + 1 :] - x[:, None]) / (t[d + 1 :] - t[1:-d])
    return np.nan_to_num(left * lower[:, :-1] + right * lower[:, 1:])


def slopes(lower, t, d):
    """Derivatives of the B-splines of degree d from those of degree d - 1."""
    return np.nan_to_num(d * (lower[:, :-1] / (t[d:-1] - t[: -d - 1]) - lower[:, 1:] / (t[d + 1 :] - t[1:-d])))


@np.errstate(divide="ignore", invalid="ignore")
def basis(x, t, d, order=0):
    """All B-splines of degree d on the knots t at x (N,), or their derivatives of an order: (N, T - d - 1)."""
    if d == 0:
        return spans(x, t) if order == 0 else np.zeros((len(x), len(t) - 1), x.dtype)
    lower = basis(x, t, d - 1, max(order - 1, 0))
    return slopes(lower, t, d) if order else raised(lower, x, t, d)


def silu(x, order=0):
    s = 1 / (1 + np.exp(-x))
    return s * (1 + x * (1 - s)) if order else x * s


@dataclass
class Layer:
    """knots (P, T), and for every edge from one of P inputs to one of Q outputs the coefficients of splines (P, K, Q), that of
    a SiLU (P, Q), and 0 in the mask (P, Q) if it is off."""

    knots: np.ndarray
    degree: int
    spline: np.ndarray
    base: np.ndarray
    mask: np.ndarray

    def weights(self):
        return self.spline * self.mask[:, None], self.base

    def forward(self, x):
        self.x, (spline, base) = x, self.weights()
        y = np.zeros((len(x), base.shape[1]), np.float32)
        for p, t in enumerate(self.knots):
            y += basis(x[:, p], t, self.degree) @ spline[p] + silu(x[:, [p]]) * base[p]
        return y

    def backward(self, y_bar):
        """The adjoint of x; those of the coefficients are kept."""
        self.spline_bar, (spline, base) = np.empty_like(self.spline), self.weights()
        for p, t in enumerate(self.knots):
            self.spline_bar[p] = basis(self.x[:, p], t, self.degree).T @ y_bar * self.mask[p]
        self.base_bar = silu(self.x).T @ y_bar * self.mask
        slope = lambda x, p: basis(x, self.knots[p], self.degree, 1) @ spline[p] + silu(x, 1)[:, None] * base[p]
        return np.stack([(slope(x, p) * y_bar).sum(1) for p, x in enumerate(self.x.T)], 1)


def predict(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def seed(error):
    """The adjoint of the predictions: the gradient of mean(error^2)."""
    return error / error.size


def squared_error(layers, x, y):
    """The loss; its gradient is left in the layers."""
    error = predict(layers, x) - y
    bar = seed(error)
    for layer in reversed(layers):
        bar = layer.backward(bar)
    return np.mean(error**2)


def adam_step(m, v, t, rate, beta1, beta2, eps):
    """The change of the parameters in step t = 1, 2, ..."""
    return -rate * m / (np.sqrt(v) + eps)


def adam(f, theta, steps, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """theta before and after every step; f: theta -> (value, gradient)."""
    m, v, path = 0 * theta, 0 * theta, [theta]
    for t in range(1, steps + 1):
        g = f(theta)[1]
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        theta = theta + adam_step(m, v, t, rate, beta1, beta2, eps)
        path.append(theta)
    return np.array(path)


# %% [markdown]
# It learns. A network $1 \to 4 \to 1$ on a wave, with clamped knots (those at the ends are repeated, as in many textbooks):

# %%
X = np.linspace(-1, 1, 81)[:, None]
wave = np.sin(4 * X) + X
KNOTS = np.r_[[-1.0] * 3, np.linspace(-1, 1, 7), [1.0] * 3]


def learn(steps=600):
    """Losses and last predictions of a network in training."""
    fresh = lambda P, Q: Layer(np.tile(KNOTS, (P, 1)), 3, np.empty((P, 9, Q)), np.empty((P, Q)), np.ones((P, Q)))
    layers, losses = [fresh(1, 4), fresh(4, 1)], []
    arrays = [a for layer in layers for a in (layer.spline, layer.base)]

    def f(theta):
        for a, part in zip(arrays, np.split(theta, np.cumsum([a.size for a in arrays])[:-1])):
            a[...] = part.reshape(a.shape)
        losses.append(squared_error(layers, X, wave))
        return losses[-1], np.concatenate([a.ravel() for layer in layers for a in (layer.spline_bar, layer.base_bar)])

    start = np.random.default_rng(0).normal(0, 0.1, sum(a.size for a in arrays))
    f(adam(f, start, steps, rate=0.02)[-1])
    return np.array(losses), predict(layers, X)


losses, fit = learn()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
left.semilogy(losses, color=RED)
left.set(title="mean squared error", xlabel="steps")
right.plot(X, wave, color=PALE, lw=4, label="target")
right.plot(X, fit, color=RED, lw=1.2, label="network")
right.set(title="after training", xlabel="x")
right.legend()
plt.show()
print(f"mean squared error {losses[0]:.1e} -> {losses[-1]:.1e}")
assert losses[-1] < 1e-4 * losses[0]

# %% [markdown]
# One could be content with that.
#
# ## Step 2: an adapter
#
# The runner asks by functions with fixed names and arguments, which are plain arrays and dictionaries; they are listed, with
# their definitions, in `kanref.golden.protocol`. An adapter is a module or an object with those functions that the library can
# answer. Here it takes forty lines, most of them to turn $(Q, P, K)$ arrays into our own layout and to say what there is not:
# what raises `NotImplementedError`, or is missing, counts as "not offered", which is no shame.


# %%
def built(network):
    """Our layers from a network of the protocol, a list of dictionaries of arrays."""
    layers = []
    for layer in network:
        parts = {"knots", "degree", "outside", "spline", "base", "base_function"}
        if not parts <= layer.keys() <= parts | {"mask"}:
            raise NotImplementedError("layers are splines and SiLUs")
        if layer["outside"] != "zero" or layer["base_function"] != "silu":
            raise NotImplementedError("outside of the knots splines are zero, and beside them are SiLUs")
        spline, base = layer["spline"].transpose(1, 2, 0), layer["base"].T
        mask = layer["mask"].T if "mask" in layer else np.ones_like(base)
        layers.append(Layer(layer["knots"], layer["degree"], spline, base, mask))
    return layers


class Adapter:
    """Our library behind the protocol."""

    def bspline(self, x, knots, degree, order, outside):
        if outside != "zero":
            raise NotImplementedError("outside of the knots splines are zero")
        return basis(x, knots, degree, order)

    def forward(self, network, x):
        return predict(built(network), x)

    def gradient(self, network, x, target, loss):
        if loss != "mse":
            raise NotImplementedError("the loss is the mean squared error")
        layers = built(network)
        found = {"value": squared_error(layers, x, target)}
        for l, layer in enumerate(layers):
            found |= {f"{l}.spline": layer.spline_bar.transpose(2, 0, 1), f"{l}.base": layer.base_bar.T}
        return found

    def adam(self, objective, start, steps, rate, beta1, beta2, eps):
        return adam(objective, start, steps, rate, beta1, beta2, eps)


GROUPS = ["bspline", "layers", "networks", "gradients", "adam"]
print(f"{sum(len(golden.load(group)) for group in golden.groups())} cases in the groups {', '.join(golden.groups())}")
assert set(GROUPS) <= set(golden.groups())

# %% [markdown]
# ## Step 3: read the report
#
# Every case is asked in float64 and in float32, with inputs, and so answers, in that precision.

# %%
reports = {"at first": conformance.run(Adapter(), GROUPS)}
print(reports["at first"].table())
assert not reports["at first"].passed

# %% [markdown]
# The table first. "ulps" is the largest error of a group, in units of $2^{-52}$ (float64) or $2^{-23}$ (float32) of the largest
# entry of its array. A sound implementation has a few of them, or a few dozen after many steps; $10^{15}$ is a wrong answer.
# "rounding" is the most that rounding alone can do, where kanref can prove it (Step 9), and "relative" the error without that
# unit: 1 says that an entry is off by as much as the largest.
#
# Below it stands the first failure of each group: the entry that is furthest off, in the words of the question, and *what the
# answer would be right for*. kanref tries the conventions and the mistakes that libraries have, and says which of them gives
# these very numbers. Failures of a lower group may be echoes of a higher one, so mend from the top.
#
# ## Step 4: B-splines
#
# Two mistakes are at work here. To see one after the other, this prints what is said about a case.


# %%
def said(about, precision="float64"):
    """What the last report says of a case."""
    report = list(reports.values())[-1]
    (outcome,) = (o for o in report.outcomes if o.case.id == about and o.dtype == precision)
    print(f"{about} ({precision}): {outcome.status}\n    {outcome.why}")
    return outcome.why


def again(after):
    """Ask everything once more."""
    reports[after] = conformance.run(Adapter(), GROUPS)
    failed = [outcome.case.group for outcome in reports[after].failures]
    print(f"after {after}, failures:", {group: failed.count(group) for group in GROUPS})


words = said("bspline/uniform-degree-0-order-0-zero")
assert "the right edge of the domain" in words and "half-open spans" in words and "pykan" in words

# %% [markdown]
# Half-open spans, so that the last point of the last span belongs to nobody: at the right end of the data the network lacks its
# splines. We are in good company: where a library is known to do the same, the report names it, and the row of `kanref ledger`
# that tells about it. The last span of positive width has to be closed.


# %%
def spans(x, t):
    """B-splines of degree 0, one on [t_i, t_{i+1}), the last span of positive width closed: (N, T - 1)."""
    inside = (t[:-1] <= x[:, None]) & (x[:, None] < t[1:])
    last = np.flatnonzero(t[:-1] < t[1:])[-1]
    inside[:, last] |= x == t[last + 1]
    return inside.astype(x.dtype)


again("closing the last span")
words = said("bspline/clamped-degree-1-order-0-zero")
assert "0/0 in one term wipes out the sum" in words and "pykan" in words

# %% [markdown]
# What else is wrong with clamped knots? Where knots are repeated, one of the two fractions is $0/0$, which means zero. But
# `nan_to_num` comes after the sum, and makes zero of the other fraction as well: the first and the last functions are gone.
# Zero has to come term by term.


# %%
def over(a, b):
    """a/b, 0/0 being 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape), a.dtype), where=b > 0)


def raised(lower, x, t, d):
    left = over((x[:, None] - t[: -d - 1]) * lower[:, :-1], t[d:-1] - t[: -d - 1])
    return left + over((t[d + 1 :] - x[:, None]) * lower[:, 1:], t[d + 1 :] - t[1:-d])


def slopes(lower, t, d):
    return d * (over(lower[:, :-1], t[d:-1] - t[: -d - 1]) - over(lower[:, 1:], t[d + 1 :] - t[1:-d]))


again("zeros term by term")
assert not any(o.case.group == "bspline" for o in reports["zeros term by term"].failures)

# %% [markdown]
# ## Step 5: layers
#
# All layers fail in float64. In float32 only one does.

# %%
layers = [o for o in reports["zeros term by term"].failures if o.case.group == "layers"]
print({precision: sum(o.dtype == precision for o in layers) for precision in conformance.DTYPES}, "layers failed")
assert "the mask on splines alone" in said("layers/masked", "float32")

# %% [markdown]
# The mask switches the splines of an edge off, but not its SiLU: what has been pruned goes on contributing.


# %%
def weights(self):
    return self.spline * self.mask[:, None], self.base * self.mask


Layer.weights = weights
again("masks on all weights")
assert all(o.dtype == "float64" for o in reports["masks on all weights"].failures if o.case.group == "layers")
assert "it agrees to single precision" in said("layers/degree-3")

# %% [markdown]
# Right in float32, wrong in float64 in the eighth digit: `np.zeros(..., np.float32)` gathers the sums in a buffer of single
# precision. Nothing looks wrong; half of the digits are lost.


# %%
def forward(self, x):
    self.x, (spline, base) = x, self.weights()
    return sum(basis(x[:, p], t, self.degree) @ spline[p] + silu(x[:, [p]]) * base[p] for p, t in enumerate(self.knots))


Layer.forward, single = forward, Layer.forward
again("sums in the precision of x")
assert not any(o.case.group in ("layers", "networks") for o in reports["sums in the precision of x"].failures)

# %% [markdown]
# ## Step 6: the gradient and the optimiser
#
# What is left is said in words.

# %%
assert "0.spline is half, 0.base is half, 1.spline is half" in said("gradients/degree-3")
assert "no bias correction" in said("adam/quadratic")

# %% [markdown]
# The value of the loss is right, and its gradient is half of what it should be: the 2 of the square is missing. Adam lacks the
# correction for the zeros that its averages begin with: its first step is $0.1/\sqrt{0.001} \approx 3$ times too long.


# %%
def seed(error):
    return 2 * error / error.size


def adam_step(m, v, t, rate, beta1, beta2, eps):
    return -rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


again("both factors")
print(reports["both factors"].table())
assert reports["both factors"].passed

# %% [markdown]
# ## Step 7: before and after
#
# All six are found. The largest error of each group, in ulps, from the first report to the last:

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.1), sharey=True)
rows = np.arange(len(GROUPS))[::-1]
for axis, precision in zip(axes, conformance.DTYPES):
    summaries = [[row for row in report.summary() if row["precision"] == precision] for report in reports.values()]
    path = np.array([[row["ulps"] for row in summary] for summary in summaries])
    allowed = [max(case.ulps[precision] for case in golden.load(group)) for group in GROUPS]
    axis.hlines(rows, path[-1], path[0], color=PALE, lw=2, zorder=0)
    axis.plot(path[1:-1], np.tile(rows, (len(path) - 2, 1)), "o", ms=4, color=INK)
    axis.plot(path[0], rows, "o", ms=8, color=RED)
    axis.plot(path[-1], rows, "o", ms=8, color=BLUE)
    axis.plot(allowed, rows, "|", ms=16, mew=1.5, color=INK)
    axis.set(title=f"largest error in ulps, {precision}", xscale="log", yticks=rows, yticklabels=GROUPS, ylim=(-0.6, 4.6))
    assert path[0].min() > 1e6 and (path[-1] < allowed).all()
marks = {"at first": ("o", 8, RED), "on the way": ("o", 4, INK), "mended": ("o", 8, BLUE), "largest tolerance": ("|", 14, INK)}
handles = [axis.plot([], [], mark, ms=size, color=color, label=label)[0] for label, (mark, size, color) in marks.items()]
figure.legend(handles=handles, loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# Black dots are reports in between: layers and networks had the right numbers, but not enough digits of them, until the sums were
# gathered in double precision. "Not offered" is what it was: nothing has been said about products of nodes, about other base
# functions, or about layers with masks *and* scales (see the exercises).
#
# And the network of Step 1, does it learn better now?

# %%
mended, _ = learn()
print(f"mean squared error after {len(mended) - 1} steps: {losses[-1]:.1e} -> {mended[-1]:.1e}")
assert 1 / 5 < mended[-1] / losses[-1] < 5

# %% [markdown]
# No. It is as good with six mistakes as without, which is why nobody looked for them. They matter when numbers have to mean
# something: when a pruned edge has to be off, when a gradient is compared, when a model goes from one library to another.
#
# ## Step 8: a model from elsewhere
#
# So let a model come from elsewhere: trained by kanref, computed by us. `compare` puts its network to the adapter, and feeds
# every layer of ours what the model feeds its own, so that it finds the first layer that is another function.

# %%
rng = np.random.default_rng(0)
points = rng.uniform(-1, 1, (400, 2))
model = Model.build([2, 2, 1], intervals=6)
model = model.fit(points, np.exp(-3 * points[:, 0] ** 2) * points[:, 1], steps=60, progress=False)
found = compare(model, Adapter())
print(found)
assert found.equal


# %% [markdown]
# Adapters can be wrong, too. Read the weights as (input, output), not (output, input), and where a layer has as many inputs as
# outputs, every shape fits:


# %%
class Swapped(Adapter):
    def forward(self, network, x):
        turned = lambda a: a.swapaxes(0, 1) if a.shape[0] == a.shape[1] else a
        return super().forward([{**layer, "spline": turned(layer["spline"])} for layer in network], x)


found = compare(model, Swapped())
print(found)
assert not found.equal and found.parting.layer == 0
assert any("spline weights as (input, output)" in reason for reason in found.reasons)

# %% [markdown]
# Where, by how much, and why. Two models, or two files of whatever library, are compared in the same way: `kanref compare A B`.
#
# ## Step 9: which tolerance is fair?
#
# How far off may a sound answer be? The tolerances of the cases leave some room for sums in another order. But for values of
# networks there is also a proof: `kanref.bounds` follows what rounding can do at the very worst through all layers, for this
# network at these points. That is what `compare` went by, and the column "rounding" of the report.

# %%
net, theta, x = model.net, model.theta, rng.uniform(-1, 1, (400, 2)).astype(np.float32).astype(float)
bound = {dtype: bounds.rounding_errors(net, theta, x, dtype)[:, 0] for dtype in (np.float64, np.float32)}


def errors(dtype):
    """Ours in a precision, beside kanref's values in float64."""
    ours = predict(built(network_of(net, theta.astype(dtype))), x.astype(dtype))
    return np.abs(ours - net(theta, x))[:, 0]


runs = {"ours in float64": (np.float64, errors(np.float64), BLUE), "ours in float32": (np.float32, errors(np.float32), INK)}
Layer.forward = single
runs["ours in float64, with the buffer of Step 5"] = np.float64, errors(np.float64), RED
Layer.forward = forward

figure, axis = plt.subplots(figsize=(9.5, 2.8))
for what, (dtype, error, color) in runs.items():
    axis.hist(np.maximum(error, 1e-18), np.logspace(-18, -3, 61), color=color, label=what)
    print(f"{what}: at most {(error / bound[dtype]).max():.1e} of what rounding can do")
for dtype, color in ((np.float64, BLUE), (np.float32, INK)):
    axis.axvspan(bound[dtype].min(), bound[dtype].max(), color=color, alpha=0.25, label=f"bounds for {dtype.__name__}")
axis.set(title="errors at 400 points (no error at the left end)", xscale="log", xlabel="error", ylabel="points")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
sound, rough, slip = ((error / bound[dtype]).max() for dtype, error, _ in runs.values())
assert sound < 1 and rough < 1 and slip > 1e3
assert runs["ours in float64, with the buffer of Step 5"][1].max() < 1e-6

# %% [markdown]
# Sound errors are a small part of what is proved, as roundings mostly cancel. The buffer's (red) lie with those of float32, far
# beyond what float64 can do. A tolerance that one would choose by experience, $10^{-6}$ say, lets them pass.
#
# ## Step 10: without Python
#
# Cases are JSON, for every language that has a parser; `kanref.golden` says how to read them and `vectors/schema.json` has the
# schema. Here is the one by which the second mistake was found, as it stands in the file:

# %%
text = (golden.FOLDER / "bspline.json").read_text("utf-8")
case = next(case for case in json.loads(text)["cases"] if case["id"] == "bspline/clamped-degree-1-order-0-zero")
for key, value in case.items():
    print(f"{key:>9}: {json.dumps(value)[:100]}")

# %% [markdown]
# Arrays are a shape and numbers in row-major order, as decimals of 17 digits; where these are not exact, as the same doubles in
# hexadecimal, and often as fractions. An answer is right if no entry is further off than `ulps` times $2^{-52}$ times the
# largest expected entry. The check needs no library, and can be written in Julia, Rust or C++ just so:

# %%
inputs, expected = case["inputs"], case["expected"]["result"]
x, knots, degree = inputs["x"]["values"], inputs["knots"]["values"], inputs["degree"]
right = [float.fromhex(word) for word in expected["hex"]]
assert right == expected["values"]  # 17 digits name a double
answer = basis(np.array(x), np.array(knots), degree).ravel().tolist()  # from your own program
allowed = case["ulps"]["float64"] * 2.0**-52 * max(map(abs, right))
print(f"largest error {max(abs(a - r) for a, r in zip(answer, right)):.1e}, allowed {allowed:.1e}")
assert all(abs(a - r) <= allowed for a, r in zip(answer, right))

N, K = expected["shape"]
sums = [sum(map(Fraction, expected["exact"][n * K : (n + 1) * K])) for n in range(N)]
inside = [knots[degree] <= at <= knots[-degree - 1] for at in x]
print("sums of the exact fractions:", *(f"{total} ({'in' if within else 'out'}side)" for total, within in zip(sums, inside)))
assert sums == inside

# %% [markdown]
# ## In practice
#
# - Put the adapter into your library, `mylib/kanref_adapter.py`, with its functions at the module's top. Then
#   `kanref conformance mylib.kanref_adapter` prints the report, `--group bspline,layers` asks less, `--json` is for machines.
# - In your tests: `pytest --kanref-adapter mylib.kanref_adapter`. Every case is a test of its own, named
#   `kanref[bspline/clamped-degree-1-order-0-zero-float64]`, so that `-k` chooses and a failure says what it would say here.
# - `kanref compare model.safetensors mylib.kanref_adapter` puts a model to it. `kanref ledger` lists what the libraries of others
#   get wrong, the right values beside it; `kanref ledger B1` derives one: worth reading before writing one's own.
# - Adapters for pykan, efficient-kan, jaxKAN and fast-kan are in `kanref/golden/adapters`: begin with the one that is most like
#   your library.
#
# ## On your own
#
# 1. Let the layer have scales, `y = sum mask (scale spline + base)`, and offer them. Which cases are asked now that were not?
#    Then leave the mask out in `base_bar`: is it found?
# 2. Plant a mistake of your own: exchange `left` and `right`, drop the factor `d` in `slopes`, use `beta1` for `beta2`. Which is
#    explained, and which only located?
# 3. Offer `outside="linear"`: splines that go straight on beyond the knots. The cases tell when you are done.
