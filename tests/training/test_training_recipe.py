"""Recipes are checked before any work, and errors name what was meant."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from zoo.errors import TrainingError
from zoo.training.prepare import read_card
from zoo.training.recipe import Budget, Schedule, apply_overrides, read_recipe
from zoo.training.schedule import Clock, Plateau, learning_rate

TARGETS = ["U0", "gap"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"lrr": 1}, r"recipe\.lrr: unknown key 'lrr'; did you mean 'lr'\?"),
        ({"schedule": {"warmpu": 5}}, r"recipe\.schedule\.warmpu: unknown key 'warmpu'; did you mean 'warmup'\?"),
        ({"losses": {"U0": {"weigth": 2}}}, r"losses\.U0\.weigth: unknown key 'weigth'; did you mean 'weight'\?"),
        ({"losses": {"gp": {}}}, r"losses\.gp: 'gp' is no target of this model; did you mean 'gap'\?"),
        ({"losses": {"U0": {"kind": "l3"}}}, r"recipe\.losses\.U0\.kind: no loss is called 'l3'.* Fix: name "),
        ({"lr": -1}, r"recipe\.lr: .*greater than 0"),
        ({"lr": "fast"}, r"recipe\.lr: .*'fast'"),
        ({"batch": {}}, "needs a limit"),
        ({"budget": {"epochs": None}}, "needs an end"),
        ({"early_stop": {"metric": "gap.mea"}}, r"'gap\.mea' is not measured; did you mean 'gap\.mae'\?"),
        ({"autocast": "bf16", "losses": {"forces": {}}}, "noisy"),
        ({"compile": True, "losses": {"forces": {}}}, "second derivatives"),
        ({"optimizer": "schedulefree"}, r"recipe\.optimizer: no optimizer is called 'schedulefree'. Fix: name one of"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused(recipe: dict, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_recipe(recipe, targets=TARGETS)


def test_a_mistake_in_a_cards_recipe_carries_its_line(tmp_path) -> None:
    text = "schema: 1\nname: a\narchitecture: painn\ntargets:\n  U0: {readout: energy, unit: eV}\n" \
           "domain: {elements: [H]}\nrecipe:\n  lr: 1e-3\n  batch:\n    molecules: many\n"
    (tmp_path / "card.yaml").write_text(text)
    card = read_card(tmp_path / "card.yaml", ["lr=2e-3", "recipe.schedule.warmup=x"])
    with pytest.raises(TrainingError) as caught:
        read_recipe(card.recipe, targets=TARGETS, document=card.document)
    assert str(caught.value).replace(str(tmp_path), "") == (
        "/card.yaml:7: recipe.schedule.warmup: expected a whole number, found 'x'\n"
        "/card.yaml:10: recipe.batch.molecules: expected a whole number, found 'many'\nFix: correct these lines.")


@pytest.mark.parametrize(("text", "value"), [
    ("on", "on"), ("No", "No"), ("1e-3", 1e-3), ("", None), ("[H, No]", ["H", "No"]),
    ("2024-01-31", "2024-01-31"), ("'5'", "5"), ("{kind: l2}", {"kind": "l2"})])
def test_a_value_of_the_command_line_is_what_a_card_would_hold(text: str, value: object) -> None:
    assert apply_overrides({}, [f"data.dataset={text}"])["data"] == {"dataset": value}


def test_overrides_reach_every_section_and_read_yaml() -> None:
    card = {"recipe": {"lr": 1.0, "batch": {"molecules": 8}}, "config": {"channels": 4}, "targets": {}, "data": {}}
    changed = apply_overrides(card, ["training.lr=1e-4", "batch.molecules=32", "recipe.schedule.kind=plateau",
                                     "config.channels=16", "data.units.U0=eV", "ema=null", "freeze=[backbone.*]",
                                     "from=painn-qm9", "tf32=true"])
    assert changed["recipe"] == {"lr": 1e-4, "batch": {"molecules": 32}, "schedule": {"kind": "plateau"}, "ema": None,
                                 "freeze": ["backbone.*"], "from": "painn-qm9", "tf32": True}
    assert changed["config"] == {"channels": 16} and changed["data"] == {"units": {"U0": "eV"}}
    assert card["recipe"]["lr"] == 1.0, "the card itself is left alone"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [("lr", "expected key=value"), ("=3", "expected key=value"), ("trainin.lr=3", "did you mean 'training'"),
     ("lr.x=3", "is a value, not a mapping"), ("config.a=[1", "cannot read the value")],
)
def test_an_override_that_makes_no_sense_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        apply_overrides({"recipe": {"lr": 1.0}}, [assignment])


def test_the_rate_warms_up_and_follows_the_cosine() -> None:
    schedule = Schedule(warmup=4, final=0.1)
    rates = [learning_rate(schedule, 1.0, step=s, progress=s / 100) for s in range(101)]
    assert rates[0] == pytest.approx(0.2, rel=1e-3) and rates[:5] == sorted(rates[:5])
    assert rates[50] == pytest.approx(0.1 + 0.9 * 0.5) and rates[100] == pytest.approx(0.1)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_the_plateau_lowers_the_rate_after_patience() -> None:
    schedule, plateau = Schedule(kind="plateau", patience=2, factor=0.5, final=0.3), Plateau()
    scales = []
    for value in (3.0, 2.0, 2.5, 2.1, 1.0, 1.0, 1.0, 1.0, 1.0):
        plateau.update(value, schedule)
        scales.append(plateau.scale)
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert learning_rate(schedule, 2.0, step=9, progress=0, plateau=plateau.scale) == pytest.approx(0.6)


def test_a_budget_in_steps_or_epochs_ends_where_it_says() -> None:
    clock = Clock.of(Budget(epochs=2.5, steps=30), steps_per_epoch=10)
    assert clock.total_steps == 25 and not clock.finished(24) and clock.finished(25)


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (1.0, 4.0), (4.0, 1.0)])
def test_a_budget_in_hours_anneals_to_the_end_although_the_speed_changes(speeds: tuple[float, float]) -> None:
    """Steps take 1 s, or 4 s, with the change half-way; evaluations (which set the rate anew) every 100 steps."""
    clock = Clock.of(Budget(hours=1.0), steps_per_epoch=1000)
    step, progress = 0, []
    while not clock.finished(step):
        progress.append(clock.progress(step))
        step += 1
        clock.tick(step, speeds[clock.seconds > 1800], evaluated=step % 100 == 0)
    assert progress == sorted(progress)
    assert progress[-1] > 0.97 and 3600 * 0.97 < clock.seconds <= 3600 * 1.03
    assert max(b - a for a, b in pairwise(progress)) < 0.02


def test_a_clock_goes_on_from_its_state() -> None:
    clock = Clock.of(Budget(hours=0.5), steps_per_epoch=10)
    for step in range(1, 130):
        clock.tick(step, 1.3, evaluated=step % 50 == 0)
    again = Clock(**clock.state())
    assert [again.progress(s) for s in range(129, 400)] == [clock.progress(s) for s in range(129, 400)]
    assert again.remaining_seconds(130) == clock.remaining_seconds(130) and math.isfinite(again.remaining_seconds(130))
