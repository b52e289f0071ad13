"""What goes to OpenPathSampling and what comes back, without OpenPathSampling itself."""

import ast
import json
import math
from dataclasses import dataclass, replace

import mdtraj
import numpy as np
import openmm
import pytest
from boxes import BOX, boxed_molecule, boxed_positions, wrapped_atom_by_atom
from click.testing import CliRunner
from molecules import chain_positions, torsion_molecule
from ops_runs import LANGEVIN, REFERENCE, empty_run, ensemble, pulled, save_ensemble, segment

from tps.cli import main
from tps.dynamics import IN_A, IN_B, OUTSIDE, MoleculeDynamics
from tps.engine import LangevinSettings, potential_energies, symmetric_integrator
from tps.errors import ParameterError, TrajectoryError
from tps.export import export_ops, export_paths, read_ops_paths
from tps.features import Distance, Torsion
from tps.paths import PathEnsemble, PathRecord, load_transition_paths, save_paths
from tps.systems import load_system
from tps.systems.regions import region_from_keys
from tps.units import thermal_energy


@pytest.fixture(scope="module")
def pulls():
    """The system and two pulls from A to B."""
    system = load_system("alanine-dipeptide")
    return system, [pulled(system, seed) for seed in (0, 1)]


@pytest.fixture
def run(tmp_path, pulls):
    """A run folder with three transition paths of two chains."""
    system, frames = pulls
    folder = empty_run(tmp_path / "run")
    paths = [segment(system, f) for f in frames]
    save_ensemble(folder.path / "shooting", system, ensemble([paths[0], paths[1], paths[0]], [0, 0, 1]))
    return folder


