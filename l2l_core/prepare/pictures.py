"""From a picture file to the array that is stored; what every reader of pictures shares."""

import io
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from l2l_core.errors import ContentError
from l2l_core.fetch.archives import looks_like
from l2l_core.fields import Fields

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".gif", ".tif", ".tiff"})
CHANNELS: Final = {"L": 1, "RGB": 3}
FILTERS: Final = tuple(name.lower() for name in Image.Resampling.__members__)
MAX_SIDE: Final = 1024
"""Pixels of a stored picture; no few-shot benchmark comes near."""
MAX_PIXELS: Final = 80_000_000
"""Of a raw picture, before it is decoded; a photograph of the largest data set here has 3 million. It lies below the
89 million at which Pillow itself begins to warn, so that all it would only warn of is refused."""

# What the suffixes stand for, whatever a file's own suffix is. Pillow knows more, EPS among them, which it hands to
# another program.
_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of a picture, in pixels; the last two just outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """How a picture becomes an array; fields of ``[prepared]`` in a catalogue entry.

    Attributes:
        mode: Pillow's picture mode, L or RGB; converted to before resizing, since Pillow resizes 1-bit pictures with
            nearest neighbour whatever filter is asked for.
        invert: whether dark becomes 255; false where it is not said.
        image_size: height and width in pixels after resizing; the shape is stretched, not cropped.
        resample: Pillow's name of the filter in lower case, for example lanczos.
    """

    mode: str
    invert: bool
    image_size: tuple[int, int]
    resample: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the array."""
        return CHANNELS[self.mode], *self.image_size


def picture_options(fields: Fields) -> PictureOptions:
    """The options of pictures, taken from among a reader's; what is wrong is noted there."""
    options = PictureOptions(
        mode=fields.text("mode", "|".join(CHANNELS), " or ".join(CHANNELS)),
        invert=fields.flag("invert"),
        image_size=fields.size("image_size"),
        resample=fields.text("resample", "|".join(FILTERS), "one of " + ", ".join(FILTERS)),
    )
    if max(options.image_size) > MAX_SIDE:
        fields.problem("image_size", f"expected at most {MAX_SIDE} pixels a side, found {list(options.image_size)}")
    return options


def is_picture(name: str) -> bool:
    """Whether a file's name ends like that of a picture."""
    stem, dot, suffix = name.rpartition(".")
    return dot + suffix.lower() in SUFFIXES and stem != "" and not stem.endswith("/")


def decode(
    content: bytes | memoryview, options: PictureOptions, raw_size: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """A picture file as uint8 [C, H, W]: `open_picture`, then `to_array`."""
    return to_array(open_picture(content, options.mode, raw_size), options)


def open_picture(content: bytes | memoryview, mode: str, raw_size: tuple[int, int] | None = None) -> Image.Image:
    """The picture in a file, decoded.

    The first frame counts. Colours are Pillow's plain conversion, without colour profiles; transparency is dropped, so
    a transparent pixel has the colour that is stored under it; of 16-bit samples the upper 8 bits count; what EXIF says
    of orientation is not applied. This is what the published preparations do with ``Image.open(…).convert(…)``, but for
    16-bit samples, which it clips.

    Args:
        content: the bytes of the file, in one of the formats that `SUFFIXES` stand for.
        mode: L or RGB.
        raw_size: height and width that the picture must have, in pixels; any for None.

    Raises:
        ContentError: it cannot be decoded, is too large or of another size; the message is the second half of a
            sentence, for the caller to say of which file.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if raw_size is not None and (image.height, image.width) != raw_size:
                raise ContentError(
                    f"is {_size(image)} pixels instead of {raw_size[0]}x{raw_size[1]}; "
                    f"give the original pictures, not a resized copy"
                )
            image.load()
            # A note on transparency outlives no conversion, and would make some of them warn.
            image.info.pop("transparency", None)
            return (_upper_bytes(image) if image.mode.startswith(("I", "F")) else image).convert(mode)
    except ContentError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ContentError(
            f"claims more than the {MAX_PIXELS:,} pixels that are decoded here; get the file anew"
        ) from None
    except UnidentifiedImageError:
        kind = looks_like(bytes(content[:512]))
        reason = f"{kind} with a damaged header" if kind.endswith("picture") else kind
        raise ContentError(f"is not a readable picture ({reason}); get the file anew") from None
    except Exception as error:  # on damaged bytes Pillow's decoders raise whatever they run into, IndexError included
        reason = str(error) or type(error).__name__
        raise ContentError(f"is not a readable picture ({reason}); get the file anew") from None


def _upper_bytes(image: Image.Image) -> Image.Image:
    """The picture of the upper 8 bits of 16-bit samples, which Pillow would clip at 255."""
    samples = np.asarray(image)
    if samples.dtype.kind == "f" or samples.min() < 0 or samples.max() > 0xFFFF:
        raise ContentError(
            f"has samples of {8 * samples.itemsize} bits (mode {image.mode}), of which no one knows the range; "
            "give pictures of 8 or 16 bits a sample"
        )
    return Image.fromarray((samples >> 8).astype(np.uint8))


def _size(image: Image.Image) -> str:
    return f"{image.height}x{image.width}"


def from_pixels(pixels: npt.NDArray[np.uint8], options: PictureOptions) -> npt.NDArray[np.uint8]:
    """Pixels of mode L, uint8 [H, W], or RGB, uint8 [H, W, 3], as uint8 [C, H, W] of the right mode and size."""
    if pixels.shape[:2] == options.image_size and pixels.ndim == (2 if options.mode == "L" else 3):
        return _planes(pixels, options)  # tens of millions of drawings need not pass through Pillow
    return to_array(Image.fromarray(pixels).convert(options.mode), options)


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """The part of a picture in a box, as far as it lies in the picture.

    Raises:
        ContentError: none of it does; the message is the second half of a sentence.
    """
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[2], picture.width), min(box[3], picture.height)
    if left >= right or top >= bottom:
        raise ContentError(f"is {_size(picture)} pixels and has none in the box {box}; give the original pictures")
    return picture.crop((left, top, right, bottom))


def to_array(picture: Image.Image, options: PictureOptions) -> npt.NDArray[np.uint8]:
    """A picture of the right mode as uint8 [C, H, W] of the right size."""
    height, width = options.image_size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling[options.resample.upper()])
    return _planes(np.asarray(picture), options)


def _planes(pixels: npt.NDArray[np.uint8], options: PictureOptions) -> npt.NDArray[np.uint8]:
    array = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return 255 - array if options.invert else array
