"""The same water and ions around both ends: solvated together, then each alone in one box of the right density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from tps.engine import (
    Dynamics,
    LangevinSettings,
    PlatformChoice,
    PlatformWish,
    choose_platform,
    default_workers,
    openmm_seed,
)
from tps.errors import ConfigError, SystemDefinitionError
from tps.features.variable import nearest_image
from tps.pipeline import Progress
from tps.prepare.ends import CUTOFF, CUTOFF_SHARE, Ends, has_water, heavy_atoms, open_force_field
from tps.prepare.estimate import steps_per_second
from tps.prepare.relax import Positions, minimise, shape_springs, superposed
from tps.prepare.request import DEFAULT_WATER, Request
from tps.systems.forcefield import build_openmm_system

#: Water per litre [mol], as `openmm.app.Modeller` counts ions by.
WATER_MOLARITY = 55.4
#: Ions take the place of water at least this far from the solute of either end, and from one another [nm].
ION_DISTANCE = 0.5
#: Equilibration: seconds spent on each part at most, and its least and most picoseconds.
SECONDS, SHORTEST, LONGEST = 40.0, 4.0, 40.0
TIMESTEP = 0.002  # ps
PRESSURE = 1.0  # bar
#: Water models of OpenMM's boxes by their number of sites.
WATER_BOXES = {3: "tip3p", 4: "tip4pew", 5: "tip5p"}
_G_PER_ML = 1.66053906660e-3  # amu/nm^3


@dataclass(frozen=True, eq=False)
class _Wet:
    """Both ends in the same water: topology, positions (2, n_atoms, 3) [nm], box [nm], and what is in it."""

    topology: app.Topology
    positions: Positions
    width: float
    contents: str


def put_in_water(ends: Ends, request: Request, folder: Path, widest: float, progress: Progress) -> Ends:
    """Return both ends in one box with the same water and ions, equilibrated around the solute held in shape.

    A and B are superposed, and the two together solvated, so that no water clashes with either; ions take the place
    of water that is far from both. Then each is left alone in the water. A, minimised, runs at constant pressure, which
    fixes the volume; both run at that volume.

    Parameters
    ----------
    ends : Ends
        Without a box.
    request : Request
    folder : Path
        Where the force-field files are.
    widest : float
        Largest distance between solute molecules that shall stay below half the box [nm]; 0 for none.
    progress : Progress

    Raises
    ------
    SystemDefinitionError
        If there is water already, or the force field lacks it.
    ConfigError
        If the box has no room for the ions.
    """
    if has_water(ends.topology):
        raise SystemDefinitionError(
            f"{request.a} holds water already: take it out, or leave --solvent water out"
        )
    files = ends.force_field["files"]
    assert isinstance(files, tuple)
    force_field = open_force_field(files, folder)
    if not _water_sites(force_field):
        files = (*files, DEFAULT_WATER)
        force_field = open_force_field(files, folder)
    wet = _solvated(ends, force_field, request, widest)
    cutoff = min(CUTOFF, np.floor(100 * CUTOFF_SHARE * wet.width) / 100)
    table = {**ends.force_field, "files": files, "nonbonded_cutoff_nm": float(cutoff)}
    solvated = replace(ends, topology=wet.topology, positions=wet.positions, force_field=table)
    positions, width, said = _equilibrated(solvated, wet.width, request, folder, progress)
    box = np.eye(3) * width
    wet.topology.setPeriodicBoxVectors(box * unit.nanometer)
    n_solute = int(max(ends.solute)) + 1
    whole = len(ends.solute) == n_solute
    notes = (
        f"water: {wet.contents}, the same in both ends, {request.padding:g} nm from the solute to the border",
        said,
    )
    return replace(
        solvated,
        positions=positions,
        box=box,
        solute_selection=f"index < {n_solute}" if whole else ends.solute_selection,
        notes=(*ends.notes, *notes),
    )


def _water_sites(force_field: app.ForceField) -> int:
    """Return the number of sites of the force field's water; 0 if it has none."""
    template = force_field._templates.get("HOH")
    return 0 if template is None else len(template.atoms)


