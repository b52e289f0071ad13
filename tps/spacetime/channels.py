"""Channels: distinct local minima of the length, found from many starts, merged when equal, ranked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

import torch
from torch import Tensor

from tps.errors import ParameterError
from tps.spacetime.barrier import FreeEnergyProfile, free_energy_profile
from tps.spacetime.channel_starts import default_starts
from tps.spacetime.empirical import EmpiricalFamily
from tps.spacetime.family import Family
from tps.spacetime.geodesic import find_geodesics
from tps.spacetime.points import SpacetimePoint
from tps.spacetime.solution import Geodesic
from tps.spacetime.solver_settings import SolverOptions
from tps.spacetime.starts import Start, chart_line

Rank = Literal["barrier", "length"]

#: Curves nearer than this fraction of their length, everywhere, are one channel.
_MERGE = 0.05


@dataclass(frozen=True, eq=False)
class Channel:
    """One way from A to B.

    Parameters
    ----------
    geodesic : Geodesic
        Its log-SNR profile is geodesic.curve.log_snr.
    starts : tuple of str
        Names of the starting curves that ended here.
    free_energy : FreeEnergyProfile
        Along the curve [kT]; its barrier is None where the tilt is too weak to mean a place.
    effective_sample_size : Tensor (n_points,) or None
        Of the frames along the curve, where frames were given.
    """

    geodesic: Geodesic
    starts: tuple[str, ...]
    free_energy: FreeEnergyProfile
    effective_sample_size: Tensor | None = None

    @classmethod
    def of(
        cls,
        geodesic: Geodesic,
        starts: tuple[str, ...],
        frames: EmpiricalFamily | None = None,
        blocks: Tensor | None = None,
    ) -> Channel:
        """Look at a geodesic with the frames; `blocks` as for `free_energy_profile`."""
        size = None if frames is None else frames.effective_sample_size(geodesic.curve.eta)
        return cls(geodesic, starts, free_energy_profile(geodesic.curve, frames, blocks), size)


def find_channels(
    family: Family,
    a: SpacetimePoint,
    b: SpacetimePoint,
    *,
    starts: Mapping[str, Start] | None = None,
    via: Sequence[SpacetimePoint] = (),
    frames: EmpiricalFamily | None = None,
    blocks: Tensor | None = None,
    rank: Rank | None = None,
    progress: Callable[[int], None] = lambda done: None,
    **options: Unpack[SolverOptions],
) -> tuple[Channel, ...]:
    """Find distinct geodesics between two points: distinct local minima of the length.

    The length says how far the distribution has to be changed, not how high the free energy rises on the way: the
    shortest channel may cross the highest pass. So channels are ranked by barrier where it means something.

    Parameters
    ----------
    family : Family
    a, b : SpacetimePoint
    starts : mapping of str to start, optional
        By name; what a start may be, see `find_geodesic`. Unless given: the straight line and, where features are
        angles, windings (see `winding_starts`).
    via : sequence of SpacetimePoint
        Each adds a start that passes through it (see `cluster_points`).
    frames : EmpiricalFamily, optional
        To report the support of each channel, and the error of its free energy.
    blocks : Tensor (n_frames,) of int, optional
        As for `free_energy_profile`.
    rank : "barrier" or "length", optional
        Barrier above A unless given, where every converged channel has one, and length otherwise.
    progress : callable
        As for `find_geodesics`.
    **options
        As for `find_geodesic`.

    Returns
    -------
    tuple of Channel
        Converged ones first, then by rank.

    Raises
    ------
    CurveError, ParameterError
        As for `find_geodesic`; or if channels are to be ranked by barriers that they do not have.
    """
    spacetime, n_points = family.spacetime, options.get("n_points", 64)
    named: dict[str, Start] = dict(starts or {})
    if starts is None:
        named |= default_starts(spacetime, a, b, n_points)
    for number, point in enumerate(via):
        named[f"via {number}"] = torch.cat(
            [chart_line(spacetime, a, point, n_points), chart_line(spacetime, point, b, n_points)[1:]]
        )
    found = find_geodesics(
        family, [(a, b)] * len(named), starts=list(named.values()), progress=progress, **options
    )
    groups: list[tuple[Geodesic, list[str]]] = []
    order = sorted(zip(named, found, strict=True), key=lambda item: (not item[1].converged, item[1].length))
    for name, geodesic in order:
        for kept, names in groups:
            if _same(kept, geodesic):
                names.append(name)
                break
        else:
            groups.append((geodesic, [name]))
    return ranked([Channel.of(g, tuple(names), frames, blocks) for g, names in groups], rank)[0]


def ranked(channels: Sequence[Channel], rank: Rank | None = None) -> tuple[tuple[Channel, ...], Rank]:
    """Return channels in their order, and what they were ranked by.

    Parameters
    ----------
    channels : sequence of Channel
    rank : "barrier" or "length", optional
        Barrier above A unless given, where every converged channel has one, and length otherwise.

    Returns
    -------
    tuple of Channel, "barrier" or "length"
        Converged ones first.

    Raises
    ------
    ParameterError
        If they are to be ranked by barriers that they do not have.
    """
    converged = [c for c in channels if c.geodesic.converged]
    loose = [c for c in converged if c.free_energy.barrier is None]
    if rank == "barrier" and loose:
        raise ParameterError(
            f"{len(loose)} of {len(converged)} channels have no barrier, since the tilt is too weak on the way to mean "
            "a place: hold it tighter with a floor on log-SNR, or rank by length"
        )
    used = rank or ("barrier" if converged and not loose else "length")

    def key(channel: Channel) -> tuple[bool, float]:
        barrier = channel.free_energy.barrier if used == "barrier" else None
        return not channel.geodesic.converged, channel.geodesic.length if barrier is None else barrier.above_a

    return tuple(sorted(channels, key=key)), used


def _same(one: Geodesic, other: Geodesic) -> bool:
    """Whether two curves are near each other at every s, by the symmetrised KL divergence of their points."""
    gap = (one.curve.eta - other.curve.eta) * (one.curve.mu - other.curve.mu)
    apart = float(gap.sum(-1).clamp_min(0).sqrt().max())
    return apart <= _MERGE * max(one.length, other.length)
