"""Raw files for any form of any data set of the catalogue: every class, a few small examples of each.

One maker a reader. A maker writes what the entry says is there (folders, lists, keys), from the entry's own options, so
that an option, a class name or a spelling that does not fit the reader shows.
"""

import csv
import io
import json
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import scipy.io
from PIL import Image

from l2l_core.records import DatasetRecord, FormRecord, Split
from tests.prepare.raw import npy, npz, png, python2_pickle

EXAMPLES = 3
"""Of each class."""


@dataclass
class Made:
    """Raw files, and what must come out of them.

    Attributes:
        files: name to content.
        expected: class to its examples as a store holds them, in the order of the raw files.
    """

    record: DatasetRecord
    form: FormRecord
    split: Split
    numbers: Mapping[str, Sequence[int]]
    class_names: Mapping[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    expected: dict[str, list[np.ndarray]] = field(default_factory=dict)
    drawn: Counter[str] = field(default_factory=Counter)

    @property
    def classes(self) -> Sequence[str]:
        return self.split.classes()

    @property
    def options(self) -> Mapping[str, Any]:
        return {**self.record.prepared, **self.form.options}

    def draws(self, name: str) -> np.random.Generator:
        """Of the next example of a class; the same in whatever form and order the classes come."""
        self.drawn[name] += 1
        return np.random.default_rng([crc32(name.encode()), self.drawn[name]])

    def pixels(self, name: str) -> np.ndarray:
        """The next picture of a class: uint8 [H, W] or [H, W, 3]."""
        height, width = self.record.raw.image_size or (9, 7)
        shape = (height, width) if self.options["mode"] == "L" else (height, width, 3)
        return self.draws(name).integers(0, 256, shape, np.uint8)

    def expect(self, name: str, pixels: np.ndarray, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """Note what must become of a picture, by Pillow alone; gives the picture back."""
        height, width = self.options["image_size"]
        picture = Image.fromarray(pixels).convert(self.options["mode"])
        picture = picture.crop(box) if box else picture
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling[self.options["resample"].upper()])
        planes = np.stack([np.asarray(plane) for plane in picture.split()])
        self.expected.setdefault(name, []).append(255 - planes if self.options.get("invert") else planes)
        return pixels

    def pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        """Class and picture, EXAMPLES of each class in turn, each expected."""
        for name in self.classes:
            for _ in range(EXAMPLES):
                yield name, self.expect(name, self.pixels(name))


def number_of(name: str) -> int:
    return int(name.partition(".")[0])


def image_folders(made: Made) -> None:
    for name in made.classes:
        folder = f"{number_of(name):05}" if made.options.get("class_key") == "number" else name
        for number in made.numbers.get(name, range(EXAMPLES)):
            made.files[f"{folder}/{name.rpartition('/')[2]}_{number:05}.png"] = png(
                made.expect(name, made.pixels(name))
            )


def image_table(made: Made) -> None:
    tables: dict[str, list[str]] = {
        table: [f"{made.options['file_column']},{made.options['label_column']}"] for table in made.options["tables"]
    }
    table_of = dict(zip(("train", "validation", "test"), tables, strict=True))
    for name in made.classes:
        for number in made.numbers.get(name, range(EXAMPLES)):
            file = made.options.get("file_pattern", "{class_name}_{number}.JPEG").format(class_name=name, number=number)
            made.files[f"images/{file}"] = png(made.expect(name, made.pixels(name)))
            tables[table_of[made.split.subset_of[name]]].append(f"{file},{name}")
    made.files |= {table: "\n".join([*rows, ""]).encode() for table, rows in tables.items()}


def array_files(made: Made) -> None:
    alphabetical = sorted(made.classes)
    for subset, names in made.options["files"].items():
        rows = [
            (name, made.expect(name, made.pixels(name))) for _ in range(EXAMPLES) for name in made.split.classes(subset)
        ]
        content: dict[str, object] = {made.options["images"]: np.stack([pixels for _, pixels in rows])}
        if "labels" in made.options:
            content[made.options["labels"]] = [alphabetical.index(name) for name, _ in rows]
        else:
            content[made.options["class_rows"]] = {
                name: [row for row, (its_class, _) in enumerate(rows) if its_class == name]
                for name in made.split.classes(subset)
            }
        zipped = names[-1].endswith(".npz")
        made.files[names[-1]] = (
            npz(**{key: np.array(value) for key, value in content.items()}) if zipped else python2_pickle(content)
        )


def png_pickles(made: Made) -> None:
    for subset, spelling in (("train", "train"), ("validation", "val"), ("test", "test")):
        names = made.split.classes(subset)[::-1]  # a listing of somebody's disk, in no order of ours
        rows = [(name, made.expect(name, made.pixels(name))) for _ in range(EXAMPLES) for name in names]
        files = [np.frombuffer(png(pixels), np.uint8)[:, None] for _, pixels in rows]
        labels = {
            "label_specific": np.array([names.index(name) for name, _ in rows]),
            "label_specific_str": [made.class_names[name] for name in names],
        }
        made.files[f"tiered-imagenet/{spelling}_images_png.pkl"] = python2_pickle(files)
        made.files[f"tiered-imagenet/{spelling}_labels.pkl"] = python2_pickle(labels)
    made.files["tiered-imagenet/synsets.txt"] = "\n".join(made.classes).encode()
    made.files["tiered-imagenet/class_names.txt"] = "\n".join(made.class_names[name] for name in made.classes).encode()


def cifar(made: Made) -> None:
    names = sorted(made.classes)
    rows = list(made.pictures())
    parts = {"train": rows[::2], "test": rows[1::2]}
    if made.form.name == "binary":
        for part, rows in parts.items():
            made.files[f"cifar-100-binary/{part}.bin"] = b"".join(
                bytes([0, names.index(name)]) + pixels.transpose(2, 0, 1).tobytes() for name, pixels in rows
            )
        made.files["cifar-100-binary/fine_label_names.txt"] = "\n".join([*names, ""]).encode()
        return
    for part, rows in parts.items():
        data = np.stack([pixels.transpose(2, 0, 1).reshape(-1) for _, pixels in rows])
        made.files[f"cifar-100-python/{part}"] = python2_pickle(
            {"data": data, "fine_labels": [names.index(name) for name, _ in rows]}
        )
    made.files["cifar-100-python/meta"] = python2_pickle({"fine_label_names": names})


def bitmaps(made: Made) -> None:
    rows: dict[str, list[np.ndarray]] = {}
    for name in made.classes:
        for _ in range(EXAMPLES):
            drawing = made.draws(name).integers(0, 256, (28, 28), np.uint8)
            rows.setdefault(name, []).append(made.expect(name, drawing).reshape(-1))
    made.files |= {f"{name}.npy": npy(np.stack(drawings)) for name, drawings in rows.items()}


def coco(made: Made) -> None:
    boxes = made.options["examples"] == "boxes"
    numbered = made.options["class_key"] == "number"
    ids = {name: number_of(name) if numbered else 3 * place + 1 for place, name in enumerate(made.classes)}
    images, annotations = [], []
    for name in made.classes:
        for _ in range(EXAMPLES):
            pixels, number = made.pixels(name), len(images)
            height, width = pixels.shape[:2]
            file = f"{number:012}.jpg" if boxes else f"images/{name}/{number}.JPG"
            made.files[f"train2017/{file}" if boxes else file] = png(pixels)
            made.expect(name, pixels, (0, 0, width, height) if boxes else None)
            images.append({"id": number, "file_name": file, "width": width, "height": height})
            box = [0, 0, width, height]  # grown and clipped, it is the whole picture again
            annotations.append({"id": number, "image_id": number, "category_id": ids[name], "bbox": box})
    categories = [{"id": number, "name": name.partition(".")[2] if numbered else name} for name, number in ids.items()]
    half = len(images) // 2 if len(made.options["annotations"]) > 1 else 0
    for file, part in zip(made.options["annotations"][::-1], (slice(half, None), slice(half)), strict=False):
        made.files[f"annotations/{file}"] = json.dumps(
            {"images": images[part], "annotations": annotations[part][::-1], "categories": categories}
        ).encode()


def labelled_lists(made: Made) -> None:
    lines: dict[str, list[str]] = {name: [] for name in made.options["lists"]}
    boxes = []
    for number, (name, pixels) in enumerate(made.pictures()):
        made.files[f"data/images/{number:07}.jpg"] = png(pixels)
        lines[made.options["lists"][number % 3]].append(f"{number:07} {name}")
        boxes.append(f"{number:07} 1 1 {pixels.shape[1]} {pixels.shape[0]}")
    made.files |= {f"data/{file}": "\n".join([*rows, ""]).encode() for file, rows in lines.items()}
    made.files[f"data/{made.options['boxes']}"] = "\n".join([*boxes, ""]).encode()
    # The lists are read one after the other, and every third picture of a class is in each.
    assert EXAMPLES == 3
    for name, examples in made.expected.items():
        first = made.classes.index(name) * EXAMPLES
        made.expected[name] = [examples[k] for k in sorted(range(EXAMPLES), key=lambda k: (first + k) % 3)]


def matlab_labels(made: Made) -> None:
    labels = []
    for number, (name, pixels) in enumerate(made.pictures()):
        made.files[made.options["images"].format(number + 1)] = png(pixels)
        labels.append(number_of(name))
    stream = io.BytesIO()
    scipy.io.savemat(stream, {made.options["variable"]: np.array([labels], np.uint8)})
    made.files[made.options["labels_file"]] = stream.getvalue()


def audio_folders(made: Made) -> None:
    for name in made.classes:
        for number in range(EXAMPLES):
            samples = made.draws(name).integers(-(2**15), 2**15, 50 + number, np.int16)
            stream = io.BytesIO()
            with wave.open(stream, "wb") as sound:
                sound.setparams((1, 2, made.record.sample_rate_hz, 0, "NONE", ""))
                sound.writeframes(samples.astype("<i2").tobytes())
            made.files[f"{name}/{number:08x}_nohash_0.wav"] = stream.getvalue()
            made.expected.setdefault(name, []).append(samples)
    made.files["_background_noise_/pink_noise.wav"] = stream.getvalue()


def texts(made: Made) -> Iterator[tuple[str, str]]:
    """Class and text, each expected."""
    for number in range(EXAMPLES):
        for name in made.classes:
            text = f"headline {number} of {name} , « tout » is well"
            made.expected.setdefault(name, []).append(np.frombuffer(text.lower().encode(), np.uint8))
            yield name, text.lower()


def json_lines(made: Made) -> None:
    label, labels, fields = (made.options.get(key, "") for key in ("label_field", "labels", "text_fields"))
    field = fields if isinstance(fields, str) else fields[0]
    rows = []
    for name, text in texts(made):
        # Bao et al. and FewRel have tokens, the others a text.
        value = text.split(" ") if field == "tokens" else text
        rows.append((name, {label: made.classes.index(name) if labels == "position" else name, field: value}))
    rows += [(name, {label: name, field: "left out"}) for name in made.options.get("ignore_classes", ())]
    names = made.options.get("files") or [made.options["file"]]
    for place, name in enumerate(names):
        part = rows[place * len(rows) // len(names) : (place + 1) * len(rows) // len(names)]
        if labels == "key":
            arrays: dict[str, list[dict[str, Any]]] = {}
            for its_class, row in part:
                arrays.setdefault(its_class, []).append({key: value for key, value in row.items() if key})
            content = json.dumps(arrays)
        else:
            content = "\n".join(json.dumps(row) for _, row in part)
        made.files[name if isinstance(name, str) else name[0]] = content.encode()


def text_folders(made: Made) -> None:
    for number, (name, text) in enumerate(texts(made)):
        # In the order of their paths, as the files of a class stand.
        made.files[f"part/{name}/{number:05}"] = text.encode(made.options["encoding"])


def csv_text(made: Made) -> None:
    streams = [io.StringIO() for _ in made.options["files"]]
    writers = [csv.writer(stream) for stream in streams]
    for writer in writers:
        writer.writerow([made.options["text_column"], made.options["label_column"]])
    for place, (name, text) in enumerate(texts(made)):
        writers[place * len(writers) // (EXAMPLES * len(made.classes))].writerow([text, name])
    made.files |= {
        name: stream.getvalue().encode() for name, stream in zip(made.options["files"], streams, strict=True)
    }


MAKERS: Mapping[str, Callable[[Made], None]] = {
    maker.__name__: maker
    for maker in (
        array_files,
        audio_folders,
        bitmaps,
        cifar,
        coco,
        csv_text,
        image_folders,
        image_table,
        json_lines,
        labelled_lists,
        matlab_labels,
        png_pickles,
        text_folders,
    )
}
"""By reader; `font_glyphs` draws from fonts, which are there."""
