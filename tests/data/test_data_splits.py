"""Splits: the same molecules for everyone, whatever part of the data is at hand."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from zoo.data import open_sample, split, splits
from zoo.errors import DataError


def test_the_test_file_is_the_one_that_cards_name():
    content = files("zoo.data").joinpath("splits", splits.QM9_TEST_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == splits.QM9_TEST_SHA256


def test_the_splits_are_disjoint_and_complete():
    parts = {name: set(splits.qm9_ids(name)) for name in splits.QM9_SIZES}
    assert {name: len(ids) for name, ids in parts.items()} == {"train": 110_000, "val": 10_000, "test": 10_831}
    everything = set.union(*parts.values(), splits.qm9_uncharacterized())
    assert everything == set(range(1, 133_886))
    assert sum(map(len, parts.values())) + 3054 == 133_885


def test_the_test_set_follows_the_rule_in_the_docstring():
    candidates = set(range(1, 133_886)) - splits.qm9_uncharacterized()
    first = sorted(candidates, key=lambda i: hashlib.sha256(f"qm9-test:{i}".encode()).hexdigest())[:10_831]
    assert tuple(sorted(first)) == splits.qm9_ids("test")


def test_membership_hangs_on_the_id_and_not_on_what_else_is_there():
    test = splits.qm9_ids("test")
    ids = torch.tensor([test[5], splits.qm9_ids("train")[0], test[0]])
    assert split(ids, "test").tolist() == [0, 2]
    assert split(ids.flip(0), "train").tolist() == [1]
    assert split(ids, "val").tolist() == []


def test_ids_that_are_no_gdb_indices_are_refused():
    with pytest.raises(DataError, match="run from 0 to 4"):
        split(torch.arange(5), "test")
    with pytest.raises(DataError, match="no split 'dev'"):
        split(torch.tensor([1]), "dev")


def test_an_altered_file_is_noticed(monkeypatch):
    monkeypatch.setattr(splits, "QM9_TEST_SHA256", "0" * 64)
    splits.qm9_ids.cache_clear()
    with pytest.raises(DataError, match="altered"):
        splits.qm9_ids("test")
    monkeypatch.undo()
    splits.qm9_ids.cache_clear()


def test_the_sample_keeps_training_and_test_molecules_apart():
    sample = open_sample(cutoff=None)
    train, test = (splits.named_rows(sample, name) for name in ("train", "test"))
    assert (len(train), len(test), len(sample)) == (400, 100, 500)
    assert torch.equal(train, split(sample.ids, "train")) and torch.equal(test, split(sample.ids, "test"))
    assert not set(train.tolist()) & set(test.tolist())
    with pytest.raises(DataError, match=r"no split 'val'; it has: (train, test|test, train)"):
        splits.named_rows(sample, "val")
    with pytest.raises(DataError, match="it has: none"):
        splits.named_rows(replace(sample, meta={}), "test")


def test_a_random_split_is_fixed_by_the_ids():
    ids = torch.tensor([11, 5, 900, 42, 7, 8, 9, 10, 12, 13])
    parts = splits.random_split(ids, val=0.2, test=3)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(10))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 5, "val": 2, "test": 3}
    shuffled = splits.random_split(ids.flip(0), val=0.2, test=3)
    for name in parts:
        assert set(ids[parts[name]].tolist()) == set(ids.flip(0)[shuffled[name]].tolist())
    with pytest.raises(DataError, match="share an id"):
        splits.random_split(torch.tensor([1, 1, 2]), val=1)
    with pytest.raises(DataError, match="leave any to train on"):
        splits.random_split(ids, val=5, test=5)


def test_splits_are_read_without_torch():
    code = "import sys, zoo.data.splits as s; s.qm9_ids('val'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
