"""What README and the documents tell a user to type works, and what they point to is there."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import reference
import refresh

from tps.analysis import verdict
from tps.cli import main
from tps.config import RunConfig
from tps.features.definition import KINDS
from tps.systems.definition import SystemFile
from tps.systems.surface_file import SurfaceFile

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.name: page.read_text() for page in PAGES}
PYTHON = [
    (name, block)
    for name, text in TEXT.items()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]
TOML = [
    (name, block)
    for name, text in TEXT.items()
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
]


@pytest.fixture(scope="module")
def readme_run(tmp_path_factory):
    """The folder in which README's Python ran as a script, and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    ((_, block),) = [given for given in PYTHON if given[0] == "README.md"]
    assert len([line for line in block.splitlines() if line]) <= 12
    (folder / "script.py").write_text(block)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_the_python_of_the_readme_runs_as_a_script(readme_run):
    _, printed = readme_run
    assert "ending in state B" in printed
    assert "view.pml" in printed


def test_the_other_python_blocks_run(readme_run, tmp_path, monkeypatch):
    """Where a page has runs beside it, README's run stands for both."""
    for name in ("demo", "denoiser"):
        (tmp_path / name).symlink_to(readme_run[0] / "runs" / "python")
    monkeypatch.chdir(tmp_path)
    others = [given for given in PYTHON if given[0] != "README.md"]
    assert others
    for name, block in others:
        exec(compile(block, name, "exec"), {"__name__": name})


def test_the_page_of_metrics_has_every_number_of_a_run(readme_run):
    run = readme_run[0] / "runs" / "python"
    page = reference.metrics([run])
    assert "| `u_max` | kJ/mol | Mean over paths of the maximum" in page
    assert "| `anchored: windows (MBAR)` | kJ/mol |" in page
    assert "| `native_rate` | % |" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(len(row.split(" | ")) >= 3 and not row.endswith("|  |") for row in rows)
    heads = re.findall("^## (.+)$", page, re.MULTILINE)
    assert heads[:5] == ["Candidates", "Ensemble", "Free energy", "Rate", "Cost"]


def test_the_page_of_the_run_folder_names_every_array(readme_run):
    names = {
        re.sub(r"^path_\d+$", "path_0", name)
        for file in (readme_run[0] / "runs" / "python").rglob("*.npz")
        if "chains" not in file.parts  # what shooting goes on from
        for name in np.load(file).files
    }
    assert {"values", "log_weights", "path_0"} <= names
    assert names - set(re.findall(r"`(\w+)`", TEXT["run-folder.md"])) == set()


@pytest.mark.parametrize(("name", "block"), TOML)
def test_the_toml_is_what_tps_reads(name, block):
    content = tomllib.loads(block)
    models = {"surface": SurfaceFile, "system": SystemFile}
    whole = [models[table] for table in content if table in models]
    if whole:
        whole[0].model_validate(content)
    elif {"run", "conformations"} & set(content):
        RunConfig.model_validate({"run": {"system": "mine"}, **content})
    else:
        assert set(content) == {"collective_variables"}, name
    for table in content.get("collective_variables", {}).values():
        (kind,) = set(table) & set(KINDS)
        KINDS[kind].model_validate(table)


@pytest.mark.parametrize("name", TEXT)
def test_every_command_and_option_exists(name):
    commands = re.findall(r"(?:^ {4}|`|\$ |; )(tps [a-z][^`\n#;]*)", TEXT[name], re.MULTILINE)
    commands += re.findall(r'title="(tps [^"]*), \d', TEXT[name])
    for line in commands:
        words = line.split()
        assert words[1] in main.commands, line
        options = {name for p in main.commands[words[1]].params for name in (*p.opts, *p.secondary_opts)}
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= options, line


@pytest.mark.parametrize("name", TEXT)
def test_every_run_file_that_is_named_ships(name):
    shipped = {path.stem for path in (ROOT / "configs").glob("*.toml")}
    named = set(re.findall(r"\btps run ([a-z0-9-]+)(?=[ `])", TEXT[name]))
    assert named <= shipped


