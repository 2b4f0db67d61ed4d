"""The methods by name."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import l2l_core.algorithms
from l2l_core.algorithms import METHODS, MAMLLearner, ProtoNet, Setting, TrainingDefaults, get_method
from l2l_core.errors import UnknownNameError


def test_listing_the_methods_does_not_import_torch() -> None:
    program = (
        "import sys; from l2l_core.algorithms import METHODS; [m.training(5, 1) for m in METHODS.values()]; "
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
    assert protonet.training(5, 1) == TrainingDefaults(60, 1, 5, 1, 1e-3, 2_000)
    assert protonet.training(20, 5) == TrainingDefaults(60, 5, 5, 1, 1e-3, 2_000)
    learner = protonet.build(Setting(5, 1))
    assert isinstance(learner, ProtoNet)
    assert learner.backbone(torch.rand(2, 1, 28, 28)).shape == (2, 64)

    for name, first_order in (("maml", False), ("fomaml", True)):
        method = get_method(name)
        assert method.training(5, 1) == TrainingDefaults(5, 1, 5, 8, 1e-3, None)
        assert method.training(20, 5) == TrainingDefaults(20, 5, 5, 4, 1e-3, None)
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
