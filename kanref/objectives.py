"""Objectives: theta -> (value, gradient), the only contract between networks and optimisers.

    mse(net, x, y)                       mean squared error
    mae(net, x, y)                       mean absolute error
    cross_entropy(net, x, labels)        softmax cross-entropy of m scores
    logistic(net, x, labels)             binary logistic loss of one score
    collocation(net, x, residual, ...)   mean squared residual of a differential equation (PINN)
    weighted_sum([(w, objective), ...])
    minibatches(objective, size, seed)   the same objective on the next batch at every call

An objective also knows `samples`, `batch(rows)`, the same objective on some of its samples, and, if it is a mean of squares,
`residuals(theta)` -> (r, J) with r'r = value, for Levenberg-Marquardt. `scipy.optimize.minimize(objective, theta, jac=True)`
works unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kanref import arrays as border
from kanref import jets
from kanref.network import KAN

ROW_MEMORY = 2**29  # bytes up to which Jacobian rows are kept as one matrix; beyond, they are made again in blocks
CHUNK = 2048  # points of a collocation objective that go through the network together: their jets stay in the cache

# ------------------------------------------------------------------------------------------------- losses of scores


def squared(f, y):
    """1/(N m) sum (f - y)^2, and its gradient 2 (f - y)/(N m)."""
    r = f - y
    return np.square(r).sum() / r.size, (2 / r.size) * r


def absolute(f, y):
    """1/(N m) sum |f - y|, and its gradient sign(f - y)/(N m), 0 where f = y."""
    r = f - y
    return np.abs(r).mean(), np.sign(r) / r.size


def softmax_cross_entropy(f, labels):
    """Mean of log sum_c e^{f_c} - f_label, and its gradient (softmax(f) - onehot)/N."""
    shifted = f - f.max(1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(1, keepdims=True)
    pick = np.arange(len(f)), labels
    f_bar = e / total
    f_bar[pick] -= 1
    return (np.log(total[:, 0]) - shifted[pick]).mean(), f_bar / len(f)


def binary_logistic(f, labels):
    """Mean of log(1 + e^f) - y f for y in {0, 1}, and its gradient (sigmoid(f) - y)/N."""
    f, y = f[:, 0], labels.astype(f.dtype)
    e = np.exp(-np.abs(f))
    value = np.maximum(f, 0) + np.log1p(e) - y * f
    return value.mean(), ((np.where(f >= 0, 1, e) / (1 + e) - y) / len(f))[:, None]


@dataclass(frozen=True, eq=False)
class Supervised:
    """A loss of predictions against targets."""

    net: KAN
    x: np.ndarray
    y: np.ndarray
    loss: Callable

    @property
    def samples(self):
        return len(self.x)

    def batch(self, rows):
        """The same objective on some of the samples."""
        return replace(self, x=np.ascontiguousarray(self.x[rows]), y=self.y[rows])

    def _forward(self, theta):
        y, tape = self.net.forward(theta, self.x.astype(theta.dtype, copy=False)[None])
        target = self.y if self.y.dtype.kind == "i" else self.y.astype(theta.dtype, copy=False)
        return y[0], target, tape

    def __call__(self, theta):
        if self.loss is squared:
            theta = self.net.vector(theta)
            x, y = (a.astype(theta.dtype, copy=False) for a in (self.x, self.y))
            return self.net.squared_error(theta, x, y)
        f, y, tape = self._forward(theta)
        value, f_bar = self.loss(f, y)
        return float(value), self.net.pullback(theta, tape, f_bar[None])[0]

    def value(self, theta):
        """The value alone."""
        f, y, _ = self._forward(theta)
        return float(self.loss(f, y)[0])

    def residuals(self, theta):
        """r = (f - y)/sqrt(N m), (N m,), and its Jacobian: dense, or a LinearOperator beyond `ROW_MEMORY`."""
        if self.loss is not squared:
            raise TypeError("residuals exist only for the mean squared error; use adam or lbfgs for other losses")
        f, y, _ = self._forward(theta)
        scale = f.size**-0.5
        return (f - y).ravel() * scale, row_matrix(self._rows, theta, scale, self.samples, self.net.outputs)

    def _rows(self, theta, rows):
        return self.net.jacobian(theta, self.x[rows]).reshape(-1, theta.size)


def _regression(net, x, y, loss):
    x, y = border.points(x, net.inputs), border.points(y, net.outputs, "y")
    if len(x) != len(y):
        raise ValueError(f"x and y must have as many rows, but x has {len(x)} and y has {len(y)}; align the samples")
    return Supervised(net, x, y, loss)


def _labels(net, x, labels, classes):
    x, labels = border.points(x, net.inputs), np.asarray(labels)
    if labels.shape != (len(x),) or labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels must be {len(x)} integers, one for each row of x, but it has shape {labels.shape} and dtype "
            f"{labels.dtype}; encode classes as 0, 1, ..., {classes - 1}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must lie in 0..{classes - 1}, but they span {labels.min()}..{labels.max()}; add outputs or recode"
        )
    return x, labels.astype(np.int64)


def mse(net, x, y):
    """Mean squared error over samples and outputs; x (N, n), y (N, m) or (N,) if m = 1."""
    return _regression(net, x, y, squared)


def mae(net, x, y):
    """Mean absolute error over samples and outputs."""
    return _regression(net, x, y, absolute)


def cross_entropy(net, x, labels):
    """Softmax cross-entropy; labels are integers 0..m-1, one for each sample."""
    if net.outputs < 2:
        raise ValueError(
            f"cross-entropy needs at least two outputs, but the network has {net.outputs}; use logistic for one score"
        )
    return Supervised(net, *_labels(net, x, labels, net.outputs), softmax_cross_entropy)


def logistic(net, x, labels):
    """Binary logistic loss; labels are 0 or 1, the network has one output."""
    if net.outputs != 1:
        raise ValueError(
            f"the logistic loss needs one output, but the network has {net.outputs}; use cross_entropy for several"
        )
    return Supervised(net, *_labels(net, x, labels, 2), binary_logistic)


# ------------------------------------------------------------------------------------------------------ collocation


@dataclass(frozen=True, eq=False)
class Collocation:
    """1/(N R) sum w r^2 for a residual r(x, u, u_i, u_ij) at points x; see `collocation`."""

    net: KAN
    x: np.ndarray
    residual: Callable
    pairs: tuple[tuple[int, int], ...]
    weights: np.ndarray | None = None

    @property
    def samples(self):
        return len(self.x)

    def batch(self, rows):
        """The same objective at some of the points."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, x=np.ascontiguousarray(self.x[rows]), weights=weights)

    @cached_property
    def directions(self):
        """Axes, then e_i + e_j for each mixed pair."""
        e = np.eye(self.net.inputs)
        return np.array([*e, *(e[i] + e[j] for i, j in self._mixed)])

    @cached_property
    def _mixed(self):
        return [(i, j) for i, j in self.pairs if i != j]

    def fields(self, theta, x):
        """x, u (N, m), u_i (N, m, n), u_ij (N, m, n, n) with NaN where a pair was not asked for; and the tape."""
        n = self.net.inputs
        x = x.astype(theta.dtype, copy=False)
        y, tape = self.net.forward(theta, jets.seed(x, self.directions))
        u, first, second = jets.parts(y)
        u_ij = np.full((*u.shape, n, n), np.nan, u.dtype)
        for i, j in self.pairs:
            if i == j:
                u_ij[..., i, i] = second[i]
        for d, (i, j) in enumerate(self._mixed, n):
            u_ij[..., i, j] = u_ij[..., j, i] = (second[d] - second[i] - second[j]) / 2
        return (x, u, np.moveaxis(first[:n], 0, -1), u_ij), tape

    def _evaluate(self, theta, x):
        """r (N, R), its partials with leading axes (N, R), and the tape."""
        fields, tape = self.fields(theta, x)
        r, partials = self.residual(*fields)
        r = np.asarray(r, theta.dtype)
        lead = (len(x), 1) if r.ndim == 1 else r.shape
        shapes = ((self.net.outputs,), (self.net.outputs, self.net.inputs), (self.net.outputs, *(self.net.inputs,) * 2))
        if r.shape[:1] != (len(x),) or r.ndim > 2 or len(partials) != 3:
            raise ValueError(
                f"residual must return r of shape ({len(x)},) or ({len(x)}, R) and three partials (r_u, r_ui, r_uij), but r has "
                f"shape {r.shape} and there are {len(partials)} partials"
            )
        if np.isnan(r).all() and np.isfinite(fields[1]).all():
            raise FloatingPointError(
                f"the residual is NaN at every point, though the network's values are finite; if it uses a second "
                f"derivative outside pairs = {self.pairs}, add that pair"
            )
        full = []
        for name, a, shape in zip(("r_u", "r_ui", "r_uij"), partials, shapes):
            try:
                full.append(None if a is None else np.broadcast_to(a, r.shape + shape).reshape(*lead, *shape))
            except ValueError:
                raise ValueError(
                    f"partial {name} must have shape {r.shape + shape}, but it has shape {np.shape(a)}"
                ) from None
        return r.reshape(lead), full, tape

    def _adjoint(self, r_bar, partials, tape):
        """The jet adjoint (M, N, m) of the outputs for r_bar (N, R)."""
        r_u, r_ui, r_uij = partials
        n, D = self.net.inputs, len(self.directions)
        y_bar = np.zeros((1 + 2 * D, len(r_bar), self.net.outputs), r_bar.dtype)
        u_bar, first_bar, second_bar = jets.parts(y_bar)
        if r_u is not None:
            u_bar += np.einsum("nr,nrm->nm", r_bar, r_u)
        if r_ui is not None:
            first_bar[:n] += np.einsum("nr,nrmi->inm", r_bar, r_ui)
        if r_uij is not None:
            u_ij_bar = np.einsum("nr,nrmij->ijnm", r_bar, r_uij)
            for i, j in self.pairs:
                if i == j:
                    second_bar[i] += u_ij_bar[i, i]
            for d, (i, j) in enumerate(self._mixed, n):
                half = (u_ij_bar[i, j] + u_ij_bar[j, i]) / 2
                second_bar[d] += half
                second_bar[i] -= half
                second_bar[j] -= half
        return y_bar

    @property
    def _chunks(self):
        return [slice(start, start + CHUNK) for start in range(0, self.samples, CHUNK)]

    def _weights(self, rows, dtype):
        """The points' weights (n, 1), or 1."""
        return dtype.type(1) if self.weights is None else self.weights[rows, None].astype(dtype, copy=False)

    def __call__(self, theta):
        total, gradient, count = 0.0, np.zeros_like(theta), 0
        for rows in self._chunks:
            r, partials, tape = self._evaluate(theta, self.x[rows])
            weighted = self._weights(rows, r.dtype) * r
            gradient += self.net.pullback(theta, tape, self._adjoint(2 * weighted, partials, tape))[0]
            total, count = total + (weighted * r).sum(), count + r.size
        return float(total / count), gradient / theta.dtype.type(count)

    def value(self, theta):
        """The value alone."""
        r = self.residual_values(theta)
        return float((self._weights(slice(None), r.dtype) * np.square(r)).sum() / r.size)

    def residual_values(self, theta):
        """r (N, R) itself, without weights."""
        return np.concatenate([self._evaluate(theta, self.x[rows])[0] for rows in self._chunks])

    def residuals(self, theta):
        """r sqrt(w/(N R)), (N R,), and its Jacobian: dense, or a LinearOperator beyond `ROW_MEMORY`."""
        r = self.residual_values(theta)
        scale = r.size**-0.5
        rooted = np.sqrt(self._weights(slice(None), r.dtype)) * r
        return rooted.ravel() * scale, row_matrix(self._rows, theta, scale, self.samples, r.shape[1])

    def _rows(self, theta, rows):
        r, partials, tape = self._evaluate(theta, self.x[rows])
        J = np.empty((*r.shape, theta.size), r.dtype)
        root = np.broadcast_to(np.sqrt(self._weights(rows, r.dtype)), (len(r), 1))
        for component in range(r.shape[1]):
            r_bar = np.zeros_like(r)
            r_bar[:, component] = root[:, 0]
            J[:, component] = self.net.rows(theta, tape, self._adjoint(r_bar, partials, tape))
        return J.reshape(-1, theta.size)


