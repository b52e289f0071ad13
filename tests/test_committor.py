"""Committors against closed forms: a birth-death chain, the discrete-time operator, the backward equation."""

import numpy as np
import pytest
from chains import BirthDeathChain
from scipy.stats import norm
from surfaces import make_surface
from test_shooting import double_well, shot_paths

from tps.dynamics import SurfaceDynamics
from tps.engine import local_executor
from tps.errors import ParameterError
from tps.paths import (
    CommittorEstimate,
    ShootingSettings,
    committor_histogram,
    estimate_committor,
    find_transition_states,
)
from tps.systems import DoubleWell


def z_scores(estimate, exact):
    return (estimate.p_b - exact) / np.sqrt(exact * (1 - exact) / estimate.n_finished)


def test_birth_death_chain_has_the_closed_form():
    chain = BirthDeathChain.symmetric_barrier(11, 2.0)
    inner = np.arange(1, 10)
    estimate = estimate_committor(chain, inner[:, None], 1500, seed=0, max_frames=100_000)
    assert (estimate.n_finished == 1500).all()
    assert np.abs(z_scores(estimate, chain.committor[inner])).max() < 4
    np.testing.assert_allclose(chain.transition_matrix[1:-1] @ chain.committor, chain.committor[1:-1])


def test_an_asymmetric_chain_too():
    rng = np.random.default_rng(3)
    chain = BirthDeathChain(np.append(rng.uniform(0.2, 0.5, 7), 0), np.append(0, rng.uniform(0.2, 0.5, 7)))
    inner = np.arange(1, 7)
    estimate = estimate_committor(chain, inner[:, None], 2000, seed=1, max_frames=100_000)
    assert np.abs(z_scores(estimate, chain.committor[inner])).max() < 4


def test_states_themselves_need_no_shot():
    chain = BirthDeathChain.symmetric_barrier(6, 1.0)
    estimate = estimate_committor(chain, [[0.0], [5.0]], 10, seed=0, max_frames=10)
    assert estimate.p_b.tolist() == [0.0, 1.0] and estimate.n_steps == 0


def test_unfinished_shots_are_counted_apart():
    """From site 4 of 0 .. 8 no shot can end in 3 steps; from site 2, A is 2 steps away, with chance down_2 down_1."""
    chain = BirthDeathChain.symmetric_barrier(9, 1.0)
    estimate = estimate_committor(chain, [[4.0], [2.0]], 400, seed=0, max_frames=3)
    assert estimate.n_unfinished[0] == 400 and np.isnan(estimate.p_b[0]) and np.isnan(estimate.error[0])
    inner = np.eye(9)
    inner[1:-1] = chain.transition_matrix[1:-1]
    p = np.linalg.matrix_power(inner, 3)[2, 0]
    assert abs(estimate.n_a[1] - 400 * p) < 4 * np.sqrt(400 * p * (1 - p))


def test_binomial_error_by_hand():
    counts = np.array([50]), np.array([50]), np.array([7]), np.array([0])
    assert CommittorEstimate(*counts, 0).error[0] == pytest.approx(0.5 / np.sqrt(104))
    nothing = np.array([0])
    assert CommittorEstimate(np.array([20]), nothing, nothing, nothing, 0).error[0] > 0.04


def test_double_well_solves_the_discrete_backward_equation():
    """p_B = K p_B for the kernel K of one step, on 1200 points by the midpoint rule (errors below 1e-6)."""
    system = make_surface(DoubleWell(3.0), margin=0.3)
    dynamics = SurfaceDynamics(system, 0.01)
    edges = np.linspace(-0.7, 0.7, 1201)
    x = (edges[1:] + edges[:-1]) / 2
    mean = x - 0.01 * system.gradient(x[:, None])[:, 0]
    sigma = np.sqrt(0.02)
    kernel = np.diff(norm.cdf((edges - mean[:, None]) / sigma), axis=1)
    into_b = norm.sf((0.7 - mean) / sigma)
    exact = np.linalg.solve(np.eye(1200) - kernel, into_b)
    starts = np.array([-0.5, -0.2, 0.0, 0.1, 0.4])
    estimate = estimate_committor(dynamics, starts[:, None], 2000, seed=0, max_frames=10_000)
    assert np.abs(z_scores(estimate, np.interp(starts, x, exact))).max() < 4


