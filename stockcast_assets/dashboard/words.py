"""What the pages say in a trader's words: why a method is published, and what the terms mean."""

import math
import re
from collections.abc import Mapping
from typing import Any

from stockcast_assets.methods import AVERAGE, LSTM, method_source
from stockcast_assets.tables import MACD_SPANS, RSI_WINDOW, VOLATILITY_WINDOW

_LOSS = re.compile(r"pinball loss is [\d.]+ \[([\d.]+), ([\d.]+)\]")

_FAST, _SLOW, _OWN = MACD_SPANS

GLOSSARY: Mapping[str, str] = {
    "80 % interval": "A range that should hold four of five closes. With its edges, nine of ten: the 90 % interval.",
    "Average of the LSTM and its start": "The middle between the neural network's quantiles and those of the simple "
    "method that it starts from. Published where neither is shown to be better.",
    "Baseline": "A simple forecast that every model has to beat: tomorrow is like today, with some measure of how much "
    "prices move.",
    "Champion": "The model that earned its place. A challenger is one that did not.",
    "Chance of a rise": "How likely the forecast holds a close above the last one, read off its quantiles.",
    "Coverage": "How many closes the interval held. An 80 % interval that holds 70 % is too narrow; one that holds "
    "90 % is too wide.",
    "Drift (of data)": "Recent sessions differ from those that the model learnt from by more than chance explains.",
    "Expected shortfall": "The mean of the losses beyond the value at risk.",
    "HAR": "A volatility forecast from the last day's, week's, month's and quarter's moves (heterogeneous "
    "autoregression).",
    "Kupiec and Christoffersen": "Two tests of the next session's 80 % interval: whether it misses as often as it "
    "promises (Kupiec), and whether a miss says nothing of the next day (Christoffersen). Small values speak against "
    "it.",
    "Late": "Published when the session had opened, as a backfill does. It shows what would have been said, and is no "
    "forecast.",
    "LSTM": "The neural network that is tried each month (long short-term memory).",
    "MACD": f"The difference of two moving averages, of {_FAST} and {_SLOW} sessions, and its own average of {_OWN}.",
    "Median": "The middle of the forecast: as likely to be exceeded as not.",
    "Next report": "When the company tells its results next: announced, or expected a year after the last time. Prices "
    "move most then.",
    "Pinball loss": "The error of a range: it counts how far closes fall outside and how wide the range is. Lower is "
    "better.",
    "PIT": "The probability that the forecast gave to closes below the one that came (probability integral transform). "
    "If forecasts are right, every value is as likely as any other.",
    "Random walk": "The forecast that the price stays where it is.",
    "RMSE": "The typical error of a point forecast (root mean squared error).",
    "RSI": f"0 to 100: how much of the last {RSI_WINDOW} sessions' moves were up. Above 70 is called overbought, "
    "below 30 oversold.",
    "Skill": "How much smaller the typical error is than the random walk's. Around 0 % means no better.",
    "Value at risk": "A loss that one session in a hundred (1 %), or one in twenty (5 %), exceeds if the forecasts are "
    "right. Not the most that can be lost.",
    "Volatility": f"The typical size of a daily move over the last {VOLATILITY_WINDOW} sessions, times the root of the "
    "sessions in a year.",
    "Walk-forward": "Judged year by year on sessions that the model had not seen when it was fitted.",
}


def tie(reason: str) -> bool:
    """Whether the network and the best baseline cannot be told apart: the 95 % interval of their ratio holds 1."""
    found = _LOSS.search(reason)
    return found is not None and float(found[1]) <= 1 <= float(found[2])


def why_published(method: str, model: Mapping[Any, Any] | None) -> str:
    """One plain sentence: where the range comes from and what became of the neural network.

    Args:
        method: as in `forecasts`.
        model: the row of `trained_model` in use; None if there is none left.
    """
    reason = "" if model is None else str(model["reason"])
    if method == LSTM:
        if model is not None and not model["promoted"]:
            return "Range from an earlier neural network, which the newest one did not beat."
        beat = "it ties with the best simple method" if tie(reason) else "it did better than every simple method"
        return f"Range from a neural network; {beat} it was tried against."
    if method == AVERAGE:
        return "Range from a neural network and the simple method that it starts from, half each; they tie."
    source = f"Range from {method_source(method)}"
    if model is None:
        return f"{source}."
    if not model["n_cases"] or (isinstance(model["n_cases"], float) and math.isnan(model["n_cases"])):
        return f"{source}; there are too few sessions to train a neural network."
    if model["promoted"] or model.get("method") == AVERAGE:
        return f"{source}; the month's neural network could not be used."
    tried = "tied with it" if tie(reason) else "was no better"
    return f"{source}; a neural network was tried and {tried}."
