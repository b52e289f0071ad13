"""The player of a report: frames of paths in step with a map and traces."""

from tps.report.player.maps import PROGRESS, MapAxes, energy_map, line
from tps.report.player.scene import PlayerScene, Trace
from tps.report.player.section import NO_PLAYER, PlayerParts, has_libraries, player_parts
from tps.report.player.tracks import Share, Track, TrackSet, shares, thinned

__all__ = [
    "NO_PLAYER",
    "PROGRESS",
    "MapAxes",
    "PlayerParts",
    "PlayerScene",
    "Share",
    "Trace",
    "Track",
    "TrackSet",
    "energy_map",
    "has_libraries",
    "line",
    "player_parts",
    "shares",
    "thinned",
]
