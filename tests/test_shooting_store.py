"""Chains on disk: blocks that survive a kill, and chains that do not depend on how they were cut or spread."""

import multiprocessing
import time

import numpy as np
import pytest
from surfaces import make_surface

from tps.analysis import divergence_by_moves, ensemble_divergence, halves
from tps.dynamics import SurfaceDynamics
from tps.engine import local_executor
from tps.errors import ParameterError, RunFolderError
from tps.paths import (
    ShootingSettings,
    TransitionPaths,
    load_shooting,
    load_transition_paths,
    save_transition_paths,
    shoot,
)
from tps.paths.shooting.records import lengths_after_moves
from tps.paths.shooting.store import block_files
from tps.systems import DoubleWell

DYNAMICS = SurfaceDynamics(make_surface(DoubleWell(3.0), margin=0.3), 0.004)
LINE = np.linspace(-1, 1, 21)[:, None]


def run(
    folder, n_moves, block_moves, *, n_chains=3, settings=None, seed=5, dynamics=DYNAMICS, done=lambda n: None
):
    with local_executor("threads", 1) as executor:
        return shoot(
            dynamics,
            [LINE] * n_chains,
            settings or ShootingSettings("one-way"),
            folder,
            executor,
            n_moves=n_moves * n_chains,
            seed=seed,
            block_moves=block_moves,
            done=done,
        )


def assert_same(first, second):
    for a, b in zip(first.records, second.records, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(first.shots, second.shots, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(first.paths) == len(second.paths)
    for a, b in zip(first.paths.positions, second.paths.positions, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.paths.multiplicity, second.paths.multiplicity)


def test_blocks_are_only_a_way_to_cut(tmp_path):
    whole = run(tmp_path / "whole", 40, 40)
    assert_same(run(tmp_path / "cut", 40, 7), whole)
    run(tmp_path / "longer", 13, 5)
    made = []
    assert_same(run(tmp_path / "longer", 40, 9, done=made.append), whole)
    assert made[0] == 3 * 13 and sum(made) == 3 * 40
    assert whole.paths.multiplicity.sum() == sum(
        40 - burn for burn in whole.statistics.burn_in if burn is not None
    )


def test_a_killed_run_goes_on_without_losing_or_repeating_a_move(tmp_path):
    """SIGKILL at random moments, then to the end: the same moves as in one go, and no finished block rewritten."""
    fork = multiprocessing.get_context("fork")
    folder, rng, killed = tmp_path / "killed", np.random.default_rng(0), 0
    finished: dict = {}
    for attempt in range(60):
        child = fork.Process(target=run, args=(folder, 400, 2))
        child.start()
        time.sleep(rng.uniform(0.02, 0.15) * (1 + attempt / 10))  # longer, where the machine has other work
        child.kill()
        child.join()
        killed += child.exitcode == -9
        for file, stamp in finished.items():
            assert file.stat().st_mtime_ns == stamp
        finished = {file: file.stat().st_mtime_ns for i in range(3) for file in block_files(folder, i)}
        if attempt >= 9 and killed >= 8 and len(finished) > 10:
            break
    assert killed >= 8
    assert len(finished) > 10
    n_moves = max(int(file.stem.removeprefix("moves-")) for file in finished) + 10
    assert_same(run(folder, n_moves, 2), run(tmp_path / "whole", n_moves, n_moves))
    for file, stamp in finished.items():
        assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"settings": ShootingSettings("two-way")}, "settings"),
        ({"dynamics": SurfaceDynamics(DYNAMICS.system, 0.002)}, "system"),
    ],
)
def test_other_chains_are_not_gone_on_with(tmp_path, change, named):
    run(tmp_path, 4, 2)
    with pytest.raises(RunFolderError, match=named):
        run(tmp_path, 8, 2, **change)
    assert [len(r) for r in load_shooting(tmp_path).records] == [4, 4, 4]


def test_more_chains_may_join(tmp_path):
    run(tmp_path, 4, 2)
    assert_same(run(tmp_path, 6, 2, n_chains=5), run(tmp_path / "five", 6, 6, n_chains=5))


