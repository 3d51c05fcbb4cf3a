"""The IO managers as another project would use them: real Dagster runs, on both warehouses."""

import datetime
from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from stockcast_assets.warehouse import (
    BigQueryWarehouseIOManager,
    DuckDBWarehouse,
    DuckDBWarehouseIOManager,
    KeyedFrame,
    TableRef,
)
from stockcast_assets.warehouse.slices import Slice
from stockcast_assets_tests.warehouse.conftest import Store
from stockcast_assets_tests.warehouse.helpers import (
    BY_TICKER_AND_DAY,
    DAYS,
    HOSTILE,
    METADATA,
    PRICES,
    TICKER_DAYS,
    TICKERS,
    closes,
    failure,
    instance,
    of_keys,
    prices,
    run,
    write,
)

SINGLE_RUN = dg.BackfillPolicy.single_run()


def prices_asset(make: Callable[[Any], Any], **metadata: Any) -> dg.AssetsDefinition:
    @dg.asset(
        name="prices",
        partitions_def=TICKER_DAYS,
        metadata={**METADATA, **metadata},
        backfill_policy=SINGLE_RUN,
    )
    def asset(context):
        return make(context)

    return asset


def every_key(close: float = 1.0) -> dg.AssetsDefinition:
    return prices_asset(lambda context: of_keys(context.partition_keys, close))


def table(store: Store, name: str) -> pd.DataFrame:
    """Everything in an undeclared table, ordered by its columns."""
    ref = TableRef(store.warehouse.schema, name)
    contract = store.warehouse.contract(ref)
    assert contract is not None
    frame = store.warehouse.load(ref, Slice.whole(), contract)
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_a_range_writes_exactly_its_keys_and_again_changes_nothing(store: Store) -> None:
    on = instance()
    between = ("2024-01-02|AAPL", "2024-01-03|MSFT")
    assert run(every_key(), store.io_manager, on, between=between).success
    wanted = {(t, d): 1.0 for t in ("AAPL", "MSFT") for d in ("2024-01-02", "2024-01-03")}
    assert closes(store.warehouse) == wanted
    before = store.warehouse.content_hash(PRICES)
    assert run(every_key(), store.io_manager, on, between=between).success
    assert store.warehouse.content_hash(PRICES) == before
    assert run(every_key(2.0), store.io_manager, on, key="2024-01-03|AAPL").success
    assert closes(store.warehouse) == {**wanted, ("AAPL", "2024-01-03"): 2.0}


def test_an_output_reports_rows_table_columns_and_storage(store: Store) -> None:
    result = run(every_key(), store.io_manager, key="2024-01-02|AAPL")
    (materialization,) = result.asset_materializations_for_node("prices")
    metadata = materialization.metadata
    assert metadata["dagster/row_count"].value == 1
    assert metadata["dagster/partition_row_count"].value == 1
    assert metadata["dagster/storage_kind"].value == store.warehouse.kind
    assert metadata["dagster/table_name"].value.endswith(f"{store.warehouse.schema}.prices")
    assert "dagster/column_schema" not in metadata, "the definition has it, and every key would repeat it"


def test_each_key_of_a_range_reports_its_own_rows(store: Store) -> None:
    result = run(every_key(), store.io_manager, between=("2024-01-02|AAPL", "2024-01-03|MSFT"))
    materializations = result.asset_materializations_for_node("prices")
    assert len(materializations) == 4
    for materialization in materializations:
        assert materialization.metadata["dagster/row_count"].value == 1
        assert materialization.metadata["dagster/partition_row_count"].value == 1
        assert materialization.metadata["rows of the run"].value == 4


def test_what_an_asset_says_of_a_key_stands_before_what_its_run_has_in_common(store: Store) -> None:
    def speaking(context: Any) -> pd.DataFrame:
        for key in context.partition_keys:
            context.add_asset_metadata({"said": key}, partition_key=key)
        return of_keys(context.partition_keys)

    result = run(prices_asset(speaking), store.io_manager, between=("2024-01-02|AAPL", "2024-01-03|AAPL"))
    for materialization in result.asset_materializations_for_node("prices"):
        first, *rest = materialization.metadata
        assert first == "said"
        assert {"dagster/row_count", "dagster/table_name", "rows of the run"} <= set(rest)


def test_an_undeclared_table_reports_the_columns_it_was_given(store: Store) -> None:
    @dg.asset
    def things() -> pd.DataFrame:
        return pd.DataFrame({"name": ["a"], "size": [1]})

    (materialization,) = run(things, store.io_manager).asset_materializations_for_node("things")
    columns = materialization.metadata["dagster/column_schema"].schema.columns
    assert [(column.name, column.type) for column in columns] == [("name", "STRING"), ("size", "INT64")]


