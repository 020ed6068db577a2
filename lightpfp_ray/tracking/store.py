"""Where MLflow keeps runs: a server, or a database file beside the output folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")
SERVERS = ("http", "https")

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default of 7 blocks for four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # its words are the command's
}
"""Environment of this process, where the user has set nothing else."""

NOISY = ("alembic", "mlflow", "urllib3")
"""Loggers that tell of each migration and each retry."""


def default_uri(output: Path) -> str:
    """A database beside the output folder, by its absolute path: workers and later commands run in
    other folders.
    """
    return f"{SQLITE}{output.resolve().parent / 'mlflow.db'}"


def checked_uri(uri: str) -> str:
    """The same URI, absolute. Raises UserError for one that MLflow has no store for."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme == "sqlite" and uri.startswith(SQLITE) and uri != SQLITE:
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}"
    if scheme in (*SERVERS, *DATABASES) and urlsplit(uri).netloc:
        return uri
    raise UserError(
        f"--tracking-uri {uri}: expected http://HOST:PORT of an MLflow server, or {SQLITE}PATH of "
        "a database file"
    )


def connect(uri: str) -> MlflowClient:
    """A client, quiet and with short waits. Makes the folder of a database file."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if uri.startswith(SQLITE):
        _database_folder(uri).mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient

    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def as_default(uri: str) -> Iterator[None]:
    """MLflow resolves `runs:/` and `models:/` by a setting of the whole process."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Of the experiment of that name, made where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if not found:
        try:
            return client.create_experiment(name, _artifacts(client.tracking_uri, name))
        except MlflowException:  # another run made it in between
            found = client.get_experiment_by_name(name)
            if not found:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {name} was deleted in {client.tracking_uri}: restore it, or name "
            "another one with --experiment"
        )
    return found.experiment_id


def _artifacts(uri: str, experiment: str) -> str | None:
    """Files lie beside a database file; a server knows its own place."""
    if not uri.startswith(SQLITE):
        return None
    return (_database_folder(uri) / "mlartifacts" / experiment).as_uri()


def _database_folder(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE)).parent


def reason(error: BaseException) -> str:
    """Why MLflow did not do what it was asked, in a short line: below a failed request, what broke
    the connection.
    """
    chain = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    shown = chain[-1] if any(isinstance(e, OSError) for e in chain) else error
    lines = str(shown).strip().splitlines() or [type(shown).__name__]
    return lines[0][:160]
