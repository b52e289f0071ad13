"""`tps init`: a folder ready to run from two structures and a force field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from tps.cli.console import ConsoleProgress
from tps.cli.output import JSON, estimate_rows, print_json
from tps.cli.place import Place
from tps.prepare import Initialised, Request, describe, initialise, warnings_of
from tps.prepare.request import Solvent

FILE = Place(dir_okay=False)


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("-o", "--output", required=True, type=Place(file_okay=False), help="New folder.")
@click.option(
    "--forcefield",
    "force_field",
    multiple=True,
    help="OpenMM force-field XML, by name or file; may be repeated. By default amber14-all.xml, TIP3P-FB water.",
)
@click.option(
    "--solvent",
    type=click.Choice(get_args(Solvent)),
    default="none",
    show_default=True,
    help="Implicit solvent, or the same water and ions for both ends.",
)
@click.option(
    "--padding", default=1.0, show_default=True, help="Of the solute from the border of the water [nm]."
)
@click.option(
    "--ionic-strength", default=0.0, show_default=True, help="NaCl beside what neutralises [mol/L]."
)
@click.option("--add-hydrogens", is_flag=True, help="The same ones to both ends.")
@click.option("--ph", default=7.0, show_default=True, help="For which hydrogens are added.")
@click.option("--fix-gaps", is_flag=True, help="Add missing heavy atoms and residues (needs PDBFixer).")
@click.option(
    "--top", "topology", type=FILE, help="Amber prmtop, GROMACS top or CHARMM psf, instead of a force field."
)
@click.option(
    "--parameters", type=FILE, multiple=True, help="CHARMM parameter file of a psf; may be repeated."
)
@click.option(
    "--gromacs-include",
    type=Place(exists=True, file_okay=False),
    help="Folder of the *.ff folders.",
)
@click.option("--system-xml", type=FILE, help="Serialised openmm.System, instead of a force field.")
@click.option("--solute", help="MDTraj selection of what is looked at; all but water and ions by default.")
@click.option(
    "--features",
    multiple=True,
    help="Names, comma-separated, or groups: backbone, sidechains, torsions, contacts, distances.",
)
@click.option("--temperature", default=300.0, show_default=True, help="Of the bath [K].")
@click.option(
    "--short-run", default=50.0, show_default=True, help="Longest of the short runs in each end [ps]."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@click.option("--hours", default=2.0, show_default=True, help="About how long a run may take here.")
@JSON
def init(output: Path, features: tuple[str, ...], as_json: bool, **options: object) -> None:
    """Write system.toml and run.toml from two structures.

    For the transition from structure A to structure B.

    A and B are PDB or mmCIF files, or with --top also Amber, GROMACS or CHARMM coordinates. Short runs in both ends
    show what tells them apart, from which features and states are proposed.
    """
    names = tuple(name.strip() for text in features for name in text.split(",") if name.strip())
    progress = ConsoleProgress()
    found = initialise(Request(features=names, **options), output, progress)  # type: ignore[arg-type]
    if as_json:
        print_json(_row(found))
        return
    for line in describe(found):
        click.echo(line)
    for warning in warnings_of(found):
        click.echo(f"warning: {warning}")


def _row(found: Initialised) -> dict[str, Any]:
    """Return what was found out on the way to the folder, for a program."""
    return {
        "folder": found.folder,
        "description": found.description,
        "features": [telling.candidate.name for telling in found.features],
        "states": {"A": found.states.a, "B": found.states.b},
        "walls": found.walls,
        "rmsd_nm": found.rmsd,
        "platform": found.platform.name,
        "steps_per_second": found.steps_per_second,
        "estimate": estimate_rows(found.stages),
        "notes": (*found.notes, *found.ends.notes),
        "warnings": warnings_of(found),
    }