def test_the_moves_of_all_chains_are_as_many_as_asked_for(tmp_path):
    """11 = 4 + 4 + 3 in blocks of 2, then 13 = 5 + 4 + 4: the same as the first moves of longer chains."""
    for n_moves, shared in ((11, [4, 4, 3]), (13, [5, 4, 4])):
        with local_executor("threads", 2) as executor:
            made = shoot(
                DYNAMICS,
                [LINE] * 3,
                ShootingSettings("one-way"),
                tmp_path / "some",
                executor,
                n_moves=n_moves,
                seed=5,
                block_moves=2,
            )
        assert [len(records) for records in made.records] == shared
    for some, whole in zip(made.records, run(tmp_path / "whole", 5, 5).records, strict=True):
        np.testing.assert_array_equal(some, whole[: len(some)])
    with (
        pytest.raises(ParameterError, match="3 chains need at least as many moves, but got n_moves = 2"),
        local_executor("threads", 1) as executor,
    ):
        shoot(DYNAMICS, [LINE] * 3, ShootingSettings(), tmp_path / "few", executor, n_moves=2, seed=5)
    assert not (tmp_path / "few").exists()


def test_damage_is_named(tmp_path):
    with pytest.raises(RunFolderError, match="no shooting moves"):
        load_shooting(tmp_path)
    run(tmp_path, 6, 2)
    files = block_files(tmp_path, 1)
    kept = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(RunFolderError, match="goes on at move 4, but move 2 comes next"):
        load_shooting(tmp_path)
    files[1].write_bytes(kept[:100])
    with pytest.raises(
        RunFolderError, match=r"cannot be read as an npz file.* remove it and the chain's later blocks"
    ):
        load_shooting(tmp_path)


def test_first_paths_are_those_current_in_the_first_moves(tmp_path):
    """Frames summed over moves, by the records alone; at the end the divergence is that of the halves, crosswise."""
    made = run(tmp_path / "chains", 60, 20, n_chains=4)
    for n in (1, 7, 33, 60):
        expected = 0
        for records in made.records:
            early = records[:n]
            since = np.flatnonzero(early["accepted"])
            expected += lengths_after_moves(early)[since[0] :].sum() if len(since) else 0
        first = made.first_paths(n)
        assert (first.multiplicity * first.lengths).sum() == expected
        assert first.multiplicity.min(initial=1) > 0
    system = DYNAMICS.system
    one, other = halves(made.paths)
    everything = made.first_paths(60)
    even = np.isin(everything.chain, np.unique(one.chain))
    crosswise = [
        ensemble_divergence(system, everything.select(even), other),
        ensemble_divergence(system, everything.select(~even), one),
    ]
    found = divergence_by_moves(system, made, [1, 60])
    assert found[1] == pytest.approx(np.mean(crosswise))
    assert np.isnan(found[0]) or found[0] > found[1]


@pytest.mark.parametrize("place", [(4, 3), (2,)], ids=["molecule", "surface"])
def test_stored_paths_come_back_and_a_missing_trajectory_is_named(tmp_path, place):
    """A molecule's paths lie in DCD files, and angles never pass for positions where one is gone."""
    rng, d = np.random.default_rng(0), 2
    positions = [rng.normal(size=(n, *place)).astype(np.float32) for n in (3, 5)]
    values = positions if place == (d,) else [rng.normal(size=(len(x), d)) for x in positions]
    paths = TransitionPaths.of_segments(positions, 0.25)
    save_transition_paths(
        tmp_path, paths, values, [np.zeros(3), np.ones(5)], ["a", "b"], time_unit="ps", box=np.diag([2, 2, 2])
    )
    found, ensemble = load_transition_paths(tmp_path)
    assert (ensemble.frame_interval, ensemble.time_unit, found.frame_time) == (0.25, "ps", 0.25)
    for one, other in zip(found.positions, positions, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert ensemble.values[1] == pytest.approx(values[1])
    for file in tmp_path.glob("0001.dcd"):
        file.unlink()
        with pytest.raises(
            RunFolderError, match=r"0001\.dcd is missing, and paths\.npz counts it in: shoot again"
        ):
            load_transition_paths(tmp_path)
    assert len(list(tmp_path.glob("*.dcd"))) == (1 if place == (4, 3) else 0)
