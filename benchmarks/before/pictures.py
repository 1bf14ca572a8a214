"""Points that one file answers: reading, finding the hand, refusals. Drawn hands, changed on purpose."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from baa_core.phantom import EXAMPLES, Phantom, draw_phantom, to_png
from tests import encodings, everyday
from tests.encodings import CASES, DARK, dicom_bytes, encoded, twelve, twin
from tests.everyday import png
from tests.unit.hand.test_cut import without_thumb, without_tips, without_wrist
from tests.unit.hand.test_segmentation import dice, turned
from tests.unit.io.test_damage import DAMAGED
from train.hand.collimation import collimated, cut_out, draw_hands
from train.reports.robustness import PICTURE_FAULTS

from .rows import Checkout, Row, Seen, codes, near, pixels_of, read_like, refused, told, words_of

IN_SECOND = "tests/e2e/test_encodings.py::"
READ = "tests/unit/io/test_encodings.py::test_read_like_the_plain_picture"
EVERYDAY = "tests/e2e/test_everyday.py::"
LIKE_PLAIN = "the plain one's pixels or months"
MOST_EVERYDAY = 8.0  # as in tests/e2e/test_everyday.py


@cache
def drawn(months: float = 120.0, seed: int = 3, height_px: int = 500, sex: str = "female") -> Phantom:
    """A hand that both checkouts are asked about."""
    return draw_phantom(months, sex, seed=seed, height_px=height_px, markers=False)  # type: ignore[arg-type]


@cache
def bright() -> NDArray[np.float64]:
    """Its greys from 0 to 1, bone bright."""
    pixels = drawn().radiograph.pixels.astype(np.float64)
    return (pixels - pixels.min()) / np.ptp(pixels)


@cache
def plain_twins() -> tuple[bytes, bytes]:
    """The plain picture in 8 bits and as a DICOM file of 12 bits: rounding alone moves the former answer by a month."""
    return twin(bright()), CASES["dicom_12"].make(bright())


def rows() -> Iterator[Row]:
    """All points of this file, in the report's order."""
    yield from polarity()
    yield from outlines()
    yield from oblique()
    yield from sex()
    yield from damaged()
    yield from contrast()
    yield from cut_off()
    yield from ages()
    yield from readings()
    yield from everyday_pictures()


def polarity() -> Iterator[Row]:
    kinds = {
        "monochrome2_CR": "MONOCHROME2 with dark bone",
        "monochrome2_window_DX": "MONOCHROME2 with a window, dark bone",
        "monochrome1_DX": "MONOCHROME1 with bright bone",
        "monochrome1_window_CR": "MONOCHROME1 with a window, bright bone",
        "slope_negative_window_CR": "RescaleSlope -10 with a window, bright bone stored",
        "slope_negative_monochrome1_window_DX": "RescaleSlope -10, MONOCHROME1, a window, dark bone stored",
        "monochrome2_inverse_DX": "PresentationLUTShape INVERSE with MONOCHROME2, dark bone",
        "monochrome1_identity_DX": "PresentationLUTShape IDENTITY with MONOCHROME1, bright bone",
    }
    for name, given in kinds.items():
        agrees = "identity" not in name and "inverse" not in name
        caution = "polarity_contradicted" if agrees else "polarity"
        look = near(*plain_twins(), caution=caution)(DARK[name].make(bright()))
        test = IN_SECOND + "test_the_picture_decides_about_polarity_whatever_the_header_says"
        yield Row("A1", given, f"the plain one's months, and `{caution}`", look, (test,))
    test = IN_SECOND + "test_every_encoding_gets_the_same_bone_age"
    look = near(*plain_twins())(CASES["slope_negative_window_CR"].make(bright()))
    yield Row("A1", "RescaleSlope -10 with a window, header right", "the plain one's months", look, (test,))


def mask_of(there: Checkout, content: bytes) -> tuple[NDArray[np.bool_] | None, dict]:
    """The hand mask that a checkout finds, and what it says."""
    file = there.file(content)
    answer = there("hand", file=file, out=f"{file}.npy")
    return (None, answer) if "refusal" in answer else (np.load(f"{file}.npy"), answer)


