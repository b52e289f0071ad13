"""Every kind of feature: values by hand, tilt energy and forces against its gradient and differences, in a box too."""

import math
import tomllib

import numpy as np
import openmm
import pytest

from tps.errors import SystemDefinitionError
from tps.features import Distance, Features, Surroundings, Torsion, define_variables
from tps.features.angle import Angle
from tps.features.contact import Contact
from tps.features.custom import PythonVariable
from tps.features.rmsd import Rmsd
from tps.systems import load_system
from tps.units import thermal_energy

REFERENCE = openmm.Platform.getPlatformByName("Reference")
KT = thermal_energy(300.0)
N_ATOMS = 6
BOX = np.array([[2.0, 0.0, 0.0], [0.4, 1.9, 0.0], [-0.3, 0.5, 1.8]])
SHAPE = np.random.default_rng(11).normal(scale=0.15, size=(N_ATOMS, 3))
TURNED = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
OWN = """
def gyration(x):
    return (x - x.mean(1, keepdim=True)).square().sum(-1).mean(-1).sqrt()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(OWN)
    return PythonVariable("own", (1, 2, 3, 5), file=str(path), function="gyration", own_unit="nm", scale=0.1)


def reference_rmsd():
    rng = np.random.default_rng(4)
    return tuple(map(tuple, (SHAPE[:5] + rng.normal(scale=0.05, size=(5, 3))).tolist()))


KINDS = {
    "torsion": Torsion("torsion", (0, 1, 2, 3)),
    "distance": Distance("distance", (0, 4)),
    "angle": Angle("angle", (4, 1, 5)),
    "contact": Contact.between("contact", [(0, 4), (1, 5), (0, 3)], r0=0.3),
    "rmsd": Rmsd("rmsd", (0, 1, 2, 3, 4), reference=reference_rmsd(), n_particles=N_ATOMS),
}
NAMES = [*KINDS, "own"]


def frames(n=4):
    rng = np.random.default_rng(2)
    return SHAPE + rng.normal(scale=0.04, size=(n, N_ATOMS, 3))


def variable_of(name, own):
    return own if name == "own" else KINDS[name]


def system_with(features, box=None):
    system = openmm.System()
    for _ in range(N_ATOMS):
        system.addParticle(12.0)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
        bonded = openmm.HarmonicBondForce()  # a force that makes the system periodic
        bonded.setUsesPeriodicBoundaryConditions(True)
        system.addForce(bonded)
    features.add_tilt(system, KT, 1)
    return system


def evaluate(context, positions):
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True, groups={1})
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_derivative_of_the_values(name, own):
    """Central differences of 1e-5 nm; third derivatives are of order 1/(0.1 nm)^3: relative 1e-8 / 0.01."""
    variable, positions, step = variable_of(name, own), frames(), 1e-5
    found, numerical = variable.gradient(positions), np.zeros((4, N_ATOMS, 3))
    for index in np.ndindex(N_ATOMS, 3):
        shift = np.zeros((N_ATOMS, 3))
        shift[index] = step
        change = variable.values(positions + shift) - variable.values(positions - shift)
        numerical[:, *index] = change / (2 * step)
    assert np.abs(found).max() > 0.1
    assert np.abs(found - numerical).max() < 1e-6 * np.abs(found).max()
    assert np.abs(found.sum(axis=1)).max() < 1e-10  # moving everything changes nothing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("box", [None, BOX], ids=["vacuum", "box"])
def test_tilt_is_minus_kt_eta_times_t(name, box, own):
    """Energy and force of OpenMM against the closed form and the gradient, to 1e-6; across the box's border too."""
    features = Features((variable_of(name, own),))
    eta = np.random.default_rng(1).normal(size=features.space.n_statistics)
    context = openmm.Context(system_with(features, box), openmm.VerletIntegrator(0.001), REFERENCE)
    features.set_tilt(context, eta)
    for positions in frames():
        plain = features.values(positions)
        if box is not None and name not in ("rmsd", "own"):  # these two take molecules whole
            shifts = np.random.default_rng(8).integers(-1, 2, size=(N_ATOMS, 3))
            positions = positions + shifts @ box
            assert features.values(positions, box) == pytest.approx(plain, abs=1e-12)
            assert features.values(positions) != pytest.approx(plain, abs=1e-3)
        energy, forces = evaluate(context, positions)
        by_hand = KT * features.gradient(positions, eta, box)
        assert energy == pytest.approx(-KT * eta @ features.statistic(positions, box), rel=1e-6, abs=1e-9)
        assert np.abs(forces - by_hand).max() < 1e-6 * np.abs(by_hand).max()


