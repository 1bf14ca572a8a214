"""How `joints.BoneNetwork` is trained: joints are placed once, and what judges learns from the straightened bones.

As they are and in a few augmented versions, since placing joints takes longer than all the rest.
"""

from __future__ import annotations

import json
import time
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc
from tqdm import tqdm

from baa_core.joints import BoneNetwork
from baa_core.models import build
from baa_core.recipe import Member

from .fit import EVALUATION_BATCH, Options, keep, run_line, start
from .grouped import fit_head
from .labelled import LabelledPictures, labelled
from .samples import find_samples, read_labels

VERSIONS = 2  # augmented ones, beside the plain one


def fit_bones(member: Member, options: Options) -> str:
    """Train what judges, keep the epoch with the least loss on `val`, write weights and `result.json`.

    Returns:
        one line for train/RUNS.md.

    Raises:
        BoneAgeError: data or start weights are missing or unreadable; the message names them.
    """
    began = time.monotonic()
    torch.manual_seed(options.seed)
    network = cast(BoneNetwork, build(member.architecture))
    start(network, member, options)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labels, kinds = read_labels(options.labels), member.training.images
    samples, hands = find_samples(options.images, labels), options.cache / "hands"
    plain, augmented, held_out = (
        labelled(member, samples, labels, split, kinds, options.cache, hands, augmented)
        for split, augmented in (("train", False), ("train", True), ("val", False))
    )
    seen = [look(network, pictures, options) for pictures in (plain, *[augmented] * VERSIONS)]
    x, male = (torch.cat(parts) for parts in zip(*seen, strict=True))
    x_val, male_val = look(network, held_out, options)
    loss = nn.functional.binary_cross_entropy_with_logits
    fit_head(network.judge, (x, male), (x_val, male_val), lambda raw, y: loss(raw[:, 0], y), member.training)
    with torch.inference_mode():
        area = float(binary_auroc(network.judge(x_val)[:, 0], male_val.int()))
    result = keep(network, member, options, "val_auroc", area, began)
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return run_line(member, "+".join(kinds), len(plain), result)


def look(network: BoneNetwork, pictures: LabelledPictures, options: Options) -> tuple[Tensor, Tensor]:
    """What the network judges of each picture, (N, F), and whether it is a boy's, (N,)."""
    found, male = [], []
    with torch.inference_mode():
        batches = DataLoader(pictures, EVALUATION_BATCH, num_workers=options.workers)
        for image, is_male, *_ in tqdm(batches, desc="straightening bones", mininterval=10):
            found.append(network.look(image.contiguous(memory_format=torch.channels_last)))
            male.append(is_male)
    return torch.cat(found), torch.cat(male)
