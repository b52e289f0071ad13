"""Committors by shots, learned committors, and transition states."""
