"""Who forecasts a close: the network and the baselines that it is judged beside, and what each is called.

The names stand in tables and model files, so none ever changes. The words are those of pages, commands and columns.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

LSTM, AVERAGE = "lstm", "average"
RANDOM_WALK, DRIFT, VOL60, VOL250, FHS = "random_walk", "drift", "vol60", "vol250", "fhs"
HAR, HAR_QUARTERLY, HAR_EARNINGS, MIX, MIX_EARNINGS = "har", "har_quarterly", "har_earnings", "mix", "mix_earnings"
AUTO_ETS, THETA, GJR_GARCH, LIGHTGBM, ORACLE = "auto_ets", "theta", "gjr_garch", "lightgbm", "oracle"
BESIDE = (RANDOM_WALK, VOL60, HAR, HAR_EARNINGS)
"""The baselines that every published forecast is scored beside: each is the one before and something more."""

OF_NETWORK = (LSTM, AVERAGE)
"""What asks a network: it alone, or the average of its quantiles and those of the interval that it starts from."""

NAIVE_PREFIX = "naive_"
"""What a baseline's name begins with as the `method` of a forecast."""


class Method(NamedTuple):
    """A contender that can be published.

    Attributes:
        label: what people call it.
        source: where its range comes from, in a trader's words; empty if the label says it.
        heading: the label where a column is narrow; empty where none is headed so.
    """

    label: str
    source: str = ""
    heading: str = ""


METHODS: Mapping[str, Method] = {
    LSTM: Method("LSTM"),
    AVERAGE: Method("average of the LSTM and its start"),
    RANDOM_WALK: Method(
        "random walk with constant volatility", "the ticker's own volatility over all its past", "random walk"
    ),
    DRIFT: Method("drift with constant volatility", "the ticker's own average drift and volatility", "drift"),
    VOL60: Method("60-session volatility", "the ticker's own volatility of the last 60 sessions", "60-day vol."),
    VOL250: Method("250-session volatility", "the ticker's own volatility of the last 250 sessions"),
    FHS: Method(
        "filtered historical simulation", "the ticker's own past moves, scaled to its recent volatility", "FHS"
    ),
    HAR: Method("linear HAR", "the ticker's own recent volatility", "HAR"),
    HAR_QUARTERLY: Method(
        "HAR with the quarter's pattern",
        "the ticker's own recent volatility and its pattern within the quarter",
    ),
    HAR_EARNINGS: Method("HAR x reports", "the ticker's own recent volatility and the reports ahead"),
    MIX: Method("HAR with the market", "the recent volatility of the ticker and of the market"),
    MIX_EARNINGS: Method(
        "HAR with the market x reports", "the recent volatility of the ticker and of the market and the reports ahead"
    ),
}

LABELS: Mapping[str, str] = {
    **{name: method.label for name, method in METHODS.items()},
    AUTO_ETS: "AutoETS",
    THETA: "Theta",
    GJR_GARCH: "GJR-GARCH-t",
    LIGHTGBM: "LightGBM of all tickers",
    ORACLE: "HAR told the variance to come",
}
"""What people call each contender, those too that only an evaluation has."""


class Ratio(NamedTuple):
    """The network's `metric` over that of `baseline`; below 1 the network is better.

    Attributes:
        compared: what of the baseline counts here, in a column's description.
        shown: the same beside a bar.
        headline: whether an evaluation begins with it.
    """

    metric: Literal["rmse", "pinball"]
    baseline: str
    compared: str
    shown: str
    headline: bool = True


RATIOS: Mapping[str, Ratio] = {
    "rmse_ratio_rw": Ratio("rmse", RANDOM_WALK, "random walk", "Point: random walk"),
    "rmse_ratio_drift": Ratio("rmse", DRIFT, "drift baseline", "Point: drift"),
    "pinball_ratio_constant_vol": Ratio("pinball", RANDOM_WALK, "constant volatility", "Interval: constant volatility"),
    "pinball_ratio_vol250": Ratio("pinball", VOL250, LABELS[VOL250], "Interval: 250-day volatility", False),
    "pinball_ratio_vol60": Ratio("pinball", VOL60, LABELS[VOL60], "Interval: 60-day volatility"),
    "pinball_ratio_fhs": Ratio("pinball", FHS, LABELS[FHS], "Interval: filtered history"),
    "pinball_ratio_har": Ratio("pinball", HAR, LABELS[HAR], "Interval: linear HAR"),
    "pinball_ratio_har_quarterly": Ratio(
        "pinball", HAR_QUARTERLY, LABELS[HAR_QUARTERLY], "Interval: quarterly HAR", False
    ),
    "pinball_ratio_har_earnings": Ratio("pinball", HAR_EARNINGS, LABELS[HAR_EARNINGS], "Interval: HAR, reports", False),
    "pinball_ratio_mix": Ratio("pinball", MIX, LABELS[MIX], "Interval: HAR, market", False),
    "pinball_ratio_mix_earnings": Ratio(
        "pinball", MIX_EARNINGS, LABELS[MIX_EARNINGS], "Interval: HAR, market, reports", False
    ),
}
"""By column of `trained_model`, in the order in which they are shown. The last three are of a
universe's contenders alone."""


def method_label(method: str) -> str:
    """What people call a stored `method`."""
    name = method.removeprefix(NAIVE_PREFIX)
    return LABELS.get(name, name)


def method_source(method: str) -> str:
    """Where the range of a stored `method` comes from, in a trader's words."""
    name = method.removeprefix(NAIVE_PREFIX)
    return (METHODS[name].source if name in METHODS else "") or method_label(method)
