"""Surfaces: analytic potentials with known stationary points, tables as splines, and what their files may say."""

import importlib.util
import math
import pickle
import shutil

import numpy as np
import pytest
from surfaces import make_surface, table

from tps.errors import ParameterError, SystemDefinitionError
from tps.spacetime import spacetime_of
from tps.systems import (
    DoubleWell,
    DualChannel,
    MuellerBrown,
    SurfaceSystem,
    TablePotential,
    available_systems,
    data_directory,
    format_region,
    load_system,
    parse_region,
)
from tps.systems.surface_table import read_table

BUILT_IN = (
    "alanine-surface",
    "alanine-surface-300k",
    "double-well",
    "double-well-2d",
    "dual-channel",
    "mueller-brown",
)


def numerical_gradient(energy, points, step=1e-5):
    """Return central differences (n, d); their error is step**2 / 6 times the third derivative."""
    shifts = step * np.eye(points.shape[1])
    return np.stack([(energy(points + s) - energy(points - s)) / (2 * step) for s in shifts], axis=1)


def newton(potential, point):
    """Return the stationary point next to a point, and the eigenvalues of the Hessian there."""
    x = np.array(point, dtype=float)
    for _ in range(20):
        hessian = numerical_gradient(lambda p: potential.gradient(p), np.tile(x, (1, 1)), 1e-6)[0]
        x = x - np.linalg.solve(hessian, potential.gradient(x))
    return x, np.linalg.eigvalsh((hessian + hessian.T) / 2)


@pytest.mark.parametrize(
    ("near", "energy", "n_descending"),
    [
        ((-0.558, 1.442), -146.700, 0),
        ((0.623, 0.028), -108.167, 0),
        ((-0.050, 0.467), -80.768, 0),
        ((-0.822, 0.624), -40.665, 1),
        ((0.212, 0.293), -72.249, 1),
    ],
)
def test_mueller_brown_has_its_published_stationary_points(near, energy, n_descending):
    """Müller and Brown 1979: three minima and two saddle points, energies to the three digits they print."""
    point, curvatures = newton(MuellerBrown(), near)
    assert point == pytest.approx(near, abs=5.1e-4)
    assert MuellerBrown().energy(point) == pytest.approx(energy, abs=5.1e-4)
    assert (curvatures < 0).sum() == n_descending
    assert MuellerBrown(scale=0.1).energy(point) == pytest.approx(energy / 10, abs=1e-4)


def test_double_well_is_exact():
    one, two = DoubleWell(8.0), DoubleWell(8.0, stiffness=20.0)
    assert one.energy(np.array([[-1.0], [0.0], [1.0], [2.0]])).tolist() == [0.0, 8.0, 0.0, 72.0]
    assert two.energy(np.array([[1.0, 0.5]])).tolist() == [2.5]
    assert two.gradient(np.array([[2.0, 0.5]])).tolist() == [[192.0, 10.0]]


def test_dual_channel_has_two_channels_of_different_height():
    """On x = 0 the slope is y (4 a (y^2 - 1) + 2 b + 3 c y): the saddle points are the roots of the bracket."""
    potential = load_system("dual-channel").potential
    saddles = potential.saddle_points
    assert np.abs(potential.gradient(saddles)).max() < 1e-12
    assert [(newton(potential, p)[1] < 0).sum() for p in saddles] == [1, 1]
    assert potential.energy(saddles) == pytest.approx([6.0744367, 8.2242465], abs=1e-7)
    for well in ((-1.0, 0.0), (1.0, 0.0)):
        point, curvatures = newton(potential, well)
        assert point == pytest.approx(well, abs=1e-9)
        assert curvatures == pytest.approx([16.0, 160.0])  # 2 barrier, 8 stiffness
    with pytest.raises(SystemDefinitionError, match="got barrier 9 and stiffness 4"):
        DualChannel(stiffness=4.0, barrier=9.0, asymmetry=0.0)


