"""What networks of pictures share: a look at their input, and a classifier on top of features.

Letters in shapes: M examples, C H W image, D embedding, N ways.
"""

from math import prod

import torch
from torch import Tensor, nn

from l2l_core.errors import UsageError


def check_pictures(net: str, images_MCHW: Tensor, channels: int, smallest: int = 1) -> None:
    """Nothing, where a net can take those pictures.

    Args:
        net: its name, for the message.
        images_MCHW: what it was given.
        channels: C that it was built for.
        smallest: least height and width that leave something of a picture after the last pool.

    Raises:
        UsageError: another number of axes or channels, or too small.
    """
    if images_MCHW.ndim != 4 or images_MCHW.shape[1] != channels:
        raise UsageError(
            f"{net} takes pictures [M, {channels}, H, W], but was given {list(images_MCHW.shape)}; "
            "reshape them, or build it with their number of channels"
        )
    height, width = images_MCHW.shape[2:]
    if min(height, width) < smallest:
        raise UsageError(
            f"{net} was given pictures of {height}×{width} pixels, but its pools leave nothing of less than "
            f"{smallest}×{smallest}; resize them"
        )


def output_shape(net: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what a net makes of one picture of that C, H and W.

    Raises:
        UsageError: the net cannot take it.
    """
    training = {part: part.training for part in net.modules()}
    try:
        with torch.no_grad():
            # Two, since BatchNorm refuses to normalise a single value.
            made: Tensor = net.eval()(torch.zeros(2, *image))
    except RuntimeError as error:
        what = str(error).splitlines()[0]
        raise UsageError(
            f"{type(net).__name__} cannot embed pictures {list(image)} ({what}); take another backbone"
        ) from error
    finally:
        for part, mode in training.items():
            part.training = mode
    return tuple(made.shape[1:])


def embedding_size(backbone: nn.Module, image: tuple[int, ...]) -> int:
    """D, how many numbers a backbone makes of a picture of that C, H and W, or of another input of that shape.

    A backbone of texts, which takes no such numbers, says it itself.

    Raises:
        UsageError: the backbone cannot take it.
    """
    if isinstance(size := getattr(backbone, "embedding_size", None), int):
        return size
    return prod(output_shape(backbone, image))


class FeaturesClassifier(nn.Module):
    """Features, and a classifier on top of them: the form of learn2learn's models. Its value is logits [M, N].

    Attributes:
        features: from pictures to embeddings [M, D].
        classifier: from embeddings to logits; anything may take the linear layer's place.
        width_argument: the constructor's argument that sets the D which the classifier takes.
    """

    features: nn.Module
    classifier: nn.Module
    width_argument = "hidden_size"

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """Logits [M, N] of pictures [M, C, H, W].

        Raises:
            UsageError: pictures that the features cannot take, or of a size that gives another D than the
                classifier's.
        """
        embeddings_MD = self.features(images_MCHW)
        width = embeddings_MD.shape[-1]
        expected = getattr(self.classifier, "in_features", width)
        if width != expected:
            raise UsageError(
                f"the features of {type(self).__name__} are {width} wide for pictures {list(images_MCHW.shape[1:])}, "
                f"but its classifier takes {expected}; build it with {self.width_argument}={width}, or resize the "
                "pictures"
            )
        return self.classifier(embeddings_MD)  # type: ignore[no-any-return]  # Module.__call__ is untyped