@pytest.mark.parametrize("name", TEXT)
def test_every_option_of_an_example_exists(name):
    for script, arguments in re.findall(r"\bpython (examples/\w+\.py)([^`\n#]*)", TEXT[name]):
        source = (ROOT / script).read_text()
        for option in re.findall(r" (--?[a-z][a-z-]*)", arguments):
            assert f'"{option}"' in source, f"{script} {option}"


@pytest.mark.parametrize("name", TEXT)
def test_every_make_target_exists(name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", TEXT[name], re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_pointed_to_exists(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", TEXT[page.name]):
        if not target.startswith("api/"):  # made when the site is built
            assert (page.parent / target).is_file(), target


def test_every_name_of_the_library_in_the_pages_exists():
    found = {name for text in TEXT.values() for name in re.findall(r"`tps((?:\.\w+)+)`", text)}
    assert len(found) > 50
    for name in found - {".errors"}:
        module, _, attribute = f"tps{name}".rpartition(".")
        try:
            importlib.import_module(f"tps{name}")
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), name


def test_readme_is_short():
    assert len(TEXT["README.md"].splitlines()) <= 120


def test_the_run_file_page_has_every_key_with_its_default_and_a_sentence():
    page = reference.run_file()
    for section, field in RunConfig.model_fields.items():
        assert f"`[{section}]`" in page
        for key, entry in field.annotation.model_fields.items():
            if reference.section_of(entry.annotation) is None:
                (row,) = re.findall(rf"## `\[{section}\]`\n(?:(?!##).*\n)*?(\| `{key}` .*)", page)
                assert entry.description, f"{section}.{key} says nothing"
                assert row.endswith(f"| {reference.cell(entry.description)} |")
                if entry.default is not None and isinstance(entry.default, bool | int | float):
                    assert f"| `{str(entry.default).lower()}` |" in row


def test_the_run_file_page_changes_when_a_field_does(monkeypatch):
    before = reference.run_file()
    entry = RunConfig.model_fields["paths"].annotation.model_fields["n_paths"]
    monkeypatch.setattr(entry, "default", 65)
    row = "| `n_paths` | whole number, > 0, ≤ 1000000 | `{}` |"
    assert row.format(64) in before
    assert reference.run_file() == before.replace(row.format(64), row.format(65))


def test_no_public_function_is_missing_from_the_api_pages():
    """Every package of tps but the command line, and every name that it exports."""
    packages = {path.parent.name for path in (ROOT / "tps").glob("*/__init__.py")} - {"cli"}
    assert packages <= set(reference.PACKAGES)
    for package in packages:
        page = reference.api(package)
        for name in importlib.import_module(f"tps.{package}").__all__:
            assert re.search(rf"\n(::: tps.{package}.{name}|## `tps.{package}.{name}`)\n", page), name


def test_the_command_page_has_every_option():
    page = reference.command_line()
    for name, command in main.commands.items():
        section = page.split(f"### `tps {name}`\n")[1].split("\n### ")[0]
        for parameter in command.params:
            assert parameter.opts[0] in section or not parameter.opts[0].startswith("-"), parameter.name


def test_the_page_of_the_verdict_has_every_rule_and_threshold():
    page = reference.verdict_rules()
    given = re.findall(r"^([A-Z][A-Z_, ]*) = ", inspect.getsource(verdict), re.MULTILINE)
    thresholds = [name for names in given for name in names.split(", ")]
    assert "RESEMBLE" in thresholds
    assert all(re.search(rf"^\| `[A-Z_, ]*\b{name}\b", page, re.MULTILINE) for name in thresholds)
    assert len(re.findall(r"^\d\. \w", page, re.MULTILINE)) == len(verdict.RULES)
    assert f"| `RESEMBLE, ELSEWHERE` | {verdict.RESEMBLE:.3g}, {verdict.ELSEWHERE:.3g} |" in page


def test_an_excerpt_is_replaced_by_what_its_command_prints(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('before\n\n```text title="tps contents runs/demo, 1 May 2020"\nold\n```\n\nafter\n')
    asked = []
    refresh.refresh(page, Path("made"), lambda words: asked.append(words) or "made new\n", "2 June 2021")
    assert asked == [["contents", "made"]]
    assert page.read_text() == (
        'before\n\n```text title="tps contents runs/demo, 2 June 2021"\nruns/demo new\n```\n\nafter\n'
    )
