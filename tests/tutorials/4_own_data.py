# %% [markdown]
# # 4. Your own data
#
# You have pictures, texts or features of your own, and want few-shot tasks of them. There are two ways. The short one
# is a function for the form that your data has: folder, CSV file, arrays, a data set of torch or of Hugging Face. The
# other is an entry in a catalogue of yours: then your data has a name, splits and benchmarks, as Omniglot has, and
# others get the same tasks.
#
# It needs no network, draws a small data set of its own, and takes some five seconds.

# %%
import csv
import os
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.utils.data import TensorDataset

import l2l_core as l2l
from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache
from l2l_core.prepare.build import import_files

# A folder of our own instead of your cache, gone at the end. In programs of yours leave these lines out.
scratch = TemporaryDirectory(prefix="l2l-tutorial-")
here = Path(scratch.name)
os.environ["L2L_HOME"] = str(here / "home")

# %% [markdown]
# ## Some data to begin with
#
# 24 classes of 20 pictures: class c is a shape with five corners, and each picture draws it with a shaking hand.


# %%
def draw(corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture, uint8 [28, 28]: white lines on black from corner to corner, each moved by a pixel or two."""
    image = Image.new("L", (28, 28))
    points = [(float(x), float(y)) for x, y in corners + rng.normal(0, 1, corners.shape)]
    ImageDraw.Draw(image).line([*points, points[0]], fill=255, width=2)
    return np.asarray(image)


rng = np.random.default_rng(0)
shapes = rng.uniform(4, 24, (24, 5, 2))
images = np.stack([draw(shapes[c], rng) for c in range(24) for _ in range(20)])
names = [f"shape {c:02}" for c in range(24) for _ in range(20)]
print(images.shape, images.dtype, "and", len(set(names)), "names")

# %% [markdown]
# ## From arrays
#
# `layout` says which axes an image has. What comes back goes into everything that the other tours show.

# %%
mine = l2l.from_arrays(images, names, layout="HW", dtype=torch.float32, name="shapes")
print(mine)
episode = l2l.TaskGenerator(mine, ways=5, shots=1, queries=5, seed=0)[0]
print("support", list(episode.support_x.shape), "query", list(episode.query_x.shape))

# %% [markdown]
# ## From a folder
#
# One folder a class is the most common form. `to_folder` writes it, `from_folder` (also of a zip or tar) reads it. The
# pictures are prepared once, into a store in the cache; the second time it is opened at once, and if you add, change or
# remove a file, it is prepared anew.

# %%
folder = l2l.to_folder(mine, here / "shapes")
print(sorted(path.name for path in folder.iterdir())[:3], "…")
again = l2l.from_folder(folder, image_size=28, mode="L")
print("the same pictures:", torch.equal(again[123][0], mine[123][0]))

# %% [markdown]
# ## From a CSV file
#
# Or a table lists files and labels. It may list texts, too.

# %%
table = here / "pictures.csv"
with table.open("w", newline="", encoding="utf-8") as stream:
    writer = csv.writer(stream)
    writer.writerow(["file", "kind"])
    for path in sorted(folder.rglob("*.png"))[:60]:
        writer.writerow([path.relative_to(here).as_posix(), path.parent.name])
listed = l2l.from_csv(table, file_column="file", label_column="kind", image_size=28, mode="L")
print(listed)

texts = here / "texts.csv"
texts.write_text("text,label\n" + "".join(f"headline {i},{'sport' if i % 2 else 'science'}\n" for i in range(12)))
headlines = l2l.from_csv(texts, text_column="text")
print(headlines, "with classes", list(headlines.classes))
print(l2l.TaskGenerator(headlines, ways=2, shots=1, queries=1, seed=0)[0].support_x)

# %% [markdown]
# A wrong column is a sentence, and not a stack of calls:

# %%
try:
    l2l.from_csv(table, file_column="fiel", label_column="kind", image_size=28)
except l2l.errors.UnknownNameError as error:
    print("UnknownNameError:", error)

# %% [markdown]
# ## From torch, and from Hugging Face
#
# Any map-style data set of (input, label) examples will do: of torchvision, torchaudio, or yours.

# %%
tensors = TensorDataset(torch.from_numpy(images)[:, None] / 255, torch.arange(480) // 20)
print("of torch:", l2l.TaskGenerator(l2l.from_torch(tensors), 5, 1, 5, seed=0)[0].query_x.shape)

# %%
if find_spec("datasets"):
    os.environ["HF_HOME"] = str(here / "huggingface")
    import datasets

    columns = {"text": [f"text {i}" for i in range(40)], "label": [i % 4 for i in range(40)]}
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["north", "east", "south", "west"])}
    rows = datasets.Dataset.from_dict(columns, datasets.Features(kinds))
    print("of Hugging Face:", l2l.TaskGenerator(l2l.from_hf(rows), ways=3, shots=1, queries=2, seed=0)[0].support_x)
else:
    print("of Hugging Face: pip install l2l-core[hf]")

# %% [markdown]
# ## A name for it: your own catalogue
#
# With an entry, `shapes` works wherever `omniglot` does, in Python and in a shell. It takes three small files and no
# code: what the data is, which class is for what, and a protocol. The folder that holds them is named by `L2L_CATALOG`.

# %%
own = here / "mine"
files = {
    "catalog/datasets/shapes.toml": """
        title = "Shapes"
        description = "Pentagons, drawn with a shaking hand."
        licence = "mit"
        default_split = "own"
        [raw]
        classes = 24
        examples = 480
        [forms.folder]
        title = "a folder a class"
        reader = "image_folders"
        options = { class_depth = 1 }
        [prepared]
        mode = "L"
        image_size = [28, 28]
        resample = "bilinear"
        [splits.own]
        title = "14/5/5"
        source = "made up for this tour"
    """,
    "catalog/benchmarks/shapes-5w1s.toml": """
        title = "Shapes, 5-way 1-shot"
        dataset = "shapes"
        split = "own"
        subset = "test"
        ways = 5
        shots = 1
        queries = 15
        episodes = 100
        seed = 0
    """,
    "metadata/splits/shapes/own.csv": "class,subset,superclass\n"
    + "".join(f"shape {c:02},{'train' if c < 14 else 'validation' if c < 19 else 'test'},\n" for c in range(24)),
}
for name, text in files.items():
    (own / name).parent.mkdir(parents=True, exist_ok=True)
    (own / name).write_text(text, encoding="utf-8")
os.environ["L2L_CATALOG"] = str(own)

# %% [markdown]
# Prepare it, in a shell by `l2l import shapes FOLDER`, here in Python. What the entry says is held against what the
# folder holds.

# %%
catalog = open_catalog()
store = import_files(catalog.dataset("shapes"), catalog, Cache.at(), [folder])
print("prepared:", store.name)
for subset in ("train", "validation", "test"):
    print(l2l.load_dataset("shapes", subset))

# %% [markdown]
# `l2l verify` lists everything that is wrong with an entry in one go. And a mistake in a name is answered by the
# nearest one:

# %%
try:
    l2l.load_dataset("shape")
except l2l.errors.UnknownNameError as error:
    print("UnknownNameError:", error)

# %% [markdown]
# ## Your own benchmark
#
# The protocol fixes the test episodes, so it has a digest. Now a method can be trained and evaluated on it, by its name
# (20 episodes, to be quick).

# %%
benchmark = l2l.load_benchmark("shapes-5w1s")
print("episodes:", benchmark.episodes().digest(benchmark.record.episodes)[:16])
learner, run = l2l.training.train(benchmark, "protonet", episodes=20, settings={"validation_episodes": 10})
print(f"trained {run.settings.train_ways}-way, as there are no more training classes")
print(l2l.evaluate(benchmark, learner, method="protonet"))

# %% [markdown]
# In a shell, with `L2L_CATALOG` set: `l2l train shapes-5w1s --method protonet --minutes 1`.
#
# Next: [5_own_algorithm.py](5_own_algorithm.py).

# %%
scratch.cleanup()
