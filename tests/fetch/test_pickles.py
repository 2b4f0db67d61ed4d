"""Pickles read as data: against `pickle` itself, and as Python 2 wrote them, instruction by instruction."""

import codecs
import math
import mmap
import pickle
import pickletools
import struct
import time
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from l2l_core.errors import ArchiveError, ContentError
from l2l_core.fetch.archives import open_tree
from l2l_core.fetch.pickles import MAX_DEPTH, MAX_OBJECTS, read_pickle, text

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
KINDS = ("?", "u1", "i1", "<u2", ">u2", "<i4", ">i4", "<i8", "<f2", "<f4", ">f8", "<f8", "<c16", "S3", "<U2", ">U2")


def read(data: bytes | memoryview, **limits: int):
    return read_pickle(data, "x.pkl", **limits)


def refusal(data: bytes, **limits: int) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(data, **limits)
    return str(caught.value)


def same(found, expected) -> bool:
    """Whether two values are the same, down to the types and the bits of arrays."""
    if isinstance(expected, OrderedDict):
        expected = dict(expected)
    if type(found) is not type(expected):
        return False
    if isinstance(expected, np.ndarray):
        if found.shape != expected.shape or found.dtype.newbyteorder("=") != expected.dtype.newbyteorder("="):
            return False
        if expected.dtype.hasobject:
            return all(map(same, found.ravel().tolist(), expected.ravel().tolist()))
        return found.astype(found.dtype.newbyteorder("=")).tobytes() == (
            expected.astype(expected.dtype.newbyteorder("=")).tobytes()
        )
    if isinstance(expected, dict):
        return len(found) == len(expected) and all(
            same(a, b) and same(c, d) for (a, c), (b, d) in zip(found.items(), expected.items(), strict=True)
        )
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, np.generic):
        return same(np.asarray(found), np.asarray(expected))
    if isinstance(expected, float) and math.isnan(expected):
        return math.isnan(found)
    return found == expected


texts = st.text(max_size=8) | st.sampled_from(["é" * 200, "x" * 300, "\0\n'\"\\u1234\r"])
byte_strings = st.binary(max_size=8) | st.sampled_from([bytes(range(256)) * 2, b"\n'\\x41\\"])
integers = st.integers() | st.sampled_from([2**31, -(2**31), 255, 256, 65536, 2**63, -(2**63), 10**300])
scalars = (
    st.none()
    | st.booleans()
    | integers
    | st.floats()
    | st.complex_numbers(allow_nan=False)
    | texts
    | byte_strings
    | byte_strings.map(bytearray)
)
arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: nps.arrays(
        kind,
        nps.array_shapes(min_dims=0, min_side=0, max_side=20),
        elements=st.text("aé\U0001f600", max_size=2) if "U" in kind else None,
    )
)
laid_out = st.tuples(arrays, st.sampled_from(["as it is", "transposed", "Fortran", "every second"])).map(
    lambda pair: {
        "as it is": lambda a: a,
        "transposed": lambda a: a.T,
        "Fortran": np.asfortranarray,
        "every second": lambda a: a[::2] if a.ndim else a,
    }[pair[1]](pair[0])
)
np_scalars = arrays.filter(lambda array: array.size > 0).map(lambda array: array.ravel()[0])
members = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = members | st.binary(max_size=5)


def containers(inside):
    return (
        st.lists(inside, max_size=4)
        | st.lists(inside, max_size=5).map(tuple)
        | st.dictionaries(keys, inside, max_size=3)
        | st.dictionaries(keys, inside, max_size=3).map(OrderedDict)
        | st.lists(inside, min_size=1, max_size=3).map(of_objects)
    )


def of_objects(items: list) -> np.ndarray:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


leaves = scalars | laid_out | np_scalars | st.sets(keys, max_size=4) | st.frozensets(keys, max_size=4)
values = st.recursive(leaves | st.sampled_from(KINDS).map(np.dtype), containers, max_leaves=12)


