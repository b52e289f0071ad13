"""Reported numbers against hand arithmetic."""

import numpy as np
import pytest
from molecules import chain_positions, torsion_molecule
from surfaces import make_surface

from tps.analysis import (
    avoidance_metric,
    channels,
    closest_frame_metrics,
    energy_metrics,
    fraction_metric,
    heavy_atom_rmsd,
    hit_metrics,
    shape_metrics,
    work_metrics,
)
from tps.dynamics.segments import reactive_segment
from tps.paths import PathEnsemble, PathRecord
from tps.systems import DualChannel, Region, load_system


def ensemble_of(molecule, angles, energies=None, works=None, failed=0):
    """Paths (n, n_frames) of the torsion of a four-atom chain [rad]."""
    angles = np.asarray(angles, dtype=float)
    positions = [np.array([chain_positions(a) for a in path], dtype=np.float32) for path in angles]
    records, segments = [], []
    for i, frames in enumerate(positions):
        values = molecule.values(frames)
        records.append(
            PathRecord(
                seed=i,
                n_evaluations=10,
                positions=frames,
                torsions=values["theta"][:, None],
                potential_energy=np.zeros(len(frames))
                if energies is None
                else np.asarray(energies[i], dtype=float),
                cumulative_work=np.zeros(len(frames)) if works is None else np.asarray(works[i], dtype=float),
            )
        )
        segments.append(
            reactive_segment(
                molecule.state_a.region.contains(values), molecule.state_b.region.contains(values)
            )
        )
    records += [PathRecord.failed("NaN", 99, 3)] * failed
    segments += [None] * failed
    ensemble = PathEnsemble.from_records(records, segments, molecule.feature_names, angles.shape[1], 1.0)
    return ensemble, [*positions, *[None] * failed]


THROUGH_ZERO = [-1.5, -0.5, 0.5, 1.5]
THROUGH_PI = [-1.5, -2.5, 2.5, 1.5]
STAYS = [-1.5, -1.4, -1.5, -1.4]


@pytest.fixture(scope="module")
def molecule():
    return torsion_molecule()


def test_hits_of_both_definitions_count_failed_paths_as_misses(molecule):
    overshoots = [-1.5, 0.0, 1.5, 2.9]  # comes by B, ends elsewhere
    ensemble, positions = ensemble_of(molecule, [THROUGH_ZERO, STAYS, overshoots], failed=1)
    found = {**hit_metrics(molecule, positions), **closest_frame_metrics(molecule, ensemble, positions)}
    assert found["hit_rate"].value == pytest.approx(25.0)
    assert found["hit_rate_closest_frame"].value == pytest.approx(50.0)
    assert found["rmsd_end"].value > 0


def test_rmsd_ignores_hydrogens_and_alignment():
    system = load_system("alanine-dipeptide")
    turned = system.positions_b @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]]) + 3.0
    turned[0] += 0.5  # a hydrogen
    assert heavy_atom_rmsd(system, turned[None].astype(np.float32), system.positions_b)[0] < 1e-3
    assert heavy_atom_rmsd(system, system.positions_a[None].astype(np.float32), system.positions_b)[0] > 0.05


def test_maximum_energy_is_that_of_the_reactive_segment(molecule):
    path = [-1.5, -1.5, 0.0, 1.5, 1.5]
    energies = [[100, 1, 7, 2, 100], [0, 3, 11, 1, 50]]
    ensemble, _ = ensemble_of(molecule, [path, path], energies)
    found = energy_metrics(molecule, ensemble, {"a": (4.0, 0.5, "the mean")})
    assert found["u_max"].value == pytest.approx(9.0)
    assert found["u_max"].error == pytest.approx(np.sqrt(8.0))
    assert found["u_max_minus_a"].value == pytest.approx(5.0)
    assert found["u_max_minus_a_kt"].value == pytest.approx(5.0 / (0.00831446261815324 * 300))


def test_no_reactive_path_gives_no_number(molecule):
    ensemble, _ = ensemble_of(molecule, [STAYS])
    found = energy_metrics(molecule, ensemble, {"a": (4.0, 0.5, "the mean")})
    assert found["u_max"].value is None
    assert found["u_max_minus_a"].value is None
    assert channels(molecule, ensemble) == {}
    assert shape_metrics(molecule, ensemble)["deviation_from_straight"].value is None


