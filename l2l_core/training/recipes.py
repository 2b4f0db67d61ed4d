"""Reproducing a published figure: train as its recipe says, evaluate, and say how far from it one comes out."""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch

from l2l_core.algorithms.learner import Learner
from l2l_core.catalog import open_catalog
from l2l_core.data.benchmarks import Benchmark, load_benchmark
from l2l_core.distributed import is_first, own_device
from l2l_core.errors import UnknownNameError
from l2l_core.evaluation.own_results import result_row
from l2l_core.evaluation.report import Report, percent
from l2l_core.evaluation.run import evaluate
from l2l_core.records import RECIPE_FORMS, OwnResult, PublishedResult, RecipeForm, RecipeRecord
from l2l_core.training.build import build_learner, settings_of, usable_device
from l2l_core.training.loop import TrainingRun, train
from l2l_core.training.weights import FILE_NAME, round_to_half_, save_weights

SEED: Final = 0
"""Of the training; with the form it makes the weights."""
_AS_EXPECTED: Final = 0.005
"""Training runs of other machines, which round otherwise, end this far from each other and more, as a fraction."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of a recipe.

    Attributes:
        recipe, form: what was run.
        report: our figure.
        published: the row that was to be reached; None where there is none.
        expected: the accuracy that this form is to reach; None where nobody knows.
        training: how the weights came about; None where nothing was trained.
    """

    recipe: RecipeRecord
    form: RecipeForm
    report: Report
    published: PublishedResult | None
    expected: float | None
    training: TrainingRun | None

    @property
    def reproduced(self) -> bool | None:
        """Whether our interval reaches the published figure's, or lies above it; None where there is none."""
        if self.published is None:
            return None
        return self.report.accuracy + self.report.ci95 >= self.published.accuracy - (self.published.ci95 or 0.0)

    @property
    def as_expected(self) -> bool | None:
        """Whether the figure is what this form reaches, within its interval and half a point; None where unknown."""
        if self.expected is None:
            return None
        return abs(self.report.accuracy - self.expected) <= self.report.ci95 + _AS_EXPECTED

    def __str__(self) -> str:
        lines = [str(self.report)]
        if self.published is None:
            lines.append("no published figure is known")
        else:
            theirs = self.published
            difference = 100 * (self.report.accuracy - theirs.accuracy)
            verdict = "reproduced" if self.reproduced else "not reproduced"
            mark = "" if theirs.verified else ", unverified"
            lines.append(
                f"{verdict}: {difference:+.2f} points from {percent(theirs.accuracy, theirs.ci95)} "
                f"({theirs.method} on {theirs.backbone}; {theirs.source}{mark})"
            )
        if self.expected is None:
            lines.append(f"nobody has measured what the {self.form} form reaches")
        elif self.as_expected:
            lines.append(f"as expected of the {self.form} form: {percent(self.expected)}")
        else:
            lines.append(f"not as expected of the {self.form} form, which reaches {percent(self.expected)}")
        return "\n".join(lines)

    def as_result(self, note: str = "") -> OwnResult:
        """The row of ``metadata/results/own`` that says it."""
        seconds = 0.0 if self.training is None else self.training.seconds
        command = command_of(self.recipe.name, self.form)
        return result_row(self.report, seconds, command, recipe=self.recipe.name, form=self.form, note=note)


def command_of(recipe: str, form: RecipeForm) -> str:
    """What to type to run a form of a recipe."""
    return shlex.join(["l2l", "reproduce", recipe, *(["--form", form] if form != "short" else [])])


def reproduce(
    name: str,
    form: RecipeForm = "short",
    *,
    folder: Path,
    root: Path | None = None,
    episodes: int | None = None,
    device: str | torch.device | None = None,
    zoo: Path | None = None,
    progress: bool = False,
    say: Callable[[str], object] = warnings.warn,
) -> Reproduction:
    """What came of a recipe: its data is found or fetched, a learner trained and evaluated, the figure compared.

    What has been done already is not done again: weights in the folder that this form of the recipe has trained are
    evaluated, and a training that was stopped goes on.

    Args:
        name: of the recipe.
        form: "full" or "short".
        folder: where runs lie, each in a folder of its own, ``NAME-FORM``: its checkpoints, its log and its weights,
            and the report as ``report.json``.
        root: folder of the cache; None for ``L2L_HOME``, or else the user's cache folder.
        episodes: how many to evaluate on; the benchmark's number for None.
        device: where to train, as in `train`.
        zoo: a folder to write the weights to as well, in half their bytes, with the accuracy that they have so.
        progress: whether to show bars on stderr, where that is a terminal.
        say: is told where training goes on from.

    Raises:
        UnknownNameError: no such recipe or form.
        CatalogError: its entry is malformed.
        FetchError, ConsentError: the data is not there and cannot be fetched.
        And what `train` and `evaluate` raise.
    """
    catalog = open_catalog()
    if form not in RECIPE_FORMS:
        raise UnknownNameError("form", form, RECIPE_FORMS)
    recipe = catalog.recipe(name)
    trainer = recipe if recipe.trained_by is None else catalog.recipe(recipe.trained_by)
    benchmark = load_benchmark(recipe.benchmark, root=root, download=True)
    budget = trainer.forms[form]
    own = folder / f"{recipe.name}-{form}"
    run: TrainingRun | None = None
    learner = build_learner(benchmark, recipe.method, backbone=budget.backbone, settings=budget.settings)
    learner = learner.to(usable_device(own_device(device)))
    if budget.episodes:
        trained_on = load_benchmark(trainer.benchmark, root=root, download=True)
        trained, run = _trained(trainer, form, trained_on, folder, device, progress, say)
        learner.load_state_dict(trained.state_dict())
    command = command_of(name, form)
    measure = partial(
        evaluate,
        benchmark,
        learner,
        episodes,
        method=recipe.method,
        weights=None if run is None else f"{trainer.name}-{form}/{FILE_NAME}",
        backbone=budget.backbone,
        settings=settings_of(benchmark, recipe.method, budget.backbone, budget.settings),
        command=command,
        progress=progress,
    )
    report = measure()
    if is_first():
        report.save(own / "report.json")
    if zoo is not None and run is not None and trainer is recipe:
        round_to_half_(learner)
        _save_to_zoo(zoo / f"{recipe.name}.safetensors", learner, run, measure())
    published = _published(recipe)
    expected = recipe.forms[form].expected
    if expected is None and form == "full" and published is not None:
        expected = published.accuracy
    return Reproduction(recipe, form, report, published, expected, run)


def _trained(
    recipe: RecipeRecord,
    form: RecipeForm,
    benchmark: Benchmark,
    folder: Path,
    device: str | torch.device | None,
    progress: bool,
    say: Callable[[str], object],
) -> tuple[Learner, TrainingRun]:
    budget = recipe.forms[form]
    return train(
        benchmark,
        recipe.method,
        episodes=budget.episodes,
        seed=SEED,
        backbone=budget.backbone,
        settings=budget.settings,
        folder=folder / f"{recipe.name}-{form}",
        device=device,
        command=command_of(recipe.name, form),
        progress=progress,
        say=say,
    )


def _save_to_zoo(path: Path, learner: Learner, run: TrainingRun, report: Report) -> None:
    if not is_first():
        return
    measured = {name: getattr(report, name) for name in ("accuracy", "ci95", "episodes_digest", "command")}
    save_weights(path, learner, run, half=True, **measured, test_episodes=report.episodes)


def _published(recipe: RecipeRecord) -> PublishedResult | None:
    rows = open_catalog().published(recipe.benchmark)
    return next((row for row in rows if (row.method, row.backbone) == recipe.published), None)
