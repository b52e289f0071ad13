"""The run file: one section per stage, the unit in every key, unknown keys refused with the nearest known one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomlkit
from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    create_model,
    field_validator,
    model_validator,
)

from tps.conformations import WeightKind
from tps.diffusion import KINDS, ModelSection
from tps.engine import ClusterSection, PlatformWish, default_workers
from tps.errors import ConfigError
from tps.sections import Section, nearest, read_toml, validate
from tps.spacetime import CurveMethod
from tps.systems import data_directory

_STEPS_PER_UPDATE = 20  # of the tilt along a curve, at most: moves of it take a tenth of the time there

#: Keys of [run] that, like all of [cluster], say where the work is done: no result depends on them.
WHERE = ("n_workers", "executor", "devices")

Probability = Annotated[float, Field(gt=0, lt=1)]
#: Natural logarithms beyond are no widths of anything: e^50 is 5e21.
LogSnr = Annotated[float, Field(ge=-50, le=50)]
#: Of what is held in memory side by side: more is a slip.
Few = Annotated[int, Field(gt=0, le=10_000)]
Many = Annotated[int, Field(gt=0, le=1_000_000)]


class RunSection(Section):
    """[run] What the whole run shares."""

    system: str = Field(description="Name of a built-in system, or the folder of your own.")
    seed: NonNegativeInt = Field(0, description="Everything random follows from it.")
    executor: Literal["local", "dask"] = Field(
        "local", description="Where the work is done: on this machine, or by the workers of [cluster]."
    )
    n_workers: Few | None = Field(None, description="executor = local: cores to use; all of them by default.")
    platform: str | None = Field(None, description="OpenMM platform; the fastest measured one by default.")
    precision: Literal["single", "mixed", "double"] = Field(
        "mixed", description="Of a platform with devices: CUDA, HIP or OpenCL."
    )
    devices: tuple[NonNegativeInt, ...] = Field(
        (),
        description="Devices it computes on, by OpenMM's index, in turn; the one that OpenMM takes by default.",
    )
    timestep_ps: float = Field(0.002, gt=0, le=0.1, description="Time step of Langevin dynamics.")
    friction_per_ps: float = Field(1.0, gt=0, le=10_000, description="Friction of Langevin dynamics.")

    @property
    def wish(self) -> PlatformWish:
        """What is asked of OpenMM's platform."""
        return PlatformWish(self.platform, self.precision, self.devices)


class ConformationsSection(Section):
    """[conformations] Weighted frames."""

    method: Literal["auto", "metadynamics", "md", "replica-exchange", "grid", "import", "grow"] = Field(
        "auto",
        description="auto: the grid for surfaces; of molecules grow above two features, metadynamics otherwise.",
    )
    n_walkers: Few = Field(2, description="Independent simulations, half of them started from B.")
    n_build_steps: PositiveInt = Field(1_000_000, description="MD steps per walker that build the bias.")
    n_sample_steps: PositiveInt = Field(1_500_000, description="MD steps per walker that are sampled.")
    frame_interval_steps: PositiveInt = Field(250, description="MD steps between stored frames.")
    bias_features: tuple[str, ...] | None = Field(
        None, description="One to three features to bias; all by default."
    )
    bias_factor: float = Field(10.0, gt=1, le=1e6, description="Of well-tempered metadynamics: (T + ΔT)/T.")
    hill_height_kj_per_mol: float = Field(1.2, gt=0, le=1000, description="Of the first hill.")
    hill_width_degree: float = Field(
        17.0,
        gt=0,
        le=360,
        description="Of angles; of other features as many of their scales as this is radians.",
    )
    hill_interval_steps: PositiveInt = Field(250, description="MD steps between hills.")
    n_temperatures: int = Field(
        6,
        ge=2,
        le=10_000,
        description="method = replica-exchange: replicas of each walker, which share its steps.",
    )
    max_temperature_kelvin: float = Field(
        600.0,
        gt=0,
        le=10_000,
        description="The highest of them; the system's own is the lowest, and factors between them are equal.",
    )
    n_grid_points: int = Field(120, ge=8, le=4000, description="method = grid: points per axis of a surface.")
    trajectories: tuple[str, ...] = Field((), description="method = import: files MDTraj reads.")
    stride: PositiveInt = Field(1, description="method = import: every so many frames are taken.")
    weights_file: str | None = Field(
        None, description="One value per frame: npy, npz or text, such as COLVAR."
    )
    weights_kind: WeightKind | None = Field(
        None, description="What the column holds; needed where its name, such as metad.rbias, does not say."
    )
    weights_column: str | None = Field(
        None, description="Its name or number, from 0; the one that is named a weight by default."
    )
    skip_bad_frames: bool = Field(
        False, description="Leave out imported frames that are damaged, instead of refusing the file."
    )

    @model_validator(mode="after")
    def _import_needs_files(self) -> ConformationsSection:
        if (self.method == "import") != bool(self.trajectories):
            raise ValueError('method = "import" and trajectories = [...] go together: give both or neither')
        if self.weights_file and self.method != "import":
            raise ValueError('weights_file goes with method = "import"')
        return self


