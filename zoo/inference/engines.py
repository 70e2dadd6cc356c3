"""Where shards of work run: processes of this machine, or tasks of a Ray cluster; a worker that dies loses nothing."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, NamedTuple

from zoo.errors import MissingExtraError, ZooError
from zoo.process.pools import in_one_thread, spawned

__all__ = ["ENGINES", "Engine", "LocalEngine", "RayEngine", "WorkerDied", "engine_named", "map_shards"]

Work = Callable[[Any, bool], bytes]
"""Called with the shard, and whether a worker has died of it before."""
_ATTEMPTS = 4
_AHEAD = 2  # shards of each worker that are under way or wait for it


class WorkerDied(Exception):
    """The process that computed a shard is gone."""


class Engine(ABC):
    """Runs calls elsewhere; a context manager."""

    workers: int

    def __enter__(self) -> Engine:
        return self

    @abstractmethod
    def __exit__(self, *error: object) -> None:
        """End the workers."""

    @abstractmethod
    def submit(self, work: Work, shard: Any, again: bool) -> Any:
        """Start ``work(shard, again)`` and return a handle of it."""

    @abstractmethod
    def first(self, handles: list[Any]) -> Any:
        """Wait for one of the handles to finish, and return it."""

    @abstractmethod
    def result(self, handle: Any) -> bytes:
        """What a finished handle gave; raises :class:`WorkerDied`, or what the work raised."""


class _Pending(NamedTuple):
    number: int
    shard: Any
    attempt: int


def map_shards(engine: Engine, work: Work, shards: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, bytes]]:
    """Number and result of each shard, in the order in which they finish; ``shards`` is read as workers get free.

    Raises:
        ZooError: workers died of one shard four times.
    """
    shards = iter(shards)
    pending: dict[Any, _Pending] = {}
    while True:
        for number, shard in islice(shards, engine.workers * _AHEAD - len(pending)):
            pending[engine.submit(work, shard, False)] = _Pending(number, shard, 1)
        if not pending:
            return
        handle = engine.first(list(pending))
        one = pending.pop(handle)
        try:
            yield one.number, engine.result(handle)
        except WorkerDied as error:
            if one.attempt == _ATTEMPTS:
                raise ZooError(f"workers die of shard {one.number} ({error}). Fix: give them more memory, or fewer "
                               "--processes; what is done is kept.") from error
            pending[engine.submit(work, one.shard, True)] = one._replace(attempt=one.attempt + 1)


class LocalEngine(Engine):
    """Processes of this machine, each with one thread; with one, everything runs in this process."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = spawned(self.workers, one_thread=True) if workers > 1 else None

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Work, shard: Any, again: bool) -> Future[bytes]:
        future: Future[bytes]
        if self._pool is None:
            future = Future()
            future.set_result(work(shard, again))
            return future
        try:
            return self._pool.submit(work, shard, again)
        except BrokenProcessPool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = spawned(self.workers, one_thread=True)
            return self._pool.submit(work, shard, again)

    def first(self, handles: list[Future[bytes]]) -> Future[bytes]:
        return next(iter(wait(handles, return_when=FIRST_COMPLETED).done))

    def result(self, handle: Future[bytes]) -> bytes:
        try:
            return handle.result()
        except BrokenProcessPool as error:
            raise WorkerDied(str(error)) from error


class RayEngine(Engine):
    """Tasks of one processor each on a Ray cluster: the one that ``RAY_ADDRESS`` names or ``ray start`` began here, or
    one of ``workers`` processors on this machine, which ends with the engine."""

    def __init__(self, workers: int) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("--engine ray", "ray") from None
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            self._connect(workers)
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        # Retried by map_shards and not by Ray: another attempt is made with more care.
        self._task = ray.remote(num_cpus=1, max_retries=0)(_one_shard)

    def _connect(self, workers: int) -> None:
        quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        try:
            self._ray.init(address="auto", **quiet)
        except ConnectionError as error:
            address = os.environ.get("RAY_ADDRESS", "local")
            if address not in ("local", "auto"):
                raise ZooError(f"no Ray cluster answers at {address}, which RAY_ADDRESS names. Fix: start it (ray "
                               "start --head), or unset RAY_ADDRESS.") from error
            self._ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)

    def __exit__(self, *error: object) -> None:
        if self._own:
            self._ray.shutdown()

    def submit(self, work: Work, shard: Any, again: bool) -> Any:
        return self._task.remote(work, shard, again)

    def first(self, handles: list[Any]) -> Any:
        return self._ray.wait(handles, num_returns=1)[0][0]

    def result(self, handle: Any) -> bytes:
        try:
            return bytes(self._ray.get(handle))
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(type(error).__name__) from error


def _one_shard(work: Work, shard: Any, again: bool) -> bytes:
    in_one_thread()
    return work(shard, again)


ENGINES: dict[str, Callable[[int], Engine]] = {"local": LocalEngine, "ray": RayEngine}


def engine_named(name: str, workers: int) -> Engine:
    """Start an engine.

    Raises:
        ZooError: no engine has this name, or none answers.
        MissingExtraError: its package is not installed.
    """
    if name not in ENGINES:
        raise ZooError(f"no engine '{name}'. Fix: choose from {', '.join(ENGINES)}.")
    return ENGINES[name](workers)
