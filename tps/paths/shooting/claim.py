"""What all chains of a folder share, so that nobody goes on from chains of another ensemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tps.dynamics.transition import TransitionDynamics
from tps.errors import RunFolderError
from tps.files import whole
from tps.paths.shooting.moves import ShootingSettings
from tps.paths.shooting.store import stored_chains
from tps.said import SaidClaim
from tps.stored import read_json

_FILE = "shooting.json"
#: May grow from one call to the next: more candidates may join.
_OPEN = ("candidates", "refused")


def claim(
    folder: Path,
    dynamics: TransitionDynamics,
    settings: ShootingSettings,
    seed: int,
    candidates: Sequence[ArrayLike],
    refused: Mapping[int, str],
) -> None:
    """Write what the chains of a folder share, or check that it is still the same.

    Raises
    ------
    RunFolderError
        Naming what differs; or if there are chains, and nothing says of what.
    """
    digests = [hashlib.sha256(np.asarray(c).tobytes()).hexdigest() for c in candidates]
    said: dict[str, Any] = {
        "seed": seed,
        "settings": repr(settings).replace(", drawn=False", ""),  # as folders from before drawn paths have it
        "system": dynamics.fingerprint,
        "frame_time": dynamics.frame_time,
        "steps_per_frame": dynamics.steps_per_frame,
        "candidates": digests,
        "refused": {str(index): why for index, why in refused.items()},
    }
    before = read_claim(folder)
    if before is not None:
        differ = [key for key in said if key not in _OPEN and said[key] != before[key]]
        common = min(len(before["candidates"]), len(digests))
        if before["candidates"][:common] != digests[:common]:
            differ.append("candidates")
        if differ:
            raise RunFolderError(
                f"the chains in {folder} were started with other {', '.join(differ)}: shoot into another folder, or "
                "remove it"
            )
    elif stored_chains(folder):
        raise RunFolderError(
            f"{folder} holds chains, but no {_FILE} that says of what: shoot into another folder, or remove it"
        )
    with whole(folder / _FILE) as partial:
        partial.write_text(json.dumps(said, indent=1) + "\n")


def read_claim(folder: Path) -> dict[str, Any] | None:
    """Return what the chains of a folder share, or None if there are none.

    Raises
    ------
    RunFolderError
        If the file is damaged.
    """
    file = folder / _FILE
    if not file.is_file():
        return None
    return read_json(file, SaidClaim)
