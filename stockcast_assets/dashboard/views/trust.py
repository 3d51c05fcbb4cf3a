"""Trust: whether the forecasts deserve any."""

from collections.abc import Sequence
from datetime import timedelta

import pandas as pd
import streamlit as st

from stockcast_assets.charts import plotly as charts
from stockcast_assets.dashboard import data, summaries
from stockcast_assets.dashboard.layout import (
    Card,
    browser_title,
    cards,
    figure,
    fine_print,
    lead,
    no_data,
    notice,
    palette,
    state,
    ticker_picker,
    told,
)
from stockcast_assets.dashboard.summaries import per_cent
from stockcast_assets.dashboard.words import GLOSSARY, why_published
from stockcast_assets.methods import BESIDE, HAR, HAR_EARNINGS, LABELS, METHODS, OF_NETWORK, method_label
from stockcast_assets.monitoring import live
from stockcast_assets.tables import DRIFT_REPORT, FORECASTS, HORIZON, QUANTILES

NAMES = {**{name: METHODS[name].heading or LABELS[name] for name in BESIDE}, live.PUBLISHED: "published"}
"""What each step is called beside a figure, short enough for a phone."""

PUBLISHED_WORDS = {
    live.LATE: "None of these is a forecast: they were published late, when their session had opened, as a backfill "
    "does. They are a replay, and show what would have been said.",
    live.UNKNOWN: "An earlier release stored these, without a ledger: when they were published is not known.",
}
"""What is said of forecasts that did not come in time."""


def show() -> None:
    """The page."""
    st.title("Trust")
    pickers = st.columns([2, 2, 3])
    ticker = ticker_picker(pickers[0])
    if ticker is None:
        return
    with pickers[1]:
        scope = st.segmented_control(
            "Outcomes of", ["This ticker", "All tickers"], default="This ticker", required=True, key="scope",
            bind="query-params",
        )  # fmt: skip
    browser_title("Trust", ticker)
    models = data.models(ticker).sort_values("trained_to", ascending=False, ignore_index=True)
    newest = data.newest_bars(ticker)
    if models.empty and newest.empty:
        no_data(ticker)
        return
    _proof(ticker, models)
    _outcomes(ticker if scope == "This ticker" else None)
    _history(models)
    _freshness(ticker, newest)
    _revisions(ticker)
    _second_opinion(ticker)


def _proof(ticker: str, models: pd.DataFrame) -> None:
    st.header("Before publication: the walk-forward proof")
    if models.empty:
        state(f"No model of {ticker}", "Train and forecast in one go:", f"stockcast forecast {ticker}")
        return
    model = models.iloc[0]
    low, high = model["rmse_ratio_rw_low"], model["rmse_ratio_rw_high"]
    lead(why_published(model["method"], dict(model)))
    with st.expander("Details: the numbers of the decision"):
        told(f"{model['date']:%B %Y}.", f"{model['reason']} {_instead(model)}")
    if model["n_cases"] == 0:
        fine_print("Nothing was trained, so there is no walk-forward proof to show.")
        return
    cards(
        [
            Card("RMSE / random walk", f"{model['rmse_ratio_rw']:.3f}",
                 f"95 %: {low:.3f} – {high:.3f}{', a tie' if low <= 1 <= high else ''}", "RMSE"),
            Card("Pinball / constant vol.", f"{model['pinball_ratio_constant_vol']:.3f}", "below 1 is better",
                 "Pinball loss"),
            Card("Pinball / filtered history", f"{model['pinball_ratio_fhs']:.3f}", "below 1 is better",
                 "Pinball loss"),
            Card("80 % interval held", per_cent(model["coverage_80"]), "should be 80 %", "Coverage"),
            Card("Judged on", f"{model['n_cases']:,}", f"as-of dates × {HORIZON} horizons", "Walk-forward"),
        ]
    )  # fmt: skip
    figure(charts.proof(model, palette()), "Error of the LSTM over each baseline's; below 1 the LSTM is better")


def _instead(model: pd.Series) -> str:
    """What is published if not the model's own forecast: its reason says why, not always what."""
    if model["method"] in OF_NETWORK or pd.isna(model["serving_version"]):
        return ""
    if model["serving_version"] != model["model_version"]:
        return f"Published instead: model version {model['serving_version']}."
    return f"Published instead: the baseline {method_label(model['method'])}."


