"""The notebook of the examples runs from its first cell to its last."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "alanine_dipeptide.ipynb"


@pytest.mark.docs
def test_the_notebook_runs_and_shows_a_verdict_a_picture_and_the_end(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= shown
    printed = "".join(output.get("text", "") for output in outputs)
    assert "F(B) - F(A) = " in printed
    assert "view.pml" in printed
