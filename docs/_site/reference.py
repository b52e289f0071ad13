"""Pages that are made from the code: run file, system file, command line, metrics, API."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tps.analysis import Metrics, last_frame_metrics, solute_metrics, verdict
from tps.cli import GROUPS, main
from tps.config import RunConfig
from tps.features.definition import KINDS
from tps.report import grouped
from tps.systems import MolecularSystem, load_system
from tps.systems.definition import SystemFile
from tps.systems.surface_file import SurfaceFile

#: Packages of the library in the order of the flow of data.
PACKAGES = (
    "features",
    "systems",
    "engine",
    "dynamics",
    "conformations",
    "diffusion",
    "spacetime",
    "paths",
    "analysis",
    "export",
    "report",
    "config",
    "pipeline",
    "prepare",
    "errors",
)
#: Bounds of pydantic's constraints, as people write them.
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "at least", "max_length": "at most"}


def run_file() -> str:
    """Return a table for each section of a run file."""
    return "\n".join(_tables(RunConfig, ""))


def system_file() -> str:
    """Return a table for each section of a system file, of molecules and of surfaces, and for each kind of variable."""
    lines = ["### Molecules", *_tables(SystemFile, "", "####"), "### Collective variables"]
    for name, section in KINDS.items():
        lines += ["", f"#### `{name}`", "", _sentence(section), "", *_table(section)]
    return "\n".join([*lines, "", "### Surfaces", *_tables(SurfaceFile, "", "####")])


def command_line() -> str:
    """Return every command in its group, with its help and its options."""
    lines = [inspect.cleandoc(main.help or "")]
    for title, commands in GROUPS.items():
        lines += ["", f"## {title}"]
        for command in commands:
            usage = " ".join(["tps", str(command.name), *command.collect_usage_pieces(_context(command))])
            lines += [
                "",
                f"### `tps {command.name}`",
                "",
                f"    {usage}",
                "",
                inspect.cleandoc(command.help or ""),
            ]
            lines += ["", "| option | |", "|---|---|", *_options(command)]
    return "\n".join(lines)


def verdict_rules() -> str:
    """Return what each rule of the verdict asks, and the thresholds with their reasons."""
    asked = [(rule.__doc__ or "").removeprefix("Say w") for rule in verdict.RULES]
    lines = [f"{n}. W{text.removesuffix('.')}?" for n, text in enumerate(asked, 1)]
    source = inspect.getsource(verdict)
    lines += ["", "| threshold | value | |", "|---|---|---|"]
    for comment, names in re.findall(r"((?:^#: .*\n)+)((?:[A-Z_]+, )*[A-Z_]+) =", source, re.MULTILINE):
        values = ", ".join(f"{getattr(verdict, name):.3g}" for name in names.split(", "))
        reason = " ".join(line[3:] for line in comment.splitlines())
        lines.append(f"| `{names}` | {values} | {cell(reason)} |")
    return "\n".join(lines)


def metrics(runs: Iterable[Path]) -> str:
    """Return what the numbers of run folders are, in groups: each once, with its unit and definition."""
    found: dict[str, Mapping[str, Any]] = {}
    roads: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        content = json.loads((run / "analysis" / "metrics.json").read_text())
        found = content["metrics"] | found
        for difference, metrics in content.get("free_energy", {}).get("roads", {}).items():
            roads = {f"{difference}: {name}": m for name, m in metrics.items()} | roads
    found = {name: m.as_dict() for name, m in _of_larger_molecules().items()} | found
    groups = {name.capitalize(): numbers for name, numbers in grouped(found).items()}
    return "\n".join(_numbers({**groups, "Roads to each difference of free energy": roads}))


def _numbers(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    for name, numbers in groups.items():
        yield from ("", f"## {name}", "", "| number | unit | definition |", "|---|---|---|")
        yield from (f"| `{n}` | {m['unit']} | {cell(m['definition'])} |" for n, m in numbers.items())


def public_names(package: str) -> tuple[str, ...]:
    """Return the public names of a part of the library: those it exports, or those defined in it."""
    module = importlib.import_module(f"tps.{package}")
    if hasattr(module, "__all__"):
        return tuple(module.__all__)
    own = (
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    )
    return tuple(sorted(name for name in own if not name.startswith("_")))


def has_docstring(package: str, name: str) -> bool:
    """Return whether a name is a class or a function, and no constant."""
    value = getattr(importlib.import_module(f"tps.{package}"), name)
    return inspect.isclass(value) or inspect.isfunction(value)


def api(package: str) -> str:
    """Return the page of a part of the library, every public name on it."""
    module = importlib.import_module(f"tps.{package}")
    lines = [f"# tps.{package}", "", inspect.cleandoc(module.__doc__ or ""), ""]
    for name in public_names(package):
        if has_docstring(package, name):
            lines += [f"::: tps.{package}.{name}", ""]
        else:
            lines += [f"## `tps.{package}.{name}`", "", _constant(name, getattr(module, name)), ""]
    return "\n".join(lines)


def _constant(name: str, value: Any) -> str:
    """Return what the comment above a constant says, and its value."""
    shown = sorted(value) if isinstance(value, Mapping) else value
    if isinstance(shown, tuple) and all(hasattr(item, "name") for item in shown):
        shown = [item.name for item in shown]
    above = [text for module, text in _comments().get(name, ()) if getattr(module, name, None) is value]
    return "\n\n".join([*above[:1], f"    {' '.join(str(shown).split())}"])


@functools.cache
def _comments() -> dict[str, list[tuple[types.ModuleType, str]]]:
    """Return the comments above constants, which begin with #:, by name, each with its module."""
    found: dict[str, list[tuple[types.ModuleType, str]]] = {}
    for module in [module for name, module in sys.modules.items() if name.startswith("tps.")]:
        source = Path(str(module.__file__)).read_text()
        for comment, names in re.findall(r"((?:^#: .*\n)+)(\w[\w, ]*)[:=]", source, re.MULTILINE):
            text = " ".join(line[3:] for line in comment.splitlines())
            for name in re.findall(r"\w+", names):
                found.setdefault(name, []).append((module, text))
    return found


