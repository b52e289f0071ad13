"""Biases on circles and lines, and the walls of their ranges: tables, hills, weights against closed forms."""

import math
from dataclasses import replace

import numpy as np
import openmm
import pytest
from molecules import ATOMS, chain_positions, torsion_molecule

from tps.conformations import Conformations, MetadynamicsSettings, bias_energies, run_metadynamics
from tps.conformations.bias import BiasGrid, add_frozen_bias
from tps.conformations.metadynamics import BuildTask, build_bias
from tps.engine import BIAS_GROUP, LangevinSettings, PlatformChoice, local_executor
from tps.errors import ParameterError
from tps.features import Distance, Torsion, wrap_angle
from tps.features.rmsd import Rmsd
from tps.units import thermal_energy

REFERENCE = PlatformChoice("Reference")
LANGEVIN = LangevinSettings(temperature=300.0, timestep=0.002, friction=10.0)
KT = thermal_energy(300.0)
THETA = Torsion("theta", ATOMS)
BOND = Distance("bond", (0, 1), bounds=(0.08, 0.13), scale=0.02)
CHAIN = tuple(map(tuple, chain_positions(0.3).tolist()))
SHAPE = Rmsd("shape", ATOMS, bounds=(0.0, 0.12), scale=0.02, reference=CHAIN, n_particles=4)


def frame(theta, bond=0.1):
    positions = chain_positions(theta)
    positions[0, 0] = bond
    return positions


def sampled(function, grid):
    """Return a function's values on a grid, the last variable first."""
    axes = [np.linspace(*v.range, n) for v, n in zip(grid.variables, grid.counts, strict=True)]
    values = function(*np.meshgrid(*axes, indexing="ij"))
    return values.transpose()


def test_lines_are_as_dense_as_circles_in_units_of_their_scales():
    grid = BiasGrid.spaced((THETA, BOND), 61)
    assert grid.counts == (61, 1 + math.ceil(60 * 2.5 / (2 * math.pi)))
    assert grid.sizes[0] == 81 and grid.sizes[1] == grid.counts[1]
    assert grid.limits[0] == pytest.approx((-math.pi - 20 * math.pi / 60, math.pi + 20 * math.pi / 60))
    assert BiasGrid.spaced((THETA, THETA), 61).sizes == (61, 61)


def test_a_bias_of_an_angle_and_a_distance_is_its_table():
    """cos θ + 30 (r - 0.1) sin θ at 121 points: a spline of cos θ misses by h⁴/384, and of a straight line by nothing.

    At the seam, on either side of ±π, it is as good as elsewhere.
    """
    grid = BiasGrid.spaced((THETA, BOND), 121)
    table = sampled(lambda theta, r: np.cos(theta) + 30 * (r - 0.1) * np.sin(theta), grid)
    near_seam = [math.pi, -math.pi + 1e-3, math.pi - 0.02, -3.1]
    for theta in [*near_seam, *np.linspace(-3, 3, 9)]:
        for bond in (0.08, 0.093, 0.13):
            energy = bias_energies(4, (THETA, BOND), table, frame(theta, bond)[None], REFERENCE)[0]
            exact = math.cos(theta) + 30 * (bond - 0.1) * math.sin(theta)
            assert energy == pytest.approx(exact, abs=2 * (math.pi / 60) ** 4 / 384 + 1e-9)


def test_beyond_its_range_a_bias_is_flat_and_a_wall_rises():
    """k/2 d² of a wall of 250 kJ/mol per scale², on the value at the end of the table."""
    grid = BiasGrid.spaced((BOND,), 61)
    table = sampled(lambda r: 5 + 100 * (r - 0.08), grid)
    for bond, depth in ((0.07, 0.01), (0.08, 0.0), (0.145, 0.015)):
        energy = bias_energies(4, (BOND,), table, frame(0.5, bond)[None], REFERENCE)[0]
        inside = min(max(bond, 0.08), 0.13)
        assert energy == pytest.approx(5 + 100 * (inside - 0.08) + 125 * (depth / 0.02) ** 2, abs=1e-8)


