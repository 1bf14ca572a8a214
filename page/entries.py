"""What a visitor enters: an upload, a sex and an age, and the boxes for them."""

from __future__ import annotations

import re
import time
from html import escape
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import uuid4

import gradio as gr
from gradio.components import Component

from baa_core.errors import InvalidPatient
from baa_core.io import read_radiograph
from baa_core.reporting.wording import edits_words
from baa_core.types import OLDEST_MONTHS, HandChoice, ManualEdits, Patient, Radiograph, Sex, parse_sex

from . import assess_text as text
from .assess_text import _number, age_in_words
from .examples import EXAMPLES

FORGET_AFTER_SECONDS = 3600
# Every event that runs networks: one at a time, whoever asks.
NETWORKS: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": 1}
SEXES = [("Female", "female"), ("Male", "male"), ("Unknown", "unknown")]


def showing(told: Component) -> dict[str, Any]:
    """Options of an event that only the page calls and that shows its progress on one component."""
    return {"api_visibility": "private", "show_progress_on": told}


def quietly(told: Component) -> dict[str, Any]:
    """Options of an event that only the page calls and that shows no progress.

    Args:
        told: a button or box with nothing in it. Gradio's script tells every component that progress is shown on how
            far each event is, hidden or not, at every event of the page, and reads all that lies in it for that. Left
            to itself it takes all outputs.
    """
    return showing(told) | {"show_progress": "hidden"}


class Entries(NamedTuple):
    """The components on the left.

    `token` holds `Upload.file` in the browser and is never seen; `empty` is pressed by the page's script alone, and
    empties sex and age.
    """

    chosen: gr.State
    token: gr.Textbox
    empty: gr.Button
    file: gr.File
    ready: gr.HTML
    use_offer: gr.Button
    sex: gr.Radio
    years: gr.Textbox
    months: gr.Textbox
    go: gr.Button
    examples: list[gr.Button]


def lay_out_entries() -> Entries:
    """File, sex, age, the button, examples."""
    chosen = gr.State(None, time_to_live=FORGET_AFTER_SECONDS)
    token = gr.Textbox("", visible="hidden")
    empty = gr.Button(visible="hidden", elem_id="baa-empty")
    file = gr.File(label="Hand radiograph", height=120, elem_id="baa-file")
    gr.HTML(text.FORMATS)
    ready = gr.HTML(elem_id="baa-ready")
    use_offer = gr.Button("Use sex and age from the file", visible=False, size="sm")
    sex = gr.Radio(SEXES, label="Sex", info=text.SEX_HELP, elem_id="baa-sex")
    with gr.Row():
        years, months = (
            gr.Textbox(label=f"Age: {unit}", placeholder="optional", min_width=110, max_lines=1, elem_id=f"baa-{unit}")
            for unit in ("years", "months")
        )
    gr.HTML(text.AGE_HELP)
    go = gr.Button("Assess", variant="primary", size="lg", elem_id="baa-assess", interactive=False)
    gr.HTML(text.EXAMPLES_LINE)
    with gr.Row(elem_classes="baa-example-row"):
        examples = [gr.Button(label, size="sm", min_width=90) for label in EXAMPLES]
    gr.HTML(text.PRIVACY)
    return Entries(chosen, token, empty, file, ready, use_offer, sex, years, months, go, examples)


def lay_out_outdated() -> None:
    """The line on top of a tab that says that its result is outdated; shown by the page's script (`entries.js`)."""
    gr.HTML(text.OUTDATED_LINE, elem_classes="baa-line-holder")


# With every event that the browser makes: the picture it shows and the time. The component `token` is the last input.
SAY = "(...inputs) => [...inputs.slice(0, -1), globalThis.baa?.say(inputs.at(-1)) ?? '']"
SAY_CHOSEN = "(...inputs) => [...inputs.slice(0, -1), globalThis.baa?.sayChosen(inputs.at(-1)) ?? '']"
# When another picture is chosen, in the browser alone: sex, age and earlier assessments as they are to be.
EMPTIED = "() => globalThis.baa?.emptied() ?? [null, '', '', '']"


def entered_age_months(years: str | float | None, months: str | float | None) -> float | None:
    """The chronological age typed into two boxes; None if both are empty.

    Years alone may have decimals, and months alone may be more than 12. Together they are whole years, and months
    under 12.

    Raises:
        InvalidPatient: a word, a negative number, decimals of a year beside months, 12 months or more beside years, or
            an age over 25 years.
    """
    full, rest = _number(years), _number(months)
    if full is None and rest is None:
        return None
    if full is not None and rest is not None:
        if full != int(full):
            raise InvalidPatient(
                f"{full:g} years and {rest:g} months is unclear: is part of the year meant twice? "
                "Give whole years and 0 to 11 months, or years alone."
            )
        if rest >= 12:
            raise InvalidPatient(
                f"{rest:g} months beside {full:g} years is unclear. Give 0 to 11 months, or months alone."
            )
    given = "" if full is None else f"{full:g} years"
    given += "" if rest is None else f"{' and ' if given else ''}{rest:g} months"
    age = 12 * (full or 0.0) + (rest or 0.0)
    if age > OLDEST_MONTHS:
        raise InvalidPatient(
            f"An age of {given} is not possible here. Give 0 to {OLDEST_MONTHS / 12:.0f} years, or 0 to "
            f"{OLDEST_MONTHS:.0f} months, or leave both empty."
        )
    return age


