"""Every family on a pretend CUDA device: the numbers of the CPU, and no operation that mixes devices."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pretend_cuda import guard

FAMILIES = ("schnet", "dimenet", "gemnet", "painn", "nequip")

pytestmark = pytest.mark.skipif(guard.why_not() is not None, reason=guard.why_not() or "")
every_family = pytest.mark.parametrize("family", FAMILIES)


TABLES = ("dimenet", "gemnet")
"""Their tables of angles are made on the host's knowledge of degrees: it waits for these several times a step."""


def both(*scenario: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same scenario on the pretend device and on the CPU."""
    return guard.measure(*scenario), guard.measure(*scenario, "--cpu")


@pytest.mark.parametrize("family", [pytest.param(name, marks=pytest.mark.slow if name != "painn" else ()) for name in
                                    FAMILIES])
def test_predictions_are_those_of_the_cpu(family: str) -> None:
    device, cpu = both("predict", family)
    for mine, expected in zip(device["predictions"], cpu["predictions"], strict=True):
        assert mine.keys() == expected.keys()
        for name, value in expected.items():
            assert np.allclose(mine[name], value, rtol=1e-5, atol=2e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["energy", "forces"])
@every_family
def test_training_is_that_of_the_cpu(family: str, labels: str) -> None:
    device, cpu = both("train", family, labels, "adamw")
    assert len(set(device["losses"])) == len(device["losses"]), "the weights do not change"
    assert device["losses"] == pytest.approx(cpu["losses"], rel=2e-4)
    assert device["blocking"] == 0, device["copy sites"]
    assert device["syncs"] <= 2 or family in TABLES, device["sync sites"]


@pytest.mark.slow
def test_data_on_the_host_are_not_waited_for() -> None:
    counted = guard.measure("train", "schnet", "energy", "adamw", "--data-on-the-host")
    assert counted["blocking"] == 0, counted["copy sites"]
    assert counted["syncs"] <= 2, counted["sync sites"]


@pytest.mark.slow
@every_family
def test_dynamics_is_that_of_the_cpu(family: str) -> None:
    device, cpu = both("dynamics", family, "2")
    assert np.allclose(device["positions"], cpu["positions"], atol=1e-5)


@pytest.mark.slow
def test_a_search_takes_the_same_launches_for_any_batch() -> None:
    kernels = set()
    for kind in ("8 atoms of silicon", "16 crystals of 8 atoms", "crystals, slab and molecules"):
        device, cpu = both("search", kind)
        assert device["edges"] == cpu["edges"]
        assert device["syncs"] <= 2 and device["blocking"] == 0, device["sync sites"]
        kernels.add(device["kernels"])
    assert len(kernels) == 1 and max(kernels) < 200
    molecules = guard.measure("search", "64 molecules")
    assert molecules["syncs"] <= 2 and molecules["kernels"] <= 60, "molecules alone need no cells"


@pytest.mark.slow
def test_the_device_refuses_and_counts_what_cuda_does() -> None:
    program = """
        import json, torch
        from pretend_cuda.counts import COUNTS
        from pretend_cuda.device import PretendCuda

        def outcome(work):
            COUNTS.clear()
            try:
                work()
            except (RuntimeError, TypeError) as error:
                return "same device" if "on the same device" in str(error) else type(error).__name__
            found = COUNTS.summary()
            return [found[name] for name in ("kernels", "syncs", "blocking", "queued")]

        with PretendCuda():
            here, there = torch.ones(4, device="cuda"), torch.ones(4)
            pinned, of_host = torch.ones(4).pin_memory(), torch.tensor([0, 1])
            learned = torch.ones(4, device="cuda", requires_grad=True)
            print(json.dumps({
                "mixed": outcome(lambda: here + there),
                "index on the device of a tensor on the host": outcome(lambda: there[here.long()]),
                "numpy": outcome(lambda: here.numpy()),
                "host scalar": outcome(lambda: here + torch.tensor(2.0)),
                "add": outcome(lambda: here + 1),
                "view": outcome(lambda: here.view(2, 2)),
                "number": outcome(lambda: float(here[0])),
                "mask": outcome(lambda: here[here > 0]),
                "index on the host": outcome(lambda: here[of_host]),
                "copy": outcome(lambda: there.to("cuda")),
                "copy that only seems not to wait": outcome(lambda: there.to("cuda", non_blocking=True)),
                "copy from pinned memory": outcome(lambda: pinned.to("cuda", non_blocking=True)),
                "backward": outcome(lambda: learned.square().sum().backward()),
            }))
    """
    done = guard.run("-c", "\n".join(line[8:] for line in program.splitlines()))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "mixed": "same device", "index on the device of a tensor on the host": "same device", "numpy": "TypeError",
        "host scalar": [1, 0, 0, 0], "add": [1, 0, 0, 0], "view": [0, 0, 0, 0], "number": [0, 1, 0, 0],
        "mask": [2, 1, 0, 0], "index on the host": [1, 0, 1, 0], "copy": [0, 0, 1, 0],
        "copy that only seems not to wait": [0, 0, 1, 0], "copy from pinned memory": [0, 0, 0, 1],
        "backward": [6, 0, 0, 0],
    }
