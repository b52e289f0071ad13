"""Files and folders as options and arguments take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tps.errors import quoted

#: Longer paths, and folders deeper in each other, no system takes.
_MOST_CHARACTERS, _MOST_PARTS = 4096, 255


class Place(click.Path):
    """A path, which has a name and no more characters than a path can have."""

    def __init__(self, *, exists: bool = False, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that a word stands for."""
        text = str(value)
        if not text:
            self.fail("should be the name of a file or folder, but is empty", param, ctx)
        if len(text) > _MOST_CHARACTERS or len(Path(text).parts) > _MOST_PARTS:
            self.fail(f"{quoted(text)} is longer than a path can be", param, ctx)
        return super().convert(value, param, ctx)
