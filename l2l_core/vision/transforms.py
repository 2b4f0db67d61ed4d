"""learn2learn's transforms of pictures, under the names that it gives them."""

from l2l_core.data.augment import RandomClassRotation

__all__ = ["RandomClassRotation"]
