"""A model's file: an npz of plain numbers, read from bytes that somebody else may have written.

`numpy.load` believes what a file says of itself: a header of some bytes reserves any amount of memory, and a small
archive may unpack to a large one. Here nothing is unpacked or reserved before it is known to be small.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np

MAX_BYTES = 256 * 2**20
"""Size cap of an archive, packed and unpacked: twice the largest network that the settings allow."""

MAX_ARRAYS = 256

_SUFFIX = ".npy"
_META = "meta"
_NUMBERS = "biuf"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ModelFileError(StockcastError):
    """A model's file is missing, or is not the one that was published: another model has to serve."""


@dataclass(frozen=True)
class Reference:
    """Which model: the MLflow run that made it, and the digest of its file."""

    run_id: str
    sha256: str


def to_npz(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytes:
    """Arrays and a JSON document as an archive; equal ones give equal bytes."""
    buffer = io.BytesIO()
    members: dict[str, Any] = {**arrays, _META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


@contextmanager
def opened(data: bytes, sha256: str, what: str, asset: str) -> Iterator[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """The arrays and the document of what `to_npz` wrote, while a model is made of them.

    Args:
        data: the file.
        sha256: the digest that it must have.
        what: the file, for sentences.
        asset: what makes it again.

    Raises:
        ModelFileError: if the digest differs, or the file is odd in any way, also as the model is made. Nothing is read
            before the digest is checked, and nothing in the file is ever executed.
    """
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha256:
        raise ModelFileError(
            f"The {what} has the digest {actual[:12]}… instead of {sha256[:12]}…: it was damaged or "
            f"swapped; materialise {asset} for that month again."
        )
    try:
        arrays = read_npz(data)
        yield arrays, json.loads(arrays.pop(_META).tobytes())
    except ModelFileError:
        raise
    # A digest says who wrote a file, not that it can be used: whatever is odd about it, another model serves.
    except Exception as error:
        words = " ".join(str(error).split()).rstrip(".")[:120]
        told = words if isinstance(error, ValueError | StockcastError) else f"{type(error).__name__}: {words}"
        raise ModelFileError(
            f"The {what} {sha256[:12]}… is not one of stockcast's ({told}): materialise {asset} for that month again."
        ) from error


def read_npz(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an archive that `numpy.savez` or `numpy.savez_compressed` wrote, by name.

    Raises:
        ValueError: if it is larger than `MAX_BYTES`, or holds anything but arrays of numbers. What else the
            standard library raises on a damaged archive passes through.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data) / 2**20:,.0f} MB")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > MAX_ARRAYS:
            raise ValueError(f"it holds {len(members)} arrays")
        unpacked = sum(member.file_size for member in members)
        if unpacked > MAX_BYTES:
            raise ValueError(f"it unpacks to {unpacked / 2**20:,.0f} MB")
        return {member.filename.removesuffix(_SUFFIX): _array(archive, member) for member in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in _PACKED:
        raise ValueError(f"{member.filename!a} is packed in an unusual way")
    with archive.open(member) as packed:
        # Without the number, a member is unpacked to its end before it is cut to the size that it states.
        stream = io.BytesIO(packed.read(member.file_size))
    version = np.lib.format.read_magic(stream)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"{member.filename!a} is an array of version {version}")
    shape, fortran_order, dtype = headers[version](stream)
    if dtype.hasobject or dtype.kind not in _NUMBERS:
        raise ValueError(f"{member.filename!a} holds {dtype} and no numbers")
    content = stream.read()
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{member.filename!a} has not the shape that it states")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")


def numbers(arrays: Mapping[str, np.ndarray], name: str, *shape: int, above: float = -math.inf) -> np.ndarray:
    """The array called `name`: floats of this `shape`, finite and larger than `above`.

    Raises:
        ValueError: if there is none, or it is another.
    """
    found = arrays.get(name)
    if found is None:
        raise ValueError(f"it lacks {name}")
    if found.dtype.kind != "f" or found.shape != shape:
        raise ValueError(f"{name} is {found.dtype} {list(found.shape)} instead of floats {list(shape)}")
    if not np.isfinite(found).all() or (found <= above).any():
        raise ValueError(f"{name} has values that cannot be")
    return found
