"""Run files on a surface: of seconds, and of an hour."""

SMALL = """
[run]
system = "double-well-2d"

[conformations]
n_grid_points = 40

[geodesic]
n_points = 16

[paths]
n_paths = 4
n_baseline_paths = 1
n_steps = 200
n_updates = 50
n_frames = 50
n_equilibration_steps = 20

[shooting]
n_moves = 40
n_chains = 4
n_frame_shots = 20

[committor]
n_paths = 1
n_shots = 4

[free_energy]
n_windows = 4
n_bridge_windows = 2
n_frames = 50
n_backward_paths = 2
"""
LONG_RUN = """
[run]
system = "double-well-2d"

[geodesic]
n_points = 24

[paths]
n_paths = 2
n_baseline_paths = 1
n_steps = 400
n_updates = 100
n_frames = 50
n_equilibration_steps = 20

[shooting]
n_moves = 1_000_000
"""
