"""The one exception that means "the user can mend this"."""

from stockcast_assets.masking import redact


class StockcastError(Exception):
    """A mistake in the input, a setting or the data, told in one sentence: what, where, what to do.

    The CLI prints the sentence and exits 1; a Dagster run fails with it. Everything else is a bug and
    keeps its traceback. No secret that is known gets into the sentence.
    """

    def __init__(self, *words: object) -> None:
        super().__init__(*(redact(each) if isinstance(each, str) else each for each in words))


class WarehouseBusyError(StockcastError):
    """Somebody else holds the warehouse's file, and did not release it in the time given: later it will work."""
