"""The run folder: resolved configuration, manifest, and stages that are written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform as host
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

import tps
from tps.config import RunConfig, load_config
from tps.conformations import Conformations, read_dcd
from tps.errors import ConfigError, RunFolderError, SystemDefinitionError
from tps.paths import PathEnsemble
from tps.systems import MolecularSystem, System, load_system

CONFIG_FILE, MANIFEST_FILE, TOPOLOGY_FILE = "run.toml", "manifest.json", "topology.pdb"
_MARK = "tps run folder"


@dataclass(frozen=True, eq=False)
class RunFolder:
    """One run on disk."""

    path: Path
    config: RunConfig

    @classmethod
    def create(cls, path: Path, config: RunConfig, *, force: bool = False) -> RunFolder:
        """Make a run folder, or go on in one that has the same configuration.

        Raises
        ------
        RunFolderError
            If the folder holds something else, or a run with another configuration and not `force`.
        """
        run = cls(path, config)
        if (path / CONFIG_FILE).is_file():
            if load_config(path / CONFIG_FILE) != config and not force:
                raise RunFolderError(
                    f"run folder {path} holds a run with another configuration: choose another folder with -o, or "
                    "replace what differs with --force"
                )
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFolderError(f"{path} exists and is not a run folder: choose another folder with -o")
        system = run.system  # what is wrong with it must show before anything is written
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / CONFIG_FILE, config.to_toml())
        if isinstance(system, MolecularSystem):
            text = io.StringIO()
            positions = system.positions_a * openmm.unit.nanometer
            app.PDBFile.writeFile(system.topology, positions, text, keepIds=True)
            write_text(path / TOPOLOGY_FILE, text.getvalue())
        if not (path / MANIFEST_FILE).is_file():
            run.write_manifest({"kind": _MARK, "stages": {}})
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run folder.

        Raises
        ------
        RunFolderError
            If it is none.
        """
        if not (path / CONFIG_FILE).is_file():
            raise RunFolderError(
                f"{path} is not a run folder (it has no {CONFIG_FILE}): make one with `tps run CONFIG -o {path}`"
            )
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

    @cached_property
    def system_digest(self) -> str:
        """Digest of everything the system's files say."""
        system = self.system
        states = repr(
            (system.state_a, system.state_b, system.feature_names, dict(system.collective_variables))
        )
        parts = [states.encode(), np.ascontiguousarray(system.ends).tobytes(), repr(system.kt).encode()]
        parts.append(system.system_xml.encode() if isinstance(system, MolecularSystem) else system.definition)
        return digest(*parts)

    @property
    def on_grid(self) -> bool:
        """Whether the weighted frames are the points of a grid."""
        grid = self.config.conformations.method in ("auto", "grid")
        return grid and not isinstance(self.system, MolecularSystem)

    def frame_positions(self, frames: Conformations) -> NDArray[np.floating]:
        """Return the positions of the weighted frames as `system.values` takes them."""
        if isinstance(self.system, MolecularSystem):
            return read_dcd(self.path / "conformations" / "frames.dcd")
        return frames.torsions

    def path_positions(self, folder: str, ensemble: PathEnsemble) -> list[NDArray[np.floating] | None]:
        """Return the positions of each path as `system.values` takes them, None for a path that failed."""
        if isinstance(self.system, MolecularSystem):
            files = [self.path / folder / f"{i:04d}.dcd" for i in range(ensemble.n_paths)]
            return [read_dcd(f) if done else None for f, done in zip(files, ensemble.completed, strict=True)]
        return [x if done else None for x, done in zip(ensemble.torsions, ensemble.completed, strict=True)]

    def seeds(self, stage: int, n: int) -> list[int]:
        """Return n seeds of a stage, each fixed by the run's seed, the stage and its place."""
        sequence = np.random.SeedSequence(self.config.run.seed, spawn_key=(stage,))
        return [int(seed) for seed in sequence.generate_state(n, np.uint32)]

    def manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises
        ------
        RunFolderError
            If it is missing or damaged.
        """
        try:
            content = json.loads((self.path / MANIFEST_FILE).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise RunFolderError(
                f"{self.path / MANIFEST_FILE} is missing or damaged ({error}): the stages of this run cannot be "
                "trusted, start a new run folder"
            ) from error
        return dict(content)

    def write_manifest(self, content: Mapping[str, Any]) -> None:
        """Replace the manifest at one stroke."""
        write_text(self.path / MANIFEST_FILE, json.dumps(content, indent=2) + "\n")

    def record(self, stage: str, entry: Mapping[str, Any] | None) -> None:
        """Store a stage's entry in the manifest, or take it out."""
        content = self.manifest()
        content["stages"].pop(stage, None)
        if entry is not None:
            content["stages"][stage] = dict(entry)
        self.write_manifest(content)

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
        for name in outputs:
            place = self.path / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            if (partial / name).exists():
                place.parent.mkdir(exist_ok=True)
                (partial / name).rename(place)
        shutil.rmtree(partial)

    @contextlib.contextmanager
    def growing(self, stage: str, outputs: tuple[str, ...], *, anew: bool) -> Iterator[Path]:
        """Yield the run folder itself for a stage that goes on from what it has written; `anew` removes that first."""
        self.record(stage, None)
        if anew:
            for name in outputs:
                shutil.rmtree(self.path / name, ignore_errors=True)
        yield self.path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from working in the same folder.

        Raises
        ------
        RunFolderError
            If a living process holds the lock.
        """
        path = self.path / ".lock"
        if path.exists() and _alive(path.read_text()):
            raise RunFolderError(
                f"another tps (process {path.read_text()}) works in {self.path}: wait for it"
            )
        path.write_text(str(os.getpid()))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


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


def write_text(path: Path, text: str) -> None:
    """Replace a text file at one stroke."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()
