"""The run folder: resolved configuration, manifest, and stages that are written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import platform as host
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

import tps
from tps.arrays import FORMAT_VERSION
from tps.config import ConformationsSection, RunConfig, load_config
from tps.conformations import Conformations, read_finite_dcd
from tps.diffusion import check_device
from tps.errors import ConfigError, RunFolderError, SystemDefinitionError
from tps.files import partial_of, whole
from tps.lock import LOCK_FILE, locked
from tps.paths import PathEnsemble
from tps.pipeline.constraints import avoided_regions
from tps.pipeline.manifest import MANIFEST_FILE, damaged, digests, read_manifest
from tps.report import notebook_section
from tps.said import SaidAnalysis
from tps.stored import read_json, remedy
from tps.systems import MolecularSystem, SurfaceSystem, System, load_system

CONFIG_FILE, TOPOLOGY_FILE = "run.toml", "topology.pdb"
_MARK = "tps run folder"
#: Features that metadynamics is left to by itself.
_MOST_BIASED = 2
#: Up to so many features the mixture is started where the frames are, and nothing has come near it.
_MAX_FLAT_FEATURES = 3


class Chance(IntEnum):
    """What draws random numbers in a run; each has a stream of seeds of its own."""

    CONFORMATIONS = 0
    TRAINING = 1
    GEODESIC = 2
    PATHS = 3
    STRAIGHT_LINE = 4
    STRAIGHT_LINE_WITH_PROFILE = 5
    SHOOTING = 10
    COMMITTOR = 11
    WINDOWS = 12
    RATE = 13
    WINDOW_STARTS = 14
    BACKWARD_PATHS = 15
    FRICTION = 16
    FRICTION_STARTS = 17
    FISHER_CLOCK = 18
    BACKWARD_CURVE_PATHS = 19
    GROWING = 20
    GROWTH_STARTS = 21


@dataclass(frozen=True, eq=False)
class RunFolder:
    """One run on disk."""

    path: Path
    config: RunConfig

    @classmethod
    def create(cls, path: str | Path, config: RunConfig, *, force: bool = False) -> RunFolder:
        """Make a run folder, or go on in one that has the same configuration: `planned`, then `start`."""
        run = cls.planned(path, config, force=force)
        run.start()
        return run

    @classmethod
    def planned(cls, path: str | Path, config: RunConfig, *, force: bool = False) -> RunFolder:
        """Return a run folder of which nothing has been written yet, or the one that is there to go on in.

        Raises
        ------
        RunFolderError
            If the folder holds something else, a run of another version of tps, or one with another configuration and
            not `force`.
        """
        path = Path(path)
        run = cls(path, config)
        if (path / CONFIG_FILE).is_file():
            if (path / MANIFEST_FILE).is_file():
                read_manifest(path)
            if not (force or load_config(path / CONFIG_FILE).gives_the_same_as(config)):
                raise RunFolderError(
                    f"run folder {path} holds a run with another configuration: choose another folder with -o, or "
                    "replace what differs with --force"
                )
        elif path.exists() and not _is_unborn(path):
            raise RunFolderError(f"{path} exists and is not a run folder: choose another folder with -o")
        # what is wrong with it must show before anything is written
        check_device(config.train.device)
        avoided_regions(run.system, config.geodesic)
        return run

    @property
    def started(self) -> bool:
        """Whether the folder is there, with a record of its stages."""
        return (self.path / MANIFEST_FILE).is_file()

    def start(self) -> None:
        """Write what every run folder holds: configuration, topology, and a record of its stages."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock():
            self.write_config()
            if self.surface is None:
                self.write_structure(self.path / TOPOLOGY_FILE, self.molecule.positions_a)
            if not self.started:
                self.write_manifest({"kind": _MARK, "format_version": FORMAT_VERSION, "stages": {}})

    def write_structure(self, path: Path, positions: NDArray[np.floating]) -> None:
        """Write positions (n_atoms, 3) [nm] of the molecule as PDB."""
        text = io.StringIO()
        app.PDBFile.writeFile(
            self.molecule.topology, np.asarray(positions, float) * openmm.unit.nanometer, text, keepIds=True
        )
        write_text(path, text.getvalue())

    def _repr_html_(self) -> str:
        """Return what a notebook shows of a run: what can be trusted of it, and its page with the player."""
        file, page = self.path / "analysis" / "metrics.json", self.path / "report.html"
        verdict = read_json(file, SaidAnalysis)["verdict"] if file.is_file() else []
        address = Path(os.path.relpath(page)).as_posix() if page.is_file() else ""
        return notebook_section(verdict, str(self.path), address)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder.

        Raises
        ------
        RunFolderError
            If it is none, or one of another version of tps.
        """
        path = Path(path)
        if not (path / CONFIG_FILE).is_file():
            raise RunFolderError(
                f"{path} is not a run folder (it has no {CONFIG_FILE}): make one with `tps run CONFIG -o {path}`"
            )
        read_manifest(path)
        return cls(path, load_config(path / CONFIG_FILE))

    def with_config(self, config: RunConfig) -> RunFolder:
        """Return the same folder with another configuration; nothing is written yet."""
        return RunFolder(self.path, config)

    def write_config(self) -> None:
        """Store the configuration."""
        write_text(self.path / CONFIG_FILE, self.config.to_toml())

    @cached_property
    def system(self) -> System:
        """The molecule or surface of this run.

        Raises
        ------
        SystemDefinitionError
            If it cannot be loaded.
        """
        return load_system(self.config.run.system)

    @property
    def molecule(self) -> MolecularSystem:
        """The molecule of this run.

        Raises
        ------
        SystemDefinitionError
            If it is a surface.
        """
        if not isinstance(self.system, MolecularSystem):
            raise SystemDefinitionError(
                f"{self.system.name} is a surface, which has no atoms: its paths are the arrays of {self.path}/paths/"
                "paths.npz"
            )
        return self.system

    @property
    def surface(self) -> SurfaceSystem | None:
        """The surface of this run; None where it is of a molecule."""
        return self.system if isinstance(self.system, SurfaceSystem) else None

    @cached_property
    def system_digest(self) -> str:
        """Digest of everything the system's files say."""
        system = self.system
        states = repr(
            (system.state_a, system.state_b, system.feature_names, dict(system.collective_variables))
        )
        ends = np.ascontiguousarray(system.ends).tobytes()
        return digest(states.encode(), ends, repr(system.kt).encode(), system.definition)

    @property
    def sampling(self) -> ConformationsSection:
        """[conformations] with the method that "auto" means for this system."""
        section = self.config.conformations
        return section.model_copy(update={"method": sampling_method(section, self.system)})

    @property
    def on_grid(self) -> bool:
        """Whether the weighted frames are the points of a grid."""
        return self.surface is not None and self.sampling.method == "grid"

    @property
    def box(self) -> NDArray[np.float64] | None:
        """Box vectors (3, 3) [nm] of the molecule; None in vacuum and on surfaces."""
        return None if self.surface else self.molecule.box

    @property
    def model_kinds(self) -> tuple[str, ...]:
        """What the configuration's model means for this system: kinds to train, of which the best is kept."""
        model, space = self.config.train.model, self.system.space
        if model != "auto":
            return (model,)
        if self.surface or space.n_lines:
            return ("frames",)
        return ("log-partition",) if space.n_features <= _MAX_FLAT_FEATURES else ("log-partition", "denoiser")

    @property
    def model_kind(self) -> str:
        """The first of these: whether there is a model to train, or the frames themselves."""
        return self.model_kinds[0]

    def load_frames(self) -> Conformations:
        """Return the weighted frames, without the positions of a molecule."""
        file = self.path / "conformations" / "data.npz"
        frames = Conformations.load(file)
        self.check_columns(file, frames.values.shape[1], self.system.space.n_features)
        return frames

    def check_columns(self, file: Path, n: int, needed: int) -> None:
        """Check that a file has as many columns as the system asks for, and so is not that of another run.

        Raises
        ------
        RunFolderError
            If it has not.
        """
        if n != needed:
            raise RunFolderError(
                f"{file} is of other features, {n} columns where {self.system.name} has {needed}: {remedy(file)}"
            )

    def frame_positions(self, frames: Conformations) -> NDArray[np.floating]:
        """Return the positions of the weighted frames as `system.values` takes them."""
        return frames.values if self.surface else read_finite_dcd(self.path / "conformations" / "frames.dcd")

    def path_positions(self, folder: str, ensemble: PathEnsemble) -> list[NDArray[np.floating] | None]:
        """Return the positions of each path as `system.values` takes them, None for a path that failed."""
        done = enumerate(ensemble.completed)
        if self.surface:
            return [ensemble.values[i] if ready else None for i, ready in done]
        return [read_finite_dcd(self.path / folder / f"{i:04d}.dcd") if ready else None for i, ready in done]

    def seeds(self, what: Chance, n: int) -> list[int]:
        """Return n seeds, each fixed by the run's seed, what it is for and its place."""
        sequence = np.random.SeedSequence(self.config.run.seed, spawn_key=(int(what),))
        return [int(seed) for seed in sequence.generate_state(n, np.uint32)]

    def manifest(self) -> dict[str, Any]:
        """Return the manifest: see `read_manifest`."""
        return read_manifest(self.path)

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Replace the manifest at one stroke."""
        write_json(self.path / MANIFEST_FILE, content)

    def record(self, stage: str, entry: Mapping[str, Any] | None) -> None:
        """Store a stage's entry in the manifest, or take it out."""
        content = self.manifest()
        content["stages"].pop(stage, None)
        if entry is not None:
            content["stages"][stage] = dict(entry)
        else:
            content.get("files", {}).pop(stage, None)
        self.write_manifest(content)

    def seal(self, stage: str, outputs: tuple[str, ...]) -> None:
        """Store the digests of the files that a stage has left."""
        content = self.manifest()
        self.write_manifest(
            {**content, "files": {**content.get("files", {}), stage: digests(self.path, outputs)}}
        )

    def damaged_files(self, stage: str) -> list[str]:
        """Return which files of a stage are not what it left; none where an earlier tps kept no digests."""
        return damaged(self.path, self.manifest().get("files", {}).get(stage, {}))

    @contextlib.contextmanager
    def writing(self, stage: str, outputs: tuple[str, ...]) -> Iterator[Path]:
        """Yield an empty folder for a stage's outputs; they take their places only when all are written."""
        partial = self.path / f".{stage}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self.record(stage, None)
        with self._set_aside(stage, outputs):
            for name in outputs:
                if (partial / name).exists():
                    (self.path / name).parent.mkdir(exist_ok=True)
                    (partial / name).rename(self.path / name)
        shutil.rmtree(partial)
        self.seal(stage, outputs)

    @contextlib.contextmanager
    def growing(self, stage: str, outputs: tuple[str, ...], *, anew: bool) -> Iterator[Path]:
        """Yield the run folder itself for a stage that goes on from what it has written; `anew` removes that first."""
        with self._set_aside(stage, outputs if anew else ()):
            self.record(stage, None)
        yield self.path
        self.seal(stage, outputs)

    @contextlib.contextmanager
    def _set_aside(self, stage: str, outputs: tuple[str, ...]) -> Iterator[None]:
        """Move what a stage has written out of the way at one stroke each, and delete it afterwards.

        A program that is killed meanwhile leaves a stage without its outputs, never one with a part of them; what it
        has not deleted the next one does.
        """
        old = self.path / f".{stage}.old"
        shutil.rmtree(old, ignore_errors=True)
        for name in outputs:
            if (self.path / name).exists():
                (old / name).parent.mkdir(parents=True, exist_ok=True)
                (self.path / name).rename(old / name)
        yield
        shutil.rmtree(old, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from working in the same folder, and remove what one that was killed left half made.

        Raises
        ------
        RunFolderError
            If one works there already.
        """
        with locked(self.path):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what was being written when a program was killed; what others write here has a lock of its own."""
        for left in [*self.path.glob(".*.partial*"), *self.path.glob(".*.old")]:
            if left.is_file():
                left.unlink()
            elif not (left / LOCK_FILE).exists():
                shutil.rmtree(left)


def _is_unborn(path: Path) -> bool:
    """Return whether a folder holds nothing but what was written before its configuration."""
    own = (LOCK_FILE, partial_of(path / CONFIG_FILE).name)
    return path.is_dir() and all(entry.name in own for entry in path.iterdir())


def sampling_method(section: ConformationsSection, system: System) -> str:
    """Return the method by which frames are made: what "auto" means for a system, or the one that is named.

    Metadynamics takes 340 times as long per hill for three features as for two, and more than three not at all.
    """
    if section.method != "auto":
        return section.method
    if isinstance(system, SurfaceSystem):
        return "grid"
    n_biased = len(section.bias_features or system.feature_names)
    return "grow" if n_biased > _MOST_BIASED else "metadynamics"


def versions() -> dict[str, str]:
    """Return the versions that made a result."""
    packages = {name: metadata.version(name) for name in ("openmm", "torch", "mdtraj", "numpy")}
    return {"tps": tps.__version__, **packages, "python": host.python_version()}


def digest(*parts: bytes) -> str:
    """Return a SHA-256 of byte strings, their lengths included."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    ConfigError
        If it is not there.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}: check conformations.trajectories and weights_file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file at one stroke; numbers that are not finite, which JSON does not know, are null."""
    write_text(path, json.dumps(_known(content), indent=1, allow_nan=False) + "\n")


def _known(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _known(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_known(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_text(path: Path, text: str) -> None:
    """Replace a text file at one stroke."""
    with whole(path) as partial:
        partial.write_text(text)
