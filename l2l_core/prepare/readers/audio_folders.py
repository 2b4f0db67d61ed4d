"""Layout ``audio_folders``: a class is a folder of files of sound, named by the last folder of their path.

They are of any kind that `l2l_core.prepare.sounds` reads, at the sampling rate of the record, of any length, none
included: a recording at another rate is another edition of the data, and is refused, not resampled. Folders whose names
begin with ``_`` hold something else, such as background noise, and are passed over, and so are files beside the
folders. The examples of a class stand in the order of their file names.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, SourceDigest, one_folder_a_class, refuse_strangers, said_of
from l2l_core.prepare.sounds import decode_sound, is_sound


def options_of(options: Mapping[str, Any], where: str) -> None:
    """Nothing: this layout has no options.

    Raises:
        CatalogError: there is one; names each.
    """
    with every_field(options, where):
        pass


def recognises(tree: Tree, options: None) -> bool:
    """Whether there are files of sound in folders."""
    return any(_class_of(name) is not None for name in tree.names())


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The recordings of the wanted classes in a tree.

    Raises:
        ContentError: a class is missing, unknown, in two places or has another number of recordings than it should; or,
            from `load`, a recording cannot be read, or is not what it should be.
        CatalogError: the options are malformed.
        UsageError: from `load`, a recording takes the extra ``audio``, which is not installed.
    """
    options_of(wanted.options, f"{wanted.dataset}: ")
    assert wanted.sample_rate_hz is not None  # the catalogue has it of all sounds
    rate_hz = wanted.sample_rate_hz
    members: dict[str, list[str]] = {}
    for name in tree.names():
        if (class_name := _class_of(name)) is not None:
            members.setdefault(class_name, []).append(name)
    refuse_strangers(members, wanted, tree, ADVICE)
    one_folder_a_class(members, wanted, tree)
    check_classes(wanted, members, tree.name, ADVICE)
    examples = {name: members[name] for name in wanted.classes}
    source = SourceDigest()

    def load(member: str) -> npt.NDArray[np.int16]:
        content = tree.read(member)
        source.add(member, content)
        return said_of(f"{wanted.dataset}: {member} in {tree.name}", lambda: _samples(content, rate_hz))

    return RawDataset(examples, load, lambda: source.of_classes(examples), None)


def _class_of(name: str) -> str | None:
    folders, _, file = name.rpartition("/")
    folder = folders.rpartition("/")[2]
    return folder if folder and not folder.startswith("_") and is_sound(file) else None


def _samples(content: bytes, sample_rate_hz: int) -> npt.NDArray[np.int16]:
    """The samples of a file of sound, int16 [samples].

    Raises:
        ContentError: it is damaged or of another rate; the message is the second half of a sentence.
    """
    found_hz, samples = decode_sound(content)
    if found_hz != sample_rate_hz:
        raise ContentError(
            f"has {found_hz:,} samples a second instead of {sample_rate_hz:,}; give the original recordings"
        )
    return samples
