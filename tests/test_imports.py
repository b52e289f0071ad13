"""Data flows one way: nothing in tps imports anything downstream of itself."""

import ast
from pathlib import Path

import pytest

import tps

ROOT = Path(tps.__file__).parent
LAYERS = [
    {"errors", "files", "said"},
    {"stored"},
    {"units", "quiet", "sections", "arrays", "apart", "lock", "workers"},
    {"features"},
    {"systems"},
    {"engine"},
    {"dynamics"},
    {"conformations"},
    {"diffusion"},
    {"spacetime"},
    {"paths"},
    {"analysis"},
    {"export", "report"},
    {"config"},
    {"pipeline"},
    {"prepare"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [node.module or ""]
        found |= {name.split(".")[1] for name in names if name.startswith("tps.")}
    return found


def test_every_part_has_a_layer():
    assert {part_of(path) for path in FILES} <= RANK.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upstream(path):
    own = part_of(path)
    for other in imported_parts(path) - {own}:
        assert RANK[other] < RANK[own], f"{own} must not import {other}: it lies downstream, or beside it"


def test_analysis_knows_nothing_of_diffusion():
    for path in (ROOT / "analysis").rglob("*.py"):
        assert not imported_parts(path) & {"diffusion", "spacetime"}
