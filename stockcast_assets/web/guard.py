"""An ASGI layer around an application that has no login: only its own pages may make it do something.

A browser sends requests to this machine on behalf of any page that it shows. What tells them apart are headers that a
page cannot forge: `Host` (the name under which the browser looks for us, foreign after DNS rebinding), `Origin` and
`Sec-Fetch-Site` (whose page it is). A program that is no browser sends neither of the last two, and is let in: it has
no person's browser to abuse.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
READS = ("GET", "HEAD")
# What a form, or a script that asks for no permission, can send to another origin.
FORM_TYPES = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Policy:
    """What is particular to one application.

    Attributes:
        csp: a Content-Security-Policy; a browser obeys it together with the application's own.
        post_types: media types that a POST may have; None for all but those that a form can send.
        post_only: paths at which a GET with a query would do what a POST does.
        closed: beginnings of paths that are not answered at all.
        embeds_itself: whether its pages show each other in frames.
    """

    csp: str
    post_types: frozenset[str] | None = None
    post_only: frozenset[str] = field(default_factory=frozenset)
    closed: tuple[str, ...] = ()
    embeds_itself: bool = False


class Guard:
    """The application `app`, for requests to its own hosts from its own pages.

    Args:
        app: an ASGI application.
        hosts: names under which it may be asked for, each with a port or for any port; those of this machine's
            loopback are always among them, because no foreign name server can point them elsewhere.
        policy: what is particular to the application.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], policy: Policy) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in (*LOOPBACK, *hosts))
        self.policy = policy
        frames = ("SAMEORIGIN", "'self'") if policy.embeds_itself else ("DENY", "'none'")
        self._frames = f"frame-ancestors {frames[1]}"
        self._csp = f"{policy.csp}; {self._frames}"
        self._headers = {**_HEADERS, "X-Frame-Options": frames[0]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                # Before it is accepted: the server answers the handshake with 403.
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._protect(MutableHeaders(scope=message))
            await send(message)

        app = self.app if refusal is None else PlainTextResponse(refusal[1] + "\n", refusal[0])
        await app(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence of a request that is not passed on."""
        headers = Headers(scope=scope)
        named = headers.getlist("host")
        if len(named) != 1 or not self._is_ours(named[0]):
            return 403, (
                "This server does not answer under that host name. If people are to reach it so, add the name to "
                "STOCKCAST_ALLOWED_HOSTS."
            )
        path = scope["path"]
        if any(part in ("..", ".") for part in path.replace("\\", "/").split("/")) or "\0" in path:
            return 400, "This is no path of a page."
        if any(path == closed.rstrip("/") or path.startswith(closed) for closed in self.policy.closed):
            return 404, "This part of the application is switched off."
        reads = scope["type"] == "http" and scope["method"] in READS
        # "none" is an address that somebody typed; "same-site" is another port of this machine.
        own = ("same-origin", "none") if reads else ("same-origin",)
        foreign = any(site not in own for site in headers.getlist("sec-fetch-site"))
        foreign = foreign or any(not _same(origin, named[0]) for origin in headers.getlist("origin"))
        if foreign and not (reads and _follows_a_link(headers)):
            return 403, "This request comes from a page of another origin, which may do nothing here."
        if reads and path in self.policy.post_only and scope["query_string"]:
            return 405, "This address is asked by POST."
        if scope["type"] == "http" and scope["method"] == "POST" and not self._is_no_form(headers):
            return 415, "Send this as application/json: what a form can send is not taken."
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names one of the hosts, with its port or for any."""
        host = host.lower()
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            return host in self.hosts
        return port.isascii() and port.isdigit() and (host in self.hosts or name in self.hosts)

    def _is_no_form(self, headers: Headers) -> bool:
        types = headers.getlist("content-type")
        media = types[0].split(";")[0].strip().lower() if len(types) == 1 else ""
        return media not in FORM_TYPES if self.policy.post_types is None else media in self.policy.post_types

    def _protect(self, headers: MutableHeaders) -> None:
        for name in [name for name in headers if name.startswith("access-control-")]:
            del headers[name]
        for name, value in self._headers.items():
            headers[name] = value
        # Beside what the application sends: a browser obeys both. What runs in a sandbox is of no origin, not ours.
        sandboxed = headers.get("content-security-policy", "").startswith("sandbox")
        headers.append("Content-Security-Policy", self._frames if sandboxed else self._csp)


def _same(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that was asked, by http or https."""
    scheme, _, authority = origin.lower().partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme)
    return port is not None and authority.removesuffix(port) == host.lower().removesuffix(port)


def _follows_a_link(headers: Headers) -> bool:
    """Whether a browser asks because somebody opens an address in a tab; what it gets, the other page cannot read."""
    modes, kinds = headers.getlist("sec-fetch-mode"), headers.getlist("sec-fetch-dest")
    return modes == ["navigate"] and kinds == ["document"] and "origin" not in headers
