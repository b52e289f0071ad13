"""Runs side by side: methods, seeds, constraints, on one system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tps.errors import RunFolderError
from tps.pipeline.folder import RunFolder
from tps.pipeline.report import spoken
from tps.pipeline.stages import check_whole
from tps.said import SaidAnalysis
from tps.stored import read_json

#: What is compared, in this order, and what a reader calls it.
SHOWN = {
    "hit_rate": "ending in B",
    "hit_rate_closest_frame": "closest-frame hits",
    "u_max_minus_a": "max. energy above A",
    "u_max_minus_bound": "max. above bound",
    "dissipated_work": "dissipated work",
    "curve_length": "curve length",
    "spread": "spread",
    "diversity": "diversity",
    "deviation_from_straight": "off the straight line",
    "rmsd_end": "RMSD to B",
    "rmsd_last": "RMSD of last frame",
    "native_rate": "with native contacts",
    "paths_out_of_regions": "out of the regions",
    "divergence_to_ensemble": "distance to unbiased",
    "ensemble_u_max_minus_a": "unbiased max. above A",
    "mean_transition_time": "transition time",
    "committor": "p_B of transition states",
    "free_energy_anchored": "ΔF of anchored states",
    "free_energy_regions": "ΔF of regions",
    "free_energy_barrier_a": "free-energy barrier, A",
    "rate_a_to_b": "rate from A to B",
    "first_passage_a_to_b": "which takes",
    "rate_b_to_a": "rate from B to A",
    "first_passage_b_to_a": "which takes",
    "rate_by_flux": "rate by the flux from A",
    "evaluations_for_paths": "evaluations for paths",
    "evaluations_per_decorrelated_path": "per decorrelated path",
}


def compared_runs(folders: Sequence[str | Path], *, baselines: bool = False) -> dict[str, dict[str, Any]]:
    """Return the numbers of several runs by label: the folder's name, and the method where that is not the geodesic.

    Parameters
    ----------
    folders : sequence of str or Path
    baselines : bool
        Whether the straight lines of each run get columns of their own.

    Raises
    ------
    RunFolderError
        If one has no analysis, or they are of different systems.
    """
    found: dict[str, dict[str, Any]] = {}
    first: RunFolder | None = None
    for folder in map(Path, folders):
        run = RunFolder.open(folder)
        first = run if first is None else first
        if run.system_digest != first.system_digest:
            raise RunFolderError(
                f"{folder} is a run of {run.system.name}, {first.path} one of {first.system.name} (or of other states "
                "or files): compare runs of one system"
            )
        file = folder / "analysis" / "metrics.json"
        if not file.is_file():
            raise RunFolderError(f"{folder} has no analysis: run `tps analyse {folder}` first")
        check_whole(run, "analyse")
        content = read_json(file, SaidAnalysis)
        label = _label(folder, found)
        method = content["method"]
        found[label if method == "geodesic" else f"{label} ({spoken('paths', method)})"] = content["metrics"]
        if baselines:
            for name, numbers in content["baselines"].items():
                found[f"{label}: {spoken(name, method)}"] = numbers
    return found


def _label(folder: Path, taken: dict[str, Any]) -> str:
    """Return the folder's name, or its whole path where another has that name."""
    return str(folder) if any(label.startswith(folder.name) for label in taken) else folder.resolve().name
