"""The command line: parse, call, write, say one line."""

from __future__ import annotations

import errno
import io
import shlex
import sys

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
from tps.cli.signals import ending_on_signals
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
from tps.cli.time_limit import stopping_when_asked
from tps.cli.view import view
from tps.errors import TpsError, shortened
from tps.pipeline import STAGES, StoppedEarly

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: The commands by what they are for, each in the order in which it is needed.
GROUPS = {
    "Begin": (init, check, systems, doctor),
    "Make": (run, conformations, train, geodesic, paths, shoot, committor, free_energy, rate),
    "Look": (analyse, report, view, contents, compare),
    "Exchange": (export, import_ops),
}


_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within your quota",
    errno.EROFS: "write to another disk",
    errno.EACCES: "get the permission, or write somewhere else",
    errno.EPERM: "get the permission, or write somewhere else",
    errno.ENOTDIR: "a file stands where a folder should be, give another place",
    errno.EEXIST: "a file stands where a folder should be, give another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
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
        """Run the command; no traceback for a `TpsError`, a signal or a wish to stop."""

        def say(ended: BaseException) -> None:
            click.echo(f"stopped {_why(ended)}{_to_go_on(context)}", err=True)

        try:
            with ending_on_signals(say), stopping_when_asked():
                return super().invoke(context)
        except StoppedEarly as ended:
            say(ended)
            return None
        except TpsError as error:
            raise click.ClickException(shortened(str(error))) from error
        except click.UsageError as error:
            raise click.UsageError(shortened(error.format_message()), ctx=error.ctx) from error
        except MemoryError as error:
            raise click.ClickException(
                "the memory of this machine does not suffice for what is asked: ask for fewer frames, points or paths"
            ) from error
        except BrokenPipeError:
            raise  # who read the output has gone: click ends quietly
        except OSError as error:
            raise click.ClickException(f"{_trouble(error)}{_to_go_on(context)}") from error


def _trouble(error: OSError) -> str:
    """Return what a disk refuses, where, and what to do about it."""
    what = (error.strerror or str(error)).lower()
    where = f" ({shortened(str(error.filename))})" if error.filename is not None else ""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{what}{where}" + (f": {remedy}" if remedy else "")


def _why(ended: BaseException) -> str:
    return "as asked" if isinstance(ended, StoppedEarly) else f"by {ended}"


def _to_go_on(context: click.Context) -> str:
    """Return what is kept, and the command that goes on: without --force, where that would remove blocks."""
    name = context.invoked_subcommand
    if name not in {command.name for command in GROUPS["Make"]}:
        return ""
    blocks = name in {stage.name for stage in STAGES if stage.grows}
    words = [word for word in sys.argv[1:] if not (blocks and word == "--force")]
    return f"; what was finished is kept, go on with: {shortened(shlex.join(['tps', *words]))}"


@click.group(cls=TpsGroup, context_settings=CONTEXT)
@click.version_option(tps.__version__, prog_name="tps")
def main() -> None:
    """Transition paths of molecules: from two structures and a force field to paths you can check.

    `tps run CONFIG -o RUN` does everything; each stage is a verb of its own on the same run folder.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # the name of a file may hold what no text can
        sys.stdout.reconfigure(errors="backslashreplace")


for commands in GROUPS.values():
    for command in commands:
        command.context_settings = CONTEXT | dict(
            command.context_settings
        )  # also where it is called by itself
        main.add_command(command)
