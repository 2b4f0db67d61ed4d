from . import (
    algorithms,
    catalog,
    data,
    errors,
    evaluation,
    fetch,
    files,
    modules,
    nn,
    optim,
    prepare,
    records,
    store,
    text,
    training,
    utils,
    vision,
)
from .alias import as_learn2learn
from .allocator import keep_memory
from .data.arrays import ArrayDataset, load_arrays
from .data.benchmarks import Benchmark, load_benchmark
from .data.datasets import MetaDataset, PreparedDataset, load_dataset
from .data.episodes import Episode
from .data.export import to_folder
from .data.generator import TaskGenerator
from .data.hf import from_hf, to_hf
from .data.own import from_arrays, from_csv, from_folder, from_iterable, from_torch
from .data.tasks import TaskDataset
from .errors import L2LError
from .evaluation.run import evaluate
from .modules import (
    accuracy,
    clone_distribution,
    clone_module,
    clone_named_parameters,
    clone_parameters,
    detach_distribution,
    detach_module,
    magic_box,
    update_module,
)

__version__: str
