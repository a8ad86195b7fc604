"""Golden vectors of losses and of every derivative: of parameters, of inputs, of both.

Reference: complex steps of h = 1e-30 through `kanref.spec` in 50 digits; Taylor series for derivatives along lines,
polarisation for mixed ones. Hessian-vector products are central differences, h = 1e-12, of those gradients: 24 digits.
Confirmed by closed forms with SciPy, and by `kanref.golden.second`: complex steps through SciPy's piecewise polynomials,
and a backward pass by hand, all in double precision.
"""

from fractions import Fraction
from functools import cache

import numpy as np

from kanref import spec
from kanref.golden import second
from kanref.golden.exact import MP, Draw, complex_step, confirm, converted, digits
from kanref.golden.networks import NETWORKS, NODES, defined, drawn, layer, samples
from kanref.golden.protocol import AFFINE
from kanref.golden.record import case

LOSSES = {
    "mse": spec.mean_squared_error,
    "mae": spec.mean_absolute_error,
    "cross_entropy": spec.cross_entropy,
    "logistic": spec.logistic,
}
STEPPED = "complex steps through kanref.spec in 50 digits"


def by_scipy(name, f, target):
    """A loss and its gradient with respect to f (N, m), in floats."""
    from scipy.special import expit, log_expit, log_softmax, softmax

    if name in ("mse", "mae"):
        r = f - target
        return ((r**2).mean(), 2 * r / r.size) if name == "mse" else (np.abs(r).mean(), np.sign(r) / r.size)
    labels, N = np.asarray(target), len(f)
    if name == "cross_entropy":
        return -log_softmax(f, 1)[np.arange(N), labels].mean(), (softmax(f, 1) - np.eye(f.shape[1])[labels]) / N
    return -log_expit(np.where(labels[:, None], f, -f)).mean(), (expit(f) - labels[:, None]) / N


def targets(name, draw, shape):
    """Numbers, or labels."""
    if name in ("mse", "mae"):
        return draw(*shape, low=-2, high=2)
    return [draw.integer(0, max(2, shape[1])) for _ in range(shape[0])]


def losses():
    """Of predictions alone; large scores, where e^f overflows; a single sample."""
    for name, loss in LOSSES.items():
        for label, shape, reach in (("small", (5, 3), 3), ("large", (3, 2), 900), ("single", (1, 2), 3)):
            shape = (shape[0], 1) if name == "logistic" else shape
            draw = Draw("loss", name, label)
            f, target = draw(*shape, low=-reach, high=reach), targets(name, draw, shape)
            exact, y = converted((f, target), digits)
            y = np.array(y) if isinstance(y, list) else y
            value = loss(exact, y)
            slope = complex_step(lambda v, y=y, s=shape, loss=loss: loss(v.reshape(s), y), exact.ravel()).reshape(shape)
            other = by_scipy(name, *converted((f, target), float))
            confirm(f"{name} {label}", np.array([value]), np.array([other[0]]))
            confirm(f"{name} {label}", slope, other[1])
            inputs = {"name": name, "prediction": f, "target": target}
            routes = f"kanref.spec.{loss.__name__} in 50 digits; {STEPPED}", "scipy.special and closed forms (1e-12)"
            expected = {"value": np.array(value), "gradient": slope}
            yield case(
                "losses",
                f"{name}-{label}",
                "loss",
                inputs,
                expected,
                call=f"spec.{loss.__name__}",
                ulps=32,
                routes=routes,
            )


# ---------------------------------------------------------------------------------------------------------- parameters


def exact_gradient(f, network):
    """{name: array} of d f / d array in 50 digits for a function f of networks."""
    arrays = second.trained(network)
    slopes = complex_step(
        lambda t: f(second.replaced(network, second.unflattened(t, arrays))), second.flattened(arrays)
    )
    return second.unflattened(slopes, arrays)


def values(network, x):
    layers = defined(network)
    return np.array([spec.network(layers, list(sample))[:, 0] for sample in x], object)


def agree(name, reference, other, tolerance=1e-12):
    """`confirm` for dictionaries, relative to the largest entry of all."""
    whole = lambda arrays: np.concatenate([np.ravel(arrays[key]) for key in reference])
    confirm(name, whole(reference), whole(other), tolerance)