class GrowSection(Section):
    """[grow] Frames that grow along the curve they give: conformations.method = grow."""

    n_ladders: int = Field(
        4,
        ge=2,
        le=10_000,
        description="Independent chains through all windows; every other one comes from B.",
    )
    basin_method: Literal["md", "replica-exchange"] = Field(
        "md",
        description="What samples A and B: plain dynamics, or replicas at conformations.n_temperatures up to "
        "max_temperature_kelvin, where basins are slow; their frames at the system's own temperature are kept.",
    )
    n_basin_steps: PositiveInt = Field(
        100_000,
        description="MD steps of each ladder's walker of plain dynamics from A or B, or of all its replicas.",
    )
    basin_interval_steps: PositiveInt = Field(50, description="Steps between frames of these.")
    plain_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of max_steps that plain dynamics goes on for, where a walker went from A to B or back in "
        "n_basin_steps by itself.",
    )
    n_pull_steps: PositiveInt = Field(
        16_000, description="MD steps that carry each ladder's start along the straight way."
    )
    n_window_steps: PositiveInt = Field(10_000, description="MD steps in each window, ladder and round.")
    equilibration_share: float = Field(
        0.25, ge=0, lt=1, description="Share of a round's steps, its first, that are thrown away."
    )
    window_distance: PositiveFloat = Field(1.0, description="Fisher-Rao distance of neighbouring windows.")
    min_support: PositiveFloat = Field(
        30.0, description="Least effective number of weighted frames at every point of the curve."
    )
    max_windows: int = Field(
        16,
        ge=3,
        le=10_000,
        description="Windows that the straight way takes at first: anchors no tighter than so many can join.",
    )
    max_anchor_log_snr: LogSnr = Field(4.0, description="Anchors no tighter than this in any case.")
    target_error_kt: PositiveFloat = Field(
        0.3, description="Error of F(B) - F(A) [kT] to be reached before growing ends of itself."
    )
    max_rounds: PositiveInt = Field(8, description="Rounds at most, the one on the straight way included.")
    max_steps: PositiveInt = Field(6_000_000, description="Budget in MD steps of all simulations together.")
    max_minutes: PositiveFloat = Field(60.0, description="Budget in minutes by the clock.")


