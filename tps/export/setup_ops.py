"""Transition-path sampling with OpenPathSampling, from trajectories that `tps export RUN --format ops` wrote.

Run it where openpathsampling, openmm and mdtraj are installed; it does not need tps:

    python setup_ops.py -n 1000 --mover two-way

States, frame spacing and platform are in setup.json, beside this file: edit them there, and the rest here. The paths
come back into tps with `tps import-ops RUN ops_paths.npz`.
"""

import argparse
import functools
import itertools
import json
import operator
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.beta.hooks import PathSimulatorHook
from openpathsampling.engines.openmm import Engine, Snapshot
from openpathsampling.engines.topology import MDTrajTopology

HERE = Path(__file__).resolve().parent
SETUP = json.loads((HERE / "setup.json").read_text())


def torsion(snapshot, atoms, box):
    """Return a dihedral angle [degree], in double precision as tps computes it."""
    import numpy as np  # OPS stores the function without the imports of this file

    a, b, c = np.diff(np.asarray(snapshot.xyz, dtype=float)[atoms], axis=0)
    for vector in (a, b, c):  # to the nearest image
        for axis in (2, 1, 0) if box else ():
            vector -= np.rint(vector[axis] / box[axis][axis]) * np.array(box[axis])
    normal = np.cross(b, c)
    return np.degrees(np.arctan2(np.linalg.norm(b) * np.dot(a, normal), np.dot(np.cross(a, b), normal)))


def distance(snapshot, atoms, box):
    """Return the distance of two atoms [nm]."""
    import numpy as np

    (vector,) = np.diff(np.asarray(snapshot.xyz, dtype=float)[atoms], axis=0)
    for axis in (2, 1, 0) if box else ():
        vector -= np.rint(vector[axis] / box[axis][axis]) * np.array(box[axis])
    return np.linalg.norm(vector)


def make_engine(seed):
    """Return the engine with the dynamics of the run; its noise follows from the seed."""
    system = openmm.XmlSerializer.deserialize((HERE / "system.xml").read_text())
    integrator = openmm.XmlSerializer.deserialize((HERE / "integrator.xml").read_text())
    integrator.setRandomNumberSeed(seed + 1)
    engine = Engine(
        MDTrajTopology(mdtraj.load_pdb(str(HERE / "topology.pdb"), standard_names=False).topology),
        system,
        integrator,
        options={"n_steps_per_frame": SETUP["steps_per_frame"], "n_frames_max": SETUP["max_frames"]},
    )
    engine.initialize(SETUP["platform"])
    return engine


def make_states():
    """Return the volumes A and B: every collective variable in its range, which for an angle may wrap."""
    defined = SETUP["collective_variables"]
    kinds = {"torsion": torsion, "distance": distance}
    variables = {
        name: paths.FunctionCV(name, kinds[cv["kind"]], atoms=cv["atoms"], box=SETUP["box_nm"])
        for name, cv in defined.items()
    }

    def volume(name, low, high):
        if defined[name]["kind"] == "torsion":
            return paths.PeriodicCVDefinedVolume(variables[name], low, high, -180.0, 180.0)
        return paths.CVDefinedVolume(variables[name], low, high)

    return [
        functools.reduce(
            operator.and_, [volume(name, *ends) for name, ends in SETUP["states"][label].items()]
        )
        for label in "AB"
    ]


def read_trajectories(engine):
    """Return the exported trajectories, with their velocities."""
    box = engine.system.getDefaultPeriodicBoxVectors()
    box = np.array([vector.value_in_unit(unit.nanometer) for vector in box]) * unit.nanometer
    with np.load(HERE / "trajectories.npz") as data:
        frames = [
            Snapshot.construct(
                coordinates=position * unit.nanometer,
                velocities=velocity * unit.nanometer / unit.picosecond,
                box_vectors=box,
                engine=engine,
            )
            for position, velocity in zip(data["positions"], data["velocities"], strict=True)
        ]
        ends = np.cumsum([0, *data["lengths"]])
    return [paths.Trajectory(frames[begin:end]) for begin, end in itertools.pairwise(ends)]


def make_scheme(mover, state_a, state_b, engine):
    """Return the move scheme of one-way or of two-way shooting from A to B."""
    network = paths.TPSNetwork(state_a, state_b)
    if mover == "one-way":
        return paths.OneWayShootingMoveScheme(network, selector=paths.UniformSelector(), engine=engine)
    kt = SETUP["temperature_kelvin"] * unit.kelvin * unit.BOLTZMANN_CONSTANT_kB
    modifier = paths.RandomVelocities(beta=1 / kt, engine=engine)
    scheme = paths.MoveScheme(network)
    scheme.append(
        [
            paths.strategies.TwoWayShootingStrategy(
                modifier, selector=paths.UniformSelector(), engine=engine
            ),
            paths.strategies.OrganizeByMoveGroupStrategy(),
        ]
    )
    return scheme


class Recorder(PathSimulatorHook):
    """Keeps the path after every move, for the file that tps reads."""

    implemented_for = ["after_step"]

    def __init__(self, first):
        self.paths, self.moves = [first], []

    def after_step(self, sim, step_number, step_info, state, results, hook_state):
        """Take down one move."""
        change, before = results.change.canonical, self.paths[-1]
        if change.accepted:
            self.paths.append(results.active[0].trajectory)
        flown = sum(len(set(trial.trajectory) - set(before)) for trial in change.trials)
        self.moves.append((len(self.paths) - 1, change.accepted, flown, change.mover.__class__.__name__))

    def save(self, file, frame_time):
        """Write positions [nm] of the distinct paths, one after another, and which was current after each move."""
        current, accepted, flown, movers = zip(*self.moves, strict=True)
        frames = [snapshot.xyz for path in self.paths for snapshot in path]
        np.savez_compressed(
            file,
            positions=np.array(frames, dtype=np.float32),
            lengths=[len(path) for path in self.paths],
            current=current,
            accepted=accepted,
            n_frames_flown=flown,
            mover=movers,
            frame_time_ps=frame_time,
        )


def main():
    """Sample, and write ops_paths.npz and, beside it, the OPS storage of the same name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--n-moves", type=int, default=1000)
    parser.add_argument("--mover", choices=["two-way", "one-way"], default="two-way")
    parser.add_argument(
        "--start", type=int, default=0, help="which of the exported trajectories to start from"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-storage", action="store_true", help="no .nc file: small molecules go 4 times faster"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("ops_paths.npz"))
    options = parser.parse_args()
    storage_file = options.output.with_suffix(".nc")
    if options.output.exists() or storage_file.exists():
        parser.error(f"{options.output} or {storage_file} is there already: give another name with -o")

    np.random.seed(options.seed)  # RandomVelocities draws from here
    paths.rng.DEFAULT_RNG = np.random.default_rng(options.seed)  # and the movers from here
    engine = make_engine(options.seed)
    scheme = make_scheme(options.mover, *make_states(), engine)
    start = read_trajectories(engine)[options.start]
    initial = scheme.initial_conditions_from_trajectories(start)
    scheme.assert_initial_conditions(initial)

    storage = None if options.no_storage else paths.Storage(str(storage_file), "w")
    sampler = paths.PathSampling(storage, scheme, initial)
    sampler.status_update_frequency = 100
    recorder = Recorder(initial[0].trajectory)
    sampler.attach_hook(recorder)
    sampler.run(options.n_moves)
    if storage is not None:
        storage.close()
    recorder.save(options.output, SETUP["steps_per_frame"] * engine.integrator.getStepSize()._value)


if __name__ == "__main__":
    main()
