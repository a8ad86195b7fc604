"""The border: what comes in is checked once, with messages that say what to do; and views of flat vectors."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kanref.arrays import choice, integer, kernel_order, points, public_order, real_array, view


@pytest.mark.parametrize(
    "given, dtype",
    [
        ([1, 2], np.float64),
        ([True, False], np.float64),
        (np.array([1, 2], np.uint8), np.float64),
        (np.array([1, 2], np.float16), np.float64),
        (np.array([1, 2], np.longdouble), np.float64),
        (np.array([1, 2], ">f8"), np.float64),
        (np.array([1, 2], np.float32), np.float32),
        (np.array([1, 2], np.float64), np.float64),
    ],
)
def test_real_numbers_become_floats(given, dtype):
    array = real_array(given, "x")
    assert array.dtype == dtype and array.dtype.isnative
    assert_array_equal(array, np.asarray(given).astype(float))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dtype_that_is_asked_for(dtype):
    assert real_array([1, 2], "x", dtype).dtype == real_array(np.ones(2, np.float32), "x", dtype).dtype == dtype


def test_no_copy_without_need_and_contiguous_always():
    x = np.arange(6.0).reshape(2, 3)
    assert real_array(x, "x") is x
    for odd in (x.T, x[:, ::2], np.asfortranarray(x)):
        array = real_array(odd, "x")
        assert array.flags.c_contiguous
        assert_array_equal(array, odd)
    assert real_array(2.5, "x").shape == ()


def test_read_only_arrays_are_copied_since_kernels_are_compiled_for_writable_ones():
    x = np.arange(24.0).reshape(2, 3, 4)
    x.flags.writeable = False
    for array in (real_array(x, "x"), points(x[0], 4), kernel_order(public_order(x))):
        assert array.flags.writeable and not np.shares_memory(array, x)
    assert_array_equal(kernel_order(public_order(x)), x)


@pytest.mark.parametrize(
    "given, message",
    [
        ([1j, 2], "x must hold real numbers, but its dtype is complex128; take the real part"),
        (["1", "2"], "x must hold real numbers, but its dtype is <U1; convert text and missing values"),
        ([1.0, None], "x must hold real numbers, but its dtype is object; convert text and missing values"),
        (np.array(["2020-01-01"], "M8[D]"), "dtype is datetime64"),
        ({"a": 1}, "dtype is object"),
    ],
)
def test_what_is_no_real_number(given, message):
    with pytest.raises(TypeError, match=message):
        real_array(given, "x")


@pytest.mark.parametrize(
    "given, dtype, message",
    [
        ([[0, 0], [np.nan, 0]], None, r"x must be finite, but x\[1, 0\] is nan; remove or impute"),
        ([0, 0, -np.inf], None, r"x\[2\] is -inf"),
        (np.inf, None, "x must be finite, but x is inf"),
        ([1.0, 1e300], np.float32, r"x\[1\] is inf; .* scale numbers beyond 3.4e\+38"),
        ([[1, 2], [3]], None, "x must be a rectangular array of numbers, but its rows differ in length"),
    ],
)
def test_what_is_not_finite_or_not_an_array(given, dtype, message):
    with pytest.raises(ValueError, match=message):
        real_array(given, "x", dtype)


@pytest.mark.parametrize(
    "n, given", [(2, [[1, 2]]), (1, [[1], [2]]), (1, [1, 2, 3]), (3, np.zeros((5, 3), np.float32))]
)
def test_points_are_rows(n, given):
    x = points(given, n)
    assert x.shape == (len(given), n) and x.flags.c_contiguous
    assert_array_equal(x.ravel(), np.ravel(given))


@pytest.mark.parametrize(
    "given, n, message",
    [
        ([1.0, 2.0], 2, r"y must have shape \(samples, 2\), but it has shape \(2,\); put samples in rows"),
        (1.0, 1, r"y must have shape \(samples, 1\), but it has shape \(\); put samples in rows"),
        (np.zeros((2, 2, 2)), 2, "put samples in rows"),
        (np.zeros((4, 3)), 2, r"shape \(4, 3\); select or add columns; extra ones are never dropped silently"),
        (np.zeros((4, 1)), 2, "select or add columns"),
        (np.zeros((0, 2)), 2, "y has no rows; at least one sample is needed"),
        ([], 1, "y has no rows"),
    ],
)
def test_points_that_do_not_fit(given, n, message):
    with pytest.raises(ValueError, match=message):
        points(given, n, "y")


def test_integers():
    assert integer(np.int8(3), "n", 1) == 3 and type(integer(np.uint64(3), "n", 1)) is int
    for value, kind in ((True, "bool"), (3.0, "float"), ("3", "str"), (None, "NoneType"), (np.bool_(1), "bool")):
        with pytest.raises(TypeError, match=rf"n must be an integer, but it is .* \({kind}"):
            integer(value, "n", 1)
    with pytest.raises(ValueError, match="n must be at least 1, but it is 0"):
        integer(0, "n", 1)
    with pytest.raises(ValueError, match="n must be from 1 to 5, but it is 6"):
        integer(6, "n", 1, 5)


def test_choices():
    assert choice("a", "kind", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="kind must be one of 'a', 'b', but it is 'c'"):
        choice("c", "kind", ("a", "b"))


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 2)])
def test_views_are_no_copies_and_keep_leading_axes(lead, shape):
    size = int(np.prod(shape))
    vector = np.arange(np.prod(lead, dtype=int) * (size + 7), dtype=float).reshape(*lead, size + 7)
    array = view(vector, 4, shape)
    assert array.shape == lead + shape and np.shares_memory(array, vector)
    assert_array_equal(np.sort(array.reshape(*lead, -1)), vector[..., 4 : 4 + size])
    array[...] = -1
    assert (vector[..., 4 : 4 + size] == -1).all() and (vector < 0).sum() == array.size


def test_three_way_arrays_are_stored_in_basis_out():
    """W[q, p, k] is entry (p K + k) Q + q of its part of theta, so kernels read it without a copy."""
    Q, P, K = 2, 3, 4
    vector = np.arange(24.0)
    W = view(vector, 0, (Q, P, K))
    q, p, k = np.indices((Q, P, K))
    assert_array_equal(W, (p * K + k) * Q + q)
    stored = kernel_order(W)
    assert stored.shape == (P, K, Q) and stored.flags.c_contiguous and np.shares_memory(stored, vector)
    assert_array_equal(public_order(stored), W)
    batch = np.arange(48.0).reshape(2, Q, P, K)
    assert_array_equal(kernel_order(batch)[1], kernel_order(batch[1]))
    assert_array_equal(public_order(kernel_order(batch)), batch)
