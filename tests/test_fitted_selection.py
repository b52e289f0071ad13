"""Weights that someone else has given: fitted as a function of the features, or found to be none."""

import numpy as np
import pytest
from spaces import feature_space

from tps.paths import LARGEST_MISFIT, fitted_selection

RNG = np.random.default_rng(4)


def bias(values):
    return 3 * np.cos(values[:, 0]) - 2 * np.sin(values[:, 1] + values[:, 0])


@pytest.fixture(scope="module")
def frames():
    values = RNG.uniform(-np.pi, np.pi, (20_000, 2))
    return values, bias(values)


def test_a_bias_on_the_features_is_found_between_frames_and_across_the_border(frames):
    """18 neighbours of 20,000 lie within h² = 18 (2π)²/(20,000 π); the curvature is at most 5: planes miss 5 h²/2."""
    values, log_weights = frames
    selection, misfit = fitted_selection(feature_space("aa"), lambda x: x, values, log_weights)
    at = RNG.uniform(-np.pi, np.pi, (5000, 2))
    at[:100, 0] = np.pi - 1e-4
    bound = 5 * 18 * 4 * np.pi / 20_000 / 2
    np.testing.assert_allclose(selection(at), -bias(at), atol=bound)
    assert misfit < bound


def test_a_bias_on_something_else_is_no_function_of_the_features(frames):
    """Half a kT of it: local means of 18 frames and the frame itself scatter by sqrt(1 + 1/18) times that."""
    values, log_weights = frames
    hidden = log_weights + 0.5 * RNG.normal(size=len(values))
    misfit = fitted_selection(feature_space("aa"), lambda x: x, values, hidden)[1]
    assert misfit == pytest.approx(0.5, rel=0.2)
    assert misfit > LARGEST_MISFIT


def test_angles_and_lengths_together_and_nothing_beyond_the_frames():
    values = np.column_stack([RNG.uniform(-np.pi, np.pi, 8000), RNG.uniform(0.2, 0.8, 8000)])
    log_weights = np.cos(values[:, 0]) + 4 * values[:, 1]
    selection, misfit = fitted_selection(feature_space("ax"), lambda x: x, values, log_weights)
    assert misfit < 0.02
    assert selection(np.array([[0.0, 5.0]]))[0] == pytest.approx(-(1 + 4 * 0.8), abs=0.2)


def test_frames_without_weight_are_left_out(frames):
    values, log_weights = (part[:2000].copy() for part in frames)
    log_weights[::2] = -np.inf
    assert fitted_selection(feature_space("aa"), lambda x: x, values, log_weights)[1] < 0.1
