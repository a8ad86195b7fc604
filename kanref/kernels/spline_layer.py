"""B-spline layers in Numba: local tables, and the layer sum_p sum_i W[p,i,q] b_i(x_p) with its pullback.

Kernels are leaves: arrays in, arrays out, nothing checked. Letters:

    N, P, Q     samples, inputs, outputs            K, d    functions per input, degree
    z           (M, N, P) jet of the inputs          M = 1 + 2 D: value, D first and D second directional derivatives
    y           (M, N, Q) jet of the outputs         t       (P, K+d+1) knots, a row for each input
    W           (P, K, Q) spline weights             V       (P, Q) weights of the base function SiLU, or None
    first       (B,) index of the first of the d+1 functions that are not zero
    b           (order+1, d+1, B) those functions and their derivatives at B samples

What makes them fast:

  * only the d+1 functions that are not zero are touched, so the cost does not depend on the number of intervals;
  * samples go by in blocks whose tables stay in the first-level cache, computed with samples innermost;
  * mixing runs over outputs innermost, in scratch that is aligned to cache lines and padded to whole vectors
    (layers with fewer than four outputs mix with samples innermost instead);
  * `window` is a tuple whose only meaning is its length d+1: Numba knows it while compiling and unrolls the loops.

Results do not depend on the number of threads: work is divided by sizes alone and partial sums are added in order.
Parallel loops count in uint64; the index is made int64 so that Numba compiles what it is passed to only once.
"""

import numpy as np
from numba import njit, prange

BLOCK = 256  # samples to a table
TILE = 512  # samples to a visit of one input's weights
LINE = 64  # bytes of a cache line, and of the widest vector
NEAR = 1e-3  # of a spacing: far above rounding in both precisions
PART = 128  # samples that go through a whole network at once
JETS = 128  # samples whose jets go through a whole network at once
CACHE = 2**18  # bytes of a block's scratch where it depends on ranks
CHUNK = 256  # numbers to a visit of all of the four inputs' sums
NARROW = 4  # from this many outputs on, mixing runs over outputs innermost

PLAIN = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}  # every sum as it is written
SUMS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc"}}  # sums over q in any order

ZERO, LINEAR, CLAMP = 0, 1, 2  # what happens outside [t_d, t_K]


# ---------------------------------------------------------------------------------------------- tables at one point


@njit(**PLAIN)
def knot(t, i):
    """t[i]; beyond the ends any increasing numbers serve, as no existing function depends on them."""
    T = t.shape[0]
    if i < 0:
        return t[0] + i * (t[T - 1] - t[0])
    if i >= T:
        return t[T - 1] + (i - T + 1) * (t[T - 1] - t[0])
    return t[i]


@njit(**PLAIN)
def find_span(x, t, low, high):
    """The last span i in [low, high) with t[i] <= x and positive width; the first such span for x below all."""
    while low < high - 1 and t[low + 1] == t[low]:
        low += 1
    while high - 1 > low and t[high - 1] == t[high]:
        high -= 1
    while high - low > 1:
        middle = (low + high) // 2
        if x < t[middle]:
            high = middle
        else:
            low = middle
    return low


@njit(**PLAIN)
def local_table(x, t, j, window, order, b, n):
    """b[m, i, n] = derivative m of function j-d+i at x in the span [t_j, t_j+1), for i = 0..d and m = 0..order.

    The triangle of Cox-de Boor (Piegl and Tiller, The NURBS Book, A2.2); a derivative is taken by differencing in
    the last steps: B'_{i,e} = e (B_{i,e-1}/(t_{i+e} - t_i) - B_{i+1,e-1}/(t_{i+e+1} - t_{i+1})). No denominator is
    zero, because each contains the span of x.
    """
    d = len(window) - 1
    for m in range(order + 1):
        for i in range(d + 1):
            b[m, i, n] = 0.0
    for m in range(min(order, d) + 1):
        b[m, 0, n] = 1.0
        for e in range(1, d + 1):
            saved = x - x
            if e <= d - m:
                for i in range(e):
                    right, left = knot(t, j + i + 1), knot(t, j + 1 - e + i)
                    share = b[m, i, n] / (right - left)
                    b[m, i, n] = saved + (right - x) * share
                    saved = (x - left) * share
                b[m, e, n] = saved
            else:
                for i in range(e):
                    share = e * b[m, i, n] / (knot(t, j + i + 1) - knot(t, j + 1 - e + i))
                    b[m, i, n] = saved - share
                    saved = share
                b[m, e, n] = saved


@njit(**PLAIN)
def shift_window(j, K, window, order, b, n):
    """Drop the functions of span j that do not exist (index below 0 or above K-1); the first one that is kept."""
    d = len(window) - 1
    s = max(min(j - d, K - 1 - d), 0) - (j - d)  # the window moves up by s
    if s == 0:
        return j - d
    for m in range(order + 1):
        for r in range(d + 1):
            i = r if s > 0 else d - r
            b[m, i, n] = b[m, i + s, n] if 0 <= i + s <= d else 0.0
    return j - d + s


@njit(**PLAIN)
def point(x, t, window, order, policy, b, n):
    """All that is not zero at any x, inside or outside the domain, on any knots: fills b[:, :, n], returns first."""
    d, T = len(window) - 1, t.shape[0]
    K = T - d - 1
    if policy == ZERO:
        j = find_span(x, t, 0, T - 1)
        local_table(x, t, j, window, order, b, n)
        if x < t[0] or x > t[T - 1]:
            for m in range(order + 1):
                for i in range(d + 1):
                    b[m, i, n] = 0.0
        return shift_window(j, K, window, order, b, n)
    edge = min(max(x, t[d]), t[K])
    j = find_span(edge, t, d, K)
    if x < t[d] or x > t[K]:
        local_table(edge, t, j, window, max(order, 1), b, n)
        for i in range(d + 1):
            if policy == LINEAR:
                b[0, i, n] += b[1, i, n] * (x - edge)
            for m in range(1 if policy == CLAMP else 2, order + 1):
                b[m, i, n] = 0.0
    else:
        local_table(x, t, j, window, order, b, n)
    return j - d


# -------------------------------------------------------------------------------------------- tables of many points


@njit(**PLAIN)
def table(x, B, t, h, window, order, policy, first, b):
    """first and b for the B points x; h > 0 promises uniform knots of that spacing, h = 0 nothing.

    Orders 0..3. Points outside the domain are done one by one, after the others.
    """
    d, T = len(window) - 1, t.shape[0]
    K = T - d - 1
    u = np.empty(BLOCK, x.dtype)
    if h > 0:
        uniform_spans(x, B, t, h, d, first, u)
        uniform_table(u, B, h, window, window, b[0])
        if order >= 1:
            uniform_table(u, B, h, window[1:], window, b[1])
        if order >= 2:
            uniform_table(u, B, h, window[2:], window, b[2])
        if order >= 3:
            uniform_table(u, B, h, window[3:], window, b[3])
    else:
        for n in range(B):
            first[n] = find_span(x[n], t, d, K) - d
        general_table(x, B, t, first, window, window, b[0])
        if order >= 1:
            general_table(x, B, t, first, window[1:], window, b[1])
        if order >= 2:
            general_table(x, B, t, first, window[2:], window, b[2])
        if order >= 3:
            general_table(x, B, t, first, window[3:], window, b[3])
    closed = policy != ZERO or t[K] == t[T - 1]
    low, high, outside = t[d], t[K], 0
    for n in range(B):
        outside += 1 if x[n] < low or x[n] > high or (x[n] == high and not closed) else 0
    if outside:
        for n in range(B):
            if x[n] < low or x[n] > high or (x[n] == high and not closed):
                first[n] = point(x[n], t, window, order, policy, b, n)