class TrainCommon(Section):
    """[train] The diffusion model: what all kinds share."""

    model: str = Field(
        "auto",
        description=f"One of {', '.join(KINDS)}, each with a section of its own; or frames: no network but the frames. "
        "auto: log-partition for angles of molecules, above three of them that or denoiser, the better one in "
        "windows of frames held out; else frames.",
    )
    target: Literal["auto", "posterior-mean", "per-sample"] = Field(
        "auto",
        description="What log-partition regresses on: E[T | eta] of the frames, or T of single frames.",
    )
    n_steps: PositiveInt = Field(1000, description="Training steps, at most.")
    batch_size: Many = Field(128, description="Tilts, or frames, in each step.")
    learning_rate: PositiveFloat | None = Field(
        None, description="The highest of the schedule; that of the kind unless given."
    )
    patience: PositiveInt = Field(
        10, description="Evaluations without a lower held-out loss after which training ends."
    )
    evaluate_every_steps: PositiveInt = Field(
        100, description="Steps between evaluations of the held-out loss."
    )
    device: str = Field("cpu", description="Torch device.")

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, data: Any) -> Any:
        """Move keys of earlier run files to the sections of their kinds."""
        if not isinstance(data, dict):
            return data
        moved = dict(data)
        for key, section in _EARLIER_TRAIN_KEYS.items():
            if key in moved and isinstance(moved.get(section, {}), dict):
                moved[section] = {key: moved.pop(key), **moved.get(section, {})}
        return moved

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        known = ("auto", *KINDS, "frames")
        if model not in known:
            raise ValueError(
                f"a model is one of {', '.join(known)}, but got {model!r}{nearest(model, known)}"
            )
        return model

    def of(self, kind: str) -> ModelSection:
        """Return the section of a kind."""
        section: ModelSection = getattr(self, section_name(kind))
        return section


def section_name(kind: str) -> str:
    """Return the name of a kind's section: log_partition for log-partition."""
    return kind.replace("-", "_")


#: Sections where keys of earlier run files went that stood in [train].
_EARLIER_TRAIN_KEYS = {"n_components": "log_partition", "width": "denoiser", "depth": "denoiser"}
if TYPE_CHECKING:

    class TrainSection(TrainCommon):
        """[train] With the sections of all kinds, [train.log_partition] and so on."""

else:
    _KIND_FIELDS = {section_name(kind): (section, section()) for kind, section in KINDS.items()}
    TrainSection = create_model("TrainSection", __base__=TrainCommon, **_KIND_FIELDS)


class AvoidPoint(Section):
    """[[geodesic.avoid_points]] A spacetime point to keep a KL distance from."""

    center: dict[str, float] = Field(description="Every feature's value: degrees of angles, nm of distances.")
    log_snr: LogSnr = Field(description="Its log-SNR; of angles ln kappa.")
    min_kl_nats: PositiveFloat = Field(description="Least Kullback-Leibler distance [nats].")


#: Keys of [geodesic] that hold constraints.
CONSTRAINT_KEYS = ("min_log_snr", "max_std", "min_support", "avoid", "avoid_points")


