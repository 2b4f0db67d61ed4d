"""Pickles read as data: plain containers and numpy arrays are rebuilt, and nothing is imported or called.

A pickle is a program for a small stack machine, of protocol 0 to 5. The machine here knows its instructions, and those
names that numpy and the plain containers write into pickles; each name stands for a function of this module that builds
data. Any other name is refused, and so is every instruction that would make anything else. What comes back is a finite
tree of

- None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset (an OrderedDict is a dict);
- numpy arrays, scalars and dtypes of booleans, integers, floats, complex numbers and strings of a fixed length;
- numpy arrays of objects, each of them one of these.

An array whose bytes lie in the pickle as they are views them there, read-only: a mapped pickle of many gigabytes costs
memory for the headers of its arrays only. Texts that Python 2 wrote are bytes, since nothing says what they mean;
`text` decodes them.
"""

import codecs
import math
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from l2l_core.errors import ArchiveError, ContentError

MAX_OBJECTS: Final = 20_000_000
"""Of instructions, and again of objects with containers counted as below. The largest of the known pickles, of 448,695
arrays, has 6 to 15 million instructions, by its protocol. At the worst both limits together fill three gigabytes."""

_CONTAINER_OBJECTS: Final = 8
_TUPLE_OBJECTS: Final = 4
"""What a container counts as: an empty set takes 400 bytes, where a number takes 40. An array brings four tuples."""

MAX_DEPTH: Final = 100
"""Containers in one another. Data sets have four; thousands would exhaust the stack of whoever walks through them."""

_MAX_NUMBER_BYTES: Final = 1024
_MAX_NAME_BYTES: Final = 1024
_MAX_DIMENSIONS: Final = 64  # numpy's own limit
_LAZY_BYTES: Final = 256
"""From here on bytes and texts are left where they are until somebody needs them: most belong to an array."""

_CHUNK_BYTES: Final = 1 << 20
_DTYPE: Final = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,9}|O[48]?)")
_BYTE_ORDERS: Final[dict[str, Literal["<", ">", "=", "|"]]] = {"<": "<", ">": ">", "=": "=", "|": "|"}
_LATIN_1: Final = frozenset({"latin1", "latin-1", "iso-8859-1"})
_KEY_INTEGERS: Final = range(-(2**63), 2**64)  # of longer ones, any number can be made to collide in a dict
_MAX_KEY_LETTERS: Final = 4096  # of a text that is compared again and again with one that is the same
_MAX_NUMBER_KEYS: Final = 100_000  # numbers whose hashes are near one another can be found; those of texts are random
_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset, np.ndarray})


class _RefusedError(Exception):
    """The pickle does what data does not; the message goes on after its name ("refers to …")."""


class _DamagedError(Exception):
    """The pickle makes no sense; the message says where."""


class _CutError(Exception):
    """The pickle ends in the middle."""


