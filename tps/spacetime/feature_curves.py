"""Curves at one noise level that minimise a functional of the score: the neighbours of the spacetime geodesic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.family import Family
from tps.spacetime.lbfgs import minimise
from tps.spacetime.noise_level import NoiseLevel
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.preconditioner import GroupedPreconditioner
from tps.spacetime.score import divergence


@dataclass(frozen=True, eq=False)
class FeatureCurve:
    """A curve at one noise level.

    Parameters
    ----------
    curve : SpacetimeCurve
    value : float
        Of the functional that was minimised.
    status : str
        "converged", or why not.
    n_gradient_evaluations : int
        Evaluations of the functional with its gradient.
    """

    curve: SpacetimeCurve
    value: float
    status: str
    n_gradient_evaluations: int

    @property
    def converged(self) -> bool:
        """Whether the status is "converged"."""
        return self.status == "converged"


def score_metric_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    log_snr: float,
    weight: float | None = None,
    start: SpacetimeCurve | None = None,
    n_points: int = 64,
    rtol: float = 1e-6,
    max_iterations: int = 1000,
) -> FeatureCurve:
    """Return the geodesic of the metric I + weight s s', which makes motion along the score dear.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers (of angles, where they point) are the ends.
    log_snr : float
        Noise level of the score s, and of the curve.
    weight : float, optional
        In the features' unit squared; e^-log_snr, the variance of the noise, unless given.
    start : SpacetimeCurve, optional
        Its centers are taken, and its windings stay. The straight line, angles the short way, unless given.
    n_points, rtol, max_iterations
        As for `find_geodesic`.

    Returns
    -------
    FeatureCurve
        Its value is the energy (N - 1)/2 sum |dc|**2 + weight (s . dc)**2.

    Raises
    ------
    ParameterError
        If the weight is negative.
    CurveError
        If the start does not lead from a to b.

    References
    ----------
    Azeglio and Di Bernardo, "What's Inside Your Diffusion Model? A Score-Based Riemannian Metric to Explore the Data
    Manifold", arXiv 2505.11128.
    """
    factor = torch.tensor(-log_snr).exp().item() if weight is None else weight
    if not factor >= 0:
        raise ParameterError(f"the weight of the score must not be negative, but got {factor}")

    level = NoiseLevel(family, log_snr)

    def energy(center: Tensor) -> Tensor:
        steps, s = center.diff(dim=0), level.score(center)
        along = 0.5 * ((s[1:] * steps).sum(-1).square() + (s[:-1] * steps).sum(-1).square())
        return 0.5 * len(steps) * (steps.square().sum() + factor * along.sum())

    return _minimise(level, level.line(a, b, n_points, start), energy, rtol, max_iterations)


def score_jacobian_geodesic(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    log_snr: float,
    ridge: float = 1e-3,
    start: SpacetimeCurve | None = None,
    n_points: int = 64,
    rtol: float = 1e-6,
    max_iterations: int = 1000,
) -> FeatureCurve:
    """Return the geodesic of the metric J'J, J the score's Jacobian: cheap along the data, dear across them.

    Across the data the score changes by e^log_snr per unit, along them by little.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers (of angles, where they point) are the ends.
    log_snr : float
        Noise level of the score, and of the curve.
    ridge : float
        Multiple of the identity added, relative to e^(2 log_snr), which keeps steps equal where J vanishes.
    start : SpacetimeCurve, optional
        Its centers are taken, and its windings stay. The straight line, angles the short way, unless given.
    n_points, rtol, max_iterations
        As for `find_geodesic`.

    Returns
    -------
    FeatureCurve
        Its value is the energy (N - 1)/2 sum e^(-2 l) |ds|**2 + ridge |dc|**2.

    Raises
    ------
    ParameterError
        If the ridge is negative.
    CurveError
        If the start does not lead from a to b.

    References
    ----------
    Saito and Matsubara, "Image Interpolation with Score-based Riemannian Metrics of Diffusion Models", arXiv
    2504.20288.
    """
    if not ridge >= 0:
        raise ParameterError(f"the ridge must not be negative, but got {ridge}")
    unit = torch.tensor(-2 * log_snr).exp().item()

    level = NoiseLevel(family, log_snr)

    def energy(center: Tensor) -> Tensor:
        steps, change = center.diff(dim=0), level.score(center).diff(dim=0)
        return 0.5 * len(steps) * (unit * change.square().sum() + ridge * steps.square().sum())

    return _minimise(level, level.line(a, b, n_points, start), energy, rtol, max_iterations)


def onsager_machlup_path(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    log_snr: float,
    duration: float | None = None,
    start: SpacetimeCurve | None = None,
    n_points: int = 64,
    rtol: float = 1e-6,
    max_iterations: int = 1000,
) -> FeatureCurve:
    """Return the most probable path of overdamped Langevin dynamics dc = s dt + sqrt(2) dW on the blurred density.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
        Whose centers (of angles, where they point) are the ends.
    log_snr : float
        Noise level of the score s, and of the curve.
    duration : float, optional
        Time of the path, in the features' unit squared (the diffusion coefficient is 1); half the squared distance of
        the ends (angles the way round that the start takes), in which free diffusion covers it, unless given.
    start : SpacetimeCurve, optional
        Its centers are taken, and its windings stay. The straight line, angles the short way, unless given.
    n_points, rtol, max_iterations
        As for `find_geodesic`.

    Returns
    -------
    FeatureCurve
        Points at equal times. Its value is the action, the integral of |dc/dt|**2 / 4 + |s|**2 / 4 + div s / 2; the
        term ln(p(a)/p(b)) / 2 of the end points is left out.

    Raises
    ------
    ParameterError
        If the duration is not positive.
    CurveError
        If the start does not lead from a to b.

    References
    ----------
    Onsager and Machlup, Phys. Rev. 91, 1505 (1953); Raja et al., ICML 2025, for learned scores.
    """
    level = NoiseLevel(family, log_snr)
    line = level.line(a, b, n_points, start)
    if duration is None:
        duration = 0.5 * float((line[-1] - line[0]).square().sum())
    if not duration > 0:
        raise ParameterError(f"the duration must be positive, but got {duration}; are the ends the same?")
    time = duration

    def action(center: Tensor) -> Tensor:
        dt = time / (len(center) - 1)
        s = level.score(center)
        rate = 0.25 * s.square().sum(-1) + 0.5 * divergence(level.score, center)
        return 0.25 / dt * center.diff(dim=0).square().sum() + dt * 0.5 * (rate[1:] + rate[:-1]).sum()

    return _minimise(level, line, action, rtol, max_iterations)


def _minimise(
    level: NoiseLevel,
    line: Tensor,
    functional: Callable[[Tensor], Tensor],
    rtol: float,
    max_iterations: int,
) -> FeatureCurve:
    """Minimise a functional of positions (n_points, d), starting from a line whose ends stay."""
    n_points, shape = len(line), line[1:-1].shape

    def objective(positions: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        inner = positions[0].unflatten(0, shape).detach().requires_grad_(True)
        with torch.enable_grad():
            value = functional(torch.cat([line[:1], inner, line[-1:]]))
            (gradient,) = torch.autograd.grad(value, inner)
        return value.detach()[None], gradient.flatten()[None]

    moving = torch.eye(n_points, dtype=torch.float64)[:, 1:-1]
    scales = torch.ones(1, n_points, 1, dtype=torch.float64)
    smooth = GroupedPreconditioner(moving, scales, (slice(0, shape[1]),))
    first, _ = objective(line[1:-1].flatten()[None], torch.zeros(1))
    blur = math.exp(-level.log_snr / 2)
    found = minimise(
        objective,
        line[1:-1].flatten()[None],
        lambda g, i: smooth(g.unflatten(1, shape), i).flatten(1),
        tolerance=rtol * max(abs(float(first)), 1e-12),
        max_iterations=max_iterations,
        # a point that jumps further than the blur ends in another valley than the start's
        longest_step=lambda step, _: (blur / step.abs().amax(1).clamp_min(1e-300)).clamp_max(1),
    )
    positions = torch.cat([line[:1], found.position[0].unflatten(0, shape), line[-1:]])
    status = "converged"
    if not bool(found.converged[0]):
        status = f"stopped after {int(found.n_iterations[0])} iterations; raise max_iterations or rtol"
    return FeatureCurve(
        curve=level.curve(positions),
        value=float(found.value[0]),
        status=status,
        n_gradient_evaluations=int(found.n_evaluations[0]),
    )