class GeodesicSection(Section):
    """[geodesic] The curve from A to B and its constraints."""

    method: CurveMethod = Field("geodesic", description="Which curve the paths follow.")
    free_energy_weight: NonNegativeFloat | Literal["auto"] = Field(
        0.0,
        description="w of the metric e^(2wF/kT) G that is measured in: 0 the geodesic, 1 the path of maximum flux. "
        "auto: 1 where the curve is free, 0 under constraints, beside which w = 1 is seldom solved.",
    )
    method_log_snr: LogSnr | None = Field(
        None, description="Level of the methods that know one level only; anchor_log_snr by default."
    )
    n_points: int = Field(64, ge=4, le=10_000, description="Points of the curve.")
    representation: Literal["spline", "points"] = Field(
        "spline", description="What the solver moves: coefficients of a B-spline, or the points themselves."
    )
    anchor_log_snr: LogSnr | Literal["auto"] = Field(
        4.0,
        description="Log-SNR at which the end structures are anchored. auto: as frames grew, or as tightly as "
        "the frames allow, up to 4.",
    )
    windings: tuple[int, ...] | None = Field(
        None, description="Extra turns of the starting curve, per feature; all ways are tried by default."
    )
    via: tuple[str, ...] = Field(
        (), description='Starting curves by points they pass: "x=0,y=1; x=0.7,y=0.7", in degrees and nm.'
    )
    channel: NonNegativeInt = Field(0, description="Which of the geodesics found: 0 is the first by rank.")
    rank: Literal["barrier", "length"] | None = Field(
        None,
        description="What orders the geodesics: the barrier of free energy on the way (by default, where the tilt is "
        "tight enough for one), or the length.",
    )
    min_log_snr: LogSnr | None = Field(
        None, description="Low variance: ln kappa of every torsion stays above."
    )
    max_std: PositiveFloat | None = Field(
        None, description="Low variance: ceiling on the posterior s.d. [rad]."
    )
    avoid: tuple[str, ...] = Field((), description='Regions such as "phi=-60..60,psi=-120..0" (degrees).')
    avoid_p_max: Probability = Field(
        0.01,
        description="Largest probability of a region on the curve: the tether's own, and p(region | eta). Without a "
        "floor both are made tighter until 95 % of the paths are expected to stay out and arrive.",
    )
    avoid_points: tuple[AvoidPoint, ...] = Field((), description="Points to keep a distance from.")
    min_support: PositiveFloat | None = Field(
        None, description="Least effective number of weighted frames at every point of the curve."
    )
    max_iterations: PositiveInt = Field(500, description="Of each solve.")

    @property
    def constrained(self) -> bool:
        """Whether any constraint is in force."""
        values = (getattr(self, key) for key in CONSTRAINT_KEYS)
        return any(value is not None and value != () for value in values)

    @property
    def metric_weight(self) -> float:
        """The w that `free_energy_weight` means."""
        if self.free_energy_weight == "auto":
            return 0.0 if self.constrained else 1.0
        return self.free_energy_weight

    @model_validator(mode="after")
    def _floor_below_anchor(self) -> GeodesicSection:
        level = self.anchor_log_snr
        if self.min_log_snr is not None and level != "auto" and self.min_log_snr >= level:
            raise ValueError(
                f"min_log_snr ({self.min_log_snr:g}) must lie below anchor_log_snr ({level:g}), "
                "where the end states sit"
            )
        return self

    @property
    def anchor_level(self) -> float:
        """The anchors' log-SNR as a number, which the geodesic stage makes of "auto"."""
        assert not isinstance(self.anchor_log_snr, str)
        return self.anchor_log_snr


class PathsSection(Section):
    """[paths] Annealed Langevin dynamics along the geodesic, and along the two straight lines beside it."""

    n_paths: Many = Field(64, description="Paths along the curve.")
    protocol: Literal["fisher", "friction"] = Field(
        "fisher",
        description="Clock along the curve: equal Fisher-Rao steps, or equal steps of the friction length, which "
        "dissipate least.",
    )
    n_steps: PositiveInt = Field(64_000, description="MD steps of one path.")
    n_frames: PositiveInt = Field(320, description="Stored frames of one path.")
    n_updates: PositiveInt = Field(
        default_factory=lambda known: _n_updates(known.get("n_steps", 0), known.get("n_frames", 0)),
        description="Moves of the tilt along the curve; one in 20 MD steps unless given, or a little more often.",
    )
    n_equilibration_steps: PositiveInt = Field(
        5_000, description="MD steps under the first tilt, before it moves."
    )
    n_baseline_paths: NonNegativeInt = Field(32, description="Paths for each straight line; 0 for none.")
    n_friction_places: int = Field(
        24, ge=4, le=10_000, description="protocol = friction: places on the curve where it is measured."
    )
    n_friction_steps: PositiveInt = Field(
        20_000,
        description="MD steps at each of them, from A and from B each; up to eight times as many where T is slow.",
    )
    enforce: bool = Field(False, description="Keep the dynamics out of the regions to avoid by a wall.")
    wall_stiffness_kj_per_mol: PositiveFloat = Field(
        1000.0, description="Of that wall, per rad² or nm²; hard on surfaces."
    )

    @model_validator(mode="after")
    def _divisible(self) -> PathsSection:
        if self.n_steps % self.n_frames:
            raise ValueError(f"n_steps ({self.n_steps}) must be a multiple of n_frames ({self.n_frames})")
        if self.n_steps % self.n_updates or self.n_updates % self.n_frames:
            raise ValueError(
                f"n_steps ({self.n_steps}) must be a multiple of n_updates ({self.n_updates}), and n_updates a "
                f"multiple of n_frames ({self.n_frames})"
            )
        return self