def test_no_end_of_a_table_is_outside_it():
    """OpenMM ends the process past a table's last point, which rounding may put a digit below the range's end."""
    for high in np.random.default_rng(0).uniform(0.11, 2.0, 10):
        bond = replace(BOND, bounds=(0.05, float(high)), scale=0.1)
        for variables in ((bond,), (bond, replace(bond, name="again"))):
            counts = BiasGrid.spaced(variables, 61).counts
            for length in (0.04, float(high), float(high) + 1):
                energy = bias_energies(4, variables, np.ones(counts), frame(0.5, length)[None], REFERENCE)[0]
                past = max(0, length - high, 0.05 - length) / 0.1
                assert energy == pytest.approx(1 + 125 * past**2 * len(variables), rel=1e-9)


def test_a_kind_without_an_expression_is_biased_by_the_same_table():
    """An RMSD and an angle: OpenMM's CustomCVForce against numpy's linear interpolation between 2000 points."""
    bias = np.sin(np.linspace(0, 3, 2001))
    grid = np.linspace(0.0, 0.12, 2001)
    frames = np.stack([frame(angle) for angle in np.linspace(-2.5, 2.5, 7)])
    energy = bias_energies(4, (SHAPE,), bias, frames, REFERENCE)
    inside = np.interp(SHAPE.values(frames), grid, bias)
    assert np.abs(SHAPE.values(frames)).max() < 0.12
    assert energy == pytest.approx(inside, abs=1e-6)
    both = bias_energies(
        4, (SHAPE, THETA), np.outer(np.cos(np.linspace(-math.pi, math.pi, 241)), bias), frames, REFERENCE
    )
    assert both == pytest.approx(inside * np.cos(THETA.values(frames)), abs=1e-6)


def test_a_bias_reaches_across_the_border_of_a_box():
    """Atoms in other cells have the same energy, walls included; the RMSD takes molecules whole."""
    box = np.array([[2.0, 0.0, 0.0], [0.4, 1.9, 0.0], [-0.3, 0.5, 1.8]])
    cells = np.array([[0, 0, 0], [1, -1, 0], [0, 1, 1], [-1, 0, -1]]) @ box
    variables = (THETA, BOND)
    table = sampled(lambda t, r: np.cos(t) + 30 * (r - 0.1) * np.sin(t), BiasGrid.spaced(variables, 61))
    for bond in (0.1, 0.14):
        whole = bias_energies(4, variables, table, frame(2.0, bond)[None], REFERENCE)
        apart = bias_energies(4, variables, table, (frame(2.0, bond) + cells)[None], REFERENCE, box)
        assert apart == pytest.approx(whole, rel=1e-9)


def test_forces_of_a_bias_are_those_of_its_energy():
    """Central differences of 1e-6 nm on a smooth table, in and out of the range."""
    variables = (THETA, BOND)
    table = sampled(lambda t, r: np.cos(t) + 30 * (r - 0.1) * np.sin(t), BiasGrid.spaced(variables, 61))
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    add_frozen_bias(system, variables, table)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )

    def state(positions):
        context.setPositions(positions)
        found = context.getState(energy=True, forces=True, groups={BIAS_GROUP})
        return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value

    for bond in (0.095, 0.14):
        positions = frame(3.1, bond) + np.random.default_rng(0).normal(scale=1e-3, size=(4, 3))
        forces, step = state(positions)[1], 1e-6
        numerical = np.zeros((4, 3))
        for index in np.ndindex(4, 3):
            shift = np.zeros((4, 3))
            shift[index] = step
            numerical[index] = (state(positions - shift)[0] - state(positions + shift)[0]) / (2 * step)
        assert np.abs(forces).max() > 1
        assert forces == pytest.approx(numerical, abs=1e-5 * np.abs(forces).max())


