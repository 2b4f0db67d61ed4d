from . import datasets, generator, index, sampling, tasks, transforms
from .datasets import MetaDataset, PreparedDataset, load_dataset
from .generator import Episode, TaskGenerator
from .tasks import TaskBatch, TaskDataset