def _n_updates(n_steps: int, n_frames: int) -> int:
    """Return the smallest multiple of n_frames that moves a tilt at least once in `_STEPS_PER_UPDATE` steps.

    Moving in jumps dissipates L² / (2 n_updates) kT beside what the finite speed does, L the Fisher-Rao length.
    """
    if n_frames < 1 or n_steps < 1 or n_steps % n_frames:
        return 1  # the validator names what is wrong
    per_frame = n_steps // n_frames
    return n_steps // max(n for n in range(1, _STEPS_PER_UPDATE + 1) if per_frame % n == 0)


def n_lessons(n_shots: int) -> int:
    """Return how many shots come first that only teach from where to shoot, where nothing else does."""
    return min(n_shots // 2, 500)


class ShootingSection(Section):
    """[shooting] Transition-path sampling from the reactive segments of the paths."""

    n_moves: NonNegativeInt = Field(1000, description="Moves of all chains together; 0 for none.")
    n_chains: Few = Field(16, description="Independent chains, each from a path of its own.")
    kind: Literal["two-way", "one-way"] = Field(
        "two-way", description="Whether a move flies on and back from a frame, or one of the two."
    )
    redraw_velocities: bool = Field(True, description="Whether two-way moves draw fresh velocities.")
    frame_selection: Literal["uniform", "committor"] = Field(
        "uniform", description="committor: near p_B = 1/2 of a network learned from chains of their own."
    )
    n_frame_shots: NonNegativeInt = Field(
        600,
        description="Shots from the weighted frames, which give each channel's share, after half as many that teach "
        "(500 at most) from where to shoot, where plain dynamics that goes over does not; 0 for none.",
    )
    frame_interval_steps: PositiveInt = Field(5, description="Steps between frames of a path.")
    max_frames: int = Field(10_000, ge=3, description="Longest path, and longest committor shot.")


class CommittorSection(Section):
    """[committor] Transition states on the paths of shooting."""

    n_paths: NonNegativeInt = Field(8, description="Paths on which to look for one; 0 for none.")
    n_shots: PositiveInt = Field(100, description="Shots with fresh velocities from a frame.")


class FreeEnergySection(Section):
    """[free_energy] Umbrella windows along the curve, and the same difference by other roads."""

    n_windows: int = Field(
        14, ge=0, le=10_000, description="Windows at equal Fisher-Rao distances; 0 for none."
    )
    n_bridge_windows: int = Field(9, ge=0, le=10_000, description="More about the barrier, ever tighter.")
    n_ladders: Few = Field(2, description="Independent ladders; every other one starts from B.")
    n_frames: int = Field(
        1600, ge=10, description="Of each window and ladder, as many as blocks of errors at least."
    )
    frame_interval_steps: PositiveInt = Field(100, description="Steps between frames.")
    n_backward_paths: NonNegativeInt = Field(
        32,
        description="Straight-line paths from B to A, for the acceptance ratio, and as many along the curve where "
        "paths.protocol is friction; 0 for none.",
    )

    @model_validator(mode="after")
    def _enough(self) -> FreeEnergySection:
        if self.n_windows == 1 or self.n_bridge_windows == 1:
            raise ValueError("n_windows and n_bridge_windows are 0, or 2 and more")
        return self


class RateSection(Section):
    """[rate] Rates by shots from the weighted frames, and that from A to B by the flux out of A beside it."""

    n_frame_shots: NonNegativeInt | None = Field(
        None, description="Shots, those of shooting among them, and the only ones by default; 0 for none."
    )
    n_walkers: NonNegativeInt = Field(0, description="Walkers in A for the flux; 0, the default, for none.")
    n_frames: PositiveInt = Field(20_000, description="Frames of each walker.")
    n_shots: PositiveInt = Field(1, description="Shots from each crossing.")


class RunConfig(Section):
    """A whole run."""

    run: RunSection
    conformations: ConformationsSection = ConformationsSection()
    grow: GrowSection = GrowSection()
    train: TrainSection = TrainSection()
    geodesic: GeodesicSection = GeodesicSection()
    paths: PathsSection = PathsSection()
    shooting: ShootingSection = ShootingSection()
    committor: CommittorSection = CommittorSection()
    free_energy: FreeEnergySection = FreeEnergySection()
    rate: RateSection = RateSection()
    cluster: ClusterSection = ClusterSection()

    @model_validator(mode="after")
    def _dask_needs_cluster(self) -> RunConfig:
        if self.run.executor == "dask" and not (self.cluster.scheduler or self.cluster.kind):
            raise ValueError(
                'run.executor = "dask" needs cluster.scheduler, an address, or cluster.kind, a queue'
            )
        return self

    @model_validator(mode="after")
    def _wall_needs_region(self) -> RunConfig:
        if self.paths.enforce and not self.geodesic.avoid:
            raise ValueError("paths.enforce needs a region to keep out of: give geodesic.avoid")
        return self

    @property
    def used_cluster(self) -> ClusterSection | None:
        """The cluster that does the work; None where this machine does."""
        return self.cluster if self.run.executor == "dask" else None

    @property
    def n_workers(self) -> int:
        """Tasks that are done side by side, at most."""
        if self.run.executor == "dask":
            return self.cluster.max_workers
        return self.run.n_workers or default_workers()

    def gives_the_same_as(self, other: RunConfig) -> bool:
        """Return whether another configuration differs at most in where the work is done."""
        left_out: dict[str, Any] = {"run": set(WHERE), "cluster": True}
        return self.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)

    @property
    def n_rate_shots(self) -> int:
        """Shots from weighted frames that the rates are taken from."""
        wanted, shooting = self.rate.n_frame_shots, self.shooting
        return wanted if wanted is not None else shooting.n_frame_shots if shooting.n_moves else 0

    def updated(self, section: str, changes: dict[str, Any]) -> RunConfig:
        """Return a configuration with some keys of one section changed, checked anew."""
        data = self.model_dump(mode="json")
        data[section] = {**data[section], **changes}
        return validate(data, RunConfig, "options", ConfigError)

    def to_toml(self) -> str:
        """Return the configuration as TOML, all defaults written out, each key with its description."""
        document = tomlkit.document()
        for name in type(self).model_fields:
            document.add(name, _table(getattr(self, name)))
        return tomlkit.dumps(document)