@pytest.mark.parametrize("name", BUILT_IN)
def test_gradients_are_those_of_the_energy(name):
    """Central differences miss by 1e-10/6 times the third derivative and 1e-16/1e-5 times the energy."""
    system = load_system(name)
    low, high = system.space.bounds.T
    points = np.random.default_rng(1).uniform(low, high, (200, system.n_axes))
    expected = numerical_gradient(system.energy, points)
    assert system.gradient(points) == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_surfaces_start_and_end_in_minima(name):
    """The points are rounded to at most 0.05 degree: a descent from them gains less than 1e-4 kT (curvature 200)."""
    system = load_system(name)
    assert isinstance(system, SurfaceSystem)
    for point in (system.point_a, system.point_b):
        x, curvatures = newton(system, point)
        assert (curvatures > 0).all()
        assert 0 <= (system.energy(point) - system.energy(x)) / system.kt < 2e-4
        assert np.linalg.norm(x - point) < 1.3e-3
    assert system.state_a.region.contains(system.values(system.point_a[None])).all()
    assert not system.state_a.region.contains(system.values(system.point_b[None])).any()


def test_surfaces_are_listed_as_such():
    kinds = {summary.name: summary.kind for summary in available_systems()}
    assert {name for name, kind in kinds.items() if kind == "surface"} == set(BUILT_IN)
    assert kinds["alanine-dipeptide"] == "molecule"


def test_a_surface_survives_a_process_boundary():
    system = load_system("alanine-surface")
    copy = pickle.loads(pickle.dumps(system))
    assert copy.energy(system.point_b) == system.energy(system.point_b)
    assert copy.definition == system.definition != load_system("double-well").definition


# --- tables


def test_a_table_is_met_at_its_nodes_and_converges_between_them():
    """A cubic spline's error falls as h^4: by 16 when the step is halved, for the gradient (h^3) by 8."""
    errors = []
    for n in (20, 40):
        grid = -math.pi + 2 * math.pi * np.arange(n) / n
        values = np.cos(grid)[:, None] * np.sin(grid + 0.3)[None] + np.cos(2 * grid)[None]
        potential = TablePotential((grid, grid), values, periodic=True)
        nodes = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
        assert potential.energy(nodes) == pytest.approx(values, abs=1e-12)
        x = np.random.default_rng(0).uniform(-9, 9, (2000, 2))
        exact = np.cos(x[:, 0]) * np.sin(x[:, 1] + 0.3) + np.cos(2 * x[:, 1])
        slope = np.stack(
            [
                -np.sin(x[:, 0]) * np.sin(x[:, 1] + 0.3),
                np.cos(x[:, 0]) * np.cos(x[:, 1] + 0.3) - 2 * np.sin(2 * x[:, 1]),
            ],
            axis=1,
        )
        errors.append(
            [np.abs(potential.energy(x) - exact).max(), np.abs(potential.gradient(x) - slope).max()]
        )
    energy, gradient = np.array(errors).T
    assert 12 < energy[0] / energy[1] < 20
    assert 6 < gradient[0] / gradient[1] < 10


@pytest.mark.parametrize("n_axes", [1, 2])
def test_a_periodic_table_has_no_seam(n_axes):
    """The same rough values, begun at another cell, give the same surface (padding leaves 3.7^-32)."""
    n = 24
    values = np.random.default_rng(3).normal(size=(n,) * n_axes)
    grid = -math.pi + 2 * math.pi * np.arange(n) / n
    one = TablePotential((grid,) * n_axes, values, periodic=True)
    shifted = TablePotential(
        (grid + 7 * (2 * math.pi / n),) * n_axes, np.roll(values, [-7] * n_axes, range(n_axes)), True
    )
    x = np.random.default_rng(4).uniform(-20, 20, (500, n_axes))
    assert one.energy(x) == pytest.approx(shifted.energy(x), abs=1e-11)
    assert one.gradient(x) == pytest.approx(shifted.gradient(x), abs=1e-10)
    assert one.energy(x) == pytest.approx(one.energy(x + 2 * math.pi), abs=1e-11)


def test_there_is_no_energy_outside_an_open_table():
    potential = table(np.square, 9, periodic=False, low=-1.0, high=1.0)
    x = np.array([[-1.0], [1.0], [1.0001], [np.nan]])
    assert np.isnan(potential.energy(x)).tolist() == [False, False, True, True]
    assert np.isnan(potential.gradient(x)[:, 0]).tolist() == [False, False, True, True]
    assert potential.gradient(np.array([[0.3]])) == pytest.approx(
        np.array([[0.6]]), abs=1e-12
    )  # exact for squares