def collocation(net, x, residual, pairs=None, weights=None):
    """Mean squared residual of a differential equation at points x (N, n): 1/(N R) sum_n w_n |r_n|^2.

    residual(x, u, u_i, u_ij) -> r, (r_u, r_ui, r_uij): r of shape (N,) or (N, R) and its partial derivatives with respect to
        u (N, m), u_i (N, m, n) and u_ij (N, m, n, n), each with r's axes in front; None for a partial that is zero.
    pairs: second derivatives that the equation uses, as ((0, 0), (1, 1)); by default all pure ones. Others are NaN.
        An r_uij need only be filled at the pairs; a mixed pair may fill [i, j], [j, i] or both.
    weights: (N,), one for each point, not negative; None for 1.

    residual is called with some of the points at a time (chunks, minibatches), so it must be a function of the points it
    is given, not of arrays made for all of them.
    """
    x, n = border.points(x, net.inputs), net.inputs
    pairs = tuple((i, i) for i in range(n)) if pairs is None else tuple(map(tuple, pairs))
    if any(len(p) != 2 or any(i not in range(n) for i in p) for p in pairs):
        raise ValueError(f"pairs must be pairs of coordinates 0..{n - 1}, but it is {pairs}")
    pairs = tuple((int(min(p)), int(max(p))) for p in pairs)
    if weights is not None:
        weights = border.real_array(weights, "weights")
        if weights.shape != (len(x),) or (weights < 0).any():
            raise ValueError(f"weights must be {len(x)} numbers >= 0, one for each point, but its shape is {weights.shape} "
                             f"and its least entry {weights.min(initial=0):g}")  # fmt: skip
    return Collocation(net, x, residual, tuple(dict.fromkeys(pairs)), weights)