def load_config(path: str | Path) -> RunConfig:
    """Read a run file; paths in it are relative to the file, and come back absolute.

    A bare name without a suffix, such as `demo`, means a run file that ships with tps.

    Raises
    ------
    ConfigError
        In one sentence: the file is missing, is not TOML, or has unknown keys or bad values.
    """
    path = Path(path)
    shipped = data_directory("configs") / f"{path}.toml"
    if not path.exists() and path.suffix == "" and shipped.is_file():
        path = shipped
    config = read_toml(path, RunConfig, ConfigError)
    base = path.resolve().parent
    data = config.model_dump(mode="json")
    if (base / config.run.system / "system.toml").is_file():
        data["run"]["system"] = str((base / config.run.system).resolve())
    conformations = data["conformations"]
    conformations["trajectories"] = [str(base / file) for file in conformations["trajectories"]]
    if conformations["weights_file"]:
        conformations["weights_file"] = str(base / conformations["weights_file"])
    return validate(data, RunConfig, str(path), ConfigError)


def _table(section: BaseModel) -> tomlkit.items.Table:
    table = tomlkit.table()
    for key, value in section.model_dump(mode="json").items():
        description = type(section).model_fields[key].description
        if isinstance(value, dict):
            table.add(key, _table(getattr(section, key)))
        elif value is None:
            table.add(tomlkit.comment(f"{key} =  # {description or ''}".rstrip(" #")))
        elif value and isinstance(value, list) and isinstance(value[0], dict):
            tables = tomlkit.aot()
            for row in value:
                tables.append(tomlkit.item(row))
            table.add(key, tables)
        else:
            item = tomlkit.item(value)
            if description:
                item.comment(description)
            table.add(key, item)
    return table