@settings(max_examples=250, deadline=None, derandomize=True)
@example([b"x" * 400, (b"x" * 400, "é" * 400), bytearray(400)])
@example([0] * 3000 + ["a"] * 3000)
@example(np.zeros((3, 0, 5), np.float32))
@example(np.array(np.array([1, [2]], object), object))
@example(np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0))
@given(values)
def test_whatever_is_data_comes_back_as_pickle_gives_it(value):
    for protocol in PROTOCOLS:
        data = pickle.dumps(value, protocol)
        found = read(data)
        assert same(found, pickle.loads(data))
        assert same(found, value)
        assert same(read(pickletools.optimize(data)), value)


def test_what_stands_in_several_places_is_one_object():
    row = [1, 2]
    for protocol in PROTOCOLS:
        found = read(pickle.dumps([row, row, "x" * 300, "x" * 300], protocol))
        assert found[0] is found[1]
        assert found[2] == found[3] == "x" * 300


# Arrays are views of the file.


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_view_a_mapped_pickle(tmp_path, protocol):
    arrays = [np.full(1000 + i % 7, i % 256, np.uint8) for i in range(5000)]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol))
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    tracemalloc.start()
    found = read(view)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 300 * len(arrays)
    assert peak < 700 * len(arrays)
    whole = np.frombuffer(view, np.uint8)
    assert all(np.shares_memory(array, whole) for array in found[::100])
    assert not any(array.flags.writeable for array in found)
    assert all(map(np.array_equal, found, arrays))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_keep_what_they_view(protocol):
    found = read(bytearray(pickle.dumps(np.arange(1000.0), protocol)))
    assert np.array_equal(found, np.arange(1000.0))
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_small_arrays_are_read_quickly(protocol):
    data = pickle.dumps([np.full(200 + i % 300, i % 256, np.uint8) for i in range(10_000)], protocol)
    started = time.process_time()
    assert len(read(data)) == 10_000
    assert time.process_time() - started < 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_objects_keep_their_places_in_any_order(protocol):
    cells = of_objects([None, "a", [1], b"b", 2.5, {3: 4}]).reshape(2, 3)
    for array in (cells, np.asfortranarray(cells), cells.T, cells.reshape(1, 2, 3).transpose(2, 0, 1)):
        found = read(pickle.dumps(array, protocol))
        assert found.shape == array.shape
        assert found.tolist() == array.tolist() == pickle.loads(pickle.dumps(array, protocol)).tolist()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_texts_of_no_letters_are_empty(protocol):
    data = pickle.dumps([np.bytes_(b""), np.str_("")], protocol)
    for _ in range(50):  # to meet memory that others left behind
        assert read(data) == [b"", ""]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_texts_of_numpy_may_be_long(protocol):
    for value in (np.str_("né" * 20_000), np.full(20_000, "né"), np.array("né" * 20_000)):
        assert same(read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_largest_known_pickle_stays_under_the_limit(protocol):
    pictures = [np.full((200 + i % 300, 1), i % 256, np.uint8) for i in range(3000)]  # as OpenCV encodes them
    data = pickle.dumps(pictures, protocol)
    assert len(read(data, max_objects=MAX_OBJECTS * len(pictures) // 448_695)) == len(pictures)


@pytest.mark.parametrize(
    ("made", "counted"),
    [
        (b"\x8f", 8),
        (b"}", 8),
        (b"]", 8),
        (b"N\x85", 4),
        (b"N2\x86", 4),
        (b"cbuiltins\nset\n)R", 8),
        (b"G" + bytes(8), 1),
        (b"\x8c\2ab", 1),
    ],
    ids=["set", "dict", "list", "tuple", "pair", "set by name", "float", "text"],
)
def test_what_an_object_costs_is_what_it_counts_as(made, counted):
    limit = 200_000
    data = b"](" + made * ((limit - 100) // counted) + b"e."
    tracemalloc.start()
    read(data, max_objects=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 90 * limit
    if counted > 1:
        assert "makes more than the 200,000 objects" in refusal(
            b"](" + made * (limit // counted) + b"e.", max_objects=limit
        )


# Python 2, by hand. Its cPickle wrote a text as SHORT_BINSTRING (U) or BINSTRING (T), and remembered everything.


class Python2:
    """The instructions of a pickle of protocol 2, as Python 2 wrote them."""

    def __init__(self) -> None:
        self.data, self.memo = b"\x80\x02", 0

    def add(self, instruction: bytes, *, remember: bool = True) -> "Python2":
        self.data += instruction
        if remember:
            self.data += b"q%c" % self.memo if self.memo < 256 else b"r" + struct.pack("<I", self.memo)
            self.memo += 1
        return self

    def string(self, value: bytes) -> "Python2":
        short = b"U%c" % len(value) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        return self.add(short + value)

    def strings(self, values: list[bytes]) -> "Python2":
        self.add(b"]").add(b"(", remember=False)
        for value in values:
            self.string(value)
        return self.add(b"e", remember=False)

    def array(self, array: np.ndarray) -> "Python2":
        self.add(b"cnumpy.core.multiarray\n_reconstruct\n").add(b"cnumpy\nndarray\n")
        self.add(b"K\0\x85").string(b"b").add(b"\x87").add(b"R").add(b"(K\1", remember=False)
        self.add(
            {1: b"", 2: b"", 4: b"("}[array.ndim]
            + b"".join(b"M" + struct.pack("<H", n) for n in array.shape)
            + {1: b"\x85", 2: b"\x86", 4: b"t"}[array.ndim]
        )
        self.add(b"cnumpy\ndtype\n").string(array.dtype.str[1:].encode()).add(b"K\0K\1\x87").add(b"R")
        self.add(b"(K\3", remember=False).string(b"|" if array.dtype.itemsize == 1 else b"<")
        self.add(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t").add(b"b\x89", remember=False)
        return self.string(array.tobytes()).add(b"t").add(b"b", remember=False)

    def integers(self, values: list[int]) -> "Python2":
        self.add(b"]").add(b"(", remember=False)
        for value in values:
            self.add(b"K%c" % value, remember=False)
        return self.add(b"e", remember=False)


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 84, 84, 3), dtype=np.uint8)


def test_mini_imagenet_as_python_2_wrote_it():
    script = Python2().add(b"}").add(b"(", remember=False)
    script.string(b"class_dict").add(b"}").add(b"(", remember=False)
    script.string(b"n01532829").integers([0, 1, 2]).string(b"n01558993").integers([3, 4, 5]).add(b"u", remember=False)
    script.string(b"image_data").array(IMAGES).add(b"u.", remember=False)
    found = read(script.data)
    assert same(found, pickle.loads(script.data, encoding="bytes"))
    assert list(found) == [b"class_dict", b"image_data"]
    assert found[b"class_dict"] == {b"n01532829": [0, 1, 2], b"n01558993": [3, 4, 5]}
    assert np.array_equal(found[b"image_data"], IMAGES)
    assert found[b"image_data"].base is not None
    assert not found[b"image_data"].flags.owndata
    assert np.shares_memory(found[b"image_data"], np.frombuffer(script.data, np.uint8))


def test_cifar_100_as_python_2_wrote_it():
    rows = IMAGES.reshape(6, -1)[:, :3072]
    names = [b"bos_taurus_s_000507.png", b"stegosaurus_s_000125.png", "mu\u00f1eca.png".encode()]
    script = Python2().add(b"}").add(b"(", remember=False)
    script.string(b"filenames").strings(names).string(b"batch_label").string(b"training batch 1 of 1")
    script.string(b"fine_labels").integers([19, 29, 0]).string(b"coarse_labels").integers([11, 15, 4])
    script.string(b"data").array(np.ascontiguousarray(rows)).add(b"u.", remember=False)
    found = read(script.data)
    assert same(found, pickle.loads(script.data, encoding="bytes"))
    assert {text(key) for key in found} == {"filenames", "batch_label", "fine_labels", "coarse_labels", "data"}
    assert [text(name) for name in found[b"filenames"]] == [
        "bos_taurus_s_000507.png",
        "stegosaurus_s_000125.png",
        "muñeca.png",
    ]
    assert found[b"fine_labels"] == [19, 29, 0]
    assert np.array_equal(found[b"data"], rows)


def test_a_list_of_pictures_as_python_2_wrote_it():
    pictures = [np.frombuffer(bytes([i]) * (300 + i), np.uint8) for i in range(40)]
    script = Python2().add(b"]").add(b"(", remember=False)
    for picture in pictures:
        script.array(picture)
    script.add(b"e.", remember=False)
    found = read(script.data)
    assert same(found, pickle.loads(script.data, encoding="bytes"))
    assert all(map(np.array_equal, found, pictures))
    whole = np.frombuffer(script.data, np.uint8)
    assert all(np.shares_memory(array, whole) for array in found)


def test_real_pictures_in_a_pickle_of_python_2(test_data):
    tree = open_tree(test_data / "imagenet-sample.zip", max_entries=10**6, max_bytes=10**10)
    files = [tree.read(name) for name in tree.names()[:40]]
    script = Python2().add(b"]").add(b"(", remember=False)
    for data in files:
        script.array(np.frombuffer(data[:60_000], np.uint8))
    script.add(b"e.", remember=False)
    assert [array.tobytes() for array in read(script.data)] == [data[:60_000] for data in files]


PROTOCOL_0 = (
    b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
    b"(I1\n(I3\nI2\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
    b"I00\nS'\\x00A\\'\\n\\\\\\xff'\np15\ntp16\nbsS\"it's\"\np17\n(lp18\nL12345678901234567890L\naF1.5\naI01\nasS'e'\n"
    b"c__builtin__\nset\np19\n((lp20\nVgr\\u00fcn\np21\natp22\nRp23\ns."
)


def test_protocol_0_as_python_2_wrote_it():
    found = read(PROTOCOL_0)
    assert same(found, pickle.loads(PROTOCOL_0, encoding="bytes"))
    assert found[b"data"].tolist() == [[0, 65], [39, 10], [92, 255]]
    assert found[b"it's"] == [12345678901234567890, 1.5, True]
    assert found[b"e"] == {"grün"}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=40))
def test_texts_of_protocol_0_are_unescaped_as_python_2_escaped_them(data):
    escaped = repr(data)[1:].encode()
    assert read(b"S" + escaped + b"\n.") == data == codecs.escape_decode(escaped[1:-1])[0]


# Small print.


def test_text_is_text():
    assert text("é") == text("é".encode()) == text(b"\xe9") == "é"
    with pytest.raises(ContentError) as caught:
        text(7)
    assert str(caught.value) == "a pickle has a int where a text should be; get the data again"


def test_a_pickle_that_is_cut_off():
    whole = pickle.dumps([np.arange(100), {"a": "b" * 300}, 10**30], 2)
    for length in range(len(whole)):
        assert refusal(whole[:length]) == "x.pkl ends in the middle, as after a download that broke off; get it again"
    assert refusal(b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.").startswith("x.pkl ends in the middle")


def test_what_is_no_pickle():
    assert refusal(b"<!DOCTYPE html>") == (
        "x.pkl is no pickle, or a damaged one (no instruction is b'<', before byte 1); get it again"
    )
    assert "(items for a dict, before byte 3)" in refusal(b"}Na.")
    assert "(the stack is empty, before byte 1)" in refusal(b"a.")
    assert "(the instruction makes no sense there, before byte 1)" in refusal(b"0.")
    assert "(a protocol that is not known, before byte 2)" in refusal(b"\x80\x06N.")


def array_state(shape=(2, 3), dtype="u1", raw=bytes(6), version=1, fortran=False, extra=()) -> bytes:
    """A pickle of an array whose state is as given."""

    class State:
        def __reduce__(self):
            return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (version, shape, dtype, fortran, raw, *extra)

    return pickle.dumps(State(), 4)


U1 = np.dtype("u1")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"raw": bytes(5)}, "an array of 6 × 1 bytes with 5 of them"),
        ({"raw": bytes(7)}, "an array of 6 × 1 bytes with 7 of them"),
        ({"dtype": np.dtype("f8")}, "an array of 6 × 8 bytes with 6 of them"),
        ({"shape": (2**40, 2**40)}, "× 1 bytes with 6 of them"),
        ({"shape": (-2, -3)}, "an array of no dtype or shape"),
        ({"shape": (2.0, 3)}, "an array of no dtype or shape"),
        ({"shape": (True, 6)}, "an array of no dtype or shape"),
        ({"shape": [2, 3]}, "an array of no dtype or shape"),
        ({"shape": (0, 2**70), "raw": b""}, "the instruction makes no sense there"),
        ({"shape": (1,) * 62 + (6, 1, 1)}, "an array of 65 dimensions"),
        ({"dtype": "u1"}, "an array of no dtype or shape"),
        ({"dtype": None}, "an array of no dtype or shape"),
        ({"raw": "text"}, "an array without bytes"),
        ({"raw": [1] * 6}, "an array without bytes"),
        ({"raw": None}, "an array without bytes"),
        ({"version": 2}, "an array's state of version 2"),
        ({"extra": (1,)}, "the instruction makes no sense there"),
        ({"dtype": np.dtype(object), "raw": [1]}, "an array of 6 objects with another number of them"),
        ({"dtype": np.dtype(object)}, "an array of 6 objects with another number of them"),
        ({"dtype": np.dtype("S0"), "raw": b""}, "an array of many empty texts"),
        ({"dtype": np.dtype("U1"), "raw": b"\xff" * 24}, "an array of texts with numbers that are no characters"),
        ({"dtype": np.dtype("U1"), "raw": b"\0\xd8\0\0" * 6}, "an array of texts with numbers that are no characters"),
        ({"dtype": np.dtype(">U1"), "raw": b"\0\0\0A" * 5 + b"A\0\0\0"}, "numbers that are no characters"),
    ],
)
def test_arrays_that_cannot_be(state, said):
    message = refusal(array_state(**{"dtype": U1, **state}))
    assert said in message
    assert message.endswith("); get it again")


