"""Weighted frames: exact distributions of a torsion alone, and imports with everything that can be wrong."""

import math

import mdtraj
import numpy as np
import openmm
import pytest
from molecules import ATOMS, chain_positions, torsion_molecule
from scipy.special import i0e, i1e

from tps.conformations import (
    Conformations,
    MetadynamicsSettings,
    import_trajectories,
    read_dcd,
    run_metadynamics,
    write_dcd,
)
from tps.conformations.bias import BiasGrid, add_frozen_bias
from tps.engine import LangevinSettings, PlatformChoice, local_executor, potential_energies
from tps.errors import ParameterError, RunFolderError, TrajectoryError
from tps.features import Torsion
from tps.systems import load_system
from tps.units import thermal_energy

REFERENCE = PlatformChoice("Reference")
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=10.0)
KT = thermal_energy(300.0)
THETA = Torsion("theta", ATOMS)


def dataset(log_weights, energy=None, n_features=1):
    n = len(log_weights)
    return Conformations(
        values=np.zeros((n, n_features)),
        log_weights=np.array(log_weights, dtype=float),
        potential_energy=np.zeros(n) if energy is None else np.array(energy, dtype=float),
        walker=np.zeros(n, dtype=int),
    )


def test_weights_are_normalised_and_counted_by_kish():
    frames = dataset(np.log([1.0, 1.0, 2.0]) + 5)
    np.testing.assert_allclose(np.exp(frames.log_weights), [0.25, 0.25, 0.5])
    assert frames.effective_sample_size == pytest.approx(1 / (2 * 0.25**2 + 0.5**2))


def test_weighted_mean_by_hand():
    frames = dataset(np.log([1.0, 3.0, 1.0, 1.0] * 10), [0.0, 4.0, 100.0, 100.0] * 10)
    mean, error = frames.weighted_mean(frames.potential_energy, np.array([True, True, False, False] * 10))
    assert mean == pytest.approx(3.0)
    assert error == pytest.approx(0.0, abs=1e-12)  # every block has the same mean
    mean, error = frames.weighted_mean(frames.potential_energy, np.zeros(40, dtype=bool))
    assert math.isnan(mean)


def test_points_of_a_grid_weigh_as_boltzmann_says():
    frames = Conformations.of_grid(np.zeros((3, 1)), np.array([0.0, 2.0, 4.0]), kt=2.0)
    expected = np.exp([0.0, -1.0, -2.0])
    np.testing.assert_allclose(np.exp(frames.log_weights), expected / expected.sum(), rtol=1e-12)


def test_frames_are_drawn_by_their_weights_among_those_named():
    """Of frames weighing 1 : 3, with a heavier one left out; four standard errors of a share among 4000."""
    drawn = dataset(np.log([1.0, 3.0, 96.0])).draw(np.array([0, 1]), 4000, np.random.default_rng(1))
    assert set(drawn) == {0, 1}
    assert np.mean(drawn == 1) == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))


def test_stretches_follow_the_time_of_each_walker():
    frames = Conformations(np.zeros((4, 1)), np.zeros(4), np.zeros(4), np.array([1, 0, 1, 0]))
    assert frames.stretches(2).tolist() == [1, 0, 1, 0]
    assert frames.stretches(4).tolist() == [2, 0, 3, 1]


def test_error_of_a_weighted_mean_covers_independent_noise():
    """For equal weights and white noise, the block error estimates σ/sqrt(n), itself uncertain by 1/sqrt(2·9)."""
    noise = np.random.default_rng(0).normal(size=100_000)
    _, error = dataset(np.zeros(100_000)).weighted_mean(noise, np.ones(100_000, dtype=bool))
    assert error == pytest.approx(1 / math.sqrt(100_000), rel=4 / math.sqrt(18))


def test_frozen_bias_is_the_table():
    """A table of cos at 61 points: the spline between them is off by h⁴/384 at most."""
    grid = np.linspace(-math.pi, math.pi, 61)
    table = 3 * np.cos(grid)
    table[-1] = table[0]
    system = openmm.System()
    for _ in ATOMS:
        system.addParticle(12.0)
    add_frozen_bias(system, (THETA,), table)
    angles = np.linspace(-3, 3, 7)
    energies = potential_energies(system, np.stack([chain_positions(a) for a in angles]), REFERENCE)
    np.testing.assert_allclose(energies, 3 * np.cos(angles), atol=3 * (grid[1] - grid[0]) ** 4 / 384 + 1e-7)


