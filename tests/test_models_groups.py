"""Many features: groups that the frames find independent, their weights, and twelve features with exact answers."""

import math
import time

import numpy as np
import pytest
import torch
from copies import SPACE, copies_case
from spaces import feature_space

from tps.diffusion import (
    DenoiserSection,
    FlowSection,
    LogPartitionSection,
    ModelSettings,
    TrainingSettings,
    held_out_error,
    load_model,
    save_model,
    train_model,
)
from tps.diffusion.groups import TiltedFrames, group_log_weights, independent_groups
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.diffusion.product_model import ProductModel
from tps.diffusion.training import prepare_frames
from tps.spacetime import EmpiricalFamily, LogSnrFloor, TorusSpacetime, find_geodesic, model_family


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def case():
    return copies_case(1000)


def tilted_frames(space, values, log_weights):
    frames = prepare_frames(space, values, log_weights, "cpu")
    return frames, TiltedFrames(frames)


def random_part(n_circles, n_lines, seed):
    part = LogPartitionNetwork(n_circles, n_lines, n_components=3).double()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng(seed), dtype=torch.float64))
    return part


def test_a_product_is_the_mixture_of_all_pairs_of_components():
    """Two groups that share |x|^2: psi, mu, Cov[T] and the model file, against one network of 3 x 3 components."""
    groups = [[0, 2], [1, 3]]  # an angle and a line each
    parts = [random_part(1, 1, seed) for seed in (1, 2)]
    product, whole = ProductModel(2, 2, groups, parts), LogPartitionNetwork(2, 2, 9).double()
    with torch.no_grad():
        for k in range(9):
            for feature, (part, at) in enumerate(zip(parts, divmod(k, 3), strict=True)):
                whole.xi[k, feature] = part.xi[at, 0]
                whole.centers[k, feature] = part.centers[at, 0]
                whole.log_precisions[k, feature] = part.log_precisions[at, 0]
            shares = [
                torch.log_softmax(part.log_weights, 0)[at]
                for part, at in zip(parts, divmod(k, 3), strict=True)
            ]
            whole.log_weights[k] = sum(shares)
    eta = 3 * torch.randn(30, 7, generator=rng(), dtype=torch.float64)
    eta[:, -1] = -eta[:, -1].abs()
    for one, other in zip(product.moments(eta), whole.moments(eta), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(product(eta), whole(eta), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(product.mu(eta), whole.mu(eta), rtol=1e-10, atol=1e-10)


def test_products_come_back_from_their_files(tmp_path):
    space = feature_space("aaxx")
    product = ProductModel(2, 2, [[0, 2], [1, 3]], [random_part(1, 1, seed) for seed in (1, 2)])
    save_model(tmp_path / "model", product, ModelSettings("log-partition", space))
    loaded, _ = load_model(tmp_path / "model")
    eta = -torch.ones(1, 7, dtype=torch.float64)
    assert float(loaded(eta)) == float(product(eta))
    assert loaded.size == product.size


def test_groups_are_what_depends(case):
    """The copies are found, though windows move all of them together; so are a pair of features among free ones."""
    frames, tilted = tilted_frames(SPACE, case.values, case.log_weights)
    assert independent_groups(frames.blocks, tilted) == [[0, 1], [2, 3], [4, 5]]
    chance = np.random.default_rng(0)
    values = chance.normal(size=(4000, 4))
    values[:, 3] = 0.5 * values[:, 3] + 0.2 * values[:, 1]
    frames, tilted = tilted_frames(feature_space("xxxx"), values, np.zeros(4000))
    # a correlation of 0.37
    assert independent_groups(frames.blocks, tilted) == [[0], [1, 3], [2]]


def test_independent_features_are_seldom_taken_for_dependent():
    """Eight features, 28 pairs, 20 data sets: one in a thousand sets by the threshold, so none of 20 but for 2 %."""
    for seed in range(20):
        values = np.random.default_rng(seed).uniform(-math.pi, math.pi, size=(1500, 8))
        frames, tilted = tilted_frames(feature_space("a" * 8), values, np.zeros(1500))
        assert len(independent_groups(frames.blocks, tilted)) == 8


def test_weights_of_all_features_are_those_given(case):
    """The equations are solved by psi of the frames themselves: to the solver's tolerance."""
    frames, tilted = tilted_frames(SPACE, case.values, case.log_weights)
    found = group_log_weights(tilted, list(range(12)))
    given = frames.log_weights.double()
    _, share, counts = tilted.windows
    seen = counts @ share > 1e-12
    assert seen.double().mean() > 0.9
    assert (found - given)[seen].abs().max() < 1e-5


def test_weights_of_a_group_are_those_of_its_own_density():
    """One copy of windows that hold all copies together: its psi against the grid's.

    Weights of all twelve features know little of one copy on its barrier while the others are in their wells. From 32
    windows of 1000 frames, half a length apart for one copy, psi of the far end is known to 0.5 sqrt(32/1000) = 0.09,
    four times of which is allowed.
    """
    case = copies_case(1000, floor=2.0)
    _, tilted = tilted_frames(SPACE, case.values, case.log_weights)
    eta = find_geodesic(case.exact.one, *case.ends(1), constraints=[LogSnrFloor(2.0)]).curve.eta
    statistics = torch.from_numpy(SPACE.statistic(case.values))[:, :4]
    exact, gaps = case.exact.one.psi(eta), []
    for log_weights in (group_log_weights(tilted, [0, 1, 2, 3]), torch.from_numpy(case.log_weights)):
        family = EmpiricalFamily(statistics, log_weights, TorusSpacetime(2))
        gap = family.psi(eta) - exact
        gaps.append(float(gap.max() - gap.min()))
    assert gaps[0] < 0.36
    assert gaps[1] > 2 * gaps[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "section", "n_steps", "largest_mu", "largest_psi"),
    [
        ("log-partition", LogPartitionSection(), 300, 0.03, 1.0),  # the requirement
        (
            "denoiser",
            DenoiserSection(),
            1000,
            0.1,
            3.0,
        ),  # the others within twice what was measured: docs/models.md
        ("denoiser", DenoiserSection(conservative=False), 1000, 0.55, 3.0),
        ("flow", FlowSection(), 1000, 0.4, 4.5),
    ],
    ids=["log-partition", "denoiser", "score network", "flow"],
)
def test_twelve_features_with_exact_answers(case, kind, section, n_steps, largest_mu, largest_psi, request):
    """Mean |mu - mu_exact| and the error of psi [kT] along the model's own geodesic; -s prints them with the time."""
    start = time.process_time()
    network, record = train_model(
        section, SPACE, case.values, case.log_weights, TrainingSettings(n_steps=n_steps), rng()
    )
    seconds = time.process_time() - start
    assert network.size["groups"] == [[0, 1], [2, 3], [4, 5]]
    assert record.target == "posterior-mean"
    family = model_family(SPACE, network, ModelSettings(kind, SPACE))
    geodesic = find_geodesic(family, *case.ends())
    mu, psi = case.errors(family, geodesic.curve.eta)
    print(f"\n| {request.node.callspec.id} | {mu:.3f} | {psi:.3f} | {seconds:.0f} | {geodesic.status} |")
    assert mu <= largest_mu
    assert psi <= largest_psi


def test_the_error_in_held_out_windows_orders_models():
    """Of a mixture fitted to the frames, one of a single component, and free angles: each is nearer than the next."""
    space, chance = feature_space("aa"), np.random.default_rng(0)
    wells = np.where(chance.uniform(size=(4000, 1)) < 0.5, [-1.0, 2.0], [1.5, -0.5])
    values, weights = wells + 0.3 * chance.normal(size=(4000, 2)), np.zeros(4000)
    settings, errors = TrainingSettings(n_steps=20), []
    for n in (20, 1):
        model, _ = train_model(LogPartitionSection(n_components=n), space, values, weights, settings, rng())
        errors.append(held_out_error(model, space, values, weights))
    errors.append(held_out_error(LogPartitionNetwork(2, n_components=1), space, values, weights))
    # 400 frames held out, at least 30 of them in a window: squares of 1/sqrt(30), two angles, twice allowed
    assert errors[0] < 2 * 2 / 30
    assert errors[0] < errors[1] / 2
    assert errors[1] < errors[2]
