"""Shooting against long unbiased runs: lengths, positions and energies of paths, and rules that are wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp
from surfaces import make_surface

from tps.dynamics import IN_A, IN_B, SurfaceDynamics, sample_surface
from tps.engine import local_executor
from tps.errors import ParameterError
from tps.paths import (
    Chain,
    FeatureChoice,
    ShootingSettings,
    TransitionPaths,
    shoot,
    shooting_move,
    shooting_statistics,
)
from tps.paths.shooting.candidate import counted, likely_frame, new_tally
from tps.paths.shooting.records import MOVE_RECORD, ChainCounts, burn_in, decorrelated_moves
from tps.systems import DoubleWell, load_system


def double_well():
    system = make_surface(DoubleWell(3.0), margin=0.3)
    return SurfaceDynamics(system, 0.004), np.linspace(-1, 1, 21)[:, None]


def mueller_brown():
    """At kT = 60 the highest saddle point lies 1.8 kT above the deep minimum."""
    system = replace(load_system("mueller-brown"), kt=60.0)
    corners = np.array([system.point_a, (-0.822, 0.624), (-0.05, 0.467), (0.212, 0.293), system.point_b])
    at = np.linspace(0, 4, 41)
    line = np.stack([np.interp(at, range(5), column) for column in corners.T], axis=1)
    return SurfaceDynamics(system, 1.5e-3, steps_per_frame=3), line


def unbiased_paths(dynamics, n_walkers, n_frames):
    """Every transition from A to B in a long free run of walkers that start in A."""
    starts = np.tile(dynamics.system.point_a, (n_walkers, 1))
    rng = np.random.default_rng(0)
    frames = sample_surface(
        dynamics.system, starts, n_frames, dynamics.steps_per_frame, rng, timestep=dynamics.timestep
    ).positions
    found = []
    for walk in frames:
        where = dynamics.states(walk)
        visits = np.flatnonzero(where >= 0)
        last, first = where[visits[:-1]], where[visits[1:]]
        for k in np.flatnonzero((last == IN_A) & (first == IN_B)):
            if visits[k + 1] - visits[k] > 1:
                found.append(walk[visits[k] : visits[k + 1] + 1])
    return found


def shot_paths(dynamics, candidate, settings, n_chains, n_moves, every, seed=1):
    """Paths of independent chains, each looked at after every so many moves."""
    chains = [Chain.from_candidate(i, dynamics, candidate) for i in range(n_chains)]
    found, records = [], []
    for move in range(1, n_moves + 1):
        chains, record, _ = shooting_move(dynamics, chains, settings, seed)
        records.append(record)
        if move % every == 0:
            found += [chain.path.points for chain in chains]
    return found, np.array(records)


def comparisons(dynamics, first, second):
    """p-values of Kolmogorov and Smirnov: length, one random frame's coordinates, highest energy."""
    columns = []
    for paths in (first, second):
        rng = np.random.default_rng(2)
        picked = np.array([path[rng.integers(1, len(path) - 1)] for path in paths])
        highest = [dynamics.system.energy(path).max() for path in paths]
        columns.append([[len(path) for path in paths], *picked.T, highest])
    return np.array([ks_2samp(a, b).pvalue for a, b in zip(*columns, strict=True)])


@pytest.fixture(scope="module")
def free_double_well():
    return unbiased_paths(double_well()[0], 600, 6000)


@pytest.fixture(scope="module")
def free_mueller_brown():
    return unbiased_paths(mueller_brown()[0], 400, 4000)


@pytest.mark.parametrize("kind", ["two-way", "one-way"])
def test_double_well_ensemble_is_that_of_a_long_run(kind, free_double_well):
    dynamics, line = double_well()
    paths, records = shot_paths(dynamics, line, ShootingSettings(kind), 150, 60, 20)
    assert min(len(paths), len(free_double_well)) > 400
    assert (comparisons(dynamics, free_double_well, paths) > 0.01).all()
    assert np.mean(records["accepted"]) > 0.1


@pytest.mark.parametrize("kind", ["one-way", pytest.param("two-way", marks=pytest.mark.slow)])
def test_mueller_brown_ensemble_is_that_of_a_long_run(kind, free_mueller_brown):
    dynamics, line = mueller_brown()
    paths, _ = shot_paths(dynamics, line, ShootingSettings(kind), 110, 24, 12)
    assert min(len(paths), len(free_mueller_brown)) > 200
    assert (comparisons(dynamics, free_mueller_brown, paths) > 0.01).all()


