"""The words of the Explain tab, as escaped HTML."""

from __future__ import annotations

from html import escape

from baa_core.explanation.methods import METHODS
from baa_core.explanation.region_effects import ELSEWHERE, OUTSIDE
from baa_core.explanation.report import Panel
from baa_core.explanation.robustness import OTHER_SEX
from baa_core.explanation.verdict import likeness_sentence
from baa_core.hand_anatomy import REGION_TITLES
from baa_core.reporting.overlays import OLDER, YOUNGER
from baa_core.reporting.text import years_and_months
from baa_core.types import DISCLAIMER

from .html import CHILD, DRAWN_TAG, buttons, json_link, please_note, table

METHOD_CHOICES = [(method.title, name) for name, method in METHODS.items()]
NO_REGION = ""
EMPTY = """
<section class="baa-card baa-empty" aria-live="polite">
  <p class="baa-empty-title">The explanation will appear here</p>
  <ol><li>Choose a radiograph and enter the sex, as for an assessment.</li>
  <li>Choose a method: each shows something else.</li>
  <li>Press Explain. It takes about 20 seconds on a small machine, and can be cancelled.</li></ol>
</section>
"""
STOPPED = """
<section class="baa-card baa-empty" role="status">
  <p class="baa-empty-title">Stopped</p>
  <p>No explanation was made, and nothing was kept. Press Explain to begin again.</p>
</section>
"""
# What each fold is called before there is an explanation; then a sentence says what came out.
REGIONS, JOINTS, TEXTBOOK = "What each region contributes", "What each joint says", "The textbook beside the networks"
FAITHFULNESS = "Does the map mark what moves the estimate?"
STABILITY = "Does the map stay the same under small changes?"
ROBUSTNESS = "What should not matter"
BARS_NOTE = """
<p class="baa-fine">The estimate minus the estimate without the region: filled in from the hand around it, or its
joints left out. Red to the right makes the hand older and blue to the left younger, as on the map. The grey band is the
range of as much hand elsewhere: a bar within it does not show that the region matters. By chance, a bar of one hand in
twenty leaves its band.</p>
"""
CURVES_NOTE = """
<p class="baa-fine">The hand is blurred step by step, and comes back step by step: once beginning with what the map
says speaks for an older hand, once with what speaks for a younger one. The wider the two lines of the map lie apart,
the more it knows; lines of random surrogate maps and of mere edges are drawn beside them.</p>
"""
ROBUSTNESS_NOTE = """
<p class="baa-fine">The same radiograph, changed in ways that leave the bones as they are, goes through the whole
assessment again: hand, quality, pose and estimate. The estimate should stay where it is. The other sex is shown for
comparison: there it may move.</p>
"""


def region_title(name: str) -> str:
    """A region as people call it."""
    return REGION_TITLES.get(name, name.replace("_", " ").capitalize())


def method_note(name: str) -> str:
    """What a method shows and what it cannot."""
    method = METHODS[name]
    return (
        f'<div class="baa-note" role="status"><p><strong>What it shows.</strong> {escape(method.shows)}</p>'
        f"<p><strong>Its limits.</strong> {escape(method.cannot)}</p></div>"
    )


def checked(panel: Panel) -> list[tuple[bool, str]]:
    """The checks made on this picture: passed or not, and what that means."""
    verdict = panel.verdict
    marks, stable = verdict.faithful, verdict.stable
    return [
        (marks, "Marks what moves the estimate" if marks else "Not shown to mark what moves the estimate"),
        (stable, "Stable under small changes" if stable else "Not stable under small changes"),
    ]


def plain_verdict(panel: Panel) -> str:
    """Whether the map can be relied on, in one short sentence and by its checks."""
    found = checked(panel)
    failed = sum(not passed for passed, _ in found)
    sentence = (
        f"Do not rely on this map: it failed {failed} of {len(found)} checks on this picture."
        if failed
        else "This map passed both checks on this picture."
    )
    items = "".join(f'<li class="baa-{"passed" if passed else "failed"}">{words}</li>' for passed, words in found)
    return f'<p class="baa-verdict">{sentence}</p><ul class="baa-checks">{items}</ul>'


def weightiest(panel: Panel) -> str:
    """Which regions stand out, in one sentence."""
    if not panel.strongest:
        return "No region contributes more to the estimate than as much hand elsewhere does."
    worth = (
        f"{region_title(name).lower()} {signed(panel.regions[name].contribution_months)} months"
        for name in panel.strongest
    )
    return f"These regions contribute more to the estimate than as much hand elsewhere: {', '.join(worth)}."


def signed(months: float) -> str:
    """Months with a sign, a true minus, and no minus before zero."""
    return f"{round(months, 1) + 0.0:+.1f}".replace("-", "−")


