"""Chains on disk: blocks that survive a kill, and chains that do not depend on how they were cut or spread."""

import multiprocessing
import time

import numpy as np
import pytest
from surfaces import make_surface

from tps.analysis import divergence_by_moves, ensemble_divergence, halves
from tps.arrays import load_arrays, save_arrays
from tps.dynamics import SurfaceDynamics
from tps.engine import local_executor
from tps.errors import ParameterError, RunFolderError
from tps.paths import (
    PathNumbers,
    ShootingSettings,
    TransitionPaths,
    add_numbers,
    load_shooting,
    load_transition_paths,
    save_table,
    save_transition_paths,
    shoot,
    with_numbers,
)
from tps.paths.shooting import files, store
from tps.paths.shooting.records import (
    ChainCounts,
    Outcome,
    burn_in,
    decorrelated_moves,
    lengths_after_moves,
    shooting_statistics,
)
from tps.paths.shooting.store import pack_files
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


def test_a_killed_run_goes_on_without_losing_or_repeating_a_move(tmp_path, monkeypatch):
    """SIGKILL at random moments, then to the end: the same moves as in one go, and no full file rewritten."""
    monkeypatch.setattr(store, "_PACK_MOVES", 6)
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
        finished = {file: file.stat().st_mtime_ns for i in range(3) for file in pack_files(folder, i)[:-1]}
        if attempt >= 9 and killed >= 8 and len(finished) > 10:
            break
    assert killed >= 8
    assert len(finished) > 10
    n_moves = max(store.last_state(folder, index).chain.move for index in range(3)) + 10
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


def test_damage_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_PACK_MOVES", 2)
    with pytest.raises(RunFolderError, match="no shooting moves"):
        load_shooting(tmp_path)
    run(tmp_path, 6, 2)
    packs = pack_files(tmp_path, 1)
    kept = packs[1].read_bytes()
    packs[1].unlink()
    with pytest.raises(RunFolderError, match="goes on at move 4, but move 2 comes next"):
        _ = load_shooting(tmp_path).paths
    packs[1].write_bytes(kept[:100])
    with pytest.raises(
        RunFolderError, match=r"cannot be read as an npz file.* remove it and the chain's later files"
    ):
        _ = load_shooting(tmp_path).paths


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
    found = divergence_by_moves(system, made.paths, everything, [1, 60])
    assert found[1] == pytest.approx(np.mean(crosswise))
    assert np.isnan(found[0]) or found[0] > found[1]