def one(group, name, network, x, loss, target, ulps=128):
    """The gradient of a loss."""
    exact, at, y = converted((network, x, target), digits)
    y = np.array(y) if isinstance(y, list) else y
    objective = lambda network: LOSSES[loss](values(network, at), y)
    expected = {"value": np.array(objective(exact)), **exact_gradient(objective, exact)}
    floating, u, v = converted((network, x, target), float)
    through = lambda network: _loss(loss, second.values(network, u), v)
    other = {"value": through(floating), **second.gradient(through, floating)}
    agree(name, expected, other)
    inputs = {"network": network, "x": x, "target": target, "loss": loss}
    routes = STEPPED, "complex steps through scipy.interpolate.PPoly and closed forms in float64 (1e-12)"
    call = f"Im spec.{LOSSES[loss].__name__}(spec.network at theta + i h e_k) / h"
    return case(group, name, "gradient", inputs, expected, call=call, ulps=ulps, routes=routes)


def _loss(name, f, target):
    """The losses for complex predictions of moderate size."""
    if name == "mse":
        return ((f - target) ** 2).mean()
    if name == "mae":
        return ((f - target) * np.sign((f - target).real)).mean()
    labels = np.asarray(target)
    if name == "cross_entropy":
        return (np.log(np.exp(f).sum(1)) - f[np.arange(len(f)), labels]).mean()
    return (np.log(1 + np.exp(f[:, 0])) - labels * f[:, 0]).mean()


GRADIENTS = {
    **{f"degree-{d}": ([2, 2, 1], {"degree": d}) for d in (1, 2, 3, 4, 5)},
    **{f"{kind}-knots": ([2, 2, 1], {"kind": kind}) for kind in ("clamped", "repeated", "nonuniform")},
    **{f"outside-{o}": ([2, 2, 1], {"outside": o}) for o in ("linear", "clamp")},
    **{f"base-{b}": ([2, 2, 1], {"base": b}) for b in ("tanh", "sin", "identity")},
    "splines-alone": ([2, 2, 1], {"base": None}),
    "scaled-bias": ([2, 2, 1], {"scaled": True, "bias": True}),
    "scaled-masked": ([2, 2, 1], {"scaled": True, "mask": [[1, 0], [1, "1/2"]], "degree": 2}),
    "tanh-between": ([2, 2, 1], {"normalise": "tanh", "bias": True}),
    "one-layer": ([2, 2], {}),
    "three-layers": ([1, 2, 1, 1], {"degree": 2}),
}


def gradients():
    """The mean squared error over networks, other losses, products with affine maps, formulas."""
    for name, (widths, options) in GRADIENTS.items():
        draw = Draw("gradient", name)
        network = [layer(draw, Q, P, **options) for P, Q in zip(widths, widths[1:])]
        if "mask" in options:
            network[-1]["mask"] = network[-1]["mask"][:1]
        yield one("gradients", name, network, samples(draw, widths[0], 3), "mse", draw(3, widths[-1], low=-2, high=2))
    for loss, outputs in (("mae", 1), ("cross_entropy", 3), ("logistic", 1)):
        draw = Draw("gradient", loss)
        network = [layer(draw, 2, 2, degree=2), layer(draw, outputs, 2, degree=2)]
        yield one("gradients", f"loss-{loss}", network, samples(draw, 2, 4), loss, targets(loss, draw, (4, outputs)))
    for name, arity, affine in (
        ("product", (1, 2), ()),
        ("product-affine", (3, 1), AFFINE),
        ("sums-affine", (1, 1), AFFINE),
    ):
        draw = Draw("gradient", name)
        network = [layer(draw, None, 2, arity=arity, affine=affine, degree=2), layer(draw, 1, len(arity), degree=2)]
        yield one("gradients", name, network, samples(draw, 2, 3), "mse", draw(3, 1, low=-2, high=2))
    draw = Draw("gradient", "formulas")
    network = [
        layer(draw, 2, 2, formulas=[[0, 0, "sin"], [1, 1, "gaussian"]]),
        layer(draw, 1, 2, formulas=[[0, 1, "exp"]]),
    ]
    yield one("gradients", "formulas", network, samples(draw, 2, 3), "mse", draw(3, 1, low=-2, high=2))


