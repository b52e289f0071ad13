"""Networks and training against closed forms: von Mises distributions, their mixtures, and hand-made frames."""

import math

import numpy as np
import pytest
import torch
from scipy.special import i0e, i1e
from spaces import feature_space

from tps.diffusion import (
    KINDS,
    DenoiserSection,
    LogPartitionSection,
    ModelSettings,
    TrainingSettings,
    held_out_frames,
    load_model,
    posterior_moments,
    save_model,
    train_model,
)
from tps.diffusion.bessel import bessel_ratio, log_bessel_i0, tabulated_bessel
from tps.diffusion.convex import ConvexNetwork
from tps.diffusion.log_partition import LogPartitionNetwork
from tps.diffusion.losses import draw_tilts
from tps.diffusion.training import prepare_frames
from tps.errors import ModelError, ParameterError

ONE, TWO = feature_space("a"), feature_space("aa")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_network(n_torsions=2, n_components=5, seed=0):
    network = LogPartitionNetwork(n_torsions, n_components=n_components).double()
    with torch.no_grad():
        network.xi.copy_(3 * torch.randn(network.xi.shape, generator=rng(seed), dtype=torch.float64))
        network.log_weights.copy_(torch.randn(n_components, generator=rng(seed + 1), dtype=torch.float64))
    return network


def mixture_density(network, theta):
    """The density (n_grid, n_grid) whose log-partition function the network claims to be."""
    first, second = torch.meshgrid(theta, theta, indexing="ij")
    t = torch.from_numpy(TWO.statistic(torch.stack([first, second], -1).reshape(-1, 2)))
    xi = network.xi.detach()
    weight = torch.softmax(network.log_weights.detach(), 0)
    log_i0 = torch.from_numpy(np.log(i0e(xi.norm(dim=-1).numpy())) + xi.norm(dim=-1).numpy()).sum(-1)
    return t, (torch.exp(t @ xi.flatten(1).T - log_i0) * weight).sum(1) / (2 * math.pi) ** 2


