"""How Malanga's network is trained: the backbone stays as it is, and what stands behind it learns from its features.

Features are computed once, so that a classifier and a regressor take seconds and five folds are affordable.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baa_core.networks.age import GROUP_DEVIATION_MONTHS, GroupedAgeNetwork
from baa_core.networks.build import build
from baa_core.networks.weights import save_network
from baa_core.recipes.schema import AGE_GROUPS_MONTHS, Member, TrainingPlan
from baa_core.types import SEXES

from .data.dataset import labelled, network_features
from .data.samples import find_samples, read_labels
from .fit import Options, run_line, start

GROUPS = len(AGE_GROUPS_MONTHS) - 1
FOLDS = 5
PATIENCE_EPOCHS = 4  # early stopping, as in the paper, which does not say how patient


@dataclass(frozen=True)
class Features:
    """The hands of one split: `views` (V, N, F), as they are and mirrored; sex (N,), months (N,), `rsna_id` (N,)."""

    views: Tensor
    male: NDArray[np.bool_]
    months: NDArray[np.float32]
    children: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Both views of the chosen hands, (2n, F), and their months, (2n,)."""
        months = torch.from_numpy(self.months[chosen])
        return self.views[:, torch.from_numpy(chosen)].flatten(0, 1), months.repeat(len(self.views))

    def where(self, chosen: NDArray[np.bool_]) -> Features:
        """The chosen hands."""
        views = self.views[:, torch.from_numpy(chosen)]
        return Features(views, self.male[chosen], self.months[chosen], self.children[chosen])

    def folds(self, count: int) -> Iterator[tuple[Features, Features]]:
        """Those to learn from and those left out, so many times; all pictures of a child are in the same fold."""
        fold = np.unique(self.children, return_inverse=True)[1] % count
        for number in range(count):
            yield self.where(fold != number), self.where(fold == number)


def group_of(months: NDArray[np.float32] | Tensor) -> Tensor:
    """The age group of each hand, 0 to 3."""
    bounds = torch.tensor(AGE_GROUPS_MONTHS[1:-1])
    return torch.bucketize(torch.as_tensor(months), bounds, right=True)


