"""The command line: parse, call, write, say one line."""

from __future__ import annotations

import click

import tps
from tps.cli.check import check
from tps.cli.committor import committor
from tps.cli.compare import compare
from tps.cli.export import export
from tps.cli.import_ops import import_ops
from tps.cli.info import contents, doctor, systems
from tps.cli.init import init
from tps.cli.run import run
from tps.cli.stages import stage_commands
from tps.errors import TpsError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class TpsGroup(click.Group):
    """Turns what a user can mend into one sentence and exit code 1."""

    def invoke(self, context: click.Context) -> object:
        """Run the command; no traceback for a `TpsError`."""
        try:
            return super().invoke(context)
        except TpsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=TpsGroup, context_settings=CONTEXT)
@click.version_option(tps.__version__, prog_name="tps")
def main() -> None:
    """Transition paths of molecules: from two structures and a force field to paths you can check.

    `tps run CONFIG -o RUN` does everything; each stage is a verb of its own on the same run folder.
    """


for command in (
    init,
    check,
    run,
    *stage_commands(),
    committor,
    compare,
    export,
    import_ops,
    systems,
    contents,
    doctor,
):
    main.add_command(command)
