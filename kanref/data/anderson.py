"""Anderson localisation in one dimension: eigenstates of quasi-periodic chains, extended or localised (Liu et al., section 4.4).

    states = data.anderson.GAAM.sample(systems=100, each=16, seed=0)
    states.X, states.localised               energies and parameters (N, 4), labels (N,)

    mosaic   t (u_{n+1} + u_{n-1}) + V_n u_n = E u_n,   V_n = 2 lambda cos(2 pi n b + phi) at even n, 0 at odd n
    GAAM     the same with   V_n = 2 lambda cos(2 pi n b + phi)/(1 - alpha cos(2 pi n b + phi))
    MAAM     sum_{m != n} t e^{-p (|n - m| - 1)} u_m + lambda cos(2 pi n b + phi) u_n = E u_n

with t = 1 and b the golden ratio. States are localised beyond a mobility edge that is known exactly:

    mosaic   |lambda E| > t                          Wang et al., Phys. Rev. Lett. 125, 196604 (2020), kappa = 2
    GAAM     alpha E > 2 (t - lambda)                Ganeshan, Pixley, Das Sarma, Phys. Rev. Lett. 114, 146601 (2015)
    MAAM     lambda cosh p > E + t e^p               Biddle, Das Sarma, Phys. Rev. Lett. 104, 070601 (2010)

Labels never come from these formulas but from eigenvectors u, |u| = 1: their inverse participation ratio sum u_n^4 is 1/N for
a state spread over N sites and 1 for one on a single site, so that the fractal dimension D = -log(sum u_n^4)/log N goes to 1
or 0 for N -> infinity; a state with D < 1/2 is called localised. N is finite: a few states near the edge get the other label.

Chains are closed to rings, which have no states at ends: N is a Fibonacci number and b the quotient of two of them, the best
approximation with that denominator. The paper gives neither N nor ranges; those here hold about as many localised as extended
states.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kanref import arrays as border


@dataclass(frozen=True, eq=False)
class States:
    """Eigenstates. names: of the columns, E first and the phase last; X (N, n); dimension (N,): fractal dimension D;
    system (N,): which chain a state belongs to, to keep chains together when data are split."""

    names: tuple[str, ...]
    X: np.ndarray
    dimension: np.ndarray
    system: np.ndarray

    @property
    def localised(self):
        """1 where D < 1/2, else 0."""
        return (self.dimension < 0.5).astype(int)


@dataclass(frozen=True, eq=False)
class Chain:
    """A family of chains.

    parameters: {name: (low, high)} of what is drawn, besides the phase; hamiltonian(sites, phase, *parameters) -> (N, N);
    edge(E, *parameters) -> positive beyond the mobility edge, where states are localised; formula: the edge in words;
    sites: N.
    """

    name: str
    parameters: dict[str, tuple[float, float]]
    hamiltonian: Callable = field(repr=False)
    edge: Callable = field(repr=False)
    formula: str
    sites: int

    @property
    def names(self):
        return ("E", *self.parameters, "phi")

    def theory(self, X):
        """1 where the mobility edge says localised, else 0; X (N, n) with the columns `names`."""
        return (self.edge(*border.points(X, len(self.names)).T[:-1]) > 0).astype(int)

    def sample(self, systems, each, seed=0, sites=None):
        """`States`: `each` random eigenstates of each of so many chains, whose parameters and phases are uniform.

        sites: another Fibonacci number. The work is that of dense eigenvectors, sites^3 for each chain.
        """
        from scipy.linalg import eigh

        sites = self.sites if sites is None else sites
        border.integer(systems, "systems", 1)
        border.integer(each, "each", 1, sites)
        rng, X, D = np.random.default_rng(seed), [], []
        low, high = np.array([*self.parameters.values(), (0, 2 * np.pi)]).T
        for _ in range(systems):
            drawn = rng.uniform(low, high)
            E, u = eigh(self.hamiltonian(sites, drawn[-1], *drawn[:-1]), driver="evd", overwrite_a=True)
            chosen = rng.choice(sites, each, replace=False)
            X.append(np.column_stack([E[chosen], np.tile(drawn, (each, 1))]))
            D.append(fractal_dimension(u[:, chosen]))
        return States(self.names, np.concatenate(X), np.concatenate(D), np.repeat(np.arange(systems), each))


def fractal_dimension(u):
    """D = -log(sum_n |u_n|^4)/log N of normalised states u (N, states): (states,)."""
    return -np.log((np.abs(u) ** 4).sum(0)) / np.log(len(u))


def approximant(sites):
    """b = F_{k-1}/F_k for sites = F_k. ValueError if sites is no Fibonacci number of at least 3."""
    before, now = 2, 3
    while now < sites:
        before, now = now, before + now
    if now != sites:
        raise ValueError(f"sites must be a Fibonacci number, as 144, 233, 377, 610, but it is {sites}; try {now}")
    return before / now


def _wave(sites, phase):
    """cos(2 pi n b + phase)."""
    return np.cos(2 * np.pi * np.arange(sites) * approximant(sites) + phase)


def _ring(hopping, potential):
    """hopping (N // 2 + 1,) by distance on the ring, potential (N,) by site."""
    n = np.arange(len(potential))
    distance = np.abs(n[:, None] - n)
    H = hopping[np.minimum(distance, len(n) - distance)]
    H[n, n] = potential
    return H


def _neighbours(sites):
    return (np.arange(sites // 2 + 1) == 1).astype(float)


def mosaic(sites, phase, lambda_):
    """The mosaic model's H, kappa = 2; sites must be even."""
    if sites % 2:
        raise ValueError(f"sites of a mosaic ring must be even, as 144 or 610, but it is {sites}")
    return _ring(_neighbours(sites), np.where(np.arange(sites) % 2, 0, 2 * lambda_ * _wave(sites, phase)))


def gaam(sites, phase, lambda_, alpha):
    """The generalised Aubry-Andre model's H; alpha = 0 is the model of Aubry and Andre, critical at lambda = 1."""
    c = _wave(sites, phase)
    return _ring(_neighbours(sites), 2 * lambda_ * c / (1 - alpha * c))


def maam(sites, phase, lambda_, p):
    """The H of hopping that falls off exponentially; p -> infinity is the model of Aubry and Andre, critical at lambda = 2."""
    return _ring(np.exp(-p * (np.arange(sites // 2 + 1) - 1.0)), lambda_ * _wave(sites, phase))


MOSAIC = Chain(
    "mosaic",
    {"lambda": (0.1, 2.0)},
    mosaic,
    lambda E, lambda_: np.abs(lambda_ * E) - 1,
    "|lambda E| > 1",
    610,
)
GAAM = Chain(
    "GAAM",
    {"lambda": (0.1, 1.9), "alpha": (0.0, 0.8)},
    gaam,
    lambda E, lambda_, alpha: alpha * E - 2 * (1 - lambda_),
    "alpha E > 2 (1 - lambda)",
    233,
)
MAAM = Chain(
    "MAAM",
    {"lambda": (0.5, 4.0), "p": (0.5, 3.0)},
    maam,
    lambda E, lambda_, p: lambda_ * np.cosh(p) - E - np.exp(p),
    "lambda cosh p > E + exp p",
    233,
)
CHAINS = {chain.name: chain for chain in (MOSAIC, GAAM, MAAM)}
