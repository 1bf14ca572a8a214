"""Iglovikov et al., DLMIA 2018, LNCS 11045:300-308, doi:10.1007/978-3-030-00889-5_34.

Hand masks by a U-Net, three key points, registration, and VGG networks for three regions of the registered hand.
"""

from dataclasses import replace
from typing import Literal

from ..preprocessing.picture import Step
from ..preprocessing.prepare import InputSpec
from ..preprocessing.steps import (
    REGISTERED_SHAPE,
    CropToHand,
    CutRegion,
    FitInto,
    MaskBackground,
    PadSquare,
    Register,
    Resize,
    Scale,
    Standardise,
    StretchContrast,
    Upright,
)
from ..types import Sex
from .deeplasia import HAND, LANDMARKS, REDRAW, SEX_CHECK
from .schema import Architecture, Member, Recipe, TestTimeAugmentation, TrainingPlan
from .small_budget import SMALL

UNET = Member(
    name="iglovikov_unet",
    architecture=Architecture("unet", task="mask", hidden=(12,), sex_features=0),
    input=InputSpec(192, (Upright(), PadSquare(), Resize(192)), Standardise()),
    training=TrainingPlan(
        epochs=6,
        batch_size=16,
        learning_rate=2e-3,
        loss="mask",
        augment="outlined",
        images=("sharp",),
    ),
)

KEY_POINTS = Member(
    name="iglovikov_key_points",
    architecture=Architecture(
        "vgg_elu_three",
        task="landmarks",
        hidden=(256, 128),
        sex_features=0,
        points=("middle_finger4", "thumb4", "capitate"),
    ),
    input=InputSpec(
        130,
        (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.1, square=False), FitInto(130, 100)),
        Scale(),
        width_px=100,
    ),
    training=TrainingPlan(
        epochs=60,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=1e-4,
        loss="mse",
        augment="pointed",
        images=("thumbnails", "sharp"),
        average_decay=0.99,
        points_of="landmarks",
    ),
)

MASKED: tuple[Step, ...] = (MaskBackground(), StretchContrast())
UNPREPARED: tuple[Step, ...] = ()
# The parts of the registered frame, by eye from the paper's figure 2: rows and columns of 2080 x 1600.
REGIONS: dict[str, tuple[Step, ...]] = {
    "a": (),
    "b": (CutRegion(0.649, 0.986, 0.219, 0.781),),
    "c": (CutRegion(0.264, 0.721, 0.156, 0.844),),
}
SMALL_SHAPES = {"a": (112, 86), "b": (80, 104), "c": (88, 100)}
SMALL_REGISTERED_PX = 416
PAPER_SHAPES = {"a": REGISTERED_SHAPE, "b": (701, 899), "c": (951, 1101)}


def registered(region: str, height_px: int, shape: tuple[int, int]) -> InputSpec:
    """One region of the masked and registered hand."""
    steps: tuple[Step, ...] = (*MASKED, Register(height_px), *REGIONS[region], FitInto(*shape))
    return InputSpec(shape[0], steps, Scale(), width_px=shape[1])


WHOLE_TRAINING = replace(SMALL, augment="light_registered")
# Carpals and metacarpals begin as the whole hand's network, and see fewer of the thumbnails, which show little of them.
PART_TRAINING = replace(WHOLE_TRAINING, init="iglovikov_a", thumbnails_at_most=4000)
TRAINING = {"a": WHOLE_TRAINING, "b": PART_TRAINING, "c": PART_TRAINING}
# Section 2.3: mean absolute error, zoom, rotation and shift; optimiser and rates are not given.
PAPER = TrainingPlan(
    epochs=100,
    batch_size=16,
    learning_rate=1e-3,
    optimiser="adam",
    schedule="plateau",
    loss="mae",
    augment="light_registered",
    images=("sharp",),
)


def region_member(region: str) -> Member:
    """The small network of one region, with the six models as its heads."""
    return Member(
        name=f"iglovikov_{region}",
        architecture=Architecture("vgg_elu_six_small", heads="six", hidden=(128,), sex_features=0),
        input=registered(region, SMALL_REGISTERED_PX, SMALL_SHAPES[region]),
        training=TRAINING[region],
    )


KINDS: dict[str, Literal["regression", "expectation"]] = {"regression": "regression", "classification": "expectation"}
PEOPLE: dict[str, tuple[Sex, ...]] = {"female": ("female",), "male": ("male",), "both": ("female", "male")}
# The paper's 18 models, each a network of its own.
EIGHTEEN = tuple(
    Member(
        name=f"iglovikov_{region}_{kind}_{who}",
        architecture=Architecture("vgg_elu_six", hidden=(512,), sex_features=0, output=output),
        input=registered(region, REGISTERED_SHAPE[0], PAPER_SHAPES[region]),
        training=PAPER,
        paper=PAPER,
        sexes=sexes,
    )
    for region in REGIONS
    for kind, output in KINDS.items()
    for who, sexes in PEOPLE.items()
)

# The paper's ablation of the preparation, for region A: the picture as it is, masked, and (above) registered.
ABLATION = tuple(
    replace(
        region_member("a"),
        name=f"iglovikov_a_{name}",
        input=InputSpec(SMALL_SHAPES["a"][0], (*steps, FitInto(*SMALL_SHAPES["a"])), Scale(), SMALL_SHAPES["a"][1]),
    )
    for name, steps in (("raw", UNPREPARED), ("masked", MASKED))
)
RECIPE = Recipe(
    name="iglovikov2018",
    title="Iglovikov 2018",
    citation="Iglovikov VI et al. Paediatric bone age assessment using deep convolutional neural networks. "
    "DLMIA 2018, LNCS 11045:300-308. doi:10.1007/978-3-030-00889-5_34",
    hand=HAND,
    redraw=REDRAW,
    mask=UNET,
    points=KEY_POINTS,
    members=tuple(region_member(region) for region in REGIONS),
    sex=SEX_CHECK,
    landmarks=LANDMARKS,
    # Registration has mirrored what needs it.
    views=TestTimeAugmentation(mirror=False),
    untrained_members=(*EIGHTEEN, *ABLATION),
    notes=(
        "Six models of a region share their convolutions here; in the paper each of the 18 is a network of its own.",
        "112 px high in place of 2080.",
        "The networks for points and regions learned on hands outlined by the network that finds the hand. They are "
        "served, as in the paper, on the U-Net's outlines: on 49 sharp val radiographs months then differ by 1.3 on "
        "average, and the mean absolute error is 9.9 in place of 9.0 months (standard error of the difference 0.8).",
    ),
)