def test_bias_of_two_torsions_has_the_order_of_metadynamics():
    """OpenMM tabulates the last variable along the first axis of its array: V(a, b) = cos a + 2 sin b."""
    system = openmm.System()
    for _ in range(5):
        system.addParticle(12.0)
    grid = np.linspace(-math.pi, math.pi, 61)
    table = np.cos(grid)[None, :] + 2 * np.sin(grid)[:, None]
    add_frozen_bias(system, (Torsion("a", (0, 1, 2, 3)), Torsion("b", (1, 2, 3, 4))), table)
    positions = np.concatenate([chain_positions(0.8), [[0.05, 0.12, 0.2]]])
    trajectory = mdtraj.Trajectory(positions[None].astype(np.float32), None)
    a, b = mdtraj.compute_dihedrals(trajectory, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), periodic=False)[0]
    energy = potential_energies(system, positions[None], REFERENCE)[0]
    assert energy == pytest.approx(math.cos(a) + 2 * math.sin(b), abs=1e-4)


def test_metadynamics_weights_give_back_the_boltzmann_distribution():
    """U = 8 cos 2θ: flat sampling over barriers of 6.4 kT, yet <cos 2θ> = -I1(κ)/I0(κ) with κ = 8/kT."""
    molecule = torsion_molecule("8*cos(2*theta)")
    settings = MetadynamicsSettings(60_000, 400_000, frame_interval=100, hill_interval=100)
    with local_executor("processes", 2) as executor:
        walkers, bias = run_metadynamics(
            molecule.system_xml,
            (THETA,),
            [molecule.positions_a, molecule.positions_b],
            settings,
            LANGEVIN,
            REFERENCE,
            [1, 2, 3, 4],
            executor,
        )
    theta = np.concatenate([molecule.values(w.positions)["theta"] for w in walkers])
    log_weights = np.concatenate([w.log_weights for w in walkers])
    assert np.ptp(bias) > 8  # of the 14.4 kJ/mol that 1 - 1/γ of the barrier makes
    assert np.histogram(theta, bins=12, range=(-np.pi, np.pi))[0].min() > 0.02 * len(theta)
    frames = Conformations(theta[:, None], log_weights, np.cos(2 * theta), np.zeros(len(theta), dtype=int))
    mean, error = frames.weighted_mean(frames.potential_energy, np.ones(len(theta), dtype=bool))
    kappa = 8 / KT
    assert abs(mean + i1e(kappa) / i0e(kappa)) < 4 * error
    assert error < 0.03
    left, left_error = frames.weighted_mean((theta < 0).astype(float), np.ones(len(theta), dtype=bool))
    assert abs(left - 0.5) < 4 * left_error


def test_metadynamics_settings_are_checked():
    with pytest.raises(ParameterError, match=r"must exceed 1, but got 1\.0"):
        MetadynamicsSettings(1, 1000, bias_factor=1.0)
    with pytest.raises(ParameterError, match=r"one to 3 collective variables, but got 4"):
        BiasGrid.spaced((THETA,) * 4, 61)


def test_dcd_keeps_single_precision(tmp_path, capfd):
    positions = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    write_dcd(tmp_path / "a.dcd", positions)
    np.testing.assert_allclose(read_dcd(tmp_path / "a.dcd"), positions, atol=1e-6)
    assert capfd.readouterr().out == ""


def test_dcd_carries_the_cell(tmp_path):
    """A triclinic box back by MDTraj, in single precision; positions do not depend on it."""
    positions = np.random.default_rng(0).normal(size=(3, 7, 3)).astype(np.float32)
    box = np.array([[2.0, 0.0, 0.0], [0.4, 1.9, 0.0], [-0.3, 0.5, 1.8]])
    write_dcd(tmp_path / "a.dcd", positions, box)
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(7):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    found = mdtraj.load(str(tmp_path / "a.dcd"), top=topology)
    np.testing.assert_allclose(found.unitcell_vectors, np.tile(box, (3, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(read_dcd(tmp_path / "a.dcd"), positions, atol=1e-6)


@pytest.fixture(scope="module")
def alanine():
    return load_system("alanine-dipeptide")


@pytest.fixture
def trajectory(alanine):
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(6, 22, 3))
    return mdtraj.Trajectory((alanine.positions_a + noise).astype(np.float32), alanine.mdtraj_topology)


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "trr", "pdb", "nc", "h5"])
def test_import_reads_what_mdtraj_writes(tmp_path, alanine, trajectory, suffix):
    if suffix == "h5":
        pytest.importorskip("tables")
    trajectory.save(str(tmp_path / f"a.{suffix}"))
    imported = import_trajectories(alanine, [tmp_path / f"a.{suffix}"])
    np.testing.assert_allclose(imported.positions, trajectory.xyz, atol=6e-4)
    np.testing.assert_array_equal(imported.log_weights, 0.0)