def test_a_reordered_frame_is_stored_by_name(store: Store) -> None:
    """In a declared table, and in one that nobody declared, whose columns are those of the first frame."""
    asset = prices_asset(lambda context: of_keys(context.partition_keys).iloc[:, ::-1])
    assert run(asset, store.io_manager, key=GOOD_KEY).success
    assert closes(store.warehouse) == {("AAPL", "2024-01-02"): 1.0}
    for names in (["low", "high"], ["high", "low"]):

        @dg.asset
        def bounds() -> pd.DataFrame:
            return pd.DataFrame({"low": [1.0], "high": [2.0]})[names]  # noqa: B023  run within the turn

        assert run(bounds, store.io_manager).success
        ref = TableRef(store.warehouse.schema, "bounds")
        contract = store.warehouse.contract(ref)
        assert contract is not None
        assert store.warehouse.load(ref, Slice.whole(), contract).to_dict("list") == {"low": [1.0], "high": [2.0]}


GOOD_KEY = "2024-01-02|AAPL"
BAD_FRAMES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "empty": (lambda frame: frame.iloc[:0], "is empty, which would delete what is stored"),
    "lacks a column": (lambda frame: frame.drop(columns="close"), "lacks column 'close'"),
    "extra column": (lambda frame: frame.assign(note="x"), "extra column 'note'"),
    "wrong type": (lambda frame: frame.assign(close="high"), "'close' of table prices is FLOAT64 but row 0"),
    "null": (lambda frame: frame.assign(close=None), "'close' of table prices has a null"),
    "another day": (lambda frame: frame.assign(date=pd.Timestamp("2024-01-03")), "lies outside the run's"),
    "another ticker": (lambda frame: frame.assign(ticker="MSFT"), "lies outside the run's"),
    "duplicate": (lambda frame: pd.concat([frame, frame]), "repeats the primary key"),
    "not a frame": (lambda frame: frame.to_dict(), "takes a pandas DataFrame, not dict"),
    "nothing": (lambda frame: None, "got None, so there is nothing to store"),
    "rows and a reason": (lambda frame: KeyedFrame(frame, {GOOD_KEY: "closed"}), "also said to be empty"),
    "no reason": (lambda frame: KeyedFrame(frame.iloc[:0]), f"no rows for partition key '{GOOD_KEY}'"),
    "a stranger's reason": (lambda frame: KeyedFrame(frame, {"2024-01-03|AAPL": "closed"}), "not among the run's"),
}


@pytest.mark.fault
@pytest.mark.parametrize("fault", list(BAD_FRAMES))
def test_a_bad_frame_fails_the_run_in_one_sentence_and_changes_nothing(store: Store, fault: str) -> None:
    spoil, says = BAD_FRAMES[fault]
    write(store.warehouse, prices([("AAPL", "2024-01-02", 7.0), ("MSFT", "2024-01-02", 8.0)]))
    before = store.warehouse.content_hash(PRICES)
    asset = prices_asset(lambda context: spoil(of_keys(context.partition_keys)))
    assert says in failure(run(asset, store.io_manager, key=GOOD_KEY))
    assert store.warehouse.content_hash(PRICES) == before


def test_a_key_of_a_range_without_rows_is_refused_like_a_key_alone(store: Store) -> None:
    asset = prices_asset(lambda context: of_keys(context.partition_keys[:1]))
    says = failure(run(asset, store.io_manager, between=("2024-01-02|AAPL", "2024-01-03|AAPL")))
    assert "no rows for partition key '2024-01-03|AAPL'" in says
    assert closes(store.warehouse) == {}


def test_allow_empty_lets_a_slice_become_empty(store: Store) -> None:
    write(store.warehouse, prices([("AAPL", "2024-01-02", 7.0), ("MSFT", "2024-01-02", 8.0)]))
    asset = prices_asset(lambda context: of_keys([]), allow_empty=True)
    assert run(asset, store.io_manager, key=GOOD_KEY).success
    assert closes(store.warehouse) == {("MSFT", "2024-01-02"): 8.0}


