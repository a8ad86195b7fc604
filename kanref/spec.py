"""The definition: Kolmogorov-Arnold networks as a textbook writes them.

Everything numeric in kanref is defined here once more, in the slowest and plainest way: dense, one sample at a time,
generic in the number type. Floats give reference values, complex numbers give complex-step derivatives, `fractions.Fraction`
gives exact rationals (splines and layers without transcendental functions) and mpmath numbers give any number of
digits. Fast code never imports this module; the tests compare it with everything.

Contents, in the order of the paper (Liu et al., arXiv 2404.19756):

    1. B-splines and their derivatives      Cox-de Boor on any non-decreasing knots
    2. truncated Taylor series              input derivatives of any order
    3. bases                                B-splines, power ReLUs, Chebyshev, base functions b(x), functions of formulas
    4. weights                              full, masked, scaled, low-rank, in another basis
    5. layer and network                    sum of terms, formulas on edges, product nodes, affine nodes
    6. losses
    7. optimisers                           Adam's step, the L-BFGS direction

Numbers travel as *series*: an array of shape (P, m+1) holds, for each of P coordinates, the Taylor coefficients
z_0 + z_1 t + ... + z_m t^m along a line x + t v. Plain evaluation is m = 0; the derivative of order m along v is m! times
the last coefficient.
"""

import cmath
import math
from typing import NamedTuple

import numpy as np

# ------------------------------------------------------------------------------------------------ 1. B-splines


def ratio(numerator, denominator):
    """a / b with the convention of spline theory 0 / 0 = 0, term by term (de Boor, A Practical Guide to Splines, IX)."""
    return numerator / denominator if denominator != 0 else 0 * numerator


def last_span(knots, first, last):
    """The largest i in [first, last) with t_i < t_{i+1}: the span that is closed on the right."""
    return max(i for i in range(first, last) if knots[i] < knots[i + 1])


def bspline(x, knots, degree, order=0, outside="zero"):
    """Derivative of the given order of all B-splines of a degree at the point x: [B_0(x), ..., B_{K-1}(x)].

    B_{i,0} = 1 on [t_i, t_{i+1}),
    B_{i,d} = (x - t_i)/(t_{i+d} - t_i) B_{i,d-1} + (t_{i+d+1} - x)/(t_{i+d+1} - t_{i+1}) B_{i+1,d-1},
    B'_{i,d} = d (B_{i,d-1}/(t_{i+d} - t_i) - B_{i+1,d-1}/(t_{i+d+1} - t_{i+1})),   K = len(knots) - degree - 1.

    Spans are half open except the last one of positive width, which is closed. The domain is [t_degree, t_K];
    `outside` says what happens beyond it: "zero", the functions as they stand, which vanish beyond the last knot
    (pykan); "linear", straight continuation with the edge's value and slope; "clamp", the edge's value. The two
    latter take the edge from the inside. Complex x and knots are placed by their real parts.
    """
    K, u, places = len(knots) - degree - 1, getattr(x, "real", x), [getattr(t, "real", t) for t in knots]
    a, b = places[degree], places[K]
    if outside in ("linear", "clamp") and not a <= u <= b:
        edge = x - x + (knots[degree] if u < a else knots[K])  # the edge as a number of x's own type
        if order >= 2 or (order == 1 and outside == "clamp"):
            return [0 * x] * K
        value = bspline(edge, knots, degree, order, "edge")
        if order == 1 or outside == "clamp":
            return value
        slope = bspline(edge, knots, degree, 1, "edge")
        return [v + (x - edge) * s for v, s in zip(value, slope)]
    spans = len(knots) - 1
    closed = last_span(places, 0, spans) if outside == "zero" else last_span(places, degree, K)
    within = range(spans) if outside == "zero" else range(degree, K)
    one, zero = 1 + 0 * x, 0 * x
    B = [
        one if i in within and (places[i] <= u < places[i + 1] or (i == closed and u == places[i + 1])) else zero
        for i in range(spans)
    ]
    for d in range(1, degree + 1):
        if d <= degree - order:
            B = [
                ratio((x - knots[i]) * B[i], knots[i + d] - knots[i])
                + ratio((knots[i + d + 1] - x) * B[i + 1], knots[i + d + 1] - knots[i + 1])
                for i in range(spans - d)
            ]
        else:  # the last `order` steps differentiate instead
            B = [
                d * (ratio(B[i], knots[i + d] - knots[i]) - ratio(B[i + 1], knots[i + d + 1] - knots[i + 1]))
                for i in range(spans - d)
            ]
    return B if order <= degree else [zero] * K


