"""LAMMPS (Thompson et al. 2022, Comput. Phys. Commun. 271, 108171) with energies and forces of a model.

LAMMPS moves the atoms and calls back through its ``fix external`` in every step. Its Python package from the index is
all that is needed, no build of one's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import ase
import ase.data
import numpy as np
from ase.calculators.calculator import Calculator
from ase.stress import voigt_6_to_full_3x3_stress

from zoo.errors import StructureError, ZooError
from zoo.units import factor

__all__ = ["Attached", "attach"]

_ENERGY_UNITS = {"metal": "eV", "real": "kcal/mol"}
_RUNNERS = ("command", "commands_list", "commands_string", "file")
"""Methods of LAMMPS that may move atoms."""


def attach(lmp: Any, model: Any, elements: Sequence[str], *, name: str = "zoo", per_atom: bool = False,
           **options: Any) -> Attached:
    """Let a model give the energy and forces of a LAMMPS simulation whose box and atoms exist.

    It defines a ``fix external`` for all atoms, whose energy is part of ``pe`` and whose virial is part of the
    pressure: ``minimize``, ``fix nve``, ``nvt`` and ``npt`` work as with any potential. Interactions of other pair
    styles are added to it; ``pair_style none`` (or ``zero``) leaves the model alone.

    Args:
        lmp: a ``lammps.lammps`` object with units ``metal`` or ``real``, on one process.
        model: of the zoo, with an energy; or a calculator of it (of an exported model as well).
        elements: symbol of each LAMMPS atom type, first type first, as in ``pair_coeff * * Si O``.
        name: of the fix.
        per_atom: give the energies of atoms too, for ``compute pe/atom``.
        options: of the calculator, such as ``skin``, ``dtype`` and ``compile``.

    Returns:
        The connection; ``detach()`` ends it.

    Raises:
        ZooError: other units, several processes, an atom type without an element, a symbol of no element, no box.

    While LAMMPS runs, what the model refuses (see :class:`zoo.inference.ZooCalculator`) ends the run, and the command
    that started it raises the error.
    """
    calculator = model if isinstance(model, Calculator) else model.calculator(**options)
    connection = Attached(lmp, calculator, _numbers(lmp, elements), name, per_atom)
    connection.connect()
    return connection


class Attached:
    """A model that serves a LAMMPS object, see :func:`attach`.

    Attributes:
        lmp, calculator: the two sides.
        error: what ended the last run; ``None`` if nothing did.
    """

    def __init__(self, lmp: Any, calculator: Calculator, numbers: np.ndarray, name: str, per_atom: bool) -> None:
        self.lmp, self.calculator, self.name, self.per_atom = lmp, calculator, name, per_atom
        self.error: Exception | None = None
        self._numbers = numbers
        self._to_units = factor("eV", _energy_unit(lmp))
        self._bits = 21 if lmp.extract_setting("imageint") == 8 else 10

    def connect(self) -> None:
        """Define the fix; errors in it become errors of the commands that run."""
        for runner in _RUNNERS:
            setattr(self.lmp, runner, self._raising(getattr(self.lmp, runner)))
        self.lmp.command(f"fix {self.name} all external pf/callback 1 1")
        self.lmp.command(f"fix_modify {self.name} energy yes virial yes")
        self.lmp.set_fix_external_callback(self.name, self._serve, None)

    def detach(self) -> None:
        """Remove the fix."""
        self.lmp.command(f"unfix {self.name}")
        for runner in _RUNNERS:
            vars(self.lmp).pop(runner, None)

    def atoms(self) -> ase.Atoms:
        """The present structure, in the order of LAMMPS's atom ids."""
        tags, where = self.lmp.numpy.extract_atom("id"), self.lmp.numpy.extract_atom("x")
        n = self.lmp.extract_setting("nlocal")
        return self._structure(tags[:n], where[:n])[0]

    def _serve(self, _caller: Any, _step: int, _count: int, tags: np.ndarray, pos: np.ndarray, out: np.ndarray) -> None:
        """Called by LAMMPS, from which no exception may leave: the first one is kept, and the run is ended."""
        out[:] = 0.0
        if self.error is not None:
            return
        try:
            atoms, order = self._structure(tags, pos)
            out[order] = self._evaluated(atoms, order)
        except Exception as error:
            self.error = error
            self.lmp.fix_external_set_energy_global(self.name, 0.0)
            self.lmp.force_timeout()

    def _structure(self, tags: np.ndarray, pos: np.ndarray) -> tuple[ase.Atoms, np.ndarray]:
        """The atoms by id, unwrapped, so that no position jumps where LAMMPS moves an atom to the other side."""
        n, expected = len(tags), int(self.lmp.get_natoms())
        if n != expected:
            raise StructureError(f"{expected - n} of {expected} atoms have left the box and are lost. "
                                 "Fix: use a shorter timestep, or relax the structure first (minimize).")
        order = np.argsort(tags, kind="stable")
        types = self.lmp.numpy.extract_atom("type")[:n].ravel()
        if int(types.max()) > len(self._numbers):
            raise ZooError(f"an atom has type {types.max()}, and elements were given for {len(self._numbers)} types. "
                           "Fix: attach with a symbol for each type.")
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        a, b, c = np.subtract(high, low)
        cell = np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]])
        images = self._images(self.lmp.numpy.extract_atom("image")[:n].ravel())
        pbc = np.asarray(periodic, dtype=bool)
        unwrapped = pos + (images * pbc) @ cell
        numbers = self._numbers[types[order] - 1]
        return ase.Atoms(numbers, unwrapped[order], cell=cell if pbc.any() else None, pbc=pbc), order

    def _images(self, packed: np.ndarray) -> np.ndarray:
        """(n, 3) box images from LAMMPS's packed integers: three fields of 10 or 21 bits, each with an offset."""
        values, mask = packed.astype(np.int64), (1 << self._bits) - 1
        fields = [values & mask, (values >> self._bits) & mask, values >> 2 * self._bits]
        return np.stack(fields, 1) - (1 << (self._bits - 1))

    def _evaluated(self, atoms: ase.Atoms, order: np.ndarray) -> np.ndarray:
        """Forces by id; energy and virial are set in LAMMPS."""
        virial = None
        if atoms.pbc.any():
            stress = voigt_6_to_full_3x3_stress(self.calculator.get_property("stress", atoms))
            virial = -stress * atoms.get_volume()
        forces = self.calculator.get_property("forces", atoms)
        if virial is None:
            virial = forces.T @ (atoms.positions - atoms.positions.mean(0))
        energy = self.calculator.get_property("energy", atoms)
        self.lmp.fix_external_set_energy_global(self.name, energy * self._to_units)
        six = virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]] * self._to_units
        self.lmp.fix_external_set_virial_global(self.name, six.tolist())
        if self.per_atom:
            energies = np.empty(len(atoms))
            energies[order] = self.calculator.get_property("energies", atoms) * self._to_units
            self.lmp.fix_external_set_energy_peratom(self.name, energies.tolist())
        return forces * self._to_units

    def _raising(self, runner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(runner)
        def run(*arguments: Any, **options: Any) -> Any:
            self.error = None
            try:
                result = runner(*arguments, **options)
            except Exception:
                if self.error is None:
                    raise
            if self.error is not None:
                step = self.lmp.extract_global("ntimestep")
                raise StructureError(f"LAMMPS, step {step}: {self.error}") from self.error
            return result

        return run


def _numbers(lmp: Any, elements: Sequence[str]) -> np.ndarray:
    """Atomic number of each type, after a check of what the connection needs."""
    _energy_unit(lmp)
    processes = int(lmp.extract_setting("world_size"))
    if processes > 1:
        raise ZooError(f"LAMMPS runs on {processes} processes, and the model needs all atoms in one. "
                       "Fix: run it on one process, and give the model threads with torch.set_num_threads.")
    if not lmp.extract_setting("box_exist"):
        raise ZooError("LAMMPS has no box and no atoms yet. Fix: attach after read_data or create_atoms.")
    unknown = [symbol for symbol in elements if symbol not in ase.data.atomic_numbers or symbol == "X"]
    if isinstance(elements, str) or unknown:
        wrong = "one text" if isinstance(elements, str) else ", ".join(unknown)
        raise ZooError(f"elements {elements!r}: {wrong} is no list of symbols of elements. "
                       "Fix: give the symbol of each atom type, such as ['Si', 'O'].")
    types = int(lmp.extract_setting("ntypes"))
    if len(elements) != types:
        raise ZooError(f"LAMMPS has {types} atom types, and {len(elements)} elements were given. "
                       "Fix: give the symbol of each atom type, in order.")
    return np.array([ase.data.atomic_numbers[symbol] for symbol in elements])


def _energy_unit(lmp: Any) -> str:
    units = lmp.extract_global("units")
    if units not in _ENERGY_UNITS:
        raise ZooError(f"LAMMPS has units {units}, and models are connected in Å: metal (eV) or real (kcal/mol). "
                       "Fix: begin the input with 'units metal'.")
    return _ENERGY_UNITS[units]
