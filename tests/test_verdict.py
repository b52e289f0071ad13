"""The verdict on a run: each rule on built cases, its sentence whole, and commands that the command line takes."""

import json
from dataclasses import replace

import pytest

from tps.analysis import (
    DIFFERENCES,
    Intermediate,
    Judged,
    Metric,
    ShotRates,
    Spent,
    judge_run,
    shot_rate_metrics,
)
from tps.analysis.verdict import RULES
from tps.cli import CONTEXT, main
from tps.report import verdict_section, verdict_text

SPENT = Spent(
    sampling="metadynamics",
    n_sample_steps=1_500_000,
    max_grow_steps=6_000_000,
    n_path_steps=64_000,
    n_window_frames=1600,
    n_chains=16,
    max_frames=10_000,
    n_frame_shots=4000,
)
ANCHORED, REGIONS = DIFFERENCES.values()


def number(value, error=None, unit="", withheld=""):
    return Metric(value, error, unit, "A number.", withheld)


#: Alanine dipeptide as the demo has it, rounded.
HEALTHY = {
    "support": number(272.0, unit="count"),
    "paths_started": number(64, unit="count"),
    "paths_reactive": number(64, unit="count"),
    "hit_rate": number(100.0, 2.0, "%"),
    "free_energy_difference": number(6.0, 0.4, "kJ/mol"),
    "divergence_to_ensemble": number(0.2, unit="nats"),
    "divergence_between_halves": number(0.05, unit="nats"),
    "shooting_moves": number(3000, unit="count"),
    "decorrelated_paths": number(238, unit="count"),
    "mean_transition_time": number(0.36, 0.006, "ps"),
    "transition_time_from_frames": number(0.35, 0.008, "ps"),
    "rate_a_to_b": number(6.1e-7, 0.5e-7, "1/ps"),
    "rate_b_to_a": number(2.2e-5, 0.3e-5, "1/ps"),
    "first_passage_a_to_b": number(1.6e6, 1.4e5, "ps"),
    "first_passage_b_to_a": number(4.4e4, 5.6e3, "ps"),
}
ROADS = {
    ANCHORED: {"windows": number(6.3, 0.6, "kJ/mol"), "metadynamics": number(6.0, 0.4, "kJ/mol")},
    REGIONS: {"windows": number(8.8, 0.6, "kJ/mol"), "metadynamics": number(9.0, 0.2, "kJ/mol")},
}
ENSEMBLE = (
    "divergence_to_ensemble",
    "divergence_between_halves",
    "shooting_moves",
    "decorrelated_paths",
    "mean_transition_time",
    "transition_time_from_frames",
)
RATES = ("rate_a_to_b", "rate_b_to_a", "first_passage_a_to_b", "first_passage_b_to_a")


def run(*, without=(), roads=ROADS, spent=None, metrics=None, looked_for_third=True, **changes):
    """Return the healthy run with some metrics left out or changed, other settings, and other facts."""
    found = {name: metric for name, metric in (HEALTHY | (metrics or {})).items() if name not in without}
    settings = replace(SPENT, **(spent or {}))
    return Judged(found, 2.494, 30.0, settings, roads=roads, looked_for_third=looked_for_third, **changes)


def roads(*, anchored=6.0, error=0.4, windows_error=0.6):
    other = {
        "windows": number(6.3, windows_error, "kJ/mol"),
        "metadynamics": number(anchored, error, "kJ/mol"),
    }
    return {ANCHORED: other, REGIONS: ROADS[REGIONS]}


def barriers(a, b):
    return {
        "free_energy_barrier_a": number(2.494 * a, 0.6, "kJ/mol"),
        "free_energy_barrier_b": number(2.494 * b, 0.6, "kJ/mol"),
    }


THIRD = Intermediate("phi2 60 ± 12 °", 0.11, 1200.0, "ps", 3, 1)
FEW = ShotRates(*[(1e-6, 1e-7)] * 5, n_paths=4, effective_paths=2.5, n_shots=4000, n_unfinished=0)
LOST = ShotRates(*[(1e-6, 1e-7)] * 5, n_paths=400, effective_paths=250.0, n_shots=4000, n_unfinished=900)
UNEVEN = ShotRates(
    *[(1e-6, 1e-7)] * 4, (3.0, 0.3), n_paths=400, effective_paths=250.0, n_shots=4000, n_unfinished=0
)

