"""One training from start weights to a weights file and a line of measured errors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from baa_core.errors import BoneAgeError
from baa_core.networks.bone_strips import BoneNetwork
from baa_core.networks.build import build
from baa_core.networks.weights import save_network
from baa_core.recipes.schema import Member

from .age_sex.bone_strips import BoneAgeTask, BoneSexTask, add_joints
from .age_sex.tasks import AgeTask, SexTask, Task
from .data.dataset import LabelledPictures, labelled
from .data.samples import find_samples, read_labels
from .hand.redraw import RedrawTask, redraw_sets, start_as_hand
from .hand.task import HandTask
from .hand.unet import OutlineTask, outline_sets
from .initial_weights import imagenet_start, member_start, start_file
from .landmarks.task import LandmarkTask, landmark_sets

EVALUATION_BATCH = 32
LAST = "last.ckpt"
MOST_REPEATED = 4.0  # beyond that a network learns a rare year's few radiographs by heart


@dataclass(frozen=True)
class Options:
    """What a user chooses about a run; everything else stands in the recipe."""

    images: tuple[Path, ...]
    labels: Path
    out: Path
    cache: Path
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    minutes: float | None = None
    seed: int = 42
    resume: bool = False
    workers: int = 0
    annotations: Path | None = None
    teacher: Path | None = None
    outlines: Path | None = None
    last_side_only: bool = False


def fit(member: Member, options: Options) -> str:
    """Train an age, sex or landmark network and write `<out>/<member>.safetensors` and `<out>/result.json`.

    Returns:
        one line for train/RUNS.md.

    Raises:
        BoneAgeError: data or start weights are missing or unreadable; the message names them.
    """
    L.seed_everything(options.seed, workers=True, verbose=False)
    member = without_teacher_unless_given(member, options)
    training, validation = loaders(member, options)
    task = make_task(member, options.minutes)
    if not options.resume:
        start(task.network, member, options)
    result = run(task, training, validation, options)
    return run_line(member, "+".join(member.training.images), len(training.dataset), result)  # type: ignore[arg-type]


def without_teacher_unless_given(member: Member, options: Options) -> Member:
    """The member as it is trained when no teacher is named: on labels alone, which is said."""
    if not member.training.teacher_weight or options.teacher is not None:
        return member
    print(f"{member.name} was trained with another system's readings too (--teacher). Going on with labels alone.")
    return replace(member, training=replace(member.training, teacher_weight=0.0))


def make_task(member: Member, minutes: float | None) -> Task:
    """The training of this member's kind of network."""
    tasks: dict[str, type[Task]] = {"age": AgeTask, "sex": SexTask, "hand": HandTask}
    tasks |= {"landmarks": LandmarkTask, "mask": OutlineTask, "redraw": RedrawTask}
    of_bones: dict[str, type[Task]] = {"age": BoneAgeTask, "sex": BoneSexTask}
    chosen = of_bones if member.architecture.heads == "bones" else tasks
    return chosen[member.architecture.task](member, minutes)


def run_line(member: Member, data: str, pictures: int, result: dict[str, Any]) -> str:
    """One line of train/RUNS.md."""
    return (
        f"| {member.name} | {data} | {pictures} | {result['minutes']:.0f} | {result['device']} | "
        f"{result['metric']} {result['best']:.3f} |"
    )


def run(task: Task, training: DataLoader[Any], validation: DataLoader[Any], options: Options) -> dict[str, Any]:
    """Train until the epochs or the minutes are over, then write the best weights."""
    if not torch.cuda.is_available():
        task.network.to(memory_format=torch.channels_last)
    trainer = make_trainer(task, options)
    last = options.out / LAST
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        try:
            trainer.fit(task, training, validation, ckpt_path=str(last) if options.resume and last.exists() else None)
        except (OSError, RuntimeError) as error:
            if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):  # how PyTorch says "disk full"
                raise BoneAgeError(
                    f"A checkpoint could not be written to {options.out}: {error}. Free some space (a few hundred "
                    "MB) or name another folder with --out, then go on with --resume."
                ) from error
            raise
    return finish(task, trainer, options)


def loaders(member: Member, options: Options) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches of a member."""
    if member.architecture.task == "redraw":
        if options.outlines is None:
            raise BoneAgeError(f"{member.name} learns on outlined radiographs: give the --outlines of train cut-outs.")
        first = start_file("hand", options.out.parent)
        return batches(*redraw_sets(member, options.images, options.outlines, first, options.seed), member, options)
    labels = read_labels(options.labels, options.teacher)
    samples = find_samples(options.images, labels)
    if member.architecture.task == "landmarks":
        return batches(*landmark_sets(member, samples, labels, options.annotations, options.cache), member, options)
    if member.architecture.task == "mask":
        return batches(*outline_sets(member, samples, labels, options.cache), member, options)
    hands = options.cache / "hands"
    kinds = member.training.images
    training = labelled(member, samples, labels, "train", kinds, options.cache, hands, augmented=True)
    validation = labelled(member, samples, labels, "val", kinds, options.cache, hands, augmented=False)
    if member.architecture.heads == "bones":
        network = cast(BoneNetwork, build(member.architecture))
        start(network, member, options)
        training, validation = add_joints(training, network), add_joints(validation, network)
    return batches(training, validation, member, options)


def batches(
    training: Dataset[Any], validation: Dataset[Any], member: Member, options: Options
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders over two data sets."""
    common: dict[str, Any] = {"num_workers": options.workers, "persistent_workers": options.workers > 0}
    if torch.cuda.is_available():
        common["pin_memory"] = True
    size = member.training.batch_size
    order: dict[str, Any] = {"shuffle": True}
    if isinstance(training, LabelledPictures):
        if shares := shares_of(training, member):
            order = {"sampler": mixed(shares)}
        elif member.training.evenly:
            order = {"sampler": evenly(training.months)}
    return (
        DataLoader(training, size, **order, drop_last=len(training) > size, **common),  # type: ignore[arg-type]
        DataLoader(validation, EVALUATION_BATCH, **common),
    )


