"""What every torch library offers by automatic differentiation, from how its networks are built and its basis evaluated."""

from kanref.golden.protocol import TUCKER


def refuse(network, *keys):
    """NotImplementedError if a layer has what a library has not."""
    for key in keys:
        if any(key in layer for layer in network):
            raise NotImplementedError(f"there is no {key}")


def refuse_outside(network):
    """Only "zero" is offered, and no Tucker weights."""
    refuse(network, "normalise", "frozen", *TUCKER)
    for layer in network:
        if layer.get("outside", "zero") != "zero":
            raise NotImplementedError("functions fade to zero outside the domain; there is no other policy")


def slope(y, x, keep=True):
    """d sum(y) / d x, zeros where y does not depend on x."""
    import torch

    if not y.requires_grad:
        return torch.zeros_like(x)
    found = torch.autograd.grad(y.sum(), x, create_graph=keep, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else found


def numpy(tensor):
    return tensor.detach().numpy(force=True)


def slopes(value, leaves, keep=False):
    """Derivatives of a value with respect to leaves {name: (leaf, axes)}, None where it does not depend on one."""
    import torch

    own = [leaf for leaf, _ in leaves.values()]
    if not value.requires_grad:
        return [None] * len(own)
    return torch.autograd.grad(value, own, create_graph=keep, allow_unused=True)


def arrays(leaves, found):
    """{name: array} of the protocol from derivatives of leaves {name: (leaf, axes)}."""
    pairs = zip(leaves.items(), found)
    return {name: numpy(own * 0 if g is None else g).transpose(axes) for (name, (own, axes)), g in pairs}


def operations(build, basis):
    """{name: function} of the protocol.

    build(network) -> (function of tensors (N, P), {"layer.array": (leaf, axes)}): the protocol's array is the leaf with its
    axes in that order. basis(x (N,), knots (T,), degree) -> (N, K).
    """
    import torch

    def leaf(x):
        return torch.tensor(x, requires_grad=True)

    def bspline(x, knots, degree, order, outside):
        if outside != "zero":
            raise NotImplementedError("functions fade to zero outside the domain; there is no other policy")
        at = leaf(x)
        B = basis(at, torch.tensor(knots), degree)
        columns = []
        for i in range(B.shape[1]):
            column = B[:, i]
            for _ in range(order):
                column = slope(column, at)
            columns.append(column)
        return numpy(torch.stack(columns, 1))

    def forward(network, x):
        return numpy(build(network)[0](torch.tensor(x)))

    def gradient(network, x, target, loss):
        f, leaves = build(network)
        value = losses(loss, f(torch.tensor(x)), target)
        return {"value": numpy(value), **arrays(leaves, slopes(value, leaves))}

    def losses(name, f, target):
        functional, y = torch.nn.functional, torch.tensor(target)
        if name == "mse":
            return ((f - y) ** 2).mean()
        if name == "mae":
            return (f - y).abs().mean()
        if name == "cross_entropy":
            return functional.cross_entropy(f, y)
        return functional.binary_cross_entropy_with_logits(f[:, 0], y.to(f.dtype))

    def input_gradient(network, x):
        at = leaf(x)
        y = build(network)[0](at)
        return numpy(torch.stack([slope(y[:, o], at) for o in range(y.shape[1])], 1))

    def input_hessian(network, x):
        at = leaf(x)
        y = build(network)[0](at)
        first = [slope(y[:, o], at) for o in range(y.shape[1])]
        return numpy(torch.stack([torch.stack([slope(g[:, p], at) for p in range(x.shape[1])], 1) for g in first], 1))

    def jet(network, x, direction, order):
        t = leaf(0 * x[:, :1])
        y = build(network)[0](torch.tensor(x) + t * torch.tensor(direction))
        rows = [y]
        for _ in range(order):
            rows.append(torch.cat([slope(rows[-1][:, o], t) for o in range(y.shape[1])], 1))
        return numpy(torch.stack(rows))

    def hessian_vector(network, x, target, direction):
        f, leaves = build(network)
        value = losses("mse", f(torch.tensor(x)), target)
        first, total = slopes(value, leaves, keep=True), 0
        for (name, (_, axes)), own in zip(leaves.items(), first):
            back = sorted(range(len(axes)), key=axes.__getitem__)
            total = total + (own * torch.tensor(direction[name].transpose(back).copy())).sum()
        return arrays(leaves, slopes(total, leaves))

    def residual(network, x, equation, coefficient, forcing):
        f, leaves = build(network)
        at = leaf(x)
        u = f(at)[:, 0]
        d = slope(u, at)
        h = [slope(d[:, i], at) for i in range(2)]
        c = coefficient
        r = {
            "poisson": lambda: h[0][:, 0] + h[1][:, 1],
            "helmholtz": lambda: h[0][:, 0] + h[1][:, 1] + c * u,
            "heat": lambda: d[:, 1] - c * h[0][:, 0],
            "burgers": lambda: d[:, 1] + u * d[:, 0] - c * h[0][:, 0],
            "allen-cahn": lambda: d[:, 1] - c * h[0][:, 0] + u**3 - u,
            "mixed": lambda: h[0][:, 1] + c * u * d[:, 1],
        }[equation]() - torch.tensor(forcing)
        value = (r**2).mean()
        return {"residual": numpy(r), "value": numpy(value), **arrays(leaves, slopes(value, leaves))}

    offered = bspline, forward, gradient, input_gradient, input_hessian, jet, hessian_vector, residual
    return {function.__name__: function for function in offered}


def derivative(function, x, order):
    """Derivative of an order of an elementwise function, (N,)."""
    import torch

    at = torch.tensor(x, requires_grad=True)
    y = function(at)
    for _ in range(order):
        y = slope(y, at)
    return numpy(y)
