"""Put into the pages what commands print on a run of the demo: make docs-numbers RUN=runs/demo.

An excerpt is a block whose title is the command that printed it, and the day its run was finished. README's picture is
that of the run as well.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The run folder that excerpts speak of.
SHOWN = "runs/demo"
EXCERPT = re.compile(rf'```text title="tps ([^"]*{SHOWN}\b[^"]*), ([^",]*)"\n(.*?)\n```', re.DOTALL)


def refresh(page: Path, run: Path, printed: Callable[[list[str]], str], day: str) -> None:
    """Replace the excerpts of a page by what `printed` returns for their words, with `run` in place of the demo's."""

    def renewed(found: re.Match[str]) -> str:
        words = [str(run) if word == SHOWN else word for word in shlex.split(found[1])]
        text = printed(words).rstrip().replace(str(run), SHOWN)
        return f'```text title="tps {found[1]}, {day}"\n{text}\n```'

    page.write_text(EXCERPT.sub(renewed, page.read_text()))


def printed_by_tps(words: list[str]) -> str:
    """Return what a command prints, without the line that says how long the stage took."""
    command = [sys.executable, "-c", "from tps.cli import main; main()", *words]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:  # it has said why
        sys.exit(
            f"tps {shlex.join(words)} failed: give a finished run of the demo, made by this version (make demo)"
        )
    return re.sub(rf"\A{words[0]}: (up to date|done).*\n", "", ended.stdout)


def main(run: Path) -> None:
    """Refresh all pages from a finished run of the demo."""
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    finished = datetime.fromisoformat(max(entry["finished"] for entry in stages.values()))
    for page in sorted((ROOT / "docs").glob("*.md")):
        refresh(page, run, printed_by_tps, f"{finished.day} {finished:%B %Y}")
    shutil.copy(run / "figures" / "free_energy_map.png", ROOT / "examples" / "alanine_dipeptide.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
