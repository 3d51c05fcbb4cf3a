"""Who may write a table: one run at a time on this machine, whether a command executes it or Dagster's daemon does.

Dagster's pools bind what its daemon launches. These locks bind both, and die with the process that holds them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from filelock import FileLock, Timeout

Waiting = Callable[[str], Any]


@contextmanager
def turn(
    instance: dg.DagsterInstance, pools: Iterable[str], waiting: Waiting = lambda pool: ExitStack()
) -> Iterator[None]:
    """Hold the turn of these pools; whoever has it already in this process goes on.

    Args:
        instance: the locks are files in its folder.
        pools: names of pools; every asset is one of its own name.
        waiting: called with a pool that another process holds; a context manager around the wait.
    """
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
    """Another executor, once the run's pools are free."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        """As the other's."""
        concurrency = plan_context.dagster_run.run_op_concurrency
        with ExitStack() as held:
            # Else a signal would not end the wait.
            with raise_execution_interrupts():
                held.enter_context(turn(plan_context.instance, concurrency.all_pools or () if concurrency else ()))
            yield from self._executor.execute(plan_context, execution_plan)


in_turn = dg.ExecutorDefinition(
    # The steps of a run take seconds; a process for each would pay every import again.
    name=dg.in_process_executor.name,
    config_schema=dg.in_process_executor.config_schema,  # type: ignore[arg-type]
    executor_creation_fn=lambda context: _InTurn(dg.in_process_executor.executor_creation_fn(context)),  # type: ignore[misc]
    description="Every step in the run's own process, once no other run on this machine writes the same tables.",
)
