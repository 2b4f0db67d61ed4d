"""Trained backbones: what they compute, that nothing in them moves, and what is said where one cannot be had."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.nn import functional

from l2l_core.algorithms.methods import Setting, get_method
from l2l_core.catalog import Catalog, read_card
from l2l_core.errors import ContentError, FetchError, UnknownNameError, UsageError
from l2l_core.nn import pretrained
from l2l_core.nn.backbones import Conv4
from l2l_core.nn.by_name import build_backbone
from l2l_core.nn.pretrained import FrozenBackbone, read_weights
from l2l_core.records import FileRecord

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
CARD = {"method": "protonet", "benchmark": "glyphs-5w1s", "backbone": None}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """An empty folder of torch's hub, and not the user's."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path / "hub")
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


def place(hub: Path, name: str) -> nn.Module:
    """Random weights where torchvision looks for its own; gives the model that has them."""
    torch.manual_seed(0)
    net: nn.Module = torchvision.models.get_model(name, weights=None)
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    hub.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), hub / Path(url).name)
    return net.eval()


def write_weights(path: Path, tensors: dict[str, torch.Tensor], **card: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, path, {"card": json.dumps({**CARD, **card})})
    return path


def named(net: nn.Module, prefix: str = "backbone.") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value.contiguous() for name, value in net.state_dict().items()}


