"""`zoo show`: everything about one model, architecture or data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from zoo.cli.stability import in_words

__all__ = ["show"]


def show(
    name: Annotated[
        str | None, typer.Argument(help="A model, a card's path, an architecture, or a data set.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Of an architecture: print this preset as the card's 'config'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of cards, for editors.")] = False,
) -> None:
    """Show what a model predicts and how well, an architecture with its presets, or a data set."""
    from zoo.cards.card import Card
    from zoo.errors import UnknownNameError
    from zoo.plugin import Architecture

    if schema:
        print(json.dumps(Card.json_schema(), indent=2))
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
        print(json.dumps(found.to_dict() if isinstance(found, Card) else asdict(found), indent=2, ensure_ascii=False))
    elif isinstance(found, Card):
        _print_card(found)
    elif isinstance(found, Architecture):
        _print_architecture(found)
    else:
        _print_dataset(found)


def _find(name: str) -> Any:
    """A Card, an Architecture or a DatasetSpec. A model's own name comes first, an alias last."""
    from zoo.errors import UnknownNameError, did_you_mean
    from zoo.registry import host
    from zoo.registry import names as registry

    if name.startswith("hf:"):
        from zoo.hub import card_of

        return card_of(name)
    entries = registry.registry()
    if name not in entries.entries:
        for kind in ("architectures", "datasets"):
            try:
                return host.current().offer(kind, name).value
            except UnknownNameError:
                continue
    try:
        return registry.show(name)
    except UnknownNameError as error:
        known = [*entries.entries, *entries.aliases, *host.architectures(), *host.datasets()]
        if name.endswith((".yaml", ".yml")) or "/" in name:
            raise
        raise UnknownNameError(f"no model, architecture or data set '{name}'{did_you_mean(name, known, n=3)} "
                               f"Fix: choose a name from zoo list or zoo plugins") from error


# -- a model ----------------------------------------------------------------------------------------------------


def _print_card(card: Any) -> None:
    from rich.text import Text

    from zoo.cli import console

    out = console()
    out.print(Text.assemble((card.name, "bold"), "  ", (card.summary, "")), soft_wrap=True)
    out.print(_grid(_about(card)))
    out.print(Text("\npredicts", style="bold"))
    out.print(_grid([(name, f"{spec.unit}{_meaning(spec)}") for name, spec in card.targets.items()]
                    + [(name, f"{_derivative_unit(name)}, derivative of the energy") for name in card.derivatives]))
    if card.metrics:
        out.print(Text("\nmeasured", style="bold"))
        out.print(_metrics(card))
    for title, text in (("limits", card.limits), ("uncertainty", _uncertainty(card)), ("stability", _stability(card)),
                        ("notes", card.notes)):
        if text:
            out.print(Text(f"\n{title}", style="bold"))
            out.print(Text(text), soft_wrap=True)
    for exemption in card.exemptions:
        out.print(Text(f"\nexempt from {exemption.check}: {exemption.reason}"), soft_wrap=True)
    out.print(Text("\nuse", style="bold"))
    out.print(Text(_usage(card)), soft_wrap=True)


def _uncertainty(card: Any) -> str | None:
    """What the card says of its error estimates, in words; nothing of estimates of other weights."""
    section = card.uncertainty
    if section is None or isinstance(section, str):
        return section
    if section.weights != card.weights_sha256:
        return f"calibrated for other weights ({section.weights[:12]}…) and not used: zoo calibrate {card.name}"
    lines = [f"intervals for {section.level:.0%} of all errors, fitted on {section.train:,} training and "
             f"{section.val:,} validation structures"]
    for held in section.measured:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in held.coverage.items())
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in held.spearman.items())
        lines += [f"on {held.split} ({held.n:,}) they hold {shares}", f"Spearman with the error: {ranks}"]
    return "\n".join(lines)


def _stability(card: Any) -> str | None:
    return in_words(card.stability) if isinstance(card.stability, dict) else card.stability


def _about(card: Any) -> list[tuple[str, str]]:
    weights, domain, data = card.weights, card.domain, card.data
    rows = [
        ("architecture", f"{card.architecture} ({_provided_by(card)})"),
        ("config", ", ".join(f"{key}={value}" for key, value in card.config.items())),
        ("elements", " ".join(domain.elements) or "not stated"),
        ("structures", f"{'molecules and periodic structures' if domain.pbc else 'molecules only'}, "
                       f"charge {_allowed(domain.charge)}, unpaired electrons {_allowed(domain.spin)}"),
        ("reach", domain.reach),
        ("inputs", ", ".join(card.inputs)),
        ("trained on", ", ".join(str(part) for part in (data.dataset or data.path, data.theory) if part)),
        ("split", _split(data.split)),
        ("training", _training(card.training)),
        ("parameters", None if card.parameters is None else f"{card.parameters:,}"),
        ("weights", f"{weights.file}, {weights.bytes:,} bytes, sha256 {weights.sha256}" if weights
         else _source(card) if card.source else f"none yet; train with: zoo train {card.path}"),
        ("license of", _terms(card.source) if card.source else None),
        ("license", " / data ".join(part for part in (card.license, card.data_license) if part)),
        ("citation", "\n".join(card.citation)),
        ("card", str(card.path) if card.path else None),
    ]
    return [(name, value) for name, value in rows if value]


def _source(card: Any) -> str:
    """Where the weights of another package are, and the command that brings them."""
    from zoo.loading.sources import availability

    source, found = card.source, availability(card)
    absent = found.state == "absent"
    here = f"not here but {found.where}; get them with {found.command}" if absent else f"here, {found.where}"
    address = f"\n{source.url}" if source.url and source.url not in here else ""
    return (f"{here}{address}\nconverted by '{source.reader}' from {source.file}, {source.bytes:,} bytes, "
            f"sha256 {source.sha256}")


