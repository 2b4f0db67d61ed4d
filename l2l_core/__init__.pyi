from . import algorithms, catalog, data, errors, evaluation, fetch, modules, nn, prepare, records, store, training
from .data.datasets import MetaDataset, PreparedDataset, load_dataset
from .data.generator import Episode, TaskGenerator
from .data.tasks import TaskDataset
from .errors import L2LError
from .evaluation.evaluate import evaluate, load_benchmark
from .modules import (
    clone_module,
    detach_module,
    magic_box,
    update_module,
)

__version__: str