def write_table(file, phi, psi, values):
    if file.suffix == ".npz":
        np.savez(file, phi_degree=phi, psi_degree=psi, u=values)
    else:
        rows = np.stack([*np.meshgrid(phi, psi, indexing="ij"), values], axis=-1).reshape(-1, 3)
        np.savetxt(file, np.random.default_rng(0).permutation(rows))


@pytest.mark.parametrize("name", ["table.txt", "table.npz"])
@pytest.mark.parametrize("closed", [False, True])
def test_tables_are_read_from_text_in_any_order_and_from_npz(tmp_path, name, closed):
    phi, psi = np.linspace(-180, 180, 13), np.linspace(0, 360, 9)
    full = np.cos(np.deg2rad(phi))[:, None] + np.sin(np.deg2rad(psi))
    cut = slice(None) if closed else slice(-1)
    write_table(tmp_path / name, phi[cut], psi[cut], full[cut, cut])
    potential = read_table(tmp_path / name, ["phi_degree", "psi_degree"], periodic=True)
    assert potential.values == pytest.approx(full[:-1, :-1], abs=1e-12)
    assert potential.grid[1] == pytest.approx(np.deg2rad(psi[:-1]))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda rows: np.where(rows == rows[5, 2], np.nan, rows),
            "1 of 64 energies of the table are not finite",
        ),
        (
            lambda rows: np.where(rows == rows[5, 2], np.inf, rows),
            "1 of 64 energies of the table are not finite",
        ),
        (lambda rows: rows[1:], "one row for each of 8 x 8 cells, but 1 cells have none and 0 have several"),
        (lambda rows: np.concatenate([rows, rows[:1]]), "but 0 cells have none and 1 have several"),
        (lambda rows: rows[:, :2], "needs 3 columns (phi_degree, psi_degree and the energy), but has 2"),
        (lambda rows: rows[rows[:, 0] < 60], "from -180 to 45 degree in steps of at most 45"),
        (
            lambda rows: rows[rows[:, 1] < -60],
            "at least 4 values per axis for a cubic spline, but got (8, 3)",
        ),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(folder, change, expected):
    """Cells 45 degrees wide."""
    axis = np.arange(-180.0, 180.0, 45.0)
    rows = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.arange(64.0).reshape(8, 8) + 0.5], axis=-1)
    np.savetxt(folder / "table.txt", change(rows.reshape(-1, 3)))
    message = refusal(folder)
    assert "[surface] file: table.txt" in message
    assert expected in message


def test_the_build_script_turns_frames_into_a_free_energy():
    """Without bias and roughness, the counts of a known density give it back; an empty cell gets what is around it."""
    spec = importlib.util.spec_from_file_location(
        "build", data_directory("systems") / "alanine-surface" / "build.py"
    )
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    grid = 2 * np.pi * np.arange(16) / 16
    exact = np.cos(grid)[:, None] + 0.5 * np.sin(grid)
    exact -= np.logaddexp.reduce(exact, axis=None)
    counts = 1e6 * np.exp(exact)
    assert build.log_frames(counts, np.zeros((16, 16)), 1e-6) == pytest.approx(
        exact, abs=1e-2
    )  # where L-BFGS stops
    bias = np.add.outer(grid, np.cos(grid))[[*range(16), 0]][:, [*range(16), 0]]  # [psi, phi], ends repeated
    on_grid = build.bias_on_grid(bias, kt=2.0)
    assert on_grid.shape == (72, 72)
    assert on_grid[9, 9] == pytest.approx(bias[2, 2] / 2, abs=1e-9)
    assert on_grid[9, 27] == pytest.approx(bias[6, 2] / 2, abs=1e-9)
    frames = np.deg2rad([[-180.0, 0.0], [179.0, 2.4], [-177.4, -2.4], [-177.6, 90.0]])
    assert [build.histogram(frames)[i] for i in ((0, 36), (1, 36), (0, 54))] == [2, 1, 1]


# --- files


