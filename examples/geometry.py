"""The geometry of a diffusion model on a toy you can see: four clusters in the plane, every number exact.

    python examples/geometry.py [FOLDER]

Prints a page of numbers and writes five pictures, to examples/ unless told otherwise. Under a minute on one core.
"""

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from tps.spacetime import (
    Box,
    DenoiserFamily,
    GaussianMixtureFamily,
    LogSnrFloor,
    RegionProbability,
    SpacetimePoint,
    StdCeiling,
    anchor_sensitivity,
    curve_health,
    distance_matrix,
    e_geodesic,
    eta_of,
    find_channels,
    find_geodesic,
    fisher_metric,
    fisher_rao_length,
    kl_divergence,
    kl_from_point,
    m_geodesic,
    minimum_free_energy_path,
    natural_from_expectation,
    noise_metric,
    onsager_machlup_path,
    probability_flow,
    pullback_geodesic,
    score_jacobian_geodesic,
    score_metric_geodesic,
    straight_line,
)

# Okabe and Ito's colours, which colour-blind readers can tell apart
BLACK, ORANGE, SKY, GREEN, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7"
)  # fmt: skip
MEANS = torch.tensor([[-1.5, -0.3], [1.5, -0.3], [0.0, 1.2], [0.1, -1.9]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.3, 0.25, 0.15])
VARIANCES = torch.tensor([[0.3, 0.7], [0.3, 0.7], [0.8, 0.3], [0.6, 0.25]], dtype=torch.float64).square()
# where their names stand in the pictures
NAMES = {"A": (-2.4, -0.3), "B": (2.4, -0.3), "C": (0.0, 2.05), "D": (0.1, -2.65)}


# The data. A mixture of Gaussians stays one when it is noised or tilted, so everything below has an exact answer.
def mixture() -> GaussianMixtureFamily:
    return GaussianMixtureFamily(WEIGHTS, MEANS, VARIANCES)


def log_density(x):
    """ln p0 of points (n, 2)."""
    apart = ((x[:, None] - MEANS).square() / VARIANCES + (2 * math.pi * VARIANCES).log()).sum(2)
    return torch.logsumexp(WEIGHTS.double().log() - 0.5 * apart, dim=1)


def plane(n):
    """A grid of points (n * n, 2) to draw on, and the extent of the picture."""
    x, y = torch.linspace(-3.0, 3.0, n).double(), torch.linspace(-3.0, 2.6, n).double()
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    return points, (-3.0, 3.0, -3.0, 2.6)


# 1. Spacetime. A point is a noisy observation: where it lies (center) and how precise it is (log_snr). It stands for
# a whole distribution of clean data, the posterior p(x | eta) = p0(x) exp(eta . T(x) - psi), T = (x, |x|^2). The
# distance of two neighbouring points is how well their posteriors can be told apart: the Fisher-Rao metric.
def posteriors(family, a, b, n_points, n_grid, folder):
    geodesic = find_geodesic(family, a, b, n_points=n_points)
    curve = geodesic.curve
    print(
        f"geodesic     {geodesic.status}, length {geodesic.length:.3f}, {geodesic.n_gradient_evaluations} gradients"
    )
    health = curve_health(family, curve)
    slope = anchor_sensitivity(family, curve)
    chords = f"negative chords: {health.negative_chords:.0%}"
    print(f"             equal steps: 2 E / length^2 = {health.constant_speed:.5f}; {chords}")
    print(f"             length grows by {slope:.2f} per unit of the anchors' log-SNR: quote both together")

    points, extent = plane(n_grid)
    statistic = torch.cat([points, points.square().sum(1, keepdim=True)], dim=1)
    figure, axes = plt.subplots(1, 5, figsize=(12, 2.9), sharey=True, layout="constrained")
    for axis, share in zip(axes, (0.0, 0.25, 0.5, 0.75, 1.0), strict=True):
        k = round(share * (n_points - 1))
        density = (log_density(points) + statistic @ curve.eta[k] - curve.psi[k]).exp().view(n_grid, n_grid)
        axis.imshow(density / density.max(), extent=extent, origin="lower", cmap="Blues")
        axis.plot(*curve.mu[:, :2].T, color=RED, lw=1)
        axis.plot(*curve.mu[k, :2], "o", color=RED, ms=6)
        axis.set_title(f"s = {share:.2f},  log-SNR = {float(curve.log_snr[k]):.1f}", fontsize=10)
        name_clusters(axis)
    figure.suptitle(
        "What the data still may be, p(x | η), along the geodesic from A to B; red: its mean", fontsize=11
    )
    save(figure, folder / "geometry_posteriors.png")
    return geodesic


