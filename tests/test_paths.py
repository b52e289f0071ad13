"""Annealed Langevin dynamics against exact work relations, reactive segments, and paths that fail."""

import math
from dataclasses import replace

import numpy as np
import openmm
import pytest
from molecules import torsion_molecule
from scipy.special import i0e

from tps.conformations import read_dcd
from tps.dynamics import reactive_segment
from tps.engine import LangevinSettings, PlatformChoice, executor_kind, local_executor, potential_energies
from tps.errors import ParameterError, RunFolderError
from tps.paths import AnnealingSettings, annealed_paths, load_paths, save_paths
from tps.paths.annealed.molecule import AnnealingTask, run_annealed_paths
from tps.paths.protocol import equal_steps
from tps.systems import Region

REFERENCE = PlatformChoice("Reference")
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=10.0)


def states(text):
    """'A' in A, 'B' in B, '.' outside."""
    return np.array([c == "A" for c in text]), np.array([c == "B" for c in text])


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("AA..BB", (1, 4)),
        ("A.A.B.A.B", (2, 4)),
        (".B.A..B", (3, 6)),
        ("AB", (0, 1)),
        ("BBB", None),
        ("AAA", None),
        ("B.A", None),
        ("...", None),
    ],
)
def test_reactive_segment_by_hand(frames, expected):
    assert reactive_segment(*states(frames)) == expected


