"""The lower bound of paths' highest energy, against hand-made grids, a second algorithm and known saddle points."""

import heapq
import itertools
import math

import numpy as np
import pytest

from tps.analysis.flood_fill import flood_fill, frames_lower_bound, joined_cells, surface_lower_bound
from tps.errors import ParameterError
from tps.features import FeatureSpace
from tps.systems import load_system

WALL = math.inf


def fill(energies, start, end, periodic=False):
    """Return the bound on a grid with cells 1 apart, or of one turn along axes that are periodic."""
    shape = np.shape(energies)
    periodic = (periodic,) * len(shape) if isinstance(periodic, bool) else periodic
    axes = [
        -np.pi + 2 * np.pi * np.arange(n) / n if turns else np.arange(float(n))
        for n, turns in zip(shape, periodic, strict=True)
    ]
    points = [[axis[i] for axis, i in zip(axes, cell, strict=True)] for cell in (start, end)]
    return flood_fill(axes, energies, *points, periodic=periodic)


def minimax(energies, start, end, periodic):
    """Dijkstra with the highest energy so far in place of the distance: an independent second algorithm."""
    u, seen, queue = np.asarray(energies), set(), [(energies[start], start)]
    while queue:
        level, cell = heapq.heappop(queue)
        if cell == end:
            return level
        if cell in seen:
            continue
        seen.add(cell)
        for step in itertools.product((-1, 0, 1), repeat=u.ndim):
            other = tuple(np.add(cell, step).tolist())
            other = tuple(i % n if turns else i for i, n, turns in zip(other, u.shape, periodic, strict=True))
            if all(0 <= i < n for i, n in zip(other, u.shape, strict=True)):
                heapq.heappush(queue, (max(level, u[other]), other))
    return None


@pytest.mark.parametrize(
    ("energies", "periodic", "expected"),
    [
        ([[0, 9, 0], [0, 9, 0], [0, 3, 0]], False, 3),
        ([[0, 9, 1], [0, 4, 9], [0, 9, 9]], False, 4),  # across a corner
        ([[0, 9, 0], [9, 9, 9], [9, 9, 9]], True, 0),  # round the back
        ([[0, 8, 7], [9, 9, 9], [9, 2, 9]], True, 7),  # the end itself is highest
        ([[0, 9, 0], [WALL, WALL, WALL], [0, 9, 0]], False, 9),
        ([[5, 1, 2], [9, 9, 9], [9, 9, 9]], False, 5),  # the start is
    ],
)
def test_by_hand_in_two_dimensions(energies, periodic, expected):
    assert fill(energies, (0, 0), (0, 2), periodic).energy == expected


@pytest.mark.parametrize(
    ("energies", "periodic", "expected"),
    [([0, 3, 7, 0, 5], False, 7), ([0, 3, 7, 0, 5], True, 5), ([0, 3, 7, 0, np.nan], True, 7)],
)
def test_by_hand_in_one_dimension(energies, periodic, expected):
    assert fill(energies, (0,), (3,), periodic).energy == expected


def test_corners_touch_over_both_borders():
    """On a torus the corner cells (0, 0) and (3, 3) are neighbours."""
    energies = np.full((4, 4), 9.0)
    energies[0, 0] = energies[3, 3] = 0.0
    assert fill(energies, (0, 0), (3, 3), periodic=True).energy == 0.0
    assert fill(energies, (0, 0), (3, 3), periodic=False).energy == 9.0
    for one in ((True, False), (False, True)):  # on a cylinder they are not
        assert fill(energies, (0, 0), (3, 3), periodic=one).energy == 9.0
    energies[0, 0], energies[0, 2] = 9.0, 0.0  # but over the border that goes round (0, 2) is beside (3, 3)
    assert fill(energies, (0, 2), (3, 3), periodic=(True, False)).energy == 0.0
    assert fill(energies, (0, 2), (3, 3), periodic=(False, True)).energy == 9.0


