"""Data sets on the Hub: a saved store and its data card, pinned and verified as models are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.cards import weights
from zoo.errors import DataError, WeightsError
from zoo.files.bounded_reads import MAX_JSON, read_json
from zoo.files.hashing import sha256_of
from zoo.files.markdown import markdown_table
from zoo.files.yaml_writer import dump_yaml
from zoo.hub.address import Address, safe_path
from zoo.hub.fetching import check_weights, fetch_file, inside_cache, pin
from zoo.hub.pushing import Pushed, push_contents
from zoo.hub.repository import Contents, refuse_secrets, sign

__all__ = ["HEADER", "SPLIT_FILE", "dataset_contents", "fetch_data", "push_data"]

HEADER = "store.json"
SPLIT_FILE = "split.safetensors"


def fetch_data(text: str) -> Path:
    """The folder of a saved store at an address such as ``hf:org/name@commit``, verified.

    Raises:
        HubError: the Hub cannot be reached, or refuses access.
        DataError, WeightsError: it is no data set of the zoo, or a hash is wrong.
    """
    address = pin(Address.parse(text, "dataset"), HEADER)
    path = fetch_file(address, HEADER, inside_cache, most=MAX_JSON)
    header = _read_header(path)
    _fetch_promised(address, header["tensors"])
    if header.get("split"):
        _fetch_promised(address, header["split"])
    return path.parent


def _fetch_promised(address: Address, promised: dict[str, Any]) -> None:
    def check(path: Path) -> None:
        check_weights(path, promised["sha256"], promised["bytes"])

    fetch_file(address, promised["file"], check, sha256=promised["sha256"], most=promised["bytes"])


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = read_json(path)
        for promised in (header["tensors"], header.get("split") or header["tensors"]):
            safe_path(promised["file"], str(path))
            if not isinstance(promised["sha256"], str) or not isinstance(promised["bytes"], int):
                raise TypeError("sha256 or bytes")
            if not promised["file"].endswith(".safetensors"):
                raise DataError(f"{path}: {promised['file']!r} is no safetensors file, and nothing else is opened. "
                                "Fix: ask its authors for safetensors.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the header of a saved store ({type(error).__name__}: {error}). "
                        "Fix: push a folder that store.save wrote.") from None
    return header


def push_data(folder: Path, repo: str, *, license: str | None = None, private: bool = False, tag: str | None = None,
              replace: bool = False) -> Pushed:
    """Push a saved store to ``organisation/name``; repeating it changes nothing.

    Raises:
        DataError: no store, altered, or without a licence.
        HubError: as :func:`zoo.hub.push`.
    """
    contents = dataset_contents(folder, license=license)
    address = Address.parse(repo, "dataset")
    return push_contents(contents, address, title=f"{address.name}{f' {tag}' if tag else ''}", private=private, tag=tag,
                         replace=replace)


def dataset_contents(folder: Path, *, license: str | None = None) -> Contents:
    """The files to push for a saved store: its columns, its header as data card, a split if there is one, a README.

    Raises: as :func:`push_data`.
    """
    header = _read_header(folder / HEADER)
    tensors = folder / header["tensors"]["file"]
    try:
        weights.check_hash(tensors, sha256=header["tensors"]["sha256"], size=header["tensors"]["bytes"])
        weights.read_header(tensors)
    except WeightsError as error:
        raise DataError(f"{error}\n  Fix: make the store again") from None
    meta = {**header.get("meta", {}), **({"license": license} if license else {})}
    if not meta.get("license"):
        raise DataError(f"{folder}: says no licence, and nobody can use data without one\n"
                        "  Fix: give --license, such as cc-by-4.0")
    header = {**header, "meta": meta}
    files: dict[str, bytes | Path] = {tensors.name: tensors}
    split = folder / SPLIT_FILE
    if split.is_file():
        weights.read_header(split)
        files[SPLIT_FILE] = split
        header["split"] = {"file": SPLIT_FILE, "sha256": sha256_of(split), "bytes": split.stat().st_size}
    files[HEADER] = (json.dumps(header, indent=2, ensure_ascii=False) + "\n").encode()
    files["README.md"] = "".join(_readme(header)).encode()
    contents = Contents(files)
    for name in (HEADER, "README.md"):
        refuse_secrets(contents.read(name).decode(), str(folder / name))
    contents.left_out = {p.name: "not part of a data set" for p in folder.iterdir() if p.name not in files}
    return contents


def _readme(header: dict[str, Any]) -> str:
    meta, sizes = header["meta"], (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "n>10M")
    count = int(header["structures"])
    front = {
        "library_name": "geometric-zoo", "license": str(meta["license"]).lower(), "task_categories": ["graph-ml"],
        "pretty_name": meta.get("name", "structures"), "tags": ["zoo", "chemistry", "safetensors"],
        "size_categories": [names[sum(count >= size for size in sizes)]],
    }
    return sign(f"---\n{dump_yaml(front)}---\n", "\n".join(_body(header)) + "\n")


def _body(header: dict[str, Any]) -> Iterator[str]:
    meta = header["meta"]
    yield f"\n# {meta.get('name', 'Structures')}\n"
    yield f"{header['structures']:,} structures, {header['atoms']:,} atoms."
    if meta.get("theory"):
        yield f"Level of theory: {meta['theory']}."
    yield "\n```yaml\n# in a card; the commit of this page makes it the same bytes for ever\ndata:"
    yield "  dataset: hf:organisation/name@commit\n```\n"
    rows = [[name, label["unit"], "atom" if label["per_atom"] else "structure"]
            for name, label in header["labels"].items()]
    yield markdown_table(["label", "unit", "a value for each"], rows)
    tensors = header["tensors"]
    yield f"\n`{tensors['file']}`: {tensors['bytes']:,} bytes, sha256 `{tensors['sha256']}`."
    if header.get("split"):
        yield f"\n`{header['split']['file']}` says which structures train, validate and test."
    citations = meta.get("citation") or []
    for citation in [citations] if isinstance(citations, str) else citations:
        yield f"\n- {citation}"
