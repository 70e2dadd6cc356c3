"""The gallery: every model is there, every link leads somewhere, text of cards stays text."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import zoo
from zoo.cards.card import Card
from zoo.errors import ZooError
from zoo.gallery import write_gallery
from zoo.gallery.items import Item

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
VOID = {"meta", "link", "input", "img"}
BROWSER = os.environ.get("ZOO_TEST_CHROMIUM")


class Page(HTMLParser):
    """Its elements with their attributes, and its text; every element that opens has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] for name, attrs in self.elements if name == tag and attribute in attrs]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """A gallery of the built-in models, one hostile card and one that cannot be read."""
    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("gallery") / "site"
    card = {
        "schema": 1, "name": "hostile", "summary": HOSTILE, "architecture": HOSTILE, "license": HOSTILE,
        "limits": HOSTILE, "notes": HOSTILE, "targets": {"energy": {"readout": "energy", "unit": "eV"}},
        "citation": [HOSTILE], "domain": {"elements": ["H"], "reach": HOSTILE},
        "data": {"dataset": HOSTILE, "theory": HOSTILE}, "uncertainty": HOSTILE, "stability": {"unknown": HOSTILE},
        "exemptions": [{"check": HOSTILE, "reason": HOSTILE}],
        "metrics": [{"split": "test", "target": "energy", "metric": "mae", "value": 1.0, "unit": "meV", "n": 1,
                     "by": HOSTILE, "date": HOSTILE}],
        "golden": [{"structure": {"symbols": ["H"], "positions": [[0.0, 0.0, 0.0]]}, "dtype": "float64",
                    "outputs": {"energy": 0.0}, "atol": 1.0}],
    }
    for name, content in (("hostile", yaml.safe_dump(card)), ("broken", "schema: 1\nname: broken\n")):
        (home / name).mkdir()
        (home / name / "card.yaml").write_text(content)
    (home / "hostile" / "parity.png").write_text(HOSTILE)
    models = {"hostile": {"card": "hostile"}, "broken": {"card": "broken"}}
    (home / "registry.yaml").write_text(yaml.safe_dump({"schema": 1, "models": models}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        count, problems = write_gallery(out)
        assert count == len(zoo.list_models()) - 1
    (problem,) = problems
    assert problem.startswith("broken: ") and "architecture" in problem
    return out


def test_every_link_and_picture_is_there(gallery):
    pages = sorted(gallery.rglob("*.html"))
    for path in pages:
        page = Page(path.read_text())
        addresses = [*page.values("a", "href"), *page.values("img", "src"), *page.values("script", "src"),
                     *page.values("link", "href")]
        for address in addresses:
            if address.startswith("#"):
                assert address[1:] in [attrs.get("id") for _, attrs in page.elements]
            elif not address.startswith("https://"):
                assert (path.parent / address).is_file(), f"{path.name}: {address}"
        named = [attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs]
        assert set(named) <= {attrs.get("id") for _, attrs in page.elements}
        assert page.values("html", "lang") == ["en"] and all(page.values("img", "alt"))
    listed = Page((gallery / "index.html").read_text())
    names = [Path(address).stem for address in listed.values("a", "href") if address.startswith("models/")]
    assert sorted(names) == sorted(path.stem for path in pages if path.parent.name == "models")
    assert {"nequix-oam-1", "painn-qm9-anygeo", "hostile"} <= set(names)


def test_the_tables_need_no_script(gallery):
    page = Page((gallery / "index.html").read_text())
    for part in ("nequip-acac", "Δ 3.97 meV/atom", "325,633", "one system", "any crystal"):
        assert part in page.text
    shown_by_script = [attrs.get("id") or attrs.get("class") for _, attrs in page.elements if "hidden" in attrs]
    assert set(shown_by_script) == {"filters", "comparison", "pick"}


def test_a_page_tells_errors_intervals_limits_and_how_to_get_it(gallery):
    text = Page((gallery / "models" / "painn-qm9-anygeo.html").read_text()).text
    for part in ("44.16 meV", "45,048", "Intervals for 90 % of all errors", "by kind, test", "Not for molecules far",
                 'zoo.load("painn-qm9-anygeo")', "data CC0-1.0", "Ramakrishnan"):
        assert part in text
    text = Page((gallery / "models" / "nequix-oam-1.html").read_text()).text
    assert "zoo pull nequix-oam-1" in text and "Delta test, 67 elemental crystals" in text


def test_text_of_a_card_is_never_markup(gallery):
    for path in (gallery / "index.html", gallery / "models" / "hostile.html"):
        page = Page(path.read_text())
        assert [attrs for tag, attrs in page.elements if tag == "script"] == [
            {"src": f"{'../' if path.name == 'hostile.html' else ''}gallery.js", "defer": ""}]
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 10
    assert not page.values("img", "src") and not (gallery / "models" / "hostile.png").exists()


@pytest.mark.parametrize("address, shown", [("https://example.org/a", True), ("javascript:alert(1)", False)])
def test_only_addresses_of_the_web_are_links(address, shown):
    card = zoo.show("nequix-oam-1")
    data = card.to_dict()
    data["source"] |= {"homepage": address}
    assert (Item(Card.from_dict(data), "user").homepage == address) == shown


def test_an_earlier_gallery_is_replaced_and_nothing_else(gallery, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ZooError, match=r"holds something else than a gallery. Fix: name a folder that is new or empty"):
        write_gallery(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    stale = gallery / "models" / "gone.html"
    stale.write_text("")
    write_gallery(gallery)
    assert not stale.exists() and not (gallery / "models" / "hostile.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="ZOO_TEST_CHROMIUM names no Chromium")
def test_filters_and_comparison_work_from_the_disk_at_any_width(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    write_gallery(tmp_path / "site")
    with sync_api.sync_playwright() as play:
        arguments = ["--no-sandbox", "--single-process", "--no-zygote"]
        browser = play.chromium.launch(executable_path=BROWSER, args=arguments)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"file://{tmp_path}/site/index.html")
        count = page.locator("#count")
        assert count.text_content() == f"{len(zoo.list_models())} of {len(zoo.list_models())} models"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.select_option("[name=property]", "gap")
        page.fill("[name=error]", "71")
        assert page.locator("tr[data-model]:visible").evaluate_all("rows => rows.map(row => row.dataset.model)") == [
            "dimenet-qm9", "schnet-qm9"]
        page.click("[type=reset]")
        page.fill("[name=elements]", "Si C")
        page.wait_for_function("!document.querySelector('[data-model=nequip-si]').offsetParent")
        page.click("[type=reset]")
        for name in ("nequip-acac", "painn-acac"):
            page.check(f"[aria-label='compare {name}']")
        table = page.locator("#comparison table").inner_text()
        assert "test MAE of forces" in table and "painn-acac" in table
        page.goto(f"file://{tmp_path}/site/models/nequip-acac.html")
        canvas = page.locator("canvas")
        before = canvas.evaluate("c => c.toDataURL()")
        canvas.press("ArrowLeft")
        assert canvas.evaluate("c => c.toDataURL()") != before
        assert page.evaluate("document.documentElement.scrollWidth") <= 390 and problems == []
        browser.close()
