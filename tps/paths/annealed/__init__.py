"""Annealed Langevin dynamics: candidates under a tilt that moves along a curve."""
