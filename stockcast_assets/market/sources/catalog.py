"""The sources by name, made when first asked for."""

from pathlib import Path

from stockcast_assets.google.storage import StorageClients
from stockcast_assets.market.sources.base import Source


class Sources:
    """Every source of bars, one of them the default.

    A ticker uploaded as CSV stays with the csv source even where the default is another.
    """

    def __init__(
        self,
        default: str,
        uploads: Path | str,
        gcp_project: str | None = None,
        gcp_credentials: str | None = None,
        gcs: StorageClients | None = None,
    ) -> None:
        self.default = default
        self._uploads = (uploads, gcp_project, gcp_credentials, gcs)
        self._made: dict[str, Source] = {}

    def get(self, name: str | None = None) -> Source:
        """The source called `name`, or the default one.

        Raises:
            StockcastError: if there is no such source.
        """
        from stockcast_assets.market.sources import source_from

        chosen = name or self.default
        if chosen not in self._made:
            self._made[chosen] = source_from(chosen, *self._uploads)
        return self._made[chosen]
