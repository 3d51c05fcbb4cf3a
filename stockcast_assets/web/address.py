"""Where a web page is served, and under which names it answers."""

import errno
import ipaddress
import socket
import threading
import time
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from stockcast_assets.errors import StockcastError


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    shown = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def open_when_ready(host: str, port: int, patience_s: float = 120.0) -> None:
    """Open the address in this person's browser as soon as something listens there, without waiting for it."""

    def watch() -> None:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((urlsplit(url(host, port)).hostname, port), 1):
                webbrowser.open(url(host, port))
                return
            time.sleep(0.3)

    threading.Thread(target=watch, daemon=True).start()


def _not_of_this_machine(host: str) -> StockcastError:
    return StockcastError(f"{host!r} is no address of this machine: leave --host out, or name one of its own.")


def require_address(command: str, host: str, port: int, allowed_hosts: Sequence[str]) -> str | None:
    """Check that `stockcast <command>` may and can listen on `host` and `port`.

    Returns:
        What to warn of, if other machines will reach the page.

    Raises:
        StockcastError: if the port is none or taken, the host is not this machine's, or other machines would reach the
            page and no name is set under which they may.
    """
    if not 0 < port < 65536:
        raise StockcastError(f"{port} is no port: choose one from 1 to 65535 with `stockcast {command} --port`.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise _not_of_this_machine(host) from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise _not_of_this_machine(host) from error
        raise StockcastError(
            f"`stockcast {command}` cannot listen on {host}:{port} ({error.strerror}): choose another port with "
            f"`stockcast {command} --port`."
        ) from error
    if is_loopback(host):
        return None
    if not allowed_hosts:
        raise StockcastError(
            f"On {host} other machines would reach this page, which has no login: name the hosts under which it may be "
            "reached in STOCKCAST_ALLOWED_HOSTS, such as stockcast.example.com of a proxy that asks for a login, or "
            "leave --host out."
        )
    return (
        f"Whoever reaches port {port} of this machine as {' or '.join(allowed_hosts)} can do everything on this page: "
        "it has no login. Put a proxy in front that asks for one, and keep others from the port."
    )
