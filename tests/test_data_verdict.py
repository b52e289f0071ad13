"""What frames can and cannot say: walkers that never met, weights of the wrong kind, molecules cut by a cell."""

import math
from dataclasses import replace
from itertools import pairwise

import mdtraj
import numpy as np
import pytest
from boxes import BOX, boxed_molecule, boxed_positions, wrapped_atom_by_atom
from molecules import chain_positions, torsion_molecule
from scipy.spatial.transform import Rotation
from scipy.special import i0e, i1e

from tps.config import ConformationsSection, GeodesicSection
from tps.conformations import (
    Conformations,
    import_trajectories,
    judge_frames,
    states_next_and_last,
)
from tps.conformations.mean_force import _turning_derivatives, _turns
from tps.engine import LangevinSettings, PlatformChoice, potential_energies, shared_executor
from tps.errors import ParameterError, TrajectoryError
from tps.features import Distance
from tps.pipeline.constraints import build_constraints
from tps.pipeline.progress import Silent
from tps.pipeline.sample import frames_verdict, sample_conformations
from tps.spacetime import empirical_family
from tps.systems import load_system
from tps.units import thermal_energy

KT = thermal_energy(300.0)
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=10.0)


def verdict(walks, source="plain"):
    """Judge walks such as "aa.bb": a frame in A, in B, or in neither."""
    letters = np.array(list("".join(walks)))
    walker = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])
    return judge_frames(walker, letters == "a", letters == "b", source)


def test_frames_know_the_states_before_and_behind_them():
    """Of walks "ab" by letters, two walkers' frames in turns: each has its own time."""
    walks = ("a..b.", ".b..a")
    walker = np.tile([0, 1], 5)
    letters = np.array([walk[k] for k in range(5) for walk in walks])
    found = states_next_and_last(walker, np.select([letters == "a", letters == "b"], [0, 1], -1), -1)
    assert found[walker == 0].T.tolist() == [[0, 1, 1, 1, -1], [0, 0, 0, 1, 1]]
    assert found[walker == 1].T.tolist() == [[1, 1, 0, 0, 0], [-1, 1, 1, 1, 0]]


def test_transitions_are_counted_by_the_last_state_visited():
    found = verdict(["aa.a.b.bb.a", ".b.a", "a.b.a.b"])
    assert (found.a_to_b, found.b_to_a) == (3, 3)
    assert (found.n_walkers, found.n_saw_both, found.n_returned) == (3, 3, 2)
    # the last frame of one walker and the first of the next are no transition
    assert verdict(["aa", "bb", "aa"]).a_to_b == 0


@pytest.mark.parametrize(
    ("walks", "source", "connected"),
    [
        (["aaa", "bbb"], "plain", False),
        (["a.b", "b.b"], "plain", False),  # over, never back
        (["a.b", "b.a"], "plain", False),  # each has forgotten nothing of its start
        (["a.b.a", "b.a.b"], "plain", True),
        (["a.b.a", "bbb"], "plain", True),
        (["a.b.a", "bbb", "aaa"], "plain", False),
        (["a.b.a", "..."], "plain", True),  # a walker that saw neither says nothing of either
        (["a.b", "b.a"], "bias", True),
        (["a.b.a.b", "bbb"], "bias", False),
        (["aaa", "bbb"], "file", True),
        (["aaa", "bbb"], "grid", True),
        (["a.a"], "file", False),
        (["a.a"], "grid", False),
    ],
)
def test_who_must_have_been_where(walks, source, connected):
    found = verdict(walks, source)
    assert found.connected == connected
    assert bool(found.weightless) == (not connected)
    assert "\n" not in found.sentence
    assert found.as_dict()["connected"] == connected


def test_the_sentence_has_the_numbers():
    assert (
        "0 of 2 walkers saw both A and B (0 times from A to B, 0 from B to A)" in verdict(["a", "b"]).sentence
    )
    assert verdict(["a", "b"]).notes == (verdict(["a", "b"]).sentence,)
    assert "rests on the weights given" in verdict(["a", "b"], "file").notes[0]
    assert "no frame lies in state B" in verdict(["a.a"]).sentence
    assert verdict(["a.b.a.b", "b.a.b"]).notes == ()
    with pytest.raises(ParameterError, match=r"\(3,\), \(2,\)"):
        judge_frames(np.zeros(3, int), np.zeros(2, bool), np.zeros(3, bool), "plain")


