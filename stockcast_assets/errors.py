"""The one exception that means "the user can mend this"."""


class StockcastError(Exception):
    """A mistake in the input, a setting or the data, told in one sentence: what, where, what to do.

    The CLI prints the sentence and exits 1; a Dagster run fails with it. Everything else is a bug and
    keeps its traceback.
    """


class WarehouseBusyError(StockcastError):
    """Somebody else holds the warehouse's file, and did not release it in the time given: later it will work."""
