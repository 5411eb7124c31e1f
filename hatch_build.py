"""The description on the package index: README.md, with links that work outside the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?!https?://|#)[^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Makes relative links absolute, below the `repository` that pyproject.toml sets for this hook.

    Without a repository, pictures are left out and links become plain text, because a relative link leads nowhere.
    """

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets the readme of the package."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, self.config["repository"])}


def absolute_links(text: str, repository: str) -> str:
    """Makes the relative links of a Markdown text absolute.

    Args:
        text: The page.
        repository: Address below which the files of the repository are served, or "".
    """

    def replace(match: re.Match[str]) -> str:
        if repository:
            return f"{match['image']}[{match['text']}]({repository.rstrip('/')}/{match['target']})"
        return "" if match["image"] else match["text"]

    return _LINK.sub(replace, text)
