"""What the networks of age and sex learn from: arranged pictures with labels, kept in a cache.

Pictures are read by `baa_core.io`, masked by `baa_core.hand.segmentation` and arranged by
`baa_core.preprocessing`: the same functions that serve. What they make is kept once in a
memory map, so an epoch costs no decoding.
"""

from __future__ import annotations

import cv2
import hashlib
import math
import multiprocessing
import numpy as np
import os
from baa_core.errors import BoneAgeError
from collections.abc import Callable, Iterator
from baa_core.preprocessing.steps import CropToHand, MaskBackground, Upright
from baa_core.types import HandMask
from .hand_store import HandStore
from baa_core.preprocessing.picture import IDENTITY, Picture
from baa_core.preprocessing.prepare import InputSpec, apply_steps
from numpy.typing import NDArray
from pathlib import Path
from .point_finder import PointFinder
from .samples import Sample, read_sample
from typing import TypeVar
from dataclasses import dataclass, replace
from ..initial_weights import start_file
from tqdm import tqdm


Task = TypeVar("Task")
Done = TypeVar("Done")

SMALLEST_SHARED_WORK = 200  # tasks; below that, starting processes costs more than it saves


def needs_hand(spec: InputSpec) -> bool:
    """Does this input depend on the hand, its mask or how it lies?"""
    return any(isinstance(step, MaskBackground | CropToHand | Upright) for step in spec.steps)




def grown(hand: HandMask, share: float) -> HandMask:
    """The same hand with its mask widened by a share of its length, or narrowed if below 0."""
    if share == 0.0:
        return hand
    rows = np.flatnonzero(hand.pixels.any(axis=1))
    radius = max(1, round(abs(share) * (rows[-1] - rows[0] + 1)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    change = cv2.dilate if share > 0 else cv2.erode
    return replace(hand, pixels=change(hand.pixels.astype(np.uint8), kernel) > 0)


@dataclass(frozen=True)
class _Work:
    """One picture to arrange."""

    sample: Sample
    spec: InputSpec
    store: HandStore | None
    growth: float
    finder: PointFinder | None


def _arranged(work: _Work) -> NDArray[np.uint8] | None:
    cv2.setNumThreads(1)
    radiograph = read_sample(work.sample)
    if work.store is None:
        hand = HandMask(np.ones(radiograph.shape, bool), 1.0, 0.0, False)
    else:
        found = work.store.hand(work.sample, radiograph)
        if found is None:
            return None
        hand = grown(found, work.growth)
    points = work.finder(radiograph, hand) if work.finder else None
    if work.finder and points is None:
        return None
    return np.asarray(np.round(apply_steps(radiograph, hand, work.spec, points).pixels * 255), dtype=np.uint8)


def in_processes(work: Callable[[Task], Done], tasks: list[Task], workers: int, title: str) -> Iterator[Done]:
    """Results in order, with a progress bar. Fresh processes, since forking one that runs threads can hang."""
    bar = {"total": len(tasks), "desc": title, "mininterval": 10}
    if workers <= 1 or len(tasks) < SMALLEST_SHARED_WORK:
        yield from tqdm(map(work, tasks), **bar)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from tqdm(pool.imap(work, tasks, chunksize=16), **bar)


def arranged_pictures(
    samples: list[Sample],
    spec: InputSpec,
    hands: Path | None,
    cache: Path,
    growth: float = 0.0,
    workers: int = 2,
    finder: PointFinder | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All pictures arranged for one input, from a memory map that is made on first use.

    Args:
        growth: by which share of the hand's length its mask is widened.
        finder: of the points that the steps need.

    Returns:
        uint8 (N, H, W) and bool (N,), False where no hand was found.

    Raises:
        BoneAgeError: a file is corrupt (its name is in the message), or the disk is full.
    """
    store = HandStore(hands) if needs_hand(spec) and hands is not None else None
    words = [repr(spec), *([f"grown {growth}"] if growth else []), *(f"{s.kind}{s.rsna_id}{s.aspect}" for s in samples)]
    if store is not None:
        words.append(store.table.to_csv())
    if finder is not None:
        words.append(hashlib.sha256(start_file(finder.member.name, Path("runs")).read_bytes()).hexdigest())
    key = digest(words)
    cache.mkdir(parents=True, exist_ok=True)
    target, flags = cache / f"{key}.npy", cache / f"{key}.found.npy"
    if not flags.exists():
        partial = target.with_suffix(".partial.npy")
        found = np.zeros(len(samples), bool)
        try:
            pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(samples), *spec.shape))
            _reserve(partial)
            tasks = [_Work(s, spec, store, growth, finder) for s in samples]
            for i, picture in enumerate(in_processes(_arranged, tasks, workers, "arranging")):
                if picture is not None:
                    pictures[i], found[i] = picture, True
            pictures.flush()
            partial.rename(target)
            np.save(flags, found)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise BoneAgeError(
                f"The picture cache could not be written ({error.strerror}). It needs "
                f"{len(samples) * math.prod(spec.shape) / 2**20:.0f} MiB in --cache; "
                "free some space or name another folder."
            ) from error
    return np.load(target, mmap_mode="r"), np.load(flags)


def _reserve(file: Path) -> None:
    """Take all the disk a file needs now: writing a memory map to a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def normalised(picture: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """The recipe's own last step on a cached picture: uint8 (S, S) to float32 (1, S, S)."""
    pixels = picture.astype(np.float32) / 255
    return np.array(spec.normalise(Picture(pixels, pixels > 0, IDENTITY)).pixels)[None]


def digest(words: list[str]) -> str:
    """A short name for what these words say."""
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:16]
