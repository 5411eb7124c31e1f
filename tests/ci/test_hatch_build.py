"""The links in the description on the package index are valid."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://example.org/faceclr/blob/main"
PAGE = "![A face](docs/a.jpg)\nSee [the guide](docs/a.md#top), [below](#here) and [PyTorch](https://pytorch.org/)."


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook without hatchling, which only the build installs."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("repository", [REPOSITORY, f"{REPOSITORY}/"])
def test_relative_links_are_below_the_repository(repository: str, hook: ModuleType) -> None:
    absolute_links: Callable[[str, str], str] = hook.absolute_links
    assert absolute_links(PAGE, repository) == (
        f"![A face]({REPOSITORY}/docs/a.jpg)\n"
        f"See [the guide]({REPOSITORY}/docs/a.md#top), [below](#here) and [PyTorch](https://pytorch.org/)."
    )


def test_without_a_repository_links_are_text_and_pictures_are_left_out(hook: ModuleType) -> None:
    absolute_links: Callable[[str, str], str] = hook.absolute_links
    assert absolute_links(PAGE, "") == "\nSee the guide, [below](#here) and [PyTorch](https://pytorch.org/)."


@pytest.mark.parametrize("repository", [REPOSITORY, ""])
def test_the_readme_has_absolute_links_only(repository: str, hook: ModuleType) -> None:
    readme_hook: Any = hook.ReadmeHook()
    readme_hook.root, readme_hook.config = str(ROOT), {"repository": repository}
    metadata: dict[str, Any] = {}
    readme_hook.update(metadata)
    text = metadata["readme"]["text"]
    assert text.startswith("# faceclr\n")
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all(link.startswith(("https://", "#")) for link in links)
    assert bool(links) == bool(repository)
