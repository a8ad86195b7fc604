# %% [markdown]
# # Sparsify, prune, and look
#
# A network of shape $[2, 5, 1]$ has fifteen edges, and fifteen curves are too many to understand anything.
# The function that it learns here,
#
# $$f(x_1, x_2) = \exp\!\big(\sin(\pi x_1) + x_2^2\big),$$
#
# needs three. Nobody tells the network so: it spreads its work over all the nodes it has, because nothing in
# the loss says that it should not. The KAN paper (Liu et al., arXiv 2404.19756, section 2.5.1) adds something
# to the loss that says so, drops what has become idle, and looks at the rest.
#
# **What you'll do.** Write the sparsity penalty in five lines, differentiate it by hand, train with it, score
# every node and edge in two ways, prune, and end with a picture of three curves that anybody can name.
#
# **What you'll learn**
#
# - what the L1 norm of an edge is, what the entropy of a layer is, and why it takes both;
# - that the paper and two generations of pykan mean three different things by the same words;
# - how a node is scored, by the paper and backward from the output, and where the two disagree;
# - what pruning must not forget, and what it cannot decide for you.
#
# **What you'll need.** Tutorial 04.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

import kanref
from kanref import plot, sparsify

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)
INK, BLUE, RED, GREEN, GOLD, PALE = "#222222", "#2a6fbb", "#c8442c", "#2e8b57", "#d9a441", "#b9c4d0"


def f(X):
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


rng = np.random.default_rng(0)
X, X_test = rng.uniform(-1, 1, (2, 1000, 2))
y, y_test = f(X), f(X_test)


def side_by_side(diagrams, height=3.4):
    """Figures of kanref.plot as panels of one figure."""
    figure, axes = plt.subplots(1, len(diagrams), figsize=(10, height), squeeze=False, layout="constrained")
    for axis, diagram in zip(axes[0], diagrams):
        diagram.set_dpi(220)
        canvas = FigureCanvasAgg(diagram)
        canvas.draw()
        axis.imshow(np.asarray(canvas.buffer_rgba()))
        axis.set_axis_off()
    plt.show()


# %% [markdown]
# ## Step 1: a network that knows, and does not tell
#
# First without a penalty. `model.plot` draws the network from the inputs at the bottom to the output at the
# top, with every edge's curve in its place. The darker an edge, the more of the output's variation passes
# through it (step 4).

# %%
model = kanref.Model.build([2, 5, 1], intervals=3, seed=0)
dense = model.fit(X, y, steps=200)
print(f"test error {dense.rmse(X_test, y_test):.4f}")
assert dense.rmse(X_test, y_test) < 0.04
shares = dense.attribute(X).edges
assert min((E > 0.02).sum() for E in shares) >= 4  # most edges are busy

# %% [markdown]
# The error is below two percent of the function's spread, and the curves, soon to be seen, are hard to read.
#
# ## Step 2: the penalty in five lines
#
# How large is an edge? The paper takes the mean of $|\phi|$ over the samples (eq. 2.17), so each layer has a
# matrix $V$ of magnitudes. Two numbers are made of it, its sum and its entropy (eq. 2.18 and 2.19):
#
# $$|\Phi|_1 = \sum_{ij} V_{ij}, \qquad
#   S(\Phi) = -\sum_{ij} p_{ij} \ln p_{ij}, \quad p_{ij} = V_{ij} / |\Phi|_1,$$
#
# and the loss becomes
# $\ell_{\text{data}} + \lambda \big(\mu_1 \sum_l |\Phi_l|_1 + \mu_2 \sum_l S(\Phi_l)\big)$ (eq. 2.20).


# %%
def magnitudes(net, theta, X):
    """V (out, in) of every layer."""
    inputs = net.activations(theta, X)
    return [np.abs(net.edges(theta, l, inputs[l])).mean(0) for l in range(len(net.layers))]


def entropy(V):
    p = V[V > 0] / V.sum()
    return -(p * np.log(p)).sum()


net, theta = dense.net, dense.theta
by_hand = sum(V.sum() + entropy(V) for V in magnitudes(net, theta, X))
penalty = sparsify.penalty(net, X)
value, gradient = penalty(theta)
print(f"the penalty by hand {by_hand:.6f}, kanref's {value:.6f}")
assert abs(value - by_hand) < 1e-12 * by_hand

# %% [markdown]
# Why both? The entropy has a plain meaning: $e^S$ is the *number of edges that count*. Eight edges of equal
# size have $e^S = 8$, and if one of them carries everything, $e^S = 1$. It does not care how large the edges
# are, so on its own it would not stop idle edges from being large together. L1 does care, but is content to
# shrink eight edges to an eighth instead of dropping seven.

