"""A walk-forward evaluation as one HTML page that needs nothing else: words, tables and charts."""

from collections.abc import Sequence
from html import escape
from itertools import cycle, pairwise

import pandas as pd
import plotly.graph_objects as go

from stockcast_assets.forecasting.config import HORIZON, QUANTILES
from stockcast_assets.forecasting.evaluation.coverage import coverage_test, misses
from stockcast_assets.forecasting.evaluation.scores import BLOCK_SESSIONS, POOLED, SCORES, coverage_by_day, reliability
from stockcast_assets.forecasting.evaluation.walkforward import HEADLINES, WalkForward
from stockcast_assets.forecasting.universe.walkforward import STEPS_OF_VALUE
from stockcast_assets.methods import LABELS, LSTM, method_label

ROLLING_DAYS = 60
_ALL = "#1f2933"
_COLORS = ("#0f766e", "#c2410c", "#334e68", "#b45309", "#7c3aed", "#0369a1", "#be123c", "#4d7c0f", "#64748b")
_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e4e7eb; text-align: right }
th:first-child, td:first-child { text-align: left }
.scroll { overflow-x: auto } p.note { color: #52606d; font-size: .9rem }
"""


def interval_words(ratio: float, low: float, high: float) -> str:
    """A ratio in words: below 1 is better, and only an interval that leaves 1 out is a difference."""
    figures = f"{ratio:.3f} [{low:.3f}, {high:.3f}]"
    if high < 1:
        return f"{figures}: better"
    return f"{figures}: worse" if low > 1 else f"{figures}: no measurable difference"


def summary_sentences(walk: WalkForward) -> list[str]:
    """What was measured, in plain words."""
    headline, intervals = walk.headline(), walk.intervals()
    tickers = ", ".join(walk.tickers)
    low, high = intervals["coverage_80"]
    sentences = [
        f"{headline['n_cases']} as-of days × {HORIZON} sessions ahead of {tickers}, {walk.first_day} to "
        f"{walk.last_day}; every contender refitted at the start of each calendar year, on what was known then."
    ]
    for key, (metric, other) in HEADLINES.items():
        words = interval_words(float(headline[key]), *intervals[key])
        what = "error of the point forecast (RMSE)" if metric == "rmse" else "loss of the interval (pinball)"
        sentences.append(f"LSTM / {LABELS[other]}, {what}: {words}.")
    sentences.append(f"The 80 % interval held {headline['coverage_80']:.1%} of the outcomes [{low:.1%}, {high:.1%}].")
    return sentences


def evaluation_html(walk: WalkForward) -> str:
    """The page. The same evaluation gives the same page but for the ids that plotly draws for its charts."""
    title = f"Walk-forward evaluation: {', '.join(walk.tickers)}"
    charts = (
        ("Skill per horizon", skill_chart(walk), "Above 0 the LSTM's interval is better than the contender's."),
        (
            "Coverage over time",
            coverage_chart(walk),
            f"Share of outcomes inside the 80 % interval, mean of {ROLLING_DAYS} as-of days.",
        ),
        (
            "Reliability of the quantiles",
            reliability_chart(walk),
            "On the diagonal a quantile of level q lies above a share q of the outcomes.",
        ),
    )
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(sentence)}</p>" for sentence in summary_sentences(walk)[:1])]
    parts.append("<ul>" + "".join(f"<li>{escape(s)}</li>" for s in summary_sentences(walk)[1:]) + "</ul>")
    for position, (heading, figure, note) in enumerate(charts):
        # The first chart brings plotly's script along for all of them, so that the file opens without a network.
        script = position == 0
        parts.append(f"<h2>{escape(heading)}</h2>{_chart(figure, script)}")
        parts.append(f'<p class="note">{escape(note)}</p>')
    parts += ["<h2>The LSTM against each contender, by ticker</h2>", _table(_ratios(walk))]
    if set(STEPS_OF_VALUE) <= set(walk.pooled.contenders):
        parts += ["<h2>What each step adds</h2>", _table(steps_of_value(walk))]
        parts += ["<h2>The 80 % interval of the next session, by ticker</h2>", _table(coverage_tests(walk))]
        parts.append(
            '<p class="note">P-values that it misses as often as it promises (Kupiec), and that a miss says nothing of '
            "the next day (Christoffersen): small ones speak against it.</p>"
        )
    parts += ["<h2>Every contender, all horizons and tickers</h2>", _table(_scores(walk))]
    parts.append(
        '<p class="note">Ratios below 1 mean the LSTM is better. Brackets are 95 % intervals by a block bootstrap '
        f"over days ({BLOCK_SESSIONS} sessions a block, the tickers of a day kept together). A forecast is a range of "
        "what may happen, not advice.</p>"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_CSS}</style></head><body>{''.join(parts)}</body></html>"
    )


def _chart(figure: go.Figure, with_script: bool) -> str:
    text: str = figure.to_html(full_html=False, include_plotlyjs=with_script, config={"displayModeBar": False})
    return text


def skill_chart(walk: WalkForward) -> go.Figure:
    """1 - pinball loss of the LSTM / contender, per horizon, pooled."""
    table = walk.pooled.table()
    losses = table[table["horizon"] != POOLED].pivot_table("pinball", "horizon", "contender", sort=False)
    figure = _figure("sessions ahead", "1 - pinball ratio", ".1%")
    colors = _colors(walk.pooled.contenders)
    for name in losses.columns.drop(LSTM):
        skill = 1 - losses[LSTM] / losses[name]
        figure.add_scatter(
            x=losses.index,
            y=skill,
            name=f"over {method_label(name)}",
            mode="lines+markers",
            line={"color": colors[name]},
        )
    figure.add_hline(0, line={"color": "#1f2933", "width": 1})
    return figure


def coverage_chart(walk: WalkForward) -> go.Figure:
    """Rolling coverage of the LSTM's 80 % interval, per ticker and pooled."""
    figure = _figure("as-of day", "inside the 80 % interval", ".0%")
    lines = {ticker: [cases] for ticker, cases in walk.cases.items()}
    if len(lines) > 1:
        lines["all"] = list(walk.cases.values())
    colors = _colors(walk.tickers) | {"all": _ALL}
    for name, cases in lines.items():
        rolling = coverage_by_day(cases, LSTM).rolling(ROLLING_DAYS).mean().dropna()
        width = 3 if name == "all" else 1.4
        figure.add_scatter(
            x=rolling.index, y=rolling, name=name, mode="lines", line={"color": colors[name], "width": width}
        )
    figure.add_hline(0.8, line={"color": "#1f2933", "width": 1, "dash": "dot"})
    return figure


def reliability_chart(walk: WalkForward) -> go.Figure:
    """Level of each quantile against the share of outcomes below it, per contender, pooled."""
    cases = list(walk.cases.values())
    figure = _figure("level of the quantile", "share of outcomes at or below it", ".0%")
    for name, color in _colors(walk.pooled.contenders).items():
        figure.add_scatter(
            x=QUANTILES,
            y=reliability(cases, name),
            name=method_label(name),
            mode="lines+markers",
            line={"color": color},
        )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", showlegend=False, line={"color": "#1f2933", "width": 1, "dash": "dot"}
    )
    figure.update_xaxes(tickformat=".0%")
    return figure


