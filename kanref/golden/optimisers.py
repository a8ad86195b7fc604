"""Golden vectors of optimisers: trajectories of 20 steps of Adam, directions and trajectories of L-BFGS with a fixed step.

Reference: `spec.adam_step` and the dense inverse Hessian of `spec.lbfgs_direction`, in 50 digits. Confirmed by the unrolled
sums m_t = (1 - beta_1) sum_s beta_1^(t-s) g_s, and by the two-loop recursion, exactly for directions.

L-BFGS forms differences of gradients that shrink as it converges, so that rounding grows along a trajectory. The tolerance
of each case says by how much: 64 ulps times the growth of a disturbance of 1e-30 of the start, the largest over 20 steps
and 4 directions, in 50 digits. A line search is no part of these cases: every library has one of its own.
"""

from fractions import Fraction

import numpy as np

from kanref import spec
from kanref.golden.exact import MP, Draw, confirm, converted, digits, floats
from kanref.golden.protocol import objective
from kanref.golden.record import case

STEPS = 20


# ---------------------------------------------------------------------------------------------------------- objectives


def objectives():
    """Name, objective and start."""
    draw = Draw("objectives")
    L = np.tril(draw(4, 4, bits=4))
    A = L @ L.T / 2 + np.array([[Fraction(int(i == j)) for j in range(4)] for i in range(4)], object)
    yield "quadratic", {"name": "quadratic", "A": A, "b": draw(4)}, draw(4)
    yield "quartic", {"name": "quartic", "A": A, "b": draw(4)}, draw(4)
    yield "rosenbrock", {"name": "rosenbrock", "c": Fraction(1)}, draw(4) / 4 + Fraction(3, 4)


# ---------------------------------------------------------------------------------------------------------------- Adam


def adam_trajectory(f, theta, rate, beta1, beta2, eps):
    """By `spec.adam_step`."""
    m, v, rows = 0 * theta, 0 * theta, [theta]
    for t in range(1, STEPS + 1):
        theta, m, v = spec.adam_step(theta, f(theta)[1], m, v, t, rate, beta1, beta2, eps)
        rows.append(theta)
    return np.array(rows)


def unrolled(f, theta, rate, beta1, beta2, eps):
    """With the averages as sums over all gradients."""
    rows, g = [theta], []
    for t in range(1, STEPS + 1):
        g.append(f(theta)[1])
        averages = []
        for beta, power in ((beta1, 1), (beta2, 2)):
            weights = [beta ** (t - s) for s in range(1, t + 1)]
            averages.append(sum(w * e**power for w, e in zip(weights, g)) / sum(weights))
        theta = theta - rate * averages[0] / (np.sqrt(averages[1]) + eps)
        rows.append(theta)
    return np.array(rows)


def adam():
    """Usual numbers, slow averages, a large eps."""
    plain = {"rate": Fraction(1, 16), "beta1": Fraction(7, 8), "beta2": Fraction(127, 128), "eps": Fraction(1, 2**27)}
    changes = {
        "": {},
        "-slow": {"beta1": Fraction(31, 32), "rate": Fraction(1, 4)},
        "-large-eps": {"eps": Fraction(1, 8)},
    }
    changes["-no-momentum"] = {"beta1": Fraction(0)}
    for name, description, start in objectives():
        for label, change in changes.items():
            options = plain | change
            exact, at, numbers = converted((description, start, options), digits)
            rows = adam_trajectory(objective(exact), at, **numbers)
            tolerance = 64 * growth(lambda theta, e=exact, n=numbers: adam_trajectory(objective(e), theta, **n), at)
            floating, u, n = converted((description, start, options), float)
            confirm(name + label, rows, unrolled(objective(floating), u, **n), 1e-11)
            inputs = {"objective": description, "start": start, "steps": STEPS, **options}
            routes = "kanref.spec.adam_step in 50 digits", "averages as unrolled sums in float64 (1e-11)"
            yield case(
                "adam",
                name + label,
                "adam",
                inputs,
                {"result": rows},
                call="spec.adam_step, 20 times",
                ulps=tolerance,
                routes=routes,
            )