def test_equal_steps_follow_the_length():
    s = np.array([0.0, 0.25, 1.0])
    eta = np.array([[0.0, 8.0], [1.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(
        equal_steps(s, eta, 4), [[0, 8], [1, 4], [1, 8 / 3], [1, 4 / 3], [1, 0]], atol=1e-12
    )


def run(molecule, s, eta, settings, seeds, n_copies=1, **options):
    platform = replace(REFERENCE, n_copies=n_copies)
    with local_executor(executor_kind(platform), 2) as executor:
        return annealed_paths(molecule, s, eta, settings, LANGEVIN, platform, seeds, executor, **options)


@pytest.mark.parametrize("n_copies", [1, 100])
def test_work_obeys_jarzynski_on_a_free_torsion(n_copies):
    """Stiffening κ from 0.5 to 4 at fixed angle: <exp(-W)> = I0(4)/I0(0.5), W in kT (Jarzynski 1997)."""
    molecule = torsion_molecule()
    angle = -1.5
    direction = np.array([math.cos(angle), math.sin(angle)])
    kappa = np.array([0.5, 4.0])
    settings = AnnealingSettings(300, n_steps=1000, n_updates=50, n_frames=5, n_equilibration_steps=1500)
    curve = np.array([0.0, 1.0]), kappa[:, None] * direction
    ensemble, _ = run(molecule, *curve, settings, list(range(300)), n_copies)
    weights = np.exp(-ensemble.cumulative_work[:, -1])
    error = weights.std(ddof=1) / math.sqrt(300)
    exact = i0e(4.0) * math.exp(4.0) / (i0e(0.5) * math.exp(0.5))
    assert abs(weights.mean() - exact) < 4 * error
    assert error / exact < 0.05
    mean_work = ensemble.cumulative_work[:, -1].mean()
    assert mean_work > -math.log(exact) - 4 * ensemble.cumulative_work[:, -1].std() / math.sqrt(300)


def swing(n=21):
    """A tilt of κ = 40 whose angle moves from -1.5 to 1.5 through 0."""
    s = np.linspace(0, 1, n)
    angle = -1.5 + 3.0 * s
    return s, 40 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


SWING = AnnealingSettings(4, n_steps=8000, n_updates=80, n_frames=40, n_equilibration_steps=500)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_paths_follow_the_curve_and_react(n_copies):
    molecule = torsion_molecule("4*cos(theta)")
    ensemble, positions = run(molecule, *swing(), SWING, [1, 2, 3, 4], n_copies)
    assert ensemble.completed.all()
    assert ensemble.reactive.all()
    for i, frames in enumerate(positions):
        # sd 1/sqrt(40) = 0.16 rad about the centre, and a lag of the friction: 0.8 rad is far outside
        assert np.abs(ensemble.values[i, :, 0] - (-1.5 + 3.0 * ensemble.s)).max() < 0.8
        start, end = ensemble.reactive_start[i], ensemble.reactive_end[i]
        angle = molecule.values(frames)["theta"]
        assert -2.2 <= angle[start] <= -0.8
        assert 0.8 <= angle[end] <= 2.2
        assert not ((angle[start + 1 : end] >= 0.8) & (angle[start + 1 : end] <= 2.2)).any()
        np.testing.assert_allclose(
            ensemble.potential_energy[i],
            potential_energies(molecule.create_openmm_system(), frames, REFERENCE),
            atol=2e-3,  # single precision of 0.1 nm bonds, k = 20,000: δU = k δx² + |F| δx with δx = 1e-8 nm
        )
    assert ensemble.n_evaluations == 4 * (8000 + 500 + 40)
    assert ensemble.frame_interval == pytest.approx(0.4)


@pytest.mark.parametrize("backward", [False, True])
def test_passages_are_the_path_at_every_move_of_the_tilt(backward, tmp_path):
    """With a frame at every move they are the reactive segment; with fewer frames they are still the same."""
    molecule = torsion_molecule("4*cos(theta)")
    seen, positions = run(molecule, *swing(), replace(SWING, n_frames=80), [1, 2, 3, 4], backward=backward)
    assert seen.passages.interval == pytest.approx(seen.frame_interval) == pytest.approx(0.2)
    for i, passage in enumerate(seen.passages.values):
        # single precision of positions at 0.1 nm: angles to 1e-6
        np.testing.assert_allclose(passage, seen.values[i, seen.segment(i)], atol=1e-5)
        assert len(passage) > 2
    save_paths(tmp_path / "paths", seen, positions)
    seldom, _ = run(molecule, *swing(), replace(SWING, n_frames=8), [1, 2, 3, 4], backward=backward)
    for again in (load_paths(tmp_path / "paths").passages, seldom.passages):
        assert again.interval == pytest.approx(0.2)
        for one, other in zip(again.values, seen.passages.values, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_the_same_seeds_give_the_same_paths(n_copies):
    molecule = torsion_molecule()
    first, second = (run(molecule, *swing(), SWING, [5, 6, 7, 8], n_copies) for _ in range(2))
    np.testing.assert_array_equal(first[0].values, second[0].values)
    np.testing.assert_array_equal(first[1][2], second[1][2])
    other, _ = run(molecule, *swing(), SWING, [9, 10, 11, 12], n_copies)
    assert not np.allclose(first[0].values, other.values)


@pytest.mark.parametrize("n_copies", [1, 4])
def test_a_wall_keeps_paths_out_and_costs_no_reported_energy(n_copies):
    molecule = torsion_molecule()
    region = Region({"theta": (-0.3, 0.3)})
    settings = replace(SWING, wall_stiffness=5000.0)
    free, _ = run(molecule, *swing(), settings, [1, 2, 3, 4], n_copies)
    walled, positions = run(molecule, *swing(), settings, [1, 2, 3, 4], n_copies, walls=(region,))
    assert (np.abs(free.values[..., 0]) < 0.3).any(axis=1).all()
    # the wall begins 3 sqrt(kT/k) = 0.067 rad before the region; a tilt of κ = 40 pulls with at most 100 kJ/mol/rad,
    # 0.02 rad into it, so a frame in the region is 2 standard deviations away
    assert (np.abs(walled.values[..., 0]) < 0.3).mean() < 0.05
    assert (np.abs(walled.values[..., 0]) < 0.2).sum() == 0
    for i, frames in enumerate(positions):
        np.testing.assert_allclose(
            walled.potential_energy[i],
            potential_energies(molecule.create_openmm_system(), frames, REFERENCE),
            atol=2e-3,
        )


def test_a_path_that_fails_is_told_and_harms_no_other(tmp_path):
    molecule = torsion_molecule()
    s, eta = swing()
    good = AnnealingTask(
        molecule.system_xml,
        molecule.features,
        tuple(molecule.collective_variables.values()),
        (molecule.state_a.region, molecule.state_b.region),
        equal_steps(s, eta, 80),
        molecule.positions_a,
        SWING,
        LANGEVIN,
        REFERENCE,
        (1,),
    )
    broken_start = molecule.positions_a.copy()
    broken_start[0] = np.nan
    broken_force = openmm.XmlSerializer.deserialize(molecule.system_xml)
    push = openmm.CustomExternalForce("log(x - 10)")
    push.addParticle(0, [])
    broken_force.addForce(push)
    records = [
        record
        for task in (
            good,
            replace(good, start=broken_start),
            replace(good, system_xml=openmm.XmlSerializer.serialize(broken_force)),
        )
        for record in run_annealed_paths(task)
    ]
    assert [bool(record.failure) for record in records] == [False, True, True]
    assert "not finite" in records[1].failure
    assert "NaN" in records[2].failure or "not a finite number" in records[2].failure

    from tps.paths import PathEnsemble

    ensemble = PathEnsemble.from_records(records, [(0, 3), None, None], ["theta"], 40, 0.4)
    assert ensemble.completed.tolist() == [True, False, False]
    assert np.isnan(ensemble.potential_energy[1:]).all()
    save_paths(tmp_path / "paths", ensemble, [record.positions for record in records])
    assert [p.name for p in sorted((tmp_path / "paths").glob("*.dcd"))] == ["0000.dcd"]
    back = load_paths(tmp_path / "paths")
    np.testing.assert_array_equal(back.status, ensemble.status)
    np.testing.assert_array_equal(back.values, ensemble.values)
    assert back.segment(0) == slice(0, 4)
    np.testing.assert_allclose(read_dcd(tmp_path / "paths" / "0000.dcd"), records[0].positions, atol=1e-7)


def test_missing_paths_and_bad_settings_are_refused(tmp_path):
    with pytest.raises(RunFolderError, match="run `tps paths` first"):
        load_paths(tmp_path)
    with pytest.raises(ParameterError, match=r"n_steps \(100\) must be a multiple of n_updates \(30\)"):
        AnnealingSettings(1, n_steps=100, n_updates=30, n_frames=10)
