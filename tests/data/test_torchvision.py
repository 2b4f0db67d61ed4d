"""The torchvision that is installed works beside this torch, on what we hand it."""

import numpy as np
import torch
from torchvision.datasets import FakeData
from torchvision.ops import nms
from torchvision.transforms import v2

from l2l_core.data.datasets import MetaDataset
from l2l_core.data.generator import TaskGenerator


def test_its_compiled_half_loads() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_its_data_sets_give_tasks_and_its_transforms_take_them() -> None:
    dataset = FakeData(60, (3, 16, 16), num_classes=4, transform=v2.PILToTensor())
    episode = TaskGenerator(MetaDataset(dataset), ways=3, shots=2, queries=1, seed=0)[5]
    assert episode.support_x.shape == (6, 3, 16, 16)
    example = int(TaskGenerator(MetaDataset(dataset), 3, 2, 1, seed=0).describe([5]).all_ids_BNK[0, 0, 0])
    assert torch.equal(episode.support_x[0], dataset[example][0])
    cropped = v2.Compose([v2.CenterCrop(8), v2.ToDtype(torch.float32, scale=True)])(episode.support_x)
    assert cropped.shape == (6, 3, 8, 8)
    assert np.isclose(float(cropped.max()), float(episode.support_x[:, :, 4:12, 4:12].max()) / 255)
