"""The report as text to copy: EXAM, TECHNIQUE, COMPARISON, FINDINGS, IMPRESSION."""

from __future__ import annotations

import textwrap

from ..types import DISCLAIMER
from .content import ReportContent

COLUMNS = 100


def text_report(content: ReportContent) -> str:
    """Plain text of at most `COLUMNS` characters a line, one sentence a paragraph; without heatmap or picture."""
    parts = []
    for heading, sentences in content.sections():
        worded = map(content.said, sentences)
        body = "\n".join(textwrap.fill(sentence, COLUMNS, break_long_words=False) for sentence in worded)
        parts.append(f"{content.said(heading)}\n{body}")
    software = ", ".join(f"{name} {version}" for name, version in content.software.items())
    weights = ", ".join(f"{name} {sha}" for name, sha in content.weights_sha256.items())
    made = content.said(f"Software: {software}. Weights (sha256): {weights}. {content.made_at:%Y-%m-%d %H:%M %Z}.")
    parts.append("\n".join((textwrap.fill(made, COLUMNS, break_long_words=False), content.said(DISCLAIMER))))
    return "\n\n".join(parts) + "\n"
