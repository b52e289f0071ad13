"""Independent paths from frames of a known distribution: shares of channels and times against exact answers."""

import math

import numpy as np
import pytest
from chains import shots_with_paths
from surfaces import make_surface, table
from test_shooting import double_well, unbiased_paths

from tps.analysis import reweighted_channel_weights, reweighted_transition_time
from tps.conformations import bias_energies, states_next_and_last
from tps.dynamics import OUTSIDE, SurfaceDynamics, sample_surface
from tps.engine import PlatformChoice, local_executor
from tps.errors import ParameterError
from tps.paths import ReweightedPaths, shoot_from_frames
from tps.systems import load_system


def ring_energy(x):
    """Two barriers of 5.5 and 2.5 kT between wells at 0 and π."""
    return 4 * np.sin(x) ** 2 + 1.5 * np.sin(x)


@pytest.fixture(scope="module")
def ring():
    surface = make_surface(table(ring_energy, 720, True), periodic=True, b=math.pi - 1e-6, a=0.0, margin=0.35)
    return SurfaceDynamics(surface, 0.004)


EVEN = np.linspace(-math.pi, math.pi, 4000, endpoint=False)[:, None]


def test_paths_are_spread_as_their_weights_say():
    """Of eight from 1 : 2 : 5, one, two and five, whatever chance says."""
    paths = tuple(np.full((3, 1), float(number)) for number in range(3))
    made = ReweightedPaths(paths, shots_with_paths(np.log([1.0, 2.0, 5.0]), 3))
    assert [int(path[0, 0]) for path in made.spread(8)] == [0, 1, 1, 2, 2, 2, 2, 2]


def test_ways_apart_get_their_shares_of_few_paths():
    """A third of 300 paths about 1, the others about -1, in random order: a third of 12, 30, 90 to within one."""
    rng = np.random.default_rng(3)
    side = rng.permuted(np.repeat([1.0, -1.0], [100, 200]))
    paths = tuple(at + 0.1 * rng.normal(size=(5, 2)) for at in side)
    made = ReweightedPaths(paths, shots_with_paths(rng.normal(0.0, 0.3, size=300), 300))
    share = np.exp(made.log_weights)[side > 0].sum()
    for n in (12, 30, 90):
        taken = np.array([path.mean() > 0 for path in made.spread(n, lambda x: x)])
        assert abs(taken.sum() - n * share) <= 1


def exact_share():
    """Of the way over the higher barrier: the current through an arc is 1/∫ e^u over it (Kramers 1940)."""
    x = np.linspace(0.35, math.pi - 0.35, 4001)
    high, low = (1 / np.trapezoid(np.exp(ring_energy(way * x)), x) for way in (1, -1))
    return high / (high + low)


def share_of_high(paths, weights):
    turns = [np.unwrap(p[:, 0])[-1] > np.unwrap(p[:, 0])[0] for p in paths.positions]
    return float(weights[np.array(turns)].sum() / weights.sum())


@pytest.mark.parametrize("n_learning", [0, 12, 150])
@pytest.mark.parametrize("flat", [True, False])
def test_both_ways_round_a_ring_get_their_shares(ring, flat, n_learning):
    """From points spread evenly (S = e^u) and from Boltzmann points (S = 1); weights all alike are far off."""
    frames, rng = EVEN, np.random.default_rng(0)
    if not flat:
        chance = np.exp(-ring_energy(EVEN[:, 0]))
        frames = EVEN[rng.choice(len(EVEN), 20_000, p=chance / chance.sum())]
    selection = (lambda x: ring_energy(x[:, 0])) if flat else (lambda x: np.zeros(len(x)))
    n_shots = 3000 if flat else 12_000
    found = shoot_from_frames(
        ring, frames, selection, n_shots=n_shots, seed=1, max_frames=20_000, n_learning=n_learning
    )
    assert found.n_shots == n_shots and len(found) > 100
    weights = np.exp(found.log_weights)
    assert weights.sum() == pytest.approx(1)
    shares = reweighted_channel_weights(ring.system, found)
    error = min(m.error for m in shares.values())
    assert (
        abs(share_of_high(found, weights) - exact_share()) < 4 * error + 0.002
    )  # and the time step's first order
    assert sum(m.value for m in shares.values()) == pytest.approx(1)
    if flat:
        assert share_of_high(found, np.ones(len(found))) > 4 * exact_share()