def lotra():
    """Tucker weights alone, and adapters on frozen weights: core and factors."""
    for name, options in {
        "slim-2-2-2": {"ranks": (2, 2, 2)},
        "slim-1-1-3": {"ranks": (1, 1, 3)},
        "adapter-1-1-1": {"ranks": (1, 1, 1), "frozen": True},
        "adapter-2-2-2": {"ranks": (2, 2, 2), "frozen": True},
        "adapter-2-1-3-masked": {"ranks": (2, 1, 3), "frozen": True, "mask": [[1, 0], [1, 1]]},
        "adapter-scaled": {"ranks": (2, 2, 1), "frozen": True, "scaled": True, "base": None},
    }.items():
        draw = Draw("lotra", name)
        network = [layer(draw, 2, 2, **options), layer(draw, 1, 2, **{**options, "ranks": (1, 1, 2), "mask": None})]
        yield one("lotra", name, network, samples(draw, 2, 3), "mse", draw(3, 1, low=-2, high=2))


def exact_hessian_vector(network, x, target, v):
    """{name: array} of H v for the mean squared error: differences of exact gradients, 24 digits."""
    arrays, step = second.trained(network), MP.mpf(10) ** -12
    theta, direction = second.flattened(arrays), second.flattened(v)

    def slope(s):
        moved = second.replaced(network, second.unflattened(theta + s * direction, arrays))
        return exact_gradient(lambda n: LOSSES["mse"](values(n, x), target), moved)

    ahead, behind = slope(step), slope(-step)
    return {name: (ahead[name] - behind[name]) / (2 * step) for name in arrays}


def hessian_vector_by_hand(network, x, target, v):
    """The same by a complex step through the backward pass written out, in floats."""
    arrays = second.trained(network)
    theta = second.flattened(arrays) + 1j * second.STEP * second.flattened(v)
    tilted = second.replaced(network, second.unflattened(theta, arrays))
    return {name: np.imag(a) / second.STEP for name, a in second.backward(tilted, x, target).items()}


def hessian_vector_by_steps(network, x, target, v, step=2.0**-10):
    """The same for any network, in floats: Richardson's central differences of gradients by complex steps."""
    arrays = second.trained(network)
    theta, direction = second.flattened(arrays), second.flattened(v)

    def slope(s):
        moved = second.replaced(network, second.unflattened(theta + s * direction, arrays))
        return second.flattened(second.gradient(lambda n: _loss("mse", second.values(n, x), target), moved))

    central = lambda h: (slope(h) - slope(-h)) / (2 * h)
    return second.unflattened((4 * central(step / 2) - central(step)) / 3, arrays)


SUMS = {"one-layer": ([2, 2], 3), "2-2-1": ([2, 2, 1], 3), "degree-4": ([2, 2, 1], 4), "deep": ([1, 2, 1, 1], 3)}
BENT = {  # Hessian-vector products of other kinds; masks, maps and nodes are those of the first layer
    "clamped-knots": {"kind": "clamped"},
    "outside-linear": {"outside": "linear", "degree": 2},
    "outside-clamp": {"outside": "clamp"},
    "splines-alone": {"base": None},
    "base-tanh": {"base": "tanh"},
    "tanh-before": {"normalise": "tanh"},
    "masked": {"mask": [[1, 0], [1, "1/2"]]},
    "product": {"arity": (1, 2)},
    "products-of-2-and-3": {"arity": (2, 3)},
}


def hessian_vectors():
    """Sums of splines, base functions and biases; policies outside, input maps, masks, products."""
    exactly = f"central differences of {STEPPED}"
    call = "(g(theta + h v) - g(theta - h v)) / 2 h for gradients g by complex steps through spec"

    def one(name, draw, network, x, second_route, route, tolerance=1e-12):
        target = draw(3, 2 if name == "one-layer" else 1, low=-2, high=2)
        v = {key: draw(*a.shape) for key, a in second.trained(network).items()}
        question = network, x, target, v
        expected = exact_hessian_vector(*converted(question, digits))
        agree(name, expected, second_route(*converted(question, float)), tolerance)
        inputs = dict(zip(("network", "x", "target", "direction"), question))
        routes = exactly, route
        return case("hessian-vector", name, "hessian_vector", inputs, expected, call=call, ulps=128, routes=routes)

    for name, (widths, degree) in SUMS.items():
        draw = Draw("hessian", name)
        network = [layer(draw, Q, P, degree=degree, bias=True, kind="nonuniform") for P, Q in zip(widths, widths[1:])]
        x = draw(3, widths[0], bits=10) * Fraction(3, 4)
        route = "complex step through a backward pass by hand on PPoly in float64 (1e-12)"
        yield one(name, draw, network, x, hessian_vector_by_hand, route)
    for name, options in BENT.items():
        draw = Draw("hessian", name)
        nodes = len(options["arity"]) if "arity" in options else 2
        first = layer(draw, None if "arity" in options else 2, 2, bias=True, **options)
        alike = {key: options[key] for key in ("degree", "kind", "outside", "base") if key in options}
        network = [first, layer(draw, 1, nodes, **alike)]
        route = "Richardson's differences of complex steps through PPoly and closed forms in float64 (1e-8)"
        yield one(name, draw, network, samples(draw, 2, 3), hessian_vector_by_steps, route, 1e-8)


