"""Families with known answers, shared by the tests of the geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tps.spacetime import EmpiricalFamily, TorusSpacetime

torch.set_num_threads(1)


def torsion_frames(n_frames: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform frames (n, 2) [rad] and the log-weights of a three-well potential on the torus."""
    angles = np.random.default_rng(0).uniform(-math.pi, math.pi, (n_frames, 2))
    wells = [(-1.4, 1.2, 0.0), (-2.6, 2.8, 0.5), (1.1, -0.9, 2.0)]
    terms = [-e + 6 * (np.cos(angles[:, 0] - p) + np.cos(angles[:, 1] - q)) for p, q, e in wells]
    return angles, np.logaddexp.reduce(terms, axis=0)


@pytest.fixture(scope="session")
def torsion_angles() -> np.ndarray:
    """Angles of the frames of `torsion_family` (n_frames, 2) [rad]."""
    return torsion_frames()[0]


@pytest.fixture(scope="session")
def torsion_family() -> EmpiricalFamily:
    """Frames of a three-well potential on two torsions."""
    angles, log_weights = torsion_frames()
    pairs = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(len(angles), 4)
    return EmpiricalFamily(torch.from_numpy(pairs), torch.from_numpy(log_weights), TorusSpacetime(2))
