"""The first picture of each page, sent with the page itself: to be seen while the app's scripts are still on their way.

It lies over the app until the app has drawn the same, and then goes.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd

from stockcast_assets.as_known import past_day
from stockcast_assets.charts.palette import DARK, LIGHT, Palette
from stockcast_assets.charts.svg import drift_lines, fan, proof_bars
from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.summaries import per_cent, price
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.methods import RATIOS
from stockcast_assets.monitoring.series import INPUTS
from stockcast_assets.tables import FORECASTS

_ROWS = 25
_PAGE = """<style>
#first-paint {{position: fixed; inset: 0; z-index: 9; overflow: hidden; pointer-events: none; background: #fff;
  color: #1b2733; font: 1rem/1.5 'Source Sans', sans-serif; padding: 4.2rem max(1rem, (100vw - 1240px) / 2)}}
#first-paint h1 {{font-size: 1.5rem; margin: 1rem 0}}
#first-paint figure {{display: flex; gap: 1rem; margin: 0; height: 360px}}
#first-paint ol {{display: flex; flex-direction: column; justify-content: space-around; list-style: none; margin: 0;
  padding: 0}}
#first-paint picture {{flex: 1; min-width: 0}} #first-paint img {{width: 100%; height: 100%}}
#first-paint td, #first-paint th {{padding: .2rem 1rem .2rem 0; text-align: right;
  white-space: nowrap}}
