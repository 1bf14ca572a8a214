"""The guard at the door: one ASGI middleware between Gradio and everyone else.

It refuses to fetch addresses for anyone: Gradio's file routes and file inputs accept a web address in place of a file
and then fetch it, which would let a stranger use this server to read other servers. Nothing here needs that.

It gives each upload a folder of its own (`page.uploads`): Gradio would put equal files of two visitors in one place.

It answers "busy" in words where Gradio's queue is full.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from .uploads import UploadFolder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_JSON_BYTES = 1_000_000  # events carry a few words; files travel by the upload route, which has its own limit
REFUSED_ROUTES = ("file=http", "proxy=")
QUEUE_ROUTES = ("/queue/join", "/call/")
BUSY = "This page is busy: as many radiographs wait as it takes at once. Please try again in a minute."

# The page may talk only to its own server. Gradio and Plotly need inline and evaluated script, all of it local.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


def names_an_address(value: Any) -> bool:
    """True if a file anywhere in decoded JSON is given by a web address instead of an upload."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:", "ftp:", "file:")):
            return True
        return any(names_an_address(item) for item in value.values())
    return isinstance(value, list) and any(names_an_address(item) for item in value)


def is_proxy_route(path: str) -> bool:
    """True if a request's path asks the server to fetch something from elsewhere."""
    plain = unquote(unquote(path)).lower().replace(" ", "")
    return any(route in plain for route in REFUSED_ROUTES)


class Guard:
    """Refuses proxying with 403 and oversized or malformed events with 413 or 400; adds safe headers.

    Args:
        app: the application behind the guard.
        uploads: where uploads are put; each is given a folder of its own there.
        framed: the page is shown inside another site's frame (a Hugging Face Space), which
            loads its own frame script, so no content policy is set.
    """

    def __init__(self, app: Application, uploads: UploadFolder, framed: bool = False) -> None:
        self.app = app
        self.uploads = uploads
        self.framed = framed

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if is_proxy_route(scope.get("path", "")):
            await refuse(send, 403, "This server fetches no addresses.")
            return
        if scope["method"] == "POST" and is_upload(scope["path"]):
            await self.take_in(scope, receive, send)
            return
        if scope["method"] == "POST":
            body = await read_body(receive)
            verdict = judge(body)
            if verdict is not None:
                await refuse(send, *verdict)
                return
            receive = replay(body, receive)
            if any(route in scope["path"] for route in QUEUE_ROUTES):
                send = saying_busy(send)
        await self.app(scope, receive, self.with_headers(send))

    async def take_in(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass an upload on with a folder of its own, which goes again if the upload fails."""
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self.uploads.one() as folder:
            try:
                await self.app(scope, receive, self.with_headers(sending))
            finally:
                if status != 200:
                    self.uploads.discard(folder)

    def with_headers(self, send: Send) -> Send:
        """A `send` that adds the safe headers to every answer."""
        extra = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if not self.framed:
            extra.append((b"content-security-policy", POLICY.encode()))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        return sending


def is_upload(path: str) -> bool:
    """True for the route that takes files."""
    return path.rstrip("/").endswith("/upload")


def saying_busy(send: Send) -> Send:
    """A `send` that says in words that the queue is full (503), where Gradio gives its size."""
    full = False

    async def sending(message: Message) -> None:
        nonlocal full
        content = json.dumps({"detail": BUSY}).encode()
        if message["type"] == "http.response.start" and message["status"] == 503:
            full = True
            kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"content-length"]
            message = {**message, "headers": [*kept, (b"content-length", str(len(content)).encode())]}
        elif full:
            message = {**message, "body": b"" if message.get("more_body") else content}
        await send(message)

    return sending


async def read_body(receive: Receive) -> bytes:
    """A request's body, at most one byte over the limit."""
    body = b""
    while len(body) <= LARGEST_JSON_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body[: LARGEST_JSON_BYTES + 1]


def judge(body: bytes) -> tuple[int, str] | None:
    """The refusal an event's body deserves as (status, sentence), or None."""
    if len(body) > LARGEST_JSON_BYTES:
        return 413, "This request is too large."
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return 400, "This request is not JSON."
    if names_an_address(content):
        return 403, "This server fetches no addresses. Upload the file itself."
    return None


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body already read once, then whatever follows."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer a request with one sentence."""
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
