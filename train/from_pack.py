"""`python -m train.from_pack packs/MEMBER*.npz --minutes 9 --out runs/MEMBER`: train from what `train pack` wrote.

Needs torch, timm (which brings torchvision, Pillow and safetensors) and NumPy, and of this project only what builds a
network. On CUDA: data on the device, augmentation there, bfloat16, channels last. On a CPU: float32.

The learning rate follows the share of `--minutes` that is spent (or of the epochs, whichever is further), over all
calls; a checkpoint is kept after every epoch, `--resume` goes on from it, `--at-most` ends one call early. An average
of the weights is validated after every epoch. Written to `--out`: MEMBER.safetensors (half precision), result.json,
val.csv (what it answers for every radiograph of `val`), last.pt (the checkpoint).
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    grid_sample,
    interpolate,
    l1_loss,
    mse_loss,
)

from baa_core.errors import BoneAgeError
from baa_core.networks.age import AGE_DEVIATION_MONTHS, AGE_MEAN_MONTHS, AgeNetwork
from baa_core.networks.backbones import softmax_mean_std
from baa_core.networks.build import build
from baa_core.networks.joint_patches import JOINTS, PATCH_PX, JointAgeNetwork
from baa_core.networks.weights import save_network
from baa_core.recipes.schema import Architecture, TrainingPlan

from .age_sex.losses import expectation_loss, mean_error_loss

FORMAT: Final = 1
WARM_UP_SHARE, FLOOR_SHARE = 0.05, 0.01  # of the learning rate, as `train.age_sex.tasks` has them
CLIP: Final = 5.0
EVALUATION_BATCH: Final = 64
CHECKPOINT: Final = "last.pt"
JOINT_WEIGHT: Final = 0.3  # of the error of each joint alone, beside that of all together

# Patches: a landmark is placed to 1 % of the hand's length (weights/evaluation), a patch is 11 to 20 % of it.
SHIFT_SHARE, TURN_DEGREES, ZOOM = 0.08, 12.0, 0.14  # of the patch's side; either way; enlarged or reduced by at most
GAMMAS = (0.6, 1.65)  # as the set "tones" of `train.data.augmentation`
COARSE_SHARE, COARSE_FACTORS = 0.4, (1.3, 2.6)  # of hands; reduced by, as a radiograph of 385 px beside one of 810
GRAIN: Final = 0.15  # the most that is added to a patch, as a share of its own standard deviation

# Pictures: the set "light_degraded" of `train.data.augmentation`, without its local equalisation.
PICTURE_SCALE, PICTURE_SHIFT, PICTURE_TURN, PICTURE_SHEAR = 0.15, 0.06, 15.0, 3.0
MOVED_SHARE, DEGRADED_SHARE, SHARPENED_SHARE, GAMMA_SHARE = 0.9, 0.3, 0.2, 0.4
DEGRADED_PX, PICTURE_GAMMAS = (90, 200), (0.7, 1.4)


@dataclass(frozen=True, eq=False)
class Pack:
    """What `train pack` wrote, decoded. N radiographs.

    Attributes:
        about: member, architecture, plan, and how the inputs are made.
        inputs: uint8 (N, H, W), or (N, J, P, P) patches.
        male, months, teacher, deviation: float32 (N,); the teacher's months are NaN where there are none.
        validation: bool (N,).
        valid: bool (N, J): which joints are there; None for pictures.
        rsna_id: int (N,).
        start: weights to start from, by name.
    """

    about: dict[str, Any]
    inputs: Tensor
    male: Tensor
    months: Tensor
    teacher: Tensor
    deviation: Tensor
    validation: Tensor
    valid: Tensor | None
    rsna_id: Tensor
    start: dict[str, Tensor]

    @property
    def plan(self) -> TrainingPlan:
        """The member's."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.about["plan"].items()}
        return TrainingPlan(**values)

    @property
    def architecture(self) -> Architecture:
        """The member's."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.about["architecture"].items()}
        return Architecture(**values)


def read_pack(files: Sequence[Path]) -> Pack:
    """Read and decode all files of one pack.

    Raises:
        BoneAgeError: a file is missing or no pack, or files of several packs were named.
    """
    parts: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for file in files:
        try:
            with np.load(file) as archive:
                arrays = {name: archive[name] for name in archive.files}
            parts.append((json.loads(bytes(arrays.pop("about")).decode()), arrays))
        except (OSError, ValueError, KeyError) as error:
            raise BoneAgeError(
                f"{file} is not a pack that can be read ({error}). Make it with train.data.pack."
            ) from error
    parts.sort(key=lambda part: int(part[0]["file"]))
    about = parts[0][0]
    if about["format"] != FORMAT:
        raise BoneAgeError(f"The pack has format {about['format']}; this software reads {FORMAT}. Make it again.")
    if [part["file"] for part, _ in parts] != list(range(about["files"])) or len({p["member"] for p, _ in parts}) > 1:
        raise BoneAgeError(
            f"The pack of {about['member']} has {about['files']} files, all of which must be named; "
            f"these were: {', '.join(file.name for file in files)}."
        )
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pictures = [
            picture
            for said, arrays in parts
            for picture in pool.map(_decoder(said, arrays), range(len(arrays["male"])))
        ]
    first = parts[0][1]

    def joined(name: str, kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.concatenate([arrays[name] for _, arrays in parts])).to(kind)

    return Pack(
        about=about,
        inputs=torch.from_numpy(np.stack(pictures)),
        male=joined("male", torch.float32),
        months=joined("months", torch.float32),
        teacher=joined("teacher", torch.float32),
        deviation=joined("deviation", torch.float32),
        validation=joined("validation", torch.bool),
        valid=joined("valid", torch.bool) if "valid" in first else None,
        rsna_id=joined("rsna_id", torch.int64),
        start={k.removeprefix("start/"): torch.from_numpy(v) for k, v in first.items() if k.startswith("start/")},
    )


def _decoder(about: dict[str, Any], arrays: dict[str, Any]) -> Callable[[int], Any]:
    """A function of a radiograph's number in this file to its input, uint8 (H, W) or (J, P, P)."""
    encoded, offsets, shape = arrays["encoded"], arrays["offsets"], about["shape"]

    def decode(number: int) -> Any:
        data = encoded[offsets[number] : offsets[number + 1]].tobytes()
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        if about["kind"] == "pictures":
            return picture
        joints, side, _ = shape
        tiles = picture.reshape(-1, side, about["columns"], side).transpose(0, 2, 1, 3).reshape(-1, side, side)
        return np.ascontiguousarray(tiles[:joints])

    return decode


