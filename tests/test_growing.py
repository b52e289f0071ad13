"""Growing frames: from basins on either side of a wall to exact differences, and what is said otherwise."""

import math
from dataclasses import replace

import numpy as np
import openmm
import pytest
from molecules import ATOMS, chain_positions, torsion_molecule
from openmm import app
from scipy.integrate import quad
from scipy.special import logsumexp

from tps.analysis import Metric, frames_region_difference
from tps.arrays import load_arrays
from tps.config import ConformationsSection, RunConfig
from tps.features import Torsion
from tps.pipeline import RunFolder, run_stage
from tps.pipeline.dynamics import SurfaceRun, run_dynamics
from tps.pipeline.folder import sampling_method
from tps.pipeline.growth.plain import plain_frames
from tps.pipeline.growth.rounds import RoundsFolder
from tps.pipeline.growth.verdict import doubt_of
from tps.pipeline.progress import Silent
from tps.pipeline.withheld import as_sure_as_grown
from tps.stored import read_json
from tps.systems import load_system
from tps.units import thermal_energy

MUELLER = {"n_basin_steps": 8000, "n_window_steps": 2400, "n_pull_steps": 1000, "max_rounds": 3}
WELLS = {"n_basin_steps": 2000, "n_window_steps": 800, "n_pull_steps": 1000, "max_rounds": 2, "n_ladders": 2}


def config(system, grow, **conformations):
    return RunConfig.model_validate(
        {
            "run": {"system": system, "seed": 2},
            "conformations": {"method": "grow", "frame_interval_steps": 40, **conformations},
            "grow": grow,
        }
    )


def exact_difference(system):
    """F(B) - F(A) of the regions [kT], by summing a fine grid."""
    axes, energy = system.energy_grid(300)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, system.n_axes)
    held = np.isfinite(energy.ravel())
    u, values = energy.ravel()[held] / system.kt, system.values(points[held])
    a, b = (logsumexp(-u[s.region.contains(values)]) for s in (system.state_a, system.state_b))
    return float(a - b)


@pytest.fixture(scope="module")
def mueller(tmp_path_factory):
    """Grow on the Müller-Brown surface, whose straight way from end to end climbs a wall beside the valley."""
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "mueller", config("mueller-brown", MUELLER))
    entry = run_stage(run, "conformations", Silent())
    return run, entry, read_json(run.path / "conformations" / "growth.json")


def test_frames_grown_over_a_wall_give_the_exact_difference(mueller):
    """The first straight way has a window with two humps, so it takes bridges; four ladders give the error."""
    run, entry, growth = mueller
    first, last = growth["rounds"][0], growth["rounds"][-1]
    assert first["counted"] < first["windows"]
    exact = exact_difference(run.system)
    assert exact == pytest.approx(3.82, abs=0.01)  # the grid's own number: 3.8218 at 400 points per axis
    assert last["crossings"] is None  # no window that counts has two humps
    assert last["difference_error"] < 1.5
    assert abs(last["difference"] - exact) < 4 * last["difference_error"]
    assert last["status"] == "converged" and last["support"] >= 30 * np.exp(-1e-3)
    assert growth["doubt"] == "" and entry["details"]["verdict"]["connected"]
    assert entry["force_evaluations"] == growth["steps"]


def test_grown_frames_are_an_ordinary_dataset_of_known_distribution(mueller):
    run, _, growth = mueller
    frames = run.load_frames()
    inside = [
        s.region.contains(run.system.values(frames.values)) for s in (run.system.state_a, run.system.state_b)
    ]
    found = frames_region_difference(frames, *inside, kt=1.0)
    assert found.value == pytest.approx(growth["rounds"][-1]["difference"], abs=1e-6)
    with run_dynamics(run, Silent()) as dynamics:
        selection = dynamics.log_selection()
    log_s = selection(frames.values)
    np.testing.assert_allclose(frames.log_weights + log_s, 0.0, atol=1e-6)  # MBAR's weights are 1/S
    assert (np.diff(frames.walker) >= 0).all()
    np.testing.assert_allclose(frames.potential_energy, run.system.energy(frames.values))


def test_no_road_on_grown_frames_is_surer_than_growing(mueller):
    """Stretches of one pool say little of its weights: the error is that of ladders and rounds, unless it is larger."""
    run, _, growth = mueller
    error = growth["rounds"][-1]["difference_error"]
    road = Metric(1.0, 0.01 * error, "kJ/mol", "Something.")
    assert as_sure_as_grown(run, road, 2.5).error == pytest.approx(2.5 * error)
    assert as_sure_as_grown(run, replace(road, error=None), 2.5).error == pytest.approx(2.5 * error)
    wide = replace(road, error=10 * error)
    assert as_sure_as_grown(run, wide, 2.5) is wide


