"""What commands print for a program to read: one JSON object on standard output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from tps.prepare import StageEstimate

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object; a number that is not finite is null there."""
    click.echo(json.dumps(_plain(content), indent=1, allow_nan=False))


def estimate_rows(stages: tuple[StageEstimate, ...]) -> list[dict[str, Any]]:
    """Return what the stages of a run will cost, as JSON has it."""
    return [asdict(stage) for stage in stages]


def _plain(value: Any) -> Any:
    """Return a value of JSON's own types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