def between(low: float, high: float, *shape: int, device: torch.device) -> Tensor:
    """Evenly drawn numbers."""
    return low + (high - low) * torch.rand(*shape, device=device)


def warps(turn: Tensor, zoom: Tensor, shift: Tensor, shear: Tensor | None = None) -> Tensor:
    """2 x 3 matrices for `affine_grid`, (N, 2, 3): from the wanted picture back to the one at hand.

    Args:
        turn, shear: radians, (N,).
        zoom: by which to enlarge, (N,).
        shift: of half a side, (N, 2).
    """
    lean = torch.zeros_like(turn) if shear is None else shear
    rows = [turn.cos() / zoom, -(turn + lean).sin() / zoom, turn.sin() / zoom, (turn + lean).cos() / zoom]
    return torch.cat([torch.stack(rows, dim=1).view(-1, 2, 2), shift[..., None]], dim=2)


def centre(patches: Tensor) -> Tensor:
    """The patches as they are used, (N, J, PATCH_PX, PATCH_PX), without the margin they are packed with."""
    margin = (patches.shape[-1] - PATCH_PX) // 2
    return patches[..., margin : margin + PATCH_PX, margin : margin + PATCH_PX]


def varied_patches(patches: Tensor) -> Tensor:
    """One random version of each patch: (N, J, P, P) in [0, 1] with margin to (N, J, PATCH_PX, PATCH_PX).

    Every patch is moved on its own, since each landmark errs on its own; gamma, sharpness and grain are the hand's.
    """
    number, joints, side, _ = patches.shape
    device, count = patches.device, number * joints
    turn = torch.deg2rad(between(-TURN_DEGREES, TURN_DEGREES, count, device=device))
    zoom = torch.exp(
        between(-ZOOM, ZOOM, number, 1, device=device) * 0.7 + between(-ZOOM, ZOOM, number, joints, device=device) * 0.3
    )
    shift = between(-1, 1, count, 2, device=device) * 2 * SHIFT_SHARE * PATCH_PX / side
    back = warps(turn, zoom.flatten(), shift)
    back[:, :, :2] *= PATCH_PX / side
    grid = affine_grid(back, [count, 1, PATCH_PX, PATCH_PX], align_corners=False)
    flat = patches.reshape(count, 1, side, side)
    made = grid_sample(flat, grid, padding_mode="border", align_corners=False).view(number, joints, PATCH_PX, PATCH_PX)
    coarse = torch.rand(number, device=device) < COARSE_SHARE
    if coarse.any():
        small = max(8, round(PATCH_PX / float(between(*COARSE_FACTORS, 1, device=torch.device("cpu")))))
        reduced = interpolate(made[coarse], (small, small), mode="bilinear", antialias=True, align_corners=False)
        made[coarse] = interpolate(reduced, (PATCH_PX, PATCH_PX), mode="bilinear", align_corners=False)
    made = made.clamp(0, 1) ** torch.exp(between(*map(math.log, GAMMAS), number, 1, 1, 1, device=device))
    grain = GRAIN * torch.rand(number, 1, 1, 1, device=device) * made.std(dim=(2, 3), keepdim=True)
    return made + grain * torch.randn_like(made)


