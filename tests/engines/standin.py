"""What `zoo.engines.lammps` uses of LAMMPS's Python interface, after its documentation, with one structure at rest."""

from __future__ import annotations

from types import SimpleNamespace

import ase
import numpy as np


class StandInLammps:
    """Holds atoms in an order of its own, wrapped into the box, and calls back when it is told to run.

    Args:
        atoms: in the order of their ids.
        types: LAMMPS type of each atom.
        images: (N, 3) box images; the positions it hands out are wrapped by them.
    """

    def __init__(self, atoms: ase.Atoms, types, images=None, *, units="metal", settings=None):
        n = len(atoms)
        self.units, self.said, self.results, self.stopped = units, [], {}, False
        self.settings = {"world_size": 1, "box_exist": 1, "ntypes": max(types), "imageint": 4, "nlocal": n, "natoms": n,
                         **(settings or {})}
        images = np.zeros((n, 3), dtype=np.int64) if images is None else np.asarray(images)
        order = np.random.default_rng(0).permutation(n)
        bits = 21 if self.settings["imageint"] == 8 else 10
        fields = images + (1 << (bits - 1))
        packed = fields[:, 0] | fields[:, 1] << bits | fields[:, 2] << 2 * bits
        wrapped = atoms.positions - (images * atoms.pbc) @ np.asarray(atoms.cell)
        ghosts = 3  # atoms of other processes follow the local ones in these arrays
        self.arrays = {"id": np.append(order + 1, [1] * ghosts),
                       "x": np.append(wrapped[order], np.ones((ghosts, 3)), 0),
                       "type": np.append(np.asarray(types)[order], [1] * ghosts),
                       "image": np.append(packed[order], [0] * ghosts)}
        cell = np.asarray(atoms.cell)
        self.box = ([0.0] * 3, [cell[0, 0], cell[1, 1], cell[2, 2]], cell[1, 0], cell[2, 1], cell[2, 0],
                    atoms.pbc.astype(int).tolist(), 0)
        self.numpy = SimpleNamespace(extract_atom=self.arrays.__getitem__)

    def extract_setting(self, name):
        return self.settings[name]

    def extract_global(self, name):
        return {"units": self.units, "ntimestep": 7}[name]

    def get_natoms(self):
        return self.settings["natoms"]

    def extract_box(self):
        return self.box

    def command(self, text):
        self.said.append(text)
        if text.startswith("run"):
            n = self.settings["nlocal"]
            self.forces = np.full((n, 3), np.nan)
            try:
                self.callback(None, 7, n, self.arrays["id"][:n], self.arrays["x"][:n], self.forces)
            except Exception as error:
                raise AssertionError("an exception went through LAMMPS") from error

    def commands_list(self, texts):
        for text in texts:
            self.command(text)

    def commands_string(self, text):
        self.commands_list(text.splitlines())

    def file(self, path):
        raise NotImplementedError

    def set_fix_external_callback(self, name, callback, caller):
        self.callback = callback

    def fix_external_set_energy_global(self, name, energy):
        self.results["energy"] = energy

    def fix_external_set_virial_global(self, name, virial):
        assert len(virial) == 6
        self.results["virial"] = virial

    def fix_external_set_energy_peratom(self, name, energies):
        self.results["energies"] = energies

    def force_timeout(self):
        self.stopped = True
