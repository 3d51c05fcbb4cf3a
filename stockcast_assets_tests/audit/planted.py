"""Functions that know the future, each in its way, and others that look alike and do not."""

import numpy as np
import pandas as pd

LAST = pd.Timestamp("2013-03-01")


def _by_ticker(bars, function):
    return bars.groupby("ticker", group_keys=False)["close"].apply(function)


def centred_window(bars):
    return _by_ticker(bars, lambda close: close.rolling(5, center=True).mean())


def full_sample_scaler(bars):
    returns = _by_ticker(bars, lambda close: np.log(close).diff())
    return (returns - returns.mean()) / returns.std()


def scaler_of_each_ticker(bars):
    return _by_ticker(bars, lambda close: (close - close.min()) / (close.max() - close.min()))


def adjusted_close(bars):
    return bars.set_index(["ticker", "date"])["adj_close"].pipe(np.log)


def restated_bar(bars, revisions):
    newest = revisions.sort_values("known_on").drop_duplicates(["ticker", "date"], keep="last")
    both = bars.merge(newest[["ticker", "date", "close"]], on=["ticker", "date"], how="left", suffixes=("", "_again"))
    return both.assign(close=both["close_again"].fillna(both["close"]))[["ticker", "date", "close"]]


def same_day_announcement(bars, earnings):
    """A report counts on its day, though it was known only the day after."""
    came = earnings.loc[earnings["kind"] == "filed", ["ticker", "date"]].drop_duplicates().assign(reports=1.0)
    return bars[["ticker", "date"]].merge(came, how="left").fillna({"reports": 0.0})


def sessions_to_the_report(bars, earnings):
    frames = []
    for ticker, own in bars.groupby("ticker"):
        days = np.sort(earnings.loc[earnings["ticker"] == ticker, "date"].unique())
        place = np.searchsorted(days, own["date"].to_numpy())
        ahead = np.append(days, np.datetime64("NaT"))[place]
        frames.append(own[["ticker", "date"]].assign(ahead=(ahead - own["date"].to_numpy()) / np.timedelta64(1, "D")))
    return pd.concat(frames)


def survivor_list(bars):
    alive = set(bars.loc[bars["date"] == bars["date"].max(), "ticker"])
    return bars[bars["ticker"].isin(alive)].groupby("date")["volume"].mean()


def market_of_the_longest(bars):
    """The index is made of the tickers that have the most bars in the end."""
    longest = bars["ticker"].value_counts().sort_index().idxmax()
    return bars[bars["ticker"] == longest].set_index("date")["close"]


def shuffled_split(bars):
    """Every second row trains, whenever it was; the others are predicted by the mean of their weekday."""
    rng = np.random.default_rng(0)
    train = rng.random(len(bars)) < 0.5
    returns = _by_ticker(bars, lambda close: close.pct_change())
    by_day = returns[train].groupby(bars["date"].dt.dayofweek[train]).mean()
    return bars["date"].dt.dayofweek.map(by_day)


def off_by_one_join(bars):
    late = bars[["ticker", "date", "close"]].copy()
    late["date"] = late.groupby("ticker")["date"].shift(1)
    return bars[["ticker", "date"]].merge(late, on=["ticker", "date"], how="left")


def fill_from_behind(bars):
    return bars.pivot(index="date", columns="ticker", values="close").bfill()


def interpolated_gap(bars):
    wide = bars.pivot(index="date", columns="ticker", values="close")
    return wide.interpolate("linear", limit_area="inside")


def last_dividend_filled(bars):
    return bars.groupby("ticker")["dividend"].transform(lambda paid: paid.replace(0, np.nan).bfill())


def target_in_features(bars):
    close = bars.groupby("ticker")["close"]
    return bars[["ticker", "date"]].assign(momentum=close.pct_change(5), signal=close.shift(-10) / bars["close"])


def whole_month(bars):
    month = bars["date"].dt.to_period("M")
    return bars.groupby(["ticker", month])["close"].transform("mean")


def ranked_over_time(bars):
    return bars.groupby("ticker")["volume"].rank(pct=True)


def counted_backwards(bars):
    return bars.groupby("ticker").cumcount(ascending=False).astype(float)


def filtered_both_ways(bars):
    def smooth(close):
        once = close.ewm(span=10).mean()
        return once[::-1].ewm(span=10).mean()[::-1]

    return _by_ticker(bars, smooth)


def outliers_clipped(bars):
    returns = _by_ticker(bars, lambda close: close.pct_change())
    return returns.clip(returns.quantile(0.01), returns.quantile(0.99))


