"""One of two gloo processes: gradients for half of the molecules, averaged by DistributedDataParallel."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

from zoo.conformance.engineering import gradients_of_share
from zoo.conformance.find import find
from zoo.conformance.recording import with_energy
from zoo.training.distributed import ranks

__all__: list[str] = []


def main(name: str, folder: str) -> None:
    torch.set_num_threads(1)
    subject = find(name)[0]
    with ranks("cpu") as here, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = here.wrap(with_energy(subject, "float64"))
        # Four molecules, two for each rank. DDP gives the mean of the gradients of the ranks.
        got = gradients_of_share(subject, model, slice(2 * here.rank, 2 * here.rank + 2))
        if here.first:
            total = {key: 2 * value.contiguous() for key, value in got.items()}
            save_file(total, Path(folder, "gradients.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
