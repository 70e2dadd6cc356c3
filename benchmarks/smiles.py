"""Time from SMILES to properties: what `zoo predict` takes beside what RDKit alone takes for the same conformers.

    python benchmarks/smiles.py --geometries FOLDER      QM9's test molecules, from `zoo data make qm9-geometries`
    python benchmarks/smiles.py --limit 100              drug-like molecules only, from RDKit's own data

Two lines a set: seconds on the clock and of all processors that the command takes for the whole set; and processor
seconds a molecule, on one core, of RDKit alone (ten ETKDGv3 embeddings, MMFF94 minima) and of the zoo, of the molecules
that both can do. Drug-like are NCI's neutral compounds of H, C, N, O and F with 15 to 30 heavy atoms and without open
stereochemistry, which is embedded twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

CONFORMERS = 10
ELEMENTS = {"H", "C", "N", "O", "F"}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--geometries", type=Path, help="folder with QM9's SMILES (kind bonds)")
    asked.add_argument("--limit", type=int, default=1000, help="molecules of each set")
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--only", choices=["command", "share"])
    given = asked.parse_args()
    sets = {"drug-like": drug_like(given.limit)}
    if given.geometries is not None:
        sets = {"QM9": of_qm9(given.geometries, given.limit)} | sets
    for name, smiles in sets.items():
        if given.only != "share":
            clock, processor, failed = command(smiles, given.processes)
            print(f"{name}: {len(smiles):,} SMILES ({failed} failed), {CONFORMERS} conformers, {given.processes} "
                  f"processes: {clock:.0f} s, {processor:.0f} s of processors", flush=True)
        if given.only != "command":
            rdkit, zoo, counted = shares(smiles)
            print(f"{name}: a molecule ({counted:,}): RDKit {rdkit * 1e3:.0f} ms, zoo {zoo * 1e3:.0f} ms, "
                  f"{zoo / rdkit - 1:+.0%}", flush=True)


def of_qm9(folder: Path, limit: int) -> list[str]:
    from zoo.data.store import Store

    shards = sorted((folder / "bonds" / "test").iterdir())
    return [smiles for shard in shards for smiles in Store.load(shard).meta["smiles"]][:limit]


def drug_like(limit: int) -> list[str]:
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    with rdBase.BlockLogs():
        return [line.split()[0] for line in lines if _is_drug_like(line.split()[0])][:limit]


def _is_drug_like(smiles: str) -> bool:
    molecule = Chem.MolFromSmiles(smiles)
    return (molecule is not None and "." not in smiles and 15 <= molecule.GetNumHeavyAtoms() <= 30
            and all(atom.GetSymbol() in ELEMENTS and not atom.GetFormalCharge() and not atom.GetNumRadicalElectrons()
                    for atom in molecule.GetAtoms())
            and all(place.specified == Chem.StereoSpecified.Specified for place in Chem.FindPotentialStereo(molecule)))


def command(smiles: list[str], processes: int) -> tuple[float, float, int]:
    """Seconds of `zoo predict`, its start included, on the clock and of processors; and how many molecules failed."""
    with tempfile.TemporaryDirectory() as folder:
        file, table = Path(folder) / "m.smi", Path(folder) / "m.csv"
        file.write_text("\n".join(smiles))
        begun, before = time.perf_counter(), _of_children()
        subprocess.run([sys.executable, "-m", "zoo", "predict", "--smiles-file", file, "--output", table, "--processes",
                        str(processes), "--quiet"], check=False, capture_output=True)
        clock, processor = time.perf_counter() - begun, _of_children() - before
        failed = len((Path(folder) / "m.failed.csv").read_text().splitlines()) - 1
    return clock, processor, failed


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shares(smiles: list[str]) -> tuple[float, float, int]:
    """Processor seconds a molecule of RDKit and of the zoo, taking turns; and how many molecules were counted."""
    import zoo

    model = zoo.load("painn-qm9-anygeo")
    zoo.predict_smiles("CCO", model=model)
    alone = ours = 0.0
    counted = 0
    for text in smiles:
        before = time.process_time()
        minima = with_rdkit(text)
        between = time.process_time()
        result = zoo.predict_smiles([text], model=model, on_error="keep")[0]
        after = time.process_time()
        if minima and not isinstance(result, Exception):
            alone, ours, counted = alone + between - before, ours + after - between, counted + 1
    return alone / counted, ours / counted, counted


def with_rdkit(smiles: str) -> int:
    """Number of conformers made and relaxed as RDKit's manual does it, until they have converged."""
    with rdBase.BlockLogs():
        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = 1
        parameters.maxIterations = 4
        made = len(rdDistGeom.EmbedMultipleConfs(molecule, CONFORMERS, parameters))
        if made:
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=10_000)
    return made


if __name__ == "__main__":
    main()
