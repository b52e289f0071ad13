"""Alanine dipeptide, C5 to C7ax, with the library alone: no run file, no run folder.

    python examples/alanine_dipeptide.py [FOLDER]

Samples, trains, finds the geodesic, runs eight paths along it, and writes them as DCD files with their topology.
About a minute on two cores.
"""

import sys
from pathlib import Path

import mdtraj
import numpy as np
import torch

from tps.analysis import channels, energy_metrics, hit_metrics
from tps.conformations import MetadynamicsSettings, run_metadynamics
from tps.diffusion import LogPartitionSection, TrainingSettings, train_model
from tps.engine import LangevinSettings, choose_platform, executor_kind, local_executor
from tps.paths import AnnealingSettings, annealed_paths, save_paths
from tps.report import format_value
from tps.spacetime import LogPartitionFamily, LogSnrFloor, anchors, find_geodesic, spacetime_of
from tps.systems import load_system


def main(folder: Path) -> None:
    system = load_system("alanine-dipeptide")
    langevin = LangevinSettings(system.temperature)
    platform = choose_platform(system.system_xml, system.positions_a)
    print(f"platform: {platform.describe()}")

    with local_executor(executor_kind(platform), 2) as executor:
        # weighted frames: a bias built by metadynamics, frozen, and undone by exact weights
        walkers, _ = run_metadynamics(
            system.system_xml,
            system.features.variables,
            [system.positions_a, system.positions_b],
            MetadynamicsSettings(n_build_steps=500_000, n_sample_steps=500_000, frame_interval=100),
            langevin,
            platform,
            seeds=[1, 2, 3, 4],
            executor=executor,
        )
        values = np.concatenate([system.feature_values(w.positions) for w in walkers])
        log_weights = np.concatenate([w.log_weights for w in walkers])

        # the diffusion model: a log-partition function, whose gradient is the denoiser
        rng = torch.Generator().manual_seed(0)
        settings = TrainingSettings(n_steps=500)
        network, record = train_model(LogPartitionSection(), system.space, values, log_weights, settings, rng)
        print(f"held-out loss {record.best_held_out_loss:.4f} at step {record.best_step}")

        # the geodesic between the two end structures, each torsion held to ln kappa >= 2 on the way
        family = LogPartitionFamily(network.double(), spacetime_of(system.space))
        ends = anchors(system.space, system.feature_values(system.ends), log_snr=4.0)
        geodesic = find_geodesic(family, *ends, constraints=[LogSnrFloor(2.0)])
        print(f"geodesic: {geodesic.status}, length {geodesic.length:.3f}")

        # real dynamics under a tilt that moves along it
        ensemble, positions = annealed_paths(
            system,
            geodesic.curve.s.numpy(),
            geodesic.curve.eta.numpy(),
            AnnealingSettings(n_paths=8),
            langevin,
            platform,
            seeds=list(range(8)),
            executor=executor,
        )
    save_paths(folder, ensemble, positions, system.box)
    mdtraj.Trajectory(system.positions_a[None], system.mdtraj_topology).save_pdb(str(folder / "topology.pdb"))
    found = {**hit_metrics(system, positions), **energy_metrics(system, ensemble, {})}
    for name in ("hit_rate", "u_max"):
        print(f"{name}: {format_value(found[name].value, found[name].error, found[name].unit)}")
    for name, share in channels(system, ensemble).items():
        print(f"channel {name}: {100 * share:.0f} %")
    print(f"trajectories in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
