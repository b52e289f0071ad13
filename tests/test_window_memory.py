"""What windows remember of their starts, and walkers of their side, on a free torsion whose answers are exact."""

import math

import numpy as np
import pytest
from scipy.special import i0e

from tps.analysis import analyse_windows, anchored_difference, region_difference, sampling_metrics
from tps.analysis.free_energy.memory import inefficiencies, relaxed_from
from tps.errors import ParameterError
from tps.paths import Windows, WindowSamples

KT = 2.5


def seen(windows, x):
    """Return samples of a torsion x (n_ladders, n_frames, n_windows): A and B are 1 rad and 0.5 rad wide."""
    return WindowSamples(
        windows=windows,
        values=x[..., None],
        statistics=np.stack([np.cos(x), np.sin(x)], axis=-1),
        potential_energy=0 * x,
        in_a=np.abs(x + 1) < 0.5,
        in_b=np.abs(x - 1.2) < 0.25,
        replica=np.broadcast_to(np.arange(windows.n_windows), x.shape),
        status=np.full((len(x), windows.n_windows), "completed"),
        n_evaluations=0,
    )


def relaxing(seed, relaxation, *, n_ladders=4, n_frames=400):
    """Windows of a free torsion from κ = 4 at -1 to κ = 8 at 1.2 rad, and the untilted one, all started in the last.

    Each walker stays there for a time drawn from an exponential distribution of mean `relaxation` frames; then its
    frames are independent draws from its own window.
    """
    rng = np.random.default_rng(seed)
    s = np.linspace(0, 1, 6)
    kappa, angle = 4 + 4 * s, -1 + 2.2 * s
    windows = Windows.along(s, kappa[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), 6)
    shape = (n_ladders, n_frames, 7)
    drawn = rng.vonmises(np.append(angle, 0.0), np.append(kappa, 0.0), shape)
    stays = rng.exponential(relaxation, (n_ladders, 1, 7)) if relaxation else np.zeros((n_ladders, 1, 7))
    return seen(windows, np.where(np.arange(n_frames)[:, None] < stays, rng.vonmises(1.2, 8.0, shape), drawn))


def test_the_start_of_windows_leaves_no_bias():
    """F(η_B) - F(η_A) = -kT ln(I0(8)/I0(4)) and F(B) - F(A) = kT ln 2: means of 8 runs, |t| < 5 by their scatter.

    That has 7 degrees of freedom (p = 0.002). Walkers forget their start in 20 of 400 frames. With all frames both come
    out too low, beyond 10 standard errors.
    """
    exact = np.array([-KT * (np.log(i0e(8.0) / i0e(4.0)) + 4), KT * math.log(2)])
    z = {}
    for start in (None, 0):
        analyses = [analyse_windows(relaxing(seed, 20), KT, start=start) for seed in range(8)]
        found = np.array([[anchored_difference(a).value, region_difference(a).value] for a in analyses])
        z[start] = (found.mean(axis=0) - exact) / (found.std(axis=0, ddof=1) / math.sqrt(len(found)))
    assert (np.abs(z[None]) < 5).all()
    assert (z[0] < -10).all()


def test_a_start_apart_is_left_out_and_what_a_relaxed_ladder_has_stays():
    """Ladders that stand elsewhere for the first tenth: the start lies past it, at most as far on as in relaxed ones.

    There a tenth fewer independent frames is let go for nothing, and the noise of their number, 2 % of g = 1, with it
    or off it.
    """
    samples = relaxing(1, 0)
    assert 0.04 * samples.n_frames <= relaxed_from(samples) <= 0.2 * samples.n_frames
    x = samples.values[..., 0].copy()
    x[:2, :40], x[2:, :40] = -1.0, 1.2
    apart = seen(samples.windows, x)
    assert 40 <= relaxed_from(apart) <= 0.25 * samples.n_frames
    analysis = analyse_windows(apart, KT)
    assert analysis.start_share == relaxed_from(apart, 10) / 400
    assert sampling_metrics(analysis)["window_start"].value == analysis.start_share
    assert analysis.n_frames.tolist() == [4 * (400 - relaxed_from(apart, 10))] * 7
    assert relaxed_from(seen(samples.windows, x[:, :3]), 10) == 0  # 4 ladders of 3 frames are 12 moments


def test_exchange_hides_the_memory_of_walkers_from_a_window_and_not_from_all():
    """Walkers of one side, which change it with probability p a frame, drawn into windows at random.

    A window forgets all but one in K: its own g is 1 + (1/p - 2)/K, that of the walkers 1/p - 1. Errors of the means
    come from the walkers, so g is theirs: within 4 x 2 sqrt(g/N) of it, Sokal's error of g with a window of g/2 lags.
    """
    rng, p, n_walkers, n_ladders, n_frames = np.random.default_rng(3), 0.05, 6, 4, 3000
    flips = rng.random((n_ladders, n_frames, n_walkers)) < p
    side = np.where(np.cumsum(flips, axis=1) % 2 == 0, 1.0, -1.0) * rng.choice([-1.0, 1.0], (n_ladders, 1, 6))
    x = rng.permuted(side, axis=2)
    s = np.linspace(0, 1, n_walkers)
    windows = Windows(s, np.stack([0 * s, 0.1 * s], axis=1))
    samples, exact = seen(windows, x), 1 / p - 1
    alone, together = inefficiencies(samples, samples.valid)
    assert alone == pytest.approx(1 + (exact - 1) / n_walkers, rel=0.5)
    assert together == pytest.approx(exact, rel=4 * 2 * math.sqrt(exact / (n_ladders * n_frames)))
    mean = x.mean(axis=(1, 2))  # of each ladder, of variance g / (K n_frames)
    assert abs(np.mean(mean**2) / (exact / (n_walkers * n_frames)) - 1) < 4 * math.sqrt(2 / n_ladders)


@pytest.mark.parametrize("start", [-1, 400])
def test_a_start_without_frames_is_refused(start):
    with pytest.raises(ParameterError, match=str(start)):
        analyse_windows(relaxing(0, 0), KT, start=start)