def test_chains_from_paths_of_the_ensemble_need_no_burn_in(free_double_well, tmp_path):
    """Five moves each, all of them counted; a path that is none of the ensemble's, said to be one, is found out."""
    dynamics, line = double_well()
    settings = ShootingSettings(drawn=True)
    half = len(free_double_well) // 2
    starts, others = free_double_well[:half][:400], free_double_well[half:]

    def made(candidates, folder):
        with local_executor("threads", 1) as executor:
            return shoot(
                dynamics, candidates, settings, folder, executor, n_moves=5 * len(candidates), seed=3
            )

    run = made(starts, tmp_path / "drawn")
    assert set(run.statistics.burn_in) == {0} and run.statistics.n_candidate_moves == len(starts)
    assert sum(run.paths.multiplicity) == 5 * len(starts)
    assert min(run.statistics.n_decorrelated) >= 1 and sum(run.statistics.n_decorrelated) > len(starts)
    assert (
        run.statistics.n_steps == sum(r["n_steps"].sum() for r in run.records)
        and not run.records[0]["n_steps"][0]
    )
    assert np.array_equal(run.paths.positions[0], starts[0])
    last = run.paths.thinned(5).positions
    assert len(last) == len(starts)
    assert (comparisons(dynamics, others, last) > 0.01).all()
    wrong = made([line] * 400, tmp_path / "line").paths.thinned(5).positions
    assert comparisons(dynamics, others, wrong).min() < 1e-3


def test_a_biased_choice_of_frames_leaves_the_ensemble_and_helps(free_double_well):
    """Drawn from x = 0 ± 0.3 a frame shoots better than drawn uniformly; the weights' sums undo the bias."""
    dynamics, line = double_well()
    biased = ShootingSettings(choice=FeatureChoice((0.0,), width=0.3))
    paths, records = shot_paths(dynamics, line, biased, 150, 40, 20)
    assert (comparisons(dynamics, free_double_well, paths) > 0.01).all()
    _, plain = shot_paths(dynamics, line, ShootingSettings(), 50, 30, 30)
    assert records["accepted"].mean() > plain["accepted"].mean()


@pytest.mark.parametrize("kind", ["two-way", "one-way"])
@pytest.mark.parametrize("choice", [None, FeatureChoice((0.0,), width=0.3)])
def test_a_wrong_acceptance_rule_is_seen(kind, choice, free_double_well, monkeypatch):
    """Taking every trial from A to B weighs a path by the sum of its frames' weights: lengths come out wrong."""
    monkeypatch.setattr("tps.paths.shooting.moves.accepts", lambda u, old, new: True)
    monkeypatch.setattr("tps.paths.shooting.moves.longest_interior", lambda u, n, most: most)
    dynamics, line = double_well()
    settings = ShootingSettings(kind) if choice is None else ShootingSettings(kind, choice=choice)
    paths, _ = shot_paths(dynamics, line, settings, 100, 40, 20)
    assert comparisons(dynamics, free_double_well, paths).min() < 1e-4


def test_the_early_stop_changes_nothing(monkeypatch):
    """A trial that its u already rules out may stop: the chains of accepted paths are the same, for fewer steps."""
    dynamics, line = double_well()
    settings = ShootingSettings()
    quick, records = shot_paths(dynamics, line, settings, 20, 30, 30)
    monkeypatch.setattr("tps.paths.shooting.moves.longest_interior", lambda u, n, most: most)
    full, all_records = shot_paths(dynamics, line, settings, 20, 30, 30)
    for a, b in zip(quick, full, strict=True):
        np.testing.assert_array_equal(a, b)
    assert records["n_steps"].sum() < all_records["n_steps"].sum()


def test_a_chain_depends_on_its_own_seed_alone():
    dynamics, line = double_well()
    together, _ = shot_paths(dynamics, line, ShootingSettings("one-way"), 5, 25, 25)
    chain = Chain.from_candidate(3, dynamics, line)
    for _ in range(25):
        (chain,), _, _ = shooting_move(dynamics, [chain], ShootingSettings("one-way"), 1)
    np.testing.assert_array_equal(chain.path.points, together[3])
    other, _ = shot_paths(dynamics, line, ShootingSettings("one-way"), 5, 25, 25, seed=2)
    assert len(other[3]) != len(together[3]) or not np.array_equal(other[3], together[3])


