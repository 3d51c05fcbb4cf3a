"""Every setting of stockcast, read once from `STOCKCAST_*` environment variables (and a `.env` file)."""

import difflib
import os
import re
import warnings
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stockcast_assets.errors import StockcastError

PREFIX = "STOCKCAST_"
_DEFAULT_START = {"yahoo": date(2026, 1, 1), "csv": date(2012, 1, 1), "sample": date(2013, 1, 1)}
_DEFAULT_END = {"sample": date(2013, 3, 1)}

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The settings. Field `x` is the environment variable `STOCKCAST_X`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    home: Path = Field(Path(".stockcast"), description="Folder for everything stockcast stores on this machine")
    warehouse: Literal["duckdb", "bigquery"] = Field("duckdb", description="Where the tables live")
    source: Literal["yahoo", "csv", "sample"] = Field("yahoo", description="Where bars come from")
    tickers: Names = Field((), description="Comma-separated tickers that are always there; others are added by command")
    start_date: date = Field(
        default_factory=lambda data: _DEFAULT_START[data.get("source", "yahoo")],
        description="First daily partition key; older bars are price_history",
    )
    end_date: date | None = Field(
        default_factory=lambda data: _DEFAULT_END.get(data.get("source", "yahoo")),
        description="Last daily partition key; open-ended if unset",
    )
    automation: bool = Field(True, description="Whether schedules and sensors run unless they are stopped in the UI")
    alerts: Names = Field(
        (), repr=False, description="Comma-separated Apprise URLs that failed runs and red checks reach"
    )
    calendars: Names = Field(("XNYS", "24/7"), description="Exchange calendars in use (codes of exchange_calendars)")
    gcp_project: str | None = Field(None, description="Google Cloud project of the BigQuery warehouse")
    gcp_credentials: str | None = Field(
        None, repr=False, description="Base64-encoded service-account key; Application Default Credentials if unset"
    )
    bq_dataset: str = Field("stockcast", description="BigQuery dataset")
    bq_location: str | None = Field(None, description="BigQuery location of a new dataset")
    bq_maximum_bytes_billed: int | None = Field(
        None, gt=0, description="Bytes that one BigQuery query may bill; unlimited if unset"
    )
    bq_require_partition_filter: bool = Field(
        False, description="Whether new BigQuery tables refuse queries without a bound on date"
    )
    uploads: str | None = Field(None, description="Folder or gs://bucket/prefix watched for CSV uploads")
    reports: str | None = Field(None, description="Folder or gs://bucket/prefix for drift reports")
    reports_keep_days: int = Field(
        400, ge=1, description="Days of drift reports that `stockcast reports prune` keeps of each ticker"
    )
    mlflow_uri: str | None = Field(None, description="MLflow tracking server; a SQLite file in the home if unset")
    dashboard_url: str = Field(
        "http://127.0.0.1:8501", description="Address of the dashboard, for links in the Dagster UI"
    )
    train_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Processes that train models side by side"
    )
    model_max_age_days: int = Field(
        92, ge=1, description="Days after the end of its training during which a champion may serve later months"
    )

    @field_validator("tickers", "calendars", "alerts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        return value

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("dashboard_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not re.match(r"https?://[^/\s]", value):
            raise ValueError("write it as https://host or http://host:port")
        return value.rstrip("/")

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
        return self

    @property
    def database(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

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
        return self.mlflow_uri or f"sqlite:///{self.home / 'mlflow.db'}"


def load_settings() -> Settings:
    """Read the settings from the environment.

    Warns about `STOCKCAST_*` variables that are no setting, since a misspelt one would silently do nothing.

    Raises:
        StockcastError: if a value is wrong; the sentence names the variable.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            warnings.warn(f"{name} is not a stockcast setting{hint}", stacklevel=2)
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise StockcastError(f"{message}.") from error
        variable = f"{PREFIX}{first['loc'][0]}".upper()
        raise StockcastError(
            f"{variable}={first['input']!r} is not usable: {message[0].lower()}{message[1:]}."
        ) from error