def test_a_tilt_of_all_kinds_at_once(own):
    """Circles first, then lines, |x|^2 shared by all lines; local() takes the atoms alone."""
    features = Features((KINDS["distance"], KINDS["torsion"], KINDS["contact"], own))
    assert features.tilt_parameters == (
        "tilt_torsion_x",
        "tilt_torsion_y",
        "tilt_distance",
        "tilt_contact",
        "tilt_own",
        "tilt_square",
    )
    eta = features.space.eta(features.values(SHAPE), 1.3)
    context = openmm.Context(system_with(features), openmm.VerletIntegrator(0.001), REFERENCE)
    features.set_tilt(context, eta)
    for positions in frames():
        energy, forces = evaluate(context, positions)
        by_hand = KT * features.gradient(positions, eta)
        assert energy == pytest.approx(-KT * eta @ features.statistic(positions), rel=1e-6)
        assert np.abs(forces - by_hand).max() < 1e-6 * np.abs(by_hand).max()
    local = features.local().values(frames()[:, features.atoms])
    assert local == pytest.approx(features.values(frames()), abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_expression_and_force_say_the_same(name, own):
    """What biases in several variables are made of: the value itself as energy."""
    variable = variable_of(name, own)
    forces = [variable.force("value")]
    points = tuple(f"p{i + 1}" for i in range(len(variable.atoms)))
    if variable.expression(points) is not None:
        forces.append(openmm.CustomCompoundBondForce(len(points), variable.expression(points)))
        forces[-1].addBond(list(variable.atoms), [])
    for force in forces:
        system = openmm.System()
        for _ in range(N_ATOMS):
            system.addParticle(12.0)
        force.setForceGroup(1)
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
        for positions in frames():
            assert evaluate(context, positions)[0] == pytest.approx(
                float(variable.values(positions)), rel=1e-6
            )


def test_angle_by_hand():
    right = np.array([[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0]])
    assert Angle("a", (0, 1, 2)).values(right) == pytest.approx(math.pi / 2)
    assert Angle("a", (1, 0, 2)).values(right) == pytest.approx(math.atan(2))


def test_contact_by_hand():
    line = np.array([[0.0, 0, 0], [0.45, 0, 0], [1.35, 0, 0]])
    expected = 1 / 2 + 1 / (1 + 3**6) + 1 / (1 + 2**6)
    assert Contact.between("c", [(0, 1), (0, 2), (1, 2)]).values(line) == pytest.approx(expected)
    assert Contact.between("c", [(0, 1), (0, 2)]).range == (0.0, 2.0)


def test_rmsd_knows_turns_but_not_mirrors():
    reference = tuple(map(tuple, SHAPE.tolist()))
    rmsd = Rmsd("r", tuple(range(N_ATOMS)), reference=reference, n_particles=N_ATOMS)
    assert rmsd.values(SHAPE @ TURNED.T + 3.0) == pytest.approx(0.0, abs=1e-7)
    assert rmsd.values(SHAPE * [1, 1, -1]) > 0.05


def test_a_tilt_on_rmsd_starts_from_the_reference_itself():
    """The gradient of an RMSD does not exist at zero; OpenMM gives no force there, and dynamics starts."""
    features = Features((KINDS["rmsd"],))
    context = openmm.Context(system_with(features), openmm.VerletIntegrator(0.001), REFERENCE)
    features.set_tilt(context, [1.0, -0.5])
    start = SHAPE.copy()
    start[:5] = KINDS["rmsd"].reference
    energy, forces = evaluate(context, start)
    assert energy == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(forces).all()


DEFINITIONS = {
    "angle": ("angle = [0, 4, 5]\nbounds_degree = [60, 180]", (0, 4, 5), (math.pi / 3, math.pi)),
    "contact": ("contact = [[0, 4], [5, 17]]\nr0_nm = 0.3", (0, 4, 5, 17), (0.0, 2.0)),
    "rmsd": (
        'rmsd = "b.pdb"\natoms = "name CA or name C or name N"\nbounds_nm = [0, 0.4]',
        (4, 6, 8, 14, 16, 18),
        (0.0, 0.4),
    ),
    "python": (
        'python = "mine.py:gyration"\natoms = [0, 4, 5]\nunit = "nm"',
        (0, 4, 5),
        (-math.inf, math.inf),
    ),
}


@pytest.fixture
def around(tmp_path):
    system = load_system("alanine-dipeptide")
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "b.pdb").write_text((system.directory / "c7ax.pdb").read_text())
    return Surroundings(system.topology, tmp_path, "system.toml [collective_variables.mine]")


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_table_defines_a_variable(kind, around):
    text, atoms, bounds = DEFINITIONS[kind]
    (variable,) = define_variables("mine", tomllib.loads(text), around)
    assert (variable.kind, variable.name, variable.atoms) == (kind, "mine", atoms)
    assert variable.range == pytest.approx(bounds)