def _outcomes(ticker: str | None) -> None:
    st.header("After publication: what happened")
    pickers = st.columns([3, 2])
    with pickers[0]:
        window = st.segmented_control(
            "Over", list(live.WINDOWS), default=list(live.WINDOWS)[1], required=True, key="window", bind="query-params"
        )
    parts = live.by_publication(data.scores(ticker, live.WINDOWS[window]))
    if not parts:
        state(
            "No outcome yet",
            "A forecast is scored on the day its target session closes: materialise forecast_accuracy for "
            "days after the first forecasts.",
        )
        return
    published = next(iter(parts))
    if len(parts) > 1:
        with pickers[1]:
            published = st.segmented_control(
                "Published", list(parts), default=published, required=True, key="published"
            )
    if published in PUBLISHED_WORDS:
        st.html(notice(PUBLISHED_WORDS[published]))
    scored = parts[published]
    _point(scored)
    _distribution(ticker, scored)
    left, right = st.columns(2)
    with left:
        fine_print("Share of closes inside the 80 % interval, last 20 sessions")
        over_time = summaries.coverage_over_time(scored)
        figure(charts.coverage(over_time, palette()), "Coverage of the 80 % interval over time")
    with right:
        fine_print("Typical error by distance")
        errors = summaries.error_by_horizon(scored)
        figure(charts.error_by_horizon(errors, palette()), "Error by horizon, published forecast and random walk")


def _point(scored: pd.DataFrame) -> None:
    result = summaries.skill(scored)
    if result is None:
        return
    interval = (
        f"95 %: {per_cent(result.low, 1, True)} to {per_cent(result.high, 1, True)}"
        f"{', a tie' if result.low <= 0 <= result.high else ''}"
        if result.low is not None and result.high is not None
        else f"{result.sessions} sessions: too few for an interval"
    )
    cards(
        [
            Card("Skill over random walk", per_cent(result.value, 1, True), interval, "Skill"),
            Card("80 % interval held", per_cent(result.coverage), "should be 80 %", "Coverage"),
            Card("Scored forecasts", f"{result.forecasts:,}", f"{result.sessions} sessions"),
        ]
    )


def _distribution(ticker: str | None, scored: pd.DataFrame) -> None:
    """The whole range: beside the baselines that were stored with it, and against its own probabilities."""
    found = live.summarise(scored)
    if found is None:
        fine_print("Earlier releases stored no baselines with their forecasts and scored no distribution.")
        return
    items = []
    for name, ratio in found.against.items():
        if name in (HAR, HAR_EARNINGS):
            items.append(Card(f"Interval / {LABELS[name]}", f"{ratio.value:.3f}", _ratio_words(ratio), "Pinball loss"))
    if ticker is not None:
        for one in found.coverage:
            both = f"{one.test.kupiec_p:.2f} / {one.test.christoffersen_p:.2f}"
            note = f"p, {one.test.misses} of {one.test.n} missed"
            items.append(Card("Kupiec / Christoffersen", both, note, "Kupiec and Christoffersen"))
    else:
        of = len(found.coverage)
        for test, p_values in (
            ("Kupiec", [one.test.kupiec_p for one in found.coverage]),
            ("Christoffersen", [one.test.christoffersen_p for one in found.coverage]),
        ):
            rejected = sum(p < 0.05 for p in p_values)
            note = f"of {of} tickers fail at 5 %; {0.05 * of:.1f} by chance"
            items.append(Card(f"{test} test", str(rejected), note, "Kupiec and Christoffersen"))
    items.append(Card("CRPS", f"{found.crps * 100:.2f} %", "of log returns; lower is better"))
    items.append(Card("Interval score", f"{found.interval_score * 100:.2f} %", "of the 80 % interval (Winkler)"))
    cards(items)
    left, right = st.columns(2)
    with left:
        fine_print("Loss of the published range over each baseline's for the same sessions")
        shown = _ratio_rows([(NAMES[name], ratio) for name, ratio in found.against.items()])
        figure(charts.ratios(shown, palette(), "published / baseline"), "Live pinball ratios with 95 % intervals")
    with right:
        begins = f", from {NAMES[found.steps[0][0]]} on" if found.steps else ""
        fine_print(f"What each step adds: its loss over that of the one before{begins}")
        steps = [(NAMES[after], ratio) for _, after, ratio in found.steps]
        figure(charts.ratios(_ratio_rows(steps), palette(), "step / step before"), "Value added per step")
    left, right = st.columns(2)
    with left:
        fine_print("Where closes fell within what was promised (PIT): level if it is right")
        figure(charts.pit_histogram(found.pit, palette()), "Histogram of the probability integral transform")
    with right:
        fine_print("Reliability of the quantiles: on the diagonal if they are right")
        figure(charts.reliability(QUANTILES, found.reliability, palette()), "Reliability diagram of the quantiles")


