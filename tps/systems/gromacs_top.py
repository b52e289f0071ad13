"""GROMACS topologies as one file, which moves without the folders that it includes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tps.errors import SystemDefinitionError, quoted, reason_of
from tps.files import is_there, read_text

_INCLUDE = re.compile(r'\s*#\s*include\s+["<](?P<name>[^">]+)[">]')
_MOLECULES = re.compile(r"\[\s*molecules\s*\](?P<rows>[^\[]*)", re.IGNORECASE)
_DEEPEST = 32
#: What a file holds with all it includes [characters], and its molecules: no simulation has more.
_MOST_TEXT, _MOST_MOLECULES = 10**8, 10**7


def flatten_top(path: Path, include: Path | None = None) -> str:
    """Return a top file with the files it includes in their place.

    Includes are looked for beside the file that asks for them, then in the folder given, or else in that of the
    GROMACS installed ($GMXDATA/top). Those that are not there stay lines, as conditions and macros do: whether one is
    missed is decided where the file is read.

    Parameters
    ----------
    path : Path
    include : Path, optional
        Folder that holds the *.ff folders.

    Raises
    ------
    SystemDefinitionError
        If a file is no text, or files include each other in a circle.
    """
    installed = Path(os.environ["GMXDATA"]) / "top" if "GMXDATA" in os.environ else None
    lines, size = [], 0
    for line in _lines(path, include or installed, 0):
        lines.append(line)
        size += len(line)
        if size > _MOST_TEXT:
            raise SystemDefinitionError(f"{path} and what it includes never end: correct its #include lines")
    return "".join(lines)


def check_top(path: Path, include: Path | None = None) -> None:
    """Check what OpenMM's reader would not come back from: includes without end, and molecules without number.

    Raises
    ------
    SystemDefinitionError
        If there are such.
    """
    for section in _MOLECULES.finditer(flatten_top(path, include)):
        for row in str(section["rows"]).splitlines():
            words = row.partition(";")[0].split()
            name, count = words if len(words) == 2 else ("", "")
            if count.isdecimal() and (len(count) > len(str(_MOST_MOLECULES)) or int(count) > _MOST_MOLECULES):
                raise SystemDefinitionError(
                    f"{path} has {quoted(count)} molecules of {quoted(name)}: correct [ molecules ]"
                )


def _lines(path: Path, include: Path | None, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise SystemDefinitionError(f"{path} includes itself in a circle: correct its #include lines")
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as reason:
        raise SystemDefinitionError(f"{path} cannot be read: {reason_of(reason)}") from None
    for line in text.splitlines():
        match = _INCLUDE.match(line)
        places = [] if match is None else [path.parent / match["name"]]
        if match is not None and include is not None:
            places.append(include / match["name"])
        found = next((place for place in places if is_there(place)), None)
        if found is None:
            yield line + "\n"
        else:
            yield from _lines(found, include, depth + 1)