def split_known_ahead(bars):
    ahead = bars.groupby("ticker")["split_ratio"].transform(lambda ratio: ratio[::-1].cumprod()[::-1])
    return bars["close"] * ahead


def principal_component(bars):
    wide = bars.pivot(index="date", columns="ticker", values="close").pct_change().fillna(0)
    weights = np.linalg.eigh(wide.cov().to_numpy())[1][:, -1]
    return wide @ (weights * np.sign(weights.sum()))


def needs_what_comes(bars):
    """It fails where the last day is not what it is."""
    return bars.assign(gone=bars["close"] / bars.set_index("date").loc[LAST, "close"].mean())


def nearest_report(bars, earnings):
    days = earnings[["ticker", "date"]].drop_duplicates().assign(report=lambda frame: frame["date"])
    left = bars[["ticker", "date"]].sort_values("date")
    found = pd.merge_asof(left, days.sort_values("date"), on="date", by="ticker", direction="nearest")
    return found.assign(report=(found["report"] - found["date"]).dt.days.astype(float))


def next_session(bars, sessions):
    days = sessions["date"].to_numpy()
    after = np.append(days, np.datetime64("NaT"))[np.searchsorted(days, bars["date"].to_numpy(), side="right")]
    return bars[["ticker", "date"]].assign(gap=(after - bars["date"].to_numpy()) / np.timedelta64(1, "D"))


class ScaledByWhatIsAsked:
    """The model is fitted as it should be, but its question is scaled by all that is asked."""

    def fit(self, bars):
        self.mean = bars["close"].mean()

    def predict(self, bars):
        return bars[["ticker", "date"]].assign(p50=self.mean * bars["close"] / bars["close"].std())


LEAKS = (
    centred_window, full_sample_scaler, scaler_of_each_ticker, adjusted_close, restated_bar, same_day_announcement,
    sessions_to_the_report, survivor_list, market_of_the_longest, shuffled_split, off_by_one_join, fill_from_behind,
    interpolated_gap, last_dividend_filled, target_in_features, whole_month, ranked_over_time, counted_backwards,
    filtered_both_ways, outliers_clipped, split_known_ahead, principal_component, needs_what_comes, nearest_report,
    next_session, ScaledByWhatIsAsked,
)  # fmt: skip


def trailing_window(bars):
    return _by_ticker(bars, lambda close: close.rolling(5).mean())


def expanding_scaler(bars):
    return _by_ticker(bars, lambda close: (close - close.expanding().mean()) / close.expanding().std())


def log_return_of_adjusted(bars):
    """Of one scale or another: a later dividend changes its last bits at most."""
    return bars.groupby("ticker")["adj_close"].transform(lambda close: np.log(close).diff())


def as_revised_then(bars, revisions):
    known = revisions[revisions["known_on"] <= revisions["date"] + pd.Timedelta(days=10)]
    newest = known.sort_values("known_on").drop_duplicates(["ticker", "date"], keep="last")
    told = newest[["ticker", "known_on", "close"]].rename(columns={"known_on": "date", "close": "said"})
    told = told.sort_values(["date", "ticker"]).drop_duplicates(["ticker", "date"], keep="last")
    return pd.merge_asof(bars.sort_values("date"), told, on="date", by="ticker")[["ticker", "date", "said"]]


def last_known_report(bars, earnings):
    came = earnings[earnings["kind"] == "filed"][["ticker", "known_on", "date"]]
    came = came.rename(columns={"date": "report", "known_on": "date"}).sort_values("date")
    left = bars[["ticker", "date"]].sort_values("date")
    found = pd.merge_asof(left, came.drop_duplicates(["ticker", "date"], keep="last"), on="date", by="ticker")
    return found.assign(report=(found["date"] - found["report"]).dt.days.astype(float))


def dispersion(bars):
    returns = bars.groupby("ticker")["close"].pct_change()
    return returns.groupby(bars["date"]).std()


def filled_forward(bars):
    return bars.pivot(index="date", columns="ticker", values="close").ffill()


def two_frames(bars):
    return {"fast": trailing_window(bars), "slow": _by_ticker(bars, lambda close: close.ewm(span=100).mean())}


class FittedBefore:
    def fit(self, bars):
        self.mean = bars.groupby("ticker")["close"].mean()

    def predict(self, bars):
        return bars[["ticker", "date"]].assign(p50=bars["ticker"].map(self.mean))


HONEST = (
    trailing_window, expanding_scaler, log_return_of_adjusted, as_revised_then, last_known_report, dispersion,
    filled_forward, two_frames, FittedBefore,
)  # fmt: skip
