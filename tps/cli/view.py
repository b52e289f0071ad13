"""Opening a run's page in a browser, or saying where it is."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import click

from tps.cli.place import Place
from tps.errors import RunFolderError
from tps.pipeline import RunFolder

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


@click.command()
@click.argument("run", type=Place(file_okay=False))
def view(run: Path) -> None:
    """Open the page of RUN in a browser, or say where it is."""
    click.echo(open_page(RunFolder.open(run).path))


def open_page(run: Path) -> str:
    """Open the page of a run folder, and return a line that says so or where it is.

    Raises
    ------
    RunFolderError
        If there is none.
    """
    page = (run / "report.html").resolve()
    if not page.is_file():
        raise RunFolderError(f"{run} has no page yet: make it with `tps report {run}`")
    if has_display(os.environ, sys.platform) and webbrowser.open(page.as_uri()):
        return f"opened {page}"
    return f"no display to open it on: the page is {page}, one file to copy and open anywhere"


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser with windows can be opened here: on Linux and the like, where a display is named."""
    return platform in ("darwin", "win32") or any(environment.get(name) for name in _DISPLAYS)