def sampled(molecule, method, **options):
    section = ConformationsSection(method=method, frame_interval_steps=20, **options)
    seeds = list(range(2 * section.n_walkers))
    with shared_executor("processes", 1) as executor:
        found = sample_conformations(
            molecule, section, LANGEVIN, PlatformChoice("Reference"), seeds, 1, executor, Silent()
        )
    return frames_verdict(molecule, section, found.frames, found.positions)


def test_dynamics_from_a_and_from_b_that_never_meet_is_found():
    """The same steps: barriers of 60 kT are never crossed, none always."""
    apart = sampled(torsion_molecule("75*cos(2*theta)"), "md", n_sample_steps=10_000)
    assert not apart.connected
    assert (apart.a_to_b, apart.b_to_a, apart.n_saw_both) == (0, 0, 0)
    met = sampled(torsion_molecule(), "md", n_sample_steps=10_000)
    assert met.connected, met.sentence
    assert min(met.a_to_b, met.b_to_a) >= 1


def test_metadynamics_whose_bias_does_not_carry_walkers_over_is_found():
    molecule = torsion_molecule("75*cos(2*theta)")
    found = sampled(molecule, "metadynamics", n_build_steps=500, n_sample_steps=2_000)
    assert found.source == "bias"
    assert "under the frozen bias" in found.weightless


def test_a_region_to_avoid_that_no_frame_lies_in_is_known_to_the_tether_alone():
    molecule = torsion_molecule()
    positions = np.stack([chain_positions(angle) for angle in (-1.5, 0.6, 1.5)])
    values = molecule.feature_values(positions)
    frames = Conformations(values, np.zeros(3), np.zeros(3), np.zeros(3, dtype=np.int64))
    family = empirical_family(molecule.space, values, frames.log_weights)
    section = GeodesicSection(avoid=["theta=30..40", "theta=-20..20"])
    found, notes = build_constraints(molecule, section, frames, family, positions)
    assert [c.name.partition("theta")[0] for c in found] == [
        "tether's probability of ",
        "probability of ",
        "tether's probability of ",
    ]
    assert len(notes) == 1 and "no" in notes[0] and "'theta=-20..20'" in notes[0]


# weights


@pytest.fixture(scope="module")
def molecule():
    return torsion_molecule("8*cos(2*theta)")


@pytest.fixture(scope="module")
def theta():
    """Flat in θ, as under a bias that levels U = 8 cos 2θ."""
    return np.random.default_rng(0).uniform(-math.pi, math.pi, 400)


@pytest.fixture
def folder(tmp_path, molecule, theta):
    write(molecule, np.stack([chain_positions(angle) for angle in theta]), tmp_path / "a.dcd")
    return tmp_path


def write(system, positions, file, cells=None):
    frames = mdtraj.Trajectory(np.asarray(positions, dtype=np.float32), system.mdtraj_topology)
    if cells is not None:
        frames.unitcell_vectors = np.broadcast_to(cells, (len(positions), 3, 3)).astype(np.float32)
    frames.save(str(file))
    return file


def colvar(folder, header="", **columns):
    head = f"FIELDS {' '.join(columns)}\n{header}".rstrip()
    lines = [f"#! {line}" for line in head.splitlines()]
    lines += [" ".join(f"{x:.6f}" for x in row) for row in zip(*columns.values(), strict=True)]
    (folder / "COLVAR").write_text("\n".join(lines) + "\n")
    return folder / "COLVAR"


def weighed(molecule, folder, file, **options):
    return import_trajectories(molecule, [folder / "a.dcd"], weights_file=file, **options)