# ------------------------------------------------------------------------------------- 2. truncated Taylor series


def times(a, b):
    """Product of two series: c_m = sum_j a_j b_{m-j}."""
    return [sum(a[j] * b[m - j] for j in range(m + 1)) for m in range(len(a))]


def compose(derivatives, z):
    """f(z(t)) = sum_k f^(k)(z_0)/k! (z(t) - z_0)^k from the derivatives [f(z_0), f'(z_0), ...] of f at z_0."""
    delta = [0 * z[0], *z[1:]]
    power, total = [1 + 0 * z[0]] + [0 * z[0]] * (len(z) - 1), [0 * z[0]] * len(z)
    for k, f in enumerate(derivatives[: len(z)]):
        total = [s + f * p / math.factorial(k) for s, p in zip(total, power)]
        power = times(power, delta)
    return total


def library(x):
    """Where exp, sin, ... of x's number type live: mpmath's context, cmath or math."""
    return getattr(x, "context", cmath if isinstance(x, complex) else math)


def exponential(z):
    """e^z as a series: y' = z' y."""
    y = [library(z[0]).exp(z[0])]
    for m in range(1, len(z)):
        y.append(sum(j * z[j] * y[m - j] for j in range(1, m + 1)) / m)
    return y


def reciprocal(z):
    """1/z as a series: z y = 1."""
    y = [1 / z[0]]
    for m in range(1, len(z)):
        y.append(-sum(z[j] * y[m - j] for j in range(1, m + 1)) / z[0])
    return y


def power(z, r):
    """z^r as a series: z y' = r z' y. Whole r >= 0 by multiplication, which also holds at z = 0."""
    if r == int(r) and r >= 0:
        y = [1 + 0 * z[0]] + [0 * z[0]] * (len(z) - 1)
        for _ in range(int(r)):
            y = times(y, z)
        return y
    y = [z[0] ** r]
    for m in range(1, len(z)):
        y.append(sum((r * j - (m - j)) * z[j] * y[m - j] for j in range(1, m + 1)) / (m * z[0]))
    return y


def primitive(value, rate, z):
    """y(z(t)) with y = value at t = 0 and y' = rate z', for a series `rate` of dy/dz along z(t)."""
    return [value, *(sum(j * z[j] * rate[m - j] for j in range(1, m + 1)) / m for m in range(1, len(z)))]


# ------------------------------------------------------------------------------------------------------ 3. bases


def sigmoid(z):
    """1 / (1 + e^-z)."""
    e = exponential([-c for c in z])
    return reciprocal([1 + e[0], *e[1:]])


def silu(z):
    """b(x) = x / (1 + e^-x), the base function of the paper (eq. 2.11)."""
    return times(z, sigmoid(z))


def tanh(z):
    """tanh x = 2 sigmoid(2 x) - 1."""
    s = sigmoid([2 * c for c in z])
    return [2 * s[0] - 1, *(2 * c for c in s[1:])]


def sine(z):
    """sin x, from its derivatives sin, cos, -sin, -cos, ..."""
    s, c = library(z[0]).sin(z[0]), library(z[0]).cos(z[0])
    return compose([(s, c, -s, -c)[k % 4] for k in range(len(z))], z)


def cosine(z):
    """cos x, from its derivatives cos, -sin, -cos, sin, ..."""
    s, c = library(z[0]).sin(z[0]), library(z[0]).cos(z[0])
    return compose([(c, -s, -c, s)[k % 4] for k in range(len(z))], z)


