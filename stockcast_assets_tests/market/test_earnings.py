"""Files of earnings reports."""

from datetime import date

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.market.earnings import (
    AFTER_CLOSE,
    ANNOUNCED,
    BEFORE_OPEN,
    EXPECTED,
    FILED,
    NO_HOUR,
    SAID,
    UNKNOWN,
    filed,
    known,
    said_by_file,
    told,
)
from stockcast_assets.market.sources.files import is_earnings, read_earnings
from stockcast_assets.tables import EARNINGS_DATES


def test_reports_are_read_once_each_in_order_with_their_hours() -> None:
    text = "When,Ticker,Date,EPS\namc,msft,2024-04-25,2.9\n,AAPL,2024-05-02,1\nBMO,AAPL,2024-02-01\n,MSFT,2024-04-25,\n"
    found = read_earnings(text.encode(), "reports.csv")
    assert found.to_dict("list") == {
        "ticker": ["AAPL", "AAPL", "MSFT"],
        "date": [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-05-02"), pd.Timestamp("2024-04-25")],
        "when": [BEFORE_OPEN, UNKNOWN, AFTER_CLOSE],
        "known": [pd.NaT] * 3,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Company,Day\nA,2024-01-02\n", "no column Ticker or Date"),
        ("Ticker,Date\nA,02/01/2024\n", "line 2: '02/01/2024' may be 2024-01-02 or 2024-02-01"),
        ("Ticker,Date\nA,2024-01-02\nA,soon\n", "line 3: 'soon' is no date"),
        ("Ticker,Date\n../x,2024-01-02\n", "line 2: '../X' is not a ticker"),
        ("Ticker,Date,When\nA,2024-01-02,lunch\n", "line 2: 'lunch' says no hour"),
        ("Ticker,Date\n", "names no report"),
        ("", "no column Ticker or Date"),
        ("\xff", "no column Ticker or Date"),
    ],
)
def test_an_odd_file_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(StockcastError, match=words) as refused:
        read_earnings(text.encode(), "reports.csv")
    assert str(refused.value).startswith("reports.csv")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(StockcastError, match="this is an Excel workbook or a ZIP archive"):
        read_earnings(b"PK\x03\x04 and so on", "reports.csv")


@pytest.mark.parametrize(
    "text",
    [
        "Date;Symbol;Time\n25.04.2024;MSFT;After Market Close\n01.02.2024;aapl;time-pre-market\n",
        "\ufeffsymbol\treportDate\thour\tepsActual\nMSFT\t2024-04-25\tamc\t2.9\nAAPL\t2024-02-01\tbmo\t1\n",
        "code,report_date,date,before_after_market,actual\nMSFT,2024-04-25,2024-03-31,AfterMarket,2.9\n"
        "AAPL,2024-02-01,2023-12-31,BeforeMarket,2.2\n",
        'Earnings Date,Ticker\n"Apr 25, 2024 4:05 PM",MSFT\n"Feb 1, 2024 7:00 AM",AAPL\n',
        "ticker,filing_date,when\nNASDAQ:MSFT,4/25/2024,amc\nAAPL,2/1/2024,bmo\nIBM,,\n",
        "exported 2024-05-01\n\nTicker|Date|When\nMSFT|20240425|post-market\nAAPL|20240201|bmo\nAAPL|20240201|\n",
    ],
)
def test_a_strangers_file_is_read_by_the_names_of_its_columns(text: str) -> None:
    assert is_earnings(text.encode())
    found = read_earnings(text.encode(), "reports.csv")
    assert found[["ticker", "date", "when"]].to_numpy().tolist() == [
        ["AAPL", pd.Timestamp("2024-02-01"), BEFORE_OPEN],
        ["MSFT", pd.Timestamp("2024-04-25"), AFTER_CLOSE],
    ]
    assert found["known"].isna().all()