def refusal(molecule, folder, file, **options):
    with pytest.raises(TrajectoryError) as caught:
        weighed(molecule, folder, file, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(file) in text
    return text


def test_a_bias_named_by_its_file_gives_boltzmann_weights(molecule, folder, theta):
    """V = -U levels U, and its weights bring <cos 2θ> = -I1(κ)/I0(κ), κ = 8/kT, back: independent frames, 4 errors."""
    bias = -8 * np.cos(2 * theta)
    file = colvar(folder, time=np.arange(400), theta=theta, **{"metad.bias": bias + 3, "metad.rbias": bias})
    logs = weighed(molecule, folder, file).log_weights
    np.testing.assert_allclose(logs, bias / KT, atol=1e-6)
    weights = np.exp(logs) / np.exp(logs).sum()
    mean = weights @ np.cos(2 * theta)
    error = math.sqrt(np.sum((weights * (np.cos(2 * theta) - mean)) ** 2))
    assert abs(mean + i1e(8 / KT) / i0e(8 / KT)) < 4 * error
    assert error < 0.03


def test_a_bias_given_as_log_weights_is_refused_by_its_name(molecule, folder, theta):
    file = colvar(folder, theta=theta, **{"metad.bias": -8 * np.cos(2 * theta)})
    text = refusal(molecule, folder, file, weights_kind="log-weight")
    assert "column metad.bias" in text
    assert 'set it to "bias-kj-per-mol"' in text


def test_energies_that_were_not_divided_by_kt_are_refused_by_their_spread(molecule, folder, theta):
    """Weights e^(-k|θ|) of frames flat in θ: Kish's number is (400/2π)(2/k)²/(1/k) = 255/k; k is 30, or 30/kT."""
    bias = -30 * np.abs(theta)
    np.savetxt(folder / "v.txt", bias)
    text = refusal(molecule, folder, folder / "v.txt", weights_kind="log-weight")
    assert "not divided by kT" in text
    assert "effective frames of 400" in text
    np.savetxt(folder / "s.txt", np.where(np.abs(theta) < 0.05, 15, np.cos(theta)))
    text = refusal(molecule, folder, folder / "s.txt", weights_kind="log-weight")
    assert "other sign" in text


def test_a_torsion_given_as_weight_is_refused(molecule, folder, theta):
    named = colvar(folder, "SET min_theta -pi\nSET max_theta pi", theta=theta, w=np.exp(np.cos(theta)))
    assert weighed(molecule, folder, named).notes == ()
    text = refusal(molecule, folder, named, weights_column="theta", weights_kind="weight")
    assert "column theta" in text
    assert "periodic variable" in text
    for values in (theta, np.degrees(theta), theta + 0.01, np.abs(theta) * np.sign(theta)):
        np.savetxt(folder / "psi.txt", np.stack([np.arange(400), values], axis=1))
        for kind in ("weight", "log-weight", "bias-kj-per-mol"):
            text = refusal(molecule, folder, folder / "psi.txt", weights_column="1", weights_kind=kind)
            assert "holds the values of theta" in text
    np.savetxt(folder / "other.txt", np.roll(theta, 7))  # a torsion that is no variable of the system
    text = refusal(molecule, folder, folder / "other.txt", weights_kind="weight")
    assert "within one turn of an angle" in text


def test_a_distance_given_as_weight_is_refused(molecule, folder, theta):
    ends = Distance("ends", (0, 3))
    wider = replace(molecule, collective_variables={**molecule.collective_variables, "ends": ends})
    positions = np.stack([chain_positions(angle) for angle in theta])
    for unit in (1, 10):
        np.savetxt(folder / "d.txt", unit * ends.values(positions))
        text = refusal(wider, folder, folder / "d.txt", weights_kind="weight")
        assert "holds the values of ends" in text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("weight", np.inf),
        ("log-weight", np.inf),
        ("bias-kj-per-mol", np.inf),
        ("bias-kj-per-mol", -np.inf),
    ],
)
def test_weights_without_end_are_refused(molecule, folder, kind, value):
    """One frame alone would weigh something; it had been left out, as if it weighed nothing."""
    numbers = np.linspace(1, 2, 400)
    numbers[7] = value
    np.savetxt(folder / "w.txt", numbers)
    assert f"value {value} for frame 7" in refusal(molecule, folder, folder / "w.txt", weights_kind=kind)
    numbers[7] = 1e307
    np.savetxt(folder / "w.txt", numbers)
    assert "effective frames" in refusal(molecule, folder, folder / "w.txt", weights_kind=kind)


def test_weights_that_weigh_nothing_or_hardly_a_frame_are_refused(molecule, folder):
    np.savetxt(folder / "one.txt", np.ones(400))
    text = refusal(molecule, folder, folder / "one.txt", weights_kind="weight")
    assert "same value, 1, for all 400 frames" in text
    few = np.full(400, 1e-9)
    few[:3] = 1
    np.savetxt(folder / "few.txt", few)
    text = refusal(molecule, folder, folder / "few.txt", weights_kind="weight")
    assert "3.0 effective frames of 400" in text


def test_what_a_column_holds_is_asked_for(molecule, folder, theta):
    np.savetxt(folder / "plain.txt", np.cos(theta))
    assert "set conformations.weights_kind" in refusal(molecule, folder, folder / "plain.txt")
    np.savetxt(folder / "two.txt", np.zeros((400, 2)))
    assert "2 columns, none named a weight" in refusal(molecule, folder, folder / "two.txt")
    file = colvar(folder, **{"a.bias": np.cos(theta), "b.bias": np.sin(theta)})
    assert "name one of a.bias, b.bias" in refusal(molecule, folder, file)
    np.savez(folder / "w.npz", time=np.arange(400.0), log_weights=np.cos(theta))
    np.testing.assert_allclose(weighed(molecule, folder, folder / "w.npz").log_weights, np.cos(theta))


