"""The tutorial runs, and what it prints is what the text beside it promises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "geometry.py"
PICTURES = ("posteriors", "neighbours", "channels", "information", "collapses")


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLE.exists(), reason="examples belong to a checkout, not to a wheel")
def test_tutorial_prints_its_claims_and_writes_the_same_pictures_twice(tmp_path, capsys):
    """Coarse curves and pictures: everything converges, Pythagoras holds, and the bytes repeat."""
    spec = importlib.util.spec_from_file_location("geometry", EXAMPLE)
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    tutorial.main(tmp_path, n_points=24, n_grid=20)
    text = capsys.readouterr().out
    assert "stopped" not in text
    assert "violated" not in text
    # one free, one over a floor, two channels, one round the box, one from a denoiser
    assert len(re.findall(r" converged, length", text)) == 6
    left, right = re.search(r"KL\(P\|R\) = (\S+) = .* = (\S+)", text).groups()
    assert float(left) == pytest.approx(float(right), abs=1e-8)
    found, exact = re.search(r"from it (\S+) \(exact: (\S+)\)", text).groups()
    assert float(found) == pytest.approx(float(exact), rel=1e-4)
    straight, ratio = re.search(r"within (\S+) of straight .* = (\S+) at", text).groups()
    assert float(straight) < 1e-3
    assert float(ratio) == pytest.approx(1, abs=0.02)  # e^(-10 / 2), of what differs from the limit
    first = {name: (tmp_path / f"geometry_{name}.png").read_bytes() for name in PICTURES}
    family = tutorial.mixture()
    points = [tutorial.SpacetimePoint(mean, log_snr=3.0) for mean in tutorial.MEANS]
    tutorial.information(family, points, 20, tmp_path)
    assert (tmp_path / "geometry_information.png").read_bytes() == first["information"]