def tps_(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def exported(folder):
    with np.load(folder / "trajectories.npz") as data:
        ends = np.cumsum(data["lengths"])[:-1]
        both = (np.split(data[name], ends) for name in ("positions", "velocities"))
        return dict(zip(data["index"].tolist(), zip(*both, strict=True), strict=True))


def test_trajectories_have_one_frame_in_a_and_one_in_b(run, pulls, tmp_path):
    system, out = pulls[0], tmp_path / "ops"
    said = tps_("export", run.path, "-f", "ops", "-o", out)
    assert "2 trajectories of shooting" in said and "10 fs" in said
    found = exported(out)
    assert sorted(found) == [1, 2]  # the last of each chain
    dynamics = MoleculeDynamics.of(system, LANGEVIN, REFERENCE)
    for index, (positions, _) in found.items():
        where = dynamics.states(dynamics.points(positions))
        assert where[0] == IN_A and where[-1] == IN_B
        assert len(where) > 2 and (where[1:-1] == OUTSIDE).all()
        dcd = mdtraj.load_dcd(str(out / f"path_{index:04d}.dcd"), top=str(out / "topology.pdb"))
        np.testing.assert_allclose(dcd.xyz, positions, atol=2e-6)


def save_candidates(folder, system, frames):
    """Write candidates of as many frames each as the paths stage does; None for one that failed."""
    n = min(len(f) for f in frames if f is not None)
    frames = [None if f is None else f[:n] for f in frames]
    nothing = np.zeros(n)
    records = [
        PathRecord.failed("left the numbers", 1, 0)
        if f is None
        else PathRecord(1, 0, f, system.feature_values(f), nothing, nothing)
        for f in frames
    ]
    save_paths(
        folder, PathEnsemble.from_records(records, [None] * len(frames), system.feature_names, n, 0.2), frames
    )


def test_candidates_that_cannot_start_a_chain_are_counted(pulls, tmp_path):
    """One whole pull, one that crosses between two frames, one that never leaves A, and one that failed."""
    system, (frames, _) = pulls
    run, path = empty_run(tmp_path / "run"), segment(system, frames)
    still = np.repeat(path[:1], len(path), axis=0)
    coarse = np.concatenate([still[1:], path[-1:]])
    save_candidates(run.path / "paths", system, [path, coarse, still, None])
    said = tps_("export", run.path, "-f", "ops")
    assert "1 trajectories of paths" in said
    assert "1 with no frame outside both states" in said and "1 with no reactive segment" in said
    left_out = json.loads((run.path / "export-ops" / "setup.json").read_text())["left_out"]
    assert left_out == {
        "1": "no frame outside both states",
        "2": "no reactive segment",
        "3": "failed: left the numbers",
    }
    said = tps_("export", run.path, "-f", "ops", "--path", 1, "--path", 2, "--force", code=1)
    assert "none of the paths" in said and "shoot first" in said


def test_velocities_are_those_of_the_bath_and_keep_constraints(run, pulls, tmp_path):
    """Kinetic energy kT/2 per unconstrained degree of freedom, whose variance is n (kT)²/2; seeded."""
    for name in ("one", "two"):
        tps_("export", run.path, "-f", "ops", "-o", tmp_path / name)
    one, two = exported(tmp_path / "one"), exported(tmp_path / "two")
    system = openmm.XmlSerializer.deserialize((tmp_path / "one" / "system.xml").read_text())
    masses = np.array([system.getParticleMass(i)._value for i in range(22)])
    positions, velocities = (np.concatenate(parts) for parts in zip(*one.values(), strict=True))
    np.testing.assert_array_equal(velocities, np.concatenate([v for _, v in two.values()]))
    kinetic = 0.5 * np.einsum("a,naj->n", masses, velocities**2)
    n, kt = 66 - system.getNumConstraints(), thermal_energy(300.0)
    assert abs(kinetic.mean() - n * kt / 2) < 4 * kt * np.sqrt(n / 2 / len(kinetic))
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        bond, slip = positions[:, i] - positions[:, j], velocities[:, i] - velocities[:, j]
        assert np.abs(np.linalg.norm(bond, axis=1) / length._value - 1).max() < 1e-5
        assert np.abs(np.sum(bond * slip, axis=1)).max() < 1e-4


def test_the_files_hold_the_forces_and_the_dynamics_of_the_run(run, pulls, tmp_path):
    system, (frames, _) = pulls
    tps_("export", run.path, "-f", "ops", "-o", tmp_path / "ops")
    read = openmm.XmlSerializer.deserialize((tmp_path / "ops" / "system.xml").read_text())
    np.testing.assert_array_equal(
        potential_energies(read, frames[:20], REFERENCE),
        potential_energies(system.create_openmm_system(), frames[:20], REFERENCE),
    )
    integrator = openmm.XmlSerializer.deserialize((tmp_path / "ops" / "integrator.xml").read_text())
    assert integrator.getStepSize()._value == LANGEVIN.timestep
    assert integrator.getGlobalVariableByName("decay") == pytest.approx(math.exp(-0.002))
    context = openmm.Context(read, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(frames[0])
    integrator.step(10)
    atoms = mdtraj.load_pdb(str(tmp_path / "ops" / "topology.pdb")).topology
    assert [a.element.symbol for a in atoms.atoms] == [a.element.symbol for a in system.topology.atoms()]


def test_the_symmetric_integrator_moves_as_the_run_does_and_turns_back(pulls):
    """Without friction: the same 40 steps to round-off and the constraints' tolerance, and -v retraces them."""
    system, free = pulls[0], LangevinSettings(300.0, friction=1e-12)
    platform = openmm.Platform.getPlatformByName("Reference")
    own, other = (
        openmm.Context(system.create_openmm_system(), integrator, platform)
        for integrator in (free.integrator(1), symmetric_integrator(free, 1))
    )
    own.setPositions(system.positions_a)
    own.applyConstraints(1e-6)
    own.setVelocitiesToTemperature(300.0, 5)
    own.getIntegrator().step(100)
    start, velocities, forces = phase_point(own)
    masses = np.array([own.getSystem().getParticleMass(i)._value for i in range(22)])[:, None]
    other.setPositions(start)
    other.setVelocities(velocities + free.timestep / 2 * forces / masses)
    other.applyVelocityConstraints(1e-6)
    for context in (own, other):
        context.getIntegrator().step(40)
    there, velocities, _ = phase_point(other)
    np.testing.assert_allclose(there, phase_point(own)[0], atol=1e-6)
    assert np.abs(there - start).max() > 0.01
    other.setVelocities(-velocities)
    other.getIntegrator().step(40)
    np.testing.assert_allclose(phase_point(other)[0], start, atol=1e-6)


def phase_point(context):
    state = context.getState(positions=True, velocities=True, forces=True)
    parts = (
        state.getPositions(asNumpy=True),
        state.getVelocities(asNumpy=True),
        state.getForces(asNumpy=True),
    )
    return [part._value for part in parts]


def test_the_symmetric_integrator_has_the_bath_s_temperature():
    """x² = kT/k of 1500 harmonic coordinates, exact for this splitting at any time step; 40 samples far apart."""
    system, k = openmm.System(), 1000.0
    well = openmm.CustomExternalForce(f"{k / 2}*(x^2 + y^2 + z^2)")
    for index in range(500):
        system.addParticle(10.0)
        well.addParticle(index, [])
    system.addForce(well)
    integrator = symmetric_integrator(LangevinSettings(300.0, timestep=0.02, friction=20.0), 3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.zeros((500, 3)))
    integrator.step(50)
    samples = []
    for _ in range(
        40
    ):  # critically damped: after 0.4 ps x is correlated by 5 exp(-4), x² by the square of it
        integrator.step(20)
        samples.append(phase_point(context)[0].ravel() ** 2)
    mean, exact = np.mean(samples), thermal_energy(300.0) / k
    assert abs(mean / exact - 1) < 4 * math.sqrt(2 / 60_000 * 1.02)


def test_states_go_out_as_they_are_wrapped_ranges_included(run, pulls, tmp_path):
    system = pulls[0]
    tps_("export", run.path, "-f", "ops", "-o", tmp_path / "ops")
    setup = json.loads((tmp_path / "ops" / "setup.json").read_text())
    assert setup["states"]["A"]["psi_degree"] == [20.0, -150.0]
    assert setup["collective_variables"] == {
        "phi_degree": {"kind": "torsion", "atoms": [4, 6, 8, 14]},
        "psi_degree": {"kind": "torsion", "atoms": [6, 8, 14, 16]},
    }
    assert setup["box_nm"] is None
    assert (setup["steps_per_frame"], setup["temperature_kelvin"]) == (5, 300.0)
    for label, state in (("A", system.state_a), ("B", system.state_b)):
        read = region_from_keys(setup["states"][label], system.collective_variables, label)
        for name, bounds in state.region.ranges.items():
            np.testing.assert_allclose(read.ranges[name], bounds, rtol=1e-11)


def test_the_script_compiles_and_computes_what_tps_computes(run, tmp_path):
    tps_("export", run.path, "-f", "ops", "-o", tmp_path / "ops")
    text = (tmp_path / "ops" / "setup_ops.py").read_text()
    compile(text, "setup_ops.py", "exec")
    functions = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name in ("torsion", "distance")
    ]
    found = {}
    exec(compile(ast.Module(functions, []), "setup_ops.py", "exec"), found)
    for box in (None, BOX.tolist()):  # nearest images in a slanted box
        for xyz in np.random.default_rng(0).normal(size=(50, 5, 3)):
            snapshot = type("Snapshot", (), {"xyz": xyz})
            atoms = [4, 2, 0, 1]
            angle = Torsion("a", tuple(atoms)).values(xyz[None], box)[0]
            assert found["torsion"](snapshot, atoms, box) == pytest.approx(math.degrees(angle), abs=1e-9)
            far = Distance("d", (3, 1)).values(xyz[None], box)[0]
            assert found["distance"](snapshot, [3, 1], box) == pytest.approx(far)


def test_a_box_goes_out_with_the_states_and_the_pictures_are_whole(tmp_path):
    """Positions stay as the dynamics has them for OPS; the DCD to look at has its cell, and molecules whole in it."""
    system, folder = boxed_molecule(), tmp_path / "run"
    whole = np.array([boxed_positions(angle) for angle in (-1.5, 0.0, 1.5)])
    shifted = wrapped_atom_by_atom(whole + np.array([0.9, 0.1, 0.6]))
    save_ensemble(folder / "shooting", system, ensemble([shifted.astype(np.float32)], [0]))
    export_ops(folder, tmp_path / "ops", system, LANGEVIN, REFERENCE)
    setup = json.loads((tmp_path / "ops" / "setup.json").read_text())
    assert setup["box_nm"] == BOX.tolist()
    ((positions, _),) = exported(tmp_path / "ops").values()
    np.testing.assert_allclose(positions, shifted, atol=1e-6)
    frames = mdtraj.load_dcd(
        str(tmp_path / "ops" / "path_0000.dcd"), top=str(tmp_path / "ops" / "topology.pdb")
    )
    np.testing.assert_allclose(frames.unitcell_vectors[0], BOX, atol=1e-4)
    chain, exact = frames.xyz[:, :4], whole[:, :4]
    np.testing.assert_allclose(chain - chain[:, :1], exact - exact[:, :1], atol=1e-5)


def test_a_state_of_another_kind_of_variable_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Twist(Torsion):
        kind = "twist"

    system = boxed_molecule()
    path = np.array([boxed_positions(angle) for angle in (-1.5, 0.0, 1.5)], dtype=np.float32)
    save_ensemble(tmp_path / "run" / "shooting", system, ensemble([path], [0]))
    variables = {**system.collective_variables, "theta": Twist("theta", (0, 1, 2, 3))}
    twisted = replace(system, collective_variables=variables)
    with pytest.raises(ParameterError, match="torsions and distances, but theta is a twist"):
        export_ops(tmp_path / "run", tmp_path / "ops", twisted, LANGEVIN, REFERENCE)
    assert not (tmp_path / "ops").exists()


def test_an_export_replaces_only_its_own_files_and_only_when_asked(run):
    out = run.path / "export-ops"
    tps_("export", run.path, "-f", "ops")
    (out / "ops.nc").write_text("of the user")
    assert "is not empty" in tps_("export", run.path, "-f", "ops", code=1)
    tps_("export", run.path, "-f", "ops", "--path", 0, "--force")
    assert [f.name for f in out.glob("path_*")] == ["path_0000.dcd"]
    assert (out / "ops.nc").read_text() == "of the user"
    assert not list(run.path.glob(".export*"))


def test_mistakes_get_one_sentence(run, pulls, tmp_path):
    system = pulls[0]
    assert "leave --atoms out" in tps_("export", run.path, "-f", "ops", "--atoms", "all", code=1)
    assert "paths 0 to 2" in tps_("export", run.path, "-f", "ops", "--path", 7, code=1)
    assert "make the paths first" in tps_("export", empty_run(tmp_path / "e").path, "-f", "ops", code=1)
    with pytest.raises(ParameterError, match=r"0\.01 ps .* 0\.003 ps"):
        export_ops(run.path, tmp_path / "o", system, LangevinSettings(300.0, timestep=0.003), REFERENCE)
    surface = empty_run(tmp_path / "surface", system="double-well")
    assert "surface" in tps_("export", surface.path, "-f", "ops", code=1)
    assert not (tmp_path / "o").exists()


# ---- the way back


def labelled(angles, label):
    """Frames of a chain of four atoms at these angles, told apart by a shift of all atoms."""
    return np.array([chain_positions(a) + 0.01 * label for a in angles], dtype=np.float32)


def save_ops(file, paths, accepted, frame_time=0.01, **changes):
    entries = {
        "positions": np.concatenate(paths),
        "lengths": [len(p) for p in paths],
        "accepted": accepted,
        "n_frames_flown": np.full(len(accepted), 7),
        "frame_time_ps": frame_time,
    }
    np.savez(file, **(entries | changes))
    return file


def handmade(tmp_path):
    """A chain whose frames say which move made them; burn-in ends at move 3."""
    first = labelled([-1.0, -0.5, 0.0, 0.5, 1.0], 0)
    second = np.concatenate([first[:3], labelled([0.4, 0.7, 0.9], 1)])  # move 1, forward
    third = np.concatenate(
        [labelled([-0.9, -0.2], 3), second[3:]]
    )  # move 3, backward: the first path is gone
    fourth = np.concatenate([third[:2], labelled([0.3, 0.9], 4)])  # move 4 keeps frames of move 3
    wrong = labelled([-1.0, 0.0, -1.1], 5)  # move 5 ends in A
    accepted = np.array([False, True, False, True, True, True, False])
    return save_ops(tmp_path / "ops_paths.npz", [first, second, third, fourth, wrong], accepted)


def test_burn_in_and_multiplicity_are_traced_by_the_frames(tmp_path):
    found = read_ops_paths([handmade(tmp_path)], torsion_molecule())
    assert found.paths.move.tolist() == [3, 4]
    assert found.paths.multiplicity.tolist() == [1, 1]
    assert found.paths.decorrelated.tolist() == [True, False]
    assert (found.n_moves, found.n_accepted, found.n_frames_flown, found.n_wrong) == (7, 4, 49, 1)
    assert found.unfinished == ()


def test_a_chain_in_burn_in_is_left_out_and_named(tmp_path):
    file = save_ops(tmp_path / "short.npz", [labelled([-1, 0, 1], 0)], np.array([False, False]))
    found = read_ops_paths([handmade(tmp_path), file], torsion_molecule())
    assert found.unfinished == (file,)
    assert set(found.paths.chain.tolist()) == {0}


def test_damaged_or_foreign_files_get_one_sentence(tmp_path):
    molecule, path, moves = torsion_molecule(), labelled([-1, 0, 1], 0), np.array([False])
    text = tmp_path / "ops.nc"
    text.write_text("not an archive")
    for file in (text, tmp_path / "nowhere.npz"):
        with pytest.raises(TrajectoryError, match=r"setup_ops\.py writes"):
            read_ops_paths([file], molecule)
    with pytest.raises(TrajectoryError, match=r"\(n_frames, 4, 3\), but has \(3, 3, 3\)"):
        read_ops_paths([save_ops(tmp_path / "a.npz", [path[:, :3]], moves)], molecule)
    for harm in (
        {"lengths": [3.0]},
        {"lengths": [-3]},
        {"n_frames_flown": [-7]},
        {"frame_time": np.nan},
        {"positions": path * 1j},
    ):
        with pytest.raises(TrajectoryError, match=f"ops_paths.npz .its {next(iter(harm))}"):
            read_ops_paths([save_ops(tmp_path / "odd.npz", [path], moves, **harm)], molecule)
    with pytest.raises(TrajectoryError, match=r"0 of 1 moves .* 2 paths"):
        read_ops_paths([save_ops(tmp_path / "b.npz", [path, path], moves)], molecule)
    with pytest.raises(TrajectoryError, match=r"0\.02 ps.*0\.01 ps"):
        read_ops_paths(
            [
                save_ops(tmp_path / "c.npz", [path], moves),
                save_ops(tmp_path / "d.npz", [path], moves, frame_time=0.02),
            ],
            molecule,
        )


def test_the_way_there_and_back(run, pulls, tmp_path):
    """Exported paths, called accepted moves, come back with energies, and as an ensemble that is exported again."""
    system = pulls[0]
    tps_("export", run.path, "-f", "ops", "--path", 0, "--path", 1)
    (first, _), (second, _) = exported(run.path / "export-ops").values()
    file = save_ops(tmp_path / "p.npz", [first, second], np.array([True, False]))
    said = tps_("import-ops", run.path, file)
    assert "1 paths of 1 chains" in said and "50.0% accepted" in said
    assert "Jensen-Shannon divergence from shooting" in said
    stored = load_transition_paths(run.path / "shooting-ops")
    energies = potential_energies(system.create_openmm_system(), second.astype(np.float32), REFERENCE)
    np.testing.assert_allclose(stored.potential_energy[0], energies)
    assert "is there already" in tps_("import-ops", run.path, file, code=1)
    told = json.loads(tps_("import-ops", run.path, file, "--force", "--json"))
    assert (told["paths"], told["moves"], told["accepted"], told["unfinished"]) == (1, 2, 1, [])
    record = export_paths(run.path, tmp_path / "dcd", system, source="shooting-ops", align=False)
    assert record.n_frames == len(second)
    again = mdtraj.load_dcd(
        str(tmp_path / "dcd" / "path_0000.dcd"), top=str(tmp_path / "dcd" / "topology.pdb")
    )
    np.testing.assert_allclose(again.xyz, second, atol=2e-6)


def test_nothing_left_after_burn_in_gets_one_sentence(run, tmp_path):
    tps_("export", run.path, "-f", "ops", "--path", 0)
    ((first, _),) = exported(run.path / "export-ops").values()
    file = save_ops(tmp_path / "p.npz", [first], np.array([False]))
    assert "still in burn-in" in tps_("import-ops", run.path, file, code=1)
    assert not (run.path / "shooting-ops").exists()
