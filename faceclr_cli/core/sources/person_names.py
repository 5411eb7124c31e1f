"""Lists of people's names, and keys that compare names regardless of their spelling."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import LINE_END, decode, display_path

# Letters that Unicode does not decompose into a letter and an accent.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "’": "'", "`": "'"}
)


def name_key(name: str) -> str:
    """Returns a key that is equal for spellings of the same name, such as `George_W_Bush` and `george w. bush`.

    Case, accents, and the difference between `_`, `-`, `.` and space are ignored. Use it for lists from other
    sources only; within a data set, names that differ in more than their Unicode form (`text.canonical`) are
    different people.
    """
    letters = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).translate(_PLAIN)
    return " ".join(re.split(r"[\s_.-]+", plain)).strip()


def read_names(path: Path) -> tuple[str, ...]:
    """Reads a list of people with one name per line, or LFW's `people.txt` and `peopleDev*.txt`.

    In LFW's files, each name is followed by a tab and a count, and a line with only a number gives the number of
    names that follow.

    Raises:
        DataError: The file cannot be read, contains no names, or has a malformed line (the message gives its number).
    """
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise DataError(f"{display_path(path)}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{display_path(path)}: {error}") from error
    lines = [line.strip() for line in LINE_END.split(text)]
    is_lfw = any("\t" in line for line in lines)
    names = []
    for number, line in enumerate(lines, start=1):
        name, _, count = (cell.strip() for cell in line.partition("\t"))
        if count and not count.isdecimal():
            raise DataError(f"{display_path(path)}:{number}: expected a name or 'name<TAB>count'")
        # In a list without tabs, a number is a name, as in CelebA.
        if name_key(name) and not (is_lfw and not count and name.isdecimal()):
            names.append(name)
    if not names:
        raise DataError(f"{display_path(path)}: contains no names")
    return tuple(names)