def test_one_table_defines_all_torsions_of_a_group(around):
    found = define_variables("backbone", {"torsions": "backbone"}, around)
    assert {v.name: v.atoms for v in found} == {"phi2": (4, 6, 8, 14), "psi2": (6, 8, 14, 16)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "give one kind out of torsion, distance, angle.* but got only nothing"),
        ("angle = [0, 1, 2]\ndistance = [0, 1]", "but got distance and angle"),
        ("angle = [0, 1]", "required key is missing"),
        ("angle = [0, 1, 1]", "needs 3 different atom"),
        ("angle = [0, 1, 2]\nbounds_degree = [90, 30]", "bounds need 0 <= low < high"),
        ("contact = [[0, 0]]", "pairs of different atoms"),
        ('rmsd = "none.pdb"', "none.pdb does not exist"),
        ('rmsd = "b.pdb"\natoms = "name Q"', "takes none of the"),
        ('rmsd = "b.pdb"\natoms = "nmae CA"', "MDTraj cannot read"),
        ('python = "mine.py:other"\natoms = [0]', "mine.py has no function 'other'"),
        ('python = "mine.py"\natoms = [0]', "python: "),
        ('torsions = [["backbone"]]', r"no torsion or group is named \['backbone'\]"),
        ('torsions = "sidechain"', "did you mean 'sidechains'"),
        ('torsions = "sidechains"', "has no chi1, chi2"),
        ('torsions = "backbone"\nresidues = [7]', "in residues 7"),
    ],
)
def test_mistakes_in_a_table_are_one_sentence(text, message, around):
    with pytest.raises(SystemDefinitionError, match=message):
        define_variables("mine", tomllib.loads(text), around)


def test_a_function_must_return_one_differentiable_number_per_frame(tmp_path):
    (tmp_path / "mine.py").write_text("def f(x):\n    return x.detach().sum((1, 2))\n")
    variable = PythonVariable("mine", (0, 1), file=str(tmp_path / "mine.py"), function="f")
    with pytest.raises(
        SystemDefinitionError, match=r"f must return a differentiable tensor .* returned \(2,\)"
    ):
        variable.values(np.zeros((2, 3, 3)))
