"""system.toml and run.toml as text, commented, and the end structures beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from openmm import app, unit

from tps.prepare.choose import Telling, spoken
from tps.prepare.ends import Ends
from tps.prepare.states import ProposedStates, Range
from tps.systems.regions import range_key

#: What PDB files can number.
_MOST_PDB_ATOMS = 99_999
#: Keys of run.toml that are worth a word.
COMMENTS = {
    "seed": "everything random follows from it",
    "n_walkers": "half of them start from B",
    "n_build_steps": "MD steps of each walker that build the bias",
    "n_sample_steps": "and that sample under it, frozen",
    "max_steps": "of all simulations together",
    "min_support": "effective frames at every point of the curve",
    "anchor_log_snr": "how tightly the end structures are anchored: ln kappa of every feature",
    "n_paths": "",
    "n_steps": "MD steps of each path",
    "n_baseline_paths": "for each of the two straight lines beside it",
    "n_moves": "of all chains together",
    "n_frame_shots": "shots from the weighted frames, which give each channel's share",
    "n_shots": "from each transition state",
    "n_frames": "of each window",
    "n_backward_paths": "for the difference from work, both ways",
}
TITLES = {
    "run": "What the whole run shares.",
    "conformations": "Weighted frames: metadynamics of the features, or frames that grow along the curve they give.",
    "grow": "Windows along the curve, round by round.",
    "geodesic": "The curve from A to B.",
    "paths": "Annealed dynamics along the curve.",
    "shooting": "Transition-path sampling from the reactive paths.",
    "committor": "Transition states.",
    "free_energy": "Umbrella windows along the curve.",
}


def write_structures(ends: Ends, folder: Path) -> tuple[str, str]:
    """Write both end structures with their box as PDB, or mmCIF where there are too many atoms; return their names."""
    large = ends.n_atoms > _MOST_PDB_ATOMS
    writer = app.PDBxFile if large else app.PDBFile
    names = ("a.cif", "b.cif") if large else ("a.pdb", "b.pdb")
    for name, positions in zip(names, ends.positions, strict=True):
        with (folder / name).open("w", encoding="utf-8") as stream:
            writer.writeFile(ends.topology, positions * unit.nanometer, stream, keepIds=True)
    return names


def system_toml(
    ends: Ends,
    name: str,
    description: str,
    structures: Sequence[str],
    temperature: float,
    features: Sequence[Telling],
    states: ProposedStates,
    walls: Mapping[Telling, Range],
) -> str:
    """Return the text of system.toml.

    Parameters
    ----------
    ends : Ends
    name, description : str
    structures : two str
        File names.
    temperature : float
        [K].
    features : sequence of Telling
    states : ProposedStates
    walls : mapping of Telling to (low, high)
        Distances between molecules, features or not, and the ranges [nm] that walls keep them in.
    """
    others = [telling for telling in walls if telling not in features]
    tables = _tables([*features, *others], walls)
    lines = [
        "# Written by `tps init`. Everything can be edited; `tps check` on this folder says whether it still fits.",
        "[system]",
        _line("name", name),
        _line("description", description),
        _line("structure_a", structures[0]),
        _line("structure_b", structures[1]),
        _line("temperature_kelvin", temperature),
        _line("features", [t.candidate.name for t in features], "what tells A from B"),
    ]
    if ends.solute_selection is not None:
        lines.append(_line("solute", ends.solute_selection, "what is looked at"))
    lines += ["", "[force_field]", *(_line(key, value) for key, value in ends.force_field.items())]
    for table, (comment, content) in tables.items():
        lines += ["", *comment, f"[collective_variables.{table}]"]
        lines += [_line(key, value) for key, value in content.items()]
    by_name = {telling.candidate.name: telling.candidate.variable for telling in features}
    for label, ranges, said in zip("AB", (states.a, states.b), states.spoken(), strict=True):
        lines += ["", f"# Holds {said}."]
        lines += [f"[states.{label}]", _line("name", label)]
        lines += [_range(by_name[key], bounds) for key, bounds in ranges.items()]
    if walls:
        lines += ["", "# Walls, part of the energy, that keep the molecules within reach of each other."]
        lines += ["[confinement]", *(_range(t.candidate.variable, bounds) for t, bounds in walls.items())]
    return "\n".join(lines) + "\n"


def run_toml(sections: Mapping[str, Mapping[str, Any]], headline: str) -> str:
    """Return the text of run.toml: what differs from molecule to molecule, each section with its purpose."""
    lines = [
        f"# {headline}",
        "# `tps run` with this file and -o RUN does everything; the README names the other keys.",
    ]
    for section, content in sections.items():
        lines += ["", f"# {TITLES[section]}", f"[{section}]"]
        lines += [_line(key, value, COMMENTS.get(key, "")) for key, value in content.items()]
    return "\n".join(lines) + "\n"


def _line(key: str, value: object, comment: str = "") -> str:
    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, float):
        plain = float(f"{plain:.10g}")
    text = f"{key} = {plain:_}" if type(plain) is int else f"{key} = {tomlkit.item(plain).as_string()}"
    return f"{text}  # {comment}" if comment else text


def _range(variable: Any, bounds: Range) -> str:
    whole = [int(x) if np.isfinite(x) and x == int(x) else float(x) for x in bounds]
    low, high = bounds
    comment = "upwards from the first, through 180, to the second" if low > high else ""
    return _line(range_key(variable), whole, comment)


def _tables(
    tellings: Sequence[Telling], walls: Mapping[Telling, Range]
) -> dict[str, tuple[list[str], dict[str, object]]]:
    """Return the tables of collective variables, each with its comments.

    Torsions of a peptide share a table for each group, which defines a few more where residues differ in what they
    have; others have one each.
    """
    groups: dict[str, list[Telling]] = defaultdict(list)
    for telling in tellings:
        groups[telling.candidate.group if telling.candidate.named else telling.candidate.name].append(telling)
    tables: dict[str, tuple[list[str], dict[str, object]]] = {}
    for table, members in groups.items():
        named = [telling.candidate.named for telling in members if telling.candidate.named]
        content: dict[str, object] = {**members[0].candidate.table, **_more(members[0], walls)}
        if named:
            content["torsions"] = list(dict.fromkeys(kind for kind, _ in named))
        if named and all(residue.lstrip("-").isdigit() for _, residue in named):
            content["residues"] = list(dict.fromkeys(int(residue) for _, residue in named))
        tables[table] = ([f"# {_reason(telling)}" for telling in members], content)
    return tables


def _more(telling: Telling, walls: Mapping[Telling, Range]) -> dict[str, object]:
    """Return bounds and scale of a feature on a line."""
    variable = telling.candidate.variable
    if telling.candidate.group == "contacts":
        return {"scale": contact_scale(telling)}
    if variable.unit != "nm":
        return {}
    low = float(min(telling.ends.min(), (telling.mean - 3 * telling.spread).min()))
    high = walls[telling][1] if telling in walls else float((telling.mean + 5 * telling.spread).max())
    return {
        "bounds_nm": [round(max(0.0, np.floor(20 * low) / 20), 2), round(np.ceil(20 * high) / 20 + 0.1, 2)]
    }


def contact_scale(telling: Telling) -> float:
    """Return what counts as one in the geometry: a third of what tells A from B, as a radian is of a torsion's turn."""
    return float(f"{max(abs(telling.change) / 3, 0.1):.2g}")


def _reason(telling: Telling) -> str:
    a, b = (f"{spoken(telling, telling.mean[k])} ± {spoken(telling, telling.spread[k], 2)}" for k in (0, 1))
    return (
        f"{telling.candidate.name}, {telling.candidate.spoken}: {a} in short runs from A, {b} from B, "
        f"{telling.separation:.1f} times its spread"
    )