REPORTS = st.lists(
    st.tuples(
        st.sampled_from(("AAPL", "BRK-B", "^GSPC")), st.dates(date(1990, 1, 1), date(2026, 1, 1)),
        st.sampled_from((BEFORE_OPEN, AFTER_CLOSE, UNKNOWN)),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


@settings(max_examples=40)
@given(REPORTS, st.permutations(range(3)), st.sampled_from(",;\t|"), st.sampled_from(("utf-8", "utf-8-sig", "utf-16")))
def test_the_order_of_rows_and_columns_separator_and_encoding_change_nothing(
    said: list[tuple[str, date, str]], order: list[int], separator: str, encoding: str
) -> None:
    def text(rows: list[tuple[str, date, str]], order: list[int], separator: str) -> str:
        cells = [["Ticker", "Date", "When"], *([ticker, day.isoformat(), when] for ticker, day, when in rows)]
        return "\n".join(separator.join(row[place] for place in order) for row in cells)

    plain = read_earnings(text(said, [0, 1, 2], ",").encode(), "reports.csv")
    turned = read_earnings(text([*said[::-1], *said], order, separator).encode(encoding), "reports.csv")
    pd.testing.assert_frame_equal(plain, turned)
    assert not plain.duplicated(["ticker", "date"]).any()


def statements(*rows: tuple[str, str, str, str, bool]) -> pd.DataFrame:
    """Rows of `earnings_dates` of one ticker: day, hour, kind, known on, cancelled."""
    frame = pd.DataFrame(rows, columns=["date", "hour", "kind", "known_on", "cancelled"])
    frame = frame.assign(ticker="A", source="csv", recorded_at=pd.Timestamp("2024-01-01", tz="UTC"))
    return frame.astype({"date": "datetime64[ns]", "known_on": "datetime64[ns]"})[EARNINGS_DATES.column_names]


def test_of_a_day_the_newest_statement_holds() -> None:
    said = statements(
        ("2024-04-24", NO_HOUR, EXPECTED, "2024-01-10", False),
        ("2024-04-24", AFTER_CLOSE, ANNOUNCED, "2024-04-02", False),
        ("2024-04-24", AFTER_CLOSE, ANNOUNCED, "2024-04-20", True),
        ("2024-04-30", BEFORE_OPEN, ANNOUNCED, "2024-04-20", False),
    )
    seen = {on: known(said, pd.Timestamp(on)) for on in ("2024-01-09", "2024-04-01", "2024-04-19", "2024-04-20")}
    told = {on: list(zip(rows["date"].dt.day, rows["kind"], rows["hour"], strict=True)) for on, rows in seen.items()}
    assert told == {
        "2024-01-09": [],
        "2024-04-01": [(24, EXPECTED, NO_HOUR)],
        "2024-04-19": [(24, ANNOUNCED, AFTER_CLOSE)],
        "2024-04-20": [(30, ANNOUNCED, BEFORE_OPEN)],
    }


NOW = pd.Timestamp("2024-04-20 22:30", tz="UTC")
TODAY = "2024-04-20"


def says(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """What a source says of A: day, hour, kind; what came is known by the rule."""
    frame = pd.DataFrame(rows, columns=["date", "hour", "kind"]).assign(ticker="A", source="yahoo")
    frame = frame.assign(date=pd.to_datetime(frame["date"]))
    came = frame["kind"] == FILED
    own = filed(frame["ticker"][came], frame["date"][came], frame["hour"][came], "yahoo")
    coming = frame[~came].assign(known_on=pd.Timestamp("NaT"))[list(SAID)]
    return pd.concat([own, coming], ignore_index=True)


def lines(rows: pd.DataFrame) -> list[tuple[str, str, str, str, bool]]:
    days = rows["date"].dt.strftime("%Y-%m-%d"), rows["known_on"].dt.strftime("%Y-%m-%d")
    return list(zip(days[0], rows["hour"], rows["kind"], days[1], rows["cancelled"], strict=True))


PAST = ("2024-01-25", AFTER_CLOSE, FILED)


def test_what_is_first_heard_is_news_of_today_and_corrects_nothing() -> None:
    found = told(EARNINGS_DATES.empty(), says(PAST, ("2024-04-25", AFTER_CLOSE, ANNOUNCED)), NOW)
    assert lines(found.rows) == [
        ("2024-01-25", AFTER_CLOSE, FILED, "2024-01-25", False),
        ("2024-04-25", AFTER_CLOSE, ANNOUNCED, TODAY, False),
    ]
    assert (found.changes, found.since) == ((), None)
    again = told(found.rows, says(PAST, ("2024-04-25", AFTER_CLOSE, ANNOUNCED)), NOW + pd.Timedelta(days=1))
    pd.testing.assert_frame_equal(again.rows, found.rows)
    assert (again.changes, again.since) == ((), None)


def test_a_moved_report_is_cancelled_where_it_was_and_the_past_keeps_what_it_knew() -> None:
    before = told(EARNINGS_DATES.empty(), says(PAST, ("2024-04-25", AFTER_CLOSE, ANNOUNCED)), NOW).rows
    moved = told(before, says(PAST, ("2024-04-30", NO_HOUR, ANNOUNCED)), NOW + pd.Timedelta(days=2))
    assert lines(moved.rows)[1:] == [
        ("2024-04-25", AFTER_CLOSE, ANNOUNCED, TODAY, False),
        ("2024-04-25", AFTER_CLOSE, ANNOUNCED, "2024-04-22", True),
        ("2024-04-30", NO_HOUR, ANNOUNCED, "2024-04-22", False),
    ]
    assert moved.changes == (
        "A: report of 2024-04-25 after close cancelled",
        "A: report of 2024-04-30 announced",
    )
    assert moved.since is None


def test_a_report_that_came_as_announced_changes_no_day_before_it_was_heard() -> None:
    before = told(EARNINGS_DATES.empty(), says(PAST, ("2024-04-25", AFTER_CLOSE, ANNOUNCED)), NOW).rows
    came = told(before, says(PAST, ("2024-04-25", AFTER_CLOSE, FILED)), NOW + pd.Timedelta(days=7))
    assert lines(came.rows)[-1] == ("2024-04-25", AFTER_CLOSE, FILED, "2024-04-27", False)
    assert came.since is None


def test_a_report_that_nobody_announced_and_one_that_never_was_correct_the_past() -> None:
    before = told(EARNINGS_DATES.empty(), says(PAST, ("2024-02-01", NO_HOUR, FILED)), NOW).rows
    later = NOW + pd.Timedelta(days=7)
    surprise = told(before, says(PAST, ("2024-02-01", NO_HOUR, FILED), ("2024-04-24", BEFORE_OPEN, FILED)), later)
    assert lines(surprise.rows)[-1] == ("2024-04-24", BEFORE_OPEN, FILED, "2024-04-24", False)
    assert surprise.since == date(2024, 4, 24)
    gone = told(surprise.rows, says(PAST, ("2024-04-24", BEFORE_OPEN, FILED)), later)
    assert known(gone.rows, pd.Timestamp("2024-04-01"))["date"].tolist() == [pd.Timestamp("2024-01-25")]
    assert gone.since == date(2024, 2, 2)


def test_silence_changes_nothing() -> None:
    before = told(EARNINGS_DATES.empty(), says(PAST), NOW).rows
    assert told(before, pd.DataFrame(columns=list(SAID)), NOW).rows is before


LISTING = st.lists(
    st.tuples(st.integers(-300, 60), st.sampled_from((BEFORE_OPEN, AFTER_CLOSE, NO_HOUR))),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one[0],
)


@example([[(4, BEFORE_OPEN)], [(2, BEFORE_OPEN)]])
@settings(max_examples=12)
@given(st.lists(LISTING, min_size=1, max_size=4))
def test_the_past_is_rewritten_only_where_it_is_said_so(listings: list[list[tuple[int, str]]]) -> None:
    stored = EARNINGS_DATES.empty()
    for evening, listing in enumerate(listings):
        now = NOW + pd.Timedelta(days=3 * evening)
        today = now.tz_localize(None).normalize()
        rows = [
            (f"{today + pd.Timedelta(days=away):%Y-%m-%d}", hour, FILED if away <= 0 else ANNOUNCED)
            for away, hour in listing
        ]
        found = told(stored, says(*rows), now)
        assert not found.rows.duplicated(list(EARNINGS_DATES.primary_key)).any()
        pd.testing.assert_frame_equal(told(found.rows, says(*rows), now + pd.Timedelta(hours=1)).rows, found.rows)
        coming = known(found.rows, today)
        assert set(coming.loc[coming["date"] > today, "date"]) == {pd.Timestamp(d) for d, _, k in rows if k != FILED}
        if len(stored):
            first = today if found.since is None else pd.Timestamp(found.since)
            for day in pd.date_range(first - pd.Timedelta(days=40), first - pd.Timedelta(days=1), freq="13D"):
                values = ["date", "hour", "kind"]
                assert known(found.rows, day)[values].equals(known(stored, day)[values])
        stored = found.rows


def test_a_file_says_since_when_a_report_was_known() -> None:
    text = "Ticker,Date,When,Known\nA,2024-04-25,amc,2024-04-02\nA,2024-01-25,amc,2024-01-05\nA,2023-10-25,,\n"
    assert is_earnings(text.encode())
    for other in (b"Ticker,Date,Close\n", b"Ticker,Date,Dividends\n", b"Ticker,Date,Sentiment\n", b"Date,Close\n"):
        assert not is_earnings(other)
    found = told(EARNINGS_DATES.empty(), said_by_file(read_earnings(text.encode(), "r.csv"), NOW.date()), NOW).rows
    assert lines(found) == [
        ("2023-10-25", NO_HOUR, FILED, "2023-10-26", False),
        ("2024-01-25", AFTER_CLOSE, ANNOUNCED, "2024-01-05", False),
        ("2024-01-25", AFTER_CLOSE, FILED, "2024-01-25", False),
        ("2024-04-25", AFTER_CLOSE, ANNOUNCED, "2024-04-02", False),
    ]
