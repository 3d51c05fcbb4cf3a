"""Secrets are known in every form in which they are written, and addresses are shown without them."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stockcast_assets.errors import StockcastError
from stockcast_assets.masking import credentials, redact, remember, scrub, secrets_of_key, without_credentials

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs")), min_size=6, max_size=30)


@given(PASSWORDS, st.booleans())
def test_no_address_shows_its_password_escaped_or_not(password: str, escaped: bool) -> None:
    assume(not set(password) <= set("postgresql://user:@host/db"))
    written = quote(password, safe="") if escaped else password
    for address in (
        f"postgresql://user:{written}@host:5432/db",
        f"https://user:{written}@mlflow.example.com/path?token={quote(password, safe='')}#x",
    ):
        shown = without_credentials(address)
        assert password not in shown
        assert written not in shown
        assert "@" not in shown
        assert shown.startswith((f"postgresql://{'host:5432/db'}", "https://mlflow.example.com/path")) or "@" in written
    assert credentials(f"https://us%40er:{quote(password, safe='')}@host") == ("us@er", password)


@pytest.mark.parametrize("address", ["sqlite:////home/x/mlflow.db", "http://127.0.0.1:5000/", "databricks", "./mlruns"])
def test_an_address_without_a_password_is_shown_as_it_is(address: str) -> None:
    assert without_credentials(address) == address
    assert credentials(address) is None


@given(PASSWORDS)
def test_a_secret_is_masked_in_every_form(secret: str) -> None:
    assume(len(set(secret)) > 4)
    remember([secret])
    for form in (
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode(),
        f"https://user:{quote(secret, safe='')}@host",
    ):
        assert secret not in redact(f"<{form}>")
        assert form not in redact(f"<{form}>")
        assert secret not in str(StockcastError(f"could not open {form}."))


def test_a_key_is_known_whole_and_in_parts() -> None:
    document = {
        "type": "service_account",
        "private_key": "-----BEGIN\ncanary-key-0001\n",
        "private_key_id": "canary-id",
    }
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    remember(secrets_of_key(encoded))
    for text in (encoded, encoded.rstrip("="), json.dumps(document), repr(document), document["private_key"]):
        assert "canary" not in redact(text)
        assert encoded not in redact(text)


def test_ordinary_words_stay() -> None:
    remember(["", "db", "x"])
    assert redact("a db, x and anna@example.com") == "a db, x and anna@example.com"


def test_a_chain_of_exceptions_is_scrubbed() -> None:
    remember(["canary-chain-1"])
    try:
        try:
            raise ConnectionError("http://a:canary-chain-1@host", OSError("canary-chain-1"))
        except ConnectionError as error:
            raise ValueError("got canary-chain-1") from error
    except ValueError as error:
        scrub(error)
        caught = error
    assert "canary" not in repr(caught) + repr(caught.__cause__)
