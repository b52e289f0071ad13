"""A basin that is neither A nor B and keeps its walkers is found, and ways across are not taken for one."""

import json
import math
import shutil
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from commands import tps as command
from molecules import chain_positions, torsion_molecule

import tps
from tps.analysis import Intermediate
from tps.config import load_config
from tps.conformations import SamplingTask, find_third_basin, sample_frames, write_dcd
from tps.engine import LangevinSettings, PlatformChoice
from tps.features import FeatureSpace
from tps.pipeline import RunFolder
from tps.systems import load_system
from tps.units import thermal_energy

SPACE = torsion_molecule().space
PLANE = FeatureSpace(("phi", "psi"), (True, True), ("rad", "rad"), (1.0, 1.0), [(-math.pi, math.pi)] * 2)
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=10.0)
REFERENCE = PlatformChoice("Reference")
RNG = np.random.default_rng(3)


def walk(*stays):
    """Values of psi (and phi = 1 in a trap) by stays: (name, frames); A at psi = 2, B at -1, ways across anywhere."""
    parts = []
    for name, n in stays:
        phi, psi = {"a": (-1.2, 2.0), "b": (-1.2, -1.0), "t": (1.0, 2.0), "u": (1.0, -1.0)}.get(
            name, (-1.2, 0.5)
        )
        spread = 0.1 if name != "." else 0.8
        parts.append(np.stack([phi + 0.15 * RNG.normal(size=n), psi + spread * RNG.normal(size=n)], axis=1))
    return np.concatenate(parts)


def found(*walks):
    values = np.concatenate([walk(*stays) for stays in walks])
    walker = np.repeat(np.arange(len(walks)), [sum(n for _, n in stays) for stays in walks])
    left = values[:, 0] < 0
    in_a, in_b = left & (np.abs(values[:, 1] - 2.0) < 0.4), left & (np.abs(values[:, 1] + 1.0) < 0.4)
    return find_third_basin(PLANE, values, walker, in_a, in_b), values, in_a | in_b


def test_a_trap_is_found_by_the_feature_that_tells_it_with_its_times():
    """Where psi changes too: phi alone tells it. 700 of 1000 frames, then 300 of another walker, which comes back."""
    basin, values, _ = found(
        [("a", 300), ("t", 350), ("u", 350)], [("b", 200), ("u", 300), ("a", 250), ("b", 250)]
    )
    assert basin is not None
    assert basin.space.names == ("phi",)
    assert basin.center[0] == pytest.approx(1.0, abs=4 * 0.15 / math.sqrt(700))
    assert basin.spread[0] == pytest.approx(0.15, rel=4 / math.sqrt(2 * 700))
    assert (basin.n_stays, basin.n_left, basin.longest, basin.n_inside) == (2, 1, 700, 1000)
    assert basin.share_of_walker == pytest.approx(0.7)
    assert basin.contains(PLANE, values).sum() == pytest.approx(1000, abs=30)
    assert abs(values[basin.frame, 0] - 1.0) < 0.05
    said = basin.sentence(0.4, 0.5)
    assert (
        "phi 57" in said
        and "500 ps in 2 long stays, the longest 350 ps" in said
        and "1 of them ended" in said
    )
    assert "40%" in said
    assert "700 frames" in basin.sentence(0.4, None)
    assert Intermediate(**basin.as_dict(0.4, 0.5)) == Intermediate(basin.place, 0.4, 350.0, "ps", 2, 1)
    assert Intermediate(**basin.as_dict(0.4, None)).unit == "frames"


@pytest.mark.parametrize(
    "walks",
    [
        ([("a", 500), (".", 30), ("b", 500), (".", 30), ("a", 200)],),
        # long, and nowhere of its own
        ([("a", 100), (".", 60), ("b", 30)], [("b", 300), (".", 30), ("a", 300), (".", 30), ("b", 30)]),
        ([("t", 400), ("u", 400)],),  # a walker that never saw A or B: said elsewhere
        ([("a", 300), ("t", 100), ("b", 600)],),  # gone over often enough to average
    ],
)
def test_ways_across_are_no_basin(walks):
    assert found(*walks)[0] is None


def test_an_angle_across_180_degrees_is_one_place():
    """A standard deviation of 0.1 about 180 degrees is known from 100 frames to 7 %, its centre to 0.01: four each."""
    values = np.concatenate([np.full(100, 0.5), math.pi + 0.1 * RNG.normal(size=100)])[:, None]
    inside = np.arange(200) < 100
    basin = find_third_basin(SPACE, values, np.zeros(200, int), inside, np.zeros(200, bool))
    assert basin is not None
    assert abs(abs(basin.center[0]) - math.pi) < 0.04
    assert basin.spread[0] == pytest.approx(0.1, rel=0.28)


