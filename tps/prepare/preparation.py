"""From two structures and a force field to a folder that `tps run` starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm

from tps.config import load_config
from tps.engine import LangevinSettings, PlatformChoice, PlatformWish, choose_platform, default_workers
from tps.errors import RunFolderError, SystemDefinitionError, TpsError
from tps.features import Features
from tps.lock import scratch_beside
from tps.pipeline import Progress, Silent
from tps.prepare.candidates import Candidate, Contacts, candidates_of, gathered
from tps.prepare.choose import Telling, choose_features, separations
from tps.prepare.ends import Ends, heavy_atoms, read_ends
from tps.prepare.estimate import StageEstimate, estimate_stages, steps_per_second
from tps.prepare.relax import minimise, rmsd
from tps.prepare.request import Request
from tps.prepare.short_runs import FEWEST_FRAMES, ShortRuns, affordable, short_runs
from tps.prepare.sizes import sized_settings, timestep_of
from tps.prepare.states import ProposedStates, Range, propose_states
from tps.prepare.water import put_in_water
from tps.prepare.write import run_toml, system_toml, write_structures
from tps.systems import Region, load_system
from tps.systems.confinement import add_confinement
from tps.systems.definition import ConfinementSection
from tps.systems.forcefield import build_openmm_system

#: Walls stand beyond the farther end's distance by this, and by this share of it, whichever is more [nm].
WALL_BEYOND, WALL_SHARE = 0.3, 0.25
#: And at least this far below half the box, where the nearest image changes [nm].
IMAGE_MARGIN = 0.1
_WALL_STIFFNESS = float(ConfinementSection.model_fields["stiffness_kj_per_mol"].default)
#: Residues that are named one by one in a description, at most.
MOST_NAMED = 12
#: Shares of the short runs that states are sought in, the whole first.
BEGINNINGS = (1.0, 0.5, 0.25, 0.125)
#: Ends that differ by less in everything are one structure: radians, nm, contacts.
SAME = {"rad": np.radians(5), "nm": 0.02, "": 0.2}


@dataclass(frozen=True, eq=False)
class Initialised:
    """What was found out on the way to the folder.

    Parameters
    ----------
    folder : Path
    description : str
        One sentence.
    ends : Ends
        As written, with notes on what was done.
    rmsd : float
        Of the heavy atoms of the solute in A and B [nm].
    contacts : Contacts
    tellings : tuple of Telling
        All candidates.
    features : tuple of Telling
    states : ProposedStates
    walls : mapping of str to (low, high)
        Ranges that walls keep distances between molecules in [nm].
    runs : ShortRuns
    langevin : LangevinSettings
    platform : PlatformChoice
    steps_per_second : float
    n_workers : int
    stages : tuple of StageEstimate
    hours : float
        What the run should take at most.
    notes : tuple of str
        What was done to the force field.
    """

    folder: Path
    description: str
    ends: Ends
    rmsd: float
    contacts: Contacts
    tellings: tuple[Telling, ...]
    features: tuple[Telling, ...]
    states: ProposedStates
    walls: Mapping[str, Range]
    runs: ShortRuns
    langevin: LangevinSettings
    platform: PlatformChoice
    steps_per_second: float
    n_workers: int
    stages: tuple[StageEstimate, ...]
    hours: float
    notes: tuple[str, ...]


def initialise(request: Request, folder: Path, progress: Progress | None = None) -> Initialised:
    """Write system.toml, run.toml and all they need into a new folder.

    Everything is made in a folder beside it, checked by loading it, and moved into place at the end.

    Parameters
    ----------
    request : Request
    folder : Path
        Must not exist, or be empty.
    progress : Progress, optional

    Raises
    ------
    TpsError
        In one sentence: what cannot be used, or why A and B cannot be told apart.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(f"{folder} exists and is not empty: name a new folder, or remove it")
    target = folder.resolve()
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(scratch_beside(target))
        except OSError as reason:
            raise RunFolderError(f"{folder} cannot be made: {reason}") from None
        try:
            found = _prepare(request, partial, folder, progress or Silent())
        except TpsError as reason:
            raise type(reason)(str(reason).replace(f"{partial}/", "")) from None
        if target.is_dir():
            target.rmdir()
        partial.rename(target)
    return found


