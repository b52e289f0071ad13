"""The script of steered dynamics: its spring by hand, and that it arrives."""

import sys
from pathlib import Path

import numpy as np
import openmm
import pytest

from tps.analysis import heavy_atom_rmsd
from tps.systems import load_system

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import steered_rmsd


def test_the_spring_by_hand():
    """k/2 (RMSD - rest)^2, the RMSD being MDTraj's, in single precision; at rest in A."""
    system, stiffness = load_system("alanine-dipeptide"), 1e4
    force, variable = steered_rmsd.spring(system, stiffness)
    apart = heavy_atom_rmsd(system, system.positions_a[None], system.positions_b)[0]
    assert variable.values(system.positions_a) == pytest.approx(apart, abs=1e-5)
    alone = openmm.System()
    for _ in range(system.n_atoms):
        alone.addParticle(1.0)
    alone.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(alone, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(system.positions_a)
    for rest in (apart, 0.0):
        context.setParameter("rest", rest)
        energy = context.getState(energy=True).getPotentialEnergy()._value
        assert energy == pytest.approx(stiffness / 2 * (apart - rest) ** 2, abs=0.02)


def test_a_pulled_molecule_arrives(monkeypatch, capsys):
    """Ten heavy atoms, 100,000 kJ/mol/nm^2 and kT = 2.494 kJ/mol; what is printed is what the paths did."""
    arguments = ["alanine-dipeptide", "--paths", "2", "--steps", "4000", "--equilibration", "500"]
    monkeypatch.setattr(sys, "argv", ["steered_rmsd.py", *arguments])
    steered_rmsd.main()
    printed = capsys.readouterr().out
    each = [float(line.split()[1]) for line in printed.splitlines() if line.startswith("RMSD")]
    assert (
        max(each) < 4 * np.sqrt(2.494 / 1e5) + 0.05
    )  # the spring's own spread, and what heat leaves in 10 atoms
    mean = next(line for line in printed.splitlines() if line.startswith("rmsd_last"))
    assert float(mean.split()[1]) == pytest.approx(np.mean(each), abs=1e-3)
    assert "native_contacts" not in printed
