"""Paths: annealed Langevin dynamics of molecules and surfaces, reactive segments, path ensembles."""

from tps.paths.annealed import AnnealingSettings, annealed_paths
from tps.paths.ensemble import PathEnsemble, PathRecord, load_paths, save_paths
from tps.paths.overdamped import SurfaceSamples, sample_surface
from tps.paths.overdamped_annealed import OverdampedSettings, overdamped_annealed_paths
from tps.paths.segments import reactive_segment

__all__ = [
    "AnnealingSettings",
    "OverdampedSettings",
    "PathEnsemble",
    "PathRecord",
    "SurfaceSamples",
    "annealed_paths",
    "load_paths",
    "overdamped_annealed_paths",
    "reactive_segment",
    "sample_surface",
    "save_paths",
]
