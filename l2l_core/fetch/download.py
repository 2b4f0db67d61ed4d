"""The files of a data set, each from the first source that gives the bytes of its record."""

import os
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from l2l_core.errors import FetchError, UsageError
from l2l_core.fetch.cache import Cache
from l2l_core.fetch.checks import (
    HEAD_BYTES,
    Hasher,
    checksums,
    completed,
    fault,
    has_checksum,
    misfit,
    progress,
    size_fault,
)
from l2l_core.fetch.partial import Partial, clear_partials, mark_of
from l2l_core.fetch.receipts import ABSENT, fault_of, write_receipt
from l2l_core.fetch.sources import Promise, open_source, promise_before, promise_on_the_way
from l2l_core.fetch.web import CHUNK_BYTES, RETRIES, BrokenOffError, Reply, SourceError, Web, origin, whole_number
from l2l_core.files import replacing, writing
from l2l_core.records import FileRecord, FormRecord


class _WrongContentError(SourceError):
    """All bytes came, and they are not the file."""


class _StaleError(SourceError):
    """What is here cannot be continued with what the server has now."""


def fetch_files(
    dataset: str,
    form: FormRecord,
    cache: Cache,
    *,
    mirror: str | None = None,
    offline: bool = False,
    web: Web | None = None,
) -> list[Path]:
    """Paths of the files of a form in the cache, in its order, downloaded where need be.

    The caller holds `Cache.lock` of the data set. No file may be larger than its record allows, so all files together
    take no more than the sum of that.

    Args:
        dataset: its name, under which its files lie in the cache and at the mirror.
        form: says which files.
        cache: where they go.
        mirror: an address or a folder with ``DATASET/FILE`` in it, which is tried first; L2L_MIRROR for None.
        offline: make no connection, which L2L_OFFLINE=1 asks for, too; a folder as mirror still serves.
        web: how the network is reached.

    Raises:
        UsageError: the mirror is in the home folder of nobody.
        FetchError: a file came from none of its sources, or has none; says what each answered, and where to place it.
        CacheError: the cache folder cannot be written.
    """
    mirror = mirror or os.environ.get("L2L_MIRROR") or None
    offline = offline or os.environ.get("L2L_OFFLINE", "0").lower() not in ("", "0", "no", "false")
    targets = [cache.downloads(dataset) / file.name for file in form.files]
    count = len(form.files)
    # Those that nobody serves come first, so that it is not said after hours of downloading that one must be found.
    for number, file in sorted(enumerate(form.files), key=lambda item: bool(item[1].urls)):
        label = file.name if count == 1 else f"{file.name} (file {number + 1} of {count})"
        sources = _sources(dataset, file, mirror, offline)
        download(file, targets[number], sources, web=web, label=label, offline=offline)
    return targets


def download(
    file: FileRecord,
    target: Path,
    sources: Sequence[str | Path] | None = None,
    *,
    web: Web | None = None,
    label: str | None = None,
    offline: bool = False,
) -> Path:
    """The target, holding the file that the record describes.

    A target that holds it already is kept, and nothing is asked of the network. Else the sources are tried in order,
    and the target appears, or is replaced, only when all bytes are here and every checksum that is known holds. What
    came before a source broke off is kept for the next try, where the server can tell whether the file is still the
    same.

    Args:
        file: name, size and checksums.
        target: where the file shall be.
        sources: addresses and files to copy, in order of trust; those of the record for None.
        web: how the network is reached.
        label: what the progress bar says; the file's name for None.
        offline: whether connections are refused, so that the error can say so.

    Raises:
        FetchError: no source gave the file; says what each one answered.
        CacheError: the file cannot be written.
    """
    problem = fault_of(target, file)
    if problem is None:
        clear_partials(target)  # of a run that was killed at its very end
        return target
    # Whoever placed a file by hand must hear why it does not count.
    answers = [] if problem == ABSENT else [f"the file that is there: {problem}"]
    with writing(file.name, target):
        target.parent.mkdir(parents=True, exist_ok=True)
    for source in file.urls if sources is None else sources:
        try:
            if isinstance(source, Path):
                _copy(file, source, target, label or file.name)
            else:
                _take(file, source, target, web or Web(), label or file.name)
        except SourceError as error:
            answers.append(f"{source.parent if isinstance(source, Path) else origin(source)[1]}: {error}")
        else:
            clear_partials(target)
            return target
    raise FetchError(_advice(file, target, answers, offline))