HEALTHY_SENTENCES = {
    "support": "The whole curve stands on data.",
    "candidates": "The candidates go where unbiased paths go.",
    "mixing": "The chains of shooting agree with one another, and with shots from the frames.",
    "free energy": "All roads to the free energy of B against A agree.",
    "states": "Stays in A and B are much longer than crossings, and no third basin was seen.",
    "rate": "The rates between A and B are known.",
}

#: What is wrong, the rule that sees it, its state, its sentence, and its remedy.
CASES = {
    "unsupported curve": (
        run(metrics={"support": number(12.0, unit="count")}),
        "support",
        "bad",
        "Part of the curve stands on too little data: what the model says there is a guess.",
        "tps geodesic RUN --min-support 30 --force",
    ),
    "ends that are one": (
        run(metrics={"hit_rate": number(None, unit="%", withheld="the ends are closer than the noise")}),
        "support",
        "bad",
        "A and B as anchored are closer than the noise, so that the curve between them says nothing.",
        "tps check RUN/run.toml",
    ),
    "a model against its frames": (
        run(metrics={"psi_difference_to_frames": number(-1.2, unit="kT")}),
        "support",
        "doubtful",
        "The whole curve stands on data, but the model contradicts them: they can take its place.",
        "tps train RUN --model frames --force",
    ),
    "frames that do not weigh A against B": (
        run(weightless="1 of 2 walkers saw both A and B"),
        "support",
        "doubtful",
        "The whole curve stands on data, but these do not tell how likely A is against B.",
        "tps conformations RUN --n-sample-steps 3000000 --force",
    ),
    "the same of frames that grew": (
        run(weightless="chains disagree", spent={"sampling": "grow"}),
        "support",
        "doubtful",
        "The whole curve stands on data, but these do not tell how likely A is against B.",
        "tps conformations RUN --max-steps 12000000 --force",
    ),
    "the same of imported frames": (
        run(weightless="no walker saw both", spent={"sampling": "import"}),
        "support",
        "doubtful",
        "The whole curve stands on data, but these do not tell how likely A is against B.",
        "",
    ),
    "no candidate across": (
        run(metrics={"paths_reactive": number(0, unit="count")}),
        "candidates",
        "bad",
        "No candidate goes from A to B.",
        "tps paths RUN --n-steps 128000 --force",
    ),
    "nothing shot": (
        run(without=ENSEMBLE),
        "candidates",
        "unknown",
        "Whether unbiased paths go where the candidates go is not known: there are none.",
        "tps shoot RUN -n 1000",
    ),
    "distance withheld": (
        run(metrics={"divergence_to_ensemble": number(None, unit="nats", withheld="passages were not kept")}),
        "candidates",
        "unknown",
        "Whether unbiased paths go where the candidates go is not known: the distance is withheld.",
        "tps paths RUN --force",
    ),
    "an ensemble too small to compare with": (
        run(metrics={"divergence_between_halves": number(0.3, unit="nats")}),
        "candidates",
        "unknown",
        "Whether unbiased paths go where the candidates go is not known yet: there are too few of them.",
        "tps shoot RUN -n 13000",
    ),
    "candidates that go elsewhere in part, under a floor": (
        run(
            metrics={"divergence_to_ensemble": number(0.36, unit="nats")},
            spent={"constraints": ("min_log_snr",)},
        ),
        "candidates",
        "doubtful",
        "The candidates go only in part where unbiased paths go: take the mechanism from the unbiased ones.",
        "tps geodesic RUN --method geodesic --free-energy-weight 1 --no-min-log-snr --force",
    ),
    "candidates far from the ensemble": (
        run(metrics={"divergence_to_ensemble": number(0.69, unit="nats")}, spent={"free_energy_weight": 1.0}),
        "candidates",
        "bad",
        "The candidates go elsewhere than unbiased paths: take the mechanism from the unbiased ones alone.",
        "tps geodesic RUN --method bridge --force",
    ),
    "unmixed chains": (
        run(metrics={"divergence_between_halves": number(0.3, unit="nats")}),
        "mixing",
        "bad",
        "The chains of shooting have not mixed: what they say depends on where they began.",
        "tps shoot RUN -n 13000",
    ),
    "chains that hardly mixed": (
        run(metrics={"divergence_between_halves": number(0.15, unit="nats")}),
        "mixing",
        "doubtful",
        "The chains of shooting agree only roughly with one another: more moves would settle them.",
        "tps shoot RUN -n 6500",
    ),
    "few paths in the chains": (
        run(metrics={"decorrelated_paths": number(4, unit="count")}),
        "mixing",
        "doubtful",
        "The chains of shooting agree only roughly with one another: more moves would settle them.",
        "tps shoot RUN -n 7500",
    ),
    "chains in another channel": (
        run(shares=((number(1.0, 0.05), number(0.5, 0.02)),)),
        "mixing",
        "bad",
        "The chains of shooting contradict shots from the frames: they stay in the channels they began in.",
        "tps shoot RUN -n 6000",
    ),
    "chains of another duration": (
        run(metrics={"mean_transition_time": number(None, unit="ps", withheld="chains say another time")}),
        "mixing",
        "bad",
        "The chains of shooting contradict shots from the frames: they stay in the channels they began in.",
        "tps shoot RUN -n 6000",
    ),
    "one chain": (
        run(without=["divergence_between_halves"], spent={"n_chains": 1}),
        "mixing",
        "doubtful",
        "Whether shooting has forgotten where it began does not show: its paths are of one chain.",
        "tps shoot RUN --n-chains 16 --force",
    ),
    "no windows": (
        run(roads={}),
        "free energy",
        "unknown",
        "Nothing checks the free energy of B against A yet: windows along the curve would.",
        "tps free-energy RUN",
    ),
    "disagreeing roads": (
        run(roads=roads(anchored=8.2)),
        "free energy",
        "doubtful",
        "Some roads to the free energy of B against A differ by more than their errors.",
        "tps free-energy RUN --n-frames 3200 --force",
    ),
    "contradicting roads": (
        run(roads=roads(anchored=12.0)),
        "free energy",
        "bad",
        "Roads to the free energy of B against A contradict each other.",
        "tps free-energy RUN --n-frames 3200 --force",
    ),
    "roads of large errors": (
        run(roads=roads(windows_error=2.6)),
        "free energy",
        "doubtful",
        "The roads to the free energy of B against A agree, but within errors above kT.",
        "tps free-energy RUN --n-frames 3200 --force",
    ),
    "windows of few independent frames": (
        run(metrics={"window_effective_samples": number(2.3, unit="count")}),
        "free energy",
        "doubtful",
        "The roads to the free energy of B against A agree, but windows hold few independent frames.",
        "tps free-energy RUN --n-frames 3200 --force",
    ),
    "one road": (
        run(roads={ANCHORED: {"windows": number(6.3, 0.6, "kJ/mol")}}),
        "free energy",
        "doubtful",
        "No two roads to the free energy of B against A gave numbers to compare.",
        "tps free-energy RUN --n-frames 3200 --force",
    ),
    "a third basin": (
        run(third=THIRD),
        "states",
        "doubtful",
        "There is a third basin, neither A nor B, at phi2 60 ± 12 °: rates and populations depend on it.",
        "tps conformations RUN --n-sample-steps 3000000 --force",
    ),
    "a third basin with most of the weight": (
        run(third=replace(THIRD, share=0.6)),
        "states",
        "bad",
        "Most of the weight is in a third basin, neither A nor B, at phi2 60 ± 12 °: A and B alone tell little.",
        "tps conformations RUN --n-sample-steps 3000000 --force",
    ),
    "short stays": (
        run(metrics={"first_passage_a_to_b": number(1.8, 0.4, "ps")}),
        "states",
        "doubtful",
        "Stays in A and B are only a few times as long as a crossing: p_B along a path of shooting shows whether their "
        "borders lie right.",
        "tps committor RUN --frames path",
    ),
    "no stays": (
        run(metrics={"first_passage_a_to_b": number(0.5, 0.1, "ps")}),
        "states",
        "bad",
        "A crossing takes about as long as a stay, so that A and B are hardly two states: p_B along a path of shooting "
        "shows whether their borders lie right.",
        "tps committor RUN --frames path",
    ),
    "a barrier alone": (
        run(without=RATES, metrics=barriers(14, 11), looked_for_third=False),
        "states",
        "good",
        "A high barrier of free energy parts A and B.",
        "",
    ),
    "a low barrier alone": (
        run(without=(*RATES, *ENSEMBLE), metrics=barriers(14, 4)),
        "states",
        "doubtful",
        "The barrier of free energy between A and B is low: p_B along a path of shooting shows whether their borders "
        "lie right.",
        "tps shoot RUN -n 1000",
    ),
    "no barrier": (
        run(without=RATES, metrics=barriers(14, 1)),
        "states",
        "bad",
        "There is hardly a barrier of free energy between A and B: p_B along a path of shooting shows whether their "
        "borders lie right.",
        "tps committor RUN --frames path",
    ),
    "rate unknown": (
        run(without=RATES, spent={"n_frame_shots": 0}),
        "rate",
        "unknown",
        "The rates between A and B are not known: shots from the weighted frames would tell.",
        "tps rate RUN -n 3000",
    ),
    "a rough rate": (
        run(metrics={"rate_b_to_a": number(2.2e-5, 1.1e-5, "1/ps")}),
        "rate",
        "doubtful",
        "The rates between A and B are known roughly.",
        "tps rate RUN -n 12000",
    ),
    "rates out of balance": (
        run(metrics={"detailed_balance": number(0.25, 0.12, "")}),
        "rate",
        "doubtful",
        "Rates from A and from B, and the weights of the frames, do not go together: detailed balance is missed.",
        "tps conformations RUN --n-sample-steps 3000000 --force",
    ),
    "a rate of no known error": (
        run(metrics={"rate_b_to_a": number(2.2e-5, None, "1/ps")}),
        "rate",
        "bad",
        "The rates between A and B are known to an order of magnitude at best.",
        "tps rate RUN -n 32000",
    ),
    "too few transitions": (
        run(metrics=shot_rate_metrics(FEW, "ps")),
        "rate",
        "unknown",
        f"Rates are withheld: {shot_rate_metrics(FEW, 'ps')['rate_a_to_b'].withheld}.",
        "tps rate RUN -n 16000",
    ),
    "shots that never end": (
        run(metrics=shot_rate_metrics(LOST, "ps")),
        "rate",
        "unknown",
        f"Rates are withheld: {shot_rate_metrics(LOST, 'ps')['rate_a_to_b'].withheld}.",
        "tps shoot RUN --max-frames 20000 --force",
    ),
    "broken balance": (
        run(metrics=shot_rate_metrics(UNEVEN, "ps")),
        "rate",
        "unknown",
        "Rates are withheld: detailed balance is broken by 11.0 standard errors: transitions A → B over B → A are "
        "3.00.",
        "tps conformations RUN --n-sample-steps 3000000 --force",
    ),
    "imported frames of unknown weights": (
        run(
            metrics=shot_rate_metrics(None, "ps", "the weights are no function of the features"),
            spent={"sampling": "import"},
        ),
        "rate",
        "bad",
        "Rates are withheld: the weights are no function of the features.",
        "",
    ),
}