# -------------------------------------------------------------------------------------------------------------- inputs


def taylor(network, x, v, order):
    """Derivatives 0..order along v at every sample, (order + 1, N, m)."""
    layers = defined(network)
    rows = [spec.derivatives(layers, list(sample), list(v), order) for sample in x]
    return np.moveaxis(np.array(rows, object), 2, 0)


def axes(n):
    return np.array([[Fraction(int(i == j)) for j in range(n)] for i in range(n)], object)


def input_gradient(network, x):
    """(N, m, n)."""
    return np.stack([taylor(network, x, v, 1)[1] for v in axes(x.shape[1])], -1)


def input_hessian(network, x):
    """(N, m, n, n) by 4 f_ij = f_{i+j} - f_{i-j}, second derivatives along e_i +- e_j."""
    e, along = axes(x.shape[1]), lambda v: taylor(network, x, v, 2)[2]
    mixed = lambda i, j: along(e[i]) if i == j else (along(e[i] + e[j]) - along(e[i] - e[j])) / 4
    return np.stack([np.stack([mixed(i, j) for j in range(len(e))], -1) for i in range(len(e))], -2)


def input_gradient_by_steps(network, x):
    """(N, m, n) in floats."""
    slope = lambda e: np.imag(second.values(network, x + 1j * second.STEP * e)) / second.STEP
    return np.stack([slope(e) for e in np.eye(x.shape[1])], -1)


def input_hessian_by_steps(network, x):
    """(N, m, n, n) in floats: complex steps through first derivatives."""
    e = np.eye(x.shape[1])
    bend = lambda i, j: np.imag(second.forward(network, x + 1j * second.STEP * e[j], e[i])[1]) / second.STEP
    return np.stack([np.stack([bend(i, j) for j in range(len(e))], -1) for i in range(len(e))], -2)


INPUTS = (
    *("2-3-1-degree-3", "2-3-1-degree-5", "2-2-1-repeated", "2-2-1-nonuniform", "2-2-1-outside-linear"),
    *("2-2-2-scaled-bias", "2-3-1-tanh-between", "2-2-1-lotra"),
)


def mixed(group):
    """{name: (draw, network)} with product nodes, affine maps and formulas."""
    built = {}
    for name in ("products-of-2-and-3", "product-affine"):
        draw = Draw(group, name)
        arity, affine = NODES[name]
        built[name] = draw, [layer(draw, None, 2, arity=arity, affine=affine), layer(draw, 1, len(arity))]
    draw = Draw(group, "formulas")
    built["formulas"] = draw, [layer(draw, 2, 2, formulas=[[0, 0, "sin"], [1, 1, "arctan"]]), layer(draw, 1, 2)]
    return built


def of_inputs():
    """Gradients with respect to inputs, and Hessians."""
    routes = "Taylor series of kanref.spec in 50 digits", "complex steps through PPoly in float64 (1e-12)"
    built = {name: drawn(name, *NETWORKS[name]) for name in INPUTS} | mixed("inputs")
    for name, (draw, network) in built.items():
        question = network, samples(draw, 2, 3)
        exact, floating = converted(question, digits), converted(question, float)
        inputs = dict(zip(("network", "x"), question))
        slopes = input_gradient(*exact)
        confirm(name, slopes, input_gradient_by_steps(*floating))
        expected, call = {"result": slopes}, "spec.derivatives(layers, x, e_p, 1)"
        yield case("inputs", f"gradient-{name}", "input_gradient", inputs, expected, call=call, ulps=128, routes=routes)
        if "repeated" in name:  # second derivatives of a cubic with a triple knot jump
            continue
        bends = input_hessian(*exact)
        confirm(name, bends, input_hessian_by_steps(*floating))
        expected, call = {"result": bends}, "polarisation of spec.derivatives(layers, x, e_p +- e_r, 2)"
        yield case("inputs", f"hessian-{name}", "input_hessian", inputs, expected, call=call, ulps=256, routes=routes)


