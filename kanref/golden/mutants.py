"""Mutants of kanref's own source: small mistakes, each made in a copy of the package, that the golden vectors must catch.

    python -m kanref.golden.mutants                   all of them: a table, exit code 1 if one is missed
    python -m kanref.golden.mutants "silu'' halved"   some of them

A mutant replaces one text, which stands once in its file, by another. The copy lies in a temporary folder and is asked in a
process of its own, without compilation, which changes no result and is quicker for small cases. The copy without a mutant
must pass everything first, else nothing is learnt.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import kanref
from kanref.words import aligned

SECONDS = 300  # for a mutant that does not end
ASK = """\
import json, sys
from kanref.golden import conformance
from kanref.golden.adapters import kanref
report = conformance.run(kanref, sys.argv[1:])
print(json.dumps([[outcome.case.id, outcome.dtype, outcome.why] for outcome in report.failures]))
"""


class Mutant(NamedTuple):
    """A mistake in words, the file it is made in, the text and what replaces it, and the groups that must notice."""

    name: str
    file: str
    old: str
    new: str
    groups: str


MUTANTS = (
    # ------------------------------------------------------------------------------------------------- kernels
    Mutant(
        "off-by-one knot", "kernels/spline_layer.py",
        "saved, left_end = zero, first[n] + d + 1 - e", "saved, left_end = zero, first[n] + d - e", "bspline layers",
    ),
    Mutant(
        "derivative without its degree", "kernels/spline_layer.py",
        "b[i, n] = saved - e * share\n", "b[i, n] = saved - share\n", "bspline inputs",
    ),
    Mutant(
        "right end left open", "kernels/spline_layer.py",
        "closed = policy != ZERO or t[K] == t[T - 1]", "closed = True", "bspline",
    ),
    Mutant(
        "the last empty spans taken for spans", "kernels/spline_layer.py",
        "while high - 1 > low and t[high - 1] == t[high]:", "while False:", "bspline layers",
    ),
    Mutant(
        "wrong side outside", "kernels/spline_layer.py",
        "b[0, i, n] += b[1, i, n] * (x - edge)", "b[0, i, n] -= b[1, i, n] * (x - edge)", "bspline layers",
    ),
    Mutant(
        "clamp keeps its slope", "kernels/spline_layer.py",
        "for m in range(1 if policy == CLAMP else 2, order + 1):", "for m in range(2, order + 1):", "bspline inputs",
    ),
    Mutant(
        "uniform spans placed by division alone", "kernels/spline_layer.py",
        "j = j + (1 if x[n] >= t[j + 1] else 0) - (1 if x[n] < t[j] else 0)", "j = j - (1 if x[n] <= t[j] else 0)",
        "bspline",
    ),
    Mutant(
        "silu'' halved", "kernels/spline_layer.py",
        "s[2, n] = 2.0 * slope + c * second", "s[2, n] = slope + c * second", "inputs jets pinn",
    ),
    # --------------------------------------------------------------------------------------- bases and functions
    Mutant(
        "wrong sign in a recurrence", "bases.py",
        "T.append(2 * product(s, T[-1]) - T[-2])", "T.append(2 * product(s, T[-1]) + T[-2])", "bases",
    ),
    Mutant(
        "Taylor coefficients for derivatives", "bases.py",
        "np.stack(T[: self.size], -1) * factorial[..., None]", "np.stack(T[: self.size], -1)", "bases",
    ),
    Mutant(
        "derivative of a power of too high a degree", "functions.py",
        "lambda x, c=c, m=n - k: c * x**m", "lambda x, c=c, m=n - k: c * x ** (m + 1)", "functions",
    ),
    Mutant(
        "combinations for permutations", "power_relu.py",
        "math.perm(self.degree, m) * power / h**m", "math.comb(self.degree, m) * power / h**m", "bases",
    ),
    Mutant(
        "change of basis of a neighbour", "power_relu.py",
        "product * ((t[..., None, l : l + K] - t[..., :K, None]) / h)",
        "product * ((t[..., None, l - 1 : l - 1 + K] - t[..., :K, None]) / h)", "change-of-basis",
    ),
    Mutant(
        "exterior knots by the wrong span", "free_knots.py",
        "E[d + n + k, -2:] += (-k, 1 + k)", "E[d + n + k, :2] += (-k, 1 + k)", "free-knots",
    ),
    # ------------------------------------------------------------------------------- weights, nodes, edges, jets
    Mutant(
        "forgotten mask in a gradient", "weights.py",
        "return self.inner.pullback(arrays, W_bar * self.mask[:, :, None].astype(W_bar.dtype))",
        "return self.inner.pullback(arrays, W_bar)", "gradients",
    ),
    Mutant(
        "scale left out of its gradient", "weights.py",
        '{**self.inner.pullback(arrays, W_bar * arrays["scale"][:, :, None]), "scale": scale_bar}',
        '{**self.inner.pullback(arrays, W_bar), "scale": scale_bar}', "gradients",
    ),
    Mutant(
        "adapter's factor squared in its gradient", "weights.py",
        "return self.adapter.pullback(arrays, self.scale * W_bar)",
        "return self.adapter.pullback(arrays, self.scale**2 * W_bar)", "lotra",
    ),
    Mutant(
        "product rule with a dropped factor", "nodes.py",
        "                    if j != i:\n", "                    if j > i:\n", "gradients inputs",
    ),
    Mutant(
        "bias of the subnodes after the product", "nodes.py",
        'self._affine(arrays, "node", self._multiply(self._affine(arrays, "subnode", u)))',
        'self._affine(arrays, "node", self._affine(arrays, "subnode", self._multiply(u)))', "nodes",
    ),
    Mutant(
        "formula's factor left out of an adjoint", "edges.py",
        "u_bar = jets.lift_pullback(t, u, c * v_bar[..., None])", "u_bar = jets.lift_pullback(t, u, v_bar[..., None])",
        "gradients inputs",
    ),
    Mutant(
        "product rule of second order without its 2", "jets.py",
        "a_2 * b_0 + 2 * a_1 * b_1 + a_0 * b_2", "a_2 * b_0 + a_1 * b_1 + a_0 * b_2", "inputs jets",
    ),
    Mutant(
        "chain rule without f'' z'^2", "jets.py",
        "b[2] * z_1**2 + b[1] * z_2]", "b[1] * z_2]", "inputs jets pinn",
    ),
    # ------------------------------------------------------------------------------------------------ objectives
    Mutant(
        "missing factor of a loss", "objectives.py",
        "np.square(r).sum() / r.size, (2 / r.size) * r", "np.square(r).sum() / r.size, (1 / r.size) * r", "losses",
    ),
    Mutant(
        "mixed derivative without polarisation", "objectives.py",
        "(second[d] - second[i] - second[j]) / 2", "second[d] / 2", "pinn",
    ),
    Mutant(
        "sign of a label", "objectives.py",
        "np.maximum(f, 0) + np.log1p(e) - y * f", "np.maximum(f, 0) + np.log1p(e) + y * f", "losses",
    ),
    # ----------------------------------------------------------------------------------------------------- grids
    Mutant(
        "round for floor", "grids/rules.py",
        "(N / G * np.arange(G)).astype(int)", "np.rint(N / G * np.arange(G)).astype(int)", "grids",
    ),
    Mutant(
        "float32 slip", "grids/rules.py",
        "x = np.sort(x.astype(np.float64), 0)", "x = np.sort(x.astype(np.float32), 0)", "grids",
    ),
    Mutant(
        "step of the wrong grid", "grids/rules.py",
        "step if rule.uniform_step else", "step if not rule.uniform_step else", "grids updates",
    ),
    Mutant(
        "swapped index of an insertion", "grids/insertion.py",
        "(1 - a[:, 1:]) * R[:-1, 1:]", "(1 - a[:, :-1]) * R[:-1, 1:]", "insertion refinement",
    ),
    Mutant(
        "ratio turned round", "grids/least_squares.py",
        "inner[:, :1] + (basis.knots[:, :d] - inner[:, :1]) * (G / intervals)",
        "inner[:, :1] + (basis.knots[:, :d] - inner[:, :1]) * (intervals / G)", "extension",
    ),
    Mutant(
        "pseudo-inverse for the adjoint", "multilevel/transfer.py",
        "(mode, np.swapaxes(M, -1, -2))", "(mode, np.linalg.pinv(M))", "prolongation",
    ),
    # -------------------------------------------------------------------------------------------------- sparsity
    Mutant(
        "deviation over N", "sparsify/metrics.py",
        "s = np.sqrt(np.square(centred).sum(0) / (len(a) - 1))", "s = np.sqrt(np.square(centred).sum(0) / len(a))",
        "magnitudes attribution",
    ),
    Mutant(
        "wrong base of a logarithm", "sparsify/metrics.py",
        "log = np.log2(p + SMALL)", "log = np.log(p + SMALL)", "penalties",
    ),
    Mutant(
        "inputs' share of a gradient dropped", "sparsify/metrics.py",
        "deviation_pullback(of_phi, r_bar), deviation_pullback(of_x, -(V * r_bar).sum(0))",
        "deviation_pullback(of_phi, r_bar), deviation_pullback(of_x, 0 * (V * r_bar).sum(0))", "penalties",
    ),
    Mutant(
        "outgoing scores forgotten", "sparsify/attribution.py",
        "nodes = [np.minimum(i, o) for i, o in zip(incoming, outgoing)]",
        "nodes = [np.where(np.isinf(i), o, i) for i, o in zip(incoming, outgoing)]", "attribution",
    ),
    # --------------------------------------------------------------------------------------------------- tensors
    Mutant(
        "transposed axes", "tensors.py",
        'np.einsum("abc->bac", core).reshape(b * a, c)', "core.reshape(b * a, c)", "tucker lotra",
    ),
    Mutant(
        "the last singular vectors for the first", "tensors.py",
        "full_matrices=rank > min(A.shape))[0][:, :rank]", "full_matrices=rank > min(A.shape))[0][:, -rank:]", "hosvd",
    ),
    # ------------------------------------------------------------------------------------------------ optimisers
    Mutant(
        "wrong bias correction", "optimize/adam.py",
        "np.divide(v, 1 - beta2**t, work)", "np.divide(v, 1 - beta1**t, work)", "adam",
    ),
    Mutant(
        "eps within the root", "optimize/adam.py",
        "            np.sqrt(work, work)\n            np.add(work, eps, work)\n",
        "            np.add(work, eps, work)\n            np.sqrt(work, work)\n", "adam",
    ),
    Mutant(
        "curvature pairs in the wrong order", "optimize/lbfgs.py",
        "for s, y, product in zip(reversed(S), reversed(Y), reversed(products), strict=True):",
        "for s, y, product in zip(S, Y, products, strict=True):", "lbfgs",
    ),
    Mutant(
        "scaled by the oldest pair", "optimize/lbfgs.py",
        "direction *= products[-1] / dot(Y[-1], Y[-1])", "direction *= products[0] / dot(Y[0], Y[0])", "lbfgs",
    ),
)  # fmt: skip


class Verdict(NamedTuple):
    """failures: [[case, precision, why], ...], None if the mutant cannot be asked; trouble: why not."""

    mutant: Mutant
    failures: list | None
    trouble: str = ""

    @property
    def caught(self):
        return bool(self.failures)


def changed(text, mutant):
    """A file's text with the mistake made; ValueError unless the old text stands in it exactly once."""
    if (count := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.name!r}: {mutant.file} must have its old text once, but has it {count} times")
    return text.replace(mutant.old, mutant.new)


