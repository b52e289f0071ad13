"""The kind `python`: a function of the user's own of selected atoms, written with torch, called in the MD loop."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import mdtraj
import numpy as np
import openmm
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat

from tps.errors import SystemDefinitionError, reason_of
from tps.features.section import AtomIndex, Surroundings, VariableSection
from tps.features.selection import chosen_atoms
from tps.features.variable import CollectiveVariable, checked_positions, scatter


@dataclass(frozen=True)
class PythonVariable(CollectiveVariable):
    """What a Python function returns for the positions of the atoms.

    The function maps a torch tensor (n_frames, n_selected, 3) [nm, float64] to one number per frame (n_frames,),
    through which torch differentiates. Molecules are given whole. It is called at every MD step, which makes these
    several times slower than with the other kinds.

    Parameters
    ----------
    file, function : str
        The Python file, and what to call in it. It runs with the user's rights, as any script does.
    own_unit : {"nm", "rad", ""}
    """

    file: str = ""
    function: str = ""
    own_unit: Literal["nm", "rad", ""] = ""

    kind = "python"
    n_atoms = None
    lowest = -np.inf

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Internal unit."""
        return self.own_unit

    def values(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the function's values (...)."""
        xyz = checked_positions(positions, self.atoms)
        return self._evaluate(xyz)[0].reshape(xyz.shape[:-2])

    def gradient(self, positions: ArrayLike, box: ArrayLike | None = None) -> NDArray[np.float64]:
        """Map positions (..., n_atoms, 3) [nm] to the derivative (..., n_atoms, 3) [unit/nm]."""
        xyz = checked_positions(positions, self.atoms)
        parts = self._evaluate(xyz)[1]
        return scatter(xyz, self.atoms, parts.reshape(*xyz.shape[:-2], len(self.atoms), 3))

    def expression(self, points: tuple[str, ...]) -> None:
        """There is none."""

    def force(self, energy: str, periodic: bool = False) -> openmm.CustomCVForce:
        """Return a CustomCVForce over a PythonForce: see `CollectiveVariable.force`."""
        inner = openmm.PythonForce(self.compute, {}, list(self.atoms))
        force = openmm.CustomCVForce(energy)
        force.addCollectiveVariable("value", inner)
        return force

    def compute(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        """Return the value and its negative gradient (n_selected, 3), as OpenMM asks of a PythonForce."""
        xyz = np.asarray(state.getPositions(asNumpy=True)._value)[: len(self.atoms)]
        value, gradient = self._differentiated(xyz[None])
        return float(value[0]), -gradient[0]

    def _evaluate(self, xyz: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._differentiated(xyz[..., list(self.atoms), :].reshape(-1, len(self.atoms), 3))

    def _differentiated(self, xyz: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        leaf = torch.tensor(xyz, dtype=torch.float64, requires_grad=True)
        value = load_function(self.file, self.function)(leaf)
        if not isinstance(value, torch.Tensor) or value.shape != leaf.shape[:1] or not value.requires_grad:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise SystemDefinitionError(
                f"{self.file}: {self.function} must return a differentiable tensor (n_frames,) = ({len(leaf)},), one "
                f"number per frame made of the positions it is given, but returned {got}"
            )
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach().numpy(), gradient.numpy()


@cache
def load_function(file: str, function: str) -> Callable[[torch.Tensor], Any]:
    """Return a function of a Python file.

    Raises
    ------
    SystemDefinitionError
        If the file cannot be run or has no such function.
    """
    if not Path(file).is_file():
        raise SystemDefinitionError(f"{file} does not exist")
    name = f"tps_user_{abs(hash(file))}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # a .py file has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as reason:  # whatever the user's own code raises
        raise SystemDefinitionError(
            f"{file} cannot be run: {type(reason).__name__}: {reason_of(reason)}"
        ) from reason
    found = getattr(module, function, None)
    if not callable(found):
        raise SystemDefinitionError(f"{file} has no function {function!r}")
    return found


class PythonSection(VariableSection):
    """A function of the user's own, such as python = "mine.py:asphericity"."""

    python: str = Field(pattern=r"^[^:]+\.py:\w+$", description="FILE.py:FUNCTION, beside system.toml.")
    atoms: str | tuple[AtomIndex, ...] = Field(description="MDTraj selection, or atom indices.")
    unit: Literal["nm", "rad", ""] = Field("", description="Of the values.")
    bounds: tuple[float, float] | None = Field(None, description="Range of grids and pictures, in that unit.")
    scale: PositiveFloat | None = Field(None, description="What counts as one in the geometry.")

    def build(self, name: str, around: Surroundings) -> tuple[CollectiveVariable, ...]:
        """Return the variable, its function loaded once to see that it can be."""
        file, function = self.python.rsplit(":", 1)
        path = str((around.directory / file).resolve())
        try:
            load_function(path, function)
            chosen = (
                chosen_atoms(mdtraj.Topology.from_openmm(around.topology), self.atoms)
                if isinstance(self.atoms, str)
                else self.atoms
            )
        except ValueError as reason:
            raise SystemDefinitionError(f"{around.where}: {reason}") from None
        atoms = tuple(int(atom) for atom in chosen)
        return (
            PythonVariable(
                name,
                atoms,
                bounds=self.bounds,
                scale=self.scale,
                file=path,
                function=function,
                own_unit=self.unit,
            ),
        )
