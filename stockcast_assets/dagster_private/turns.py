"""Who may write: one run at a time, whether a command executes it or Dagster's daemon does.

Dagster's pools bind what its daemon launches. These locks bind both, and die with the process that holds them: files of
a home on one machine, which are tables; locks in the PostgreSQL that several machines share, which are slices of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from filelock import FileLock, Timeout

from stockcast_assets.dagster_private.shared_turns import is_shared, run_lock, shared_turns

Waiting = Callable[[str], Any]


class SlicesOf(Protocol):
    """What tells which slices a run writes."""

    def __call__(self, instance: dg.DagsterInstance, run: dg.DagsterRun, pools: Iterable[str]) -> Iterable[str]: ...


def turn(
    instance: dg.DagsterInstance,
    pools: Iterable[str],
    slices: Iterable[str],
    waiting: Waiting = lambda name: ExitStack(),
) -> AbstractContextManager[None]:
    """Hold the turn of what is to be written; whoever has it already in this process goes on.

    Args:
        instance: where the locks are.
        pools: names of pools; every asset is one of its own name. They are locked on one machine.
        slices: names of the slices of their tables. They are locked where machines share the instance.
        waiting: called with what another process holds; a context manager around the wait.
    """
    if is_shared(instance):
        return shared_turns(instance).held(slices, waiting)
    return _on_this_machine(instance, pools, waiting)


@contextmanager
def _on_this_machine(instance: dg.DagsterInstance, pools: Iterable[str], waiting: Waiting) -> Iterator[None]:
    folder = Path(instance.root_directory) / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        # In one order, so that nobody waits for somebody who waits for him.
        for pool in sorted(set(pools)):
            lock = FileLock(folder / f"{pool.replace('/', '_')}.lock", is_singleton=True, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                with waiting(pool):
                    lock.acquire(poll_interval=0.1)
            held.callback(lock.release)
        yield


class _InTurn(dg.Executor):
    """Another executor, once nobody else writes what the run does."""

    def __init__(self, executor: dg.Executor, slices_of: SlicesOf, alone: Mapping[str, str]) -> None:
        self._executor = executor
        self._slices_of = slices_of
        self._alone = alone

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        """As the other's."""
        instance, run = plan_context.instance, plan_context.dagster_run
        concurrency = run.run_op_concurrency
        pools = list(concurrency.all_pools or ()) if concurrency else []
        with ExitStack() as held:
            # Else a signal would not end the wait.
            with raise_execution_interrupts():
                if is_shared(instance):
                    # First, so that it is known to live while it waits.
                    held.enter_context(turn(instance, (), [run_lock(run.run_id)]))
                held.enter_context(turn(instance, pools, self._slices_of(instance, run, pools)))
            yield from self._one_at_a_time(instance, self._executor.execute(plan_context, execution_plan))

    def _one_at_a_time(self, instance: dg.DagsterInstance, events: Iterator[Any]) -> Iterator[Any]:
        """The events of steps, of which those that write a table without keys wait for each other on all machines."""
        with ExitStack() as held:
            for event in events:
                if event.event_type == dg.DagsterEventType.STEP_START and event.step_key in self._alone:
                    held.enter_context(turn(instance, (), [self._alone[event.step_key]]))
                elif event.event_type in _ENDS and event.step_key in self._alone:
                    held.close()
                yield event


_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY)


def in_turn(slices_of: SlicesOf, alone: Mapping[str, str]) -> dg.ExecutorDefinition:
    """Every step in the run's own process, once no other run writes the same.

    Args:
        slices_of: the slices that a run writes.
        alone: the table that a step writes as a whole, by the step's key.
    """
    return dg.ExecutorDefinition(
        # The steps of a run take seconds; a process for each would pay every import again.
        name=dg.in_process_executor.name,
        config_schema=dg.in_process_executor.config_schema,  # type: ignore[arg-type]
        executor_creation_fn=lambda context: _InTurn(
            dg.in_process_executor.executor_creation_fn(context),  # type: ignore[misc]
            slices_of,
            alone,
        ),
        description="Every step in the run's own process, once no other run writes the same.",
    )
