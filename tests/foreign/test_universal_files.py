"""Files of Nequix and SevenNet that are not what they should be: one clear error each, and nothing of them is run."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.errors import WeightsError
from zoo.loading import import_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from foreign_files import checkpoint, write


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def refused(kind, path, **config):
    with pytest.raises(WeightsError) as caught:
        import_model(kind, path, config=config)
    message = str(caught.value)
    assert "Fix: " in message.splitlines()[-1] and "\n" not in message
    return message


def test_a_file_of_another_kind_is_named(tmp_path):
    nqx, pth = write("nequix", tmp_path), write("sevennet-xplor", tmp_path)
    page, archive = tmp_path / "page.html", tmp_path / "state.pt"
    page.write_text("<html>404</html>")
    torch.save({"weight": torch.zeros(3)}, archive)
    for path in (pth, page, archive, tmp_path / "absent.nqx"):
        assert path.name in refused("nequix", path)
    for path in (nqx, page, archive, tmp_path / "absent.pth"):
        assert path.name in refused("sevennet", path)


def test_files_that_end_early_are_refused_wherever_they_end(tmp_path):
    for name, kind in (("nequix", "nequix"), ("sevennet-xplor", "sevennet")):
        whole = write(name, tmp_path)
        content, cut = whole.read_bytes(), tmp_path / f"cut{whole.suffix}"
        for share in (0.0, 0.02, 0.3, 0.7, 0.999):
            cut.write_bytes(content[: int(share * len(content))])
            assert cut.name in refused(kind, cut)


def test_a_payload_in_a_checkpoint_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    content = checkpoint("sevennet-xplor") | {"scheduler_state_dict": Call(os.system, f"touch {mark}")}
    content["config"]["note"] = Call(eval, f"open({str(mark)!r}, 'w')")
    torch.save(content, tmp_path / "bad.pth")
    assert import_model("sevennet", tmp_path / "bad.pth").num_parameters
    content["config"]["lmax"] = Call(eval, f"open({str(mark)!r}, 'w') and 2")
    torch.save(content, tmp_path / "worse.pth")
    with pytest.raises(WeightsError, match="Fix: "):
        import_model("sevennet", tmp_path / "worse.pth")
    assert not mark.exists()


def changed(tmp_path, change) -> Path:
    """The .nqx file with another header, or with something else after it."""
    header, _, arrays = write("nequix", tmp_path).read_bytes().partition(b"\n")
    path = tmp_path / "changed.nqx"
    path.write_bytes(change(json.loads(header), arrays))
    return path


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def test_a_payload_in_an_nqx_file_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    payload = npy(np.array([Call(os.system, f"touch {mark}")], dtype=object), allow_pickle=True)
    path = changed(tmp_path, lambda header, _: json.dumps(header).encode() + b"\n" + payload)
    assert "cannot be read" in refused("nequix", path)
    assert not mark.exists()


def test_an_nqx_file_with_other_contents_is_refused(tmp_path):
    def announce(header, arrays):
        huge = npy(np.zeros(2, dtype=np.float32)).replace(b"(2,)", b"(2000000000000,)")
        return json.dumps(header).encode() + b"\n" + huge

    def longer(header, arrays):
        return json.dumps(header).encode() + b"\n" + arrays + npy(np.zeros(10**6, dtype=np.float32))

    def another(**options):
        return lambda header, arrays: json.dumps(header | options).encode() + b"\n" + arrays

    assert "cannot be read" in refused("nequix", changed(tmp_path, announce))
    assert "follow the last array" in refused("nequix", changed(tmp_path, longer))
    assert "per degree" in refused("nequix", changed(tmp_path, another(hidden_irreps="6x0e + 5x1e + 3x2e")))
    assert "index_weights" in refused("nequix", changed(tmp_path, another(index_weights=True)))
    for options in ({"n_layers": "three"}, {"atomic_numbers": [1, 1, 6, 7, 8]}, {"cutoff": None}, {"lmax": -1},
                    {"radial_mlp_size": 7}):
        refused("nequix", changed(tmp_path, another(**options)))


@pytest.mark.parametrize(("option", "value"), [
    ("is_parity", True), ("self_connection_type", "nequip"), ("readout_as_fcn", True), ("act_radial", "ssp"),
    ("use_bias_in_linear", True), ("cutoff_function", {"cutoff_function_name": "cosine"}), ("lmax", 3), ("lmax", None),
    ("irreps_manual", ["5x0e", "5x0e+4x1o", "5x0e+4x1o", "5x0e"]), ("version", "x"), ("_type_map", {1: 0}),
    ("_type_map", {}), ("weight_nn_hidden_neurons", [6, 7]), ("cutoff", "far"),
])
def test_a_checkpoint_with_other_options_is_refused(tmp_path, option, value):
    content = checkpoint("sevennet-xplor")
    content["config"][option] = value
    torch.save(content, tmp_path / "other.pth")
    refused("sevennet", tmp_path / "other.pth")


def test_couplings_that_are_none_are_refused(tmp_path):
    content = checkpoint("sevennet-xplor")
    key = next(key for key in content["model_state_dict"] if "_w3j_" in key)
    content["model_state_dict"][key] = content["model_state_dict"][key] * 2
    torch.save(content, tmp_path / "other.pth")
    assert "Clebsch-Gordan" in refused("sevennet", tmp_path / "other.pth")
