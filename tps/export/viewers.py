"""Scripts that show exported paths in PyMOL, VMD and ChimeraX without edits.

All three load the files of an export folder, draw heavy atoms but those of water as sticks, give each path a
colour by its largest potential energy (dark: low, light: high), and draw the end states thick and see-through: A
blue, B orange. They find the files beside themselves; each script's first lines say what that needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tps.errors import ParameterError
from tps.export.record import ExportRecord, read_record

#: Formats that all three viewers read, with VMD's name for each.
VIEWER_FORMATS: Mapping[str, str] = MappingProxyType(
    {"dcd": "dcd", "xtc": "xtc", "trr": "trr", "nc": "netcdf", "pdb": "pdb"}
)

#: Colours of the paths, lowest energy first (viridis without its light end, for a white background).
PATH_COLORS = ("440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39")
#: Colours of the end states, in the order they are given.
STATE_COLORS = ("0072b2", "d55e00", "cc79a7", "009e73")


@dataclass(frozen=True, slots=True)
class _Shown:
    """One object of a viewer: a path or an end state."""

    name: str
    file: str
    color: str
    visible: bool = True


def write_viewer_scripts(folder: str | Path, *, n_visible: int = 8) -> tuple[Path, ...]:
    """Write view.pml (PyMOL), view.vmd.tcl (VMD) and view.cxc (ChimeraX) into an export folder.

    Every path is loaded; the first `n_visible` are shown and the others can be switched on in the viewer.

    Raises
    ------
    RunFolderError
        If `folder` holds no export.
    ParameterError
        If not all viewers read the format of the export, or its paths were not aligned.
    """
    folder = Path(folder).resolve()
    record = read_record(folder)
    if record.format not in VIEWER_FORMATS:
        raise ParameterError(
            f"PyMOL, VMD and ChimeraX all read {', '.join(VIEWER_FORMATS)}, but the paths were exported as "
            f"{record.format}: export them again in one of these formats"
        )
    if not record.aligned:
        raise ParameterError("a viewer draws the paths over one another: export them again with alignment")
    paths, states = _paths(record, n_visible), _states(record)
    writers: dict[str, Callable[[], str]] = {
        "view.pml": lambda: _pymol(record, paths, states),
        "view.vmd.tcl": lambda: _vmd(record, paths, states, folder),
        "view.cxc": lambda: _chimerax(record, paths, states),
    }
    for name, text in writers.items():
        (folder / name).write_text(text(), encoding="utf-8")
    return tuple(folder / name for name in writers)


def _paths(record: ExportRecord, n_visible: int) -> list[_Shown]:
    """Return the paths with their colours: by largest potential energy, or by index where that is unknown."""
    heights = [path.potential_energy_max for path in record.paths]
    keys = [path.index if None in heights else path.potential_energy_max or 0.0 for path in record.paths]
    low, span = min(keys), (max(keys) - min(keys)) or 1.0
    return [
        _Shown(
            name=f"path_{path.index:04d}",
            file=path.file,
            color=PATH_COLORS[round((key - low) / span * (len(PATH_COLORS) - 1))],
            visible=order < n_visible,
        )
        for order, (path, key) in enumerate(zip(record.paths, keys, strict=True))
    ]


def _states(record: ExportRecord) -> list[_Shown]:
    return [
        _Shown(name=f"state_{label}", file=file, color=STATE_COLORS[order % len(STATE_COLORS)])
        for order, (label, file) in enumerate(record.end_states.items())
    ]


def _comment(usage: str, record: ExportRecord) -> str:
    """Return the first lines of a script (# starts a comment in all three languages)."""
    return f"# {usage}\n# {record.note}\n"


def _pymol(record: ExportRecord, paths: list[_Shown], states: list[_Shown]) -> str:
    is_pdb = record.format == "pdb"
    rows = "".join(f"    {(p.name, p.file, '0x' + p.color, p.visible)!r},\n" for p in paths)
    ends = "".join(f"    {(p.name, p.file, '0x' + p.color)!r},\n" for p in states)
    load = (
        "cmd.load(os.path.join(folder, file), name)"
        if is_pdb
        else 'cmd.load(os.path.join(folder, "topology.pdb"), name)\n'
        "    cmd.load_traj(os.path.join(folder, file), name, state=1)"
    )
    return f"""{_comment("PyMOL: pymol view.pml, from any directory, or File > Open.", record)}\
python
import os
from pymol import cmd

folder = os.path.dirname(os.path.abspath(__script__))
paths = [  # name, file, colour of carbon atoms by largest potential energy, shown at first
{rows}]
states = [
{ends}]
for name, file, color, visible in paths:
    {load}
    cmd.hide("everything", name)
    cmd.show("sticks", name + " and not elem H and not solvent")
    cmd.set("stick_radius", 0.08, name)
    cmd.color(color, name + " and elem C")
    # Five frames of smoothing, for the eye: measure in the files, or delete these two lines first.
    if cmd.count_states(name) > 1:
        cmd.smooth(name, 1, min(5, cmd.count_states(name)))
    if not visible:
        cmd.disable(name)
for name, file, color in states:
    cmd.load(os.path.join(folder, file), name)
    cmd.hide("everything", name)
    cmd.show("sticks", name + " and not elem H and not solvent")
    cmd.set("stick_radius", 0.18, name)
    cmd.set("stick_transparency", 0.5, name)
    cmd.color(color, name)
cmd.bg_color("white")
cmd.set("movie_fps", 20)
cmd.frame(1)
cmd.orient(" or ".join(name for name, *_ in paths + states))
python end
"""


def _tcl(text: str) -> str:
    """Quote any text as one Tcl word."""
    return '"' + "".join("\\" + letter if letter in '\\"$[]{}' else letter for letter in text) + '"'


def _rgb(color: str) -> str:
    return " ".join(f"{int(color[i : i + 2], 16) / 255:.3f}" for i in (0, 2, 4))


def _vmd(record: ExportRecord, paths: list[_Shown], states: list[_Shown], folder: Path) -> str:
    kind = VIEWER_FORMATS[record.format]
    palette = {color: 17 + i for i, color in enumerate((*PATH_COLORS, *STATE_COLORS))}  # VMD has ids 0 to 32
    colors = "".join(f"    color change rgb {number} {_rgb(color)}\n" for color, number in palette.items())
    first, *_ = paths
    rows = "".join(
        f"    tps_path $folder {p.name} {p.file} {palette[p.color]} {int(p.visible)}\n" for p in paths
    )
    ends = "".join(f"    tps_state $folder {p.name} {p.file} {palette[p.color]}\n" for p in states)
    usage = (
        "VMD: vmd -e view.vmd.tcl in this directory, or source /where/it/is/view.vmd.tcl in the Tk console.\n"
        "# With -e VMD does not tell a script where it lies: the folder it was written to is tried last."
    )
    return f"""{_comment(usage, record)}\
proc tps_folder {{}} {{
    set written_to {_tcl(folder.as_posix())}
    foreach folder [list [file dirname [file normalize [info script]]] [pwd] $written_to] {{
        if {{[file exists [file join $folder {first.file}]]}} {{ return $folder }}
    }}
    error "the exported files are not beside this script: start VMD in their directory"
}}

proc tps_draw {{mol radius color material}} {{
    mol delrep 0 $mol
    mol representation Licorice $radius 12 12
    mol color ColorID $color
    mol selection {{noh and not water}}
    mol material $material
    mol addrep $mol
}}

proc tps_path {{folder name file color visible}} {{
    set mol [mol new [file join $folder topology.pdb] type pdb waitfor all]
    mol addfile [file join $folder $file] type {kind} waitfor all $mol
    animate delete beg 0 end 0 $mol
    mol rename $mol $name
    tps_draw $mol 0.08 $color Opaque
    mol smoothrep $mol 0 2
    if {{!$visible}} {{ mol off $mol }}
}}

proc tps_state {{folder name file color}} {{
    set mol [mol new [file join $folder $file] type pdb waitfor all]
    mol rename $mol $name
    tps_draw $mol 0.18 $color Transparent
}}

proc tps_view {{}} {{
    set folder [tps_folder]
{colors}\
    set before [molinfo num]
{rows}{ends}\
    mol top [lindex [molinfo list] $before]
    color Display Background white
    axes location Off
    display projection Orthographic
    display resetview
    animate style Loop
    animate goto 0
}}

tps_view
"""


def _chimerax(record: ExportRecord, paths: list[_Shown], states: list[_Shown]) -> str:
    blocks = []
    for path in paths:
        model = f"##name={path.name}"
        blocks.append(_chimerax_open(path, record.format) + _chimerax_sticks(path, 0.08))
        if not path.visible:
            blocks[-1] += f"hide {model} models\n"
    for state in states:
        blocks.append(f"open {state.file} name {state.name}\n" + _chimerax_sticks(state, 0.18))
        blocks[-1] += f"transparency ##name={state.name} 50 target ab\n"
    usage = (
        "ChimeraX (1.3 or newer): chimerax view.cxc, or File > Open; it runs in the folder of this file.\n"
        f"# Play every path at once with: coordset ##name=path_* 1,    (here {len(paths)} paths)"
    )
    first, *_ = paths
    return f"""{_comment(usage, record)}\
{"".join(blocks)}\
set bgColor white
view
coordset slider ##name={first.name}
"""


def _chimerax_open(path: _Shown, written_as: str) -> str:
    if written_as == "pdb":
        return f"open {path.file} coordsets true slider false name {path.name}\n"
    reader = "format amber " if written_as == "nc" else ""
    return (
        f"open topology.pdb name {path.name}\n"
        f"open {path.file} {reader}structureModel ##name={path.name} slider false\n"
    )


def _chimerax_sticks(shown: _Shown, radius: float) -> str:
    model = f"##name={shown.name}"
    return (
        f"hide {model} cartoons\nshow {model} atoms\nhide {model} & H atoms\n"
        f"hide {model} & solvent atoms\nstyle {model} stick\n"
        f"size {model} stickRadius {radius}\ncolor {model} & C #{shown.color}\n"
    )
