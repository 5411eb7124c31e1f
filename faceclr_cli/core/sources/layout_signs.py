"""Where in a folder or archive the signs of a layout are: lists of identities, CelebA's folders."""

from __future__ import annotations

from bisect import bisect_left
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TypeVar

from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.sources.file_trees import Tree
from faceclr_cli.core.text import display_path

P = TypeVar("P", bound=PurePath)

CELEBA_LIST = "identity_CelebA.txt"
_CELEBA_PICTURES = ("img_align_celeba", "img_celeba")
_CELEBA_PARTS = ("list_eval_partition.txt", "list_eval_partition.csv")  # Kaggle has the second
_ANNOTATIONS = "Anno"


def own_folder(tree: Tree) -> str:
    """The folder that all pictures lie in, with a slash behind it, or nothing."""
    first, slash, _ = next(iter(tree.pictures), "").partition("/")
    # They are sorted, so that it is enough to compare the ends.
    return f"{first}/" if slash and tree.pictures[-1].startswith(f"{first}/") else ""


def wrapper(tree: Tree) -> str:
    """What `tar -czf faces.tgz faces` puts around all: such an archive is to mean what the folder does."""
    folder = own_folder(tree)
    is_named_so = tree.root.name.lower().startswith(f"{folder[:-1]}.".lower())
    return folder if folder and tree.archive is not None and is_named_so else ""


def celeba_pictures(tree: Tree) -> str | None:
    """The folder of CelebA's pictures, with a slash behind it."""
    for above in _places(tree, "", "Img/"):
        for name in _CELEBA_PICTURES:
            # Kaggle's archive has the folder twice.
            for folder in (f"{above}{name}/{name}/", f"{above}{name}/"):
                place = bisect_left(tree.pictures, folder)
                if place < len(tree.pictures) and tree.pictures[place].startswith(folder):
                    return folder
    return None


def celeba_list(tree: Tree) -> str | None:
    """CelebA's list of who is who."""
    return _find(tree, CELEBA_LIST, "", f"{_ANNOTATIONS}/")


def require_celeba_pictures(tree: Tree) -> str:
    """`celeba_pictures`, which must be there.

    Raises:
        ConfigError: They are not.
    """
    folder = celeba_pictures(tree)
    if folder is None:
        raise ConfigError(
            f"{display_path(tree.root)}: not CelebA's layout, it has neither {' nor '.join(_CELEBA_PICTURES)}"
        )
    return folder


def require_celeba(tree: Tree) -> str:
    """`celeba_list`, which must be there, and pictures as well.

    Raises:
        ConfigError: One of them is missing.
    """
    require_celeba_pictures(tree)
    listing = celeba_list(tree)
    if listing is None:
        raise ConfigError(
            f"{display_path(tree.root)}: CelebA's {CELEBA_LIST} is missing; put it there, or say --layout flat"
        )
    return listing


def require_list(tree: Tree) -> str:
    """The one of `lists`.

    Raises:
        ConfigError: There is none, or more than one.
    """
    found = identity_lists(tree)
    if not found:
        raise ConfigError(f"{display_path(tree.root)}: holds no list of who is who, such as identities.txt")
    if len(found) > 1:
        raise ConfigError(
            f"{display_path(tree.root)}: several lists of who is who ({', '.join(map(display_path, found))}); "
            "give one of them as PHOTOS, or say --layout identities"
        )
    return found[0]


def celeba_parts(tree: Tree) -> str | None:
    """CelebA's list of which picture is for training, validation and test."""
    found = (_find(tree, name, "", f"{_ANNOTATIONS}/", "Eval/") for name in _CELEBA_PARTS)
    return next((name for name in found if name is not None), None)


def identity_lists(tree: Tree) -> list[str]:
    """The lists of who is who at the first place that has any."""
    for folder in _places(tree, "", f"{_ANNOTATIONS}/"):
        found = [name for name in tree.texts if name.startswith(folder) and is_list(name[len(folder) :])]
        if found:
            return sorted(found)
    return []


def is_list(name: str) -> bool:
    """Whether a file, named without its folder, is called like a list of who is who."""
    return "/" not in name and fnmatchcase(name.lower(), "identit*.txt")


def root_of(listing: P) -> P:
    """The folder that the paths in a list are relative to."""
    above = listing.parent
    return above.parent if above.name == _ANNOTATIONS else above


def _find(tree: Tree, name: str, *folders: str) -> str | None:
    return next((place + name for place in _places(tree, *folders) if place + name in tree.texts), None)


def _places(tree: Tree, *folders: str) -> list[str]:
    """Such folders of the source, or of the one folder around all its pictures."""
    return [top + folder for top in dict.fromkeys(("", own_folder(tree))) for folder in folders]
