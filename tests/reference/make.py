"""Install the reference implementations, each in an environment of its own, and write what they compute.

    python tests/reference/make.py                       every environment, every file
    python tests/reference/make.py --only nequip         one of them
    python tests/reference/make.py --install-only        for the benchmarks

Environments lie in ``peers/<name>``; one whose requirements have not changed is used again. A file that is written
anew is compared with the one that was there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TORCH = "torch==2.13.0"
LARGEST = 300_000
"""Bytes a reference file may have."""


@dataclass(frozen=True)
class Peer:
    """A package of the field.

    Attributes:
        name: of its environment and of its requirements file.
        scripts: what to run in it, and the files that come out.
        bare: installed without dependencies, whatever Python and torch it asks for.
    """

    name: str
    scripts: dict[str, tuple[str, ...]]
    bare: tuple[str, ...] = ()


SEVENNET = ("sevennet-xplor", "sevennet-unnormalised", "sevennet-l3", "sevennet-modal-pbe", "sevennet-modal-r2scan")
PEERS = (
    Peer("pyg", {"write_schnet.py": ("schnet",), "write_dimenet.py": ("dimenet",)}),
    Peer("schnetpack", {"write_painn.py": ("painn",)}, bare=("schnetpack==2.2.0",)),
    Peer("nequip", {"write_nequip.py": ("nequip", "nequip-one-parity")}),
    Peer("fairchem", {"write_gemnet.py": ("gemnet",)}, bare=("fairchem-core==1.10.0",)),
    Peer("nequix", {"write_nequix.py": ("nequix",)}, bare=("nequix==0.4.5",)),
    Peer("sevenn", {"write_sevennet.py": SEVENNET}, bare=("sevenn==0.13.0",)),
    Peer("mace", {}),  # for benchmarks/md.py alone
)


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(peer: Peer, folder: Path) -> Path:
    """Make the environment unless it is there with these very requirements. Returns its interpreter."""
    requirements = HERE / "peers" / f"{peer.name}.txt"
    recipe = "\n".join([TORCH, *peer.bare, requirements.read_text(), (ROOT / "constraints.txt").read_text()])
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    stamp, python = folder / "requirements.sha256", python_of(folder)
    if stamp.is_file() and stamp.read_text() == digest and python.exists():
        return python
    print(f"{peer.name}: installing into {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # torch first: some peers would otherwise choose one of their own.
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", TORCH], check=True)
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", TORCH, "-r", requirements], check=True)
    if peer.bare:
        subprocess.run([*pip, "--no-deps", "--ignore-requires-python", *peer.bare], check=True)
    stamp.write_text(digest)
    return python


def write(peer: Peer, python: Path) -> None:
    """Run the peer's scripts. One thread, so that sums come out in the same order each time."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    for script, names in peer.scripts.items():
        files = [HERE / f"{name}.safetensors" for name in names]
        before = [file.read_bytes() if file.exists() else b"" for file in files]
        subprocess.run([python, "-W", "ignore", HERE / "peers" / script], check=True, env=environment)
        for file, old in zip(files, before):
            size = file.stat().st_size
            if size > LARGEST:
                raise SystemExit(f"{file} has {size} bytes; at most {LARGEST} are committed")
            print(f"{file.name}: {'the same bytes as before' if file.read_bytes() == old else compare(old, file)}")


def compare(old: bytes, file: Path) -> str:
    """How far the new outputs lie from the old ones, for rounding differs from machine to machine."""
    if not old:
        return "new"
    from safetensors.numpy import load

    before, after = load(old), load(file.read_bytes())
    if before.keys() != after.keys() or any(before[k].shape != after[k].shape for k in before):
        return "changed in contents"
    parts = []
    for prefix in ("state.", "input.", "output.float32.", "output.float64."):
        shared = [k for k in before if k.startswith(prefix) and before[k].size and before[k].dtype.kind == "f"]
        largest = max((float(abs(before[k] - after[k]).max()) for k in shared), default=0.0)
        parts.append(f"{prefix[:-1]} {largest:.1e}")
    return "largest changes: " + ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=ROOT / "peers", help="folder of the environments")
    parser.add_argument("--only", choices=[peer.name for peer in PEERS], action="append", help="may be given again")
    parser.add_argument("--install-only", action="store_true", help="make the environments, write nothing")
    options = parser.parse_args()
    for peer in PEERS:
        if options.only and peer.name not in options.only:
            continue
        python = install(peer, options.peers.resolve() / peer.name)
        if not options.install_only:
            write(peer, python)


if __name__ == "__main__":
    main()