@media (prefers-color-scheme: dark) {{#first-paint {{background: #0f1720; color: #e6edf3}}}}
</style>
<div id="first-paint" data-until="{until}"><h1>{title}</h1><p>{words}</p>{figure}</div>
"""
# The same for every page, so that its hash can stand in the Content-Security-Policy.
SCRIPT = """<script>(() => {const picture = document.getElementById('first-paint');
const watch = new MutationObserver(() => document.querySelector(picture.dataset.until + ', .state') && gone());
const gone = () => {watch.disconnect(); picture.remove()};
watch.observe(document.body, {childList: true, subtree: true}); setTimeout(gone, 20000)})()</script>"""
_CARDS, _CHART, _TABLE = ".cards", ".js-plotly-plot .main-svg", "[data-testid=stDataFrame] canvas"


@dataclass(frozen=True)
class _Picture:
    """What a page shows first; `until` selects what replaces it."""

    title: str
    words: str
    figure: str
    until: str


def first_paint(page: str, ticker: str | None = None, day: str | None = None, known: str | None = None) -> str:
    """The first picture of a page as HTML; "" if there is none to show.

    Args:
        page: one of the keys of `PICTURES`.
        ticker: of the address; the one that the page would choose if None.
        day: day of the address, YYYY-MM-DD; the newest if None.
        known: day of whose end the page shows what was known; now if None.

    Raises:
        StockcastError: if the warehouse cannot be read, or `known` is no past day.
        ValueError: if `day` is no date.
    """
    data.show_world_of(past_day(known) if known else None)
    tickers = data.tickers()
    if not tickers:
        return ""
    as_of = pd.Timestamp(date.fromisoformat(day)) if day else None
    picture = PICTURES[page]((ticker or tickers[0]).upper(), as_of)
    if picture is None:
        return ""
    page = _PAGE.format(
        title=html.escape(picture.title),
        words=html.escape(f"As known on {known}. {picture.words}" if known else picture.words),
        figure=picture.figure,
        until=html.escape(picture.until),
    )
    return page + SCRIPT


def _forecasts(ticker: str, as_of: pd.Timestamp | None) -> _Picture | None:
    studied = data.studied(ticker)
    days = data.read(FORECASTS, tickers=[ticker], columns=["ticker", "date"])["date"]
    if studied.empty or days.empty:
        return None
    as_of = days.max() if as_of is None else as_of
    window = studied[(studied["date"] <= as_of) & (studied["date"] > as_of - pd.Timedelta(days=182))]
    if window.empty:
        return None
    forecast = data.read(FORECASTS, tickers=[ticker], start=as_of.date(), end=as_of.date())
    words = f"Last close {price(window['close'].iloc[-1])}"
    for row in forecast[forecast["horizon"] == HORIZON].to_dict("records"):
        words += f", in {HORIZON} sessions {price(row['close_p10'])} – {price(row['close_p90'])} (80 % interval)"
    reports = data.reports(ticker, as_of)
    figure = _figure(
        lambda palette: fan(window, forecast, palette, reports), "Close, moving averages and forecast intervals"
    )
    # The app has a picture of its own in the chart's place by then.
    return _Picture(f"{ticker} as of {as_of:%d %b %Y}", words, figure, _CARDS)


def _trust(ticker: str, _: pd.Timestamp | None) -> _Picture | None:
    models = data.models(ticker)
    if models.empty:
        return None
    model = models.sort_values("trained_to").iloc[-1]
    if model["n_cases"] == 0:
        return None
    words = (
        f"{model['reason']} Error against the random walk {model['rmse_ratio_rw']:.3f}, "
        f"the 80 % interval held {per_cent(model['coverage_80'])}."
    )
    figure = _figure(
        lambda palette: proof_bars(model, palette),
        "Error of the LSTM over each baseline's; left of the line the LSTM is better",
        tuple(f"{ratio.shown} {model[name]:.3f}" for name, ratio in RATIOS.items() if pd.notna(model[name])),
    )
    return _Picture(f"The walk-forward proof of {ticker}, {model['date']:%B %Y}", words, figure, _CHART)


def _card(ticker: str, _: pd.Timestamp | None) -> _Picture | None:
    models = data.models(ticker)
    if models.empty:
        return None
    words = f"What the {models['date'].nunique()} months' models learnt from, proved and published."
    return _Picture(f"Model card of {ticker}", words, "", ".st-key-model-card h1")


def _monitoring(ticker: str, _: pd.Timestamp | None) -> _Picture | None:
    drift = data.drift(ticker)
    if drift.empty:
        return None
    newest = summaries.drift_days(drift).iloc[0]
    words = (
        f"{newest['date']:%d %b %Y}: highest score {newest['ratio']:.2f} of its threshold ({newest['feature']}), "
        f"features drifted: {newest['drifted_features']}."
    )
    # The page's first chart; the colours are those of one kind's features.
    inputs = drift[drift["kind"] == INPUTS]
    if inputs.empty:
        return None
    figure = _figure(lambda palette: drift_lines(inputs, palette), "Inputs: drift score over threshold by day")
    return _Picture(f"Drift of {ticker}", words, figure, _CHART)


def _universe(_: str, __: pd.Timestamp | None) -> _Picture | None:
    rows = data.universe()
    if rows.empty:
        return None
    shown = pd.DataFrame(
        {
            "Ticker": rows["ticker"],
            "Close": rows["close"].map(price),
            "Day": rows["change"].map(lambda value: per_cent(value, sign=True)),
            f"In {HORIZON} sessions": rows["outlook"].map(lambda value: per_cent(value, sign=True)),
            "80 % low": rows["low"].map(price),
            "80 % high": rows["high"].map(price),
        }
    )
    table = shown.head(_ROWS).to_html(index=False, border=0, escape=True)
    return _Picture("Universe", f"{len(rows)} tickers, latest session of each.", table, _TABLE)


PICTURES: Mapping[str, Callable[[str, pd.Timestamp | None], _Picture | None]] = {
    "forecasts": _forecasts,
    "trust": _trust,
    "card": _card,
    "monitoring": _monitoring,
    "universe": _universe,
    # Its holdings are typed in.
    "risk": lambda _, __: None,
}


def _figure(draw: Callable[[Palette], str], alt: str, labels: tuple[str, ...] = ()) -> str:
    rows = "".join(f"<li>{html.escape(label)}</li>" for label in labels)
    return (
        f'<figure>{f"<ol>{rows}</ol>" if rows else ""}<picture><source srcset="{draw(DARK)}" '
        f'media="(prefers-color-scheme: dark)"><img src="{draw(LIGHT)}" alt="{html.escape(alt)}"></picture></figure>'
    )