def test_market_closed_keys_are_emptied_with_their_reason(store: Store) -> None:
    write(store.warehouse, prices([("AAPL", "2024-01-06", 7.0)]))

    def weekend_closed(context: Any) -> KeyedFrame:
        closed = [key for key in context.partition_keys if pd.Timestamp(key.split("|")[0]).weekday() >= 5]
        traded = [key for key in context.partition_keys if key not in closed]
        return KeyedFrame(of_keys(traded), dict.fromkeys(closed, "market closed"))

    between = ("2024-01-05|AAPL", "2024-01-08|AAPL")
    result = run(prices_asset(weekend_closed), store.io_manager, between=between)
    assert result.success
    assert closes(store.warehouse) == {("AAPL", "2024-01-05"): 1.0, ("AAPL", "2024-01-08"): 1.0}
    metadata = result.asset_materializations_for_node("prices")[0].metadata
    assert metadata["empty_keys"].value == {
        "2024-01-06|AAPL": "market closed",
        "2024-01-07|AAPL": "market closed",
    }
    all_closed = run(prices_asset(weekend_closed), store.io_manager, key="2024-01-06|AAPL")
    assert all_closed.success
    assert len(closes(store.warehouse)) == 2


@pytest.mark.fault
def test_hostile_keys_are_only_ever_themselves(store: Store) -> None:
    on = instance(["AAPL", *HOSTILE])
    day = "2024-01-02"
    write(store.warehouse, prices((ticker, day, 1.0) for ticker in ["AAPL", *HOSTILE]))
    expected = {(ticker, day): 1.0 for ticker in ["AAPL", *HOSTILE]}
    for number, ticker in enumerate(HOSTILE):
        assert run(every_key(float(number + 2)), store.io_manager, on, key=f"{day}|{ticker}").success
        expected[ticker, day] = float(number + 2)
        assert closes(store.warehouse) == expected
        assert len(store.warehouse.read(PRICES, tickers=[ticker])) == 1


@pytest.mark.fault
def test_a_key_of_a_megabyte_is_stored(store: Store) -> None:
    ticker = "x" * 1_000_000
    on = instance([ticker])
    assert run(every_key(), store.io_manager, on, key=f"2024-01-02|{ticker}").success
    assert closes(store.warehouse) == {(ticker, "2024-01-02"): 1.0}


def test_look_back_at_itself_loads_what_exists(store: Store) -> None:
    seen: dict[str, list[str]] = {}
    mapping = dg.MultiPartitionMapping(
        {
            "ticker": dg.DimensionPartitionMapping("ticker", dg.IdentityPartitionMapping()),
            "date": dg.DimensionPartitionMapping(
                "date",
                dg.TimeWindowPartitionMapping(
                    start_offset=-3, end_offset=-1, allow_nonexistent_upstream_partitions=True
                ),
            ),
        }
    )

    @dg.asset(
        partitions_def=TICKER_DAYS,
        metadata=METADATA,
        backfill_policy=SINGLE_RUN,
        ins={"prices": dg.AssetIn(partition_mapping=mapping)},
    )
    def prices(context: dg.AssetExecutionContext, prices: pd.DataFrame) -> pd.DataFrame:
        seen[context.partition_key] = sorted(prices["date"].dt.strftime("%d") + prices["ticker"])
        assert list(prices.columns) == PRICES.column_names
        return of_keys(context.partition_keys)

    on = instance()
    for key in [f"2024-01-0{day}|AAPL" for day in range(1, 6)] + ["2024-01-01|MSFT", "2024-01-02|MSFT"]:
        assert run(prices, store.io_manager, on, key=key).success
    assert seen["2024-01-01|AAPL"] == []
    assert seen["2024-01-02|MSFT"] == ["01MSFT"]
    assert seen["2024-01-05|AAPL"] == ["02AAPL", "03AAPL", "04AAPL"]


def test_only_the_columns_asked_for_are_loaded(store: Store) -> None:
    loaded: list[pd.DataFrame] = []

    @dg.asset(
        partitions_def=TICKER_DAYS,
        ins={"prices": dg.AssetIn(metadata={"columns": ["close", "date"]})},
    )
    def after(prices: pd.DataFrame) -> None:
        loaded.append(prices)

    assert run([every_key(3.0), after], store.io_manager, key=GOOD_KEY).success
    assert list(loaded[0].columns) == ["close", "date"]
    assert loaded[0].values.tolist() == [[3.0, pd.Timestamp("2024-01-02")]]


def test_unpartitioned_assets_of_plain_frames_just_work(store: Store) -> None:
    frame = pd.DataFrame(
        {
            "i": [1, 2],
            "f": [0.5, None],
            "s": ["a", None],
            "b": [True, False],
            "d": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)],
            "t": pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True),
            "n": pd.to_datetime(["2024-01-01", "2024-01-02"]),
        }
    )
    loaded: list[pd.DataFrame] = []

    @dg.asset
    def things() -> pd.DataFrame:
        return frame

    @dg.asset
    def after(things: pd.DataFrame) -> None:
        loaded.append(things)

    for _ in range(2):
        assert run([things, after], store.io_manager).success
    read = loaded[1].sort_values("i").reset_index(drop=True)
    expected = frame.assign(d=pd.to_datetime(frame["d"])).astype(
        {"t": "datetime64[ns, UTC]", "n": "datetime64[ns]", "d": "datetime64[ns]"}
    )
    pd.testing.assert_frame_equal(read, expected)


