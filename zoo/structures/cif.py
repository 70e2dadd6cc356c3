"""CIF, block by block, with disorder that ASE does not look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase
import numpy as np
from ase.io.cif import CIFBlock, parse_cif

from zoo.errors import StructureError

__all__ = ["cif_frames"]


def cif_frames(path: Path) -> Iterator[ase.Atoms | StructureError]:
    """Every block with atoms, or the reason why it cannot be read; occupancies are in ``atoms.info["occupancy"]``."""
    for block in parse_cif(str(path)):
        try:
            if not block.has_structure():
                continue
            _check_disorder(block)
            atoms = block.get_atoms()
        except StructureError as error:
            yield error
        except Exception as error:  # ASE's reader raises whatever the malformed text leads it to
            yield StructureError(f"block {block.name}: {str(error).strip() or type(error).__name__}")
        else:
            yield atoms


def _check_disorder(block: CIFBlock) -> None:
    groups = {str(group) for group in np.ravel(block.get("_atom_site_disorder_group") or [])} - {".", "?", "0"}
    if len(groups) > 1 or any(group.startswith("-") for group in groups):
        raise StructureError(f"block {block.name} is disordered: its atoms are in the groups "
                             f"{', '.join(sorted(groups))} of _atom_site_disorder_group. "
                             "Fix: keep the atoms of one group.")
