"""learn2learn's helpers for Lightning: what an epoch holds, and what is logged when."""

import subprocess
import sys
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")
from lightning.pytorch import LightningModule, Trainer

from l2l_core.errors import UsageError
from l2l_core.utils.lightning import EpisodicBatcher, NoLeaveProgressBar, TrackTestAccuracyCallback
from tests.data.test_examples import IN_LIGHTNING_ITSELF, QUIET


class Counted:
    """Tasks that are numbers, 0, 1, 2 …, from `start` on."""

    def __init__(self, start: int = 0) -> None:
        self.next = start

    def sample(self) -> torch.Tensor:
        self.next += 1
        return torch.tensor(self.next - 1)


class Keeps(LightningModule):
    """Keeps what it is given, and logs the test's numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, int]] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        self.seen.append(("train", int(batch)))
        return self.weight

    def validation_step(self, batch: Any, _: int) -> None:
        self.seen.append(("validation", int(batch)))

    def test_step(self, batch: Any, _: int) -> None:
        assert not torch.is_grad_enabled()
        self.seen.append(("test", int(batch)))
        self.log("test_accuracy", batch.float(), on_epoch=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@IN_LIGHTNING_ITSELF
def test_an_epoch_is_so_many_tasks_one_by_one() -> None:
    model = Keeps()
    data = EpisodicBatcher(Counted(), Counted(100), Counted(200), epoch_length=2)
    trainer = Trainer(max_epochs=2, **QUIET)
    trainer.fit(model, data)
    assert model.seen == [
        *[("train", 0), ("train", 1), ("validation", 100), ("validation", 101)],
        *[("train", 2), ("train", 3), ("validation", 102), ("validation", 103)],
    ]
    model.seen.clear()
    (results,) = trainer.test(model, data, verbose=False)
    assert model.seen == [("test", 200), ("test", 201)]
    assert results == {"test_accuracy": 200.5}


def test_tasks_that_are_not_given_are_those_before() -> None:
    tasks, others = Counted(), Counted()
    data = EpisodicBatcher(tasks)
    assert data.validation_tasks is data.test_tasks is tasks
    assert EpisodicBatcher(tasks, others).test_tasks is others
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [len(loader) for loader in loaders] == [1, 1, 1]
    epoch = EpisodicBatcher.epochify(tasks, 3)
    assert len(epoch) == 3
    assert [int(task) for task in epoch] == [0, 1, 2]
    assert [int(task) for task in epoch] == [3, 4, 5]
    for make in (EpisodicBatcher.epochify, lambda tasks, length: EpisodicBatcher(tasks, epoch_length=length)):
        with pytest.raises(UsageError, match="^epoch_length is 0; give at least 1$"):
            make(tasks, 0)


@IN_LIGHTNING_ITSELF
def test_the_test_accuracy_is_tracked_while_training() -> None:
    model, data = Keeps(), EpisodicBatcher(Counted(), Counted(100), Counted(200), epoch_length=2)
    tracked = []

    class Reads(Keeps):
        def on_train_epoch_end(self) -> None:
            tracked.append(float(self.trainer.callback_metrics["test_accuracy"]))

    model = Reads()
    trainer = Trainer(max_epochs=2, callbacks=[TrackTestAccuracyCallback()], **{**QUIET, "num_sanity_val_steps": 1})
    trainer.fit(model, data)
    assert tracked == [200.5, 202.5]
    assert [kind for kind, _ in model.seen] == [
        "validation",
        *(["train"] * 2 + ["validation"] * 2 + ["test"] * 2) * 2,
    ]
    model.seen.clear()
    trainer.validate(model, data, verbose=False)
    assert {kind for kind, _ in model.seen} == {"validation"}
    loaders = data.train_dataloader(), data.val_dataloader()
    with pytest.raises(UsageError, match="has loaders instead of a data module; give it one, such as an Episodic"):
        Trainer(max_epochs=1, callbacks=[TrackTestAccuracyCallback()], **QUIET).fit(model, *loaders)


@IN_LIGHTNING_ITSELF
def test_a_test_leaves_no_bar_behind(capsys: pytest.CaptureFixture[str]) -> None:
    bar = NoLeaveProgressBar()
    trainer = Trainer(callbacks=[bar], **{**QUIET, "enable_progress_bar": True})
    trainer.test(Keeps(), EpisodicBatcher(Counted(), epoch_length=3), verbose=False)
    assert bar.test_progress_bar.leave is False
    assert bar.test_progress_bar.n == 3
    assert capsys.readouterr().out.endswith("\r")


@pytest.mark.parametrize("module", ["utils", "algorithms"])
def test_without_lightning_the_extra_is_named(module: str) -> None:
    program = f"import sys; sys.modules['lightning'] = None; import l2l_core.{module}.lightning"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    message = run.stderr.splitlines()[-1]
    assert message.startswith("ImportError: the package lightning is not here (")
    assert message.endswith("); install it with `pip install l2l-core[lightning]`")
