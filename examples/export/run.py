"""Runs an exported model on a structure without the zoo: python run.py MODEL.pt2 STRUCTURE.xyz

Needs torch, ase (to read the file) and vesin (neighbour list); either format of `zoo export`.
"""

import json
import sys
from pathlib import Path

import ase.io
import numpy as np
import torch
import vesin

path, structure = sys.argv[1:3]
description = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
is_library = description["format"] == "aoti"
model = torch._inductor.aoti_load_package(path) if is_library else torch.export.load(path).module()

atoms = ase.io.read(structure)
unknown = set(atoms.get_chemical_symbols()) - set(description["elements"])
if unknown:
    sys.exit(f"{description['model']} does not know {', '.join(unknown)}")
cell = np.array(atoms.cell) if atoms.pbc.all() else np.zeros((3, 3))
neighbours = vesin.NeighborList(cutoff=description["cutoff"], full_list=True)
# The model wants edges j -> i, and pos[j] + S·cell - pos[i]: vesin's first atom is our i.
i, j, S = neighbours.compute(points=atoms.positions, box=cell, periodic=bool(atoms.pbc.all()), quantities="ijS")
if len(atoms) < description["smallest"]["atoms"] or len(i) < description["smallest"]["edges"]:
    sys.exit("at least two atoms that are neighbours are needed; zoo.load_exported pads smaller structures")

outputs = model(
    torch.from_numpy(atoms.numbers.astype(np.int64)),
    torch.from_numpy(atoms.positions),
    torch.from_numpy(cell),
    torch.from_numpy(np.stack([j, i]).astype(np.int64)),
    torch.from_numpy(S.astype(np.float64)),
)
for name, value in zip(description["outputs"], outputs):
    if name != "stress" or atoms.pbc.all():
        print(f"{name} ({description['outputs'][name]['unit']}):\n{value.numpy()}")
