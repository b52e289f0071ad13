"""What of a run can be trusted: rules over its numbers, each with a sentence, evidence, and the command that helps.

A rule says nothing where there is nothing to judge, and "unknown" only where a command would make it known. Numbers
that are withheld stay withheld: a rule says so with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tps.analysis.findings import Finding, Judged, State
from tps.analysis.free_energy.model import LARGEST_GAP
from tps.analysis.free_energy.roads import without_one_way
from tps.analysis.free_energy.table import Agreement, agreement
from tps.analysis.metrics import FEWEST_EFFECTIVE, Metric, contradict
from tps.analysis.remedies import FIRST_MOVES, more_moves, supported_curve
from tps.analysis.shot_rates import RATES

#: Jensen-Shannon divergence of two sets of paths with no place in common [nats]. Sets that agree but for a share f of
#: each, which lies where the other never is, are f ln 2 apart.
APART = math.log(2)
#: Candidates resemble the ensemble with two thirds in common, and lie elsewhere with less than one third.
RESEMBLE, ELSEWHERE = APART / 3, 2 * APART / 3
#: Halves of the chains agree with nine tenths in common. With less than two thirds they are as far apart as candidates
#: may be from the ensemble, so that neither these nor averages over paths can be judged.
MIXED, UNMIXED = APART / 10, APART / 3
#: A free-energy difference known to no better than this [kT] leaves populations open by a factor of e either way.
USEFUL_ERROR = 1.0
#: A stay in a state over a crossing: first-order kinetics holds up to the inverse of it, to a tenth; to a half.
LONG_LIVED, SHORT_LIVED = 10.0, 2.0
#: Barriers above the lowest cell of a state [kT], where there are no times. The mean of a basin lies up to 2 kT above
#: that cell, and Kramers' stay over crossing is at least e^(barrier/kT) from there: 5 leaves 20, and 3 leaves e.
HIGH_BARRIER, LOW_BARRIER = 5.0, 3.0
#: A third basin with half of the weight is where the molecule is.
MOSTLY = 0.5
#: Relative standard error of a rate: 0.3 is 0.3 kT of a barrier; 1 is a factor of e.
KNOWN_RATE, ROUGH_RATE = 0.3, 1.0
#: Detailed balance is missed from this factor on, where that is more than so many standard errors of its logarithm.
UNBALANCED, _N_ERRORS = 2.0, 2.0

_BORDERS = "p_B along a path of shooting shows whether their borders lie right."


def judge_run(run: Judged) -> list[Finding]:
    """Return what can be said of a run, in the order in which its numbers rest on one another."""
    return [found for rule in RULES if (found := rule(run)) is not None]


def _support(run: Judged) -> Finding | None:
    """Say whether the curve stands on data."""
    support, points = run.known("support"), "points of the grid" if run.on_grid else "frames"
    if support is None:
        return None
    evidence = run.shown(support=f"effective {points} at its weakest point") | {
        "needed": Metric(round(run.needed_support, 1), None, "count", "")
    }
    state: State = "good"
    said, remedy = "The whole curve stands on data.", ""
    if support < run.needed_support:
        state, remedy = "bad", supported_curve(run.needed_support)
        said = "Part of the curve stands on too little data: what the model says there is a guess."
    elif "hit_rate" in run.metrics and run.metrics["hit_rate"].withheld:
        state, remedy = "bad", "tps check RUN/run.toml"
        said = "A and B as anchored are closer than the noise, so that the curve between them says nothing."
    elif run.weightless:
        state, remedy = "doubtful", run.spent.more_frames
        said = "The whole curve stands on data, but these do not tell how likely A is against B."
    elif abs(run.known("psi_difference_to_frames") or 0.0) > LARGEST_GAP:
        state, remedy = "doubtful", "tps train RUN --model frames --force"
        said = "The whole curve stands on data, but the model contradicts them: they can take its place."
        evidence |= run.shown(psi_difference_to_frames="B - A by the frames less that by the model")
    return Finding("support", state, said, evidence, remedy)


def _candidates(run: Judged) -> Finding:
    """Say whether candidates resemble the unbiased ensemble."""
    distance, halves = run.known("divergence_to_ensemble"), run.known("divergence_between_halves")
    evidence = run.shown(
        divergence_to_ensemble="distance to unbiased paths (at most 0.69)",
        hit_rate="candidates that end in B",
    )
    state: State = "unknown"
    if not run.known("paths_reactive"):
        state, remedy = "bad", run.spent.slower_paths
        said = "No candidate goes from A to B."
    elif "shooting_moves" not in run.metrics:
        remedy = FIRST_MOVES
        said = "Whether unbiased paths go where the candidates go is not known: there are none."
    elif distance is None:
        remedy = run.spent.same_paths
        said = "Whether unbiased paths go where the candidates go is not known: the distance is withheld."
    elif halves is not None and halves > UNMIXED:
        remedy = _more_moves(run)
        said = (
            "Whether unbiased paths go where the candidates go is not known yet: there are too few of them."
        )
    elif distance <= RESEMBLE:
        state, remedy = "good", ""
        said = "The candidates go where unbiased paths go."
    elif distance <= ELSEWHERE:
        state, remedy = "doubtful", run.spent.nearer_curve
        said = "The candidates go only in part where unbiased paths go: take the mechanism from the unbiased ones."
    else:
        state, remedy = "bad", run.spent.nearer_curve
        said = "The candidates go elsewhere than unbiased paths: take the mechanism from the unbiased ones alone."
    return Finding("candidates", state, said, evidence, remedy)


def _mixing(run: Judged) -> Finding | None:
    """Say whether the chains of shooting have mixed."""
    if "shooting_moves" not in run.metrics:
        return None
    halves, n_paths = run.known("divergence_between_halves"), run.known("decorrelated_paths") or 0
    from_frames = run.known("transition_time_from_frames") is not None
    evidence = run.shown(
        divergence_between_halves="halves of the chains apart",
        decorrelated_paths="decorrelated paths",
        mean_transition_time="transition time by the chains",
        transition_time_from_frames="by shots from the frames",
    )
    state: State = "doubtful"
    remedy = _more_moves(run)
    if run.metrics["mean_transition_time"].withheld or any(contradict(*pair) for pair in run.shares):
        state = "bad"
        said = "The chains of shooting contradict shots from the frames: they stay in the channels they began in."
    elif halves is None:
        remedy = run.spent.chains or remedy
        said = "Whether shooting has forgotten where it began does not show: its paths are of one chain."
    elif halves > UNMIXED:
        state = "bad"
        said = "The chains of shooting have not mixed: what they say depends on where they began."
    elif halves > MIXED or n_paths < FEWEST_EFFECTIVE:
        said = "The chains of shooting agree only roughly with one another: more moves would settle them."
    else:
        state, remedy = "good", ""
        said = f"The chains of shooting agree with one another{', and with shots from the frames' * from_frames}."
    return Finding("mixing", state, said, evidence, remedy)


def _more_moves(run: Judged) -> str:
    """Return the command for moves that leave the halves `MIXED`: their divergence falls as one over the moves."""
    halves, n_paths = run.known("divergence_between_halves") or 0.0, run.known("decorrelated_paths") or 0.0
    factor = max(halves / MIXED, FEWEST_EFFECTIVE / max(n_paths, 1.0))
    return more_moves(run.known("shooting_moves") or 0.0, factor)


def _roads(run: Judged) -> Finding | None:
    """Say whether the roads to the free energy of B against A agree."""
    if not run.roads:
        if run.on_grid:
            return None  # the grid is exact, and needs no second road
        said = "Nothing checks the free energy of B against A yet: windows along the curve would."
        alone = run.shown(free_energy_difference="of the anchored states, by the model")
        return Finding("free energy", "unknown", said, alone, "tps free-energy RUN")
    tables = {title: agreement(without_one_way(roads)) for title, roads in run.roads.items()}
    evidence: dict[str, Metric] = {}
    for title, table in tables.items():
        evidence |= _first_road(title, table) | _farthest_roads(table)
    compared = [
        (pair.agrees, contradict(table.roads[pair.first], table.roads[pair.second]))
        for table in tables.values()
        for pair in table.pairs
    ]
    state: State = "doubtful"
    if not compared:
        said = "No two roads to the free energy of B against A gave numbers to compare."
    elif any(apart and not agree for agree, apart in compared):
        state, said = "bad", "Roads to the free energy of B against A contradict each other."
    elif not all(agree for agree, _ in compared):
        said = "Some roads to the free energy of B against A differ by more than their errors."
    elif (run.known("window_effective_samples") or math.inf) < FEWEST_EFFECTIVE:
        said = "The roads to the free energy of B against A agree, but windows hold few independent frames."
        evidence |= run.shown(window_effective_samples="independent frames of a window at least")
    elif any(_error(table) > USEFUL_ERROR * run.kt for table in tables.values()):
        said = "The roads to the free energy of B against A agree, but within errors above kT."
    else:
        said = "All roads to the free energy of B against A agree."
        return Finding("free energy", "good", said, evidence)
    return Finding("free energy", state, said, evidence, run.spent.windows)


def _first_road(title: str, table: Agreement) -> dict[str, Metric]:
    return {f"{title}, {road}": metric for road, metric in list(table.roads.items())[:1]}


def _farthest_roads(table: Agreement) -> dict[str, Metric]:
    """Return the pair of roads that differs most, of those that disagree if any do, by its names."""
    pairs = [pair for pair in table.pairs if not pair.agrees] or table.pairs
    if not pairs:
        return {}
    pair = max(pairs, key=lambda pair: abs(pair.difference))
    unit = table.roads[pair.first].unit
    return {f"{pair.first} and {pair.second} apart": Metric(abs(pair.difference), pair.error, unit, "")}


def _error(table: Agreement) -> float:
    """Return the error of the first road of a table; 0 where there is none."""
    return next((metric.error or 0.0 for metric in table.roads.values()), 0.0)


def _states(run: Judged) -> Finding | None:
    """Say whether A and B are metastable, and whether there is a third basin."""
    third = run.third
    if third is not None:
        evidence = {
            "of the weight there": Metric(100 * third.share, None, "%", ""),
            "longest stay": Metric(third.longest, None, third.unit, ""),
            "long stays": Metric(third.n_stays, None, "count", ""),
            "of which ended": Metric(third.n_left, None, "count", ""),
        }
        state: State = "bad" if third.share >= MOSTLY else "doubtful"
        where = f"a third basin, neither A nor B, at {third.place}"
        said = f"There is {where}: rates and populations depend on it."
        if third.share >= MOSTLY:
            said = f"Most of the weight is in {where}: A and B alone tell little."
        return Finding("states", state, said, evidence, run.spent.more_frames)
    return _two_states_by_times(run) or _two_states_by_barriers(run)


def _two_states_by_times(run: Judged) -> Finding | None:
    """Compare how long A and B hold the molecule with how long it takes to cross; None where times are not known."""
    stays = [run.known("first_passage_a_to_b"), run.known("first_passage_b_to_a")]
    crossing = run.known("mean_transition_time") or run.known("transition_time_from_frames")
    held = [stay for stay in stays if stay is not None]
    if not crossing or len(held) < len(stays):
        return None
    evidence = run.shown(
        first_passage_a_to_b="stay in A", first_passage_b_to_a="stay in B", mean_transition_time="crossing"
    )
    ratio = min(held) / crossing
    if ratio >= LONG_LIVED:
        said = "Stays in A and B are much longer than crossings"
        return Finding("states", "good", said + _no_third(run), evidence)
    if ratio >= SHORT_LIVED:
        said = f"Stays in A and B are only a few times as long as a crossing: {_BORDERS}"
        return Finding("states", "doubtful", said, evidence, _borders(run))
    said = f"A crossing takes about as long as a stay, so that A and B are hardly two states: {_BORDERS}"
    return Finding("states", "bad", said, evidence, _borders(run))


def _two_states_by_barriers(run: Judged) -> Finding | None:
    """Judge by the free-energy barrier from either side; None where it is not known."""
    barriers = [run.known("free_energy_barrier_a"), run.known("free_energy_barrier_b")]
    heights = [barrier / run.kt for barrier in barriers if barrier is not None]
    if len(heights) < len(barriers):
        return None
    evidence = run.shown(free_energy_barrier_a="barrier above A", free_energy_barrier_b="barrier above B")
    if min(heights) >= HIGH_BARRIER:
        said = "A high barrier of free energy parts A and B"
        return Finding("states", "good", said + _no_third(run), evidence)
    if min(heights) >= LOW_BARRIER:
        said = f"The barrier of free energy between A and B is low: {_BORDERS}"
        return Finding("states", "doubtful", said, evidence, _borders(run))
    said = f"There is hardly a barrier of free energy between A and B: {_BORDERS}"
    return Finding("states", "bad", said, evidence, _borders(run))


def _borders(run: Judged) -> str:
    """Return the command that shows p_B along a path, or makes the paths for it."""
    return "tps committor RUN --frames path" if "shooting_moves" in run.metrics else FIRST_MOVES


def _no_third(run: Judged) -> str:
    return ", and no third basin was seen." if run.looked_for_third else "."


def _rate(run: Judged) -> Finding:
    """Say whether the rates are known."""
    evidence = run.shown(
        rate_a_to_b="from A to B",
        rate_b_to_a="from B to A",
        rate_by_flux="from A to B by the flux",
        detailed_balance="detailed balance (1 in equilibrium)",
    )
    rates = [run.metrics[name] for name in (*RATES, "rate_by_flux") if name in run.metrics]
    given = [metric for metric in rates if metric.value is not None]
    reason = next((metric.withheld for metric in rates if metric.withheld), "")
    if reason and not given:
        remedy = _against(reason, run)
        said = f"Rates are withheld: {reason}."
        return Finding("rate", "unknown" if remedy else "bad", said, evidence, remedy)
    if not given:
        said = "The rates between A and B are not known: shots from the weighted frames would tell."
        return Finding("rate", "unknown", said, evidence, run.spent.shots())
    worst = max(math.inf if m.error is None else abs(m.error / (m.value or math.nan)) for m in given)
    if _unbalanced(run):
        remedy = run.spent.shots(4) if run.on_grid else run.spent.more_frames
        said = "Rates from A and from B, and the weights of the frames, do not go together: detailed balance is missed."
        return Finding("rate", "doubtful", said, evidence, remedy)
    if worst <= KNOWN_RATE:
        return Finding("rate", "good", "The rates between A and B are known.", evidence)
    remedy = run.spent.shots((worst / KNOWN_RATE) ** 2)
    if worst <= ROUGH_RATE:
        return Finding("rate", "doubtful", "The rates between A and B are known roughly.", evidence, remedy)
    said = "The rates between A and B are known to an order of magnitude at best."
    return Finding("rate", "bad", said, evidence, remedy)


def _unbalanced(run: Judged) -> bool:
    """Return whether detailed balance is missed by a factor that matters, and by more than chance explains."""
    balance = run.metrics.get("detailed_balance")
    if balance is None or not balance.value or balance.error is None:
        return False
    apart = abs(math.log(balance.value))
    return apart > max(math.log(UNBALANCED), _N_ERRORS * balance.error / balance.value)


def _against(reason: str, run: Judged) -> str:
    """Return the command against the reason why rates are withheld, which names what to do in the run file's words."""
    if "shooting.max_frames" in reason:
        return run.spent.longer_flights
    return run.spent.shots(4) if "rate.n_frame_shots" in reason else run.spent.more_frames


RULES: tuple[Callable[[Judged], Finding | None], ...] = (
    _support,
    _candidates,
    _mixing,
    _roads,
    _states,
    _rate,
)