def api_list() -> str:
    """Return links to the pages of all parts, with what each says of itself."""
    lines = []
    for package in PACKAGES:
        text = (importlib.import_module(f"tps.{package}").__doc__ or "").split("\n\n")[0]
        lines.append(f"- [`tps.{package}`](api/{package}.md): {' '.join(text.split())}")
    return "\n".join(lines)


def _of_larger_molecules() -> Metrics:
    """Return the numbers that molecules with contacts or solvent have besides, of one frame of chignolin."""
    system = load_system("chignolin")
    assert isinstance(system, MolecularSystem)
    frame = system.positions_b[None]
    return {**last_frame_metrics(system, [frame]), **solute_metrics(system, [], {})}


def _tables(model: type[BaseModel], prefix: str, level: str = "##") -> Iterator[str]:
    """Yield a table for every section below a model, and for the sections in it."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            continue
        table = f"[[{prefix}{name}]]" if get_origin(field.annotation) is tuple else f"[{prefix}{name}]"
        yield from ("", f"{level} `{table}`", "", _sentence(section), "")
        yield from _table(section)
        yield from _tables(section, f"{prefix}{name}.", level)


def _table(section: type[BaseModel]) -> list[str]:
    fields = {
        name: field for name, field in section.model_fields.items() if section_of(field.annotation) is None
    }
    if not fields:
        return []
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {cell(field.description or '')} |"
        for name, field in fields.items()
    ]
    return ["| key | what it takes | default | |", "|---|---|---|---|", *rows]


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field is a table of; None for a field that is a value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _sentence(section: type[BaseModel]) -> str:
    """Return what a section's docstring says, without the name of its table."""
    text = " ".join((inspect.getdoc(section) or "").split())
    while text.startswith("["):
        text = text.partition("]")[2].lstrip("],. ")
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def _type(field: FieldInfo) -> str:
    limits = [f"{_BOUNDS[k]} {v}" for m in field.metadata for k, v in _limits(m)]
    return cell(", ".join([_spoken(field.annotation), *limits]))


def _limits(constraint: Any) -> Iterator[tuple[str, Any]]:
    for key in _BOUNDS:
        if getattr(constraint, key, None) is not None:
            yield key, getattr(constraint, key)


def _spoken(kind: Any) -> str:
    """Return a type as people say it."""
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything"}
    if kind in plain:
        return plain[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(word)}`" for word in arguments)
    if origin is typing.Annotated:
        limits = [f"{_BOUNDS[k]} {v}" for field in arguments[1:] for k, v in _field_limits(field)]
        return ", ".join([_spoken(arguments[0]), *limits])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spoken(a) for a in arguments if a is not type(None))
    if origin is tuple:
        return f"list of {_spoken(arguments[0])}"
    if origin is dict:
        return f"table of {_spoken(arguments[1])}"
    return getattr(kind, "__name__", str(kind))


def _field_limits(field: Any) -> Iterator[tuple[str, Any]]:
    for constraint in getattr(field, "metadata", [field]):
        yield from _limits(constraint)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined:
        return "from others"
    if field.default is None:
        return "–"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(value)}`"


def _context(command: click.Command) -> click.Context:
    """Return a context as the program makes it: a command keeps the help option of the first one it sees."""
    return click.Context(command, **command.context_settings)


def _options(command: click.Command) -> Iterator[str]:
    context = _context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield f"| `{cell(record[0])}` | {cell(record[1])} |"


def cell(text: str) -> str:
    """Return text that may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
