"""What the server of worker processes imports once."""

import matplotlib.pyplot
import mdtraj
import pymbar
import tables

import tps.cli

__all__ = ["matplotlib", "mdtraj", "pymbar", "tables", "tps"]
