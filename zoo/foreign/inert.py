"""Read what other packages wrote with ``torch.save`` without running or importing anything of it.

A pickle is a program: it names functions and calls them. Here every name stands for itself. Six names that rebuild
tensors, arrays and ordered dictionaries are replaced by functions of this file; every other class becomes a
:class:`Record`, which keeps what the pickle would have given it.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import WeightsError

__all__ = ["Record", "read_inert"]

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}
_MAX_PICKLE = 64 * 2**20  # bytes; a pickle beside its tensors is small


class Record:
    """An object of a class that was not imported.

    Attributes:
        name: of the class or function, such as ``"torch.nn.modules.linear.Linear"``.
        args: what it would have been called with.
        state: what it would have been restored from; ``None`` if nothing.
        items: what would have been appended to it or set in it, in order.
    """

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []

    def __call__(self, *args: Any) -> Record:
        return Record(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Iterable[Any]) -> None:
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def __repr__(self) -> str:
        return f"Record({self.name!r})"


def read_inert(path: Path) -> Any:
    """The object in a file of ``torch.save`` (zip format): plain values, tensors on the CPU, arrays, and records.

    Raises:
        WeightsError: not such a file, a tensor that reaches beyond its storage, or a malformed pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickles = [e for e in entries if e.filename == "data.pkl" or e.filename.endswith("/data.pkl")]
            # torch.save never compresses, and a compressed entry could unpack to any size.
            if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE or any(e.compress_type for e in entries):
                raise ValueError("a zip file that torch.save did not write")
            with archive.open(pickles[0]) as stream:
                return _Unpickler(stream, archive, pickles[0].filename.removesuffix("data.pkl")).load()
    except Exception as error:  # a malformed pickle leads to whatever it leads to
        raise WeightsError(f"{path} cannot be read as a file of torch.save: {error or type(error).__name__}. "
                           "Fix: give the file as its authors published it.") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return _KNOWN.get((module.replace("numpy._core", "numpy.core"), name)) or _record_class(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(count) is not int:
            raise ValueError("it refers to something that is no storage")
        if key not in self._storages:
            raw = self._archive.read(f"{self._root}data/{key}")
            self._storages[key] = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        if self._storages[key].numel() < count:
            raise ValueError(f"storage {key} has {self._storages[key].numel()} numbers, {count} were announced")
        return self._storages[key]


def _record_class(name: str) -> Any:
    """What a pickle may call, or make without calling: gives records of this name."""

    def new(cls: type, *args: Any, **keywords: Any) -> Record:
        return Record(name, (*args, keywords) if keywords else args)

    return type("Named", (Record,), {"__new__": new})


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    span = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if all(size) else 0
    # A stride of zero could announce any number of elements.
    known, negative = storage.numel(), min(offset, *size, *stride, 0) < 0
    if negative or offset + span > known or math.prod(size) > known:
        raise ValueError("a tensor reaches beyond its storage")
    return storage.as_strided(size, stride, offset).clone()


class _Dict(dict[Any, Any]):
    """An ordered dictionary; torch hangs metadata on that of a module's weights."""

    def __setstate__(self, state: Any) -> None:
        pass


class _DType:
    """A numeric ``numpy.dtype``; any other kind is refused."""

    def __init__(self, code: str, *_: Any) -> None:
        if code[:1] not in tuple("fiub") or not code[1:].isdigit():
            raise ValueError(f"an array of dtype {code!r} holds no plain numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """Filled by the state that a pickle gives it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        super().__setstate__((1, shape, dtype.dtype, fortran, raw))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): tuple,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array((0,)),
    ("numpy.core.multiarray", "scalar"): lambda kind, raw: np.frombuffer(raw, kind.dtype)[0].item(),
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),  # how protocol 2 writes bytes
    ("builtins", "set"): set,
    ("torch", "device"): lambda *args: ":".join(map(str, args)),
}
