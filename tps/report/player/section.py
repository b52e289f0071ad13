"""The player in the page: its markup, its scripts and its styles, all of it inline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tps.report.player.scene import PlayerScene

_REPORT = Path(__file__).parent.parent
WEB, LIBRARIES = _REPORT / "web", _REPORT / "libraries"
#: Our scripts, in the order they need one another.
_SCRIPTS = ("data", "state", "theme", "map", "pick", "molecule", "traces", "files", "controls", "start")
_LIBRARIES = (("3Dmol-min.js", "3Dmol-LICENSE.txt"), ("uPlot.iife.min.js", "uPlot-LICENSE.txt"))
_LIBRARY_STYLE = "uPlot.min.css"

#: Said where the libraries are not there.
NO_PLAYER = (
    "the page has no player, since the libraries it needs are not installed: install Node.js with npm, then tps "
    "again, and write the page anew with `tps report RUN --force`"
)

_MARKUP = """<section class="player{flat}" aria-label="Player">
<h2>Paths to watch</h2>
<div class="choices"></div>
<div class="panels">{molecule}
<div class="panel"><div class="square"><canvas class="map" role="img"
 aria-label="Map: the shown path and frame over two features. A click shows the nearest frame."></canvas></div></div>
</div>
<div class="transport"></div>
<div class="readout" aria-live="off"></div>
<div class="places"></div>
<div class="traces"></div>
<p class="hint"></p>
<p class="keys">Keys: <kbd>space</kbd> play or pause, <kbd>←</kbd> <kbd>→</kbd> frame, <kbd>Home</kbd> <kbd>End</kbd>
first and last, <kbd>[</kbd> <kbd>]</kbd> path, <kbd>{{</kbd> <kbd>}}</kbd> set, <kbd>-</kbd> <kbd>+</kbd> speed.
A click on the map, on a plot, on a transition state or on a channel shows the frame there.</p>
<script type="application/json" id="tps-scene">{scene}</script>
</section>"""
_MOLECULE = """
<div class="panel"><div class="square"><div class="molecule" role="img"
 aria-label="The molecule in the shown frame. Drag to turn it, scroll to zoom."></div></div></div>"""


@dataclass(frozen=True)
class PlayerParts:
    """What the page takes in: markup for its body, scripts and styles as texts."""

    markup: str
    scripts: tuple[str, ...]
    styles: tuple[str, ...]


def player_parts(scene: PlayerScene, libraries: Path = LIBRARIES) -> PlayerParts | None:
    """Return the player of a scene as parts of a page; None where the libraries are not installed."""
    if not has_libraries(libraries):
        return None
    molecule = "" if scene.topology is None else _MOLECULE
    markup = _MARKUP.format(flat="" if molecule else " flat", molecule=molecule, scene=scene.as_json())
    chosen = _LIBRARIES if molecule else _LIBRARIES[1:]
    scripts = tuple(_with_licence(libraries / script, libraries / licence) for script, licence in chosen)
    styles = (_read(libraries / _LIBRARY_STYLE), _read(WEB / "player.css"))
    return PlayerParts(markup, (*scripts, _own_script()), styles)


def has_libraries(libraries: Path = LIBRARIES) -> bool:
    """Return whether the files that `hatch_build.py` fetches are there."""
    names = [name for pair in _LIBRARIES for name in pair]
    return all((libraries / name).is_file() for name in (*names, _LIBRARY_STYLE))


def _own_script() -> str:
    """Return our scripts as one, in a scope of their own."""
    body = "\n".join(_read(WEB / f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'


def _with_licence(script: Path, licence: Path) -> str:
    return f"/*! {_read(licence).replace('*/', '* /')} */\n{_read(script)}"


def _read(file: Path) -> str:
    """Return a file's text, safe between the tags of a script or style."""
    return file.read_text(encoding="utf-8").replace("</script", "<\\/script").replace("</style", "<\\/style")
