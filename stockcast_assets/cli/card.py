"""`stockcast card`: one page about a ticker's model of a month."""

from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import plain, print_json
from stockcast_assets.forecasting.card import card_of, stored_model
from stockcast_assets.inputs import parse_month
from stockcast_assets.masking import redact


def run(call: Invocation, ticker: str, month: str | None) -> None:
    """Print the card of the month's newest model, of the newest month if none is named."""
    with open_session(call) as session:
        session.require_rows_here()
        model = stored_model(session.warehouse.read, ticker, None if month is None else parse_month(month))
        card = card_of(session.warehouse.read, model)
    if call.as_json:
        names = ("ticker", "model_version", "trained_to", "promoted", "method")
        print_json({**{name: plain(model[name]) for name in names}, "month": f"{model['date']:%Y-%m}", "card": card})
        return
    # Not wrapped: it is for a file or a pipe, too. What rows hold is printable in it.
    print(redact(card), end="")  # noqa: T201
