"""Picture files of every kind: what they become, and what is refused before it does harm."""

import io
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from l2l_core.errors import CatalogError, ContentError
from l2l_core.fields import every_field
from l2l_core.prepare.pictures import MAX_PIXELS, PictureOptions, cut, decode, is_picture, open_picture, picture_options
from tests.prepare.pictures import drawn, encoded

RGB = PictureOptions(mode="RGB", invert=False, image_size=(6, 8), resample="bilinear")
GREY = PictureOptions(mode="L", invert=False, image_size=(6, 8), resample="bilinear")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def refusal(content: bytes, options: PictureOptions = RGB) -> str:
    with pytest.raises(ContentError) as caught:
        decode(content, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF"])
def test_pixels_come_as_three_planes(format: str) -> None:
    array = decode(encoded(PIXELS, format), RGB)
    assert array.dtype == np.uint8
    for plane in range(3):
        for row in range(6):
            for column in range(8):
                assert array[plane, row, column] == PIXELS[row, column, plane]


def test_conversion_comes_before_resizing_and_inversion_after() -> None:
    bars = np.zeros((12, 16), bool)
    bars[::3] = True
    options = PictureOptions(mode="L", invert=True, image_size=(6, 8), resample="lanczos")
    grey = Image.fromarray(bars.astype(np.uint8) * 255).resize((8, 6), Image.Resampling.LANCZOS)
    assert np.array_equal(decode(saved(Image.fromarray(bars), "PNG"), options)[0], 255 - np.asarray(grey))


def test_transparency_is_dropped_and_not_blended() -> None:
    alpha = np.full((6, 8, 1), 7, np.uint8)
    assert np.array_equal(decode(encoded(np.concatenate([PIXELS, alpha], 2), "PNG"), RGB), PIXELS.transpose(2, 0, 1))
    palette = Image.fromarray(PIXELS // 86 * 85).quantize(64)
    colours = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    for transparency in (bytes(range(60)), 3):
        content = saved(palette, "PNG", transparency=transparency)
        assert np.array_equal(decode(content, RGB), colours)
    grey = np.asarray(palette.convert("L"))
    assert np.array_equal(decode(saved(palette, "PNG", transparency=bytes(range(60))), GREY)[0], grey)
    two = Image.merge("LA", [Image.fromarray(PIXELS[..., 0]), Image.fromarray(PIXELS[..., 1])])
    assert np.array_equal(decode(saved(two, "PNG"), GREY)[0], PIXELS[..., 0])


def test_cmyk_is_converted_without_a_profile() -> None:
    cmyk = Image.fromarray(PIXELS).convert("CMYK")
    pixels = np.asarray(cmyk).astype(int)
    expected = [[[(255 - ink) * (255 - black) for ink in inks] for *inks, black in row] for row in pixels]
    found = decode(saved(cmyk, "TIFF"), RGB).transpose(1, 2, 0)
    assert np.abs(found - np.array(expected) / 255).max() <= 1
    jpeg = saved(cmyk.resize((64, 48)), "JPEG", quality=100, subsampling=0)
    assert decode(jpeg, RGB).shape == (3, 6, 8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_of_16_bits_the_upper_8_count(format: str) -> None:
    samples = np.random.default_rng(1).integers(0, 2**16, (6, 8), np.uint16)
    content = saved(Image.fromarray(samples), format)
    assert np.array_equal(decode(content, GREY)[0], samples // 256)
    assert np.array_equal(decode(content, RGB), np.stack([samples // 256] * 3))


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_samples_without_a_known_range_are_refused(dtype: type, mode: str) -> None:
    samples = (np.arange(48).reshape(6, 8) * 10_000).astype(dtype)
    assert refusal(saved(Image.fromarray(samples), "TIFF")) == (
        f"has samples of 32 bits (mode {mode}), of which no one knows the range; give pictures of 8 or 16 bits a sample"
    )


def test_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        content = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert np.array_equal(decode(content, RGB), np.asarray(frames[0]).transpose(2, 0, 1)), format


def test_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    segment = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    plain = drawn(1)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert Image.open(io.BytesIO(turned)).getexif()[0x0112] == 6
    assert np.array_equal(decode(plain, RGB), decode(turned, RGB))


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = (
        struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_000), (9_000, 9_000), (1, MAX_PIXELS + 1)])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_picture_that_claims_too_many_pixels_is_never_decoded(width: int, height: int, action: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert refusal(_png(width, height)) == (
            "claims more than the 80,000,000 pixels that are decoded here; get the file anew"
        )


def test_a_picture_within_the_limit_is_decoded_without_a_warning() -> None:
    assert decode(encoded(np.zeros((9_000, 8_000), np.uint8), "PNG"), RGB).shape == (3, 6, 8)


@pytest.mark.parametrize(
    ("kind", "head"), [(b"zTXt", b"key\0\0"), (b"iCCP", b"profile\0\0"), (b"iTXt", b"key\0\1\0\0\0")], ids=str
)
def test_a_small_file_that_unpacks_to_a_large_text_is_refused(kind: bytes, head: bytes) -> None:
    chunk = (kind, head + zlib.compress(b"a" * 300_000_000, 1))
    content = _png(8, 6, chunk, chunk)
    assert len(content) < 6_000_000
    assert refusal(content).startswith("is not a readable picture (")


def test_what_is_no_picture_is_named() -> None:
    page = b"<!doctype html><title>Quota exceeded</title>"
    assert refusal(page) == "is not a readable picture (an HTML page); get the file anew"
    assert refusal(b"") == "is not a readable picture (an empty file); get the file anew"
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n"
    with Image.open(io.BytesIO(postscript)) as image:
        assert image.format == "EPS", "Pillow knows it, and would run another program"
    assert refusal(postscript).startswith("is not a readable picture (data of an unknown kind (it begins with 25 21 ")
    assert refusal(b"\xff\xd8\xff\xe0") == (
        "is not a readable picture (a JPEG picture with a damaged header); get the file anew"
    )
    assert refusal(encoded(PIXELS, "PNG")[:20]) == "is not a readable picture (Truncated File Read); get the file anew"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_a_file_cut_off_anywhere_is_refused(format: str) -> None:
    large = np.random.default_rng(2).integers(0, 256, (40, 30, 3), np.uint8)
    content = encoded(large, format)
    for length in {0, 1, 10, 30, 100, len(content) // 4, len(content) // 2, 3 * len(content) // 4}:
        assert "get the file anew" in refusal(content[:length]), length


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.data())
def test_whatever_the_bytes_it_is_a_picture_or_one_clear_refusal(data: st.DataObject) -> None:
    format = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"]))
    content = bytearray(encoded(PIXELS, format))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert decode(bytes(content), RGB).shape == (3, 6, 8)
        except ContentError as error:
            assert "; " in str(error)


def test_decoding_touches_no_setting_that_threads_share() -> None:
    before, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(20):
            if number % 2:
                decode(drawn(number), RGB)
            else:
                refusal(_png(60_000, 60_000))
            assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == (before, filters)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_another_size_than_it_must_have_is_refused() -> None:
    assert decode(encoded(PIXELS, "PNG"), RGB, (6, 8)).shape == (3, 6, 8)
    with pytest.raises(ContentError) as caught:
        decode(encoded(PIXELS, "PNG"), RGB, (8, 6))
    assert str(caught.value) == "is 6x8 pixels instead of 8x6; give the original pictures, not a resized copy"


def test_a_box_is_clipped_and_must_have_a_pixel() -> None:
    picture = open_picture(encoded(PIXELS, "PNG"), "RGB")
    assert np.array_equal(np.asarray(cut(picture, (-3, 2, 5, 99))), PIXELS[2:, :5])
    for box in ((8, 0, 9, 9), (0, 6, 9, 9), (-5, 0, 0, 6), (3, 3, 3, 4)):
        with pytest.raises(ContentError) as caught:
            cut(picture, box)
        assert str(caught.value) == f"is 6x8 pixels and has none in the box {box}; give the original pictures"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.JPEG", True),
        ("x.png", True),
        ("a.tar", False),
        ("a/.png", False),
        (".png", False),
        ("png", False),
        ("a.jpg/b", False),
    ],
)
def test_pictures_are_told_by_their_suffix(name: str, expected: bool) -> None:
    assert is_picture(name) is expected


def test_options_that_cannot_be_are_named() -> None:
    with pytest.raises(CatalogError) as caught, every_field({"mode": "CMYK", "image_size": [2000, 8]}, "x: ") as fields:
        picture_options(fields)
    assert caught.value.problems == (
        "x: mode: expected L or RGB, found 'CMYK'",
        "x: resample: missing",
        "x: image_size: expected at most 1024 pixels a side, found [2000, 8]",
    )
