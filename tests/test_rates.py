"""Rates and ensembles against exact answers and long free runs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from chains import BirthDeathChain, shots_with_paths
from scipy.linalg import expm
from test_shooting import double_well, shot_paths, unbiased_paths

from tps.analysis import (
    Metric,
    channel_switches,
    channel_weights,
    ensemble_divergence,
    flux_from_a,
    frame_histogram,
    halves,
    jensen_shannon,
    mean_transition_time,
    path_channels,
    rate_from_flux,
    rates_from_shots,
    shot_rate_metrics,
    without_contradiction,
)
from tps.analysis.rates import ratio_of_sums
from tps.dynamics import IN_A, IN_B, OUTSIDE, MoleculeDynamics, SurfaceDynamics, sample_surface
from tps.engine import LangevinSettings, PlatformChoice, local_executor, map_tasks
from tps.errors import ParameterError
from tps.paths import FrameShots, ShootingSettings, TransitionPaths, shoot_from_frames
from tps.systems import load_system


def exact_rate(chain):
    """Reactive flux over the share of time coming from A: π_A Σ_j K_Aj p_j / Σ π (1 - p), by detailed balance."""
    p, weights = chain.committor, chain.stationary
    return weights[0] * (chain.transition_matrix[0] @ p) / (weights @ (1 - p))


def beyond_site_2(positions):
    return positions[:, 0] > 2


@pytest.mark.parametrize("beyond", [None, beyond_site_2])
def test_rate_of_a_birth_death_chain_is_exact_whatever_the_surface(beyond):
    chain = BirthDeathChain.symmetric_barrier(9, 2.0)
    flux = flux_from_a(chain, np.zeros((20, 1)), 2500, seed=0, beyond=beyond)
    rate = rate_from_flux(chain, flux, 4, seed=1, max_frames=100_000)
    assert rate.n_unfinished == 0
    assert abs(rate.value - exact_rate(chain)) < 4 * rate.error
    assert rate.error < 0.15 * rate.value
    assert rate.value == pytest.approx(rate.flux[0] * rate.p_b)
    crossed = flux.points[:, 0]
    assert (crossed > 2).all() if beyond else (crossed >= 1).all()


def counted_rate(walks, frame_time):
    """Transitions A → B per time since A, of walks (n_frames,) of states that start in A, and its standard error."""
    counts, times = np.zeros(len(walks)), np.zeros(len(walks))
    for i, where in enumerate(walks):
        visits = np.flatnonzero(where >= 0)
        states = np.concatenate([[IN_A], where[visits]])
        counts[i] = np.sum((states[:-1] == IN_A) & (states[1:] == IN_B))
        since = states[np.searchsorted(visits, np.arange(len(where)), side="right")]
        times[i] = (since == IN_A).sum() * frame_time
    return ratio_of_sums(counts, times)


def test_rate_of_the_double_well_is_that_of_a_long_run():
    """Transitions of 600 walkers per time since A, against flux and committor from walkers of their own."""
    dynamics, _ = double_well()
    system, n_frames = dynamics.system, 6000
    rng = np.random.default_rng(1)
    starts = np.tile(system.point_a, (600, 1))
    walks = sample_surface(system, starts, n_frames, 1, rng, timestep=dynamics.timestep).positions
    counted, error = counted_rate([dynamics.states(walk) for walk in walks], dynamics.frame_time)
    flux = flux_from_a(dynamics, starts[:100], 1500, seed=0, beyond=lambda x: x[:, 0] > -0.4)
    rate = rate_from_flux(dynamics, flux, 10, seed=2, max_frames=20_000)
    assert abs(rate.value - counted) < 4 * math.hypot(rate.error, error)
    assert max(rate.error, error) < 0.12 * counted


def test_mean_time_of_paths_is_that_of_a_long_run():
    dynamics, line = double_well()
    free = np.array([len(path) - 1 for path in unbiased_paths(dynamics, 600, 6000)]) * dynamics.frame_time
    shot, _ = shot_paths(dynamics, line, ShootingSettings(), 100, 60, 20)
    n = len(shot)
    ones, chain = np.ones(n, dtype=int), np.arange(n) % 100
    paths = TransitionPaths(tuple(shot), ones, chain, ones, ones.astype(bool), dynamics.frame_time)
    metric = mean_transition_time(paths, "")
    assert abs(metric.value - free.mean()) < 4 * math.hypot(metric.error, free.std() / math.sqrt(len(free)))
    assert metric.error < 0.05 * metric.value


def test_ratio_of_sums_by_hand():
    """2/4: residuals 0.5 (1, -1, 0), so sqrt(3/2 · 0.5)/4."""
    value, error = ratio_of_sums(np.array([1.0, 0.5, 0.5]), np.array([1.0, 2.0, 1.0]))
    assert value == 0.5
    assert error == pytest.approx(math.sqrt(1.5 * 0.5) / 4)
    assert ratio_of_sums(np.array([1.0]), np.array([2.0])) == (0.5, None)


def test_time_from_a_by_hand():
    """A walk 0, 1, 2, 3 that ends in B for good comes from A at two frames, and crosses the border of A once."""
    flux = flux_from_a(BirthDeathChain(np.array([1.0, 1, 1, 0]), np.zeros(4)), [[0.0], [0.0]], 1200, seed=0)
    assert flux.time.tolist() == [2.0, 2.0]
    assert flux.points.tolist() == [[1.0], [1.0]]
    assert flux.walker.tolist() == [0, 1]
    assert flux.value == (0.5, 0.0)
    assert flux.n_steps == 2400


def test_a_flux_starts_in_a():
    chain = BirthDeathChain.symmetric_barrier(9, 2.0)
    with pytest.raises(ParameterError, match="all start in A"):
        flux_from_a(chain, [[3.0]], 10, seed=0)
    still = flux_from_a(chain, [[0.0]], 1, seed=0, beyond=lambda x: x[:, 0] > 5)
    with pytest.raises(ParameterError, match="no walker crossed"):
        rate_from_flux(chain, still, 5, seed=0, max_frames=5)


def test_rates_of_three_sites_by_hand():
    """Weights 0.4, 0.2, 0.4, and from the middle one step to either side: 0.2 · ¼ transitions a step each way.

    The middle is drawn four times too often, so 4, 8 and 4 frames; both flights of four shots end in all ways.
    """
    site = np.repeat([0, 1, 2], [4, 8, 4])
    middle = site == 1
    shots = FrameShots(
        log_weights=np.where(middle, -math.log(4), 0.0),
        choice=np.where(middle, 0.3, 0.0),
        state=np.array([IN_A, OUTSIDE, IN_B], np.int8)[site],
        guess=np.array([IN_A, IN_B, IN_B], np.int8)[site],
        drawn=np.array([4, 6, 8, 10]),
        ends=np.array([[IN_A, IN_A], [IN_A, IN_B], [IN_B, IN_A], [IN_B, IN_B]]),
        shot=np.array([1, 2]),
        log_sums=np.log([1.2, 1.2]),
        taught=np.empty(0, np.int64),
        lessons=np.empty((0, 2), np.int64),
        seed=0,
        n_steps=0,
    )
    for exact_frames in (True, False):
        for guess in (shots.guess, shots.state):
            rates = rates_from_shots(replace(shots, guess=guess), 0.5, exact_frames=exact_frames)
            assert rates.transitions[0] == pytest.approx(0.2 / 4 / 0.5, rel=1e-12)
            assert rates.weight_b[0] == pytest.approx(0.5, rel=1e-12)
            assert [rates.a_to_b[0], rates.b_to_a[0]] == pytest.approx([0.2, 0.2], rel=1e-12)
            assert rates.balance[0] == pytest.approx(1)
    twice = rates_from_shots(shots.joined(shots), 0.5)
    assert twice.transitions[0] == pytest.approx(0.1) and (twice.n_shots, twice.n_paths) == (8, 4)


def exact_chain_rates(chain):
    """A to B, B to A, transitions, and the weight of B, by the committor."""
    p, weights = chain.committor, chain.stationary
    crossings = weights[0] * (chain.transition_matrix[0] @ p)
    return crossings / (weights @ (1 - p)), crossings / (weights @ p), crossings, weights @ p


def chain_rates(seed):
    """Rates by 1500 shots from frames of a flattened chain whose far state is 2 kT up, and the exact ones."""
    n = 11
    u = 7 * np.sin(np.pi * np.arange(n) / (n - 1)) ** 2 + 2 * np.arange(n) / (n - 1)
    up, down = np.zeros(n), np.zeros(n)
    up[:-1], down[1:] = (0.5 * np.minimum(1, np.exp(-step)) for step in (np.diff(u), -np.diff(u)))
    chain = BirthDeathChain(up, down)
    log_selection = 0.8 * u
    chance = np.exp(log_selection) * chain.stationary
    frames = np.random.default_rng(seed).choice(n, size=20_000, p=chance / chance.sum())[:, None]
    found = shoot_from_frames(
        chain,
        frames.astype(float),
        lambda x: log_selection[x[:, 0].astype(int)],
        n_shots=1500,
        seed=seed,
        max_frames=100_000,
    )
    return rates_from_shots(found.shots, chain.frame_time), exact_chain_rates(chain)


def well_rates(seed):
    """Rates of the double well by 2000 shots from 300 points of a grid, after 150 to learn from; and the exact ones.

    Exact: the Fokker-Planck generator on a grid, its exponential over one frame, and the committor of that chain. The
    time step is a quarter of a frame, so that its own error stays below the statistical one.
    """
    system = double_well()[0].system
    dynamics = SurfaceDynamics(system, 0.001, steps_per_frame=4)
    grid, step = np.linspace(-1.9, 1.9, 300, retstep=True)
    u = system.energy(grid[:, None]) / system.kt
    found = shoot_from_frames(
        dynamics,
        grid[:, None],
        lambda x: system.energy(x) / system.kt,
        n_shots=2000,
        seed=seed,
        max_frames=20_000,
        n_learning=150,
    )
    rates = rates_from_shots(found.shots, dynamics.frame_time, exact_frames=True)
    jump = np.exp(-np.diff(u) / 2) / step**2
    generator = np.diag(jump, 1) + np.diag(1 / jump / step**4, -1)
    kernel = expm((generator - np.diag(generator.sum(axis=1))) * dynamics.frame_time)
    state = dynamics.states(grid[:, None])
    outside, p = state == OUTSIDE, (state == IN_B).astype(float)
    p[outside] = np.linalg.solve(
        np.eye(outside.sum()) - kernel[np.ix_(outside, outside)], kernel[outside] @ p
    )
    weights = np.exp(-u) / np.exp(-u).sum()
    crossings = (weights * (state == IN_A)) @ kernel @ p / dynamics.frame_time
    return rates, (crossings / (weights @ (1 - p)), crossings / (weights @ p), crossings, weights @ p)


def scores(rates, exact):
    """Standard errors between each number and its exact value; relative errors, not shrunk by low values."""
    found = (rates.a_to_b, rates.b_to_a, rates.transitions, rates.weight_b)
    return np.array(
        [(value / true - 1) / (error / value) for (value, error), true in zip(found, exact, strict=True)]
    )


@pytest.mark.parametrize("rates_of", [chain_rates, well_rates])
def test_rates_from_shots_are_exact(rates_of):
    rates, exact = rates_of(seed=1)
    assert rates.n_unfinished == 0
    assert np.abs(scores(rates, exact)).max() < 3.5
    assert max(error / value for value, error in (rates.a_to_b, rates.b_to_a)) < 0.15
    assert abs(rates.balance[0] - 1) < 3.5 * rates.balance[1]


@pytest.mark.slow
@pytest.mark.parametrize("rates_of", [chain_rates, well_rates])
def test_errors_of_rates_are_those_of_twenty_seeds(rates_of, capsys):
    """Spread over errors: that of 20 seeds is known to 16 %, so within 0.6 and 1.5; no mean off by 3.5/sqrt(20)."""
    found = np.array([scores(*rates_of(seed)) for seed in range(20)])
    with capsys.disabled():
        print(f"\n{rates_of.__name__}: largest |z| {np.abs(found).max(axis=0).round(2)}, ", end="")
        print(f"mean {found.mean(axis=0).round(2)}, spread {found.std(axis=0, ddof=1).round(2)}")
    assert np.abs(found).max() < 4
    spread = found.std(axis=0, ddof=1)
    assert ((spread > 0.6) & (spread < 1.5)).all()
    assert np.abs(found.mean(axis=0)).max() < 3.5 / math.sqrt(20)


def test_rates_are_withheld_with_the_reason():
    few = shot_rate_metrics(rates_from_shots(shots_with_paths(np.zeros(4), 40), 1.0), "ps")
    assert "4 of 40 shots" in few["rate_a_to_b"].withheld and few["first_passage_b_to_a"].value is None
    unknown = shot_rate_metrics(None, "ps", "their weights come from a file")
    assert {metric.withheld for metric in unknown.values()} == {"their weights come from a file"}
    lost = shots_with_paths(np.zeros(20), 40)
    lost.ends[-9:] = OUTSIDE
    assert "9 of 40 shots" in shot_rate_metrics(rates_from_shots(lost, 1.0), "ps")["rate_a_to_b"].withheld


def test_roads_that_contradict_each_other_are_withheld():
    shots, flux = Metric(2e-3, 1e-4, "1/ps", ""), Metric(3e-3, 1e-4, "1/ps", "")
    named = {"rate_a_to_b": shots, "rate_b_to_a": shots, "rate_by_flux": flux}
    named |= dict.fromkeys(("first_passage_a_to_b", "first_passage_b_to_a"), shots)
    assert all("0.002 ± 0.0001" in metric.withheld for metric in without_contradiction(named).values())
    close = {**named, "rate_by_flux": Metric(2.2e-3, 1e-4, "1/ps", "")}
    assert without_contradiction(close) == close


def ring_paths(sides, multiplicity, chains):
    """Half circles from (-1, 0) to (1, 0) on the given sides."""
    angle = np.linspace(math.pi, 0, 30)
    arcs = tuple(np.stack([np.cos(angle), side * np.sin(angle)], axis=1) for side in sides)
    n = np.arange(len(sides))
    return TransitionPaths(arcs, np.array(multiplicity), np.array(chains), n, n >= 0, 1.0)


def test_channels_of_a_ring_by_hand():
    """Chain 0: 3 moves left, 1 right; chain 1: 4 moves right. Left has 3/8, residuals 1.5 and -1.5 of 4 moves each."""
    system = load_system("dual-channel")
    paths = ring_paths([1, -1, -1], [3, 1, 4], [0, 0, 1])
    left, right = path_channels(system, paths)[:2]
    assert left != right
    weights = channel_weights(system, paths)
    assert list(weights) == [right, left]
    assert weights[left].value == 3 / 8
    assert weights[left].error == pytest.approx(math.sqrt(2 * 2 * 1.5**2) / 8)
    assert channel_switches(system, paths) == {(left, right): 1}


def test_divergence_of_disjoint_and_of_equal_ensembles():
    system = load_system("dual-channel")
    up, down = ring_paths([1, 1], [1, 2], [0, 1]), ring_paths([-1], [1], [0])
    assert frame_histogram(system, up).sum() == pytest.approx(1)
    assert ensemble_divergence(system, *halves(up)) == pytest.approx(0, abs=1e-12)
    assert 0.5 < ensemble_divergence(system, up, down) < math.log(2)  # the ends are shared
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(math.log(2))
    with pytest.raises(ParameterError, match="at least two chains"):
        halves(down)


def free_walk(task):
    """Return the state of every frame, and the positions of one in 50."""
    dynamics, seed, n_chunks, n_frames = task
    rng = np.random.default_rng(seed)
    start = load_system("alanine-dipeptide").positions_a
    point, where, positions = dynamics.fresh(dynamics.points(start[None]), [rng]), [], []
    for _ in range(n_chunks):
        frames = dynamics.fly(point, [rng], n_frames, stop=False)[0].points
        where.append(dynamics.states(frames))
        positions.append(dynamics.positions(frames[::50]))
        point = frames[-1:]
    return np.concatenate(where), np.concatenate(positions)


@pytest.mark.slow
def test_rate_of_hot_alanine_dipeptide_is_that_of_a_long_run(capsys):
    """At 900 K the barrier is low enough to count: 8 walks of 0.6 ns, against flux and shots from 8 other walks."""
    system = load_system("alanine-dipeptide")
    dynamics = MoleculeDynamics.of(system, LangevinSettings(900.0), PlatformChoice("Reference"))
    with local_executor("processes", 2) as executor:
        walks = map_tasks(executor, free_walk, [(dynamics, seed, 30, 2000) for seed in range(16)])
        counted, error = counted_rate([states for states, _ in walks[:8]], dynamics.frame_time)
        starts = np.repeat(system.positions_a[None], 16, axis=0)
        flux = flux_from_a(dynamics, starts, 20_000, seed=1, executor=executor)
        by_flux = rate_from_flux(dynamics, flux, 5, seed=2, max_frames=20_000, executor=executor)
        found = shoot_from_frames(
            dynamics,
            np.concatenate([positions for _, positions in walks[8:]]),
            lambda positions: np.zeros(len(positions)),
            n_shots=1500,
            seed=3,
            max_frames=20_000,
            executor=executor,
            n_learning=300,
        )
    rates = rates_from_shots(found.shots, dynamics.frame_time)
    roads = {"flux": (by_flux.value, by_flux.error), "shots": rates.a_to_b}
    for road, (value, uncertainty) in roads.items():
        with capsys.disabled():
            print(
                f"\n900 K: {value:.4f} ± {uncertainty:.4f} per ps by {road}, {counted:.4f} ± {error:.4f} counted"
            )
        assert abs(value - counted) < 4 * math.hypot(uncertainty, error)
        assert max(uncertainty, error) < 0.3 * counted
    assert abs(rates.balance[0] - 1) < 4 * rates.balance[1]
