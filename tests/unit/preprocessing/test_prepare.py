from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import pytest

from baa_core.preprocessing import clustering
from baa_core.preprocessing.picture import Picture
from baa_core.preprocessing.prepare import InputSpec, ModelInput, SharedSteps, apply_steps, prepare
from baa_core.preprocessing.steps import CropToHand, MaskBackground, Resize, Standardise, StretchContrast, Upright
from baa_core.recipes import RECIPES
from baa_core.recipes.schema import Recipe
from baa_core.types import HandMask, Radiograph
from tests.unit.preprocessing.test_clustering import QUICK

SPEC = InputSpec(96, (MaskBackground(), StretchContrast(), Upright(), CropToHand(1.15), Resize(96)), Standardise())


def hand(tilt_degrees: float = 0.0, inverted: bool = False) -> tuple[Radiograph, HandMask]:
    """A striped ellipse on a grey radiograph, and its mask."""
    mask = np.zeros((300, 240), np.uint8)
    cv2.ellipse(mask, (120, 150), (70, 120), 0, 0, 360, 1, -1)
    stripes = 0.5 + 0.3 * np.sin(np.arange(300) / 9.0)[:, None]
    pixels = np.where(mask, stripes, 0.2).astype(np.float32)
    return Radiograph(1 - pixels if inverted else pixels), HandMask(mask.astype(bool), 1.0, tilt_degrees, inverted)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_member_gets_its_shape_and_range(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "cluster_hand", partial(clustering.cluster_hand, plan=QUICK))
    radiograph, mask = hand()
    rows, columns = np.nonzero(mask.pixels)
    top, bottom, middle, right = rows.min(), rows.max(), columns.mean(), columns.max()
    points = {
        "middle_finger4": (top, middle),
        "thumb4": ((top + bottom) / 2, right),
        "capitate": (bottom - 40.0, middle),
    }
    for member in recipe.members_in_use:
        made = prepare(radiograph, mask, member.input, points)
        assert made.image.shape == (1, 1, *member.input.shape) and made.mask.shape == member.input.shape
        assert made.image.dtype == np.float32
        if isinstance(member.input.normalise, Standardise):
            assert float(made.image.mean()) == pytest.approx(0, abs=1e-3)
            assert float(made.image.std()) == pytest.approx(1, abs=1e-3)
        else:
            assert -1 <= made.image.min() < made.image.max() <= 1


def test_polarity_does_not_move_the_input() -> None:
    right, wrong = prepare(*hand(), SPEC), prepare(*hand(inverted=True), SPEC)
    assert wrong.image == pytest.approx(right.image, abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_exposure_does_not_move_the_input(scale: float) -> None:
    """Another window or bit depth only stretches the greys, and the contrast step undoes that."""
    radiograph, mask = hand()
    rescaled = np.round((0.1 + scale * 0.8 * radiograph.pixels) * 65535).astype(np.uint16)
    other = prepare(replace(radiograph, pixels=(rescaled / np.float32(65535)).astype(np.float32)), mask, SPEC)
    assert other.image == pytest.approx(prepare(radiograph, mask, SPEC).image, abs=0.02)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_turned_picture_gives_the_same_input(quarter_turns: int) -> None:
    radiograph, mask = hand()
    turned = Radiograph(np.ascontiguousarray(np.rot90(radiograph.pixels, quarter_turns)))
    turned_mask = HandMask(
        np.ascontiguousarray(np.rot90(mask.pixels, quarter_turns)), 1.0, -90.0 * quarter_turns, False
    )
    assert prepare(turned, turned_mask, SPEC).image == pytest.approx(prepare(radiograph, mask, SPEC).image, abs=0.1)


def test_what_training_sees_is_what_serving_normalises() -> None:
    radiograph, mask = hand(tilt_degrees=12.0)
    picture = apply_steps(radiograph, mask, SPEC)
    assert np.array_equal(SPEC.normalise(picture).pixels, prepare(radiograph, mask, SPEC).image[0, 0])


@pytest.mark.parametrize("tilt", [0.0, 30.0, 90.0, 180.0])
def test_a_map_comes_home_onto_the_hand(tilt: float) -> None:
    radiograph, mask = hand(tilt)
    made = prepare(radiograph, mask, SPEC)
    back = made.to_radiograph_grid(made.mask.astype(np.float32))
    assert back.shape == radiograph.shape
    overlap = ((back > 0.5) & mask.pixels).sum() / mask.pixels.sum()
    excess = ((back > 0.5) & ~mask.pixels).sum() / mask.pixels.sum()
    assert overlap > 0.98
    assert excess < 0.1  # the mask was widened on its way


def test_inputs_cannot_be_changed_by_their_holder() -> None:
    made: ModelInput = prepare(*hand(), SPEC)
    with pytest.raises(ValueError, match="read-only"):
        made.image[0] = 0


def test_inputs_of_several_sizes_take_their_first_steps_once_and_are_as_if_made_alone() -> None:
    calls: list[int] = []

    @dataclass(frozen=True)
    class Counted(MaskBackground):
        def __call__(self, picture: Picture) -> Picture:
            calls.append(1)
            return super().__call__(picture)

    shared, found = SharedSteps(), hand(10.0)
    for side_px in (96, 64):
        steps = (StretchContrast(), Upright(), CropToHand(1.15), Resize(side_px))
        alone = prepare(*found, InputSpec(side_px, (MaskBackground(), *steps), Standardise()))
        made = prepare(*found, InputSpec(side_px, (Counted(), *steps), Standardise()), shared=shared)
        assert np.array_equal(made.image, alone.image)
        assert np.array_equal(made.to_radiograph, alone.to_radiograph)
    assert len(calls) == 1
