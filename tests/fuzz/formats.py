"""Mutations of files by their layout: PDB by its columns, GROMACS topologies, heads of binary files."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

import numpy as np

from fuzz.values import LONG, Spoilt, spoilt_bytes, spoilt_text

#: The share of cases that go for text or bytes, and not for what they mean.
_BY_BYTES = 0.3
_COLUMNS = {
    "serial": (6, 11),
    "name": (12, 16),
    "altloc": (16, 17),
    "residue": (17, 20),
    "chain": (21, 22),
    "number": (22, 26),
    "insertion": (26, 27),
    "x": (30, 38),
    "y": (38, 46),
    "z": (46, 54),
    "occupancy": (54, 60),
    "element": (76, 78),
    "charge": (78, 80),
}
_ODD = ("*", "A0000", "a0zzz", "nan", "inf", "-", "", "1e9", "9" * 20, "0", "-999", "é", "\0", "Xx", "\t")
_CELLS = (
    "CRYST1    0.000    0.000    0.000   0.00   0.00   0.00 P 1           1\n",
    "CRYST1      nan      nan      nan  90.00  90.00  90.00 P 1           1\n",
    "CRYST1   -1.000   10.000   10.000  90.00  90.00  90.00 P 1           1\n",
    "CRYST199999999999999999999999999  90.00  90.00  90.00 P 1           1\n",
    "CRYST1   20.000   20.000   20.000 180.00   1.00  90.00 P 1           1\n",
    "CRYST1   20.000\n",
)
_LINES = (
    "MODEL        1\n",
    "ENDMDL\n",
    "TER\n",
    "END\n",
    "CONECT    1 9999\n",
    "CONECT*****    1\n",
    "HETATM\n",
)


def spoilt_pdb(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a PDB file with a field, a cell or a record that is odd, or spoilt as text."""
    if rng.random() < _BY_BYTES:
        return spoilt_text(raw, rng)
    lines = raw.decode().splitlines(keepends=True)
    i = rng.choice([i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))])
    chance = rng.random()
    if chance < 0.6:
        field, (begin, end) = rng.choice(list(_COLUMNS.items()))
        word = rng.choice(_ODD)
        put = word if rng.random() < 0.2 else word[: end - begin].rjust(end - begin)
        lines[i] = lines[i][:begin] + put + lines[i][end:]
        bad = field in "xyz" and put.strip() in ("*", "nan", "inf", "A0000", "a0zzz", "-", "Xx")
        return "".join(lines).encode(), bad, f"{field} {put!r}"
    if chance < 0.7:
        lines[i] = lines[i].rstrip("\n") + LONG + "\n"
        return "".join(lines).encode(), False, "an overlong line"
    if chance < 0.8:
        lines.insert(i, lines[i][:16] + "B" + lines[i][17:])
        return "".join(lines).encode(), False, "an alternative place"
    put = rng.choice(_CELLS) if chance < 0.9 else rng.choice(_LINES)
    lines.insert(0 if chance < 0.9 else i, put)
    return "".join(lines).encode(), False, f"a line {put.strip()!r}"


def spoilt_top(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a GROMACS topology with molecules without number, or that includes what has no end, or spoilt as text."""
    if rng.random() < _BY_BYTES:
        return spoilt_text(raw, rng)
    text = raw.decode()
    ways: list[tuple[str, bool, str]] = [
        (re.sub(r"1\s*\Z", "1000000000\n", text), True, "a thousand million molecules"),
        (re.sub(r"1\s*\Z", "-1\n", text), True, "less than no molecules"),
        (f'#include "alanine.top"\n{text}', True, "includes itself"),
        (f'#include "/dev/zero"\n{text}', True, "includes a device"),
        (f'#include "{LONG}"\n{text}', True, "includes a long name"),
        (f"#ifdef NOTHING\n{text}", True, "a condition that never ends"),
        (f"#define A B\n#define B A\n{text}", False, "macros in a circle"),
        (text + _macros(), True, "macros of macros"),
        (f'#include "doubles/0.itp"\n{text}', True, "includes that double"),
        (text + "[ " + LONG + " ]\n", False, "a long section"),
    ]
    content, bad, how = rng.choice(ways)
    return content.encode(), bad, how


def _macros() -> str:
    """Return macros that stand for two of the one before each, and a line with the last."""
    return "#define m0 x\n" + "".join(f"#define m{i + 1} m{i} m{i}\n" for i in range(40)) + "m40\n"


def spoilt_head(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a binary file with a number of its head that is odd, such as the count of atoms, or spoilt as bytes."""
    if rng.random() < _BY_BYTES:
        return spoilt_bytes(raw, rng)
    place = 4 * rng.randrange(min(len(raw), 400) // 4)
    number = rng.choice([-1, 0, 1, 2**31 - 1, -(2**31), 2_000_000_000, 21, 23])
    content = bytearray(raw)
    content[place : place + 4] = struct.pack(rng.choice("<>") + "i", number)
    return bytes(content), False, f"the word at {place} is {number}"


def odd_head(array: np.ndarray, rng: random.Random) -> Spoilt:
    """Return a npy file whose head says what is not true, or cannot be."""
    shape, descr = str(array.shape), array.dtype.str
    ways: list[Callable[[], tuple[str, str, str]]] = [
        lambda: (f"({10**12},)", descr, "a million million numbers"),
        lambda: (f"({2**63}, {2**63})", descr, "more numbers than bytes have addresses"),
        lambda: (f"({10**12}, 0)", descr, "a million million rows of nothing"),
        lambda: ("(-1,)", descr, "less than no numbers"),
        lambda: ("(" * 4000 + ")" * 4000, descr, "a deep shape"),
        lambda: ("'all'", descr, "a word for a shape"),
        lambda: (shape, "|O", "objects by its head"),
        lambda: (shape, "", "no type"),
        lambda: (shape, "<f3", "a type that is none"),
        lambda: (shape, "Z" * 5000, "a long type"),
    ]
    said, kind, how = rng.choice(ways)()
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {said}, }}\n".encode()
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(head)) + head + array.tobytes()
    return content, array.size > 0, how
