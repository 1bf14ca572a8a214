"""The guard at the door: one ASGI middleware between Gradio and everyone else.

It answers only what this page asks for: Gradio's other routes (deep links, which write a session's results to disk;
its API's description; run histories; proxying) do not exist here.

It refuses to fetch addresses for anyone: Gradio's file routes and file inputs accept a web address in place of a file
and then fetch it, which would let a stranger use this server to read other servers. Nothing here needs that.

It refuses what another website makes a visitor's browser send, and requests under a name that is not this server's.

It gives each upload a folder of its own (`page.uploads`): Gradio would put equal files of two visitors in one place.
Browsers see the upload's name within that folder, never a path of this machine.

It answers "busy" in words where Gradio's queue is full, the disk's share for uploads is used up, or one client asks
too often.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.requests import ClientDisconnect

from .html import NEUTRAL
from .uploads import UploadFolder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_JSON_BYTES = 1_000_000  # events carry a few words; files travel by the upload route, which has its own limit
DEEPEST_JSON = 40  # lists and objects inside one another; an event of the page has 6
MOST_UPLOAD_BYTES = 450 * 2**20  # of one request: a batch of radiographs
REFUSED_ROUTES = ("file=http", "proxy=")
QUEUE_ROUTES = ("/queue/join", "/call/")
ANSWER_ROUTES = ("/queue/data", "/call/")
# Of Gradio's API, what its browser script and its Python client ask for.
API_ROUTES = {
    "app_id", "api", "call", "cancel", "heartbeat", "info", "login_check", "queue", "reset", "run", "startup-events",
    "theme.css", "token", "upload", "upload_progress", "user",
}  # fmt: skip
CLOSED_PAGES = {"docs", "monitoring", "openapi.json", "redoc"}
BUSY = "This page is busy: as many radiographs wait as it takes at once. Please try again in a minute."
TOO_OFTEN = "Too many requests came from this address. Please try again in a minute."
NO_ROOM = "This page is busy: it has no room for a further file at the moment. Please try again in a minute."
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Requests that change something, for each client: at once, and a second over time. A batch makes two for each row.
MOST_AT_ONCE, MOST_A_SECOND = 300, 10.0
MOST_CLIENTS = 10_000  # that are counted

# The page may talk only to its own server. Gradio and Plotly need inline and evaluated script, all of it local.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
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


def is_open_route(path: str) -> bool:
    """True for what this page asks its server for."""
    if (route := api_route(path)) is not None:
        first = route.partition("/")[0]
        return first in API_ROUTES or first.startswith("file=")
    return path.rstrip("/").rpartition("/")[2] not in CLOSED_PAGES


def api_route(path: str) -> str | None:
    """What follows the beginning of Gradio's API in a path, "queue/join" say; None elsewhere.

    A name at a path's end says nothing of its route: Gradio takes events under /gradio_api/run/ANYTHING.
    """
    _, api, rest = path.partition("/gradio_api/")
    return rest.rstrip("/") if api else None


def is_foreign(headers: dict[bytes, bytes]) -> bool:
    """True if another website made a browser send this."""
    if site := headers.get(b"sec-fetch-site"):
        return site not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is None:
        return False  # no browser
    asked = urlsplit(origin.decode("latin-1")).netloc.lower()
    own = [headers.get(name, b"").decode("latin-1").lower() for name in (b"host", b"x-forwarded-host")]
    return not asked or asked not in own  # "null" has no name


def is_own_name(host: str, own: Collection[str]) -> bool:
    """True if a request's Host is a name of this server, or an address of this machine.

    Another website can give its own name the address 127.0.0.1 (DNS rebinding), and would then count as this page.

    Args:
        host: as the browser says it, with or without a port.
        own: names that are allowed.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
        if name in own:
            return True
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Rate:
    """How often each client asked: a number at once, which fills up again over time."""

    def __init__(self, at_once: int = MOST_AT_ONCE, a_second: float = MOST_A_SECOND) -> None:
        self.at_once, self.a_second = at_once, a_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Count one request; False if the client has none left."""
        now = time.monotonic()
        left, before = self._left.pop(client, (float(self.at_once), now))
        left = min(self.at_once, left + (now - before) * self.a_second)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        while len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed


class Guard:
    """Refuses what is not meant for this page with 403, 404, 413, 429 or 503; adds safe headers.

    Args:
        app: the application behind the guard.
        uploads: where uploads are put; each is given a folder of its own there.
        framed: the page is shown inside another site's frame (a Hugging Face Space), which
            loads its own frame script, so no content policy is set.
        names: under which this server may be asked; None for any.
        rate: how often one client may ask.
    """

    def __init__(
        self,
        app: Application,
        uploads: UploadFolder,
        framed: bool = False,
        names: Collection[str] | None = None,
        rate: Rate | None = None,
    ) -> None:
        self.app = app
        self.uploads = uploads
        self.framed = framed
        self.names = names
        self.rate = rate or Rate()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, headers = scope.get("path", ""), dict(scope.get("headers", ()))
        send = self.with_headers(send)
        if (verdict := self.verdict(scope, path, headers)) is not None:
            await refuse(send, *verdict)
            return
        if scope["method"] == "POST" and is_upload(path):
            await self.take_in(scope, receive, send, headers)
            return
        if scope["method"] == "POST":
            body, is_form = await read_body(receive), is_login(path)  # which Gradio checks itself
            verdict = judge_size(body) if is_form else judge(body)
            if verdict is not None:
                await refuse(send, *verdict)
                return
            body, uploads = (body, []) if is_form else self.with_whole_paths(body)
            scope = {**scope, "headers": with_length(scope.get("headers", ()), len(body))}
            receive = replay(body, receive)
            if any(route in path for route in QUEUE_ROUTES):
                send = saying_busy(self.keeping(uploads, send))
        if scope["method"] == "GET" and any(route in path for route in ANSWER_ROUTES):
            send = naming_errors(send)
        await self.app(scope, receive, send)

    def verdict(self, scope: Message, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """The refusal that a request deserves for what it says before its body, or None."""
        host = headers.get(b"host", b"").decode("latin-1")
        if self.names is not None and host and not is_own_name(host, self.names):
            return 403, "This server does not answer under that name. If it should, start it with --allow-host NAME."
        if is_proxy_route(path):
            return 403, "This server fetches no addresses."
        if not is_open_route(path):
            return 404, "There is nothing here."
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        if is_foreign(headers):
            return 403, "This came from another website. Use the page itself."
        client = (scope.get("client") or ("",))[0]
        return None if self.rate.allows(client) else (429, TOO_OFTEN)

    async def take_in(self, scope: Message, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        """Pass an upload on with a folder of its own, which goes again if the upload fails."""
        said = headers.get(b"content-length", b"")
        expected = int(said) if said.isdigit() else MOST_UPLOAD_BYTES
        if expected > MOST_UPLOAD_BYTES:
            await refuse(send, 413, "This is too large for one upload. Choose fewer files at a time.")
            return
        answer: dict[str, Any] = {"status": 500, "start": None, "body": b""}

        async def keeping(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["start"], answer["status"] = message, message["status"]
            elif message["type"] == "http.response.body":
                answer["body"] += message.get("body", b"")

        with self.uploads.one(expected) as folder:
            if folder is None:
                await refuse(send, 503, NO_ROOM)
                return
            try:
                await self.app(scope, counted(receive, MOST_UPLOAD_BYTES), keeping)
                if answer["status"] == 200 and (body := self.uploads.names_in(folder, answer["body"])) is not None:
                    answer["body"] = body
                elif answer["status"] == 200:
                    answer.update(status=400, start=None)
            except ClientDisconnect:  # who hangs up in the middle gets no answer, and no traceback in the log
                return
            finally:
                if answer["status"] != 200:
                    self.uploads.discard(folder)
        if answer["start"] is None:
            await refuse(send, answer["status"], "This upload could not be taken. Give the file another name.")
            return
        kept = with_length(answer["start"].get("headers", ()), len(answer["body"]))
        await send({**answer["start"], "headers": kept})
        await send({"type": "http.response.body", "body": answer["body"]})

    def with_whole_paths(self, body: bytes) -> tuple[bytes, list[str]]:
        """An event whose files are named as the browser knows them, with their whole paths; and those names."""
        if UploadFolder.PREFIX.encode() not in body:
            return body, []
        content = json.loads(body)
        left, names = [content], []
        while left:
            item = left.pop()
            left += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
            if isinstance(item, dict) and isinstance(item.get("path"), str):
                names.append(item["path"])
                item["path"] = self.uploads.whole_path(item["path"])
        return json.dumps(content).encode(), names

    def keeping(self, uploads: Sequence[str], send: Send) -> Send:
        """A `send` that keeps an event's uploads until its turn comes, if the queue takes it."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self.uploads.await_event(uploads)
            await send(message)

        return sending

    def with_headers(self, send: Send) -> Send:
        """A `send` that adds the safe headers to every answer."""
        extra = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
        if not self.framed:
            extra.append((b"content-security-policy", POLICY.encode()))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        return sending


