"""Growing frames of alanine dipeptide from good and bad starts, beside metadynamics, and with windows too short."""

import math
import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from tps.config import RunConfig
from tps.conformations import Conformations, read_dcd
from tps.pipeline import RunFolder, run_stage
from tps.pipeline.progress import Silent
from tps.stored import read_json
from tps.units import thermal_energy

SHIPPED = Path(__file__).parents[1] / "systems" / "alanine-dipeptide"
#: F(B) - F(A) of the regions and its error [kJ/mol]: metadynamics on (phi, psi), 5 million steps (configs/demo.toml).
METADYNAMICS = (8.96, 0.24)
CONVENTION = 4.0  # errors


def grown(folder, structure_a=None, frame_interval_steps=100, **grow):
    """Grow frames between C5, or another structure in A, and C7ax; return the run and what it says."""
    system = folder / "system"
    shutil.copytree(SHIPPED, system)
    if structure_a is not None:
        topology = app.PDBFile(str(SHIPPED / "c5.pdb")).topology
        with (system / "c5.pdb").open("w") as file:
            app.PDBFile.writeFile(topology, structure_a.astype(float) * openmm.unit.nanometer, file)
    settings = {
        "run": {"system": str(system), "seed": 1, "platform": "Reference"},
        "conformations": {"method": "grow", "frame_interval_steps": frame_interval_steps},
        "grow": grow,
    }
    run = RunFolder.create(folder / "run", RunConfig.model_validate(settings))
    entry = run_stage(run, "conformations", Silent())
    return run, entry, read_json(run.path / "conformations" / "growth.json")


def frame_near(run, phi, psi):
    """Return positions (22, 3) of the basins' frame nearest to two angles [degree]."""
    folder = run.path / "conformations" / "rounds" / "basins"
    values = Conformations.load(folder / "data.npz").values
    away = np.cos(values - np.radians([phi, psi])).sum(axis=1)
    return read_dcd(folder / "frames.dcd")[np.argmax(away)]


def difference(growth):
    """Return F(B) - F(A) and its error [kJ/mol], as given."""
    assert growth["doubt"] == ""
    kt, last = thermal_energy(300.0), growth["rounds"][-1]
    return kt * last["difference"], kt * last["difference_error"]


@pytest.mark.slow
def test_growing_from_a_bad_start_ends_where_a_good_one_does(tmp_path):
    """The straight way from C5 leads over phi = 140°, the wrong side, from C7eq over 0°: both have the one ΔF.

    Windows on the wrong side have humps on either side of a clash, whose walkers stay where they are: the default
    budget gives no ΔF then, twice as much the right one. Through a clash, from (-81°, 148°), neither gives one.
    """
    for name in ("bad", "good", "clash"):
        (tmp_path / name).mkdir()
    run, _, bad = grown(tmp_path / "bad", max_steps=12_000_000, max_rounds=14)
    _, _, good = grown(tmp_path / "good", frame_near(run, -80.0, 75.0))
    first = bad["rounds"][0]
    assert first["overlap"] < 0.03 and max(first["gap"]) > 10 and first["counted"] < first["windows"]
    found = [difference(growth) for growth in (bad, good)]
    for value, error in found:
        assert error < 1.2 * thermal_energy(300.0)
        assert abs(value - METADYNAMICS[0]) < CONVENTION * math.hypot(error, METADYNAMICS[1])
    assert abs(found[0][0] - found[1][0]) < CONVENTION * math.hypot(found[0][1], found[1][1])
    assert not math.isfinite(bad["rounds"][4]["difference_error"])  # where the default budget ends
    _, _, clash = grown(
        tmp_path / "clash", frame_near(run, -81.0, 148.0), max_steps=12_000_000, max_rounds=14
    )
    assert "is not known" in clash["doubt"]


@pytest.mark.slow
def test_windows_of_less_than_a_picosecond_give_no_difference(tmp_path):
    _, entry, growth = grown(
        tmp_path, frame_interval_steps=10, n_window_steps=400, n_pull_steps=400, max_rounds=4
    )
    assert "is not known" in growth["doubt"]
    assert growth["doubt"] in entry["details"]["verdict"]["weightless"]
    assert not entry["details"]["verdict"]["connected"]