@cache
def frames(count: int = 24) -> list[tuple[bytes, NDArray[np.bool_]]]:
    """Drawn hands in synthetic collimated fields, with their true masks."""
    found = [cut_out(each) for each in draw_hands(range(90_000, 90_012), 400, marked_share=0.0)]
    hands = [each for each in found if each is not None]
    made = []
    for number in range(count):
        generator = np.random.default_rng((18, number))
        frame = collimated(hands[number % len(hands)], generator, hands, [], fill=(0.3, 0.8))
        made.append((png(frame.pixels), frame.mask > 0))
    return made


def outlines() -> Iterator[Row]:
    def fields(there: Checkout) -> Seen:
        scores, silent = [], 0
        for content, truth in frames():
            mask, said = mask_of(there, content)
            score = 0.0 if mask is None else dice(mask, truth)
            scores.append(score)
            silent += mask is not None and score < 0.93 and not {"outline_doubtful", "pose_rare"} & codes(said)
        lost = sum(score == 0.0 for score in scores)
        found = [score for score in scores if score]
        words = f"Dice {np.mean(found):.3f} where found, {silent} under 0.93 without a caution, {lost} refused"
        return Seen(words, bool(np.mean(found) >= 0.97) and not silent)

    test = "tests/unit/train/hand/test_collimation.py::test_hands_in_collimated_fields_are_outlined"
    expected = "Dice 0.97 in the mean, none wrong without a caution"
    yield Row("A3", "24 drawn hands in collimated fields", expected, fields, (test,))

    def tips(there: Checkout) -> Seen:
        lost, scores = [], []
        for label, months, sex, seed in EXAMPLES:
            hand = draw_phantom(months, sex, seed=seed)
            mask, _ = mask_of(there, to_png(hand.radiograph))
            tip, joint = (np.array(hand.landmarks[f"thumb{number}"]) for number in (4, 3))
            row, column = np.round(tip + 0.1 * (joint - tip)).astype(int)
            if mask is None or not mask[row, column]:
                lost.append(label)
            scores.append(0.0 if mask is None else dice(mask, hand.mask))
        words = f"{len(lost)} of {len(EXAMPLES)} lose it; least Dice {min(scores):.3f}"
        return Seen(words, not lost and min(scores) > 0.975)

    test = "tests/unit/hand/test_segmentation.py::test_every_drawn_example_is_one_whole_hand"
    yield Row(
        "A3", "tip of the thumb in the outlines of the drawn examples", "none lost, Dice over 0.975", tips, (test,)
    )


def oblique() -> Iterator[Row]:
    test = "tests/unit/hand/test_segmentation.py::test_an_oblique_hand_is_set_upright"
    pixels = drawn(24.0, seed=5).radiograph.pixels
    for degrees in (30, 45, 60, -40):

        def look(there: Checkout, degrees: int = degrees) -> Seen:
            upright, oblique = png(pixels), png(turned(pixels, degrees))
            hands = [mask_of(there, content)[1] for content in (upright, oblique)]
            reports = [there.assess(content) for content in (upright, oblique)]
            if any("refusal" in each for each in (*hands, *reports)):
                return Seen(words_of(next(each for each in (*hands, *reports) if "refusal" in each)), False)
            tilt = hands[1]["tilt_degrees"] - hands[0]["tilt_degrees"] - degrees
            wrong = abs((tilt + 180) % 360 - 180)
            first, second = (report["bone_age_months"] for report in reports)
            words = f"set upright {wrong:.0f} degrees wrong; {second:.1f} months (upright {first:.1f})"
            return Seen(words, wrong < 5 and abs(second - first) <= 2)

        given = f"hand of 24 months turned by {degrees} degrees"
        yield Row("A4", given, "under 5 degrees wrong, at most 2 months changed", look, (test,))