def imported_run(molecule, folder, logs, kind="log-weight"):
    """Sample by importing, with weights in a nameless column."""
    np.savetxt(folder / "w.txt", logs)
    section = ConformationsSection(
        method="import",
        trajectories=[str(folder / "a.dcd")],
        weights_file=str(folder / "w.txt"),
        weights_kind=kind,
    )
    with shared_executor("processes", 1) as executor:
        return sample_conformations(
            molecule, section, LANGEVIN, PlatformChoice("Reference"), [0] * 4, 1, executor, Silent()
        )


def test_the_sign_and_the_unit_of_weights_are_held_against_the_forces(folder, theta):
    """Frames flat in θ under V = -U: e^(V/kT) is Boltzmann's; nothing but the forces tells it from e^(-V/kT)."""
    molecule, bias = torsion_molecule("8*cos(2*theta-0.7)"), -8 * np.cos(2 * theta - 0.7)
    for logs, kind in ((bias / KT, "log-weight"), (bias, "bias-kj-per-mol")):
        found = imported_run(molecule, folder, logs, kind)
        assert found.notes == ()
        assert found.n_evaluations == 800
    for logs, kind, remedy in (
        (-bias / KT, "log-weight", r"agree with the other sign \(a bias"),
        (-bias, "bias-kj-per-mol", r"agree with the other sign \(a bias"),
        (bias, "log-weight", "agree divided by kT"),
        (-bias, "log-weight", "agree with the other sign and divided"),
        (bias / KT, "bias-kj-per-mol", "agree times kT"),
    ):
        with pytest.raises(TrajectoryError, match=f"contradict the forces along theta.*{remedy}"):
            imported_run(molecule, folder, logs, kind)
    (note,) = imported_run(molecule, folder, 2 * np.cos(theta - 1)).notes  # nobody's weights
    assert "is it the same force field" in note


def test_turning_an_end_of_alanine_dipeptide_is_turning_its_torsion():
    """dU/dφ against differences of U along the rigid turn, 1e-4 rad to either side: second order."""
    system = load_system("alanine-dipeptide")
    turns = _turns(system)
    assert [variable.name for variable, _ in turns] == ["phi", "psi"]
    x, step = system.positions_a, 1e-4
    found = _turning_derivatives(system, x[None], turns, PlatformChoice("Reference"))[0]
    for (variable, beyond), slope in zip(turns, found, strict=True):
        _, near, far, _ = variable.atoms
        axis = (x[far] - x[near]) / np.linalg.norm(x[far] - x[near])
        moved = np.stack([x, x])
        for frame, angle in zip(moved, (step, -step), strict=True):
            frame[beyond] = (x[beyond] - x[far]) @ Rotation.from_rotvec(angle * axis).as_matrix().T + x[far]
        assert np.ptp(variable.values(moved)) == pytest.approx(2 * step, rel=1e-6)
        assert variable.values(moved)[0] > variable.values(moved)[1]
        energies = potential_energies(system.create_openmm_system(), moved, PlatformChoice("Reference"))
        assert slope == pytest.approx((energies[0] - energies[1]) / (2 * step), rel=1e-4, abs=1e-3)


# cells


@pytest.fixture(scope="module")
def boxed():
    return boxed_molecule()


@pytest.fixture(scope="module")
def wrapped():
    """Whole frames and the same with every atom in the cell: some cut, some not."""
    rng = np.random.default_rng(4)
    whole = np.array([boxed_positions(angle) for angle in rng.uniform(-3, 3, 40)])
    whole += 5 * rng.normal(size=(40, 1, 3))
    return whole, wrapped_atom_by_atom(whole)


def chain_lengths(positions):
    return np.stack(
        [np.linalg.norm(positions[:, i] - positions[:, j], axis=-1) for i, j in pairwise(range(4))]
    )


