"""Weights on disk: safetensors only, verified before anything is allocated, written by rename.

Verifying imports no torch: a download is checked, and refused, without it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import WeightsError, shortened
from zoo.files.atomic_writes import replacing
from zoo.files.bounded_reads import parse_json
from zoo.files.hashing import sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["WeightsFile", "check_hash", "load_into", "read_header", "read_tensors", "save"]

# Several metadata keys would make the bytes differ from save to save: safetensors writes them in hash order.
METADATA_KEY = "zoo"
_MAX_HEADER = 10_000_000
_MAX_DIMENSIONS, _MAX_LENGTH = 16, 1 << 48
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class WeightsFile:
    """A saved file, as the card describes it."""

    file: str
    sha256: str
    bytes: int
    parameters: int


def check_hash(path: Path, *, sha256: str, size: int | None = None, fix: str = "") -> None:
    """Compare a file with size and hash in its card.

    Args:
        fix: how to fix a difference, the end of the error.

    Raises:
        WeightsError: size or hash differ.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file{_fix(fix)}")
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise WeightsError(f"{path}: expected {size} bytes, found {found_size}: the file is incomplete or another one"
                           f"{_fix(fix)}")
    found = sha256_of(path)
    if found != sha256:
        raise WeightsError(f"{path}: expected sha256 {sha256}, found {found}: these are not the bytes the card "
                           f"describes{_fix(fix)}")


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Tensor descriptions and metadata of a safetensors file, checked against its size before any allocation.

    Raises:
        WeightsError: not a safetensors file, truncated, or a header that does not describe the bytes that follow.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file{_fix('')}")
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            looks = " (it looks like a web page)" if start.lstrip()[:1] == b"<" else ""
            raise WeightsError(f"{path}: not a complete safetensors file{looks}. Fix: get it again.")
        raw = handle.read(length)
    try:
        header = parse_json(raw)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(part, str) for item in metadata.items() for part in item):
            raise ValueError("its metadata are not text")
        _check_layout(header, size - 8 - length)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: the safetensors header is malformed: {error}. Fix: get it again.") from error
    return header, metadata


def _check_layout(header: Mapping[str, Mapping[str, Any]], size: int) -> None:
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        if entry["dtype"] not in _ITEM_BYTES:
            raise ValueError(f"tensor {shortened(name)} has the unsupported dtype {shortened(entry['dtype'])}")
        shape, count = entry["shape"], 1
        if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(map(_is_length, shape)):
            raise ValueError(f"tensor {shortened(name)} has the shape {shortened(shape)}")
        for length in shape:
            count *= length
        if not (_is_length(begin) and _is_length(stop)) or begin != end or (
            stop - begin != count * _ITEM_BYTES[entry["dtype"]]
        ):
            raise ValueError(f"tensor {shortened(name)} of shape {shape} does not fit its offsets")
        end = stop
    if end != size:
        raise ValueError(f"it describes {end} bytes of data and {size} follow")


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_LENGTH


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name. Raises as :func:`read_header`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}. Fix: get it again.") from error


def load_into(module: nn.Module, path: Path, *, upgrade: Any = None) -> None:
    """Load a file into a module, strictly: every tensor present, none left over, all shapes equal.

    Args:
        upgrade: called on the state dict first, when the file has an older format.

    Raises:
        WeightsError: lists the missing, unexpected and mis-shaped tensors.
    """
    header, _ = read_header(path)
    expected = module.state_dict()
    if upgrade is None:
        # Compared by the header alone, so that a wrong file is refused before memory is allocated.
        found = {k: (tuple(v["shape"]), v["dtype"].strip("0123456789") in ("F", "BF")) for k, v in header.items()}
        _compare(found, expected, path)
        state = read_tensors(path)
    else:
        state = upgrade(read_tensors(path))
        _compare({k: (tuple(v.shape), v.is_floating_point()) for k, v in state.items()}, expected, path)
    module.load_state_dict(state, strict=True)


def _compare(found: Mapping[str, tuple[tuple[int, ...], bool]], expected: Mapping[str, Tensor], path: Path) -> None:
    """``found``: shape of each tensor, and whether it holds floating-point numbers."""
    problems = [f"missing {k} {tuple(v.shape)}" for k, v in expected.items() if k not in found]
    problems += [f"unexpected {k[:200]} {shape}" for k, (shape, _) in found.items() if k not in expected]
    both = [(k, v, *found[k]) for k, v in expected.items() if k in found]
    problems += [f"{k}: expected shape {tuple(v.shape)}, found {shape}" for k, v, shape, _ in both if shape != v.shape]
    problems += [f"{k}: expected {v.dtype}, found {'floating-point' if floating else 'whole'} numbers"
                 for k, v, _, floating in both if floating != v.is_floating_point()]
    if problems:
        shown = "\n  ".join(problems[:8])
        more = f"\n  … and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise WeightsError(f"{path} does not fit the architecture that the card describes:\n  {shown}{more}\n"
                           "  Fix: use the config that the weights were trained with.")


def save(module: nn.Module, path: Path, *, metadata: Mapping[str, Any]) -> WeightsFile:
    """Write the state dict, by rename; equal states and metadata give equal bytes.

    Raises:
        WeightsError: two names share memory, or a tensor is not finite.
    """
    from safetensors.torch import save as to_bytes

    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    broken = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(f"weights that are not finite are not saved: {', '.join(broken[:5])}. "
                           "Fix: train with a lower rate.")
    owners: dict[int, str] = {}
    for name, value in state.items():
        other = owners.setdefault(value.data_ptr(), name) if value.numel() else name
        if other != name:
            raise WeightsError(f"{other} and {name} share memory. Fix: register a tensor once, or clone it.")
    with replacing(path) as staging:
        # Serialised first: safetensors' own writer makes a file that only its owner can read.
        staging.write_bytes(to_bytes(state, metadata={METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)}))
    parameters = sum(p.numel() for p in module.parameters())
    return WeightsFile(path.name, sha256_of(path), path.stat().st_size, parameters)


def _fix(fix: str) -> str:
    return f"\n  Fix: {fix or 'download or copy it again'}"