def found_in(judged):
    return {finding.rule: finding for finding in judge_run(judged)}


def test_a_healthy_run_is_good_in_every_respect():
    found = found_in(run())
    assert {rule: finding.sentence for rule, finding in found.items()} == HEALTHY_SENTENCES
    assert {finding.state for finding in found.values()} == {"good"}
    assert not any(finding.remedy for finding in found.values())
    assert all(finding.evidence for finding in found.values())


@pytest.mark.parametrize(("judged", "rule", "state", "sentence", "remedy"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_said_with_its_evidence_and_remedy(judged, rule, state, sentence, remedy):
    found = found_in(judged)[rule]
    assert (found.state, found.sentence, found.remedy) == (state, sentence, remedy)
    assert found.state != "unknown" or remedy  # only where a command would make it known


@pytest.mark.parametrize("judged", [case[0] for case in CASES.values()], ids=CASES)
def test_the_command_line_takes_every_remedy(judged):
    for finding in judge_run(judged):
        if finding.remedy:
            program, name, *arguments = finding.remedy.split()
            assert program == "tps"
            given = main.commands[name].make_context(name, arguments, **CONTEXT).params
            assert str(given.get("run", given.get("what"))).startswith("RUN")


def test_numbers_withheld_are_no_evidence():
    for case in CASES.values():
        for finding in judge_run(case[0]):
            assert all(metric.value is not None for metric in finding.evidence.values()), finding


def test_candidates_alone_have_fewer_sentences():
    found = found_in(run(without=(*ENSEMBLE, *RATES), roads={}))
    assert {rule: finding.state for rule, finding in found.items()} == {
        "support": "good",
        "candidates": "unknown",
        "free energy": "unknown",
        "rate": "unknown",
    }


def test_a_grid_needs_no_second_road_and_shows_no_third_basin():
    found = found_in(run(roads={}, spent={"sampling": "grid"}, looked_for_third=False))
    assert list(found) == ["support", "candidates", "mixing", "states", "rate"]
    assert list(found["support"].evidence) == ["effective points of the grid at its weakest point", "needed"]
    assert found["states"].sentence == "Stays in A and B are much longer than crossings."


@pytest.mark.parametrize("balance", [(0.55, 0.01), (0.25, 0.2), (1.9, 0.1), (None, None)])
def test_balance_within_a_factor_of_two_or_two_errors_is_no_reason(balance):
    """ln 0.25 = -1.39, of which two errors are 1.6."""
    assert found_in(run(metrics={"detailed_balance": number(*balance, "")}))["rate"].state == "good"


def test_the_farthest_roads_that_disagree_are_named():
    far = {
        "windows": number(6.0, 9.0, "kJ/mol"),
        "pulls": number(0.0, 0.1, "kJ/mol"),
        "model": number(3.0, 0.1, "kJ/mol"),
    }
    evidence = found_in(run(roads={ANCHORED: far}))["free energy"].evidence
    assert evidence["pulls and model apart"].value == 3.0  # windows and pulls are farther, within errors


def test_work_one_way_is_left_out_where_the_same_work_both_ways_is_known():
    pulls = {
        "straight pulls, both ways (BAR)": number(6.2, 0.3, "kJ/mol"),
        "straight pulls from A (Jarzynski)": number(20.0, 0.5, "kJ/mol"),
        "straight pulls from B (Jarzynski)": number(-5.0, 0.5, "kJ/mol"),
    }
    assert found_in(run(roads={ANCHORED: ROADS[ANCHORED] | pulls}))["free energy"].state == "good"
    unknown = {"straight pulls, both ways (BAR)": number(None, unit="kJ/mol")}
    assert found_in(run(roads={ANCHORED: ROADS[ANCHORED] | pulls | unknown}))["free energy"].state == "bad"


def test_every_rule_speaks_somewhere():
    assert {case[1] for case in CASES.values()} == set(HEALTHY_SENTENCES)
    assert len(RULES) == len(HEALTHY_SENTENCES) == 6


def test_a_verdict_reads_the_same_from_json_in_a_terminal_and_on_a_page():
    path = "/tmp/my runs/<b>"
    for judged, _, _, sentence, remedy in CASES.values():
        verdict = json.loads(json.dumps([finding.as_dict() for finding in judge_run(judged)]))
        text, page = verdict_text(verdict, path), verdict_section(verdict, path)
        assert " ".join(sentence.split()) in " ".join(text.split())
        commands = [line for line in text.splitlines() if "tps " in line and "'/tmp/my runs/<b>" in line]
        assert len(commands) == sum(bool(found["remedy"]) for found in verdict) + any(
            f["remedy"] for f in verdict
        )
        assert all(len(line) <= 100 for line in text.splitlines() if line not in commands)
        assert "<b>" not in page and ("&lt;b&gt;" in page) == any(found["remedy"] for found in verdict)
        for found in verdict:
            assert found["state"] in text and f"{found['state']}</span>" in page
        place = "'/tmp/my runs/<b>/run.toml'" if "RUN/run.toml" in remedy else "'/tmp/my runs/<b>'"
        assert remedy.replace("RUN/run.toml", place).replace("RUN", place) in text


def test_states_differ_in_sign_and_word():
    text = verdict_text([found.as_dict() for found in judge_run(CASES["a third basin"][0])], "runs/x")
    assert "~ doubtful  There is a third basin" in text and "✓ good      The whole curve" in text
    assert "of the weight there: 11.00 %; longest stay: 1.200 ns; long stays: 3; of which ended: 1" in text
