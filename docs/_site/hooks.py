"""What mkdocs does beside: README as the first page, generated pages, links from pages to files of the repository."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import reference  # noqa: E402  (after the path to it)

#: Runs whose numbers the page of metrics explains; `make docs` makes them.
RUNS = tuple(ROOT / "build" / "docs" / name for name in ("molecule", "surface"))
#: Files of the repository that pages point to.
SHOWN = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.png", "*.ipynb")
        for path in sorted((ROOT / "examples").glob(pattern))
    ),
)
GENERATED = {
    "run-file": reference.run_file,
    "system-file": reference.system_file,
    "command-line": reference.command_line,
    "metrics": lambda: reference.metrics(RUNS),
    "api": reference.api_list,
    "verdict": reference.verdict_rules,
}


#: Names that have a place of their own on the pages of the API.
DOCUMENTED = {
    f"tps.{package}.{name}"
    for package in reference.PACKAGES
    for name in reference.public_names(package)
    if reference.has_docstring(package, name)
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that have no file in docs/."""
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    for name in SHOWN:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for package in reference.PACKAGES:
        files.append(File.generated(config, f"api/{package}.md", content=reference.api(package)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put generated tables where a page asks for them, and turn links of the repository into links of the site."""
    text = re.sub(r"<!-- generated: ([a-z-]+) -->", lambda found: GENERATED[found[1]](), markdown)
    if page.file.src_uri == "index.md":
        text = text.replace("](docs/", "](")
    text = re.sub(r"`(tps(?:\.\w+)+)`", lambda f: f"[{f[0]}][{f[1]}]" if f[1] in DOCUMENTED else f[0], text)
    return text.replace("](../", "](")
