"""English sentences in another language, by one catalogue of templates (`german.json`).

The core writes English. A key of the catalogue is an English sentence or label; `{0}`, `{1}` stand for what was put
into it. A finished sentence is matched against the templates, the most specific first, and what stood in its places is
translated in the same way. `page/language.js` does the same in the browser, with the same file.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

Language = Literal["en", "de"]
LANGUAGES: Final[dict[Language, str]] = {"en": "English", "de": "Deutsch"}
CATALOGUES: Final[dict[Language, str]] = {"de": "german.json"}
MOST_KNOWN = 20_000  # texts whose translation is remembered
SPECIFIC_LETTERS = 16  # of a template that may be trusted whatever stands in its places
_PLACE = re.compile(r"\{(\d)\}")
_PLAIN_NUMBERS = re.compile(r"[^A-Za-z]*(?:s|min|px|MB|GB|SD|mm)?")
# How a text of several parts is divided, in the order in which it is tried.
_DIVIDERS = [
    re.compile(divider)
    for divider in (
        r"((?<=[.!?])\s+)", r"((?<=;)\s+)", r"((?<=:)\s+)", r"(\s·\s)", r"(\s+(?=\([^()]*\)[.,;]?$))", r"((?<=,)\s+)",
    )
]  # fmt: skip
# What is the same in every language: abbreviations, names of files, identifiers.
_NAME = re.compile(r"[A-Z]{1,5}\d?|[A-Z][a-z]+[A-Z]\w*|\S+\.\w{2,4}|[a-z0-9]+(?:[-_][a-z0-9]+)+")
_NAMED_NUMBER = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)+ \d+\.\d+")  # as a network and its months
_SENTENCE_END = re.compile(r"[.!?]\s")
_AROUND = [re.compile(signs, re.DOTALL) for signs in (r"()(.+?)([.,:;]+)", r"([(\[])(.+)([)\]])", r"([.,:;]\s)(.+)()")]
# Of a Plotly figure: where words stand that people read, or that name a row by what they read.
_CHART_WORDS = (
    "text",
    "name",
    "title",
    "ticktext",
    "tickvals",
    "categoryarray",
    "hovertemplate",
    "hovertext",
    "x",
    "y",
)
_MARKUP = re.compile(r"(<[^>]*>|%\{[^}]*\})")


def accepted_language(header: str | None) -> Language:
    """The first language of an Accept-Language header that there is; English without one.

    Args:
        header: such as "de-AT,de;q=0.9,en;q=0.5".
    """
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate((header or "").split(",")):
        name, *parameters = part.strip().lower().split(";")
        quality = next((p.strip()[2:] for p in parameters if p.strip().startswith("q=")), "1")
        wanted.append((-float(quality) if re.fullmatch(r"[01](\.\d+)?", quality) else 0.0, place, name.split("-")[0]))
    for weight, _, name in sorted(wanted):
        if weight and name in LANGUAGES:
            return name
    return "en"


@cache
def catalogue(language: Language) -> dict[str, str]:
    """English templates and their translation; empty for English."""
    if language not in CATALOGUES:
        return {}
    content: dict[str, str] = json.loads(Path(__file__).with_name(CATALOGUES[language]).read_text(encoding="utf-8"))
    return content


def translated(text: str, language: Language) -> str:
    """A sentence, label or short paragraph in a language; what the catalogue does not know stays as it is.

    White space around the text is kept, white space within becomes single spaces.

    Args:
        text: English, without markup.
        language: one of `LANGUAGES`.
    """
    plain = text.strip()
    if language == "en" or not plain:
        return text
    start = len(text) - len(text.lstrip())
    found = _translator(language).part(" ".join(plain.split()))
    return text if found is None else text[:start] + found.text + text[start + len(plain) :]


def translated_chart(figure: Any, language: Language) -> Any:
    """A Plotly figure with its words and its decimal sign in a language; the same figure for English."""
    if language == "en":
        return figure
    content = _translated_words(figure.to_dict(), language, shown=False)
    content["layout"]["separators"] = ",."
    return type(figure)(content)


def _translated_words(value: Any, language: Language, shown: bool) -> Any:
    if isinstance(value, dict):
        return {key: _translated_words(item, language, key in _CHART_WORDS) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_translated_words(item, language, shown) for item in value]
    if not shown or not isinstance(value, str):
        return value
    return "".join(
        part if number % 2 else translated(part, language) for number, part in enumerate(_MARKUP.split(value))
    )


class Found(NamedTuple):
    """A translation, and whether nothing in it is left untranslated."""

    text: str
    whole: bool


class _Translator:
    """The templates of one language, compiled once."""

    def __init__(self, entries: dict[str, str]) -> None:
        entries = {**_without_leading_signs(entries), **entries}
        self.exact = {**{key.lower(): value for key, value in reversed(entries.items())}, **entries}
        self.known: dict[str, Found | None] = {}
        templates = sorted((key for key in entries if _PLACE.search(key)), key=lambda key: -len(_PLACE.sub("", key)))
        self.templates = [_Template(key, entries[key]) for key in templates]
        # Markup may stand in a place, and cut a paragraph into pieces: each piece is an entry of its own.
        for key in templates:
            if _PLACE.findall(key) == _PLACE.findall(entries[key]):
                for piece, other in zip(_PLACE.split(key)[::2], _PLACE.split(entries[key])[::2], strict=True):
                    if len(piece.split()) > 1:
                        self.exact.setdefault(piece.strip(), other.strip())

    def find(self, text: str) -> Found | None:
        """The translation of a text without outer white space; None if nothing of it is known."""
        if text not in self.known:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[text] = self._find(text)
        return self.known[text]

    def _find(self, text: str) -> Found | None:
        if (exact := self.exact.get(text) or self.exact.get(text.lower())) is not None:
            return Found(exact, True)
        if _PLAIN_NUMBERS.fullmatch(text) or _NAMED_NUMBER.fullmatch(text):
            return Found(with_decimal_comma(text), True)
        if _NAME.fullmatch(text):
            return Found(text, True)
        found = self._by_template(text)
        if found is None or not found.whole:
            parts = self._by_parts(text)
            found = parts if found is None or (parts is not None and parts.whole) else found
        return found

    def _by_template(self, text: str) -> Found | None:
        """By the most specific template whose places hold known words; else by a long one, whatever they hold."""
        loose = None
        for template in self.templates:
            for pattern in template.patterns:
                if (matched := pattern.fullmatch(text)) is None:
                    break
                values = {place: self.part(value) for place, value in matched.groupdict().items()}
                whole = all(value is not None and value.whole for value in values.values())
                usable = template.specific and not any(map(_SENTENCE_END.search, matched.groups()))
                if whole or (usable and loose is None):
                    filled = template.filled({p: v.text if v else matched[p] for p, v in values.items()})
                    if whole:
                        return Found(filled, True)
                    loose = Found(filled, False)
        return loose

    def _by_parts(self, text: str) -> Found | None:
        """Part by part, by the division that leaves the least unknown."""
        best: tuple[int, Found | None] = (0, None)
        for divider in _DIVIDERS:
            parts = divider.split(text)
            if len(parts) == 1:
                continue
            matches = [Found(part, True) if number % 2 else self.part(part) for number, part in enumerate(parts)]
            unknown = sum(found is None or not found.whole for found in matches)
            if any(matches[::2]) and (best[1] is None or unknown < best[0]):
                words = "".join(found.text if found else part for found, part in zip(matches, parts, strict=True))
                best = unknown, Found(words, not unknown)
        return best[1]

    def part(self, text: str) -> Found | None:
        """A part of a text with the signs around it; "" is known."""
        plain = text.strip()
        if not plain:
            return Found(text, True)
        found = self.find(plain)
        for around in _AROUND:
            if (found is None or not found.whole) and (parts := around.fullmatch(plain)):
                inner = self.part(parts[2])
                if inner is not None and (found is None or inner.whole):
                    found = Found(parts[1] + inner.text + parts[3], inner.whole)
        return None if found is None else Found(text.replace(plain, found.text, 1), found.whole)


class _Template:
    """One entry with places: how it is recognised, and what it becomes."""

    def __init__(self, key: str, to: str) -> None:
        self.to = to
        self.specific = len(re.findall(r"[A-Za-z]", _PLACE.sub("", key))) >= SPECIFIC_LETTERS
        parts = _PLACE.split(key)
        self.patterns = [
            re.compile(
                "".join(f"(?P<p{part}>{some})" if number % 2 else re.escape(part) for number, part in enumerate(parts)),
                re.DOTALL,
            )
            for some in (".*?", ".*")
        ]

    def filled(self, values: dict[str, str]) -> str:
        """The translation with these values in its places."""
        return _PLACE.sub(lambda place: values[f"p{place[1]}"], self.to)


def _without_leading_signs(entries: dict[str, str]) -> dict[str, str]:
    """Entries that continue a sentence (", {0} refused"), also without the sign and space that they begin with."""
    signs = (", ", "; ", ": ", ". ")
    return {key[2:]: value[2:] for key, value in entries.items() if key[:2] in signs and value[:2] == key[:2]}


def with_decimal_comma(text: str) -> str:
    """Numbers as German writes them: "7.15 [6.15, 8.23]" as "7,15 [6,15; 8,23]"."""
    changed = re.sub(r"(?<![\d.])(\d+)\.(\d+)(?![\d.])", r"\1,\2", text)
    return changed if changed == text else re.sub(r"(?<=\d), (?=[-+−]?\d)", "; ", changed)


@cache
def _translator(language: Language) -> _Translator:
    return _Translator(catalogue(language))
