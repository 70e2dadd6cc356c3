"""`zoo show`: everything about one model, architecture or data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from zoo.cli.card_view import grid, print_card
from zoo.files.strict_json import json_text

__all__ = ["show"]


def show(
    name: Annotated[
        str | None, typer.Argument(help="A model, a card's path, an architecture, or a data set.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Print this preset of an architecture as the card's 'config'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of cards, for editors.")] = False,
) -> None:
    """Show what a model predicts and how well, an architecture with its presets, or a data set."""
    from zoo.cards.card import Card
    from zoo.errors import UnknownNameError
    from zoo.plugin import Architecture

    if schema:
        print(json_text(Card.json_schema()))
        return
    if name is None:
        raise typer.BadParameter("give the name of a model, an architecture or a data set", param_hint="NAME")
    found = _find(name)
    if preset is not None:
        if not isinstance(found, Architecture):
            raise UnknownNameError(f"'{name}' is no architecture; --preset needs one. Fix: zoo show painn "
                                   "--preset small")
        _print_preset(found, preset, as_json)
    elif as_json:
        print(json_text(found.to_dict() if isinstance(found, Card) else asdict(found)))
    elif isinstance(found, Card):
        print_card(found)
    elif isinstance(found, Architecture):
        _print_architecture(found)
    else:
        _print_dataset(found)


def _find(name: str) -> Any:
    """A Card, an Architecture or a DatasetSpec. A model's own name comes first, an alias last."""
    from zoo.errors import UnknownNameError, did_you_mean
    from zoo.registry import host
    from zoo.registry.names import show as card_of_name
    from zoo.registry.sources import read_all

    if name.startswith("hf:"):
        from zoo.hub import card_of

        return card_of(name)
    entries = read_all()
    if name not in entries.entries:
        for kind in ("architectures", "datasets"):
            try:
                return host.current().offer(kind, name).value
            except UnknownNameError:
                continue
    try:
        return card_of_name(name)
    except UnknownNameError as error:
        known = [*entries.entries, *entries.aliases, *host.architectures(), *host.datasets()]
        if name.endswith((".yaml", ".yml")) or "/" in name:
            raise
        raise UnknownNameError(f"no model, architecture or data set '{name}'{did_you_mean(name, known, n=3)} "
                               f"Fix: choose a name from zoo list or zoo plugins") from error


# -- architectures and data sets --------------------------------------------------------------------------------


def _print_architecture(arch: Any) -> None:
    from rich.text import Text

    from zoo.cli import console
    from zoo.files.yaml_writer import dump_yaml
    from zoo.registry import host
    from zoo.registry.names import list_models

    record = host.provider(arch.name)
    out = console()
    out.print(Text.assemble((arch.name, "bold"), "  ", arch.summary), soft_wrap=True)
    out.print(grid([(name, value) for name, value in (
        ("plugin", f"{record.name}, {record.package}"),
        ("class", arch.factory),
        ("format", str(arch.format)),
        ("signature", ", ".join(f"{key} {value}" for key, value in arch.signature.items() if value is not None)),
        ("head", ", ".join(f"{key} {value}" for key, value in arch.readout.items())),
        ("inputs", ", ".join(arch.inputs)),
        ("models", " ".join(list_models(architecture=arch.name))),
        ("citation", "\n".join(arch.citation)),
    ) if value]))
    for preset, config in arch.presets.items():
        out.print(Text(f"\npreset {preset}", style="bold"))
        out.print(Text(dump_yaml({"config": dict(config)}).rstrip()), soft_wrap=True)
    out.print(Text("\nuse", style="bold"))
    chosen = f', preset="{next(iter(arch.presets))}"' if arch.presets else ""
    out.print(Text(f'  python: model = zoo.create("{arch.name}"{chosen})   # untrained'), soft_wrap=True)


def _print_preset(arch: Any, preset: str, as_json: bool) -> None:
    from zoo.errors import UnknownNameError, did_you_mean
    from zoo.files.yaml_writer import dump_yaml

    if preset not in arch.presets:
        raise UnknownNameError(f"'{arch.name}' has no preset '{preset}'{did_you_mean(preset, arch.presets)} "
                               f"Fix: choose among {', '.join(arch.presets) or 'none; leave out --preset'}")
    config = {"config": dict(arch.presets[preset])}
    print(json_text(config) if as_json else dump_yaml(config), end="\n" if as_json else "")


def _print_dataset(spec: Any) -> None:
    from rich.text import Text

    from zoo.cli import console
    from zoo.registry import host
    from zoo.registry.names import list_models

    out = console()
    out.print(Text.assemble((spec.name, "bold"), "  ", spec.summary), soft_wrap=True)
    out.print(grid([(name, value) for name, value in (
        ("plugin", host.provider(spec.name, "datasets").package),
        ("properties", ", ".join(f"{target} [{unit}]" for target, unit in spec.targets.items())),
        ("theory", spec.theory),
        ("test set", f"sha256 {spec.split}" if spec.split else ""),
        ("license", spec.license),
        ("models", " ".join(list_models(dataset=spec.name))),
        ("citation", "\n".join(spec.citation)),
    ) if value]))