def test_the_error_at_a_border_knows_what_lies_beyond():
    """Highest is the first cell, 5, beside 0 and, over the border, 3: |3 - 10 + 0| / 8; on a line beside 0 alone."""
    assert fill([5, 0, 9, 0, 3], (1,), (3,), periodic=True).error == 7 / 8
    assert fill([5, 0, 9, 0, 3], (0,), (1,), periodic=False).error == 5 / 8


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("shape", [(30,), (12, 9), (7, 7)])
def test_it_agrees_with_dijkstra_on_random_grids(shape, first, second):
    rng, periodic = np.random.default_rng(0), (first, second)[: len(shape)]
    for _ in range(20):
        energies = rng.normal(size=shape)
        start, end = (tuple(rng.integers(n) for n in shape) for _ in range(2))
        start, end = tuple(map(int, start)), tuple(map(int, end))
        assert fill(energies, start, end, periodic).energy == minimax(energies, start, end, periodic)


@pytest.mark.parametrize("n", [20, 21, 50, 51, 200])
def test_the_double_well_has_its_barrier_within_the_error(n):
    """With a cell on the saddle point (odd n) the bound is exact; else the highest cell lies h/2 off: the worst case.

    There the error's own next order shows: U'' = 32 (3 x^2 - 1) is smaller by 3 h^2/4 at h/2.
    """
    found = surface_lower_bound(load_system("double-well"), n)
    h = 3.6 / (n - 1)
    assert abs(found.energy - 8.0) < (1e-12 if n % 2 else found.error * (1 + 2 * h**2))
    assert found.error == pytest.approx(
        16 * 8.0 / 4 * h**2 / 8, rel=0.2
    )  # U'' = -32 at the saddle point, h^2/8 of it
    assert found.n_evaluations == n


@pytest.mark.parametrize(
    ("name", "saddle"),
    [("mueller-brown", -40.66484), ("dual-channel", 6.0744367), ("double-well-2d", 8.0)],
)
def test_the_error_bounds_the_distance_to_the_saddle_point(name, saddle):
    """And it falls with the square of the spacing: 16 times from n to 4 n."""
    system = load_system(name)
    coarse, fine = surface_lower_bound(system, 90), surface_lower_bound(system, 360)
    assert abs(coarse.energy - saddle) < coarse.error
    assert abs(fine.energy - saddle) < fine.error
    assert coarse.error / fine.error == pytest.approx(16, rel=0.35)
    assert np.linalg.norm(system.gradient(fine.point)) / system.kt < 3  # curvatures of 400 over half a cell


def test_the_alanine_surface_has_one_bound_at_any_temperature():
    """The bound is of the table, in its unit: kT has no part in it. The channel is the one through phi = 0."""
    cold, warm = (
        surface_lower_bound(load_system(name), 181) for name in ("alanine-surface", "alanine-surface-300k")
    )
    assert cold == warm
    assert cold.energy == pytest.approx(36.97, abs=0.03)
    assert abs(np.rad2deg(cold.point[0])) < 5


def test_frames_have_the_bound_of_their_free_energy():
    """Uniform frames weighted by exp(-3 (1 - cos 2x)) have wells at 0 and pi and a barrier of 6 kT at pi/2.

    30 cells of 12 degrees: the barrier's cell averages the density over 12 degrees, and the wells' cells too, so the
    bound lies below 6 by 2 (1/2 U'' h^2/12) = 12 h^2/12 = 0.04; the rest is sampling, 1/sqrt(N / 30) per cell.
    """
    torsions = np.random.default_rng(0).uniform(-np.pi, np.pi, (200_000, 1))
    log_weights = -3 * (1 - np.cos(2 * torsions[:, 0]))
    found = frames_lower_bound(space(phi=True), torsions, log_weights, [0.0], [np.pi], n=60)
    sampling = math.sqrt(2 / (200_000 / 60))
    assert found.energy == pytest.approx(6 - 12 * (np.pi / 30) ** 2 / 12, abs=4 * sampling)
    assert sampling / math.sqrt(2) < found.error < 0.05
    assert abs(found.point[0]) == pytest.approx(np.pi / 2, abs=0.2)


