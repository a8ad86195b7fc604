"""Golden vectors of tensors: Tucker products and their gradients, singular values, the truncated higher-order SVD.

Reference: exact rationals for products; singular values and vectors by mpmath's SVD in 50 digits. Confirmed by TensorLy
and NumPy. What a decomposition leaves free, signs and rotations, is not asked for: only values, projectors, products.
"""

import numpy as np

from kanref import spec
from kanref.golden.exact import MP, Draw, confirm, converted, digits
from kanref.golden.protocol import TUCKER
from kanref.golden.record import case

SHAPES = {
    "small": ((3, 2, 4), (2, 2, 2)),
    "wide": ((2, 4, 5), (2, 3, 2)),
    "thin": ((4, 1, 5), (2, 1, 3)),
    "full": ((2, 3, 3), (2, 3, 3)),
}


def unfold(W, mode):
    return np.moveaxis(W, mode, 0).reshape(W.shape[mode], -1)


def products():
    """W = core x U x V x T, and the gradient of <W_bar, W>."""
    import tensorly

    for name, (shape, ranks) in SHAPES.items():
        draw = Draw("tucker", name)
        parts = {"core": draw(*ranks), **{key: draw(n, r) for key, n, r in zip(TUCKER[1:], shape, ranks)}}
        W_bar = draw(*shape)
        W = spec.tucker(*parts.values())
        floats = converted(parts, float)
        confirm(name, W, tensorly.tucker_to_tensor((floats["core"], [floats[key] for key in TUCKER[1:]])))
        routes = "kanref.spec.tucker in exact rationals", "tensorly.tucker_to_tensor (1e-12)"
        yield case(
            "tucker", f"product-{name}", "tucker", parts, {"result": W}, call="spec.tucker(...)", ulps=32, routes=routes
        )
        expected = {}
        for key, a in parts.items():  # linear in each part, so that differences are exact
            base, rows = (W_bar * W).sum(), []
            for k in range(a.size):
                moved = a.copy()
                moved[np.unravel_index(k, a.shape)] += 1
                rows.append((W_bar * spec.tucker(*{**parts, key: moved}.values())).sum() - base)
            expected[key] = np.array(rows, object).reshape(a.shape)
        terms = {"core": "abc,qa,pb,kc", "U_out": "abc,pb,kc", "U_in": "abc,qa,kc", "U_basis": "abc,qa,pb"}
        for key, term in terms.items():
            others = [floats[n] for n in TUCKER if n != key or key == "core"]
            out = {"core": "abc", "U_out": "qa", "U_in": "pb", "U_basis": "kc"}[key]
            used = f"qpk,{term.removeprefix('abc,')}->{out}" if key == "core" else f"qpk,{term}->{out}"
            confirm(
                key, expected[key], np.einsum(used, W_bar.astype(float), *(others[1:] if key == "core" else others))
            )
        inputs = {**parts, "W_bar": W_bar}
        routes = "differences of spec.tucker in exact rationals", "numpy.einsum of the adjoint (1e-12)"
        call = "sum(W_bar spec.tucker(part + e_k)) - sum(W_bar spec.tucker(part))"
        yield case("tucker", f"pullback-{name}", "tucker_pullback", inputs, expected, call=call, ulps=64, routes=routes)


def decompositions():
    """Singular values of unfoldings, and HOSVDs that cut."""
    import tensorly
    from tensorly.tenalg import svd_interface

    for name, (shape, ranks) in SHAPES.items():
        W = Draw("hosvd", name)(*shape)
        exact, floats, modes = converted(W, digits), converted(W, float), ("out", "in", "basis")
        values, projectors = {}, {}
        for mode, key in enumerate(modes):
            A = MP.matrix(unfold(exact, mode).tolist())
            U, s, _ = MP.svd_r(A)
            values[key] = np.array(list(s), object)
            U = np.array(U.tolist(), object).reshape(A.rows, -1)[:, : ranks[mode]]
            projectors[key] = U @ U.T
            left, sigma, _ = svd_interface(tensorly.unfold(floats, mode), n_eigenvecs=ranks[mode])
            confirm(name, values[key][: ranks[mode]], sigma[: ranks[mode]])
            confirm(name, values[key], np.linalg.svd(unfold(floats, mode), compute_uv=False))
            confirm(name, projectors[key], left @ left.T, 1e-11)
        reconstruction = spec.tucker(exact, *projectors.values())
        other = tensorly.tenalg.multi_mode_dot(floats, [p.astype(float) for p in projectors.values()])
        confirm(name, reconstruction, other)
        routes = (
            "mpmath's SVD of the unfoldings in 50 digits",
            "tensorly's SVD, tensorly.unfold and multi_mode_dot (1e-11)",
        )
        call = "MPContext.svd_r(unfold(W, mode))"
        yield case("hosvd", f"values-{name}", "singular_values", {"W": W}, values, call=call, ulps=64, routes=routes)
        inputs, expected = {"W": W, "ranks": list(ranks)}, {"reconstruction": reconstruction, **projectors}
        yield case("hosvd", f"truncated-{name}", "hosvd", inputs, expected, call=call, ulps=256, routes=routes)


GROUPS = {"tucker": products, "hosvd": decompositions}