# -------------------------------------------------------------------------------------------------------------- L-BFGS


def two_loop(g, S, Y):
    """Nocedal and Wright, algorithm 7.4, for any kind of number."""
    q, alphas = -g, []
    for s, y in zip(S[::-1], Y[::-1]):
        alphas.append((s @ q) / (s @ y))
        q = q - alphas[-1] * y
    q = q * (S[-1] @ Y[-1]) / (Y[-1] @ Y[-1]) if len(S) else q
    for s, y in zip(S, Y):
        q = q + s * (alphas.pop() - (y @ q) / (s @ y))
    return q


def lbfgs_trajectory(theta, direction, f, history, step):
    """Fixed steps along the direction."""
    rows, S, Y, g = [theta], [], [], f(theta)[1]
    for _ in range(STEPS):
        new = theta + step * direction(g, S[-history:], Y[-history:])
        slope = f(new)[1]
        S.append(new - theta)
        Y.append(slope - g)
        theta, g = new, slope
        rows.append(theta)
    return np.array(rows)


def growth(trajectory, start):
    """How much a disturbance of the start grows at most, rounded up to a power of two."""
    rows, most = trajectory(start), 1.0
    scale = max(abs(floats(rows)).max(), 1e-300)
    for k in range(len(start)):
        moved = start.copy()
        moved[k] += MP.mpf(10) ** -30 * scale
        most = max(most, float(max(abs(v) for v in ((trajectory(moved) - rows) / scale).ravel()) * MP.mpf(10) ** 30))
    return 2 ** int(np.ceil(np.log2(most)))


def lbfgs():
    """Directions from 0 to 5 pairs; trajectories with histories of 1, 3 and 10."""
    for pairs in (0, 1, 2, 5):
        draw = Draw("lbfgs", pairs)
        g, S, A = draw(6), draw(pairs, 6), draw(6, 6)
        A = A @ A.T + np.array([[Fraction(4 * (i == j)) for j in range(6)] for i in range(6)], object)
        Y = np.array([[Fraction(round(v * 2**8), 2**8) for v in A @ s] for s in S], object).reshape(pairs, 6)
        exact = converted((g, S, Y), digits)
        d = spec.lbfgs_direction(*exact)
        confirm(f"{pairs} pairs", d, two_loop(g, S, Y), 1e-35)
        inputs = {"gradient": g, "S": S, "Y": Y}
        routes = (
            "kanref.spec.lbfgs_direction, a dense matrix, in 50 digits",
            "the two-loop recursion in exact rationals (1e-35)",
        )
        yield case(
            "lbfgs",
            f"direction-{pairs}-pairs",
            "lbfgs_direction",
            inputs,
            {"result": d},
            call="spec.lbfgs_direction",
            ulps=256,
            routes=routes,
        )
    for name, description, start in objectives():
        for history in (1, 3, 10):
            step = Fraction(1, 4) if name != "quadratic" else Fraction(1, 2)
            exact, at = converted((description, start), digits)
            options = objective(exact), history, digits(step)
            run = lambda theta, direction=spec.lbfgs_direction, o=options: lbfgs_trajectory(theta, direction, *o)
            rows = run(at)
            confirm(f"{name} {history}", rows, run(at, two_loop), 1e-25)
            inputs = {"objective": description, "start": start, "steps": STEPS, "history": history, "step": step}
            routes = (
                "kanref.spec.lbfgs_direction, a dense matrix, in 50 digits",
                "the two-loop recursion in 50 digits (1e-25)",
            )
            call = "theta + step spec.lbfgs_direction(g, S, Y), 20 times"
            tolerance = 64 * growth(run, at)
            yield case(
                "lbfgs",
                f"{name}-history-{history}",
                "lbfgs",
                inputs,
                {"result": rows},
                call=call,
                ulps=tolerance,
                routes=routes,
            )


GROUPS = {"adam": adam, "lbfgs": lbfgs}