# --------------------------------------------------------------------------------------------- Jacobian rows, sums


def row_matrix(rows_of, theta, scale, samples, components):
    """scale times the Jacobian (samples * components, size): an array if it fits `ROW_MEMORY`, else an operator that
    makes its rows again, block by block, whenever it is applied."""
    row_bytes = components * theta.size * theta.itemsize
    block = max(1, int(ROW_MEMORY // 8 // row_bytes))
    blocks = [slice(start, min(start + block, samples)) for start in range(0, samples, block)]
    if samples * row_bytes <= ROW_MEMORY:
        J = np.empty((samples * components, theta.size), theta.dtype)
        for rows in blocks:
            np.multiply(rows_of(theta, rows), scale, out=J[rows.start * components : rows.stop * components])
        return J
    from scipy.sparse.linalg import LinearOperator

    span = lambda rows: slice(rows.start * components, rows.stop * components)
    return LinearOperator(
        (samples * components, theta.size),
        matvec=lambda v: scale * np.concatenate([rows_of(theta, rows) @ v.ravel() for rows in blocks]),
        rmatvec=lambda w: scale * sum(rows_of(theta, rows).T @ w.ravel()[span(rows)] for rows in blocks),
        dtype=theta.dtype,
    )


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """sum_k w_k L_k(theta). Minibatches are drawn from the parts with the most samples, as data and a penalty on the same
    data have; the others stay whole."""

    parts: tuple

    @property
    def samples(self):
        return max(objective.samples for _, objective in self.parts)

    def batch(self, rows):
        """The same sum with its largest parts on some of their samples."""
        cut = lambda objective: objective.batch(rows) if objective.samples == self.samples else objective
        return WeightedSum(tuple((weight, cut(objective)) for weight, objective in self.parts))

    def __call__(self, theta):
        value, gradient = 0.0, np.zeros_like(theta)
        for weight, objective in self.parts:
            v, g = objective(theta)
            value += weight * v
            gradient += weight * g
        return value, gradient

    def value(self, theta):
        """The value alone."""
        return sum(weight * objective.value(theta) for weight, objective in self.parts)

    def residuals(self, theta):
        """Residuals of all parts, each times the square root of its weight, below one another."""
        from scipy.sparse.linalg import LinearOperator, aslinearoperator

        r, J = zip(*(objective.residuals(theta) for _, objective in self.parts))
        roots = [weight**0.5 for weight, _ in self.parts]
        r = np.concatenate([root * part for root, part in zip(roots, r)])
        if not any(isinstance(part, LinearOperator) for part in J):
            return r, np.concatenate([root * part for root, part in zip(roots, J)])
        J = [root * aslinearoperator(part) for root, part in zip(roots, J)]
        cuts = np.cumsum([part.shape[0] for part in J])[:-1]
        return r, LinearOperator(
            (len(r), theta.size),
            matvec=lambda v: np.concatenate([part.matvec(v) for part in J]),
            rmatvec=lambda w: sum(part.rmatvec(piece) for part, piece in zip(J, np.split(w.ravel(), cuts))),
            dtype=theta.dtype,
        )


def weighted_sum(parts):
    """sum_k w_k L_k from pairs (w_k, objective); weights are finite and not negative."""
    parts = tuple((float(weight), objective) for weight, objective in parts)
    if not parts or not all(np.isfinite(weight) and weight >= 0 for weight, _ in parts):
        raise ValueError(
            f"parts must be pairs (weight >= 0, objective), at least one, but the weights are {[w for w, _ in parts]}"
        )
    return WeightedSum(parts)


class Minibatches:
    """An objective on the next batch at every call: permutations of the samples, cut into batches, epoch after epoch.

    Deterministic in (size, seed); the values of different calls are those of different batches, so optimisers are told
    keep="last". A last batch that is smaller than `size` is merged into the one before.
    """

    def __init__(self, objective, size, seed=0):
        self.objective = objective
        self.size = border.integer(size, "size", 1)
        self.count = max(1, objective.samples // self.size)
        self.calls = 0
        self._rng = np.random.default_rng(seed)
        self._batches = []

    def __call__(self, theta):
        if not self._batches:
            order = self._rng.permutation(self.objective.samples)
            cuts = np.arange(1, self.count) * self.size
            self._batches = np.split(order, cuts)[::-1]
        self.calls += 1
        return self.objective.batch(self._batches.pop())(theta)


def minibatches(objective, size, seed=0):
    """See `Minibatches`; a size of at least the number of samples returns the objective itself."""
    return objective if size >= objective.samples else Minibatches(objective, size, seed)
