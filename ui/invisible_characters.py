"""Invisible characters, and those that change the direction of text: for window and terminal.

The joiners U+200C and U+200D are not among them, nor are variation selectors: scripts and emoji
need these.
"""

from typing import Final

RANGES: Final = (
    (0x00, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),  # soft hyphen
    (0x34F, 0x34F),
    (0x600, 0x605),
    (0x61C, 0x61C),  # turns to Arabic
    (0x6DD, 0x6DD),
    (0x70F, 0x70F),
    (0x890, 0x891),
    (0x8E2, 0x8E2),
    (0x115F, 0x1160),  # fillers
    (0x17B4, 0x17B5),
    (0x180E, 0x180E),
    (0x200B, 0x200B),
    (0x200E, 0x200F),
    (0x2028, 0x202E),  # line ends, and what turns around
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE00FF),  # tags
    (0xE01F0, 0xE0FFF),
)
"""From the first character to the last one of each: those of Unicode's categories Cc, Cf, Zl and
Zp, and of the others those that it calls ignorable and that have no picture."""
CODES: Final = frozenset(code for first, last in RANGES for code in range(first, last + 1))
TYPED: Final = frozenset("\t\n")
"""Characters that a text field shows."""


def script_class() -> str:
    """The characters but `TYPED`, for brackets of a JavaScript regular expression (flag u)."""
    typed = sorted(map(ord, TYPED))
    cut = [(0x00, typed[0] - 1), (typed[-1] + 1, 0x1F), *RANGES[1:]]
    return "".join(f"\\u{{{first:x}}}-\\u{{{last:x}}}" for first, last in cut)
