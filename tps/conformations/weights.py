"""Weights of imported frames: which column of a file, of what kind, and whether its numbers can be that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tps.arrays import read_npy, read_npz
from tps.errors import ParameterError, TrajectoryError, reason_of
from tps.files import check_unpacked, opened
from tps.systems import Ranged

WeightKind = Literal["weight", "log-weight", "bias-kj-per-mol"]

#: What a column holds by its name: PLUMED calls biases label.bias and, the growing constant taken off, label.rbias.
_KINDS: dict[WeightKind, re.Pattern[str]] = {
    "bias-kj-per-mol": re.compile(r"(.*\.)?r?bias"),
    "log-weight": re.compile(r"(log|ln)[_-]?(w|weights?)"),
    "weight": re.compile(r"w|weights?"),
}
_SPOKEN: dict[WeightKind, str] = {
    "bias-kj-per-mol": "biases in kJ/mol",
    "log-weight": "logarithms of weights",
    "weight": "weights",
}
#: Fewer effective frames than these, or half of the frames where they are few, are no distribution.
_MIN_EFFECTIVE = 10
#: A column is a variable when it differs from it by less than this part of the variable's variance.
_SAME_VARIABLE = 0.02
_ANGSTROM_PER_NM = 10.0


@dataclass(frozen=True, eq=False)
class WeightColumn:
    """One column of a weights file.

    Attributes
    ----------
    file : Path
    name : str
        Of the column in its file; its number there, from 0, where it has none; empty where it is the only one.
    kind : str
        What it holds.
    values : (n_frames,) array
    """

    file: Path
    name: str
    kind: WeightKind
    values: NDArray[np.float64]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"column {self.name} of {self.file}" if self.name else str(self.file)

    def check_finite(self) -> None:
        """Check that every value is a finite number, but for -inf as the logarithm of no weight.

        Raises
        ------
        TrajectoryError
            Naming the first that is not.
        """
        if np.isnan(self.values).any():
            frame = int(np.flatnonzero(np.isnan(self.values))[0])
            raise TrajectoryError(f"{self.label} has a value that is not a number for frame {frame}")
        allowed = -np.inf if self.kind == "log-weight" else None  # the logarithm of no weight
        endless = np.flatnonzero(np.isinf(self.values) & (self.values != allowed))
        if len(endless):
            raise TrajectoryError(
                f"{self.label} has the value {self.values[endless[0]]} for frame {endless[0]}, but "
                f"{_SPOKEN[self.kind]} are finite: mend it, or leave the frame out"
            )

    def log_weights(self, kt: float) -> NDArray[np.float64]:
        """Return the logarithms of the weights (n_frames,), -inf for none; kt [kJ/mol].

        Raises
        ------
        TrajectoryError
            If a value is not a number or not finite, but for -inf as the logarithm of no weight, or a weight negative.
        """
        self.check_finite()
        if self.kind == "log-weight":
            return self.values
        if self.kind == "bias-kj-per-mol":
            return self.values / kt
        if (self.values < 0).any() or not (self.values > 0).any():
            low, high = self.values.min(), self.values.max()
            turn = ", within one turn of an angle" if -np.pi <= low < 0 < high <= np.pi else ""
            raise TrajectoryError(
                f"weights must be zero or positive, with one above zero, but {self.label} holds values from {low:.4g} "
                f"to {high:.4g}{turn}: name the column of the weights in conformations.weights_column, or say what it "
                "holds in conformations.weights_kind"
            )
        with np.errstate(divide="ignore"):
            return np.log(self.values)


def read_weights(file: Path, column: str | None, kind: WeightKind | None) -> WeightColumn:
    """Read the column of a npy, npz or text file that holds the weights.

    Parameters
    ----------
    file : Path
        The first line of a text file may name its columns, as PLUMED's do; a npz file names its arrays.
    column : str, optional
        Name of a column or its number, from 0; by default the only one, or the only one with the name of a weight.
    kind : str, optional
        What it holds; by default what its name says.

    Raises
    ------
    TrajectoryError
        If the file is missing or no table, or column or kind cannot be told from it, or contradict it.
    """
    if not file.is_file():
        raise TrajectoryError(f"there is no weights file {file}: check conformations.weights_file")
    fields, table = _read_table(file)
    index = _column_index(file, fields, table.shape[1], column)
    name = fields[index] if fields else ("" if table.shape[1] == 1 else str(index))
    label = f"column {name} of {file}" if name else str(file)
    if fields and f"min_{name}" in _plumed_settings(file):
        raise TrajectoryError(
            f"{label} is a periodic variable by the file's own header, not a weight: name the column of the bias or "
            "the weights in conformations.weights_column"
        )
    said = _kind_of(name) if fields else None
    if kind is None and said is None:
        raise TrajectoryError(
            f"{label} does not say what it holds: set conformations.weights_kind to "
            '"bias-kj-per-mol" for a bias to be undone, "log-weight" or "weight"'
        )
    if kind is not None and said is not None and kind != said:
        raise TrajectoryError(
            f'{label} holds {_SPOKEN[said]} by its name, but conformations.weights_kind = "{kind}": set it to "{said}"'
        )
    found = kind or said
    assert found is not None, "refused above"
    return WeightColumn(file, name, found, table[:, index])


def check_weights(
    column: WeightColumn,
    kt: float,
    values: Mapping[str, NDArray[np.float64]],
    variables: Mapping[str, Ranged],
    used: NDArray[np.intp],
) -> None:
    """Check that a column can be weights of the frames that are used.

    Parameters
    ----------
    column : WeightColumn
    kt : float
        [kJ/mol].
    values : mapping of str to (n_used,) array
        Collective variables of the frames used [rad, nm].
    variables : mapping of str to Ranged
    used : (n_used,) array of int
        Lines of the column.

    Raises
    ------
    TrajectoryError
        If it is one of the variables, its values are all equal, or hardly a frame carries weight.
    """
    column.check_finite()
    numbers = column.values[used]
    for name, value in values.items():
        if _is_variable(numbers, value, variables[name]):
            raise TrajectoryError(
                f"{column.label} holds the values of {name}, frame by frame, not weights: name the column of the bias "
                "or the weights in conformations.weights_column"
            )
    log_weights = column.log_weights(kt)[used]
    n = len(log_weights)
    if n > 1 and np.ptp(numbers) == 0:
        raise TrajectoryError(
            f"{column.label} has the same value, {numbers[0]:.4g}, for all {n} frames and so weighs nothing: name the "
            "column of the weights, or leave conformations.weights_file out if the frames are unbiased"
        )
    effective = _effective_sample_size(log_weights)
    if not effective >= min(_MIN_EFFECTIVE, n / 2):  # no number where the sum of weights is none
        spread = np.ptp(log_weights[np.isfinite(log_weights)])
        raise TrajectoryError(
            f"{column.label}, taken as {_SPOKEN[column.kind]}, leaves {effective:.1f} effective frames of {n} (the "
            f"logarithms of the weights span {spread:.0f}): {_remedy(column, log_weights, kt)}"
        )


def _effective_sample_size(log_weights: NDArray[np.float64]) -> float:
    """Return Kish's number, (Σ w)² / Σ w²."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights)))


