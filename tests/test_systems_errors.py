"""What a user can get wrong in a system folder is answered with one sentence that names file and key."""

import shutil

import openmm
import pytest
from openmm import app

from tps.errors import SystemDefinitionError
from tps.systems import data_directory, load_system


@pytest.fixture
def folder(tmp_path):
    """Return a copy of the built-in alanine dipeptide, to be spoilt."""
    return shutil.copytree(data_directory("systems") / "alanine-dipeptide", tmp_path / "mine")


def edit(file, old, new, count=1):
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new, count))


def refusal(folder):
    with pytest.raises(SystemDefinitionError) as caught:
        load_system(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "temperature_kelvin",
            "temprature_kelvin",
            "system.temprature_kelvin: unknown key; did you mean 'temperatu",
        ),
        ("[force_field]", "[forcefield]", "forcefield: unknown key; did you mean 'force_field'"),
        ("[force_field]", "[forcefield]", "force_field: required key is missing"),
        (
            "residue = 2",
            "residu = 2",
            "[collective_variables.phi]: residu: unknown key; did you mean 'residue'",
        ),
        ("[states.A]", "[states.C]", "states.C: unknown key"),
        (
            "300.0",
            "-300.0",
            "system.temperature_kelvin: should be greater than or equal to 1, but got -300.0",
        ),
        ("300.0", '"warm"', "system.temperature_kelvin: should be a valid number"),
        (
            '"h-bonds"',
            '"hbonds"',
            "force_field.constraints: should be 'none', 'h-bonds' or 'all-bonds', but got 'hbo",
        ),
        ("300.0", "300,0", "cannot be read as TOML"),
        ('"c7ax.pdb"', '"c7ex.pdb"', "c7ex.pdb does not exist"),
        ('"c7ax.pdb"', '"build.py"', "structures are read from .pdb"),
        (
            '"amber99sbildn.xml"',
            '"amber99sbild.xml"',
            "[force_field] files: 'amber99sbild.xml' is neither beside",
        ),
        ('"amber99sbildn.xml"', '"amber99sbild.xml"', "did you mean 'amber99sbildn.xml'"),
        ('"amber99sbildn.xml"', '"tip3p.xml"', "files: tip3p.xml does not cover the molecule"),
        ('files = ["amber99sbildn.xml"]', "", "force_field: give either files"),
        (
            'files = ["amber99sbildn.xml"]',
            'system_xml = "s.xml"',
            "system_xml already says everything: remove constr",
        ),
        ("constraints", 'nonbonded_method = "pme"\nconstraints', "periodic"),
        (
            '["phi", "psi"]',
            '["phi", "chi"]',
            "[system] features: no collective variable 'chi'; did you mean 'phi'",
        ),
        ('["phi", "psi"]', '["phi", "phi"]', "[system] features: each feature can be named once"),
        ('["phi", "psi"]', "[]", "system.features"),
        (
            'torsion = "phi"\nresidue = 2',
            "distance = [5, 17]",
            "phi is a distance, whose ranges are given as phi_nm",
        ),
        ('torsion = "phi"\nresidue = 2', "torsion = [4, 6, 8]", "[collective_variables.phi]: torsion"),
        ('torsion = "phi"\nresidue = 2', "torsion = [4, 6, 8, 22]", "phi: atom 22 does not exist"),
        (
            'torsion = "phi"\nresidue = 2',
            "distance = [5, 1000000000000000000]",
            "distance.1: should be less than",
        ),
        ('torsion = "phi"\nresidue = 2', "torsion = [4, 6, 8, 8]", "[collective_variables.phi]: collective"),
        ('torsion = "phi"', 'torsion = "fi"', "[collective_variables.phi]: torsion"),
        (
            'torsion = "phi"',
            'torsion = "chi1"',
            "[collective_variables.phi]: no chi1 in residue 2; chi1 exists in no",
        ),
        ("residue = 2", "residue = 1", "no phi in residue 1; phi exists in ALA2 of chain A"),
        (
            "phi_degree = [-180, -40]",
            "phi_nm = [-180, -40]",
            "[states.A] phi_nm: unknown key: phi is a torsion",
        ),
        (
            "phi_degree = [-180, -40]",
            "phj_degree = [-180, -40]",
            "[states.A] phj_degree: unknown key; did you mea",
        ),
        (
            "phi_degree = [-180, -40]",
            "phi_degree = [-1800, -40]",
            "[states.A] phi_degree: a torsion range is given",
        ),
        (
            "phi_degree = [-180, -40]",
            "phi_degree = [-40, -40]",
            "[states.A] phi_degree: a range needs two differ",
        ),
        ("phi_degree = [-180, -40]", "phi_degree = -40", "states.A.phi_degree"),
        (
            "phi_degree = [-180, -40]",
            "phi_degree = [-90, -40]",
            "[states.A] (C5) contains neither end structure: ",
        ),
        (
            "phi_degree = [-180, -40]",
            "phi_degree = [-90, -40]",
            "structure A has phi = -147 degree, psi = 159.1 deg",
        ),
        (
            "phi_degree = [40, 100]",
            "phi_degree = [-100, 100]\n#",
            "[states.A] (C5) and [states.B] (C7ax) overlap",
        ),
        ('name = "C5"', "", "states.A.name: required key is missing"),
    ],
)
def test_mistakes_in_the_definition(folder, old, new, expected):
    if "#" in new:  # state B without its range of psi
        edit(folder / "system.toml", "psi_degree = [-110, 10]", "")
    edit(folder / "system.toml", old, new)
    assert expected in refusal(folder)


