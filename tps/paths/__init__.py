"""Paths: annealed Langevin dynamics along a spacetime curve, reactive segments, path ensembles."""

from tps.paths.annealed import AnnealingSettings, annealed_paths
from tps.paths.ensemble import PathEnsemble, PathRecord, load_paths, save_paths
from tps.paths.segments import reactive_segment

__all__ = [
    "AnnealingSettings",
    "PathEnsemble",
    "PathRecord",
    "annealed_paths",
    "load_paths",
    "reactive_segment",
    "save_paths",
]
