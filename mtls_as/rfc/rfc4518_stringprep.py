"""RFC 4518, preparing text for comparison, reduced to what no two implementations can read differently."""

from typing import Final
from unicodedata import category

_ASCII_LOWER: Final = {ordinal: ordinal + 32 for ordinal in range(ord("A"), ord("Z") + 1)}


def prepare_text(text: str) -> str | None:
    """The form in which text is compared, or None for text that never compares: control characters, or only spaces.

    Spaces are trimmed and collapsed, ASCII letters lose their case. All else stays: no Unicode case, no normalisation,
    so that look-alikes stay apart.
    """
    if not text.isprintable() and any(category(character) == "Cc" for character in text):
        return None
    collapsed = " ".join(word for word in text.split(" ") if word)
    return (collapsed.lower() if collapsed.isascii() else collapsed.translate(_ASCII_LOWER)) or None
