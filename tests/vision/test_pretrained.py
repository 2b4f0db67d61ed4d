"""Published backbones: which there are, and that a file is read as numbers or refused."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from l2l_core.catalog import open_catalog
from l2l_core.errors import ContentError, UnknownNameError
from l2l_core.nn import CNN4Backbone, ResNet12Backbone, WRN28Backbone
from l2l_core.records import FileRecord
from l2l_core.vision import pretrained
from l2l_core.vision.pretrained import get_pretrained_backbone


def place(root: Path, dataset: str, model: str, net: nn.Module) -> Path:
    path = root / "pretrained_models" / dataset / f"{model}.pth"
    path.parent.mkdir(parents=True)
    torch.save({name: value for name, value in net.state_dict().items() if not name.endswith(".passes")}, path)
    return path


@pytest.mark.parametrize(
    ("dataset", "model", "net"),
    [
        ("cifar-fs", "cnn4", lambda: CNN4Backbone(channels=3, max_pool=True)),
        ("mini-imagenet", "resnet12", lambda: ResNet12Backbone(avg_pool=False)),
        ("tiered-imagenet", "wrn28", WRN28Backbone),
    ],
)
def test_a_placed_file_is_loaded(tmp_path: Path, dataset: str, model: str, net: object) -> None:
    assert callable(net)
    torch.manual_seed(0)
    trained = net()
    place(tmp_path, dataset, model, trained)
    found = get_pretrained_backbone(model, dataset, root=tmp_path)
    assert type(found) is type(trained)
    for name, value in trained.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_download_is_asked_for_in_words_and_goes_through_the_fetcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pretrained_models/fc100/cnn4.pth"
    url = "https://zenodo.org/records/5651278/files/w02f5vab.pth"
    with pytest.raises(ContentError) as absent:
        get_pretrained_backbone("cnn4", "fc100", root=tmp_path)
    assert str(absent.value) == f"there is no file {path}; give download=True, or place {url} there"
    asked: list[tuple[FileRecord, Path]] = []

    def fetched(file: FileRecord, target: Path) -> Path:
        asked.append((file, target))
        return place(tmp_path, "fc100", "cnn4", CNN4Backbone(channels=3, max_pool=True))

    monkeypatch.setattr(pretrained, "fetch", fetched)
    assert isinstance(get_pretrained_backbone("cnn4", "fc100", root=tmp_path, download=True), CNN4Backbone)
    get_pretrained_backbone("cnn4", "fc100", root=tmp_path, download=True)  # which is there now
    assert asked == [(FileRecord("cnn4.pth", (url,), at_most_bytes=400_000_000), path)]


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("sprung"),)  # type: ignore[return-value]  # what pickles may say


def test_a_foreign_file_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = place(tmp_path, "cifar-fs", "cnn4", nn.Linear(2, 2))
    with pytest.raises(ContentError, match=r"cnn4\.pth holds no weights of cnn4 \(Error\(s\) in loading state_dict"):
        get_pretrained_backbone("cnn4", "cifar-fs", root=tmp_path)
    for content in (b"", b"<html>sign in</html>", pickle.dumps(Trap()), pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(ContentError, match=r"cnn4\.pth holds no weights of cnn4 \(.*remove it and fetch it again"):
            get_pretrained_backbone("cnn4", "cifar-fs", root=tmp_path)
    assert not Path("sprung").exists()


def test_unknown_names_are_answered_with_the_nearest() -> None:
    for asked, message in (
        (("cnn4", "omniglot"), "unknown data set with pretrained backbones 'omniglot'"),
        (("resnet18", "mini-imagenet"), "unknown backbone pretrained on mini-imagenet 'resnet18'"),
        (("cnn4", "fc100", "protonet"), "unknown training of a backbone 'protonet'"),
    ):
        with pytest.raises(UnknownNameError) as caught:
            get_pretrained_backbone(*asked)
        assert str(caught.value).startswith(message)
    assert {row["spec"] for row in open_catalog().pretrained()} == {"supervised"}
