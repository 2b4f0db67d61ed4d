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
    prepare,
    records,
    store,
    training,
)
from .data.benchmarks import Benchmark, load_benchmark
from .data.datasets import MetaDataset, PreparedDataset, load_dataset
from .data.generator import Episode, TaskGenerator
from .data.tasks import TaskDataset
from .errors import L2LError
from .evaluation.run import evaluate
from .modules import (
    clone_module,
    detach_module,
    magic_box,
    update_module,
)

__version__: str
