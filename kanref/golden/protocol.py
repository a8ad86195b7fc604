"""The adapter protocol: one function for every operation; an adapter offers some of them.

An adapter is a module or any object. Its functions are called with the keywords below and return an array, or a
dictionary of arrays, anything that np.asarray understands. What is not there, or raises NotImplementedError, is not
offered. Arrays come in the precision that is examined. N samples, P inputs and Q sums of a layer, K functions, T knots.

A network is a list of layers, each a dictionary: knots (P, T), degree and outside of its B-splines; weights spline
(Q, P, K), or core, U_out, U_in, U_basis of a Tucker tensor, added with the factor alpha to weights `frozen` (Q, P, K)
if these are there; scale (Q, P) multiplies the spline's weights, and mask (Q, P) all weights of an edge; base (Q, P)
are the weights of the function base_function; formulas are [q, p, name] with the rows (a, b, c, d) of affine (F, 4),
edges c f(a x_p + b) + d; bias (Q,) is added to the sums u; normalise names a function that all inputs pass first. Then
nodes: u <- subnode_scale u + subnode_bias, node q the product of its arity[q] consecutive sums, and
v <- node_scale v + node_bias. A key that is not there is a part that is not there.

Gradients come as {"layer.array": array} for the arrays named in TRAINED, masks and frozen weights being constants.
"""

from typing import NamedTuple

TUCKER = "core", "U_out", "U_in", "U_basis"
AFFINE = "subnode_scale", "subnode_bias", "node_scale", "node_bias"
TRAINED = ("spline", "base", "scale", "bias", *TUCKER, "affine", *AFFINE)


class Operation(NamedTuple):
    """arguments and what is returned, in words; the definition; what the axes of the answer count."""

    arguments: str
    returns: str
    definition: str
    axes: dict | tuple = ()


_W = {"spline": ("output", "input", "function"), "base": ("output", "input"), "scale": ("output", "input")}
_MATRIX = {"knots": ("knot",), "matrix": ("new function", "old function")}