def shares_of(training: LabelledPictures, member: Member) -> list[tuple[NDArray[np.bool_], float]]:
    """Which of the pictures are of a kind of which the plan says how often they are shown, and how often."""
    plan, drawn = member.training, np.arange(len(training)) >= len(training.rows)
    shares = [(drawn, plan.drawn_share)] if training.drawn is not None else []
    if plan.sharp_share is not None:
        shares.append((training.sharp & ~drawn, plan.sharp_share))
    return shares


def mixed(shares: list[tuple[NDArray[np.bool_], float]]) -> WeightedRandomSampler:
    """Draws pictures so that each kind has its share, however few of that kind there are; the others have the rest.

    Args:
        shares: which pictures are of a kind, bool (N,), and its share; no picture is of two.
    """
    of_none = ~np.any([special for special, _ in shares], axis=0)
    rest = (of_none, 1.0 - sum(share for _, share in shares))
    weights = np.zeros(len(of_none))
    for special, share in (*shares, rest):
        weights[special] = share / max(1, special.sum())
    return WeightedRandomSampler(weights.tolist(), len(weights))


def evenly(months: NDArray[np.float32]) -> WeightedRandomSampler:
    """Draws every year of age equally often, but none more than `MOST_REPEATED` times as often as it occurs."""
    years = (months // 12).astype(int)
    counts = np.bincount(years)
    repeated = len(months) / np.count_nonzero(counts) / np.maximum(1, counts)
    return WeightedRandomSampler(np.minimum(repeated, MOST_REPEATED)[years].tolist(), len(months))


def start(network: nn.Module, member: Member, options: Options) -> None:
    """Fill a network with the weights its plan starts from.

    Raises:
        WeightsMissing: they are not there, or nothing in them fits.
    """
    init = member.training.init
    if getattr(network, "LEARNED", ""):  # its own file holds the rest only
        member_start(network, start_file("landmarks", options.out.parent))
    if init == "imagenet":
        imagenet_start(network, member.architecture.backbone)
    elif init.endswith(".safetensors"):
        member_start(network, Path(init))
    elif init == "hand" and member.architecture.task == "redraw":
        start_as_hand(network, start_file(init, options.out.parent))
    elif init != "scratch":
        member_start(network, start_file(init, options.out.parent))


class KeepLast(L.Callback):
    """A checkpoint at the end of every epoch, for `--resume`: the new one whole, or else the old one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write beside it, then take its place."""
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)


def make_trainer(task: Task, options: Options) -> L.Trainer:
    """Lightning's trainer: checkpoints on the metric, averaged weights, mixed precision, several processes."""
    gpu = options.device == "gpu" or (options.device == "auto" and torch.cuda.is_available())
    callbacks: list[L.Callback] = [
        ModelCheckpoint(
            options.out,
            "best",
            monitor=task.metric,
            mode="max" if task.higher_is_better else "min",
            enable_version_counter=False,
        ),
        KeepLast(options.out / LAST),
        TQDMProgressBar(refresh_rate=20),
    ]
    if task.plan.average_decay:
        callbacks.append(WeightAveraging(avg_fn=warm_average(task.plan.average_decay)))
    return L.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=options.devices,
        num_nodes=options.nodes,
        strategy="ddp" if options.devices * options.nodes > 1 else "auto",
        # On a CPU the small kernels of an EfficientNet run faster in float32 (train/RUNS.md).
        precision="bf16-mixed" if gpu else "32-true",
        min_epochs=0,  # else time could not be up in the first
        max_epochs=task.plan.epochs,
        callbacks=callbacks,
        logger=False,
        gradient_clip_val=5.0,
        default_root_dir=options.out,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def warm_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential moving average that forgets its first steps: decay min(decay, (1 + n) / (10 + n))."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        kept = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        return kept * averaged + (1.0 - kept) * current

    return average


def finish(task: Task, trainer: L.Trainer, options: Options) -> dict[str, Any]:
    """Write the best weights, or the last if the plan says so, in half precision, and what was measured."""
    best, last = trainer.checkpoint_callback, options.out / LAST
    path = last if task.plan.keep_last else Path(getattr(best, "best_model_path", "") or last)
    state = torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
    prefix = "network."
    tensors = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    network = build(task.member.architecture)
    network.load_state_dict({k: v for k, v in tensors.items() if k in network.state_dict()})
    first = trainer.is_global_zero  # of several processes one writes
    if first:
        save_network(network, options.out / f"{task.member.name}.safetensors", task.member.eight_bit)
    score = (
        trainer.callback_metrics.get(task.metric) if task.plan.keep_last else getattr(best, "best_model_score", None)
    )
    result = {
        "member": task.member.name,
        "metric": task.metric,
        "best": float(score) if score is not None else float("nan"),
        "minutes": round(task.progress.seconds / 60 + minutes_before(task.member), 1),
        "epochs": int(trainer.current_epoch),
        "seed": options.seed,
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
    }
    if first:
        (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def minutes_before(member: Member) -> float:
    """How long the run took whose weights of the same network this one goes on from; 0 for a start of another kind."""
    weights = Path(member.training.init)
    told = weights.with_name("result.json")
    if weights.name != f"{member.name}.safetensors" or not told.exists():
        return 0.0
    return float(json.loads(told.read_text())["minutes"])