def identity(z):
    """b(x) = x."""
    return list(z)


def plus(constant, z):
    """constant + z."""
    return [constant + z[0], *z[1:]]


def negative(z):
    """-z."""
    return [-c for c in z]


def absolute(z):
    """|x|; the sign is that of the real part, and 0 at 0."""
    return [c * sign(z)[0].real for c in z]


def sign(z):
    """-1, 0 or 1."""
    return [int(z[0].real > 0) - int(z[0].real < 0) + 0 * z[0], *(0 * c for c in z[1:])]


FORMULAS = {  # series of the functions that an edge may be, by name
    "0": lambda z: [0 * c for c in z],
    "x": identity,
    **{f"x^{n}": lambda z, n=n: power(z, n) for n in (2, 3, 4, 5)},
    "1/x": reciprocal,
    **{f"1/x^{n}": lambda z, n=n: reciprocal(power(z, n)) for n in (2, 3, 4, 5)},
    **{name: lambda z: power(z, 0.5) for name in ("sqrt", "x^0.5")},
    "x^1.5": lambda z: power(z, 1.5),
    **{name: lambda z: power(z, -0.5) for name in ("1/sqrt(x)", "1/x^0.5")},
    "exp": exponential,
    "log": lambda z: primitive(library(z[0]).log(z[0]), reciprocal(z), z),
    "abs": absolute,
    "sin": sine,
    "cos": cosine,
    "tan": lambda z: times(sine(z), reciprocal(cosine(z))),
    "tanh": tanh,
    "sgn": sign,
    "arcsin": lambda z: primitive(library(z[0]).asin(z[0]), power(plus(1, negative(times(z, z))), -0.5), z),
    "arccos": lambda z: primitive(library(z[0]).acos(z[0]), negative(power(plus(1, negative(times(z, z))), -0.5)), z),
    "arctan": lambda z: primitive(library(z[0]).atan(z[0]), reciprocal(plus(1, times(z, z))), z),
    "arctanh": lambda z: primitive(library(z[0]).atanh(z[0]), reciprocal(plus(1, negative(times(z, z)))), z),
    "gaussian": lambda z: exponential(negative(times(z, z))),
    "sinh": lambda z: [(a - b) / 2 for a, b in zip(exponential(z), exponential(negative(z)))],
    "cosh": lambda z: [(a + b) / 2 for a, b in zip(exponential(z), exponential(negative(z)))],
    "arcsinh": lambda z: primitive(library(z[0]).asinh(z[0]), power(plus(1, times(z, z)), -0.5), z),
    "sigmoid": sigmoid,
}


def base_basis(function):
    """The basis with the single function b: K = 1."""
    return lambda p, z: [function(z)]


def bspline_basis(knots, degree, outside="zero"):
    """The K B-splines on row p of `knots`, (P, T), for coordinate p."""

    def basis(p, z):
        tables = [bspline(z[0], knots[p], degree, k, outside) for k in range(len(z))]
        return [compose([table[i] for table in tables], z) for i in range(len(knots[p]) - degree - 1)]

    return basis


def free_knots(spacing, degree, low, high, least):
    """The knots of one input from trained spacing: t_i = a + (b - a) (p_1 + ... + p_i), p = least/n + (1 - least) softmax(s),
    and `degree` more on each side that repeat the first and the last spacing."""
    e = [library(s).exp(s) for s in spacing]
    p = [least / len(e) + (1 - least) * c / sum(e) for c in e]
    t = [low + 0 * p[0]]
    for c in p[:-1]:
        t.append(t[-1] + (high - low) * c)
    t.append(high + 0 * p[0])
    left, right = t[1] - t[0], t[-1] - t[-2]
    return [t[0] - k * left for k in range(degree, 0, -1)] + t + [t[-1] + k * right for k in range(1, degree + 1)]