def _terms(source: Any) -> str:
    return ", ".join(f"{what} {text}" for what, text in (("weights", source.weights_license),
                                                         ("code", source.code_license)) if text)


def _meaning(spec: Any) -> str:
    """What stands behind the unit: description, and what is added back to the network's sum."""
    added = {
        "atomization": "total: free-atom references are added back to the predicted atomization part",
        "isolated": "total: references of isolated atoms are added back",
        "fitted": "total: atomic references fitted on the training set are added back",
        "none": "",
    }[spec.reference]
    parts = [spec.description or _KINDS.get(spec.readout, spec.readout), added]
    return "".join(f", {part}" for part in parts if part)


_KINDS = {"energy": "extensive", "intensive": "intensive", "dipole": "norm of the dipole moment",
          "polarizability": "isotropic polarizability", "spatial_extent": "electronic spatial extent"}


def _metrics(card: Any) -> Any:
    """One row a target and split, one column a kind of error."""
    from rich import box
    from rich.table import Table

    kinds = list(dict.fromkeys(m.metric for m in card.metrics))
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for m in card.metrics:
        rows.setdefault((m.target, m.split, m.n), {})[m.metric] = m
    sources = dict.fromkeys(f"{m.by}, {m.date}" for m in card.metrics)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption="by " + "; ".join(sources), caption_justify="left")
    for title in ("target", "split"):
        table.add_column(title)
    for title in ("n", *kinds):
        table.add_column(title, justify="right")
    for (target, split, n), found in rows.items():
        table.add_row(target, split, f"{n:,}", *(_measured(found.get(kind)) for kind in kinds))
    return table


def _measured(metric: Any) -> str:
    if metric is None:
        return ""
    value = f"{metric.value:.4g}" + ("" if metric.unit == "1" else f" {metric.unit}")
    if metric.interval is None:
        return value
    return f"{value} ± {(metric.interval[1] - metric.interval[0]) / 2:.2g}"


def _usage(card: Any) -> str:
    from zoo.registry.names import registry

    entry = registry().models().get(card.name)
    known = entry is not None and entry.card_path is not None and card.path is not None and (
        entry.card_path.resolve() == card.path.resolve())
    name = card.name if known or card.folder is None else str(card.folder)
    if card.weights_sha256 is None:
        return f"  zoo train {card.path or name} --out runs/{card.name}"
    return f'  python: model = zoo.load("{name}"); model.predict(atoms)\n  shell:  zoo predict {name} molecules.xyz'


def _provided_by(card: Any) -> str:
    from zoo.errors import ZooError
    from zoo.registry import host

    try:
        return host.provider(card.architecture).package
    except ZooError:
        package = card.requires.plugin
        return f"not installed: pip install {package}" if package else "not installed"


def _allowed(value: Any) -> str:
    if value is None:
        return "any"
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _split(split: Any) -> str | None:
    if split is None:
        return None
    sizes = {part: getattr(split, part) for part in ("train", "val", "test")}
    counts = [f"{size:,} {part}" for part, size in sizes.items() if size is not None]
    file = f" ({split.file}, sha256 {split.sha256[:12]}…)" if split.file and split.sha256 else ""
    return ", ".join(counts) + file


def _training(training: Any) -> str:
    parts = [
        training.device,
        None if training.hours is None else f"{training.all_hours:.2f} h",
        None if training.epochs_done is None else f"{training.epochs_done:g} epochs",
        training.date,
    ]
    return ", ".join(part for part in parts if part)


def _derivative_unit(name: str) -> str:
    from zoo.cards.card import DERIVATIVES

    return DERIVATIVES[name]


# -- architectures and data sets --------------------------------------------------------------------------------


def _print_architecture(arch: Any) -> None:
    from rich.text import Text

    from zoo.cli import console
    from zoo.files.yaml_writer import dump_yaml
    from zoo.registry import host
    from zoo.registry import names as registry

    record = host.provider(arch.name)
    out = console()
    out.print(Text.assemble((arch.name, "bold"), "  ", arch.summary), soft_wrap=True)
    out.print(_grid([(name, value) for name, value in (
        ("plugin", f"{record.name}, {record.package}"),
        ("class", arch.factory),
        ("format", str(arch.format)),
        ("signature", ", ".join(f"{key} {value}" for key, value in arch.signature.items() if value is not None)),
        ("head", ", ".join(f"{key} {value}" for key, value in arch.readout.items())),
        ("inputs", ", ".join(arch.inputs)),
        ("models", " ".join(registry.list_models(architecture=arch.name))),
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
    print(json.dumps(config, indent=2) if as_json else dump_yaml(config), end="\n" if as_json else "")


def _print_dataset(spec: Any) -> None:
    from rich.text import Text

    from zoo.cli import console
    from zoo.registry import host
    from zoo.registry import names as registry

    out = console()
    out.print(Text.assemble((spec.name, "bold"), "  ", spec.summary), soft_wrap=True)
    out.print(_grid([(name, value) for name, value in (
        ("plugin", host.provider(spec.name, "datasets").package),
        ("properties", ", ".join(f"{target} [{unit}]" for target, unit in spec.targets.items())),
        ("theory", spec.theory),
        ("test set", f"sha256 {spec.split}" if spec.split else ""),
        ("license", spec.license),
        ("models", " ".join(registry.list_models(dataset=spec.name))),
        ("citation", "\n".join(spec.citation)),
    ) if value]))


def _grid(rows: list[tuple[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(f"  {name}", style="dim"), Text(value))
    return table
