"""Regions to avoid and nothing else: curves tightened until paths stay out, and what is expected is what happens."""

from __future__ import annotations

import numpy as np
import pytest

from tps.config import ConformationsSection, GeodesicSection
from tps.paths import OverdampedSettings, overdamped_annealed_paths
from tps.pipeline import Silent
from tps.pipeline.avoidance import avoidance_notes, avoidance_text, expected_metrics
from tps.pipeline.geodesic import MAIN, SolvedGeodesic, solve_geodesic
from tps.pipeline.sample import sample_surface_frames
from tps.systems import load_system, parse_region

SYSTEM, BOX, N_STEPS, N_PATHS = load_system("double-well-2d"), "x=-0.25..0.25,y=-0.3..0.3", 4000, 400
ASKED = GeodesicSection(avoid=(BOX,), n_points=16, via=("x=0,y=0.7",))


def solved(section, kept=None) -> SolvedGeodesic:
    frames = sample_surface_frames(SYSTEM, ConformationsSection(n_grid_points=30), 0).frames
    return solve_geodesic(
        SYSTEM, section, frames, frames.values, None, 0, Silent(), grid=True, kept=kept, n_steps=N_STEPS
    )


def outside_and_in_b(found: SolvedGeodesic, *, walled: bool = False) -> float:
    """The share of paths that end in B and have no frame, one in two steps, in the box."""
    curve, region = found.curves[MAIN], parse_region(BOX, SYSTEM.collective_variables)
    settings = OverdampedSettings(N_STEPS, N_STEPS // 2, N_STEPS // 2)
    seeds = list(range(N_PATHS))
    s, eta, walls = curve.s.numpy(), curve.eta.numpy(), [region] if walled else []
    paths, _ = overdamped_annealed_paths(SYSTEM, s, eta, settings, seeds, walls=walls)
    values = [SYSTEM.values(x) for x in paths.values]
    in_b = SYSTEM.state_b.region
    return float(np.mean([in_b.contains(v)[-1] and not region.contains(v).any() for v in values]))


@pytest.fixture(scope="module")
def avoiding():
    return solved(ASKED)


def test_paths_stay_out_of_a_region_that_transitions_cross(avoiding):
    """Bounded at each point alone, 4 % of the paths stay out; four standard errors of 95 % are 4 %."""
    said = avoiding.result["avoidance"]
    assert avoiding.result["status"] == "converged"
    assert said["passage"]["arrived"] >= 0.95
    assert said["p_max"] < ASKED.avoid_p_max
    assert said["min_log_snr"] < ASKED.anchor_log_snr
    assert outside_and_in_b(avoiding) > 0.91
    assert outside_and_in_b(avoiding, walled=True) > 0.95
    assert any("along looser curves more paths would enter" in note for note in avoiding.warnings)


def test_a_floor_of_the_users_own_is_left_and_what_it_does_not_reach_is_said():
    """Cells 0.08 wide and a time step of its own, a relaxation under the tilt, leave the expectation 0.05 off."""
    found = solved(ASKED.model_copy(update={"min_log_snr": 0.0}))
    said = found.result["avoidance"]
    assert (said["p_max"], said["min_log_snr"]) == (ASKED.avoid_p_max, 0.0)
    seen = outside_and_in_b(found)
    assert seen < 0.2
    assert said["passage"]["arrived"] == pytest.approx(seen, abs=0.05 + 4 * np.sqrt(0.05 / N_PATHS))
    walled = said["passage"]["arrived_walled"]
    error = 0.05 + 4 * np.sqrt(walled * (1 - walled) / N_PATHS)
    assert walled == pytest.approx(outside_and_in_b(found, walled=True), abs=error)
    assert any("are expected to enter the regions" in note for note in found.warnings)


def test_another_choice_keeps_the_bounds_that_were_found(avoiding, tmp_path):
    avoiding.save(tmp_path / "geodesic")
    again = solved(ASKED.model_copy(update={"method": "e-geodesic"}), kept=tmp_path)
    for key in ("p_max", "min_log_snr"):
        assert again.result["avoidance"][key] == avoiding.result["avoidance"][key]
    assert again.result["geodesic_length"] == avoiding.result["geodesic_length"]


def test_what_is_said_of_paths_that_cannot_stay_out():
    passage = {"arrived": 0.6, "entered": 0.38, "arrived_walled": 0.97}
    said = {"p_max": 0.01, "min_log_snr": None, "note": "", "passage": passage}
    assert "60% of the paths are expected in B and outside, 38% enter" in avoidance_text(said)
    (note,) = avoidance_notes(ASKED, said)
    assert "paths.enforce keeps all out, and 97% arrive" in note
    assert expected_metrics({"avoidance": said})["expected_out_of_regions"].value == pytest.approx(62)
    unknown = said | {"passage": None, "note": "cells too wide"}
    assert avoidance_notes(ASKED, unknown) == ["cells too wide"] == [avoidance_text(unknown)]
    assert expected_metrics({"avoidance": unknown}) == expected_metrics({}) == {}