def sex() -> Iterator[Row]:
    def contradicted(there: Checkout) -> Seen:
        answer = there.assess(dicom_bytes(twelve(bright()), **encodings.TWELVE, PatientSex="M"), "female")
        return Seen(words_of(answer), "sex_contradicts_file" in codes(answer))

    test = "tests/unit/workflows/test_assess.py::test_a_header_of_the_other_sex_is_told_beside_the_number"
    yield Row("A6", "DICOM header says M, female entered", "`sex_contradicts_file`", contradicted, (test,))

    def both(there: Checkout) -> Seen:
        words, wider = [], []
        for months, kind, seed in ((120.0, "female", 3), (108.0, "male", 4)):
            content = to_png(drawn(months, seed, sex=kind).radiograph)
            unknown = there.assess(content, None)
            known = there.assess(content, unknown["sex_used"])
            share = unknown["sex_probability_male"]
            spans = [tuple(round(end) for end in answer["interval_months"]) for answer in (unknown, known)]
            words.append(f"{spans[0][0]} to {spans[0][1]}, by the predicted sex alone {spans[1][0]} to {spans[1][1]}")
            wider += [unknown["interval_months"] != known["interval_months"]] if 0.02 < share < 0.98 else []
        return Seen("; ".join(words), bool(wider) and all(wider))

    test = "tests/unit/workflows/test_assess.py::test_the_interval_of_an_unknown_sex_covers_both_estimates"
    expected = "another interval than that of the predicted sex alone"
    yield Row("A6", "sex unknown, both possible", expected, both, (test,))


def damaged() -> Iterator[Row]:
    test = "tests/unit/io/test_damage.py::test_damage_that_can_be_known_is_refused"
    for name, content in DAMAGED.items():

        def look(there: Checkout, content: bytes = content) -> Seen:
            answer = there("read", file=there.file(content, "hand.bin"))
            said = f"refused: {answer['refusal']}" if "refusal" in answer else "read, no word"
            return Seen(said, answer.get("foreseen", False))

        yield Row("A9", f"damaged file: {name.replace('_', ' ')}", "refused as damaged", look, (test,))
    test = "tests/unit/hand/test_outline.py::test_a_picture_that_was_changed_gets_no_number_in_silence"
    pixels = drawn(120.0, 1, sex="male").radiograph.pixels
    for name, change in PICTURE_FAULTS.items():
        look = told("outline_doubtful", "outline_unchecked", "pose_rare")(png(change(pixels)))
        yield Row("A9", f"picture changed: {name}", "a refusal, or a caution on outline or pose", look, (test,))


def encoded_like_plain(name: str) -> Callable[[Checkout], Seen]:
    """One encoding, with the caution that must come with it."""
    case = CASES[name]
    caution = next(iter(case.cautions), None)
    return read_like(*plain_twins(), edge_px=encodings.BAND_PX + 3, caution=caution)(case.make(bright()))


def contrast() -> Iterator[Row]:
    test = (IN_SECOND + "test_every_encoding_gets_the_same_bone_age", READ)
    for given, at in (("one label at full scale", np.s_[4:14, 4:24]), ("one dead pixel", np.s_[4, 20])):
        stored = twelve(0.5 * bright())
        stored[at] = 65535
        look = read_like(*plain_twins(), edge_px=encodings.BAND_PX + 3)
        held = "tests/unit/io/test_encodings.py::test_a_hand_that_uses_half_of_its_bits_keeps_its_greys_beside_a_label"
        for kind, content in (("DICOM", dicom_bytes(stored)), ("PNG", encoded(Image.fromarray(stored), "PNG"))):
            yield Row("B1", f"half of 12 bits in a 16-bit {kind}, {given}", LIKE_PLAIN, look(content), (held,))
    kinds = {
        "padding_far_above": "PixelPaddingValue 65535 around 12 bits",
        "padding_far_above_not_declared": "the same, not declared",
        "padding_range_high": "PixelPaddingRangeLimit far above",
        "padding_range": "padding range at 0 to 40",
        "padding_high": "padding at the greatest value",
        "padding_low": "padding at 0",
        "padding_high_window": "padding at the greatest value, with a window",
        "padding_signed_far_below": "padding of -30000 below signed values",
        "padding_signed_range": "padding range of signed values",
    }
    for name, given in kinds.items():
        yield Row("B1", given, LIKE_PLAIN, encoded_like_plain(name), test)


