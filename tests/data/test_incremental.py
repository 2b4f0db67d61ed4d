"""Class-incremental sessions: new classes once each, tests of all classes seen, nothing learnt from a test example."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from l2l_core.data.incremental import IncrementalSessions
from l2l_core.data.pretraining import ExampleBatches
from l2l_core.data.transforms import CLASSES, SHOTS
from l2l_core.errors import TaskError, UsageError
from tests.data.test_sampling import slow_shuffle_head
from tests.data.test_tasks import toy, words
from tests.data.test_variable import even, numbered, numbered_tensors

COUNTS = [30, 20, 25, 9, 14, 50, 12, 11, 40, 10]


@pytest.mark.parametrize("shuffle", [False, True])
def test_slow_python_makes_the_same_sessions(shuffle: bool) -> None:
    sessions = IncrementalSessions(numbered(COUNTS), 4, ways=2, shots=3, queries=5, seed=6, shuffle=shuffle)
    order = slow_shuffle_head(words(6, CLASSES, 0, 10), 10) if shuffle else list(range(10))
    assert len(sessions) == 4
    seen: list[int] = []
    for number, episode in enumerate(sessions):
        new = order[:4] if number == 0 else order[len(seen) : len(seen) + 2]
        support = []
        for label, row in enumerate(new, len(seen)):
            head = slow_shuffle_head(words(6, SHOTS, row, 8), COUNTS[row])
            learnt = head[5:] if number else sorted(set(range(COUNTS[row])) - set(head[:5]))
            support += [(sum(COUNTS[:row]) + place, label) for place in learnt]
        seen += new
        query = [
            (sum(COUNTS[:row]) + place, label)
            for label, row in enumerate(seen)
            for place in slow_shuffle_head(words(6, SHOTS, row, 8), COUNTS[row])[:5]
        ]
        assert list(zip(episode.support_x[:, 0], episode.support_y, strict=True)) == support
        assert list(zip(episode.query_x[:, 0], episode.query_y, strict=True)) == query
    assert sorted(seen) == list(range(10))
    assert sessions.classes.tolist() == order


def test_nothing_is_learnt_from_a_test_example() -> None:
    for seed in range(20):
        sessions = IncrementalSessions(numbered(COUNTS), 4, ways=3, shots=2, queries=6, seed=seed, shuffle=True)
        described = [sessions.describe(number) for number in range(3)]
        learnt = np.concatenate([session.support_x for session in described])
        tested = described[-1].query_x
        assert len({*learnt, *tested}) == len(learnt) + len(tested)
        for earlier, later in zip(described, described[1:], strict=False):
            assert later.query_x[: len(earlier.query_x)].tolist() == earlier.query_x.tolist()


def test_a_session_is_the_same_alone_and_in_a_batch() -> None:
    sessions = IncrementalSessions(numbered_tensors(COUNTS), 4, ways=3, shots=2, queries=6, seed=1, shuffle=True)
    batch = sessions.batch([2, 0])
    for number, unpadded in zip((2, 0), batch.unpadded(), strict=True):
        for part, alone in zip(unpadded, pickle.loads(pickle.dumps(sessions))[number], strict=True):
            assert torch.equal(part, alone)


def test_shots_and_test_examples_are_drawn_evenly() -> None:
    places = np.zeros(20, int)
    for seed in range(200):
        session = IncrementalSessions(numbered([20] * 6), 4, ways=2, shots=2, queries=3, seed=seed).describe(1)
        np.add.at(places, session.support_x % 20, 1)
        np.add.at(places, session.query_x[-6:] % 20, 1)
    assert even(places, 100)


def test_the_base_session_serves_plain_training() -> None:
    dataset = toy(6, 8)
    sessions = IncrementalSessions(dataset, 4, ways=2, shots=3, queries=2, seed=1)
    read = dataset.loaded
    base = sessions.describe(0)
    assert dataset.loaded == read, "drawing loaded an example"
    batches = ExampleBatches(dataset, 8, seed=0, ids=base.support_x, num_epochs=1)
    met = sorted(int(x) for inputs, _ in batches for x in inputs[:, 0])
    assert met == sorted(base.support_x.tolist())
    index = sessions.dataset.class_index
    for i, label in zip(base.support_x, base.support_y, strict=True):
        assert dataset.own_labels[i] == index.labels[sessions.classes[label]]


def test_golden_sessions() -> None:
    sessions = IncrementalSessions(numbered(COUNTS), 4, ways=2, shots=3, queries=5, seed=0, shuffle=True)
    parts = [part.astype("<i8").tobytes() for number in range(4) for part in sessions.describe(number)]
    assert sessions.classes.tolist() == [6, 8, 2, 1, 3, 4, 5, 0, 9, 7]
    assert (
        hashlib.sha256(b"".join(parts)).hexdigest()
        == "e55142c1978a70400fdbd4d0fa63ece524d3eae7cb86de9e2e94f0e3fa910ae8"
    )


def test_refusals() -> None:
    data = numbered([20] * 9 + [7])
    cases: list[tuple[dict[str, int], type[Exception], str]] = [
        ({"base_classes": 11}, TaskError, "11 base classes were asked for, but there are 10 classes; lower them"),
        (
            {"ways": 4},
            TaskError,
            "4 base classes leave 6 of 10, which are no whole sessions of 4 ways; change one of the two",
        ),
        (
            {"queries": 5},
            TaskError,
            "class 'c9' has 7 examples, but shots + queries = 8; lower one of them or drop the class",
        ),
        ({"shots": 0}, UsageError, "shots is 0; give at least 1"),
        ({"seed": -1}, UsageError, "seed -1 is not between 0 and 2**64 - 1; give another"),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind) as caught:
            IncrementalSessions(data, **{"base_classes": 4, "ways": 2, "shots": 3, "queries": 2, **arguments})
        assert str(caught.value) == message
    sessions = IncrementalSessions(data, 4, ways=2, shots=3, queries=2)
    for ask in (lambda: sessions[4], lambda: sessions.describe(4), lambda: sessions.batch([0, 4])):
        with pytest.raises(IndexError, match="there is no task 4; the tasks of this set are 0 to 3"):
            ask()
