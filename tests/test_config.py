"""Run files: round trips, shipped ones, and mistakes answered with one sentence."""

import pytest

from tps.config import RunConfig, load_config
from tps.errors import ConfigError
from tps.systems import data_directory

SHIPPED = sorted(data_directory("configs").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_run_files_round_trip(path, tmp_path):
    config = load_config(path)
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "run.toml") == config


def test_every_key_survives_a_round_trip(tmp_path):
    config = RunConfig.model_validate(
        {
            "run": {"system": "alanine-dipeptide", "seed": 7, "n_workers": 3, "platform": "CPU"},
            "conformations": {
                "method": "import",
                "trajectories": ["/data/a.xtc", "/data/b.xtc"],
                "weights_file": "/data/COLVAR",
                "weights_kind": "bias-kj-per-mol",
                "weights_column": "metad.rbias",
            },
            "geodesic": {
                "windings": [0, -1],
                "min_log_snr": 2.5,
                "avoid": ["phi=-60..60", "phi=100..140,psi=0..20"],
                "avoid_points": [{"center": {"phi": 0, "psi": -70}, "log_snr": 3, "min_kl_nats": 2}],
            },
        }
    )
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "run.toml") == config


def test_a_shipped_run_file_is_found_by_its_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    assert load_config(Path("demo")) == load_config(data_directory("configs") / "demo.toml")


def test_files_are_relative_to_the_run_file(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[run]\nsystem = "alanine-dipeptide"\n[conformations]\nmethod = "import"\ntrajectories = ["md/a.dcd"]\n'
    )
    assert load_config(tmp_path / "run.toml").conformations.trajectories == (str(tmp_path / "md/a.dcd"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[run]\nsytem = "x"', "run.sytem: unknown key; did you mean 'system'"),
        ('[run]\nsystem = "x"\n[geodesics]\n', "geodesics: unknown key; did you mean 'geodesic'"),
        ('[run]\nsystem = "x"\n[paths]\nn_paths = 0', "paths.n_paths: .*greater than 0, but got 0"),
        ('[run]\nsystem = "x"\n[run2]', "run2"),
        ('[run]\nsystem = "x"\ntimestep_fs = 2', "run.timestep_fs: unknown key; did you mean 'timestep_ps'"),
        ('[run]\nsystem = "x"\ntimestep_ps = "fast"', "run.timestep_ps: .*number.*'fast'"),
        (
            '[run]\nsystem = "x"\n[paths]\nn_steps = 1000',
            r"n_steps \(1000\) must be a multiple of n_frames \(320\)",
        ),
        (
            '[run]\nsystem = "x"\n[paths]\nn_updates = 1000',
            r"n_steps \(64000\) must be a multiple of n_updates \(1000\)",
        ),
        (
            '[run]\nsystem = "x"\n[geodesic]\nmin_log_snr = 4.5',
            r"min_log_snr \(4.5\) must lie below anchor_log_snr \(4\)",
        ),
        ('[run]\nsystem = "x"\n[paths]\nenforce = true', "paths.enforce needs a region"),
        ('[run]\nsystem = "x"\n[conformations]\nmethod = "import"', "trajectories"),
        ('[run]\nsystem = "x"\n[geodesic]\navoid_p_max = 1.5', "geodesic.avoid_p_max: .*less than 1"),
        (
            '[run]\nsystem = "x"\n[free_energy]\nn_frames = 9',
            "free_energy.n_frames: should be greater than or equal to 10, but got 9$",
        ),
        (
            '[run]\nsystem = "x"\n[geodesic]\nfree_energy_weight = -1',
            "free_energy_weight: should be greater than or equal to 0, or 'auto', but got -1$",
        ),
        (
            '[run]\nsystem = "x"\n[geodesic]\nanchor_log_snr = "4.0"',
            "anchor_log_snr: should be a valid number.*'4.0'",
        ),
        ('[run]\nsystem = "x"\n[train]\nwidth = 8\ndenoiser = 17', "train.denoiser: "),
        (
            '[run]\nsystem = "x"\ntimestep_ps = 1000',
            "run.timestep_ps: .*less than or equal to 0.1, but got 1000",
        ),
        (
            '[run]\nsystem = "x"\n[geodesic]\nanchor_log_snr = 4000',
            "anchor_log_snr: .*less than or equal to 50",
        ),
        ('[run]\nsystem = "x"\n[train.flow]\nwidth = 128_000', "train.flow.width: .*10000, but got 128000"),
        ('rate = 3\n[run]\nsystem = "x"', "rate: should be a table, but got 3"),
        ("[run]\nseed = 1", "run.system: required key is missing"),
        ("not toml", "cannot be read as TOML"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(tmp_path / "run.toml")
    assert "\n" not in str(caught.value)
    assert "run.toml" in str(caught.value)


def test_a_missing_run_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_config(tmp_path / "none.toml")


def test_options_are_checked_like_the_run_file():
    config = load_config(data_directory("configs") / "demo.toml")
    assert config.updated("geodesic", {"min_log_snr": 2.0}).geodesic.min_log_snr == 2.0
    with pytest.raises(ConfigError, match="must lie below"):
        config.updated("geodesic", {"min_log_snr": 9.0})


@pytest.mark.parametrize(
    ("given", "weight"),
    [
        ({}, 1.0),
        ({"min_log_snr": 3.0}, 0.0),
        ({"max_std": 0.3}, 0.0),
        ({"min_support": 50.0}, 0.0),
        ({"avoid": ["phi=0..1"]}, 0.0),
        ({"avoid_points": [{"center": {"phi": 0.0}, "log_snr": 3.0, "min_kl_nats": 3.0}]}, 0.0),
        ({"min_log_snr": 3.0, "free_energy_weight": 0.5}, 0.5),
    ],
)
def test_free_curves_pay_for_free_energy_and_constrained_ones_do_not(given, weight):
    config = load_config(data_directory("configs") / "demo.toml")
    assert config.geodesic.free_energy_weight == "auto"
    assert config.updated("geodesic", given).geodesic.metric_weight == weight


@pytest.mark.parametrize(
    ("n_steps", "n_frames", "n_updates"),
    [(64_000, 320, 3200), (12_800, 320, 640), (4_000, 2_000, 2_000), (230, 10, 230), (4_400, 100, 400)],
)
def test_the_tilt_moves_once_in_20_steps_or_more_often(n_steps, n_frames, n_updates):
    """The smallest multiple of the frames that divides the steps, by hand."""
    paths = {"n_steps": n_steps, "n_frames": n_frames}
    config = RunConfig.model_validate({"run": {"system": "x"}, "paths": paths})
    assert config.paths.n_updates == n_updates
