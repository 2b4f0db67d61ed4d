"""Tasks as a data module of Lightning, which comes with the extra `lightning` and is imported here alone."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from l2l_core.data.batches import Tasks
from l2l_core.data.loaders import TaskStream
from l2l_core.errors import UsageError

try:
    from lightning.pytorch import LightningDataModule
except ImportError as error:
    raise ImportError(
        f"the package lightning is not here ({error}); install it with `pip install l2l-core[lightning]`"
    ) from None


class TaskDataModule(LightningDataModule):
    """Tasks for a Lightning Trainer, in stacked batches: ``trainer.fit(model, TaskDataModule(train, validation))``.

    Each epoch of a finite training set comes in another order, each of an endless one brings new tasks; validation and
    test are the same every time. Over several devices the batches are shared out as by `TaskStream`: none comes twice,
    where the tasks have a seed.

    Args:
        train: tasks to train on.
        validation, test: tasks to evaluate on, where there are any; finite sets.
        batch_size: tasks in a batch.
        num_workers: worker processes of each loader; they stay from epoch to epoch.
        num_tasks: how many tasks of an endless training set make an epoch; without it the epoch never ends, and
            ``max_steps`` must end the training.

    Raises:
        UsageError: validation or test tasks are endless; or when a loader is asked for, as of `TaskSampler`.
    """

    def __init__(
        self,
        train: Tasks,
        validation: Tasks | None = None,
        test: Tasks | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        num_tasks: int | None = None,
    ) -> None:
        super().__init__()
        for name, tasks in (("validation", validation), ("test", test)):
            if tasks is not None and tasks.num_tasks == -1:
                raise UsageError(f"the {name} tasks are endless; make them with num_tasks")
        self.train, self.validation, self.test = train, validation, test
        self.batch_size, self.num_workers, self.num_tasks = batch_size, num_workers, num_tasks
        # Where the class had these methods, Lightning would take it that there always is such data.
        if validation is not None:
            self.val_dataloader = self._validation_loader  # type: ignore[method-assign]
        if test is not None:
            self.test_dataloader = self._test_loader  # type: ignore[method-assign]

    def train_dataloader(self) -> "EpochLoader":
        """The batches of training tasks."""
        stream = TaskStream(self.train, self.batch_size, num_tasks=self.num_tasks, shuffle=True)
        return EpochLoader(stream, self.num_workers)

    def _validation_loader(self) -> "EpochLoader":
        assert self.validation is not None
        return EpochLoader(TaskStream(self.validation, self.batch_size), self.num_workers)

    def _test_loader(self) -> "EpochLoader":
        assert self.test is not None
        return EpochLoader(TaskStream(self.test, self.batch_size), self.num_workers)


class EpochLoader:
    """The batches of a stream, for Lightning to iterate over: it tells a loader's `sampler` which epoch begins.

    It is no DataLoader because Lightning takes those apart: over several devices it puts its own sampler into them.

    Args:
        stream: the batches.
        num_workers: worker processes.

    Attributes:
        sampler: the stream.
        batch_sampler: None, where Lightning looks whether evaluation is shuffled.
    """

    def __init__(self, stream: TaskStream, num_workers: int) -> None:
        self.sampler, self.batch_sampler = stream, None
        self._loader: DataLoader[Any] = DataLoader(
            stream, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)