def _sources(dataset: str, file: FileRecord, mirror: str | None, offline: bool) -> list[str | Path]:
    own = [] if offline else list(file.urls)
    if mirror is None:
        return [*own]
    if "://" not in mirror:
        try:
            folder = Path(mirror).expanduser().absolute()
        except RuntimeError as error:
            raise UsageError(
                f"cannot use the mirror {mirror!r}: there is no such home folder; give a full path with --mirror or "
                "L2L_MIRROR"
            ) from error
        return [folder / dataset / file.name, *own]
    return [] if offline else [f"{mirror.rstrip('/')}/{quote(dataset)}/{quote(file.name)}", *own]


def _advice(file: FileRecord, target: Path, answers: Sequence[str], offline: bool) -> str:
    """What was asked, what each source said, and what to do."""
    known = [f"{kind} {value}" for kind, value in checksums(file).items()]
    reasons = "; ".join(answers) or "no source is known"
    if offline:
        reasons = "; ".join([*answers, "no connection is made offline"])
    return (
        f"cannot download {file.name} ({reasons}); get it another way ({', '.join([_size(file), *known])}) "
        f"and place it at {target}, or give a copy with `l2l import`"
    )


def _take(file: FileRecord, url: str, target: Path, web: Web, label: str) -> None:
    """Put what an address serves in the target's place, asking again for what is left where it breaks off."""
    if not has_checksum(file):
        file = _held_to(file, promise_before(web, url))
    partial = Partial(target, url)
    furthest, fruitless, once_more = partial.size_bytes, 0, True
    try:
        while True:
            resumed = bool(partial.asking())
            try:
                _receive(file, url, partial, web, label)
                break
            except _StaleError:
                partial.discard()
            except _WrongContentError:
                partial.discard()
                # A part of another version may be in it, or a flaw of the disk: once more, from the start.
                if not (resumed and once_more):
                    raise
                once_more = False
            except BrokenOffError as error:
                reached = partial.size_bytes
                fruitless = 0 if reached - furthest >= CHUNK_BYTES else fruitless + 1
                furthest = max(furthest, reached)
                if fruitless > RETRIES:
                    raise SourceError(f"{error} after {reached:,} of {_size(file)}") from error
                web.pause(fruitless)
        write_receipt(target, url, partial.hasher.fingerprint(), partial.mark)
        partial.move(target)
    finally:
        if partial.mark is None:
            partial.discard()


def _receive(file: FileRecord, url: str, partial: Partial, web: Web, label: str) -> None:
    """Bring the partial file to its end over one connection, and check what is there then."""
    if partial.size_bytes > file.limit_bytes:
        raise _StaleError
    if not _is_over(file, partial):
        asking = partial.asking()
        with open_source(web, url, asking) as reply:
            if not has_checksum(file):
                file = _held_to(file, promise_on_the_way(reply.hops))
            if asking and reply.status in (206, 416):
                if not _continues(file, partial, reply):
                    raise _StaleError
            elif reply.status == 200:
                _check_beginning(file, reply)
                partial.start(mark_of(reply.headers))
            else:
                raise SourceError(f"HTTP status {reply.status}")
            if reply.status != 416:
                _append(file, partial, reply, label)
    if problem := fault(file, partial.hasher.fingerprint()):
        raise _WrongContentError(problem)


def _is_over(file: FileRecord, partial: Partial) -> bool:
    """Whether a run that was killed at its very end left nothing to ask for.

    Without a checksum there is always something to ask for: a host may promise one on the way.
    """
    return (
        has_checksum(file)
        and partial.size_bytes > 0
        and (partial.size_bytes == file.size_bytes or fault(file, partial.hasher.fingerprint()) is None)
    )