def _remedy(column: WeightColumn, log_weights: NDArray[np.float64], kt: float) -> str:
    """Return what would mend weights that hardly a frame carries."""
    enough = min(_MIN_EFFECTIVE, len(log_weights) / 2)
    if column.kind == "log-weight" and _effective_sample_size(log_weights / kt) >= enough:
        unit = "if they are energies in kJ/mol, which were not divided by kT"
        return f'{unit}, set conformations.weights_kind = "bias-kj-per-mol"'
    if np.isfinite(log_weights).all() and _effective_sample_size(-log_weights) >= enough:
        return "with the other sign they would not (a bias V weighs exp(+V/kT)): write them anew with it"
    return "check column, unit (kJ/mol) and sign (a bias V weighs exp(+V/kT)), or sample longer"


def _is_variable(numbers: NDArray[np.float64], values: NDArray[np.float64], variable: Ranged) -> bool:
    """Return whether the numbers are the variable's values, in rad or degrees, nm or angstrom."""
    if variable.periodic:
        spread = 1 - abs(np.mean(np.exp(1j * values)))  # half the variance of narrow ones
        misses = [1 - np.mean(np.cos(numbers * f - values)) for f in (1.0, variable.user_scale)]
    else:
        spread = np.var(values)
        factors = {1.0, variable.user_scale, 1 / _ANGSTROM_PER_NM}
        misses = [np.mean((numbers * f - values) ** 2) for f in factors]
    return bool(min(misses) < _SAME_VARIABLE * spread)