@njit(**PLAIN)
def uniform_spans(x, B, t, h, d, first, u):
    """t_j <= x < t_{j+1} without a search: first = j - d and u = (x - t_j)/h.

    Rounding may miss by one within NEAR of a knot; such points are placed by the knots themselves.
    """
    last, start, reciprocal, near = t.shape[0] - 2 * d - 2, t[d], 1 / h, 0
    for n in range(B):
        place = (x[n] - start) * reciprocal
        first[n] = int(min(place, last)) if place > 0 else 0  # in this order NaN goes to 0, never to an index
    for n in range(B):
        u[n] = (x[n] - t[first[n] + d]) * reciprocal
        near += 1 if u[n] < NEAR or u[n] > 1 - NEAR else 0
    if near:
        for n in range(B):
            if u[n] < NEAR or u[n] > 1 - NEAR:
                j = first[n] + d
                j = j + (1 if x[n] >= t[j + 1] else 0) - (1 if x[n] < t[j] else 0)
                first[n] = min(max(j - d, 0), last)
                u[n] = (x[n] - t[first[n] + d]) * reciprocal


@njit(**PLAIN)
def uniform_table(u, B, h, inner, window, b):
    """Derivative m = len(window) - len(inner) on uniform knots, where nothing needs a division or a search.

    The triangle up to degree d - m has the ratios (i + 1 - u)/e and (u + e - 1 - i)/e; then follow m differences
    B'_{i,e} = (B_{i,e-1} - B_{i+1,e-1})/h.
    """
    zero, one, reciprocal = u.dtype.type(0), u.dtype.type(1), 1 / h
    for n in range(B):
        b[0, n] = one if len(inner) else zero
        for e in range(1, len(window)):
            saved = zero
            for i in range(e):
                if e < len(inner):
                    share = b[i, n] * (one / e)
                    b[i, n] = saved + (i + one - u[n]) * share
                    saved = (u[n] + (e - one - i)) * share
                else:
                    share = b[i, n] * reciprocal
                    b[i, n] = saved - share
                    saved = share
            b[e, n] = saved


@njit(**PLAIN)
def general_table(x, B, t, first, inner, window, b):
    """Derivative m = len(window) - len(inner) inside the domain on any knots: `local_table`, samples innermost."""
    zero, one, d = x.dtype.type(0), x.dtype.type(1), len(window) - 1
    for n in range(B):
        b[0, n] = one if len(inner) else zero
        for e in range(1, len(window)):
            saved, left_end = zero, first[n] + d + 1 - e
            for i in range(e):
                left, right = t[left_end + i], t[left_end + i + e]
                share = b[i, n] / (right - left)
                if e < len(inner):
                    b[i, n] = saved + (right - x[n]) * share
                    saved = (x[n] - left) * share
                else:
                    b[i, n] = saved - e * share
                    saved = e * share
            b[e, n] = saved


@njit(**PLAIN)
def basis_table(x, t, h, window, order, policy, first, values):
    """first (N, P) and values (order+1, N, P, d+1) of the functions that are not zero at x (N, P)."""
    N, P = x.shape
    d = len(window) - 1
    column, start = np.empty(BLOCK, x.dtype), np.empty(BLOCK, np.int64)
    b = np.empty((max(order, 1) + 1, d + 1, BLOCK), x.dtype)
    for low in range(0, N, BLOCK):
        B = min(BLOCK, N - low)
        for p in range(P):
            for n in range(B):
                column[n] = x[low + n, p]
            table(column, B, t[p], h[p], window, order, policy, start, b)
            for n in range(B):
                first[low + n, p] = start[n]
                for m in range(order + 1):
                    for i in range(d + 1):
                        values[m, low + n, p, i] = b[m, i, n]


