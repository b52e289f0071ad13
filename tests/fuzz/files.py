"""Mutations of files of one format each, by their structure: TOML, JSON, npz, npy, XML, safetensors."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import struct
import tomllib
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from fuzz.formats import odd_head
from fuzz.sizes import endless_safetensors, npz_bomb, spoilt_sizes
from fuzz.values import (
    DATE,
    HUGE,
    LONG,
    Spoilt,
    is_number,
    odd_word,
    owner,
    places,
    spoilt_bytes,
    spoilt_text,
    wrong_for,
)

#: The share of cases that go for the bytes, and not for what they mean.
_BY_BYTES = 0.25
_DIGITS = "9" * 5000
#: Energies that OpenMM's parser never ends with, crashes on, or has no word for.
_EXPRESSIONS = (
    "0/0*x",
    "sqrt(-1)+0*r",
    "(" * 30_000 + "x" + ")" * 30_000,
    "((x",
    "",
    "x y",
    "import os",
    "1e400",
    LONG,
)


def spoilt_toml(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a TOML file with one key that says what it cannot say, or spoilt as text."""
    if rng.random() < _BY_BYTES:
        return spoilt_text(raw, rng)
    content, bad, how = _spoilt_value(tomllib.loads(raw.decode()), rng)
    text = _toml(content)
    more = rng.random()
    if more < 0.03:
        return (
            (text + "\n[deep]\na = " + "[" * 10_000 + "]" * 10_000 + "\n").encode(),
            True,
            "10,000 lists in each other",
        )
    if more < 0.05:
        return (text + "\n" + "a." * 10_000 + "b = 1\n").encode(), True, "a key of 10,000 parts"
    if more < 0.07:
        return (text + text).encode(), True, "every table twice"
    return text.encode(), bad, how


