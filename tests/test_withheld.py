"""Numbers that no data support or another number contradicts: the error they carry, and when they are withheld."""

import math

import numpy as np
import pytest
import torch
from chains import shots_with_paths
from scipy.stats import binomtest
from surfaces import make_surface, table
from test_rates import ring_paths

from tps.analysis import (
    Metric,
    channel_weights,
    fraction_metric,
    frames_anchored_difference,
    in_unit,
    model_difference,
    proportion_error,
    reweighted_channel_weights,
    reweighted_transition_time,
)
from tps.conformations import Conformations
from tps.errors import ParameterError
from tps.paths import ReweightedPaths
from tps.pipeline.channels import free_energy_said
from tps.pipeline.withheld import few_carry
from tps.report import format_quantity, withheld_sentences, write_report
from tps.spacetime import (
    SpacetimeCurve,
    anchors,
    empirical_family,
    fisher_rao_length,
    free_energy_profile,
    indistinct_ends,
    straight_line,
)
from tps.systems import load_system

GOOD = {"frames_error": 0.4, "largest_gap": 0.3, "support": 100.0, "needed": 30.0}


def test_a_number_is_given_or_withheld():
    metric = Metric(1.0, 0.1, "kT", "Something.")
    assert metric.unless("") is metric and "withheld" not in metric.as_dict()
    gone = metric.unless("no data")
    assert (gone.value, gone.error, gone.withheld) == (None, None, "no data")
    assert gone.unless("another reason") is gone
    assert Metric(**gone.as_dict()) == gone and in_unit(gone, 2.5, "kJ/mol").withheld == "no data"
    with pytest.raises(ParameterError, match=r"1\.0 ± None and 'why'"):
        Metric(1.0, None, "", "", "why")


def test_withheld_numbers_are_shown_with_their_reason(tmp_path):
    gone = Metric(1.0, 0.1, "kT", "Something.").unless("no data").as_dict()
    assert format_quantity(gone) == "withheld"
    metrics = {"x": gone, "y": gone, "z": Metric(1.0, None, "", "").as_dict()}
    assert withheld_sentences(metrics) == ["withheld: x, y: no data"]
    page = write_report(tmp_path / "report.html", title="t", metrics=metrics).read_text()
    assert "Withheld: no data. Something." in page


def test_the_models_error_by_hand():
    """-Δψ = 2.1; the fit strays by 0.3 somewhere, the frames by 0.4: sqrt(0.3² + 0.4²) = 0.5."""
    found = model_difference(-2.1, -2.0, **GOOD)
    assert found.value == 2.1 and found.error == pytest.approx(0.5) and not found.withheld
    at_the_ends = model_difference(-2.3, -2.0, **{**GOOD, "largest_gap": None})
    assert at_the_ends.error == pytest.approx(0.5)
    exact = model_difference(-2.0, -2.0, frames_error=0.0, largest_gap=0.0, support=30.0, needed=30.0)
    assert (exact.value, exact.error) == (2.0, None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"delta_psi": 19.4, "delta_psi_frames": -14.6}, "34.0 kT apart"),  # three alanines, once printed
        ({"delta_psi": 1.0, "delta_psi_frames": 2.01}, "1.0 kT apart"),
        ({"support": 1.0}, "only 1.0 effective frames carry the weakest point"),
        ({"support": 29.9}, "where 30 are needed"),
        ({"frames_error": None}, "nothing is known of the error"),
    ],
)
def test_the_models_number_is_withheld(changed, reason):
    given = {"delta_psi": -2.1, "delta_psi_frames": -2.0} | GOOD | changed
    found = model_difference(given.pop("delta_psi"), given.pop("delta_psi_frames"), **given)
    assert found.value is None and found.error is None
    assert reason in found.withheld


def test_the_models_error_covers_the_truth():
    """A Gaussian fitted to samples of N(0, 1): ψ(η) = m η + v η²/2 against η²/2, from η = -1 to 1.5.

    If the error is a standard error or more, at most 4.6 % of 200 fits lie beyond two of them, 9.1 with a standard
    deviation of 2.9: 20 is 3.7 of these.
    """
    a, b, n, beyond = -1.0, 1.5, 400, 0
    for seed in range(200):
        x = np.random.default_rng(seed).normal(size=n)
        frames = Conformations(x[:, None], np.zeros(n), np.zeros(n), np.zeros(n, dtype=int))
        by_frames = frames_anchored_difference(frames, x[:, None], [a], [b], 1.0, unit="kT")
        eta = np.linspace(a, b, 50)
        psi = x.mean() * eta + x.var() * eta**2 / 2
        reference = np.log(np.mean(np.exp(eta[:, None] * x), axis=1))
        gap = (psi - psi[0]) - (reference - reference[0])
        found = model_difference(
            psi[-1] - psi[0],
            -by_frames.value,
            frames_error=by_frames.error,
            largest_gap=float(np.abs(gap).max()),
            support=100.0,
            needed=30.0,
        )
        beyond += abs(found.value + (b**2 - a**2) / 2) > 2 * found.error
    assert beyond <= 20


