"""OpenPathSampling itself on what tps exports: it takes the trajectories, samples on, and finds the same ensemble."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from ops_runs import LANGEVIN, REFERENCE, empty_run, pulled, save_ensemble

from tps.analysis import ensemble_divergence, halves, path_channels
from tps.cli import main
from tps.dynamics import IN_A, IN_B, OUTSIDE, MoleculeDynamics
from tps.engine import local_executor
from tps.paths import ShootingSettings, load_transition_paths, shoot

pytestmark = pytest.mark.ops
MAIN_CHANNEL = "phi +207°, psi -200°"


def tps(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def shot_run(folder, n_moves):
    """A run folder with a transition-path ensemble of four chains, started in the channel of nearly all paths."""
    run = empty_run(folder)
    dynamics = MoleculeDynamics.of(run.molecule, LANGEVIN, REFERENCE)
    candidates = [pulled(run.molecule, seed, over_zero=True) for seed in range(4)]
    with local_executor("processes", 2) as executor:
        shot = shoot(
            dynamics,
            candidates,
            ShootingSettings(),
            folder / "chains",
            executor,
            n_moves=n_moves * len(candidates),
            seed=1,
        )
    save_ensemble(folder / "shooting", run.molecule, shot.paths)
    tps("export", folder, "-f", "ops")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shot_run(tmp_path_factory.mktemp("ops") / "run", n_moves=400)


@pytest.fixture(scope="module")
def script(run):
    """setup_ops.py as a module."""
    spec = importlib.util.spec_from_file_location("setup_ops", run.path / "export-ops" / "setup_ops.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(run, folder, *arguments, starts=(0,)):
    """Run setup_ops.py as a user does, one chain for each start at the same time; return the files."""
    files = [folder / f"ops_{start}.npz" for start in starts]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = []
    for start, file in zip(starts, files, strict=True):
        script = run.path / "export-ops" / "setup_ops.py"
        command = [sys.executable, script, "-o", file, "--start", start, "--seed", start, *arguments]
        running.append(subprocess.Popen([str(word) for word in command], env=environment))
    assert [process.wait() for process in running] == [0] * len(files)
    return files


def test_states_are_told_as_tps_tells_them(run, script):
    """Over 2000 molecules with atoms anywhere: their torsions take all values."""
    from openmm import unit
    from openpathsampling.engines.openmm import Snapshot

    system, engine = run.molecule, script.make_engine(0)
    positions = np.random.default_rng(0).normal(scale=0.2, size=(2000, system.n_atoms, 3))
    values = system.values(positions)
    for volume, state in zip(script.make_states(), (system.state_a, system.state_b), strict=True):
        inside = [
            volume(Snapshot.construct(coordinates=xyz * unit.nanometer, engine=engine)) for xyz in positions
        ]
        np.testing.assert_array_equal(inside, state.region.contains(values))
        assert 20 < sum(inside) < 1000


def test_time_runs_back_in_ops(script):
    """Without friction: 16 frames on, reversed as OPS reverses, and 16 frames on lead back to the start."""
    import openpathsampling as paths

    engine = script.make_engine(0)
    engine.integrator.setGlobalVariableByName("decay", 1.0)
    engine.integrator.setGlobalVariableByName("noise", 0.0)
    start = script.read_trajectories(engine)[0][5]
    there = engine.generate(start, [paths.LengthEnsemble(17).can_append])
    back = engine.generate(there[-1].reversed, [paths.LengthEnsemble(17).can_append])
    np.testing.assert_allclose(back[-1].xyz, start.xyz, atol=1e-5)
    assert np.abs(there[-1].xyz - start.xyz).max() > 0.01


@pytest.mark.parametrize("mover", ["two-way", "one-way"])
def test_every_exported_trajectory_is_an_initial_condition(script, mover):
    engine = script.make_engine(0)
    scheme = script.make_scheme(mover, *script.make_states(), engine)
    trajectories = script.read_trajectories(engine)
    assert len(trajectories) == 4
    for trajectory in trajectories:
        scheme.assert_initial_conditions(scheme.initial_conditions_from_trajectories(trajectory))


def test_the_storage_opens_again(run, tmp_path):
    import openpathsampling as paths

    (file,) = sample(run, tmp_path, "-n", 10)
    storage = paths.Storage(str(file.with_suffix(".nc")), "r")
    with np.load(file) as data:
        accepted, current, lengths = data["accepted"], data["current"], data["lengths"]
    assert [step.change.canonical.accepted for step in storage.steps[1:]] == accepted.tolist()
    assert [len(step.active[0].trajectory) for step in storage.steps[1:]] == lengths[current].tolist()


def both_ensembles(run):
    """Own paths and those of OPS in the channel of nearly all paths, φ over zero.

    A chain that starts in the other channel leaves it after a thousand moves or so and hardly comes back: its share is
    not one that short chains know.
    """
    ensembles = [load_transition_paths(run.path / place) for place in ("shooting", "shooting-ops")]
    names = [np.array(path_channels(run.molecule, paths)) for paths in ensembles]
    return [paths.select(name == MAIN_CHANNEL) for paths, name in zip(ensembles, names, strict=True)]


def mean_length(paths):
    """Mean number of frames of the current path, and its standard error from batches of moves."""
    chains = [paths.select(paths.chain == chain) for chain in np.unique(paths.chain)]
    lengths = [np.repeat(chain.lengths, chain.multiplicity) for chain in chains]
    batches = [batch.mean() for chain in lengths for batch in np.array_split(chain, 4)]
    return np.mean(batches), np.std(batches, ddof=1) / np.sqrt(len(batches))


@pytest.mark.parametrize("mover", ["two-way", "one-way"])
def test_the_paths_come_back_and_are_as_long(run, tmp_path, mover):
    """Where each reversal of time heats the molecule, as with LangevinMiddle's velocities, one-way paths have 6 frames.

    Histograms say nothing yet: single chains of 1000 two-way moves were seen 0.4 nats from the ensemble.
    """
    system = run.molecule
    files = sample(run, tmp_path, "-n", 1000, "--mover", mover, "--no-storage", starts=(0, 1))
    said = tps("import-ops", run.path, *files, "--force")
    assert "moves: 2000" in said and "do not go from A to B" not in said
    own, found = both_ensembles(run)
    dynamics = MoleculeDynamics.of(system, LANGEVIN, REFERENCE)
    for path in found.positions:
        where = dynamics.states(dynamics.points(path))
        assert where[0] == IN_A and where[-1] == IN_B and (where[1:-1] == OUTSIDE).all()
    assert found.frame_time == pytest.approx(own.frame_time)
    (here, error), (there, other_error) = mean_length(own), mean_length(found)
    error = np.hypot(error, other_error)
    print(f"frames of a path by {mover} moves: {here:.1f} by tps, {there:.1f} by OPS, ± {error:.1f}")
    assert abs(here - there) < 4 * error < here / 2


@pytest.mark.slow
@pytest.mark.parametrize("mover", ["two-way", "one-way"])
def test_long_chains_agree(tmp_path, mover):
    """The acceptance of the whole: at most 0.08 nats from OPS, and 0.05 between halves of the own chains."""
    run = shot_run(tmp_path / "run", n_moves=5000)
    n_moves = 5000 if mover == "two-way" else 10_000
    files = sample(run, tmp_path, "-n", n_moves, "--mover", mover, "--no-storage", starts=(0, 1, 2, 3))
    tps("import-ops", run.path, *files)
    own, found = both_ensembles(run)
    print(f"{mover}: {ensemble_divergence(run.molecule, own, found):.4f} nats")
    assert ensemble_divergence(run.molecule, own, found) < 0.08
    assert ensemble_divergence(run.molecule, *halves(own)) < 0.05
