"""The ossification table as a Plotly figure: appearance and fusion of every centre, girls beside boys."""

from __future__ import annotations

import plotly.graph_objects as go

from ..phantom.ossification import EPIPHYSES, Fact, facts
from ..types import SEXES
from .charts import SEX_LOOKS, lay_out
from .text import years_and_months

LAST_YEAR = 19
_SEX_TITLES = {"female": "Girls", "male": "Boys"}
_OFFSET = 0.19  # of a row: girls above its middle, boys below


def timeline_figure() -> go.Figure:
    """Appearance (marker; a faint band is the published range) and fusion (thick line) of all 30 centres, in years.

    The carpals are on top, then from the fingertips to the forearm. Readable at 390 px.
    """
    rows = [fact for fact in facts() if fact.event == "appears"]
    by_event = {(fact.centre, fact.event): fact for fact in facts()}
    figure = go.Figure()
    for number, sex in enumerate(SEXES):
        colour, symbol = SEX_LOOKS[sex]
        side = _OFFSET * (2 * number - 1)
        levels = [place + side for place in range(len(rows))]
        group = {"legendgroup": sex, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
        ranges = [(fact.published[number] if fact.published else None) for fact in rows]
        figure.add_scatter(
            x=_segments([r and (r[0], r[1]) for r in ranges]), y=_levels(levels), opacity=0.22,
            line={"color": colour, "width": 9}, **group,
        )  # fmt: skip
        open_plates = [
            (fact.months[number], by_event[fact.centre, "begins to fuse"].months[number])
            if fact.centre in EPIPHYSES
            else None
            for fact in rows
        ]
        figure.add_scatter(x=_segments(open_plates), y=_levels(levels), line={"color": colour, "width": 1}, **group)
        fusing = [
            (by_event[fact.centre, "begins to fuse"].months[number], by_event[fact.centre, "fused"].months[number])
            if fact.centre in EPIPHYSES
            else None
            for fact in rows
        ]
        figure.add_scatter(x=_segments(fusing), y=_levels(levels), line={"color": colour, "width": 6}, **group)
        for event, marker, shown in (("appears", symbol, True), ("fused", "line-ns-open", False)):
            dated = [(level, by_event[fact.centre, event]) for level, fact in zip(levels, rows, strict=True)
                    if (fact.centre, event) in by_event]  # fmt: skip
            figure.add_scatter(
                x=[fact.months[number] / 12 for _, fact in dated], y=[level for level, _ in dated], mode="markers",
                name=f"{_SEX_TITLES[sex]}: appears, then fuses (thick)", legendgroup=sex, showlegend=shown,
                marker={"symbol": marker, "size": 8, "color": colour, "line": {"width": 2, "color": colour}},
                text=[_hover(fact, number) for _, fact in dated], hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    lay_out(figure, "", "bone age (years)", "")
    figure.update_layout(height=80 + 25 * len(rows), margin={"l": 8, "r": 12, "t": 44, "b": 44})
    figure.update_layout(legend={"y": 1.0, "yanchor": "bottom", "font": {"size": 12}})
    figure.update_xaxes(range=[-0.3, LAST_YEAR + 0.3], dtick=2, fixedrange=True, title_font_size=12)
    names = [_short(fact.title) for fact in rows]
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6], fixedrange=True,
        tickfont={"size": 11},
    )  # fmt: skip
    return figure


def _segments(pairs: list[tuple[float, float] | None]) -> list[float | None]:
    """Ends of lines in years, each followed by a gap."""
    return [end for pair in pairs for end in ((pair[0] / 12, pair[1] / 12, None) if pair else (None, None, None))]


def _levels(levels: list[float]) -> list[float]:
    return [level for level in levels for _ in range(3)]


def _short(title: str) -> str:
    """A title that leaves room for the lines on a phone."""
    for long, short in (
        ("Adductor sesamoid of the thumb", "Sesamoid"), (" phalanx of the ", " ph., "), (" finger", ""),
        (" metacarpal", " metac."), ("Proximal", "Prox."), ("Middle ph.", "Mid. ph."),
    ):  # fmt: skip
        title = title.replace(long, short)
    return title


def _hover(fact: Fact, number: int) -> str:
    basis = {"stated": "stated by", "within": "within the range of", "placed": "placed by the order of"}[fact.basis]
    who = _SEX_TITLES[SEXES[number]].lower()
    return (
        f"{fact.title}, {who}: {fact.event} at {years_and_months(fact.months[number])}<br>{basis} source {fact.source}"
    )