@pytest.mark.parametrize("n", [1, 5, 16, 200])
def test_two_errors_of_a_proportion_contain_wilsons_interval(n):
    """Agresti and Coull's interval about the shifted centre contains Wilson's of the same level, here two errors."""
    level = math.erf(math.sqrt(2))
    for k in range(n + 1):
        low, high = binomtest(k, n).proportion_ci(level, method="wilson")
        centre, error = (k + 2) / (n + 4), proportion_error(k / n, n)
        assert error > 0
        assert centre - 2 * error <= low + 1e-12 and high - 1e-12 <= centre + 2 * error


def test_all_of_sixteen_are_not_known_to_be_all():
    """18/20 ± sqrt(0.9 · 0.1 / 20): the error of 16 of 16 hits."""
    found = fraction_metric(np.ones(16, dtype=bool), "")
    assert found.value == 100.0 and found.error == pytest.approx(100 * math.sqrt(0.09 / 20))


@pytest.mark.parametrize("chains", [[0], [0, 1], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_a_share_of_one_has_an_error(chains):
    """Every chain in one channel: 1 ± the error of all of n."""
    system = load_system("dual-channel")
    (share,) = channel_weights(system, ring_paths([1] * len(chains), [5] * len(chains), chains)).values()
    assert share.value == 1.0 and share.error == pytest.approx(proportion_error(1.0, len(chains)))


def reweighted(sides, log_weights):
    paths = ring_paths(sides, [1] * len(sides), list(range(len(sides)))).positions
    return ReweightedPaths(paths, shots_with_paths(log_weights))


def test_shares_from_few_effective_paths_are_withheld():
    """Thirty paths, one of which weighs as much as ten thousand others: one effective path."""
    system = load_system("dual-channel")
    few = reweighted([1] * 30, [math.log(1e4)] + [0.0] * 29)
    (share,) = reweighted_channel_weights(system, few).values()
    assert share.value is None and "only 1.0 effective paths" in share.withheld
    assert reweighted_transition_time(few, 1.0).withheld == share.withheld
    (share,) = reweighted_channel_weights(system, reweighted([1] * 30, [0.0] * 30)).values()
    assert share.value == 1.0 and share.error == pytest.approx(proportion_error(1.0, 30))


def test_a_channel_seen_once_is_known_to_its_own_size():
    """One path of 31: a Poisson count of one, 1/31 ± 1/31."""
    found = reweighted_channel_weights(load_system("dual-channel"), reweighted([1] * 30 + [-1], [0.0] * 31))
    rare = list(found.values())[1]
    assert rare.value == pytest.approx(1 / 31) and rare.error == pytest.approx(1 / 31)


@pytest.mark.parametrize("apart", [0.5, 2.0])
def test_ends_within_their_own_noise_are_one(apart):
    """A flat line: tilts of strength e^4 are Gaussians of width e^-2, so the length is their distance over that."""
    surface = make_surface(table(lambda x: 0 * x, 4001, False, -2, 2))
    grid = np.linspace(-2, 2, 4001)[:, None]
    family = empirical_family(surface.space, grid, np.zeros(4001))
    center = torch.linspace(0, apart * math.exp(-2), 50, dtype=torch.float64)[:, None]
    eta = torch.as_tensor(surface.space.eta(center.numpy(), np.full(50, 4.0)))
    length = fisher_rao_length(SpacetimeCurve.from_eta(family, eta))
    assert length == pytest.approx(apart, rel=1e-3)
    said = indistinct_ends(length, 4.0)
    assert ("closer than the noise" in said and "0.5" in said) if apart < 1 else said == ""


def test_a_frame_that_carries_half_of_all_is_said():
    """Kish by hand: weights 1/2 and 5000 of 1e-4 make 1 / (1/4 + 5000 * 1e-8) = 3.9992 frames; a grid is exact."""
    log_weights = np.concatenate([[math.log(0.5)], np.full(5000, math.log(1e-4))])
    n = len(log_weights)
    frames = Conformations(np.zeros((n, 1)), log_weights, np.zeros(n), np.zeros(n, dtype=np.int64))
    said = few_carry(frames, grid=False)
    assert said.startswith(
        "4.0 effective frames of 5,001 carry the weight of all conformations, one of them 50%"
    )
    assert few_carry(frames, grid=True) == ""
    even = Conformations(np.zeros((30, 1)), np.zeros(30), np.zeros(30), np.zeros(30, dtype=np.int64))
    assert few_carry(even, grid=False) == ""


def test_a_barrier_that_no_frames_carry_is_withheld():
    """A thousand frames at either end of a double well, none between: one frame carries the middle of tight tilts."""
    system = load_system("double-well-2d")
    ends = system.feature_values(system.ends)
    values = np.repeat(ends, 1000, axis=0) + 0.05 * np.random.default_rng(2).normal(size=(2000, 2))
    family = empirical_family(system.space, values, np.zeros(2000))
    curve = straight_line(family, *anchors(system.space, ends, 5.0), n_points=33)
    profile = free_energy_profile(curve, family, torch.arange(2000) % 10)
    support = family.effective_sample_size(curve.eta)
    held = free_energy_said(profile, curve, system, support, 30.0)
    assert held["barrier"] is None
    assert "effective frames carry the data at s = 0." in held["no_barrier"]
    assert free_energy_said(profile, curve, system, support, 0.0)["barrier"]["above_a"] > 0
    assert min(support[0], support[-1]) > 30 > support.min()