def age_boxes(months: float) -> tuple[str, str]:
    """An age as the two boxes want it: full years, and months to one decimal."""
    years, rest = divmod(round(months, 1), 12)
    return f"{years:g}", f"{rest:.1f}".removesuffix(".0")


class Upload(NamedTuple):
    """The picture about to be assessed, and what its file says about the child.

    `file` is different each time a picture or one of its hands is chosen or changed, also for the same file.
    """

    name: str
    content: bytes
    drawn: bool = False
    sex_in_file: Sex | None = None
    age_in_file_months: float | None = None
    file: str = ""
    hand: HandChoice | None = None
    edits: ManualEdits = ManualEdits()

    @property
    def options(self) -> dict[str, Any]:
        """What the networks' calls need beside the file: its name, which hand, and what was changed by hand, if any."""
        hand = {} if self.hand is None else {"hand": self.hand}
        return {"name": self.name, **hand, **({"edits": self.edits} if self.edits else {})}

    @property
    def about(self) -> str:
        """Which hand and what was changed by hand, to follow the name; "" for the picture as it came."""
        hand = [] if self.hand is None else [f"hand on the {self.hand} of the picture"]
        return "".join(f", {part}" for part in (*hand, edits_words(self.edits)) if part)

    def read(self) -> Radiograph:
        """The picture as it is to be assessed.

        Raises:
            UnreadableImage: see `read_radiograph`.
        """
        return read_radiograph(self.content, self.name, self.edits)


def new_file() -> str:
    """A name for a picture just chosen that no other has."""
    return uuid4().hex


class Entered(NamedTuple):
    """Everything a result belongs to: which picture, and the sex and age boxes as they stood.

    What is shown carries it, and the page's script (`entries.js`) compares it with what stands on the page now.
    `about` is `Upload.about`, and `suffix` the same for the name of a download.
    """

    file: str
    name: str
    sex: str
    years: str
    months: str
    about: str = ""
    suffix: str = ""

    def mark(self, html: str) -> str:
        """A card that knows what it belongs to."""
        values = {"file": self.file, "sex": self.sex, "years": self.years, "months": self.months}
        held = " ".join(f'data-baa-{key}="{escape(value)}"' for key, value in values.items())
        return f'<div class="baa-belongs" {held}>{html}</div>'

    def mark_picture(self, html: str) -> str:
        """A radiograph that belongs to its file, whatever else is entered."""
        return f'<div class="baa-belongs" data-baa-file="{escape(self.file)}">{html}</div>'

    @property
    def words(self) -> str:
        """File, sex and age in one line, as entered."""
        sex = f"sex entered: {self.sex}" if self.sex in ("female", "male") else "sex not known"
        months = entered_age_months(self.years, self.months)
        age = f"age entered: {age_in_words(months)}" if months is not None else "no age entered"
        return f"{self.name}{self.about}; {sex}; {age}"

    def download(self, what: str) -> str:
        """A name for a picture that is kept: file, sex and age, then what it is, ending in .png."""
        months = entered_age_months(self.years, self.months)
        age = [] if months is None else [f"{months:g}-months"]
        parts = [PurePath(self.name).stem, *([self.suffix] if self.suffix else []), self.sex or "unknown", *age, what]
        return re.sub(r"[^\w.-]+", "-", "_".join(parts)) + ".png"


def entered(chosen: Upload | None, sex: str | None, years: str | None, months: str | None) -> Entered:
    """The entries of one press of a button."""
    boxes = sex or "", str(years or "").strip(), str(months or "").strip()
    if chosen is None:
        return Entered("", "", *boxes)
    parts = (chosen.hand or "", "edited" if chosen.edits else "")
    return Entered(chosen.file, chosen.name, *boxes, chosen.about, "-".join(filter(None, parts)))


class Asked(NamedTuple):
    """What the browser says with an event: the picture on its page, and when, by its clock, in milliseconds.

    Attributes:
        file: `Upload.file` of the picture; None from outside a browser.
        at: when the event was made.
        emptied: sex and age were emptied when a file was chosen, before it was uploaded.
    """

    file: str | None
    at: float
    emptied: bool

    def is_of(self, chosen: Upload | None) -> bool:
        """The button was pressed for this picture, and not for one that another request has since replaced."""
        return self.file is None or self.file == (chosen.file if chosen else "")


def asked(said: str | None) -> Asked:
    """Read what `entries.js` sends: the picture, the time, and perhaps "emptied", separated by commas."""
    parts = (said or "").split(",")
    try:
        return Asked(parts[0], float(parts[1]), "emptied" in parts[2:])
    except (IndexError, ValueError):
        return Asked(None, time.time() * 1000, False)


def entered_patient(sex: str | None, years: str | None, months: str | None) -> Patient:
    """What was entered about the child.

    Raises:
        InvalidPatient: no sex was chosen, or the age makes no sense.
    """
    if sex is None:
        raise InvalidPatient("No sex has been chosen. Choose Female, Male or Unknown, and press the button again.")
    return Patient(parse_sex(sex), entered_age_months(years, months))
