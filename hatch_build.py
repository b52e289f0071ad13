"""Put the JavaScript libraries of the report's page where the package takes them from, when it is built.

They are pinned by tps/report/libraries/package-lock.json and never kept in the repository. Where npm is absent or
cannot fetch them the build goes on without: the page then says in place of its player how to get it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: What is taken from npm's packages, and what it is called here.
FILES = {
    "3dmol/build/3Dmol-min.js": "3Dmol-min.js",
    "3dmol/LICENSE": "3Dmol-LICENSE.txt",
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot-LICENSE.txt",
}
LOCK = "package-lock.json"
#: A copy of the lock file that the libraries here were installed from.
INSTALLED = "installed.json"


class LibrariesHook(BuildHookInterface):
    """Runs before a wheel, an editable install or a source archive is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch what is missing, or say why it stays so."""
        folder = Path(self.root, "tps", "report", "libraries")
        if problem := fetch(folder):
            self.app.display_warning(f"reports will have no player: {problem}")


def fetch(folder: Path) -> str:
    """Install the libraries that the lock file in `folder` pins, and copy their files there.

    Returns
    -------
    str
        Why they are not there; empty where they are.
    """
    wanted = (folder / LOCK).read_text()
    installed = folder / INSTALLED
    if installed.is_file() and installed.read_text() == wanted:
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    with tempfile.TemporaryDirectory() as place:
        for name in ("package.json", LOCK):
            shutil.copy(folder / name, place)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        if done.returncode != 0:
            return f"npm could not install the libraries: {done.stderr.strip()[-300:]}"
        for source, name in FILES.items():
            shutil.copy(Path(place, "node_modules", source), folder / name)
    installed.write_text(wanted)
    return ""
