"""Every setting of stockcast, read once from `STOCKCAST_*` environment variables (and a `.env` file)."""

import difflib
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, Secret, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stockcast_assets import masking
from stockcast_assets.clock import utc_today
from stockcast_assets.cores import usable_cores
from stockcast_assets.errors import StockcastError
from stockcast_assets.home_memory import recall
from stockcast_assets.inputs import listed
from stockcast_assets.private_files import whose, whose_path

PREFIX = "STOCKCAST_"
FOLDER = "folder:"
"""What a second source begins with that is a folder."""

SourceName = Literal["yahoo", "csv", "sample"]
SAMPLE = "sample"
SAMPLE_WORDS = "Demo data, 2000-2013"
"""What stands on every page of a home of the bundled history."""

_FIRST_YEAR = date(2026, 1, 1)
"""The first daily key of homes that remember none: that of the releases before."""

_DEFAULT_START = {"csv": date(2012, 1, 1), "sample": date(2013, 1, 1)}
_DEFAULT_END = {"sample": date(2013, 3, 1)}
# A host name or an IPv4 address, or an IPv6 address in brackets; a port may follow.
_HOST = re.compile(r"(\w([\w-]*\w)?(\.\w([\w-]*\w)?)*|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)

_NEXT_URL = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_SECRET = {"alerts", "gcp_credentials", "mlflow_uri", "rate_limit"}
_WRITTEN = re.compile(rf"^\s*(?:export\s+)?({PREFIX}\w+)\s*=", re.MULTILINE | re.IGNORECASE)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

DEFAULT_HOME = ".stockcast"
Names = Annotated[tuple[str, ...], NoDecode]


class Address(Secret[str]):
    """A URL that may hold a user and a password. Shown, it has none; `get_secret_value()` is the whole."""

    def _display(self) -> str:
        return masking.without_credentials(self.get_secret_value())


class Settings(BaseSettings):
    """The settings. Field `x` is the environment variable `STOCKCAST_X`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(Path(DEFAULT_HOME), description="Folder for everything stockcast stores on this machine")
    warehouse: Literal["duckdb", "bigquery"] = Field("duckdb", description="Where the tables live")
    source: SourceName = Field(
        default_factory=lambda data: _source_of(data.get("home")), description="Where bars come from"
    )
    tickers: Names = Field((), description="Comma-separated tickers that are always there; others are added by command")
    start_date: date = Field(
        default_factory=lambda data: start_of(data.get("home"), data.get("source", "yahoo")),
        description="First daily partition key; older bars are price_history",
    )
    end_date: date | None = Field(
        default_factory=lambda data: _DEFAULT_END.get(data.get("source", "yahoo")),
        description="Last daily partition key; open-ended if unset",
    )
    automation: bool = Field(True, description="Whether schedules and sensors run unless they are stopped in the UI")
    alerts: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Comma-separated Apprise URLs that failed runs and red checks reach"
    )
    calendars: Names = Field(("XNYS", "24/7"), description="Exchange calendars in use (codes of exchange_calendars)")
    gcp_project: str | None = Field(None, description="Google Cloud project of the BigQuery warehouse")
    gcp_credentials: SecretStr | None = Field(
        None, description="Base64-encoded service-account key; Application Default Credentials if unset"
    )
    bq_dataset: str = Field("stockcast", description="BigQuery dataset")
    bq_location: str | None = Field(None, description="BigQuery location of a new dataset")
    bq_maximum_bytes_billed: int | None = Field(
        None, gt=0, description="Bytes that one BigQuery query may bill; unlimited if unset"
    )
    bq_require_partition_filter: bool = Field(
        False, description="Whether new BigQuery tables refuse queries without a bound on date"
    )
    second_source: str | None = Field(
        None, description="Another source that every stored bar is compared with: yahoo, csv, sample or folder:PATH"
    )
    index: str | None = Field(
        None, description="Ticker of the index whose series stands beside the market's; ^GSPC for yahoo if unset"
    )
    uploads: str | None = Field(None, description="Folder or gs://bucket/prefix watched for CSV uploads")
    reports: str | None = Field(None, description="Folder or gs://bucket/prefix for drift reports")
    ledger_heads: str | None = Field(
        None, description="Folder, git repository or gs://bucket/prefix that gets the ledger's head at each publication"
    )
    reports_keep_days: int = Field(
        400, ge=1, description="Days of drift reports that `stockcast reports prune` keeps of each ticker"
    )
    mlflow_uri: Address | None = Field(None, description="MLflow tracking server; a SQLite file in the home if unset")
    dashboard_url: str = Field(
        "http://127.0.0.1:8501", description="Address of the dashboard, for links in the Dagster UI"
    )
    allowed_hosts: Names = Field(
        (), description="Comma-separated host names under which the web pages may be reached besides this machine's own"
    )
    network: Literal["universe", "ticker"] = Field(
        "universe", description="Whether one network is trained for all tickers together, or one for each ticker"
    )
    rate_limit: Address | None = Field(
        None,
        description="Redis or Valkey in which all machines count their requests to Yahoo; a file of this user if unset",
    )
    train_workers: int = Field(
        default_factory=usable_cores, ge=1, description="Processes that train models side by side"
    )
    tickers_per_run: int = Field(
        100, ge=1, description="Tickers that one run makes at most; more are cut into runs of about as many each"
    )
    log_format: Literal["colored", "json"] = Field(
        "colored", description="How servers and runs write their logs: for people, or a JSON document a line"
    )
    model_max_age_days: int = Field(
        92, ge=1, description="Days after the end of its training during which a champion may serve later months"
    )

    @field_validator("tickers", "calendars", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return listed(value) if isinstance(value, str) else value

    @field_validator("alerts", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        """At a comma before a scheme only: a password may have one."""
        if not isinstance(value, str):
            return value
        urls = tuple(dict.fromkeys(url for part in _NEXT_URL.split(value) if (url := part.strip(" \t\n,"))))
        for position, url in enumerate(urls, 1):
            if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
                raise ValueError(
                    f"entry {position} has no scheme: write it like slack://…, mailto://… or json://host/path"
                )
        return urls

    @field_validator("mlflow_uri")
    @classmethod
    def _tracking_address(cls, value: Address | None) -> Address | None:
        if value is not None and "@" in value.get_secret_value() and "://" not in value.get_secret_value():
            raise ValueError("write it as https://user:password@host or postgresql://user:password@host/database")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _counter_address(cls, value: Address | None) -> Address | None:
        if value is not None and not re.match(r"(rediss?|unix)://[^\s]", value.get_secret_value()):
            raise ValueError("write it as redis://:password@host:6379/0")
        return value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().resolve()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"it leads to no folder ({error})") from error

    @field_validator("dashboard_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        # Links with it are stored with every key and shown to everybody: a password has no place in them.
        value = masking.without_credentials(value)
        if not re.match(r"https?://[^/\s]", value):
            raise ValueError("write it as https://host or http://host:port")
        return value.rstrip("/")

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST.fullmatch(name.lower()):
                raise ValueError(f"{name!r} is no host name: write it as stockcast.example.com or localhost:3000")
        return value

    @field_validator("second_source")
    @classmethod
    def _second(cls, value: str | None) -> str | None:
        if value is not None and value not in ("yahoo", "csv", "sample") and not value.startswith(FOLDER):
            raise ValueError(f"use yahoo, csv, sample or {FOLDER}PATH")
        return value

    @field_validator("bq_dataset")
    @classmethod
    def _dataset_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_]{1,1024}", value):
            raise ValueError("use letters, digits and underscores only")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.warehouse == "bigquery" and not self.gcp_project:
            raise ValueError("STOCKCAST_GCP_PROJECT is not set, and STOCKCAST_WAREHOUSE=bigquery needs it")
        if self.end_date is not None and self.end_date < self.start_date:
            raise ValueError(f"STOCKCAST_END_DATE={self.end_date} is before STOCKCAST_START_DATE={self.start_date}")
        masking.remember(self._secrets())
        return self

    def _secrets(self) -> Iterator[str]:
        for url in self.alerts:
            yield from masking.secrets_of_notification(url.get_secret_value())
        if self.gcp_credentials is not None:
            yield from masking.secrets_of_key(self.gcp_credentials.get_secret_value())
        for address in (self.mlflow_uri, self.rate_limit):
            if address is not None:
                yield from masking.secrets_of_address(address.get_secret_value())

    @property
    def demo_data(self) -> str | None:
        """What must stand on every page, if the bars are the bundled history."""
        return SAMPLE_WORDS if self.source == SAMPLE else None

    @property
    def database(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def market_index(self) -> str | None:
        """The ticker of the index, if there is one."""
        return self.index or ("^GSPC" if self.source == "yahoo" else None)

    @property
    def shared_network(self) -> bool:
        """Whether the tickers share a network."""
        return self.network == "universe"

    @property
    def reports_location(self) -> str:
        return self.reports or str(self.home / "reports")

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def uploads_location(self) -> str:
        return self.uploads or str(self.home / "inbox")

    @property
    def mlflow_tracking_uri(self) -> str:
        """With its password, if it has one: for MLflow alone."""
        if self.mlflow_uri is None:
            return f"sqlite:///{self.home / 'mlflow.db'}"
        # The driver that comes with the extra `deploy`: SQLAlchemy 2.1 takes another unless it is told.
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", self.mlflow_uri.get_secret_value())


def _source_of(home: Path | None) -> SourceName:
    memory = None if home is None else recall(home)
    return next((name for name in get_args(SourceName) if memory is not None and memory.source == name), "yahoo")


def start_of(home: Path | None, source: str) -> date:
    """The first daily key where no setting says another: what the home remembers, if it does."""
    if source in _DEFAULT_START:
        return _DEFAULT_START[source]
    memory = None if home is None else recall(home)
    if memory is not None and memory.source == source:
        return date.fromisoformat(memory.start_date)
    return _FIRST_YEAR


def start_of_new_home(source: str) -> date:
    """The first daily key that a home which is made now remembers."""
    # In January there would hardly be a session yet.
    return _DEFAULT_START.get(source) or (utc_today() - timedelta(days=31)).replace(month=1, day=1)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Warns about `STOCKCAST_*` variables that are no setting, since a misspelt one would silently do nothing.

    Raises:
        StockcastError: if a value is wrong; the sentence names the variable.
    """
    _point_out(os.environ)
    masking.remember(_other_secrets())
    try:
        with _dotenv() as dotenv:
            settings = Settings(_env_file=dotenv)
            written = "" if dotenv is None else Path(dotenv).read_text(encoding="utf-8", errors="replace")
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise StockcastError(f"{message}.") from error
        variable = f"{PREFIX}{first['loc'][0]}".upper()
        shown = "" if first["loc"][0] in _SECRET else f"={first['input']!r}"
        raise StockcastError(f"{variable}{shown} is not usable: {message[0].lower()}{message[1:]}.") from error
    _point_out(_WRITTEN.findall(written), " in .env")
    _check_default_home(settings)
    return settings


def _point_out(names: Iterable[str], where: str = "") -> None:
    """Warn of what looks like a setting and is none."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in names:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            warnings.warn(f"{name}{where} is not a stockcast setting{hint}", stacklevel=3)


@contextmanager
def _dotenv() -> Iterator[str | None]:
    """The `.env` file of the current folder, opened; None if there is none.

    Raises:
        StockcastError: if another account may write it: it says where data is read and sent.
    """
    path = Path(".env")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        found = os.fstat(descriptor)
        why = whose(path.lstat()) or whose(found)
        if why is not None:
            raise StockcastError(
                f"{path.absolute()} {why}, so stockcast does not take settings from it: "
                f"{_or_own(why, 'chmod go-w .env')}work in another folder."
            )
        # Read through what was looked at, whatever its name leads to by then.
        yield f"/dev/fd/{descriptor}" if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(descriptor)


def _check_default_home(settings: Settings) -> None:
    """Refuse a `.stockcast` that others put, or may change, where one happens to stand."""
    if "home" in settings.model_fields_set:
        return
    why = whose_path(Path(DEFAULT_HOME))
    if why is not None:
        raise StockcastError(
            f"{settings.home} {why}, so stockcast does not use it: {_or_own(why, f'chmod -R go-w {DEFAULT_HOME}')}"
            "name a home with STOCKCAST_HOME."
        )


def _or_own(why: str, command: str) -> str:
    return "" if why.startswith("belongs") else f"make it yours alone with `{command}`, or "


def _other_secrets() -> Iterator[str]:
    """Passwords of the environment that libraries use without being told by us."""
    for name in _PROXIES:
        for variable in (name, name.lower()):
            yield from masking.secrets_of_address(os.environ.get(variable, ""))
    yield from masking.secrets_of_address(os.environ.get("DAGSTER_POSTGRES_URL", ""))
    yield from (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("PASSWORD", "TOKEN"))