@pytest.fixture
def folder(tmp_path):
    """Return a copy of the built-in table surface, to be spoilt."""
    return shutil.copytree(data_directory("systems") / "alanine-surface", tmp_path / "mine")


def refusal(folder):
    with pytest.raises(SystemDefinitionError) as caught:
        load_system(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("double-well", "kt =", "kT =", "surface.kT: unknown key; did you mean 'kt'"),
        (
            "double-well",
            "barrier =",
            "barier =",
            "barier: unknown key; did you mean 'barrier'",
        ),
        ("double-well", "barrier = 8.0", "barrier = -8.0", "barrier: should be greater than 0, but got -8.0"),
        (
            "double-well",
            "barrier = 8.0",
            "barrier = 8.0, stiffness = 1.0",
            "parameters: stiffness: unknown key",
        ),
        ("double-well-2d", ", stiffness = 20.0", "", "parameters: stiffness: required key is missing"),
        (
            "double-well",
            '"double-well"\naxes',
            '"duble-well"\naxes',
            "kind: no surface is of kind 'duble-well'; did you mean",
        ),
        ("mueller-brown", '["x", "y"]', '["x"]', "axes: mueller-brown has 2 axes, but got 1 (x)"),
        (
            "mueller-brown",
            '["x", "y"]',
            '["x", "x"]',
            "axes: every axis needs a name of its own, but got x, x",
        ),
        (
            "mueller-brown",
            "[[-1.5, 1.2], [-0.5, 2.0]]",
            "[[-1.5, 1.2]]",
            "bounds: give [low, high] for each of the 2 axes",
        ),
        (
            "mueller-brown",
            "[[-1.5, 1.2], [-0.5, 2.0]]",
            "[[-1.5, 1.2], [2.0, 2.0]]",
            "axis y: bounds need two finite numbers",
        ),
        (
            "double-well",
            "kt = 1.0",
            "kt = 1.0\nperiodic = true",
            "periodic and file belong to kind 'table', not to 'double-well'",
        ),
        ("double-well", "kt = 1.0", "kt = 0.0", "surface.kt: should be greater than 0"),
        (
            "double-well",
            "x = [0.7, 1.6]",
            "x_nm = [0.7, 1.6]",
            "x is a coordinate, whose ranges are given as x",
        ),
        (
            "double-well",
            "x = [0.7, 1.6]",
            "x = [1.6, 0.7]",
            "a coordinate range needs low < high, but got 1.6 and 0.7",
        ),
        ("double-well", "x = [0.7, 1.6]", "z = [0.7, 1.6]", "[states.B] z: unknown key"),
        ("double-well", "x = [0.7, 1.6]", "x = [-0.8, 1.6]", "overlap: give both a range"),
        (
            "double-well",
            "x = [0.7, 1.6]",
            "x = [1.1, 1.6]",
            "contains neither end point: point B has x = 1, widen",
        ),
        (
            "double-well",
            "point = [1.0]",
            "point = [1.0, 0.0]",
            "[states.B] point: needs 1 numbers, one per axis",
        ),
        ("double-well", "point = [1.0]", "point_degree = [1.0]", "give the end point as point = [x]"),
        (
            "alanine-surface",
            "point_degree",
            "point",
            "[states.A]: give the end point as point_degree = [phi, psi]",
        ),
        (
            "alanine-surface",
            "phi_degree = [40, 100]",
            "phi = [40, 100]",
            "whose ranges are given as phi_degree",
        ),
        (
            "mueller-brown",
            "[[-1.5, 1.2]",
            "[[-0.5, 1.2]",
            "x = -0.5582, outside of the bounds -0.5 to 1.2: move",
        ),
        ("alanine-surface", "table.txt", "tabel.txt", "tabel.txt does not exist"),
        ("alanine-surface", 'file = "table.txt"', "", "file: a table needs its file"),
        (
            "alanine-surface",
            "kt = 1.0",
            "kt = 1.0\nbounds = [[0, 1], [0, 1]]",
            "bounds: a table has its own, remove them",
        ),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, name, old, new, expected):
    folder = shutil.copytree(data_directory("systems") / name, tmp_path / "mine")
    file = folder / "system.toml"
    text = file.read_text()
    assert old in text
    head, _, tail = text.rpartition(old) if old.startswith(("x =", "point =")) else text.partition(old)
    file.write_text(head + new + tail)
    assert expected in refusal(folder)