def test_dissipated_work_by_hand(molecule):
    works = [[0, 1, 2, 5.0], [0, 1, 2, 7.0]]
    ensemble, _ = ensemble_of(molecule, [THROUGH_ZERO, THROUGH_ZERO], works=works, failed=2)
    found = work_metrics(ensemble, delta_f=1.5)
    assert found["work"].value == pytest.approx(6.0)
    assert found["dissipated_work"].value == pytest.approx(4.5)
    assert found["dissipated_work"].error == pytest.approx(1.0)


def test_channels_are_told_apart_by_winding(molecule):
    """Through 0 the torsion turns +172°, through π it turns -188°."""
    ensemble, _ = ensemble_of(molecule, [THROUGH_ZERO, THROUGH_ZERO, THROUGH_ZERO, THROUGH_PI])
    found = channels(molecule, ensemble)
    assert found == {"theta +172°": 0.75, "theta -188°": 0.25}


def test_shape_by_hand(molecule):
    there_and_back = [-1.5, 0.5, -0.5, 1.5]
    ensemble, _ = ensemble_of(molecule, [THROUGH_ZERO, there_and_back])
    found = shape_metrics(molecule, ensemble)
    assert found["path_length_over_chord"].value == pytest.approx((1 + 5 / 3) / 2, rel=1e-5)
    assert found["deviation_from_straight"].value == pytest.approx(0.0, abs=1e-6)
    # the two middle frames differ by 1 rad: chord 2 sin(1/2) each
    assert found["diversity"].value == pytest.approx(np.sqrt(2 * (2 * np.sin(0.5)) ** 2 / 4), rel=1e-5)
    assert found["spread"].value == pytest.approx(np.sqrt(np.mean([0, 1 - np.cos(0.5) ** 2] * 2)), rel=1e-5)


def plane_paths(*paths):
    """Reactive paths on a plane with A at (-1, 0) and B at (1, 0)."""
    system = make_surface(DualChannel(20.0, 8.0, 0.0), n_axes=2)
    values = np.array(paths, dtype=float)
    n, m = values.shape[:2]
    return system, PathEnsemble(
        torsions=values,
        potential_energy=system.energy(values),
        cumulative_work=np.zeros((n, m)),
        s=np.linspace(0, 1, m),
        reactive_start=np.zeros(n, dtype=int),
        reactive_end=np.full(n, m - 1),
        status=np.full(n, "completed"),
        seeds=np.arange(n),
        feature_names=np.array(system.feature_names),
        frame_interval_ps=1.0,
        n_evaluations=0,
    )


def test_channels_of_a_plane_are_its_sides():
    """B lies to the right of the picture, so what goes over the top keeps to the left."""
    over, under = [[-1, 0], [0, 1], [1, 0]], [[-1, 0], [0, -1], [1, 0]]
    assert channels(*plane_paths(over, under, under, under)) == {
        "right of A → B": 0.75,
        "left of A → B": 0.25,
    }


def test_shape_on_a_plane_is_euclidean():
    found = shape_metrics(*plane_paths([[-1, 0], [0, 1], [1, 0]], [[-1, 0], [0, -1], [1, 0]]))
    assert found["path_length_over_chord"].value == pytest.approx(np.sqrt(2))
    assert found["deviation_from_straight"].value == pytest.approx(1.0)
    assert found["diversity"].value == pytest.approx(2 / np.sqrt(3))
    assert found["spread"].value == pytest.approx(np.sqrt(1 / 3))


def test_avoidance_counts_finished_paths(molecule):
    _, positions = ensemble_of(molecule, [THROUGH_ZERO, THROUGH_PI], failed=1)
    metric = avoidance_metric(molecule, positions, [Region({"theta": (-0.6, 0.0)})])
    assert metric.value == pytest.approx(50.0)


def test_error_of_a_fraction_is_never_zero():
    metric = fraction_metric(np.ones(64, dtype=bool), "")
    assert metric.value == 100.0
    assert metric.error == pytest.approx(100 * np.sqrt((66 / 68) * (2 / 68) / 68))
