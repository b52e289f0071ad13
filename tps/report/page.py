"""The page around the report's content: for screens, phones and paper, in light and dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

_STYLE = Path(__file__).parent / "web" / "page.css"

#: The policy in its head forbids any request to elsewhere, and any script but those of the page itself.
_POLICY = (
    "default-src 'none'; script-src {scripts}; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="{policy}">
<title>{title}</title>
{styles}
</head>
<body>
<h1>{title}</h1>
{body}
{scripts}
</body>
</html>
"""


def page(title: str, body: str, scripts: Sequence[str] = (), styles: Sequence[str] = ()) -> str:
    """Return a page that loads nothing from elsewhere.

    Parameters
    ----------
    title, body : str
        HTML.
    scripts, styles : sequence of str
        Texts that stand in the page, after its own style; only these scripts may run.
    """
    given = (_STYLE.read_text(encoding="utf-8"), *styles)
    return _PAGE.format(
        policy=_POLICY.format(scripts=" ".join(map(_source, scripts)) or "'none'"),
        title=title,
        body=body,
        styles="\n".join(f"<style>\n{style}</style>" for style in given),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _source(script: str) -> str:
    """Return what a content-security policy calls an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