def test_all_mistakes_come_at_once(folder):
    edit(folder / "system.toml", "temperature_kelvin", "temperature")
    edit(folder / "system.toml", "constraints", "constraint")
    message = refusal(folder)
    assert "system.temperature: unknown key; did you mean 'temperature_kelvin'?" in message
    assert "force_field.constraint: unknown key; did you mean 'constraints'?" in message


def test_swapped_end_structures(folder):
    edit(folder / "system.toml", "c5.pdb", "c7ax.pdb")
    edit(folder / "system.toml", '"c7ax.pdb"\ntemp', '"c5.pdb"\ntemp')
    message = refusal(folder)
    assert (
        "contains end structure B and [states.B] (C7ax) contains A: swap structure_a and structure_b"
        in message
    )


def test_state_that_contains_both_structures(folder):
    edit(folder / "system.toml", "[-180, -40]", "[-180, 100]")
    edit(folder / "system.toml", "[20, -150]", "[-60, 170]")
    edit(folder / "system.toml", "[40, 100]", "[110, 150]")
    message = refusal(folder)
    assert "[states.A] (C5) contains end structure B (phi = 60.18 degree, psi = -40.71 degree)" in message
    assert "must contain structure A only" in message


def test_other_number_of_atoms(folder):
    lines = (folder / "c7ax.pdb").read_text().splitlines(keepends=True)
    (folder / "c7ax.pdb").write_text("".join(line for line in lines if "HB3" not in line))
    message = refusal(folder)
    assert "c7ax.pdb) has 21 atoms, A (" in message
    assert "c5.pdb) has 22: give both as the same molecule in the same atom order" in message


def test_other_atom_order(folder):
    lines = (folder / "c7ax.pdb").read_text().splitlines(keepends=True)
    c, o = (next(i for i, line in enumerate(lines) if f" {name}   ALA" in line) for name in "CO")
    lines[c], lines[o] = lines[o], lines[c]
    (folder / "c7ax.pdb").write_text("".join(lines))
    assert "atom 14 (from zero) is ALA2-O (O) in end structure B" in refusal(folder)


def test_missing_hydrogens(folder):
    for name in ("c5.pdb", "c7ax.pdb"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if not line.rstrip().endswith("H")))
    message = refusal(folder)
    assert "the end structures lack hydrogens, add them with openmm.app.Modeller.addHydrogens" in message


