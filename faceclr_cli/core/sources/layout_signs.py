"""Files and folders that reveal the layout of a source: identity lists and CelebA's folders."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TypeVar

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.sources.file_trees import Tree
from faceclr_cli.core.text import display_path

P = TypeVar("P", bound=PurePath)

CELEBA_LIST = "identity_CelebA.txt"
_CELEBA_PICTURES = ("img_align_celeba", "img_celeba")
_CELEBA_PARTS = ("list_eval_partition.txt", "list_eval_partition.csv")  # the second is Kaggle's
_ANNOTATIONS = "Anno"


def single_folder(tree: Tree) -> str:
    """Returns the folder that contains all pictures, with a trailing slash, or an empty string."""
    first, slash, _ = next(iter(tree.pictures), "").partition("/")
    # The names are sorted, so comparing the first and the last is enough.
    return f"{first}/" if slash and tree.pictures[-1].startswith(f"{first}/") else ""


def wrapper(tree: Tree) -> str:
    """Returns the folder that `tar -czf faces.tgz faces` adds around all files; it is not a person."""
    folder = single_folder(tree)
    is_named_so = tree.root.name.lower().startswith(f"{folder[:-1]}.".lower())
    return folder if folder and tree.archive is not None and is_named_so else ""


def celeba_pictures(tree: Tree) -> str | None:
    """Returns the folder of CelebA's pictures, with a trailing slash."""
    for above in _places(tree, "", "Img/"):
        for name in _CELEBA_PICTURES:
            # Kaggle's archive nests the folder in a folder of the same name.
            for folder in (f"{above}{name}/{name}/", f"{above}{name}/"):
                place = bisect_left(tree.pictures, folder)
                if place < len(tree.pictures) and tree.pictures[place].startswith(folder):
                    return folder
    return None


def celeba_list(tree: Tree) -> str | None:
    """Returns the path of CelebA's identity list."""
    return _find(tree, CELEBA_LIST, "", f"{_ANNOTATIONS}/")


def require_celeba_pictures(tree: Tree) -> str:
    """Like `celeba_pictures`, but required.

    Raises:
        ConfigError: There are no CelebA pictures.
    """
    folder = celeba_pictures(tree)
    if folder is None:
        raise ConfigError(
            f"{display_path(tree.root)}: not the CelebA layout: it has neither {' nor '.join(_CELEBA_PICTURES)}; "
            "choose another --layout"
        )
    return folder


def require_celeba(tree: Tree) -> str:
    """Like `celeba_list`, but required together with the pictures.

    Raises:
        ConfigError: The list or the pictures are missing.
    """
    require_celeba_pictures(tree)
    listing = celeba_list(tree)
    if listing is None:
        raise ConfigError(f"{_missing_list(tree)}; add it, or use --layout flat")
    return listing


def require_list(tree: Tree) -> str:
    """Returns the only identity list.

    Raises:
        ConfigError: There is no list, or more than one.
    """
    found = identity_lists(tree)
    if not found:
        text = "contains no identity list, such as identities.txt; add one, or choose another --layout"
        raise ConfigError(f"{display_path(tree.root)}: {text}")
    if len(found) > 1:
        raise ConfigError(f"{_several_lists(tree, found)}; pass one of them as PHOTOS, or use --layout identities")
    return found[0]


def list_problem(tree: Tree, *, celeba: bool) -> str | None:
    """Describes why there is not exactly one identity list, or returns None.

    Args:
        tree: A folder or archive with identity lists or CelebA's pictures.
        celeba: True if it has the CelebA layout.
    """
    if celeba:
        return _missing_list(tree) if celeba_list(tree) is None else None
    found = identity_lists(tree)
    return _several_lists(tree, found) if len(found) > 1 else None


def _missing_list(tree: Tree) -> str:
    return f"{display_path(tree.root)}: CelebA's {CELEBA_LIST} is missing"


def _several_lists(tree: Tree, names: Sequence[str]) -> str:
    return f"{display_path(tree.root)}: contains several identity lists ({', '.join(map(display_path, names))})"


def celeba_parts(tree: Tree) -> str | None:
    """Returns the path of CelebA's list of the training, validation and test pictures."""
    found = (_find(tree, name, "", f"{_ANNOTATIONS}/", "Eval/") for name in _CELEBA_PARTS)
    return next((name for name in found if name is not None), None)


def identity_lists(tree: Tree) -> list[str]:
    """Returns the identity lists in the first folder that contains any."""
    for folder in _places(tree, "", f"{_ANNOTATIONS}/"):
        found = [name for name in tree.texts if name.startswith(folder) and is_list(name[len(folder) :])]
        if found:
            return sorted(found)
    return []


def is_list(name: str) -> bool:
    """Returns True if a file name without a folder is that of an identity list."""
    return "/" not in name and fnmatchcase(name.lower(), "identit*.txt")


def root_of(listing: P) -> P:
    """Returns the folder that the paths in a list are relative to."""
    above = listing.parent
    return above.parent if above.name == _ANNOTATIONS else above


def _find(tree: Tree, name: str, *folders: str) -> str | None:
    return next((place + name for place in _places(tree, *folders) if place + name in tree.texts), None)


def _places(tree: Tree, *folders: str) -> list[str]:
    """Returns the folders, seen from the root and from the single folder that contains all pictures."""
    return [top + folder for top in dict.fromkeys(("", single_folder(tree))) for folder in folders]
