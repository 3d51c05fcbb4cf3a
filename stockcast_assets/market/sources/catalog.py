"""The sources by name, made when first asked for."""

from stockcast_assets.market.sources.base import Source
from stockcast_assets.market.sources.uploads import Uploads


class Sources:
    """Every source of bars, one of them the default.

    A ticker uploaded as CSV stays with the csv source even where the default is another.
    """

    def __init__(self, default: str, uploads: Uploads) -> None:
        self.default = default
        self._uploads = uploads
        self._made: dict[str, Source] = {}

    def get(self, name: str | None = None) -> Source:
        """The source called `name`, or the default one.

        Raises:
            StockcastError: if there is no such source.
        """
        from stockcast_assets.market.sources import source_from

        chosen = name or self.default
        if chosen not in self._made:
            self._made[chosen] = source_from(chosen, self._uploads)
        return self._made[chosen]
