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
from tps.cli.stages import (
    analyse,
    conformations,
    free_energy,
    geodesic,
    paths,
    rate,
    report,
    shoot,
    train,
)
from tps.cli.view import view
from tps.errors import TpsError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: The commands by what they are for, each in the order in which it is needed.
GROUPS = {
    "Begin": (init, check, systems, doctor),
    "Make": (run, conformations, train, geodesic, paths, shoot, committor, free_energy, rate),
    "Look": (analyse, report, view, contents, compare),
    "Exchange": (export, import_ops),
}


class TpsGroup(click.Group):
    """Lists its commands by what they are for; turns what a user can mend into one sentence and exit code 1."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in their groups, all short descriptions in one column."""
        names = [command.name or "" for commands in GROUPS.values() for command in commands]
        width = max(map(len, names))
        limit = formatter.width - width - 6
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        ((command.name or "").ljust(width), command.get_short_help_str(limit))
                        for command in commands
                    ]
                )

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


for commands in GROUPS.values():
    for command in commands:
        command.context_settings = CONTEXT | dict(
            command.context_settings
        )  # also where it is called by itself
        main.add_command(command)
