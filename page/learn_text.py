"""What the Learn tab says, and the facts that it sends to the browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from baa_core.explanation.robustness import OTHER_SEX, TRANSFORMS
from baa_core.phantom.lesson import HANDS, LARGEST_SEED
from baa_core.phantom.ossification import (
    CARPALS,
    EPIPHYSES,
    Fact,
    facts,
    fusion_orders,
    maturity_stages,
    slow_changes,
    sources,
)
from baa_core.phantom.series import LAST_MONTHS, STEP_MONTHS
from baa_core.reference.brush import POPULATION, REFERENCE, reference_rows
from baa_core.reporting.text import years_and_months
from baa_core.types import SEXES, Sex

from .learn_own import MOST_OWN, OwnHand

DRAWN = "drawn, no child"
TAG = f'<span class="baa-tag">{DRAWN}</span>'
# Single readers against the mean of six, radiographs of the RSNA challenge's test set.
READERS_MONTHS: Final = (4.8, 7.0)
READERS_SOURCE = "Scientific Reports 2025, doi:10.1038/s41598-025-20148-w, table 1"
READERS = (
    f"Published spread of readers: single readers differ by {READERS_MONTHS[0]:g} to {READERS_MONTHS[1]:.1f} months on "
    f"average from the mean of six readers, on the radiographs of the RSNA test set ({READERS_SOURCE}). Those were "
    "radiographs of children; the hands of a numbered set are drawn."
)
_BASIS = {"stated": "stated", "within": "within the range", "placed": "placed by the order"}
_EVENTS = {"appears": "Appears", "begins to fuse": "Begins to fuse", "fused": "Fused"}
_EPIPHYSIS = " epiphysis"


def _body(fact: Fact) -> str:
    """A centre inside a sentence: "the triquetrum", "the epiphysis of the third metacarpal"."""
    title = fact.title[0].lower() + fact.title[1:]
    return f"the {title}" if fact.kind != "epiphysis" else f"the epiphysis of the {title}"


def sentence(fact: Fact) -> str:
    """What happens, as a line of a list."""
    body = _body(fact)
    if fact.event == "begins to fuse":
        return f"{body} begins to fuse with its metaphysis"
    return f"{body} is fused" if fact.event == "fused" else f"{body} appears"


def happenings(sex: Sex) -> list[dict[str, Any]]:
    """Everything that changes in the hand of one sex, by age: months, centres, words, source and what is uncertain."""
    number = SEXES.index(sex)
    found = [
        {
            "months": fact.months[number], "centres": [fact.centre], "words": sentence(fact), "source": fact.source,
            "uncertain": fact.uncertain,
        }
        for fact in facts()
    ]  # fmt: skip
    groups = {
        "carpals_full_grown": [name for name in CARPALS if name != "sesamoid"],
        "capping": [name for name in EPIPHYSES if "phalanx" in name],
    }
    found += [
        {
            "months": change.months[number], "centres": groups.get(change.name, groups["capping"]),
            "words": change.title[0].lower() + change.title[1:], "source": change.source,
            "uncertain": change.uncertain,
        }
        for change in slow_changes()
    ]  # fmt: skip
    return sorted(found, key=lambda one: one["months"])


def bone_titles() -> dict[str, str]:
    """Every part that `phantom.bone_outlines` may name, in the field's terms."""
    names = {fact.centre: fact.title for fact in facts()}
    titles = {name: title.removeprefix("Distal ").capitalize() if name in ("radius", "ulna") else title
              for name, title in names.items()}  # fmt: skip
    whole = {name: f"Epiphysis of the {names[name][0].lower()}{names[name][1:]}" for name in EPIPHYSES}
    return titles | {f"{name}{_EPIPHYSIS}": title for name, title in whole.items()}


def about_centres() -> dict[str, str]:
    """One line for each centre: its ages for girls and boys, and the sources."""
    lines: dict[str, list[str]] = {}
    for fact in facts():
        girls, boys = (years_and_months(months) for months in fact.months)
        same = f"{_EVENTS[fact.event].lower()}: girls {girls}, boys {boys} ({fact.source})"
        lines.setdefault(fact.centre, []).append(same)
    return {
        name: ("Its epiphysis " if name in EPIPHYSES else "") + "; ".join(parts) + "." for name, parts in lines.items()
    }


def facts_json() -> str:
    """What the page's script shows beside the drawn hand."""
    return json.dumps(
        {
            "happenings": {sex: happenings(sex) for sex in SEXES},
            "titles": bone_titles(),
            "about": about_centres(),
            "stages": {
                sex: [
                    {
                        "name": stage.name, "from": stage.months[number][0], "to": stage.months[number][1],
                        "look_at": stage.look_at, "why": stage.why, "source": stage.source,
                        "uncertain": stage.uncertain,
                    }
                    for stage in maturity_stages()
                ]
                for number, sex in enumerate(SEXES)
            },
            "reference": {
                sex: [[row.chronological_age_months, row.sd_months] for row in reference_rows(sex)] for sex in SEXES
            },
        }
    )  # fmt: skip