def _colors(names: Sequence[str]) -> dict[str, str]:
    """The same name has the same colour in every chart."""
    return dict(zip(names, cycle(_COLORS), strict=False))


def _figure(x: str, y: str, y_format: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="simple_white", height=380, margin={"l": 60, "r": 20, "t": 10, "b": 50}, xaxis_title=x, yaxis_title=y
    )
    figure.update_yaxes(tickformat=y_format)
    return figure


def _ratios(walk: WalkForward) -> pd.DataFrame:
    rows = []
    for ticker in [None, *walk.tickers] if len(walk.tickers) > 1 else walk.tickers:
        for _, row in walk.against(ticker).iterrows():
            rows.append(
                {
                    "ticker": ticker or "all",
                    "contender": method_label(row["contender"]),
                    "RMSE ratio": _bracketed(row, "rmse"),
                    "pinball ratio": _bracketed(row, "pinball"),
                }
            )
    return pd.DataFrame(rows)


def steps_of_value(walk: WalkForward) -> pd.DataFrame:
    """Pinball loss over the step before, by year and in all: every step is the one before and something more."""
    pooled = walk.pooled
    years = pooled.dates.year
    rows = []
    for before, after in pairwise(STEPS_OF_VALUE):
        ours, theirs = pooled.pinball[after], pooled.pinball[before]
        by_year = {str(year): ours[years == year].sum() / theirs[years == year].sum() for year in years.unique()}
        shown = {year: f"{ratio:.4f}" for year, ratio in (by_year | {"all": ours.sum() / theirs.sum()}).items()}
        rows.append({"step": f"{LABELS[before]} → {LABELS[after]}", **shown})
    return pd.DataFrame(rows)


def coverage_tests(walk: WalkForward) -> pd.DataFrame:
    """Whether the LSTM's 80 % interval of the next session holds, by ticker."""
    found = {ticker: coverage_test(misses(cases, LSTM)) for ticker, cases in walk.cases.items()}
    return pd.DataFrame(
        [
            {
                "ticker": ticker,
                "inside": f"{1 - test.misses / test.n:.1%}",
                "Kupiec": f"{test.kupiec_p:.2f}",
                "Christoffersen": f"{test.christoffersen_p:.2f}",
                "days": test.n,
            }
            for ticker, test in found.items()
        ]
    )


def _bracketed(row: pd.Series, metric: str) -> str:
    return f"{row[f'{metric}_ratio']:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"


def _scores(walk: WalkForward) -> pd.DataFrame:
    scores = walk.scores()
    shown = scores[list(SCORES)].map(lambda value: "–" if pd.isna(value) else f"{value:.4f}")
    shown.insert(0, "contender", scores["contender"].map(method_label))
    return shown


def _table(frame: pd.DataFrame) -> str:
    return f'<div class="scroll">{frame.to_html(index=False, border=0)}</div>'
