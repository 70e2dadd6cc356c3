"""Cards of foreign weights: where the file is looked for, what is refused, and that it is converted as promised."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from foreign_server import FileServer
from safetensors.torch import load_file

import zoo
from zoo.cards import weights
from zoo.cards.card import Card
from zoo.cli import main
from zoo.errors import CardError, HubError, WeightsError, ZooError
from zoo.files.hashing import sha256_of
from zoo.loading import import_model

STATE = Path(__file__).resolve().parents[1] / "reference" / "schnet.safetensors"
PACKAGE, INSIDE = "tinypots>=1.2,<2", "tinypots/models/weights.pt"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """Weights as another package's authors would publish them."""
    path = tmp_path_factory.mktemp("theirs") / "weights.pt"
    state = {k.removeprefix("state."): v for k, v in load_file(STATE).items() if k.startswith("state.")}
    torch.save({"state_dict": state, "epoch": 3}, path)
    return path


@pytest.fixture(scope="module")
def described(foreign, tmp_path_factory) -> Card:
    """The card of these weights, without a place to get them from."""
    model = import_model("pyg-schnet", foreign, elements=["H", "C", "O"], name="tiny-foreign")
    made = weights.save(model, tmp_path_factory.mktemp("made") / "model.safetensors",
                        metadata={"name": "tiny-foreign", "format": model.card.format})
    source = {"reader": "pyg-schnet", "url": "http://127.0.0.1:9/weights.pt", "sha256": sha256_of(foreign),
              "bytes": foreign.stat().st_size, "converted_sha256": made.sha256, "parameters": made.parameters,
              "code_license": "MIT", "weights_license": "CC-BY-4.0"}
    return model.card.replace(notes=None, source=source, citation=["A. Author, A paper (2026)"])


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A machine of its own that waits for nothing."""
    from huggingface_hub import constants

    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_HUB_WAIT", "0")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 2)
    return tmp_path / "home"


@pytest.fixture
def register(described, home):
    """Put a card with such a source into the user's registry."""

    def put(name: str = "tiny-foreign", **source: object) -> Card:
        card = described.replace(source={k: v for k, v in {**described.source.model_dump(exclude_unset=True),
                                                           **source}.items() if v is not None})
        card.save(home / "cards" / name)
        (home / "registry.yaml").write_text(f"schema: 1\nmodels: {{{name}: {{card: cards/{name}}}}}\n")
        return card

    return put


@pytest.fixture
def server(foreign):
    with FileServer(foreign.read_bytes()) as running:
        yield running


@pytest.fixture
def installed(foreign, tmp_path, monkeypatch):
    """Install a distribution whose package refuses to be imported; it holds the file."""

    def put(version: str = "1.2.0", content: bytes | None = None, path: str = INSIDE) -> Path:
        site = tmp_path / f"site-{version}"
        file = site / path
        file.parent.mkdir(parents=True)
        file.write_bytes(foreign.read_bytes() if content is None else content)
        (site / "tinypots" / "__init__.py").write_text("raise SystemExit('imported')")
        info = site / f"tinypots-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinypots\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(site))
        return file

    yield put
    assert "tinypots" not in sys.modules


def energy(model) -> float:
    return model.double().predict(molecule("CH3CH2OH"))["energy"]


def expected(foreign) -> float:
    return energy(import_model("pyg-schnet", foreign, elements=["H", "C", "O"]))


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


# -- in an installed package ------------------------------------------------------------------------------------


def test_weights_in_an_installed_package_load_by_name(register, installed, foreign, home):
    register(url=None, package=PACKAGE, path=INSIDE)
    installed()
    model = zoo.load("tiny-foreign")
    assert energy(model) == expected(foreign)
    assert model.card.weights.sha256 == model.card.source.converted_sha256
    assert [p.name for p in (home / "converted").glob("tiny-foreign-*/*")] != []