def judged(mutants=MUTANTS):
    """Yields the `Verdict` on each mutant. RuntimeError if the copy fails without one."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "kanref"
        shutil.copytree(Path(kanref.__file__).parent, home, ignore=shutil.ignore_patterns("__pycache__"))
        failures, trouble = ask(folder, sorted({group for mutant in mutants for group in mutant.groups.split()}))
        if failures or trouble:
            raise RuntimeError(f"the copy without a mutant must pass, but {trouble or failures[0]}")
        for mutant in mutants:
            path = home / mutant.file
            text = path.read_text("utf-8")
            path.write_text(changed(text, mutant), "utf-8")
            yield Verdict(mutant, *ask(folder, mutant.groups.split()))
            path.write_text(text, "utf-8")


def ask(folder, groups):
    """Failures of the package in a folder on some groups, and what went wrong instead of an answer."""
    own = {"PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    call = [sys.executable, "-c", ASK, *groups]
    try:
        done = subprocess.run(
            call, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"it did not end within {SECONDS} seconds"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1]), ""


def table(verdicts):
    """Verdicts as text."""
    rows = [("mutant", "file", "verdict", "failures", "first")]
    for mutant, failures, trouble in verdicts:
        first = f"{failures[0][0]} ({failures[0][1]})" if failures else trouble
        verdict = "caught" if failures else "missed" if failures is not None else "broken"
        rows.append((mutant.name, mutant.file, verdict, len(failures or ()), first))
    text = aligned(rows, 1).split("\n")
    caught = sum(verdict.caught for verdict in verdicts)
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:], "", f"{caught} of {len(verdicts)} mutants caught"])


def main(names):
    """Prints the table; returns 1 if a mutant is missed."""
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        sys.exit(f"mutants are {', '.join(mutant.name for mutant in MUTANTS)}, but got {', '.join(sorted(unknown))}")
    chosen, verdicts = [mutant for mutant in MUTANTS if not names or mutant.name in names], []
    for verdict in judged(chosen):
        verdicts.append(verdict)
        sys.stderr.write(f"\r{len(verdicts)} of {len(chosen)} ")
        sys.stderr.flush()
    sys.stderr.write("\r")
    sys.stdout.write(table(verdicts) + "\n")
    return 0 if all(verdict.caught for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
