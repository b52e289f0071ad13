"""A learned committor: it finds known coefficients and shapes, helps shooting, and leaves the ensemble as it is."""

import pickle
import time

import numpy as np
import pytest
from scipy.special import expit
from test_shooting import comparisons, double_well, shot_paths, unbiased_paths

from tps.engine import local_executor
from tps.errors import ModelError, ParameterError
from tps.paths import CommittorChoice, ShootingSettings, fit_committor, learn_committor, shoot


def test_known_coefficients_come_back():
    """Outcomes drawn from the model itself: each coefficient within four of its standard errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    true = np.array([0.3, 1.2, -0.7])
    p = expit(np.column_stack([np.ones(4000), z]) @ true)
    n_b = rng.binomial(2, p)
    model = fit_committor(x, 2 - n_b, n_b)
    assert np.abs((np.array(model.coefficients) - true) / model.errors).max() < 4
    assert max(model.errors) < 0.08
    assert model.probability(x) == pytest.approx(p, abs=0.1)
    assert -np.log(2) < model.log_likelihood < 0


@pytest.fixture(scope="module")
def intermediate():
    """Two flights from each of 3000 points of u = 5 sin²(πx), p_B = ∫_-1^x e^u / ∫_-1^1 e^u: flat round x = 0."""
    rng = np.random.default_rng(1)
    grid = np.linspace(-1, 1, 4001)
    weight = np.exp(5 * np.sin(np.pi * grid) ** 2)
    integral = np.concatenate([[0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    x = rng.uniform(-0.9, 0.9, 3000)
    p = np.interp(x, grid, integral / integral[-1])
    return x[:, None], rng.binomial(2, p), p


def test_a_network_learns_a_shape_that_is_not_straight(intermediate):
    """Ten parameters' worth of freedom in 6000 flights leave sqrt(10 * 0.25/6000) = 0.02 of p_B, root mean square."""
    x, n_b, p = intermediate
    straight = fit_committor(x, 2 - n_b, n_b)
    network = fit_committor(x, 2 - n_b, n_b, "network")
    assert np.sqrt(np.mean((network.probability(x) - p) ** 2)) < 2 * 0.02
    assert np.sqrt(np.mean((straight.probability(x) - p) ** 2)) > 3 * 0.02
    assert network.log_likelihood > straight.log_likelihood + 0.01


def test_a_network_depends_on_its_seed_alone(intermediate):
    x, n_b, _ = (part[::10] for part in intermediate)
    first, again, other = (fit_committor(x, 2 - n_b, n_b, "network", seed=seed) for seed in (0, 0, 1))
    assert repr(first) == repr(again) != repr(other)
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.probability(x), first.probability(x))


def test_a_network_finds_nothing_where_there_is_nothing():
    """Outcomes of a straight model: p_B stays within a few standard errors, and 2000 flights take under 3 s."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1000, 4))
    p = expit(x @ [1.0, -0.5, 0.0, 0.2])
    n_b = rng.binomial(2, p)
    begin = time.process_time()
    errors = [
        np.sqrt(np.mean((fit_committor(x, 2 - n_b, n_b, kind).probability(x) - p) ** 2))
        for kind in ("linear", "network")
    ]
    assert time.process_time() - begin < 3
    assert max(errors) < 4 * np.sqrt(5 * 0.25 / 2000)


@pytest.fixture(scope="module")
def free():
    return unbiased_paths(double_well()[0], 600, 6000)


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_learned_choice_helps_and_leaves_the_ensemble(kind, free, tmp_path):
    dynamics, line = double_well()
    with local_executor("threads", 1) as executor:
        run = shoot(dynamics, [line] * 20, ShootingSettings(), tmp_path, executor, n_moves=400, seed=7)
    model = learn_committor(dynamics, run, kind)
    at = model.probability(np.array([[-0.5], [0.0], [0.5]]))
    assert at[0] < 0.25 and 0.35 < at[1] < 0.65 and at[2] > 0.75
    settings = ShootingSettings(choice=CommittorChoice(model))
    paths, records = shot_paths(dynamics, line, settings, 120, 40, 20)
    assert (comparisons(dynamics, free, paths) > 0.01).all()
    assert records["accepted"].mean() > run.statistics.acceptance


def test_separable_outcomes_stay_finite():
    model = fit_committor([[-1.0], [-0.5], [0.5], [1.0]], [3, 3, 0, 0], [0, 0, 3, 3])
    assert np.isfinite(model.coefficients).all()
    assert model.probability([[0.0]])[0] == pytest.approx(0.5)


def test_outcomes_that_teach_nothing_are_refused():
    with pytest.raises(ModelError, match="2 ended in A and 0 in B"):
        fit_committor([[0.0], [1.0]], [1, 1], [0, 0])
    with pytest.raises(ModelError, match="2 shooting frames"):
        fit_committor([[0.0], [1.0]], [1, 1], [1, 0], "network")
    with pytest.raises(ParameterError, match="linear or network"):
        fit_committor([[0.0], [1.0]], [1, 1], [1, 0], "cubic")