def test_bessel_functions_and_their_derivatives():
    kappa = torch.tensor([1e-4, 0.3, 2.0, 30.0, 700.0], dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(
        bessel_ratio(kappa).detach(), i1e(kappa.detach()) / i0e(kappa.detach()), rtol=1e-12
    )
    assert torch.autograd.gradcheck(log_bessel_i0, kappa, eps=1e-6, atol=1e-7)
    assert torch.autograd.gradcheck(bessel_ratio, kappa[1:], eps=1e-6, atol=1e-7)


def test_the_table_of_bessel_functions_is_exact_to_what_its_series_leaves_out():
    """All over the table, between nodes and at them, and beyond it; round-off of log I0 grows with itself."""
    kappa = torch.cat([torch.arange(0, 256, 1 / 100), torch.tensor([1e-4, 1 / 64, 255.99, 256.01])]).double()
    for part in (kappa[:-1], kappa):
        log_i0, ratio = tabulated_bessel(part[:, None])
        exact = part.numpy()
        np.testing.assert_allclose(log_i0[:, 0], np.log(i0e(exact)) + exact, rtol=2e-15, atol=1e-14)
        np.testing.assert_allclose(ratio[:, 0], i1e(exact) / i0e(exact), atol=1e-13)


@pytest.mark.parametrize("n_torsions", [1, 2, 3])
def test_moments_in_closed_form_equal_automatic_derivatives(n_torsions):
    """psi, its gradient and its Hessian, near the centre of a component and at no tilt too; the tilts in two blocks."""
    network = random_network(n_torsions)
    eta = 5 * torch.randn(150, 2 * n_torsions, generator=rng(3), dtype=torch.float64)
    eta[0], eta[1] = 0, -network.xi[0].detach().flatten()
    moments = network.moments(eta)
    torch.testing.assert_close(moments.psi, network(eta).detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moments.mu, network.mu(eta).detach(), rtol=1e-12, atol=1e-12)
    eta.requires_grad_(True)
    rows = [torch.autograd.grad(column.sum(), eta, retain_graph=True)[0] for column in network.mu(eta).T]
    torch.testing.assert_close(moments.covariance, torch.stack(rows, 1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("eta", [[0.0, 0, 0, 0], [2.0, -1, 0.5, 3], [-8.0, 4, 0, 9]])
def test_psi_is_the_log_partition_function_of_its_density(eta):
    """Periodic trapezoid with 256 points a torsion: exact to round-off for these κ."""
    network, eta = random_network(), torch.tensor([eta], dtype=torch.float64)
    theta = torch.arange(256, dtype=torch.float64) * 2 * math.pi / 256
    t, density = mixture_density(network, theta)
    tilted = density * torch.exp(t @ eta[0]) * (2 * math.pi / 256) ** 2
    assert network(eta).item() == pytest.approx(math.log(tilted.sum()), abs=1e-8)  # 1e-8 under the root of κ
    np.testing.assert_allclose(network.mu(eta)[0].detach(), (tilted @ t) / tilted.sum(), atol=1e-7)


def test_mu_is_the_gradient_of_psi_and_differentiates():
    network = random_network()
    eta = 5 * torch.randn(7, 4, generator=rng(3), dtype=torch.float64)
    eta.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(eta).sum(), eta)
    torch.testing.assert_close(network.mu(eta), gradient, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(network.mu, eta, eps=1e-6, atol=1e-6)


def random_denoiser(seed, depth=3):
    network = ConvexNetwork(2, width=8, depth=depth).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=rng(seed), dtype=torch.float64))
    return network


@pytest.mark.parametrize("random_one", [random_network, random_denoiser])
def test_no_chord_is_ever_negative(random_one):
    """The scalar is convex whatever its parameters: (η - η')·(μ - μ') >= 0; means of cos and sin lie in a disc."""
    for seed in range(20):
        network = random_one(seed=seed)
        eta = torch.randn(200, 4, generator=rng(seed), dtype=torch.float64) * 10 ** (
            3 * torch.rand(200, 1, generator=rng(seed + 1), dtype=torch.float64) - 1
        )
        mu = network.mu(eta).detach()
        assert ((eta[:100] - eta[100:]) * (mu[:100] - mu[100:])).sum(1).min() >= -1e-9
        assert mu.unflatten(1, (2, 2)).norm(dim=-1).max() <= 1 + 1e-12


def test_posterior_moments_of_two_frames_by_hand():
    """Two frames of weight 1/4 and 3/4: everything is a logistic function."""
    t = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    moments = posterior_moments(
        torch.tensor([[0.7, 5.0]], dtype=torch.float64), t, torch.tensor([0.25, 0.75]).double().log()
    )
    first = 0.25 * math.exp(0.7) / (0.25 * math.exp(0.7) + 0.75 * math.exp(-0.7))
    assert moments.psi.item() == pytest.approx(
        math.log(0.25 * math.exp(0.7) + 0.75 * math.exp(-0.7)), abs=1e-12
    )
    assert moments.mu[0].tolist() == pytest.approx([2 * first - 1, 0.0], abs=1e-12)
    assert moments.effective_sample_size.item() == pytest.approx(1 / (first**2 + (1 - first) ** 2), rel=1e-12)


def biased_frames(n=4000, seed=0):
    """Frames flat in θ with weights of p0 ∝ exp(3 cos θ): ψ(η) = log I0(|η + 3 e_x|) - log I0(3), exactly."""
    theta = 2 * math.pi * torch.rand(n, 1, generator=rng(seed), dtype=torch.float64) - math.pi
    return theta, 3 * torch.cos(theta[:, 0])


def test_training_recovers_a_von_mises_distribution():
    theta, log_weights = biased_frames()
    network, record = train_model(
        LogPartitionSection(n_components=40), ONE, theta, log_weights, TrainingSettings(n_steps=150), rng()
    )
    network = network.double()
    angle = torch.linspace(-3, 3, 25, dtype=torch.float64)
    for kappa in (0.5, 3.0, 20.0):
        eta = kappa * torch.stack([angle.cos(), angle.sin()], -1)
        total = (eta + torch.tensor([3.0, 0.0])).norm(dim=1)
        exact = np.log(i0e(total)) + total.numpy() - (math.log(i0e(3.0)) + 3.0)
        # 4000 frames: at κ = 20 some 280 count (kernel width 0.22 rad of 2 π), so ψ is known to about 0.05 each
        np.testing.assert_allclose(network(eta).detach(), exact, atol=0.25)
        assert (network.mu(eta).detach() - posterior_moments(eta, *_normalised(theta, log_weights)).mu).norm(
            dim=1
        ).mean() < 0.03
    assert record.target == "posterior-mean"
    assert record.best_held_out_loss == min(record.held_out_loss)


def _normalised(theta, log_weights):
    return torch.from_numpy(ONE.statistic(theta)), log_weights - torch.logsumexp(log_weights, 0)


def test_per_sample_targets_learn_the_same_distribution():
    theta, log_weights = biased_frames(20_000)
    settings = TrainingSettings(n_steps=600, target="per-sample", batch_size=512)
    network, record = train_model(
        LogPartitionSection(n_components=20), ONE, theta, log_weights, settings, rng()
    )
    eta = torch.tensor([[0.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [6.0, 0.0]], dtype=torch.float64)
    exact = posterior_moments(eta, *_normalised(theta, log_weights)).mu
    # the noise of single samples: 0.015 to 0.070 over six seeds, twice the largest of which is allowed
    assert (network.double().mu(eta).detach() - exact).norm(dim=1).max() < 0.14
    assert record.target == "per-sample"


def test_training_repeats_with_the_seed():
    theta, log_weights = biased_frames(1000)
    section, settings = LogPartitionSection(n_components=10), TrainingSettings(n_steps=20)
    first, second, other = (
        train_model(section, ONE, theta, log_weights, settings, rng(seed))[0].xi.detach()
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_denoiser_learns_a_free_torsion():
    """For a uniform θ the posterior mean is (I1/I0)(κ) x/|x| with κ = e^λ |x| / α."""
    theta = 2 * math.pi * torch.rand(6000, 1, generator=rng(), dtype=torch.float64)
    section, settings = DenoiserSection(width=64), TrainingSettings(n_steps=300)
    network, _ = train_model(section, ONE, theta, torch.zeros(6000), settings, rng())
    for level in (-2.0, 0.0, 2.0):
        angle = torch.linspace(-3, 3, 50)
        around, kappa = torch.stack([angle.cos(), angle.sin()], -1), math.exp(level)
        exact = float(i1e(kappa) / i0e(kappa)) * around
        assert (network.mu(kappa * around).detach() - exact).norm(dim=1).mean() < 0.1


def test_denoiser_of_units_without_tilt_is_that_of_free_angles():
    """Averages and soft maxima of one function are that function: I1/I0; the Jacobian is a Hessian: symmetric."""
    network = random_denoiser(0)
    eta = 4 * torch.randn(5, 4, generator=rng(), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda e: network.mu(e).sum(0), eta).permute(1, 0, 2)
    torch.testing.assert_close(jacobian, jacobian.mT, rtol=1e-9, atol=1e-9)
    torch.nn.init.zeros_(network.units.xi)
    kappa = eta.unflatten(1, (2, 2)).norm(dim=-1, keepdim=True)
    free = (eta.unflatten(1, (2, 2)) * (i1e(kappa.numpy()) / i0e(kappa.numpy())) / kappa).flatten(1)
    # 1e-8 under the root of κ
    torch.testing.assert_close(network.mu(eta).detach(), free, rtol=1e-6, atol=1e-6)


def test_denoiser_of_one_soft_maximum_over_single_units_is_that_of_a_mixture():
    """Rows of weight 1 on one unit of each angle: the mean of a mixture of von Mises products, one for each row."""
    mixture, network = random_network(n_components=6), ConvexNetwork(2, width=6, depth=1).double()
    order = torch.stack([torch.randperm(6, generator=rng(seed)) for seed in (1, 2)], dim=1)
    with torch.no_grad():
        network.first.copy_(500 * torch.nn.functional.one_hot(order, 6))
        for circle in range(2):
            network.units.xi[circle, order[:, circle]] = mixture.xi[:, circle]
        network.maxima[0].copy_(mixture.log_weights[None])
    eta = 5 * torch.randn(20, 4, generator=rng(3), dtype=torch.float64)
    torch.testing.assert_close(network.potential(eta), mixture(eta), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(network.mu(eta).detach(), mixture.mu(eta).detach(), rtol=1e-10, atol=1e-10)


def test_denoiser_learns_where_frames_have_no_weight():
    """Tilts against the weights, exp(3 cos θ): what plain denoising of weighted frames never sees."""
    theta, log_weights = biased_frames()
    network, record = train_model(
        DenoiserSection(), ONE, theta, log_weights, TrainingSettings(n_steps=300), rng()
    )
    eta = torch.tensor([[-8.0, 0.0], [-3.0, 3.0], [5.0, 0.0], [0.3, 0.1]])
    exact = posterior_moments(eta.double(), *_normalised(theta, log_weights)).mu
    assert (network.double().mu(eta.double()).detach() - exact).norm(dim=1).max() < 0.1
    assert record.target == "posterior-mean"


def test_held_out_frames_are_whole_blocks():
    mask = held_out_frames(1000)
    assert mask.sum() == 100
    assert (mask[1:] != mask[:-1]).sum() <= 2 * 10


def test_tilts_cover_weak_and_strong():
    eta = draw_tilts(prepare_frames(TWO, np.zeros((200, 2)), np.zeros(200), "cpu"), 5000, rng())
    kappa = eta.unflatten(1, (2, 2)).norm(dim=-1)
    assert kappa.min() < 0.3
    assert kappa.max() > 150


@pytest.mark.parametrize("kinds", ["aa", "xx", "ax"])
@pytest.mark.parametrize(
    ("kind", "size"), [("log-partition", {"n_components": 4}), ("denoiser", {"width": 8, "depth": 2})]
)
def test_model_files_come_back_and_are_the_same_bytes(tmp_path, kind, size, kinds):
    space = feature_space(kinds)
    network = KINDS[kind].network(space.n_circles, space.n_lines, **size)
    save_model(tmp_path / "a", network, ModelSettings(kind, space))
    save_model(tmp_path / "b", network, ModelSettings(kind, space))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded, found = load_model(tmp_path / "a")
    assert (found.kind, loaded.size) == (kind, size)
    assert found.knows(space)
    assert np.array_equal(found.space.bounds, space.bounds)
    assert not found.knows(ONE)
    assert not found.knows(feature_space("xa"))
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_damaged_and_missing_models_are_refused(tmp_path):
    with pytest.raises(ModelError, match="run `tps train` first"):
        load_model(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="not a model of tps"):
        load_model(tmp_path / "bad")


def test_too_few_frames_are_refused():
    with pytest.raises(ModelError, match="at least 200 frames, but got 30"):
        train_model(
            LogPartitionSection(), ONE, torch.zeros(30, 1), torch.zeros(30), TrainingSettings(), rng()
        )
    with pytest.raises(ParameterError, match="positive n_steps, but got 0"):
        TrainingSettings(n_steps=0)