def test_the_dtype_of_an_array_is_finished_by_its_own_state_only():
    good = pickle.dumps(np.arange(3, dtype="<f4"), 2)
    assert read(good).tolist() == [0, 1, 2]
    assert "a state that is not one of the dtype '<f4'" in refusal(good.replace(b"K\x03X", b"K\x04X", 1))
    assert "a state that is not one of the dtype '<f4'" in refusal(
        good.replace(b"J\xff\xff\xff\xff", b"J\x08\0\0\0", 1)
    )


@pytest.mark.parametrize("dtype", [[("a", "u1")], "V3", "datetime64[s]", "f16"])
def test_dtypes_that_are_not_plain_are_refused(dtype):
    for protocol in PROTOCOLS:
        assert "has an array of the dtype '" in refusal(pickle.dumps(np.zeros(3, dtype), protocol))


def test_a_key_is_hashed_in_no_time():
    deep = b")" + b"q\0h\0\x86" * 50  # a tuple of two of a tuple of two …, whose hash would take 2^50 steps
    assert "(a tuple as a key," in refusal(b"}" + deep + b"Ns.")
    assert "(a tuple as a key," in refusal(b"\x8f(" + deep + b"\x90.")
    assert "a int as a key" in refusal(pickle.dumps({2**64: 1}))
    assert "a frozenset as a key" in refusal(pickle.dumps({frozenset([1]): 1}))
    assert "a complex as a key" in refusal(pickle.dumps({1j}))
    assert "a int64 as a key" in refusal(pickle.dumps({np.int64(1): 1}))
    assert read(pickle.dumps({"k" * 4096: 1, b"k" * 4096: 2})) == {"k" * 4096: 1, b"k" * 4096: 2}
    assert "a key of 4,097 letters" in refusal(pickle.dumps({"k" * 4097}))
    assert "a key of 4,097 letters" in refusal(pickle.dumps({b"k" * 4097: 1}))
    many = {i << 40: None for i in range(100_000)}
    assert read(pickle.dumps(many)) == many
    assert refusal(pickle.dumps([many, {0.5}])) == (
        "x.pkl has more than 100,000 numbers as keys, "
        "so nothing is read from it; get it from its publisher, or in another form"
    )


