"""Short ways to tasks from every loader: each example runs as it stands here, and as the README quotes it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from l2l_core.data.loaders import TaskSampler
from tests.data.processes import Numbers


@pytest.fixture(autouse=True)
def _glyphs_are_here(glyphs_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L2L_HOME", str(glyphs_home))


def test_a_map_style_loader() -> None:
    from torch.utils.data import DataLoader

    import l2l_core as l2l
    from l2l_core.data.loaders import TaskSampler, collate_tasks

    tasks = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train"), ways=5, shots=1, queries=15, seed=0)
    sampler = TaskSampler(tasks, batch_size=8, num_tasks=24)
    loader = DataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks, num_workers=2)
    for epoch in range(2):
        sampler.set_epoch(epoch)  # tasks 0 to 23, then 24 to 47
        for episode in loader:
            print(episode.support_x.shape, episode.query_y.shape)  # [8, 5, 1, 28, 28], [8, 75]

    assert torch.equal(episode.query_x, tasks.batch(range(40, 48)).query_x)
    assert episode.support_x.shape == (8, 5, 1, 28, 28)
    assert episode.query_y.shape == (8, 75)


def test_an_iterable_style_loader() -> None:
    from torch.utils.data import DataLoader

    import l2l_core as l2l
    from l2l_core.data.loaders import TaskStream
    from l2l_core.data.prefetch import Prefetcher

    tasks = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train"), ways=5, shots=1, queries=15, seed=0)
    stream = TaskStream(tasks, batch_size=8, num_tasks=24)
    for episode in DataLoader(stream, batch_size=None, num_workers=2):  # in worker processes
        print(episode.query_x.shape)
    for same in Prefetcher(stream):  # or in a thread
        print(same.query_x.shape)

    assert torch.equal(same.query_x, tasks.batch(range(16, 24)).query_x)
    assert torch.equal(same.query_x, episode.query_x)


def test_batches_of_one_s_own_data_set() -> None:
    from torch.utils.data import DataLoader, TensorDataset

    import l2l_core as l2l
    from l2l_core.data.loaders import TasksetSampler
    from l2l_core.data.transforms import KShots, NWays

    mine = TensorDataset(torch.rand(60, 3), torch.arange(60) % 6)
    dataset = l2l.data.MetaDataset(mine)
    tasks = l2l.data.TaskDataset(dataset, [NWays(dataset, 3), KShots(dataset, 4)], num_tasks=10, seed=0)
    for x, y in DataLoader(mine, batch_sampler=TasksetSampler(tasks)):
        print(x.shape, y)  # [12, 3], and the data set's own labels, four times each

    assert x.shape == (12, 3)
    assert len(set(y.tolist())) == 3


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_going_on_in_the_middle() -> None:
    pytest.importorskip("torchdata")
    from torchdata.stateful_dataloader import StatefulDataLoader

    import l2l_core as l2l
    from l2l_core.data.loaders import TaskStream

    tasks = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train"), ways=5, shots=1, queries=15, seed=0)
    loader = StatefulDataLoader(TaskStream(tasks, batch_size=8, num_tasks=24), batch_size=None, num_workers=2)
    batches = iter(loader)
    next(batches), next(batches)
    checkpoint = loader.state_dict()  # tasks 0 to 15 are done
    loader = StatefulDataLoader(TaskStream(tasks, batch_size=8, num_tasks=24), batch_size=None, num_workers=2)
    loader.load_state_dict(checkpoint)
    (rest,) = loader  # tasks 16 to 23

    assert torch.equal(rest.query_x, tasks.batch(range(16, 24)).query_x)


def small_lightning_model() -> Any:
    """Nearest prototypes of one linear layer; keeps the queries it sees."""
    from lightning.pytorch import LightningModule

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(784, 8)
            self.trained: list[Any] = []
            self.validated: list[Any] = []

        def training_step(self, episode: Any, _: int) -> torch.Tensor:
            self.trained.append(episode)
            support, query = self.layer(episode.support_x.flatten(2)), self.layer(episode.query_x.flatten(2))
            return torch.nn.functional.cross_entropy(-torch.cdist(query, support).mT, episode.query_y)

        def validation_step(self, episode: Any, _: int) -> None:
            self.validated.append(episode)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.01)

    return Model()


IN_LIGHTNING_ITSELF = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


@IN_LIGHTNING_ITSELF
def test_lightning() -> None:
    pytest.importorskip("lightning")
    model, options = small_lightning_model(), QUIET
    from lightning.pytorch import Trainer

    import l2l_core as l2l
    from l2l_core.data.lightning import TaskDataModule

    train = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train"), ways=5, shots=1, queries=3, seed=0)
    validation = l2l.TaskGenerator(l2l.load_dataset("glyphs", "validation"), 5, 1, 3, seed=1, num_tasks=8)
    data = TaskDataModule(train, validation, batch_size=4, num_tasks=8)  # 8 new tasks each epoch
    Trainer(max_epochs=2, **options).fit(model, data)

    assert len(model.trained) == 4
    for step, episode in enumerate(model.trained):
        assert torch.equal(episode.query_x, train.batch(range(4 * step, 4 * step + 4)).query_x)
    for step, episode in enumerate(model.validated):
        start = 4 * (step % 2)
        assert torch.equal(episode.query_x, validation.batch(range(start, start + 4)).query_x)
    assert len(model.validated) == 4


def test_accelerate() -> None:
    pytest.importorskip("accelerate")
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    import l2l_core as l2l
    from l2l_core.data.loaders import TaskSampler, collate_tasks

    tasks = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train"), ways=5, shots=1, queries=15, seed=0)
    sampler = TaskSampler(tasks, batch_size=8, num_tasks=24, rank=0, world_size=1)  # Accelerate deals out the batches
    loader = Accelerator(cpu=True).prepare(DataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks))
    loader.set_epoch(1)
    for episode in loader:  # tasks 24 to 47
        last = episode

    assert torch.equal(last.query_x, tasks.batch(range(40, 48)).query_x)


def test_hugging_face_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    from datasets import Dataset

    import l2l_core as l2l

    rows = Dataset.from_dict({"text": [f"text {i}" for i in range(40)], "label": [i % 4 for i in range(40)]})
    rows = rows.cast_column("label", datasets.ClassLabel(names=["north", "east", "south", "west"]))
    episode = l2l.TaskGenerator(l2l.data.from_hf(rows), ways=3, shots=1, queries=2, seed=0)[0]
    print(episode.support_x, episode.support_y)  # three texts, tensor([0, 1, 2])

    assert len(episode.support_x) == 3
    assert all(text in rows["text"] for text in episode.query_x)


WITHOUT_TORCH = """
import l2l_core as l2l

