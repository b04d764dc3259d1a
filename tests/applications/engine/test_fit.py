"""Parts of the loop that can be looked at alone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from applications.engine import fit, unreadable
from applications.engine.fit import NonFiniteLossGuard
from applications.engine.unreadable import UnreadableTrainImages
from applications.progress import Progress
from dataloader.sample import Unreadable
from utils.distributed import World
from utils.errors import UserError


def test_the_first_bad_loss_is_named_by_its_step() -> None:
    guard = NonFiniteLossGuard()
    for step, loss in enumerate((1.0, 2.0, float("inf"), float("nan"))):
        guard.add(step, torch.tensor(loss))
    with pytest.raises(UserError, match="step 3"):
        guard.check()


def test_good_losses_are_forgotten_once_looked_at() -> None:
    guard = NonFiniteLossGuard()
    guard.add(0, torch.tensor(1.0, requires_grad=True))
    guard.check()
    guard.check()
    guard.add(1, torch.tensor(float("nan")))
    with pytest.raises(UserError, match="step 2"):
        guard.check()


def test_a_bad_loss_is_noticed_before_weights_are_saved() -> None:
    guard = NonFiniteLossGuard()
    guard.add(4, torch.tensor(float("nan")))
    saved: list[Any] = []
    run: Any = SimpleNamespace(loss_guard=guard, saver=SimpleNamespace(save=lambda *what: saved.append(what)))
    with pytest.raises(UserError, match="step 5"):
        fit._save(run)
    assert saved == []


def test_a_stop_during_validation_is_no_second_hearing_for_the_plateau(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(fit, "train_epoch", lambda *_: {})
    stops = iter([0, 15, 15])
    run: Any = SimpleNamespace(
        progress=Progress(),
        task=SimpleNamespace(headline="top1"),
        norms=SimpleNamespace(refresh=lambda: None),
        validate=lambda: {"top1": 0.5, "loss": 1.0},
        stepper=SimpleNamespace(validated=heard.append),
        world=SimpleNamespace(size=1, gather=lambda _: [next(stops)]),
        stop=SimpleNamespace(received=0),
        saver=SimpleNamespace(save=lambda *_: None, folder="RUN"),
        loss_guard=NonFiniteLossGuard(),
        observers=[],
    )
    monkeypatch.setattr(fit, "_save", lambda _: None)
    with pytest.raises(fit.Interruption):
        fit._fit_epoch(run, Any)
    assert heard == []


def _batch(read: int, left_out: int, *, fillers: int = 0, copies: int = 1) -> Any:
    indices = torch.cat([torch.arange(read), torch.full((fillers,), -1)]).repeat(copies)
    return SimpleNamespace(indices=indices, copies=copies, unreadable=tuple(Unreadable(f"{n}.jpg", "damaged") for n in range(left_out)))


@pytest.mark.parametrize(("read", "left_out", "stops"), [(8, 0, False), (128, 68, False), (98, 98, False), (97, 99, True), (0, 8, True)])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_run_stops_when_more_than_half_of_all_images_are_unreadable(read: int, left_out: int, copies: int, stops: bool) -> None:
    skipped = UnreadableTrainImages()
    skipped.begin()
    skipped.tell(_batch(read, left_out, fillers=0 if read else 2, copies=copies))
    if stops:
        with pytest.raises(UserError, match=rf"^{left_out} of {read + left_out} training images \(.*%\).*still there"):
            skipped.check(World())
    else:
        skipped.check(World())


def test_unreadable_images_are_counted_over_all_processes() -> None:
    class Two(World):
        def gather(self, value: Any) -> list[Any]:
            return [value, (0, 30)]

    skipped = UnreadableTrainImages()
    skipped.tell(_batch(0, 8))
    skipped.check(Two(0, 2, 0))


def test_of_many_unreadable_images_the_first_are_named_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(unreadable, "log", lambda: SimpleNamespace(warning=said.append))
    skipped = UnreadableTrainImages()
    for _ in range(2):
        skipped.begin()
        for first in (0, 4):
            left_out = tuple(Unreadable(f"{number}.jpg", "damaged") for number in range(first, first + 4))
            batch: Any = SimpleNamespace(unreadable=left_out, indices=torch.arange(20), copies=1)
            skipped.tell(batch)
        skipped.check(World())
    assert [line.split(":")[0] for line in said[:5]] == [f"skipped {number}.jpg" for number in range(5)]
    share = "this epoch went without 8 of 48 training images (16.7%)"
    assert said[5:] == [f"skipped 3 more unreadable images (8 so far); {share}; --check names all of them"]