def test_hills_go_round_the_seam_of_an_angle():
    """One hill of an atom held at 179°, at both ends of the table: Gaussians of the shorter way round, by hand."""
    molecule = torsion_molecule("5000*(1 + cos(theta))")  # within 0.02 rad of ±π
    settings = MetadynamicsSettings(100, 1000, hill_interval=100, hill_height=2.0, grid_width=61)
    grid = BiasGrid.spaced((THETA, BOND), settings.grid_width)
    task = BuildTask(molecule.system_xml, grid, frame(math.pi), settings, LANGEVIN, REFERENCE, 3)
    bias = build_bias(task)
    assert bias.shape == grid.counts[::-1]
    theta = np.linspace(-math.pi, math.pi, 61)
    top = np.unravel_index(np.argmax(bias), bias.shape)
    row = bias[top[0]]
    assert row[0] == row[-1] == pytest.approx(row.max(), rel=0.02)
    place = np.angle((row * np.exp(1j * theta))[:-1].sum())
    expected = np.exp(-(wrap_angle(theta - place) ** 2) / (2 * settings.hill_width**2))
    assert row / row.max() == pytest.approx(expected / expected.max(), abs=1e-3)
    assert bias.max() == pytest.approx(
        2.0, rel=0.1
    )  # the atoms' own place lies between the points of the grid


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            (Distance("far", (0, 3)),),
            r"far reaches from 0 to inf: set its bounds in \[collective_variables.far\]",
        ),
        (
            (THETA, replace(BOND, bounds=(0.0, 900.0))),
            "at 1048576 points at most, but these variables need 81 x ",
        ),
        ((THETA,) * 4, "one to 3 collective variables, but got 4"),
    ],
)
def test_what_cannot_be_biased_is_refused(variables, message):
    with pytest.raises(ParameterError, match=message):
        BiasGrid.spaced(variables, 61)


def test_weights_undo_a_bias_on_an_angle_and_a_distance():
    """U = 6 cos 2θ and a bond of 4000 kJ/mol/nm²: <cos 2θ> and <r> by quadrature; the range cuts the bond at one width.

    Frames in the walls count too: their weights undo the walls, up to 0.006 nm past the ends, where there are enough.
    """
    molecule = torsion_molecule("6*cos(2*theta)")
    loose = openmm.XmlSerializer.deserialize(molecule.system_xml)
    loose.getForce(0).setBondParameters(0, 0, 1, 0.1, 4000.0)
    bond = Distance("bond", (0, 1), bounds=(0.08, 0.12), scale=0.05)
    settings = MetadynamicsSettings(40_000, 100_000, frame_interval=50, hill_interval=100, grid_width=61)
    with local_executor("processes", 2) as executor:
        walkers, bias = run_metadynamics(
            openmm.XmlSerializer.serialize(loose),
            (THETA, bond),
            [molecule.positions_a, molecule.positions_b],
            settings,
            LANGEVIN,
            REFERENCE,
            [1, 2, 3, 4],
            executor,
        )
    assert np.isfinite(bias).all() and np.array_equal(bias[:, 0], bias[:, -1]) and np.ptp(bias) > 4
    positions = np.concatenate([w.positions for w in walkers])
    theta, r = THETA.values(positions), bond.values(positions)
    log_weights = np.concatenate([w.log_weights for w in walkers])
    frames = Conformations(np.stack([theta, r], 1), log_weights, r, np.zeros(len(r), dtype=int))
    seen = (r > 0.074) & (r < 0.126)
    outside = (r < 0.08) | (r > 0.12)
    assert 0.05 < (seen & outside).mean() < 0.6
    angles, lengths = np.linspace(-math.pi, math.pi, 4001)[:-1], np.linspace(0.074, 0.126, 4001)
    p_theta = np.exp(-6 * np.cos(2 * angles) / KT)
    p_r = lengths**2 * np.exp(-2000 * (lengths - 0.1) ** 2 / KT)
    beyond = (lengths < 0.08) | (lengths > 0.12)
    for values, exact, most in (
        (np.cos(2 * theta), (np.cos(2 * angles) * p_theta).sum() / p_theta.sum(), 0.05),
        (r, (lengths * p_r).sum() / p_r.sum(), 0.001),
        (outside.astype(float), p_r[beyond].sum() / p_r.sum(), 0.03),
    ):
        mean, error = frames.weighted_mean(values, seen)
        assert abs(mean - exact) < 4 * error
        assert error < most
