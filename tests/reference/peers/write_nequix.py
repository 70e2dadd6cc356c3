"""Write nequix.safetensors with the nequix package. Run in the peer's environment.

The weights are in the bytes of a .nqx file that the package's own writer made: ``input.file``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from nequix.model import load_model, save_model
from nequix.torch_impl.model import NequixTorch
from nequix.torch_impl.utils import convert_model_torch_to_jax
from record import DTYPES, energies_and_derivatives, make_model, write
from structures import Batch, make_batch

NUMBERS = [14, 1, 6, 8, 7]  # no particular order
ENERGIES = [-0.0625, -0.5, -1.4375, 2.125, 0.375]  # exact in float32, in which the file holds them
CONFIG: dict[str, Any] = {
    "cutoff": 4.0, "lmax": 2, "hidden_irreps": "6x0e + 5x1o + 3x2e", "n_layers": 3, "radial_basis_size": 8,
    "radial_mlp_size": 12, "radial_mlp_layers": 2, "radial_polynomial_p": 6.0, "mlp_init_scale": 4.0,
    "index_weights": False, "layer_norm": True, "shift": 0.17, "scale": 0.81, "avg_n_neighbors": 7.5,
}  # fmt: skip


def make() -> torch.nn.Module:
    return NequixTorch(n_species=len(NUMBERS), atom_energies=ENERGIES, **CONFIG)


def energy(model: torch.nn.Module, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
    species = torch.tensor([NUMBERS.index(z) for z in batch.z])
    atoms = model.node_energies(vectors, species, *torch.from_numpy(batch.edge_index))
    return torch.zeros(len(batch.names), dtype=vectors.dtype).index_add(0, torch.from_numpy(batch.batch), atoms[:, 0])


def file_of(model: torch.nn.Module, config: dict[str, Any], batch: Batch) -> torch.Tensor:
    """Bytes of the package's .nqx file; the model that it holds is run, too, in JAX, where the weights are from."""
    converted, _ = convert_model_torch_to_jax(model, config, False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.nqx"
        save_model(path, converted, config)
        loaded, _ = load_model(path)
        content = path.read_bytes()
    source, target = batch.edge_index
    vectors = batch.pos[source] + batch.edge_shift - batch.pos[target]
    species = jnp.array([NUMBERS.index(z) for z in batch.z])
    atoms = np.array(loaded.node_energies(jnp.array(vectors, dtype=jnp.float32), species, source, target))[:, 0]
    expected = energy(model, batch, torch.tensor(vectors, dtype=torch.float32)).detach().numpy()
    assert np.allclose(np.bincount(batch.batch, atoms), expected, atol=1e-4), "JAX and torch disagree"
    return torch.tensor(list(content), dtype=torch.uint8)


def main() -> None:
    batch = make_batch(CONFIG["cutoff"], crystal=True)
    outputs = {}
    for label, dtype in DTYPES.items():
        model = make_model(make, dtype, seed=4)
        torch.set_default_dtype(dtype)  # of the frequencies, which it makes anew each time
        outputs[label] = energies_and_derivatives(lambda v, model=model: energy(model, batch, v), batch, dtype)
    torch.set_default_dtype(torch.float32)
    model = make_model(make, torch.float32, seed=4)
    energies = {str(z): e for z, e in zip(NUMBERS, ENERGIES)}
    config = CONFIG | {"atomic_numbers": NUMBERS, "atom_energies": energies}
    write(
        "nequix",
        model=model,
        config=config,
        batch=batch,
        outputs=outputs,
        packages=["nequix", "e3nn", "e3nn-jax"],
        paper_parameters={},
        notes=["input.file holds the bytes of a .nqx file."],
        state={},
        inputs={"file": file_of(model, config, batch)},
    )


if __name__ == "__main__":
    main()
