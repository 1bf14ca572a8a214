"""Fanciulli & Motisi, RSNA Bone Age Assessment Challenge, University of Pisa, 2023/24.

A VGG16 with one regression output and no sex, on pictures cropped by landmarks, windowed and equalised.
"""

from dataclasses import replace

from ..preprocessing.prepare import InputSpec
from ..preprocessing.steps import CropToPoints, Equalise, PadSquare, Resize, Scale, Upright, WindowFromPeak
from .deeplasia import HAND, LANDMARKS, REDRAW, SEX_CHECK
from .schema import Architecture, Member, Recipe, TrainingPlan
from .small_budget import SMALL


def windowed(side_px: int) -> InputSpec:
    """Section 2.1.2: crop to the landmarks, window, equalise, square, resize."""
    steps = (Upright(30.0), CropToPoints(), WindowFromPeak(), Equalise(), PadSquare(), Resize(side_px))
    return InputSpec(side_px, steps, Scale())


# Case b, their best: Adam 1e-5, L2 1e-3, batch 32, 20 epochs, balanced by turning rare ages by up to 20 degrees.
PAPER = TrainingPlan(
    epochs=20,
    batch_size=32,
    learning_rate=1e-5,
    optimiser="adam",
    weight_decay=1e-3,
    loss="mse",
    augment="turned",
    images=("sharp",),
    evenly=True,
)

RVGG16 = Member(
    name="rvgg16_l2",
    architecture=Architecture("vgg16_quarter", hidden=(256,), sex_features=0, output="regression"),
    input=windowed(112),
    training=replace(SMALL, thumbnails_at_most=4000, evenly=True, sharp_share=None),
)
ATTENTION = replace(
    RVGG16,
    name="rvgg16_l2_attention",
    architecture=replace(RVGG16.architecture, backbone="vgg16_quarter_attention"),
)


def at_full_size(member: Member, backbone: str) -> Member:
    """The same network with VGG16's own widths at 399 px."""
    architecture = replace(member.architecture, backbone=backbone)
    return replace(member, name=f"{member.name}_399", architecture=architecture, input=windowed(399), training=PAPER)


RECIPE = Recipe(
    name="fanciulli_motisi2024",
    title="Fanciulli & Motisi 2024",
    citation="Fanciulli G, Motisi GA. RSNA Bone Age Assessment Challenge. Computing Methods for Experimental Physics "
    "and Data Analysis, University of Pisa, 2023/24",
    hand=HAND,
    redraw=REDRAW,
    points=LANDMARKS,
    points_needed=False,
    members=(RVGG16,),
    sex=SEX_CHECK,
    landmarks=LANDMARKS,
    untrained_members=(ATTENTION, at_full_size(RVGG16, "vgg16"), at_full_size(ATTENTION, "vgg16_attention")),
    notes=(
        "VGG16's blocks with a quarter of its channels at 112 px, in place of all of them at 399 px.",
        "Landmarks by this project's network, in place of MediaPipe's.",
        "The sex is not used: the estimate is the same for girls and boys.",
    ),
)