def test_swapped_end_points_are_noticed(tmp_path):
    folder = shutil.copytree(data_directory("systems") / "double-well", tmp_path / "mine")
    file = folder / "system.toml"
    file.write_text(
        file.read_text().replace("[-1.0]", "[+2]").replace("[1.0]", "[-1.0]").replace("[+2]", "[1.0]")
    )
    assert "contains end point B and [states.B] (right) contains A: swap point_a and point_b" in refusal(
        folder
    )


# --- regions, statistics and tilts


def test_regions_name_the_axes():
    surface, torus = load_system("mueller-brown"), load_system("alanine-surface")
    region = parse_region("x=-1..0.5, y=0.2..inf", surface.collective_variables)
    assert region.ranges == {"x": (-1.0, 0.5), "y": (0.2, math.inf)}
    assert (
        parse_region(format_region(region, surface.collective_variables), surface.collective_variables)
        == region
    )
    inside = region.contains(surface.values([[0.0, 0.3], [0.0, 0.1], [0.6, 0.3]]))
    assert inside.tolist() == [True, False, False]
    wrapping = parse_region("phi=170..-170", torus.collective_variables)
    points = np.deg2rad([[175.0, 0.0], [185.0, 0.0], [-175.0, 0.0], [165.0, 0.0], [540.0, 0.0]])
    assert wrapping.contains(torus.values(points)).tolist() == [True, True, True, False, True]
    with pytest.raises(SystemDefinitionError, match=r"no collective variable 'z'"):
        parse_region("z=0..1", surface.collective_variables)


def test_an_avoided_region_must_leave_the_end_points():
    system = load_system("alanine-surface")
    system.check_avoided_regions([parse_region("phi=-30..30", system.collective_variables)])
    with pytest.raises(SystemDefinitionError, match=r"contains end point B \(C7ax: phi = 60.3 degree\)"):
        system.check_avoided_regions([parse_region("phi=0..100", system.collective_variables)])


def test_angles_wrap_into_the_half_open_turn():
    system = load_system("alanine-surface")
    wrapped = system.feature_values([[math.pi, -math.pi], [3 * math.pi, 0.5 - 4 * math.pi]])
    assert wrapped == pytest.approx(np.array([[math.pi, math.pi], [math.pi, 0.5]]), abs=1e-12)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_space_has_the_axes(name):
    """All of them are features, and the statistic is that of the surface's spacetime."""
    system = load_system(name)
    assert system.space.names == system.axis_names and (system.space.n_lines == 0) == system.axes[0].periodic
    assert system.space.n_statistics == spacetime_of(system.space).n_statistics
    assert system.space.bounds.tolist() == [[axis.low, axis.high] for axis in system.axes]


def test_shapes_that_do_not_fit_are_refused():
    system = load_system("mueller-brown")
    with pytest.raises(ParameterError, match=r"\(\.\.\., 2\), one column per axis, but got \(5, 3\)"):
        system.energy(np.zeros((5, 3)))
    with pytest.raises(ParameterError, match="at least 2 points per axis, but got 1"):
        system.energy_grid(1)


def test_grids_cover_the_bounds_or_one_turn():
    (x, y), energies = load_system("mueller-brown").energy_grid(5)
    assert (x[0], x[-1], y[0], y[-1]) == (-1.5, 1.2, -0.5, 2.0)
    assert energies[1, 3] == MuellerBrown().energy(np.array([x[1], y[3]]))
    (phi, _), _ = load_system("alanine-surface").energy_grid(4)
    assert np.rad2deg(phi) == pytest.approx([-180, -90, 0, 90])


def test_one_periodic_axis_of_two_is_refused():
    from dataclasses import replace

    system = make_surface(DoubleWell(1.0, stiffness=1.0), n_axes=2)
    mixed = (system.axes[0], replace(system.axes[1], low=-math.pi, high=math.pi, periodic=True))
    with pytest.raises(SystemDefinitionError, match="every axis of a surface is periodic or none"):
        replace(system, axes=mixed)
