"""Constraints given, shown and taken off on the command line, on a surface."""

from __future__ import annotations

import pytest
from commands import complaint, tps

from tps.config import GeodesicSection
from tps.pipeline.constraints import in_force

RUN = """
[run]
system = "double-well"
[conformations]
n_grid_points = 100
[geodesic]
n_points = 16
min_log_snr = 0.5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("constraints")
    (base / "run.toml").write_text(RUN)
    tps("run", base / "run.toml", "-o", base / "run", "--until", "geodesic")
    return base / "run"


def test_constraints_are_shown_and_taken_off(folder):
    assert "constraints in force: min_log_snr = 0.5\n" in tps("geodesic", folder).output
    said = tps("geodesic", folder, "--no-min-log-snr", "--min-support", 6, "--force").output
    assert "constraints in force: min_support = 6\n" in said
    assert "support of 6 effective frames: held" in said
    assert "constraints in force: none\n" in tps("geodesic", folder, "--no-min-support", "--force").output


def test_every_constraint_is_said():
    point = {"center": {"phi": 10, "psi": 0}, "log_snr": 3, "min_kl_nats": 2}
    section = GeodesicSection(max_std=0.4, avoid=["phi=-30..30"], avoid_points=[point])
    assert in_force(section) == (
        "max_std = 0.4; avoid 'phi=-30..30' (p_max 0.01); avoid_points phi=10,psi=0 at log-SNR 3 by 2 nats"
    )


def test_what_cannot_be_is_one_sentence(folder):
    assert "exclude each other" in complaint("geodesic", folder, "--no-max-std", "--max-std", 0.3, "--force")
    refused = tps("geodesic", folder, "--avoid", "x=-0.1..0.1", "--force", code=1).output
    assert "no way leads from point A" in refused
    assert "health of" not in refused  # nothing of the curve that stands there from before
    text = complaint("geodesic", folder, "--min-support", 12, "--force")
    assert "end A, anchored at log-SNR 4, itself breaks 'support of 12 effective frames'" in text
    assert "anchor at geodesic.anchor_log_snr = " in text
