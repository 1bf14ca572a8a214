"""Li et al., Complex & Intelligent Systems 2022;8:1929-1939, doi:10.1007/s40747-021-00376-z (published 2021).

Each picture is segmented by a clustering fitted to itself; MobileNetV3 with the sex embedded estimates the age.
"""

from dataclasses import replace

from ..preprocessing.picture import Step
from ..preprocessing.prepare import InputSpec
from ..preprocessing.steps import CropToCluster, CropToHand, Equalise, Resize, Standardise, Upright
from .deeplasia import HAND, LANDMARKS, REDRAW, SEX_CHECK
from .schema import Architecture, Member, Recipe, TrainingPlan
from .small_budget import SMALL


def equalised(side_px: int, crop: Step) -> InputSpec:
    """Cropped to the hand's region and equalised, in a square."""
    return InputSpec(side_px, (Upright(30.0), crop, Equalise(), Resize(side_px)), Standardise())


# Details of training: SGD with momentum 0.9, rate divided by 10 every 30 epochs, batch 10, 160 epochs, squared error
# of the standardised age; the rate itself is not given.
PAPER = TrainingPlan(
    epochs=160,
    batch_size=10,
    learning_rate=1e-2,
    optimiser="sgd",
    schedule="steps",
    loss="mse",
    augment="default",
    images=("sharp",),
    init="imagenet",
)


def member(side_px: int, training: TrainingPlan) -> Member:
    """MobileNetV3-Large, the sex through a linear layer of 24 with ReLU, a hidden layer of 1304."""
    return Member(
        name=f"li_{side_px}",
        architecture=Architecture(
            "mobilenetv3_large_100", hidden=(1304,), sex_features=24, output="regression", dropout=0.0
        ),
        input=equalised(side_px, CropToCluster()),
        training=training,
        paper=PAPER,
        # Fitting a clustering to each of 12,000 pictures would take a day.
        learns_from=equalised(side_px, CropToHand(1.02)),
    )


SHIPPED = member(160, replace(SMALL, batch_size=32, weight_decay=1e-2, loss="mse", init="start"))

RECIPE = Recipe(
    name="li2021",
    title="Li 2021",
    citation="Li S et al. A deep learning-based computer-aided diagnosis method of X-ray images for bone age "
    "assessment. Complex Intell Syst 2022;8:1929-1939. doi:10.1007/s40747-021-00376-z",
    hand=HAND,
    redraw=REDRAW,
    members=(SHIPPED,),
    sex=SEX_CHECK,
    landmarks=LANDMARKS,
    untrained_members=tuple(member(side_px, PAPER) for side_px in (224, 500, 700)),
    notes=(
        "160 px in place of 700. No ImageNet weights can be had for MobileNetV3 on the machines this was made on: it "
        "begins with the strongest channels of our own EfficientNet-Lite0, whose blocks are wider.",
        "In training the hand is cropped by our mask, in use by the clustering; where that misses the hand, by the "
        "mask, with a caution.",
    ),
)
