"""The command line as tests call it, and a run of a few seconds."""

from pathlib import Path

from click.testing import CliRunner

from tps.cli import main
from tps.pipeline import RunFolder, find_stage

TINY = """
[run]
system = "alanine-dipeptide"
seed = {seed}
n_workers = 2

[conformations]
n_build_steps = 40_000
n_sample_steps = 40_000
frame_interval_steps = 50

[train]
n_steps = 20
log_partition.n_components = 32

[geodesic]
n_points = 16

[paths]
n_paths = 3
n_baseline_paths = 1
n_steps = 2_000
n_updates = 40
n_frames = 20
n_equilibration_steps = 500

[shooting]
n_moves = 60
n_chains = 3
n_frame_shots = 40

[committor]
n_paths = 2
n_shots = 10

[free_energy]
n_windows = 10
n_bridge_windows = 3
n_frames = 100
frame_interval_steps = 50
n_backward_paths = 4
"""


def tps(*arguments, code=0):
    """Run the command line; no traceback whatever happens."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def sealed(folder, stage):
    """Take what a test has made of a stage's files for what the stage left."""
    RunFolder.open(Path(folder)).seal(stage, find_stage(stage).outputs)


def complaint(*arguments):
    """Return the one sentence a command fails with."""
    result = tps(*arguments, code=1)
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]
