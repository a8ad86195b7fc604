# %% [markdown]
# # Adapt a trained network to a new equation
#
# A network that has learnt to solve one equation is not far from solving the next one: the same equation with another
# diffusivity, say. Training it again changes all its weights; an adapter changes none of them, but adds to every weight tensor
# one of low tensor rank (tutorial 13),
#
# $$ W = W_0 + G \times_1 U_\text{out} \times_2 U_\text{in} \times_3 U_\text{basis}, $$
#
# and trains the small factors alone. That is LoTRA (Gao, Ng and Tan, arXiv 2502.06153; only the abstract of that paper could
# be read, so that what follows is a reconstruction, and where it goes beyond, it says so).
#
# **What you'll do.** Solve the heat equation once, carry the solution over to other diffusivities by adapters, train one by
# hand, look at what it changes, and keep several of them for one base.
#
# **What you'll learn**
#
# - why an adapter should be trained from coarse to fine;
# - how its error depends on its ranks and on how far the new equation is;
# - that an update can be of full rank although one of low rank would do;
# - what rates for its components are good for, and how small its file is.
#
# **What you'll need.** Tutorials 12 (solve across levels) and 13 (Tucker decompositions).

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from kanref import adapters, grids, lotra, optimize, tensors
from kanref.adapt import adapt
from kanref.multilevel.nested import least_squares
from kanref.network import KAN, kan
from kanref.solve import make, solve

plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True, "font.size": 9, "legend.frameon": False})
BLUE, RED, GREEN, GOLD, INK = "#2a6fbb", "#c8442c", "#2e8b57", "#d9a441", "#222222"

# %% [markdown]
# ## Step 1: the base
#
# Two waves that fade, $u_t = D\, u_{xx}$ with $u(x, 0) = \sin \pi x + \frac12 \sin 3 \pi x$ and $u(\pm 1, t) = 0$, on grids of
# 4, 8 and 16 intervals. Initial and boundary values are built in, whatever the network does (tutorial 12).

# %%
POINTS = {"equation": 1000}
heat = lambda D: make("heat", {"diffusivity": D})
base = solve(heat(0.1), widths=(2, 8, 1), degree=4, levels=3, steps=(150, 20), points=POINTS)
print(base.table())
assert base.levels[-1].L2 < 2e-3

# %% [markdown]
# How good is it for other diffusivities, unchanged? The further they are, the worse, on either side. These errors are what to
# compare with: an adapter takes away a part of them.

# %%
targets = np.array([0.05, 0.08, 0.11, 0.16, 0.2])
unchanged = [heat(D).errors(base.net, base.theta, hard=True)[0] for D in targets]
for D, error in zip(targets, unchanged):
    print(f"D = {D:.2f}: relative L2 error {error:.1e}")
assert unchanged[0] > unchanged[1] and unchanged[2] < unchanged[3] < unchanged[4]
assert min(unchanged) > 10 * base.levels[-1].L2

# %% [markdown]
# ## Step 2: adapters on the grid of the base
#
# `lotra.adapt` freezes everything and puts a zero adapter on each layer: core zero, factors from the gradient of the
# loss. Then two dozen steps of Levenberg-Marquardt, which pay here, as there are few numbers to train.

# %%
new = heat(0.16)
places = new.points(POINTS, "sobol", 0)
loss = lambda net: new.objective(net, places, hard=True)
error = lambda net, theta: new.errors(net, theta, hard=True)[0]

net, theta = base.net, base.theta
direct, start = lotra.adapt(net, theta, 4, start="gradient", gradient=loss(net)(theta)[1])
x = new.mesh(9)
assert np.array_equal(direct(start, x), lotra.freeze(net, theta)[0](np.zeros(0), x))  # the unchanged base, bit for bit
found = least_squares(24)(loss(direct), start)
print(f"{direct.size} of {net.size} numbers trained: error {error(net, theta):.1e} -> {error(direct, found.theta):.1e}")
flat = error(direct, found.theta)

# %% [markdown]
# ## Step 3: adapters from coarse to fine
#
# The change from one equation to the next is smooth: it needs no fine grid, at first. A layer is a sum of terms, so let the
# frozen fine splines stay where they are, and put coarse ones beside them: $W_0\, b(x) + C\, b_h(x)$. Train $C$, refine it
# (which is $U_\text{basis} \to R\, U_\text{basis}$, so the ranks stay), train again. On the base's own grid
# the two terms become one. (This is ours, not the paper's; it is what tutorials 11 and 12 do with whole networks.)

# %%
frozen = lotra.freeze(net, theta)[0]


def beside(corrections):
    """The frozen network with the terms of another one beside its own."""
    pairs = zip(frozen.layers, corrections.layers)
    return KAN(tuple(replace(layer, terms={**layer.terms, "C": own.terms["spline"]}) for layer, own in pairs))


