"""TOML files as frozen sections: unknown keys get the nearest known one, all mistakes one sentence."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tps.errors import TpsError


class Section(BaseModel):
    """A table of a TOML file: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SectionT = TypeVar("SectionT", bound=BaseModel)


def read_toml(path: Path, model: type[SectionT], error: type[TpsError]) -> SectionT:
    """Read a TOML file into a model.

    Raises
    ------
    TpsError
        Of the given class, in one sentence: the file is missing, is not TOML, or does not fit the model.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as reason:
        raise error(f"{path} cannot be read as TOML: {reason}") from None
    return validate(data, model, str(path), error)


def validate(data: dict[str, Any], model: type[SectionT], source: str, error: type[TpsError]) -> SectionT:
    """Return `data` as an instance of `model`; all its mistakes come in one error of the given class."""
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        mistakes = [_explain(mistake, model) for mistake in _one_a_key(failure.errors())]
        raise error(f"{source}: {'; '.join(dict.fromkeys(mistakes))}") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, or the list of the known ones."""
    words = sorted(known)
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(words) or 'none'}"


def _one_a_key(mistakes: Sequence[Any]) -> list[dict[str, Any]]:
    """Join what a key that takes a number or a word, which pydantic calls literal['word'], has been told by each."""
    found: dict[tuple[str | int, ...], dict[str, Any]] = {}
    either = {m["loc"][:-1] for m in mistakes if m["loc"] and str(m["loc"][-1]).startswith("literal[")}
    for mistake in mistakes:
        key = mistake["loc"][:-1] if mistake["loc"][:-1] in either else mistake["loc"]
        if key in found:
            word = mistake["msg"].removeprefix("Input should be ")
            found[key]["msg"] = f"{found[key]['msg'].split(', unable')[0]}, or {word}"
        else:
            found[key] = {**mistake, "loc": key}
    return list(found.values())


def _explain(mistake: Any, model: type[BaseModel]) -> str:
    keys = [str(part) for part in mistake["loc"]]
    where = ".".join(keys)
    if mistake["type"] == "extra_forbidden":
        owner = _model_at(model, keys[:-1])
        return f"{where}: unknown key{nearest(keys[-1], owner.model_fields) if owner else ''}"
    if mistake["type"] == "missing":
        return f"{where}: required key is missing"
    message = mistake["msg"].removeprefix("Value error, ").replace(" after validation", "")
    if mistake["type"] != "value_error":  # pydantic's own words; TOML has lists where Python has tuples
        message = message.removeprefix("Input ").replace("valid tuple", "list").replace("Tuple", "list")
        message = f"{message}, but got {mistake['input']!r}"
    return f"{where}: {message}" if where else message


def _model_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel] | None:
    """Return the model of the table that `keys` lead to, through mappings and unions."""
    here: list[Any] = [model]
    for key in keys:
        found: list[Any] = []
        for kind in here:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += [kind.model_fields[key].annotation] if key in kind.model_fields else []
            else:
                found += get_args(kind)
        here = found
    candidates = [*here, *(argument for kind in here for argument in get_args(kind))]
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