def card(panel: Panel, drawn: bool) -> str:
    """The card on top: what was explained, whether it can be relied on, cautions, disclaimer."""
    return f"""
<section class="baa-card baa-result" role="status" aria-live="polite" aria-label="Explanation">
  <p class="baa-eyebrow">{escape(METHODS[panel.explanation.method].title)}, explaining
  {years_and_months(panel.estimate_months)} ({panel.estimate_months:.1f} months) for {CHILD[panel.sex_used]}
  {DRAWN_TAG if drawn else ""}</p>
  {plain_verdict(panel)}
  <p>{escape(weightiest(panel))}</p>
  {please_note(panel.cautions)}
  <p class="baa-fine"><span>{escape(DISCLAIMER)}</span> <span>Made in {panel.seconds:.0f} seconds.</span>
  {download_link(panel)}</p>
</section>
"""


def networks_note(panel: Panel) -> str:
    """How alike the networks' maps are; "" for one network."""
    likeness = panel.explanation.member_agreement
    return "" if likeness is None else f'<p class="baa-fine">{escape(likeness_sentence(likeness))}</p>'


def download_link(panel: Panel) -> str:
    """A link that holds the panel as JSON."""
    return json_link(panel.to_dict(), "baa-panel-json", "bone-age-explanation.json")


def legend(method: str, full_months: float) -> str:
    """The colours of the map and what the full colour means.

    Args:
        method: of the map.
        full_months: at full colour, summed over one hundredth of the hand.
    """
    grey = " and unit of grey" if METHODS[method].per_grey else ""
    full, unit = f"{full_months:.2g}", f"months per hundredth of the hand{grey}"
    said = f"Blue speaks for younger, red for older; full colour is {full} {unit}"
    return (
        f'<div class="baa-legend" role="img" aria-label="{said}">'
        f"<span>−{full} younger</span>"
        f'<i style="background: linear-gradient(to right, {YOUNGER}, transparent, {OLDER})"></i>'
        f"<span>older +{full}</span>"
        f"<small>{unit}</small></div>"
    )


def picture(address: str, legend_html: str, region: str) -> str:
    """The radiograph with the signed map, the legend, and the chosen region said."""
    shown = "Radiograph with the signed map"
    if region:
        shown += f"; outlined: {region_title(region).lower()}"
    return f"""
<figure class="baa-picture">
  <img src="{address}" alt="{escape(shown)}">
  {legend_html}
  <figcaption><span>{escape(shown)}</span>{buttons("bone-age-map.png")}</figcaption>
</figure>
"""


def region_table(panel: Panel) -> str:
    """Each region's contribution, what chance leaves, and its share of the map."""
    rows, shares = [], {name: f"<td><span>{100 * share:.0f} %</span></td>" for name, share in panel.shares.items()}
    for name, effect in panel.regions.items():
        mark = "<strong>stands out</strong>" if effect.stands_out else ""
        months, low, high = map(
            signed, (effect.contribution_months, effect.chance_low_months, effect.chance_high_months)
        )
        rows.append(
            f"<tr><td>{escape(region_title(name))}</td><td><span>{months}</span> {mark}</td>"
            f"<td><span>{low}</span> to <span>{high}</span></td>{shares[name]}</tr>"
        )
    for name, title in ((ELSEWHERE, "Elsewhere in the hand"), (OUTSIDE, "Outside the hand")):
        rows.append(f"<tr><td>{title}</td><td></td><td></td>{shares[name]}</tr>")
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Region", "Contributes", "As much elsewhere", "Map"))
    return f"""
<table class="baa-table baa-regions">
<caption>Months that a region contributes to the estimate, and the range of as much hand elsewhere; the region's share
of the map.</caption>
<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>
"""


