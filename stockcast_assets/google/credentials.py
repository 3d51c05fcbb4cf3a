"""Google credentials from a setting instead of a file: an environment variable is all that a container needs."""

import base64
import binascii
import json
from functools import cached_property
from typing import TYPE_CHECKING

from stockcast_assets.errors import StockcastError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class ServiceAccountKey:
    """A service account's JSON key in base64: read when it is first used, and written nowhere.

    Args:
        encoded: the key.
        name: what the user knows it by, for the sentence if it is none.
    """

    def __init__(self, encoded: str, name: str = "gcp_credentials") -> None:
        self._encoded = encoded
        self._name = name

    def __repr__(self) -> str:
        return f"<service account key of {self._name}>"

    @cached_property
    def credentials(self) -> "Credentials":
        """What Google's clients take.

        Raises:
            StockcastError: if it is no key.
        """
        from google.oauth2.service_account import Credentials

        try:
            found: Credentials = Credentials.from_service_account_info(json.loads(base64.b64decode(self._encoded)))
            return found
        except (binascii.Error, ValueError):
            # Not `from`: the causes hold what they could not read.
            raise StockcastError(
                f"{self._name} is not a base64-encoded service-account key: encode the JSON key file with `base64 -w0`."
            ) from None


def opened(given: "Credentials | ServiceAccountKey | str | None") -> "Credentials | None":
    """Credentials as Google's clients take them; None leaves it to Application Default Credentials.

    Raises:
        StockcastError: if a key is none.
    """
    if isinstance(given, str):
        given = ServiceAccountKey(given)
    return given.credentials if isinstance(given, ServiceAccountKey) else given
