"""Low tensor-rank adaptation (Gao, Ng and Tan, arXiv 2502.06153): (net, theta) -> (net, theta).

    W = W_0 + scale (core x_1 U_out x_2 U_in x_3 U_basis)                        LoTRA: W_0 frozen, the rest trained

Only the paper's abstract could be read; formulas, starts and learning rates here are a reconstruction that was derived and
checked. With r_out, r_in, r_basis small, r_out r_in r_basis + Q r_out + P r_in + K r_basis numbers are trained instead of Q P K.

    adapt(net, theta, ranks)        frozen network with adapters, exactly the same function at the start
    merge(net, theta)               the adapters added to the weights: an ordinary network, as quick as before; `unmerge`
    rates(net, rate)                a learning rate for every component, as the theory below has it

Learning rates. One step of one factor alone changes the output of a layer by (sizes for inputs of size 1; P inputs, Q outputs, K
functions; factors as in `adapt`, U_out N(0, 1/r_out), which is where training brings it if outputs change by about 1)

                                              core               U_out    U_in            U_basis, local; global basis
    sign (Adam) step, few samples             r_in r_basis       r_out    P sqrt(r_in)    sqrt(K r_basis); K sqrt(r_basis)
    gradient step, loss summed over outputs   Q r_in r_basis     r_out    P Q             Q; Q K

times its rate, so that equal rates move one factor much more than the others. All contribute alike with

    Adam                                      1/(r_in r_basis)   1/r_out  c/(P sqrt r_in) c/sqrt(K r_basis); c/(K sqrt r_basis)
    gradient descent                          1/(Q r_in r_basis) 1/r_out  c/(P Q)         c/Q; c/(Q K)

times one base rate, about the change of outputs by one step, which then keeps its best value within a factor of about 2 as P,
Q, K and the ranks grow: `kanref reproduce rates` measures the sizes and the best rates. There is one free number, c = RATIO,
how much sooner the inner factors move than U_out. LoRA+ (arXiv 2402.12354) has the rule for matrices, and tunes c at one
width. With many samples the sizes grow more slowly with K than with few: these are the safe rates.
"""

from dataclasses import replace

import numpy as np

from kanref.arrays import choice, integer
from kanref.bases import BSpline
from kanref.grids.rebase import change_terms, chosen_layers, split_layers
from kanref.nodes import Nodes
from kanref.tensors import chosen_ranks, hosvd
from kanref.terms import Linear
from kanref.weights import Fixed, Full, LoTRA, LowRank, Masked, Tucker

RATIO = 8.0
STARTS = ("output", "core", "gradient")
KINDS = ("tucker", "matrix")


# ------------------------------------------------------------------------------------------------------------ changing


def freeze(net, theta):
    """The same function with nothing trained: weights become `Fixed`, biases and affine maps constants of the nodes."""
    return freeze_nodes(*change_terms(net, theta, fixed))


def freeze_nodes(net, theta):
    """The same function with biases and affine maps of nodes as constants, terms as they are.

    Nodes begin with scale u + shift; of u + bias that is scale u + (scale bias + shift).
    """
    arrays, layers = split_layers(net, theta), []
    for layer, own in zip(net.layers, arrays):
        nodes = layer.nodes
        if layer.bias or (nodes and nodes.trained):
            nodes = nodes or Nodes((1,) * layer.sums)
            constants = nodes.constants | {name: own.pop(name) for name in nodes.trained}
            if layer.bias:
                scale, shift = constants.get("subnode_scale", 1.0), constants.get("subnode_bias", 0.0)
                constants["subnode_bias"] = scale * own.pop("bias") + shift
            nodes = Nodes(nodes.arity, (), constants)
        layers.append(replace(layer, bias=False, nodes=nodes))
    return net.rebuilt(layers, arrays, np.asarray(theta).dtype)


def fixed(l, name, term, own):
    """A change: the term with its weights as constants."""
    if not isinstance(term, Linear):
        raise TypeError(f"layer {l} has a term {name!r} of type {type(term).__name__}, which cannot be frozen; fix it first")
    return Linear(term.basis, Fixed(term.weights.tensor(own))), {}