# 2. Neighbours. Other curves between the same ends, and what each of them is made of. Some move through all noise
# levels as the geodesic does; the others stay at one, where the data blurred by e^(-log_snr/2) have a density.
def neighbours(family, a, b, geodesic, n_points, n_grid, folder):
    level, n = 2.5, {"n_points": n_points}
    profile = geodesic.curve.log_snr
    moving = {
        "geodesic": (geodesic.curve, BLACK, "-"),
        "straight line": (straight_line(family, a, b, **n), ORANGE, "--"),
        "line, same profile": (straight_line(family, a, b, log_snr=profile), GREEN, "-."),
        "m-geodesic": (m_geodesic(family, a, b, **n), SKY, ":"),
    }
    staying = {
        "minimum free energy": (minimum_free_energy_path(family, a, b, log_snr=level, **n), BLACK, "-"),
        "Onsager–Machlup": (onsager_machlup_path(family, a, b, log_snr=level, **n), ORANGE, "--"),
        "score metric": (score_metric_geodesic(family, a, b, log_snr=level, weight=0.3, **n), GREEN, "-."),
        "score Jacobian": (score_jacobian_geodesic(family, a, b, log_snr=level, **n), SKY, ":"),
    }
    pullback = pullback_geodesic(family, a, b, log_snr=level, **n)
    lengths = {name: fisher_rao_length(curve) for name, (curve, *_) in moving.items()}
    # between ends of equal log-SNR the straight line is straight in eta as well
    lengths["e-geodesic"] = fisher_rao_length(e_geodesic(family, a, b, **n))
    print("lengths      " + ", ".join(f"{name} {length:.2f}" for name, length in lengths.items()))
    unfinished = [name for name, (found, *_) in staying.items() if not found.converged]
    print(
        f"neighbours   at log-SNR {level}: "
        + (f"not converged: {unfinished}" if unfinished else "all converged")
    )

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    for name, (curve, colour, style) in moving.items():
        axes[0].plot(curve.mu[:, 0], curve.log_snr, color=colour, ls=style, lw=2, label=name)
    axes[0].set(xlabel="x of the mean of p(x | η)", ylabel="log-SNR")
    axes[0].set_title("Curves through all noise levels, seen from the side", fontsize=11)
    show_data(axes[1], n_grid)
    for name, (found, colour, style) in staying.items():
        axes[1].plot(*found.curve.center.T, color=colour, ls=style, lw=2, label=name)
    axes[1].plot(*pullback.center.T, color=PURPLE, ls=(0, (5, 1)), lw=2, label="pullback")
    axes[1].set_title(f"Curves at log-SNR {level}, seen from above", fontsize=11)
    for axis in axes:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)
    save(figure, folder / "geometry_neighbours.png")


# 3. Channels and constraints. A free geodesic fades one end out and the other in: half-way its posterior has several
# humps. A floor on log-SNR keeps it from letting go too far. A ceiling on the posterior's standard deviation allows one
# hump only, so that the curve has to pass from cluster to cluster, above or below. Each start falls into its own local
# minimum (`via` adds starts through given points), and find_channels keeps the distinct ones. Length ranks them by how
# far the distribution is changed, not by barrier: which one dynamics prefers is another question. An avoided region
# limits the probability of a box.
def channels(family, a, b, geodesic, n_points, n_grid, folder):
    box, n = Box([-0.7, 0.6], [0.7, 1.8]), {"n_points": n_points}
    via = [SpacetimePoint(MEANS[k], 2.5) for k in (2, 3)]
    floor = find_geodesic(family, a, b, constraints=[LogSnrFloor(2.0)], **n)
    found = find_channels(family, a, b, via=via, constraints=[StdCeiling(0.5)], **n)
    avoiding = find_geodesic(family, a, b, constraints=[RegionProbability(family, box, 0.03)], **n)
    lowest = float(floor.curve.log_snr.min())
    print(f"floor        {floor.status}, length {floor.length:.3f}, lowest log-SNR {lowest:.3f}")
    for channel in found:
        starts = " and ".join(channel.starts)
        print(
            f"channel      {channel.geodesic.status}, length {channel.geodesic.length:.3f}, from the starts {starts}"
        )
    inside = [float(family.probability(x.curve.eta, box).max()) for x in (geodesic, avoiding)]
    print(
        f"avoided box  {avoiding.status}, length {avoiding.length:.3f}, "
        f"largest probability {inside[0]:.3f} free, {inside[1]:.3f} now"
    )

    curves = {
        "free": (geodesic, BLACK, "-"),
        "log-SNR ≥ 2": (floor, ORANGE, "--"),
        "out of the box": (avoiding, SKY, ":"),
    }
    for number, (channel, colour) in enumerate(zip(found, (GREEN, PURPLE), strict=False), start=1):
        curves[f"std ≤ 0.5, channel {number}"] = (channel.geodesic, colour, "-.")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    show_data(axes[0], n_grid)
    axes[0].add_patch(
        plt.Rectangle(box.low, *(box.high - box.low), fill=False, ec=RED, hatch="//", alpha=0.5)
    )
    for name, (solved, colour, style) in curves.items():
        axes[0].plot(*solved.curve.mu[:, :2].T, color=colour, ls=style, lw=2)
        label = f"{name}: length {solved.length:.2f}"
        axes[1].plot(solved.curve.s, solved.curve.log_snr, color=colour, ls=style, lw=2, label=label)
    axes[0].set_title("Mean of p(x | η); hatched: the avoided box", fontsize=11)
    axes[1].set(xlabel="s", ylabel="log-SNR")
    axes[1].set_title("How far each curve lets go", fontsize=11)
    axes[1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=9, frameon=False)
    save(figure, folder / "geometry_channels.png")


