"""Files made to do harm: each is refused in one sentence that names what is wrong, and does nothing else."""

import bz2
import copy
import gzip
import io
import lzma
import pickle
import struct
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from l2l_core.errors import ArchiveError
from l2l_core.fetch.archives import open_tree
from l2l_core.fetch.pickles import read_pickle

MAX_ENTRIES, MAX_BYTES = 1000, 1_000_000
MIB = 1 << 20

WATCHED = {
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pickle.find_class"),
    *("socket.connect", "os.chmod", "os.link", "os.symlink", "os.rename", "os.remove", "ctypes.dlopen"),
}
seen: list[str] | None = None


def _watch(event: str, _: tuple[object, ...]) -> None:
    if seen is not None and event in WATCHED:
        seen.append(event)


sys.addaudithook(_watch)


# Archives.


def tar_member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, len(data)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def resummed(header: bytes) -> bytes:
    header = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(header[:512]) + header[156:]


def tar_field(at: int, value: bytes, *rest: bytes) -> bytes:
    header = tar_member("a", b"")
    return tar(resummed(header[:at] + value + header[at + len(value) :]), *rest)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    return tar_member("PaxHeader", b"".join(records), kind)


def pax_record(text: bytes) -> bytes:
    length = len(text) + 2
    while len(b"%d %s\n" % (length, text)) != length:
        length += 1
    return b"%d %s\n" % (length, text)


def zipped(*names: str | zipfile.ZipInfo, data: bytes = b"1", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, data, compress_type=method)
    return buffer.getvalue()


