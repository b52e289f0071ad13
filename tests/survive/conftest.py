"""A small run on a surface, in one go, that tests compare with."""

import pytest
from commands import tps
from runs import SMALL


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A folder with small.toml and its run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.toml").write_text(SMALL)
    tps("run", folder / "small.toml", "-o", folder / "run")
    return folder
