from . import datasets, export, generator, hf, index, labels, own, sampling, tasks, transforms
from .datasets import MetaDataset, PreparedDataset, load_dataset
from .export import to_folder
from .generator import Episode, TaskGenerator
from .hf import HFDataset, from_hf, to_hf
from .own import from_arrays, from_csv, from_folder, from_iterable, from_torch
from .tasks import TaskBatch, TaskDataset