def zip_link(mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = mode << 16
    return info


def zip_field(at: int, layout: str, value: int, archive: bytes | None = None) -> bytes:
    """A zip file with a field of its first entry in the table of contents overwritten."""
    data = bytearray(archive or zipped("a", "b"))
    struct.pack_into(layout, data, data.index(b"PK\x01\x02") + at, value)
    return bytes(data)


def zip_of_one_kernel() -> bytes:
    """Many names for the same packed bytes, which unfold to many times what one name would."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", bytes(1000))
        for i in range(1, 50):
            again = copy.copy(archive.filelist[0])
            again.filename = str(i)
            archive.filelist.append(again)
    return buffer.getvalue()


def zip_of_one_kernel_behind_headers() -> bytes:
    """The same, but the headers lie apart, each with an extra field that reaches to the kernel."""
    kernel = zlib.compress(bytes(5_000), wbits=-15)
    step, count = 30 + len(kernel), 100
    fields = (8, 0, 0x21, zlib.crc32(bytes(5_000)), len(kernel), 5_000)
    data, table = b"", b""
    for i in range(count):
        data += struct.pack("<4s2H3H3I2H", b"PK\3\4", 20, 0, *fields, 0, step * (count - i) - 30).ljust(step, b"\0")
        table += struct.pack("<4s3H3H3I5H2I", b"PK\1\2", 20, 20, 0, *fields, 2, 0, 0, 0, 0, 0, step * i) + b"%02d" % i
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(table), step * count + len(kernel), 0)
    return data + kernel + table + end


def zip_that_lies() -> bytes:
    bomb = zipped("bomb", data=bytes(200 * MIB // 10))
    bomb = zip_field(24, "<I", 1000, bomb)
    return zip_field(16, "<I", zlib.crc32(bytes(1001)), bomb)


def nested(inner: bytes) -> bytes:
    return tar(tar_member("inner.tar", inner))


ARCHIVES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    # names
    "zip: parent": ("x.zip", lambda: zipped("../evil"), "'../evil' in x.zip points outside"),
    "zip: parent inside": ("x.zip", lambda: zipped("a/../../evil"), "points outside the archive"),
    "zip: absolute": ("x.zip", lambda: zipped("/etc/evil"), "points outside the archive"),
    "zip: drive": ("x.zip", lambda: zipped("C:evil"), "points outside the archive"),
    "zip: backslash": ("x.zip", lambda: zipped("..\\evil"), "has a backslash or NUL in its name"),
    "zip: NUL": ("x.zip", lambda: zipped("a.png0sh").replace(b"png0", b"png\0"), "has a backslash or NUL"),
    "zip: twice": ("x.zip", lambda: zipped("a/b", "a//b"), "'a//b' in x.zip stands there twice"),
    "zip: file and folder": ("x.zip", lambda: zipped("a", "a/b"), "'a' in x.zip is both a file and a folder"),
    "tar: parent": ("x.tar", lambda: tar(tar_member("../evil")), "'../evil' in x.tar points outside"),
    "tar: parent alone": ("x.tar", lambda: tar(tar_member("..", kind=b"5")), "points outside the archive"),
    "tar: absolute": ("x.tar", lambda: tar(tar_member("/etc/evil")), "points outside the archive"),
    "tar: drive": ("x.tar", lambda: tar(tar_member("./c:/evil")), "points outside the archive"),
    "tar: backslash": ("x.tar", lambda: tar(tar_member("a\\..\\evil")), "has a backslash or NUL in its name"),
    "tar: no name": ("x.tar", lambda: tar_field(0, b"\0"), "'' in x.tar has no name"),
    "tar: NUL by pax": ("x.tar", lambda: tar(pax(pax_record(b"path=a\0b")), tar_member("a")), "backslash or NUL"),
    "tar: parent by pax": (
        "x.tar",
        lambda: tar(pax(pax_record(b"path=../e")), tar_member("a")),
        "'../e' in x.tar points",
    ),
    "tar: parent by GNU": ("x.tar", lambda: tar(tar_member("L", b"../e\0", b"L"), tar_member("a")), "'../e' in x.tar"),
    "tar: parent by prefix": (
        "x.tar",
        lambda: tar(resummed(tar_member("e")[:257] + b"ustar\x0000" + bytes(80) + b"../f" + bytes(163))),
        "'../f/e' in x.tar points outside",
    ),
    "tar: twice": ("x.tar", lambda: tar(tar_member("a"), tar_member("./a")), "'./a' in x.tar stands there twice"),
    "tar: file and folder": ("x.tar", lambda: tar(tar_member("a"), tar_member("a/b")), "is both a file and a folder"),
    "tar inside: parent": ("x.tar", lambda: nested(tar(tar_member("../../evil"))), "'../../evil' in x.tar points"),
    # what is no file
    "zip: very deep": ("x.zip", lambda: zipped("a/" * 20_000 + "b"), "…' in x.zip has a name of more than 4,096 bytes"),
    "tar: very deep": (
        "x.tar",
        lambda: tar(pax(pax_record(b"path=" + b"a/" * 60_000 + b"b")), tar_member("a")),
        "…' in x.tar has a name of more than 4,096 bytes or 100 parts, so nothing",
    ),
    "tar inside: deep": (
        "x.tar",
        lambda: tar(tar_member("a/" * 40 + "i.tar", tar(tar_member("b/" * 60 + "c")))),
        "in x.tar has a name of more than 4,096 bytes or 100 parts",
    ),
    "zip: symbolic link": ("x.zip", lambda: zipped(zip_link(0o120777)), "'link' in x.zip is a link or a device"),
    "zip: device": ("x.zip", lambda: zipped(zip_link(0o020666)), "'link' in x.zip is a link or a device"),
    "zip: encrypted": ("x.zip", lambda: zip_field(8, "<H", 1), "'a' in x.zip is encrypted"),
    "zip: method": ("x.zip", lambda: zipped("a", method=zipfile.ZIP_BZIP2), "is compressed by method 12"),
    "tar: symbolic link": (
        "x.tar",
        lambda: tar(tar_member("a", kind=b"2", linkname="/etc/passwd"), tar_member("a/b")),
        "'a' in x.tar is a link",
    ),
    "tar: hard link": ("x.tar", lambda: tar(tar_member("a", kind=b"1", linkname="../b")), "'a' in x.tar is a link"),
    "tar: character device": ("x.tar", lambda: tar(tar_member("a", kind=b"3")), "'a' in x.tar is a device"),
    "tar: block device": ("x.tar", lambda: tar(tar_member("a", kind=b"4")), "'a' in x.tar is a device"),
    "tar: pipe": ("x.tar", lambda: tar(tar_member("a", kind=b"6")), "'a' in x.tar is a pipe"),
    "tar: sparse": ("x.tar", lambda: tar(tar_member("a", kind=b"S")), "'a' in x.tar is a sparse file"),
    "tar: sparse by pax": (
        "x.tar",
        lambda: tar(pax(pax_record(b"GNU.sparse.realsize=99999999999")), tar_member("a")),
        "'a' in x.tar is a sparse file",
    ),
    "tar: volume": ("x.tar", lambda: tar(tar_member("a", kind=b"M")), "is of the kind 'M', which is not read here"),
    # bombs
    "zip: one kernel": ("x.zip", zip_of_one_kernel, "shares its bytes with '"),
    "zip: into the table": (
        "x.zip",
        lambda: zip_field(20, "<I", 99, zipped("a")),
        "shares its bytes with the table of contents",
    ),
    "zip: one kernel behind headers": (
        "x.zip",
        zip_of_one_kernel_behind_headers,
        "x.zip is damaged (it shares its bytes with what follows it)",
    ),
    "zip: declares much": ("x.zip", lambda: zipped("a", data=bytes(2 * MIB)), "more than the 1,000,000 bytes"),
    "zip: declares little": ("x.zip", zip_that_lies, "'bomb' in x.zip holds more bytes than the 1,000 listed"),
    "zip: many entries": ("x.zip", lambda: zipped(*map(str, range(1001))), "more than the 1,000 entries"),
    "tar: many entries": ("x.tar", lambda: tar(*(tar_member(f"{i}") for i in range(1001))), "the 1,000 entries"),
    "tar: many folders": (
        "x.tar",
        lambda: tar(*(tar_member(f"{i}", kind=b"5") for i in range(1001))),
        "the 1,000 entries",
    ),
    "tar inside: many entries": (
        "x.tar",
        lambda: tar(*(tar_member(f"{k}.tar", tar(*(tar_member(f"{i}") for i in range(250)))) for k in range(4))),
        "x.tar holds more than the 1,000 entries",
    ),
    "tar inside: many bytes": (
        "x.tgz",
        lambda: gzip.compress(tar(*(tar_member(f"{k}.tar", tar(tar_member("a", bytes(600_000)))) for k in range(2)))),
        "more than the 1,000,000 bytes",
    ),
    "tar: huge size": (
        "x.tar",
        lambda: tar_field(124, b"77777777777\0"),
        "8,589,934,591 bytes after byte 512 are not all",
    ),
    "tar: huge binary size": ("x.tar", lambda: tar_field(124, b"\x80" + b"\xff" * 11), "bytes after byte 512 are not"),
    "tar: huge size by pax": (
        "x.tar",
        lambda: tar(pax(pax_record(b"size=9999999999999999999")), tar_member("a")),
        "are not all there",
    ),
    "gzip bomb": ("x.tgz", lambda: gzip.compress(bytes(50 * MIB)), "x.tgz holds more than the 1,000,000 bytes"),
    "gzip bomb of a tar": (
        "x.tgz",
        lambda: gzip.compress(tar(tar_member("a", bytes(20 * MIB)))),
        "more than the 1,000,000 bytes",
    ),
    "gzip bomb of one file": ("x.json.gz", lambda: gzip.compress(bytes(20 * MIB)), "more than the 1,000,000 bytes"),
    "bzip2 bomb": ("x.tar.bz2", lambda: bz2.compress(bytes(20 * MIB)), "more than the 1,000,000 bytes"),
    "xz bomb": ("x.tar.xz", lambda: lzma.compress(bytes(20 * MIB)), "more than the 1,000,000 bytes"),
    # headers
    "tar: negative size": ("x.tar", lambda: tar_field(124, b"\xff" * 12), "is not a number of bytes"),
    "tar: size in words": ("x.tar", lambda: tar_field(124, b"-0000000100\0"), "is not a number of bytes"),
    "tar: size by pax in words": (
        "x.tar",
        lambda: tar(pax(pax_record(b"size=-1")), tar_member("a")),
        "'-1' in a header is not a number of bytes",
    ),
    "tar: wrong checksum": ("x.tar", lambda: tar(tar_member("b"), b"!" + tar_member("a")[1:]), "no header at byte 512"),
    "tar: endless pax header": (
        "x.tar",
        lambda: tar(pax(pax_record(b"a=" + bytes(2 * MIB))), tar_member("a")),
        "bytes of names",
    ),
    "tar: endless GNU name": ("x.tar", lambda: tar(tar_member("L", b"a" * 2 * MIB, b"L"), tar_member("a")), "of names"),
    "tar: pax length of nothing": ("x.tar", lambda: tar(pax(b"0 path=a\n"), tar_member("a")), "cannot be read"),
    "tar: pax length too long": ("x.tar", lambda: tar(pax(b"99 path=a\n"), tar_member("a")), "cannot be read"),
    "tar: pax for all": (
        "x.tar",
        lambda: tar(pax(pax_record(b"path=b"), kind=b"g"), tar_member("a")),
        "same name or size to all members",
    ),
    "tar: pax for nothing": ("x.tar", lambda: tar(pax(pax_record(b"path=b"))), "describes no member"),
    "tar: hole": ("x.tar", lambda: tar(tar_member("a")) + tar(tar_member("b")), "more data follows its end"),
    "zip: no local header": (
        "x.zip",
        lambda: zip_field(42, "<I", 1, zipped("a")),
        "no header where the table of contents says",
    ),
    "page as a zip": ("x.zip", lambda: b"<html>Sign in</html>", "x.zip is not a zip file but an HTML page"),
    "page as a pickle": ("x.pkl", lambda: b"<!DOCTYPE html>", "x.pkl is an HTML page, and no data"),
}


# Pickles. The names are written as Python 2 and 3 write them; what they would do is to make a file `canary`.


def calls(module: str, name: str, arguments: bytes = b"(Vtouch canary\nt") -> bytes:
    return f"c{module}\n{name}\n".encode() + arguments + b"R."


def calls_by_stack(module: str, name: str) -> bytes:
    return (
        b"\x80\x04"
        + b"".join(b"\x8c%c" % len(text) + text.encode() for text in (module, name))
        + b"\x93\x8c\x0ctouch canary\x85R."
    )


def reduced(function: Callable[..., object], *arguments: object, state: object = None, protocol: int = 4) -> bytes:
    class Reduced:
        def __reduce__(self) -> tuple[object, ...]:
            return (function, arguments) if state is None else (function, arguments, state)

    return pickle.dumps(Reduced(), protocol)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = RECONSTRUCT + b"(cnumpy\nndarray\n(K\0tU\1btR"
U1 = b"cnumpy\ndtype\n(U\2u1K\0K\1tR(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
OBJECT = U1.replace(b"u1", b"O8")
LOUD = b"cos\nsystem\n(Vtouch canary\ntR"


def copies(item: bytes, copy_it: bytes, times: int) -> bytes:
    """A list of an item, remembered as 0, and of many copies of it."""
    return b"](" + item + b"q\0" + copy_it * times + b"e."


PICKLES: dict[str, tuple[Callable[[], bytes], str]] = {
    # names that are code
    "os.system": (lambda: calls("os", "system"), "refers to os.system, which is not data"),
    "posix.system": (lambda: calls("posix", "system"), "refers to posix.system, which"),
    "nt.system": (lambda: calls("nt", "system"), "refers to nt.system, which"),
    "os.system of protocol 4": (lambda: calls_by_stack("os", "system"), "refers to os.system, which"),
    "subprocess.Popen": (lambda: calls("subprocess", "Popen"), "refers to subprocess.Popen, which"),
    "subprocess.check_output": (lambda: calls("subprocess", "check_output"), "refers to subprocess.check_output"),
    "builtins.eval": (lambda: reduced(eval, "open('canary', 'w')"), "refers to builtins.eval, which"),
    "builtins.exec": (lambda: reduced(exec, "open('canary', 'w')"), "refers to builtins.exec, which"),
    "eval of Python 2": (lambda: calls("__builtin__", "eval"), "refers to __builtin__.eval, which"),
    "builtins.getattr": (lambda: calls("builtins", "getattr"), "refers to builtins.getattr, which"),
    "builtins.__import__": (lambda: calls("builtins", "__import__"), "refers to builtins.__import__, which"),
    "builtins.open": (lambda: reduced(open, "canary", "w"), f"refers to {open.__module__}.open, which"),
    "builtins.map": (lambda: calls("builtins", "map"), "refers to builtins.map, which"),
    "numpy.load": (lambda: calls("numpy", "load"), "refers to numpy.load, which"),
    "numpy.testing runstring": (lambda: calls("numpy.testing._private.utils", "runstring"), "utils.runstring, which"),
    "numpy.f2py": (lambda: calls("numpy.f2py.crackfortran", "myeval"), "refers to numpy.f2py.crackfortran.myeval"),
    "operator.attrgetter": (lambda: calls("operator", "attrgetter"), "refers to operator.attrgetter, which"),
    "functools.partial": (lambda: calls("functools", "partial"), "refers to functools.partial, which"),
    "types.CodeType": (lambda: calls("types", "CodeType"), "refers to types.CodeType, which"),
    "codecs.decode": (lambda: calls("codecs", "decode"), "refers to codecs.decode, which"),
    "pickle in a pickle": (lambda: calls("pickle", "loads"), "refers to pickle.loads, which"),
    "pathlib": (lambda: pickle.dumps(Path("canary")), "refers to pathlib"),
    "torch storage": (lambda: calls("torch.storage", "_load_from_bytes"), "refers to torch.storage._load_from_bytes"),
    "copyreg._reconstructor": (lambda: calls("copy_reg", "_reconstructor"), "refers to copy_reg._reconstructor"),
    "copyreg.__newobj__": (lambda: calls("copyreg", "__newobj__"), "refers to copyreg.__newobj__, which"),
    "collections.defaultdict": (lambda: calls("collections", "defaultdict"), "refers to collections.defaultdict"),
    "dotted name": (lambda: calls_by_stack("builtins", "list.__class__"), "refers to builtins.list.__class__, which"),
    "name of a terminal's codes": (lambda: calls_by_stack("os\x1b[2J", "x\n"), "refers to 'os\\x1b[2J.x\\n', which"),
    "name that is no text": (lambda: b"K\1K\2\x93.", "a name that is no text"),
    # what is allowed, misused
    "codec zip": (lambda: calls("_codecs", "encode", b"(Vx\nVzip\nt"), "uses the codec 'zip', which is not data"),
    "codec rot13": (lambda: calls("_codecs", "encode", b"(Vx\nVrot13\nt"), "uses the codec 'rot13', which"),
    "codec of bytearray": (lambda: calls("builtins", "bytearray", b"(Vx\nVidna\nt"), "uses the codec 'idna', which"),
    "bytes of a size": (lambda: calls("builtins", "bytes", b"(J\xff\xff\xff\x7ft"), "makes no sense"),
    "bytearray of a size": (lambda: calls("builtins", "bytearray", b"(J\xff\xff\xff\x7ft"), "of no bytes"),
    "complex of a text": (lambda: calls("builtins", "complex", b"(V1\nV1\nt"), "of other things than floats"),
    "set of a text": (lambda: calls("builtins", "set", b"(Vabc\nt"), "a container made of no list"),
    "dict of no pairs": (lambda: calls("builtins", "dict", b"((lK\1at"), "a dict made of no pairs"),
    "subclass of an array": (lambda: calls("numpy.core.multiarray", "_reconstruct", b"(]K\0K\0t"), "of another type"),
    "array called": (lambda: calls("numpy", "ndarray", b"((J\xff\xff\xff\x7ftt"), "calls numpy.ndarray, which"),
    "array never finished": (lambda: NDARRAY + b".", "uses an array or dtype that is not finished"),
    "array used unfinished": (lambda: b"]" + NDARRAY + b"a.", "uses an array or dtype that is not finished"),
    "array doubled unfinished": (lambda: NDARRAY + b"2.", "uses an array or dtype that is not finished"),
    "array in itself": (
        lambda: NDARRAY + b"q\0(K\1(K\1t" + OBJECT + b"K\0(h\0ltb.",
        "uses an array or dtype that is not finished",
    ),
    "array finished twice": (
        lambda: NDARRAY + (b"(K\1(K\1t" + U1 + b"K\0U\1xtb") * 2 + b".",
        "sets the state of a ndarray, which has none",
    ),
    "type as data": (lambda: b"(lcnumpy\nndarray\na.", "holds numpy.ndarray itself, which is not data"),
    "type as result": (lambda: b"cbuiltins\nset\n.", "holds builtins.set itself, which is not data"),
    "type in a tuple": (lambda: b"(lcnumpy\nndarray\n\x85a.", "holds numpy.ndarray itself, which is not data"),
    "objects that are code": (lambda: pickle.dumps(np.array([len], object)), "refers to builtins.len, which"),
    "objects that call": (lambda: NDARRAY + b"(K\1(K\1t" + OBJECT + b"K\0(" + LOUD + b"ltb.", "refers to os.system"),
    "object scalar": (
        lambda: b"cnumpy.core.multiarray\nscalar\n" + OBJECT + b"(l\x86R.",
        "with another number of them",
    ),
    "huge array of nothing": (
        lambda: NDARRAY + b"(K\1(J\xff\xff\xff\x7ft" + U1.replace(b"u1", b"S0") + b"K\0U\0tb.",
        "many empty texts",
    ),
    "huge array": (
        lambda: NDARRAY + b"(K\1(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft" + U1 + b"K\0U\1xtb.",
        "× 1 bytes with 1 of them",
    ),
    "overlapping dtype": (lambda: calls("numpy", "dtype", b"(V(9999,9999)u1\nI0\nI1\nt"), "(9999,9999)u1"),
    # objects and states
    "instance": (lambda: b"(Vtouch canary\nios\nsystem\n.", "makes an object of os.system, which"),
    "object": (lambda: b"(cbuiltins\nset\n]o.", "makes an object of builtins.set, which is not data"),
    "new object": (lambda: b"cbuiltins\nset\n)\x81.", "makes an object of builtins.set, which is not data"),
    "new object by keywords": (lambda: b"cbuiltins\nset\n)}\x92.", "makes an object of builtins.set, which"),
    "state of a type": (lambda: b"cbuiltins\nset\n}Vpop\n" + LOUD + b"sb.", "refers to os.system"),
    "state of a name": (lambda: b"cbuiltins\nset\n}b.", "sets the state of builtins.set, which has none"),
    "state of a list": (lambda: b"(l}b.", "sets the state of a list, which has none"),
    "call of a value": (lambda: b"Vx\n)R.", "calls a str, which is not data"),
    "arguments that are no tuple": (lambda: b"cbuiltins\nset\n]R.", "arguments that are no tuple"),
    "registry of extensions": (lambda: b"\x82\x01.", "refers to number 1 of the registry of extensions"),
    "registry, long number": (lambda: b"\x84\x01\0\0\x01.", "refers to number 16,777,217 of the".replace(",", "")),
    "persistent id": (lambda: b"Pcanary\n.", "by a persistent id, which is not data"),
    "persistent id of the stack": (lambda: b"Vcanary\nQ.", "by a persistent id, which is not data"),
    "buffer from elsewhere": (lambda: b"\x80\x05\x97.", "refers to a buffer outside of it, which is not data"),
    # bombs
    "deep lists": (lambda: b"]" * 9_000 + b"a" * 8_999 + b".", "100 containers inside one another"),
    "deep tuples": (lambda: b")" + b"\x85" * 20_000 + b".", "100 containers inside one another"),
    "deep marks": (lambda: b"(" * 20_000 + b"t" * 20_000 + b".", "100 containers inside one another"),
    "billion laughs": (lambda: b"]" + b"q\0]h\0ah\0a" * 90 + b".", "unfolds to more than the 100,000 objects"),
    "list in itself": (lambda: b"]q\0h\0a.", "has a container that holds itself"),
    "hash of a deep key": (lambda: b"})" + b"\x85" * 20_000 + b"Ns.", "a tuple as a key"),
    "hash that takes for ever": (lambda: b"})" + b"q\0h\0\x86" * 90 + b"Ns.", "a tuple as a key"),
    "keys that collide": (lambda: pickle.dumps({i * (2**61 - 1) for i in range(99)}), "a int as a key"),
    "long keys that are the same": (
        lambda: (
            b"}" + b"".join(b"X\x88\x13\0\0" + b"k" * 5000 + b"q%c0" % i for i in (0, 1)) + b"h\0Ns" + b"h\1Ns." * 9
        ),
        "a key of 5,000 letters",
    ),
    "complex keys that collide": (
        lambda: pickle.dumps({complex(-1000003.0 * k, k): None for k in range(1, 9)}),
        "a complex as a key",
    ),
    "tuples as keys that collide": (lambda: pickle.dumps({(1, 2): None}), "a tuple as a key"),
    "tuple as a key again and again": (
        lambda: b"(" + b"K\1" * 9000 + b"tq\1}" + b"h\1Ns" * 9000 + b".",
        "a tuple as a key",
    ),
    "numbers as keys": (lambda: pickle.dumps({i << 40: None for i in range(100_001)}), "makes more than the 100,000"),
    "many empty sets": (lambda: b"](" + b"\x8f" * 20_000 + b"e.", "makes more than the 100,000 objects"),
    "sets by name": (lambda: b"](" + b"cbuiltins\nset\n)R" * 20_000 + b"e.", "makes more than the 100,000 objects"),
    "array of many dimensions": (
        lambda: NDARRAY + b"(K\1(" + b"K\xff" * 80_000 + b"t" + U1 + b"K\0U\1xtb.",
        "an array of 80,000 dimensions",
    ),
    "texts that are looked at again and again": (
        lambda: copies(
            b"B" + struct.pack("<I", 40_000) + bytes(40_000),
            NDARRAY + b"(K\1(M\x10\x27t" + U1.replace(b"u1", b"U1").replace(b"|", b"<") + b"K\0h\0tb",
            400,
        ),
        "copies more bytes than it has",
    ),
    "very many objects": (lambda: b"(" + b"]" * 110_000 + b"l.", "more than the 100,000 objects"),
    "copies of a list": (
        lambda: copies(b"(" + b"N" * 9000 + b"l", b"cbuiltins\nlist\nh\0\x85R", 2000),
        "makes more than the 100,000 objects",
    ),
    "copies of bytes": (
        lambda: copies(b"B" + struct.pack("<I", 50_000) + bytes(50_000), b"cbuiltins\nbytearray\nh\0\x85R", 2000),
        "copies more bytes than it has",
    ),
    "copies of a text": (
        lambda: copies(b"X" + struct.pack("<I", 50_000) + b"x" * 50_000, b"c_codecs\nencode\nh\0Vlatin1\n\x86R", 2000),
        "copies more bytes than it has",
    ),
    "copies of a scalar": (
        lambda: copies(
            b"B" + struct.pack("<I", 50_000) + bytes(50_000),
            b"cnumpy.core.multiarray\nscalar\n"
            + U1.replace(b"\2u1", b"\6S50000").replace(b"J\xff\xff\xff\xff", b"J\x50\xc3\0\0", 1)
            + b"h\0\x86R",
            500,
        ),
        "copies more bytes than it has",
    ),
    "bytes beyond the end": (lambda: b"B\xff\xff\xff\xffx.", "ends in the middle"),
    "bytes far beyond the end": (lambda: b"\x8e" + b"\xff" * 8 + b"x.", "ends in the middle"),
    "negative length": (lambda: b"T\xff\xff\xff\xffx.", "ends in the middle"),
    "frame beyond the end": (lambda: b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "ends in the middle"),
    "number of two gigabytes": (lambda: b"\x8b\xff\xff\xff\x7f" + bytes(99), "a whole number of 2,147,483,647 bytes"),
    "number of many digits": (lambda: b"L" + b"9" * 100_000 + b"L\n.", "an endless line"),
    "name without an end": (lambda: b"c" + b"a" * 5 * MIB, "an endless line"),
    "memo far away": (lambda: b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe.", "makes no sense there"),
    "stack that is empty": (lambda: b"\x87.", "the stack is empty"),
    "mark that is not there": (lambda: b"Nt.", "makes no sense there"),
    "below the mark": (lambda: b"N(0000.", "makes no sense there"),
}


def _files(folder: Path) -> set[str]:
    """All that is in a folder, and what is beside it."""
    return {str(path) for path in (*folder.rglob("*"), *folder.parent.iterdir())}


def harmless(tmp_path: Path, attempt: Callable[[], object]) -> str:
    """What our own error says, once nothing else was found to have happened."""
    global seen
    before, modules = _files(tmp_path), set(sys.modules)
    seen, started = [], time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError) as caught:
            attempt()
    finally:
        events, seen = seen, None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert events == []
    assert _files(tmp_path) == before
    assert not (tmp_path / "canary").exists()
    assert {name.partition(".")[0] for name in set(sys.modules) - modules} <= {"encodings", "tqdm", "bz2", "lzma"}
    assert peak < 200 * MIB
    assert time.process_time() - started < 10
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _warm(tmp_path: Path) -> None:
    """What is imported on first use, before anybody watches."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "warm.tgz").write_bytes(gzip.compress(tar()))
    open_tree(tmp_path / "warm.tgz", max_entries=1, max_bytes=1).close()
    (tmp_path / "warm.zip").write_bytes(zipped("a"))
    open_tree(tmp_path / "warm.zip", max_entries=1, max_bytes=1).close()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", ARCHIVES)
def test_a_hostile_archive_is_refused(tmp_path, case):
    name, make, said = ARCHIVES[case]
    path = tmp_path / name
    path.write_bytes(make())

    def attempt() -> None:
        tree = open_tree(path, max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES, scratch=tmp_path / "scratch")
        try:
            for member in tree.names():
                tree.read(member)
        finally:
            tree.close()

    message = harmless(tmp_path, attempt)
    assert said in message
    assert path.name in message


@pytest.mark.parametrize("case", PICKLES)
def test_a_hostile_pickle_is_refused(tmp_path, case):
    make, said = PICKLES[case]
    data = make()
    message = harmless(tmp_path, lambda: read_pickle(data, "x.pkl", max_objects=100_000))
    assert said in message
    assert message.startswith("x.pkl ")


def test_the_canary_would_sing(tmp_path):
    """What is refused above would work, were it read by `pickle`, and would be noticed."""
    global seen
    seen = []
    try:
        pickle.loads(PICKLES["os.system"][0]())
    finally:
        events, seen = seen, None
    assert events == ["pickle.find_class", "os.system"]
    assert (tmp_path / "canary").exists()


def test_the_table_is_long():
    assert len(ARCHIVES) >= 40
    assert len(PICKLES) >= 60
