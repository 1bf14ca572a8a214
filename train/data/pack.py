"""`python -m train pack MEMBER --images DIR... --labels CSV --out packs/MEMBER.npz`: all that a training needs.

A pack holds the arranged inputs of one age member (8 bit), labels, sex, split, the teacher's readings and the weights
to start from. `train.from_pack` trains from it on a machine that has torch and timm but neither the radiographs nor
this project's other libraries. Inputs are arranged by the functions that serve (`preprocessing`, `joint_patches`).
`test` is never packed. A pack holds radiographs: it stays out of the repository (`packs/` is ignored by git).

Files are NumPy archives (.npz) without pickled objects, `--file-mb` at most each, named MEMBER.npz, MEMBER-1.npz, ...:

    about      JSON as uint8: member, architecture, plan, input shape, how pictures are encoded, which file of how many
    encoded    uint8: PNG or JPEG files one after another, one a radiograph; the patches of a hand are tiles of one
               picture, `about["columns"]` a row
    offsets    int64 (n + 1,): where each begins
    rsna_id, male, months, validation, teacher (NaN: none)      (n,)
    deviation  float32 (n,): standard deviation of the whole arranged picture, the unit in which networks see grey
    places     float32 (n, K, 2): landmarks as shares of the side, and valid, bool (n, J); for patches only
    start/*    float16: the weights to start from, in the first file
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from baa_core.networks import torchvision_compat as _torchvision  # noqa: F401  first: timm needs torchvision's operators declared

# isort: split
from baa_core.errors import BoneAgeError
from baa_core.networks.joint_patches import JOINTS, JointAgeNetwork, PATCH_PX, joint_patches
from baa_core.networks.build import build
from baa_core.preprocessing.picture import IDENTITY, Picture
from baa_core.preprocessing.prepare import apply_steps
from baa_core.recipes.schema import Member
from baa_core.networks.weights import unpack

from ..command_line import says_problems
from .hand_store import HandStore
from .cache import arranged_pictures, digest, needs_hand
from ..fit import Options, run_line, start, without_teacher_unless_given
from ..from_pack import read_pack, train
from ..age_sex.plans import members
from .phantoms import DrawnHands, drawn_hands
from .point_finder import needs_points
from .samples import Sample, find_samples, read_labels, read_sample
from ..initial_weights import member_start, start_file

FORMAT = 1
MARGIN_PX = 16  # cut around each patch, so that training can shift, turn and enlarge it
COLUMNS = 5  # tiles a row
FILE_MB = 60.0
SPLITS = ("train", "val")


@dataclass(frozen=True)
class Item:
    """One radiograph of a pack: uint8 picture (H, W), the deviation of the whole arranged picture, and for patches
    its landmarks (K, 2) and which of its joints are there (J,)."""

    sample: Sample
    picture: NDArray[np.uint8]
    deviation: float
    places: NDArray[np.float32] | None = None
    valid: NDArray[np.bool_] | None = None


def chosen_samples(member: Member, samples: list[Sample], labels: Any) -> list[Sample]:
    """The samples of `train` and `val` of the kinds and sexes this member learns from."""
    return [
        s
        for s in samples
        if s.kind in member.training.images
        and labels.split[s.rsna_id] in SPLITS
        and labels.sex[s.rsna_id] in member.sexes
    ]


def check_packable(member: Member) -> None:
    """Raises BoneAgeError for a member whose training needs more than arranged inputs and labels."""
    shape, plan = member.architecture, member.training
    plain = shape.task == "age" and shape.heads in ("one", "joints") and not shape.also_sex
    if not plain or plan.features_of or needs_points(member.learns_from or member.input):
        able = [name for name, (_, m) in members().items() if m.architecture.heads in ("one", "joints")]
        able = [name for name in able if members()[name][1].architecture.task == "age"]
        raise BoneAgeError(
            f"{member.name} cannot be trained from a pack: its training needs more than prepared pictures and labels. "
            f"Members that can are age networks of one head or of joints, such as {', '.join(able[:8])}."
        )


def start_network(member: Member, out: Path) -> nn.Module:
    """The member's network with the weights that its plan starts from, in evaluation mode.

    A network of joints takes its landmark part from the landmark member, its patches' encoder from the plan's `init`.

    Raises:
        WeightsMissing: they are not there, or nothing in them fits.
    """
    network = build(member.architecture)
    if not isinstance(network, JointAgeNetwork):
        start(network, member, Options((), Path(), out, Path()))
        return network.eval()
    member_start(network, start_file("landmarks", Path("runs")))
    init = member.training.init
    if init == f"{member.name}.safetensors" or Path(init).stem == member.name:
        member_start(network, Path(init))
    elif init != "scratch":
        path = Path(init) if init.endswith(".safetensors") else start_file(init, Path("runs"))
        tensors = {name: t for name, t in unpack(path.read_bytes()).items() if name.startswith("backbone.")}
        known = network.head.encoder.state_dict()
        fitting = {name: t for name, t in tensors.items() if name in known and t.shape == known[name].shape}
        if not fitting:
            raise BoneAgeError(f"Nothing in {path.name} fits the encoder of {member.name}. Name another with --init.")
        network.head.encoder.load_state_dict(fitting, strict=False)
    return network.eval()


def joint_items(member: Member, network: JointAgeNetwork, samples: list[Sample], hands: Path) -> Iterator[Item]:
    """The patches of every hand that was found, as tiles of one picture."""
    store = HandStore(hands)
    for sample in tqdm(samples, desc="cutting patches", mininterval=10):
        radiograph = read_sample(sample)
        hand = store.hand(sample, radiograph)
        if hand is None:
            continue
        yield _patches_of(sample, apply_steps(radiograph, hand, member.input), member, network)


def _patches_of(sample: Sample, arranged: Picture, member: Member, network: JointAgeNetwork) -> Item:
    seen = torch.tensor(member.input.normalise(arranged).pixels)[None, None]
    with torch.inference_mode():
        places = network.places(seen)
        _, valid = joint_patches(seen, places)
        patches, _ = joint_patches(torch.tensor(arranged.pixels)[None, None], places, MARGIN_PX)
    grey = (patches[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return Item(sample, tiled(grey), float(arranged.pixels.std()), places[0].numpy(), valid[0].numpy())


def drawn_items(member: Member, network: JointAgeNetwork, hands: DrawnHands) -> Iterator[Item]:
    """The patches of drawn hands, with the ids of `drawn_labels`."""
    for number, pixels in enumerate(tqdm(hands.pictures, desc="cutting drawn patches", mininterval=10)):
        greys = np.asarray(pixels, np.float32) / np.float32(255)
        arranged = Picture(greys, greys > 0, IDENTITY)
        yield _patches_of(Sample(-1 - number, Path(), "sharp", None), arranged, member, network)


def drawn_labels(hands: DrawnHands) -> pd.DataFrame:
    """Labels of drawn hands, all of them for training, with ids below 0 that no radiograph has."""
    return hands.labels.assign(split="train").set_index(-1 - np.arange(len(hands.labels)))


def tiled(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Patches (J, P, P) side by side, `COLUMNS` a row; missing tiles are 0."""
    count, side = len(patches), patches.shape[1]
    rows = -(-count // COLUMNS)
    whole = np.zeros((rows * COLUMNS, side, side), np.uint8)
    whole[:count] = patches
    return whole.reshape(rows, COLUMNS, side, side).transpose(0, 2, 1, 3).reshape(rows * side, COLUMNS * side)


def picture_items(member: Member, samples: list[Sample], hands: Path, cache: Path) -> Iterator[Item]:
    """The arranged picture of every hand that was found."""
    spec = member.learns_from or member.input
    pictures, found = arranged_pictures(samples, spec, hands if needs_hand(spec) else None, cache, workers=1)
    for number in np.flatnonzero(found):
        picture = np.asarray(pictures[number])
        yield Item(samples[number], picture, float((picture / np.float32(255)).std()))


def encode(picture: NDArray[np.uint8], jpeg_quality: int | None) -> bytes:
    """A PNG file, without loss, or a JPEG file of the given quality."""
    if jpeg_quality is None:
        done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    else:
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    if not done:
        raise BoneAgeError("A picture could not be encoded for the pack. Check the installed opencv-python-headless.")
    return bytes(data.tobytes())


def write_pack(
    member: Member,
    items: Iterator[Item],
    labels: Any,
    network: nn.Module,
    out: Path,
    jpeg_quality: int | None,
    mb: float,
) -> list[Path]:
    """Write the files of a pack and return them.

    Args:
        member: what is to be trained; its plan goes into the pack.
        items: every radiograph of `train` and `val`.
        labels: of `read_labels`.
        network: whose weights training starts from.
        out: the first file, ending in .npz.
        jpeg_quality: 1 to 100, or None for PNG.
        mb: most bytes of a file, in 1e6.

    Raises:
        BoneAgeError: there is nothing to pack, or the weights to start from alone are larger than `mb`.
    """
    weights = {f"start/{k}": v for k, v in _half(network, member).items()}
    overhead = sum(v.nbytes for v in weights.values()) + 100_000
    if overhead > mb * 1e6:
        raise BoneAgeError(
            f"The start weights of {member.name} alone are {overhead / 1e6:.0f} MB, more than --file-mb {mb:g}."
        )
    groups: list[list[tuple[Item, bytes]]] = [[]]
    size = overhead
    for item in items:
        data = encode(item.picture, jpeg_quality)
        if groups[-1] and size + len(data) + 500 > mb * 1e6:
            groups.append([])
            size = 100_000
        groups[-1].append((item, data))
        size += len(data) + 500
    if not groups[0]:
        raise BoneAgeError("No hand was found in any radiograph of train and val, so there is nothing to pack.")
    height, width = groups[0][0][0].picture.shape
    patches = groups[0][0][0].places is not None
    about = {
        "format": FORMAT,
        "member": member.name,
        "architecture": asdict(member.architecture),
        "plan": asdict(member.training),
        "eight_bit": member.eight_bit,
        "normalise": type(member.input.normalise).__name__,
        "kind": "patches" if patches else "pictures",
        "shape": [len(JOINTS), PATCH_PX + 2 * MARGIN_PX, PATCH_PX + 2 * MARGIN_PX] if patches else [height, width],
        "columns": COLUMNS,
        "encoding": "PNG, lossless" if jpeg_quality is None else f"JPEG, quality {jpeg_quality}",
        "files": len(groups),
    }
    files = []
    for number, group in enumerate(groups):
        file = out if number == 0 else out.with_name(f"{out.stem}-{number}.npz")
        arrays = _arrays([item for item, _ in group], [data for _, data in group], labels)
        said = np.frombuffer(json.dumps(about | {"file": number}).encode(), np.uint8)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, about=said, **arrays, **(weights if number == 0 else {}))
        files.append(file)
    return files


