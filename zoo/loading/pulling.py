"""``zoo pull``: a model on this machine, from the Hub or converted from another package's file."""

from __future__ import annotations

from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.files.user_paths import user_path
from zoo.hub.address import PREFIX
from zoo.hub.pulling import Pulled, place
from zoo.hub.pulling import pull as pull_from_hub
from zoo.loading.sources import from_source, source_of
from zoo.registry import names

__all__ = ["pull"]


def pull(name: str, to: str | Path | None = None, *, force: bool = False, file: str | Path | None = None) -> Pulled:
    """Have a model on this machine, verified byte by byte, also what was here already.

    Weights of another package's authors are converted once and kept in ``$ZOO_HOME/converted``.

    Args:
        name: a name of ``zoo list``, a card folder, or ``"hf:org/repo[@revision]"``.
        to: make the card folder ``to/<model>`` there, whole or not at all; the cache alone if absent.
        force: replace such a folder if it holds something else.
        file: the file of the other package, where it was got by other means.

    Raises:
        UnknownNameError: no such model.
        HubError, WeightsError, CardError: as :func:`zoo.hub.fetch`.
    """
    card = _card(name)
    if card is None or (card.source is None and file is None):
        return pull_from_hub(name, to, force=force)
    source_of(card)  # `file` is for cards with one
    found = from_source(card, download=True, file=None if file is None else Path(file))
    folder = found.weights.parent
    if to is not None:
        folder = place({CARD_FILE: folder / CARD_FILE, found.weights.name: found.weights}, Path(to) / card.name, force)
    return Pulled(found.card, folder, None, {}, origin=found.origin)


def _card(name: str) -> Card | None:
    """The card, if it is on this machine and may have a source."""
    if name.startswith(PREFIX):
        return None
    if (user_path(name) / CARD_FILE).is_file():
        return names.show(name)
    entry = names.entry(name)
    card = entry.local_card()
    # What somebody put on the Hub needs no conversion.
    return None if entry.hub is not None and card is not None and card.source is not None else card