def test_import_joins_strides_and_weighs(tmp_path, alanine, trajectory):
    files = [tmp_path / "a.dcd", tmp_path / "b.dcd"]
    for file in files:
        trajectory.save(str(file))
    (tmp_path / "COLVAR").write_text(
        "#! FIELDS time phi metad.rbias\n" + "".join(f"{i} 0.1 {0.25 * i}\n" for i in range(12))
    )
    imported = import_trajectories(
        alanine,
        files,
        stride=5,
        weights_file=tmp_path / "COLVAR",
    )
    assert imported.trajectory.tolist() == [0, 0, 1]
    np.testing.assert_allclose(imported.log_weights, 0.25 * np.array([0, 5, 10]) / KT)


def test_weights_and_their_logarithms_are_the_same(tmp_path, alanine, trajectory):
    trajectory.save(str(tmp_path / "a.dcd"))
    weights = np.arange(6.0)
    np.save(tmp_path / "w.npy", weights)
    imported = import_trajectories(
        alanine, [tmp_path / "a.dcd"], weights_file=tmp_path / "w.npy", weights_kind="weight"
    )
    np.testing.assert_allclose(np.exp(imported.log_weights), weights[1:])
    assert imported.notes == ("1 frames carry no weight and were left out",)


def test_bad_imports_are_refused(tmp_path, alanine, trajectory):
    good = tmp_path / "a.dcd"
    trajectory.save(str(good))

    def refuses(message, files=(good,), **options):
        with pytest.raises(TrajectoryError, match=message) as caught:
            import_trajectories(alanine, list(files), **options)
        assert "\n" not in str(caught.value)

    refuses("there is no trajectory .*none.xtc", [tmp_path / "none.xtc"])
    refuses("needs at least one trajectory", [])
    trajectory.atom_slice(range(21)).save(str(tmp_path / "small.dcd"))
    refuses("must hold the 22 atoms of alanine-dipeptide, but", [tmp_path / "small.dcd"])
    trajectory.save(str(tmp_path / "same.pdb"))
    lines = (tmp_path / "same.pdb").read_text().splitlines()
    other = [
        line[:76] + " N  " if line[:11].split() in (["ATOM", "2"], ["HETATM", "2"]) else line
        for line in lines
    ]
    (tmp_path / "other.pdb").write_text("\n".join(other) + "\n")
    refuses("atom 1 is N where the system has C", [tmp_path / "other.pdb"])
    (tmp_path / "junk.xtc").write_bytes(b"junk")
    refuses("MDTraj cannot read it", [tmp_path / "junk.xtc"])
    (tmp_path / "junk.xyz2").write_bytes(b"junk")
    refuses("MDTraj cannot read it", [tmp_path / "junk.xyz2"])

    np.savetxt(tmp_path / "short.txt", np.zeros(5))
    logs = {"weights_kind": "log-weight"}
    refuses("has 5 values, but the trajectories have 6 frames", weights_file=tmp_path / "short.txt", **logs)
    np.savetxt(tmp_path / "minus.txt", [-1.0, 1, 1, 1, 1, 1])
    refuses("must be zero or positive", weights_file=tmp_path / "minus.txt", weights_kind="weight")
    np.savetxt(tmp_path / "nan.txt", [0.0, 1, np.nan, 1, 1, 1])
    refuses("not a number for frame 2", weights_file=tmp_path / "nan.txt", **logs)
    refuses("there is no weights file", weights_file=tmp_path / "nowhere.txt")
    (tmp_path / "words.txt").write_text("a b c\n")
    refuses("not a table of numbers", weights_file=tmp_path / "words.txt")
    np.savetxt(tmp_path / "two.txt", np.zeros((6, 2)))
    refuses("no column '2': name one of 0 to 1", weights_file=tmp_path / "two.txt", weights_column="2")


def test_a_broken_frame_is_refused_or_left_out_and_counted(tmp_path, alanine, trajectory):
    trajectory.xyz[4, 3] = np.nan
    trajectory.save(str(tmp_path / "a.dcd"))
    with pytest.raises(
        TrajectoryError, match=r"1 of 6 frames .* \(the first is frame 4 of .*a.dcd\): mend the file"
    ):
        import_trajectories(alanine, [tmp_path / "a.dcd"])
    imported = import_trajectories(alanine, [tmp_path / "a.dcd"], skip_bad_frames=True)
    assert len(imported.positions) == 5
    assert "1 of 6 frames" in imported.notes[0]


def test_missing_conformations_are_named(tmp_path):
    with pytest.raises(RunFolderError, match="run `tps conformations` first"):
        Conformations.load(tmp_path / "data.npz")
    frames = dataset([0.0, 1.0])
    frames.save(tmp_path / "data.npz")
    np.testing.assert_allclose(Conformations.load(tmp_path / "data.npz").log_weights, frames.log_weights)