def _half(network: nn.Module, member: Member) -> dict[str, NDArray[Any]]:
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in network.state_dict().items()
    }


def _arrays(items: list[Item], encoded: list[bytes], labels: Any) -> dict[str, NDArray[Any]]:
    rows = labels.loc[[item.sample.rsna_id for item in items]]
    teacher = rows.teacher_months if "teacher_months" in rows else np.full(len(rows), np.nan)
    arrays = {
        "encoded": np.frombuffer(b"".join(encoded), np.uint8),
        "offsets": np.cumsum([0, *map(len, encoded)]).astype(np.int64),
        "rsna_id": np.array([item.sample.rsna_id for item in items], np.int32),
        "male": (rows.sex == "male").to_numpy(np.uint8),
        "months": rows.bone_age_months.to_numpy(np.float32),
        "teacher": np.asarray(teacher, np.float32),
        "validation": (rows.split == "val").to_numpy(np.bool_),
        "deviation": np.array([item.deviation for item in items], np.float32),
    }
    if items[0].places is not None:
        arrays["places"] = np.stack([cast(NDArray[np.float32], item.places) for item in items])
        arrays["valid"] = np.stack([cast(NDArray[np.bool_], item.valid) for item in items])
    return arrays


def pack(
    member: Member, options: Options, out: Path, jpeg_quality: int | None = None, mb: float = FILE_MB, drawn: int = 0
) -> list[Path]:
    """Make the pack of a member; see `write_pack`. A network of joints may learn from so many drawn hands besides.

    Raises:
        BoneAgeError: this member cannot be packed, data or start weights are missing.
    """
    check_packable(member)
    if out.suffix != ".npz":
        raise BoneAgeError(f"A pack is a .npz file; '{out.name}' is not. Give --out packs/{member.name}.npz, say.")
    labels = read_labels(options.labels, options.teacher)
    samples = chosen_samples(member, find_samples(options.images, labels), labels)
    network, hands = start_network(member, options.out), options.cache / "hands"
    if isinstance(network, JointAgeNetwork):
        items = joint_items(member, network, samples, hands)
        if drawn:
            made = drawn_hands(drawn, member.input, options.cache)
            items = chain(items, drawn_items(member, network, made))
            labels = pd.concat([labels, drawn_labels(made)])
    elif drawn:
        raise BoneAgeError(f"Drawn hands are packed for networks of joints alone, not for {member.name}. Leave --drawn.")
    else:
        items = picture_items(member, samples, hands, options.cache)
    return write_pack(member, items, labels, network, out, jpeg_quality, mb)


