"""Every bad input is refused by the reader, soon and in plain words; odd but good ones are read."""

from __future__ import annotations

import contextlib
import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import RLELossless

from baa_core.errors import UnreadableImage
from baa_core.io import read_radiograph
from tests import hostile

CORPUS = hostile.corpus()


def processor_seconds() -> float:
    """Of this process and its children; unlike the wall clock it does not mind what else the machine does."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("name", sorted(hostile.REFUSED_BY_READER))
def test_refused_in_plain_words(name: str) -> None:
    started = processor_seconds()
    with pytest.raises(UnreadableImage) as refusal:
        read_radiograph(CORPUS[name], name=f"/home/someone/private/{name}")
    assert processor_seconds() - started < 2
    message = str(refusal.value)
    assert message.startswith(name)
    assert message.endswith(".")
    assert len(message) < 260
    assert "\n" not in message
    assert not {"/", "\\", "Traceback", "Error", "pydicom", "private"} & set(message.replace(".", " ").split())
    assert "/home" not in message
    assert "SECRET" not in message.upper()


@pytest.mark.parametrize("name", sorted(hostile.READABLE))
def test_odd_but_good_is_read(name: str) -> None:
    radiograph = read_radiograph(CORPUS[name], name=name)
    assert radiograph.pixels.min() == 0
    assert radiograph.pixels.max() == 1
    assert radiograph.cautions == ()


def test_corpus_is_the_same_at_each_call_and_cannot_be_spoilt() -> None:
    first = hostile.corpus()
    first.clear()
    assert hostile.corpus() == CORPUS


@pytest.mark.parametrize("name", ["header_bomb.png", "header_51_megapixel.png", "size_bomb.dcm", "deflated_bomb.dcm"])
def test_bombs_take_little_memory(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(UnreadableImage):
        read_radiograph(CORPUS[name], name=name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a.dcm", "rle.dcm"])
def test_random_damage_never_escapes_as_another_error(name: str) -> None:
    """A few bytes changed, many times over: a picture or a refusal, nothing else."""
    grey = (hostile.drawn_hand() * 255).astype(np.uint8)
    whole = {
        "a.png": lambda: hostile.encoded(Image.fromarray(grey), "PNG"),
        "a.jpg": lambda: hostile.encoded(Image.fromarray(grey), "JPEG"),
        "a.tif": lambda: hostile.encoded(Image.fromarray(grey), "TIFF", compression="tiff_lzw"),
        "a.webp": lambda: hostile.encoded(Image.fromarray(grey), "WEBP"),
        "a.dcm": lambda: hostile.dicom_bytes(grey, WindowCenter="128", WindowWidth="256", PixelSpacing=[0.1, 0.1]),
        "rle.dcm": lambda: hostile.dicom_bytes(grey, RLELossless),
    }[name]()
    random = np.random.default_rng(11)
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        within = len(data) if random.random() < 0.3 else min(len(data), 900)
        data[random.integers(0, within, random.integers(1, 6))] = random.integers(0, 256)
        with contextlib.suppress(UnreadableImage):
            read_radiograph(data.tobytes(), name=name)