@njit(**PLAIN)
def silu_table(x, B, order, s):
    """s[m] = derivative m of x sigma(x) at the B points x, sigma(x) = 1/(1 + e^-x).

    With sigma' = sigma (1 - sigma), sigma'' = sigma' (1 - 2 sigma), sigma''' = sigma' (1 - 6 sigma'):
    (x sigma)^(m) = m sigma^(m-1) + x sigma^(m).  e^-x = 2^-k e^-r with |r| <= log(2)/2 and e^-r by its Taylor
    polynomial, whose remainder is below rounding; written out so that the compiler vectorises it (a library call
    would not be).
    """
    for n in range(B):
        c = min(max(x[n], -700.0), 700.0)  # beyond, e^x is nothing beside 1, and c in its place as good as x
        w = -c
        k = np.floor(w * 1.4426950408889634 + 0.5)
        r = (w - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
        e = 1.0 / 6227020800.0
        e = e * r + 1.0 / 479001600.0
        e = e * r + 1.0 / 39916800.0
        e = e * r + 1.0 / 3628800.0
        e = e * r + 1.0 / 362880.0
        e = e * r + 1.0 / 40320.0
        e = e * r + 1.0 / 5040.0
        e = e * r + 1.0 / 720.0
        e = e * r + 1.0 / 120.0
        e = e * r + 1.0 / 24.0
        e = e * r + 1.0 / 6.0
        e = e * r + 0.5
        e = e * r + 1.0
        e = e * r + 1.0
        power = np.int64((np.int64(k) + 1023) << 52).view(np.float64)  # 2^k, written into the exponent
        sigma = 1.0 / (1.0 + e * power)
        s[0, n] = max(x[n], -700.0) * sigma
        if order >= 1:
            rest = e * power * sigma  # 1 - sigma = sigma(-x) without cancellation
            slope = sigma * rest
            s[1, n] = sigma + c * slope
            if order >= 2:
                second = slope * (rest - sigma)
                s[2, n] = 2.0 * slope + c * second
                if order >= 3:
                    s[3, n] = 3.0 * second + c * slope * (1.0 - 6.0 * slope)


@njit(**PLAIN)
def silu_values(x, order, values):
    """values (order+1, size) of x (size,): `silu_table` of any number of points."""
    s = np.empty((4, BLOCK), x.dtype)
    for low in range(0, x.size, BLOCK):
        B = min(BLOCK, x.size - low)
        silu_table(x[low:], B, order, s)
        for m in range(order + 1):
            values[m, low : low + B] = s[m, :B]


# --------------------------------------------------------------------------------------- mixing in blocks and scratch


@njit(**PLAIN)
def padded(Q, like):
    """Q rounded up to whole vectors; Q itself if narrow."""
    lanes = LINE // like.itemsize
    return (Q + lanes - 1) // lanes * lanes if Q >= NARROW else Q


@njit(**PLAIN)
def aligned(rows, Q, like):
    """Zeros (rows, Q') that start on a cache line, Q' = Q rounded up to whole vectors (Q itself if narrow)."""
    lanes, width = LINE // like.itemsize, padded(Q, like)
    memory = np.zeros(rows * width + lanes, like.dtype)
    start = (LINE - memory.ctypes.data % LINE) % LINE // like.itemsize
    return memory[start : start + rows * width].reshape(rows, width)


@njit(**SUMS)
def mix(B, first, f, g, w, v, y, window):
    """y[n] += sum_i f[i, n] w[first[n] + i] + g[n] v, for B samples."""
    Q = y.shape[1]
    if Q < NARROW:
        for q in range(Q):
            for n in range(B):
                value = y[n, q]
                for i in range(len(window)):
                    value += f[i, n] * w[first[n] + i, q]
                if v is not None:
                    value += g[n] * v[q]
                y[n, q] = value
        return
    for n in range(B):
        w_n, y_n = w[first[n] :], y[n]
        for q in range(Q):
            value = y_n[q]
            for i in range(len(window)):
                value += f[i, n] * w_n[i, q]
            if v is not None:
                value += g[n] * v[q]
            y_n[q] = value


@njit(**SUMS)
def mix_pullback(B, first, f, g, w_bar, v_bar, y_bar, window):
    """w_bar[first[n] + i] += f[i, n] y_bar[n] and v_bar += g[n] y_bar[n], for B samples."""
    Q = y_bar.shape[1]
    if Q < NARROW:
        for q in range(Q):
            for n in range(B):
                for i in range(len(window)):
                    w_bar[first[n] + i, q] += f[i, n] * y_bar[n, q]
                if v_bar is not None:
                    v_bar[q] += g[n] * y_bar[n, q]
        return
    for n in range(B):
        y_n = y_bar[n]
        for i in range(len(window)):
            row, factor = w_bar[first[n] + i], f[i, n]
            for q in range(Q):
                row[q] += factor * y_n[q]
        if v_bar is not None:
            factor = g[n]
            for q in range(Q):
                v_bar[q] += factor * y_n[q]


@njit(**SUMS)
def dots(B, a, y, out):
    """out[n] = sum_q a[n, q] y[n, q], for B samples."""
    zero = a.dtype.type(0)
    for n in range(B):
        a_n, y_n, total = a[n], y[n], zero
        for q in range(y.shape[1]):
            total += a_n[q] * y_n[q]
        out[n] = total


@njit(**SUMS)
def chain(B, z_1, z_2, phi_1, phi_2, y_1, y_2):
    """y_1 += phi' z_1 and y_2 += phi'' z_1^2 + phi' z_2 for B samples: the chain rule on edges."""
    Q = y_1.shape[1]
    if Q < NARROW:
        for q in range(Q):
            for n in range(B):
                y_1[n, q] += phi_1[n, q] * z_1[n]
            for n in range(B):
                y_2[n, q] += phi_2[n, q] * z_1[n] * z_1[n] + phi_1[n, q] * z_2[n]
        return
    for n in range(B):
        first, second = y_1[n], y_2[n]
        slope, bend = phi_1[n], phi_2[n]
        for q in range(Q):
            first[q] += slope[q] * z_1[n]
        for q in range(Q):
            second[q] += bend[q] * (z_1[n] * z_1[n]) + slope[q] * z_2[n]


@njit(**SUMS)
def mix_pullback_jet(B, first, b, s, w_bar, v_bar, s_0, s_1, s_2, window):
    """`mix_pullback` of the values, first and second derivatives b with the adjoints s_0, s_1, s_2, in one pass."""
    Q = s_0.shape[1]
    if Q < NARROW:
        for q in range(Q):
            for n in range(B):
                for i in range(len(window)):
                    w_bar[first[n] + i, q] += b[0, i, n] * s_0[n, q] + b[1, i, n] * s_1[n, q] + b[2, i, n] * s_2[n, q]
                if v_bar is not None:
                    v_bar[q] += s[0, n] * s_0[n, q] + s[1, n] * s_1[n, q] + s[2, n] * s_2[n, q]
        return
    for n in range(B):
        a_0, a_1, a_2 = s_0[n], s_1[n], s_2[n]
        for i in range(len(window)):
            row, f_0, f_1, f_2 = w_bar[first[n] + i], b[0, i, n], b[1, i, n], b[2, i, n]
            for q in range(Q):
                row[q] += f_0 * a_0[q] + f_1 * a_1[q] + f_2 * a_2[q]
        if v_bar is not None:
            f_0, f_1, f_2 = s[0, n], s[1, n], s[2, n]
            for q in range(Q):
                v_bar[q] += f_0 * a_0[q] + f_1 * a_1[q] + f_2 * a_2[q]


@njit(**SUMS)
def dots_value(B, phi_1, phi_2, phi_3, s_0, s_1, s_2, x_bar):
    """x_bar = sum_q phi' s_0 + phi'' s_1 + phi''' s_2, for B samples."""
    zero = phi_1.dtype.type(0)
    for n in range(B):
        a_1, a_2, a_3, b_1, b_2, b_3, total = phi_1[n], phi_2[n], phi_3[n], s_0[n], s_1[n], s_2[n], zero
        for q in range(s_0.shape[1]):
            total += a_1[q] * b_1[q] + a_2[q] * b_2[q] + a_3[q] * b_3[q]
        x_bar[n] = total


@njit(**SUMS)
def dots_direction(B, z_1, phi_1, phi_2, y_1, y_2, x_1_bar, x_2_bar):
    """x_1_bar = sum_q phi' y_1 + 2 z_1 phi'' y_2 and x_2_bar = sum_q phi' y_2, for B samples."""
    zero = phi_1.dtype.type(0)
    for n in range(B):
        a_1, a_2, b_1, b_2 = phi_1[n], phi_2[n], y_1[n], y_2[n]
        slope, bend, curvature = zero, zero, zero
        for q in range(y_1.shape[1]):
            slope += a_1[q] * b_1[q]
            bend += a_2[q] * b_2[q]
            curvature += a_1[q] * b_2[q]
        x_1_bar[n] = slope + 2 * z_1[n] * bend
        x_2_bar[n] = curvature


@njit(**SUMS)
def chain_pullback(B, z_1, z_2, y_1, y_2, s_1, s_2):
    """s_1 += z_1 y_1 + z_2 y_2 and s_2 += z_1^2 y_2: the adjoints of phi' and phi''."""
    Q = y_1.shape[1]
    if Q < NARROW:
        for q in range(Q):
            for n in range(B):
                s_1[n, q] += z_1[n] * y_1[n, q] + z_2[n] * y_2[n, q]
            for n in range(B):
                s_2[n, q] += z_1[n] * z_1[n] * y_2[n, q]
        return
    for n in range(B):
        first, second = s_1[n], s_2[n]
        slope, bend = y_1[n], y_2[n]
        for q in range(Q):
            first[q] += z_1[n] * slope[q] + z_2[n] * bend[q]
        for q in range(Q):
            second[q] += (z_1[n] * z_1[n]) * bend[q]


# ----------------------------------------------------------------------------------------------- the layer, forward


@njit(**SUMS)
def forward_part(start, stop, z, t, h, window, policy, W, V, y):
    """Samples start..stop of the layer. With the edge functions phi(x) = sum_i W_i b_i(x) + V silu(x) at z_0,

    y_0 = sum_p phi,     y_1 = sum_p phi' z_1,     y_2 = sum_p phi'' z_1^2 + phi' z_2     (in each direction).
    """
    M, _, P = z.shape
    K, Q, d, D = W.shape[1], W.shape[2], len(window) - 1, (M - 1) // 2
    order = 2 if D else 0
    x, first = np.empty((M, BLOCK), z.dtype), np.empty(BLOCK, np.int64)
    b, s = np.empty((4, d + 1, BLOCK), z.dtype), np.zeros((4, BLOCK), z.dtype)
    w, tile, phi = aligned(K + 1, Q, W), aligned(M * TILE, Q, W), aligned(2 * BLOCK, Q, W)
    for low in range(start, stop, TILE):
        high = min(low + TILE, stop)
        tile[:] = 0.0
        for p in range(P):
            w[:K, :Q] = W[p]
            if V is not None:
                w[K, :Q] = V[p]
            v = None if V is None else w[K]
            for at in range(low, high, BLOCK):
                B, row = min(BLOCK, high - at), at - low
                for c in range(M):
                    for n in range(B):
                        x[c, n] = z[c, at + n, p]
                table(x[0], B, t[p], h[p], window, order, policy, first, b)
                if V is not None:
                    silu_table(x[0], B, order, s)
                mix(B, first, b[0], s[0], w, v, tile[row:], window)
                if D:
                    phi[:] = 0.0
                    mix(B, first, b[1], s[1], w, v, phi, window)
                    mix(B, first, b[2], s[2], w, v, phi[BLOCK:], window)
                for c in range(1, D + 1):
                    y_1, y_2 = tile[c * TILE + row :], tile[(c + D) * TILE + row :]
                    chain(B, x[c], x[c + D], phi, phi[BLOCK:], y_1, y_2)
        for c in range(M):
            y[c, low:high] = tile[c * TILE : c * TILE + high - low, :Q]


@njit(parallel=True, **SUMS)
def forward_parallel(size, z, t, h, window, policy, W, V, y):
    """`forward_part` on slices of `size` samples at a time."""
    N = z.shape[1]
    for part in prange((N + size - 1) // size):
        forward_part(part * size, min(N, (part + 1) * size), z, t, h, window, policy, W, V, y)


# ---------------------------------------------------------------------------------------------- the layer, pullback


@njit(**SUMS)
def pullback_part(part, start, stop, p_start, p_stop, z, t, h, window, policy, W, V, y_bar, z_bar, W_bar, V_bar):
    """Samples start..stop and inputs p_start..p_stop of the adjoint of `forward_part`, added to W_bar and V_bar [part].

    The adjoints of phi, phi', phi'' are, summed over directions, s_0 = y_bar_0, s_1 = z_1 y_bar_1 + z_2 y_bar_2 and
    s_2 = z_1^2 y_bar_2; hence, with a sum over outputs in each product of the last two lines,

    W_bar = sum_n b s_0 + b' s_1 + b'' s_2,
    z_bar_0 = phi' s_0 + phi'' s_1 + phi''' s_2,
    z_bar_1 = phi' y_bar_1 + 2 z_1 phi'' y_bar_2,      z_bar_2 = phi' y_bar_2.

    An empty z_bar says that the adjoint of the inputs is not wanted, None for W_bar and V_bar that only it is.
    """
    M = z.shape[0]
    K, Q, d, D = W.shape[1], W.shape[2], len(window) - 1, (M - 1) // 2
    order, inputs = 2 if D else 0, z_bar.size > 0
    x, x_bar, first = np.empty((M, BLOCK), z.dtype), np.empty((M, BLOCK), z.dtype), np.empty(BLOCK, np.int64)
    b, s = np.empty((4, d + 1, BLOCK), z.dtype), np.zeros((4, BLOCK), z.dtype)
    w, w_bar, tile = aligned(K + 1, Q, W), aligned(K + 1, Q, W), aligned(M * TILE, Q, W)
    phi, adjoint = aligned((order + 1) * BLOCK, Q, W), aligned(2 * BLOCK, Q, W)
    s_1, s_2 = adjoint[:BLOCK], adjoint[BLOCK:]
    for low in range(start, stop, TILE):
        high = min(low + TILE, stop)
        for c in range(M):
            tile[c * TILE : c * TILE + high - low, :Q] = y_bar[c, low:high]
        for p in range(p_start, p_stop):
            w[:K, :Q] = W[p]
            w_bar[:] = 0.0
            if V is not None:
                w[K, :Q] = V[p]
            v, v_bar = None if V is None else w[K], None if V is None else w_bar[K]
            for at in range(low, high, BLOCK):
                B, s_0 = min(BLOCK, high - at), tile[at - low :]
                for c in range(M):
                    for n in range(B):
                        x[c, n] = z[c, at + n, p]
                table(x[0], B, t[p], h[p], window, order + 1 if inputs else order, policy, first, b)
                if V is not None:
                    silu_table(x[0], B, order + 1 if inputs else order, s)
                if D:
                    adjoint[:] = 0.0
                for c in range(1, D + 1):
                    y_1, y_2 = tile[c * TILE + at - low :], tile[(c + D) * TILE + at - low :]
                    chain_pullback(B, x[c], x[c + D], y_1, y_2, s_1, s_2)
                if W_bar is not None:
                    if D == 0:
                        mix_pullback(B, first, b[0], s[0], w_bar, v_bar, s_0, window)
                    else:
                        mix_pullback_jet(B, first, b, s, w_bar, v_bar, s_0, s_1, s_2, window)
                if not inputs:
                    continue
                phi[:] = 0.0
                for m in range(order + 1):
                    mix(B, first, b[m + 1], s[m + 1], w, v, phi[m * BLOCK :], window)
                if D == 0:
                    dots(B, phi, s_0, x_bar[0])
                else:
                    dots_value(B, phi, phi[BLOCK:], phi[2 * BLOCK :], s_0, s_1, s_2, x_bar[0])
                for c in range(1, D + 1):
                    y_1, y_2 = tile[c * TILE + at - low :], tile[(c + D) * TILE + at - low :]
                    dots_direction(B, x[c], phi, phi[BLOCK:], y_1, y_2, x_bar[c], x_bar[c + D])
                for c in range(M):
                    for n in range(B):
                        z_bar[c, at + n, p] = x_bar[c, n]
            if W_bar is not None:
                W_bar[part, p] += w_bar[:K, :Q]
                if V is not None:
                    V_bar[part, p] += w_bar[K, :Q]


@njit(parallel=True, **SUMS)
def pullback_parallel(samples, inputs, z, t, h, window, policy, W, V, y_bar, z_bar, W_bar, V_bar):
    """`pullback_part` on rectangles of `samples` x `inputs`; each part of the samples has its own W_bar[part]."""
    _, N, P = z.shape
    across = (P + inputs - 1) // inputs
    for index in prange((N + samples - 1) // samples * across):
        task = np.int64(index)
        part, low = task // across, task % across * inputs
        start, stop, high = part * samples, min(N, (part + 1) * samples), min(P, low + inputs)
        pullback_part(part, start, stop, low, high, z, t, h, window, policy, W, V, y_bar, z_bar, W_bar, V_bar)


# ------------------------------------------------------------------------------------- the layer through Tucker factors


@njit(**PLAIN)
def samples_within(bytes_each, N):
    """Samples to a block whose scratch stays in the second-level cache."""
    return max(1, min(N, max(32, min(BLOCK, CACHE // bytes_each))))


@njit(**SUMS)
def spread(u, g, s):
    """s[a] += sum_j u[j, a] g[j] for four rows g, in chunks that stay in the first-level cache."""
    for low in range(0, s.shape[1], CHUNK):
        g_0, g_1, g_2, g_3 = g[0, low:], g[1, low:], g[2, low:], g[3, low:]
        for a in range(s.shape[0]):
            s_a, u_0, u_1, u_2, u_3 = s[a, low:], u[0, a], u[1, a], u[2, a], u[3, a]
            for i in range(min(CHUNK, s.shape[1] - low)):
                s_a[i] += u_0 * g_0[i] + u_1 * g_1[i] + u_2 * g_2[i] + u_3 * g_3[i]


@njit(**SUMS)
def spread_pullback(u, g, s_bar, u_bar, g_bar):
    """The adjoint of `spread`, added to u_bar and g_bar; the rows of s_bar are a multiple of four."""
    zero = s_bar.dtype.type(0)
    for low in range(0, s_bar.shape[1], CHUNK):
        for a in range(0, s_bar.shape[0], 4):
            s_0, s_1, s_2, s_3 = s_bar[a, low:], s_bar[a + 1, low:], s_bar[a + 2, low:], s_bar[a + 3, low:]
            for j in range(4):
                f, f_bar, u_0, u_1, u_2, u_3 = g[j, low:], g_bar[j, low:], u[j, a], u[j, a + 1], u[j, a + 2], u[j, a + 3]
                t_0, t_1, t_2, t_3 = zero, zero, zero, zero
                for i in range(min(CHUNK, s_bar.shape[1] - low)):
                    f_bar[i] += u_0 * s_0[i] + u_1 * s_1[i] + u_2 * s_2[i] + u_3 * s_3[i]
                for i in range(min(CHUNK, s_bar.shape[1] - low)):
                    t_0 += f[i] * s_0[i]
                    t_1 += f[i] * s_1[i]
                    t_2 += f[i] * s_2[i]
                    t_3 += f[i] * s_3[i]
                u_bar[j, a] += t_0
                u_bar[j, a + 1] += t_1
                u_bar[j, a + 2] += t_2
                u_bar[j, a + 3] += t_3


@njit(**SUMS)
def tucker_part(start, stop, z, t, h, window, policy, U_in, U_basis, S):
    """Samples start..stop of S (M, N, r_in r_basis), from which core and U_out make the layer's outputs:

    S[a,c] = sum_p U_in[p,a] g_{p,c},   g_{p,c} = sum_k U_basis[k,c] b_k(z_p), and its derivatives as in `forward_part`.

    So the basis is mixed into r_basis sums, the same ones for all inputs, and outputs do not occur. Inputs go by in fours.
    """
    (M, _, P), (K, R), A, d = z.shape, U_basis.shape, U_in.shape[1], len(window) - 1
    D, R_ = (M - 1) // 2, padded(R, z)
    size, order = samples_within(M * R_ * (A + 4) * z.itemsize, stop - start), 2 if D else 0
    x, first = np.empty((M, BLOCK), z.dtype), np.empty(BLOCK, np.int64)
    b, none = np.empty((4, d + 1, BLOCK), z.dtype), np.zeros(BLOCK, z.dtype)
    w, phi, u = aligned(K, R, z), aligned(2 * size, R, z), np.zeros((4, A), z.dtype)
    g, s = aligned(4 * M * size, R, z), aligned(A * M * size, R, z)
    g_rows, s_rows = g.reshape(4, M * size * R_), s.reshape(A, M * size * R_)
    w[:, :R] = U_basis
    for low in range(start, stop, size):
        B = min(size, stop - low)
        s[:] = 0.0
        for four in range(0, P, 4):
            g[:] = 0.0
            u[:] = 0.0
            for j in range(min(4, P - four)):
                p, g_p = four + j, g[j * M * size :]
                u[j] = U_in[p]
                for c in range(M):
                    for n in range(B):
                        x[c, n] = z[c, low + n, p]
                table(x[0], B, t[p], h[p], window, order, policy, first, b)
                mix(B, first, b[0], none, w, None, g_p, window)
                if D:
                    phi[:] = 0.0
                    mix(B, first, b[1], none, w, None, phi, window)
                    mix(B, first, b[2], none, w, None, phi[size:], window)
                for c in range(1, D + 1):
                    chain(B, x[c], x[c + D], phi, phi[size:], g_p[c * size :], g_p[(c + D) * size :])
            spread(u, g_rows, s_rows)
        for c in range(M):
            for n in range(B):
                for a in range(A):
                    for r in range(R):
                        S[c, low + n, a * R + r] = s[(a * M + c) * size + n, r]


@njit(parallel=True, **SUMS)
def tucker_parallel(size, z, t, h, window, policy, U_in, U_basis, S):
    """`tucker_part` on slices of `size` samples at a time."""
    N = z.shape[1]
    for part in prange((N + size - 1) // size):
        tucker_part(part * size, min(N, (part + 1) * size), z, t, h, window, policy, U_in, U_basis, S)


@njit(**SUMS)
def tucker_pullback_part(
    part, start, stop, z, t, h, window, policy, U_in, U_basis, S_bar, S, z_bar, U_in_bar, U_basis_bar
):
    """Samples start..stop of the adjoint of `tucker_part`, added to U_in_bar and U_basis_bar [part]; and S once more, which the
    adjoints of core and U_out take. With g_bar_{p,c} = sum_a U_in[p,a] S_bar[a,c] the rest is as in `pullback_part`.

    An empty z_bar says that the adjoint of the inputs is not wanted.
    """
    (M, _, P), (K, R), A, d = z.shape, U_basis.shape, U_in.shape[1], len(window) - 1
    D, R_, A_ = (M - 1) // 2, padded(R, z), (A + 3) // 4 * 4
    order, inputs = 2 if D else 0, z_bar.size > 0
    size = samples_within((M * R_ * (2 * A_ + 8) + 4 * (order + 2) * (d + 1)) * z.itemsize, stop - start)
    x, x_bar, first = np.empty((4, M, BLOCK), z.dtype), np.empty((M, BLOCK), z.dtype), np.empty((4, BLOCK), np.int64)
    b, none = np.empty((4, 4, d + 1, BLOCK), z.dtype), np.zeros((4, BLOCK), z.dtype)
    w, w_bar = aligned(K, R, z), aligned(K, R, z)
    phi, adjoint = aligned((order + 1) * size, R, z), aligned(2 * size, R, z)
    s_1, s_2 = adjoint[:size], adjoint[size:]
    g, g_bar = aligned(4 * M * size, R, z), aligned(4 * M * size, R, z)
    s, s_bar = aligned(A_ * M * size, R, z), aligned(A_ * M * size, R, z)
    u, u_bar = np.zeros((4, A_), z.dtype), np.zeros((4, A_), z.dtype)
    g_rows, g_rows_bar = g.reshape(4, M * size * R_), g_bar.reshape(4, M * size * R_)
    s_rows, s_rows_bar = s.reshape(A_, M * size * R_), s_bar.reshape(A_, M * size * R_)
    w[:, :R] = U_basis
    for low in range(start, stop, size):
        B = min(size, stop - low)
        s[:] = 0.0
        s_bar[:] = 0.0
        for c in range(M):
            for n in range(B):
                for a in range(A):
                    for r in range(R):
                        s_bar[(a * M + c) * size + n, r] = S_bar[c, low + n, a * R + r]
        for four in range(0, P, 4):
            g[:] = 0.0
            g_bar[:] = 0.0
            u[:] = 0.0
            u_bar[:] = 0.0
            for j in range(min(4, P - four)):
                p, g_p = four + j, g[j * M * size :]
                u[j, :A] = U_in[p]
                for c in range(M):
                    for n in range(B):
                        x[j, c, n] = z[c, low + n, p]
                table(x[j, 0], B, t[p], h[p], window, order + 1 if inputs else order, policy, first[j], b[j])
                mix(B, first[j], b[j, 0], none[0], w, None, g_p, window)
                if D:
                    phi[:] = 0.0
                    mix(B, first[j], b[j, 1], none[0], w, None, phi, window)
                    mix(B, first[j], b[j, 2], none[0], w, None, phi[size:], window)
                for c in range(1, D + 1):
                    chain(B, x[j, c], x[j, c + D], phi, phi[size:], g_p[c * size :], g_p[(c + D) * size :])
            spread(u, g_rows, s_rows)
            spread_pullback(u, g_rows, s_rows_bar, u_bar, g_rows_bar)
            for j in range(min(4, P - four)):
                p, s_0 = four + j, g_bar[j * M * size :]
                U_in_bar[part, p] += u_bar[j, :A]
                if D == 0:
                    mix_pullback(B, first[j], b[j, 0], none[0], w_bar, None, s_0, window)
                else:
                    adjoint[:] = 0.0
                    for c in range(1, D + 1):
                        chain_pullback(B, x[j, c], x[j, c + D], s_0[c * size :], s_0[(c + D) * size :], s_1, s_2)
                    mix_pullback_jet(B, first[j], b[j], none, w_bar, None, s_0, s_1, s_2, window)
                if not inputs:
                    continue
                phi[:] = 0.0
                for m in range(order + 1):
                    mix(B, first[j], b[j, m + 1], none[0], w, None, phi[m * size :], window)
                if D == 0:
                    dots(B, phi, s_0, x_bar[0])
                else:
                    dots_value(B, phi, phi[size:], phi[2 * size :], s_0, s_1, s_2, x_bar[0])
                for c in range(1, D + 1):
                    y_1, y_2 = s_0[c * size :], s_0[(c + D) * size :]
                    dots_direction(B, x[j, c], phi, phi[size:], y_1, y_2, x_bar[c], x_bar[c + D])
                for c in range(M):
                    for n in range(B):
                        z_bar[c, low + n, p] = x_bar[c, n]
        for c in range(M):
            for n in range(B):
                for a in range(A):
                    for r in range(R):
                        S[c, low + n, a * R + r] = s[(a * M + c) * size + n, r]
    U_basis_bar[part] += w_bar[:, :R]


@njit(parallel=True, **SUMS)
def tucker_pullback_parallel(size, z, t, h, window, policy, U_in, U_basis, S_bar, S, z_bar, U_in_bar, U_basis_bar):
    """`tucker_pullback_part` on slices of `size` samples at a time, each with U_in_bar and U_basis_bar of its own."""
    N = z.shape[1]
    for index in prange((N + size - 1) // size):
        part = np.int64(index)
        low, high = part * size, min(N, (part + 1) * size)
        tucker_pullback_part(
            part, low, high, z, t, h, window, policy, U_in, U_basis, S_bar, S, z_bar, U_in_bar, U_basis_bar
        )


# ---------------------------------------------------------------------------------------- a whole network and its loss


@njit(**PLAIN)
def shaped(memory, start, P, rows, Q):
    """P matrices (rows, Q) at memory[start:]."""
    return memory[start : start + P * rows * Q].reshape(P, rows, Q)


@njit(**SUMS)
def loss_part(part, start, stop, theta, layers, x, y, t, h, window, policy, base, scale, values, theta_bar):
    """Samples start..stop of scale * sum (f(x; theta) - y)^2, added to values[part], and its gradient theta_bar[part].

    Narrow networks spend their time between layers and on tables; here a block of samples goes through all layers and
    back while its tables are in the cache. The formulas are those of `forward_part` and `pullback_part` for D = 0.
    layers: a row for each layer: P, Q, K, and where its W, V (in theta), knots (in t) and spacings (in h) start.
    """
    d, L = len(window) - 1, layers.shape[0]
    pairs, weights, widest = 0, 0, 0
    offsets = np.empty(L, np.int64)
    for l in range(L):
        P, Q, K = layers[l, 0], layers[l, 1], layers[l, 2]
        offsets[l] = weights
        pairs += P
        weights += P * (K + 1) * padded(Q, theta)
        widest = max(widest, padded(Q, theta))
    w_all, w_bar_all = aligned(1, weights, theta)[0], aligned(1, weights, theta)[0]
    u_all, phi_all = aligned(1, PART * widest, theta)[0], aligned(1, PART * widest, theta)[0]
    a = np.empty((pairs, PART), theta.dtype)  # inputs of every layer, then their adjoints
    first = np.empty((pairs, PART), np.int64)
    b, s = np.empty((pairs, 2, d + 1, PART), theta.dtype), np.zeros((pairs, 2, PART), theta.dtype)
    for l in range(L):
        P, Q, K, W, V = layers[l, 0], layers[l, 1], layers[l, 2], layers[l, 3], layers[l, 4]
        w = shaped(w_all, offsets[l], P, K + 1, padded(Q, theta))
        w[:, :K, :Q] = shaped(theta, W, P, K, Q)
        if base is not None:
            w[:, K : K + 1, :Q] = shaped(theta, V, P, 1, Q)
    for low in range(start, stop, PART):
        B, pair = min(PART, stop - low), 0
        for p in range(x.shape[1]):
            for n in range(B):
                a[p, n] = x[low + n, p]
        for l in range(L):
            P, Q, K, knots, steps = layers[l, 0], layers[l, 1], layers[l, 2], layers[l, 5], layers[l, 6]
            Q_ = padded(Q, theta)
            w = shaped(w_all, offsets[l], P, K + 1, Q_)
            u = shaped(u_all, 0, 1, PART, Q_)[0]
            u[:] = 0.0
            for p in range(P):
                row = t[knots + p * (K + d + 1) : knots + (p + 1) * (K + d + 1)]
                table(a[pair + p], B, row, h[steps + p], window, 1, policy, first[pair + p], b[pair + p])
                if base is not None:
                    silu_table(a[pair + p], B, 1, s[pair + p])
                v = None if base is None else w[p, K]
                mix(B, first[pair + p], b[pair + p, 0], s[pair + p, 0], w[p], v, u, window)
            pair += P
            if l < L - 1:
                for q in range(Q):
                    for n in range(B):
                        a[pair + q, n] = u[n, q]
        Q = y.shape[1]
        u = shaped(u_all, 0, 1, PART, padded(Q, theta))[0]
        total = u.dtype.type(0)
        for n in range(B):
            for q in range(Q):
                r = u[n, q] - y[low + n, q]
                total += r * r
                u[n, q] = 2 * scale * r
        values[part] += scale * total
        for l in range(L - 1, -1, -1):
            P, Q, K = layers[l, 0], layers[l, 1], layers[l, 2]
            Q_ = padded(Q, theta)
            pair -= P
            w = shaped(w_all, offsets[l], P, K + 1, Q_)
            w_bar = shaped(w_bar_all, offsets[l], P, K + 1, Q_)
            u, phi = shaped(u_all, 0, 1, PART, Q_)[0], shaped(phi_all, 0, 1, PART, Q_)[0]
            for p in range(P):
                v, v_bar = None if base is None else w[p, K], None if base is None else w_bar[p, K]
                mix_pullback(B, first[pair + p], b[pair + p, 0], s[pair + p, 0], w_bar[p], v_bar, u, window)
                if l > 0:
                    phi[:] = 0.0
                    mix(B, first[pair + p], b[pair + p, 1], s[pair + p, 1], w[p], v, phi, window)
                    dots(B, phi, u, a[pair + p])
            if l > 0:
                u = shaped(u_all, 0, 1, PART, padded(P, theta))[0]
                u[:] = 0.0
                for p in range(P):
                    for n in range(B):
                        u[n, p] = a[pair + p, n]
    for l in range(L):
        P, Q, K, W, V = layers[l, 0], layers[l, 1], layers[l, 2], layers[l, 3], layers[l, 4]
        w_bar = shaped(w_bar_all, offsets[l], P, K + 1, padded(Q, theta))
        shaped(theta_bar[part], W, P, K, Q)[:] = w_bar[:, :K, :Q]
        if base is not None:
            shaped(theta_bar[part], V, P, 1, Q)[:] = w_bar[:, K : K + 1, :Q]


@njit(parallel=True, **SUMS)
def loss_parallel(size, theta, layers, x, y, t, h, window, policy, base, scale, values, theta_bar):
    """`loss_part` on slices of `size` samples at a time."""
    N = x.shape[0]
    for index in prange((N + size - 1) // size):
        part = np.int64(index)
        low, high = part * size, min(N, (part + 1) * size)
        loss_part(part, low, high, theta, layers, x, y, t, h, window, policy, base, scale, values, theta_bar)


# --------------------------------------------------------------------- jets through a whole network, in polynomials


@njit(**PLAIN)
def piece_table(t, window, policy, origin, first, A):
    """A[p,s,m,i] = b_i^(m)(origin)/m! for the functions first..first+d that are not zero on piece s of input p.

    Piece s has s knots to the left of it or at its left end; so 0 and T lie outside the knots. Beyond the domain, policies other
    than ZERO continue its edges.
    """
    d, T = len(window) - 1, t.shape[1]
    K = T - d - 1
    for p in range(t.shape[0]):
        for s in range(T + 1):
            b, j, kept = np.zeros((d + 1, d + 1, 1), t.dtype), s - 1, d + 1
            if policy != ZERO and (s <= d or s > K):
                origin[p, s] = t[p, d] if s <= d else t[p, K]
                j = find_span(origin[p, s], t[p], d, K)
                local_table(origin[p, s], t[p], j, window, d, b, 0)
                kept = 2 if policy == LINEAR else 1
                first[p, s] = j - d
            elif 0 <= j < T - 1 and t[p, j] < t[p, j + 1]:
                origin[p, s] = t[p, j]
                local_table(origin[p, s], t[p], j, window, d, b, 0)
                first[p, s] = shift_window(j, K, window, d, b, 0)
            factorial = 1.0
            for m in range(d + 1):
                factorial *= max(m, 1)
                for i in range(d + 1):
                    A[p, s, m, i] = b[m, i, 0] / factorial if m < kept else 0.0


@njit(**PLAIN)
def locate(x, B, breaks, origin, h, piece, u):
    """breaks[piece] <= x < breaks[piece+1] and u = x - origin[piece], for B points; h > 0 promises uniform knots."""
    last = origin.shape[0] - 1
    if h > 0:
        start, reciprocal = breaks[1], 1 / h
        for n in range(B):
            place = (x[n] - start) * reciprocal
            piece[n] = int(min(place, last - 1)) + 1 if place >= 0 else 0  # in this order NaN goes to 0, never to an index
        for n in range(B):  # rounding may have missed by one
            s = piece[n]
            s += (1 if s < last and x[n] >= breaks[s + 1] else 0) - (1 if x[n] < breaks[s] else 0)
            piece[n], u[n] = s, x[n] - origin[s]
    else:
        for n in range(B):
            s, high = 0, last + 1
            while high - s > 1:
                middle = (s + high) // 2
                if x[n] < breaks[middle]:
                    high = middle
                else:
                    s = middle
            piece[n], u[n] = s, x[n] - origin[s]


@njit(**SUMS)
def edges_forward(B, Q, x, moving, piece, u, s, C, V, e, y, c, phi, window):
    """The Q edges e, e + 1, ... from an input with jet x: y_0 += phi, y_1 += phi' x_1, y_2 += phi'' x_1^2 + phi' x_2.

    phi = sum_m c_m u^m + v silu and its derivatives by Horner's rule.
    """
    d, D, zero = len(window) - 1, (x.shape[0] - 1) // 2, u.dtype.type(0)
    for q in range(Q):
        v, C_q = V[e + q], C[e + q]
        for n in range(B):  # by itself, as it cannot be vectorised
            row = C_q[piece[n]]
            for m in range(len(window)):
                c[m, n] = row[m]
        for n in range(B):
            f_0, f_1, f_2 = c[d, n], zero, zero
            for m in range(d):
                f_2 = f_2 * u[n] + f_1
                f_1 = f_1 * u[n] + f_0
                f_0 = f_0 * u[n] + c[d - 1 - m, n]
            y[q, 0, n] += f_0 + v * s[0, n]
            phi[1, n] = f_1 + v * s[1, n]
            phi[2, n] = 2 * f_2 + v * s[2, n]
        for k in range(1, D + 1):
            if moving[k]:
                for n in range(B):
                    y[q, k, n] += phi[1, n] * x[k, n]
                    y[q, k + D, n] += phi[2, n] * (x[k, n] * x[k, n]) + phi[1, n] * x[k + D, n]


@njit(**SUMS)
def edges_pullback(B, Q, x, moving, piece, u, s, C, V, e, y_bar, inputs, x_bar, C_bar, V_bar, c, phi, r, window):
    """The adjoint of `edges_forward`, added to x_bar (if `inputs`), C_bar, V_bar.

    With the adjoints r_0, r_1, r_2 of phi, phi', phi'' (s_0, s_1, s_2 of `pullback_part`), c_bar_m = u^m r_0 + (u^m)' r_1 +
    (u^m)'' r_2 by the transpose of Horner's rule.
    """
    d, D, zero = len(window) - 1, (x.shape[0] - 1) // 2, u.dtype.type(0)
    for q in range(Q):
        for n in range(B):
            r[0, n], r[1, n], r[2, n] = y_bar[q, 0, n], zero, zero
        for k in range(1, D + 1):
            if moving[k]:
                for n in range(B):
                    r[1, n] += x[k, n] * y_bar[q, k, n] + x[k + D, n] * y_bar[q, k + D, n]
                    r[2, n] += (x[k, n] * x[k, n]) * y_bar[q, k + D, n]
        v_bar = zero
        for n in range(B):
            a_0, a_1, a_2 = r[0, n], r[1, n], r[2, n]
            v_bar += s[0, n] * a_0 + s[1, n] * a_1 + s[2, n] * a_2
            for m in range(len(window)):
                c[m, n] = a_0
                a_0, a_1, a_2 = u[n] * a_0 + a_1, u[n] * a_1 + 2 * a_2, u[n] * a_2
        V_bar[e + q] += v_bar
        C_q_bar = C_bar[e + q]
        for n in range(B):
            row_bar = C_q_bar[piece[n]]
            for m in range(len(window)):
                row_bar[m] += c[m, n]
        if not inputs:
            continue
        v, C_q = V[e + q], C[e + q]
        for n in range(B):
            row = C_q[piece[n]]
            for m in range(len(window)):
                c[m, n] = row[m]
        for n in range(B):
            f_0, f_1, f_2, f_3 = c[d, n], zero, zero, zero
            for m in range(d):
                f_3 = f_3 * u[n] + f_2
                f_2 = f_2 * u[n] + f_1
                f_1 = f_1 * u[n] + f_0
                f_0 = f_0 * u[n] + c[d - 1 - m, n]
            f_1, f_2, f_3 = f_1 + v * s[1, n], 2 * f_2 + v * s[2, n], 6 * f_3 + v * s[3, n]
            phi[1, n], phi[2, n] = f_1, f_2
            x_bar[0, n] += f_1 * r[0, n] + f_2 * r[1, n] + f_3 * r[2, n]
        for k in range(1, D + 1):
            for n in range(B):
                x_bar[k, n] += phi[1, n] * y_bar[q, k, n] + 2 * x[k, n] * phi[2, n] * y_bar[q, k + D, n]
                x_bar[k + D, n] += phi[1, n] * y_bar[q, k + D, n]


@njit(**PLAIN)
def silu_of_branch(x, B, order, V, s):
    """`silu_table` for a layer that has the branch (V >= 0), otherwise zeros."""
    if V >= 0:
        silu_table(x, B, order, s)
    else:
        s[:] = 0.0


@njit(**PLAIN)
def which_move(B, x, moving):
    """moving[k]: whether an input changes along direction k at all; those of the network itself mostly do not."""
    D = (x.shape[0] - 1) // 2
    for k in range(1, D + 1):
        moving[k] = False
        for n in range(B):
            if x[k, n] != 0 or x[k + D, n] != 0:
                moving[k] = True
                break


@njit(**PLAIN)
def to_pieces(theta, layers, first, A, C, V):
    """C[e,s,m] = sum_i A[p,s,m,i] W[p,first+i,q] and V[e] for every edge e = (p, q) of every layer; see `jets_part`."""
    e, r, J = 0, 0, A.shape[3]
    for l in range(layers.shape[0]):
        P, Q, K, W, V_l = layers[l, 0], layers[l, 1], layers[l, 2], layers[l, 3], layers[l, 4]
        for p in range(P):
            for q in range(Q):
                w = theta[W + p * K * Q + q : W + (p + 1) * K * Q : Q]
                for s in range(A.shape[1]):
                    for m in range(J):
                        total = theta.dtype.type(0)
                        for i in range(J):
                            total += A[r, s, m, i] * w[first[r, s] + i]
                        C[e, s, m] = total
                V[e] = theta[V_l + p * Q + q] if V_l >= 0 else 0.0
                e += 1
            r += 1


@njit(**PLAIN)
def from_pieces(C_bar, V_bar, layers, first, A, theta_bar):
    """The adjoint of `to_pieces`, written to theta_bar. A zero of A stands for itself, whatever overflowed beyond the knots."""
    e, r, J = 0, 0, A.shape[3]
    theta_bar[:] = 0.0
    for l in range(layers.shape[0]):
        P, Q, K, W, V_l = layers[l, 0], layers[l, 1], layers[l, 2], layers[l, 3], layers[l, 4]
        for p in range(P):
            for q in range(Q):
                w_bar = theta_bar[W + p * K * Q + q : W + (p + 1) * K * Q : Q]
                for s in range(A.shape[1]):
                    for m in range(J):
                        for i in range(J):
                            if A[r, s, m, i] != 0:
                                w_bar[first[r, s] + i] += A[r, s, m, i] * C_bar[e, s, m]
                if V_l >= 0:
                    theta_bar[V_l + p * Q + q] = V_bar[e]
                e += 1
            r += 1


@njit(**SUMS)
def jets_part(start, stop, layers, C, V, breaks, origin, h, window, z, tape, y):
    """Samples start..stop of a network's jet y, and tape[block, r], the jet of input r counted through all layers.

    On each piece between knots an edge function is a polynomial (de Boor, chapter VII): phi = sum_m c_m u^m + v silu with
    c = C[edge, piece], so that it and its derivatives come from the same d + 1 numbers. The rest is as in `forward_part`,
    with samples innermost. layers: as in `loss_part`, with -1 for V where there is none.
    """
    M, d, D, L = z.shape[0], len(window) - 1, (z.shape[0] - 1) // 2, layers.shape[0]
    piece, u, s = np.empty(JETS, np.int64), np.empty(JETS, z.dtype), np.zeros((4, JETS), z.dtype)
    c, phi, out = np.empty((d + 1, JETS), z.dtype), np.empty((3, JETS), z.dtype), np.empty((y.shape[2], M, JETS), z.dtype)
    moving = np.empty(D + 1, np.bool_)
    for low in range(start, stop, JETS):
        B, a = min(JETS, stop - low), tape[low // JETS]
        r, e = np.int64(0), np.int64(0)  # for a mere 0 Numba would compile `edges_forward` once more
        for p in range(z.shape[2]):
            for k in range(M):
                for n in range(B):
                    a[p, k, n] = z[k, low + n, p]
        for l in range(L):
            P, Q = layers[l, 0], layers[l, 1]
            above = a[r + P : r + P + Q] if l < L - 1 else out
            above[:] = 0.0
            for p in range(P):
                x = a[r + p]
                locate(x[0], B, breaks[r + p], origin[r + p], h[r + p], piece, u)
                silu_of_branch(x[0], B, 2, layers[l, 4], s)
                which_move(B, x, moving)
                edges_forward(B, Q, x, moving, piece, u, s, C, V, e, above, c, phi, window)
                e += Q
            r += P
        for q in range(y.shape[2]):
            for k in range(M):
                for n in range(B):
                    y[k, low + n, q] = out[q, k, n]


@njit(parallel=True, **SUMS)
def jets_parallel(size, layers, C, V, breaks, origin, h, window, z, tape, y):
    """`jets_part` on slices of `size` samples at a time, a multiple of JETS."""
    N = z.shape[1]
    for part in prange((N + size - 1) // size):
        low, high = part * size, min(N, (part + 1) * size)
        jets_part(low, high, layers, C, V, breaks, origin, h, window, z, tape, y)


@njit(**SUMS)
def jets_pullback_part(part, start, stop, layers, C, V, breaks, origin, h, window, tape, y_bar, z_bar, C_bar, V_bar):
    """Samples start..stop of the adjoint of `jets_part`, added to C_bar and V_bar [part]; see `pullback_part`.

    An empty z_bar says that the adjoint of the inputs is not wanted.
    """
    M, d, D, L = y_bar.shape[0], len(window) - 1, (y_bar.shape[0] - 1) // 2, layers.shape[0]
    piece, u, s = np.empty(JETS, np.int64), np.empty(JETS, y_bar.dtype), np.zeros((4, JETS), y_bar.dtype)
    c, phi, adjoint = np.empty((d + 1, JETS), u.dtype), np.empty((3, JETS), u.dtype), np.empty((3, JETS), u.dtype)
    pairs, edges, widest = 0, 0, y_bar.shape[2]
    for l in range(L):
        pairs, edges = pairs + layers[l, 0], edges + layers[l, 0] * layers[l, 1]
        widest = max(widest, layers[l, 0])
    above, below = np.empty((widest, M, JETS), u.dtype), np.empty((widest, M, JETS), u.dtype)
    moving, C_part, V_part = np.empty(D + 1, np.bool_), C_bar[part], V_bar[part]
    for low in range(start, stop, JETS):
        B, a, r, e = min(JETS, stop - low), tape[low // JETS], pairs, edges
        for q in range(y_bar.shape[2]):
            for k in range(M):
                for n in range(B):
                    above[q, k, n] = y_bar[k, low + n, q]
        for l in range(L - 1, -1, -1):
            P, Q = layers[l, 0], layers[l, 1]
            r, e = r - P, e - P * Q
            inputs = l > 0 or z_bar.size > 0
            for p in range(P):
                x, x_bar = a[r + p], below[p]
                x_bar[:] = 0.0
                locate(x[0], B, breaks[r + p], origin[r + p], h[r + p], piece, u)
                silu_of_branch(x[0], B, 3, layers[l, 4], s)
                which_move(B, x, moving)
                own = e + p * Q
                edges_pullback(
                    B, Q, x, moving, piece, u, s, C, V, own, above, inputs, x_bar, C_part, V_part, c, phi, adjoint, window
                )
            above, below = below, above
        if z_bar.size > 0:
            for p in range(z_bar.shape[2]):
                for k in range(M):
                    for n in range(B):
                        z_bar[k, low + n, p] = above[p, k, n]


@njit(parallel=True, **SUMS)
def jets_pullback_parallel(size, layers, C, V, breaks, origin, h, window, tape, y_bar, z_bar, C_bar, V_bar):
    """`jets_pullback_part` on slices of `size` samples at a time, a multiple of JETS."""
    N = y_bar.shape[1]
    for index in prange((N + size - 1) // size):
        part = np.int64(index)
        low, high = part * size, min(N, (part + 1) * size)
        jets_pullback_part(part, low, high, layers, C, V, breaks, origin, h, window, tape, y_bar, z_bar, C_bar, V_bar)