def test_a_result_is_a_finite_tree():
    deep = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert read(pickle.dumps(deep)) == deep
    publisher = "so nothing is read from it; get it from its publisher, or in another form"
    assert refusal(pickle.dumps([deep])) == f"x.pkl has more than 100 containers inside one another, {publisher}"
    shared = [1]
    for _ in range(40):
        shared = [shared, shared]
    assert refusal(pickle.dumps(shared)) == (
        f"x.pkl unfolds to more than the 20,000,000 objects that are allowed here, {publisher}"
    )
    for container in ([], {}):
        round_trip = container
        round_trip.append(container) if isinstance(container, list) else container.update(a=container)
        assert refusal(pickle.dumps(round_trip)) == f"x.pkl has a container that holds itself, {publisher}"
    # Lists that each hold the one before, the first of them met first: none is far from the top, and yet they are deep.
    chain = b"]q\0" + b"".join(b"]h%ca" % (i - 1) + b"q%c" % i for i in range(1, 150))
    assert "containers inside one another" in refusal(
        chain + b"](" + b"".join(b"h%c" % i for i in range(149, -1, -1)) + b"e."
    )


def test_what_is_remembered_may_be_replaced_before_an_array_is_finished():
    script = (
        b"](cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btRq\1q\2(K\1(K\1tK\7q\1"
        b"0cnumpy\ndtype\n(Vu1\nK\0K\1tR(K\3V|\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\0tbK\0C\1xtbh\1h\2e."
    )
    found, expected = read(script), pickle.loads(script)
    assert found[1] == expected[1] == 7
    assert same(found, expected)
    assert found[2] is found[0]


