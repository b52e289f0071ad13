"""GROMACS topologies as one file, which moves without the folders that it includes."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tps.errors import SystemDefinitionError, quoted, reason_of
from tps.files import is_there, read_text

_INCLUDE = re.compile(r'\s*#\s*include\s+["<]?(?P<name>[^">;]*[^">;\s])[">]?')
_MOLECULES = re.compile(r"\[\s*molecules\s*\](?P<rows>[^\[]*)", re.IGNORECASE)
_DEFINE = re.compile(r"^\s*#\s*define[ \t]+(?P<name>[^\s;]+)[ \t]*(?P<value>[^;\n]*)", re.MULTILINE)
_CONTINUED = re.compile(r"\\[ \t]*\n")
_DEEPEST = 32
#: What a file holds with all it includes [characters], how often it includes one, and its molecules: no simulation has
#: more. Files that include two others each have thousands of millions of leaves.
_MOST_TEXT, _MOST_REPEATS, _MOST_MOLECULES = 10**8, 50, 10**7
#: Longest text that a macro stands for [characters]: those of force fields are the parameters of one term.
_MOST_MACRO = 10**5


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
    if include is None and "GMXDATA" in os.environ:
        include = Path(os.environ["GMXDATA"]) / "top"
    folders = [path.parent] if include is None else [path.parent, include]
    lines, size = [], 0
    for line in _lines(path, folders, Counter(), 0):
        lines.append(line)
        size += len(line)
        if size > _MOST_TEXT:
            raise SystemDefinitionError(f"{path} and what it includes never end: correct its #include lines")
    return "".join(lines)


def check_top(path: Path, include: Path | None = None) -> None:
    """Check what OpenMM's reader would not come back from: includes and macros without end, molecules without number.

    Raises
    ------
    SystemDefinitionError
        If there are such.
    """
    text = flatten_top(path, include)
    _check_macros(path, text)
    for section in _MOLECULES.finditer(text):
        for row in str(section["rows"]).splitlines():
            words = row.partition(";")[0].split()
            name, count = words if len(words) == 2 else ("", "")
            if count.isdecimal() and (len(count) > len(str(_MOST_MOLECULES)) or int(count) > _MOST_MOLECULES):
                raise SystemDefinitionError(
                    f"{path} has {quoted(count)} molecules of {quoted(name)}: correct [ molecules ]"
                )


def _check_macros(path: Path, text: str) -> None:
    """Check that no macro stands for a text without end, by the macros that it is made of."""
    values = defaultdict[str, set[str]](set)
    for match in _DEFINE.finditer(text):
        values[match["name"]].add(match["value"])
    lengths: dict[str, float] = {}

    def length(name: str, depth: int) -> float:
        if name not in lengths:
            lengths[name] = len(name)  # in a circle one stands for itself
            words = [re.findall(r"\w+|\W", value) for value in values[name]]
            lengths[name] = max(sum(word_length(word, depth) for word in each) for each in words)
        return lengths[name]

    def word_length(word: str, depth: int) -> float:
        if word not in values:
            return len(word)
        return length(word, depth + 1) if depth < _DEEPEST else np.inf

    for name in values:
        odd = re.fullmatch(r"\w+", name) is None and values[name] != {""}
        if odd or length(name, 0) > _MOST_MACRO:
            what = (
                "should be named by letters and digits"
                if odd
                else f"stands for over {_MOST_MACRO} characters"
            )
            raise SystemDefinitionError(f"{path}: the macro {quoted(name)} {what}: correct its #define lines")


def _lines(path: Path, folders: Sequence[Path], counts: Counter[Path], depth: int) -> Iterator[str]:
    counts[path.resolve()] += 1
    if depth > _DEEPEST or counts[path.resolve()] > _MOST_REPEATS:
        how = "itself in a circle" if depth > _DEEPEST else f"the same files more than {_MOST_REPEATS} times"
        raise SystemDefinitionError(f"{path} includes {how}: correct its #include lines")
    try:
        text = _CONTINUED.sub(" ", read_text(path))
    except (OSError, UnicodeDecodeError) as reason:
        raise SystemDefinitionError(f"{path} cannot be read: {reason_of(reason)}") from None
    for line in text.splitlines():
        match = _INCLUDE.match(line)
        places = [] if match is None else [folder / match["name"] for folder in (path.parent, *folders)]
        found = next((place for place in places if is_there(place)), None)
        if found is None:
            yield line + "\n"
        else:
            yield from _lines(found, folders, counts, depth + 1)