def varied_pictures(pictures: Tensor) -> Tensor:
    """One random version of each picture, (N, S, S) in [0, 1]."""
    number, device = len(pictures), pictures.device
    made = pictures[:, None]
    few = torch.rand(number, device=device) < DEGRADED_SHARE
    if few.any():
        side = int(torch.randint(*DEGRADED_PX, (1,)))
        small = interpolate(made[few], (side, side), mode="nearest")
        made = made.clone()
        made[few] = interpolate(small, made.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
    moved = (torch.rand(number, device=device) < MOVED_SHARE).float()
    turn = torch.deg2rad(between(-PICTURE_TURN, PICTURE_TURN, number, device=device)) * moved
    shear = torch.deg2rad(between(-PICTURE_SHEAR, PICTURE_SHEAR, number, device=device)) * moved
    zoom = 1 + between(-PICTURE_SCALE, PICTURE_SCALE, number, device=device) * moved
    back = warps(
        turn, zoom, 2 * between(-PICTURE_SHIFT, PICTURE_SHIFT, number, 2, device=device) * moved[:, None], shear
    )
    back[:, :, 0] *= torch.where(torch.rand(number, 1, device=device) < 0.5, -1.0, 1.0)  # mirrored
    made = grid_sample(made, affine_grid(back, list(made.shape), align_corners=False), align_corners=False)
    sharpened = (torch.rand(number, 1, 1, 1, device=device) < SHARPENED_SHARE) * between(
        0.5, 1.0, number, 1, 1, 1, device=device
    )
    made = (made + sharpened * (made - avg_pool2d(made, 3, 1, 1))).clamp(0, 1)
    gamma = torch.exp(between(*map(math.log, PICTURE_GAMMAS), number, 1, 1, 1, device=device))
    gamma = torch.where(torch.rand(number, 1, 1, 1, device=device) < GAMMA_SHARE, gamma, torch.ones_like(gamma))
    return (made**gamma)[:, 0]


def normalised(pictures: Tensor, how: str) -> Tensor:
    """The recipe's last step, `steps.Standardise` or `steps.Scale`: (N, S, S) in [0, 1] to (N, 1, S, S)."""
    if how == "Scale":
        return (2 * pictures - 1)[:, None]
    level, deviation = pictures.mean(dim=(1, 2), keepdim=True), pictures.std(dim=(1, 2), correction=0, keepdim=True)
    return ((pictures - level) / deviation.clamp(min=1e-5))[:, None]


@dataclass(frozen=True)
class Effort:
    """What a step of training may leave out, for a slow machine.

    Attributes:
        joints: so many of the joints are drawn for each batch; the answer about a hand rests on all of them.
        frozen_stages: stages of the backbone whose weights stay as they are, the stem being stage 0 with the first
            block; their running means still follow.
    """

    joints: int = len(JOINTS)
    frozen_stages: int = 0


WHOLE: Final = Effort()
_FROZEN = re.compile(r"(?:.*\.)?backbone\.(conv_stem|bn1|blocks)\b")


def stage_of(name: str) -> int:
    """The stage of a backbone's parameter: 0 for the stem."""
    found = re.search(r"blocks\.(\d+)\.", name)
    return int(found[1]) if found else 0


class Learner:
    """A network, its data on the device, and the loss of a batch.

    Args:
        pack: the data.
        plan: how to learn.
        device: where.
        effort: how much of the work of a step is done.
    """

    def __init__(self, pack: Pack, plan: TrainingPlan, device: torch.device, effort: Effort = WHOLE) -> None:
        self.pack, self.plan, self.device, self.joints = pack, plan, device, effort.joints
        self.network = build(pack.architecture)
        if pack.start:
            known = self.network.state_dict()
            self.network.load_state_dict({k: v.to(known[k].dtype) for k, v in pack.start.items()})
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.of_joints = isinstance(self.network, JointAgeNetwork)
        self.learnt = cast(nn.Module, self.network.head) if self.of_joints else self.network
        for name, parameter in self.learnt.named_parameters():
            if _FROZEN.match(name) and stage_of(name) < effort.frozen_stages:
                parameter.requires_grad_(False)
        self.average = copy.deepcopy(self.learnt).requires_grad_(False).eval()
        weight = plan.teacher_weight
        known_teacher = torch.where(pack.teacher.isnan(), pack.months, pack.teacher)
        self.target = ((1 - weight) * pack.months + weight * known_teacher).to(device)
        self.inputs, self.male = pack.inputs.to(device), pack.male.to(device)
        self.deviation = pack.deviation.to(device)
        self.valid = None if pack.valid is None else pack.valid.to(device)
        self.training_rows = torch.nonzero(~pack.validation)[:, 0].to(device)
        self.validation_rows = torch.nonzero(pack.validation)[:, 0].to(device)

    def raw(
        self, module: nn.Module, rows: Tensor, varied: bool, joints: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The output for some radiographs, (N, classes) or (N, 1), and of joints alone, (N, J, classes)."""
        greys = self.inputs[rows].float() / 255
        if self.of_joints:
            valid = cast(Tensor, self.valid)[rows]
            if joints is not None:
                greys, valid = greys[:, joints], valid[:, joints]
            patches = varied_patches(greys) if varied else centre(greys)
            patches = patches / self.deviation[rows][:, None, None, None]
            answer = module(patches, valid, self.male[rows], joints)
            return answer.logits, answer.joint_logits
        pictures = normalised(varied_pictures(greys) if varied else greys, self.pack.about["normalise"])
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        network = cast(AgeNetwork, module)
        raw = network.logits(pictures, self.male[rows]).float()
        return raw, None

    def loss(self, rows: Tensor) -> Tensor:
        """Of one batch: of the whole answer, and a share of each joint's own."""
        joints = None
        if self.of_joints and self.joints < len(JOINTS):
            joints = torch.randperm(len(JOINTS), device=self.device)[: self.joints]
        raw, alone = self.raw(self.learnt, rows, varied=True, joints=joints)
        loss = self._loss(raw, self.target[rows])
        if alone is not None:
            there = cast(Tensor, self.valid)[rows]
            there = there if joints is None else there[:, joints]
            ages = self.target[rows][:, None].expand_as(there)
            loss = loss + JOINT_WEIGHT * self._loss(alone[there], ages[there])
        return loss

    def _loss(self, raw: Tensor, months: Tensor) -> Tensor:
        standardised = (months - AGE_MEAN_MONTHS) / AGE_DEVIATION_MONTHS
        if raw.shape[1] == 1:
            return (mse_loss if self.plan.loss == "mse" else l1_loss)(raw[:, 0].float(), standardised)
        return mean_error_loss(raw, months) if self.plan.loss == "mean_error" else expectation_loss(raw, months)

    @torch.inference_mode()
    def months(self, module: nn.Module, rows: Tensor) -> Tensor:
        """What a module answers, in months, (N,); of pictures the mean with the mirror image."""
        module.eval()
        found = []
        for part in rows.split(EVALUATION_BATCH):
            with self.precision():
                if self.of_joints:
                    found.append(softmax_mean_std(self.raw(module, part, varied=False)[0])[0])
                    continue
                greys = self.inputs[part].float() / 255
                image = normalised(greys, self.pack.about["normalise"]).contiguous(memory_format=torch.channels_last)
                both = [module(view, self.male[part]).float() for view in (image, image.flip(-1))]
                found.append((both[0] + both[1]) / 2)
        return torch.cat(found).clamp(0, 300)

    def precision(self) -> Any:
        """bfloat16 where there is a GPU."""
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")

    def error(self, module: nn.Module) -> float:
        """Mean absolute error on `val` in months, against the labels alone."""
        answers = self.months(module, self.validation_rows)
        return float((answers - self.pack.months.to(self.device)[self.validation_rows]).abs().mean())

    def follow(self, step: int) -> None:
        """Move the average of the weights towards the weights; it forgets its first steps."""
        decay = min(self.plan.average_decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for kept, now in zip(self.average.state_dict().values(), self.learnt.state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(now, 1.0 - decay)
                else:
                    kept.copy_(now)

    def mix_start(self, share: float) -> None:
        """Move the average of the weights towards those that the pack starts from, by this share of the way."""
        prefix = "head." if self.of_joints else ""
        with torch.no_grad():
            for name, kept in self.average.state_dict().items():
                began = self.pack.start.get(f"{prefix}{name}")
                if share and began is not None and kept.is_floating_point():
                    kept.lerp_(began.to(kept), share)


@dataclass
class State:
    """How far a training has come."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf
    best_weights: dict[str, Tensor] | None = None
    val: float = math.nan


def optimiser_of(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """As `train.age_sex.tasks` makes it: biases and norms are not decayed."""
    learnt = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if plan.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9)
    kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=plan.learning_rate)


def train(
    pack: Pack,
    out: Path,
    minutes: float | None,
    *,
    at_most: float | None = None,
    resume: bool = False,
    seed: int | None = None,
    effort: Effort = WHOLE,
    start_share: float = 0.0,
) -> dict[str, Any]:
    """Train until the minutes or the plan's epochs are over, and write the weights and what was measured.

    Args:
        pack: the data, and what is trained.
        out: folder of checkpoint, weights and result.
        minutes: the whole budget, earlier calls counted in; None for the plan's epochs.
        at_most: minutes of this call: it ends with a checkpoint before an epoch that would not fit.
        resume: go on from the checkpoint in `out`.
        seed: in place of the plan's.
        effort: how much of the work of a step is done.
        start_share: of the weights that the pack starts from, in the weights that are written, 0 to 1. A mean of both
            keeps what was learned before (Wortsman et al., CVPR 2022, arXiv:2109.01903).

    Returns:
        what stands in result.json.

    Raises:
        BoneAgeError: no checkpoint to resume, nothing to learn from or to validate on, or the loss is not finite.
    """
    called, plan = time.monotonic(), pack.plan
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    seed = plan.seed if seed is None else seed
    torch.manual_seed(seed)
    learner, state = Learner(pack, plan, device, effort), State()
    if not len(learner.training_rows) or not len(learner.validation_rows):
        raise BoneAgeError("The pack needs radiographs of both train and val; make it from a table that has both.")
    optimiser = optimiser_of(learner.learnt, plan)
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        _take_up(out / CHECKPOINT, learner, optimiser, state)
    size = min(plan.batch_size, len(learner.training_rows))
    batches = len(learner.training_rows) // size
    before, longest = state.seconds, 0.0

    def seconds() -> float:
        return before + time.monotonic() - called

    finished = False
    while not finished:
        began = seconds()
        if at_most is not None and (began - before + longest) >= 60 * at_most:
            break
        torch.manual_seed(seed + state.epoch)
        learner.learnt.train()
        order, total, count = (
            torch.randperm(len(learner.training_rows), device=device),
            torch.zeros((), device=device),
            0,
        )
        for rows in learner.training_rows[order][: batches * size].split(size):
            share = max(state.step / (plan.epochs * batches), seconds() / (60 * minutes) if minutes else 0.0)
            finished = share >= 1
            rate = plan.learning_rate * min(1.0, (share + 1e-3) / WARM_UP_SHARE)
            rate *= FLOOR_SHARE + (1 - FLOOR_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            with learner.precision():
                loss = learner.loss(rows)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(learner.learnt.parameters(), CLIP)
            optimiser.step()
            learner.follow(state.step)
            state.step, count, total = state.step + 1, count + len(rows), total + loss.detach()
            if finished:
                break
        state.epoch += 1
        finished = finished or state.epoch >= plan.epochs
        mean_loss = float(total) * size / count
        if not math.isfinite(mean_loss):
            raise BoneAgeError(
                f"The loss is not finite in epoch {state.epoch}. Lower the learning rate (--learning-rate, now "
                f"{plan.learning_rate:g}) and begin again."
            )
        speed = count / (seconds() - began)
        state.val = learner.error(learner.average)
        if state.val < state.best:
            state.best = state.val
            if not plan.keep_last:
                state.best_weights = {k: v.detach().cpu().clone() for k, v in learner.average.state_dict().items()}
        state.seconds = seconds()
        longest = max(longest, state.seconds - began)
        print(
            f"epoch {state.epoch:3}  {state.seconds / 60:6.2f} min  loss {mean_loss:7.3f}  val {state.val:6.3f} months "
            f"{speed:8.1f} images/s",
            flush=True,
        )
        _keep(out / CHECKPOINT, learner, optimiser, state)
    if start_share:
        learner.mix_start(start_share)
        state.val = learner.error(learner.average)
    return _finish(learner, state, out, seed)


def _keep(path: Path, learner: Learner, optimiser: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint beside the old one, then take its place."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "member": learner.pack.about["member"],
            "weights": learner.learnt.state_dict(),
            "average": learner.average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "state": vars(state),
        },
        partial,
    )
    partial.replace(path)


def _take_up(path: Path, learner: Learner, optimiser: torch.optim.Optimizer, state: State) -> None:
    if not path.exists():
        raise BoneAgeError(f"There is no checkpoint {path} to go on from. Begin without --resume, or name its --out.")
    kept = torch.load(path, map_location=learner.device, weights_only=True)
    if kept["member"] != learner.pack.about["member"]:
        raise BoneAgeError(
            f"{path} is a checkpoint of {kept['member']}, the pack is of {learner.pack.about['member']}."
        )
    learner.learnt.load_state_dict(kept["weights"])
    learner.average.load_state_dict(kept["average"])
    optimiser.load_state_dict(kept["optimiser"])
    vars(state).update(kept["state"])


def _finish(learner: Learner, state: State, out: Path, seed: int) -> dict[str, Any]:
    """Write the averaged weights, of the last epoch or the best as the plan says, and what was measured."""
    if state.best_weights is not None:
        learner.average.load_state_dict(state.best_weights)
    whole = copy.deepcopy(learner.network).cpu()
    target = cast(nn.Module, whole.head) if learner.of_joints else whole
    target.load_state_dict(learner.average.state_dict())
    name = learner.pack.about["member"]
    save_network(whole, out / f"{name}.safetensors", learner.pack.about["eight_bit"])
    rows = learner.validation_rows
    answers = learner.months(learner.average, rows).cpu().tolist()
    lines = ["rsna_id,sex,bone_age_months,predicted_months"]
    for row, months in zip(rows.cpu().tolist(), answers, strict=True):
        sex = "male" if learner.pack.male[row] > 0.5 else "female"
        lines.append(f"{int(learner.pack.rsna_id[row])},{sex},{float(learner.pack.months[row]):g},{months:.3f}")
    (out / "val.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cuda = learner.device.type == "cuda"
    result = {
        "member": name,
        "metric": "val_mae_months",
        "best": state.val if learner.plan.keep_last else state.best,
        "minutes": round(state.seconds / 60, 1),
        "epochs": state.epoch,
        "seed": seed,
        "pictures": len(learner.training_rows),
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
    }
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="python -m train.from_pack", description=(__doc__ or "").split("\n")[0])
    line.add_argument("files", nargs="+", type=Path, help="every file of one pack")
    line.add_argument("--minutes", type=float, help="the whole budget, over all calls; else the plan's epochs")
    line.add_argument("--at-most", type=float, help="minutes of this call; go on with --resume")
    line.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    line.add_argument("--out", type=Path, help="folder of checkpoint and weights (runs/MEMBER)")
    line.add_argument("--epochs", type=int, help="instead of the plan's")
    line.add_argument("--batch-size", type=int, help="instead of the plan's")
    line.add_argument("--learning-rate", type=float, help="instead of the plan's")
    line.add_argument("--joints", type=int, default=len(JOINTS), help="draw so many joints for each batch, for speed")
    line.add_argument("--frozen-stages", type=int, default=0, help="keep so many stages of the backbone as they are")
    line.add_argument("--seed", type=int, help="instead of the plan's")
    line.add_argument(
        "--start-share", type=float, default=0.0, help="of the weights the pack starts from, in those that are written"
    )
    return line


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    args = parser().parse_args(arguments)
    try:
        pack = read_pack(args.files)
        changes = {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": args.learning_rate}
        pack.about["plan"] |= {name: value for name, value in changes.items() if value is not None}
        effort = Effort(args.joints, args.frozen_stages)
        out = args.out or Path("runs") / pack.about["member"]
        print(
            f"{pack.about['member']}: {len(pack.inputs)} radiographs, inputs {tuple(pack.inputs.shape[1:])}", flush=True
        )
        result = train(
            pack, out, args.minutes, at_most=args.at_most, resume=args.resume, seed=args.seed, effort=effort,
            start_share=args.start_share,
        )  # fmt: skip
    except BoneAgeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