def _kind_of(name: str) -> WeightKind | None:
    return next((kind for kind, named in _KINDS.items() if named.fullmatch(name.lower())), None)


def _column_index(file: Path, fields: list[str], n_columns: int, column: str | None) -> int:
    if column is None:
        return _only_weight(file, fields, n_columns)
    if column in fields:
        return fields.index(column)
    if column.isdecimal() and int(column) < n_columns:
        return int(column)
    raise TrajectoryError(
        f"weights file {file} has no column {column!r}: name one of "
        f"{', '.join(fields) if fields else f'0 to {n_columns - 1}'} in conformations.weights_column"
    )


def _only_weight(file: Path, fields: list[str], n_columns: int) -> int:
    """Return the column that holds weights by its name; metad.rbias stands for metad.bias too."""
    if n_columns == 1:
        return 0
    named = [field for field in fields if _kind_of(field)]
    named = [field for field in named if f"{field.removesuffix('bias')}rbias" not in named]
    if len(named) == 1:
        return fields.index(named[0])
    choice = ", ".join(named or fields) or f"0 to {n_columns - 1}"
    reason = (
        "several columns that may weigh the frames" if named else f"{n_columns} columns, none named a weight"
    )
    several = " (biases that acted together: write their sum into a column of its own)" if named else ""
    raise TrajectoryError(
        f"weights file {file} has {reason}: name one of {choice} in conformations.weights_column{several}"
    )


def _read_table(file: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the columns, none where the file has none, and the table (n_frames, n_columns)."""
    fields: list[str] = []
    try:
        if file.suffix == ".npz":
            arrays = read_npz(file)
            fields = list(arrays)
            table = np.stack([_numbers(array) for array in arrays.values()], axis=-1)
        elif file.suffix == ".npy":
            table = _numbers(read_npy(file))
        else:
            check_unpacked(file)
            table = np.loadtxt(file, ndmin=2, dtype=np.float64)
            fields = _text_fields(file)
    except (OSError, ValueError) as error:
        raise TrajectoryError(
            f"weights file {file} is not a table of numbers ({reason_of(error)})"
        ) from error
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0:
        raise TrajectoryError(
            f"weights file {file} must hold columns of numbers, but is of shape {table.shape}"
        )
    return (fields if len(fields) == table.shape[1] else []), table


def _numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"it holds {array.dtype}")
    return array.astype(np.float64)


def _text_fields(file: Path) -> list[str]:
    """Return the names in the first line, `#! FIELDS a b` or `# a b`."""
    with opened(file) as lines:
        first = lines.readline().split()
    return first[2 if first[:2] == ["#!", "FIELDS"] else 1 :] if first and first[0] in ("#", "#!") else []


def _plumed_settings(file: Path) -> set[str]:
    """Return what PLUMED's header sets, such as min_phi of a periodic phi."""
    if file.suffix in (".npy", ".npz"):
        return set()
    with opened(file) as lines:
        return {words[2] for line in lines if (words := line.split())[:2] == ["#!", "SET"] and len(words) > 2}