def test_what_was_converted_once_needs_the_package_no_more(register, installed, foreign, home):
    register(url=None, package=PACKAGE, path=INSIDE)
    file = installed()
    zoo.load("tiny-foreign")
    file.unlink()
    assert energy(zoo.load("tiny-foreign")) == expected(foreign)
    (converted,) = (home / "converted").glob("*/model.safetensors")
    converted.write_bytes(converted.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(WeightsError, match=rf"(?s){converted}: expected sha256.*has no file {INSIDE}.*\nFix: "):
        zoo.load("tiny-foreign")


def test_an_altered_conversion_is_made_again(register, installed, foreign, home):
    register(url=None, package=PACKAGE, path=INSIDE)
    installed()
    zoo.load("tiny-foreign")
    (converted,) = (home / "converted").glob("*/model.safetensors")
    good = converted.read_bytes()
    converted.write_bytes(good[:-4] + b"\0\0\0\0")
    assert energy(zoo.load("tiny-foreign")) == expected(foreign) and converted.read_bytes() == good


@pytest.mark.parametrize(("version", "content", "path", "says", "fix"), [
    (None, None, INSIDE, "the package tinypots is not installed", "pip install --no-deps 'tinypots>=1.2,<2'"),
    ("1.1.9", None, INSIDE, "tinypots 1.1.9 is installed, and the weights are those of tinypots>=1.2,<2",
     "pip install --no-deps 'tinypots>=1.2,<2'"),
    ("2.0", None, INSIDE, "tinypots 2.0 is installed", "pip install --no-deps 'tinypots>=1.2,<2'"),
    ("1.2.0", b"other", INSIDE, "expected .* bytes, found 5", "pip install --force-reinstall --no-deps"),
    ("1.2.0", None, "tinypots/other.pt", "has no file tinypots/models/weights.pt",
     "pip install --force-reinstall --no-deps"),
])
def test_a_package_that_will_not_do_is_one_error_with_the_command(register, installed, home, version, content, path,
                                                                  says, fix):
    register(url=None, package=PACKAGE, path=INSIDE)
    if version is not None:
        installed(version, content, path)
    with pytest.raises(WeightsError, match=rf"(?s){says}.*\nFix: {fix}.*--file PATH"):
        zoo.load("tiny-foreign")
    assert not (home / "converted").exists()


def test_a_prerelease_within_the_range_will_do(register, installed, foreign):
    register(url=None, package=PACKAGE, path=INSIDE)
    installed("1.3.0rc1")
    assert energy(zoo.load("tiny-foreign")) == expected(foreign)


# -- at an address ----------------------------------------------------------------------------------------------


def test_loading_downloads_only_when_asked(register, server, foreign):
    register(url=server.url)
    with pytest.raises(WeightsError, match=r"(?s)not downloaded.*\nFix: zoo pull tiny-foreign, or .*--file PATH"):
        zoo.load("tiny-foreign")
    assert server.ranges == []
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)
    assert energy(zoo.load("tiny-foreign")) == expected(foreign)
    assert server.ranges == [None] and server.authorizations == [], "one request, without the Hub's token"


def test_a_card_on_the_search_path_is_downloaded_too(described, home, server, foreign, tmp_path, monkeypatch):
    source = {**described.source.model_dump(exclude_unset=True), "url": server.url}
    described.replace(source=source).save(tmp_path / "cards" / "tiny-foreign")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path / "cards"))
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)
    assert energy(zoo.load(tmp_path / "cards" / "tiny-foreign")) == expected(foreign)


def test_pull_says_the_terms_and_makes_a_folder_that_loads(register, server, foreign, tmp_path, capsys):
    register(url=server.url)
    code, out, _ = run(capsys, "pull", "tiny-foreign", "--to", str(tmp_path / "mine"))
    assert code == 0 and "weights CC-BY-4.0, code MIT" in out
    assert energy(zoo.load(tmp_path / "mine" / "tiny-foreign")) == expected(foreign)
    server.http.server_close()
    assert run(capsys, "pull", "tiny-foreign")[0] == 0


