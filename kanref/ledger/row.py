"""A row of the ledger: one thing that libraries get wrong, as a case that can be run.

A *finding* is a dictionary {quantity: number, list of numbers, bool or text}. The right one comes from a derivation (exact
fractions, a theorem, a definition), kanref's from its own public functions, a peer's from a probe that runs in the peer's
interpreter. Where no interpreter can have the peer, `wrong` evaluates the published formula.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Row:
    """number: "B1"; peers: who is concerned, names of `kanref.ledger.peers.PEERS`, and others that cannot be asked.

    right() and ours() -> finding: what must come out, and what kanref gives. derivation: why; reproduce: what is done. wrong:
    {peer: function -> finding}, the published formula in NumPy, for peers that cannot be installed. switch: the call of kanref
    that gives the published value, empty if there is none. tolerance: relative, of every quantity against its largest
    entry; or agrees(right, found) -> bool where that does not do.
    """

    number: str
    title: str
    peers: tuple[str, ...]
    right: Callable[[], dict]
    ours: Callable[[], dict]
    derivation: str
    reproduce: str
    wrong: dict[str, Callable[[], dict]] = field(default_factory=dict)
    switch: str = ""
    tolerance: float = 1e-9
    agrees: Callable[[dict, dict], bool] | None = None

    def met(self, found):
        """Whether a finding is right."""
        right = self.right()
        if self.agrees is not None:
            return self.agrees(right, found)
        return all(name in found and near(right[name], found[name], self.tolerance) for name in right)


def near(a, b, tolerance):
    """Whether two values of findings are the same: numbers within the tolerance times the largest of a, all else exactly."""
    if isinstance(a, bool | str) or isinstance(b, bool | str):
        return a == b
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or not np.isfinite(b).all():
        return False
    return bool(np.abs(a - b).max(initial=0) <= tolerance * (np.abs(a).max(initial=0) or 1))