def fit_packed(member: Member, options: Options) -> str:
    """Pack a member in the cache, unless it is there already, and train from that; see `fit.fit`.

    Returns:
        one line for train/RUNS.md.
    """
    member = without_teacher_unless_given(member, options)
    labels = read_labels(options.labels, options.teacher)
    samples = chosen_samples(member, find_samples(options.images, labels), labels)
    words = [repr(member), *(f"{s.kind}{s.rsna_id}" for s in samples), labels.to_csv()]
    words.append(HandStore(options.cache / "hands").table.to_csv())
    first = options.cache / "packs" / f"{digest(words)}.npz"
    if not first.exists():
        pack(member, options, first, mb=math.inf)
    result = train(read_pack([first]), options.out, options.minutes, resume=options.resume, seed=options.seed)
    return run_line(member, "+".join(member.training.images), result["pictures"], result)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="python -m train pack", description=(__doc__ or "").split("\n")[0])
    line.add_argument("member", help="an age network of one head or of joints; python -m train --list names them")
    line.add_argument("--images", nargs="+", type=Path, required=True, help="folders with <rsna_id>.png or .jpg")
    line.add_argument("--labels", type=Path, required=True, help="CSV with rsna_id, sex, bone_age_months, split")
    line.add_argument("--teacher", type=Path, help="another system's readings: rsna_id and columns ending in _months")
    line.add_argument("--init", help="scratch, imagenet, a member's name or a .safetensors file; else the recipe's")
    line.add_argument("--scale", default="small", choices=("small", "paper"), help="our settings, or the paper's")
    line.add_argument("--drawn", type=int, default=0, help="so many drawn hands besides, for a network of joints")
    line.add_argument("--jpeg", type=int, help="encode pictures as JPEG of this quality; else PNG, without loss")
    line.add_argument("--file-mb", type=float, default=FILE_MB, help="most MB of a file; more files are made")
    line.add_argument("--cache", type=Path, default=Path("cache"), help="folder of the hand store")
    line.add_argument("--out", type=Path, required=True, help="the pack's first file, ending in .npz")
    return line


@says_problems
def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 a problem said in one sentence."""
    args = parser().parse_args(arguments)
    if args.member not in members():
        raise BoneAgeError(f"There is no member '{args.member}'. python -m train --list names them.")
    member = members()[args.member][1]
    if args.scale == "paper" and member.paper is not None:
        member = replace(member, training=member.paper, architecture=replace(member.architecture, activation=""))
    if args.init:
        member = replace(member, training=replace(member.training, init=args.init))
    options = Options(tuple(args.images), args.labels, Path("runs") / member.name, args.cache, teacher=args.teacher)
    for file in pack(member, options, args.out, args.jpeg, args.file_mb, args.drawn):
        with np.load(file) as made:
            count, validation = len(made["rsna_id"]), int(made["validation"].sum())
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {count - validation} train, {validation} val")
    return 0