def test_dynamics_in_a_third_well_of_a_torsion_has_its_place_and_width():
    """Three wells, 25 kJ/mol between them: the walker that starts at 180 degrees stays for all of its 60 ps.

    Centre and width of the well by quadrature; four errors, with frames 0.1 ps apart at 10 per ps of friction.
    """
    molecule, parts = torsion_molecule("12.5*(1 + cos(3*theta))"), []
    for start, seed in ((-1.0, 1), (math.pi - 0.1, 2)):
        task = SamplingTask(
            molecule.system_xml, chain_positions(start), 30_000, 50, LANGEVIN, REFERENCE, seed
        )
        parts.append(sample_frames(task).positions)
    at, walker = molecule.values(np.concatenate(parts)), np.repeat([0, 1], 600)
    in_a, in_b = (state.region.contains(at) for state in (molecule.state_a, molecule.state_b))
    basin = find_third_basin(molecule.space, at["theta"][:, None], walker, in_a, in_b)
    x = np.linspace(-1, 1, 2001)
    density = np.exp(-12.5 * (1 - np.cos(3 * x)) / thermal_energy(300.0))
    width = math.sqrt(np.sum(x**2 * density) / np.sum(density))
    assert basin is not None
    assert (basin.n_stays, basin.n_left, basin.longest) == (1, 0, 600)
    assert molecule.space.difference([math.pi], basin.center) == pytest.approx(
        0, abs=4 * width / math.sqrt(300)
    )
    assert basin.spread[0] == pytest.approx(width, rel=4 / math.sqrt(2 * 300))


def test_a_run_names_a_third_basin_and_leaves_its_structure(tmp_path):
    """Alanine dipeptide between two parts of phi < 0, from trajectories of which one lies where phi > 0 for good."""
    alanine, parts = load_system("alanine-dipeptide"), {}
    for name, start, seed in (("c5", alanine.positions_a, 1), ("c7ax", alanine.positions_b, 2)):
        task = SamplingTask(alanine.system_xml, start, 20_000, 50, LANGEVIN, REFERENCE, seed)
        parts[name] = sample_frames(task).positions
        write_dcd(tmp_path / f"{name}.dcd", parts[name], None)
    folder = Path(tps.__file__).parents[1] / "systems" / "alanine-dipeptide"
    text = (folder / "system.toml").read_text().replace("c7ax.pdb", "c7eq.pdb")
    text = text.replace(
        '"C5"\nphi_degree = [-180, -40]\npsi_degree = [20, -150]', '"C5"\npsi_degree = [110, -150]'
    )
    text = text.replace("[40, 100]\npsi_degree = [-110, 10]", "[-120, -50]\npsi_degree = [20, 100]")
    values = alanine.values(parts["c5"])
    folded = int(np.argmin(np.hypot(values["phi"] + 1.4, values["psi"] - 1.1)))
    frames = mdtraj.Trajectory(parts["c5"][folded], alanine.mdtraj_topology)
    frames.save_pdb(str(tmp_path / "c7eq.pdb"))
    shutil.copy(folder / "c5.pdb", tmp_path)
    (tmp_path / "system.toml").write_text(text)
    run = tmp_path / "run.toml"
    run.write_text(
        '[run]\nsystem = "."\nseed = 1\n[conformations]\nmethod = "import"\ntrajectories = ["c5.dcd", "c7ax.dcd"]\n'
    )
    folder = RunFolder.create(tmp_path / "out", load_config(run)).path
    said = command("conformations", folder).output
    mean = np.mean(alanine.values(parts["c7ax"])["phi"])
    assert f"a third basin at phi {np.rad2deg(mean):.3g} ± " in said
    assert "400 frames, 100% of its time, and none of them ended; it holds 49% of the weight" in said
    details = json.loads((folder / "manifest.json").read_text())["stages"]["conformations"]["details"]
    assert details["third_basin"]["share"] == pytest.approx(0.49, abs=0.01)
    assert (details["third_basin"]["longest"], details["third_basin"]["unit"]) == (400, "frames")
    written = mdtraj.load(str(folder / "conformations" / "third_basin.pdb"))
    phi = mdtraj.compute_phi(written)[1][0, 0]
    assert phi == pytest.approx(mean, abs=0.1)