def _append(file: FileRecord, partial: Partial, reply: Reply, label: str) -> None:
    ends_visibly = reply.ends_visibly
    if not ends_visibly and file.size_bytes is None and not has_checksum(file):
        raise SourceError("an answer without a length, which nobody can tell from one that is cut off")
    with (
        progress(label, file.expected_bytes, partial.size_bytes) as bar,
        writing(file.name, partial.path.parent),
        partial.appending(),
        closing(reply.chunks()) as chunks,
    ):
        for chunk in chunks:
            if partial.size_bytes + len(chunk) > file.limit_bytes:
                raise _WrongContentError(f"more than the {file.limit_bytes:,} bytes that are allowed")
            partial.append(chunk)
            bar.update(len(chunk))
    if not ends_visibly and partial.size_bytes < (file.size_bytes or 0):
        raise BrokenOffError("connection broken")


def _check_beginning(file: FileRecord, reply: Reply) -> None:
    """Stop early where the first bytes or the announced length already show that this is not the file."""
    head = reply.peek(HEAD_BYTES)
    problem = None if has_checksum(file) else misfit(file.name, head)
    if problem is None and _is_encoded(file, reply):
        problem = "an answer in a Content-Encoding that was not asked for"
    if problem is None and reply.length is not None:
        problem = size_fault(file, reply.length)
    if problem is not None:
        raise SourceError(problem)


def _continues(file: FileRecord, partial: Partial, reply: Reply) -> bool:
    """Whether an answer is the rest of the very file that the partial one is the beginning of, or says that none is."""
    if mark_of(reply.headers) != partial.mark:
        return False
    given = reply.headers.get("Content-Range", "")
    if reply.status == 416:
        return given == f"bytes */{partial.size_bytes}"
    match = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)", given)
    first, last, total = map(whole_number, match.groups()) if match else (None, None, None)
    if first != partial.size_bytes or last is None or _is_encoded(file, reply):
        return False
    if total is None:  # then something else must tell whether this is all
        return file.size_bytes is not None or has_checksum(file)
    return last + 1 == total and file.size_bytes in (None, total)


def _is_encoded(file: FileRecord, reply: Reply) -> bool:
    """Whether the bytes are said to be not the file's own, and no checksum will tell."""
    encoding = reply.headers.get("Content-Encoding", "").strip().lower()
    # Many servers name so what an archive is packed with itself.
    own = encoding in ("gzip", "x-gzip") and file.name.lower().endswith((".gz", ".tgz"))
    return encoding not in ("", "identity") and not own and not has_checksum(file)


def _held_to(file: FileRecord, promise: Promise) -> FileRecord:
    """The record, completed by what a host says of the file, unless that is more than the record allows."""
    if promise.size_bytes is not None and (problem := size_fault(file, promise.size_bytes)):
        raise SourceError(f"{problem}, by what the host says of it")
    return completed(file, promise.size_bytes, promise.sha256, promise.md5)


def _copy(file: FileRecord, source: Path, target: Path, label: str) -> None:
    """Put a copy of a file of a mirror in the target's place."""
    hasher = Hasher()
    with replacing(target) as part, progress(label, file.expected_bytes) as bar:
        with writing(file.name, part.parent), part.open("xb") as out, closing(_read(source)) as chunks:
            for chunk in chunks:
                if not hasher.size_bytes and not has_checksum(file) and (problem := misfit(file.name, chunk)):
                    raise SourceError(problem)
                if hasher.size_bytes + len(chunk) > file.limit_bytes:
                    raise SourceError(f"more than the {file.limit_bytes:,} bytes that are allowed")
                hasher.update(chunk)
                out.write(chunk)
                bar.update(len(chunk))
        if problem := fault(file, hasher.fingerprint()):
            raise SourceError(problem)
        write_receipt(target, source.as_uri(), hasher.fingerprint(), None)


def _read(source: Path) -> Generator[bytes, None, None]:
    """The bytes of a file; nothing but a `SourceError` leaves it, so that an OSError around it is the cache's."""
    try:
        with source.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise SourceError(f"{source.name} cannot be read ({error.strerror or error})") from error


def _size(file: FileRecord) -> str:
    if file.size_bytes is not None:
        return f"{file.size_bytes:,} bytes"
    return f"about {file.about_bytes:,} bytes" if file.about_bytes else f"at most {file.at_most_bytes or 0:,} bytes"