train = l2l.load_arrays("glyphs", "train")  # NumPy arrays, for JAX or TensorFlow; torch is not imported
tasks = l2l.TaskGenerator(train, ways=5, shots=1, queries=15, seed=0)
for step in range(3):
    support_x, support_y, query_x, query_y = tasks.batch(range(8 * step, 8 * step + 8))
    print(type(query_x).__name__, query_x.dtype, query_x.shape)  # ndarray uint8 (8, 75, 1, 28, 28)
"""


def test_numpy_batches_without_torch() -> None:
    refused = "import sys; sys.modules['torch'] = None  # from here on, importing it raises\n"
    program = refused + WITHOUT_TORCH + "import numpy; numpy.save(sys.argv[1], query_x)"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "last.npy"], capture_output=True, text=True, timeout=120
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["ndarray uint8 (8, 75, 1, 28, 28)"] * 3
    import numpy as np

    import l2l_core as l2l

    same = l2l.TaskGenerator(l2l.load_dataset("glyphs", "train", dtype=torch.uint8), 5, 1, 15, seed=0)
    assert np.array_equal(np.load("last.npy"), same.batch(range(16, 24)).query_x.numpy())


# What the packages do with these loaders over several processes.


def test_accelerate_deals_out_whole_batches() -> None:
    pytest.importorskip("accelerate")
    from accelerate.data_loader import prepare_data_loader
    from torch.utils.data import DataLoader

    from l2l_core.data.loaders import collate_tasks

    tasks = Numbers()
    found = []
    for rank in range(2):
        sampler = TaskSampler(tasks, 2, num_tasks=12, rank=0, world_size=1)
        loader = DataLoader(tasks, batch_sampler=sampler, collate_fn=collate_tasks)
        prepared = prepare_data_loader(loader, num_processes=2, process_index=rank)
        prepared.set_epoch(1)
        found.append([numbers.tolist() for numbers, _ in prepared])
    assert found == [[[12, 13], [16, 17], [20, 21]], [[14, 15], [18, 19], [22, 23]]]


@IN_LIGHTNING_ITSELF
def test_lightning_s_epochs_and_what_it_leaves_alone() -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from l2l_core.data.lightning import TaskDataModule
    from l2l_core.errors import UsageError

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen: list[list[int]] = []

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            self.seen.append(batch[0].tolist())
            return self.weight

        test_step = training_step

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    model, data = Model(), TaskDataModule(Numbers(6), test=Numbers(5), batch_size=2, num_workers=1)
    Trainer(max_epochs=3, **QUIET).fit(model, data)
    expected: list[list[int]] = []
    sampler = TaskSampler(Numbers(6), 2, shuffle=True)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected += sampler
    assert model.seen == expected
    model.seen = []
    Trainer(**QUIET).test(model, data, verbose=False)
    assert model.seen == [[0, 1], [2, 3], [4]]
    model.seen = []
    Trainer(max_steps=3, **QUIET).fit(model, TaskDataModule(Numbers(), batch_size=2))
    assert model.seen == [[0, 1], [2, 3], [4, 5]]
    loader = TaskDataModule(Numbers(6), batch_size=2).train_dataloader()
    assert len(loader) == 3
    assert [numbers.tolist() for numbers, _ in loader] == expected[:3]
    for name, other in (("validation", {"validation": Numbers()}), ("test", {"test": Numbers()})):
        with pytest.raises(UsageError) as caught:
            TaskDataModule(Numbers(), **other)
        assert str(caught.value) == f"the {name} tasks are endless; make them with num_tasks"


def test_without_lightning_the_extra_is_named() -> None:
    program = "import sys; sys.modules['lightning'] = None; import l2l_core.data.lightning"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    message = run.stderr.splitlines()[-1]
    assert message.startswith("ImportError: the package lightning is not here (")
    assert message.endswith("); install it with `pip install l2l-core[lightning]`")