def test_an_undeclared_table_keeps_its_columns(store: Store) -> None:
    made: dict[str, Any] = {"a": [1], "b": ["x"]}

    @dg.asset
    def things() -> pd.DataFrame:
        return pd.DataFrame(made)

    assert run(things, store.io_manager).success
    made["c"] = [1]
    assert "extra column 'c'" in failure(run(things, store.io_manager))
    del made["c"]
    made["a"] = ["one"]
    assert "'a' of table things is INT64 but row 0 holds 'one'" in failure(run(things, store.io_manager))
    assert table(store, "things").to_dict("list") == {"a": [1], "b": ["x"]}


CONVENTIONS: dict[str, tuple[dg.PartitionsDefinition, Any, list[str]]] = {
    "static": (dg.StaticPartitionsDefinition(["red", "blue"]), "colour", ["red", "blue"]),
    "dynamic": (TICKERS, "colour", ["AAPL", "MSFT"]),
    "daily": (DAYS, "day", ["2024-01-01", "2024-01-02"]),
    "daily on an expression": (DAYS, "CAST(day AS TIMESTAMP)", ["2024-01-01", "2024-01-02"]),
    "monthly": (dg.MonthlyPartitionsDefinition("2024-01-01"), "day", ["2024-01-01", "2024-02-01"]),
    "hourly": (
        dg.HourlyPartitionsDefinition("2024-01-01-00:00", timezone="Asia/Seoul"),
        "at",
        ["2024-01-01-00:00", "2024-01-01-01:00"],
    ),
    "static x daily": (
        dg.MultiPartitionsDefinition({"colour": dg.StaticPartitionsDefinition(["red", "blue"]), "day": DAYS}),
        {"colour": "colour", "day": "day"},
        ["red|2024-01-01", "red|2024-01-02", "blue|2024-01-01"],
    ),
    "dynamic x monthly": (
        dg.MultiPartitionsDefinition({"ticker": TICKERS, "month": dg.MonthlyPartitionsDefinition("2024-01-01")}),
        {"ticker": "colour", "month": "day"},
        ["2024-01-01|AAPL", "2024-02-01|AAPL", "2024-02-01|MSFT"],
    ),
}


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_every_kind_of_partition_replaces_and_loads_its_own_rows(store: Store, name: str) -> None:
    definition, expr, keys = CONVENTIONS[name]
    value = {"now": 1}
    loaded: dict[str, pd.DataFrame] = {}

    @dg.asset(partitions_def=definition, metadata={"partition_expr": expr})
    def things(context: dg.AssetExecutionContext) -> pd.DataFrame:
        parts = context.partition_key.split("|")
        stamps = [part for part in parts if part[:4].isdigit()]
        names = [part for part in parts if not part[:4].isdigit()]
        day = pd.Timestamp(stamps[0][:10]) if stamps else pd.Timestamp("2024-01-01")
        hour = pd.Timestamp(stamps[0][:10] + "T" + stamps[0][11:]) if stamps and len(stamps[0]) > 10 else day
        return pd.DataFrame(
            {
                "colour": [names[0] if names else "red"],
                "day": [day.date()],
                "at": [hour.tz_localize("Asia/Seoul")],
                "value": [value["now"]],
            }
        )

    @dg.asset(partitions_def=definition)
    def after(context: dg.AssetExecutionContext, things: pd.DataFrame) -> None:
        loaded[context.partition_key] = things

    on = instance()
    for key in keys:
        assert run([things, after], store.io_manager, on, key=key).success
    assert {key: frame["value"].tolist() for key, frame in loaded.items()} == {key: [1] for key in keys}
    value["now"] = 2
    assert run([things, after], store.io_manager, on, key=keys[0]).success
    assert loaded[keys[0]]["value"].tolist() == [2]
    assert sorted(table(store, "things")["value"]) == [1] * (len(keys) - 1) + [2]


def test_a_row_outside_a_sql_expression_is_refused(store: Store) -> None:
    @dg.asset(partitions_def=DAYS, metadata={"partition_expr": "CAST(day AS TIMESTAMP)"})
    def things() -> pd.DataFrame:
        return pd.DataFrame({"day": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 9)]})

    assert "day=2024-01-09) lies outside" in failure(run(things, store.io_manager, key="2024-01-01"))