def _prepare(request: Request, partial: Path, folder: Path, progress: Progress) -> Initialised:
    ends, system, notes = _ends_at_rest(request, partial, progress)
    candidates, contacts = candidates_of(ends)
    walls = _walls(ends, candidates)
    if walls:
        add_confinement(system, Region(walls), {c.name: c.variable for c in candidates}, _WALL_STIFFNESS)
    system_xml = openmm.XmlSerializer.serialize(system)
    platform = choose_platform(system_xml, ends.positions[0], PlatformWish(request.platform))
    progress.say(f"platform: {platform.describe()}")
    speed = steps_per_second(system_xml, ends.positions[0], platform)
    langevin = LangevinSettings(request.temperature, timestep_of(system))
    longest = min(request.short_run, affordable(speed, langevin.timestep))
    alone = platform.for_tasks(1, default_workers())
    runs = short_runs(ends, system_xml, candidates, langevin, alone, longest, request.seed, progress)
    runs, tellings, features, states = _part(request.features, candidates, runs, progress)
    heavy = heavy_atoms(ends.topology, ends.solute)
    found = Initialised(
        folder=folder,
        description=f"{_spoken_molecule(ends)}, {_spoken_forces(request)}: {request.a.name} to {request.b.name}",
        ends=ends,
        rmsd=rmsd(ends.positions[0], ends.positions[1], heavy) if len(heavy) else 0.0,
        contacts=contacts,
        tellings=tellings,
        features=features,
        states=states,
        walls=walls,
        runs=runs,
        langevin=langevin,
        platform=platform,
        steps_per_second=speed,
        n_workers=default_workers(),
        stages=(),
        hours=request.hours,
        notes=notes,
    )
    _write(found, partial, request.seed)
    load_system(partial)
    config = load_config(partial / "run.toml")
    angles = all(t.candidate.variable.periodic for t in features)
    stages = estimate_stages(config, speed, found.n_workers, ends.n_atoms, angles=angles)
    return replace(found, stages=stages)


def _part(
    asked: tuple[str, ...], candidates: Sequence[Candidate], runs: ShortRuns, progress: Progress
) -> tuple[ShortRuns, tuple[Telling, ...], tuple[Telling, ...], ProposedStates]:
    """Return features and states by the longest beginnings of the runs that part A from B, and these beginnings.

    A molecule without high barriers goes part of the way within the runs, in one bond or another: then its features
    tell A from B on the average, and yet no range holds the frames of one end alone.
    """
    refusal: SystemDefinitionError | None = None
    for share in BEGINNINGS:
        kept = runs.beginnings(share)
        if refusal is not None and min(map(len, kept.values)) < FEWEST_FRAMES:
            break
        tellings = separations(candidates, kept)
        features = choose_features(asked, tellings, kept)
        try:
            states = propose_states(features, kept)
        except SystemDefinitionError as reason:
            refusal = refusal or reason
            continue
        if share < 1:
            progress.say(f"runs go part of the way to the other end: states by the first {share:g} of them")
        return kept, tellings, features, states
    assert refusal is not None
    raise refusal


def _write(found: Initialised, partial: Path, seed: int) -> None:
    """Write the end structures, system.toml and run.toml."""
    text = system_toml(
        found.ends,
        found.folder.resolve().name,
        found.description,
        write_structures(found.ends, partial),
        found.langevin.temperature,
        found.features,
        found.states,
        {t: found.walls[t.candidate.name] for t in found.tellings if t.candidate.name in found.walls},
    )
    (partial / "system.toml").write_text(text, encoding="utf-8")
    sections = sized_settings(
        [t.candidate.name for t in sorted(found.features, key=lambda t: -t.separation)],
        found.langevin.timestep,
        seed,
        steps_per_second=found.steps_per_second,
        n_workers=found.n_workers,
        n_atoms=found.ends.n_atoms,
        hours=found.hours,
    )
    (partial / "run.toml").write_text(run_toml(sections, found.description), encoding="utf-8")


def _ends_at_rest(
    request: Request, partial: Path, progress: Progress
) -> tuple[Ends, openmm.System, tuple[str, ...]]:
    """Return both ends at rest, the System, and notes on the forces.

    In water both have been equilibrated; others are minimised.
    """
    progress.say(f"reading {request.a} and {request.b}")
    given = gathered(read_ends(request, partial))
    candidates, _ = candidates_of(given)
    _check_differ(given, candidates)
    try:
        if request.solvent == "water":
            widest = _widest(given, candidates)
            found = gathered(put_in_water(given, request, partial, widest, progress))
            system, notes = build_openmm_system(
                found.section, partial, found.topology, tuple(found.positions)
            )
        else:
            system, notes = build_openmm_system(
                given.section, partial, given.topology, tuple(given.positions)
            )
            progress.say("minimising both ends")
            rested = [minimise(system, x, f"end {end}") for end, x in zip("AB", given.positions, strict=True)]
            found = gathered(given.moved(np.stack([end.positions for end in rested])))
    except SystemDefinitionError as reason:
        raise SystemDefinitionError(_with_remedy(str(reason))) from None
    a, b = (rmsd(given.positions[k], found.positions[k], given.solute) for k in (0, 1))
    how = "equilibrated" if request.solvent == "water" else "minimised"
    note = f"{how}: by which the solute of A has moved {a:.3f} nm and that of B {b:.3f} nm"
    return found.moved(found.positions, note), system, notes


