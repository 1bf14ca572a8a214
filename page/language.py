"""The visitor's language: English as the server writes it, or German by the catalogue of `reporting.language`.

What is on the page is translated in the browser (`language.js`), also while it is shown. What is drawn or made here,
charts and reports, comes in the language that the request asks for (Accept-Language, which the script sets).

Gradio's own internationalisation was not taken for it: it follows the browser and cannot be switched, and it knows
labels of components, not what handlers answer.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from gradio.context import LocalContext
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from baa_core.reporting.language import Language, accepted_language, catalogue, translated_chart

SWITCH = (
    '<div class="baa-language" role="group" aria-label="Language / Sprache" translate="no">'
    '<button type="button" lang="en" data-baa-language="en">English</button>'
    '<button type="button" lang="de" data-baa-language="de">Deutsch</button></div>'
)
PATH = "/baa-static/german.js"


def asked_language() -> Language:
    """The language of the request that is being answered; English outside of one."""
    request = LocalContext.request.get(None)
    return accepted_language(request.headers.get("accept-language") if request is not None else None)


def in_language(figure: Any) -> Any:
    """A chart in the language of the request."""
    return translated_chart(figure, asked_language())


@cache
def _script() -> bytes:
    return f"baaLanguage.catalogue({json.dumps(catalogue('de'), ensure_ascii=False)});".encode()


def catalogue_route() -> Route:
    """What answers with the catalogue as a script."""

    async def answer(_: Request) -> Response:
        headers = {"cache-control": "public, max-age=31536000, immutable"}  # its address has its hash
        return Response(_script(), media_type="text/javascript; charset=utf-8", headers=headers)

    return Route(PATH, answer)


def head_line() -> str:
    """What `language.js` needs in the page's head before it."""
    return f'<meta data-baa-catalogue="{PATH[1:]}?{hashlib.sha256(_script()).hexdigest()[:12]}">'