HAND = f"""<div id="baa-learn-hand" class="bl" data-last="{LAST_MONTHS}" data-step="{STEP_MONTHS}">
<p class="bl-lead">A hand from birth to 19 years. {TAG} Move the age with the mouse, or with the arrow keys (3 months),
Page Up and Page Down (1 year). Point at a bone, or press Tab until the hand is marked and use the arrow keys, to read
its name.</p>
<div class="bl-controls">
<fieldset class="bl-choice"><legend>Sex</legend>
<label><input type="radio" name="bl-sex" value="female" checked> Girl</label>
<label><input type="radio" name="bl-sex" value="male"> Boy</label></fieldset>
<fieldset class="bl-choice"><legend>Show</legend>
<label><input type="radio" name="bl-mode" value="one" checked> One hand</label>
<label><input type="radio" name="bl-mode" value="sexes"> Girl and boy</label>
<label><input type="radio" name="bl-mode" value="ages"> Two ages</label>
<label><input type="radio" name="bl-mode" value="spread"> Children of one age</label>
<label><input type="radio" name="bl-mode" value="mine"> Beside the assessed radiograph</label></fieldset>
<div class="bl-slide"><label for="bl-age">Age <output id="bl-age-said" for="bl-age"></output></label>
<input type="range" id="bl-age" min="0" max="{LAST_MONTHS}" step="{STEP_MONTHS}" value="120"></div>
<div class="bl-slide" id="bl-other" hidden><label for="bl-age2">Second age <output id="bl-age2-said" for="bl-age2">
</output></label>
<input type="range" id="bl-age2" min="0" max="{LAST_MONTHS}" step="{STEP_MONTHS}" value="156"></div>
<div class="bl-slide"><label for="bl-sd">Early or late by <output id="bl-sd-said" for="bl-sd"></output></label>
<input type="range" id="bl-sd" min="-2" max="2" step="0.5" value="0"></div>
</div>
<p class="bl-fine" id="bl-sd-note"></p>
<div class="bl-body"><div class="bl-hands" aria-live="off">
<p class="bl-wait">The hands are on their way (once, about 1 MB).</p></div>
<div><p class="bl-bone" role="status" aria-live="polite">Point at a bone to read its name.</p>
<section class="bl-card"><h3 id="bl-changes-title">What changed</h3>
<div id="bl-changes" aria-live="polite"></div></section>
<section class="bl-card"><h3>Stage of maturity</h3><div id="bl-stage"></div></section></div></div>
<p class="bl-fine">All hands are drawn at the same size; in children the hand grows with age. SD: {escape(REFERENCE)}
({escape(POPULATION)}); bone age = age + SD score × SD. The drawn hand follows mean ages: a healthy child may be a year
or more ahead or behind, and its bones need not appear in this order.</p>
</div>"""


def _sources_list() -> str:
    return "".join(f"<li><b>{escape(key)}</b>: {escape(reference)}</li>" for key, reference in sources().items())