def power_relu_basis(knots, degree):
    """ReLU((x - t_j)/h)^degree for the first T - degree - 1 of the T knots of row p, h their mean spacing; 1 at s = 0^0."""

    def basis(p, z):
        t = knots[p]
        h, zero = (t[-1] - t[0]) / (len(t) - 1), [0 * c for c in z]
        s = [[(z[0] - a) / h, *(c / h for c in z[1:])] for a in t[: len(t) - degree - 1]]
        return [power(series, degree) if series[0].real >= 0 else zero for series in s]

    return basis


def chebyshev_basis(degree):
    """T_0, ..., T_degree of tanh x: T_0 = 1, T_1 = s, T_{j+1} = 2 s T_j - T_{j-1}."""

    def basis(p, z):
        s = tanh(z)
        T = [[1 + 0 * z[0]] + [0 * z[0]] * (len(z) - 1), s]
        while len(T) <= degree:
            T.append([2 * a - b for a, b in zip(times(s, T[-1]), T[-2])])
        return T[: degree + 1]

    return basis


# ---------------------------------------------------------------------------------------------------- 4. weights


def masked(W, mask):
    """W[q,p,i] mask[q,p]: edges switched off."""
    return W * mask[:, :, None]


def scaled(c, w_s):
    """w_s[q,p] c[q,p,i]: the paper's redundant spline scale (eq. 2.10)."""
    return w_s[:, :, None] * c


def tucker(core, U_out, U_in, U_basis):
    """W[q,p,k] = sum_abc core[a,b,c] U_out[q,a] U_in[p,b] U_basis[k,c]: a tensor of low rank (Slim KAN)."""
    W = np.tensordot(core, U_basis, (2, 1))
    W = np.tensordot(W, U_in, (1, 1)).swapaxes(1, 2)
    return np.tensordot(U_out, W, (1, 0))


def in_basis(W, knots, degree):
    """The B-spline weights of power-ReLU weights W: sum_j W[q,p,j] c_j, where psi_i = sum_{j >= i} c_j B_j on the domain.

    By Marsden's identity c_j = prod_{l=1..degree} (t_{j+l} - t_i)/h for row p of knots, (P, T).
    """
    K = len(knots[0]) - degree - 1

    def coefficient(t, i, j):
        h = (t[-1] - t[0]) / (len(t) - 1)
        return math.prod(((t[j + l] - t[i]) / h for l in range(1, degree + 1)), start=int(j >= i))

    A_inverse = np.array([[[coefficient(t, i, j) for j in range(K)] for i in range(K)] for t in knots])
    return np.stack([np.tensordot(W[:, p], A_inverse[p], (1, 0)) for p in range(len(knots))], 1)


def lotra(base, scale, W):
    """base + scale W: frozen weights and a low-rank adapter."""
    return base + scale * W


# ------------------------------------------------------------------------------------------- 5. layer and network


class Layer(NamedTuple):
    """y_q = sum over terms, inputs p and functions i of W[q,p,i] b_i(n_p(x_p)) + bias_q, then nodes.

    terms: pairs (basis, W) with basis(p, series) -> list of K series and W of shape (Q, P, K);
    formulas: (q, p, f, (a, b, c, d)), which add c f(a x_p + b) + d to y_q, with f from series to series;
    normalise: function of (p, series) applied to the inputs of all terms, or None;
    bias: (Q,) or None;
    nodes: function of the list of Q series, or None.
    """

    terms: list
    bias: object = None
    normalise: object = None
    nodes: object = None
    formulas: list = ()


def layer(definition, z):
    """One layer (eq. 2.5) applied to a list of P series; a list of Q series."""
    if definition.normalise:
        z = [definition.normalise(p, series) for p, series in enumerate(z)]
    y = 0
    for basis, W in definition.terms:
        b = np.array([basis(p, series) for p, series in enumerate(z)])  # (P, K, m+1)
        y = y + np.tensordot(W, b, axes=([1, 2], [0, 1]))
    y = [list(series) for series in y]
    for q, p, f, (a, b, c, d) in definition.formulas:
        value = f(plus(b, [a * coefficient for coefficient in z[p]]))
        y[q] = [u + v for u, v in zip(y[q], plus(d, [c * coefficient for coefficient in value]))]
    if definition.bias is not None:
        y = [[c + series[0], *series[1:]] for c, series in zip(definition.bias, y)]
    return definition.nodes(y) if definition.nodes else y


