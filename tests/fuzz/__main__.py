"""`python -m fuzz [N] [SEED] [WORD]`: N cases, and what is wrong with what came of them, by class."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from fuzz.campaign import Campaign

#: So many cases go by between two lines of progress.
_SAID_EVERY = 500


def report(n: int, seed: int, word: str) -> int:
    """Run n cases and print each kind of complaint with its number and an example; return how many there are."""
    found: dict[str, list[str]] = defaultdict(list)
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tps-fuzz-") as folder,
        Campaign(Path(folder), whole=True) as campaign,
    ):
        print(f"originals made in {time.monotonic() - begun:.0f} s", flush=True)
        seconds = 0.0
        for index, (case, outcome, complaint) in enumerate(campaign.outcomes(n, seed, word)):
            seconds += outcome.seconds
            if index % _SAID_EVERY == _SAID_EVERY - 1:
                print(f"{index + 1} cases, {time.monotonic() - begun:.0f} s", flush=True)
            if complaint:
                found[complaint].append(f"{index}: {case.label}")
                print(f"{index}: {case.label}\n    {complaint}\n    {outcome.err.strip()[:300]}", flush=True)
    wrong = sum(map(len, found.values()))
    for complaint, labels in sorted(found.items(), key=lambda pair: -len(pair[1])):
        print(f"{len(labels):6d}  {complaint}\n        {labels[0]}")
    print(f"{n} cases, {wrong} complaints, {seconds:.0f} s of CPU in commands")
    return wrong


if __name__ == "__main__":
    _, n, seed, word, *_ = [*sys.argv, *["10000", "1", ""][len(sys.argv) - 1 :]]
    sys.exit(report(int(n), int(seed), word) > 0)
