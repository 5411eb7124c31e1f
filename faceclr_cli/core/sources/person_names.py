"""Names of people from a file, compared as people mean them rather than as they are spelled."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import LINE_END, decode, display_path

# Letters that Unicode takes for letters of their own, not for others with an accent.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "’": "'", "`": "'"}
)


def name_key(name: str) -> str:
    """What two spellings of a name have in common: `George_W_Bush` and `george w. bush` have the same key.

    Case, accents, and the difference between `_`, `-`, `.` and space don't count. This is for lists that others
    wrote; within one's own data, people whose names differ in more than their Unicode form (`text.canonical`) differ.
    """
    letters = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).translate(_PLAIN)
    return " ".join(re.split(r"[\s_.-]+", plain)).strip()


def read_names(path: Path) -> tuple[str, ...]:
    """Reads a list of people: a name a line, or LFW's `people.txt` and `peopleDev*.txt`.

    In LFW's files a name is followed by a tab and a count, and lines of a number alone say how many follow.

    Raises:
        DataError: The file cannot be read, holds no names, or a line is malformed (the message has its number).
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
            raise DataError(f"{display_path(path)}:{number}: neither a name nor 'name<TAB>count'")
        # Without tabs a number is a name, as CelebA's are.
        if name_key(name) and not (is_lfw and not count and name.isdecimal()):
            names.append(name)
    if not names:
        raise DataError(f"{display_path(path)}: holds no names")
    return tuple(names)