def jets():
    """Derivatives 0..2 along directions."""
    built = {name: drawn(name, *NETWORKS[name]) for name in (*INPUTS, "1-1-1-1-1-deep", "2-2-1-outside-clamp")}
    built |= mixed("jets")
    for name, (draw, network) in built.items():
        n = len(network[0]["knots"])
        x, v = samples(draw, n, 3), draw(n, low=-2, high=2)
        exact = taylor(*converted((network, x, v), digits), 2)
        confirm(name, exact, second.forward(*converted((network, x, v), float)))
        inputs = {"network": network, "x": x, "direction": v, "order": 2}
        routes = "Taylor series of kanref.spec in 50 digits", "f'' z'^2 + f' z'' on PPoly in float64 (1e-12)"
        call = "spec.derivatives(layers, x, direction, 2)"
        yield case("jets", name, "jet", inputs, {"result": exact}, call=call, ulps=256, routes=routes)


EQUATIONS = {  # residuals without forcing, from d(v_x, v_y): u and its first and second derivative along v
    "poisson": lambda c, d: d(1, 0)[2] + d(0, 1)[2],
    "helmholtz": lambda c, d: d(1, 0)[2] + d(0, 1)[2] + c * d(1, 0)[0],
    "heat": lambda c, d: d(0, 1)[1] - c * d(1, 0)[2],
    "burgers": lambda c, d: d(0, 1)[1] + d(1, 0)[0] * d(1, 0)[1] - c * d(1, 0)[2],
    "allen-cahn": lambda c, d: d(0, 1)[1] - c * d(1, 0)[2] + d(1, 0)[0] ** 3 - d(1, 0)[0],
    "mixed": lambda c, d: (d(1, 1)[2] - d(1, -1)[2]) / 4 + c * d(0, 1)[0] * d(0, 1)[1],
}


def residuals():
    """Equations of second order at three points, and the gradient of the mean squared residual."""
    kinds = {"": ("uniform", 4), "-nonuniform-degree-3": ("nonuniform", 3), "-clamped-degree-5": ("clamped", 5)}
    for equation, operator in EQUATIONS.items():
        for suffix, (kind, degree) in kinds.items() if equation in ("poisson", "burgers") else [("", kinds[""])]:
            name, c = equation + suffix, Fraction(3, 16)
            draw = Draw("residual", name)
            options = {"kind": kind, "degree": degree, "intervals": 2}
            network = [layer(draw, 2, 2, **options), layer(draw, 1, 2, **options)]
            x, forcing = draw(3, 2, bits=10), draw(3)
            exact, at, f = converted((network, x, forcing), digits)
            r = lambda n, at=at, f=f, o=operator, c=c: o(digits(c), cache(lambda *v: taylor(n, at, v, 2)[..., 0])) - f
            loss = lambda n, r=r: (r(n) ** 2).sum() / 3
            expected = {"residual": r(exact), "value": np.array(loss(exact)), **exact_gradient(loss, exact)}
            floating, u, g = converted((network, x, forcing), float)
            q = lambda n, u=u, g=g, o=operator, c=c: o(float(c), cache(lambda *v: second.forward(n, u, v)[..., 0])) - g
            mean = lambda n, q=q: (q(n) ** 2).sum() / 3
            agree(
                name,
                expected,
                {"residual": q(floating), "value": mean(floating), **second.gradient(mean, floating)},
                1e-11,
            )
            inputs = {"network": network, "x": x, "equation": equation, "coefficient": c, "forcing": forcing}
            routes = f"Taylor series of kanref.spec, {STEPPED}", "jets and complex steps on PPoly in float64 (1e-11)"
            call = "mean of (operator(spec.derivatives) - forcing)^2 at theta + i h e_k"
            yield case("pinn", name, "residual", inputs, expected, call=call, ulps=512, routes=routes)


GROUPS = {
    "losses": losses,
    "gradients": gradients,
    "lotra": lotra,
    "hessian-vector": hessian_vectors,
    "inputs": of_inputs,
    "jets": jets,
    "pinn": residuals,
}
