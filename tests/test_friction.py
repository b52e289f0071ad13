"""Friction of tilted states against closed forms, and protocols that dissipate as it predicts."""

import json
import math

import numpy as np
import openmm
import pytest
from commands import tps
from surfaces import make_surface, table

from tps.analysis import MeasuredFriction, dissipation_metric, friction_from_series
from tps.dynamics.overdamped import STABILITY
from tps.engine import LangevinSettings
from tps.errors import ParameterError
from tps.paths import (
    CurveFriction,
    HeldSettings,
    OverdampedSettings,
    equal_steps,
    held_timesteps,
    load_paths,
    overdamped_annealed_paths,
    surface_held_series,
)
from tps.pipeline import RunFolder
from tps.pipeline.friction import load_friction


class Harmonic:
    """u = k x²/2."""

    def __init__(self, k):
        self.k = k

    def energy(self, x):
        return self.k / 2 * np.sum(x**2, axis=-1)

    def gradient(self, x):
        return self.k * x


def exponential_chains(variance, rho, n_series, n_frames, seed=0):
    """Stationary Gaussian chains whose autocorrelation is rho^k exactly."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_series, n_frames)) * math.sqrt(variance * (1 - rho**2))
    x = np.empty_like(noise)
    x[:, 0] = math.sqrt(variance) * rng.standard_normal(n_series)
    for t in range(1, n_frames):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return x


def trapezoid(interval, rate):
    """Δ (1/2 + Σ_k e^(-rate k Δ)), which is 1/rate for small Δ; complex rates too."""
    rho = np.exp(-rate * interval)
    return interval * (0.5 + rho / (1 - rho))


@pytest.mark.parametrize("interval", [0.3, 3.0])
def test_friction_of_an_overdamped_spring(interval):
    """x of variance v and time τ, T = (x, x²): C = v e^(-t/τ) and 2 v² e^(-2t/τ), nothing between them.

    20 seeds bear the errors out: |z| < 4 in each, and a mean z² of 1 ± 4 sqrt(2/20), of x², which is not Gaussian, too.
    """
    v, tau, z = 0.7, 2.0, []
    exact = np.diag([v * trapezoid(interval, 1 / tau), 2 * v**2 * trapezoid(interval, 2 / tau)])
    for seed in range(20):
        x = exponential_chains(v, math.exp(-interval / tau), 4, 2000, seed)
        found = friction_from_series(np.stack([x, x**2], axis=-1), interval)
        z.append([(found.along(d) - d @ exact @ d) / found.error_along(d) for d in np.eye(2)])
        mixed = np.array([1.0, 1.0])
        assert abs(found.along(mixed) - np.trace(exact)) < 4 * found.error_along(mixed)
        assert found.resolved
    assert np.abs(z).max() < 4
    assert (np.mean(np.square(z), axis=0) < 1 + 4 * math.sqrt(2 / 20)).all()
    assert found.metric_along(np.array([1.0, 0.0])) == pytest.approx(v, rel=0.2)


def test_friction_of_an_underdamped_spring():
    """m ẍ = -k x - γ m ẋ + noise: ∫ C dt = (kT/k) γ/ω², the sum over frames by the two roots of its motion.

    400 particles by the project's Langevin dynamics on the Reference platform; ω dt = 0.05, so that the discrete scheme
    is off by (ω dt)²/12, 0.02 %. The estimate oscillates, and its autocorrelation time is small by cancellation.
    """
    kt, mass, omega, gamma, interval, n = 2.494, 10.0, 10.0, 2.0, 0.05, 400
    system, force = openmm.System(), openmm.CustomExternalForce(f"{mass * omega**2 / 2}*x^2")
    for i in range(n):
        system.addParticle(mass)
        force.addParticle(i, [])
    system.addForce(force)
    integrator = LangevinSettings(300.0, 0.005, gamma).integrator(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.zeros((n, 3)))
    context.setVelocitiesToTemperature(300.0, 2)
    integrator.step(1000)
    x = np.empty((n, 300, 1))
    for t in range(300):
        integrator.step(10)
        x[:, t, 0] = context.getState(positions=True).getPositions(asNumpy=True)._value[:, 0]
    variance = kt / (mass * omega**2)
    fast, slow = gamma / 2 + np.array([1, -1]) * np.emath.sqrt(gamma**2 / 4 - omega**2)
    roots = (fast * trapezoid(interval, slow) - slow * trapezoid(interval, fast)) / (fast - slow)
    exact = variance * float(roots.real)
    found = friction_from_series(x, interval)
    assert found.covariance[0, 0] == pytest.approx(variance, rel=0.05)
    error = found.error_along(np.ones(1))
    assert abs(found.zeta[0, 0] - exact) < 4 * error < 0.4 * exact
    assert exact == pytest.approx(variance * gamma / omega**2, rel=0.05)  # and the sum is the integral


def green_friction(log_density, statistics, theta):
    """∫ <δg(t) δg(0)> dt of overdamped motion on a circle, dθ = (ln p)' dτ + √2 dW, for g = statistics (n, K).

    (p φ')' = -p δg is solved by p φ' = c - ∫ p δg with ∫ φ' = 0 round the circle, and the friction is ∫ p φ'_a φ'_b.
    """
    h = theta[1] - theta[0]
    p = np.exp(log_density)
    p /= p.sum() * h
    centred = statistics - h * p @ statistics
    flow = -np.cumsum(p[:, None] * centred, axis=0) * h
    flow += p[:, None] * centred * h / 2
    flow -= (flow / p[:, None]).sum(axis=0) / (1 / p).sum()
    return np.einsum("na,nb,n->ab", flow, flow, 1 / p) * h


def test_the_green_function_gives_the_free_torsion():
    """Without a potential cos θ decays as e^-τ with variance 1/2: ζ = diag(1/2, 1/2)."""
    theta = np.linspace(-math.pi, math.pi, 400, endpoint=False)
    found = green_friction(np.zeros(400), np.stack([np.cos(theta), np.sin(theta)], axis=1), theta)
    assert found == pytest.approx(np.diag([0.5, 0.5]), abs=1e-4)


def test_friction_of_a_torsion_alone():
    """A threefold torsion under a tilt, against the Green's function of its Fokker-Planck operator.

    Step times curvature is 0.05, so variances are off by 2.5 % at most, and the trapezoidal rule by (Δ/τ)²/12.
    """
    eta, n = np.array([1.0, 0.4]), 400
    system = make_surface(
        table(lambda t: 0.7 * np.cos(3 * t), 720, periodic=True), periodic=True, a=-1.0, b=1.0
    )
    theta = np.linspace(-math.pi, math.pi, 2000, endpoint=False)
    statistics = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    exact = green_friction(-0.7 * np.cos(3 * theta) + statistics @ eta, statistics, theta)
    tilts = np.tile(eta, (n, 1))
    settings = HeldSettings(500, 10, 600)
    held = surface_held_series(system, tilts, np.linspace(-1, 1, n)[:, None], settings, 0, stability=0.05)
    interval = 10 * float(held_timesteps(system, tilts[:1], stability=0.05)[0])
    found = friction_from_series(held.statistics, interval)
    for direction in (np.array([1.0, 0.4]), np.array([-0.4, 1.0])):
        along = float(direction @ exact @ direction)
        error = found.error_along(direction)
        assert abs(found.along(direction) - along) < 4 * error + 0.025 * along
        assert error < 0.15 * along
    assert held.n_evaluations == n * (600 + 500 * 10) + 4


def test_runs_that_do_not_outlast_the_relaxation_say_so():
    """They end the sum where the correlation first vanishes: a positive lower bound."""
    zeta = []
    for seed in range(8):
        found = friction_from_series(
            exponential_chains(1.0, math.exp(-1 / 1000), 2, 300, seed)[..., None], 1.0
        )
        assert not found.resolved
        zeta.append(found.zeta[0, 0])
    assert min(zeta) > 0
    assert np.mean(zeta) < 1000


def test_bad_series_are_refused():
    with pytest.raises(ParameterError, match="8 frames or more"):
        friction_from_series(np.zeros((2, 5, 3)), 1.0)
    with pytest.raises(ParameterError, match="constant"):
        friction_from_series(np.ones((2, 50, 3)), 1.0)
    with pytest.raises(ParameterError, match="rise from 0 to 1"):
        CurveFriction(np.array([0.0, 0.5]), np.ones(2), np.ones(2))


def test_the_clock_of_a_linear_friction():
    """Friction 1 + 8 s: L = ∫ sqrt(1 + 8 s) ds = 13/6, and the clock reads ((1 + 8 s)^(3/2) - 1)/26.

    At this clock n moves dissipate L²/n, at equal steps of s ∫ (1 + 8 s) ds/n = 5/n: never less (Cauchy and Schwarz).
    """
    line = CurveFriction(np.array([0.0, 1.0]), np.array([1.0, 9.0]), np.array([0.1, 0.9]))
    s = np.linspace(0, 1, 101)
    clock = line.clock(s)
    assert clock == pytest.approx(((1 + 8 * s) ** 1.5 - 1) / 26, abs=1e-5)
    assert line.dissipation(s, clock, 1000)[0] == pytest.approx((13 / 6) ** 2 / 1000, rel=1e-3)
    value, error = line.dissipation(s, s, 1000)
    assert value == pytest.approx(5 / 1000, rel=1e-6)
    # the two measured values stand for half of the curve each, with hats of area 1/2
    assert error == pytest.approx(math.hypot(0.1 / 2, 0.9 / 2) / 1000, rel=1e-6)


def moved_trap(n=33, k=4.0):
    """A spring that tightens from 3 to 40 while its centre goes from -1 to 1, on u = k x²/2: s, η, and ΔF of η·T."""
    s = np.linspace(0, 1, n)
    stiffness, center = 3.0 * (40 / 3) ** s, 2 * s - 1
    eta = np.stack([stiffness * center, -stiffness / 2], axis=1)
    total = k + stiffness
    log_partition = (stiffness * center) ** 2 / (2 * total) - np.log(total) / 2
    return s, eta, log_partition[0] - log_partition[-1]


def exact_work(protocol, timesteps, steps, k, delta_f):
    """Mean work lost by Euler and Maruyama in the trap: its mean and variance obey linear recursions, exactly."""
    mean, variance, work = None, None, 0.0
    for number, (eta, dt) in enumerate(zip(protocol, timesteps, strict=True)):
        rate = (k - 2 * eta[1]) * dt
        if number == 0:
            mean, variance = eta[0] * dt / rate, 2 * dt / (1 - (1 - rate) ** 2)
            continue
        work -= (eta - protocol[number - 1]) @ np.array([mean, mean**2 + variance])
        for _ in range(steps):
            mean, variance = mean + eta[0] * dt - rate * mean, (1 - rate) ** 2 * variance + 2 * dt
    return work - delta_f


def test_the_friction_protocol_dissipates_what_is_predicted():
    """The trap is moved in two durations by the friction clock, whose friction was measured.

    The mean work lost is exact for Gaussians; paths meet it within four standard errors, and the prediction within
    20 % (linear response is off by relaxation time over duration). Equal steps of s lose more.
    """
    k = 4.0
    system = make_surface(Harmonic(k), width=8.0)
    s, eta, delta_f = moved_trap(k=k)
    places = np.linspace(0, 1, 12)
    tilts, steps = equal_steps(s, eta, 11), 5
    chains = 40
    held = surface_held_series(
        system, np.tile(tilts, (chains, 1)), np.zeros((12 * chains, 1)), HeldSettings(200, steps, 400), 1
    )
    series = held.statistics.reshape(chains, 12, 200, 2)
    interval = steps * held_timesteps(system, tilts)
    slopes = np.gradient(eta, s, axis=0)
    tangent = np.stack([np.interp(places, s, column) for column in slopes.T], axis=1)
    found = [friction_from_series(series[:, i], interval[i]) for i in range(12)]
    along = np.array([f.along(t) for f, t in zip(found, tangent, strict=True)]) / interval
    errors = np.array([f.error_along(t) for f, t in zip(found, tangent, strict=True)]) / interval
    measured = CurveFriction(places, along, errors)
    clock = measured.clock(s)
    for n_updates in (100, 400):
        settings = OverdampedSettings(steps * n_updates, n_updates, 20, 300)
        predicted, error = measured.dissipation(s, clock, n_updates)
        paths, _ = overdamped_annealed_paths(system, s, eta, settings, list(range(400)), clock=clock)
        work = paths.cumulative_work[:, -1]
        protocol = equal_steps(clock, eta, n_updates)
        exact = exact_work(protocol, held_timesteps(system, protocol), steps, k, delta_f)
        assert abs(work.mean() - delta_f - exact) < 4 * work.std() / math.sqrt(len(work))
        assert predicted == pytest.approx(exact, rel=0.2)
        assert error < 0.05 * predicted
        fisher = equal_steps(s, eta, n_updates)
        assert exact_work(fisher, held_timesteps(system, fisher), steps, k, delta_f) > exact
        assert np.interp(clock[16], np.arange(1, 21) / 20, paths.s) == pytest.approx(s[16], abs=0.02)
    assert held_timesteps(system, tilts) == pytest.approx(STABILITY / (k + np.abs(2 * tilts[:, 1])), rel=1e-3)


RUN = """
[run]
system = "double-well"
seed = 2

[conformations]
n_grid_points = 100

[geodesic]
n_points = 24
min_log_snr = 3.5

[paths]
n_paths = 6
n_baseline_paths = 4
n_steps = 2000
n_updates = 200
n_frames = 50
protocol = "friction"
n_friction_places = 8
n_friction_steps = 2000

[shooting]
n_moves = 0

[free_energy]
n_windows = 4
n_bridge_windows = 0
n_frames = 60
n_backward_paths = 6
"""


def test_a_run_by_the_friction_clock(tmp_path):
    """Friction is measured once, paths wait where it is high, and both clocks' dissipation stands in the metrics."""
    (tmp_path / "run.toml").write_text(RUN)
    folder = tmp_path / "run"
    tps("run", tmp_path / "run.toml", "-o", folder)
    content = json.loads((folder / "analysis" / "metrics.json").read_text())
    found = {"friction": content["metrics"], "fisher": content["baselines"]["fisher_clock"]}
    predicted = {name: metrics["predicted_dissipation"] for name, metrics in found.items()}
    assert 0 < predicted["friction"]["value"] < predicted["fisher"]["value"]
    assert predicted["fisher"]["error"] > 0
    assert all(metrics["dissipated_work"]["unit"] == "kT" for metrics in found.values())
    measured, paths = load_friction(folder), load_paths(folder / "paths")
    assert measured.friction_along.shape == (8,)
    slowest = measured.s[np.argmax(measured.friction_along / measured.interval)]
    waits = np.histogram(paths.s, bins=8, range=(0, 1))[0]
    assert abs((np.argmax(waits) + 0.5) / 8 - slowest) < 0.2
    roads = json.loads((folder / "free_energy" / "result.json").read_text())["roads"]["anchored"]
    assert roads["paths along the curve, both ways (BAR)"]["unit"] == "kT"
    assert (folder / "figures" / "friction.png").is_file()

    before = (folder / "paths" / "friction.npz").read_bytes()
    tps("paths", folder, "-n", "5", "--force")
    assert (folder / "paths" / "friction.npz").read_bytes() == before
    entry = RunFolder.open(folder).manifest()["stages"]["paths"]
    assert entry["force_evaluations"] < 5 * 7100 + 3 * 4 * 7100 + 100


def measured_along_a_line(resolved=(True, True, True)):
    """Return ζ = 4 and Cov[T] = 2 along η = 3 s, the tilt moved at every half unit of time."""
    ones = np.ones((3, 1, 1))
    s = np.array([0.0, 0.5, 1.0])
    return MeasuredFriction(
        s=s,
        eta=3 * s[:, None],
        tangent=np.full((3, 1), 3.0),
        zeta=4 * ones,
        covariance=2 * ones,
        interval=np.full(3, 0.5),
        friction_error=np.full(3, 0.9),
        resolved=np.array(resolved),
    )


def test_what_a_slow_protocol_loses_by_hand():
    """ζ (Δη)²/Δt in n equal moves of 3/n: 4 · 9/n / 0.5 = 72/n, by either clock, as friction is the same all along."""
    measured = measured_along_a_line()
    np.testing.assert_allclose(measured.relaxation_time, 2.0)
    s = np.linspace(0, 1, 5)
    for fisher in (True, False):
        found = dissipation_metric(measured, s, 100, fisher=fisher, time_unit="ps")
        assert found.value == pytest.approx(0.72, rel=1e-9)
        # every place has the error 0.9/0.5 of 72, and the hats of linear interpolation weigh 1/4, 1/2, 1/4
        assert found.error == pytest.approx(1.8 / 100 * np.sqrt(0.25**2 + 0.5**2 + 0.25**2), rel=1e-3)


@pytest.mark.parametrize(
    ("measured", "n_updates", "why"),
    [
        (measured_along_a_line(), 39, "T relaxes in 2 ps at s = 0.00, and a path lasts 19.5"),
        (
            measured_along_a_line((True, False, True)),
            100,
            "T relaxes at s = 0.50 more slowly than the runs last",
        ),
    ],
)
def test_a_prediction_that_linear_response_does_not_bear_is_withheld(measured, n_updates, why):
    found = dissipation_metric(measured, np.linspace(0, 1, 5), n_updates, fisher=True, time_unit="ps")
    assert found.value is None
    assert why in found.withheld
