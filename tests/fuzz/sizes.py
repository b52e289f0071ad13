"""Files of a few bytes that promise more than a machine holds: packed ones, and counts of what is not there."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import tables

from fuzz.formats import spoilt_head
from fuzz.values import Spoilt, spoilt_bytes, spoilt_text

#: What a packed file unpacks to [MiB]: enough for a hang, and for no machine's end.
_MIB = 4096
#: Counts that no file of a molecule of 22 atoms has.
_COUNTS = ("99999999", "2147483647", "1000000", "-1", "1e12")
#: The share of cases that go for text or bytes, and not for what they mean.
_BY_BYTES = 0.3


@functools.cache
def _deflated(content: bytes) -> bytes:
    """Return `_MIB` times a content of 1 MiB as one stream of deflate: each block stands for itself."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * _MIB + packer.flush(zlib.Z_FINISH)


def gzip_bomb(line: bytes) -> bytes:
    """Return gzip of 4 GiB of one line again and again; its checksum, which comes last, is wrong."""
    content = (line * (2**20 // len(line) + 1))[: 2**20]
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + _deflated(content) + bytes(8)


def npz_bomb(name: str, others: dict[str, bytes]) -> bytes:
    """Return a npz file in which one array is 4 GiB of zeros, packed a thousand times."""
    head = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (_MIB * 2**17,)}
    )
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(head.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH) + _deflated(bytes(2**20))
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type, info.compress_size = zipfile.ZIP_DEFLATED, len(packed)
    info.CRC = 0  # comes last, and is wrong
    info.file_size = len(head.getvalue()) + _MIB * 2**20
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for other, content in others.items():
            archive.writestr(f"{other}.npy", content)
        info.header_offset = file.tell()
        file.write(info.FileHeader(zip64=True) + packed)
        archive.start_dir = file.tell()
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info
    return file.getvalue()


def spoilt_gzip(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a packed text that has no end, or is spoilt, packed or not."""
    if rng.random() < _BY_BYTES:
        return spoilt_bytes(raw, rng)
    text = gzip.decompress(raw)
    if rng.random() < 0.4:
        return (
            gzip_bomb(rng.choice([b"0\n", b"0", text.splitlines(keepends=True)[-2]])),
            True,
            "gzip without end",
        )
    content, bad, how = spoilt_text(text, rng)
    return gzip.compress(content, 1), bad, how


def spoilt_prmtop(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a prmtop that counts what it does not hold, or spoilt as text."""
    if rng.random() < _BY_BYTES:
        return spoilt_text(raw, rng)
    text = raw.decode()
    begin = text.index("\n", text.index("%FORMAT", text.index("%FLAG POINTERS"))) + 1
    k, count = rng.choice([0, 0, 1, 1, *range(2, 10)]), rng.choice(_COUNTS)
    at, bad = begin + 8 * k, k < 2 and count != "2147483647"  # one of ten digits moves all that follow
    return f"{text[:at]}{count.rjust(8)}{text[at + 8 :]}".encode(), bad, f"pointer {k} is {count}"


def spoilt_psf(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a psf that counts what it does not hold, or spoilt as text."""
    if rng.random() < _BY_BYTES:
        return spoilt_text(raw, rng)
    text, count = raw.decode(), rng.choice(_COUNTS)
    found = rng.choice(list(re.finditer(r"(?m)^ *(\d+)(?=[ \d]*!)", text)))
    return f"{text[: found.start(1)]}{count}{text[found.end(1) :]}".encode(), False, f"{found[1]} is {count}"


def spoilt_gro(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a gro file of more atoms than it has lines, or spoilt as text."""
    if rng.random() < 2 * _BY_BYTES:
        return spoilt_text(raw, rng)
    lines, count = raw.decode().split("\n"), rng.choice(_COUNTS)
    return "\n".join([lines[0], count, *lines[2:]]).encode(), True, f"{lines[1]} atoms are {count}"


def with_frames_of_nothing(raw: bytes, n_frames: int, n_atoms: int) -> bytes:
    """Return a trajectory as HDF5 of frames that it does not hold, which HDF5 fills in."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "frames.h5"
        place.write_bytes(raw)
        with tables.open_file(str(place), "a") as file:
            for name in set(file.root._v_leaves) - {"topology"}:
                file.remove_node(f"/{name}")
            made = file.create_carray(
                "/", "coordinates", tables.Float32Atom(), (n_frames, n_atoms, 3), filters=tables.Filters(1)
            )
            made.attrs.units = "nanometers"
        return place.read_bytes()


def spoilt_hdf5(raw: bytes, rng: random.Random) -> Spoilt:
    """Return a trajectory of more frames than it has numbers, spoilt in its head, or as bytes."""
    if rng.random() < 2 * _BY_BYTES:
        return spoilt_head(raw, rng)
    n_frames, n_atoms = rng.choice([(10**7, 22), (10**9, 22), (1, 5 * 10**8), (2**62, 22)])
    return with_frames_of_nothing(raw, n_frames, n_atoms), True, f"{n_frames} frames of {n_atoms} atoms"


def spoilt_sizes(header: dict[str, object], rng: random.Random) -> str:
    """Change the header of a model file to that of a network beyond any machine; return how."""
    inner = json.loads(header["__metadata__"]["tps"])
    sizes = inner["size"].get("sizes", [inner["size"]])
    key = rng.choice(sorted(sizes[0]))
    sizes[0][key] = rng.choice([10**5, 10**9, 10**15, -5])
    header["__metadata__"]["tps"] = json.dumps(inner)
    return f"size {key} is {sizes[0][key]}"


def endless_safetensors(rng: random.Random) -> Spoilt:
    """Return a model file whose head, or whose tensor, is larger than any file."""
    head = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(head).encode()
    size = rng.choice([len(text), 2**40, 2**63])
    return struct.pack("<Q", size) + text + bytes(64), True, f"a head of {size} bytes"
