from . import (
    arrays,
    augment,
    batches,
    choices,
    datasets,
    descriptions,
    episodes,
    export,
    generator,
    global_random,
    hf,
    hierarchy,
    incremental,
    index,
    labels,
    loaders,
    meta,
    mixed,
    own,
    partition,
    prefetch,
    pretraining,
    regression,
    sampling,
    semi_supervised,
    sources,
    tasks,
    transforms,
    variable,
    weighted,
)
from .arrays import ArrayDataset, load_arrays
from .batches import Augmentation, TaskBatch, Tasks
from .datasets import MetaDataset, PreparedDataset, load_dataset
from .descriptions import DataDescription
from .episodes import NO_LABEL, Episode, PaddedEpisodes, pad_episodes
from .export import to_folder
from .generator import TaskGenerator
from .hf import HFDataset, from_hf, to_hf
from .hierarchy import Hierarchy, graph_hierarchy, superclass_hierarchy, wordnet_hierarchy
from .incremental import IncrementalSessions
from .loaders import InfiniteIterator, TaskSampler, TasksetSampler, TaskStream, collate_tasks
from .meta import FilteredMetaDataset, OnDeviceDataset, UnionMetaDataset
from .mixed import MixedTasks
from .own import from_arrays, from_csv, from_folder, from_iterable, from_torch
from .partition import partition_task
from .prefetch import Prefetcher
from .pretraining import ExampleBatches
from .regression import HarmonicTasks, RegressionTasks, SinusoidTasks
from .semi_supervised import SemiSupervisedEpisode, SemiSupervisedTasks
from .tasks import TaskDataset, Taskset
from .transforms import on_batches
from .variable import Composition, VariableTasks
from .weighted import WeightedNWays
