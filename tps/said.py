"""What the JSON files of a run folder say, as far as the program reads it; there is more in them for people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
#: Numbers of which some may not be known.
Numbers = list[float | None]


class Said(BaseModel):
    """An object of a JSON file: of the keys named here each must be there, of its type."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class SaidNumber(Said):
    """A `Metric` in a file."""

    value: float | None
    error: float | None
    unit: str
    definition: str
    withheld: str = ""


NumbersByName = dict[str, SaidNumber]


class SaidNumbers(Said):
    """result.json of rates and of committors: numbers alone."""

    __pydantic_extra__: dict[str, SaidNumber]


class SaidShares(Said):
    """shooting/from_frames.json."""

    metrics: NumbersByName
    channels: NumbersByName


class SaidRoads(Said):
    """Free-energy differences by every road."""

    roads: dict[str, NumbersByName]
    agreement: dict[str, str]


class SaidFreeEnergies(SaidRoads):
    """free_energy/result.json."""

    metrics: NumbersByName


class SaidBarrier(Said):
    """A barrier of free energy above the ends of a curve."""

    above_a: float
    above_b: float
    error_a: float | None
    error_b: float | None
    unit: str


class SaidConstraint(Said):
    """A constraint on a curve."""

    name: str
    largest: float
    at_s: float
    tolerance: float
    number: float | None
    unit: str
    satisfied: bool


class SaidChannel(Said):
    """A channel of a geodesic."""

    length: float
    status: str
    starts: list[str]
    min_log_snr: float
    min_effective_sample_size: float | None
    free_energy: Numbers | None
    free_energy_error: Numbers | None
    barrier: SaidBarrier | None
    no_barrier: str = ""
    curve_energy: float
    n_gradient_evaluations: Count
    n_iterations: Count
    clamped_energy: float
    doubtful: float
    warning: str
    constraints: list[SaidConstraint]


class SaidCurve(Said):
    """A curve that paths follow."""

    min_effective_sample_size: float
    mean_mu_error: float
    delta_spring: float
    delta_psi_frames: float
    delta_psi_model: float
    barrier: SaidBarrier | None


class SaidHealth(Said):
    """How far to trust a geodesic."""

    negative_chords: float
    jacobian_asymmetry: float
    doubtful: float
    anchor_sensitivity: float | None


class SaidPassage(Said):
    """What becomes of paths beside regions to avoid."""

    arrived: float
    entered: float
    arrived_walled: float


class SaidAvoidance(Said):
    """Regions to avoid."""

    p_max: float
    min_log_snr: float | None
    note: str
    passage: SaidPassage | None


class SaidGeodesic(Said):
    """geodesic/result.json."""

    method: str
    status: str
    rank: str
    length: float
    geodesic_length: float
    constant_speed: float
    anchor_log_snr: float
    free_energy_weight: float
    channel: Count
    channels: list[SaidChannel]
    constraints: list[SaidConstraint]
    curves: dict[str, SaidCurve]
    health: SaidHealth
    avoidance: SaidAvoidance = None  # type: ignore[assignment]


class SaidEvidence(Said):
    """A number that a rule rests on."""

    label: str
    value: float | None
    error: float | None
    unit: str


class SaidFinding(Said):
    """What one rule of the verdict says."""

    rule: str
    state: Literal["good", "doubtful", "bad", "unknown"]
    sentence: str
    evidence: list[SaidEvidence]
    remedy: str


class SaidEnsemble(Said):
    """What chains have made."""

    channels: NumbersByName
    channels_of_chains: NumbersByName
    moves: list[Count]
    divergence: Numbers


class SaidAnalysis(Said):
    """analysis/metrics.json."""

    method: str
    metrics: NumbersByName
    baselines: dict[str, NumbersByName]
    channels: dict[str, dict[str, float]]
    constraints: list[SaidConstraint]
    verdict: list[SaidFinding]
    warnings: list[str]
    ensemble: SaidEnsemble = None  # type: ignore[assignment]
    free_energy: SaidRoads = None  # type: ignore[assignment]


class SaidTraining(Said):
    """model/training.json."""

    steps: list[Count]
    training_loss: list[float]
    held_out_loss: list[float]
    best_step: Count


class SaidClaim(Said):
    """shooting/chains/shooting.json."""

    seed: int
    frame_time: float
    steps_per_frame: Count
    candidates: list[str]
    refused: dict[str, str]
