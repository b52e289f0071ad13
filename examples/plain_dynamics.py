"""Plain Langevin dynamics of a system on many cores: populations, free energy and rates to check `tps run` with.

    python examples/plain_dynamics.py prepare ace-ala3-nme -o ala3.npz
    python examples/plain_dynamics.py walk ala3.npz --walks 16 --seconds 480 -o walks
    python examples/plain_dynamics.py analyse ala3.npz walks/*.npz

`prepare` asks `tps` for the system; `walk` and `analyse` need this file, OpenMM and NumPy alone, so that they run on
any machine. Each walk is a process of its own with one thread, on the platform that is faster there; walks start from
A and B in turn, with new velocities. `walk` stops by itself when its seconds are over and writes what it has.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import openmm

PLATFORMS = ("Reference", "CPU")
#: Measuring takes so long on each platform, and files are written so often [s].
MEASURE_SECONDS, WRITE_SECONDS = 2.0, 30.0
FRAMES_AT_A_TIME = 200
N_BINS = 24  # of histograms, on each axis
GAS_CONSTANT = 0.00831446261815324  # [kJ/mol/K]
N_ATOMS = {"torsion": 4, "distance": 2}


def prepare(name: str, output: Path) -> None:
    """Write what walks need: the System, both ends, the features' atoms, and the states as ranges of them."""
    from tps.systems import load_system

    system = load_system(name)
    names = {*system.feature_names, *system.state_a.region.ranges, *system.state_b.region.ranges}
    variables = [variable for key, variable in system.collective_variables.items() if key in names]
    for variable in variables:
        if variable.kind not in N_ATOMS:
            raise SystemExit(
                f"walks record torsions and distances, but {variable.name} is a {variable.kind}: take others"
            )
    atoms = np.array([[*v.atoms, *(-1,) * (4 - len(v.atoms))] for v in variables])
    everything = (-np.inf, np.inf)
    states = [
        [state.region.ranges.get(variable.name, everything) for variable in variables]
        for state in (system.state_a, system.state_b)
    ]
    np.savez(
        output,
        system_xml=system.system_xml,
        ends=system.ends,
        names=[v.name for v in variables],
        atoms=atoms,
        states=np.array(states),
        temperature=system.temperature,
    )
    print(f"{output}: {system.name}, {system.n_atoms} atoms, {', '.join(v.name for v in variables)}")


