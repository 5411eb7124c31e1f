"""Numbers with their nouns, in singular or plural."""

from __future__ import annotations


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Formats a number with its noun in the singular or plural.

    Args:
        number: The number.
        noun: Singular of the noun.
        plural: Plural of the noun (default: singular with an s).

    Examples:
        >>> count(1, "face"), count(2000, "face"), count(1, "person", "people")
        ('1 face', '2,000 faces', '1 person')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def faces_of(faces: int, people: int) -> str:
    """Formats the number of faces, and the number of people if any face has a name.

    Examples:
        >>> faces_of(12, 3), faces_of(12, 0)
        ('12 faces of 3 people', '12 faces without names')
    """
    owners = f"of {count(people, 'person', 'people')}" if people else "without names"
    return f"{count(faces, 'face')} {owners}"