def test_frames_of_a_torsion_and_a_distance_have_the_bound_of_their_product():
    """exp(-3 (1 - cos 2x)) times a parabola of 4 kT about 0.5 nm: the saddle lies at (pi/2, 0.5 nm), 6 kT high.

    The bound takes the way along the distance's cells at 0.5 nm, so the error is that of one torsion, but for sampling
    in 30 x 20 cells: 1/sqrt(N / 600).
    """
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.uniform(-np.pi, np.pi, 300_000), rng.uniform(0.2, 0.8, 300_000)])
    log_weights = -3 * (1 - np.cos(2 * values[:, 0])) - 4 * ((values[:, 1] - 0.5) / 0.3) ** 2
    mixed = space(phi=True, ends=False)
    found = frames_lower_bound(mixed, values, log_weights, [0.0, 0.5], [np.pi, 0.5], n=30)
    sampling = math.sqrt(2 / (300_000 / 900))
    assert found.energy == pytest.approx(6 - 12 * (np.pi / 15) ** 2 / 12, abs=4 * sampling)
    assert abs(found.point[0]) == pytest.approx(np.pi / 2, abs=0.25) and abs(found.point[1] - 0.5) < 0.1


def space(**features):
    """Angles (True) and distances (False) [nm] by name."""
    kinds = [
        ("rad", 1.0, (-np.pi, np.pi)) if turns else ("nm", 0.1, (0.0, np.inf)) for turns in features.values()
    ]
    units, scale, bounds = zip(*kinds, strict=True)
    return FeatureSpace(tuple(features), tuple(features.values()), units, scale, np.array(bounds))


def test_a_cell_without_frames_cannot_be_passed():
    torsions, both = np.array([[0.0, 0.0], [np.pi, 0.0]]), space(phi=True, psi=True)
    with pytest.raises(ParameterError, match="no path of cells with finite energies"):
        frames_lower_bound(both, torsions, np.zeros(2), [0.0, 0.0], [np.pi, 0.0], n=12)
    with pytest.raises(ParameterError, match="the end lies in a cell without a finite energy"):
        frames_lower_bound(both, torsions, np.zeros(2), [0.0, 0.0], [1.0, 0.0], n=12)


def test_few_frames_are_joined_by_larger_cells():
    """Frames every 20 degree leave holes in 60 and 30 cells of a turn, none in 15; the rare one is the top."""
    torsions = np.radians(np.arange(0.0, 181.0, 20.0))[:, None]
    log_weights = np.where(np.isclose(torsions[:, 0], np.radians(60)), -3.0, 0.0)
    found = joined_cells(space(phi=True), torsions, log_weights, [0.0], [np.pi])
    assert found[0] == pytest.approx(np.radians(60))
    with pytest.raises(ParameterError, match="no path of cells with finite energies"):
        joined_cells(space(phi=True), np.array([[0.1], [2.9]]), np.zeros(2), [0.1], [2.9])


def test_what_does_not_fit_is_refused():
    axis = np.arange(3.0)
    with pytest.raises(ParameterError, match=r"axes of \[3, 3\] and energies \(3, 2\)"):
        flood_fill([axis, axis], np.zeros((3, 2)), [0, 0], [1, 1])
    with pytest.raises(ParameterError, match=r"needs 2 numbers, one per axis, but got \[0.0\]"):
        flood_fill([axis, axis], np.zeros((3, 3)), [0], [1, 1])
    with pytest.raises(ParameterError, match=r"2 axes .* but got \[True\]"):
        flood_fill([axis, axis], np.zeros((3, 3)), [0, 0], [1, 1], periodic=[True])
