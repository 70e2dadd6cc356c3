"""``zoo.Model.from_pretrained``: folders and names, and what has no effect is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo
from zoo.errors import HubError
from zoo.loading import pretrained

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("name", "loaded"), [
    ("org/name", "hf:org/name"), ("hf:org/name", "hf:org/name"), ("painn-qm9", "painn-qm9"), ("a/b/c", "a/b/c"),
    (Path("org/name"), Path("org/name")), ("cards/painn-qm9", "cards/painn-qm9"),
])
def test_what_is_on_the_hub_and_what_is_here(name, loaded, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pretrained, "load", lambda name, **options: (name, options))
    assert zoo.Model.from_pretrained(name, dtype="float64") == (loaded, {"dtype": "float64"})


def test_a_revision_is_one_of_a_repository(monkeypatch):
    monkeypatch.setattr(pretrained, "load", lambda name: name)
    assert zoo.Model.from_pretrained("org/name", revision="v1") == "hf:org/name@v1"
    with pytest.raises(HubError, match=r"painn-qm9 has no revisions.*Fix: name a repository"):
        zoo.Model.from_pretrained("painn-qm9", revision="v1")


@pytest.mark.parametrize(("options", "fix"), [
    ({"token": "hf_secret"}, "HF_TOKEN"), ({"cache_dir": "x"}, "HF_HUB_CACHE"),
    ({"local_files_only": True}, "ZOO_OFFLINE=1"),
    ({"force_download": True}, "zoo cache prune"),
])
def test_what_has_no_effect_is_an_error_with_the_way_that_has(options, fix):
    with pytest.raises(HubError, match=rf"does not take.*Fix: .*{fix}") as caught:
        zoo.Model.from_pretrained("org/name", **options)
    assert "hf_secret" not in str(caught.value)