class _Name:
    """A name that pickles of data refer to, and what is done where it is called; None where it must not be."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: "Callable[[_Machine, tuple[Any, ...]], Any] | None") -> None:
        self.name, self.build = name, build


class _Stretch:
    """Bytes or a text of the pickle that nobody has needed yet."""

    __slots__ = ("kind", "size", "start", "value")

    def __init__(self, kind: type[bytes] | type[bytearray] | type[str], start: int, size: int) -> None:
        self.kind, self.start, self.size = kind, start, size
        self.value: bytes | bytearray | str | None = None


class _Arguments(tuple[Any, ...]):
    """A tuple with names or stretches in it: arguments or a state, or a value that is not looked at yet."""

    value: tuple[Any, ...] | None = None


class _Unfinished:
    """An array (its dtype is None) or a dtype whose state has not come yet, and the keys it is remembered by."""

    __slots__ = ("dtype", "keys")

    def __init__(self, dtype: "np.dtype[Any] | None") -> None:
        self.dtype = dtype
        self.keys: list[int] = []


_NOTHING: Final = object()
_INTERNAL: Final = frozenset({_Name, _Stretch, _Arguments, _Unfinished})


def read_pickle(data: memoryview | bytes, where: str, *, max_objects: int = MAX_OBJECTS) -> Any:
    """What a pickle holds, as data; the module says what that can be.

    Args:
        data: the pickle; arrays keep it alive, and view it.
        where: what to call it in messages, for example ``'train' in cifar-100-python.tar.gz``.
        max_objects: how many instructions it may have, and how many objects may be met on a walk through the result.

    Raises:
        ArchiveError: it is cut off or damaged, refers to anything that is not data (says to what), makes too many
            objects, or nests them too deeply.
    """
    machine = _Machine(memoryview(data).cast("B"), max_objects)
    try:
        value = machine.run()
        _refuse_endless(value, max_objects)
    except _RefusedError as error:
        raise ArchiveError(
            f"{where} {error}, so nothing is read from it; get it from its publisher, or in another form"
        ) from error
    except (_CutError, struct.error) as error:
        raise ArchiveError(f"{where} ends in the middle, as after a download that broke off; get it again") from error
    except (_DamagedError, LookupError, ValueError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error) if isinstance(error, _DamagedError) else "the instruction makes no sense there"
        raise ArchiveError(
            f"{where} is no pickle, or a damaged one ({reason}, before byte {machine.at:,}); get it again"
        ) from error
    return value


def text(value: str | bytes) -> str:
    """A text of a pickle, which is bytes where Python 2 wrote it: UTF-8, or Latin-1 where it is not.

    Raises:
        ContentError: the value is neither.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        raise ContentError(f"a pickle has a {type(value).__name__} where a text should be; get the data again")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Machine:
    """The state of one run: where it is in the pickle, the stack since the last mark, those before, the memo."""

    def __init__(self, data: memoryview, max_objects: int) -> None:
        self.data, self.at, self.end = data, 0, len(data)
        self.stack: list[Any] = []
        self.stacks: list[list[Any]] = []
        # Keys follow one another from 0, or from 1 in Python 2, so that a list does, which takes an eighth of a dict;
        # where they do not, the others are far.
        self._memo: list[Any] = [_NOTHING]
        self._far: dict[int, Any] = {}
        self._max_objects = self._objects_left = max_objects
        self._bytes_left = 3 * len(data)  # out of a text, through a check, and into what holds it
        self._number_keys_left = _MAX_NUMBER_KEYS
        self._bytes = np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)

    def run(self) -> Any:
        """The value that the pickle leaves on the stack."""
        data, end, steps = self.data, self.end, _STEPS
        for _ in range(self._max_objects):
            if self.at >= end:
                raise _CutError
            opcode = data[self.at]
            self.at += 1
            if opcode == 0x2E:  # STOP
                return self.value(self.stack.pop())
            steps[opcode](self)
        raise self._too_many()

    # What instructions read.

    def skip(self, size: int) -> int:
        """Where the next bytes begin; goes on behind them."""
        start = self.at
        if not 0 <= size <= self.end - start:
            raise _CutError
        self.at = start + size
        return start

    def take(self, size: int) -> bytes:
        """The next bytes."""
        start = self.skip(size)
        return bytes(self.data[start : start + size])

    def number(self, layout: struct.Struct) -> Any:
        """The next number."""
        return layout.unpack_from(self.data, self.skip(layout.size))[0]

    def line(self, max_bytes: int | None = None) -> bytes:
        """The bytes up to the next line feed, which is passed over."""
        start, size = self.at, 256
        while True:
            piece = bytes(self.data[self.at : self.at + size])
            found = piece.find(b"\n")
            self.at += len(piece) if found < 0 else found + 1
            if max_bytes is not None and self.at - start > max_bytes:
                raise _DamagedError("an endless line")
            if found >= 0:
                return bytes(self.data[start : self.at - 1])
            if self.at >= self.end:
                raise _CutError
            size = min(8 * size, _CHUNK_BYTES)

    # What stands on the stack, and what it becomes.

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def push_container(self, value: Any) -> None:
        """Put a list, dict or set on the stack that is new."""
        self.charge(objects=_CONTAINER_OBJECTS)
        self.stack.append(value)

    def push_stretch(self, kind: type[bytes] | type[bytearray] | type[str], size: int) -> None:
        """Put the next bytes on the stack, as a value of that kind."""
        stretch = _Stretch(kind, self.skip(size), size)
        self.stack.append(stretch if size >= _LAZY_BYTES else self._looked_at(stretch))

    def mark(self) -> None:
        """Begin a new stack above this one."""
        self.stacks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """The stack since the last mark, which is gone with it."""
        items, self.stack = self.stack, self.stacks.pop()
        return items

    def last(self, count: int) -> list[Any]:
        """The last few of the stack, which are gone from it."""
        if len(self.stack) < count:
            raise _DamagedError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def value(self, item: Any) -> Any:
        """An item of the stack as a value that may be kept."""
        kind = type(item)
        if kind not in _INTERNAL:
            return item
        if kind is _Stretch:
            return self._looked_at(item)
        if kind is _Arguments:
            if item.value is None:
                item.value = tuple(map(self.value, item))
            return item.value
        if kind is _Name:
            raise _RefusedError(f"holds {item.name} itself, which is not data")
        raise _RefusedError("uses an array or dtype that is not finished")

    def values(self, items: list[Any]) -> list[Any]:
        """Items of the stack as values that may be kept."""
        return items if _INTERNAL.isdisjoint(map(type, items)) else list(map(self.value, items))

    def tuple_of(self, items: list[Any]) -> tuple[Any, ...]:
        """A tuple, in which names and stretches are left as they are for whoever takes it as arguments."""
        self.charge(objects=_TUPLE_OBJECTS)
        if _INTERNAL.isdisjoint(map(type, items)):
            return tuple(items)
        return _Arguments(item if type(item) in (_Name, _Stretch) else self.value(item) for item in items)

    def _looked_at(self, stretch: _Stretch) -> bytes | bytearray | str:
        # Once, so that a pickle that refers to it many times does not fill the memory.
        if stretch.value is None:
            raw = self.data[stretch.start : stretch.start + stretch.size]
            stretch.value = str(raw, "utf-8") if stretch.kind is str else stretch.kind(raw)
        return stretch.value

    # Containers.

    def extend(self, items: list[Any]) -> None:
        """Append to the list, or add to the set, on the stack."""
        target, items = self.stack[-1], self.values(items)
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(self.keys(items))
        else:
            raise _DamagedError(f"items for a {type(target).__name__}")

    def update(self, items: list[Any]) -> None:
        """Put keys and values, one after the other, into the dict on the stack."""
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise _DamagedError(f"keys and values for a {type(target).__name__}")
        items = self.values(items)
        target.update(zip(self.keys(items[::2]), items[1::2], strict=True))

    def keys(self, items: list[Any]) -> list[Any]:
        """The items, which may be keys of a dict or members of a set: to hash and compare them takes no time."""
        for item in items:
            kind = type(item)
            if kind is str or kind is bytes:
                if len(item) > _MAX_KEY_LETTERS:
                    raise _DamagedError(f"a key of {len(item):,} letters")
            elif kind is float or (kind is int and item in _KEY_INTEGERS):
                self._number_keys_left -= 1
            elif kind is not bool and item is not None:
                raise _DamagedError(f"a {kind.__name__} as a key")
        if self._number_keys_left < 0:
            raise _RefusedError(f"has more than {_MAX_NUMBER_KEYS:,} numbers as keys")
        return items

    # The memo.

    def remember(self, key: int | None = None) -> None:
        """Remember the top of the stack by a key, which is how many there are where none is given."""
        item, memo = self.stack[-1], self._memo
        if key is None:
            key = len(memo) + len(self._far) - (memo[0] is _NOTHING)
        if type(item) is _Unfinished:
            item.keys.append(key)
        if key == len(memo):
            memo.append(item)
        elif 0 <= key < len(memo):
            memo[key] = item
        else:
            self._far[key] = item

    def remembered(self, key: int) -> Any:
        """What is remembered by a key."""
        item = self._memo[key] if 0 <= key < len(self._memo) else self._far[key]
        if item is _NOTHING:
            raise KeyError(key)
        return item

    # Names, calls and states.

    def refer(self, module: Any, name: Any) -> None:
        """Put what a name stands for on the stack."""
        if type(module) is not str or type(name) is not str:
            raise _DamagedError("a name that is no text")
        self.stack.append(_NAMES.get(f"{module}.{name}") or self.refuse(f"refers to {_shown(f'{module}.{name}')}"))

    def refuse(self, what: str) -> Any:
        """Raise the error of a pickle that does what data does not."""
        raise _RefusedError(f"{what}, which is not data")

    def call(self) -> None:
        """Build what a name and its arguments, on the stack, stand for."""
        name, arguments = self.last(2)
        if type(name) is not _Name or name.build is None:
            self.refuse(f"calls {name.name if type(name) is _Name else 'a ' + type(name).__name__}")
        if not isinstance(arguments, tuple):
            raise _DamagedError("arguments that are no tuple")
        self.stack.append(name.build(self, arguments))

    def finish(self) -> None:
        """Give the array or dtype on the stack its state."""
        target, state = self.last(2)
        if type(target) is not _Unfinished:
            kind = target.name if type(target) is _Name else f"a {type(target).__name__}"
            raise _RefusedError(f"sets the state of {kind}, which has none")
        if not isinstance(state, tuple):
            raise _DamagedError("a state that is no tuple")
        self.stack.append(_array(self, state) if target.dtype is None else _finished_dtype(target.dtype, state))
        for key in target.keys:
            if self.remembered(key) is target:
                self.remember(key)

    # What calls build with.

    def charge(self, objects: int = 0, size: int = 0) -> None:
        """Count objects or bytes that are copied, which one instruction could do to any number again and again."""
        self._objects_left -= objects
        self._bytes_left -= size
        if self._objects_left < 0:
            raise self._too_many()
        if self._bytes_left < 0:
            raise _RefusedError("copies more bytes than it has")

    def array(self, shape: Any, dtype: Any, order: Literal["C", "F"], raw: Any) -> npt.NDArray[Any]:
        """An array over bytes of the pickle, of other bytes, or of the objects in a list."""
        if not (isinstance(dtype, np.dtype) and type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)):
            raise _DamagedError("an array of no dtype or shape")
        if len(shape) > _MAX_DIMENSIONS:
            raise _DamagedError(f"an array of {len(shape):,} dimensions")
        count = math.prod(shape)
        if dtype.hasobject:
            if type(raw) is not list or len(raw) != count:
                raise _DamagedError(f"an array of {count:,} objects with another number of them")
            self.charge(objects=count)
            objects = np.empty(count, object)
            for i, item in enumerate(raw):  # all at once, numpy would look into the items
                objects[i] = item
            return objects.reshape(shape)  # numpy writes them row by row, whatever the order in memory was
        is_stretch = type(raw) is _Stretch and raw.kind is not str
        if not is_stretch and not isinstance(raw, bytes | bytearray):
            raise _DamagedError("an array without bytes")
        buffer, start, size = (self._bytes, raw.start, raw.size) if is_stretch else (raw, 0, len(raw))
        if size != count * dtype.itemsize:
            raise _DamagedError(f"an array of {count:,} × {dtype.itemsize} bytes with {size:,} of them")
        if dtype.kind == "U":
            self.charge(size=size)
            _check_characters(np.ndarray(size // 4, np.dtype("u4").newbyteorder(dtype.byteorder), buffer, start))
        if count > 1 and not dtype.itemsize:  # numpy would give each a byte
            raise _DamagedError("an array of many empty texts")
        array = np.ndarray(shape, dtype, buffer, start, order=order) if size else np.zeros(shape, dtype, order)
        array.flags.writeable = False
        return array

    def _too_many(self) -> _RefusedError:
        return _RefusedError(f"makes more than the {self._max_objects:,} objects that are allowed here")


def _refuse_endless(value: Any, max_objects: int) -> None:
    """Nothing, where a walk through the value ends soon; references can make it go deep, round or on and on."""
    done: dict[int, tuple[int, int]] = {}  # depth of a container, and the objects in it, those inside counted each time
    above: set[int] = set()
    todo: list[tuple[Any, list[Any] | None]] = [(part, None) for part in _containers([value])]
    while todo:
        container, parts = todo.pop()
        if parts is None:
            if id(container) in done:
                continue
            if id(container) in above:
                raise _RefusedError("has a container that holds itself")
            above.add(id(container))
            parts = _containers(container.values() if type(container) is dict else container)
            todo.append((container, parts))
            todo.extend((part, None) for part in parts)
            depth, objects = len(above), 0
        else:
            above.discard(id(container))
            inside = [done[id(part)] for part in parts]
            depth = 1 + max((deep for deep, _ in inside), default=0)
            objects = 1 + len(container) + sum(many for _, many in inside)
            done[id(container)] = depth, objects
        if depth > MAX_DEPTH:
            raise _RefusedError(f"has more than {MAX_DEPTH} containers inside one another")
        if objects > max_objects:
            raise _RefusedError(f"unfolds to more than the {max_objects:,} objects that are allowed here")


def _containers(items: Iterable[Any]) -> list[Any]:
    found = [item for item in items if type(item) in _CONTAINERS]
    return [item for item in found if type(item) is not np.ndarray or item.dtype.hasobject]


def _shown(name: str) -> str:
    """A name as a message may show it."""
    name = name if len(name) <= 100 else f"{name[:100]}…"
    return name if name.isprintable() else ascii(name)


def _letters(value: Any) -> str:
    """A short text of numpy's, from Python 2 or 3."""
    if type(value) not in (str, bytes):
        raise _DamagedError(f"a {type(value).__name__} where numpy has letters")
    return text(value)


def _check_characters(codes: npt.NDArray[Any]) -> None:
    """Nothing, where numbers are characters: else the error would come from whoever looks at the text."""
    if np.any(codes > 0x10FFFF) or np.any((codes >= 0xD800) & (codes < 0xE000)):
        raise _DamagedError("an array of texts with numbers that are no characters")


# What the names stand for. Arguments that do not fit raise TypeError or ValueError, for `read_pickle` to word.


def _dtype(_: _Machine, arguments: tuple[Any, ...]) -> _Unfinished:
    name, align, _copy = arguments
    name = _letters(name)
    if align or not _DTYPE.fullmatch(name):
        raise _RefusedError(f"has an array of the dtype {_shown(name)!r}, which is not read here")
    return _Unfinished(np.dtype(object if "O" in name else name))


def _finished_dtype(dtype: "np.dtype[Any]", state: tuple[Any, ...]) -> "np.dtype[Any]":
    version, order, *parts, size, _alignment, _flags = state
    if version != 3 or parts != [None, None, None] or size not in (-1, dtype.itemsize):
        raise _DamagedError(f"a state that is not one of the dtype {dtype.str!r}")
    return dtype.newbyteorder(_BYTE_ORDERS[_letters(order)])


def _reconstruct(_: _Machine, arguments: tuple[Any, ...]) -> _Unfinished:
    kind, _shape, _letter = arguments
    if type(kind) is not _Name or kind.name != "numpy.ndarray":
        raise _DamagedError("an array of another type")
    return _Unfinished(None)


def _array(machine: _Machine, state: tuple[Any, ...]) -> npt.NDArray[Any]:
    version, shape, dtype, fortran, raw = state
    if version != 1:
        raise _DamagedError(f"an array's state of version {version!r}")
    return machine.array(shape, dtype, "F" if fortran else "C", raw)


def _from_buffer(machine: _Machine, arguments: tuple[Any, ...]) -> npt.NDArray[Any]:
    raw, dtype, shape, order, *axes = arguments
    array = machine.array(shape, dtype, "F" if order == "F" else "C", raw)
    return array.transpose(axes[0]) if order == "K" and axes else array


def _scalar(machine: _Machine, arguments: tuple[Any, ...]) -> Any:
    dtype, raw = arguments
    scalar = machine.array((), dtype, "C", raw)
    machine.charge(size=scalar.nbytes)
    return scalar[()]


def _latin_1(machine: _Machine, arguments: tuple[Any, ...]) -> bytes:
    """Bytes, which Python 3 writes as a text of as many characters where a protocol has no bytes."""
    characters, codec = arguments
    if codec not in _LATIN_1:
        machine.refuse(f"uses the codec {_shown(str(codec))!r}")
    if type(characters) is str:
        machine.charge(size=len(characters))
        return characters.encode("latin-1")
    if type(characters) is not _Stretch or characters.kind is not str:
        raise _DamagedError("bytes that are written as no text")
    machine.charge(size=characters.size)
    decoder, encoded = codecs.getincrementaldecoder("utf-8")(), bytearray()
    for start in range(characters.start, end := characters.start + characters.size, _CHUNK_BYTES):
        piece = bytes(machine.data[start : min(start + _CHUNK_BYTES, end)])
        encoded += decoder.decode(piece, start + _CHUNK_BYTES >= end).encode("latin-1")
    return bytes(encoded)


def _bytes(machine: _Machine, arguments: tuple[Any, ...]) -> bytes:
    return _latin_1(machine, arguments) if arguments else b""


def _bytearray(machine: _Machine, arguments: tuple[Any, ...]) -> bytearray:
    if len(arguments) != 1:
        return bytearray(_bytes(machine, arguments))
    raw = machine.value(arguments[0])
    if not isinstance(raw, bytes):
        raise _DamagedError("a bytearray of no bytes")
    machine.charge(size=len(raw))
    return bytearray(raw)


def _complex(_: _Machine, arguments: tuple[Any, ...]) -> complex:
    real, imaginary = arguments
    if type(real) is not float or type(imaginary) is not float:
        raise _DamagedError("a complex number of other things than floats")
    return complex(real, imaginary)


def _items(machine: _Machine, arguments: tuple[Any, ...]) -> list[Any]:
    """What a container is made of: a list, or nothing."""
    [items] = arguments or [[]]
    if type(items) is not list:
        raise _DamagedError("a container made of no list")
    machine.charge(objects=len(items) + _CONTAINER_OBJECTS)
    return items


def _pairs(machine: _Machine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = _items(machine, arguments)
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise _DamagedError("a dict made of no pairs")
    machine.keys([key for key, _ in pairs])
    return dict(pairs)


_NAMES: Final = {
    name: _Name(name, build)
    for names, build in {
        "numpy.ndarray": None,
        "numpy.dtype": _dtype,
        "numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy.core.multiarray.scalar numpy._core.multiarray.scalar": _scalar,
        "numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer": _from_buffer,
        "_codecs.encode": _latin_1,
        "builtins.bytes __builtin__.bytes": _bytes,
        "builtins.bytearray __builtin__.bytearray": _bytearray,
        "builtins.complex __builtin__.complex": _complex,
        "builtins.list __builtin__.list": lambda machine, arguments: list(_items(machine, arguments)),
        "builtins.tuple __builtin__.tuple": lambda machine, arguments: tuple(_items(machine, arguments)),
        "builtins.set __builtin__.set": lambda machine, arguments: set(machine.keys(_items(machine, arguments))),
        "builtins.frozenset __builtin__.frozenset": lambda machine, arguments: frozenset(
            machine.keys(_items(machine, arguments))
        ),
        "builtins.dict __builtin__.dict collections.OrderedDict": _pairs,
    }.items()
    for name in names.split()
}
"""The names that are data. Python 2 called `builtins` ``__builtin__``, numpy 1 called its core ``core``."""


# The instructions, by the names of `pickletools`.

_U1, _U2, _U4, _U8 = (struct.Struct(f"<{letter}") for letter in "BHIQ")
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")


def _int(machine: _Machine) -> int | bool:
    line = machine.line(_MAX_NUMBER_BYTES)
    return line == b"01" if line in (b"00", b"01") else int(line, 0)


def _long(machine: _Machine, size: int) -> int:
    if size > _MAX_NUMBER_BYTES:
        raise _DamagedError(f"a whole number of {size:,} bytes")
    return int.from_bytes(machine.take(size), "little", signed=True)


def _string(machine: _Machine) -> bytes:
    """A text as Python 2 shows it, quotes and all."""
    line = machine.line().rstrip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise _DamagedError("a text without quotes")
    # An unknown escape would only warn.
    if re.search(rb"\\(?![\\'\"abfnrtv0-7\n]|x[0-9a-fA-F]{2})", line[1:-1].replace(rb"\\", b"")):
        raise _DamagedError("a text with an unknown escape")
    return codecs.escape_decode(line[1:-1])[0]


def _unicode(machine: _Machine) -> str:
    characters = machine.line().decode("raw-unicode-escape")
    characters.encode()  # raises where half of a surrogate pair stands alone
    return characters


def _set_proto(machine: _Machine) -> None:
    if machine.take(1)[0] > 5:
        raise _DamagedError("a protocol that is not known")


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _refer_by_lines(machine: _Machine) -> None:
    machine.refer(*(machine.line(_MAX_NAME_BYTES).decode() for _ in range(2)))


def _refuse_instance(machine: _Machine) -> None:
    module, name = (machine.line(_MAX_NAME_BYTES).decode() for _ in range(2))
    machine.refuse(f"makes an object of {_shown(f'{module}.{name}')}")


def _refuse_object(machine: _Machine, kind: Any) -> None:
    machine.refuse(f"makes an object of {kind.name if type(kind) is _Name else type(kind).__name__}")


def _dict(machine: _Machine) -> None:
    items = machine.marked()
    machine.push_container({})
    machine.update(items)


def _unknown(machine: _Machine) -> None:
    raise _DamagedError(f"no instruction is {bytes([machine.data[machine.at - 1]])!r}")


_BY_OPCODE: Final[dict[bytes, Callable[[_Machine], Any]]] = {
    b"\x80": _set_proto,
    b"\x95": lambda m: m.skip(0) if m.number(_U8) <= m.end - m.at else m.skip(-1),  # FRAME: what it holds follows
    b"(": _Machine.mark,
    b"0": _pop,
    b"1": _Machine.marked,
    b"2": lambda m: m.push(m.stack[-1]),  # DUP
    # constants and numbers
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_int(m)),
    b"J": lambda m: m.push(m.number(_I4)),
    b"K": lambda m: m.push(m.number(_U1)),
    b"M": lambda m: m.push(m.number(_U2)),
    b"L": lambda m: m.push(int(m.line(_MAX_NUMBER_BYTES).removesuffix(b"L"), 0)),
    b"\x8a": lambda m: m.push(_long(m, m.number(_U1))),
    b"\x8b": lambda m: m.push(_long(m, m.number(_U4))),
    b"F": lambda m: m.push(float(m.line(_MAX_NUMBER_BYTES))),
    b"G": lambda m: m.push(m.number(_F8)),
    # texts and bytes; those of Python 2 are STRING, BINSTRING, SHORT_BINSTRING
    b"S": lambda m: m.push(_string(m)),
    b"T": lambda m: m.push_stretch(bytes, m.number(_I4)),
    b"U": lambda m: m.push_stretch(bytes, m.number(_U1)),
    b"B": lambda m: m.push_stretch(bytes, m.number(_U4)),
    b"C": lambda m: m.push_stretch(bytes, m.number(_U1)),
    b"\x8e": lambda m: m.push_stretch(bytes, m.number(_U8)),
    b"\x96": lambda m: m.push_stretch(bytearray, m.number(_U8)),
    b"V": lambda m: m.push(_unicode(m)),
    b"X": lambda m: m.push_stretch(str, m.number(_U4)),
    b"\x8c": lambda m: m.push_stretch(str, m.number(_U1)),
    b"\x8d": lambda m: m.push_stretch(str, m.number(_U8)),
    # containers
    b"]": lambda m: m.push_container([]),
    b"a": lambda m: m.extend(m.last(1)),
    b"e": lambda m: m.extend(m.marked()),
    b"l": lambda m: m.push_container(m.values(m.marked())),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(m.tuple_of(m.marked())),
    b"\x85": lambda m: m.push(m.tuple_of(m.last(1))),
    b"\x86": lambda m: m.push(m.tuple_of(m.last(2))),
    b"\x87": lambda m: m.push(m.tuple_of(m.last(3))),
    b"}": lambda m: m.push_container({}),
    b"d": _dict,
    b"s": lambda m: m.update(m.last(2)),
    b"u": lambda m: m.update(m.marked()),
    b"\x8f": lambda m: m.push_container(set()),
    b"\x90": lambda m: m.extend(m.marked()),
    b"\x91": lambda m: m.push_container(frozenset(m.keys(m.values(m.marked())))),
    # the memo
    b"g": lambda m: m.push(m.remembered(int(m.line(_MAX_NUMBER_BYTES)))),
    b"h": lambda m: m.push(m.remembered(m.number(_U1))),
    b"j": lambda m: m.push(m.remembered(m.number(_U4))),
    b"p": lambda m: m.remember(int(m.line(_MAX_NUMBER_BYTES))),
    b"q": lambda m: m.remember(m.number(_U1)),
    b"r": lambda m: m.remember(m.number(_U4)),
    b"\x94": _Machine.remember,
    # names, calls, states
    b"c": _refer_by_lines,
    b"\x93": lambda m: m.refer(*m.last(2)),
    b"R": _Machine.call,
    b"b": _Machine.finish,
    # what no data needs
    b"i": _refuse_instance,
    b"o": lambda m: _refuse_object(m, m.marked()[0]),
    b"\x81": lambda m: _refuse_object(m, m.last(2)[0]),
    b"\x92": lambda m: _refuse_object(m, m.last(3)[0]),
    b"\x82": lambda m: m.refuse(f"refers to number {m.number(_U1)} of the registry of extensions"),
    b"\x83": lambda m: m.refuse(f"refers to number {m.number(_U2)} of the registry of extensions"),
    b"\x84": lambda m: m.refuse(f"refers to number {m.number(_U4)} of the registry of extensions"),
    b"P": lambda m: m.refuse("refers to an object outside of it by a persistent id"),
    b"Q": lambda m: m.refuse("refers to an object outside of it by a persistent id"),
    b"\x97": lambda m: m.refuse("refers to a buffer outside of it"),
    b"\x98": lambda m: m.refuse("makes a buffer read-only"),
}
_STEPS: Final = [_BY_OPCODE.get(bytes([opcode]), _unknown) for opcode in range(256)]
