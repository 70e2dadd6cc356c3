"""`zoo import`: weights of another package to a card folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import ZooError

__all__ = ["import_weights"]


def import_weights(
    kind: Annotated[str, typer.Argument(help="Origin: pyg-schnet, pyg-dimenet, schnetpack-painn, nequip, "
                                             "fairchem-gemnet, nequix, sevennet.")],
    file: Annotated[Path, typer.Argument(help="State dict as .safetensors or .pt; .nqx of nequix; .pth of sevennet. "
                                              "Nothing in it is run.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for card.yaml and model.safetensors.")],
    elements: Annotated[str | None, typer.Option(help="Symbols it was trained on, as H,C,N; for nequip in the order of "
                                                      "its type_names; not for nequix and sevennet.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Settings that the file lacks: --set cutoff=5.0 (repeatable).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in the card.")] = None,
    target: Annotated[str, typer.Option(help="Name of the energy among the targets.")] = "energy",
    unit: Annotated[str, typer.Option(help="Unit of the energy.")] = "eV",
    scale: Annotated[float, typer.Option(help="Factor by which the training divided the energies.")] = 1.0,
    shift: Annotated[float, typer.Option(help="Energy per atom that was subtracted before training.")] = 0.0,
    pbc: Annotated[bool, typer.Option("--pbc", help="The model was trained on periodic structures.")] = False,
) -> None:
    """Convert weights of torch-geometric, schnetpack, nequip, fairchem-core, nequix or sevenn into a model."""
    from zoo.cli import console
    from zoo.files.atomic_writes import keep_older
    from zoo.loading import import_model
    from zoo.loading.models import save

    symbols = None if elements is None else [symbol.strip() for symbol in elements.split(",") if symbol.strip()]
    model = import_model(kind, file, elements=symbols, target=target, unit=unit, name=name or to.resolve().name.lower(),
                         scale=scale, shift=shift, pbc=pbc, config=_settings(settings or []))
    with keep_older(to / "card.yaml", to / "model.safetensors"):
        card = save(model, to)
    console().print(f"{card.architecture} with {model.num_parameters:,} parameters written to {to}\n"
                    f"Its card holds what the weights give; data, theory, licence and limits are yours to add: "
                    f"{to / 'card.yaml'}")


def _settings(assignments: list[str]) -> dict[str, Any]:
    from zoo.files.yaml_loader import parse_yaml

    found = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ZooError(f"--set {assignment}: expected key=value. Fix: write it like --set cutoff=5.0")
        found[key.strip()] = parse_yaml(f"value: {text}", source=f"--set {assignment}").data["value"]
    return found
