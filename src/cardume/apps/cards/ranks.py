"""Places in an order, as texts that sort by their bytes: between any two there is room for more.

A key is a number in base 62: a head of `HEAD` digits, and after it as many digits as it takes.
One card moves by one key, and all others keep theirs. Pure.
"""

from __future__ import annotations

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""In the order of their bytes."""

HEAD = 6
"""Digits of a key that nobody squeezed in: 57 thousand million places."""

STEP = 62**2
"""From one key to the next at either end: seven million of them fit, and twelve halvings between
two before a key grows."""

MAX_LENGTH = 100
"""A longer key is no key: the order is to be spread anew around it. It takes 480 cards or more,
each put into the gap that the one before had left."""

ROOM = 62
"""Between two keys that were spread, at least: six halvings before a key has to be longer."""

_BASE = len(DIGITS)
_VALUE = {digit: value for value, digit in enumerate(DIGITS)}


def between(before: str | None, after: str | None) -> str | None:
    """A key that sorts after `before` and ahead of `after`; None stands for either end.

    None where it would be longer than `MAX_LENGTH`: `spread` the keys around it first. Every key
    was made here, and `before` sorts ahead of `after`.
    """
    for length in range(HEAD, MAX_LENGTH + 1):
        lowest, highest = _free(before, after, length)
        if lowest <= highest:
            return _text(_choose(before, after, lowest, highest), length)
    return None


def spread(
    count: int, before: str | None = None, after: str | None = None, longest: int = HEAD
) -> list[str] | None:
    """`count` keys in order between `before` and `after`, with room around each of them.

    They are as short as that goes. None where they would be longer than `longest`.
    """
    for length in range(HEAD, longest + 1):
        lowest, highest = _free(before, after, length)
        step = (highest - lowest + 1) // (count + 1)
        if step >= ROOM:
            first, step = _layout(before, after, lowest, highest, count, step)
            return [_trimmed(_text(first + place * step, length)) for place in range(count)]
    return None


def _free(before: str | None, after: str | None, length: int) -> tuple[int, int]:
    """The lowest and the highest number of `length` digits between two keys."""
    lowest = 0 if before is None else _number(before, length) + 1
    end = _BASE**length if after is None else _number(after, length)
    # Cut to `length` digits, a longer `after` is smaller than it is: its cut is free.
    highest = end if after is not None and len(after) > length else end - 1
    return lowest, highest


def _choose(before: str | None, after: str | None, lowest: int, highest: int) -> int:
    """Beside the neighbour at an end, or else in the middle."""
    if (before is None) != (after is None) and highest - lowest >= STEP:
        return lowest + STEP - 1 if after is None else highest - STEP + 1
    return (lowest + highest) // 2


def _layout(
    before: str | None, after: str | None, lowest: int, highest: int, count: int, step: int
) -> tuple[int, int]:
    """The first number and the step: beside a neighbour at an end, else evenly or in the middle."""
    if before is not None and after is not None:
        return lowest + step - 1, step
    step = min(step, STEP)
    if before is not None:
        return lowest + step - 1, step
    if after is not None:
        return highest + 1 - step * count, step
    return (lowest + highest + 1 - step * count) // 2, step


def _trimmed(key: str) -> str:
    """A key beyond its head ends in no zero: that would leave no room ahead of it."""
    return key[:HEAD] + key[HEAD:].rstrip(DIGITS[0])


def _number(key: str, length: int) -> int:
    """The first `length` digits; those that it does not have are zeros."""
    number = 0
    for digit in key[:length].ljust(length, DIGITS[0]):
        number = number * _BASE + _VALUE[digit]
    return number


def _text(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, value = divmod(number, _BASE)
        digits.append(DIGITS[value])
    return "".join(reversed(digits))
