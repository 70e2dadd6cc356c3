"""Compressed files of structures, unpacked before they are read.

Readers that seek each frame read a compressed stream from its start every time: ASE needs 10.7 s for 500 frames of 15
atoms in an .xyz.xz file, and 0.14 s after unpacking.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Literal

from zoo.errors import DataError

__all__ = ["ALWAYS", "COMPRESSED", "RATIO", "unpacked"]

ALWAYS = 100_000_000
"""Bytes that any file may unpack to."""
RATIO = 200
"""Times its own size that a file may unpack to beyond that; text of coordinates comes to 10."""

_OPEN: dict[str, Callable[[Path, Literal["rb"]], BufferedIOBase]] = {
    ".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open,
}

COMPRESSED = tuple(_OPEN)
"""Endings of files that are unpacked."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or for ``.xz``, ``.gz``, ``.bz2`` a temporary copy without compression and that ending.

    Raises:
        DataError: it unpacks to far more than any text does, or it is damaged.
    """
    if path.suffix not in _OPEN:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        plain = Path(folder) / path.stem
        _unpack(path, plain, max(ALWAYS, RATIO * path.stat().st_size))
        yield plain


def _unpack(path: Path, plain: Path, most: int) -> None:
    try:
        with _OPEN[path.suffix](path, "rb") as packed, open(plain, "wb") as out:
            written = 0
            while piece := packed.read(1 << 20):
                written += len(piece)
                if written > most:
                    raise DataError(f"{path}: {path.stat().st_size:,} bytes unpack to more than {most:,}; structures "
                                    "do not compress that well. Fix: unpack the file yourself if you trust it.")
                out.write(piece)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked: {str(error) or type(error).__name__}. "
                        "Fix: get the file again.") from error
