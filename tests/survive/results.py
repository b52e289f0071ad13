"""What runs are compared by, byte by byte."""

import hashlib

#: Times and versions, and the page that shows them.
OF_THE_DAY = ("manifest.json", "report.html")


def results(run):
    """Return a digest of every file of a finished run, and check that nothing else was left in it."""
    assert not [str(file) for file in run.rglob("*") if file.name.startswith(".") or "partial" in file.name]
    files = [file for file in run.rglob("*") if file.is_file()]
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name not in OF_THE_DAY
    }