# 4. Information. psi knows KL divergences in closed form; without it they are integrals over mu. The e- and
# m-geodesics meet at right angles in a theorem of Pythagoras; all pairwise lengths make a distance matrix.
def information(family, points, n_grid, folder):
    q = eta_of(family.spacetime, SpacetimePoint(torch.tensor([0.5, -0.2]), 0.0))[None]
    metric, mu = fisher_metric(family, q)[0], family.mu(q)
    along_e, way = torch.tensor([[0.5, 0.3, -0.1]]).double(), torch.tensor([[0.1, -0.4, 0.1]]).double()
    way = way - (way @ metric @ along_e.T) / (along_e @ metric @ along_e.T) * along_e
    r, p = q + along_e, natural_from_expectation(family, mu + 0.4 * way @ metric, q)
    kl = {
        f"{x}{y}": float(kl_divergence(family, u, v))
        for x, u, y, v in (("P", p, "R", r), ("P", p, "Q", q), ("Q", q, "R", r))
    }
    print(f"Pythagoras   KL(P|R) = {kl['PR']:.9f} = KL(P|Q) + KL(Q|R) = {kl['PQ'] + kl['QR']:.9f}")
    matrix = distance_matrix(family, points)
    rows = ["  ".join(f"{x:5.2f}" for x in row) for row in matrix.lengths.tolist()]
    print("distances    " + "\n             ".join(rows))

    grid, extent = plane(n_grid)
    level = torch.full((len(grid),), 1.0).double()
    target = eta_of(family.spacetime, SpacetimePoint(MEANS[0], 1.0))
    far = kl_from_point(family, target, family.spacetime.eta(grid, level)).view(n_grid, n_grid)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    shown = axes[0].contourf(
        far, levels=torch.linspace(0, 30, 16), extent=extent, cmap="cividis", extend="max"
    )
    axes[0].set(
        title="KL divergence from the posterior at A, all at log-SNR 1",
        aspect="equal",
        xlabel="x",
        ylabel="y",
    )
    axes[0].plot(*MEANS.T, "+", color="white")
    name_clusters(axes[0], "white")
    figure.colorbar(shown, ax=axes[0], label="nats", shrink=0.8)
    shown = axes[1].imshow(matrix.lengths, cmap="cividis")
    for i, j in torch.cartesian_prod(torch.arange(4), torch.arange(4)).tolist():
        dark = matrix.lengths[i, j] < matrix.lengths.max() / 2
        axes[1].text(
            j, i, f"{matrix.lengths[i, j]:.2f}", ha="center", va="center", color="white" if dark else "black"
        )
    axes[1].set(
        xticks=range(4),
        xticklabels=list(NAMES),
        yticks=range(4),
        yticklabels=list(NAMES),
        title="Fisher–Rao distances at log-SNR 3",
    )
    save(figure, folder / "geometry_information.png")


