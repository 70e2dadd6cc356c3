"""Many SMILES to conformers, in several processes: in the order given, and the same for any number of processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from zoo.errors import StructureError, ZooError
from zoo.process.pools import spawned
from zoo.structures.smiles import CONFORMERS, SEED, EmbeddedMolecule, Species, embed
from zoo.structures.smiles_files import SmilesLine

__all__ = ["Embedded", "embed_all"]

Outcome = EmbeddedMolecule | ZooError
Work = Callable[[Sequence[str]], list[Outcome]]

_TASK = 8  # molecules sent to a process at once
_AHEAD = 12  # tasks of each process that may be under way or wait for the model
_FEW = 16  # fewer molecules are embedded before new processes would have started


class Embedded(NamedTuple):
    """A line, and the molecule or the error it gave."""

    line: SmilesLine
    molecule: Outcome


def embed_all(lines: Iterable[SmilesLine], *, count: int = CONFORMERS, seed: int = SEED, species: Species | None = None,
              keep: int | None = None, processes: int = 1, isolated: bool = False) -> Iterator[Embedded]:
    """Embed each line, lazily and in order; a few are embedded ahead of the one asked for.

    A process that dies (RDKit crashes, memory runs out) costs the molecule it died of and no other.

    Args:
        lines: any number.
        count, seed, species, keep: see :func:`zoo.structures.smiles.embed`.
        processes: 1 embeds in this process.
        isolated: never embed in this process, which a molecule might end.

    Raises:
        MissingExtraError: RDKit is not installed.
    """
    work = partial(_embed_some, count=count, seed=seed, species=species, keep=keep)
    lines = iter(lines)
    first = list(islice(lines, _FEW))
    lines = chain(first, lines)
    tasks = iter(lambda: list(islice(lines, _TASK)), [])
    if not isolated and (processes < 2 or len(first) < _FEW):
        for task in tasks:
            for line in task:
                yield Embedded(line, *work([line.smiles]))
        return
    yield from _in_processes(tasks, work, processes)


def _embed_some(smiles: Sequence[str], *, count: int, seed: int, species: Species | None, keep: int | None
                ) -> list[Outcome]:
    made: list[Outcome] = []
    for text in smiles:
        try:
            made.append(embed(text, count=count, seed=seed, species=species, keep=keep))
        except StructureError as error:
            made.append(error)
    return made


def _in_processes(tasks: Iterator[list[SmilesLine]], work: Work, processes: int) -> Iterator[Embedded]:
    waiting: deque[tuple[list[SmilesLine], Future[list[Outcome]]]] = deque()
    pool = spawned(processes)
    try:
        while True:
            for task in islice(tasks, processes * _AHEAD - len(waiting)):
                waiting.append((task, _submit(pool, work, task)))
            if not waiting:
                return
            task, future = waiting.popleft()
            try:
                made = future.result()
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                made = [_alone(work, line.smiles) for line in task]
                pool = spawned(processes)
                waiting = deque((later, _submit(pool, work, later)) for later, _ in waiting)
            yield from map(Embedded, task, made)
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, work: Work, task: Sequence[SmilesLine]) -> Future[list[Outcome]]:
    try:
        return pool.submit(work, [line.smiles for line in task])
    except BrokenProcessPool as error:  # a process has died since; the result says so
        broken: Future[list[Outcome]] = Future()
        broken.set_exception(error)
        return broken


def _alone(work: Work, smiles: str) -> Outcome:
    """A molecule in a process of its own, which may die."""
    with spawned(1) as pool:
        try:
            return pool.submit(work, [smiles]).result()[0]
        except BrokenProcessPool:
            return StructureError(f"the process that embeds '{smiles}' dies: RDKit crashes, or memory runs out. "
                                  "Fix: give a file with its geometry.")
