"""A few hundred malformed inputs: no traceback, no crash, no hang, and nothing accepted that is known to be bad."""

from collections import Counter

import pytest

from fuzz.campaign import Campaign

N_CASES = 300
SEED = 1


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    with Campaign(tmp_path_factory.mktemp("fuzz"), whole=False) as found:
        yield found


def test_malformed_inputs_get_one_sentence_each(campaign):
    """The seed is fixed: what fails here fails again."""
    wrong, refused, accepted = [], 0, 0
    for case, outcome, complaint in campaign.outcomes(N_CASES, SEED):
        wrong += [f"{case.label}: {complaint}: {outcome.err[-300:]}"] if complaint else []
        refused += outcome.code != 0
        accepted += outcome.code == 0
    assert not wrong, "\n".join(wrong)
    # what is spoilt is spoilt, and what is harmless is taken: neither all nor none
    assert refused > N_CASES / 3 < 3 * accepted


def test_sound_inputs_are_taken(campaign):
    """Without it a program that refuses everything would pass."""
    kinds = Counter()
    for case in campaign.sound_cases():
        outcome = campaign.judge.run(case)
        assert outcome.code == 0, f"{case.label}: {outcome.err}"
        kinds[case.arguments[0]] += 1
    assert set(kinds) >= {"systems", "run", "contents", "compare", "init"}