def test_every_round_is_kept(mueller):
    run, _, growth = mueller
    rounds = run.path / "conformations" / "rounds"
    for number, said in enumerate(growth["rounds"]):
        assert read_json(rounds / str(number) / "result.json") == said
        samples = load_arrays(rounds / str(number) / "samples.npz")
        assert len(samples["eta"]) == said["windows"]
    assert not (run.path / ".growing").exists()


class KilledError(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on_after_its_last_whole_round(tmp_path, monkeypatch):
    """Killed while the second round is sampled; then what is done is not done again, and all comes out the same."""
    settings = config("double-well-2d", WELLS)
    whole = RunFolder.create(tmp_path / "whole", settings)
    run_stage(whole, "conformations", Silent())
    run = RunFolder.create(tmp_path / "killed", settings)
    sample, sampled = SurfaceRun.windows, []

    def until_killed(self, *arguments):
        sampled.append(arguments[0].n_windows)
        if len(sampled) == 2:
            raise KilledError
        return sample(self, *arguments)

    monkeypatch.setattr(SurfaceRun, "windows", until_killed)
    with pytest.raises(KilledError):
        run_stage(run, "conformations", Silent())
    monkeypatch.setattr(SurfaceRun, "conformations", None)
    run_stage(run, "conformations", Silent())
    assert len(sampled) == 3
    one, other = (r.load_frames() for r in (whole, run))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_allclose(one.log_weights, other.log_weights, atol=1e-9)


def test_another_budget_goes_on_from_the_rounds_there_are(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path / "run", config("double-well-2d", WELLS | {"max_rounds": 1}))
    run_stage(run, "conformations", Silent())
    more = run.with_config(run.config.updated("grow", {"max_rounds": 2}))
    monkeypatch.setattr(SurfaceRun, "conformations", None)
    run_stage(more, "conformations", Silent(), force=True)
    growth = read_json(run.path / "conformations" / "growth.json")
    assert len(growth["rounds"]) == 2 and "grow.max_rounds" in growth["ended"]


def test_windows_too_short_to_relax_give_no_difference(tmp_path):
    """Under weak tilts walkers would have to cross 8 kT, and have 80 steps for it."""
    grow = WELLS | {"max_anchor_log_snr": -1.0, "n_window_steps": 80, "n_pull_steps": 200, "n_ladders": 4}
    run = RunFolder.create(tmp_path / "run", config("double-well-2d", grow, frame_interval_steps=10))
    entry = run_stage(run, "conformations", Silent())
    verdict = entry["details"]["verdict"]
    assert not verdict["connected"] and "is not known" in verdict["weightless"]
    assert "chains from A and from B do not agree" in verdict["weightless"]
    assert verdict["weightless"] in entry["notes"]
    assert "difference_error" not in read_json(run.path / "conformations" / "growth.json")["rounds"][-1]
    road = Metric(1.0, 0.1, "kT", "of frames that nothing weighs")
    assert as_sure_as_grown(run, road, 2.5) is road  # the doubt above withholds it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"overlap": None, "counted": 7}, "in 2 of 9 windows chains from A and from B do not agree"),
        ({"overlap": 0.01}, "overlap by 0.010, less than 0.03"),
        ({"difference_error": math.nan}, "some ladders alone do not join A and B"),
        ({"crossings": [3, 0], "difference_error": math.inf}, "went there 3 times and back 0 times"),
        ({"crossings": None}, None),
        ({"difference_error": 3.5}, "scatter by 3.5 kT, more than 2"),
        ({"hysteresis": -2.5, "hysteresis_error": 0.4}, "give differences 2.5 ± 0.4 kT apart"),
        ({"hysteresis": -2.5, "hysteresis_error": 1.0, "difference_error": 0.9}, None),
    ],
)
def test_no_difference_is_given_where_chains_and_rounds_leave_it_open(changes, said):
    sure = {
        "overlap": 0.2,
        "windows": 9,
        "counted": 9,
        "gap": [0.3] * 9,
        "crossings": [4, 5],
        "difference_error": 0.3,
        "hysteresis": 0.1,
        "hysteresis_error": 0.2,
    }
    doubt = doubt_of(sure | changes)
    assert doubt == "" if said is None else (said in doubt and "is not known" in doubt)


