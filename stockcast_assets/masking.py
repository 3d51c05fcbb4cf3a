"""Keeping secrets out of whatever is shown, stored, logged or sent.

Settings tell which secrets there are (`remember`); whatever leaves as words goes through `redact`. An address is shown
by `without_credentials`.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote

MASK = "***"

_SHORTEST = 6
"""Characters from which on a secret is looked for in any text: a shorter one is part of ordinary words."""

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_USERINFO = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@:'\"]*:)?[^\s/@'\"]*@")

_known: dict[str, None] = {}


def without_credentials(address: str) -> str:
    """A URL without user, password, query and fragment; what is no URL, unchanged if it has no `@`.

    A password with an unescaped `/`, `?`, `#` or `@` does not get through either: all up to the last `@` goes.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return MASK if "@" in address else address
    rest = rest.rpartition("@")[2]
    return f"{scheme}{separator}{re.split('[?#]', rest, maxsplit=1)[0]}"


def credentials(address: str) -> tuple[str, str] | None:
    """User and password of a URL, unescaped; None if it has none."""
    if not _SCHEME.match(address) or "@" not in address:
        return None
    user, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    return unquote(user), unquote(password)


def remember(secrets: Iterable[str]) -> None:
    """Mask these from now on, as they are and as URLs, JSON and base64 write them."""
    for secret in secrets:
        for form in _forms(secret):
            if len(form) >= _SHORTEST:
                _known[form] = None


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret), unquote(secret))
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield base64.b64encode(secret.encode(errors="replace")).decode().rstrip("=")


def secrets_of_address(address: str) -> Iterator[str]:
    """What is secret in a URL that may hold a password: itself, the password, and the keys of its query."""
    found = credentials(address)
    query = address.partition("?")[2]
    if found is None and not query:
        return
    yield address
    if found is not None:
        yield found[1]
        # As the header of a request writes it, which a server may repeat.
        yield ":".join(found)
    for name, value in parse_qsl(query):
        if re.search(r"pass|pwd|secret|token|key|auth|sig", name, re.IGNORECASE):
            yield value


def secrets_of_notification(url: str) -> Iterator[str]:
    """What is secret in an Apprise URL, where a token may stand in any place: itself and all that is no host name."""
    yield url
    found = credentials(url)
    if found is not None:
        yield found[1]
    rest, _, query = url.partition("://")[2].rpartition("@")[2].partition("?")
    parts = [*re.split("[/:,]", rest), *(value for _, value in parse_qsl(query))]
    yield from (part for part in parts if len(part) >= 8 and not re.fullmatch(r"[\w-]+(\.[\w-]+)+", part))


def secrets_of_key(encoded: str) -> Iterator[str]:
    """What is secret in a base64-encoded service-account key."""
    yield encoded
    yield encoded.rstrip("=")
    try:
        document = base64.b64decode(encoded)
        yield document.decode()
        key = json.loads(document)
    except (binascii.Error, ValueError):
        return
    if isinstance(key, dict):
        yield from (str(key[name]) for name in ("private_key", "private_key_id") if key.get(name))


def redact(text: str) -> str:
    """The text with every secret that is known, and the password of every URL, masked."""
    if "@" in text:
        text = _USERINFO.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}@", text)
    # The longest first: a password is part of the address it stands in.
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def scrub(error: BaseException) -> None:
    """Redact the words of an exception and of those it came from: Dagster stores all of them with a failed run."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(redact(argument) if isinstance(argument, str) else argument for argument in each.args)
        for name in ("message", "msg", "reason"):
            if isinstance(value := getattr(each, name, None), str):
                setattr(each, name, redact(value))
        pending += [each.__cause__, each.__context__]
        pending += [argument for argument in each.args if isinstance(argument, BaseException)]
