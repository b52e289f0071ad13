"""Cases one after another: originals made once, each case in a folder of its own."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from fuzz.judge import Case, Judge, Outcome, complaint_about
from fuzz.originals import MOLECULE, make_frames, make_run, make_systems
from fuzz.targets import Target, frame_targets, option_case, run_file_targets, run_targets, system_targets

#: How often a case is of each kind: run files, systems, frames, run folders, options.
_KINDS = {"run-file": 2, "system": 4, "frames": 2, "folder": 3, "options": 1}


class Campaign:
    """Spoilt inputs of every kind in a folder; `whole` with a run of a molecule too."""

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self.originals, self.scratch = folder / "originals", folder / "case"
        self.originals.mkdir()
        make_systems(self.originals)
        make_frames(self.originals)
        make_run(self.originals / "run", until="report" if whole else "analyse")
        shutil.copy(self.originals / "run" / "run.toml", self.originals / "full.toml")
        folders = run_targets(self.originals, "run")
        if whole:
            make_run(self.originals / "peptide", MOLECULE.replace("../molecule", "molecule"))
            folders += run_targets(self.originals, "peptide", ("molecule",))
        self.targets: dict[str, list[Target]] = {
            "run-file": run_file_targets("run"),
            "system": system_targets(),
            "frames": frame_targets(),
            "folder": folders,
        }
        self.judge = Judge()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self.judge.__exit__()

    def case(self, index: int, seed: int) -> Case:
        """Return the case of an index: the same one for the same seed."""
        rng = random.Random(f"{seed}/{index}")
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        if kind == "options":
            return option_case(self.scratch, self.originals, rng)
        return rng.choice(self.targets[kind]).case(self.originals, self.scratch, rng)

    def sound_cases(self) -> Iterator[Case]:
        """Yield one case of every command on originals that nobody has spoilt."""
        seen: set[str] = set()
        for target in (target for targets in self.targets.values() for target in targets):
            for command in set(target.commands) - seen:
                seen.add(command)
                shutil.rmtree(self.scratch, ignore_errors=True)
                self.scratch.mkdir()
                yield target.sound_case(command, self.originals, self.scratch)

    def outcomes(self, n: int, seed: int, word: str = "") -> Iterator[tuple[Case, Outcome, str]]:
        """Run n cases, those alone whose label has `word`; yield each with what came of it and what is wrong there."""
        for index in range(n):
            case = self.case(index, seed)
            if word in case.label:
                outcome = self.judge.run(case)
                yield case, outcome, complaint_about(case, outcome)
