"""Malanga et al., Journal of Health Informatics 2024;16 Especial, doi:10.59681/2175-4411.v16.iEspecial.2024.1361.

A classifier of four age groups for each sex, then a regressor for the group, all on frozen features.
"""

from dataclasses import replace

from ..preprocessing.picture import Step
from ..preprocessing.prepare import InputSpec
from ..preprocessing.steps import (
    CropToHand,
    Equalise,
    LargestObject,
    MaskBackground,
    PadSquare,
    Resize,
    Standardise,
    Upright,
)
from .deeplasia import HAND, LANDMARKS, LITE0, REDRAW, SEX_CHECK
from .schema import AGE_GROUPS_MONTHS, Architecture, Member, Recipe, TrainingPlan


def equalised(side_px: int, frame: Step) -> InputSpec:
    """Background removed, the largest object kept, histogram equalised, in a square."""
    steps = (Upright(), MaskBackground(), LargestObject(), Equalise(), frame, Resize(side_px))
    return InputSpec(side_px, steps, Standardise())


# Methods: heads of 1024 and 512 with dropout 0.2; the rate follows a cosine; epochs by early stopping.
SMALL = TrainingPlan(
    epochs=40,
    batch_size=64,
    learning_rate=5e-4,
    weight_decay=1e-3,
    loss="mae",
    augment="",
    images=("thumbnails", "sharp"),
    init="start",
)

GROUPED = Member(
    name="malanga_grouped",
    architecture=Architecture(LITE0, heads="grouped", hidden=(1024, 512), sex_features=0),
    input=equalised(160, CropToHand(1.1)),
    training=SMALL,
    eight_bit=True,
)
PUBLISHED = replace(
    GROUPED,
    name="malanga_grouped_500",
    architecture=Architecture("tf_efficientnetv2_l", heads="grouped", hidden=(1024, 512), sex_features=0),
    input=equalised(500, PadSquare()),
    training=replace(SMALL, epochs=100, images=("sharp",), init="imagenet"),
)

RECIPE = Recipe(
    name="malanga2024",
    title="Malanga 2024",
    citation="Malanga RG et al. Bone age prediction from carpal radiographic images using deep learning. "
    "J Health Inform 2024;16 Especial. doi:10.59681/2175-4411.v16.iEspecial.2024.1361",
    hand=HAND,
    redraw=REDRAW,
    members=(GROUPED,),
    sex=SEX_CHECK,
    landmarks=LANDMARKS,
    age_groups_months=AGE_GROUPS_MONTHS,
    untrained_members=(PUBLISHED,),
    notes=(
        "The frozen features are those of EfficientNet-Lite0 as it learnt bone age here (`start`), not of "
        "EfficientNetV2-L as it learnt photographs: no such weights can be had on the machines this was made on.",
        "160 px in place of 500, cropped to the hand to make up for it.",
    ),
)