def cut_off() -> Iterator[Row]:
    hand = drawn(120.0, 10)
    test = "tests/unit/hand/test_cut.py::test_a_small_cut_widens_the_interval_and_says_by_how_much"
    plain = to_png(hand.radiograph)
    cuts = {
        "ends 0.06 hand lengths below the wrist": (without_wrist, 0.06, "wrist_cut_off"),
        "half of the last bone of the middle finger is cut off": (without_tips, 0.5, "cut_off"),
        "the last bone of the thumb is cut off": (without_thumb, 1.0, "cut_off"),
    }
    for given, (cut, amount, code) in cuts.items():
        content = png(cut(hand.radiograph.pixels, hand.landmarks, amount))
        look = near(plain, most=MOST_EVERYDAY, caution=code)(content)
        yield Row("B2", given, f"about the plain one's months, and `{code}`", look, (test,))
    yield Row(
        "B2", "the radial epiphysis is cut off", "refused", refused("HandCutOff")(
            png(without_wrist(hand.radiograph.pixels, hand.landmarks, -0.05))
        ), ("tests/unit/hand/test_cut.py::test_a_cut_that_takes_more_away_is_refused",),
    )  # fmt: skip
    test = "tests/unit/hand/test_segmentation.py::test_a_small_hand_is_found_in_any_surround"
    for months, kind in ((16.0, "male"), (18.0, "female"), (120.0, "male")):
        infant = drawn(months, 1, sex=kind)
        for surround in (0.0, 0.5, 1.0):
            frame = np.full((1500, 1500), surround, np.float32)
            frame[700:1200, 300:700] = infant.radiograph.pixels
            look = near(to_png(infant.radiograph), most=3.0)(png(frame))
            given = f"hand of {months:.0f} months in a third of a frame of grey {surround:g}"
            yield Row("B2", given, "the months of the crop", look, (test,))


def ages() -> Iterator[Row]:
    def far(there: Checkout) -> Seen:
        answer = there.assess(twin(bright()), "female", 300.0)
        return Seen(words_of(answer), "age_entry" in codes(answer) or answer.get("foreseen", False))

    test = "tests/unit/reporting/test_cautions.py::test_an_entry_far_from_the_estimate_is_to_be_checked"
    yield Row("C7", "25 years entered beside a hand of 10", "`age_entry`: check the entry", far, (test,))