def spoilt_json(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a JSON file with one value that cannot stand there, or spoilt as text."""
    chance = rng.random()
    if chance < _BY_BYTES:
        return spoilt_text(raw, rng)
    if chance < 0.3:
        return b"[" * 100_000 + b"]" * 100_000, True, "100,000 lists in each other"
    if chance < 0.35:
        return rng.choice([b"[]", b"17", b"null", b'"word"', b"NaN", b"{}"]), True, "another value"
    if chance < 0.4:
        inside = raw.strip()[1:]
        put = rng.choice(
            [b'"a": 1, "a": 1', b'"a": NaN', b'"a": 1e999', b'"a": 01', b'"a": "\\ud800"', b"'a': 1"]
        )
        return b"{" + put + b", " + inside, b"ud800" not in put, f"with {put.decode()}"
    content, bad, how = _spoilt_value(json.loads(raw), rng)
    return json.dumps(content).replace(f'"{HUGE}"', _DIGITS).encode(), bad and DATE not in how, how


def _spoilt_value(content: Any, rng: random.Random) -> tuple[Any, bool, str]:
    """Return nested values with one of them changed, whether it is wrong for sure, and how it was changed."""
    content = copy.deepcopy(content)
    keys, value = rng.choice(list(places(content)))
    inside, key = owner(content, keys), keys[-1]
    where = ".".join(map(str, keys))[:100]
    chance = rng.random()
    if chance < 0.6:
        inside[key], how = wrong_for(value, rng)
        return content, True, f"{where}: {how}"
    if chance < 0.7:
        del inside[key]
        return content, False, f"{where}: left out"
    if chance < 0.8 and isinstance(inside, dict):
        inside[odd_word(rng)] = value
        return content, False, f"{where}: under another name too"
    if is_number(value):
        inside[key] = rng.choice([0, -1, -value, value * 1e30, 1e-300, 10**18, 2**63, 0.5, -1e300])
        return content, False, f"{where}: {inside[key]!r}"
    if isinstance(value, str):
        inside[key] = odd_word(rng)
        return content, False, f"{where}: {inside[key][:40]!r}"
    if isinstance(value, list | dict):
        inside[key] = type(value)() if rng.random() < 0.5 or isinstance(value, dict) else [*value, *value]
    return content, False, f"{where}: emptied or twice"


def _toml(content: dict[str, Any]) -> str:
    """Return nested values as TOML; tables inside lists and odd names inline."""
    lines = [
        f"{_key(key)} = {_inline(value)}" for key, value in content.items() if not isinstance(value, dict)
    ]
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    return (
        "\n".join(lines) + "\n" + "".join(f"[{_key(key)}]\n{_table(value)}" for key, value in tables.items())
    )


def _table(content: dict[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_inline(value)}\n" for key, value in content.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if value in (HUGE, DATE):
        return _DIGITS if value == HUGE else "1979-05-27T07:32:00Z"
    return json.dumps(value) if isinstance(value, str) else str(value)


def spoilt_npz(raw: bytes, rng: random.Random) -> Spoilt:
    """Return an npz file with one array that is not what it should be, or spoilt as bytes."""
    if rng.random() < _BY_BYTES:
        return spoilt_bytes(raw, rng)
    with np.load(io.BytesIO(raw)) as data:
        arrays = {name: data[name] for name in data.files}
    name = rng.choice(list(arrays))
    if rng.random() < 0.15:
        head, bad, how = odd_head(arrays.pop(name), rng)
        return _npz(arrays, {name: head}), bad, f"{name}: {how}"
    if rng.random() < 0.04:
        del arrays[name]
        return (
            npz_bomb(name, {other: _npy(array) for other, array in arrays.items()}),
            True,
            f"{name}: 4 GiB of zeros",
        )
    if rng.random() < 0.25:
        kept = arrays.pop(name)
        if rng.random() < 0.5:
            arrays[odd_word(rng).replace("\0", "") or "x"] = kept
        return _npz(arrays), name != "format_version", f"{name}: left out"
    arrays[name], bad, how = _spoilt_array(arrays[name], rng)
    return _npz(arrays), bad, f"{name}: {how}"


def spoilt_npy(raw: bytes, rng: random.Random) -> Spoilt:
    """Return an npy file of another shape or kind of numbers, or spoilt as bytes."""
    if rng.random() < _BY_BYTES:
        return spoilt_bytes(raw, rng)
    if rng.random() < 0.2:
        return odd_head(np.load(io.BytesIO(raw)), rng)
    array, bad, how = _spoilt_array(np.load(io.BytesIO(raw)), rng)
    return _npy(array), bad, how


def _npz(arrays: dict[str, np.ndarray], others: dict[str, bytes] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (others or {}).items():
            archive.writestr(f"{name}.npy", content)
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", _npy(array))
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _spoilt_array(array: np.ndarray, rng: random.Random) -> Spoilt:
    """Return an array that cannot stand in for one, whether that is sure, and what was done."""
    numeric = array.dtype.kind in "fiu"
    ways: list[Callable[[], tuple[np.ndarray, bool, str]]] = [
        lambda: (array.astype(object), True, "objects"),
        lambda: (np.zeros((0, *array.shape[1:])), array.size > 0, "of length 0"),
        lambda: (array[None], True, "an axis more"),
        lambda: (np.array(3.5), array.ndim > 0, "a single number"),
        lambda: (np.full(array.shape, "Z" * 200), numeric, "words"),
        lambda: (np.zeros(array.shape, dtype=[("a", "f8"), ("b", "i4")]), True, "records"),
        lambda: (np.zeros(array.shape, dtype="datetime64[s]"), True, "dates"),
        lambda: (np.zeros(array.shape, dtype="V7"), True, "raw bytes"),
    ]
    if numeric:
        ways += [
            lambda: (array + 1j, True, "complex"),
            lambda: (np.full(array.shape, np.nan), True, "nan"),
            lambda: (np.full(array.shape, np.inf), False, "inf"),
            lambda: (np.full(array.shape, -1e300), False, "huge"),
            lambda: (array.astype(np.float16), False, "of half precision"),
            lambda: (array.astype(">f8"), False, "of another byte order"),
        ]
    if array.ndim and len(array) > 1:
        ways += [lambda: (array[:-1], True, "one short"), lambda: (array[:1], True, "one long")]
    return rng.choice(ways)()


def spoilt_xml(raw: bytes, rng: random.Random) -> Spoilt:
    """Return an XML file with one element or attribute that says something else, or spoilt as text."""
    chance = rng.random()
    if chance < _BY_BYTES:
        content, bad, how = spoilt_text(raw, rng)
        return content, bad and how != "UTF-16", how  # XML may be that
    if chance < 0.28:
        return b"<a>" * 50_000 + b"</a>" * 50_000, True, "50,000 elements in each other"
    if chance < 0.3:
        bomb = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
        return f'<!DOCTYPE b [<!ENTITY l0 "ha">{bomb}]><b>&l9;</b>'.encode(), True, "entities in entities"
    if chance < 0.33:
        outside = '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><b>&x;</b>'
        return outside.encode(), True, "an entity from outside"
    if chance < 0.36:
        head, tail = raw.split(b">", 1)
        return head + b">" + b"<a>" * 50_000 + b"</a>" * 50_000 + tail, False, "50,000 elements deep inside"
    root = ElementTree.fromstring(raw)
    how, bad = _spoil_element(root, rng)
    return ElementTree.tostring(root), bad, how


def _spoil_element(root: ElementTree.Element, rng: random.Random) -> tuple[str, bool]:
    parents = [(parent, child) for parent in root.iter() for child in parent]
    parent, child = rng.choice(parents)
    chance = rng.random()
    if chance < 0.12:
        parent.remove(child)
        return f"{child.tag}: left out", False
    if chance < 0.24:
        parent.append(copy.deepcopy(child))
        return f"{child.tag}: twice", False
    if chance < 0.34:
        child.tag = rng.choice(["Nothing", "x" * 3000, "Script", "InitializationScript", "Force"])
        return f"an element called {child.tag[:40]}", False
    parent, child = rng.choice([pair for pair in parents if pair[1].attrib])
    name = rng.choice(list(child.attrib))
    if chance < 0.45:
        del child.attrib[name]
        return f"{child.tag} {name}: left out", False
    value = child.attrib[name]
    if name == "energy" or name.startswith("expression"):
        child.attrib[name] = rng.choice(_EXPRESSIONS)
        return f"{child.tag} {name}: {child.attrib[name][:40]!r}", True
    wrong = [
        "nan",
        "inf",
        "-1",
        "1e400",
        "0x10",
        _DIGITS,
        LONG,
        "",
        "999999999",
        "99999999999999999999",
        "$x",
        "1,5",
        "-0",
    ]
    child.attrib[name] = rng.choice(wrong)
    number = re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", value) is not None
    return f"{child.tag} {name}: {child.attrib[name][:40]!r}", number and child.attrib[name] in (
        "nan",
        "$x",
        LONG,
        "",
    )


def spoilt_safetensors(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a model file with another header or with tensors that are not numbers, or spoilt as bytes."""
    if rng.random() < _BY_BYTES:
        return spoilt_bytes(raw, rng)
    if rng.random() < 0.1:
        return endless_safetensors(rng)
    size = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8 : 8 + size]), bytearray(raw[8 + size :])
    if rng.random() < 0.4:
        name = rng.choice([key for key in header if key != "__metadata__"])
        begin, end = header[name]["data_offsets"]
        width = {"F32": 4, "F64": 8}.get(header[name]["dtype"], 4)
        value = rng.choice([float("nan"), float("inf")])
        data[begin:end] = np.full((end - begin) // width, value, dtype=f"<f{width}").tobytes()
        how = f"{name}: {value}"
    elif rng.random() < 0.3:
        how = spoilt_sizes(header, rng)
    elif rng.random() < 0.5:
        inner, _, how = _spoilt_value(json.loads(header["__metadata__"]["tps"]), rng)
        header["__metadata__"]["tps"] = json.dumps(inner).replace(f'"{HUGE}"', _DIGITS)
        return _safetensors(header, data), False, how
    else:
        header, _, how = _spoilt_value(header, rng)
        return _safetensors(header, data), False, how
    return _safetensors(header, data), True, how


def _safetensors(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).replace(f'"{HUGE}"', _DIGITS).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)
