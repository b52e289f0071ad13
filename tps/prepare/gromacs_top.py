"""GROMACS topologies as one file, which moves without the folders that it includes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tps.errors import SystemDefinitionError

_INCLUDE = re.compile(r'\s*#\s*include\s+["<](?P<name>[^">]+)[">]')
_DEEPEST = 32


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
    return "".join(_lines(path, include or installed, 0))


def _lines(path: Path, include: Path | None, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise SystemDefinitionError(f"{path} includes itself in a circle: correct its #include lines")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise SystemDefinitionError(f"{path} cannot be read: {reason}") from None
    for line in text.splitlines():
        match = _INCLUDE.match(line)
        places = [] if match is None else [path.parent / match["name"]]
        if match is not None and include is not None:
            places.append(include / match["name"])
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            yield line + "\n"
        else:
            yield from _lines(found, include, depth + 1)
