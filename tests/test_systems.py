"""The built-in molecule, and where systems are found."""

import importlib.util
import pickle
import shutil

import numpy as np
import openmm
import pytest
from openmm import app, unit

import tps
from tps.errors import SystemDefinitionError
from tps.systems import available_systems, data_directory, load_system

REFERENCE = openmm.Platform.getPlatformByName("Reference")


@pytest.fixture(scope="module")
def alanine():
    return load_system("alanine-dipeptide")


def make_context(system, positions):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), REFERENCE)
    context.setPositions(positions)
    return context


def test_alanine_dipeptide_is_what_the_literature_calls_so(alanine):
    assert alanine.n_atoms == 22
    assert alanine.topology.getNumBonds() == 21
    assert alanine.temperature == 300.0
    assert alanine.feature_names == ("phi", "psi")
    assert [v.atoms for v in alanine.features.variables] == [(4, 6, 8, 14), (6, 8, 14, 16)]
    assert (alanine.state_a.name, alanine.state_b.name) == ("C5", "C7ax")
    assert alanine.mdtraj_topology.n_atoms == 22
    assert alanine.mdtraj_topology.n_bonds == 21
    assert alanine.notes == ()


@pytest.mark.parametrize("end", ["positions_a", "positions_b"])
def test_the_alanine_is_l(alanine, end):
    """CORN rule: CO, R, N turn clockwise seen from HA, so (N - CA) x (C - CA) points to CB, away from HA."""
    n, ca, ha, cb, c = getattr(alanine, end)[[6, 8, 9, 10, 14]]
    normal = np.cross(n - ca, c - ca)
    assert normal @ (cb - ca) > 0 > normal @ (ha - ca)


@pytest.mark.parametrize(
    ("end", "phi", "psi"), [("positions_a", -147.0, 159.1), ("positions_b", 60.2, -40.7)], ids=["C5", "C7ax"]
)
def test_end_structures_are_local_minima(alanine, end, phi, psi):
    """Minimising again gains no more than the 0.001 A of the PDB format costs.

    Rounding moves each of 66 coordinates by at most 5e-5 nm, rms 2.9e-5 nm; the stiffest bond has k = 4.8e5
    kJ/mol/nm**2, so 66 of them would cost 66/2 * 4.8e5 * (2.9e-5)**2 = 0.013 kJ/mol.
    """
    context = make_context(alanine.create_openmm_system(), getattr(alanine, end))
    context.applyConstraints(1e-8)
    before = context.getState(getEnergy=True).getPotentialEnergy()
    openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
    state = context.getState(getEnergy=True, getPositions=True)
    assert (before - state.getPotentialEnergy()).value_in_unit(unit.kilojoule_per_mole) < 0.013
    values = alanine.values(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)[None])
    assert np.degrees([values["phi"][0], values["psi"][0]]) == pytest.approx([phi, psi], abs=0.1)


def test_system_is_the_force_field_and_nothing_else(alanine):
    expected = app.ForceField("amber99sbildn.xml").createSystem(alanine.topology, constraints=app.HBonds)
    assert alanine.system_xml == openmm.XmlSerializer.serialize(expected)
    assert alanine.create_openmm_system() is not alanine.create_openmm_system()


def test_build_script_writes_these_files(alanine):
    """From SMILES again the same minima, to the digits of the PDB format and of the minimiser."""
    pytest.importorskip("rdkit", reason="only the build script needs RDKit")
    spec = importlib.util.spec_from_file_location("build", alanine.directory / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    for name, positions in (("c5.pdb", alanine.positions_a), ("c7ax.pdb", alanine.positions_b)):
        phi, psi = build.BASINS[name]
        molecule, order = build.embed()
        start = build.set_torsions(molecule, order, phi, psi)
        built, _ = build.minimise(build.make_topology(molecule, order), start, phi, psi)
        assert build.standard_frame(built) == pytest.approx(positions, abs=2e-4)


def test_system_survives_a_process_boundary(alanine):
    copy = pickle.loads(pickle.dumps(alanine))
    assert copy.system_xml == alanine.system_xml
    assert copy.collective_variables == alanine.collective_variables
    assert np.array_equal(copy.positions_b, alanine.positions_b)


def test_end_structures_cannot_be_changed(alanine):
    with pytest.raises(ValueError, match="read-only"):
        alanine.positions_a[0, 0] = 0.0


def test_every_built_in_system_loads_under_its_name():
    summaries = available_systems()
    assert "alanine-dipeptide" in [summary.name for summary in summaries]
    for summary in summaries:
        assert load_system(summary.name).name == summary.name
        assert summary.description


def test_load_by_folder_and_by_file(alanine):
    for place in (alanine.directory, str(alanine.directory), alanine.directory / "system.toml"):
        assert load_system(place).system_xml == alanine.system_xml


def test_unknown_name_gets_the_nearest():
    with pytest.raises(
        SystemDefinitionError, match=r"neither a built-in .* did you mean 'alanine-dipeptide'"
    ):
        load_system("alanine_dipeptid")


def test_folder_without_a_definition(tmp_path):
    with pytest.raises(SystemDefinitionError, match=r"holds no system\.toml"):
        load_system(tmp_path)


def test_installed_package_finds_its_own_data(monkeypatch, tmp_path, alanine):
    """A wheel has tps/_data/systems; another package's folder 'systems' beside tps is not ours."""
    data = tmp_path / "site-packages" / "tps" / "_data"
    shutil.copytree(alanine.directory, data / "systems" / "alanine-dipeptide")
    (data / "configs").mkdir()
    (tmp_path / "site-packages" / "systems").mkdir()
    monkeypatch.setattr(tps, "__file__", str(data.parent / "__init__.py"))
    assert data_directory("systems") == data / "systems"
    assert data_directory("configs") == data / "configs"
    assert load_system("alanine-dipeptide").directory == data / "systems" / "alanine-dipeptide"


def test_missing_data_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tps, "__file__", str(tmp_path / "tps" / "__init__.py"))
    with pytest.raises(SystemDefinitionError, match="configs are missing"):
        data_directory("configs")


def test_avoided_region_must_leave_the_end_structures(alanine):
    from tps.systems import parse_region

    alanine.check_avoided_regions([parse_region("phi=-30..30", alanine.collective_variables)])
    with pytest.raises(SystemDefinitionError, match=r"contains end structure B \(C7ax: phi = 60.18 degree"):
        alanine.check_avoided_regions([parse_region("phi=0..100", alanine.collective_variables)])
