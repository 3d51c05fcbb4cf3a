"""The model card: what a ticker's model of a month is, what it proved, how it did since, and what it cannot do.

One text for every place that shows it, made of stored rows alone. It is Markdown, in which whatever the rows hold is
text: no picture is fetched for it and no link made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

from stockcast_assets.errors import StockcastError
from stockcast_assets.forecasting.config import HORIZON
from stockcast_assets.forecasting.features import FEATURE_NAMES
from stockcast_assets.forecasting.universe.inputs import HEAD_INPUTS, STEP_INPUTS
from stockcast_assets.inputs import printable, shortlist
from stockcast_assets.libraries import np, pd
from stockcast_assets.methods import AVERAGE, LABELS, LSTM, RATIOS, method_label
from stockcast_assets.tables import FORECAST_ACCURACY, TAILS, TRAINED_MODEL, UNIVERSE_MODEL

LIVE_DAYS = 365
"""Days before the month whose forecasts are scored beside the month's own."""

Read: TypeAlias = "Callable[..., pd.DataFrame]"
"""Rows of a table: `Warehouse.read`, or another that takes the same."""

_LIVE, _LIMITED = "## Live scores so far", "## Known limits"

_KEYS = ("ticker", "date", "horizon", "as_of_date", "target_date", "actual_close")
_MOST_WORDS = 1500
"""Characters of a stored sentence that are shown: MLflow keeps 8,000 of a note."""

_SPOKEN = re.compile(
    # Emphasis, code, formulas, cells, entities; an underscore outside of words; brackets of a picture or a link.
    r"[\\`*$|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|(?<=!)\[|(?<=\])[(\[:]"
)

_LIMITS = (
    "It says how far prices are likely to move, and nothing of the direction: its middle is hardly better than "
    "“tomorrow is like today”.",
    "It knows bars, the calendar and, with shared networks, earnings dates. It reads no news, and no interval is made "
    "for a day unlike any before.",
    "Who lists a ticker today chooses a survivor, so the proof is of survivors.",
    f"Its outermost quantiles are {100 * min(TAILS):g} % and {100 * max(TAILS):g} %, from few days: beyond them "
    "it says nothing.",
    "A range is no advice. Of ten closes two should fall outside of the 80 % interval.",
)


def stored_model(read: Read, ticker: str, month: date | None = None) -> Mapping[Any, Any]:
    """The row of a ticker's newest model, or of the newest of a month of use.

    Raises:
        StockcastError: if there is none.
    """
    models = read(TRAINED_MODEL, tickers=[ticker]).sort_values(["date", "trained_to"])
    if models.empty:
        raise StockcastError(f"There is no model of {ticker}: train one with `stockcast forecast {ticker}`.")
    return chosen_model(models, ticker, month)


def chosen_model(models: pd.DataFrame, ticker: str, month: date | None = None) -> dict[Any, Any]:
    """The last of a ticker's models, or the last one of a month of use.

    Args:
        models: rows of `trained_model` of the ticker, by month and knowledge; at least one.
        ticker: whose.
        month: first day of the month of use; None for the newest.

    Raises:
        StockcastError: if there is none of the month.
    """
    chosen = models if month is None else models[models["date"] == pd.Timestamp(month)]
    if chosen.empty:
        months = [f"{each:%Y-%m}" for each in models["date"].drop_duplicates()[::-1]]
        raise StockcastError(
            f"There is no model of {ticker} for {month:%Y-%m}, only for {shortlist(months)}: "
            f"`stockcast card {ticker} {months[0]}` shows the newest."
        )
    return dict(chosen.iloc[-1])


def card_of(read: Read, model: Mapping[Any, Any]) -> str:
    """The card of a row of `trained_model`, with what is stored beside it.

    Args:
        read: reads the tables.
        model: the row.
    """
    month, universe = pd.Timestamp(model["date"]), None
    if (run_id := _given(model, "universe_run_id")) is not None:
        networks = read(UNIVERSE_MODEL, start=month.date(), end=month.date())
        universe = next((row for row in networks.to_dict("records") if row["run_id"] == run_id), None)
    return model_card(model, universe, live_scores(read, model))


def live_scores(read: Read, model: Mapping[Any, Any]) -> pd.DataFrame:
    """The rows of `forecast_accuracy` that the card of a model counts, and later ones."""
    start = (pd.Timestamp(model["date"]) - pd.Timedelta(days=LIVE_DAYS)).date()
    return read(FORECAST_ACCURACY, tickers=[model["ticker"]], start=start)


