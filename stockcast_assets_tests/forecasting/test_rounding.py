"""A forecast made again keeps its last digits; one that says something else is another."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stockcast_assets.forecasting.serving.rounding import ROUNDING, as_said
from stockcast_assets.tables import FORECASTS, HORIZON

NUMBERS = [column.name for column in FORECASTS.columns if column.type == "FLOAT64"]


def forecasts(days: int, seed: int) -> pd.DataFrame:
    """Rows of two tickers with random numbers, of which some columns are null."""
    random, rows = np.random.default_rng(seed), []
    for ticker in ("AAPL", "VOD.L"):
        for day in pd.bdate_range(date(2024, 1, 2), periods=days):
            for horizon in range(1, HORIZON + 1):
                values = dict.fromkeys(FORECASTS.column_names) | {name: random.uniform(1, 900) for name in NUMBERS[:-2]}
                words = {"model_version": "3", "method": "lstm"}
                key = {"ticker": ticker, "date": day, "horizon": horizon, "target_date": day + pd.Timedelta(days=9)}
                rows.append(values | words | key)
    return pd.DataFrame(rows)[FORECASTS.column_names].astype(FORECASTS.empty().dtypes.to_dict())


@given(st.integers(1, 4), st.integers(0, 99), st.floats(-0.99, 0.99), st.data())
def test_what_differs_by_rounding_is_as_it_was_said_and_all_else_as_it_was_made(days, seed, share, data):
    made = forecasts(days, seed).set_index(pd.RangeIndex(7, 7 + 2 * days * HORIZON))
    said = made.copy()
    for name in data.draw(st.lists(st.sampled_from(NUMBERS), unique=True)):
        said[name] *= 1 + share * ROUNDING
    keys = list(made.groupby(["ticker", "date"]).groups)
    other, gone = (data.draw(st.lists(st.sampled_from(keys), unique=True)) for _ in range(2))
    for ticker, day in other:
        # One value of one horizon is enough: a forecast is said whole.
        row = said.index[(said["ticker"] == ticker) & (said["date"] == day)][data.draw(st.integers(0, HORIZON - 1))]
        change = data.draw(st.sampled_from(["number", "null", "word", "version"]))
        if change == "number":
            said.loc[row, "close_p50"] *= 1 + 2.5 * ROUNDING
        elif change == "null":
            said.loc[row, "close_p50"] = None
        else:
            said.loc[row, {"word": "method", "version": "model_version"}[change]] = "another"
    of = pd.MultiIndex.from_frame(said[["ticker", "date"]])
    said = said[~of.isin(gone)].sample(frac=1, random_state=seed)

    found = as_said(made, said)

    new = pd.MultiIndex.from_frame(made[["ticker", "date"]]).isin([*other, *gone])
    assert found.index.equals(made.index)
    pd.testing.assert_frame_equal(found[new], made[new], check_exact=True)
    before = said.sort_values(["ticker", "date", "horizon"])
    kept = before[~pd.MultiIndex.from_frame(before[["ticker", "date"]]).isin(other)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[~new].reset_index(drop=True), kept, check_exact=True)


def test_where_nothing_was_said_it_is_as_it_was_made():
    made = forecasts(1, 0)
    assert as_said(made, made.iloc[:0]) is made