def test_the_budget_in_steps_is_kept(tmp_path):
    grow = WELLS | {"max_steps": 30_000, "max_rounds": 9}
    run = RunFolder.create(tmp_path / "run", config("double-well-2d", grow))
    run_stage(run, "conformations", Silent())
    growth = read_json(run.path / "conformations" / "growth.json")
    assert growth["steps"] <= 30_000 * 1.01  # energies of frames come on top of steps
    assert "grow.max_steps = 30,000" in growth["ended"] and len(growth["rounds"]) < 9


@pytest.fixture
def low_wells(tmp_path):
    """Two wells 3 kT deep, of which state B is the narrower part of its own."""
    folder = tmp_path / "low-wells"
    folder.mkdir()
    (folder / "system.toml").write_text(
        """
[surface]
name = "low-wells"
description = "Double well 3 (x^2 - 1)^2 along x, at kT = 1."
kind = "double-well"
axes = ["x", "y"]
bounds = [[-1.8, 1.8], [-1.2, 1.2]]
kt = 1.0
energy_unit = "kT"
parameters = { barrier = 3.0, stiffness = 20.0 }
[states.A]
name = "left"
point = [-1.0, 0.0]
x = [-1.6, -0.7]
[states.B]
name = "right"
point = [1.0, 0.0]
x = [1.0, 1.6]
"""
    )
    return str(folder)


LOW = {"n_basin_steps": 20_000, "n_window_steps": 2_000, "max_steps": 800_000, "max_rounds": 2}


def test_plain_dynamics_that_crosses_by_itself_is_a_window_without_a_tilt(low_wells, tmp_path):
    run = RunFolder.create(tmp_path / "run", config(low_wells, LOW))
    run_stage(run, "conformations", Silent())
    growth = read_json(run.path / "conformations" / "growth.json")
    assert "4 of 4 walkers saw both A and B" in growth["plain"] and growth["doubt"] == ""
    last, exact = growth["rounds"][-1], exact_difference(run.system)
    assert exact > 0.3 and last["difference_error"] < 0.3
    assert abs(last["difference"] - exact) < 4 * last["difference_error"]
    plain = load_arrays(run.path / "conformations" / "rounds" / "untilted" / "samples.npz")
    assert plain["values"].size == LOW["max_steps"] // 2 // 40 * run.system.n_axes
    assert not plain["eta"].any()
    frames = run.load_frames()
    drawn = np.exp(load_arrays(run.path / "conformations" / "selection.npz")["log_strength"])
    # without tilts S is the same everywhere, so it is the least that a frame is drawn with
    assert np.exp(-frames.log_weights).min() >= plain["values"].size / run.system.n_axes / drawn.sum()


def test_plain_dynamics_that_does_not_come_back_says_nothing_of_the_ratio(low_wells, tmp_path):
    """A walker crosses while the basins are sampled, and 20 steps are too few to come back."""
    run = RunFolder.create(tmp_path / "run", config(low_wells, LOW | {"plain_share": 0.001}))
    run_stage(run, "conformations", Silent())
    growth = read_json(run.path / "conformations" / "growth.json")
    assert "is where the walkers started" in growth["plain"]
    eta = load_arrays(run.path / "conformations" / "selection.npz")["eta"]
    assert not (run.path / "conformations" / "rounds" / "untilted" / "x").exists() and len(eta) > 2


#: Wells at ±60° and 180°, 30 kJ/mol between them: 12 kT. A holds two of them, and B one.
THREE_WELLS = "15*(1 + cos(3*theta)) + 1.5*cos(theta)"
TWO_AND_ONE = """
[system]
name = "three-wells"
structure_a = "a.pdb"
structure_b = "b.pdb"
temperature_kelvin = 300.0
features = ["theta"]
[force_field]
system_xml = "molecule.xml"
[collective_variables.theta]
torsion = [0, 1, 2, 3]
[states.A]
name = "two"
theta_degree = [10, -130]
[states.B]
name = "one"
theta_degree = [-110, -10]
"""


def weight_between(low, high):
    """∫ exp(-U/kT) of the three wells between two angles [degree]."""

    def boltzmann(x):
        return math.exp(-(15 * (1 + math.cos(3 * x)) + 1.5 * math.cos(x)) / thermal_energy(300.0))

    return quad(boltzmann, math.radians(low), math.radians(high), limit=200)[0]


