"""The Schrödinger bridge: how diffusing walkers get from one anchored state to another, given that they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import SuperLU, splu

from tps.errors import CurveError, ParameterError
from tps.spacetime.curve import SpacetimeCurve
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family
from tps.spacetime.frame_cells import FrameCells
from tps.spacetime.information import natural_from_expectation
from tps.spacetime.points import SpacetimePoint, eta_of

#: Instants at which the bridge is looked at, and steps of time between two of them.
_N_TIMES, _N_SUBSTEPS = 128, 4
#: The fitting ends when the share of walkers that do not start as asked is below this.
_MISFIT, _MAX_FITS = 1e-8, 500

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bridge:
    """A Markov process pinned at both ends.

    Parameters
    ----------
    marginals : array (n_times, n_states)
        Its distributions, the two asked for first and last.
    misfit : float
        Half the sum of |difference| between the first one and the one asked for.
    n_fits : int
    """

    marginals: Floats
    misfit: float
    n_fits: int

    @property
    def converged(self) -> bool:
        """Whether it starts where it was asked to."""
        return self.misfit <= _MISFIT


def schroedinger_bridge(
    loss: csc_array, start: Floats, end: Floats, duration: float, *, n_times: int = _N_TIMES
) -> Bridge:
    """Return the process nearest in relative entropy to a jump process that has given distributions at both ends.

    Its densities are phi_t hat-phi_t with phi backward and hat-phi forward solutions of the master equation, fitted to
    either end in turn (iterative proportional fitting). Where the end is one state this is Doob's h-transform.

    Parameters
    ----------
    loss : sparse array (n_states, n_states)
        L of the master equation dp/dt = -L p.
    start, end : arrays (n_states,)
        Distributions, each of sum 1.
    duration : float
        In units of 1 / L; implicit steps of time, 4 between any two instants.
    n_times : int
        Instants in equal steps, the ends among them.

    Returns
    -------
    Bridge

    Raises
    ------
    CurveError
        If no way leads from the start to the end.

    References
    ----------
    Léonard, Discrete Contin. Dyn. Syst. A 34, 1533 (2014), also for the fitting (Fortet, Sinkhorn).
    """
    if n_times < 2 or not duration > 0:
        raise ParameterError(
            f"a bridge needs two instants and a duration, but got n_times = {n_times}, duration = {duration:g}"
        )
    step = duration / ((n_times - 1) * _N_SUBSTEPS)
    moved = splu(csc_array(eye_array(len(start)) + step * loss))
    last, misfit, n_fits = (end > 0).astype(np.float64), np.inf, 0
    while True:
        n_fits += 1
        backward = _carried(moved, last, n_times, "T")[::-1]
        forward = _carried(moved, _over(start, backward[0]), n_times, "N")
        reached = forward[-1] * last
        misfit = float(np.abs(reached / reached.sum() - end).sum() / 2)
        if misfit <= _MISFIT or n_fits == _MAX_FITS:
            break
        last = _over(end, forward[-1])
    density = forward * backward
    return Bridge(density / density.sum(1, keepdims=True), misfit, n_fits)


def bridge_curve(
    family: Family, frames: EmpiricalFamily, a: SpacetimePoint, b: SpacetimePoint
) -> tuple[SpacetimeCurve, Bridge]:
    """Return the curve of the tilts nearest to the Schrödinger bridge between two anchored states.

    Walkers of unit mobility diffuse over the weighted frames (`FrameCells`), for the time in which free diffusion
    spreads over the distance between the ends. Of their distributions at each instant, the tilt with the same
    expectation parameters is the nearest one in relative entropy.

    Parameters
    ----------
    family : Family
    frames : EmpiricalFamily
        On the same spacetime.
    a, b : SpacetimePoint

    Returns
    -------
    SpacetimeCurve
        At equal steps of time.
    Bridge

    Raises
    ------
    CurveError
        If no way leads through the frames, or a distribution is wider than any posterior.
    """
    cells = FrameCells(frames, np.zeros(len(frames.statistics), dtype=bool))
    ends = torch.stack([eta_of(family.spacetime, point) for point in (a, b)])
    flat = cells.weights(torch.zeros_like(ends[0]))
    shares = [cells.weights(eta) for eta in ends]
    with torch.no_grad():
        apart = (frames.mu(ends)[1] - frames.mu(ends)[0])[: frames.spacetime.n_features]
    bridge = schroedinger_bridge(
        cells.loss(cells.rates(flat)),
        shares[0] / shares[0].sum(),
        shares[1] / shares[1].sum(),
        float(apart.square().sum()) / 2,
    )
    mu = torch.as_tensor(bridge.marginals @ cells.means())
    eta = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, len(mu), dtype=torch.float64)[:, None])
    eta[1:-1] = natural_from_expectation(family, mu[1:-1], eta[1:-1])
    if not bool(family.spacetime.inside(eta).all()):
        raise CurveError(
            "the bridge leaves spacetime: on the way walkers spread wider than any posterior; tighten the ends "
            "(anchor_log_snr)"
        )
    return SpacetimeCurve.from_eta(family, eta), bridge


def _carried(moved: SuperLU, first: Floats, n_times: int, which: Literal["N", "T"]) -> Floats:
    """Return (n_times, n_states) what implicit steps of time, or their adjoints, make of the first, scaled to 1."""
    found = [first / first.max()]
    while len(found) < n_times:
        here = found[-1]
        for _ in range(_N_SUBSTEPS):
            here = moved.solve(here, which)
        found.append(here / here.max())
    return np.stack(found)


def _over(asked: Floats, factor: Floats) -> Floats:
    """Return asked / factor, 0 where nothing is asked for."""
    wanted = asked > 0
    if (factor[wanted] <= 0).any():
        raise CurveError(
            "no way leads through the frames from A to B: sample longer, or bring the ends closer together"
        )
    return np.where(wanted, asked / np.where(wanted, factor, 1.0), 0.0)