def readings() -> Iterator[Row]:
    kinds = {
        "bare_without_preamble": "DICOM without preamble",
        "bare_without_mark": "DICOM without its mark",
        "bare_without_syntax": "DICOM without transfer syntax",
        "bare_implicit": "DICOM without file meta, implicit",
        "bare_explicit": "DICOM without file meta, explicit",
        "bare_big_endian": "DICOM without file meta, big endian",
        "bare_acr_nema": "ACR-NEMA",
        "dicom_jpeg_extended_12": "JPEG Extended of 12 bits",
        "dicom_jpeg_extended_bad_scan": "JPEG Extended, bad scan parameters",
        "dicom_jpeg_bad_scan": "JPEG Baseline, bad scan parameters",
        **{
            f"dicom_jpeg_2000_{bits}_{stream}_in_{header}": f"JPEG 2000 of {bits} bits, {stream}, header {header}"
            for bits in (12, 13, 16)
            for stream, header in (("unsigned", "signed"), ("signed", "unsigned"))
        },
        **{
            f"dicom_jpeg_2000_{bits}_header_wrongly_{sign}": f"JPEG 2000 of {bits} bits, header wrongly {sign}"
            for bits in (12, 13, 16)
            for sign in ("signed", "unsigned")
        },
        "dicom_left_justified": "HighBit 15 with BitsStored 12",
        "dicom_high_bit_15_but_low_values": "HighBit 15 with BitsStored 12, values in the lower bits",
        "dicom_too_few_bits_stored": "BitsStored 10 for values of 12 bits",
        **{
            name: f"a window that blanks the hand: {name[15:].replace('_', ' ')}" for name in CASES if "useless" in name
        },
        "window_sigmoid": "VOI LUT function SIGMOID",
        "tiff_16_white_is_zero": "WhiteIsZero TIFF of 16 bits",
        "tiff_16_white_is_zero_lzw": "the same, LZW",
        "tiff_16_white_is_zero_big_endian": "the same, big endian",
        "dicom_float_without_syntax": "float DICOM with broken file meta",
        "padding_signed_low": "signed padding, lowest value",
        "padding_signed_high": "signed padding, greatest value",
        "padding_signed_window": "signed padding, with a window",
        "padding_low_window": "padding at 0, with a window",
        "padding_not_declared": "padding at 0, not declared",
        "padding_high_not_declared": "padding at the greatest value, not declared",
    }  # fmt: skip
    test = (READ, IN_SECOND + "test_every_encoding_gets_the_same_bone_age")
    for name, given in kinds.items():
        look = encoded_like_plain(name)
        yield Row("E reading", given, LIKE_PLAIN, look, test)

    def around(there: Checkout) -> Seen:
        field = np.zeros((700, 600))
        field[100:600, 100:500] = 1 - bright()
        content = dicom_bytes(twelve(field), **encodings.TWELVE, PhotometricInterpretation="MONOCHROME1")
        return near(*plain_twins(), most=2.0)(content)(there)

    given = "MONOCHROME1 without a window, a bright plate around the hand"
    test = IN_SECOND + "test_a_bright_plate_around_the_hand_is_no_part_of_it"
    yield Row("E reading", given, "the plain one's months", around, (test,))

    def kept(there: Checkout) -> Seen:
        hand = encodings.drawn_hand()
        plain = there("read", file=there.file(twin(), "hand.bin"))
        away = np.s_[15:, encodings.BAND_PX :]
        right, wrong = 0, []
        for name, case in CASES.items():
            answer = there("read", file=there.file(case.make(hand), f"{name}.bin"))
            same = answer.get("shape") == plain["shape"] and np.abs(
                pixels_of(answer)[away] - pixels_of(plain)[away]
            ).max() <= case.most * 255 + 1 and tuple(answer["cautions"]) == case.cautions  # fmt: skip
            right += same
            wrong += [] if same else [name]
        return Seen(f"{right} of {len(CASES)} read like it", not wrong)

    yield Row("E reading", "one hand in every encoding", "all read like the plain picture", kept, (READ,))