def _facts_table() -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(fact.title)}</th><td>{_EVENTS[fact.event]}</td>"
        f"<td>{years_and_months(fact.months[0])}</td><td>{years_and_months(fact.months[1])}</td>"
        f"<td>{escape(fact.source)}, {_BASIS[fact.basis]}</td>"
        f"<td>{escape(fact.says)}{f' <i>Uncertain: {escape(fact.uncertain)}</i>' if fact.uncertain else ''}</td></tr>"
        for fact in facts()
    )
    rows += "".join(
        f"<tr><th scope='row'>{escape(change.title)}</th><td>Complete</td><td>{years_and_months(change.months[0])}</td>"
        f"<td>{years_and_months(change.months[1])}</td><td>{escape(change.source)}</td>"
        f"<td>{escape(change.says)} <i>Uncertain: {escape(change.uncertain)}</i></td></tr>"
        for change in slow_changes()
    )
    return (
        '<div class="bl-scroll" tabindex="0" role="region" aria-label="Ossification table"><table class="bl-table">'
        "<thead><tr><th>Centre</th><th>Event</th><th>Girls</th><th>Boys</th><th>Source</th>"
        f"<th>The source says</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _stage_rows() -> str:
    return "".join(
        f"<tr><th scope='row'>{escape(stage.name)}</th><td>{_span(stage.months[0])}</td>"
        f"<td>{_span(stage.months[1])}</td><td>{escape(stage.look_at)}</td><td>{escape(stage.why)}</td>"
        f"<td>{escape(stage.source)}{f'. <i>{escape(stage.uncertain)}</i>' if stage.uncertain else ''}</td></tr>"
        for stage in maturity_stages()
    )


def _span(months: tuple[float, float]) -> str:
    low, high = months
    return f"{years_and_months(low) if low else 'birth'} to {years_and_months(high)}"


def _orders() -> str:
    return "".join(
        f"<li>{escape(', then '.join(order.order))} ({escape(order.source)}{', as drawn' if order.drawn else ''}). "
        f"<i>{escape(order.uncertain)}</i></li>"
        for order in fusion_orders()
    )


TIMELINE_NOTE = """<div class="bl"><h3>Ossification timeline</h3>
<p class="bl-fine" id="bl-line-note">A marker is the age at which a centre appears, a faint band the published range, a
thin line an open growth plate, a thick line its fusion. The vertical line is the bone age drawn above. Point at a
marker for its source.</p></div>"""


TABLES = f"""<div class="bl"><details><summary>Every age with its source ({len(facts())} rows)</summary>{_facts_table()}
</details><details><summary>Stages after Gilsanz and Ratib</summary><div class="bl-scroll" tabindex="0" role="region"
aria-label="Stages"><table class="bl-table"><thead><tr><th>Stage</th><th>Girls</th><th>Boys</th><th>Look at</th>
<th>Why</th><th>Source</th></tr></thead><tbody>{_stage_rows()}</tbody></table></div></details>
<details><summary>Order of fusion</summary><ul>{_orders()}</ul></details>
<details><summary>Sources</summary><ul>{_sources_list()}</ul></details></div>"""


LESSON = f"""<div id="baa-learn-lesson" class="bl" data-hands="{HANDS}"
data-readers="{READERS_MONTHS[0]:g} to {READERS_MONTHS[1]:.1f} months">
<p class="bl-lead">Estimate, then reveal. {TAG} Ten drawn hands between 2 and 18 years. Type the bone age you read; then
the drawn bone age, the system's estimate and your error are shown. Your answers stay in this browser. One number always
gives the same ten hands: a class that opens the link sees the same set.</p>
<form class="bl-row" id="bl-begin"><label for="bl-seed">Set number
<input id="bl-seed" type="number" min="0" max="{LARGEST_SEED}" step="1" required disabled data-until-begun></label>
<button type="submit" class="bl-button bl-primary" disabled data-until-begun>Start the lesson</button>
<button type="button" class="bl-button" id="bl-worksheet" disabled data-until-begun>Worksheet (PDF)</button></form>
<p class="bl-fine">Link to this set: <a id="bl-link" href="?lesson=1"></a></p>
<div id="bl-said" role="status" aria-live="polite"></div>
<div id="bl-reading" hidden><h3 id="bl-which"></h3>
<div class="bl-two"><figure class="bl-figure"><div class="bl-frame">{TAG}<img id="bl-picture" alt=""></div></figure>
<div><form class="bl-row" id="bl-answer"><label for="bl-years">Years
<input id="bl-years" type="number" min="0" max="20" step="1" inputmode="numeric"></label>
<label for="bl-months">Months <input id="bl-months" type="number" min="0" max="11" step="1" inputmode="numeric"></label>
<button type="submit" class="bl-button bl-primary" id="bl-reveal">Reveal</button></form>
<div id="bl-truth" aria-live="polite"></div>
<button type="button" class="bl-button bl-primary" id="bl-next" hidden>Next hand</button></div></div></div>
<div id="bl-score" hidden></div>
<p class="bl-fine" id="bl-readers">{escape(READERS)}</p></div>"""


OWN = f"""<p class="baa-fine">Choose up to {MOST_OWN} radiographs together with one CSV table with the columns file, sex
(F or M) and bone_age_months. They are kept in memory only, and forgotten when you leave or after an hour. Use
radiographs that name nobody.</p>"""


def own_taken(hands: Sequence[OwnHand]) -> str:
    """That the radiographs are there, with the button that begins the lesson with them."""
    return (
        f'<div class="bl bl-row" role="status"><span>Radiographs with a label: {len(hands)}.</span> <button '
        f'type="button" class="bl-button bl-primary" id="bl-own" data-hands="{len(hands)}">Start the lesson with these'
        "</button></div>"
    )


_CHOICES = "".join(
    f'<label><input type="radio" name="bl-change" value="{escape(name)}"{" checked" if not number else ""}> '
    f"{escape(name.capitalize())}</label>"
    for number, name in enumerate(("marker added", *(n for n in TRANSFORMS if n != "marker added"), OTHER_SEX))
)
LIMITS = f"""<div id="baa-learn-limits" class="bl">
<p class="bl-lead">What misleads the system? {TAG} The bone age of this hand does not change: a girl of 10 years. Change
the picture in a way that should not matter and see how far the estimate moves.</p>
<fieldset class="bl-choice"><legend>Change</legend>{_CHOICES}</fieldset>
<p><button type="button" class="bl-button bl-primary" id="bl-try" disabled data-until-begun>Assess the changed
hand</button></p>
<div id="bl-tried" aria-live="polite"></div>
<p class="bl-fine">The changes are those of Santomartino et al. (Radiology: Artificial Intelligence 2024,
doi:10.1148/ryai.230240), under which the winner of the 2017 challenge erred. "Other sex": the same picture, entered as
a boy. A heatmap shows which pixels moved the number. It is not a finding: a bright place is not a lesion, and a dark
place was not checked.</p></div>"""
