"""Files of torch.save are read without running or importing anything of them."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from zoo.errors import WeightsError
from zoo.foreign.inert import Record, read_inert


def test_values_tensors_and_arrays_come_back(tmp_path):
    path = tmp_path / "state.pth"
    shared = torch.arange(24, dtype=torch.float64).reshape(2, 3, 4)
    given = {
        "weights": OrderedDict(a=shared, view=shared[:, 1:, ::2], transposed=shared.permute(2, 0, 1),
                               half=torch.tensor([1.5], dtype=torch.bfloat16), none=torch.empty(0, 3),
                               parameter=torch.nn.Parameter(torch.ones(2))),
        "config": {"cutoff": 5.0, "species": ["H", "O"], "bytes": b"\x00\xff", "big": 10**30,
                   "shift": np.linspace(0, 1, 5), "counts": np.arange(6, dtype=">i4").reshape(2, 3, order="F"),
                   "scale": np.float32(0.25), "flag": np.bool_(True)},
    }
    torch.save(given, path)
    found = read_inert(path)
    assert list(found["weights"]) == list(given["weights"])
    for name, value in given["weights"].items():
        assert torch.equal(found["weights"][name], value) and found["weights"][name].dtype == value.dtype
    for name, value in given["config"].items():
        assert np.array_equal(found["config"][name], value), name


def test_a_whole_module_is_records_that_hold_its_weights(tmp_path):
    path, module = tmp_path / "model.pt", torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.SiLU())
    torch.save(module, path)
    found = read_inert(path)
    assert isinstance(found, Record) and found.name == "torch.nn.modules.container.Sequential"
    linear = found.state["_modules"]["0"]
    assert linear.name == "torch.nn.modules.linear.Linear"
    assert torch.equal(linear.state["_parameters"]["weight"], module[0].weight)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_nothing_that_a_file_names_is_called_or_imported(tmp_path, monkeypatch):
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    mark = tmp_path / "mark"
    path = tmp_path / "bad.pth"
    by_name = b"\x80\x02cplanted_module\nrun\n)R."
    torch.save({"a": Calls(os.system, f"touch {mark}"), "b": Calls(eval, f"open({str(mark)!r}, 'w')"),
                "c": Calls(exec, "import planted_module")}, path)
    found = read_inert(path)
    assert found["b"].name.endswith("eval") and found["b"].args == (f"open({str(mark)!r}, 'w')",)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", by_name)
    assert read_inert(path).name == "planted_module.run"
    assert not mark.exists() and "planted_module" not in sys.modules


def written(path, content: bytes, *, compress=zipfile.ZIP_STORED, storage: bytes = b""):
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", storage)
    return path


class Tensor(Calls):
    """A tensor as torch.save writes it, with any size and stride."""


class Storage:
    pass


def tensor_pickle(offset, size, stride, count=4, key="0"):
    """The pickle of one float32 tensor over storage 0."""
    import io

    class Writer(pickle.Pickler):
        def persistent_id(self, item):
            return ("storage", torch.FloatStorage, key, "cpu", count) if isinstance(item, Storage) else None

    out = io.BytesIO()
    Writer(out, protocol=2).dump(Tensor(torch._utils._rebuild_tensor_v2, Storage(), offset, size, stride, False, {}))
    return out.getvalue()


@pytest.mark.parametrize(("offset", "size", "stride"), [
    (0, (5,), (1,)), (2, (3,), (1,)), (0, (10**12,), (0,)), (0, (2, 2), (-1, 1)), (-1, (1,), (1,)), (0, (-1,), (1,)),
], ids=["long", "shifted", "stride zero", "negative stride", "negative offset", "negative size"])
def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path, offset, size, stride):
    numbers = np.arange(4, dtype=np.float32).tobytes()
    good = written(tmp_path / "good.pth", tensor_pickle(1, (3,), (1,)), storage=numbers)
    assert read_inert(good).tolist() == [1, 2, 3]
    with pytest.raises(WeightsError, match="beyond its storage"):
        read_inert(written(tmp_path / "bad.pth", tensor_pickle(offset, size, stride), storage=numbers))


def test_other_files_are_refused_with_their_name(tmp_path):
    text = tmp_path / "page.html"
    text.write_text("<html>")
    packed = written(tmp_path / "packed.pth", b"N.", compress=zipfile.ZIP_DEFLATED)
    torn = written(tmp_path / "torn.pth", pickle.dumps({"a": 1}, protocol=2)[:-3])
    short = written(tmp_path / "short.pth", tensor_pickle(0, (4,), (1,)), storage=b"\0" * 8)
    empty = tmp_path / "empty.pth"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "")
    for path in (text, packed, torn, short, empty):
        with pytest.raises(WeightsError, match=f"{path.name}.* Fix: "):
            read_inert(path)
