"""Any bytes as weights: tensors, or a WeightsError with a fix."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from zoo.cards.weights import read_tensors
from zoo.errors import WeightsError

from .mutate import LONG, SMOKE, bounded, bytes_of, slow

WHOLE = save({"a": torch.ones(3, 2), "b": torch.arange(4)}, metadata={"zoo": "{}"})
numbers = st.integers(-2, 40) | st.sampled_from([1 << 31, 1 << 40, 1 << 63, 1 << 64, 10**30, 0.5, True, None, "1"])
entries = st.fixed_dictionaries({
    "dtype": st.sampled_from(["F32", "F64", "I64", "U8", "BOOL", "F8", "X", 3, None, []]),
    "shape": st.lists(numbers, max_size=4) | st.none() | st.just([1] * 100) | st.just([1 << 40] * 6),
    "data_offsets": st.lists(numbers, min_size=1, max_size=3),
})
headers = st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), entries | st.none() | st.text(max_size=3),
                          max_size=3) | st.lists(st.none()) | st.none() | st.integers()


def with_header(header: Any, length: int | None, data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


files = bytes_of(WHOLE) | st.builds(with_header, headers, st.none() | st.integers(0, (1 << 64) - 1),
                                    st.binary(max_size=64)) | st.just(struct.pack("<Q", 50_000) + b"[" * 50_000)


def weights(data: bytes, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    try:
        found = read_tensors(path)
    except WeightsError as error:
        assert "Fix: " in str(error)
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(data)


@SMOKE
@given(files)
def test_some_weights(tmp_path: Path, data: bytes) -> None:
    weights(data, tmp_path)


@slow
@LONG
@given(files)
@bounded
def test_many_weights(tmp_path: Path, data: bytes) -> None:
    weights(data, tmp_path)
