"""Layout ``text_folders``: a class is a folder of text files, one an example, named by the last folder of their path.

1. The files are those whose names fit `files`; what lies beside them is passed over.
2. They are in one encoding, that of `encoding`; a byte order mark belongs to no text. An empty file is a text, too.
3. Folders of the same name, such as those of a training and of a test part, are one class. The examples of a class
   stand in the order of their paths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.fields import every_field
from l2l_core.prepare.readers import RawDataset, Wanted, check_classes
from l2l_core.prepare.readers._members import ADVICE, SourceDigest, refuse_strangers, said_of
from l2l_core.prepare.readers._tables import matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which files are texts, and how.

    Attributes:
        files: what they are called, in whatever folder; patterns of `fnmatch`.
        encoding: "utf-8" or "latin-1".
    """

    files: tuple[str, ...]
    encoding: str


def options_of(options: Mapping[str, Any], where: str) -> Options:
    """The options of a catalogue entry.

    Raises:
        CatalogError: a field is missing, unknown or has a value that cannot be; names each.
    """
    with every_field(options, where) as fields:
        return Options(files=fields.text_or_texts("files"), encoding=fields.choice("encoding", ("utf-8", "latin-1")))


def recognises(tree: Tree, options: Options) -> bool:
    """Whether there are such files in folders."""
    return any("/" in name for name in matching(tree, options.files))


def read(tree: Tree, wanted: Wanted) -> RawDataset:
    """The texts of the wanted classes in a tree.

    Raises:
        ContentError: a class is missing, unknown or has another number of texts than it should; or, from `load`, a text
            is not in the encoding.
        CatalogError: the options are malformed.
    """
    options = options_of(wanted.options, f"{wanted.dataset}: ")
    members: dict[str, list[str]] = {}
    for name in matching(tree, options.files):
        folder = name.rpartition("/")[0].rpartition("/")[2]
        if folder:
            members.setdefault(folder, []).append(name)
    refuse_strangers(members, wanted, tree, ADVICE)
    check_classes(wanted, members, tree.name, ADVICE)
    examples = {name: members[name] for name in wanted.classes}
    source = SourceDigest()

    def load(member: str) -> npt.NDArray[np.uint8]:
        content = tree.read(member)
        source.add(member, content)
        return said_of(f"{wanted.dataset}: {member} in {tree.name}", lambda: _utf8(content, options.encoding))

    return RawDataset(examples, load, lambda: source.of_classes(examples), None)


def _utf8(content: bytes, encoding: str) -> npt.NDArray[np.uint8]:
    """The text as UTF-8, uint8 [bytes].

    Raises:
        ContentError: it is in another encoding; half a sentence.
    """
    try:
        # Every byte is a letter of Latin-1, so that only UTF-8 can fail, and only it has a mark.
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise ContentError(f"is not UTF-8 ({error.reason} at byte {error.start:,}); {ADVICE}") from None
    return np.frombuffer(text.encode(), np.uint8)
