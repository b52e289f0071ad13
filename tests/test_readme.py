"""What the README tells a user to type works."""

import re
import tomllib
from pathlib import Path

import pytest

from tps.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in block.splitlines() if line]) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert "ending in state B" in printed
    assert "view.pml" in printed


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", README, re.DOTALL))
def test_the_toml_of_the_readme_is_toml(block):
    assert tomllib.loads(block)


def test_every_command_and_option_of_the_readme_exists():
    for line in re.findall(r"`?(tps [a-z][^`\n#]*)", README):
        words = line.split()
        assert words[1] in main.commands, line
        options = {name for option in main.commands[words[1]].params for name in option.opts}
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= options, line


def test_every_file_the_readme_points_to_exists():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).is_file(), target