# %%
equal, one = np.full((2, 4), 0.3), np.array([[2.4, 0, 0, 0], [0, 0, 0, 0]])
assert abs(np.exp(entropy(equal)) - 8) < 1e-12 and entropy(one) == 0
assert abs(entropy(100 * equal) - entropy(equal)) < 1e-12
assert abs(equal.sum() - one.sum()) < 1e-12  # L1 cannot tell them apart


def counting(model):
    """The number of edges that count, of each layer."""
    return [np.exp(entropy(V)) for V in magnitudes(model.net, model.theta, X)]


print("edges that count: {:.1f} of 10 and {:.1f} of 5".format(*counting(dense)))
assert counting(dense)[0] > 6 and counting(dense)[1] > 3

# %% [markdown]
# **A gradient by hand.** For the edges of the last layer the coefficients act directly. With
# $\phi = \sum_i c_i B_i$ and $\partial |\phi| / \partial c_i = \operatorname{sign}(\phi)\, B_i$,
#
# $$\frac{\partial}{\partial V_{ij}} \big(|\Phi|_1 + S\big) = 1 - \frac{\ln p_{ij} + S}{|\Phi|_1}, \qquad
#   \frac{\partial V_{ij}}{\partial c_k} = \frac1N \sum_n \operatorname{sign} \phi_{ij}(x_n)\, B_k(x_n).$$
#
# The minus sign says it all: for an edge that is large, $\ln p + S$ is positive and the entropy *rewards*
# growth; a small one is pushed to zero harder than by L1. For earlier layers the chain rule goes on through
# the network.

# %%
hidden = net.activations(theta, X)[1]
phi = net.edges(theta, 1, hidden)  # (N, 1, 5)
B = net.layers[1].terms["spline"].basis.dense(hidden)  # (N, 5, K)
V = np.abs(phi).mean(0)
slope = 1 - (np.log(V / V.sum()) + entropy(V)) / V.sum()
W_bar = slope[..., None] * np.einsum("nqp,npk->qpk", np.sign(phi), B) / len(X)
assert np.abs(W_bar - net.split(gradient)["1.spline.W"]).max() < 1e-12 * np.abs(W_bar).max()

direction = rng.normal(size=theta.size)
by_difference = (penalty(theta + 1e-6 * direction)[0] - penalty(theta - 1e-6 * direction)[0]) / 2e-6
print(f"along a random direction: {gradient @ direction:.6f}, by differences {by_difference:.6f}")
assert abs(gradient @ direction - by_difference) < 1e-3 * np.linalg.norm(gradient) * np.linalg.norm(direction)

# %% [markdown]
# Do not expect more digits from the differences: $|\phi|$ has a kink wherever an edge changes sign at a
# sample, and a step may cross some.
#
# **Trap: one name, three penalties.** The code that the paper was made with (pykan 0.0) divides $V$ by the
# range of the knots, takes logarithms to base 2, and weighs entropy twice; pykan 0.2.8 replaces $|\phi|$ by a
# standard deviation and takes entropies along rows and columns, of shares that do not sum to one. A $\lambda$
# from one of them means nothing to another.

# %%
for metric in ("paper", "pykan-0.0", "pykan-0.2.8"):
    amount, disorder = (sparsify.penalty(net, X, metric, *weights).value(theta) for weights in ((1, 0), (0, 1)))
    print(f"{metric:12s} L1 {amount:6.3f}   entropy {disorder:6.3f}")
old = sparsify.penalty(net, X, "pykan-0.0", 0, 1).value(theta)
assert abs(old * np.log(2) - sum(map(entropy, magnitudes(net, theta, X)))) < 0.01  # base 2: nothing else, nearly

# %% [markdown]
# ## Step 3: train with it
#
# `sparsity` in `fit` adds the penalty. A number is $\lambda$, a dictionary sets more. How much? Let us try a
# few.

# %%
weights = (1e-4, 1e-3, 1e-2, 1e-1)
runs = [model.fit(X, y, steps=200, sparsity={"weight": weight, "entropy": 2.0}) for weight in weights]
for weight, run in zip(weights, runs):
    print(
        "lambda {:6g}: test error {:.4f}, edges that count {:.1f} and {:.1f}".format(
            weight, run.rmse(X_test, y_test), *counting(run)
        )
    )
errors = [run.rmse(X_test, y_test) for run in runs]
assert errors[0] < errors[2] / 2 and errors[2] < errors[3] / 1.5
assert all(few < many - 1 for few, many in zip(counting(runs[2]), counting(runs[0])))

