"""Mutations of nested values, as TOML and JSON hold them, and of texts and bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

#: An integer of 5,000 digits, written as such: Python refuses to print one.
HUGE = "@huge@"
LONG = "Z" * 5000
#: A date, which TOML has and JSON has not.
DATE = "@date@"
#: Words that stand where numbers should.
ODD_NUMBERS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "-1e300",
    "2000000000",
    "9" * 5000,
    "*****",
    "0x1F",
    "1,5",
    "1.2.3",
    "-",
)
Keys = tuple[str | int, ...]
#: Bytes, whether no reader can take them, and what was done.
Spoilt = tuple[bytes, bool, str]


def places(content: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield every place of a nested value, the tables and lists included, and what is there."""
    inside = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in inside:
        yield (*keys, key), value
        yield from places(value, (*keys, key))


def owner(content: Any, keys: Keys) -> Any:
    """Return the table or list that holds the last of `keys`."""
    for key in keys[:-1]:
        content = content[key]
    return content


def is_number(value: Any) -> bool:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def wrong_for(value: Any, rng: random.Random) -> tuple[Any, str]:
    """Return a value that cannot stand where `value` does, and what it is."""
    nested: Any = []
    for _ in range(50):
        nested = [nested]
    if isinstance(value, bool):
        choices = [("maybe", "a word for a truth value"), (2.5, "a number for a truth value"), ([], "a list")]
    elif is_number(value):
        choices = [
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (float("-inf"), "-inf"),
            (HUGE, "5,000 digits"),
            (LONG, "a long word for a number"),
            ("", "an empty word for a number"),
            ([1, 2, 3, 4, 5, 6, 7], "a list for a number"),
            ({"a": 1}, "a table for a number"),
            (True, "a truth value for a number"),
            (DATE, "a date for a number"),
            (str(value), "a number in quotes"),
            (nested, "deep lists for a number"),
        ]
    elif isinstance(value, str):
        choices = [
            (17, "a number for a word"),
            ([[value]], "lists for a word"),
            ({"a": value}, "a table for a word"),
            (DATE, "a date for a word"),
            (float("nan"), "nan for a word"),
        ]
    elif isinstance(value, list):
        choices = [(17, "a number for a list"), (LONG, "a word for a list"), ({"a": 1}, "a table for a list")]
    else:
        choices = [(17, "a number for a table"), (LONG, "a word for a table"), ([1], "a list for a table")]
    return rng.choice(choices)


def odd_word(rng: random.Random) -> str:
    """Return a word that breaks careless programs."""
    return rng.choice(
        [
            "",
            " ",
            "$x^{$",
            "$HOME",
            r"\frac{1",
            "a\u0000b",
            "../" * 40,
            "/dev/null",
            "%s%n{}",
            "<b>&amp;",
            "\u202e\U0001f9ea",
            "[bold]x[/",
            "a\nb",
            "-",
            "--help",
            "nan",
            LONG,
        ]
    )


def spoilt_bytes(raw: bytes, rng: random.Random) -> Spoilt:
    """Return the bytes of a file spoilt, whether no reader can take them for whole, and how."""
    n = len(raw)
    cut = rng.randrange(n) if n else 0

    def flipped(k: int) -> bytes:
        spoilt = bytearray(raw)
        for _ in range(k):
            spoilt[rng.randrange(n)] = rng.randrange(256)
        return bytes(spoilt)

    ways: list[Callable[[], Spoilt]] = [
        lambda: (b"", True, "empty"),
        lambda: (raw[: cut // 2], False, "truncated"),
        lambda: (raw[: max(n - 1 - cut // 20, 0)], False, "its end cut off"),
        lambda: (raw[cut:], False, "its begin cut off"),
        lambda: (flipped(1), False, "a byte changed"),
        lambda: (flipped(20), False, "20 bytes changed"),
        lambda: (raw[:cut] + bytes(rng.randrange(1, 200)) + raw[cut:], False, "null bytes put in"),
        lambda: (bytes(n), True, "null bytes only"),
        lambda: (rng.randbytes(max(n, 64)), True, "noise"),
        lambda: (raw + raw, False, "twice"),
        lambda: (b"\x80\x04N.", True, "a pickle"),
        lambda: (b"PK\x05\x06" + bytes(18), True, "an empty zip"),
        lambda: (b"\x1f\x8b" + raw, True, "gzip's first bytes put in front"),
    ]
    return rng.choice(ways)()


def spoilt_text(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a text file spoilt line by line or in its encoding, whether no reader can take it, and how."""
    lines = raw.decode().splitlines(keepends=True)
    i = rng.randrange(len(lines))

    def with_line(text: str) -> bytes:
        return "".join([*lines[:i], text, *lines[i + 1 :]]).encode()

    ways: list[Callable[[], Spoilt]] = [
        lambda: (with_line(""), False, "a line left out"),
        lambda: (with_line(lines[i] * 2), False, "a line twice"),
        lambda: (
            with_line(lines[i].rstrip("\n")[: rng.randrange(len(lines[i]))] + "\n"),
            False,
            "a line cut",
        ),
        lambda: (with_line(LONG * 20 + "\n"), False, "a line of 100,000 letters"),
        lambda: ("".join(rng.sample(lines, len(lines))).encode(), False, "lines shuffled"),
        lambda: (raw.decode().encode("utf-16"), True, "UTF-16"),
        lambda: (b"\xef\xbb\xbf" + raw, False, "with a byte-order mark"),
        lambda: (raw[: len(raw) // 2] + b"\xff\xfe\x00" + raw[len(raw) // 2 :], False, "not UTF-8"),
        lambda: (raw.replace(b"\n", b"\r"), False, "carriage returns only"),
        lambda: (raw.replace(b"\n", b"\r\n"), False, "lines of Windows"),
        lambda: (raw.decode().encode("utf-16-be"), False, "UTF-16 without its mark"),
        lambda: (raw.decode().encode("utf-32"), True, "UTF-32"),
        lambda: (raw.replace(b"\n", b" \xe4\n", 1), False, "Latin-1"),
        lambda: (raw.replace(b"\n", b"\0\n", 1), False, "a null byte"),
        lambda: (raw.replace(b" ", b"\t"), False, "tabs"),
        lambda: (raw * 50, False, "50 times"),
        lambda: (b"<!doctype html><p>404 not found</p>", True, "a page of a web server"),
    ]
    chance = rng.random()
    if chance < 0.3:
        text, how = with_odd_number(raw.decode(), rng)
        return text.encode(), False, how
    return rng.choice(ways)() if chance < 0.8 else spoilt_bytes(raw, rng)


def with_odd_number(text: str, rng: random.Random) -> tuple[str, str]:
    """Return a text with one of its numbers replaced, and by what."""
    found = list(re.finditer(r"(?<![\w.])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w.])", text))
    if not found:
        return text + "0", "a number more"
    at, number = rng.choice(found), rng.choice(ODD_NUMBERS)
    return text[: at.start()] + number + text[at.end() :], f"{at[0]} is {number[:20]}"
