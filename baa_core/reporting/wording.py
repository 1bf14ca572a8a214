"""Numbers and results as words, the same in every text."""

from __future__ import annotations

from ..types import ManualEdits, Sex, SexCheck


def percent(probability: float) -> str:
    """A probability in whole percent, "55 %". An estimated one is never certain: "<1 %" and ">99 %" at the ends."""
    if probability < 0.005:
        return "<1 %"
    return ">99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def sex_check_sentence(check: SexCheck, entered: Sex | None, probability_male: float) -> str:
    """What the check of the entered sex found, worded as a check of the entry.

    Args:
        check: as in `Report.sex_check`.
        entered: None if it was not.
        probability_male: of the sex networks.
    """
    if entered is None:
        return "Sex not checked: none was entered."
    if check == "not_checked":
        return f"Sex entered as {entered}; not checked, because a hand this young hardly tells it."
    other: Sex = "female" if entered == "male" else "male"
    probability = probability_male if entered == "male" else 1.0 - probability_male
    if check == "agrees":
        return f"Sex check: entered as {entered}; the radiograph agrees ({percent(probability)})."
    if check == "differs":
        return f"Sex check: entered as {entered}; the radiograph suggests {other} ({percent(1.0 - probability)})."
    return f"Sex check: entered as {entered}; inconclusive (probability of {entered}: {percent(probability)})."


def edits_words(edits: ManualEdits) -> str:
    """What was done to a picture by hand, in the order it was done; "" for nothing."""
    said = []
    if edits.crop is not None:
        left, top, right, bottom = edits.crop
        said.append(f"cropped to columns {left} to {right} and rows {top} to {bottom} of the file")
    if edits.quarter_turns:
        said.append(f"turned by {90 * edits.quarter_turns} degrees clockwise")
    if edits.mirrored:
        said.append("mirrored left to right")
    if edits.inverted is not None:
        said.append("greys inverted" if edits.inverted else "greys kept as in the file")
    return ", ".join(said)
