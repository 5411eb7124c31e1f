"""Self-contained HTML pages: a page's own template, style and script, and its data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path

_HEAD = Path(__file__).with_name("page_head.html")


def fill_page(module: Path, title: str, data: object) -> str:
    """Returns a page that needs no other file and requests nothing from the network.

    Args:
        module: The module of the page. Beside it are its template, style and script: `.html`, `.css` and `.js`.
        title: Title of the document.
        data: The data that the script reads, which may contain anything.
    """
    body, style, script = (module.with_suffix(kind).read_text(encoding="utf-8") for kind in (".html", ".css", ".js"))
    # Scripts and styles are allowed by digest, so that injected markup cannot run.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _HEAD.read_text(encoding="utf-8") + body
    # The data is last, because it may contain text that looks like a placeholder.
    texts = {"policy": policy, "title": html.escape(title), "style": style, "script": script, "data": embed_json(data)}
    for name, text in texts.items():
        page = page.replace(f"{{{{{name}}}}}", text, 1)
    return page


def embed_json(data: object) -> str:
    """Returns the data as JSON that cannot end the script element around it, which only `<` could."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