def _ratio_words(ratio: live.Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return "too few sessions for an interval"
    verdict = "better" if ratio.won else "worse" if ratio.lost else "a tie"
    return f"95 %: {ratio.low:.3f} – {ratio.high:.3f}, {verdict}"


def _ratio_rows(ratios: Sequence[tuple[str, live.Ratio]]) -> pd.DataFrame:
    rows = [(name, ratio.value, ratio.low, ratio.high) for name, ratio in ratios]
    return pd.DataFrame(rows, columns=["name", "ratio", "low", "high"]).astype({"low": float, "high": float})


def _history(models: pd.DataFrame) -> None:
    if models.empty:
        return
    st.header("Champions and challengers")
    fine_print("One row per model, newest first. A model that does not earn its place leaves it to the version before.")
    ratios = ["rmse_ratio_rw", "pinball_ratio_constant_vol", "coverage_80"]
    shown = models.assign(
        trigger=models["trigger"].fillna("the month began"),
        coverage_80=models["coverage_80"] * 100,
        promoted=models["promoted"].map({True: "yes", False: "no"}),
        method=models["method"].map(method_label),
    )
    st.dataframe(
        shown[
            [
                "date",
                "trained_to",
                "model_version",
                "serving_version",
                "promoted",
                "method",
                *ratios,
                "reason",
                "trigger",
            ]
        ],
        hide_index=True,
        column_config={
            "date": st.column_config.DateColumn("Month", format="MMM YYYY"),
            "trained_to": st.column_config.DateColumn("Knows until"),
            "model_version": "Version",
            "serving_version": "Serves",
            "promoted": st.column_config.Column("Champion", help=GLOSSARY["Champion"]),
            "method": "Publishes",
            "rmse_ratio_rw": st.column_config.NumberColumn("RMSE / random walk", format="%.3f", help=GLOSSARY["RMSE"]),
            "pinball_ratio_constant_vol": st.column_config.NumberColumn(
                "Pinball / constant vol.", format="%.3f", help=GLOSSARY["Pinball loss"]
            ),
            "coverage_80": st.column_config.NumberColumn("80 % held", format="%.1f %%", help=GLOSSARY["Coverage"]),
            "reason": st.column_config.TextColumn("Why", width="medium"),
            "trigger": "Trained because",
        },
    )


def _freshness(ticker: str, newest: pd.DataFrame) -> None:
    st.header("Freshness")
    if newest.empty:
        no_data(ticker)
        return
    last = newest.iloc[-1]
    items = [
        Card("Last bar", f"{last['date']:%d %b %Y}", f"source {last['source']}"),
        Card("Stored", f"{newest['ingested_at'].max():%d %b %Y}", "newest write, UTC"),
    ]
    since = (last["date"] - timedelta(days=60)).date()
    for name, table in (("Last forecast", FORECASTS), ("Last drift report", DRIFT_REPORT)):
        days = data.read(table, tickers=[ticker], start=since, columns=["ticker", "date"])["date"]
        behind = int((newest["date"] > days.max()).sum()) if len(days) else 0
        note = "up to date" if behind == 0 else f"{behind} sessions behind"
        items.append(Card(name, f"{days.max():%d %b %Y}" if len(days) else "–", note if len(days) else "none"))
    cards(items)


def _revisions(ticker: str) -> None:
    st.header("Revised rows")
    found = data.revisions(ticker)
    if found.empty:
        fine_print(
            "None on record: whenever stored sessions were fetched again, the source said what it had said before."
        )
        return
    fine_print("What the source later said otherwise. The sensor “revisions” materialises the rows concerned again.")
    st.dataframe(
        found,
        hide_index=True,
        column_config={
            "seen": st.column_config.DatetimeColumn("Seen (UTC)", format="YYYY-MM-DD HH:mm"),
            "date": "Session",
            "kind": "Kind",
            "column": "Column",
            "before": st.column_config.NumberColumn("Stored before", format="%.6g"),
            "after": st.column_config.NumberColumn("Source says", format="%.6g"),
        },
    )


def _second_opinion(ticker: str) -> None:
    st.header("Second opinion")
    second = data.settings().second_source
    # A source on the network is asked when somebody wants to know, not by each visit.
    if second == "yahoo" and not st.button(f"Ask {second}"):
        fine_print(f"{second} is asked about every stored bar of {ticker}, which takes some seconds.")
        return
    found = data.opinion(ticker)
    if isinstance(found, str):
        fine_print(found)
        return
    cards(
        [
            Card("Bars in both", f"{found.heard:,}", f"of {len(found.bars):,} stored"),
            Card("Disputed", f"{len(found.disputed):,}", "closes that differ"),
            Card("Only there", f"{len(found.absent):,}", "sessions not stored"),
        ]
    )
    fine_print(f"{second} beside what is stored, {found.basis} compared.")
    if len(found.disputed):
        st.dataframe(
            found.disputed[["date", "close", "second_close"]],
            hide_index=True,
            column_config={
                "date": st.column_config.DateColumn("Session"),
                "close": st.column_config.NumberColumn("Stored", format="%.6g"),
                "second_close": st.column_config.NumberColumn("There", format="%.6g"),
            },
        )