# %%
sparse = runs[2]
names = ["$x_1$", "$x_2$"]
side_by_side([m.plot(X, names=names, title=title) for m, title in ((dense, "without"), (sparse, "with the penalty"))])

# %% [markdown]
# On the left everything works a little, on the right a few edges do it all. The price is seen in the error,
# which is several times as large: the penalty pulls at the edges that remain, too. So it is used like a
# chisel: to find the shape, not for the last digit. Too little changes nothing; too much (last row) prefers a
# small wrong function.
#
# ## Step 4: who matters? Two scores
#
# **The paper** (eq. 2.21) looks at the neighbours of a node: the largest edge that enters it and the largest
# that leaves it. Both must be large, so the smaller one is the score.

# %%
first, last = magnitudes(sparse.net, sparse.theta, X)
scores = np.minimum(first.max(1), last.max(0))
assert np.abs(scores - sparse.attribute(X, "paper").nodes[1]).max() < 1e-12

# %% [markdown]
# **Backward** (pykan 0.2.8) starts with 1 at the output and hands it down: a node divides its score among the
# edges that enter it, in proportion to their standard deviations $E$, over the deviation of their sum.

# %%
deviation = lambda a: a.std(0, ddof=1)
inputs = sparse.net.activations(sparse.theta, X)
edges = [sparse.net.edges(sparse.theta, l, inputs[l]) for l in range(2)]
node, shares = np.ones(1), []
for phi in reversed(edges):
    share = node[:, None] * deviation(phi) / (deviation(phi.sum(2)) + 1e-4)[:, None]
    shares.insert(0, share)
    node = share.sum(0)
    print("scores:", np.round(node, 3))
backward = sparse.attribute(X)
assert all(np.abs(a - b).max() < 1e-12 for a, b in zip(shares, backward.edges))
assert np.abs(node - backward.nodes[0]).max() < 1e-12

# %% [markdown]
# Where do they disagree? A *constant* edge is large for the paper ($|\phi|$ is not zero) and nothing for the
# backward score, which is right to ignore it: a constant can live in a bias. And the paper's score has the
# units of the data. Multiply $y$ by a thousand, and the threshold $10^{-2}$ means something else.

# %%
shifted = sparse.theta.copy()
sparse.net.split(shifted)["1.spline.W"][0, np.argmin(scores)] += 1.0  # splines sum to one: adds the constant 1
quiet = np.argmin(scores)
paper = sparsify.attribute(sparse.net, shifted, X, "paper").edges[1][0, quiet]
level = sparsify.attribute(sparse.net, shifted, X).edges[1][0, quiet]
print(f"the idlest node's edge, made constant: {paper:.3f} by the paper, {level:.5f} backward")
assert paper > 0.5 and abs(level - backward.edges[1][0, quiet]) < 0.02

# %% [markdown]
# ## Step 5: prune
#
# `prune` drops hidden nodes and edges whose backward score is below a threshold, and says what survived.

# %%
pruned = sparse.prune(X)
print(pruned.report)
assert pruned.net.widths[1] < 5 and pruned.net.size < dense.net.size
print(f"test error {sparse.rmse(X_test, y_test):.4f} -> {pruned.rmse(X_test, y_test):.4f}")
assert pruned.rmse(X_test, y_test) < 0.3

# %% [markdown]
# Two things are easily forgotten. *What goes must leave its mean behind*: backward scores do not see
# constants, so an edge that is as good as constant is dropped whatever the constant is. The constant goes
# into a bias. (pykan leaves nothing behind.) And *the pruned network must be the masked one*: the old network
# with those edges switched off, the same function in fewer parameters. Both can be checked, on the network
# with the large constant from step 4:

# %%
loud = sparsify.prune(sparse.net, shifted, X)
mute = sparsify.prune(sparse.net, shifted, X, means=False)
before, after, without = (
    np.abs(net(theta, X)[:, 0] - sparse.net(shifted, X)[:, 0]).mean()
    for net, theta in ((sparse.net, shifted), (loud.net, loud.theta), (mute.net, mute.theta))
)
print(f"average change of a prediction: {after:.2f}, without means {without:.2f}")
assert quiet not in loud.report.nodes[1] and before == 0 and after < without / 3

masked_net, masked_theta = sparsify.masked(sparse.net, shifted, edges=loud.report.edges, x=X)
assert masked_net.widths == (2, 5, 1)
difference = masked_net(masked_theta, X) - loud.net(loud.theta, X)
print(f"masked minus pruned: {difference.mean():.0e}, the same everywhere up to {np.ptp(difference):.0e}")
assert np.ptp(difference) < 1e-12 and abs(difference.mean()) < 0.01