@pytest.mark.parametrize("place", [(4, 3), (2,)], ids=["molecule", "surface"])
def test_stored_paths_come_back_and_a_missing_file_is_named(tmp_path, monkeypatch, place):
    """Positions to the last bit, packed in as many files as their bytes ask for."""
    monkeypatch.setattr(files, "PACK_BYTES", 50)
    rng, d = np.random.default_rng(0), 2
    positions = [rng.normal(size=(n, *place)).astype(np.float32) for n in (3, 5, 2)]
    values = [rng.normal(size=(len(x), d)) for x in positions]
    paths = TransitionPaths.of_segments(positions, 0.25)
    energies = [np.full(len(x), k, dtype=float) for k, x in enumerate(positions)]
    save_transition_paths(tmp_path, paths, values, energies, ["a", "b"], time_unit="ps")
    found = load_transition_paths(tmp_path)
    assert found.frame_time == 0.25
    for k in (2, 0, 1):
        np.testing.assert_array_equal(found.positions[k], positions[k])
        np.testing.assert_array_equal(found.values[k], values[k])
        np.testing.assert_array_equal(found.potential_energy[k], energies[k])
    packed = sorted(tmp_path.glob("paths-*.npz"))
    assert len(packed) == len(set(np.cumsum([x.nbytes for x in positions]) // 50)) > 1
    packed[0].unlink()
    with pytest.raises(RunFolderError, match=rf"{packed[0].name} does not exist"):
        _ = found.positions[0]
    np.testing.assert_array_equal(found.positions[2], positions[2])


def test_going_on_reads_a_chain_s_last_file_alone(tmp_path, monkeypatch):
    """Whatever its history: an earlier file that cannot be read does not matter to it."""
    monkeypatch.setattr(store, "_PACK_MOVES", 10)
    run(tmp_path / "whole", 60, 5, n_chains=1)
    whole = load_shooting(tmp_path / "whole").records[0]
    run(tmp_path / "chains", 40, 5, n_chains=1)
    before = pack_files(tmp_path / "chains", 0)
    assert [int(file.stem.removeprefix("moves-")) for file in before] == [0, 10, 20, 30]
    kept = before[0].read_bytes()
    before[0].write_bytes(b"")
    made = run(tmp_path / "chains", 60, 5, n_chains=1)
    assert made.statistics.n_moves + made.statistics.n_candidate_moves == 60
    before[0].write_bytes(kept)
    np.testing.assert_array_equal(load_shooting(tmp_path / "chains").records[0], whole)


@pytest.mark.parametrize("cuts", [[60], [1, 2, 30, 59], list(range(1, 60))])
def test_counts_added_up_are_those_of_all_moves(tmp_path, cuts):
    """By definition, from the records of whole chains; however the moves are cut."""
    records = run(tmp_path, 60, 60).records
    found = []
    for own in records:
        counts = ChainCounts()
        for part in np.split(own, cuts):
            counts = counts.after(part)
        found.append(counts)
        end = burn_in(own)
        late = own[own["move"] >= (60 if end is None else end)]
        assert counts.late_frames == lengths_after_moves(late).sum()
        assert counts.n_paths == late["accepted"].sum()
        assert counts.n_frames == own["n_new"][own["accepted"]].sum()
        assert counts.n_decorrelated == len(decorrelated_moves(own))
    statistics, proper = shooting_statistics(found), np.concatenate(records)
    proper = proper[~proper["from_candidate"]]
    assert statistics.n_moves == len(proper) > 0
    assert statistics.outcomes == {o.name.lower(): int((proper["outcome"] == o).sum()) for o in Outcome}
    assert statistics.burn_in == tuple(burn_in(own) for own in records)
    assert statistics.n_steps == sum(int(own["n_steps"].sum()) for own in records)


def look(seen):
    """Numbers of a double well's paths: x and x², and how long each is."""

    def numbers(paths):
        seen.extend(paths)
        return PathNumbers(paths, [path[:, 0] ** 2 for path in paths], [f"of {len(path)}" for path in paths])

    return numbers


def test_paths_are_looked_at_once(tmp_path, monkeypatch):
    """However often chains go on, and to the same bytes as in one go."""
    monkeypatch.setattr(store, "_PACK_MOVES", 20)
    often, once = [], []
    for n_moves in (10, 30, 55):
        run(tmp_path / "cut", n_moves, 5)
        add_numbers(tmp_path / "cut", look(often))
    made = run(tmp_path / "whole", 55, 5)
    add_numbers(tmp_path / "whole", look(once))
    assert len(often) == len(once) == sum(own["accepted"].sum() for own in made.records)
    for cut in sorted((tmp_path / "cut").rglob("*.npz")):
        assert cut.read_bytes() == (tmp_path / "whole" / cut.relative_to(tmp_path / "cut")).read_bytes()
    paths = with_numbers(made.paths)
    for positions, values, energy, channel in zip(
        paths.positions, paths.values, paths.potential_energy, paths.channels, strict=True
    ):
        np.testing.assert_array_equal(values, positions)
        np.testing.assert_array_equal(energy, positions[:, 0] ** 2)
        assert channel == f"of {len(positions)}"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pack", lambda column: column + 100),
        ("start", lambda column: column - 1_000_000),
        ("lengths", lambda column: column[:-1]),
        ("chain", lambda column: column.astype(float)),
        ("number_files", lambda column: column[:0]),
    ],
)
def test_a_damaged_table_is_one_sentence(tmp_path, name, wrong):
    made = run(tmp_path / "chains", 40, 20)
    add_numbers(tmp_path / "chains", look([]))
    save_table(tmp_path, with_numbers(made.paths), ["x"], time_unit="unit²")
    assert len(load_transition_paths(tmp_path)) == len(made.paths) > 1
    data = load_arrays(tmp_path / "paths.npz")
    save_arrays(tmp_path / "paths.npz", **{**data, name: wrong(data[name])})
    with pytest.raises(RunFolderError, match=r"paths\.npz is damaged"):
        load_transition_paths(tmp_path)
