"""A client of i-PI (Litman et al. 2024, J. Chem. Phys. 161, 062504): a socket brings positions and takes forces."""

from __future__ import annotations

import time
from typing import Any

import ase
from ase.calculators.calculator import Calculator
from ase.calculators.socketio import SocketClient, SocketClosed, actualunixsocketname

from zoo.errors import ZooError
from zoo.model.stress import why_no_stress

__all__ = ["run_client"]

_PORT = 31415
_PAUSE = 0.2  # s between two tries


def run_client(model: Any, structure: ase.Atoms, *, socket: str | None = None, host: str = "localhost",
               port: int = _PORT, wait: float = 30.0, **options: Any) -> int:
    """Serve i-PI, or any other program that speaks its protocol, until it ends.

    Args:
        model: of the zoo, with an energy; or a calculator of it.
        structure: gives the elements, in the order that i-PI has, and which directions are periodic; positions and
            cell come from i-PI. With periodic directions the virial is sent as well.
        socket: name of a UNIX socket, ``/tmp/ipi_NAME``, as ``<address>NAME</address>`` in i-PI's input.
        host, port: of an internet socket, where ``socket`` is absent.
        wait: seconds until somebody has to listen there.
        options: of the calculator, such as ``skin``, ``dtype`` and ``compile``.

    Returns:
        How many times forces were sent.

    Raises:
        ZooError: nobody listens.
        StructureError: what the model refuses, see :class:`zoo.inference.ZooCalculator`; the connection ends.
    """
    calculator = model if isinstance(model, Calculator) else model.calculator(**options)
    atoms = structure.copy()
    atoms.calc = calculator
    client = _connected(socket, host, port, wait)
    sent = 0
    try:
        for _ in client.irun(atoms, use_stress=bool(atoms.pbc.any()) and why_no_stress(atoms) is None):
            sent += 1
    except (SocketClosed, ConnectionError):
        pass  # that is how some servers end
    finally:
        client.close()
    return sent


def _connected(socket: str | None, host: str, port: int, wait: float) -> SocketClient:
    place = f"{host}:{port}" if socket is None else actualunixsocketname(socket)
    end = time.monotonic() + wait
    while True:
        try:
            return SocketClient(host=host, port=port, unixsocket=socket)
        except OSError as error:
            if time.monotonic() > end:
                raise ZooError(f"nobody listens at {place}: {error.strerror or error}. Fix: start i-PI first, and give "
                               "the address that its input has.") from None
            time.sleep(_PAUSE)