options = {"intervals": 4, "degree": 4, "outside": "linear", "base": None, "normalise": "tanh"}
coarse = kan([2, 8, 1], inputs=net.layers[0].normalise, **options)
zero = np.zeros(coarse.size)
slope = loss(beside(coarse))(zero)[1]
C, vector = lotra.adapt(coarse, zero, 4, start="gradient", gradient=slope)
for level in range(3):
    if level:
        C, vector = grids.refine(C, vector)
    vector = least_squares(8)(loss(beside(C)), vector).theta
    print(f"{4 * 2**level:2d} intervals: {C.size} numbers, error {error(beside(C), vector):.1e}")
print(f"as many steps on 16 intervals alone: {flat:.1e}")
stepwise = error(beside(C), vector)
assert stepwise < flat

# %% [markdown]
# `adapt` does this, and `kanref adapt` on the command line; `method="full"` trains a $C$ of full rank the same way. Here are all
# targets: what was, what adapters of two ranks make of it, and what all weights can do.

# %%
kinds = {"ranks 2": {"ranks": 2}, "ranks 4": {"ranks": 4}, "all weights": {"method": "full"}}
done = {kind: [adapt(base, heat(D), steps=8, points=POINTS, **choice) for D in targets] for kind, choice in kinds.items()}
figure, axis = plt.subplots(figsize=(6.5, 3.2))
axis.semilogy(targets, unchanged, "o-", color=INK, ms=4, label="unchanged")
for (kind, runs), colour in zip(done.items(), (RED, GOLD, BLUE)):
    sizes = runs[0].task.size
    label = f"{kind}: {sizes} numbers, {sizes / net.size:.0%}"
    axis.semilogy(targets, [run.errors[0] for run in runs], "o-", color=colour, ms=4, label=label)
axis.axhline(base.levels[-1].L2, color=INK, lw=0.8, ls=":", label="the base on its own equation")
axis.set(title="relative L2 error on the new equation", xlabel="diffusivity; the base has 0.1", ylim=(1e-5, 1))
axis.legend(ncols=2, fontsize=7)
plt.show()
after = {kind: np.array([run.errors[0] for run in runs]) for kind, runs in done.items()}
gain = {kind: float(np.median(np.array(unchanged) / errors)) for kind, errors in after.items()}
print("errors fall by factors (median)", {kind: round(factor) for kind, factor in gain.items()})
assert 10 < gain["ranks 2"] < gain["ranks 4"] and gain["all weights"] > 100

# %% [markdown]
# The network is narrow, $2 \to 8 \to 1$, and there an adapter of ranks 4 is no small thing: $U_\text{basis}$ alone has
# $20 \times 4$ numbers in each layer. In a layer of $64 \times 64$ edges the same ranks are less than a hundredth of the weights.
#
# ## Step 4: what changed
#
# The paper's observation is that updates are of low tensor rank. Look at the update that training all weights has found, in
# all three modes of both layers, and at the adapter's.

# %%
far = int(np.argmax(targets == 0.16))
updates = {}
for kind in ("all weights", "ranks 4"):
    solved = done[kind][far].solved
    before, now = net.split(theta), solved.net.split(solved.theta)
    updates[kind] = {name: np.ascontiguousarray(now[name] - before[name]) for name in before}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, (kind, parts) in zip(axes, updates.items()):
    for (name, A), marker in zip(parts.items(), "os"):
        for mode, (s, colour) in enumerate(zip(tensors.singular_values(A), (BLUE, RED, GREEN))):
            what = f"layer {name[0]}, {('out', 'in', 'basis')[mode]}"
            axis.semilogy(np.arange(1, len(s) + 1), np.maximum(s / s[0], 1e-17), marker + "-", ms=3, color=colour, label=what)
    axis.set(title=f"update of {kind}", xlabel="index", ylim=(1e-5, 2))
axes[0].set_ylabel("singular values, relative")
axes[0].legend(ncols=2, fontsize=7)
plt.show()

# %% [markdown]
# (The last layer has one output, so that its modes "in" and "basis" share their singular values.) The free update is
# *not* of low rank: its singular values fall slowly, and cutting it to ranks 4 destroys the solution. But
# an update of ranks 4 that is nearly as good exists, and the adapter finds it. There are many ways to change a
# network for the same change of its function; what training finds says little about what would do.

# %%
cut = theta.copy()
views = net.split(cut)
for name, A in updates["all weights"].items():
    views[name] += tensors.tucker(*tensors.hosvd(A, 4))