# %% [markdown]
# They agree to rounding up to a tiny constant, and that has a reason too: a node that lost all its inputs has
# become a constant $v$, and `prune` hands on $\phi(v)$, which is not quite the mean of $\phi$ that the mask
# leaves.
#
# ## Step 6: train on
#
# Without penalty now, and on a finer grid. And a decision that no threshold makes: could it be fewer nodes
# still? The penalty often stops at two or three, since two nodes that share a function are a local minimum.
# We try: keep one hidden node, train, and let *held-out* data judge.


# %%
def trained(model):
    """Coarse by L-BFGS, then 10 intervals by Levenberg-Marquardt."""
    model = model.fit(X, y, steps=100).update_grid(X)
    return model.fit(X, y, optimizer="lm", intervals=[10], steps=40)


def alone(seed):
    """A network of one hidden node: sparse training from a seed, the strongest node kept, trained on."""
    start = kanref.Model.build([2, 5, 1], intervals=3, seed=seed)
    start = start.fit(X, y, steps=200, sparsity={"weight": 1e-2, "entropy": 2.0})
    cut = start.prune(X, keep_nodes=[1])
    return cut.rmse(X_test, y_test), trained(cut)


attempts = [alone(seed) for seed in range(4)]
for seed, (cut, final) in enumerate(attempts):
    print(f"one node, seed {seed}: error {cut:.2f} after the cut, {final.rmse(X_test, y_test):.1e} after training")
cut, single = min(attempts, key=lambda attempt: attempt[1].rmse(X_test, y_test))
finals = {"dense": trained(dense), "pruned": trained(pruned), "one node": single}
for name, final in finals.items():
    shape = list(final.net.widths)
    print(f"{name:9s} {shape!s:10s} {final.net.size:4d} parameters, test error {final.rmse(X_test, y_test):.1e}")
assert single.net.widths == (2, 1, 1) and single.net.size < 50
assert all(final.rmse(X_test, y_test) < 2e-3 for final in finals.values())
assert cut > 30 * single.rmse(X_test, y_test)

# %%
side_by_side([finals[name].plot(X, names=names, title=name) for name in finals])

# %% [markdown]
# A sine, a parabola, an exponential. The small network is not more accurate than the large one (it has a
# fifth of the parameters); it is *legible*. The error after the cut was bad, and training healed it: judge a
# cut after training and never before.
#
# **Trap: it depends on the start.** From some seeds the last node is one that has learned half of something,
# and no training gets it out of there. Then keep two nodes, or start afresh with $[2, 1, 1]$.
# `kanref.discover` (tutorial 08) automates just this: drop the weakest, try fresh starts, and keep what
# validates.
#
# ## Step 7: a film of training
#
# `plot.Film` is a callback that remembers the parameters every few steps. Nothing is drawn before it is asked
# for: `film.save("training.gif")` would write all frames; we look at four.

# %%
film = plot.Film(model, X, every=10, names=names)
again = model.fit(X, y, steps=200, sparsity={"weight": 1e-2, "entropy": 2.0}, callback=film)
assert np.array_equal(again.theta, sparse.theta)  # the same seed, the same numbers: filming changes nothing
steps = [frame.step for frame in film.frames]
print("frames at steps", steps)
assert steps[0] == 0 and len(steps) >= 20
chosen = [0, 2, 5, len(steps) - 1]
side_by_side([figure for k, figure in enumerate(film.figures()) if k in chosen], height=1.9)

# %% [markdown]
# ## In practice
#
# - `model.fit(X, y, sparsity=1e-2)`, then `model.prune(X)`, then `fit` without penalty, then look.
# - Columns, too: `model.prune(X, inputs=1e-2)` drops inputs; the model remembers which, and goes on taking
#   the full `X`.
# - Scale your targets, or use backward scores, before you believe a threshold.
# - The penalty is for finding structure. Never quote the error of a network that was trained with it.
# - When several seeds disagree about the structure, say so; structure that only one seed shows is not found.
#
# ## On your own
#
# 1. Train with L1 alone, then with the entropy alone (`{"weight": 1e-2, "l1": 0.0, "entropy": 2.0}`). Compare
#    the number of edges that count, and the sizes of the edges.
# 2. Give the network a third input that $f$ ignores. Which $\lambda$ does it take for `inputs=1e-2` to drop
#    it? With the paper's scores instead?
# 3. The paper prunes nodes by scores of nodes. Find a network in which every node matters and most edges do
#    not.
# 4. Learn $x_1 x_2$ with $[2, 5, 1]$ and explain the two nodes that remain. (Hint: $(a + b)^2 - (a - b)^2$.)