def test_a_cut_download_goes_on_where_it_stopped(register, server, foreign):
    register(url=server.url)
    half = len(server.content) // 2

    def cut(request) -> bool:
        if len(server.ranges) > 1:
            return False
        server.answer(request, send=half)
        return True

    server.fault = cut
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)
    assert server.ranges == [None, f"bytes={half}-"]


def test_a_later_call_goes_on_too(register, server, foreign):
    register(url=server.url)
    half = len(server.content) // 2
    server.fault = lambda request: server.answer(request, send=half if len(server.ranges) == 1 else 0) or True
    with pytest.raises(HubError, match=rf"{half} of {len(server.content)} bytes are kept.* Fix: .*zoo pull tiny-fore"):
        zoo.load("tiny-foreign", download=True)
    assert len(server.ranges) <= 5
    server.fault = None
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)
    assert server.ranges[-1] == f"bytes={half}-"


def test_a_server_without_ranges_starts_over(register, server, foreign):
    register(url=server.url)

    def whole(request) -> bool:
        del request.headers["Range"]
        server.answer(request, send=1000 if len(server.ranges) == 1 else None)
        return True

    server.fault = whole
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)


@pytest.mark.parametrize(("how", "says"), [
    ("altered", "expected sha256"), ("longer", "expected .* bytes, and the server sends"),
    ("endless", "and more come"), ("page", "a web page"),
])
def test_other_bytes_are_refused_after_three_tries(register, server, home, how, says):
    register(url=server.url)
    good = server.content
    page = b"<html>please log in</html>"

    def wrong(request) -> bool:
        if how == "endless":
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            for _ in range(len(good) // 4096 + 8):
                request.wfile.write(b"1000\r\n" + bytes(4096) + b"\r\n")
            request.close_connection = True
            return True
        if how == "page":
            return server.reply(request, 200, page, **{"Content-Type": "text/html"})
        content = good[:-1] + bytes([good[-1] ^ 1]) if how == "altered" else good + b"x"
        del request.headers["Range"]
        server.answer(request, content)
        return True

    server.fault = wrong
    with pytest.raises(WeightsError, match=rf"(?s)downloaded 3 times.*{says}.* Fix: zoo pull tiny-foreign over"):
        zoo.load("tiny-foreign", download=True)
    assert len(server.ranges) == 3 and not list(home.rglob("weights.pt*"))


def test_redirects_are_followed(register, server, foreign):
    register(url=server.url)
    server.fault = lambda request: request.path == "/weights.pt" and server.reply(request, 302, Location="/there.pt")
    assert energy(zoo.load("tiny-foreign", download=True)) == expected(foreign)


def test_a_circle_of_redirects_is_an_error(register, server):
    register(url=server.url)
    server.fault = lambda request: server.reply(request, 302, Location=request.path)
    with pytest.raises(HubError, match=r"redirect.* Fix: .*zoo pull tiny-foreign again"):
        zoo.load("tiny-foreign", download=True)


@pytest.mark.parametrize(("status", "tries", "says"), [(404, 1, "status 404"), (503, 3, "no usable answer")])
def test_a_server_that_refuses(register, server, status, tries, says):
    register(url=server.url)
    server.fault = lambda request: server.reply(request, status)
    with pytest.raises(HubError, match=rf"{says}.* Fix: .*--file PATH"):
        zoo.load("tiny-foreign", download=True)
    assert len(server.ranges) == tries


def test_nobody_answers(register):
    register()
    with pytest.raises(HubError, match=r"127.0.0.1:9/weights.pt gives no usable answer.* Fix: "):
        zoo.load("tiny-foreign", download=True)


def test_offline_says_which_command_brings_it(register, server, monkeypatch, foreign):
    register(url=server.url)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    for wanted in (lambda: zoo.pull("tiny-foreign"), lambda: zoo.load("tiny-foreign", download=True)):
        with pytest.raises(HubError, match=r"offline.* Fix: zoo pull tiny-foreign, with network, or .*--file PATH"):
            wanted()
    assert server.ranges == []
    zoo.pull("tiny-foreign", file=foreign)
    assert energy(zoo.load("tiny-foreign")) == expected(foreign)


# -- a file that the user has -----------------------------------------------------------------------------------


def test_a_file_at_hand_is_enough(register, foreign, capsys):
    register()
    assert run(capsys, "pull", "tiny-foreign", "--file", str(foreign))[0] == 0
    assert energy(zoo.load("tiny-foreign")) == expected(foreign)


def test_another_file_is_refused(register, foreign, tmp_path, capsys):
    register()
    (tmp_path / "other.pt").write_bytes(foreign.read_bytes()[:-1] + b"x")
    code, _, err = run(capsys, "pull", "tiny-foreign", "--file", str(tmp_path / "other.pt"))
    assert code == 2 and "expected sha256" in err and "Fix: give weights.pt as it is at http://127.0.0.1:9/" in err
    code, _, err = run(capsys, "pull", "tiny-foreign", "--file", str(tmp_path / "absent.pt"))
    assert code == 2 and "no such file" in err
    code, _, err = run(capsys, "pull", "painn-qm9", "--file", str(foreign))
    assert code == 2 and "has no source" in err


def test_a_file_of_another_model_names_that_model(register, foreign, home):
    register()
    card = Card.load(home / "cards" / "tiny-foreign")
    other = card.replace(name="other", source={**card.source.model_dump(exclude_unset=True), "sha256": "0" * 64})
    other.save(home / "cards" / "other")
    (home / "registry.yaml").write_text(
        "schema: 1\nmodels: {tiny-foreign: {card: cards/tiny-foreign}, other: {card: cards/other}}\n")
    with pytest.raises(WeightsError, match=r"Fix: zoo pull tiny-foreign --file .*, whose file this is"):
        zoo.pull("other", file=foreign)


# -- what the conversion gives ----------------------------------------------------------------------------------


def test_a_reader_of_another_kind_is_one_error(register, foreign):
    register(reader="schnetpack-painn")
    with pytest.raises(WeightsError, match=r"no tensor 'representation.embedding.weight'.* Fix: "):
        zoo.pull("tiny-foreign", file=foreign)
    register(reader="pyg-scnet")
    with pytest.raises(ZooError, match=r"did you mean 'pyg-schnet'\?.* Fix: "):
        zoo.pull("tiny-foreign", file=foreign)


def test_a_card_that_describes_another_model_is_refused(register, described, foreign, home):
    card = register()
    card.replace(config={**card.config, "cutoff": 5.0}).save(home / "cards" / "tiny-foreign")
    with pytest.raises(WeightsError, match=r"(?s)describes another model.*config.cutoff: the card has 5.0, weights.pt "
                                           r"4.0.*Fix: correct the card"):
        zoo.pull("tiny-foreign", file=foreign)


def test_a_conversion_with_another_result_is_refused(register, described, foreign, home):
    register(converted_sha256="0" * 64)
    promised = described.source.converted_sha256
    with pytest.raises(WeightsError, match=rf"(?s)sha256 {promised}.*promises .* with 0000.*Fix: "):
        zoo.pull("tiny-foreign", file=foreign)
    assert not list(home.rglob("*.safetensors"))


def test_a_saved_copy_keeps_its_source_only_while_its_weights_are_the_same(register, foreign, tmp_path):
    register()
    zoo.pull("tiny-foreign", file=foreign)
    model = zoo.load("tiny-foreign")
    assert zoo.save(model, tmp_path / "same").source is not None
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    assert zoo.save(model, tmp_path / "changed").source is None
    assert zoo.load(tmp_path / "changed").card.weights.sha256 != model.card.weights.sha256


def test_measurements_are_written_to_the_registered_card(register, foreign, home):
    register()
    zoo.pull("tiny-foreign", file=foreign)
    fresh = zoo.load("tiny-foreign").card.reread()
    assert fresh.path == home / "cards" / "tiny-foreign" / "card.yaml" and fresh.weights is None
    loaded = zoo.load("tiny-foreign").card
    register(converted_sha256="0" * 64)
    with pytest.raises(CardError, match="replaced while they were measured"):
        loaded.reread()


def test_the_cache_commands_know_what_was_converted(register, server, home, capsys):
    register(url=server.url)
    zoo.pull("tiny-foreign")
    (folder,) = (home / "converted").glob("*")
    rows = json.loads(run(capsys, "cache", "list", "--json")[1])
    assert [(r["name"], r["kind"], r["whole"], r["folder"]) for r in rows if r["kind"] == "converted"] == [
        ("tiny-foreign", "converted", True, str(folder))]
    assert "downloaded and converted" in run(capsys, "cache", "prune", "--dry-run")[1]
    run(capsys, "cache", "prune")
    assert folder.is_dir() and not list((home / "sources").glob("*"))
    (folder / "model.safetensors").write_bytes(b"x")
    code, out, err = run(capsys, "cache", "verify")
    assert code == 2 and f"{folder}: damaged" in out and "Fix: zoo cache prune" in err
    run(capsys, "cache", "prune")
    assert not folder.exists()
    zoo.pull("tiny-foreign")
    register(url=server.url, converted_sha256="0" * 64)
    assert "outdated" in run(capsys, "cache", "list")[1]


# -- before anything is downloaded ------------------------------------------------------------------------------


def test_list_and_show_say_where_the_weights_are(register, installed, foreign, capsys):
    register(package=PACKAGE, path=INSIDE)

    def row():
        return {r["name"]: r for r in json.loads(run(capsys, "list", "tiny-foreign", "--json")[1])}["tiny-foreign"]

    assert (row()["weights"], row()["get"]) == ("absent", "zoo pull tiny-foreign")
    shown = run(capsys, "show", "tiny-foreign")[1]
    for part in ("CC-BY-4.0", "MIT", "A. Author", "zoo pull tiny-foreign", "tinypots>=1.2,<2", "127.0.0.1:9", "sha256"):
        assert part in shown
    installed()
    assert row()["weights"] == "package" and "here, in tinypots 1.2.0" in run(capsys, "list", "tiny-foreign")[1]
    zoo.load("tiny-foreign")
    assert row()["weights"] == "converted"
    assert "train" not in shown


def test_a_package_alone_is_got_with_pip(register, capsys):
    register(url=None, package=PACKAGE, path=INSIDE)
    rows = json.loads(run(capsys, "list", "tiny-foreign", "--json")[1])
    assert rows[0]["get"] == "pip install --no-deps 'tinypots>=1.2,<2'"


@pytest.mark.parametrize(("change", "says"), [
    ({"url": None}, "needs a url, or a package with a path"), ({"package": PACKAGE}, "package and path belong"),
    ({"path": INSIDE}, "belong together"), ({"url": "file:///etc/passwd"}, "is no address of a file"),
    ({"url": "https://host/"}, "is no address of a file"), ({"package": "a b ?", "path": INSIDE}, "no name of a pack"),
    ({"package": "tinypots @ https://x/y.whl", "path": INSIDE}, "no name of a package"),
    ({"package": PACKAGE, "path": "../../etc/passwd"}, "no path inside"), ({"sha256": "12"}, "sha256"),
    ({"package": PACKAGE, "path": "/etc/passwd"}, "no path inside"), ({"bytes": 0}, "greater than"),
])
def test_a_malformed_source_is_refused(described, change, says):
    source = {**described.source.model_dump(exclude_unset=True), **change}
    with pytest.raises(CardError, match=says):
        described.replace(source={k: v for k, v in source.items() if v is not None})


def test_a_source_beside_other_weights_is_refused(described):
    with pytest.raises(CardError, match=r"weights.sha256: other weights than those that the source is converted to"):
        described.replace(weights={"file": "model.safetensors", "sha256": "1" * 64, "bytes": 1, "parameters": 1})
