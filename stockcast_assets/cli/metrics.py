"""`stockcast metrics`: the numbers that Prometheus reads."""

from prometheus_client import CollectorRegistry, generate_latest, make_asgi_app

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.terminal import err
from stockcast_assets.operations.metrics import StockcastCollector
from stockcast_assets.web.address import require_address, url
from stockcast_assets.web.guard import Guard, Policy

_NOTHING_LOADED = Policy(csp="default-src 'none'")


def run(call: Invocation, host: str, port: int, once: bool) -> None:
    """Serve the numbers until interrupted, or print them once.

    Raises:
        StockcastError: if the address cannot be used.
    """
    with open_session(call) as session:
        registry = CollectorRegistry(auto_describe=False)
        if once:
            registry.register(StockcastCollector(session.instance, session.warehouse))
            print(generate_latest(registry).decode(), end="")  # noqa: T201
            return
        hosts = session.settings.allowed_hosts
        # Read by a machine, and nothing can be changed there: what a person would be warned of does not hold.
        require_address("metrics", host, port, hosts)
        registry.register(StockcastCollector(session.instance, session.warehouse))
        import uvicorn

        err.print("Prometheus metrics (Ctrl-C ends it):")
        print(f"{url(host, port)}/metrics", flush=True)  # noqa: T201
        uvicorn.run(
            Guard(make_asgi_app(registry), hosts, _NOTHING_LOADED),
            host=host,
            port=port,
            log_level="warning",
        )
