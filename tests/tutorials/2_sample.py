# %% [markdown]
# # 2. Sample: tasks that are the same everywhere
#
# A few-shot task, or *episode*, asks a small question: here are N classes with K examples each (the *support*); of
# which class are these other examples (the *queries*)? One trains and tests on thousands of them, drawn at random.
#
# Here episode i is a function of (seed, i), and of nothing else. Not of the batch size, the number of workers, or what
# was drawn before. So a list of test episodes is two numbers that fit into a paper. This tour shows what follows from
# it.
#
# It needs no network, and takes some ten seconds, or five where `glyphs` has been drawn before.

# %%
import os
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader

import l2l_core as l2l
from l2l_core.data import Prefetcher, TaskSampler, TaskStream, collate_tasks
from l2l_core.data.transforms import ConsecutiveLabels, KShots, LoadData, NWays, RemapLabels
from l2l_core.evaluation.pictures import draw_episodes

# A folder of our own, gone at the end. Where you have named a cache yourself, that one serves.
scratch = TemporaryDirectory(prefix="l2l-tutorial-")
os.environ.setdefault("L2L_HOME", scratch.name)

train = l2l.load_dataset("glyphs", "train")
print(train)

# %% [markdown]
# ## Episodes by their number
#
# The short way to episodes is `TaskGenerator`. Support and query come apart, the examples of label 0 first.

# %%
tasks = l2l.TaskGenerator(train, ways=5, shots=1, queries=15, seed=0)
episode = tasks[7]
print("support", list(episode.support_x.shape), "labels", episode.support_y.tolist())
print("query  ", list(episode.query_x.shape), "labels", episode.query_y[:18].tolist(), "…")

# %% [markdown]
# Ask for it in a batch, in another order, or tomorrow: it is the same. Another seed gives another one.

# %%
batch = tasks.batch([3, 7, 1_000_000])
print("a batch:", list(batch.query_x.shape))
print("episode 7 within it is the same:", torch.equal(batch.query_x[1], episode.query_x))
other = l2l.TaskGenerator(train, ways=5, shots=1, queries=15, seed=1)
print("episode 7 of seed 1 is the same:", torch.equal(other[7].query_x, episode.query_x))

# %% [markdown]
# Which classes and examples are these? `describe` says so in integers, and loads no picture. That is cheap: a few
# microseconds an episode.

# %%
about = tasks.describe([7])
print("classes:", [train.classes[row] for row in about.all_classes_BN[0]])
print("example ids, class by class, the support first:")
print(about.all_ids_BNK[0])

# %% [markdown]
# ## Looking at them
#
# Before you train on episodes, look at some: a row a class, its support on the left. In a shell: `l2l sample
# glyphs-5w1s --png episode.png`.

# %%
drawing = Path(scratch.name) / "episode.png"
names = [train.classes[row] for row in about.all_classes_BN[0]]
draw_episodes([(7, episode, names)], "glyphs, 5-way 1-shot", drawing)
print(f"wrote {drawing.name}, {drawing.stat().st_size:,} bytes")
# In a notebook: from IPython.display import Image; Image(drawing)

# %% [markdown]
# ## A name for a list of episodes
#
# The digest of the first n episodes covers the data, the classes and the examples. Equal digests, equal episodes. Print
# it beside your accuracy, and others can check that they tested on the same.

# %%
print("100 episodes:               ", tasks.digest(100)[:16])
again = l2l.TaskGenerator(train, ways=5, shots=1, queries=15, seed=0)
print("100 of a second generator:  ", again.digest(100)[:16])
print("100 episodes of seed 1:     ", other.digest(100)[:16])

# %% [markdown]
# ## Transforms, as in learn2learn
#
# Programs written for learn2learn say what a task is by a list of transforms. Names and meanings are kept.
# `TaskDataset` is a data set of tasks; a task is inputs and labels, support and query together.

# %%
dataset = l2l.data.MetaDataset(train)
transforms = [
    NWays(dataset, 5),  # five classes
    KShots(dataset, 2),  # two examples of each
    LoadData(dataset),  # their pictures
    RemapLabels(dataset),  # labels 0 to 4
    ConsecutiveLabels(dataset),  # examples of one label side by side
]
taskset = l2l.TaskDataset(dataset, transforms, num_tasks=1000, seed=0)
x, y = taskset[7]
print(list(x.shape), y.tolist())

# %% [markdown]
# ## Any loader, any number of workers
#
# To torch's `DataLoader` the tasks are one more data set. `TaskSampler` says which tasks make an epoch, and
# `collate_tasks` keeps a batch as it was gathered. Workers change the speed, never the tasks.


# %%
def loader(workers: int) -> DataLoader[l2l.Episode]:
    sampler = TaskSampler(tasks, batch_size=4, num_tasks=16)
    # Forked workers, so that this file also runs as a plain script. (On Windows, where there is no fork, leave it out,
    # and put the loop below into `if __name__ == "__main__":`, as for every loader with workers.)
    context = "fork" if workers else None
    return DataLoader(
        tasks, batch_sampler=sampler, collate_fn=collate_tasks, num_workers=workers, multiprocessing_context=context
    )


alone = [episodes.query_x for episodes in loader(0)]
by_two = [episodes.query_x for episodes in loader(2)]
print(len(alone), "batches of", list(alone[0].shape))
print("with two workers the same:", all(map(torch.equal, alone, by_two)))

# %% [markdown]
# `TaskStream` is the same for those who iterate, and `Prefetcher` makes the next batch in a thread while you compute.

# %%
stream = TaskStream(tasks, batch_size=4, num_tasks=16)
prefetched = [episodes.query_x for episodes in Prefetcher(stream)]
print("from a thread the same:", all(map(torch.equal, alone, prefetched)))

# %% [markdown]
# ## Several ranks, and going on after a stop
#
# With several processes each takes its share. Within `torch.distributed` that happens by itself; here we say who we
# are.

# %%
for rank in range(2):
    share = TaskSampler(tasks, batch_size=4, num_tasks=16, rank=rank, world_size=2)
    print(f"rank {rank} of 2:", list(share))

# %% [markdown]
# Epochs of an endless set are new tasks each time. And where a run was stopped, it goes on with the next batch: keep
# `state_dict()` with your checkpoint.

# %%
stream.set_epoch(1)
print("first of epoch 1 is task 16:", torch.equal(next(iter(stream)).query_x[0], tasks[16].query_x))

started = TaskStream(tasks, batch_size=4, num_tasks=16)
for _ in islice(started, 2):
    pass  # two batches, and the machine goes down
resumed = TaskStream(tasks, batch_size=4, num_tasks=16)
resumed.load_state_dict(started.state_dict())
print("goes on with task 8:", torch.equal(next(iter(resumed)).query_x[0], tasks[8].query_x))

# %% [markdown]
# ## What cannot be drawn
#
# A task that the data cannot give is refused when you ask for it, not after some hours:

# %%
try:
    l2l.TaskGenerator(train, ways=5, shots=10, queries=15, seed=0)
except l2l.errors.TaskError as error:
    print("TaskError:", error)

# %% [markdown]
# Next: [3_evaluate.py](3_evaluate.py) trains on tasks and measures what was learned. Data of your own goes through the
# same loaders: [4_own_data.py](4_own_data.py).

# %%
scratch.cleanup()