def test_double_well_approaches_the_backward_equation():
    """∫_a^x e^u / ∫_a^b e^u; walkers overshoot a and b by 0.5826 √(2 dτ) on average (Siegmund 1985), so these move."""
    system = make_surface(DoubleWell(3.0), margin=0.3)
    timestep = 5e-4
    edge = 0.7 + 0.5826 * np.sqrt(2 * timestep)
    grid = np.linspace(-edge, edge, 4001)
    weight = np.exp(system.energy(grid[:, None]))
    integral = np.concatenate([[0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    starts = np.array([-0.3, -0.1, 0.0, 0.2])
    estimate = estimate_committor(
        SurfaceDynamics(system, timestep), starts[:, None], 1000, seed=0, max_frames=50_000
    )
    assert np.abs(z_scores(estimate, np.interp(starts, grid, integral / integral[-1]))).max() < 4


def test_shots_do_not_depend_on_what_runs_beside_them():
    dynamics, _ = double_well()
    points = np.array([[-0.2], [0.1], [0.3]])
    here = estimate_committor(dynamics, points, 50, seed=3, max_frames=5000)
    with local_executor("threads", 2) as executor:
        there = estimate_committor(dynamics, points, 50, seed=3, max_frames=5000, executor=executor)
    np.testing.assert_array_equal(here.n_b, there.n_b)
    np.testing.assert_array_equal(
        estimate_committor(dynamics, points[:1], 50, seed=3, max_frames=5000).n_b, here.n_b[:1]
    )
    assert estimate_committor(dynamics, points, 50, seed=4, max_frames=5000).n_b.tolist() != here.n_b.tolist()


def test_bisection_finds_the_site_of_one_half():
    """Along 0 .. 20 the exact committor is 1/2 at site 10 by symmetry, and 0.36 and 0.64 two sites away."""
    chain = BirthDeathChain.symmetric_barrier(21, 1.5)
    path = np.arange(21.0)[:, None]
    found = find_transition_states(chain, [path, path[::2]], n_shots=200, seed=0, max_frames=100_000)
    sites = found.positions[:, 0].astype(int)
    assert np.abs(chain.committor[sites] - 0.5).max() < 0.2
    assert np.abs(z_scores(found.estimate, chain.committor[sites])).max() < 4


def test_transition_states_of_the_double_well():
    """100 shots each: mean p_B = 0.5 ± 0.1 with shots of their own, near x = 0, spread little more than binomially."""
    dynamics, line = double_well()
    paths, _ = shot_paths(dynamics, line, ShootingSettings(), 30, 20, 20)
    found = find_transition_states(dynamics, paths, n_shots=100, seed=1, max_frames=10_000)
    assert abs(found.estimate.p_b.mean() - 0.5) < 0.1
    assert np.abs(found.positions.mean()) < 0.1
    assert len(found.ensemble) > 15
    histogram = committor_histogram(found.estimate)
    assert histogram.counts.sum() == 30
    assert histogram.counts[3:7].sum() > 20
    assert histogram.binomial_deviation == pytest.approx(0.05, abs=0.002)
    assert histogram.binomial_deviation < histogram.deviation < 0.15


@pytest.mark.parametrize("options", [{"n_shots": 0}, {"max_frames": 0}, {"positions": [[np.nan]]}])
def test_bad_shots_are_refused(options):
    dynamics, _ = double_well()
    settings = {"positions": [[0.0]], "n_shots": 5, "max_frames": 5, **options}
    with pytest.raises(ParameterError, match="at least one shot"):
        estimate_committor(
            dynamics, settings["positions"], settings["n_shots"], seed=0, max_frames=settings["max_frames"]
        )


def test_bisection_needs_paths():
    dynamics, _ = double_well()
    with pytest.raises(ParameterError, match="at least 3 frames"):
        find_transition_states(dynamics, [np.zeros((2, 1))], n_shots=5, seed=0, max_frames=5)
