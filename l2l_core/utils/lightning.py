"""learn2learn's helpers for Lightning, which comes with the extra `lightning`.

They are made for `lightning.pytorch`; a program that imports `pytorch_lightning` mixes two packages, and has to import
the Trainer from `lightning.pytorch` instead.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from l2l_core.data.batches import at_least_one
from l2l_core.errors import UsageError

try:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.callbacks import TQDMProgressBar
    from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
except ImportError as error:
    raise ImportError(
        f"the package lightning is not here ({error}); install it with `pip install l2l-core[lightning]`"
    ) from None


class Sampled(Protocol):
    """What tasks are drawn from: a `TaskDataset`, or anything else with such a method."""

    def sample(self) -> Any:
        """The next task."""


class Epoch:
    """So many tasks, one by one, and other ones each time it is gone through: a loader, for Lightning.

    Args:
        tasks: what to draw them from.
        length: how many there are.

    Raises:
        UsageError: the length is below 1 or not whole.
    """

    def __init__(self, tasks: Sampled, length: int) -> None:
        self.tasks, self.length = tasks, at_least_one("epoch_length", length)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return (self.tasks.sample() for _ in range(self.length))


class EpisodicBatcher(LightningDataModule):
    """Tasks for a Lightning Trainer, one at a time, as learn2learn's modules take them.

    Every process draws the tasks that a single one would: over several devices use `TaskDataModule` of
    `l2l_core.data.lightning`, which shares them out and takes whole batches.

    Args:
        train_tasks: tasks to train on.
        validation_tasks: to validate on; those of training for None.
        test_tasks: to test on; those of validation for None.
        epoch_length: how many tasks an epoch has, in each of the three.

    Mended from learn2learn: each loop over an epoch ends after its tasks, wherever it is run.

    Raises:
        UsageError: the length is below 1 or not whole.
    """

    def __init__(
        self,
        train_tasks: Sampled,
        validation_tasks: Sampled | None = None,
        test_tasks: Sampled | None = None,
        epoch_length: int = 1,
    ) -> None:
        super().__init__()
        self.train_tasks = train_tasks
        self.validation_tasks = train_tasks if validation_tasks is None else validation_tasks
        self.test_tasks = self.validation_tasks if test_tasks is None else test_tasks
        self.epoch_length = at_least_one("epoch_length", epoch_length)

    @staticmethod
    def epochify(tasks: Sampled, epoch_length: int) -> Epoch:
        """So many tasks as one epoch.

        Raises:
            UsageError: the length is below 1 or not whole.
        """
        return Epoch(tasks, epoch_length)

    def train_dataloader(self) -> Epoch:
        """An epoch of training tasks."""
        return self.epochify(self.train_tasks, self.epoch_length)

    def val_dataloader(self) -> Epoch:
        """An epoch of validation tasks."""
        return self.epochify(self.validation_tasks, self.epoch_length)

    def test_dataloader(self) -> Epoch:
        """An epoch of test tasks."""
        return self.epochify(self.test_tasks, self.epoch_length)


class NoLeaveProgressBar(TQDMProgressBar):
    """Lightning's progress bar, which does not leave a line behind for each test."""

    def init_test_tqdm(self) -> Tqdm:
        """The bar for testing."""
        bar = super().init_test_tqdm()
        bar.leave = False
        return bar


class TrackTestAccuracyCallback(Callback):
    """Tests after each validation of a training run: what ``test_step`` logs is logged then, too.

    Mended from learn2learn: the trainer is not started a second time while it runs, which loses its place; the test
    data is gone through within its validation. So the data has to be a data module's.
    """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing; the module's ``test_step`` has had each batch of the trainer's data module.

        Raises:
            UsageError: the trainer has none.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        data = getattr(trainer, "datamodule", None)
        if data is None:
            raise UsageError(
                "TrackTestAccuracyCallback was asked to test, but the trainer has loaders instead of a data module; "
                "give it one, such as an EpisodicBatcher"
            )
        for number, batch in enumerate(data.test_dataloader()):
            pl_module.test_step(trainer.strategy.batch_to_device(batch), number)