def three_wells(folder, grow):
    """A run on a molecule that starts from +60° in A and from -60° in B."""
    molecule = torsion_molecule(THREE_WELLS)
    for name, angle in (("a", 60), ("b", -60)):
        positions = chain_positions(math.radians(angle)) * openmm.unit.nanometer
        with (folder / f"{name}.pdb").open("w") as file:
            app.PDBFile.writeFile(molecule.topology, positions, file)
    (folder / "molecule.xml").write_text(molecule.system_xml)
    (folder / "system.toml").write_text(TWO_AND_ONE)
    hot = {"n_temperatures": 4, "max_temperature_kelvin": 1500.0}
    settings = config(str(folder), {"basin_interval_steps": 100} | grow, **hot)
    basis = {"platform": "Reference", "n_workers": 1, "friction_per_ps": 5.0}
    settings = settings.model_copy(update={"run": settings.run.model_copy(update=basis)})
    return RunFolder.create(folder / "run", settings)


@pytest.mark.parametrize(("method", "steps"), [("md", 20_000), ("replica-exchange", 160_000)])
def test_basins_by_replica_exchange_hold_both_parts_of_a_state(tmp_path, method, steps):
    """The share of the well at 60° in A, 0.29: by plain dynamics 1, by replicas within four errors of their ladders."""
    run = three_wells(tmp_path, {"basin_method": method, "n_basin_steps": steps})
    with run_dynamics(run, Silent()) as dynamics:
        folder = RoundsFolder.opened(tmp_path / "growing", tmp_path / "none", run.system, "key")
        plain = plain_frames(run, dynamics, folder)
    basins, n = plain.basins, run.config.grow.n_ladders
    assert plain.untilted is None and (basins.inside.sum(axis=0) == 1).all()
    near = np.cos(basins.values[:, 0] - math.radians(60)) > 0.5
    in_a = basins.inside[0]
    if method == "md":
        assert near[in_a].all()
        return
    assert basins.n_frames <= n * (steps // 4 // 100)  # of the lowest of four temperatures alone
    assert "swap with probability" in plain.notes[0]
    ladder = (basins.walker - n) // 4
    parts = np.array([near[in_a & (ladder == k)].mean() for k in range(n)])
    error = parts.std(ddof=1) / math.sqrt(n)
    exact = weight_between(10, 120) / weight_between(10, 230)
    assert error < 0.1 and parts.mean() == pytest.approx(exact, abs=4 * error)


@pytest.mark.slow
def test_frames_grown_from_both_parts_of_a_state_give_the_exact_difference(tmp_path):
    """Weak windows hold all three wells, and 8 ps let nobody cross: such windows do not count."""
    grow = {"n_window_steps": 4000, "n_pull_steps": 4000, "max_rounds": 2, "n_basin_steps": 200_000}
    run = three_wells(tmp_path, grow | {"basin_method": "replica-exchange"})
    entry = run_stage(run, "conformations", Silent())
    growth = read_json(run.path / "conformations" / "growth.json")
    last = growth["rounds"][-1]
    assert growth["doubt"] == "" and "swap with probability" in entry["notes"][0]
    exact = math.log(weight_between(10, 230) / weight_between(-110, -10))
    assert last["difference_error"] < 0.5
    assert abs(last["difference"] - exact) < 4 * last["difference_error"]
    assert max(last["memory"]) > 0.1 and last["counted"] < last["windows"]


def test_auto_grows_above_two_features():
    """On three angles; of two, and where two are named to be biased, metadynamics; surfaces have their grid."""
    torsion = torsion_molecule()
    names = ("theta", "second", "third")
    three = replace(
        torsion,
        collective_variables={name: Torsion(name, ATOMS) for name in names},
        feature_names=names,
    )
    auto = ConformationsSection()
    assert sampling_method(auto, three) == "grow"
    assert sampling_method(auto, torsion) == "metadynamics"
    assert sampling_method(ConformationsSection(bias_features=names[:2]), three) == "metadynamics"
    assert sampling_method(ConformationsSection(method="md"), three) == "md"
    assert sampling_method(auto, load_system("double-well-2d")) == "grid"


def test_anchors_are_those_that_frames_grew_between(mueller):
    run, _, growth = mueller
    asked = run.with_config(run.config.updated("geodesic", {"anchor_log_snr": "auto", "n_points": 16}))
    run_stage(asked, "train", Silent())
    run_stage(asked, "geodesic", Silent())
    solved = read_json(run.path / "geodesic" / "result.json")
    assert solved["anchor_log_snr"] == growth["anchor_log_snr"]
    assert solved["curves"]["paths"]["min_effective_sample_size"] >= 30


def test_the_exact_number_is_that_of_the_file():
    assert exact_difference(load_system("double-well-2d")) == pytest.approx(0.0, abs=1e-9)
