"""The border: data that users bring is checked here, once, with messages that say what to do; and flat vectors.

A network's parameters are one flat vector theta; arrays are views into it. Three-way arrays have the public shape
(out, in, basis) of the papers and are stored as (in, basis, out), so that kernels run over outputs contiguously.
"""

import math

import numpy as np

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def real_array(a, name, dtype=None):
    """`a` as a C-contiguous float64 or float32 array (or `dtype`); anything that is no finite real number is refused."""
    try:
        array = np.asarray(a)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array of numbers, but its rows differ in length") from None
    if array.dtype.kind not in "fiub":
        hint = "take the real part" if array.dtype.kind == "c" else "convert text and missing values to numbers first"
        raise TypeError(f"{name} must hold real numbers, but its dtype is {array.dtype}; {hint}")
    if dtype is None:
        dtype = array.dtype if array.dtype in FLOATS else np.float64
    with np.errstate(over="ignore"):
        array = np.asarray(array, dtype, order="C")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        place = f"{name}[{', '.join(map(str, where))}]" if where else name
        raise ValueError(
            f"{name} must be finite, but {place} is {array[where]}; remove or impute such entries, "
            f"and scale numbers beyond {np.finfo(array.dtype).max:.1e}"
        )
    return writable(array)


def points(x, n, name="x", dtype=None):
    """Samples as rows: (N, n) with N >= 1; a vector is accepted when n = 1."""
    x = real_array(x, name, dtype)
    if x.ndim == 1 and n == 1:
        x = x[:, None]
    if x.ndim != 2 or x.shape[1] != n:
        hint = "put samples in rows" if x.ndim != 2 else "select or add columns; extra ones are never dropped silently"
        raise ValueError(f"{name} must have shape (samples, {n}), but it has shape {x.shape}; {hint}")
    if x.shape[0] == 0:
        raise ValueError(f"{name} has no rows; at least one sample is needed")
    return x


def integer(value, name, low, high=None):
    """`value` as an int in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, but it is {value!r} ({type(value).__name__})")
    if value < low or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {span}, but it is {value}")
    return int(value)


def choice(value, name, options):
    """`value`, one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, but it is {value!r}")
    return value


def view(vector, start, shape):
    """The array of a public shape at vector[..., start:], without a copy; leading axes of `vector` are kept."""
    piece = vector[..., start : start + math.prod(shape)]
    if len(shape) != 3:
        return piece.reshape(vector.shape[:-1] + shape)
    return public_order(piece.reshape((*vector.shape[:-1], shape[1], shape[2], shape[0])))


def writable(array):
    """`array`, or a copy if it is read-only: Numba would compile every kernel anew for such arrays."""
    return array if array.flags.writeable else array.copy()


def kernel_order(W):
    """(..., out, in, basis) as a contiguous (..., in, basis, out); no copy for a writable array that `view` made."""
    return writable(np.ascontiguousarray(W.swapaxes(-2, -1).swapaxes(-3, -1)))


def public_order(W):
    """(..., in, basis, out) seen as (..., out, in, basis)."""
    return W.swapaxes(-3, -1).swapaxes(-2, -1)