def fit_grouped(member: Member, options: Options) -> str:
    """Train classifiers and regressors, measure them on `val`, write weights and `result.json`.

    Without a time budget five folds of `train`, dealt by child, are measured before. The weights that are written learn
    from all of `train` and do not depend on the folds.

    Returns:
        one line for train/RUNS.md.

    Raises:
        BoneAgeError: data or start weights are missing or unreadable; the message names them.
    """
    began = time.monotonic()
    torch.manual_seed(options.seed)
    network = cast(GroupedAgeNetwork, build(member.architecture))
    start(network, member, options)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training, validation = (read_features(member, network, split, options) for split in ("train", "val"))
    folds = []
    for inside, outside in training.folds(FOLDS) if options.minutes is None else ():
        own = copy.deepcopy(network)
        fit_heads(own, inside, outside, member.training)
        folds.append(measure(own, outside))
    torch.manual_seed(options.seed)  # so that folds before change nothing
    fit_heads(network, training, validation, member.training)
    measured = measure(network, validation)
    kept = keep(network, member, options, "val_mae_months", measured["mae_months"], began)
    result = {**kept, "val": measured, "folds": folds}
    (options.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return run_line(member, "+".join(member.training.images), len(training.months), result)


def keep(
    network: nn.Module, member: Member, options: Options, metric: str, best: float, began: float
) -> dict[str, Any]:
    """Write a network whose head was trained without Lightning; the result that belongs beside it.

    Args:
        began: `time.monotonic()` when the training did.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    save_network(network, options.out / f"{member.name}.safetensors", member.eight_bit)
    return {
        "member": member.name,
        "metric": metric,
        "best": best,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "epochs": member.training.epochs,
        "seed": options.seed,
        "device": f"CPU, {torch.get_num_threads()} threads",
    }


def read_features(member: Member, network: nn.Module, split: str, options: Options) -> Features:
    """The frozen features of every hand of a split."""
    labels = read_labels(options.labels, options.teacher)
    samples = find_samples(options.images, labels)
    kinds = member.training.images
    found = labelled(member, samples, labels, split, kinds, options.cache, options.cache / "hands", augmented=False)
    pictures = found.variants[0][found.rows]
    views = network_features(network, pictures, member.input, f"features of {split}")
    return Features(torch.from_numpy(views), found.male > 0.5, found.months, found.children)


def fit_heads(network: GroupedAgeNetwork, training: Features, validation: Features, plan: TrainingPlan) -> None:
    """Train the classifier of each sex, and the regressor of each sex and group on the hands of that group."""
    for code in range(len(SEXES)):
        own, check = training.where(training.male == bool(code)), validation.where(validation.male == bool(code))
        x, months = own.rows(np.ones(len(own.months), bool))
        x_val, months_val = check.rows(np.ones(len(check.months), bool))
        head = cast(nn.Module, network.classifiers[code])
        data = (x, group_of(months)), (x_val, group_of(months_val))
        fit_head(head, *data, lambda raw, group: nn.functional.cross_entropy(raw, group), plan)
        for group in range(GROUPS):
            centre = (AGE_GROUPS_MONTHS[group] + AGE_GROUPS_MONTHS[group + 1]) / 2
            inside, inside_val = (group_of(m) == group for m in (months, months_val))
            head = cast(nn.Module, network.regressors[code][group])  # type: ignore[index]
            one = x[inside], (months[inside] - centre) / GROUP_DEVIATION_MONTHS
            other = x_val[inside_val], (months_val[inside_val] - centre) / GROUP_DEVIATION_MONTHS
            fit_head(head, one, other, lambda raw, z: nn.functional.l1_loss(raw[:, 0], z), plan)


def fit_head(
    head: nn.Module,
    data: tuple[Tensor, Tensor],
    check: tuple[Tensor, Tensor],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    plan: TrainingPlan,
) -> None:
    """Train one dense head by Adam along a cosine; the weights of the best epoch on `check` are kept."""
    x, y = data
    optimiser = torch.optim.AdamW(head.parameters(), plan.learning_rate, weight_decay=plan.weight_decay)
    steps = max(1, math.ceil(len(x) / plan.batch_size))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * steps)
    best, state, since = math.inf, copy.deepcopy(head.state_dict()), 0
    for _ in range(plan.epochs):
        head.train()
        order = torch.randperm(len(x))
        for rows in order.split(plan.batch_size):
            if len(rows) == 1 < len(x):  # one picture has no deviation to normalise by
                continue
            loss = loss_of(head(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        head.eval()
        with torch.inference_mode():
            error = float(loss_of(head(check[0]), check[1])) if len(check[0]) else float(loss)
        since += 1
        if error < best:
            best, state, since = error, copy.deepcopy(head.state_dict()), 0
        if since >= PATIENCE_EPOCHS:
            break
    head.load_state_dict(state)


def measure(network: GroupedAgeNetwork, features: Features) -> dict[str, Any]:
    """Mean absolute error, and accuracy, sensitivity and specificity of the groups, by sex.

    Sensitivity and specificity are means over the groups, as the paper gives them; groups without a hand are left out.
    """
    found: dict[str, Any] = {}
    errors = []
    network.eval()
    with torch.inference_mode():
        for code, sex in enumerate(SEXES):
            own = features.where(features.male == bool(code))
            months = torch.stack([network.months_from(view, code) for view in own.views]).mean(dim=0).numpy()
            errors.append(np.abs(months - own.months))
            logits = torch.stack([network.classify(view, code) for view in own.views]).mean(dim=0)
            said, true = logits.argmax(dim=1).numpy(), group_of(own.months).numpy()
            there = [g for g in range(GROUPS) if (true == g).any()]
            found[sex] = {
                "n": len(true),
                "mae_months": round(float(errors[-1].mean()), 3),
                "accuracy": round(float((said == true).mean()), 4),
                "sensitivity": round(float(np.mean([(said[true == g] == g).mean() for g in there])), 4),
                "specificity": round(float(np.mean([(said[true != g] != g).mean() for g in there])), 4),
            }
    return {"mae_months": round(float(np.concatenate(errors).mean()), 3), **found}
