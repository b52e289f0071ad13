"""`tps import-ops`: what OpenPathSampling made of an export, back in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from tps.analysis import ensemble_divergence, halves
from tps.cli.output import JSON, print_json
from tps.cli.place import Place
from tps.engine import choose_platform, potential_energies
from tps.errors import RunFolderError
from tps.export import OpsPaths, read_ops_paths
from tps.paths import TransitionPaths, load_transition_paths, save_transition_paths
from tps.pipeline import RunFolder
from tps.systems import MolecularSystem

PLACE = "shooting-ops"


@click.command("import-ops")
@click.argument("run", type=Place(file_okay=False))
@click.argument("files", nargs=-1, required=True, type=Place(dir_okay=False))
@click.option("--force", is_flag=True, help="Replace what was imported before.")
@JSON
def import_ops(run: Path, files: tuple[Path, ...], force: bool, as_json: bool) -> None:
    """Take OpenPathSampling's paths into RUN/shooting-ops.

    FILES are ops_paths.npz of setup_ops.py, one chain each.
    """
    folder = RunFolder.open(run)
    system = folder.molecule
    if (run / PLACE).exists() and not force:
        raise RunFolderError(f"{run / PLACE} is there already: replace it with --force")
    found = read_ops_paths(files, system)
    if not len(found.paths):
        raise RunFolderError(
            f"after burn-in no path from A to B is left ({_left_out(found)}): sample longer, with more moves (-n)"
        )
    platform = choose_platform(system.system_xml, system.positions_a, folder.config.run.wish)
    everywhere = np.concatenate(found.paths.positions)
    energies = potential_energies(system.create_openmm_system(), everywhere, platform)
    with folder.lock(), folder.writing(PLACE, (PLACE,)) as partial:
        save_transition_paths(
            partial / PLACE,
            found.paths,
            [system.feature_values(positions) for positions in found.paths.positions],
            np.split(energies, np.cumsum(found.paths.lengths)[:-1]),
            system.feature_names,
            time_unit=system.time_unit,
        )
    if as_json:
        print_json({"folder": run / PLACE, "chains": len(files), **_numbers(found)})
        return
    click.echo(_summary(found, len(files), run / PLACE))
    if (run / "shooting" / "paths.npz").is_file():
        click.echo(_beside(system, load_transition_paths(run / "shooting"), found.paths))


def _summary(found: OpsPaths, n_chains: int, place: Path) -> str:
    paths, out = found.paths, _left_out(found)
    mean = np.average(paths.lengths, weights=paths.multiplicity)
    return (
        f"{place}: {len(paths)} paths of {n_chains} chains, {paths.decorrelated.sum()} of them decorrelated, "
        f"{mean:.1f} frames {1000 * paths.frame_time:g} fs apart on average\n"
        f"moves: {found.n_moves}, {found.n_accepted / found.n_moves:.1%} accepted, {found.n_frames_flown} frames flown"
        + (f"\nleft out: {out}" if out else "")
    )


def _numbers(found: OpsPaths) -> dict[str, Any]:
    paths = found.paths
    return {
        "paths": len(paths),
        "decorrelated": paths.decorrelated.sum(),
        "frame_time_ps": paths.frame_time,
        "moves": found.n_moves,
        "accepted": found.n_accepted,
        "frames_flown": found.n_frames_flown,
        "wrong": found.n_wrong,
        "unfinished": found.unfinished,
    }


def _left_out(found: OpsPaths) -> str:
    parts = [f"{found.n_wrong} paths that do not go from A to B"] if found.n_wrong else []
    return "; ".join([*parts, *(f"{file}, still in burn-in" for file in found.unfinished)])


def _beside(system: MolecularSystem, own: TransitionPaths, found: TransitionPaths) -> str:
    if not np.isclose(own.frame_time, found.frame_time):
        return f"not compared with shooting, whose frames are {1000 * own.frame_time:g} fs apart"
    text = f"Jensen-Shannon divergence from shooting: {ensemble_divergence(system, own, found):.4f} nats"
    for name, paths in (("shooting", own), (PLACE, found)):
        if len(np.unique(paths.chain)) > 1:
            text += f"; between halves of {name}: {ensemble_divergence(system, *halves(paths)):.4f}"
    return text
