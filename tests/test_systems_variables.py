"""Collective variables against MDTraj and hand arithmetic; regions and how they are written."""

import math

import mdtraj
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tps.errors import ParameterError, SystemDefinitionError
from tps.features import Distance, Torsion, torsion_angles
from tps.systems import Region, format_region, parse_region, region_from_keys

VARIABLES = {
    "phi": Torsion("phi", (0, 1, 2, 3)),
    "psi": Torsion("psi", (1, 2, 3, 4)),
    "oh": Distance("oh", (0, 4)),
}


def four_atoms(angle):
    """Near bond along +y, axis along z, far bond turned by `angle` clockwise looking along the axis."""
    far = [math.cos(angle) * 0.11, math.sin(angle) * 0.11, 0.15]
    return np.array([[[0.1, 0, 0], [0, 0, 0], [0, 0, 0.15], far]])


@pytest.mark.parametrize("degrees", [-179.9, -120, -60, 0, 1e-4, 60, 90, 120, 180])
def test_torsion_is_the_angle_it_was_built_with(degrees):
    angle = math.radians(degrees)
    assert VARIABLES["phi"].values(four_atoms(angle))[0] == pytest.approx(angle, abs=1e-12)


def test_planar_trans_is_plus_pi():
    positions = np.array([[[0.1, 0, 0], [0, 0, 0], [0, 0, 0.1], [-0.1, -0.0, 0.1]]])
    assert VARIABLES["phi"].values(positions)[0] == math.pi
    mirrored = positions * [1, -1, 1]
    assert VARIABLES["phi"].values(mirrored)[0] == math.pi


def test_torsions_agree_with_mdtraj():
    """MDTraj works in single precision, 1e-7, amplified by nearly collinear bonds: none below 0.1 rad."""
    rng = np.random.default_rng(7)
    positions = rng.normal(scale=0.3, size=(500, 6, 3)).astype(np.float32)
    atoms = np.array([[0, 1, 2, 3], [1, 2, 3, 4], [5, 2, 0, 1]])
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(6):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    expected = mdtraj.compute_dihedrals(mdtraj.Trajectory(positions, topology), atoms)
    found = torsion_angles(positions, atoms)
    bonds = np.diff(positions[:, atoms].astype(float), axis=2)
    bonds /= np.linalg.norm(bonds, axis=-1, keepdims=True)
    sines = np.linalg.norm(np.cross(bonds[:, :, 1:], bonds[:, :, :-1]), axis=-1).min(axis=-1)
    difference = np.abs(np.angle(np.exp(1j * (found - expected))))
    assert (sines > 0.1).sum() > 1000
    assert difference[sines > 0.1].max() < 1e-5


def test_leading_axes_are_kept():
    positions = np.random.default_rng(0).normal(size=(2, 3, 5, 3))
    angles = torsion_angles(positions, [[0, 1, 2, 3], [1, 2, 3, 4]])
    assert angles.shape == (2, 3, 2)
    assert angles[1, 2, 1] == VARIABLES["psi"].values(positions[1, 2][None])[0]


def test_a_single_frame_has_the_angles_of_many():
    """One by one as in arrays, to the last digits, in a box and without; a coordinate that is no number stays one."""
    positions = np.random.default_rng(1).normal(size=(40, 5, 3))
    atoms, box = [[0, 1, 2, 3], [1, 2, 3, 4]], np.diag([1.1, 1.2, 1.3])
    positions[7, 2, 1] = np.nan
    for cell in (None, box):
        alone = np.concatenate([torsion_angles(frame[None], atoms, cell) for frame in positions])
        np.testing.assert_allclose(alone, torsion_angles(positions, atoms, cell), rtol=0, atol=1e-12)
        assert np.isnan(alone[7]).all() and np.isfinite(np.delete(alone, 7, axis=0)).all()
    straight = np.zeros((1, 5, 3))
    straight[0, :, 0] = range(5)
    assert torsion_angles(straight, atoms).tolist() == [[0.0, 0.0]]


def test_distance():
    positions = np.zeros((2, 5, 3))
    positions[1, 4] = [0.3, 0.4, 1.2]
    assert VARIABLES["oh"].values(positions) == pytest.approx([0.0, 1.3], abs=1e-15)


@pytest.mark.parametrize("atoms", [(0, 1, 2), (0, 1, 2, 2), (0, 1, 2, -1)])
def test_a_torsion_needs_four_atoms(atoms):
    with pytest.raises(SystemDefinitionError, match="needs 4 different atom indices"):
        Torsion("phi", atoms)


def test_names_can_be_used_in_expressions():
    with pytest.raises(SystemDefinitionError, match="letters, digits and underscores"):
        Torsion("phi 1", (0, 1, 2, 3))


def test_too_few_atoms_are_refused():
    with pytest.raises(ParameterError, match="at least 5 atoms"):
        VARIABLES["psi"].values(np.zeros((2, 4, 3)))


