"""Errors are sentences that fit: what is needed, what was got, what to do, in at most 300 characters.

All that the library raises, by its source; a value in a sentence counts ten characters.
"""

import ast
from pathlib import Path

import tps

MOST_CHARACTERS = 300
VALUE = 10


def size(node):
    """Return the characters of a text in the source."""
    if isinstance(node, ast.Constant):
        return len(node.value) if isinstance(node.value, str) else VALUE
    if isinstance(node, ast.JoinedStr):
        return sum(map(size, node.values))
    if isinstance(node, ast.BinOp):
        return size(node.left) + size(node.right)
    if isinstance(node, ast.IfExp):
        return max(size(node.body), size(node.orelse))
    return VALUE


def sentences():
    """Yield what is raised, with where."""
    for file in sorted(Path(tps.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                yield f"{file.name}:{node.lineno}", size(node.exc.args[0])


def test_every_error_in_the_library_is_short():
    found = dict(sentences())
    assert len(found) > 300  # all of them are seen
    assert {place: n for place, n in found.items() if n > MOST_CHARACTERS} == {}
    assert max(found.values()) > 200  # and measured