def values(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Map positions (n, n_atoms, 3) [nm] to torsions [rad] and distances [nm] (n, n_variables); -1 pads atoms."""
    columns = []
    for row in atoms:
        one, two, three, four = (positions[:, atom] for atom in row)
        if row[2] < 0:
            columns.append(np.linalg.norm(two - one, axis=1))
            continue
        first, axis, last = two - one, three - two, four - three
        normal = np.cross(axis, last)
        sine = np.linalg.norm(axis, axis=1) * np.sum(first * normal, axis=1)
        columns.append(np.arctan2(sine, np.sum(np.cross(first, axis) * normal, axis=1)))
    return np.stack(columns, axis=1)


def walk(number: int, file: Path, options: argparse.Namespace, end_time: float, output: Path) -> None:
    """Run one walk until `end_time` and write its values (n_frames, n_variables), float32."""
    given = np.load(file)
    seeds = np.random.SeedSequence((options.seed, number)).generate_state(2) % (2**31 - 1) + 1
    context = make_context(given, options, options.platform or fastest(given, options), int(seeds[0]))
    context.setPositions(given["ends"][number % 2])
    context.applyConstraints(1e-6)
    context.setVelocitiesToTemperature(float(given["temperature"]), int(seeds[1]))
    integrator, found, written = context.getIntegrator(), [], time.time()
    atoms = given["atoms"]
    while time.time() < end_time:
        frames = []
        for _ in range(FRAMES_AT_A_TIME):
            integrator.step(options.interval)
            frames.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
        found.append(values(np.array(frames), atoms).astype(np.float32))
        if time.time() - written > WRITE_SECONDS:
            save(output, found)
            written = time.time()
    save(output, found)


def save(output: Path, found: list[np.ndarray]) -> None:
    partial = output.with_suffix(".partial.npy")
    np.save(partial, np.concatenate(found))
    partial.replace(output)


def make_context(given, options: argparse.Namespace, platform: str, seed: int) -> openmm.Context:
    system = openmm.XmlSerializer.deserialize(str(given["system_xml"]))
    integrator = openmm.LangevinMiddleIntegrator(
        float(given["temperature"]), options.friction, options.timestep
    )
    integrator.setRandomNumberSeed(seed)
    integrator.setConstraintTolerance(1e-6)
    properties = {"Threads": "1", "DeterministicForces": "true"} if platform == "CPU" else {}
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)


def fastest(given, options: argparse.Namespace) -> str:
    """Return the platform that takes most steps in `MEASURE_SECONDS` of processor time, so that no neighbour counts."""
    n_steps = {}
    for platform in PLATFORMS:
        context = make_context(given, options, platform, 1)
        context.setPositions(given["ends"][0])
        context.getIntegrator().step(20)
        start, n_steps[platform] = time.process_time(), 0
        while time.process_time() - start < MEASURE_SECONDS:
            context.getIntegrator().step(50)
            n_steps[platform] += 50
    return max(n_steps, key=n_steps.get)


def run_walks(options: argparse.Namespace) -> None:
    """Run all walks side by side, then put them into few files: each holds several walks, and how they ran."""
    options.output.mkdir(parents=True, exist_ok=True)
    end_time = time.time() + options.seconds
    files = [options.output / f"walk-{i:03d}.npy" for i in range(options.walks)]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=walk, args=(i, options.system, options, end_time, file))
        for i, file in enumerate(files)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    frame_time = options.interval * options.timestep
    said = {"frame_time_ps": frame_time, "friction_per_ps": options.friction, "timestep_ps": options.timestep}
    for number, group in enumerate(
        np.array_split(np.arange(options.walks), min(options.walks, options.files))
    ):
        series = {f"walk_{i:03d}": np.load(files[i]) for i in group if files[i].exists()}
        np.savez(options.output / f"walks-{number}.npz", said=json.dumps(said), **series)
    for file in files:
        file.unlink(missing_ok=True)
    failed = sum(process.exitcode != 0 for process in processes)
    if failed:
        raise SystemExit(f"{failed} of {options.walks} walks failed: see above")


def in_region(series: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return whether each frame (n, n_variables) lies in all ranges (n_variables, 2); low > high wraps through pi."""
    low, high = ranges.T
    above, below = series >= low, series <= high
    return np.where(low < high, above & below, above | below).all(axis=1)


def count(in_a: np.ndarray, in_b: np.ndarray) -> dict[str, float]:
    """Return what one walk saw, times in frames: visits, time since A or B was last left, transitions both ways."""
    visited = np.flatnonzero(in_a | in_b)
    found = {"in_a": in_a.sum(), "in_b": in_b.sum(), "frames": len(in_a)}
    if not len(visited):
        return found | dict.fromkeys(("from_a", "from_b", "ab", "ba", "ab_time", "ba_time"), 0)
    label = in_b[visited]
    last = label[np.searchsorted(visited, np.arange(visited[0], len(in_a)), side="right") - 1]
    found |= {"from_a": (~last).sum(), "from_b": last.sum()}
    steps = np.diff(visited)
    for key, change in (("ab", label[1:] & ~label[:-1]), ("ba", ~label[1:] & label[:-1])):
        found |= {key: change.sum(), f"{key}_time": steps[change].sum()}
    return found


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
    """Return sum/sum over walks and its standard error (Cochran, Sampling Techniques, 1977, Eq. 6.13)."""
    n, value = len(numerators), numerators.sum() / denominators.sum()
    residual = numerators - value * denominators
    return value, np.sqrt(n / (n - 1) * np.sum(residual**2)) / denominators.sum()


def analyse(options: argparse.Namespace) -> None:
    """Print populations, F(B) - F(A), transitions, rates and mean transition times, with errors over walks."""
    given = np.load(options.system)
    walks, tables, frame_time = [], [], 0.0
    for file in options.walks:
        content = np.load(file)
        frame_time = json.loads(str(content["said"]))["frame_time_ps"]
        skip = round(options.skip / frame_time)
        for key in content.files:
            if key != "said" and len(content[key]) > skip:
                walks.append(content[key][skip:].astype(float))
                tables.append(count(*(in_region(walks[-1], ranges) for ranges in given["states"])))
    if len(tables) < 2:
        raise SystemExit(f"errors need two walks longer than {options.skip:g} ps, but got {len(tables)}")
    print("\n".join(report(tables, frame_time, GAS_CONSTANT * float(given["temperature"]))))
    if options.histograms:
        np.savez_compressed(options.histograms, **histograms(walks, given["states"]))


def transitions(in_a: np.ndarray, in_b: np.ndarray) -> list[slice]:
    """Return the frames between the last in one state and the first in the other, both ways, ends included."""
    visited = np.flatnonzero(in_a | in_b)
    changes = np.flatnonzero(np.diff(in_b[visited].astype(int)))
    return [slice(visited[k], visited[k + 1] + 1) for k in changes]


def histograms(walks: list[np.ndarray], states: np.ndarray) -> dict[str, np.ndarray]:
    """Return frames of walks and of transitions over variables two by two, angles both: (n_pairs, 24, 24) counts."""
    inside = [[in_region(series, ranges) for ranges in states] for series in walks]
    passing = [
        series[each] for series, ends in zip(walks, inside, strict=True) for each in transitions(*ends)
    ]
    found = {}
    for name, frames in (("all", np.concatenate(walks)), ("transitions", np.concatenate(passing))):
        pairs = [frames[:, k : k + 2] for k in range(0, frames.shape[1] - 1, 2)]
        counts = [np.histogram2d(*pair.T, N_BINS, [[-np.pi, np.pi]] * 2)[0] for pair in pairs]
        found[name] = np.array(counts, dtype=np.int32)
    return found


def report(tables: list[dict[str, float]], frame_time: float, kt: float) -> list[str]:
    """Return the lines of `analyse` from what each walk counted, times in frames of `frame_time` [ps]."""
    seen = {key: np.array([float(table[key]) for table in tables]) for key in tables[0]}
    total = {key: each.sum() for key, each in seen.items()}
    lines = [
        f"{len(tables)} walks, {total['frames'] * frame_time / 1000:.2f} ns, frames of {frame_time:g} ps"
    ]
    for state in "ab":
        value, error = ratio(seen[f"in_{state}"], seen["frames"])
        lines.append(f"population of {state.upper()}           {value:.4f} ± {error:.4f}")
    if total["in_a"] and total["in_b"]:
        value, error = ratio(seen["in_b"], seen["in_a"])
        lines.append(f"F(B) - F(A)               {-kt * np.log(value):.3f} ± {kt * error / value:.3f} kJ/mol")
    for way, start, name in (("ab", "from_a", "A to B"), ("ba", "from_b", "B to A")):
        lines.append(f"transitions {name}        {total[way]:.0f}")
        if total[way]:
            rate, error = ratio(seen[way], seen[start] * frame_time)
            mean, spread = ratio(seen[f"{way}_time"] * frame_time, seen[way])
            lines.append(f"rate {name}               {rate:.3e} ± {error:.1e} per ps")
            lines.append(f"mean transition time      {mean:.1f} ± {spread:.1f} ps")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("prepare")
    verb.add_argument("name", help="system of tps, or folder of one")
    verb.add_argument("-o", "--output", type=Path, default=Path("system.npz"))
    verb = verbs.add_parser("walk")
    verb.add_argument("system", type=Path)
    verb.add_argument("--walks", type=int, default=2)
    verb.add_argument("--seconds", type=float, default=600.0)
    verb.add_argument("--interval", type=int, default=50, help="steps between recorded values")
    verb.add_argument("--timestep", type=float, default=0.002, help="[ps]")
    verb.add_argument("--friction", type=float, default=1.0, help="[1/ps]")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--platform", choices=PLATFORMS, help="default: the faster one")
    verb.add_argument("--files", type=int, default=8, help="to put the walks in")
    verb.add_argument("-o", "--output", type=Path, default=Path("walks"))
    verb = verbs.add_parser("analyse")
    verb.add_argument("system", type=Path)
    verb.add_argument("walks", type=Path, nargs="+")
    verb.add_argument("--skip", type=float, default=500.0, help="beginning of each walk to leave out [ps]")
    verb.add_argument(
        "--histograms", type=Path, help="npz file for those of torsions two by two, such as (phi, psi)"
    )
    options = parser.parse_args()
    if options.verb == "prepare":
        prepare(options.name, options.output)
    elif options.verb == "walk":
        run_walks(options)
    else:
        analyse(options)


if __name__ == "__main__":
    main()
