"""Atoms chosen in MDTraj's language."""

from __future__ import annotations

import mdtraj
import numpy as np
from numpy.typing import NDArray

from tps.errors import SystemDefinitionError, quoted, reason_of


def chosen_atoms(topology: mdtraj.Topology, selection: str) -> NDArray[np.intp]:
    """Return the atoms (n_chosen,) of a selection.

    Raises
    ------
    SystemDefinitionError
        If MDTraj cannot read it, or it chooses none.
    """
    try:
        chosen = topology.select(selection)
    except Exception as reason:  # MDTraj makes Python of it, whose parser raises many kinds
        raise SystemDefinitionError(
            f"MDTraj cannot read {quoted(selection)} as a selection ({reason_of(reason)[:80]}): write for instance "
            "'not element H' or 'backbone'"
        ) from None
    if len(chosen) == 0:
        raise SystemDefinitionError(
            f"the selection {quoted(selection)} takes none of the {topology.n_atoms} atoms"
        )
    return np.asarray(chosen, dtype=np.intp)
