"""What a visitor brings: a file, and what was entered about the child."""

from __future__ import annotations

import re
import time
from html import escape
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import uuid4

from baa_core.errors import InvalidPatient
from baa_core.types import HandChoice, Patient, Sex, parse_sex

from .text import age_in_words, entered_age_months


class Chosen(NamedTuple):
    """The picture about to be assessed, and what its file says about the child.

    `file` is different each time a picture or one of its hands is chosen, also for the same file.
    """

    name: str
    content: bytes
    drawn: bool = False
    sex_in_file: Sex | None = None
    age_in_file_months: float | None = None
    file: str = ""
    hand: HandChoice | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the networks' calls need beside the picture: its name, and which hand if there was a choice."""
        return {"name": self.name} if self.hand is None else {"name": self.name, "hand": self.hand}


def new_file() -> str:
    """A name for a picture just chosen that no other has."""
    return uuid4().hex


class Entered(NamedTuple):
    """Everything a result belongs to: which picture, and the sex and age boxes as they stood.

    What is shown carries it, and the page's script (`entries.js`) compares it with what stands on the page now.
    """

    file: str
    name: str
    sex: str
    years: str
    months: str
    hand: str = ""

    def mark(self, html: str) -> str:
        """A card that knows what it belongs to."""
        values = {"file": self.file, "sex": self.sex, "years": self.years, "months": self.months}
        held = " ".join(f'data-baa-{key}="{escape(value)}"' for key, value in values.items())
        return f'<div class="baa-belongs" {held}>{html}</div>'

    @property
    def words(self) -> str:
        """File, sex and age in one line, as entered."""
        sex = f"sex entered: {self.sex}" if self.sex in ("female", "male") else "sex not known"
        months = entered_age_months(self.years, self.months)
        age = f"age entered: {age_in_words(months)}" if months is not None else "no age entered"
        hand = f", hand on the {self.hand} of the picture" if self.hand else ""
        return f"{self.name}{hand}; {sex}; {age}"

    def download(self, what: str) -> str:
        """A name for a picture that is kept: file, sex and age, then what it is, ending in .png."""
        months = entered_age_months(self.years, self.months)
        age = [] if months is None else [f"{months:g}-months"]
        parts = [PurePath(self.name).stem, *([self.hand] if self.hand else []), self.sex or "unknown", *age, what]
        return re.sub(r"[^\w.-]+", "-", "_".join(parts)) + ".png"


def entered(chosen: Chosen | None, sex: str | None, years: str | None, months: str | None) -> Entered:
    """The entries of one press of a button."""
    file, name, hand = (chosen.file, chosen.name, chosen.hand) if chosen is not None else ("", "", None)
    return Entered(file, name, sex or "", str(years or "").strip(), str(months or "").strip(), hand or "")


class Asked(NamedTuple):
    """What the browser says with an event: the picture on its page, and when, by its clock, in milliseconds.

    Attributes:
        file: `Chosen.file` of the picture; None from outside a browser.
        at: when the event was made.
        emptied: sex and age were emptied when a file was chosen, before it was uploaded.
    """

    file: str | None
    at: float
    emptied: bool

    def is_of(self, chosen: Chosen) -> bool:
        """The button was pressed for this picture, and not for one that another request has since replaced."""
        return self.file is None or self.file == chosen.file


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
