# %% [markdown]
# # 1. Fetch: from a name to data that is checked and ready
#
# A figure can only be repeated where the data is the same. So a data set here is an entry in a catalogue: where it
# comes from, how large its files are, their checksums, its licence, its splits. This tour shows the catalogue, how data
# arrives, where it is kept, and in what form.
#
# It needs no network: `glyphs`, characters of many scripts, is drawn from fonts that are installed already. Open this
# file as a notebook (Jupyter, VS Code and Spyder know its format), or run `python tests/tutorials/1_fetch.py`; it takes
# some ten seconds, most of them to draw `glyphs`.

# %%
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import l2l_core as l2l
from l2l_core.catalog import open_catalog
from l2l_core.fetch.cache import Cache, entries
from l2l_core.prepare.build import fetch, import_files
from l2l_core.store import open_store, verify_store

# A folder of our own instead of your cache, gone at the end. In programs of yours leave these two lines out.
scratch = TemporaryDirectory(prefix="l2l-tutorial-")
os.environ["L2L_HOME"] = scratch.name

# %% [markdown]
# ## The catalogue
#
# Everything that has a name stands in a small text file below `catalog/`. Nothing is downloaded to read it.

# %%
catalog = open_catalog()
print(f"{len(catalog.datasets)} data sets: {', '.join(catalog.datasets)}")

omniglot = catalog.dataset("omniglot")
print(f"\n{omniglot.title}: {omniglot.raw.classes:,} classes, {omniglot.raw.examples:,} examples")
for form in omniglot.forms.values():
    print(f"  as {form.title}")
    for file in form.files:
        print(f"    {file.name}, {file.size_bytes:,} bytes, at {len(file.urls)} addresses, sha256 {file.sha256}")

# %% [markdown]
# A split says which classes are for training and which for testing. Papers differ, so splits have names, too.

# %%
for name in omniglot.splits:
    split = catalog.split("omniglot", name)
    sizes = [f"{subset} {len(split.classes(subset)):,}" for subset in ("train", "validation", "test")]
    print(f"{name}: {', '.join(sizes)} classes")

# %% [markdown]
# In a shell the same is `l2l list datasets` and `l2l show omniglot`.
#
# ## Licences
#
# Each data set comes under terms of its own. Where these ask for it, you must accept them before anything is
# downloaded: once, with `--yes` or in the environment variable `L2L_ACCEPT_LICENCES`. Without it, you are told what to
# accept.

# %%
mini = catalog.dataset("mini-imagenet")
licence = catalog.licences()[mini.licence]
print(f"{mini.title}: {licence.name}, to be accepted: {licence.consent}\n")
try:
    fetch(mini, catalog, Cache.at())
except l2l.errors.ConsentError as error:
    print("ConsentError:", error)

# %% [markdown]
# ## Fetching
#
# With a network it is one line, in a shell or in Python:
#
# ```
# l2l fetch omniglot
# ```
# ```python
# train = l2l.load_dataset("omniglot", "train", download=True)
# ```
#
# The sources are asked in order of trust. A download that broke off goes on where it stopped. A file with a wrong
# checksum does not count. Then the raw files are *prepared*, once; we come to that.
#
# Nothing is downloaded unless you say so. Without `download=True` the answer is what to do:

# %%
try:
    l2l.load_dataset("omniglot", "train")
except l2l.errors.StoreError as error:
    print("StoreError:", error)

# %% [markdown]
# On a machine without a network say so (`--offline`, or `L2L_OFFLINE=1`). Then the answer is which files to bring from
# elsewhere, and where to put them.

# %%
try:
    fetch(omniglot, catalog, Cache.at(), offline=True)
except l2l.errors.FetchError as error:
    print("FetchError:", error)

# %% [markdown]
# ## Importing
#
# Do you have the data already? Then import it, in whatever packing: zip, tar or folder.
#
# ```
# l2l import omniglot images_background.zip images_evaluation.zip
# ```
#
# It is the content that is checked: names, counts, sizes of the pictures. The wrong folder is refused, not believed.

# %%
wrong = Path(scratch.name) / "wrong"
wrong.mkdir()
(wrong / "holiday.txt").write_text("no picture at all")
try:
    import_files(omniglot, catalog, Cache.at(), [wrong])
except l2l.L2LError as error:
    print(f"{type(error).__name__}:", str(error).replace(scratch.name, "…"))

# %% [markdown]
# ## The first data set
#
# `glyphs` needs no download, so it is prepared as soon as somebody asks for it. That takes some seconds, the next time
# a few milliseconds.

# %%
for attempt in ("first", "second"):
    start = time.perf_counter()
    train = l2l.load_dataset("glyphs", "train")
    print(f"{attempt} time: {1000 * (time.perf_counter() - start):,.1f} ms")
picture, label = train[20]
print(train)
print(f"example 20: {list(picture.shape)} {picture.dtype}, label {label}, which is class {train.classes[label]}")

# %% [markdown]
# ## The cache and the store
#
# The cache is a folder: the one that `L2L_HOME` names, or else your user's cache folder. `l2l cache` lists it, `l2l
# remove` frees it.

# %%
for entry in entries(Cache.at()):
    print(f"{entry.dataset} {entry.kind}: {entry.size_bytes / 1e6:.1f} MB in …{str(entry.path)[len(scratch.name) :]}")

# %% [markdown]
# What lies there is a *store*: one file with all examples, sorted by class, plain numbers behind a header. It is mapped
# into memory, not read, so opening it costs nothing, and all your processes share one copy. It is a safetensors file:
# nothing in it is ever executed.

# %%
store = open_store(fetch(catalog.dataset("glyphs"), catalog, Cache.at()))
print("examples:", store.examples.dtype, store.examples.shape)
print("class 0 is rows", store.offsets[0], "to", store.offsets[1] - 1, "and is called", store.manifest.classes[0])
print("made by", store.manifest.recipe["reader"], "with", dict(store.manifest.versions))
print("sha256 of the data:", store.data_sha256)

# %% [markdown]
# The checksum is what makes the store worth trusting. Let us damage a copy by a single bit, and look (`l2l verify` does
# that for the whole cache):

# %%
content = bytearray(store.path.read_bytes())
content[-1] ^= 1
damaged = Path(scratch.name) / "damaged.safetensors"
damaged.write_bytes(content)

verify_store(store)
print("the store is as it was written")
try:
    verify_store(open_store(damaged))
except l2l.errors.StoreError as error:
    print("StoreError:", str(error).replace(scratch.name, "…"))

# %% [markdown]
# Next: [2_sample.py](2_sample.py) draws tasks from the data.

# %%
scratch.cleanup()
