# %% [markdown]
# # 3. Evaluate: figures that can be believed
#
# An accuracy is a mean over random episodes. On few of them it is mostly luck. So here an accuracy comes with its 95%
# interval, with the digest of its episodes, and with all that one needs to get it again; and two methods are compared
# on the *same* episodes.
#
# The budgets are tiny, so that this runs in some ten seconds on one core without a network. The figures are therefore
# poor; the way to them is the point.

# %%
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import l2l_core as l2l
from l2l_core.catalog import open_catalog, read_card
from l2l_core.evaluation.comparison import paired
from l2l_core.evaluation.leaderboard import standings
from l2l_core.evaluation.page import report_page
from l2l_core.evaluation.page_run import read_runs
from l2l_core.evaluation.report import percent

# A folder of our own, gone at the end. Where you have named a cache yourself, that one serves.
scratch = TemporaryDirectory(prefix="l2l-tutorial-")
os.environ.setdefault("L2L_HOME", scratch.name)

# %% [markdown]
# ## A benchmark is a protocol
#
# It says which classes, how many ways, shots and queries, how many episodes, from which seed. `l2l list benchmarks`
# lists them.

# %%
benchmark = l2l.load_benchmark("glyphs-5w1s")
record = benchmark.record
print(f"{record.title}: {record.ways}-way {record.shots}-shot, {record.queries} queries a class,")
print(f"{record.episodes:,} episodes of seed {record.seed} from the {record.subset} classes of {record.dataset}")

# %% [markdown]
# ## Before training
#
# Always measure the untrained net first. It is far above chance, which is 20 % with five ways. (100 episodes instead of
# the protocol's 1,000, to be quick.)

# %%
untrained = l2l.training.build_learner(benchmark, "protonet", seed=0)
before = l2l.evaluate(benchmark, untrained, episodes=100, method="protonet")
print(before)
print("episodes:", before.episodes_digest[:16])

# %% [markdown]
# ## Training
#
# `train` draws episodes from the training classes, validates on the validation classes now and then, and gives the
# weights that validated best. It never sees a test class. A method's own settings, such as 60 ways, are for hours; with
# `settings` you take others. With `folder` it keeps checkpoints, a log and the weights, and goes on after a stop.

# %%
run_folder = Path(scratch.name) / "runs" / "protonet"
learner, run = l2l.training.train(
    benchmark,
    "protonet",
    episodes=20,
    settings={"train_ways": 10, "validation_episodes": 10},
    folder=run_folder,
)
print(f"trained on {run.episodes} episodes; validation {percent(run.best.accuracy, run.best.ci95)}")
print("kept:", ", ".join(sorted(path.name for path in run_folder.iterdir())))

after = l2l.evaluate(benchmark, learner, episodes=100, method="protonet", weights="weights.safetensors")
print(after)

# %% [markdown]
# In a shell: `l2l train glyphs-5w1s --method protonet --minutes 20`, then `l2l evaluate glyphs-5w1s --method protonet
# --weights runs/glyphs-5w1s-protonet-s0`.
#
# ## Two methods, pair by pair
#
# Some episodes are hard for every method, others easy. Two accuracies therefore rise and fall together, and the
# difference *on each episode* varies less than either. So the interval of the difference is narrower than the two
# intervals suggest, and fewer episodes tell two methods apart.

# %%
difference = paired(before, after)
print(f"trained minus untrained: {100 * difference.difference:+.2f} ± {100 * difference.ci95:.2f} points")
print(f"beyond noise: {difference.beyond_noise}")
print(f"interval, had each its own episodes: ± {100 * difference.unpaired_ci95:.2f} points")

# %% [markdown]
# Now another method. MAML adapts by gradient steps, and here gets hardly any training.

# %%
maml, _ = l2l.training.train(benchmark, "maml", episodes=8, settings={"validation_episodes": 10})
maml_report = l2l.evaluate(benchmark, maml, episodes=100, method="maml")
print(maml_report)
difference = paired(after, maml_report)
print(f"maml minus protonet: {100 * difference.difference:+.2f} ± {100 * difference.ci95:.2f} points")

# %% [markdown]
# On other episodes there is nothing to pair, and you are told:

# %%
try:
    paired(after, l2l.evaluate(benchmark, learner, episodes=50, seed=1, method="protonet"))
except l2l.errors.UsageError as error:
    print("UsageError:", error)

# %% [markdown]
# In a shell: `l2l compare A.json B.json`, of the files that `l2l evaluate --out A.json` writes.
#
# ## A report to look at
#
# A report is saved as JSON. Of one or several of them a page is made that holds everything, pictures included, and
# opens in any browser without a network: intervals, training curves, accuracy per class, hardest and easiest episodes.
# In a notebook, a report that is the last line of a cell shows itself as a table and a plot.

# %%
after.save(run_folder / "report.json")
maml_file = Path(scratch.name) / "maml.json"
maml_report.save(maml_file)

html = Path(scratch.name) / "report.html"
html.write_text(report_page(read_runs([run_folder, maml_file])), encoding="utf-8")
print(f"wrote {html.name}, {html.stat().st_size // 1024} KiB")

best_known = max(after.per_class.items(), key=lambda item: item[1][0] / item[1][1])
print("easiest class:", best_known[0], f"{best_known[1][0]} of {best_known[1][1]} queries")

# %% [markdown]
# In a shell: `l2l report runs/glyphs-5w1s-protonet-s0 maml.json --out both.html`.
#
# ## Beside the published figures
#
# What others published for a benchmark travels with the package, each figure with its source. `l2l leaderboard
# omniglot-5w1s` prints ours among them.

# %%
catalog = open_catalog()
rows = standings("omniglot-5w1s", catalog)
print(f"{len(rows)} figures of omniglot-5w1s, the best three:")
for row in rows[:3]:
    print(f"  {row.method}, {row.backbone}: {percent(row.accuracy, row.ci95)} ({'ours' if row.ours else 'published'})")

# %% [markdown]
# ## Recipes and the zoo
#
# How does one get a published figure again? A *recipe* says so: benchmark, method, settings, and two budgets, the
# paper's (`full`) and a `short` one for two processor cores. `l2l reproduce omniglot-5w1s-protonet` finds or fetches
# the data, trains, evaluates, and says whether the figure is reproduced.

# %%
recipe = catalog.recipe("omniglot-5w1s-protonet")
print(f"{len(catalog.recipes)} recipes, such as {recipe.name}: {recipe.title}")
for form, budget in recipe.forms.items():
    print(f"  {form}: {budget.episodes:,} episodes, settings {dict(budget.settings)}")

# %% [markdown]
# Small weights that such runs have left travel with the package: the *zoo*. With Omniglot in your cache, `l2l evaluate
# omniglot-5w1s --method protonet --weights zoo` is a good figure at once. Each file carries a card that says what it
# is.

# %%
print(f"in the zoo: {len(catalog.zoo())}")
for name, file in catalog.zoo().items():
    card = read_card(file)
    print(f"  {name}: {card['method']} of {card['benchmark']}, {percent(card['accuracy'], card['ci95'])}")

# %% [markdown]
# Next: [4_own_data.py](4_own_data.py), a benchmark of your own; [5_own_algorithm.py](5_own_algorithm.py), a method of
# your own.

# %%
scratch.cleanup()
