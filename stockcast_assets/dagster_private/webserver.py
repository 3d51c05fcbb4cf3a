"""Dagster's webserver as an ASGI application, and the code location beside it, without `dagster dev`.

`dagster dev` starts a webserver that nothing can be put around.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.webserver import DagsterWebserver
from graphql import ASTValidationRule, GraphQLError, OperationDefinitionNode, OperationType
from starlette.applications import Starlette

# As `dagster-webserver` has them on its command line.
_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW = 15_000, 3_600, 20
_POLL_MS = 2_000


class NoMutation(ASTValidationRule):
    """A document that changes something is not valid; Dagster's own switch leaves that to each mutation."""

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        if node.operation is OperationType.MUTATION:
            self.report_error(GraphQLError("This Dagster UI is read-only.", node))


class _ReadOnlyWebserver(DagsterWebserver[Any, Any]):
    def build_graphql_validation_rules(self) -> Collection[type[ASTValidationRule]]:
        return [*super().build_graphql_validation_rules(), NoMutation]


@contextmanager
def webserver(instance: dg.DagsterInstance, workspace: Path, read_only: bool) -> Iterator[Starlette]:
    """Dagster's own web application on an instance.

    Args:
        instance: the instance to show.
        workspace: a workspace file; what it loads is loaded by this process unless it names a running code server.
        read_only: whether nothing can be launched, changed or reported.
    """
    instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
    target = WorkspaceFileTarget(paths=[str(workspace)])
    kind = _ReadOnlyWebserver if read_only else DagsterWebserver
    with WorkspaceProcessContext(instance, target, dg.__version__, read_only) as context:
        yield kind(context, live_data_poll_rate=_POLL_MS).create_asgi_app()


@contextmanager
def code_server(instance: dg.DagsterInstance, workspace: Path) -> Iterator[Path]:
    """The code locations of a workspace file in processes of their own, started again if they die.

    Yields:
        A workspace file that names the running servers.
    """
    with ExitStack() as stack:
        servers = stack.enter_context(
            ProxyServerManager(instance, WorkspaceFileTarget(paths=[str(workspace)]), code_server_log_level="warning")
        )
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "workspace.yaml"
        file.write_text(yaml.dump({"load_from": servers.get_code_server_specs()}))
        yield file
