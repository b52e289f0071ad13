"""Which file is spoilt, how, and which commands read it: cases by a seed."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from fuzz.files import (
    spoilt_json,
    spoilt_npy,
    spoilt_npz,
    spoilt_safetensors,
    spoilt_toml,
    spoilt_xml,
)
from fuzz.formats import spoilt_head, spoilt_pdb, spoilt_top
from fuzz.judge import Case
from fuzz.originals import TRAJECTORIES, WEIGHTS
from fuzz.sizes import spoilt_gro, spoilt_gzip, spoilt_hdf5, spoilt_prmtop, spoilt_psf
from fuzz.values import LONG, Spoilt, spoilt_bytes, spoilt_text
from tps.cli import main

Spoil = Callable[[bytes, random.Random], Spoilt]
BY_SUFFIX: dict[str, Spoil] = {
    ".toml": spoilt_toml,
    ".json": spoilt_json,
    ".npz": spoilt_npz,
    ".npy": spoilt_npy,
    ".xml": spoilt_xml,
    ".safetensors": spoilt_safetensors,
    ".pdb": spoilt_pdb,
    ".top": spoilt_top,
    ".gz": spoilt_gzip,
    ".prmtop": spoilt_prmtop,
    ".psf": spoilt_psf,
    ".gro": spoilt_gro,
    ".h5": spoilt_hdf5,
    **dict.fromkeys((".cif", ".crd", ".prm", ".txt", ".rst7", ""), spoilt_text),
    **dict.fromkeys((".dcd", ".xtc", ".trr", ".nc", ".ncrst"), spoilt_head),
}
#: What of a manifest no program reads.
_READ = "status|failure|seconds|force_evaluations|platform|notes|details|key|growth_key"
_FOR_PEOPLE = rf"(?!stages\.[-\w]+(\.({_READ}))?:)stages\.."
#: Share of the cases in which the file is gone, or a folder, or a link to itself.
_NO_FILE = 0.05


@dataclass(frozen=True)
class Target:
    """A file in a folder of originals, the commands that must notice what is wrong with it, and the word that says so.

    Where it is `lenient` they need not, so long as nothing breaks, nor at places that fit the pattern `loose`.
    """

    folder: str
    file: str
    commands: tuple[str, ...]
    beside: tuple[str, ...] = ()
    noticed: str = "Error: "
    lenient: bool = False
    loose: str = "$."

    def sound_case(self, command: str, originals: Path, scratch: Path) -> Case:
        """Copy the originals to `scratch`, and return one of the commands on them."""
        for name in (self.folder, *self.beside):
            linked(originals / name, scratch / name)
        return Case(f"tps {command}", tuple(command.split()), scratch, bad=False)

    def case(self, originals: Path, scratch: Path, rng: random.Random) -> Case:
        """Copy the originals to `scratch`, spoil the file, and return the case."""
        command = rng.choice(self.commands)
        self.sound_case(command, originals, scratch)
        place = scratch / self.folder / self.file
        raw = place.read_bytes()
        place.unlink()
        bad, how = _without(place, rng) if rng.random() < _NO_FILE else _spoil(place, raw, rng)
        label = f"{self.folder}/{self.file}: {how}: tps {command}"
        bad = bad and not self.lenient and not re.match(self.loose, how)
        given = place.read_bytes() if place.is_file() else b""
        return Case(label, tuple(command.split()), scratch, bad, self.noticed, given)


def linked(source: Path, to: Path) -> None:
    """Copy a folder or file by hard links."""
    if source.is_dir():
        shutil.copytree(source, to, copy_function=os.link, dirs_exist_ok=True)
    else:
        os.link(source, to)


def _spoil(place: Path, raw: bytes, rng: random.Random) -> tuple[bool, str]:
    spoil = BY_SUFFIX.get(place.suffix if place.suffix != place.name else "", spoilt_bytes)
    content, bad, how = spoil(raw, rng)
    place.write_bytes(content)
    return bad and content != raw, how


def _without(place: Path, rng: random.Random) -> tuple[bool, str]:
    """Put something else where a file was."""
    ways: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "no file"),
        (place.mkdir, "a folder"),
        (lambda: place.symlink_to(place.name), "a link to itself"),
        (lambda: place.symlink_to("nothing"), "a link to nothing"),
        (lambda: place.symlink_to("/dev/null"), "a link to a device"),
        (lambda: place.symlink_to(place.parent, target_is_directory=True), "a link to its folder"),
        (lambda: os.mkfifo(place), "a pipe"),
    ]
    do, how = rng.choice(ways)
    do()
    return True, how


def system_targets() -> list[Target]:
    """Return the files of systems, which `tps systems` loads."""
    show = ("systems molecule",)
    prepared = {
        "prmtop": "init prepared/alanine.rst7 prepared/b.pdb --top prepared/alanine.prmtop",
        "rst7": "init prepared/alanine.rst7 prepared/b.pdb --top prepared/alanine.prmtop",
        "ncrst": "init prepared/alanine.ncrst prepared/b.pdb --top prepared/alanine.prmtop",
        "top": "init prepared/alanine.gro prepared/b.pdb --top prepared/alanine.top",
        "gro": "init prepared/alanine.gro prepared/b.pdb --top prepared/alanine.top",
        "psf": "init prepared/alanine.pdb prepared/b.pdb --top prepared/alanine.psf "
        "--parameters prepared/alanine.prm",
        "prm": "init prepared/alanine.pdb prepared/b.pdb --top prepared/alanine.psf "
        "--parameters prepared/alanine.prm",
        "xml": "init prepared/alanine.pdb prepared/b.pdb --system-xml prepared/alanine.xml",
    }
    short = "-o new --short-run 0.01 --platform Reference"
    return [
        *(Target("molecule", name, show) for name in ("system.toml", "c5.pdb", "c7ax.pdb", "mine.xml")),
        *(Target("given", name, ("systems given",)) for name in ("system.toml", "system.xml", "system.xml")),
        Target("given", "custom.xml", ("systems given/custom",)),
        *(
            Target("rich", name, ("systems rich",))
            for name in ("system.toml", "system.toml", "a.cif", "b.cif", "ref.pdb")
        ),
        *(Target("surface", name, ("systems surface",)) for name in ("system.toml", "table.txt")),
        *(Target("surface", name, ("systems surface/npz",)) for name in ("table.npz", "npz/system.toml")),
        *(Target("prepared", f"alanine.{s}", (f"{c} {short}",)) for s, c in prepared.items()),
    ]


def frame_targets() -> list[Target]:
    """Return trajectories and weights, which are imported."""
    runs = {f"frames.{suffix}": f"import-{suffix}" for suffix in TRAJECTORIES}
    runs |= {file: f"import-{file}" for file in WEIGHTS}
    return [
        Target("frames", file, (f"conformations {run}",), ("molecule", run)) for file, run in runs.items()
    ]


def run_file_targets(run: str) -> list[Target]:
    """Return the run file, before a run and in its folder."""
    return [
        Target(f"{run}.toml", "", (f"run {run}.toml -o out --until conformations",)),
        Target("full.toml", "", ("run full.toml -o out --until conformations", "check full.toml")),
        Target(run, "run.toml", (f"contents {run}", f"compare {run}", f"analyse {run}")),
    ]


def run_targets(originals: Path, run: str, beside: Sequence[str] = ()) -> list[Target]:
    """Return every file of a run folder: `tps contents` must call it damaged, and what reads it must live with it."""
    found = []
    for file in sorted(each for each in (originals / run).rglob("*.*") if each.is_file()):
        name, around = str(file.relative_to(originals / run)), tuple(beside)
        if name == "run.toml":
            continue
        damaged = "Error: " if name in ("manifest.json", "topology.pdb") else "damaged"
        reading = [
            f"analyse {run} --force",
            f"compare {run}",
            f"shoot {run}",
            f"free-energy {run}",
            f"paths {run}",
        ]
        reading += [f"export {run} --source shooting"] if beside else []
        loose = _FOR_PEOPLE if name == "manifest.json" else "$."
        found.append(
            Target(run, name, (f"contents {run} --json",), around, damaged, name == "topology.pdb", loose)
        )
        found.append(Target(run, name, tuple(reading), around, lenient=True))
    return [*found, Target(run, "analysis/metrics.json", (f"compare {run}",), tuple(beside))]


def option_case(scratch: Path, originals: Path, rng: random.Random) -> Case:
    """Return a command with one option or argument that no command can use."""
    names = sorted(main.commands)
    command = main.commands[rng.choice(names)]
    parameters = [p for p in command.params if not getattr(p, "is_flag", False)]
    chosen = rng.choice(parameters)
    linked(originals / "run", scratch / "run")
    os.mkfifo(scratch / "pipe")
    (scratch / "loop").symlink_to("loop")
    (scratch / "empty").touch()
    arguments = [command.name or ""]
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter is not chosen and parameter.required:
            arguments.append("run")
    value, bad = _odd_argument(chosen, rng)
    arguments += [value] if isinstance(chosen, click.Argument) else [chosen.opts[0], value]
    if any("--output" in p.opts for p in command.params) and "--output" not in chosen.opts:
        arguments += ["--output", "new"]
    label = f"tps {' '.join(a[:40] for a in arguments)!r}"
    return Case(label, tuple(arguments), scratch, bad, given=value.encode(errors="replace"))


#: Words that may be one number or another, but that options need not refuse.
_UNSURE = ("1_0", "\u0661", "-7", "1" * 40, "0", "1e-300")


def _odd_argument(parameter: click.Parameter, rng: random.Random) -> tuple[str, bool]:
    """Return a word that a parameter cannot take, and whether it must be refused."""
    numbers = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
    values = ["9" * 5000, "-1e999", "nan", "inf", "-inf", LONG, "", "0x1", "$x", "a\nb", *_UNSURE]
    places = [
        "pipe",
        "loop",
        "empty",
        "/dev/null",
        ".",
        "/",
        "run/run.toml",
        "nothing",
        "../" * 40,
        "\udcff",
        "~",
        "*",
    ]
    value = rng.choice([*values, *places])
    return value, (numbers and value not in _UNSURE) or isinstance(parameter.type, click.Choice)