def _check_differ(ends: Ends, candidates: Sequence[Candidate]) -> None:
    """Refuse ends that are one structure, before anything expensive is done."""
    variables = tuple(candidate.variable for candidate in candidates)
    if not variables:
        raise SystemDefinitionError(
            "nothing in this molecule can tell A from B: it has no bond to turn about, and no second molecule"
        )
    features = Features(variables)
    a, b = features.values(ends.positions, ends.box)
    change = features.space.difference(a, b)
    share = np.abs(change) / [SAME[unit] for unit in features.space.units]
    if share.max() < 1:
        k = int(np.argmax(share))
        apart = rmsd(ends.positions[0], ends.positions[1], heavy_atoms(ends.topology, ends.solute))
        by = f"{change[k] / variables[k].user_scale:.2g} {variables[k].user_unit}".strip()
        raise SystemDefinitionError(
            f"A and B are one structure: the RMSD of their heavy atoms is {apart:.3f} nm, and what differs most, "
            f"{candidates[k].spoken}, does so by {by}: give two different structures"
        )


def _with_remedy(reason: str) -> str:
    """Return OpenMM's complaint about a structure with the option that mends it."""
    if "addHydrogens" in reason:
        return reason.replace("add them with openmm.app.Modeller.addHydrogens", "give --add-hydrogens")
    if "missing" in reason and "atom" in reason:
        return f"{reason}; missing heavy atoms are added by --fix-gaps"
    return reason


def _widest(ends: Ends, candidates: Sequence[Candidate]) -> float:
    """Return what half a box of water must be at least, so that its walls stand within it [nm]."""
    far = [_wall(ends, c) + IMAGE_MARGIN for c in candidates if c.between]
    return max(far, default=0.0)


def _walls(ends: Ends, candidates: Sequence[Candidate]) -> dict[str, Range]:
    """Return ranges [nm] of the distances between molecules, which nothing else keeps from growing.

    Raises
    ------
    SystemDefinitionError
        If the box has no room for one.
    """
    between = [candidate for candidate in candidates if candidate.between]
    limit = np.inf if ends.box is None else ends.box.diagonal().min() / 2 - IMAGE_MARGIN
    found = {}
    for candidate in between:
        far = candidate.variable.values(ends.positions, ends.box).max()
        wall = min(_wall(ends, candidate), np.floor(20 * limit) / 20 if np.isfinite(limit) else np.inf)
        if wall < far + IMAGE_MARGIN:
            raise SystemDefinitionError(
                f"the {candidate.spoken} is {far:.2f} nm, and half the box is {limit + IMAGE_MARGIN:.2f} nm: give a "
                f"box more than {2 * (far + 2 * IMAGE_MARGIN):.1f} nm wide, or ends that are nearer"
            )
        found[candidate.name] = (0.0, float(wall))
    return found


def _wall(ends: Ends, candidate: Candidate) -> float:
    far = float(candidate.variable.values(ends.positions, ends.box).max())
    return float(np.ceil(20 * (far + max(WALL_BEYOND, WALL_SHARE * far))) / 20)


def _spoken_molecule(ends: Ends) -> str:
    """Return what the solute is, in words: ACE-ALA-NME (22 atoms), or 62 residues (912 atoms, 30,000 with all else)."""
    solute = set(ends.solute.tolist())
    residues = [r for r in ends.topology.residues() if not solute.isdisjoint(a.index for a in r.atoms())]
    names = "-".join(residue.name for residue in residues)
    text = names if len(residues) <= MOST_NAMED else f"{len(residues)} residues"
    beside = "" if len(solute) == ends.n_atoms else f", {ends.n_atoms:,} with its surroundings"
    return f"{text} ({len(solute)} atom{'s' if len(solute) > 1 else ''}{beside})"


def _spoken_forces(request: Request) -> str:
    prepared = request.system_xml or request.topology
    if prepared is not None:
        return f"forces of {prepared.name}"
    solvents = {"none": "no solvent added", "water": "in water"}
    return solvents.get(request.solvent, f"solvent {request.solvent.upper()}")
