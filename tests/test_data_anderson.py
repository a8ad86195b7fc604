"""Anderson localisation: Hamiltonians, eigenstates and the mobility edges that theory knows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import eigh

from kanref.data.anderson import CHAINS, GAAM, MAAM, MOSAIC, approximant, fractal_dimension, gaam, maam, mosaic

ALL = list(CHAINS.values())
SITES = 144
PARAMETERS = {"mosaic": (0.7,), "GAAM": (0.7, 0.4), "MAAM": (1.3, 1.1)}


def test_approximants_of_the_golden_ratio():
    assert approximant(144) == 89 / 144
    assert abs(approximant(610) - (5**0.5 - 1) / 2) < 1 / (5**0.5 * 610**2) * 1.001  # the best there is: Hurwitz
    with pytest.raises(ValueError, match="sites must be a Fibonacci number, .* but it is 200; try 233"):
        approximant(200)


def test_fractal_dimension_of_one_site_and_of_all():
    u = np.zeros((SITES, 3))
    u[:, 0] = SITES**-0.5
    u[5, 1] = 1
    u[:12, 2] = 12**-0.5
    assert_allclose(fractal_dimension(u), [1, 0, 0.5], atol=1e-14)


@pytest.mark.parametrize("chain", ALL, ids=lambda chain: chain.name)
def test_hamiltonians_act_as_the_equations_say(chain):
    phase, parameters = 0.3, PARAMETERS[chain.name]
    H = chain.hamiltonian(SITES, phase, *parameters)
    assert_array_equal(H, H.T)
    u, n = np.random.default_rng(0).normal(size=SITES), np.arange(SITES)
    c = np.cos(2 * np.pi * n * 89 / 144 + phase)
    if chain is MAAM:
        distances = np.arange(1, SITES // 2)
        expected = sum(np.exp(-parameters[1] * (d - 1)) * (np.roll(u, d) + np.roll(u, -d)) for d in distances)
        expected += np.exp(-parameters[1] * (SITES / 2 - 1)) * np.roll(u, SITES // 2)
        potential = parameters[0] * c
    else:
        expected = np.roll(u, 1) + np.roll(u, -1)
        potential = 2 * parameters[0] * (c / (1 - parameters[1] * c) if chain is GAAM else np.where(n % 2, 0, c))
    assert_allclose(H @ u, expected + potential * u, atol=1e-12)


def test_limits_are_the_model_of_aubry_and_andre():
    assert_allclose(gaam(SITES, 0.2, 1.3, 0.0), maam(SITES, 0.2, 2.6, 40.0), atol=1e-15)


def test_localised_states_of_aubry_and_andre_decay_as_the_potential_to_the_minus_distance():
    # all of one length: 1/log(lambda)
    u = np.abs(eigh(gaam(233, 0.4, 2.0, 0.0))[1])
    distance = np.arange(5, 40)
    for state in u.T[::40]:
        tail = np.roll(state, -state.argmax())
        rate = -np.polyfit(distance, np.log(tail[distance]), 1)[0]
        assert abs(rate - np.log(2)) < 0.1
        assert fractal_dimension(state) < 0.3


def test_mosaic_states_at_zero_energy_never_localise():
    # a_2 = E: the edge |lambda E| = 1 leaves E = 0 extended however strong the potential
    E, u = eigh(mosaic(610, 0.4, 4.0))
    assert fractal_dimension(u[:, np.abs(E) < 0.1]).mean() > 0.6
    assert fractal_dimension(u[:, np.abs(E) > 1]).max() < 0.5


@pytest.mark.parametrize("chain", ALL, ids=lambda chain: chain.name)
def test_eigenvectors_agree_with_the_mobility_edge(chain):
    states = chain.sample(12, 60, seed=3, sites=610 if chain is MOSAIC else 233)
    agreement = (states.localised == chain.theory(states.X)).mean()
    assert 0.985 < agreement
    assert 0.2 < states.localised.mean() < 0.8
    # and with nothing else: a shifted edge is worse
    E = np.ptp(states.X[:, 0]) / 20
    for shift in (-E, E):
        shifted = states.X + shift * (np.arange(states.X.shape[1]) == 0)
        assert (states.localised == chain.theory(shifted)).mean() < agreement


@pytest.mark.parametrize("chain", ALL, ids=lambda chain: chain.name)
def test_samples_are_deterministic_in_their_ranges_and_named(chain):
    a, b = (chain.sample(3, 5, seed=1, sites=SITES) for _ in range(2))
    assert_allclose(a.X, b.X, rtol=1e-12, atol=1e-12)
    assert a.X.shape == (15, len(a.names)) and a.names == ("E", *chain.parameters, "phi")
    assert_array_equal(a.system, np.repeat([0, 1, 2], 5))
    for column, (low, high) in zip(a.X[:, 1:].T, (*chain.parameters.values(), (0, 2 * np.pi))):
        assert low <= column.min() and column.max() <= high
    assert (0 <= a.dimension).all() and (a.dimension <= 1).all()
    for k in range(3):  # energies are eigenvalues of the chain that the row describes
        row = a.X[5 * k]
        H = chain.hamiltonian(SITES, row[-1], *row[1:-1])
        assert np.abs(np.linalg.eigvalsh(H) - row[0]).min() < 1e-10


def test_bad_samples_are_refused():
    with pytest.raises(ValueError, match="each .* 233"):
        GAAM.sample(1, 500)
    with pytest.raises(ValueError, match="sites of a mosaic ring must be even"):
        MOSAIC.sample(1, 5, sites=233)