print(f"unchanged {unchanged[far]:.1e}, all weights {after['all weights'][far]:.1e}, that cut to ranks 4 {error(net, cut):.1e}, ")
print(f"trained at ranks 4 {after['ranks 4'][far]:.1e}")
assert error(net, cut) > 10 * after["ranks 4"][far]

# %% [markdown]
# ## Step 5: a rate for each component
#
# With Adam, every entry moves by about the rate at each step, whatever its gradient. But an entry of $U_\text{in}$ meets all $P$
# inputs, one of $U_\text{basis}$ few of the $K$ functions, one of the core a whole outer product: equal rates move the function
# by unequal amounts. `lotra.rates` has the shares that even this out (see `kanref/lotra.py`), times one base rate. Both ways get
# the best of five base rates, on the coarsest grid.

# %%
C, vector = lotra.adapt(coarse, zero, 4, start="gradient", gradient=slope)
objective, curves = loss(beside(C)), {}
for kind, spread in (("rates of the theory", lambda r: lotra.rates(C, r)), ("equal rates", lambda r: r)):
    runs = [optimize.adam(objective, vector, steps=120, rate=spread(r)) for r in (0.003, 0.01, 0.03, 0.1, 0.3)]
    curves[kind] = min(runs, key=lambda run: run.value)
    print(f"{kind}: losses {', '.join(f'{run.value:.1e}' for run in runs)}")
curves["Levenberg-Marquardt"] = least_squares(12)(objective, vector)
figure, axis = plt.subplots(figsize=(6.5, 2.8))
for (kind, run), colour in zip(curves.items(), (BLUE, RED, GREEN)):
    axis.semilogy(np.minimum.accumulate(run.history.value), color=colour, label=kind)
axis.set(title="least loss so far, on 4 intervals", xlabel="steps")
axis.legend()
plt.show()
assert curves["Levenberg-Marquardt"].value < curves["rates of the theory"].value < curves["equal rates"].value

# %% [markdown]
# The theory's rates are somewhat ahead. In so small a network the sizes $P$, $Q$, $K$ differ little; the theory is about wide
# layers, where equal rates have to be small enough for the most sensitive component (`kanref reproduce rates`). And where
# Levenberg-Marquardt can be had, as here, it is worth more than any rate.
#
# ## Step 6: many tasks, one base
#
# An adapter by itself is its factors and the fingerprint of its base. It goes into a file of its own, and comes back onto the
# same base, bit for bit, and onto no other.

# %%
with tempfile.TemporaryDirectory() as folder:
    base.write(folder)
    for D, run in zip(targets, done["ranks 2"]):
        adapters.save_adapter(Path(folder) / f"{D}.safetensors", run.adapter)
    size = {path.name: path.stat().st_size for path in sorted(Path(folder).glob("*.safetensors"))}
    print("bytes:", size)
    for D, run in zip(targets, done["ranks 2"]):
        adapter = adapters.load_adapter(Path(folder) / f"{D}.safetensors")
        assert adapter.about["parameters"] == {"diffusivity": D}
        again, own = adapters.attach(net, theta, adapter)
        assert np.array_equal(again(own, x), run.net(run.theta, x))
try:
    adapters.attach(net, np.nextafter(theta, 1), adapter)
except ValueError as refusal:
    print("refused:", refusal)

# %% [markdown]
# Merged, the adapter costs nothing: the network is an ordinary one, which may be the base of the next adapter.

# %%
merged, whole = lotra.merge(again, own)
assert merged.layout == net.layout
assert np.allclose(merged(whole, x), again(own, x), rtol=0, atol=1e-14)
again = adapt((heat(0.2), merged, whole, True), heat(0.22), ranks=2, steps=8, points=POINTS)
print(f"from 0.2 on to 0.22: error {again.task.before[0]:.1e} -> {again.errors[0]:.1e}")
assert again.errors[0] < again.task.before[0]

# %% [markdown]
# ## In practice
#
# - `kanref solve heat`, then `kanref adapt kanref-solve heat --param diffusivity=0.12`: the table of errors, the adapter's file,
#   the merged model, a figure. `--ranks` says how large, `--method full` takes all weights. In Python `kanref.adapt.adapt`, and
#   `kanref.adapt.load(base, adapter)` to come back.
# - For a small change an adapter is exact enough; for a large one all weights are better; and if the solution changes its
#   character, as at a resonance of Helmholtz's equation, solve anew.
#
# ## On your own
#
# 1. Adapt only the last layer, `layers=[1]`. How much of the gain is left? Why is this a linear least-squares problem?
# 2. Give ranks mode by mode, `ranks=(8, 2, 2)` and `ranks=(2, 2, 8)`: which mode needs the largest?
# 3. Adapt an adapted network, in two small steps from 0.1 to 0.2. Is that better than one large step?
