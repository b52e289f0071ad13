"""The trajectory formats `tps` exports: what MDTraj writes for molecules with and without a periodic box."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError


@dataclass(frozen=True, slots=True)
class TrajectoryFormat:
    """One file format: its suffix, the MDTraj method that writes it, what it keeps and what it needs.

    `precision` is the largest rounding of a coordinate [nm]; `keeps_time` says whether the file holds the
    time of each frame, `cells` which unit cells it can hold: any, rectangular ones, or none.
    """

    suffix: str
    saver: str
    precision: float
    keeps_time: bool = False
    package: str | None = None
    cells: Literal["any", "rectangular", "none"] = "any"

    @property
    def name(self) -> str:
        """The name users give: the suffix without its dot."""
        return self.suffix[1:]


#: Formats by name. XTC and GRO round to 1e-3 nm steps, the text formats to 1e-4 nm (PDB: 1e-3 angstrom).
FORMATS: Mapping[str, TrajectoryFormat] = MappingProxyType(
    {
        item.name: item
        for item in (
            TrajectoryFormat(".dcd", "save_dcd", 1e-6),
            TrajectoryFormat(".xtc", "save_xtc", 6e-4, keeps_time=True),
            TrajectoryFormat(".trr", "save_trr", 1e-6, keeps_time=True),
            TrajectoryFormat(".pdb", "save_pdb", 6e-5),
            TrajectoryFormat(".pdb.gz", "save_pdb", 6e-5),
            TrajectoryFormat(".cif", "save_cif", 6e-6),
            TrajectoryFormat(".h5", "save_hdf5", 1e-6, keeps_time=True, package="tables"),
            TrajectoryFormat(".nc", "save_netcdf", 1e-6, keeps_time=True),
            TrajectoryFormat(".mdcrd", "save_mdcrd", 6e-5, cells="rectangular"),
            TrajectoryFormat(".xyz", "save_xyz", 6e-5, cells="none"),
            TrajectoryFormat(".gro", "save_gro", 6e-4, keeps_time=True),
        )
    }
)

#: Other spellings of a format's name.
ALIASES: Mapping[str, str] = MappingProxyType(
    {"hdf5": "h5", "netcdf": "nc", "ncdf": "nc", "crd": "mdcrd", "pdbx": "cif", "mmcif": "cif"}
)

#: What MDTraj writes and `tps` does not offer, with the reason.
NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        "save_amberrst7": "one file for each frame",
        "save_netcdfrst": "one file for each frame",
        "save_lh5": "deprecated by MDTraj",
        "save_lammpstrj": "needs a periodic box",
        "save_dtr": "needs a periodic box",
        "save_gsd": "needs a periodic box",
    }
)


def find_format(name: str) -> TrajectoryFormat:
    """Return the format called `name` (case and a leading dot do not matter).

    Raises
    ------
    ParameterError
        If there is no such format, or the package that writes it is not installed.
    """
    key = name.lower().removeprefix(".")
    found = FORMATS.get(ALIASES.get(key, key))
    if found is None:
        raise ParameterError(f"no trajectory format is called {name!r}: choose one of {', '.join(FORMATS)}")
    if found.package is not None and importlib.util.find_spec(found.package) is None:
        raise ParameterError(
            f"{found.name} files are written with the package {found.package}, which is not installed: "
            f"run `pip install {found.package}` or choose another format, for instance nc or dcd"
        )
    return found


def check_cell(written_as: TrajectoryFormat, box: NDArray[np.float64] | None) -> None:
    """Check that a format can hold the unit cell `box` (3, 3), or that there is none.

    Raises
    ------
    ParameterError
        If it cannot.
    """
    if box is None or written_as.cells == "any":
        return
    slanted = bool(np.any(box != np.diag(np.diag(box))))
    if written_as.cells == "none" or slanted:
        kind = "a unit cell" if written_as.cells == "none" else "a unit cell that is not rectangular"
        known = ", ".join(name for name, item in FORMATS.items() if item.cells == "any")
        raise ParameterError(
            f"{written_as.name} files cannot hold {kind}, which this system has: choose one of {known}"
        )