def with_live_scores(card: str, month: pd.Timestamp, scored: pd.DataFrame) -> str:
    """A card with the live scores that these rows come to instead of its own; the rest stays as it was written.

    Args:
        card: as `model_card` made it, by this release or an earlier one.
        month: first day of the model's month of use.
        scored: rows of `forecast_accuracy` of the ticker.

    Raises:
        StockcastError: if it is no such card.
    """
    # No stored text can look like a heading: it never begins a line.
    parts = re.fullmatch(rf"(.*\n{_LIVE}\n\n).*(\n\n{_LIMITED}\n.*)", card, re.DOTALL)
    if parts is None:
        raise StockcastError("The card that MLflow keeps has no live scores and known limits: somebody changed it.")
    return f"{parts[1]}{_live(month, scored)}{parts[2]}"


def model_card(model: Mapping[Any, Any], universe: Mapping[Any, Any] | None, scored: pd.DataFrame) -> str:
    """The card of a model, in Markdown.

    Args:
        model: a row of `trained_model`; columns that a row of an earlier release lacks count as null.
        universe: the row of `universe_model` with the networks it serves with, None if it has its own.
        scored: rows of `forecast_accuracy` of the ticker, with whatever columns the table has. Those of the month's
            forecasts and of the LIVE_DAYS before it are counted.
    """
    month = pd.Timestamp(model["date"])
    return (
        "\n\n".join(
            [
                f"# Model card: {_text(model['ticker'])}, {month:%B %Y}",
                _table(("What", "Which"), _about(model)),
                "## Data",
                _data(model),
                "## Features and training",
                _training(model, universe),
                "## Proof before publication",
                *_proof(model),
                _LIVE,
                _live(month, scored),
                _LIMITED,
                "\n".join(f"- {limit}" for limit in (*_own_limits(model), *_LIMITS)),
            ]
        )
        + "\n"
    )


def _about(model: Mapping[Any, Any]) -> Iterable[tuple[str, str]]:
    yield "Model", f"{_text(model['model_name'])}, version {_text(model['model_version'])}"
    yield "Role", "champion: it earned its place" if model["promoted"] else "challenger: it was not promoted"
    serving = _given(model, "serving_version")
    by_another = serving is not None and serving != model["model_version"]
    of_another = f" of version {_text(serving)}" if by_another else ""
    yield "The month publishes", f"{_text(method_label(str(model['method'])))}{of_another}"
    yield "MLflow run", _text(model["run_id"])
    yield "SHA-256 of its file", f"{_text(model['weights_sha256'])[:16]}…"
    if (trigger := _given(model, "trigger")) is not None:
        yield "Trained again because", _text(trigger)


def _data(model: Mapping[Any, Any]) -> str:
    first, last = pd.Timestamp(model["trained_from"]), pd.Timestamp(model["trained_to"])
    return (
        f"Daily bars of {_text(model['ticker'])} from {first:%Y-%m-%d} to {last:%Y-%m-%d}, brought onto the close with "
        f"dividends reinvested. Nothing after that day is known to it. It learnt from {model['n_samples']:,} sessions "
        f"and was judged on {model['n_cases']:,} as-of days, each {HORIZON} sessions ahead, by fits that did not know "
        "them."
    )


def _training(model: Mapping[Any, Any], universe: Mapping[Any, Any] | None) -> str:
    if not model["n_samples"]:
        return "Its history is too short to train on, so there is no network: its interval is that of its past returns."
    lost = _given(model, "universe_run_id")
    if universe is None and lost is not None:
        return f"The networks of the MLflow run {_text(lost)}, of which `universe_model` has no row any more."
    if universe is None:
        why = _given(model, "without_universe")
        because = "" if why is None else f", because {_text(why)}"
        return (
            f"An LSTM of its own{because}. It sees {len(FEATURE_NAMES)} inputs of each session: "
            f"{', '.join(name.replace('_', ' ') for name in FEATURE_NAMES)}. It starts at the interval of HAR with the "
            "quarter's pattern, learns by how much to widen it, and is stopped by the last known sessions; an adaptive "
            "conformal step then keeps its coverage."
        )
    members = str(universe["members"]).split()
    month, last = pd.Timestamp(universe["date"]), pd.Timestamp(universe["trained_to"])
    low, high = (universe[f"pinball_ratio_start_{end}"] for end in ("low", "high"))
    pooled = universe["pinball_ratio_start"]
    proof = (
        ""
        if pd.isna(pooled)
        else f" Over {universe['n_judged']} of them their pinball loss is {pooled:.4f} [{low:.4f}, {high:.4f}] times "
        f"that of the interval they start from, on {universe['n_cases']:,} cases."
    )
    return (
        f"The networks of {month:%B %Y} (`universe_model` version {_text(universe['model_version'])}, run "
        f"{_text(universe['run_id'])}), learnt from {len(members)} tickers up to {last:%Y-%m-%d}: "
        f"{_text(shortlist(members, 10))}.{proof} They see {STEP_INPUTS} inputs of each session (the ticker's own, the "
        f"market's, reports near by) and {HEAD_INPUTS} of each of the {HORIZON} sessions ahead. The ticker's own part "
        "is its HAR, its report factor, its quantiles and the adaptive conformal step."
    )