def _solvated(ends: Ends, force_field: app.ForceField, request: Request, widest: float) -> _Wet:
    heavy = heavy_atoms(ends.topology, range(ends.n_atoms))
    a = ends.positions[0]
    b = superposed(ends.positions[1], a, heavy)
    both = np.concatenate([a, b])
    width = max(float(np.ptp(both, axis=0).max()) + 2 * request.padding, 2 * widest)
    shift = width / 2 - (both.max(axis=0) + both.min(axis=0)) / 2
    a, b = a + shift, b + shift
    sites = _water_sites(force_field)
    modeller = app.Modeller(ends.topology, a * unit.nanometer)
    modeller.add(ends.topology, b * unit.nanometer)
    box_size = openmm.Vec3(width, width, width) * unit.nanometer
    try:
        modeller.addSolvent(force_field, model=WATER_BOXES[sites], boxSize=box_size, neutralize=False)
        charge = _charge(force_field.createSystem(ends.topology))
    except ValueError as reason:
        raise SystemDefinitionError(f"water cannot be added: {' '.join(str(reason).split())}") from None
    residues = list(modeller.topology.residues())
    n_solute = ends.topology.getNumResidues()
    waters = residues[2 * n_solute :]
    xyz = np.array(modeller.positions.value_in_unit(unit.nanometer))
    places = np.array([xyz[next(residue.atoms()).index] for residue in waters])
    ions = _ion_places(places, np.concatenate([a, b]), width, charge, request)
    modeller.delete([*residues[n_solute : 2 * n_solute], *(waters[i] for i, _ in ions)])
    symbols = [symbol for _, symbol in ions]
    if ions:
        modeller.add(_ion_topology(symbols), places[[i for i, _ in ions]] * unit.nanometer)
    first = np.array(modeller.positions.value_in_unit(unit.nanometer))
    second = np.concatenate([b, first[len(b) :]])
    counts = [f"{len(waters) - len(ions)} molecules of water"]
    counts += [f"{symbols.count(symbol)} {symbol}" for symbol in dict.fromkeys(symbols)]
    return _Wet(modeller.topology, np.stack([first, second]), width, " and ".join(counts))


def _charge(system: openmm.System) -> int:
    """Return the net charge of a System in elementary charges."""
    total = 0.0
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            total += sum(force.getParticleParameters(i)[0]._value for i in range(force.getNumParticles()))
    return round(total)


def _ion_places(
    places: Positions, solute: Positions, width: float, charge: int, request: Request
) -> list[tuple[int, str]]:
    """Return which waters become which ions: those that neutralise the solute, and pairs of Na and Cl beside them."""
    n_pairs = int(np.floor((len(places) - abs(charge)) * request.ionic_strength / WATER_MOLARITY + 0.5))
    symbols = ["Na"] * (n_pairs + max(0, -charge)) + ["Cl"] * (n_pairs + max(0, charge))
    if not symbols:
        return []
    box = np.eye(3) * width
    chosen: list[int] = []
    for i in np.random.default_rng(request.seed).permutation(len(places)):
        taken = np.concatenate([solute, places[chosen]])
        apart = nearest_image(taken - places[i], box)
        if np.linalg.norm(apart, axis=1).min() >= ION_DISTANCE:
            chosen.append(int(i))
        if len(chosen) == len(symbols):
            return list(zip(chosen, symbols, strict=True))
    raise ConfigError(
        f"{len(symbols)} ions do not fit into the box {ION_DISTANCE:g} nm from the solute and one another: "
        "give a larger --padding, or less --ionic-strength"
    )


def _ion_topology(symbols: Sequence[str]) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain()
    for symbol in symbols:
        residue = topology.addResidue(symbol.upper(), chain)
        topology.addAtom(symbol.upper(), app.Element.getBySymbol(symbol), residue)
    return topology