def nodes(u, arity, subnode_scale, subnode_bias, node_scale, node_bias):
    """Product nodes of KAN 2.0: affine subnodes, then sums pass through and products multiply, then affine nodes.

    arity: one number per node, in order; 1 is a sum node (its one subnode passes through), a larger one a product.
    """

    def affine(y, scale, bias):
        return [[s * series[0] + b, *(s * c for c in series[1:])] for series, s, b in zip(y, scale, bias)]

    u, v = iter(affine(u, subnode_scale, subnode_bias)), []
    for factors in arity:
        product = next(u)
        for _ in range(factors - 1):
            product = times(product, next(u))
        v.append(product)
    return affine(v, node_scale, node_bias)


def network(layers, x, direction=None, order=0):
    """Taylor coefficients (Q, order+1) of the network along x + t v at t = 0 (eq. 2.7); values are column 0.

    x, direction: sequences of P numbers; `layers`: a list of `Layer`.
    """
    v = direction if direction is not None else [0] * len(x)
    z = [[a, b + 0 * a, *([0 * a] * (order - 1))][: order + 1] for a, b in zip(x, v)]
    for definition in layers:
        z = layer(definition, z)
    return np.array(z)


def derivatives(layers, x, direction, order):
    """Derivatives 0..order of t -> network(x + t v) at t = 0, shape (Q, order+1)."""
    return network(layers, x, direction, order) * np.array([math.factorial(m) for m in range(order + 1)])


# ----------------------------------------------------------------------------------------------------- 6. losses


def mean_squared_error(prediction, target):
    """1/(N m) sum (f - y)^2 over N samples and m outputs."""
    return ((prediction - target) ** 2).sum() / target.size


def mean_absolute_error(prediction, target):
    """1/(N m) sum |f - y|; the sign is taken of the real part."""
    r = prediction - target
    return sum(e if e.real >= 0 else -e for e in r.ravel()) / target.size


def cross_entropy(scores, labels):
    """Mean over samples of log sum_c e^{f_c} - f_label."""
    e = library(scores.flat[0])
    return sum(e.log(sum(e.exp(c) for c in f)) - f[label] for f, label in zip(scores, labels)) / len(labels)


def logistic(scores, labels):
    """Mean over samples of log(1 + e^f) - y f for labels y in {0, 1}."""
    e = library(scores.flat[0])
    return sum(e.log(1 + e.exp(f)) - y * f for f, y in zip(scores.ravel(), labels)) / len(labels)


# ------------------------------------------------------------------------------------------------- 7. optimisers


def adam_step(theta, gradient, m, v, t, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    """Step t = 1, 2, ... of Adam (Kingma and Ba, algorithm 1): the new theta, m, v."""
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - rate * m_hat / (v_hat**0.5 + eps), m, v


def lbfgs_direction(gradient, S, Y):
    """-H g with H the dense inverse Hessian approximation after the BFGS updates (s, y), oldest first.

    H_0 = (s'y / y'y) I of the newest pair;  H <- (I - rho s y') H (I - rho y s') + rho s s',  rho = 1 / y's
    (Nocedal and Wright, Numerical Optimization, eqs 7.20 and 6.17).
    """
    n = len(gradient)
    H = np.eye(n) * (S[-1] @ Y[-1] / (Y[-1] @ Y[-1]) if len(S) else 1)
    for s, y in zip(S, Y):
        rho = 1 / (y @ s)
        V = np.eye(n) - rho * np.outer(y, s)
        H = V.T @ H @ V + rho * np.outer(s, s)
    return -H @ gradient
