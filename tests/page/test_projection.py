"""The slowest directions of many features, by deeptime, which `make test-page` installs."""

import numpy as np
import pytest

from tps.features import FeatureSpace
from tps.report.player import MapAxes
from tps.report.player.projection import Projection

pytestmark = pytest.mark.page

DECAY = np.array([0.99, 0.9, 0.5])
MIXED = np.array([[0.3, 2.0, 0.0], [0.1, 1.0, 3.0], [0.2, -1.0, 1.0]])
SPACE = FeatureSpace(
    ("a", "b", "c"), (False,) * 3, ("nm",) * 3, (0.1, 0.1, 0.1), np.array([[-np.inf, np.inf]] * 3)
)


def paths(n_paths=200, n_frames=100):
    """Return three independent decays (n_paths, n_frames, 3), and features that mix them."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(n_paths, n_frames, 3))
    for k in range(1, n_frames):
        found[:, k] = DECAY * found[:, k - 1] + np.sqrt(1 - DECAY**2) * rng.normal(size=(n_paths, 3))
    return found, 0.1 * found @ MIXED.T


def test_the_axes_of_many_features_are_the_slowest_of_unbiased_paths():
    """What decays slowest, though it moves the features least.

    The sampled correlation of the first two decays, a and b, is off by sqrt((1 + ab) / (1 - ab) / n) = 0.03 over n
    frames, which turns the first direction by about as much: its correlation with a is 1 less half the square of that.
    """
    decays, features = paths()
    found = Projection.slowest(SPACE, list(features))
    slow = decays[:, :, 0].ravel()
    assert abs(np.corrcoef(found(features.reshape(-1, 3))[:, 0], slow)[0, 1]) > 1 - 16 * 0.03**2 / 2
    frames = features.reshape(-1, 3)
    spread = Projection.principal(SPACE, frames, np.zeros(len(frames)))
    assert abs(np.corrcoef(spread(frames)[:, 0], slow)[0, 1]) < 0.5
    axes = MapAxes.of_frames(SPACE, frames, np.zeros(len(frames)), list(features)).axes
    assert axes[3].name == "TIC 1 of unbiased paths, lag of 10 frames"
