"""Three alanines as `tps run` has them, against 77 ns of plain dynamics that nothing of `tps` took part in.

What stands here was made once, in 8 minutes on 16 cores, by

    python examples/plain_dynamics.py prepare ace-ala3-nme -o ala3.npz
    python examples/plain_dynamics.py walk ala3.npz --walks 16 --seconds 480 --platform Reference --seed 100 -o walks
    python examples/plain_dynamics.py analyse ala3.npz walks/*.npz --histograms tests/truth/ace-ala3-nme.npz

with 93 transitions from A to B and 97 back. Two halves of the walks are 0.004 nats apart in the frames and 0.012 in the
transitions, in whichever residue that is most.
"""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from commands import tps
from scipy.special import logsumexp

from tps.analysis import jensen_shannon
from tps.paths import load_transition_paths
from tps.pipeline import RunFolder
from tps.pipeline.growth import GROWTH
from tps.stored import read_json
from tps.systems import data_directory, load_system

HISTOGRAMS = Path(__file__).parent / "truth" / "ace-ala3-nme.npz"
#: Value and standard error over walks.
DIFFERENCE = (-3.534, 0.361)  # F(B) - F(A) of the states [kJ/mol]
POPULATION_A, POPULATION_B = (0.0875, 0.0098), (0.3608, 0.0161)
RATE_A_TO_B, RATE_B_TO_A = (3.943e-3, 2.7e-4), (1.834e-3, 1.4e-4)  # [1/ps], by the state last visited
TRANSITION_TIME = (88.2, 4.9)  # both ways together, which are one ensemble [ps]


def residues(names, values, weights):
    """Return the (phi, psi) histogram of each residue (3, 24, 24), which sums to 1, of frames (n, 6) [rad]."""
    edges = np.linspace(-np.pi, np.pi, 25)
    pairs = [values[:, [names.index(f"phi{k}"), names.index(f"psi{k}")]] for k in (2, 3, 4)]
    found = np.array([np.histogram2d(*pair.T, bins=edges, weights=weights)[0] for pair in pairs])
    return found / found.sum(axis=(1, 2), keepdims=True)


def known(name):
    counts = np.load(HISTOGRAMS)[name].astype(float)
    return counts / counts.sum(axis=(1, 2), keepdims=True)


def test_the_truth_is_of_the_system_that_ships():
    """Populations make the difference, phi stays below zero, and one residue is in a state oftener than all three."""
    kt = load_system("ace-ala3-nme").kt
    ratio = POPULATION_B[0] / POPULATION_A[0]
    error = kt * np.hypot(POPULATION_A[1] / POPULATION_A[0], POPULATION_B[1] / POPULATION_B[0])
    assert -kt * np.log(ratio) == pytest.approx(DIFFERENCE[0], abs=0.01)
    assert error == pytest.approx(DIFFERENCE[1], rel=0.2)  # the two populations are not quite independent
    outside = known("all")[:, 13:22].sum(axis=(1, 2))  # phi from 15 to 150 degrees
    assert (outside < 1e-3).all()
    assert (
        known("all").sum(axis=1)[:, 16:22].sum(axis=1) > POPULATION_A[0]
    ).all()  # psi from 60 to 150 and more
    assert (known("all").sum(axis=1)[:, 6:14].sum(axis=1) > POPULATION_B[0]).all()  # psi from -90 to 30


@pytest.mark.slow
def test_three_alanines_as_plain_dynamics_has_them(tmp_path):
    """ΔF within 1 kJ/mol or two errors, rates within two, (phi, psi) of every residue within 0.05 nats, p_B at 1/2."""
    tps("run", from_two_structures(tmp_path), "-o", tmp_path / "run")
    compare(tmp_path / "run")


def from_two_structures(folder):
    """Return a run file that `tps init` began from the two PDB files: walls, states and budget are those that ship."""
    ends = [data_directory("systems") / "ace-ala3-nme" / f"{name}.pdb" for name in ("extended", "helix")]
    tps("init", *ends, "--solvent", "obc2", "--features", "backbone", "-o", folder / "mine")
    shipped = tomllib.loads((ends[0].parent / "system.toml").read_text())
    system = (folder / "mine" / "system.toml").read_text().split("[states.A]")[0]
    for name in ("confinement", "states.A", "states.B"):
        keys = shipped["states"][name[-1]] if name.startswith("states") else shipped[name]
        system += f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    (folder / "mine" / "system.toml").write_text(system)
    budget = (data_directory("configs") / "ace-ala3-nme.toml").read_text()
    run = folder / "mine" / "run.toml"
    run.write_text(budget.replace('system = "ace-ala3-nme"', 'system = "."'))
    return run


def compare(folder):
    run = RunFolder.open(folder)
    system, frames = run.system, run.load_frames()
    names = list(system.feature_names)
    values = system.values(run.frame_positions(frames))
    free = [
        -system.kt * logsumexp(frames.log_weights[s.region.contains(values)])
        for s in (system.state_a, system.state_b)
    ]
    own = system.kt * read_json(folder / "conformations" / GROWTH)["rounds"][-1]["difference_error"]
    assert abs(free[1] - free[0] - DIFFERENCE[0]) < max(1.0, 2 * np.hypot(DIFFERENCE[1], own))
    assert own < system.kt
    apart = [
        jensen_shannon(*pair)
        for pair in zip(residues(names, frames.values, np.exp(frames.log_weights)), known("all"), strict=True)
    ]
    assert max(apart) < 0.05
    metrics = json.loads((folder / "analysis" / "metrics.json").read_text())["metrics"]
    for name, (value, error) in (
        ("rate_a_to_b", RATE_A_TO_B),
        ("rate_b_to_a", RATE_B_TO_A),
        ("mean_transition_time", TRANSITION_TIME),
    ):
        found = metrics[name]
        assert abs(found["value"] - value) < 2 * np.hypot(found["error"], error), name
        assert found["error"] < 0.5 * value, name
    paths = load_transition_paths(folder / "shooting")
    passing = np.concatenate([system.feature_values(x) for x in paths.positions])
    weights = np.repeat(paths.multiplicity, paths.lengths).astype(float)
    apart = [
        jensen_shannon(*pair)
        for pair in zip(residues(names, passing, weights), known("transitions"), strict=True)
    ]
    assert max(apart) < 0.05
    assert metrics["transition_states"]["value"] >= 5  # of those found, by shots of their own
