"""Lightning modules: one per task, each with its loss and its validation metric in plain units."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from baa_core.networks.age import (
    AGE_DEVIATION_MONTHS,
    AGE_MEAN_MONTHS,
    HALF_RANGE_MONTHS,
    OLDEST_CLASS_MONTHS,
    AgeNetwork,
    SixHeads,
)
from baa_core.networks.build import build
from baa_core.recipes.schema import Member

from ..data.augmentation import mirrors
from ..data.dataset import FEATURES
from .losses import expectation_loss

WARM_UP_SHARE = 0.05
STEP_FACTOR, STEP_EPOCHS = 0.1, 30  # Li 2021: a tenth every 30 epochs
FLOOR_SHARE = 0.01  # of the learning rate, where the cosine ends


class Progress:
    """How far a training has come, by steps and by the clock, whichever is further.

    It makes the learning rate end where it should even if `--minutes` cuts the epochs short.
    """

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self.spent_seconds = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time so far, earlier runs counted in."""
        return self.spent_seconds + time.monotonic() - self._since

    def start(self, spent_seconds: float) -> None:
        """Begin to count, with what earlier runs spent."""
        self.spent_seconds, self._since = spent_seconds, time.monotonic()

    def share(self, step: int, total_steps: int) -> float:
        """0 at the start, 1 at the end."""
        by_clock = 0.0 if self.minutes is None else self.seconds / (60 * self.minutes)
        return min(1.0, max(step / max(1, total_steps), by_clock))

    @property
    def over(self) -> bool:
        """Is the time budget spent?"""
        return self.minutes is not None and self.seconds >= 60 * self.minutes


class Task(L.LightningModule):
    """What the tasks share: optimiser, learning rate, and where the time goes."""

    metric = "val_loss"
    higher_is_better = False

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__()
        self.member = member
        self.plan = member.training
        self.network = build(member.architecture).train()
        self.progress = Progress(minutes)
        self.share = 0.0

    def configure_optimizers(self) -> Any:
        """Adam, AdamW or SGD; biases and norms are not decayed. A plateau schedule if the plan says so."""
        plan = self.plan
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
        makers: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        extra = {"momentum": 0.9} if plan.optimiser == "sgd" else {}
        optimiser = makers[plan.optimiser](groups, lr=plan.learning_rate, **extra)
        if plan.schedule == "plateau":
            mode = "max" if self.higher_is_better else "min"
            # factor, patience and floor: Deeplasia, supplement 2
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode, 0.2, 10, min_lr=1e-4)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "monitor": self.metric}}
        return optimiser

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate by progress (warm-up, then cosine); make this batch the last when time is up.

        Lightning still validates and keeps the weights after that batch: the last, annealed ones count.
        """
        share, over = self.clock()
        self.share = share
        if over:
            self.trainer.should_stop = True
        if self.plan.schedule == "steps":
            for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
                group["lr"] = self.plan.learning_rate * STEP_FACTOR ** (self.current_epoch // STEP_EPOCHS)
        if self.plan.schedule == "cosine":
            warm = min(1.0, (share + 1e-3) / WARM_UP_SHARE)
            cosine = FLOOR_SHARE + (1 - FLOOR_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
            for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
                group["lr"] = self.plan.learning_rate * warm * cosine

    def clock(self) -> tuple[float, bool]:
        """Share of the training done, and whether its time is up: the first process's answer, for all of them."""
        share = self.progress.share(self.global_step, int(self.trainer.estimated_stepping_batches))
        own = (share, self.progress.over)
        if self.trainer.world_size == 1:
            return own
        return cast(tuple[float, bool], self.trainer.strategy.broadcast(own))

    def on_train_start(self) -> None:
        """Start the clock."""
        self.progress.start(self.progress.spent_seconds)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the time spent, so that a resumed run keeps its budget."""
        checkpoint["spent_seconds"] = self.progress.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the time spent before."""
        self.progress.spent_seconds = float(checkpoint.get("spent_seconds", 0.0))


