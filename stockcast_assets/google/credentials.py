"""Google credentials from a setting instead of a file: an environment variable is all that a container needs."""

import base64
import binascii
import json
from typing import TYPE_CHECKING

from stockcast_assets.errors import StockcastError

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials


def credentials_of(encoded: str) -> "Credentials":
    """The credentials of a service account's JSON key in base64.

    Raises:
        StockcastError: if it is none.
    """
    from google.oauth2.service_account import Credentials

    try:
        return Credentials.from_service_account_info(json.loads(base64.b64decode(encoded)))  # type: ignore[no-untyped-call]
    except (binascii.Error, ValueError) as error:
        raise StockcastError(
            "STOCKCAST_GCP_CREDENTIALS is not a base64-encoded service-account key: encode the JSON key file "
            "with `base64 -w0`."
        ) from error
