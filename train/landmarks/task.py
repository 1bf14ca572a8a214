"""How the landmark network is trained, and what it learns from: prepared hands with the places of their joints.

Every annotated hand is taken as thumbnail and, where there is one, as sharp radiograph. Pictures are arranged by the
functions that serve, and the annotations go through the inverse of the same geometry.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from baa_core.errors import BoneAgeError
from baa_core.networks.landmarks import KeyPointNetwork, LandmarkNetwork
from baa_core.preprocessing.picture import Affine, invert
from baa_core.preprocessing.prepare import InputSpec, apply_steps
from baa_core.recipes.deeplasia import RECIPE as DEEPLASIA
from baa_core.recipes.schema import Member

from ..age_sex.tasks import Task
from ..data.augmentation import augment_pointed
from ..data.cache import in_processes, normalised
from ..data.hand_store import HandStore
from ..data.point_finder import PointFinder
from ..data.samples import Sample, read_sample
from .annotations import CAPITATE_SHARE, HAND_ENDS, add_capitate, read_landmarks

MOST_TAUGHT = 4000  # hands without annotations whose points another network places
PRECISE_SHARE = 0.01  # of the side: below this the annotations themselves are unsure, and errors count less
SPOT_CELLS = 1.0  # the standard deviation that heat is drawn to, as in DSNT

Grey = NDArray[np.uint8]
Points = NDArray[np.float32]


class PointedPictures(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Arranged pictures with landmarks: (1, S, S) normalised image, (K, 2) places, (K,) 1 where one is known.

    Places are (row, column) in shares of the height and width, in the order of its architecture; 0.5 where not known.

    Args:
        pictures: uint8 (N, S, S).
        points: (N, K, 2), (row, column) in pixels; not a number where not annotated.
        augmentation: a name in `train.data.augmentation`, or None for the pictures as they are.
    """

    def __init__(self, pictures: Grey, points: Points, spec: InputSpec, augmentation: str | None) -> None:
        self.pictures, self.points = pictures, points
        self.spec = spec
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        picture, points = self.pictures[index], self.points[index]
        if self.augmentation is not None:
            known = np.isfinite(points).all(axis=1)
            picture, moved = augment_pointed(picture, points[known], self.augmentation)
            points = points.copy()
            points[known] = moved
        places = (points + 0.5) / self.spec.shape
        seen = ((places > 0) & (places < 1)).all(axis=1)
        places = np.where(seen[:, None], places, 0.5).astype(np.float32)
        image = normalised(picture, self.spec)
        return torch.from_numpy(image), torch.from_numpy(places), torch.from_numpy(seen.astype(np.float32))


