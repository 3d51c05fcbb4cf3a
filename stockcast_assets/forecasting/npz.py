"""An npz of plain numbers, read from bytes that somebody else may have written.

`numpy.load` believes what a file says of itself: a header of some bytes reserves any amount of memory, and a small
archive may unpack to a large one. Here nothing is unpacked or reserved before it is known to be small.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping

from stockcast_assets.errors import StockcastError
from stockcast_assets.libraries import np

MAX_BYTES = 256 * 2**20
"""Size cap of an archive, packed and unpacked: twice the largest network that the settings allow."""

MAX_ARRAYS = 256

_SUFFIX = ".npy"
_NUMBERS = "biuf"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ModelFileError(StockcastError):
    """A model's file is missing, or is not the one that was published: another model has to serve."""


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