def test_one_missing_hydrogen(folder):
    for file in ("c5.pdb", "c7ax.pdb"):
        lines = (folder / file).read_text().splitlines(keepends=True)
        (folder / file).write_text("".join(line for line in lines if "HB3" not in line))
    assert "addHydrogens" in refusal(folder)


def test_coordinates_that_are_not_numbers(folder):
    line = next(line for line in (folder / "c7ax.pdb").read_text().splitlines() if " CB  ALA" in line)
    edit(folder / "c7ax.pdb", line, line[:30] + "     nan" + line[38:])
    assert (
        "c7ax.pdb: 1 atoms have coordinates that are not numbers or beyond 100000 nm, the first is ALA2-CB (C)"
        in refusal(folder)
    )


@pytest.mark.parametrize("text", ["", "END\n", "ATOM      1  N   ALA A   1      x.000   1.000   1.000\n"])
def test_files_that_are_no_structures(folder, text):
    (folder / "c5.pdb").write_text(text)
    assert "c5.pdb" in refusal(folder)


def test_structures_that_are_cut_off_or_say_an_atom_twice(folder):
    """Python's words for a parser beyond the end of its file tell nobody anything."""
    file = folder / "c5.pdb"
    sound = file.read_text()
    for harmed in ("", sound.encode("utf-16").decode("latin1")):
        file.write_text(harmed)
        assert "c5.pdb cannot be read as a pdb structure (it is cut off, or holds no atoms)" in refusal(
            folder
        )
    lines = sound.splitlines(keepends=True)
    atom = next(i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM")))
    file.write_text("".join([*lines[: atom + 1], *lines[atom:]]))
    assert "c5.pdb cannot be read as a pdb structure (duplicate atom" in refusal(folder)


def test_damaged_force_field(folder):
    (folder / "mine.xml").write_text("<ForceField>")
    edit(folder / "system.toml", "amber99sbildn.xml", "mine.xml")
    assert "files: OpenMM cannot read mine.xml" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "s.xml does not exist: write it with openmm.XmlSerializer"),
        ("nonsense", "s.xml is not a serialised openmm.System"),
        (
            openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)),
            "s.xml holds a serialised VerletIntegrator",
        ),
        (
            openmm.XmlSerializer.serialize(openmm.System()),
            "s.xml has 0 particles, but the end structures have 22",
        ),
    ],
)
def test_bad_serialised_system(folder, content, expected):
    edit(
        folder / "system.toml",
        'files = ["amber99sbildn.xml"]\nconstraints = "h-bonds"',
        'system_xml = "s.xml"',
    )
    if content is not None:
        (folder / "s.xml").write_text(content)
    assert expected in refusal(folder)


def test_serialised_system_of_another_molecule(folder):
    edit(
        folder / "system.toml",
        'files = ["amber99sbildn.xml"]\nconstraints = "h-bonds"',
        'system_xml = "s.xml"',
    )
    pdb = app.PDBFile(str(folder / "c5.pdb"))
    system = app.ForceField("amber99sbildn.xml").createSystem(pdb.topology)
    system.setParticleMass(0, 32.0)
    (folder / "s.xml").write_text(openmm.XmlSerializer.serialize(system))
    assert (
        "particle 0 (from zero) weighs 32.000 amu, but the end structures have ACE1-H1 (H) of 1.008"
        in refusal(folder)
    )


def test_ambiguous_torsion_names_the_candidates(folder):
    """Without a residue, omega fits the bond before and the bond after alanine."""
    edit(
        folder / "system.toml", "[states.A]", '[collective_variables.omega]\ntorsion = "omega"\n\n[states.A]'
    )
    message = refusal(folder)
    assert "omega fits 2 places: say residue (and chain) out of ACE1 of chain A, ALA2 of chain A" in message