def with_length(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    """Headers that say another length of the body."""
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


def counted(receive: Receive, most_bytes: int) -> Receive:
    """A `receive` that ends, as if the visitor had gone, when more comes than was said."""
    got = 0

    async def receiving() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        return message if got <= most_bytes else {"type": "http.disconnect"}

    return receiving


def is_upload(path: str) -> bool:
    """True for the route that takes files."""
    return api_route(path) == "upload"


def is_login(path: str) -> bool:
    """True for the route that takes a form with name and password."""
    return api_route(path) is None and path.rstrip("/").endswith("/login")


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


def is_deep(content: Any) -> bool:
    """True if decoded JSON has more than `DEEPEST_JSON` lists and objects inside one another."""
    level = [content]
    for _ in range(DEEPEST_JSON):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True


NAMELESS_ERRORS = re.compile(rb'"error"\s*:\s*null')
NAMELESS_EVENT = re.compile(rb"event: error\ndata: null")


def naming_errors(send: Send) -> Send:
    """A `send` that says a sentence where Gradio gives an error no words (malformed arguments, say)."""
    sentence = json.dumps(NEUTRAL).encode()

    async def sending(message: Message) -> None:
        body = message.get("body", b"")
        if b'"process_completed"' in body and b'"success":false' in body.replace(b" ", b""):
            message = {**message, "body": NAMELESS_ERRORS.sub(b'"error":' + sentence, body)}
        elif NAMELESS_EVENT.search(body):
            message = {**message, "body": NAMELESS_EVENT.sub(b"event: error\ndata: " + sentence, body)}
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


def judge_size(body: bytes) -> tuple[int, str] | None:
    """The refusal a body deserves for its size, or None."""
    return (413, "This request is too large.") if len(body) > LARGEST_JSON_BYTES else None


def judge(body: bytes) -> tuple[int, str] | None:
    """The refusal an event's body deserves as (status, sentence), or None."""
    if (refusal := judge_size(body)) is not None:
        return refusal
    try:
        content = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return 400, "This request is not JSON."
    if is_deep(content):
        return 400, "This request is nested too deeply."
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
