"""A complete run that tests share."""

import shutil

import pytest
from commands import TINY, tps


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A run of a few seconds, complete, and what it said in log.txt."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY.format(seed=1))
    log = tps("run", folder / "tiny.toml", "-o", folder / "run").stderr
    (folder / "log.txt").write_text(log)
    return folder


@pytest.fixture
def copy(tiny, tmp_path):
    """A copy of that run, to be spoilt."""
    shutil.copytree(tiny / "run", tmp_path / "run")
    return tmp_path / "run"
