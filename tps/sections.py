"""TOML files as frozen sections: unknown keys get the nearest known one, all mistakes one sentence."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from tps.errors import MOST_QUOTED, TpsError, quoted, reason_of
from tps.files import read_text

#: Integers of files lie below; seeds and counts beyond are a slip, and no library takes them.
_INTEGER_LIMIT = 2**63
#: Types that words are for.
_WORDS = {str, Path}
#: What pydantic calls a table.
_TABLE = re.compile(r"valid dictionary(?: or instance of \w+)?")
#: So many characters tell of the mistakes of one file; the others are counted.
_MOST_OF_MISTAKES = 400


class Section(BaseModel):
    """A table of a TOML file: immutable, every key must be known, and numbers are finite ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would turn into a number or a truth value."""
        check_plain(value, cls.model_fields[info.field_name or ""].annotation)
        return value


def check_plain(value: Any, annotation: Any) -> None:
    """Refuse true, false and words for numbers, integers beyond any machine's, and other things for truth values.

    Raises
    ------
    ValueError
        Naming what is there.
    """
    kinds = set(_kinds(annotation))
    if kinds & {Any, object} or any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
        return  # what is in there checks itself
    words, truths, numbers = kinds & _WORDS, bool in kinds, kinds & {int, float}
    for part in _leaves(value):
        if isinstance(part, bool) and not truths:
            raise ValueError(f"should not be {str(part).lower()}")
        if isinstance(part, int) and abs(part) >= _INTEGER_LIMIT:
            raise ValueError(f"should be smaller than 2^63, but got {quoted(part)}")
        if isinstance(part, str) and numbers and not words and (Literal not in kinds or _is_number(part)):
            raise ValueError(f"should be a valid number, but got {quoted(part)}")
        if truths and not isinstance(part, bool) and not (numbers or words or Literal in kinds):
            raise ValueError(f"should be true or false, but got {quoted(part)}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what lies in lists and tables, however deep."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple | dict):
            waiting += part.values() if isinstance(part, dict) else part
        elif part is not None:
            yield part


SectionT = TypeVar("SectionT", bound=BaseModel)


def read_toml(path: Path, model: type[SectionT], error: type[TpsError]) -> SectionT:
    """Read a TOML file into a model.

    Raises
    ------
    TpsError
        Of the given class, in one sentence: the file is missing, is not TOML, or does not fit the model.
    """
    try:
        data = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except RecursionError:
        raise error(
            f"{path} cannot be read as TOML: its lists or tables lie too deep in each other"
        ) from None
    except (OSError, ValueError) as reason:  # not UTF-8, not TOML, an integer of thousands of digits
        raise error(f"{path} cannot be read as TOML: {reason_of(reason)}") from None
    return validate(data, model, str(path), error)


def validate(data: dict[str, Any], model: type[SectionT], source: str, error: type[TpsError]) -> SectionT:
    """Return `data` as an instance of `model`; all its mistakes come in one error of the given class."""
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        mistakes = [_explain(mistake, model) for mistake in _one_a_key(failure.errors())]
        told = list(dict.fromkeys(mistakes))
        raise error(f"{source}: {'; '.join(_as_many_as_one_reads(told))}") from None


def _as_many_as_one_reads(mistakes: list[str]) -> list[str]:
    """Return the first mistakes, and the number of the others."""
    lengths = accumulate(map(len, mistakes))
    n = max(1, sum(length <= _MOST_OF_MISTAKES for length in lengths))
    more = [f"and {len(mistakes) - n} more mistakes"] if len(mistakes) > n else []
    return [*mistakes[:n], *more]


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
    keys = [_name(part) for part in mistake["loc"]]
    where = ".".join(keys)
    if mistake["type"] == "extra_forbidden":
        owner = _model_at(model, keys[:-1])
        return f"{where}: unknown key{nearest(keys[-1], owner.model_fields) if owner else ''}"
    if mistake["type"] == "missing":
        return f"{where}: required key is missing"
    message = mistake["msg"].removeprefix("Value error, ").replace(" after validation", "")
    if mistake["type"] != "value_error":  # pydantic's own words; TOML has lists where Python has tuples
        message = _TABLE.sub("table", message.removeprefix("Input "))
        message = message.replace("valid tuple", "list").replace("Tuple", "list")
        message = f"{message}, but got {quoted(mistake['input'])}"
    return f"{where}: {message}" if where else message


def _name(part: str | int) -> str:
    """Return a key as messages write it."""
    return part if isinstance(part, str) and len(part) <= MOST_QUOTED and part.isprintable() else quoted(part)


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of; Literal for the words of one."""
    if get_origin(annotation) is Literal:
        yield Literal
        return
    if isinstance(annotation, Hashable):
        yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


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
