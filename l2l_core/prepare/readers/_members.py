"""What the readers of one file an example share: finding files and classes, decoding members, naming the source."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from operator import eq
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from l2l_core.errors import CatalogError, ContentError
from l2l_core.fetch.archives import Tree
from l2l_core.prepare.pictures import Box, PictureOptions, cut, open_picture, to_array
from l2l_core.prepare.readers import Wanted

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
ADVICE = "give a complete copy in the layout of the official files"
VALIDATION = ("val", "valid", "validation")
"""How the names of files spell that subset."""


def leading_number(name: str) -> int | None:
    """The whole number that begins a name, None where none does: 12 of ``00012`` and of ``12.name``."""
    match = re.match(r"[0-9]{1,18}(?![0-9])", name)
    return int(match[0]) if match else None


def classes_by_number(wanted: Wanted) -> dict[int, str]:
    """The wanted classes by the whole number that begins each name.

    Raises:
        CatalogError: a class begins with none, or two with the same.
    """
    class_of: dict[int, str] = {}
    for name in wanted.classes:
        number = leading_number(name)
        if number is None or number in class_of:
            fault = "begins with no number" if number is None else f"has the number of {class_of[number]!r}"
            raise CatalogError([f"{wanted.dataset}: class {name!r} {fault}, but the data knows classes by number only"])
        class_of[number] = name
    return class_of


def by_key(found: Mapping[str, T], wanted: Wanted, place: str) -> dict[str, T]:
    """What was found under names that begin with a number, under the wanted classes of the same numbers.

    Names that fit no class stay as they are.

    Raises:
        ContentError: two names begin with the number of one class.
        CatalogError: the classes cannot be told by number.
    """
    class_of = classes_by_number(wanted)
    matched: dict[str, T] = {}
    for name, value in found.items():
        number = leading_number(name)
        target = name if number is None else class_of.get(number, name)
        if target in matched:
            raise ContentError(
                f"{wanted.dataset}: two folders of {place} are numbered {number}; give a copy that holds the data once"
            )
        matched[target] = value
    return matched


def numbers_of(wanted: Wanted, name: str) -> Mapping[str, Sequence[int]]:
    """Class to the numbers of its pictures, from the list of that name.

    Raises:
        CatalogError: the list says nothing of a class.
    """
    if untold := [class_name for class_name in wanted.classes if not wanted.numbers.get(class_name)]:
        raise CatalogError([f"{wanted.dataset}: the list {name!r} has no numbers of class {untold[0]!r}"])
    return wanted.numbers


def one_folder_a_class(members: Mapping[str, Sequence[str]], wanted: Wanted, tree: Tree) -> None:
    """Nothing, where the files of each wanted class lie in one folder.

    A second folder of the same name is another part of the data, such as the validation pictures of ILSVRC-2012.

    Raises:
        ContentError: those of a class lie in two.
    """
    for name in wanted.classes:
        folders = sorted({member.rpartition("/")[0] for member in members.get(name, ())})
        if len(folders) > 1:
            raise ContentError(
                f"{wanted.dataset}: {name} lies in more than one folder of {tree.name} ({folders[0]}, {folders[1]}); "
                f"give the one that is meant"
            )


def refuse_strangers(members: Mapping[str, Sequence[str]], wanted: Wanted, tree: Tree, advice: str) -> None:
    """Nothing, where the folders beside those of the wanted classes are wanted classes, too.

    A stranger there means another edition; whole other folders (small sets, strokes) do not matter.

    Raises:
        ContentError: there is a stranger; names the first.
    """
    known = set(wanted.classes)
    place_of = {name: str(PurePosixPath(files[0]).parent.parent) for name, files in members.items() if files}
    places = {place for name, place in place_of.items() if name in known}
    if strangers := [name for name, place in place_of.items() if name not in known and place in places]:
        raise ContentError(
            f"{wanted.dataset}: {tree.name} holds {min(strangers)}, which is none of the {len(known):,} classes; "
            f"{advice}"
        )


class Finder:
    """Files of a tree by what tables call them: a name, or a path of which the tree may hold more folders or fewer."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, list[str]] = {}
        for name in names:
            self._names.setdefault(name.rpartition("/")[2], []).append(name)

    def find(self, path: str) -> list[str]:
        """Names of the files that share the longest end with the path, which includes its last folder if it has one."""
        wanted = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        shared: dict[int, list[str]] = {}
        for name in self._names.get(wanted[0], ()) if wanted else ():
            length = sum(1 for _ in takewhile(bool, map(eq, wanted, reversed(name.split("/")))))
            shared.setdefault(length, []).append(name)
        longest = max(shared, default=0)
        return shared[longest] if longest >= min(len(wanted), 2) > 0 else []

    def one(self, path: str, subject: str) -> str | None:
        """Name of the file, None where there is none.

        Raises:
            ContentError: several files fit equally well; `subject` begins the message.
        """
        found = self.find(path)
        if len(found) > 1:
            raise ContentError(
                f"{subject} holds {path} more than once ({found[0]}, {found[1]}); leave out the copy that is not meant"
            )
        return found[0] if found else None