def test_torchvisions_features_are_its_own_after_its_own_preprocessing(hub: Path) -> None:
    net = place(hub, "resnet18")
    backbone = build_backbone("torchvision:resnet18", (3, 84, 84))
    assert isinstance(backbone, FrozenBackbone)
    pictures = torch.rand(2, 3, 84, 84, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    net.avgpool.register_forward_hook(lambda *found: seen.append(found[2]))
    as_torchvision_does = torchvision.transforms.functional
    large = as_torchvision_does.resize(pictures, [224, 224], antialias=True)
    with torch.no_grad():
        net(as_torchvision_does.normalize(large, MEAN.tolist(), STD.tolist()))
    torch.testing.assert_close(backbone(pictures), seen[0].flatten(1), rtol=1e-4, atol=1e-5)
    grey = pictures[:, :1]
    torch.testing.assert_close(backbone(grey), backbone(grey.repeat(1, 3, 1, 1)))
    assert not torch.allclose(backbone(grey), backbone(pictures), atol=1e-3)


@pytest.mark.parametrize(("name", "width"), [("squeezenet1_1", 512), ("mobilenet_v3_small", 1024)])
def test_the_head_is_taken_off_wherever_it_is(hub: Path, name: str, width: int) -> None:
    place(hub, name)
    assert build_backbone(f"torchvision:{name}", (1, 28, 28))(torch.rand(2, 1, 28, 28)).shape == (2, width)


@pytest.mark.parametrize("method", ["simpleshot", "maml", "anil"])
def test_nothing_frozen_moves_whatever_the_learner_does(hub: Path, method: str) -> None:
    net = place(hub, "resnet18")
    setting = Setting(2, 1, (1, 28, 28), classes=3, backbone="torchvision:resnet18")
    learner = get_method(method).build(setting).train()
    (backbone,) = (part for part in learner.modules() if isinstance(part, FrozenBackbone))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    episode = torch.rand(1, 2, 1, 28, 28), torch.arange(2)[None], torch.rand(1, 2, 1, 28, 28), torch.arange(2)[None]
    loss, _ = learner.meta_loss(*episode)
    assert loss.requires_grad is (method != "simpleshot")
    if loss.requires_grad:
        torch.autograd.backward(loss)
    found = backbone.net.state_dict()
    for name, value in net.state_dict().items():
        assert name.startswith("fc.") or torch.equal(found[name], value), name


def test_batch_norm_never_takes_the_statistics_of_the_batch() -> None:
    torch.manual_seed(0)
    net = Conv4(hidden=4)
    for _ in range(3):
        net(3 + torch.randn(8, 1, 28, 28))
    expected = net.eval()(torch.ones(1, 1, 28, 28))
    backbone = FrozenBackbone(net)
    for layer in backbone.train().modules():
        layer.training = isinstance(layer, nn.BatchNorm2d)  # as the policy "batch" of a learner has it
    together = backbone(torch.cat([torch.ones(1, 1, 28, 28), torch.rand(5, 1, 28, 28)]))
    torch.testing.assert_close(together[:1], expected)


def test_examples_of_a_frozen_network_are_embedded_once_each(hub: Path) -> None:
    place(hub, "resnet18")
    setting = Setting(2, 1, (1, 28, 28), classes=3, backbone="torchvision:resnet18")
    learner = get_method("protonet").build(setting)
    assert learner.embeds_alone
    assert learner.train().embeds_alone


def test_a_download_goes_through_the_fetcher_and_its_failure_says_what_to_do(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FileRecord] = []

    def fails(file: FileRecord, target: Path) -> Path:
        asked.append(file)
        raise FetchError(f"cannot download {file.name} (no network); get it another way and place it at {target}")

    monkeypatch.setattr(pretrained, "download", fails)
    with pytest.raises(FetchError) as caught:
        build_backbone("torchvision:resnet18", (3, 84, 84))
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert str(caught.value) == (
        f"torchvision:resnet18 needs {url}: cannot download resnet18-f37072fd.pth (no network); get it another way "
        f"and place it at {hub / 'resnet18-f37072fd.pth'}"
    )
    assert [file.urls for file in asked] == [(url,)]


def test_a_foreign_file_in_the_hub_is_refused(hub: Path) -> None:
    place(hub, "resnet18")
    (path,) = hub.iterdir()
    for content in (b"", b"<html>sign in</html>", path.read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(ContentError, match=r"resnet18-f37072fd\.pth holds no weights of resnet18 \(.*remove it"):
            build_backbone("torchvision:resnet18", (3, 84, 84))


class Tiny(nn.Module):
    """What the fake timm has: the mean colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def fake_timm(**answers: Any) -> SimpleNamespace:
    form = {"input_size": (3, 32, 48), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bicubic"}
    return SimpleNamespace(
        is_model=lambda name: name == "tiny",
        list_models=lambda: ["tiny"],
        create_model=answers.get("create_model", lambda name, pretrained, num_classes: Tiny()),
        data=SimpleNamespace(resolve_model_data_config=lambda net: form),
    )


def test_timms_features_follow_its_data_config(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, bool, int]] = []

    def create_model(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        made.append((name, pretrained, num_classes))
        return Tiny()

    timm = fake_timm(create_model=create_model)
    monkeypatch.setattr(pretrained, "import_module", lambda name: {"timm": timm}[name])
    backbone = build_backbone("timm:tiny", (1, 28, 28))
    assert made == [("tiny", True, 0)]
    pictures = torch.rand(3, 1, 28, 28)
    large = functional.interpolate(pictures, (32, 48), mode="bicubic", align_corners=False, antialias=True)
    expected = ((large - 0.5) / 0.25).mean(dim=(2, 3)).expand(3, 3)
    torch.testing.assert_close(backbone(pictures), expected)
    with pytest.raises(UnknownNameError, match="unknown model of timm 'tini'; did you mean 'tiny'"):
        build_backbone("timm:tini", (1, 28, 28))

    def fails(*_: object, **__: object) -> nn.Module:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(pretrained, "import_module", lambda _: fake_timm(create_model=fails))
    with pytest.raises(FetchError) as caught:
        build_backbone("timm:tiny", (1, 28, 28))
    assert str(caught.value) == (
        "the weights of timm:tiny could not be got (no route); let timm fetch them where there is a network, and copy "
        "the hub's cache folder (HF_HOME) here"
    )


def test_timm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(pretrained, "import_module", absent)
    with pytest.raises(UsageError) as caught:
        build_backbone("timm:resnet18", (3, 84, 84))
    assert str(caught.value) == (
        "timm:resnet18 was asked for, but the package timm is not here (No module named 'timm'); install it with "
        "`pip install l2l-core[timm]`"
    )


@pytest.mark.parametrize("name", ["conv4", "conv4-32", "conv4-stride", "r2d2", "resnet12"])
def test_weights_of_our_own_are_found_to_be_of_their_backbone(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(name, (3, 32, 32)).eval()
    half = {key: value.half() if value.is_floating_point() else value for key, value in named(net).items()}
    path = write_weights(tmp_path / "w.safetensors", {**half, "log_scale": torch.ones(())}, backbone=name)
    found = build_backbone(str(path), (3, 32, 32))
    assert isinstance(found, FrozenBackbone)
    pictures = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(found(pictures), net(pictures).flatten(1), rtol=0.05, atol=0.05)
    assert type(found.net) is type(net)
    assert {value.dtype for key, value in found.state_dict().items() if key.endswith("weight")} == {torch.float32}


def test_a_card_without_a_backbone_means_the_methods_own(tmp_path: Path) -> None:
    for running_stats in (True, False):
        path = write_weights(tmp_path / f"{running_stats}.safetensors", named(Conv4(running_stats=running_stats)))
        found = build_backbone(str(path), (1, 28, 28))
        assert isinstance(found, FrozenBackbone)
        assert isinstance(found.net, Conv4)
        assert found.net.downsample == "pool"
        assert ("net.blocks.0.1.running_mean" in found.state_dict()) is running_stats


def test_the_zoo_is_what_lies_in_the_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights(tmp_path / "metadata/zoo/mine.safetensors", named(Conv4()))
    (tmp_path / "catalog").mkdir()
    assert Catalog((tmp_path,)).zoo() == {"mine": path}
    monkeypatch.setenv("L2L_CATALOG", str(tmp_path))
    assert isinstance(build_backbone("zoo:mine", (1, 28, 28)), FrozenBackbone)
    with pytest.raises(UnknownNameError, match="unknown weights in the zoo 'mini'; did you mean 'mine'"):
        build_backbone("zoo:mini", (1, 28, 28))


def test_weights_that_do_not_fit_are_refused_in_words(tmp_path: Path) -> None:
    grey = write_weights(tmp_path / "grey.safetensors", named(Conv4()), backbone="conv4")
    maml = write_weights(tmp_path / "maml.safetensors", named(Conv4(), "model.features."), method="maml")
    bare = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(named(Conv4()), bare)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(grey.read_bytes()[:-8])
    refused = {
        (grey, 3): f"the backbone in {grey}, which was trained on glyphs-5w1s, is none of conv4 for pictures of 3 "
        "channels; take weights that were trained on such pictures",
        (maml, 1): f"{maml} holds weights of maml, none of which is of a backbone; give those of a method that embeds, "
        "such as protonet",
        (bare, 1): f"{bare} holds no weights with a card (no '__metadata__'); give a file of weights that `l2l train` "
        "wrote",
        (
            tmp_path / "no.safetensors",
            1,
        ): f"there is no file {tmp_path / 'no.safetensors'}; give a file of weights that `l2l train` wrote",
    }
    for (path, channels), message in refused.items():
        with pytest.raises(ContentError) as caught:
            build_backbone(str(path), (channels, 28, 28))
        assert str(caught.value) == message
    with pytest.raises(ContentError, match=r"cut\.safetensors is damaged \(.*\); train again, or get another copy"):
        build_backbone(str(cut), (1, 28, 28))
    for content in (b"", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"):
        cut.write_bytes(content)
        with pytest.raises(ContentError, match=r"holds no weights with a card"):
            read_card(cut)


def test_the_card_is_read_with_the_weights_and_without(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", {"a": torch.arange(3.0)}, accuracy=0.5)
    tensors, card = read_weights(path)
    assert torch.equal(tensors["a"], torch.arange(3.0))
    assert card == read_card(path) == {**CARD, "accuracy": 0.5}


def test_unknown_names_are_answered_with_the_nearest(hub: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown model of torchvision 'resnet19'; did you mean 'resnet18'"):
        build_backbone("torchvision:resnet19", (3, 84, 84))
    with pytest.raises(UsageError) as caught:
        build_backbone("hub:resnet18", (3, 84, 84))
    assert str(caught.value) == (
        "found the backbone 'hub:resnet18'; give torchvision:NAME, timm:NAME, zoo:NAME or the path of a .safetensors "
        "file"
    )
    place(hub, "resnet18")
    with pytest.raises(UsageError) as caught:
        build_backbone("torchvision:resnet18", (2, 84, 84))
    assert str(caught.value) == (
        "a pretrained backbone takes pictures [M, 1 or 3, H, W], but was given [2, 2, 84, 84]; reshape them, or take "
        "another backbone"
    )


def test_vectors_need_no_backbone_and_methods_that_adapt_one_take_them_too() -> None:
    vectors = torch.rand(1, 5, 7)
    assert torch.equal(build_backbone("minilm", (7,))(vectors), vectors)
    learner = get_method("maml").build(Setting(5, 1, (7,), backbone="minilm"))
    assert {name: tuple(value.shape) for name, value in learner.named_parameters()} == {
        "model.classifier.weight": (5, 7),
        "model.classifier.bias": (5,),
    }
    assert learner.eval().adapt(vectors, torch.arange(5)[None])(vectors).shape == (1, 5, 5)
