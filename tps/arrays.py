"""Arrays on disk: npz files that carry the version of their layout, so that older ones are refused and not misread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tps.errors import ParameterError, RunFolderError, reason_of
from tps.files import check_fold, check_regular
from tps.stored import Stored, remedy

#: Of every npz file that tps writes and reads back; raised when what is stored, or what it is called, changes.
FORMAT_VERSION = 3
_KEY = "format_version"
#: What tps writes: truth values, numbers, words, and records of them.
_KINDS = "biufUV"
#: Kinds of a layout: the numbers that numpy calls so, and what they are called in messages.
_LAID_OUT = {
    "f": ("f", "finite numbers"),
    "F": ("f", "numbers"),
    "i": ("iu", "whole numbers"),
    "n": ("iu", "counts"),
    "b": ("b", "truth values"),
    "U": ("U", "words"),
}
Content = TypeVar("Content")


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays to an npz file, with the version of the layout."""
    np.savez(path, allow_pickle=False, **{_KEY: np.array(FORMAT_VERSION), **arrays})


def load_arrays(path: Path, *names: str, layout: Mapping[str, str] | None = None) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote, all of it or some arrays; one that is missed names the file.

    Parameters
    ----------
    path : Path
    *names : str
        Of the arrays to read; all by default.
    layout : mapping of str to str, optional
        Arrays that alone are returned, each with its kind and its axes, such as "f n d". Kinds: f finite numbers,
        F numbers, i whole numbers, n those from 0 on, b truth values, U words. An axis of one letter has one length
        in all of them, a number says the length itself. One whose kind follows a question mark may be missing.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged, or has the layout of another version of tps.
    """
    found = Stored(path, _stored(lambda file: read_npz(file, *names, *([_KEY] if names else [])), path))
    version = found.pop(_KEY, np.array(1))
    if version.shape or version.dtype.kind not in "iu":
        raise RunFolderError(f"{path} is damaged, its {_KEY} is no number: {remedy(path)}")
    if version != FORMAT_VERSION:
        raise RunFolderError(
            f"{path} has the layout of {'an older' if version < FORMAT_VERSION else 'a newer'} tps (version {version}, "
            f"this one reads {FORMAT_VERSION}): make it anew with this one, in a new folder or with --force"
        )
    strange = [name for name, array in found.items() if array.dtype.kind not in _KINDS]
    if strange:
        raise RunFolderError(
            f"{path} is damaged, {strange[0]} holds {found[strange[0]].dtype} numbers: {remedy(path)}"
        )
    native = {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in found.items()}
    return _laid_out(path, Stored(path, native), layout) if layout else Stored(path, native)


def _laid_out(path: Path, found: Stored[NDArray[Any]], layout: Mapping[str, str]) -> Stored[NDArray[Any]]:
    """Return the arrays that a layout names, after a look at them."""
    chosen = {name: found[name] for name, said in layout.items() if name in found or said[0] != "?"}
    if wrong := misfit(chosen, layout):
        raise RunFolderError(f"{path} is damaged, its {wrong}: {remedy(path)}")
    return Stored(path, chosen)


def misfit(arrays: Mapping[str, NDArray[Any]], layout: Mapping[str, str]) -> str:
    """Return which of some arrays is not as a layout says, and why; "" where all are. See `load_arrays`."""
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        kind, *axes = layout[name].removeprefix("?").split()
        numpy_kinds, spoken = _LAID_OUT[kind]
        if array.dtype.kind not in numpy_kinds:
            return f"{name} holds {array.dtype}, not {spoken}"
        if kind == "f" and not np.isfinite(array).all():
            return f"{name} holds a number that is not finite"
        if kind == "n" and array.size and array.min() < 0:
            return f"{name} holds {array.min()}, which is no count"
        if not _fits(array.shape, axes, lengths):
            return f"{name} is of shape {array.shape}"
    return ""


def _fits(shape: tuple[int, ...], axes: list[str], lengths: dict[str, int]) -> bool:
    """Return whether a shape has these axes, and learn the length of those that have a letter."""
    return len(shape) == len(axes) and all(
        length == (int(axis) if axis.isdecimal() else lengths.setdefault(axis, length))
        for axis, length in zip(axes, shape, strict=True)
    )


def load_array(path: Path) -> NDArray[Any]:
    """Read a single array that lies in a run folder as a npy file.

    Raises
    ------
    RunFolderError
        If the file is missing or damaged.
    """
    return _stored(read_npy, path)


def _stored(read: Callable[[Path], Content], path: Path) -> Content:
    """Read a file of a run folder."""
    try:
        return read(path)
    except FileNotFoundError:
        raise RunFolderError(f"{path} does not exist: {remedy(path)}") from None
    except ParameterError as reason:
        raise RunFolderError(f"{path} {reason}: {remedy(path)}") from None


def read_npz(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file, or those of some names that are there, no pickles among them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ParameterError
        If it is damaged or no npz file, in a sentence without its name.
    """
    found = _load(path, "npz", names)
    if isinstance(found, np.ndarray):
        raise ParameterError("cannot be read as an npz file (it holds a single array)")
    return found


def read_npy(path: Path) -> NDArray[Any]:
    """Read the array of a npy file, no pickle.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ParameterError
        If it is damaged or no npy file, in a sentence without its name.
    """
    found = _load(path, "npy", ())
    if not isinstance(found, np.ndarray):
        raise ParameterError("cannot be read as an npy file (it holds several arrays)")
    return found


def _load(path: Path, kind: str, names: tuple[str, ...]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    try:
        check_regular(path)
        data = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            return data
        with data:
            check_fold(path, sum(member.file_size for member in data.zip.infolist()))
            return {name: np.asarray(data[name]) for name in data.files if name in names or not names}
    except FileNotFoundError:
        raise
    except Exception as reason:  # zip, zlib and numpy raise whatever damaged headers lead them to
        raise ParameterError(f"cannot be read as an {kind} file ({reason_of(reason)})") from None