def test_region_wraps_through_pi():
    region = parse_region("psi = 150..-100, oh=0.2..0.4", VARIABLES)
    psi = np.radians([149.0, 151.0, 180.0, -179.0, -101.0, -99.0, 0.0, 160.0])
    oh = np.array([0.3] * 7 + [0.5])
    assert region.contains({"psi": psi, "oh": oh}).tolist() == [False, True, True, True, True] + [False] * 3


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("phi=-180..-40", [-180, 180, -41], [-39, 0, 179]),
        ("phi=180..-40", [180, -180, -41], [-39, 179]),
        ("phi=170..190", [175, -175, 180], [0, 165, -165]),
        ("phi=-190..-170", [175, -175, 180], [0, 165, -165]),
        ("phi=100..180", [101, 180], [-179, 99]),
        ("phi=-180..180", [-180, 0, 180], []),
        ("phi=0..360", [-180, 0, 180], []),
        ("oh=0..0.25", [], []),
    ],
)
def test_ranges_in_degrees(text, inside, outside):
    region = parse_region(text, VARIABLES)
    for degrees, expected in [(x, True) for x in inside] + [(x, False) for x in outside]:
        angle = Torsion("phi", (0, 1, 2, 3)).values(four_atoms(math.radians(degrees)))
        assert region.contains({"phi": angle})[0] == expected, degrees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phj=-60..60", "no collective variable 'phj'; did you mean 'phi'?"),
        ("phi", "not of the form name=low..high, such as phi=-60..60"),
        ("phi=", "not of the form"),
        ("phi=-60..", "not of the form"),
        ("phi=-60:60", "not of the form"),
        ("phi=a..60", "must be numbers"),
        ("phi=30..30", "two different bounds, but got 30 and 30"),
        ("phi=nan..30", "two different bounds"),
        ("phi=-400..30", "between -360 and 360"),
        ("phi=-300..300", "spans at most 360"),
        ("phi=-inf..30", "between -360 and 360"),
        ("oh=0.4..0.2", "0 <= low < high [nm], but got 0.4 and 0.2"),
        ("oh=-0.1..0.2", "0 <= low < high"),
        ("phi=0..10,phi=20..30", "given twice"),
        ("phi=0..10,", "not of the form"),
    ],
)
def test_bad_regions_are_explained(text, message):
    with pytest.raises(SystemDefinitionError) as caught:
        parse_region(text, VARIABLES)
    assert message in str(caught.value)
    assert text.split(",")[-1] in str(caught.value)


def test_keys_carry_their_unit():
    region = region_from_keys({"phi_degree": (-60, 60), "oh_nm": (0.5, math.inf)}, VARIABLES, "[x]")
    assert region.ranges["phi"] == pytest.approx((-math.pi / 3, math.pi / 3))
    assert region.ranges["oh"] == (0.5, math.inf)
    with pytest.raises(
        SystemDefinitionError, match=r"\[x\] phi_nm: .* phi is a torsion, .* given as phi_degree"
    ):
        region_from_keys({"phi_nm": (0, 1)}, VARIABLES, "[x]")
    with pytest.raises(SystemDefinitionError, match="unknown key; did you mean 'psi_degree'"):
        region_from_keys({"pso_degree": (0, 1)}, VARIABLES, "[x]")
    with pytest.raises(SystemDefinitionError, match="at least one range, such as phi_degree"):
        region_from_keys({}, VARIABLES, "[x]")


degrees = st.integers(-180, 180)


@given(degrees, degrees, degrees, degrees)
def test_overlap_is_what_points_say(a, b, c, d):
    """On whole degrees, boxes share a volume exactly if they share the middle of some degree."""
    if a % 360 == b % 360 or c % 360 == d % 360:
        return
    one, other = (parse_region(f"phi={low}..{high}", VARIABLES) for low, high in ((a, b), (c, d)))
    values = {"phi": np.radians(np.arange(-179.5, 180))}
    assert one.overlaps(other) == bool((one.contains(values) & other.contains(values)).any())
    assert one.overlaps(other) == other.overlaps(one)


@given(degrees, degrees)
def test_regions_are_written_as_they_are_read(low, high):
    if low % 360 == high % 360:
        return
    region = parse_region(f"phi={low}..{high},oh=0.1..0.25", VARIABLES)
    again = parse_region(format_region(region, VARIABLES), VARIABLES)
    for name, bounds in region.ranges.items():
        assert again.ranges[name] == pytest.approx(bounds, abs=1e-12)


@pytest.mark.parametrize("text", ["phi=-180..-40", "phi=100..180"])
def test_pi_in_single_precision_is_still_pi(text):
    """The float32 nearest to pi lies beyond pi."""
    angles = np.array([np.pi, -np.pi], dtype=np.float32)
    assert parse_region(text, VARIABLES).contains({"phi": angles}).all()


def test_regions_over_different_variables_do_meet():
    assert parse_region("phi=0..10", VARIABLES).overlaps(parse_region("psi=0..10", VARIABLES))
    assert not parse_region("oh=0..0.2", VARIABLES).overlaps(parse_region("oh=0.2..0.5", VARIABLES))


def test_an_empty_region_is_refused():
    with pytest.raises(SystemDefinitionError, match="at least one range"):
        Region({})