def test_texts_that_are_no_texts():
    assert "makes no sense there" in refusal(b"V\\ud800\n.")
    long = b"X" + struct.pack("<I", 300) + b"x" * 299 + b"\xc3"
    assert "makes no sense there" in refusal(long + b".")
    assert "makes no sense there" in refusal(b"c_codecs\nencode\n" + long + b"Vlatin1\n\x86R.")
    assert "makes no sense there" in refusal(
        b"c_codecs\nencode\n" + long[:-2] + "\u20ac".encode()[:2] + b"Vlatin1\n\x86R."
    )


def test_a_mark_may_be_taken_back():
    assert read(b"K\7(0.") == pickle.loads(b"K\7(0.") == 7


def test_the_memo_may_have_gaps_and_begin_anywhere():
    assert read(b"(K\7q\1K\x08r\0\1\0\0h\1j\0\1\0\0l.") == [7, 8, 7, 8]
    assert read(b"(K\7\x94K\x08\x94h\0h\1l.") == [7, 8, 7, 8]
    assert read(b"(K\7p1\nK\x08p0\nK\x09\x94g1\ng0\nh\2l.") == [7, 8, 9, 7, 8, 9]
    for script in (b"h\0.", b"h\1.", b"K\7q\1h\0.", b"K\7p-1\ng0\n."):
        assert "(the instruction makes no sense there," in refusal(script)


def test_too_many_objects():
    data = pickle.dumps(list(range(1000)), 4)
    assert len(read(data, max_objects=3000)) == 1000
    assert refusal(data, max_objects=900) == (
        "x.pkl makes more than the 900 objects that are allowed here, "
        "so nothing is read from it; get it from its publisher, or in another form"
    )
