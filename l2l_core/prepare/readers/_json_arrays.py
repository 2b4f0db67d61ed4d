"""The objects in the arrays of a large JSON file, one by one, in little memory.

``json.loads`` takes the text of a file and a dict for each of its objects at once: gigabytes for the annotations of
MSCOCO. Here a window of the text slides over the mapped file, and an object is gone when the next is asked for.
"""

import codecs
import json
from collections.abc import Collection, Iterator
from json.decoder import JSONDecoder
from typing import Any

from l2l_core.errors import ContentError

WINDOW_BYTES = 1 << 20
MAX_VALUE_BYTES = 1 << 26
"""Of one object, or of one value that is passed over; the largest in MSCOCO has a few hundred thousand."""

_BLANK = " \t\r\n"
_AFTER_A_VALUE = frozenset({",", ":", "]", "}", *_BLANK})


def array_objects(
    data: bytes | memoryview, keys: Collection[str], subject: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in those arrays that the top-level object holds under the keys, with its key, in file order.

    Args:
        data: the JSON text in UTF-8, the top level an object; whatever else it holds is passed over.
        keys: of the arrays.
        subject: what to call the file, at the beginning of a message.

    Raises:
        ContentError: it is not JSON in UTF-8, has a key twice, or holds something else than objects in such an array.
    """
    text = _Window(data, subject)
    text.expect("{")
    seen: set[str] = set()
    while text.peek() != "}":
        if seen:
            text.expect(",")
        key = text.value()
        if not isinstance(key, str) or key in seen:
            raise text.damaged("a key is no text, or stands there twice")
        seen.add(key)
        text.expect(":")
        if key not in keys:
            text.value()
            continue
        text.expect("[")
        if text.peek() != "]":
            while True:
                value = text.value()
                if not isinstance(value, dict):
                    raise text.damaged(f"{key!r} holds something else than objects")
                yield key, value
                if text.peek() == "]":
                    break
                text.expect(",")
        text.expect("]")
    text.expect("}")
    if text.peek():
        raise text.damaged("something follows its end")


class _Window:
    """A stretch of the text, and how far it was read."""

    def __init__(self, data: bytes | memoryview, subject: str) -> None:
        self._data, self._subject = memoryview(data), subject
        self._text, self._at = "", 0
        self._decoded_bytes = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._decode = JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is not blank; nothing at the end of the file."""
        while True:
            rest = self._text[self._at : self._at + 64].lstrip(_BLANK)
            if rest:
                self._at = self._text.index(rest[0], self._at)
                return rest[0]
            self._at = min(self._at + 64, len(self._text))
            if self._at == len(self._text) and not self._grow(WINDOW_BYTES):
                return ""

    def expect(self, character: str) -> None:
        """Read one character that must be the next."""
        found = self.peek()
        if found != character:
            raise self.damaged(f"expected {character!r}, found {repr(found) if found else 'its end'}")
        self._at += 1

    def value(self) -> Any:
        """The next value."""
        self.peek()
        size = WINDOW_BYTES
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except RecursionError:
                raise self.damaged("a value is nested too deeply") from None
            except ValueError as error:  # wrong, or only not all there yet
                reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number has too many digits"
                complete = False
            else:
                # A number that ends near the end of the window may go on behind it.
                reason, complete = "", self._text[end - 1] in '"}]' or self._text[end : end + 1] in _AFTER_A_VALUE
            if len(self._text) - self._at > MAX_VALUE_BYTES and not complete:
                raise self.damaged(f"no value ends within {MAX_VALUE_BYTES:,} bytes")
            if complete or not self._grow(size):
                if reason:
                    raise self.damaged(reason)
                self._at = end
                return value
            size *= 2  # so that a large value is not tried once for every megabyte of it

    def damaged(self, reason: str) -> ContentError:
        """The error to raise."""
        about = max(self._decoded_bytes - len(self._text) + self._at, 0)  # exact as long as every character is a byte
        return ContentError(f"{self._subject} is damaged near byte {about:,} ({reason}); get the file anew")

    def _grow(self, size: int) -> bool:
        """Drop what was read and add up to so many bytes; false at the end of the file."""
        if self._decoded_bytes == len(self._data):
            return False
        chunk = self._data[self._decoded_bytes : self._decoded_bytes + size]
        try:
            more = self._utf8.decode(chunk, final=self._decoded_bytes + len(chunk) == len(self._data))
        except UnicodeDecodeError:
            raise self.damaged("it is not UTF-8") from None
        self._decoded_bytes += len(chunk)
        self._text = self._text[self._at :] + more
        self._at = 0
        return True
