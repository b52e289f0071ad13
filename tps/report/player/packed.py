"""Arrays as the page holds them: little-endian numbers in base64, coordinates in whole steps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tps.errors import ParameterError

#: Farthest a coordinate may be from the stored one [nm].
MAX_ERROR = 1e-3
_LARGEST = 32767


@dataclass(frozen=True, eq=False)
class PackedPositions:
    """Positions in whole steps.

    Attributes
    ----------
    data : str
        16-bit numbers (n_frames, n_atoms, 3) in base64.
    step : float
        What one of them is worth [nm].
    error : float
        Farthest that any coordinate is from the one given [nm].
    """

    data: str
    step: float
    error: float


def packed_positions(positions: NDArray[np.floating]) -> PackedPositions:
    """Return positions (n_frames, n_atoms, 3) [nm] in steps as small as 16 bits allow, at most 2 `MAX_ERROR`.

    Raises
    ------
    ParameterError
        If an atom is so far from the origin that steps would be larger.
    """
    xyz = np.asarray(positions, dtype=np.float64)
    step = max(float(np.abs(xyz).max(initial=0.0)), 1e-6) / _LARGEST
    if step > 2 * MAX_ERROR:
        raise ParameterError(
            f"a player shows atoms within {2 * MAX_ERROR * _LARGEST:.0f} nm of the origin, but one is "
            f"{step * _LARGEST:.0f} nm away: centre the frames"
        )
    whole = np.rint(xyz / step).astype("<i2")
    error = float(np.abs(whole * step - xyz).max(initial=0.0))
    return PackedPositions(_base64(whole), step, error)


def packed(values: ArrayLike) -> str:
    """Return numbers as single-precision floats in base64; NaN stays NaN."""
    return _base64(np.asarray(values, dtype="<f4"))


def packed_bytes(values: NDArray[np.uint8]) -> str:
    """Return bytes in base64."""
    return _base64(np.asarray(values, dtype=np.uint8))


def packed_table(columns: Mapping[str, ArrayLike]) -> dict[str, object]:
    """Return columns of equal length as the page holds a table: {"n", "columns"}.

    Raises
    ------
    ParameterError
        If their lengths differ.
    """
    lengths = {len(np.asarray(column)) for column in columns.values()}
    if len(lengths) != 1:
        raise ParameterError(f"the columns of a table are equally long, but got lengths {sorted(lengths)}")
    return {"n": lengths.pop(), "columns": {name: packed(column) for name, column in columns.items()}}


def _base64(values: NDArray[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
