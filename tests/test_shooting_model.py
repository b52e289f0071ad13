"""A learned committor: it finds known coefficients, helps shooting, and leaves the ensemble as it is."""

import numpy as np
import pytest
from scipy.special import expit
from test_shooting import comparisons, double_well, shot_paths, unbiased_paths

from tps.engine import local_executor
from tps.errors import ModelError, ParameterError
from tps.paths import CommittorChoice, ShootingSettings, fit_committor, learn_committor, shoot


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_known_coefficients_come_back(kind):
    """Outcomes drawn from the model itself: each coefficient within four of its standard errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    true = np.array([0.3, 1.2, -0.7, 0.4, 0.0, -0.5])[: 3 if kind == "linear" else 6]
    terms = np.stack([np.ones(4000), *z.T, z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2], axis=1)
    p = expit(terms[:, : len(true)] @ true)
    n_b = rng.binomial(2, p)
    model = fit_committor(x, 2 - n_b, n_b, kind)
    assert np.abs((np.array(model.coefficients) - true) / model.errors).max() < 4
    assert max(model.errors) < 0.08
    assert model.probability(x) == pytest.approx(p, abs=0.1)
    assert -np.log(2) < model.log_likelihood < 0


def test_learned_choice_helps_and_leaves_the_ensemble(tmp_path):
    dynamics, line = double_well()
    with local_executor("threads", 1) as executor:
        run = shoot(dynamics, [line] * 20, ShootingSettings(), tmp_path, executor, n_moves=20, seed=7)
    model = learn_committor(dynamics, run)
    at = model.probability(np.array([[-0.5], [0.0], [0.5]]))
    assert at[0] < 0.25 and 0.35 < at[1] < 0.65 and at[2] > 0.75
    settings = ShootingSettings(choice=CommittorChoice(model))
    paths, records = shot_paths(dynamics, line, settings, 120, 40, 20)
    free = unbiased_paths(dynamics, 600, 6000)
    assert (comparisons(dynamics, free, paths) > 0.01).all()
    assert records["accepted"].mean() > run.statistics.acceptance


def test_separable_outcomes_stay_finite():
    model = fit_committor([[-1.0], [-0.5], [0.5], [1.0]], [3, 3, 0, 0], [0, 0, 3, 3])
    assert np.isfinite(model.coefficients).all()
    assert model.probability([[0.0]])[0] == pytest.approx(0.5)


def test_one_sided_outcomes_are_refused():
    with pytest.raises(ModelError, match="2 ended in A and 0 in B"):
        fit_committor([[0.0], [1.0]], [1, 1], [0, 0])
    with pytest.raises(ParameterError, match="linear or quadratic"):
        fit_committor([[0.0], [1.0]], [1, 1], [1, 0], "cubic")