def test_every_path_goes_from_a_to_b_and_is_no_longer_than_allowed():
    dynamics, line = double_well()
    paths, records = shot_paths(dynamics, line, ShootingSettings(max_frames=40), 40, 30, 1)
    for path in paths[40 * 15 :]:
        where = dynamics.states(path)
        assert where[0] == IN_A and where[-1] == IN_B
        assert (where[1:-1] < 0).all()
    accepted = records[records["accepted"]]
    assert accepted["n_new"].max() <= 40
    assert (records["outcome"] == 3).any()


def test_records_add_up():
    dynamics, line = double_well()
    _, records = shot_paths(dynamics, line, ShootingSettings("one-way"), 6, 40, 40)
    own = [records[:, i] for i in range(6)]
    for chain in own:
        after = np.where(chain["accepted"], chain["n_new"], chain["n_old"])
        assert (after[:-1] == chain["n_old"][1:]).all()
        assert (chain["direction"][chain["from_candidate"]] == 0).all()
        assert set(chain["direction"][~chain["from_candidate"]]) == {-1, 1}
        assert (np.diff(chain["oldest"]) >= 0).all()
    statistics = shooting_statistics([ChainCounts().after(chain) for chain in own])
    assert statistics.n_moves + statistics.n_candidate_moves == 240
    assert sum(statistics.outcomes.values()) == statistics.n_moves
    assert statistics.n_steps == records["n_steps"].sum()
    assert 0 < statistics.acceptance < 1


def test_decorrelation_by_hand():
    """The oldest frame's move after each move: -1 is the first path's, so burn-in ends at move 3."""
    records = np.zeros(8, dtype=MOVE_RECORD)
    records["move"] = np.arange(8)
    records["oldest"] = [-1, -1, -1, 1, 1, 2, 4, 6]
    assert burn_in(records) == 3
    assert decorrelated_moves(records).tolist() == [3, 6]
    records["oldest"] = -1
    assert burn_in(records) is None
    assert decorrelated_moves(records).tolist() == []


def test_multiplicities_count_moves():
    records = np.zeros(6, dtype=MOVE_RECORD)
    records["move"] = np.arange(6)
    records["accepted"] = [1, 0, 1, 0, 0, 1]
    records["oldest"] = [-1, -1, 0, 0, 0, 5]
    paths = TransitionPaths.from_chains([(records, [np.zeros((n, 1)) for n in (3, 4, 5)])], 0.5)
    assert paths.lengths.tolist() == [4, 5]
    assert paths.multiplicity.tolist() == [3, 1]  # after moves 2, 3, 4, and after move 5
    assert paths.move.tolist() == [2, 5]
    assert paths.decorrelated.tolist() == [True, True]
    assert paths.durations.tolist() == [1.5, 2.0]
    assert paths.thinned(2).lengths.tolist() == [4, 5]


def test_a_candidates_moves_bisect():
    """Frames before 70 of 100 always end in A, later ones in B: some ten trials find the border."""
    tally, rng, tried = new_tally(100), np.random.default_rng(0), []
    for _ in range(12):
        frame = likely_frame(tally, rng)
        tried.append(frame)
        end = IN_A if frame < 70 else IN_B
        tally = counted(tally, frame, (end, end))
    assert min(tried) >= 1 and max(tried) <= 98
    assert abs(np.median(tried[-4:]) - 70) <= 8


@pytest.mark.parametrize(
    ("line", "expected"),
    [(np.linspace(-1, 0.5, 9), "never goes there"), (np.array([-1.0, 1.0]), "frame outside both states")],
)
def test_candidates_that_cannot_start_are_refused(line, expected, tmp_path):
    dynamics, good = double_well()
    with pytest.raises(ParameterError, match=expected):
        Chain.from_candidate(0, dynamics, line[:, None])
    with local_executor("threads", 1) as executor:
        run = shoot(
            dynamics, [line[:, None], good], ShootingSettings(), tmp_path, executor, n_moves=5, seed=0
        )
        assert list(run.refused) == [0] and expected in run.refused[0]
        assert list(run.counts) == [1]
        with pytest.raises(ParameterError, match="none of the 1 candidates"):
            shoot(dynamics, [line[:, None]], ShootingSettings(), tmp_path / "x", executor, n_moves=5, seed=0)


@pytest.mark.parametrize(
    "options", [{"kind": "three-way"}, {"max_frames": 2}, {"kind": "one-way", "drawn": True}]
)
def test_settings_are_checked(options):
    with pytest.raises(ParameterError, match=r"three-way|max_frames is 2|redrawn velocities"):
        ShootingSettings(**options)