OPERATIONS = {
    "bspline": Operation(
        "x (N,), knots (T,), degree, order, outside",
        "(N, K)",
        "Derivative of an order 0..3 of all K = T - degree - 1 B-splines: B_{i,0} = 1 on [t_i, t_{i+1}), the last "
        "span of positive width closed; B_{i,d} = (x - t_i)/(t_{i+d} - t_i) B_{i,d-1} + (t_{i+d+1} - "
        "x)/(t_{i+d+1} - t_{i+1}) B_{i+1,d-1} with 0/0 = 0 for each term; B'_{i,d} = d (B_{i,d-1}/(t_{i+d} - t_i) "
        "- B_{i+1,d-1}/(t_{i+d+1} - t_{i+1})), from the right at knots. Outside [t_degree, t_K]: zero, as they "
        "stand; linear, the edge's value and slope from inside; clamp, its value.",
        ("point", "function"),
    ),
    "base_function": Operation(
        "name, x (N,), order",
        "(N,)",
        "Derivative of an order 0..3 of silu x/(1 + e^-x), identity, zero, tanh, sin, sigmoid 1/(1 + e^-x).",
        ("point",),
    ),
    "function": Operation(
        "name, x (N,), order",
        "(N,)",
        "Derivative of an order 0..3 of an elementary function by pykan's name (gaussian is e^(-x^2), sgn the "
        "sign).",
        ("point",),
    ),
    "chebyshev": Operation(
        "x (N,), degree, order",
        "(N, degree + 1)",
        "Derivative of an order 0..3 with respect to x of T_0, ..., T_degree at tanh x.",
        ("point", "function"),
    ),
    "power_relu": Operation(
        "x (N,), knots (T,), degree, order",
        "(N, K)",
        "Derivative of an order 0..3 of ReLU((x - t_j)/h)^degree, j < K = T - degree - 1, h = (t_last - t_0)/(T - "
        "1).",
        ("point", "function"),
    ),
    "free_knots": Operation(
        "spacing (G,), degree, low, high, least",
        "(G + 2 degree + 1,)",
        "Spans p_i = least/G + (1 - least) softmax(spacing)_i of [low, high]; `degree` knots more on each side "
        "repeat the first and the last span.",
        ("knot",),
    ),
    "forward": Operation(
        "network, x (N, P)",
        "(N, Q)",
        "Values: y_q = sum_p mask (base b(x_p) + scale sum_i W_i B_i(x_p)) + formulas + bias, then nodes, layer "
        "by layer.",
        ("sample", "output"),
    ),
    "loss": Operation(
        "name, prediction (N, m), target (N, m) or list of labels",
        "value (), gradient (N, m)",
        "mse: 1/(N m) sum (f - y)^2; mae: 1/(N m) sum |f - y|; cross_entropy: mean of log sum_c e^{f_c} - "
        "f_label; logistic: mean of log(1 + e^f) - y f. Natural logarithms; the gradient is that with respect to "
        "the prediction.",
        {"gradient": ("sample", "output")},
    ),
    "gradient": Operation(
        "network, x (N, P), target (N, m) or list of labels, loss",
        "value (), layer.array ...",
        "The loss of a network's values at x and its gradient with respect to all trained arrays.",
        _W,
    ),
    "input_gradient": Operation(
        "network, x (N, P)",
        "(N, m, P)",
        "d f_o / d x_p at every sample.",
        ("sample", "output", "input"),
    ),
    "input_hessian": Operation(
        "network, x (N, P)",
        "(N, m, P, P)",
        "d^2 f_o / d x_p d x_r at every sample.",
        ("sample", "output", "input", "input"),
    ),
    "hessian_vector": Operation(
        "network, x (N, P), target (N, m), direction {layer.array}",
        "layer.array ...",
        "H v with H the matrix of second derivatives of the mean squared error with respect to all trained "
        "arrays.",
        _W,
    ),
    "jet": Operation(
        "network, x (N, P), direction (P,), order",
        "(order + 1, N, m)",
        "Derivatives 0..order of t -> f(x + t v) at t = 0 (not divided by factorials).",
        ("order", "sample", "output"),
    ),
    "residual": Operation(
        "network, x (N, 2), equation, coefficient, forcing (N,)",
        "residual (N,), value (), layer.array ...",
        "r = operator(u) - forcing for u = f(x), x = (x, y) or (x, t), coefficient c; value = 1/N sum r^2 and its "
        "gradient. poisson: u_xx + u_yy; helmholtz: u_xx + u_yy + c u; heat: u_t - c u_xx; burgers: u_t + u u_x - "
        "c u_xx; allen-cahn: u_t - c u_xx + u^3 - u; mixed: u_xy + c u u_y.",
        {"residual": ("point",), **_W},
    ),
    "grid_update": Operation(
        "samples (N, P), intervals, degree, rule, mix (None: the rule's)",
        "(P, T)",
        "New knots from samples. Sorted x; grid = mix uniform + (1 - mix) adaptive, then `degree` knots more on "
        "each side. pykan: mix 1/50, uniform from x_0 to x_last, adaptive x[floor(N i / G)], i < G, and x_last, "
        "outer step (last - first)/G. pykan-0.0: mix 1, uniform from x_0 - 1/100 to x_last + 1/100. jaxkan: as "
        "pykan with that margin and mix 1/20. efficient: that margin, mix 1/50, adaptive x[floor((N - 1) i / G)], "
        "outer step that of the uniform part. kanref: mix 1, margins of 1/100 of the range, adaptive from "
        "quantiles interpolated linearly, ends at the margins, spans below a tenth of the uniform step widened to "
        "it and all scaled back.",
        ("input", "knot"),
    ),
    "extended_knots": Operation(
        "knots (T,), degree, intervals",
        "(intervals + 2 degree + 1,)",
        "Interior knots interpolated linearly at equal steps of their index; outer knots keep their distances "
        "from the edge times old/new number of intervals.",
        ("knot",),
    ),
    "refit": Operation(
        "knots (T,), degree, W (Q, K), new_knots, samples (N,) or None",
        "(Q, K')",
        "Coefficients on new knots by least squares to the old curves at samples, or in L2 over the new domain without; "
        "those of least norm where samples leave some undetermined.",
        ("output", "function"),
    ),
    "update": Operation(
        "network (one layer), samples (N, P), rule",
        "knots (P, T), weights (Q, P, K)",
        "Knots by the rule (see grid_update, its own mix) and the effective spline weights, scale times spline, refitted to "
        "the old curves at the samples by least squares: the layer keeps its values there. kanref: mean over the N samples "
        "plus 1/100 of the mean over the new domain, of the squared differences.",
        {"knots": ("input", "knot"), "weights": ("output", "input", "function")},
    ),
    "insert": Operation(
        "knots (T,), degree, new_knots (n,)",
        "knots (T + n,), matrix (K + n, K)",
        "Knot insertion: B_i = sum_j matrix[j, i] B'_j on the whole line.",
        _MATRIX,
    ),
    "halve": Operation(
        "knots (T,), degree, exterior",
        "knots, matrix (K', K)",
        "Every span of positive width halved. nested: of the whole vector; fine: of the domain, with only the "
        "nearest `degree` of the halved exterior knots kept on each side, functions that vanish on the domain "
        "dropped.",
        _MATRIX,
    ),
    "prolong": Operation(
        "network, exterior",
        "layer.knots, layer.array ...",
        "The same function with every span halved (see halve): new knots and W x_3 matrix; other arrays as they "
        "are.",
        _W,
    ),
    "restrict": Operation(
        "network, exterior, gradient {layer.array}",
        "layer.array ...",
        "The adjoint of prolong, applied to a gradient on the fine level: the coarse gradient.",
        _W,
    ),
    "change_of_basis": Operation(
        "knots (T,), degree",
        "A (K, K), inverse (K, K)",
        "B_i = sum_j A[i, j] ReLU((x - t_j)/h)^degree on the domain, h = (t_last - t_0)/(T - 1).",
        {"A": ("spline", "power"), "inverse": ("power", "spline")},
    ),
    "magnitudes": Operation(
        "network, x (N, P), metric",
        "layer (Q, P) ...",
        "Sizes of the edges phi (numeric ones if the metric says so) with deviations over N - 1. paper: mean "
        "|phi|; pykan-0.0: mean |phi|/(width of the domain + 1e-4); edge_forward_spline_n (numeric edges), "
        "edge_forward_sum: std phi/(std x + 0.1); edge_forward_spline_u: std phi; efficient-kan: mean over functions of "
        "|spline|, times mask, without scale. edge_backward: edge scores of attribution by backward. node_backward: for "
        "each level but the inputs, (its nodes, network inputs): start with a node's own backward score there, 0 at its "
        "neighbours, and go down in the same way.",
        ("output", "input"),
    ),
    "penalty": Operation(
        "network, x (N, P), metric, l1, entropy, coefficients, differences",
        "value (), layer.array ...",
        "sum over layers of l1 sum V + entropy S(V) + coefficients sum mean |c| + differences sum mean |c_{i+1} - "
        "c_i|, V the magnitudes, c the spline's effective weights, and its gradient. paper: S = -sum p ln p, p = "
        "V/sum V; efficient-kan: the same S; pykan-0.0: -sum p log2(p + 1e-4); these: means over functions. Others "
        "(pykan 0.2.8): S = mean "
        "over rows plus mean over columns of -sum p log2(p + 1e-4), p = V/(1 + sum of the row or column); means "
        "over outputs.",
        _W,
    ),
    "attribution": Operation(
        "network, x (N, P), method",
        "nodes.level, edges.layer ...",
        "Scores. backward (pykan 0.2.8): 1/m at each output; edge[q, p] = node std(phi_qp)/(std(u_q) + 1e-4), "
        "node p the sum over q, all factors of a product get its score. paper: edges mean |phi|; a node the "
        "smaller of its largest incoming and outgoing edge (inputs: outgoing, outputs: incoming). pykan-0.0: likewise, edges "
        "mean |phi|/(width of the domain + 1e-4).",
    ),
    "tucker": Operation(
        "core (a, b, c), U_out (Q, a), U_in (P, b), U_basis (K, c)",
        "(Q, P, K)",
        "W = core x_1 U_out x_2 U_in x_3 U_basis.",
        ("output", "input", "function"),
    ),
    "tucker_pullback": Operation(
        "core, U_out, U_in, U_basis, W_bar (Q, P, K)",
        "core, U_out, U_in, U_basis",
        "The gradient of sum(W_bar W) with respect to the four.",
    ),
    "singular_values": Operation(
        "W (Q, P, K)",
        "out, in, basis",
        "Singular values of the unfoldings along the three modes, falling.",
    ),
    "hosvd": Operation(
        "W (Q, P, K), ranks [a, b, c]",
        "reconstruction (Q, P, K), out (Q, Q), in (P, P), basis (K, K)",
        "Truncated higher-order SVD: projectors U U' on the leading left singular vectors of each unfolding of W "
        "itself, and W x_1 UU' x_2 VV' x_3 TT'. Free of the choice of signs and rotations.",
        {"reconstruction": ("output", "input", "function")},
    ),
    "adam": Operation(
        "objective, start (n,), steps, rate, beta1, beta2, eps",
        "(steps + 1, n)",
        "m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; theta <- theta - rate m/(1 - "
        "beta1^t)/(sqrt(v/(1 - beta2^t)) + eps). objective is a function theta -> (value, gradient), in the file "
        "its name and numbers.",
        ("step", "component"),
    ),
    "lbfgs_direction": Operation(
        "gradient (n,), S (m, n), Y (m, n)",
        "(n,)",
        "-H g from pairs s, y, oldest first, H_0 = s'y/y'y of the newest pair (1 without pairs).",
        ("component",),
    ),
    "lbfgs": Operation(
        "objective, start (n,), steps, history, step",
        "(steps + 1, n)",
        "theta <- theta + step d with d the L-BFGS direction of the last `history` pairs (s = step d, y = change "
        "of the gradient), no line search, every pair kept.",
        ("step", "component"),
    ),
}  # fmt: skip