def everyday_pictures() -> Iterator[Row]:
    hand = everyday.drawn_hand()
    plain = png(hand.pixels)

    def made(name: str) -> bytes:
        return png(everyday.VARIANTS[name](hand, np.random.default_rng(3)))

    like = (
        *(f"38% of a {kind} frame" for kind in ("black", "white", "grey")),
        *(f"28% of a {kind} frame" for kind in ("black", "white", "grey", "noise", "gradient")),
        "forearm twice as long", "forearm three times as long", "wide black borders", "wide white borders", "gamma 2",
        "burned-in text", "ring", "equalised", "strong unsharp", "photo of a screen",
    )  # fmt: skip
    test = EVERYDAY + "test_a_picture_that_a_person_reads_gets_about_the_months_of_the_plain_one"
    for name in like:
        yield Row(
            "E pictures", name, "within 8 months of the plain one", near(plain, most=MOST_EVERYDAY)(made(name)), (test,)
        )
    test = EVERYDAY + "test_what_can_move_the_estimate_is_said_beside_it"
    for name, code in (
        ("plaster to the knuckles", "foreign_material"), ("splint", "foreign_material"),
        ("thumb cut", "cut_off"), ("fingertip cut", "cut_off"),
        ("alignment grid", "grid_removed"), ("strong CLAHE", "strong_processing"),
    ):  # fmt: skip
        yield Row("E pictures", name, f"`{code}`", with_code(code, made(name)), (test,))
    test = EVERYDAY + "test_a_refusal_says_what_is_wrong_with_the_picture"
    for name, kinds in (
        ("touching hands", ("SeveralHands",)), ("page of four", ("SeveralPictures",)),
        ("page of six", ("SeveralPictures",)), ("screen of four", ("SeveralPictures",)),
    ):  # fmt: skip
        yield Row("E pictures", name, f"refused as {kinds[0]}", refused(*kinds)(made(name)), (test,))

    def small(there: Checkout) -> Seen:
        answer = there.assess(made("120 px copy"))
        said = answer.get("message", "")
        return Seen(words_of(answer), "refusal" not in answer or "100 px" in said or "at least" in said.lower())

    yield Row("E pictures", "120 px copy", "assessed, or refused with the least size", small, (test,))

    def bone_window(there: Checkout) -> Seen:
        answer = there.assess(made("bone window"))
        return Seen(words_of(answer), "hard window" in answer.get("message", ""))

    yield Row("E pictures", "hard bone window", "refused as a hard window", bone_window, (test,))

    def two(there: Checkout) -> Seen:
        one = drawn(120.0, 1, sex="male").radiograph.pixels
        other = drawn(120.0, 2, sex="male").radiograph.pixels
        both = png(np.hstack([one, np.zeros((500, 40), np.float32), other[:, ::-1]]))
        arguments = ["assess", there.file(both), "--sex", "male", "--json", "--hand", "left"]
        answer = there("command", arguments=arguments)
        said = "assessed" if answer["status"] == 0 else (answer["errors"] or answer["output"]).strip().split("\n")[-1]
        return Seen(said[:80], answer["status"] == 0)

    test = "tests/e2e/test_cli.py::test_of_two_hands_in_a_picture_the_named_one_is_assessed"
    yield Row("E pictures", "two hands on one radiograph, `--hand left`", "the left one is assessed", two, (test,))

    def second_cut(there: Checkout) -> Seen:
        one, other = (drawn(120.0, seed, sex="male").radiograph.pixels for seed in (1, 2))
        both = np.hstack([one, np.zeros((500, 40), np.float32), other[:, ::-1]])
        return near(png(one), most=3.0)(png(both[:, : both.shape[1] * 7 // 10]))(there)

    test = "tests/unit/hand/test_segmentation.py::test_a_second_hand_that_the_frame_cuts_off_is_no_choice_to_make"
    yield Row("E pictures", "a second hand cut by the edge", "the whole one's months", second_cut, (test,))

    def compressed(there: Checkout) -> Seen:
        stream = io.BytesIO()
        Image.fromarray(np.rint(bright() * 255).astype(np.uint8)).save(stream, "JPEG", quality=5)
        answer = there.assess(stream.getvalue())
        return Seen(words_of(answer), bool({"strong_compression", "compressed"} & codes(answer)))

    yield Row(
        "E also", "JPEG of quality 5", "`strong_compression`", compressed,
        ("tests/unit/io/test_io.py::test_strong_compression_is_told",),
    )  # fmt: skip

    def raw(there: Checkout) -> Seen:
        content = dicom_bytes(
            twelve(bright()), **encodings.TWELVE, Modality="DX", PresentationIntentType="FOR PROCESSING"
        )
        answer = there.assess(content)
        return Seen(words_of(answer), "raw_picture" in codes(answer))

    test = "tests/unit/io/test_damage.py::test_images_for_processing_are_marked_as_raw"
    yield Row("E also", "DICOM FOR PROCESSING", "`raw_picture`", raw, (test,))

    def heic(there: Checkout) -> Seen:
        content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(2000)
        answer = there("read", file=there.file(content, "hand.heic"))
        return Seen(answer.get("message", "read")[:90], "DICOM" in answer.get("message", ""))

    test = "tests/unit/io/test_io.py::test_a_telephones_heic_file_is_refused_with_what_to_export"
    yield Row("E also", "HEIC", "refused with what to export", heic, (test,))

    def begins(there: Checkout) -> Seen:
        whole = encodings.bare(bright(), implicit=True)
        answer = there("read", file=there.file(whole[: len(whole) // 2], "cut.dcm"))
        return Seen(answer.get("message", "read")[:90], "without its mark" in answer.get("message", ""))

    test = "tests/unit/io/test_damage.py::test_what_only_begins_like_bare_dicom_is_refused_in_true_words"
    yield Row("E also", "half of a bare DICOM file", "says that it is DICOM without its mark", begins, (test,))


def with_code(code: str, content: bytes):
    """A caution of this code beside the number."""

    def look(there: Checkout) -> Seen:
        answer = there.assess(content)
        return Seen(words_of(answer), code in codes(answer))

    return look
