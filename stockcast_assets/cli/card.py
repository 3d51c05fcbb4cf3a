"""`stockcast card`: one page about a ticker's model of a month."""

from stockcast_assets.as_known import past_day, world_of
from stockcast_assets.cli.invocation import Invocation
from stockcast_assets.cli.session import open_session
from stockcast_assets.cli.tables import plain, print_json
from stockcast_assets.forecasting.card import card_of, stored_model
from stockcast_assets.inputs import parse_month
from stockcast_assets.masking import redact
from stockcast_assets.orchestration.build import registry_from


def run(call: Invocation, ticker: str, month_text: str | None, as_known_on: str | None) -> None:
    """Print the card of the month's newest model, of the newest month if none is named, as it is or was known then."""
    known_on = None if as_known_on is None else past_day(as_known_on)
    month = None if month_text is None else parse_month(month_text)
    with open_session(call, models=known_on is not None) as session:
        session.require_rows_here()
        read = world_of(session.warehouse, known_on).read
        if known_on is None:
            model = stored_model(read, ticker, month)
            card = card_of(read, model)
        else:
            # MLflow need not be asked, nor its library loaded, for what is known now.
            from stockcast_assets.tracking.cards import card_known

            model, card = card_known(registry_from(session.settings), read, ticker, month, known_on)
    if call.as_json:
        names = ("ticker", "model_version", "trained_to", "promoted", "method")
        about = {name: plain(model[name]) for name in names}
        print_json({**about, "month": f"{model['date']:%Y-%m}", "card": card, "as_known_on": known_on})
        return
    # Not wrapped: it is for a file or a pipe, too. What rows hold is printable in it.
    print(redact(card), end="")  # noqa: T201
