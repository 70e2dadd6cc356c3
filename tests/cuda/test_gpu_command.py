"""`make gpu` on a machine without one: a rehearsal of all its parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_rehearsal_reports_every_part(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "benchmarks/gpu.py", "--rehearse", "--out", str(tmp_path / "report"),
                           "--families", "schnet"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert not [name for name, found in report.items() if "error" in found]
    assert report["machine"]["rehearsal"] and report["schnet: train"]["steps"] == 3
    assert "no GPU was used" in (tmp_path / "report/report.md").read_text()