def spellings(name: str) -> tuple[str, ...]:
    """A file's name as it stands, and with the other spellings of validation if it has that word."""
    word = rf"(?<![A-Za-z])({'|'.join(VALIDATION)})(?![A-Za-z])"
    return tuple(dict.fromkeys([name, *(re.sub(word, spelling, name) for spelling in VALIDATION)]))


def refuse_absent(absent: Collection[str], total: int, wanted: Wanted, tree: Tree) -> None:
    """Nothing, where no picture is absent.

    Raises:
        ContentError: some are; names the first.
    """
    if absent:
        raise ContentError(
            f"{wanted.dataset}: {len(absent):,} of {total:,} pictures are missing from {tree.name} "
            f"(the first is {next(iter(absent))}); {ADVICE}"
        )


class SourceDigest:
    """The sha256 of raw files as they are read, the same whatever they are packed in."""

    def __init__(self) -> None:
        self._hashes: dict[str, bytes] = {}

    def add(self, member: str, content: bytes | memoryview) -> None:
        """Note what a file holds; safe to call from several threads, and for one file more than once."""
        self._hashes[member] = hashlib.sha256(content).digest()

    def hexdigest(self, examples: Iterable[tuple[str, str]]) -> str:
        """The digest over examples in order, each what it is called and the file it is in, which was added."""
        total = hashlib.sha256()
        for called, member in examples:
            total.update(f"{called}\0".encode(errors="surrogatepass") + self._hashes[member])
        return total.hexdigest()

    def of_classes(self, examples: Mapping[str, Sequence[str]]) -> str:
        """The digest over class to files, each an example called by class and file name, class by class."""
        return self.hexdigest(
            (f"{class_name}/{PurePosixPath(member).name}", member)
            for class_name in sorted(examples)
            for member in examples[class_name]
        )


class MemberPictures:
    """Pictures that are files of a tree, decoded one by one; what was decoded names the source.

    Attributes:
        source: the digest of the files that were loaded.
    """

    def __init__(self, tree: Tree, wanted: Wanted, options: PictureOptions) -> None:
        self._tree, self._wanted, self._options = tree, wanted, options
        self.source = SourceDigest()

    def open(self, member: str, raw_size: tuple[int, int] | None = None) -> "Image":
        """The picture in a file, decoded.

        Args:
            member: name of the file in the tree.
            raw_size: height and width that this file must have; for None what holds for all files of the data set.

        Raises:
            ContentError: it cannot be decoded, or is not what it should be; names the file.
        """
        content = self._tree.read(member)
        self.source.add(member, content)
        size = raw_size or self._wanted.image_size
        return said_of(self._subject(member), lambda: open_picture(content, self._options.mode, size))

    def cut(self, picture: "Image", box: Box, member: str) -> npt.NDArray[np.uint8]:
        """A box of the picture of a file, uint8 [C, H, W].

        Raises:
            ContentError: it lies outside; names the file.
        """
        return to_array(said_of(self._subject(member), lambda: cut(picture, box)), self._options)

    def load(self, member: str) -> npt.NDArray[np.uint8]:
        """The picture in a file, uint8 [C, H, W].

        Raises:
            ContentError: it cannot be decoded, or is not what it should be; names the file.
        """
        return to_array(self.open(member), self._options)

    def _subject(self, member: str) -> str:
        return f"{self._wanted.dataset}: {member} in {self._tree.name}"


def said_of(subject: str, make: Callable[[], T]) -> T:
    """What `make` gives; a ContentError of half a sentence gets the subject before it."""
    try:
        return make()
    except ContentError as error:
        raise ContentError(f"{subject} {error}") from None
