"""What `tps` raises for bad input: one sentence with the need, what was got, and the remedy."""

from __future__ import annotations


class TpsError(Exception):
    """Base of every error a user can cause; the command line prints it as one sentence and exits with 1."""


class ParameterError(TpsError, ValueError):
    """A number or an array out of range or of the wrong shape."""


class ConfigError(TpsError, ValueError):
    """A run file or an option that cannot be used."""


class SystemDefinitionError(TpsError, ValueError):
    """A molecule, force field, state or region that does not describe what it should."""


class TrajectoryError(TpsError, ValueError):
    """A trajectory or weights file that does not belong to the molecule or is damaged."""


class ModelError(TpsError, ValueError):
    """A checkpoint that cannot be used, or a training set nothing can be learned from."""


class CurveError(TpsError, ValueError):
    """A spacetime curve or end point that cannot be used."""


class RunFolderError(TpsError, RuntimeError):
    """A run folder that lacks what a stage needs, or holds what must not be overwritten."""


class SideStageError(RunFolderError):
    """A run that went on to its report, but one of the stages beside the main ones has failed."""


class SimulationError(TpsError, RuntimeError):
    """Dynamics that left the numbers."""
