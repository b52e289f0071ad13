"""What `tps` raises for bad input: one sentence with the need, what was got, and the remedy."""

from __future__ import annotations

import re


class TpsError(Exception):
    """Base of every error a user can cause; the command line prints it as one sentence and exits with 1."""


class ParameterError(TpsError, ValueError):
    """A number or an array out of range or of the wrong shape."""


class ConfigError(TpsError, ValueError):
    """A run file or an option that cannot be used."""


class SystemDefinitionError(TpsError, ValueError):
    """A molecule, force field, state or region that does not describe what it should."""


class TrajectoryError(TpsError, ValueError):
    """A trajectory or weights file that does not belong to the molecule or is damaged."""


class ModelError(TpsError, ValueError):
    """A checkpoint that cannot be used, or a training set nothing can be learned from."""


class CurveError(TpsError, ValueError):
    """A spacetime curve or end point that cannot be used."""


class RunFolderError(TpsError, RuntimeError):
    """A run folder that lacks what a stage needs, or holds what must not be overwritten."""


class SideStageError(RunFolderError):
    """A run that went on to its report, but one of the stages beside the main ones has failed."""


class SimulationError(TpsError, RuntimeError):
    """Dynamics that left the numbers."""


#: A message quotes no more characters of what it was given.
MOST_QUOTED = 80
#: Longest reason that a library gives, as messages repeat it.
_MOST_SAID = 240
#: A word longer than any path one would read.
_MOST_WORD = 300
_QUOTES = re.compile(rf"""(?<![^\s(\[:=])(["'])((?:(?!\1).){{{MOST_QUOTED - 1},}}?)\1(?!\w)""")


def quoted(value: object) -> str:
    """Return a value as messages quote it: as Python writes it, cut after 80 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists without end
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 1]}…"


def reason_of(error: BaseException) -> str:
    """Return what a library says of its own failure in one line, without its full stop; what it quotes is cut."""
    text = shortened(_QUOTES.sub(_cut, str(error)), MOST_QUOTED).rstrip(".") or type(error).__name__
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 1]}…"


def _cut(quote: re.Match[str]) -> str:
    mark, text = quote.groups()
    return f"{mark}{text[: MOST_QUOTED - 3]}…{mark}"


def shortened(text: str, most: int = _MOST_WORD) -> str:
    """Return a message in one line of printable characters, its words cut where they are longer than any path."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(word if len(word) <= most else f"{word[: MOST_QUOTED - 1]}…" for word in plain.split())
