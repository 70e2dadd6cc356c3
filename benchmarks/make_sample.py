"""Make the sample of QM9 that ships with the zoo: 400 training and 100 test molecules.

    python benchmarks/make_sample.py

Most molecules are drawn evenly over the sizes, in proportion to how often a size occurs; the smallest molecules and
some with fluorine, which are rare, are added. Everything follows from gdb indices and sha256, so anyone gets the same
bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from zoo.data.qm9 import open_qm9
from zoo.data.qm9_published import CITATION, LICENSE, THEORY
from zoo.data.splits import by_hash, split
from zoo.data.store import Store

SHARES = {"train": {"all": 400, "small": 30, "fluorine": 10}, "test": {"all": 100, "small": 5, "fluorine": 4}}
FOLDER = Path(__file__).resolve().parent.parent / "zoo" / "data" / "samples" / "qm9"
SALT = "qm9-sample"


def choose(store: Store, name: str) -> list[int]:
    """gdb indices of one part, ascending."""
    rows = split(store.ids, name)
    order = by_hash(store.ids[rows].tolist(), SALT)
    n_atoms = dict(zip(store.ids[rows].tolist(), store.n_atoms[rows].tolist()))
    fluorine = dict(zip(store.ids[rows].tolist(), store.composition([9])[rows, 0].tolist()))
    share = SHARES[name]
    chosen = set(sorted(order, key=lambda i: (n_atoms[i], i))[: share["small"]])
    chosen |= set([i for i in order if fluorine[i] and i not in chosen][: share["fluorine"]])
    rest = sorted((i for i in order if i not in chosen), key=n_atoms.__getitem__)
    count = share["all"] - len(chosen)
    return sorted(chosen | {rest[int((k + 0.5) * len(rest) / count)] for k in range(count)})


def main() -> None:
    whole = replace(open_qm9(), edges=None)
    subsets = {name: choose(whole, name) for name in SHARES}
    ids = sorted(subsets["train"] + subsets["test"])
    part = whole.subset(torch.searchsorted(whole.ids, torch.tensor(ids)))
    meta = {**whole.meta, "name": "qm9-sample", "subsets": subsets}
    replace(part, meta=meta).save(FOLDER, overwrite=True)
    words = ["500 molecules of QM9: 400 of the training split, 100 of the test split.", "",
             f"Level of theory: {THEORY}. Licence: {LICENSE} (public domain dedication).", "", "Cite:", *CITATION]
    (FOLDER / "README.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    print(part, sum(file.stat().st_size for file in FOLDER.iterdir()), "bytes")


if __name__ == "__main__":
    main()
