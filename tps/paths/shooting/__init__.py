"""Transition-path sampling: shooting moves, their records, and chains that go on after a kill."""