@pytest.mark.parametrize("with_cell", [True, False])
def test_an_xtc_wrapped_atom_by_atom_is_made_whole_and_that_is_said(boxed, wrapped, tmp_path, with_cell):
    """XTC rounds to 1e-3 nm: bonds by 2e-3, features by the same over their arms of 0.1 nm."""
    whole, cut = wrapped
    file = write(boxed, cut, tmp_path / "w.xtc", BOX if with_cell else None)
    found = import_trajectories(boxed, [file])
    (note,) = found.notes
    n_cut = int((np.abs(chain_lengths(cut) - chain_lengths(whole)).max(axis=0) > 0.1).sum())
    assert n_cut >= 4
    assert f"of 40 frames of {file} have molecules cut" in note
    assert int(note.split()[0]) >= n_cut  # water is cut too
    assert ("in its cell" if with_cell else "the file has no cell") in note
    np.testing.assert_allclose(chain_lengths(found.positions), chain_lengths(whole), atol=4e-3)
    turned = boxed.feature_values(found.positions) - boxed.feature_values(whole)
    assert np.abs(np.angle(np.exp(1j * turned[:, 0]))).max() < 0.06


def test_whole_frames_stay_as_they_are(boxed, wrapped, tmp_path):
    whole = wrapped[0]
    file = write(boxed, whole, tmp_path / "w.trr", BOX)
    found = import_trajectories(boxed, [file])
    assert found.notes == ()
    np.testing.assert_allclose(found.positions, whole, atol=1e-5)


def test_a_wrapped_molecule_without_any_cell_is_refused(tmp_path):
    molecule = torsion_molecule()
    positions = np.stack([chain_positions(0.5)] * 4)
    positions[2, 3] += [0, 0, 2.0]
    file = write(molecule, positions, tmp_path / "w.dcd")
    with pytest.raises(
        TrajectoryError, match=r"1 of 4 frames of .*w.dcd .*\(frame 2 is the first\).*neither"
    ):
        import_trajectories(molecule, [file])
    positions[2, 3] = positions[2, 2] + [1.0, 0.7, 0.9]  # broken in whichever image
    file = write(molecule, positions, tmp_path / "v.dcd", np.diag([2.0, 2, 2]))
    with pytest.raises(TrajectoryError, match=r"frame 2 of .*v.dcd has bonds that are broken whatever"):
        import_trajectories(molecule, [file])


def test_a_vacuum_molecule_from_a_trajectory_with_a_cell_is_made_whole(tmp_path):
    molecule = torsion_molecule()
    whole = np.stack([chain_positions(angle) for angle in (0.3, 1.0, 2.0)])
    cut = whole.copy()
    cut[1, 3] += [2.0, 0, 0]
    found = import_trajectories(molecule, [write(molecule, cut, tmp_path / "w.dcd", np.diag([2.0, 2, 2]))])
    np.testing.assert_allclose(chain_lengths(found.positions), chain_lengths(whole), atol=1e-5)
    assert "1 of 3 frames" in found.notes[0]


def test_cells_other_than_the_box_are_said_or_refused(boxed, wrapped, tmp_path):
    whole = wrapped[0]

    def imported(scale, name="n.dcd"):
        cells = np.asarray(scale)[:, None, None] * BOX
        return import_trajectories(boxed, [write(boxed, whole, tmp_path / name, cells)])

    wobble = 1 + 0.03 * np.sin(np.arange(40))
    (note,) = imported(wobble).notes
    n_far = int((np.abs(wobble - 1) > 0.02).sum())
    assert f"by up to 3.0 % of an edge ({n_far} of 40 frames by more than 2 %)" in note
    for scale in (np.full(40, 1.025), np.where(np.arange(40) == 7, 1.2, 1.0)):
        with pytest.raises(TrajectoryError, match=r"the system's box is 1\.6 x .* its volume is constant"):
            imported(scale)
    # the same lattice by other vectors is the same cell
    sheared = BOX + np.array([[0, 0, 0], BOX[0], [0, 0, 0]])
    file = write(boxed, whole, tmp_path / "s.dcd", sheared)
    assert import_trajectories(boxed, [file]).notes == ()


def test_a_verdict_of_imported_frames(molecule):
    frames = Conformations(np.zeros((4, 1)), np.zeros(4), np.zeros(4), np.array([0, 0, 1, 1]))
    positions = np.stack([chain_positions(angle) for angle in (-1.5, -1.4, 1.5, 1.4)])
    section = ConformationsSection(method="import", trajectories=["a.dcd", "b.dcd"])
    assert not frames_verdict(molecule, section, frames, positions).connected
    section = ConformationsSection(method="import", trajectories=["a.dcd", "b.dcd"], weights_file="w")
    assert frames_verdict(molecule, section, frames, positions).connected