def _proof(model: Mapping[Any, Any]) -> Iterable[str]:
    yield f"What the gate said: {_text(model['reason'])}"
    found = [(ratio, _given(model, name)) for name, ratio in RATIOS.items()]
    rows = [
        (LABELS[ratio.baseline], "RMSE" if ratio.metric == "rmse" else "pinball loss", f"{value:.4f}")
        for ratio, value in found
        if value is not None
    ]
    if not rows:
        yield "Nothing was trained, so nothing was judged."
        return
    yield _table(("Contender", "Score", f"{LABELS[LSTM]} / contender"), rows)
    low, high = model["rmse_ratio_rw_low"], model["rmse_ratio_rw_high"]
    yield (
        f"Below 1 the {LABELS[LSTM]} is better. The 95 % interval of its RMSE over the random walk's is {low:.4f} to "
        f"{high:.4f}. Its 80 % interval held {_per_cent(model['coverage_80'])} of the outcomes; its pinball loss is "
        f"{model['pinball']:.6f} in log returns."
    )


def _live(month: pd.Timestamp, scored: pd.DataFrame) -> str:
    made = scored["as_of_date"]
    after = month + pd.offsets.MonthBegin(1)
    spans = (
        (f"{month:%B %Y}", (made >= month) & (made < after)),
        (f"the {LIVE_DAYS} days before", (made < month) & (made >= month - pd.Timedelta(days=LIVE_DAYS))),
    )
    measured = {span: _measured(scored[rows]) for span, rows in spans if rows.any()}
    if not measured:
        return (
            "None yet: a forecast is scored on the day its target session closed, and none of the month or of the "
            f"{LIVE_DAYS} days before has been."
        )
    names = dict.fromkeys(name for found in measured.values() for name in found)
    lines = [(name, *(found.get(name, "–") for found in measured.values())) for name in names]
    newest = scored["date"][spans[0][1] | spans[1][1]].max()
    return (
        f"Scored up to {newest:%Y-%m-%d}, whatever was published.\n\n"
        + _table(("Forecasts as of", *measured), lines)
        + "\n\nA ratio below 1 means that what was published is better."
    )


def _measured(scored: pd.DataFrame) -> dict[str, str]:
    """What forecasts came to, by the name of the score, of whatever columns there are."""
    relative = {name: scored[name] / scored["actual_close"] for name in ("error", "naive_error")}
    ours, naive = (float(np.sqrt((one**2).mean())) for one in relative.values())
    found = {
        "Scored": f"{len(scored):,}",
        "In the 80 % interval": _per_cent(scored["inside_80"].mean()),
        "RMSE / random walk": f"{ours / naive:.3f}" if naive > 0 else "–",
    }
    more = scored.drop(columns=[*_KEYS, *relative, "inside_80"])
    scores = more.select_dtypes("float")
    for name in map(str, more.select_dtypes(["bool", "boolean"])):
        if (told := more[name].dropna()).size:
            found[_named(name)] = _per_cent(told.astype(float).mean())
    for name in map(str, scores.columns[scores.notna().any()]):
        whole = next((each for each in map(str, scores) if name.startswith(f"{each}_")), None)
        if whole is None:
            found[_named(name)] = f"{scores[name].mean():.4g}"
            continue
        # `pinball_har` beside `pinball`, on the rows that have both.
        both = scores[[whole, name]].dropna()
        if both[name].sum() > 0:
            baseline = name.removeprefix(f"{whole}_")
            ratio = both[whole].sum() / both[name].sum()
            found[f"{_named(whole)} / {LABELS.get(baseline, baseline)}"] = f"{ratio:.3f}"
    return found


def _own_limits(model: Mapping[Any, Any]) -> Iterable[str]:
    if not model["n_cases"]:
        yield "It was never judged: too few sessions were known."
    if model["method"] == AVERAGE:
        yield "The network is published as half of an average with its start: alone, it is not shown to be better."
    elif model["method"] != LSTM:
        yield f"The network is not what is published: {_text(method_label(str(model['method'])))} is."
    if (version := _given(model, "serving_version")) is not None and version != model["model_version"]:
        yield f"Version {_text(version)}, of an earlier month, serves it."


def _per_cent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _named(column: str) -> str:
    return {"pit": "PIT, mean", "crps": "CRPS"}.get(column, column.replace("_", " "))


def _given(row: Mapping[Any, Any], name: str) -> Any:
    """A row's value, None where it is null or the column is not there."""
    value = row.get(name)
    return None if value is None or pd.isna(value) else value


def _text(value: object) -> str:
    """A stored text as Markdown that shows its characters, and is no picture, link, formula or HTML."""
    words = printable(" ".join(str(value).split()))[:_MOST_WORDS]
    return _SPOKEN.sub(lambda sign: f"\\{sign.group()}", words).replace("<", "&lt;")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
