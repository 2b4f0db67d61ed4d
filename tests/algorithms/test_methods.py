"""The methods by name."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import l2l_core.algorithms
from l2l_core.algorithms import METHODS, MAMLLearner, ProtoNet, Setting, TrainingSettings, get_method
from l2l_core.data.benchmarks import load_benchmark
from l2l_core.errors import UnknownNameError, UsageError


def test_listing_the_methods_does_not_import_torch() -> None:
    program = (
        "import sys; from l2l_core.algorithms import METHODS, Setting; "
        "[m.training(Setting(5, 1)) for m in METHODS.values()]; "
        "assert 'torch' not in sys.modules; from l2l_core.algorithms import MAML; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_every_public_name_is_there() -> None:
    for name in l2l_core.algorithms.__all__:
        assert getattr(l2l_core.algorithms, name) is not None
    with pytest.raises(AttributeError, match="MAMl"):
        _ = l2l_core.algorithms.MAMl


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as error:
        get_method("reptil")
    assert str(error.value) == "unknown method 'reptil'; did you mean 'reptile'?"


def test_descriptions_are_one_line_each() -> None:
    assert list(METHODS) == sorted(METHODS)
    for method in METHODS.values():
        assert method.description
        assert "\n" not in method.description


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("ways", "shots", "channels"), [(5, 1, 1), (20, 5, 3), (2, 1, 1)])
def test_every_method_builds_a_learner_for_its_episodes(name: str, ways: int, shots: int, channels: int) -> None:
    torch.manual_seed(0)
    learner = get_method(name).build(Setting(ways, shots, (channels, 28, 28), classes=6)).eval()
    support_y = torch.arange(ways).repeat_interleave(shots)[None]
    logits = learner.adapt(torch.rand(1, ways * shots, channels, 28, 28), support_y)(torch.rand(1, 3, channels, 28, 28))
    assert logits.shape == (1, 3, ways)
    assert logits.isfinite().all()


def test_the_settings_are_those_stated() -> None:
    protonet = get_method("protonet")
    assert protonet.training(Setting(5, 1)) == TrainingSettings(60, 1, 5, 1, 1e-3, 2_000)
    assert protonet.training(Setting(20, 5)) == TrainingSettings(60, 5, 5, 1, 1e-3, 2_000)
    learner = protonet.build(Setting(5, 1))
    assert isinstance(learner, ProtoNet)
    assert learner.backbone(torch.rand(2, 1, 28, 28)).shape == (2, 64)

    for name, first_order in (("maml", False), ("fomaml", True)):
        method = get_method(name)
        assert method.training(Setting(5, 1)) == TrainingSettings(5, 1, 5, 8, 1e-3, None)
        assert method.training(Setting(20, 5)) == TrainingSettings(20, 5, 5, 4, 1e-3, None)
        for ways, steps, test_steps in ((5, 1, 3), (20, 5, 5)):
            learner = method.build(Setting(ways, 1))
            assert isinstance(learner, MAMLLearner)
            assert (learner.lr, learner.steps, learner.test_steps) == (0.5, steps, test_steps)
            assert learner.first_order is first_order
            assert not list(learner.buffers())
            assert sum(isinstance(layer, nn.Conv2d) for layer in learner.modules()) == 4


def test_the_same_seed_builds_the_same_learner() -> None:
    for name in METHODS:
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(get_method(name).build(Setting(5, 1, classes=6)).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_photographs_have_recipes_and_backbones_of_their_own() -> None:
    one, five = (Setting(5, shots, (3, 84, 84), classes=64) for shots in (1, 5))
    assert get_method("maml").training(one) == TrainingSettings(5, 1, 15, 4, 1e-3, clip=10.0)
    assert get_method("maml").training(five) == TrainingSettings(5, 5, 15, 2, 1e-3, clip=10.0)
    assert get_method("boil").training(five).meta_batch == 4
    assert [get_method("protonet").training(each).train_ways for each in (one, five)] == [30, 20]
    assert get_method("r2d2").training(one).train_ways == 16
    learner = get_method("maml").build(one)
    assert isinstance(learner, MAMLLearner)
    assert (learner.lr, learner.steps, learner.test_steps) == (0.05, 5, 10)
    assert learner.model.classifier.in_features == 800
    assert type(get_method("r2d2").build(Setting(5, 1, (3, 32, 32))).backbone).__name__ == "R2D2Backbone"
    assert type(get_method("metaoptnet").build(Setting(5, 1, (3, 32, 32))).backbone).__name__ == "ResNet12Backbone"


def test_maml_plus_plus_has_statistics_for_each_step() -> None:
    learner = get_method("maml++").build(Setting(5, 1))
    statistics = [buffer for name, buffer in learner.named_buffers() if name.endswith("running_mean")]
    assert [tuple(each.shape) for each in statistics] == [(5, 64)] * 4


@pytest.mark.parametrize("backbone", ["conv4-32", "conv4-stride", "r2d2", "resnet12", "wrn28"])
def test_every_backbone_serves_methods_of_each_kind(backbone: str) -> None:
    torch.manual_seed(0)
    episode = torch.rand(1, 2, 3, 32, 32), torch.arange(2)[None], torch.rand(1, 2, 3, 32, 32), torch.arange(2)[None]
    for name in ("anil", "protonet", "simpleshot"):
        learner = get_method(name).build(Setting(2, 1, (3, 32, 32), classes=3, backbone=backbone))
        loss, _ = learner.meta_loss(*episode)
        assert loss.isfinite()
        assert learner.eval().adapt(*episode[:2])(episode[2]).shape == (1, 2, 2)


def test_an_unknown_backbone_and_one_that_is_none() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        get_method("maml").build(Setting(5, 1, backbone="conv5"))
    assert str(unknown.value).startswith("unknown backbone 'conv5'; did you mean 'conv4'")
    with pytest.raises(UsageError) as fixed:
        get_method("relation-net").build(Setting(5, 1, backbone="conv4"))
    assert str(fixed.value) == (
        "relation-net was asked for the backbone conv4, but it compares maps, which only its own gives; leave it out"
    )
    with pytest.raises(UsageError) as none:
        get_method(get_method("maml"))  # type: ignore[arg-type]
    assert str(none.value) == (
        "found a MethodSpec instead of the name of a method; put a MethodSpec of your own into METHODS, and "
        "give its name"
    )


def test_the_inner_loop_of_proto_maml_does_no_harm(glyphs_home: Path) -> None:
    """At a rate of 0.1 it took 20 points from the prototypes of five shots."""
    episodes = load_benchmark("glyphs-5w5s", root=glyphs_home).episodes().batch(range(12))
    torch.manual_seed(0)
    learner = get_method("proto-maml").build(Setting(5, 5)).eval()
    accuracy = {}
    for steps in (0, learner.test_steps):
        learner.test_steps = steps
        logits = learner.adapt(episodes.support_x, episodes.support_y)(episodes.query_x)
        accuracy[steps] = (logits.argmax(dim=-1) == episodes.query_y).float().mean().item()
    assert accuracy[10] > accuracy[0] - 0.02