class AgeTask(Task):
    """Bone age. Validation metric: MAE in months over the picture and, if training mirrors it, its mirror image.

    With `also_sex` the sex is learnt from the same features, and its area under the curve is logged.
    """

    metric = "val_mae_months"

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__(member, minutes)
        self.auroc = BinaryAUROC()
        self.mirrored = mirrors(self.plan.augment)
        if self.plan.features_of:
            with torch.no_grad():
                blank = torch.zeros(1, 1, *member.input.shape)
                width = cast(AgeNetwork, self.network).eval().backbone(blank).shape[1]
            self.network.train()
            self.view = nn.Linear(width, FEATURES)
        if self.plan.drawn_share:
            width = cast(AgeNetwork, self.network).backbone.num_features
            self.reads_region = nn.Linear(width + 1, OLDEST_CLASS_MONTHS + 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch.

        "mse", "mae": squared or absolute error of z-scored months. "distribution": cross-entropy to
        a Gaussian around the label plus a tenth of the absolute error of the mean. With `features_of` the other
        network's view of the picture is learnt besides, from the same features; with `drawn_share` the age of each
        drawn region, from the features where it lies.
        """
        image, male, months, *more = batch
        if self.share < self.plan.halved_share:
            image = nn.functional.avg_pool2d(image, 2)
        network = cast(AgeNetwork, self.network)
        if self.plan.drawn_share:
            places = network.backbone.forward_features(image)
            features = network.backbone.forward_head(places)
        else:
            features = network.backbone(image)
        if isinstance(self.network, SixHeads):
            loss = self.six_losses(self.network, features, male, months)
        else:
            loss = self.one_loss(network.logits_from(features, male).float(), months)
        if self.member.architecture.also_sex:
            logit = network.sex_head(features)[:, 0].float()
            loss = loss + nn.functional.binary_cross_entropy_with_logits(logit, male)
        if self.plan.features_of:
            loss = loss + nn.functional.mse_loss(self.view(features).float(), more[0])
        if self.plan.drawn_share:
            loss = loss + self.region_loss(places, male, *more)
        self.log("loss", loss, prog_bar=True)
        return loss

    def one_loss(self, raw: Tensor, months: Tensor) -> Tensor:
        """The plan's loss of one head's raw output."""
        if self.plan.loss == "mse":
            return nn.functional.mse_loss(raw[:, 0], (months - AGE_MEAN_MONTHS) / AGE_DEVIATION_MONTHS)
        if raw.shape[1] == 1:
            return nn.functional.l1_loss(raw[:, 0], (months - AGE_MEAN_MONTHS) / AGE_DEVIATION_MONTHS)
        return expectation_loss(raw, months)

    def region_loss(self, places: Tensor, male: Tensor, regions: Tensor, ages: Tensor) -> Tensor:
        """The loss of each seen region's age, read from the features (N, C, h, w) where it lies; 0 if none is seen."""
        numbers = torch.arange(1, ages.shape[1] + 1, device=regions.device)
        covers = (regions[:, None] == numbers[:, None, None]).float()
        covers = nn.functional.adaptive_avg_pool2d(covers, places.shape[-2:])
        sizes = covers.sum(dim=(2, 3))
        seen = ~ages.isnan() & (sizes > 0)
        if not seen.any():
            return places.new_zeros(())
        features = torch.einsum("nchw,nrhw->nrc", places, covers) / sizes.clamp(min=1e-6)[..., None]
        told = torch.cat([features, male[:, None, None].expand(*sizes.shape, 1)], dim=2)[seen]
        return expectation_loss(self.reads_region(told).float(), ages[seen])

    def six_losses(self, network: SixHeads, features: Tensor, male: Tensor, months: Tensor) -> Tensor:
        """Absolute error of each of Iglovikov's six models on the hands it answers for.

        A softmax of 240 months learns too slowly from that alone: a fifth of its cross-entropy is added.
        """
        chosen = {"female": male < 0.5, "male": male > 0.5, "both": male > -1}
        losses = []
        for who, rows in chosen.items():
            if rows.any():
                raw = network.regression[who](features[rows])[:, 0].float()
                losses += [nn.functional.l1_loss(raw, months[rows] / HALF_RANGE_MONTHS - 1) * 3]
                shares = network.expectation[who](features[rows]).float()
                losses += [expectation_loss(shares, months[rows]) / 5]
        return cast(Tensor, sum(losses)) / len(losses)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Mean absolute error, mirrored and not, averaged."""
        image, male, months, *_ = batch
        network = cast(AgeNetwork, self.network)
        if self.member.architecture.also_sex:
            logit = sum(network.sex_head(network.backbone(view))[:, 0] for view in (image, image.flip(-1)))
            self.auroc.update(cast(Tensor, logit).float(), male.int())
            self.log("val_auroc", self.auroc, prog_bar=True)
        predicted = self.network(image, male)
        if self.mirrored:
            predicted = (predicted + self.network(image.flip(-1), male)) / 2
        error = (predicted.float().clamp(0, 300) - months).abs().mean()
        self.log(self.metric, error, prog_bar=True, batch_size=len(months), sync_dist=True)


class SexTask(Task):
    """Sex. Validation metric: area under the curve (Deeplasia, supplement 2)."""

    metric = "val_auroc"
    higher_is_better = True

    def __init__(self, member: Member, minutes: float | None) -> None:
        super().__init__(member, minutes)
        self.auroc = BinaryAUROC()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Binary cross-entropy of the logit of male."""
        image, male, _ = batch
        loss = nn.functional.binary_cross_entropy_with_logits(self.network(image).float(), male)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect logits of the picture and its mirror image."""
        image, male, _ = batch
        logit = (self.network(image) + self.network(image.flip(-1))) / 2
        self.auroc.update(logit.float(), male.int())
        self.log(self.metric, self.auroc, prog_bar=True)
