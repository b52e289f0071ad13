"""A day of shooting in minutes: memory, going on and the run folder do not grow with the moves, or hardly."""

import json
import subprocess
import sys

import pytest
from commands import tps

RUN = """
[run]
system = "double-well"
seed = 1
n_workers = 1

[conformations]
n_grid_points = 100

[paths]
n_paths = 8
n_baseline_paths = 2
n_steps = 600
n_frames = 300

[shooting]
n_moves = 20_000
n_chains = 40
n_frame_shots = 400
"""
#: Shoots in a program of its own up to some moves, and says what that took.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path

from tps.pipeline import RunFolder
from tps.pipeline.progress import Silent
from tps.pipeline.runner import run_stage

run = RunFolder.open(Path(sys.argv[1]))
run = run.with_config(run.config.updated("shooting", {"n_moves": int(sys.argv[2])}))
start = time.process_time()
if __name__ == "__main__":
    run_stage(run, "shoot", Silent())
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak": peak / 1024}))
"""


def shot(script, run, n_moves):
    ended = subprocess.run(
        [sys.executable, script, run, str(n_moves)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
def test_two_hundred_thousand_moves(tmp_path):
    """Between 20,000 moves and ten times as many the peak of memory [MB] stays within 50, and going on within 2 s.

    A chain's records are 46 bytes a move, its table of paths about 100 bytes a path: 40 MB in all, were all of it held
    at once three times over. Before, positions, features and energies of all paths were held, and looked at anew.
    """
    (tmp_path / "run.toml").write_text(RUN)
    run, script = tmp_path / "run", tmp_path / "program.py"
    script.write_text(PROGRAM)
    tps("run", tmp_path / "run.toml", "-o", run, "--until", "paths")
    short = shot(script, run, 20_000)
    long = shot(script, run, 200_000)
    on = shot(script, run, 200_000 + 40)
    files = [file for file in (run / "shooting").rglob("*") if file.is_file()]
    said = {
        "MB at 20,000 and 200,000 moves": (short["peak"], long["peak"]),
        "CPU s of 180,000 moves": long["seconds"],
        "CPU s of going on": on["seconds"],
        "files": len(files),
        "MB in them": sum(file.stat().st_size for file in files) / 1e6,
    }
    print(said)
    assert long["peak"] - short["peak"] < 50, said
    assert on["seconds"] < 2, said
    assert len(files) < 1000, said