def adapt(
    net, theta, ranks, *, kind="tucker", start="output", scale=1.0, layers=None, terms=("spline",), gradient=None, seed=0
):
    """The network with all it has frozen, and trained adapters of low tensor rank on some of its terms: net, theta.

    ranks: one number for all modes (cut to their sizes), or (r_out, r_in, r_basis); also {layer: ranks}, for these layers;
    kind: "tucker", or "matrix" for LoRA on the unfolding along outputs, `LowRank` of one rank (only with start="output");
    start: how the adapter begins at zero, without being a stationary point (a reconstruction):
        "output"    U_out = 0, the others random (LoRA's B = 0): the first step moves U_out only
        "core"      core = 0, factors random: the first step moves the core only
        "gradient"  core = 0, factors the leading singular vectors of the unfoldings of the loss's full gradient, which the
                    vector `gradient` (net.size,) gives: the first step goes along the truncated gradient itself
    layers, terms: which layers (None for all, or those that `ranks` names), and the names of the terms that are adapted, or one.

    Variances keep sizes of 1 within the adapter: U_in N(0, 1/P); U_basis N(0, 1) for splines, N(0, 1/K) for global bases;
    U_out N(0, 1); core N(0, 1/(r_in r_basis)); of a matrix, left = 0 and right as U_in times U_basis.
    """
    choice(start, "start", STARTS)
    if choice(kind, "kind", KINDS) == "matrix" and start != "output":
        raise ValueError(f'kind="matrix" begins with start="output", as LoRA does, but start is {start!r}')
    if (gradient is None) == (start == "gradient"):
        raise ValueError('gradient must be given for start="gradient", and only then; objective(theta)[1] is one')
    rng = np.random.default_rng(seed)
    chosen, terms = chosen_layers(net, list(ranks) if layers is None and isinstance(ranks, dict) else layers), names(terms)
    if isinstance(ranks, dict) and (missing := set(chosen) - ranks.keys()):
        raise ValueError(f"ranks name the layers {sorted(ranks)}, but layers has {sorted(missing)} too; give ranks for all")
    slopes = split_layers(net, gradient) if gradient is not None else None
    count = 0

    def change(l, name, term, own):
        nonlocal count
        if l not in chosen or name not in terms:
            return fixed(l, name, term, own)
        if not isinstance(term, Linear):
            raise TypeError(f"layer {l} has a term {name!r} of type {type(term).__name__}; adapters go on linear terms")
        W = term.weights.tensor(own)
        wanted = ranks[l] if isinstance(ranks, dict) else ranks
        adapter = Tucker(W.shape, chosen_ranks(W, wanted)) if kind == "tucker" else _matrix(W.shape, wanted)
        slope = None
        if slopes is not None:
            slope = {array: slopes[l][f"{name}.{array}"] for array in term.arrays}
            slope = _full_gradient(term.weights, slope, l, name)
        count += 1
        return with_adapter(term, own, adapter, scale), _begin(adapter, term.basis, start, slope, rng)

    adapted = change_terms(*freeze_nodes(net, theta), change)
    if not count:
        raise ValueError(f"no layer has terms named {', '.join(terms)}; the network is\n{net!r}")
    return adapted


def with_adapter(term, own, adapter, scale):
    """The linear term with its weights frozen and an adapter on them; edges that a mask switches off stay off."""
    return Linear(term.basis, under_mask(LoTRA(term.weights.tensor(own), adapter, scale), term.weights))


def under_mask(weights, old):
    """Weights in the place of old ones: edges that a mask switches off stay off."""
    return Masked(weights, (old.mask != 0).astype(float)) if isinstance(old, Masked) else weights


def names(terms):
    """Names of terms as a tuple; a text is one name."""
    return (terms,) if isinstance(terms, str) else tuple(terms)


def _matrix(shape, rank):
    """The adapter of LoRA, its rank cut to what the unfolding has."""
    Q, P, K = shape
    return LowRank(shape, min(integer(rank, 'ranks for kind="matrix"', 1), Q, P * K))


def _full_gradient(weights, slope, l, name):
    """The gradient with respect to W itself; of edges that a mask switches off it is zero."""
    if isinstance(weights, Full):
        return slope["W"]
    if isinstance(weights, Masked) and isinstance(weights.inner, Full):
        return slope["W"] / np.where(weights.mask == 0, 1, weights.mask)[:, :, None]
    raise TypeError(f'start="gradient" needs full weights, but {name!r} of layer {l} has {type(weights).__name__}')