def test_a_keyed_frame_needs_plain_columns(store: Store) -> None:
    @dg.asset(partitions_def=DAYS, metadata={"partition_expr": "CAST(day AS TIMESTAMP)"})
    def things() -> KeyedFrame:
        return KeyedFrame(pd.DataFrame({"day": [datetime.date(2024, 1, 1)]}))

    assert "name plain columns" in failure(run(things, store.io_manager, key="2024-01-01"))


def test_an_unpartitioned_asset_reads_every_partition(store: Store) -> None:
    loaded: list[pd.DataFrame] = []

    @dg.asset
    def summary(prices: pd.DataFrame) -> None:
        loaded.append(prices)

    on = instance()
    assert run(every_key(), store.io_manager, on, between=("2024-01-02|AAPL", "2024-01-04|MSFT")).success
    result = dg.materialize(
        [every_key(), summary],
        instance=on,
        resources={"io_manager": store.io_manager},
        selection=[summary],
    )
    assert result.success
    assert len(loaded[0]) == 6


def test_schema_comes_from_metadata_then_io_manager_then_key_prefix(store: Store) -> None:
    other = f"{store.warehouse.schema}_other"

    @dg.asset(metadata={"schema": other}, key_prefix=["ignored"])
    def things() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    @dg.asset(key_prefix=["ignored"])
    def more() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    assert run([things, more], store.io_manager).success
    assert store.warehouse.contract(TableRef(other, "things")) is not None
    assert store.warehouse.contract(TableRef(store.warehouse.schema, "more")) is not None
    if isinstance(store.warehouse, DuckDBWarehouse):
        prefixed: Any = DuckDBWarehouseIOManager(database=store.warehouse.database)
    else:
        prefixed = BigQueryWarehouseIOManager(project="test-project")

    @dg.asset(key_prefix=["a", f"{other}_2"])
    def less() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    assert run(less, prefixed).success
    assert store.warehouse.contract(TableRef(f"{other}_2", "less")) is not None


def test_op_outputs_are_tables_too(store: Store) -> None:
    loaded: list[pd.DataFrame] = []

    @dg.op(out={"things": dg.Out(pd.DataFrame, metadata={"table": "op_things"})})
    def make():
        return pd.DataFrame({"a": [1, 2]})

    @dg.op
    def use(frame: pd.DataFrame) -> None:
        loaded.append(frame)

    @dg.job(resource_defs={"io_manager": store.io_manager})
    def ops() -> None:
        use(make())

    assert ops.execute_in_process().success
    assert sorted(loaded[0]["a"]) == [1, 2]
    assert store.warehouse.contract(TableRef(store.warehouse.schema, "op_things")) is not None


def test_an_input_whose_table_is_missing_says_so(store: Store) -> None:
    @dg.asset
    def after(things: pd.DataFrame) -> None: ...

    things = dg.AssetSpec("things", metadata={"dagster/io_manager_key": "io_manager"})
    assert "does not exist yet" in failure(run([things, after], store.io_manager))


def test_an_input_of_another_type_is_refused(store: Store) -> None:
    @dg.asset
    def things() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    @dg.asset
    def after(things: dict) -> None: ...

    assert "annotate it pd.DataFrame" in failure(run([things, after], store.io_manager))


def test_missing_partition_expr_is_told_before_anything_is_written(store: Store) -> None:
    @dg.asset(partitions_def=TICKER_DAYS)
    def things() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    assert "one column per dimension" in failure(run(things, store.io_manager, key=GOOD_KEY))
    assert store.warehouse.contract(TableRef(store.warehouse.schema, "things")) is None


def test_declared_metadata_that_is_wrong_is_one_sentence(store: Store) -> None:
    schema = dg.TableSchema(columns=[dg.TableColumn("a", "NUMERIC")])

    @dg.asset(metadata={"dagster/column_schema": schema})
    def things() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    assert "declared as 'NUMERIC'" in failure(run(things, store.io_manager))
    schema = dg.TableSchema(columns=[dg.TableColumn("a", "INT64")])

    @dg.asset(name="things", metadata={"dagster/column_schema": schema, "primary_key": ["b"]})
    def more() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    assert "primary key of table things names column 'b'" in failure(run(more, store.io_manager))


def test_partition_expressions_are_used_as_declared() -> None:
    assert METADATA["partition_expr"] == BY_TICKER_AND_DAY
    assert METADATA["primary_key"] == ["ticker", "date"]
