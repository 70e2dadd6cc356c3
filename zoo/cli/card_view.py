"""A card on the terminal: what the model predicts, how well, for which structures, and how to use it."""

from __future__ import annotations

from typing import Any

from zoo.properties.card_results import describe

__all__ = ["grid", "print_card"]


def print_card(card: Any) -> None:
    from rich.text import Text

    from zoo.cli import console

    out = console()
    out.print(Text.assemble((card.name, "bold"), "  ", (card.summary, "")), soft_wrap=True)
    out.print(grid(_about(card)))
    out.print(Text("\npredicts", style="bold"))
    out.print(grid([(name, f"{spec.unit}{_meaning(spec)}") for name, spec in card.targets.items()]
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
    """The error estimates in words; those calibrated for other weights are only mentioned."""
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
    return describe(card.stability) if isinstance(card.stability, dict) else card.stability


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
    """Where the weights of another package are, and the command that downloads them."""
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
    """Description of a target, and what is added to the network's sum."""
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
    """A table with one row per target and split, and one column per kind of error."""
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
    from zoo.registry.sources import read_all

    entry = read_all().models().get(card.name)
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


def grid(rows: list[tuple[str, str]]) -> Any:
    """Names and values in two columns, without lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(f"  {name}", style="dim"), Text(value))
    return table
