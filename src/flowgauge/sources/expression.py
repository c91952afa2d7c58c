"""Where a pcap-filter expression breaks: libpcap says what is wrong, but not where."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_WORD = re.compile(r"\\?[\w.:-]+(?:/[\w.:]+)?|&&|\|\||<<|>>|[<>!=]=|\S")
_SYNTAX = "syntax error"

# What may follow where an expression breaks off: with brackets closed and a comparison it is whole again.
_OPERANDS = ("", " ip", " 1", " 1.2.3.4", " localhost", " ::1", " 0:0:0:0:0:0")
_COMPARISONS = ("", " = 0")

Message = Callable[[str], str | None]
"""What is wrong with an expression, None: nothing."""


class Place(NamedTuple):
    """A piece of an expression: its first character, and the one behind it."""

    begin: int
    end: int


def find_fault(expression: str, fault: str, message: Message) -> Place:
    """The word at which libpcap comes to say `fault` of an expression; behind the last one, where more should follow.

    libpcap reads from left to right: the place is the end of the shortest beginning of which it says the same. Where it
    says "syntax error", that is the shortest that nothing makes whole.
    """
    words = [Place(*match.span()) for match in _WORD.finditer(expression)]
    broken = _is_hopeless if _SYNTAX in fault else _is_faulty
    count = bisect.bisect_left(words, True, key=lambda word: broken(expression[: word.end], fault, message))
    return words[count] if count < len(words) else Place(len(expression.rstrip()), len(expression.rstrip()) + 1)


def _is_faulty(beginning: str, fault: str, message: Message) -> bool:
    return message(beginning) == fault


def _is_hopeless(beginning: str, fault: str, message: Message) -> bool:
    """Whether an expression that begins so has a syntax error, whatever follows."""
    return all(_SYNTAX in (message(beginning + closing) or "") for closing in _closings(beginning))


def _closings(beginning: str) -> Iterator[str]:
    brackets = ""  # that close those which are open, the innermost first
    for character in beginning:
        if character in "([":
            brackets = ")]"["([".index(character)] + brackets
        elif brackets.startswith(character):
            brackets = brackets[1:]
    for operand, comparison, place in itertools.product(_OPERANDS, _COMPARISONS, range(len(brackets) + 1)):
        yield operand + brackets[:place] + comparison + brackets[place:]


def underline(expression: str, place: Place) -> str:
    """The expression, and a line below that marks the place."""
    shown = "".join(character if character.isprintable() else " " for character in expression)
    return f"  {shown}\n  {' ' * place.begin}{'^' * (place.end - place.begin)}"