def landmark_sets(
    member: Member, samples: list[Sample], labels: pd.DataFrame, annotations: Path | None, cache: Path
) -> tuple[PointedPictures, PointedPictures]:
    """Training and validation pictures of the landmark network.

    Raises:
        BoneAgeError: there are no annotations, none of a picture that is there, or the hands were not found yet.
    """
    if annotations is None:
        raise BoneAgeError("Landmarks are learnt from annotated joints. Give their folder with --annotations.")
    table, names = read_landmarks(annotations, labels), member.architecture.points
    store = HandStore(cache / "hands")
    made = []
    for split, augmentation in (("train", member.training.augment), ("val", None)):
        chosen = [s for s in samples if s.kind in member.training.images and labels.split[s.rsna_id] == split]
        finder = None
        if split == "train" and member.training.points_of:
            known = set(table.rsna_id)
            others = [s for s in chosen if s.rsna_id not in known]
            chosen = [s for s in chosen if s.rsna_id in known] + others[:: max(1, len(others) // MOST_TAUGHT)]
            finder = PointFinder(next(m for m in DEEPLASIA.networks if m.name == member.training.points_of), True)
        pictures, points = pointed_pictures(chosen, table, names, member.input, store, finder)
        if not len(pictures):
            raise BoneAgeError(
                f"None of the {split} pictures under --images has annotated joints and a hand that was found. "
                "Name the folders that hold the annotated pictures, and run 'python -m train hand-store' on them."
            )
        made.append(PointedPictures(pictures, points, member.input, augmentation))
    return made[0], made[1]


def pointed_pictures(
    samples: list[Sample],
    table: pd.DataFrame,
    names: tuple[str, ...],
    spec: InputSpec,
    store: HandStore,
    finder: PointFinder | None = None,
    workers: int = 2,
) -> tuple[Grey, Points]:
    """The annotated samples whose hand was found, arranged, with their points.

    Args:
        samples: of which those named in `table` are used; all of them if there is a finder for the rest.
        table: as `read_landmarks` gives it.
        names: which landmarks.
        finder: a network that places the points of hands without annotations.
        workers: processes.

    Returns:
        uint8 (N, H, W), and (N, K, 2), (row, column) in pixels of these, not a number where not annotated.
    """
    wide = table.pivot(index="rsna_id", columns="landmark").reindex(
        columns=pd.MultiIndex.from_product([["y", "x"], names])
    )
    fractions = {int(i): row.to_numpy(np.float64).reshape(2, -1).T for i, row in wide.iterrows()}
    chosen = [s for s in samples if finder or s.rsna_id in fractions]
    tasks = [(s, spec, store, fractions.get(s.rsna_id), finder, names) for s in chosen]
    found = [pair for pair in in_processes(_pointed, tasks, workers, "arranging") if pair is not None]
    pictures = np.array([picture for picture, _ in found], np.uint8)
    return pictures, np.array([points for _, points in found], np.float32)


def _pointed(
    task: tuple[Sample, InputSpec, HandStore, NDArray[np.float64] | None, PointFinder | None, tuple[str, ...]],
) -> tuple[Grey, Points] | None:
    sample, spec, store, fractions, finder, names = task
    cv2.setNumThreads(1)
    radiograph = read_sample(sample)
    hand = store.hand(sample, radiograph)
    if hand is None:
        return None
    if fractions is None and finder is not None:
        placed = finder(radiograph, hand)
        if not placed:
            return None
        known = {name: complex(column, row) for name, (row, column) in placed.items()}
        add_capitate(known)
        fractions = np.array([(known[n].imag + 0.5, known[n].real + 0.5) for n in names]) / radiograph.shape
    if fractions is None:
        return None
    picture = apply_steps(radiograph, hand, spec)
    pixels = np.asarray(np.round(picture.pixels * 255), dtype=np.uint8)
    return pixels, carried(fractions, radiograph.shape, picture.to_radiograph)


def carried(fractions: NDArray[np.float64], shape: tuple[int, int], to_radiograph: Affine) -> Points:
    """Points (K, 2) from (row, column) fractions of a radiograph's frame to pixels of an arranged picture."""
    columns_rows = (fractions * shape)[:, ::-1] - 0.5
    to_picture = invert(to_radiograph)
    return (columns_rows @ to_picture[:, :2].T + to_picture[:, 2])[:, ::-1].astype(np.float32)


class LandmarkTask(Task):
    """Places of the joints. Validation metric: median distance to the annotated ones, as a share of the hand's length.

    Two points of a hand mark its length: batches without them count in training only.
    """

    metric = "val_landmark_error"

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Distance in the picture's own units and how unlike a small spot the heat is (Nibali et al. 2018, DSNT).

        A network that names coordinates without heat learns by their squared error (Iglovikov 2018, section 2.2).
        """
        image, points, seen = batch
        if isinstance(self.network, KeyPointNetwork):
            apart = ((self.network(image).places - points) ** 2).sum(dim=2)
            loss = 100 * (apart * seen).sum() / seen.sum().clamp(min=1)
            self.log("loss", loss, prog_bar=True)
            return loss
        network = cast(LandmarkNetwork, self.network)
        shares = network.heatmaps(image)
        places = network.soft_argmax(shares).places
        apart = nn.functional.smooth_l1_loss(places, points, beta=PRECISE_SHARE, reduction="none").sum(dim=2)
        unlike = divergence(shares, spots(points, shares.shape[2], SPOT_CELLS))
        loss = ((2 * apart + unlike) * seen).sum() / seen.sum().clamp(min=1)
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's errors."""
        self.errors: list[Tensor] = []

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect distances, mirrored and not, averaged."""
        image, points, seen = batch
        plain, mirrored = self.network(image).places, self.network(image.flip(-1)).places
        places = torch.stack([plain[..., 0] + mirrored[..., 0], plain[..., 1] + 1 - mirrored[..., 1]], dim=2) / 2
        names = self.member.architecture.points
        low, share = (HAND_ENDS[0], 1.0) if HAND_ENDS[0] in names else ("capitate", 1.0 - CAPITATE_SHARE)
        ends = [names.index(low), names.index(HAND_ENDS[1])]
        size = torch.tensor(self.member.input.shape, dtype=torch.float32, device=points.device)
        length = ((points[:, ends[1]] - points[:, ends[0]]) * size).norm(dim=1, keepdim=True) / share
        counted = (seen > 0) & (seen[:, ends] > 0).all(dim=1, keepdim=True)
        self.errors.append((((places - points) * size).norm(dim=2) / length)[counted])

    def on_validation_epoch_end(self) -> None:
        """The median over all points of all pictures."""
        errors = torch.cat(self.errors)
        self.log(self.metric, errors.median() if len(errors) else torch.tensor(1.0), prog_bar=True, sync_dist=True)


def spots(points: Tensor, cells: int, deviation_cells: float) -> Tensor:
    """Gaussian spots around points (N, K, 2) on square grids: (N, K, cells, cells), each map's sum 1."""
    at = (torch.arange(cells, device=points.device) + 0.5) / cells
    along = (-0.5 * ((at - points[..., None]) * cells / deviation_cells) ** 2).softmax(dim=3)
    return along[:, :, 0, :, None] * along[:, :, 1, None, :]


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """Jensen-Shannon divergence of maps (N, K, h, w) whose sums are 1: (N, K), 0 to log 2."""
    middle = (one + other).clamp(min=1e-12) / 2
    parts = [(p * (p.clamp(min=1e-12).log() - middle.log())).sum(dim=(2, 3)) for p in (one, other)]
    return (parts[0] + parts[1]) / 2