def joint_table(panel: Panel) -> str:
    """What each joint says and its share of the answer; "" without a network that reads joints."""
    if not panel.joints:
        return ""
    rows = "".join(
        f"<tr><td>{escape(reading.title[:1].upper() + reading.title[1:])}</td>"
        f"<td><span>{years_and_months(reading.months)} ({reading.months:.0f} months)</span></td>"
        f"<td><span>{100 * reading.share:.0f} %</span></td></tr>"
        for reading in panel.joints
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Joint", "Bone age by it alone", "Share"))
    return f"""
<p class="baa-fine">One network of the ensemble reads small pictures of joints and carpals at the radiograph's own
resolution. Each gives a bone age of its own, and the network's answer is pooled from them by these shares.</p>
<table class="baa-table baa-joints">
<caption>Bone age by each joint alone, before any correction, and its share of the network's answer.</caption>
<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
"""


def textbook(panel: Panel) -> str:
    """The regions the atlas looks at for this stage, beside those that moved the estimate."""
    stage = panel.textbook
    both = "<span>also the networks</span>"
    looked = "".join(
        f"<li>{escape(region_title(name))} {both if name in panel.strongest else ''}</li>" for name in stage.regions
    )
    also = "<span>also the atlas</span>"
    used = "".join(
        f"<li>{escape(region_title(name))}, {signed(panel.regions[name].contribution_months)} months "
        f"{also if name in stage.regions else ''}</li>"
        for name in panel.strongest
    )
    return f"""
<div class="baa-two">
  <div><p class="baa-eyebrow">The atlas, {escape(stage.name)} ({"girls" if stage.sex == "female" else "boys"} of
  {years_and_months(stage.from_months)} to {years_and_months(stage.to_months)})</p><ol>{looked}</ol>
  <p class="baa-fine">{escape(stage.sentence)} After {escape(stage.source)}.</p></div>
  <div><p class="baa-eyebrow">The networks, on this picture</p>
  {f"<ol>{used}</ol>" if used else "<p>No region stands out from as much hand elsewhere.</p>"}
  <p class="baa-fine">A network need not look where a reader does; where they differ, look again.</p></div>
</div>
"""


def robustness_table(panel: Panel) -> str:
    """Every change of the radiograph: months, or why the changed radiograph was refused."""
    rows = {
        name.capitalize(): f"{signed(months)} months"
        if months is not None
        else f"refused: {panel.robustness.refusals[name]}"
        for name, months in panel.robustness.by_change().items()
    }
    return table(("Change", "The estimate moves by"), rows)


def faithfulness_table(panel: Panel) -> str:
    """The months behind the verdict on faithfulness, and where on the picture the map lies."""
    shown, deletion = panel.explanation, panel.deletion
    rows = {
        "Months between the map's two lines": f"{deletion.area_months:.1f}",
        "The same for random surrogate maps": (
            f"{deletion.random_area_months:.1f} on average, {deletion.best_random_area_months:.1f} at most"
        ),
        "The same for mere edges": f"{deletion.edge_area_months:.1f}",
        "Share of the map on the hand": f"{100 * (1 - panel.shares[OUTSIDE]):.0f} %",
    }
    if shown.completeness_error_months is not None:
        rows["Months that do not add up"] = f"{shown.completeness_error_months:.2f}"
    return table(("Check", "Found"), rows)


def stability_table(panel: Panel) -> str:
    """How alike the maps before and after each small change are, and those of the networks."""
    rows = {f"Likeness of the map after: {change}": f"{value:.2f}" for change, value in panel.stability.items()}
    if panel.explanation.member_agreement is not None:
        rows["Likeness of the networks' maps"] = f"{panel.explanation.member_agreement:.2f}"
    return table(("Check", "Found"), rows) + (
        f'<p class="baa-fine">Likeness is a correlation: 1 is the same map, 0 is none.</p>{networks_note(panel)}'
    )


def regions_sentence(panel: Panel) -> str:
    """What the regions' contributions say, for the head of their fold."""
    worth = ", ".join(
        f"{region_title(name).lower()} {signed(panel.regions[name].contribution_months)} months"
        for name in panel.strongest
    )
    return f"Regions that stand out: {worth}" if worth else "No region stands out from as much hand elsewhere"


def joints_sentence(panel: Panel) -> str:
    """Between which bone ages the joints lie, for the head of their fold."""
    if not panel.joints:
        return JOINTS
    months = [reading.months for reading in panel.joints]
    return f"Each joint alone says {years_and_months(min(months))} to {years_and_months(max(months))}"


def textbook_sentence(panel: Panel) -> str:
    """How many regions the atlas and the networks have in common, for the head of their fold."""
    regions = panel.textbook.regions
    both = sum(name in panel.strongest for name in regions)
    return f"Regions that the atlas looks at here: {len(regions)}; of these stand out for the networks: {both}"


def faithfulness_sentence(panel: Panel) -> str:
    """Whether the map marks what moves the estimate, for the head of its fold."""
    deletion = panel.deletion
    other = max(deletion.best_random_area_months, deletion.edge_area_months)
    verdict = "Faithful" if panel.verdict.faithful else "Not shown to be faithful"
    return (
        f"{verdict}: blurring what the map marks moves the estimate by {deletion.area_months:.1f} months, "
        f"other maps by up to {other:.1f}"
    )


def stability_sentence(panel: Panel) -> str:
    """How well the map survives the worst small change, for the head of its fold."""
    verdict = "Stable" if panel.verdict.stable else "Not stable"
    return f"{verdict}: under small changes the map keeps a likeness of {min(panel.stability.values()):.2f} or more"


def robustness_sentence(panel: Panel) -> str:
    """By how much the estimate moves at most where it should not, for the head of its fold."""
    moved = {name: months for name, months in panel.robustness.months.items() if name != OTHER_SEX}
    refused = len(panel.robustness.refusals)
    if not moved:
        return f"What should not matter makes the radiograph refused: {refused} of {refused} changes"
    name = max(moved, key=lambda change: abs(moved[change]))
    said = f"What should not matter moves the estimate by at most {abs(moved[name]):.1f} months ({name})"
    return f"{said}; refused: {refused}" if refused else said