def objective(description):
    """theta -> (value, gradient) of the objective that a case describes, for any kind of number.

    quadratic: theta'A theta/2 - b'theta; quartic: sum theta_i^4/4 besides; rosenbrock: sum of
    c (theta_{i+1} - theta_i^2)^2 + (1 - theta_i)^2.
    """
    if description["name"] == "rosenbrock":
        return lambda theta: _rosenbrock(theta, description["c"])
    A, b, quartic = description["A"], description["b"], int(description["name"] == "quartic")

    def f(theta):
        value = theta @ (A @ theta) / 2 - b @ theta
        return value + quartic * (theta**4).sum() / 4, A @ theta - b + quartic * theta**3

    return f


def _rosenbrock(theta, c):
    a, b = theta[1:] - theta[:-1] ** 2, 1 - theta[:-1]
    gradient = 0 * theta
    gradient[1:] = 2 * c * a
    gradient[:-1] = gradient[:-1] - 4 * c * a * theta[:-1] - 2 * b
    return c * (a**2).sum() + (b**2).sum(), gradient


def table():
    """The protocol as text: operation, arguments, what is returned."""
    from kanref.words import aligned

    rows = [("operation", "arguments", "returns"), *((n, o.arguments, o.returns) for n, o in OPERATIONS.items())]
    return aligned(rows, 3)
