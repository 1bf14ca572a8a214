"""Deeplasia (Rassmann et al., Pediatric Radiology 2024;54:82-95, doi:10.1007/s00247-023-05789-1)."""

from ..recipe import Architecture, InputSpec, Member, Recipe, TrainingPlan
from ..steps import CropToHand, MaskBackground, PadSquare, Resize, Standardise, StretchContrast, Upright


def masked_hand(side_px: int) -> InputSpec:
    """Deeplasia's input: hand cut out, upright, in a square with a margin, standardised."""
    steps = (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.15), Resize(side_px))
    return InputSpec(side_px, steps, Standardise())


def whole_frame(side_px: int) -> InputSpec:
    """The frame as it is, padded to a square: for finding the hand, and for a first training without a mask."""
    return InputSpec(side_px, (PadSquare(), Resize(side_px)), Standardise())


# Deeplasia, supplement 2: MSE, Adam 1e-3, plateau x0.2 after 10 epochs, weight decay 5e-6, batch 32.
PAPER = TrainingPlan(
    epochs=300, batch_size=32, learning_rate=1e-3, optimiser="adam", schedule="plateau", weight_decay=5e-6, loss="mse"
)

HAND = Member(
    name="hand",
    architecture=Architecture("fastsurfer", task="hand", hidden=(32,), sex_features=0),
    input=whole_frame(512),
    training=TrainingPlan(
        epochs=40, batch_size=16, learning_rate=4e-3, loss="mask", augment="film", images=("thumbnails", "sharp")
    ),
)

SEX_START = Member(
    name="sex_start",
    architecture=Architecture("tf_efficientnet_lite0", task="sex", hidden=(256,), sex_features=0),
    input=masked_hand(160),
    training=TrainingPlan(
        epochs=14,
        batch_size=32,
        learning_rate=5e-4,
        loss="bce",
        augment="light_degraded",
        images=("thumbnails", "sharp"),
        init="age_start",
    ),
)

SEX = Member(
    name="sex",
    architecture=Architecture("tf_efficientnet_lite0", task="sex", hidden=(256,), sex_features=0),
    input=masked_hand(224),
    training=TrainingPlan(
        epochs=40,
        batch_size=16,
        learning_rate=2e-4,
        weight_decay=1e-2,
        loss="bce",
        augment="light_degraded",
        init="sex_start",
        average_decay=0.99,
    ),
)

AGE_START = Member(
    name="age_start",
    architecture=Architecture("tf_efficientnet_lite0"),
    input=whole_frame(128),
    training=TrainingPlan(
        epochs=12,
        batch_size=64,
        learning_rate=1.5e-3,
        weight_decay=1e-2,
        images=("thumbnails",),
        init="imagenet",
        average_decay=0.99,
        augment="light",
        note="on whole thumbnails, before there are masks",
    ),
)

AGE = Member(
    name="lite0_320",
    architecture=Architecture("tf_efficientnet_lite0"),
    input=masked_hand(320),
    training=TrainingPlan(
        epochs=30,
        batch_size=16,
        learning_rate=5e-4,
        weight_decay=1e-2,
        init="age_start",
        average_decay=0.99,
        augment="light_degraded",
    ),
    paper=PAPER,
)

RECIPE = Recipe(
    name="deeplasia",
    title="Deeplasia",
    citation="Rassmann S et al. Deeplasia: deep learning for bone age assessment validated on skeletal dysplasias. "
    "Pediatr Radiol 2024;54:82-95. doi:10.1007/s00247-023-05789-1",
    hand=HAND,
    members=(AGE,),
    sex=SEX,
    start=(AGE_START, SEX_START),
)
