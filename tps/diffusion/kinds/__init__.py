"""The kinds of models there are: a new one is a file, and a row here."""

from tps.diffusion.kinds.denoiser import DenoiserSection
from tps.diffusion.kinds.flow import FlowSection
from tps.diffusion.kinds.log_partition import LogPartitionSection
from tps.diffusion.kinds.section import ModelSection

#: By the name that `train.model` says; the section of the run file is [train.NAME], with _ for -.
KINDS: dict[str, type[ModelSection]] = {
    "log-partition": LogPartitionSection,
    "denoiser": DenoiserSection,
    "flow": FlowSection,
}

__all__ = ["KINDS", "DenoiserSection", "FlowSection", "LogPartitionSection", "ModelSection"]