def _equilibrated(
    wet: Ends, width: float, request: Request, folder: Path, progress: Progress
) -> tuple[Positions, float, str]:
    """Return both ends (2, n_atoms, 3) [nm] in the box that A takes at constant pressure, its width, and a sentence."""
    vectors = np.eye(3) * width
    wet.topology.setPeriodicBoxVectors(vectors * unit.nanometer)
    system, _ = build_openmm_system(wet.section, folder, wet.topology, tuple(wet.positions))
    molecules = wet.graph().molecules
    heavy = heavy_atoms(wet.topology, wet.solute)
    started = [_held(system, positions, heavy) for positions in wet.positions]
    progress.say("minimising both ends in water")
    a = minimise(started[0], wet.positions[0], "end A in water").positions
    system_xml = openmm.XmlSerializer.serialize(system)
    platform = choose_platform(system_xml, a, PlatformWish(request.platform))
    n_steps = _n_steps(steps_per_second(system_xml, a, platform))
    platform = platform.for_tasks(1, default_workers())
    langevin = LangevinSettings(request.temperature, TIMESTEP)
    progress.say(f"water around A: {n_steps * TIMESTEP:.0f} ps at {PRESSURE:g} bar")
    a, settled = _under_pressure(started[0], a, langevin, platform, request, n_steps)
    found: list[Positions] = []
    for end, positions, old in (("A", a, settled[0]), ("B", wet.positions[1], width)):
        scaled = _scaled(positions, molecules, settled[1] / old)
        held = _held(system, wet.positions[0 if end == "A" else 1], heavy)
        held.setDefaultPeriodicBoxVectors(*(np.eye(3) * settled[1]))
        progress.say(f"water around {end}: {n_steps // 2 * TIMESTEP:.0f} ps at constant volume")
        rested = minimise(held, scaled, f"end {end} in water").positions
        dynamics = Dynamics(held, langevin, platform, request.seed + len(found) + 1)
        dynamics.start(rested)
        dynamics.step(n_steps // 2)
        found.append(dynamics.positions())
    mass = sum(system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    said = (
        f"box: {settled[1]:.3f} nm ({mass / settled[1] ** 3 * _G_PER_ML:.3f} g/mL), the mean of the second half of "
        f"{n_steps * TIMESTEP:.0f} ps of A at {PRESSURE:g} bar, from {width:.3f} nm; then "
        f"{n_steps // 2 * TIMESTEP:.0f} ps of each end at that volume, the solute held in shape"
    )
    return np.stack(found), settled[1], said


def _n_steps(speed: float) -> int:
    return int(np.clip(SECONDS * speed, SHORTEST / TIMESTEP, LONGEST / TIMESTEP)) // 100 * 100


def _held(system: openmm.System, positions: Positions, heavy: NDArray[np.intp]) -> openmm.System:
    held = openmm.XmlSerializer.clone(system)
    held.addForce(shape_springs(positions, heavy, True))
    return held


def _under_pressure(
    held: openmm.System,
    start: Positions,
    langevin: LangevinSettings,
    platform: PlatformChoice,
    request: Request,
    n_steps: int,
) -> tuple[Positions, tuple[float, float]]:
    """Run at constant pressure; return the last frame, its box, and the mean box of the second half [nm]."""
    barostat = openmm.MonteCarloBarostat(PRESSURE, langevin.temperature)
    barostat.setRandomNumberSeed(openmm_seed(request.seed))
    system = openmm.XmlSerializer.clone(held)
    system.addForce(barostat)
    dynamics = Dynamics(system, langevin, platform, request.seed)
    dynamics.start(start)
    volumes = []
    for _ in range(n_steps // 100):
        dynamics.step(100)
        volumes.append(dynamics.context.getState().getPeriodicBoxVolume()._value)
    widths = np.cbrt(volumes)
    return dynamics.positions(), (float(widths[-1]), float(widths[len(widths) // 2 :].mean()))


def _scaled(positions: Positions, molecules: list[list[int]], factor: float) -> Positions:
    """Return positions with the centre of every molecule scaled, as a barostat does; molecules keep their shape."""
    found = np.array(positions)
    for molecule in molecules:
        centre = positions[molecule].mean(axis=0)
        found[molecule] += (factor - 1) * centre
    return found
