"""A card folder as a repository of the Hub: the files that are pushed, and two that are made from the card."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.cards.card import CARD_FILE, Card
from zoo.cards.measured import Metric
from zoo.cards.weights import check_hash, read_header
from zoo.errors import HubError, WeightsError
from zoo.files.markdown import markdown_table
from zoo.files.yaml_writer import dump_yaml
from zoo.hub.address import UNSAFE
from zoo.registry.sources import read_all

__all__ = ["EXTRA_NAMES", "EXTRA_SUFFIXES", "Contents", "contents_of", "is_handwritten", "refuse_secrets",
           "render_config", "render_readme", "render_results", "sign"]

# Files pushed besides card and weights: results of an evaluation and a licence, never code, pickles or checkpoints.
EXTRA_SUFFIXES = (".png", ".svg", ".jsonl", ".csv")
LIBRARY = "geometric-zoo"
RESULTS_FILE = ".eval_results/zoo.yaml"
EXTRA_NAMES = ("evaluation.yaml", "LICENSE", "README.md", "split.safetensors", "uncertainty.safetensors")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}|(?:gh[pousr]|github_pat)_\w{20,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_ABSOLUTE = re.compile(r"""(?:^|(?<=[\s"'=:,(\[]))(?:/(?:[\w.+~-]+/)+[\w.+~-]*|~/[\w./+-]+|[A-Za-z]:\\[\w\\.-]+)""")
_MARK = re.compile(r"<!-- made from card\.yaml by zoo; sha256 of the rest: ([0-9a-f]{64}) -->\n")


@dataclass
class Contents:
    """Content of a push: path in the repository → bytes, or the file to read; and files left out, with the reason."""

    files: dict[str, bytes | Path]
    left_out: dict[str, str] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        content = self.files[path]
        return content if isinstance(content, bytes) else content.read_bytes()

    def size(self, path: str) -> int:
        content = self.files[path]
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def contents_of(folder: Path, card: Card, repo: str) -> Contents:
    """The files to push to ``organisation/name`` for a card folder, all checked.

    Raises:
        WeightsError: the card describes no weights, or the hash of the file is another one.
        HubError: a text among them holds a token or a path of this machine.
    """
    if card.weights is None and card.source is not None:
        card.weights_here()  # says how to get a folder that holds them
    if card.weights is None:
        raise WeightsError(f"{card.path}: describes a model without weights. "
                           f"Fix: train it first, zoo train {card.path}.")
    file = folder / card.weights.file
    _regular(file)
    _regular(folder / CARD_FILE)
    if file.suffix != ".safetensors":
        raise WeightsError(f"{file}: only safetensors are pushed. Fix: save the weights with zoo.save.")
    check_hash(file, sha256=card.weights.sha256, size=card.weights.bytes,
               fix=f"save the model again with zoo.save, which writes {CARD_FILE} too")
    _, metadata = read_header(file)
    refuse_secrets(json.dumps(metadata), f"{file} (metadata)")
    contents = Contents({CARD_FILE: folder / CARD_FILE, file.name: file})
    for path in sorted(folder.iterdir()):
        if path.name in contents.files or path.name.startswith("."):
            continue
        reason = _reason_to_leave(path)
        if reason is None:
            contents.files[path.name] = path
        else:
            contents.left_out[path.name] = reason
    plots = [name for name in contents.files if name.endswith((".png", ".svg"))]
    contents.files["config.json"] = render_config(card).encode()
    if (results := render_results(card)) is not None:
        contents.files[RESULTS_FILE] = results.encode()
    contents.files.setdefault("README.md", render_readme(card, plots, repo).encode())
    for name in contents.files:
        if not name.endswith((".safetensors", ".png")):
            refuse_secrets(contents.read(name).decode("utf-8", "replace"), str(folder / name))
    return contents


def _reason_to_leave(path: Path) -> str | None:
    if path.is_symlink():
        return "a link"
    if path.suffix.lower() in UNSAFE:
        return UNSAFE[path.suffix.lower()]
    if not path.is_file():
        return "not a file"
    if path.name in EXTRA_NAMES or path.suffix.lower() in EXTRA_SUFFIXES:
        return None
    return "not part of a model's repository"


def _regular(file: Path) -> None:
    if file.is_symlink():
        raise HubError(f"{file}: a link. Fix: put the file itself next to the card.")


def refuse_secrets(text: str, where: str) -> None:
    """Refuse texts that hold a token or a path of this machine."""
    for number, line in enumerate(text.splitlines(), 1):
        if _TOKEN.search(line):
            raise HubError(f"{where}:{number}: holds what looks like a token or a key. "
                           "Fix: take it out, and revoke it.")
        if found := _ABSOLUTE.search(line):
            raise HubError(f"{where}:{number}: holds a path of this machine, {found[0]}. Fix: take it out.")


# --- config.json ------------------------------------------------------------------------------------------------------


def render_config(card: Card) -> str:
    """``config.json`` for programs; it names an architecture, never a module to import."""
    data = card.to_dict()
    split = data.get("data", {}).get("split")
    config: dict[str, Any] = {
        "library_name": LIBRARY,
        "name": card.name,
        "architecture": card.architecture,
        "format": card.format,
        "config": data.get("config", {}),
        "targets": data["targets"],
        "units": {name: spec.unit for name, spec in card.targets.items()},
        "dataset": card.data.dataset,
        "split": split,
        "zoo_version": version("geometric-zoo"),
    }
    if card.weights is not None:
        keep = ("file", "sha256", "bytes", "parameters")
        config["weights"] = {key: getattr(card.weights, key) for key in keep}
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


# --- README.md --------------------------------------------------------------------------------------------------------


def is_handwritten(text: str) -> bool:
    """Whether somebody wrote or changed this README by hand."""
    mark = _MARK.search(text)
    return mark is None or _digest(_MARK.sub("", text)) != mark[1]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def render_readme(card: Card, plots: list[str], repo: str) -> str:
    """The page of the model at ``organisation/name`` on the Hub."""
    return sign(f"---\n{dump_yaml(_front_matter(card))}---\n", "\n".join(_body(card, plots, repo)) + "\n")


def sign(front: str, body: str) -> str:
    """A README with a hash of itself, by which :func:`is_handwritten` notices changes."""
    mark = f"<!-- made from card.yaml by zoo; sha256 of the rest: {_digest(front + body)} -->\n"
    return front + mark + body


def _front_matter(card: Card) -> dict[str, Any]:
    elements = ["molecules"] if not card.domain.pbc else ["materials"]
    tags = ["zoo", "geometric-gnn", "safetensors", card.architecture, *elements]
    front: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": "graph-ml", "tags": tags}
    if card.license:
        front["license"] = card.license.lower()
    if base := _base_model(card):
        front |= {"base_model": base, "base_model_relation": "finetune"}
    if data := _dataset(card):
        front["datasets"] = [data[0]]
    if results := _results(card):
        front["model-index"] = [{"name": card.name, "results": results}]
    return front


def _dataset(card: Card) -> tuple[str, str] | None:
    """``organisation/name`` and commit of a data set of the Hub; the Hub would link any other name to nothing."""
    name = card.data.dataset or ""
    if not name.startswith("hf:"):
        return None
    repo, _, commit = name.removeprefix("hf:").partition("@")
    return repo, commit


def _base_model(card: Card) -> str | None:
    """The repository of the model that training began with, if it has one."""
    source = str(card.recipe.get("from") or "")
    if source.startswith("hf:"):
        return source.removeprefix("hf:").partition("@")[0]
    entry = read_all().models().get(source)
    return None if entry is None or entry.hub is None else entry.hub.partition("@")[0]


def render_results(card: Card) -> str | None:
    """Test errors as the Hub's benchmarks read them; ``None`` without any, or without a data set of the Hub."""
    data = _dataset(card)
    measured = [m for m in card.metrics if m.split == "test"]
    if data is None or not measured:
        return None
    dataset = {"id": data[0], **({"revision": data[1]} if data[1] else {})}
    return dump_yaml([{"dataset": {**dataset, "task_id": f"{m.target}_{m.metric}"}, "value": m.value, "date": m.date,
                       "notes": f"{m.unit}, {m.n} structures of the test split, by {m.by}"} for m in measured])


def _results(card: Card) -> list[dict[str, Any]]:
    """The measured metrics in the Hub's format, one result per split."""
    name = card.data.dataset or "unnamed"
    results = []
    for split in dict.fromkeys(m.split for m in card.metrics):
        metrics = [
            {"type": m.metric, "name": f"{m.target} {m.metric.upper()} ({m.unit})", "value": m.value}
            for m in card.metrics
            if m.split == split
        ]
        results.append({
            "task": {"type": "graph-ml", "name": "Prediction of molecular properties"},
            "dataset": {"type": name, "name": name, "split": split},
            "metrics": metrics,
        })
    return results


def _body(card: Card, plots: list[str], repo: str) -> Iterator[str]:
    yield f"\n# {card.name}\n"
    if card.summary:
        yield f"{card.summary}\n"
    package = card.requires.plugin or "geometric-zoo"
    yield f"```python\n# pip install {package}\nimport zoo\nimport ase.build\n"
    yield f'model = zoo.load("hf:{repo}")'
    yield 'model.predict(ase.build.molecule("CH3CH2OH"))   # in the units below\n```\n'
    yield from _targets(card)
    yield "## What it may be asked\n"
    yield f"Elements: {', '.join(card.domain.elements)}. {'Periodic' if card.domain.pbc else 'Not periodic'}."
    if card.domain.reach:
        yield f"{card.domain.reach}"
    if card.limits:
        yield f"\nLimits: {card.limits}"
    yield "\n## What it is\n"
    size = f", {card.weights.parameters:,} parameters" if card.weights else ""
    yield f"Architecture `{card.architecture}`{size}."
    yield from _training(card)
    if card.weights:
        yield f"\nWeights: `{card.weights.file}`, {card.weights.bytes:,} bytes, sha256 `{card.weights.sha256}`."
    for plot in plots:
        yield f"\n![{Path(plot).stem}]({plot})"
    citations = [*card.citation, *card.data.citation]
    if citations:
        yield "\n## To cite\n"
        yield from (f"- {citation}" for citation in citations)


def _targets(card: Card) -> Iterator[str]:
    measured: dict[str, list[Metric]] = {}
    for metric in card.metrics:
        measured.setdefault(metric.target, []).append(metric)
    yield "## What it predicts\n"
    rows = []
    for name, unit in [*((n, s.unit) for n, s in card.targets.items()), *((n, "") for n in card.derivatives)]:
        shown = "; ".join(f"{m.metric.upper()} {m.value:.4g} {m.unit} ({m.split}, n = {m.n})"
                          for m in measured.get(name, []))
        rows.append([name, unit, shown or "not measured"])
    yield f"{markdown_table(['target', 'unit', 'measured'], rows)}\n"


def _training(card: Card) -> Iterator[str]:
    data, training = card.data, card.training
    if data.dataset:
        split = data.split
        counts = f" ({split.train:,} / {split.val:,} / {split.test:,} for training / validation / test)" if (
            split and None not in (split.train, split.val, split.test)) else ""
        theory = f", {data.theory}" if data.theory else ""
        yield f"Trained on `{data.dataset}`{theory}{counts}."
    if training.all_hours:
        yield f"Training took {training.all_hours:.3g} h on {training.device or 'an unnamed device'}."
