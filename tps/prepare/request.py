"""What a user asks of `tps init`, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tps.errors import ConfigError
from tps.units import thermal_energy

Solvent = Literal["none", "obc2", "gbn2", "water"]
#: Topologies of other programs, by suffix, and the key of [force_field] that names them.
PREPARED_SUFFIXES = {
    ".prmtop": "amber_prmtop",
    ".parm7": "amber_prmtop",
    ".top": "gromacs_top",
    ".psf": "charmm_psf",
}
DEFAULT_FORCE_FIELD = "amber14-all.xml"
DEFAULT_WATER = "amber14/tip3pfb.xml"


@dataclass(frozen=True)
class Request:
    """Two structures of one molecule, where its forces come from, and what else was said.

    Parameters
    ----------
    a, b : Path
        End structures.
    force_field : tuple of str
        OpenMM force-field XML files by name or path; amber14-all.xml, and amber14/tip3pfb.xml where there is water or
        an ion, unless given.
    topology : Path, optional
        prmtop, top or psf file of a prepared system, instead of force-field files.
    parameters : tuple of Path
        CHARMM parameter files of a psf.
    gromacs_include : Path, optional
        Folder that a top file's #include lines refer to.
    system_xml : Path, optional
        Serialised openmm.System, instead of force-field files.
    solvent : {"none", "obc2", "gbn2", "water"}
    padding : float
        Of the solute from the border of the water [nm].
    ionic_strength : float
        Of the water, beside ions that neutralise it [mol/L].
    add_hydrogens : bool
    ph : float
        For which hydrogens are added.
    fix_gaps : bool
        Add missing heavy atoms and residues with PDBFixer.
    solute : str, optional
        MDTraj selection of what is looked at; all that is not water or ion unless given.
    features : tuple of str
        Names of features, or of groups of them; chosen by what short runs show unless given.
    temperature : float
        [K].
    short_run : float
        Longest of the short runs in each end [ps]; shorter where the platform is slow.
    seed : int
    platform : str, optional
        OpenMM platform; the fastest unless given.
    hours : float
        About how long a run may take here.

    Raises
    ------
    ConfigError
        If these do not go together.
    """

    a: Path
    b: Path
    force_field: tuple[str, ...] = ()
    topology: Path | None = None
    parameters: tuple[Path, ...] = ()
    gromacs_include: Path | None = None
    system_xml: Path | None = None
    solvent: Solvent = "none"
    padding: float = 1.0
    ionic_strength: float = 0.0
    add_hydrogens: bool = False
    ph: float = 7.0
    fix_gaps: bool = False
    solute: str | None = None
    features: tuple[str, ...] = ()
    temperature: float = 300.0
    short_run: float = 50.0
    seed: int = 1
    platform: str | None = None
    hours: float = 2.0

    def __post_init__(self) -> None:
        thermal_energy(self.temperature)
        sources = {"--forcefield": self.force_field, "--top": self.topology, "--system-xml": self.system_xml}
        given = [option for option, value in sources.items() if value]
        if len(given) > 1:
            raise ConfigError(f"forces come from one source, but got {_listed(given)}: give one of them")
        if self.is_prepared:
            self._check_prepared(given[0])
        if self.topology is not None:
            self._check_topology(self.topology)
        if self.parameters and (self.topology is None or self.topology.suffix.lower() != ".psf"):
            raise ConfigError(
                "--parameters belongs to a CHARMM psf file: give it as --top, or leave --parameters out"
            )
        numbers = (self.padding, self.hours, self.short_run, self.ionic_strength, self.ph)
        positive = min(self.padding, self.hours, self.short_run) > 0
        if not (positive and self.ionic_strength >= 0 and all(map(math.isfinite, numbers))):
            raise ConfigError(
                "--padding, --hours and --short-run must be positive and --ionic-strength not negative, but got "
                f"{self.padding:g} nm, {self.hours:g} h, {self.short_run:g} ps and {self.ionic_strength:g} mol/L"
            )
        if self.ionic_strength > 0 and self.solvent != "water":
            raise ConfigError("--ionic-strength needs water to dissolve in: give --solvent water")

    @property
    def is_prepared(self) -> bool:
        """Whether another program has chosen the parameters."""
        return self.topology is not None or self.system_xml is not None

    def _check_prepared(self, source: str) -> None:
        asked = {
            f"--solvent {self.solvent}": self.solvent != "none",
            "--add-hydrogens": self.add_hydrogens,
            "--fix-gaps": self.fix_gaps,
        }
        wrong = [option for option, value in asked.items() if value]
        if wrong:
            raise ConfigError(
                f"{_listed(wrong)} changes the atoms or their forces, and {source} already says both: prepare the "
                "system with it, or give --forcefield instead"
            )

    def _check_topology(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in PREPARED_SUFFIXES:
            raise ConfigError(f"--top {path}: topologies are read from {', '.join(PREPARED_SUFFIXES)} files")
        if suffix == ".psf" and not self.parameters:
            raise ConfigError(
                f"--top {path}: a psf file needs its parameter files, give them as --parameters"
            )


def _listed(words: Iterable[str]) -> str:
    return " and ".join(words)
