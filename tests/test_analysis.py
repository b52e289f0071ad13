"""Reported numbers against hand arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import boxed_molecule
from molecules import chain_positions, torsion_molecule
from surfaces import make_surface

from tps.analysis import (
    Metric,
    avoidance_metric,
    channels,
    closest_frame_metrics,
    divergence_of_passages,
    energy_metrics,
    ensemble_divergence,
    fraction_metric,
    frame_histogram,
    frame_ranges,
    heavy_atom_rmsd,
    hit_metrics,
    last_frame_metrics,
    native_contacts,
    shape_metrics,
    work_metrics,
)
from tps.dynamics.segments import reactive_segment
from tps.errors import ParameterError
from tps.features import CollectiveVariable, Distance
from tps.paths import Passages, PathEnsemble, PathRecord, TransitionPaths
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
                values=molecule.feature_values(frames),
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


def test_a_hit_near_b_counts_distances_in_scales():
    """B is (1.5, d): a path whose closest frame is 0.5 rad and 0.5 scales off is near, with 0.6 scales it is not."""
    system = boxed_molecule()
    theta, ends = system.feature_values(system.positions_b)
    positions = [np.array([system.positions_b], dtype=np.float32)] * 2
    ensemble = reactive_ensemble(system, [[[theta - 0.5, ends + 0.05]], [[theta - 0.5, ends + 0.06]]])
    found = closest_frame_metrics(system, ensemble, positions)["hit_rate_closest_frame"]
    assert found.value == pytest.approx(50.0) and "scales" in found.definition


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
    found = work_metrics(ensemble, Metric(1.5, None, "kT", ""))
    assert found["work"].value == pytest.approx(6.0)
    assert found["dissipated_work"].value == pytest.approx(4.5)
    assert found["dissipated_work"].error == pytest.approx(1.0)
    assert work_metrics(ensemble, Metric(1.5, 0.75, "kT", ""))["dissipated_work"].error == pytest.approx(1.25)


def test_dissipated_work_is_withheld_with_the_free_energy_it_needs(molecule):
    ensemble, _ = ensemble_of(molecule, [THROUGH_ZERO], works=[[0, 1, 2, 5.0]])
    found = work_metrics(ensemble, Metric(1.5, None, "kT", "").unless("a reason"))
    assert found["work"].value == pytest.approx(5.0)
    assert (found["dissipated_work"].value, found["dissipated_work"].withheld) == (None, "a reason")


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
    return system, reactive_ensemble(system, paths)


def reactive_ensemble(system, paths):
    """Paths (n, n_frames, d) of features that are reactive from end to end."""
    values = np.array(paths, dtype=float)
    n, m = values.shape[:2]
    return PathEnsemble(
        values=values,
        potential_energy=np.zeros((n, m)),
        cumulative_work=np.zeros((n, m)),
        s=np.linspace(0, 1, m),
        reactive_start=np.zeros(n, dtype=int),
        reactive_end=np.full(n, m - 1),
        status=np.full(n, "completed"),
        seeds=np.arange(n),
        feature_names=np.array(system.feature_names),
        frame_interval=1.0,
        time_unit=system.time_unit,
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


def with_features(*variables):
    """The boxed chain with these features; A and B are told by its torsion as before."""
    system = boxed_molecule()
    known: dict[str, CollectiveVariable] = {**system.collective_variables, **{v.name: v for v in variables}}
    return replace(
        system, collective_variables=known, feature_names=tuple(v.name for v in variables), chosen_solute=None
    )


def test_shape_of_a_torsion_and_a_distance_is_measured_in_scales():
    """One path goes straight from (-1.5, 0.2 nm) to (1.5, 0.2 nm), the other over 0.5 nm: 3 scales of 0.1 nm."""
    system = boxed_molecule()
    straight, over = [[-1.5, 0.2], [0.0, 0.2], [1.5, 0.2]], [[-1.5, 0.2], [0.5, 0.5], [1.5, 0.2]]
    found = shape_metrics(system, reactive_ensemble(system, [straight, over]))
    bent = (np.hypot(2, 3) + np.hypot(1, 3)) / 3
    assert found["path_length_over_chord"].value == pytest.approx((1 + bent) / 2)
    assert found["deviation_from_straight"].value == pytest.approx(1.5)
    assert found["deviation_from_straight"].unit == ""
    # only the middle frames differ: by a chord 2 sin(1/4) and by 3 scales
    apart = (2 * np.sin(0.25)) ** 2 + 9
    assert found["diversity"].value == pytest.approx(np.sqrt(apart / 3))
    # half way between them, the deviation is 1 - cos(1/4)^2 of the angle and 1.5^2 of the distance
    assert found["spread"].value == pytest.approx(np.sqrt((1 - np.cos(0.25) ** 2 + 2.25) / 3))


def test_shape_of_distances_alone_is_in_nanometres():
    system = with_features(Distance("one", (0, 3)), Distance("two", (0, 2)))
    found = shape_metrics(system, reactive_ensemble(system, [[[0.2, 0.1], [0.3, 0.4], [0.4, 0.1]]] * 2))
    assert (found["deviation_from_straight"].value, found["deviation_from_straight"].unit) == (
        pytest.approx(0.3),
        "nm",
    )
    assert found["diversity"].unit == found["spread"].unit == "nm"
    scaled = with_features(Distance("one", (0, 3)), Distance("two", (0, 2), scale=0.3))
    over = reactive_ensemble(scaled, [[[0.2, 0.1], [0.3, 0.4], [0.4, 0.1]]])
    found = shape_metrics(scaled, over)["deviation_from_straight"]
    assert (found.value, found.unit) == (pytest.approx(1.0), "")


def test_channels_of_a_mixed_space_are_the_turns_of_its_circles():
    system = boxed_molecule()
    there, round_the_back = (
        [[-1.5, 0.2], [0.0, 0.9], [1.5, 0.2]],
        [[-1.5, 0.2], [-2.9, 0.2], [2.9, 0.1], [1.5, 0.2]],
    )
    assert channels(system, reactive_ensemble(system, [there])) == {"theta +172°": 1.0}
    assert channels(system, reactive_ensemble(system, [round_the_back])) == {"theta -188°": 1.0}
    lines = with_features(Distance("one", (0, 3)), Distance("two", (1, 3)), Distance("three", (0, 2)))
    assert channels(lines, reactive_ensemble(lines, [np.zeros((3, 3))])) == {"direct": 1.0}


def test_histograms_over_a_distance_span_what_they_compare():
    """A distance has no upper bound: that of the histogram is the longest one among the paths.

    Two ensembles that differ by their distances alone, 0.1 nm or more everywhere, share no cell: ln 2. Each over a span
    of its own would look alike.
    """
    system = boxed_molecule()
    short = np.array([system.positions_a, system.positions_b])
    longer = short.copy()
    longer[:, 3, 2] += 0.2  # along the axis of the torsion
    one, other = (TransitionPaths.of_segments([frames], 1.0) for frames in (short, longer))
    values = system.feature_values(np.concatenate([short, longer]))
    np.testing.assert_allclose(values[:2, 0], values[2:, 0])
    assert (values[2:, 1] - values[:2, 1]).min() > 0.1
    ranges = frame_ranges(system, one, other)
    assert ranges.tolist() == [[-np.pi, np.pi], [0.0, values[:, 1].max()]]
    assert frame_histogram(system, one, ranges=ranges).sum() == pytest.approx(1)
    assert ensemble_divergence(system, one, other) == pytest.approx(np.log(2))
    nothing, near, far = (np.empty((0, 2)), *(system.feature_values(frames) for frames in (short, longer)))
    assert divergence_of_passages(system, Passages((near, nothing), 0.1), one) == pytest.approx(0, abs=1e-12)
    assert divergence_of_passages(system, Passages((nothing, far), 0.1), one) == pytest.approx(np.log(2))
    assert divergence_of_passages(system, Passages((nothing, nothing), 0.1), one) is None
    with pytest.raises(ParameterError, match="at least one path"):
        frame_ranges(system, one.select(np.array([], dtype=int)))


def test_avoidance_counts_finished_paths(molecule):
    _, positions = ensemble_of(molecule, [THROUGH_ZERO, THROUGH_PI], failed=1)
    metric = avoidance_metric(molecule, positions, [Region({"theta": (-0.6, 0.0)})])
    assert metric.value == pytest.approx(50.0)


def test_error_of_a_fraction_is_never_zero():
    metric = fraction_metric(np.ones(64, dtype=bool), "")
    assert metric.value == 100.0
    assert metric.error == pytest.approx(100 * np.sqrt((66 / 68) * (2 / 68) / 68))


def test_native_contacts_of_a_stretched_hairpin_count_one_half():
    """Where every distance is λ = 1.8 times that in B, each contact is worth 1/2; single precision times β = 50/nm."""
    system = load_system("chignolin")
    frames = np.stack([system.positions_b, 1.8 * system.positions_b, system.positions_a])
    found = native_contacts(system, frames)
    assert found[0] == pytest.approx(1.0, abs=1e-4)  # each within 1/(1 + e^(-50 * 0.8 * 0.25 nm))
    assert found[1] == pytest.approx(0.5, abs=1e-4)
    assert found[2] < 0.01


def test_native_contacts_are_pairs_of_heavy_atoms_far_apart_along_the_chain():
    """One contact pulled far away costs 1/n, with n counted by hand."""
    system = load_system("chignolin")
    atoms, x = list(system.topology.atoms()), system.positions_b
    heavy = [atom for atom in atoms if atom.element.symbol != "H"]
    pairs = [
        (one.index, other.index)
        for one in heavy
        for other in heavy
        if one.residue.index - other.residue.index > 3
        and np.linalg.norm(x[one.index] - x[other.index]) < 0.45
    ]
    moved = x.copy()
    alone = pairs[0][0]
    moved[alone] += 100.0
    lost = sum(alone in pair for pair in pairs)
    assert 1 - native_contacts(system, moved[None])[0] == pytest.approx(lost / len(pairs), abs=1e-4)


def test_last_frames_count_failed_paths_as_misses():
    """A path that ends in B, one that ends in A and one that failed: a third is native."""
    system = load_system("chignolin")
    a, b = (each.astype(np.float32) for each in system.ends)
    found = last_frame_metrics(system, [np.stack([a, b]), np.stack([b, a]), None])
    apart = heavy_atom_rmsd(system, a[None], system.positions_b)[0]
    assert found["rmsd_last"].value == pytest.approx(apart / 2, abs=1e-4)
    assert found["native_contacts"].value == pytest.approx(0.5, abs=0.01)
    assert found["native_rate"].value == pytest.approx(100 / 3)


def test_a_short_molecule_has_no_native_contacts():
    system = load_system("alanine-dipeptide")
    assert native_contacts(system, system.ends) is None
    assert list(last_frame_metrics(system, [system.ends])) == ["rmsd_last"]
    assert last_frame_metrics(system, [None])["rmsd_last"].value is None