# 5. Two collapses: why spacetime. A deterministic decoder pulls the metric of clean data back to the noise, and its
# geodesics decode to straight segments: the data have no say. A stochastic one asks what clean data x_T alone still
# tells apart, and at the deepest noise that is nothing: x_T is forgotten, and its metric vanishes with the signal.
def collapses(family, a, points, n_points, n_grid, folder):
    noise, clean = -4.0, 8.0
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    show_data(axes[0], n_grid)
    straightest = []
    for b, colour in zip(points[1:], (ORANGE, GREEN, PURPLE), strict=True):
        curve = pullback_geodesic(family, a, b, log_snr=noise, data_log_snr=clean, n_points=n_points)
        decoded = probability_flow(family, curve.center, log_snr_from=noise, log_snr_to=clean, n_steps=100)
        spread = math.exp(-noise / 2)  # centers of pure noise reach this far
        axes[0].plot(*(curve.center / spread).T, color=colour, lw=2, ls=":")
        axes[0].plot(*decoded.T, color=colour, lw=2)
        segment = torch.lerp(a.center, b.center, torch.linspace(0, 1, n_points).double()[:, None])
        straightest.append(float((decoded - segment).norm(dim=1).max()))
    axes[0].plot([], [], color=BLACK, ls=":", label=f"in the noise, log-SNR {noise:.0f}, scaled to x_T")
    axes[0].plot([], [], color=BLACK, label="decoded")
    axes[0].set_title("Deterministic: pullback geodesics decode to straight segments", fontsize=11)

    shares = WEIGHTS.double() / WEIGHTS.double().sum()
    apart = MEANS - shares @ MEANS
    covariance = torch.einsum("k,ki,kj->ij", shares, apart, apart) + (shares @ VARIANCES).diag()
    levels = torch.linspace(-10, 4, 29).tolist()
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    traces = [noise_metric(family, x, level).diagonal(dim1=1, dim2=2).sum(1) for level in levels]
    low, middle, high = torch.stack(traces).quantile(torch.tensor([0.05, 0.5, 0.95]).double(), dim=1)
    rate = float(covariance.trace()) * torch.tensor(levels).exp()
    axes[1].fill_between(levels, low, high, color=SKY, alpha=0.4, lw=0, label="5 to 95 % of x_T")
    axes[1].plot(levels, middle, color=BLACK, lw=2, label="median")
    axes[1].plot(levels, rate, color=RED, ls="--", lw=1.5, label="e^log-SNR tr Cov of the data")
    axes[1].set(yscale="log", xlabel="log-SNR", ylabel="trace of the Fisher–Rao metric of x_T alone")
    axes[1].set_title("Stochastic: what x_T alone tells of the data vanishes", fontsize=11)
    for axis in axes:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)
    save(figure, folder / "geometry_collapses.png")
    print(
        f"collapses    pullback: decoded within {max(straightest):.0e} of straight segments; x_T alone: trace of its "
        f"metric over e^log-SNR tr Cov = {float(middle[0] / rate[0]):.3f} at log-SNR {levels[0]:.0f}"
    )


# 6. Your own denoiser. Any callable that maps x = alpha f + sigma eps and log_snr to E[f | x] is a family; all of the
# above runs on it, and only psi is missing. Here the mixture's own stands in for a network.
def own_denoiser(family, a, b, exact_length, n_points):
    def denoise(x, log_snr):
        snr = log_snr.exp()[:, None]
        precision = 1 / VARIANCES + snr[:, None]
        slope = MEANS / VARIANCES + (snr * x / torch.sigmoid(log_snr).sqrt()[:, None])[:, None]
        change = slope.square() / precision - MEANS.square() / VARIANCES - (VARIANCES * precision).log()
        log_share = WEIGHTS.double().log() + 0.5 * change.sum(2)
        return (log_share.softmax(1)[..., None] * slope / precision).sum(1)

    mine = DenoiserFamily(denoise, n_features=2, reference_variance=2.0)
    found = find_geodesic(mine, a, b, n_points=n_points)
    health = curve_health(mine, found.curve)
    print(f"own denoiser {found.status}, length {found.length:.3f} (exact: {exact_length:.3f}), "
          f"Jacobian's asymmetry {health.jacobian_asymmetry:.0e}")  # fmt: skip
    ends = torch.stack([eta_of(family.spacetime, p) for p in (a, b)])
    integrated, exact = (
        kl_from_point(mine, ends[0], ends[1:], n_nodes=32),
        kl_divergence(family, ends[:1], ends[1:]),
    )
    print(f"             KL(A|B) from it {float(integrated):.3f} (exact: {float(exact):.3f}) nats")


def name_clusters(axis, colour=BLACK):
    for name, (x, y) in NAMES.items():
        axis.text(x, y, name, color=colour, fontsize=11, weight="bold", ha="center", va="center")


def show_data(axis, n_grid):
    points, extent = plane(n_grid)
    density = log_density(points).exp().view(n_grid, n_grid)
    axis.contourf(density, levels=8, extent=extent, cmap="Greys", alpha=0.55, zorder=0)
    axis.set(aspect="equal", xlabel="x", ylabel="y")
    name_clusters(axis)


def save(figure, path):
    # no date and no version inside: the same numbers are the same bytes
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def main(folder: Path, n_points: int = 64, n_grid: int = 160) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    family = mixture()
    points = [SpacetimePoint(mean, log_snr=3.0) for mean in MEANS]
    a, b = points[:2]
    geodesic = posteriors(family, a, b, n_points, n_grid, folder)
    neighbours(family, a, b, geodesic, n_points, n_grid, folder)
    channels(family, a, b, geodesic, n_points, n_grid, folder)
    information(family, points, n_grid, folder)
    collapses(family, a, points, n_points, n_grid, folder)
    own_denoiser(family, a, b, geodesic.length, n_points)
    print(f"pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
