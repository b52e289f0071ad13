"""The pieces of `tps init`: separations, states, candidates, time steps, estimates, water, topologies as one file."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import chain_positions
from openmm import app

from tps.config import RunConfig
from tps.errors import SystemDefinitionError
from tps.features import Distance, Features, Torsion
from tps.pipeline import Silent
from tps.prepare.candidates import Candidate, candidates_of, resolve
from tps.prepare.choose import choose_features, separations
from tps.prepare.ends import Ends, open_force_field
from tps.prepare.estimate import (
    FLIGHT,
    StageEstimate,
    estimate_stages,
    seconds_left,
    spoken_size,
    spoken_time,
)
from tps.prepare.preparation import _part
from tps.prepare.relax import rmsd, shape_springs, superposed
from tps.prepare.request import Request
from tps.prepare.short_runs import ShortRuns, frames_before_leaving
from tps.prepare.sizes import sized_settings, timestep_of
from tps.prepare.states import propose_states
from tps.prepare.water import WATER_MOLARITY, _solvated
from tps.systems import Region
from tps.systems.gromacs_top import flatten_top

TORSION = Candidate(Torsion("t", (0, 1, 2, 3)), "torsions", "a torsion")
DISTANCE = Candidate(Distance("d", (0, 1)), "distances", "a distance", between=True)


def runs_of(candidates, ends, a, b):
    """Short runs that saw given values (n_frames, d) of candidates."""
    space = Features(tuple(c.variable for c in candidates)).space
    return ShortRuns(
        space,
        np.array(ends, dtype=float),
        (np.array(a), np.array(b)),
        1.0,
        (None, None),
        ((len(a),), (len(b),)),
    )


def molecule(atoms, bonds, a, b):
    """Both ends of molecules given by (residue, name, element) of their atoms."""
    topology = app.Topology()
    chain, residues, made = topology.addChain("A"), {}, []
    for residue, name, element in atoms:
        if residue not in residues:
            residues[residue] = topology.addResidue(residue, chain)
        made.append(topology.addAtom(name, app.Element.getBySymbol(element), residues[residue]))
    for i, j in bonds:
        topology.addBond(made[i], made[j])
    return Ends(topology, np.array([a, b], dtype=float), None, {}, np.arange(len(atoms)), None)


def test_separation_is_the_difference_of_means_over_the_spread():
    a, b = np.array([[0.2], [0.4]]), np.array([[0.7], [0.9]])
    (found,) = separations([DISTANCE], runs_of([DISTANCE], [[0.3], [0.8]], a, b))
    assert found.separation == pytest.approx(0.5 / math.sqrt(0.1**2 + 0.1**2), rel=1e-12)
    np.testing.assert_allclose(found.spread, [0.1, 0.1])


def test_separation_of_an_angle_does_not_know_where_it_is_cut():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.2, (2, 500, 1))
    found = []
    for turn in (0.0, math.pi, -2.5):
        a, b = (np.angle(np.exp(1j * (x + turn))) for x in (noise[0], noise[1] + 1.5))
        ends = np.angle(np.exp(1j * (np.array([[0.0], [1.5]]) + turn)))
        found.append(separations([TORSION], runs_of([TORSION], ends, a, b))[0])
    # the mean direction turns with the angles, so only round-off differs
    assert found[1].separation == pytest.approx(found[0].separation, rel=1e-10)
    assert found[2].separation == pytest.approx(found[0].separation, rel=1e-10)
    assert [x.change for x in found] == pytest.approx([1.5] * 3, abs=1e-12)
    expected = 1.5 / math.sqrt(noise[0].var() + noise[1].var())
    assert found[0].separation == pytest.approx(expected, rel=4 * 0.2 / 1.5 / math.sqrt(500) + 0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-math.pi, math.pi),
    st.floats(0.6, math.pi),
    st.tuples(st.floats(0.01, 0.2), st.floats(0.01, 0.2)),
    st.integers(0, 2**31),
)
def test_states_of_an_angle_hold_their_own_frames_and_are_disjoint(centre, apart, spread, seed):
    rng = np.random.default_rng(seed)
    truth = np.array([[centre], [centre + apart]])
    ends, a, b = (
        np.angle(np.exp(1j * x))
        for x in (truth, *(truth[k] + spread[k] * rng.normal(size=(200, 1)) for k in (0, 1)))
    )
    runs = runs_of([TORSION], ends, a, b)
    tellings = separations([TORSION], runs)
    try:
        found = propose_states(tellings, runs)
    except SystemDefinitionError as refusal:
        assert "no feature parts A from B" in str(refusal) or "allow hold" in str(refusal)
        assert apart < 7 * sum(spread)
        return
    regions = [Region({"t": tuple(math.radians(x) for x in ranges["t"])}) for ranges in (found.a, found.b)]
    assert not regions[0].overlaps(regions[1])
    for k, values in ((0, a), (1, b)):
        assert regions[k].contains({"t": values[:, 0]}).mean() == found.held[k] >= 0.9
        assert regions[k].contains({"t": ends[k]}).all() and not regions[k].contains({"t": ends[1 - k]}).any()
    for ranges in (found.a, found.b):
        assert all(-180 <= bound <= 180 for bound in ranges["t"])


@pytest.mark.parametrize("swapped", [False, True])
def test_states_of_a_distance_go_on_away_from_the_other(swapped):
    rng = np.random.default_rng(2)
    near, far = rng.normal(0.28, 0.01, (100, 1)), rng.normal(0.8, 0.04, (100, 1))
    a, b = (far, near) if swapped else (near, far)
    runs = runs_of([DISTANCE], [[np.median(a)], [np.median(b)]], a, b)
    found = propose_states(separations([DISTANCE], runs), runs)
    low, high = (found.b["d"], found.a["d"]) if swapped else (found.a["d"], found.b["d"])
    assert low[0] == 0 and near.max() < low[1] < high[0] < far.min() and high[1] == math.inf
    assert found.held == (1.0, 1.0) and found.wrong == (0.0, 0.0)


def test_ends_closer_than_the_noise_are_refused_with_numbers():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.50, 0.1, (200, 1)), rng.normal(0.55, 0.1, (200, 1))
    runs = runs_of([DISTANCE], [[0.5], [0.55]], a, b)
    tellings = separations([DISTANCE], runs)
    with pytest.raises(
        SystemDefinitionError, match=r"closer than the noise: .* d \(a distance\), 0\.\d+ nm ±"
    ):
        choose_features((), tellings, runs)


def test_features_that_say_the_same_are_taken_once():
    rng = np.random.default_rng(4)
    other = Candidate(Torsion("u", (1, 2, 3, 4)), "torsions", "the same torsion by other atoms")
    free = Candidate(Torsion("v", (2, 3, 4, 5)), "torsions", "a torsion of its own")
    x = rng.normal(0, 0.1, (2, 300, 1))
    values = [
        np.hstack([x[k], x[k] + 0.001 * rng.normal(size=(300, 1)), rng.normal(0, 0.1, (300, 1))])
        for k in (0, 1)
    ]
    values[1] += [2.0, 1.9, 1.5]
    runs = runs_of([TORSION, other, free], [[0, 0, 0], [2.0, 1.9, 1.5]], *values)
    chosen = choose_features((), separations([TORSION, other, free], runs), runs)
    assert [t.candidate.name for t in chosen] == ["t", "v"]


def test_a_run_leaves_its_end_where_it_stays_with_the_other():
    space = Features((DISTANCE.variable,)).space
    ends = np.array([[0.3], [0.9]])
    path = np.r_[np.full(40, 0.3), 0.7, np.full(20, 0.32), np.linspace(0.32, 0.9, 11), np.full(30, 0.9)][
        :, None
    ]
    # 0.7 for one frame is no leaving; the last frame less than a quarter of the way there is 0.32 + 2 * 0.058 = 0.436
    assert frames_before_leaving(space, ends, path, 0, 0.1) == 40 + 1 + 20 + 3
    assert frames_before_leaving(space, ends, path[:61], 0, 0.1) == 61


def test_torsions_about_every_bond_but_those_whose_turning_changes_nothing():
    """1-phenylethanol without its hydrogens on carbon: the phenyl and the methyl turn into themselves."""
    names = ["CI", "C1", "C2", "C3", "C4", "C5", "CA", "CM", "OH", "HO"]
    ring = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]
    bonds = [*ring, (0, 6), (6, 7), (6, 8), (8, 9)]
    angle = np.radians(60) * np.arange(6)
    flat = [[0.14 * math.cos(x), 0.14 * math.sin(x), 0.0] for x in angle]
    rest = [[0.29, 0, 0], [0.34, 0.14, 0], [0.34, -0.07, 0.12], [0.43, -0.07, 0.12]]
    atoms = [("LIG", name, "H" if name == "HO" else name[0]) for name in names]
    ends = molecule(atoms, bonds, flat + rest, flat + rest)
    found, contacts = candidates_of(ends)
    middle = {frozenset(c.variable.atoms[1:3]) for c in found}
    assert frozenset((0, 6)) not in middle  # the phenyl ring
    assert frozenset((6, 7)) not in middle  # a methyl has nothing to tell it by
    assert frozenset((6, 8)) in middle  # the hydroxyl
    assert {frozenset(b) for b in ring} <= middle
    assert (contacts.formed, contacts.broken) == ((), ())
    (named,) = resolve(("CI_CA_OH_HO",), found)
    assert named.spoken == "torsion CI-CA-OH-HO"
    with pytest.raises(
        SystemDefinitionError, match=r"has no 'backbone'; what it has: .*torsions.*CI_CA_OH_HO"
    ):
        resolve(("backbone",), found)


def test_contacts_are_near_in_one_end_and_far_in_the_other():
    """Six carbons: straight, or bent back on itself so that atoms 0 and 5, five bonds apart, meet."""
    straight = [[0.15 * k, 0, 0] for k in range(6)]
    bent = [[0, 0, 0], [0.15, 0, 0], [0.3, 0, 0], [0.3, 0.15, 0], [0.15, 0.15, 0], [0, 0.15, 0]]
    ends = molecule([("LIG", f"C{k}", "C") for k in range(6)], [(k, k + 1) for k in range(5)], straight, bent)
    found, contacts = candidates_of(ends)
    # 0 and 4: 0.60 nm apart when straight, not beyond; 1 and 5 likewise
    assert (contacts.formed, contacts.broken) == (((0, 5),), ())
    (number,) = [c for c in found if c.group == "contacts"]
    r = np.array([0.75, 0.15]) / 0.5
    np.testing.assert_allclose(number.variable.values(ends.positions), 1 / (1 + r**6), rtol=1e-12)


def test_molecules_are_joined_by_the_shortest_tree_of_distances():
    x = [[0, 0, 0], [1.0, 0, 0], [0.4, 0.1, 0]]
    ends = molecule([("AR", "AR", "Ar"), ("KR", "KR", "Kr"), ("XE", "XE", "Xe")], [], x, x)
    found, _ = candidates_of(ends)
    assert [(c.name, c.variable.atoms) for c in found] == [("d_AR_XE", (0, 2)), ("d_XE_KR", (2, 1))]


def bonded(masses, stiffness, constrained=False):
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    if constrained:
        system.addConstraint(0, 1, 0.1)
    force = openmm.HarmonicBondForce()
    if stiffness:
        force.addBond(0, 1, 0.1, stiffness)
    system.addForce(force)
    return system


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (bonded((12.011, 1.008), 284_512), 0.001),  # 2 pi sqrt(0.930/284512) = 11.4 fs, a ninth of it 1.26
        (bonded((12.011, 15.999), 476_976), 0.002),  # a carbonyl: 23.8 fs, 2.6
        (bonded((12.011, 1.008), 0, constrained=True), 0.002),
        (bonded((10.0, 3.024), 0, constrained=True), 0.004),  # repartitioned hydrogen
        (bonded((22.99, 35.45), 0), 0.002),
    ],
)
def test_time_step_follows_the_stiffest_free_bond(system, expected):
    assert timestep_of(system) == expected


CONFIG = RunConfig.model_validate(
    {
        "run": {"system": "."},
        "conformations": {
            "n_walkers": 3,
            "n_build_steps": 1000,
            "n_sample_steps": 2000,
            "frame_interval_steps": 100,
        },
        "paths": {"n_paths": 5, "n_steps": 6400, "n_equilibration_steps": 600, "n_baseline_paths": 0},
        "shooting": {"n_moves": 0},
        "free_energy": {"n_windows": 4, "n_bridge_windows": 0, "n_frames": 80, "frame_interval_steps": 10},
    }
)


def test_an_estimate_counts_steps_rounds_and_bytes():
    found = {s.stage: s for s in estimate_stages(CONFIG, 100.0, 2, n_atoms=10)}
    assert found["conformations"].md_steps == 3 * (1000 + 2000 + 5000)
    assert found["conformations"].seconds == 2 * 8000 / 100  # three walkers on two cores: two rounds
    assert found["conformations"].disk_bytes == 3 * 20 * 10 * 3 * 4
    assert found["paths"].md_steps == 5 * 7000
    assert found["paths"].seconds == 3 * 7000 / 100
    # two ladders of four windows and the untilted one, and a path from B that starts one of them
    assert found["free-energy"].md_steps == 2 * 5 * (80 + 20) * 10 + 7000
    assert "shoot" not in found and "committor" not in found
    longer = estimate_stages(CONFIG.updated("shooting", {"n_moves": 160, "n_frame_shots": 0}), 100.0, 16, 10)
    shoot = next(s for s in longer if s.stage == "shoot")
    assert shoot.md_steps == pytest.approx(160 * FLIGHT / 0.002 + 16 * 30_500 + 5 * 7000)
    assert f"{FLIGHT:g} ps" in shoot.assumed


def test_the_rate_costs_its_own_shots_alone():
    """Two flights a shot of FLIGHT each, side by side on two cores; the shots of shooting are not flown again."""
    shots = {"n_moves": 100, "n_frame_shots": 60}
    stored = CONFIG.updated("shooting", shots)
    assert "rate" not in [stage.stage for stage in estimate_stages(stored, 100.0, 2, 10)]
    more = estimate_stages(stored.updated("rate", {"n_frame_shots": 100}), 100.0, 2, 10)
    rate = next(stage for stage in more if stage.stage == "rate")
    assert rate.md_steps == 2 * 40 * FLIGHT / 0.002
    assert rate.seconds == pytest.approx(rate.md_steps / 2 / 100)


def test_the_time_left_is_corrected_by_stages_of_the_same_kind():
    """Dynamics took (190 + 10) / (90 + 10) = 2 times what was thought, the training half; ten seconds are overhead."""
    frames, paths = StageEstimate("conformations", 1, 90.0, 0), StageEstimate("paths", 1, 30.0, 0)
    train, report = StageEstimate("train", 0, 30.0, 0), StageEstimate("report", 0, 20.0, 0)
    finished = [(frames, 190.0), (train, 10.0)]
    assert seconds_left([paths, report], finished, 0.0) == pytest.approx(60 + 10)
    assert seconds_left([paths, report], finished, 45.0) == pytest.approx(15 + 10)
    assert seconds_left([paths, report], finished, 99.0) == pytest.approx(10)
    assert seconds_left([paths, report], [], 0.0) == pytest.approx(50)
    assert seconds_left([], finished, 5.0) == 0


def test_a_run_shrinks_until_it_fits_its_hours():
    sizes = [
        sized_settings(("t",), 0.002, 1, steps_per_second=speed, n_workers=2, n_atoms=100, hours=1)["paths"][
            "n_paths"
        ]
        for speed in (1e6, 4e3, 1e3, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 64 and sizes[-1] == 16
    many = sized_settings(
        ("t", "u", "v", "w"), 0.002, 1, steps_per_second=1e6, n_workers=2, n_atoms=9, hours=1
    )
    assert many["conformations"] == {"method": "grow"}
    assert many["grow"]["max_steps"] == 6_000_000
    assert many["geodesic"] == {"anchor_log_snr": "auto", "min_support": 30.0}


def test_times_and_sizes_in_words():
    assert [spoken_time(x) for x in (9, 130, 9000, 400_000)] == ["9 s", "2.2 min", "2.5 h", "4.6 days"]
    assert [spoken_size(x) for x in (1, 3.2e6, 4.56e9)] == ["under 1 MB", "3.2 MB", "4.56 GB"]


def test_superposition_undoes_a_motion():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(7, 3))
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = x @ (q * np.sign(np.linalg.det(q))).T + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(superposed(moved, x, np.arange(7)), x, atol=1e-12)
    assert rmsd(x, -x, np.arange(7)) > 0.1  # a mirror image is no motion


def test_shape_springs_cost_nothing_where_they_are_made_and_join_what_is_far_apart():
    x = np.concatenate([chain_positions(1.0), chain_positions(2.0) + np.array([3.0, 0, 0])])
    force = shape_springs(x, np.arange(8), False)
    system = openmm.System()
    for _ in range(8):
        system.addParticle(12.0)
    system.addForce(force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(x)
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(0, abs=1e-10)
    apart = x + np.array([0.0, 0, 1.0]) * (np.arange(8) >= 4)[:, None]
    context.setPositions(apart)
    assert context.getState(energy=True).getPotentialEnergy()._value > 1


def test_a_topology_with_includes_becomes_one_file(tmp_path):
    (tmp_path / "ff").mkdir()
    (tmp_path / "own.itp").write_text("; own\n")
    (tmp_path / "ff" / "forces.itp").write_text('#include "inner.itp"\n')
    (tmp_path / "ff" / "inner.itp").write_text("; inner\n")
    text = '#include "own.itp"\n#include "forces.itp"\n#ifdef POSRES\n#include "posre.itp"\n#endif\n[ system ]\nx'
    (tmp_path / "a.top").write_text(text)
    kept = '#ifdef POSRES\n#include "posre.itp"\n#endif\n[ system ]\nx\n'
    assert flatten_top(tmp_path / "a.top", tmp_path / "ff") == "; own\n; inner\n" + kept
    (tmp_path / "b.top").write_text('#include "b.top"\n')
    with pytest.raises(SystemDefinitionError, match="includes itself in a circle"):
        flatten_top(tmp_path / "b.top")


def test_both_ends_get_the_same_water_and_ions_which_clash_with_neither():
    ends = molecule(
        [("NA", "NA", "Na"), ("CL", "CL", "Cl")], [], [[0, 0, 0], [0.3, 0, 0]], [[0, 0, 0], [0.6, 0, 0]]
    )
    request = Request(Path("a.pdb"), Path("b.pdb"), solvent="water", padding=0.7, ionic_strength=0.5)
    wet = _solvated(ends, open_force_field(("amber14/tip3pfb.xml",), Path()), request, widest=0.9)
    assert wet.width == pytest.approx(2.0)  # 0.6 and two paddings; 0.9 to either side would be 1.8
    assert wet.positions.shape == (2, wet.topology.getNumAtoms(), 3)
    np.testing.assert_array_equal(wet.positions[0, 2:], wet.positions[1, 2:])
    residues = list(wet.topology.residues())
    n_water = sum(residue.name == "HOH" for residue in residues)
    ions = [residue.name for residue in residues[2:] if residue.name != "HOH"]
    n_pairs = math.floor((n_water + len(ions)) * 0.5 / WATER_MOLARITY + 0.5)
    assert n_pairs > 0 and ions.count("NA") == ions.count("CL") == n_pairs
    solute, oxygen = (
        wet.positions[:, :2].reshape(-1, 3),
        [next(residue.atoms()).index for residue in residues if residue.name == "HOH"],
    )
    for atom in solute:
        apart = wet.positions[0, oxygen] - atom
        apart -= wet.width * np.rint(apart / wet.width)
        assert np.linalg.norm(apart, axis=1).min() > 0.2
    # 33.4 molecules in a cubic nm, less those near the solute and those whose images meet at the border
    assert 0.85 < (n_water + len(ions)) / (33.4 * wet.width**3) < 1.0


def test_runs_that_go_part_of_the_way_count_only_until_then():
    """Two runs of 200 frames in each end: A's second crosses 60 frames before its end, so a half counts."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 0.02, (400, 1)), rng.normal(0.8, 0.02, (400, 1))
    a[340:] = rng.normal(0.8, 0.02, (60, 1))
    whole = replace(runs_of([DISTANCE], [[0.3], [0.8]], a, b), lengths=((200, 200), (200, 200)))
    with pytest.raises(SystemDefinitionError, match="no feature parts A from B"):
        propose_states(choose_features((), separations([DISTANCE], whole), whole), whole)
    kept, _, _, states = _part((), [DISTANCE], whole, Silent())
    assert [len(values) for values in kept.values] == [200, 200]
    np.testing.assert_array_equal(kept.values[0], np.concatenate([a[:100], a[200:300]]))
    assert states.held == (1.0, 1.0)
    assert states.wrong == (0.0, 0.0)


def test_runs_that_cross_at_once_are_refused_as_a_whole():
    """The sentence is about all the frames, and b is as far as its farthest, which is the last."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.3, 0.02, (400, 1)), rng.normal(0.8, 0.02, (400, 1))
    a[:100:10], b[-1] = 0.9, 0.95
    a[100::20] = 0.9
    runs = runs_of([DISTANCE], [[0.3], [0.8]], a, b)
    with pytest.raises(SystemDefinitionError, match=r"0\.9 nm in short runs from A and .* to 0\.95 nm in"):
        _part((), [DISTANCE], runs, Silent())