def _begin(adapter, basis, start, slope, rng):
    """The arrays of an adapter that is zero."""
    Q, P, K = adapter.shape
    draw = lambda name, variance: rng.normal(0, variance**0.5, adapter.arrays[name])
    if isinstance(adapter, LowRank):
        variance = 1 / P if isinstance(basis, BSpline) else 1 / (P * K)
        return {"left": np.zeros(adapter.arrays["left"]), "right": draw("right", variance)}
    _, r_in, r_basis = adapter.ranks
    if start == "gradient":
        Us = hosvd(slope, adapter.ranks)[1]
        return {"core": np.zeros(adapter.ranks), "U_out": Us[0], "U_in": Us[1], "U_basis": Us[2]}
    factors = {"U_out": draw("U_out", 1.0), "U_in": draw("U_in", 1 / P)}
    factors["U_basis"] = draw("U_basis", 1.0 if isinstance(basis, BSpline) else 1 / K)
    if start == "core":
        return {"core": np.zeros(adapter.ranks), **factors}
    return {"core": draw("core", 1 / (r_in * r_basis)), **factors, "U_out": np.zeros((Q, adapter.ranks[0]))}


def merge(net, theta):
    """The same function with the adapters in the weights, `Fixed` and Tucker weights written out: all trained again, full."""

    def change(l, name, term, own):
        weights = getattr(term, "weights", None)
        kept = Masked(Full(weights.shape), weights.mask) if isinstance(weights, Masked) else weights and Full(weights.shape)
        if kept is None:
            return term, own
        return Linear(term.basis, kept), kept.start(weights.tensor(own))

    return change_terms(net, theta, change)


def unmerge(net, theta, adapters):
    """The network from which adapters were merged, to rounding: what they add is taken off the weights again.

    net, theta: as `merge` left them; adapters: the adapted network and its theta, (net, theta). Keep the base itself where
    every bit matters, as `kanref.adapters.attach` demands.
    """
    adapted, vector = adapters
    shape = lambda term: getattr(term, "weights", term).shape
    shapes = lambda net: [{name: shape(term) for name, term in layer.terms.items()} for layer in net.layers]
    if shapes(adapted) != shapes(net):
        raise ValueError(f"adapters must belong to this network, but they are on\n{adapted!r}\nand it is\n{net!r}")
    own = split_layers(adapted, vector)

    def change(l, name, term, arrays):
        added = adapted.layers[l].terms[name]
        weights = unmasked(getattr(added, "weights", None))
        if not isinstance(weights, LoTRA):
            return term, arrays
        product = weights.scale * weights.adapter.tensor({array: own[l][f"{name}.{array}"] for array in added.arrays})
        if isinstance(added.weights, Masked):
            product = product * added.weights.mask[:, :, None]
        return term, term.weights.start(term.weights.tensor(arrays) - product)

    return change_terms(net, theta, change)


def unmasked(weights):
    """The weights under a mask."""
    return weights.inner if isinstance(weights, Masked) else weights


# ----------------------------------------------------------------------------------------------------------------- rates


def rates(net, rate, method="adam", ratio=RATIO):
    """A learning rate for every entry of theta: `rate` times the shares at the head of this file, for Tucker weights and
    adapters, over an adapter's scale ("descent": its square), which outputs and gradients have as a factor; `rate` itself for
    everything else that is trained, matrix adapters among it.

    method: "adam" (any optimiser whose steps have the size of the rate) or "descent" (plain gradients of a loss that is
    summed over outputs; for a mean over outputs give rate times their number).
    """
    choice(method, "method", ("adam", "descent"))
    for name, value in {"rate": rate, "ratio": ratio}.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, but it is {value}")
    shares = {}
    for l, layer in enumerate(net.layers):
        for name, term in layer.terms.items():
            weights = unmasked(getattr(term, "weights", None))
            kind = getattr(weights, "adapter", weights)
            if isinstance(kind, Tucker):
                own = factor_shares(kind.shape, kind.ranks, isinstance(term.basis, BSpline), method, ratio)
                base = rate / abs(getattr(weights, "scale", 1.0)) ** (1 if method == "adam" else 2)
                shares |= {f"{l}.{name}.{factor}": base * share for factor, share in own.items()}
    return net.spread(shares, default=rate)


def factor_shares(shape, ranks, local, method="adam", ratio=RATIO):
    """{factor: share of the base rate} for weights of a shape (Q, P, K) and ranks (out, in, basis); local: splines, not a global
    basis."""
    (Q, P, K), (r_out, r_in, r_basis) = shape, ranks
    if method == "adam":
        core, U_in, U_basis = 1 / (r_in * r_basis), 1 / (P * r_in**0.5), 1 / ((K**0.5 if local else K) * r_basis**0.5)
    else:
        core, U_in, U_basis = 1 / (Q * r_in * r_basis), 1 / (P * Q), 1 / (Q if local else Q * K)
    return {"core": core, "U_out": 1 / r_out, "U_in": ratio * U_in, "U_basis": ratio * U_basis}