def test_times_are_those_of_a_long_run():
    """Mean duration and mean square, reweighted, against paths cut from a free run: within 4 standard errors."""
    dynamics, _ = double_well()
    cut = np.array([len(p) for p in unbiased_paths(dynamics, 300, 6000)], dtype=float)
    x = np.linspace(-1.6, 1.6, 3000)[:, None]
    found = shoot_from_frames(
        dynamics,
        x,
        lambda p: dynamics.system.energy(p) / dynamics.system.kt,
        n_shots=3000,
        seed=2,
        max_frames=20_000,
        n_learning=200,
    )
    weights, lengths = np.exp(found.log_weights), np.array([len(p) for p in found.positions], dtype=float)
    metric = reweighted_transition_time(found, dynamics.frame_time)
    assert metric.value == pytest.approx((weights @ lengths - 1) * dynamics.frame_time)
    assert 0 < metric.error < 0.1 * metric.value
    for power in (1, 2):
        mean = weights @ lengths**power
        spread = np.sqrt(weights @ (lengths**power - mean) ** 2 / found.effective_paths)
        error = math.hypot(spread, (cut**power).std() / math.sqrt(len(cut)))
        assert abs(mean - (cut**power).mean()) < 4 * error
        assert error < 0.1 * mean


def test_plain_dynamics_teaches_where_to_shoot(ring):
    """Where its walkers go next and were last, in place of shots: more transitions, and the same shares."""
    rng, interval = np.random.default_rng(3), 10
    walk = sample_surface(ring.system, EVEN[::100], 3000, interval, rng, timestep=ring.timestep).positions
    frames = walk.reshape(-1, 1)
    walker = np.repeat(np.arange(len(walk)), walk.shape[1])
    known = states_next_and_last(walker, ring.states(frames), OUTSIDE)

    def shots(**options):
        return shoot_from_frames(
            ring, frames, lambda x: np.zeros(len(x)), n_shots=4000, seed=1, max_frames=20_000, **options
        )

    blind, taught = shots(), shots(known_ends=known)
    assert not len(blind.shots.taught) and 1000 < len(taught.shots.taught) <= 2000
    assert (taught.shots.lessons == known[taught.shots.taught]).all() and (taught.shots.lessons >= 0).all()
    assert (ring.states(frames[taught.shots.taught]) == OUTSIDE).all()
    assert len(taught) > 1.5 * len(blind)
    error = min(m.error for m in reweighted_channel_weights(ring.system, taught).values())
    assert abs(share_of_high(taught, np.exp(taught.log_weights)) - exact_share()) < 4 * error + 0.002
    again = shoot_from_frames(
        ring,
        frames,
        lambda x: np.zeros(len(x)),
        n_shots=10,
        seed=2,
        max_frames=20_000,
        taught_by=taught.shots,
    )
    np.testing.assert_allclose(again.shots.choice, taught.shots.choice)


def test_seeds_workers_and_refusals(ring):
    def run(executor=None, seed=1):
        return shoot_from_frames(
            ring,
            EVEN[::40],
            lambda x: ring_energy(x[:, 0]),
            n_shots=60,
            seed=seed,
            max_frames=5000,
            executor=executor,
        )

    with local_executor("threads", 2) as executor:
        one, two = run(), run(executor)
    np.testing.assert_array_equal(one.log_weights, two.log_weights)
    assert not np.array_equal(one.shots.ends, run(seed=2).shots.ends)
    with pytest.raises(ParameterError, match="outside both states"):
        shoot_from_frames(ring, np.zeros((5, 1)), lambda x: x[:, 0], n_shots=5, seed=0, max_frames=9)
    nothing = ReweightedPaths((), shots_with_paths([], 4))
    assert reweighted_channel_weights(ring.system, nothing) == {}
    assert nothing.effective_paths == 0


def test_a_frozen_bias_is_read_off_its_grid():
    """At the grid's own angles the energy is the table's (last torsion first), to single precision of the frames."""
    system = load_system("alanine-dipeptide")
    n = 24
    grid = np.linspace(-math.pi, math.pi, n + 1)
    phi, psi = np.meshgrid(grid, grid)  # rows: psi
    bias = 10 * np.cos(phi) + 5 * np.sin(psi) * np.cos(phi)
    found = bias_energies(
        system.n_atoms, system.features.variables, bias, system.ends, PlatformChoice("Reference")
    )
    angles = system.feature_values(system.ends)
    expected = 10 * np.cos(angles[:, 0]) + 5 * np.sin(angles[:, 1]) * np.cos(angles[:, 0])
    np.testing.assert_allclose(found, expected, atol=0.05)  # a spline through 15° steps
