"""The potential as a model of MLflow: put beside its run, and fetched back."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..potential import HEAD
from . import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import ModelSignature

NAME = "potential"
SERVED = Path(__file__).with_name("served.py")


def log_potential(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Put a potential's folder beside its run as a pyfunc model, once; no pickle.

    A model that an interrupted upload left behind is completed.
    """
    from mlflow.entities import LoggedModelStatus
    from mlflow.models import Model

    run = client.get_run(run_id)
    model = _linked_model(client, run)
    if model.status == LoggedModelStatus.READY:
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / NAME
        _save_model(
            path,
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                model_uuid=model.model_id,
                run_id=run_id,
                model_id=model.model_id,
            ),
            python_model=str(SERVED),
            artifacts={"potential": str(folder)},
            signature=_signature(),
            pip_requirements=["lightpfp_ray", "mlflow", "pandas"],
        )
        client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def register(client: MlflowClient, run_id: str, name: str, alias: str) -> int:
    """Make the potential of a run the one that `models:/name@alias` means; its version.

    A potential that has a version under this name keeps it.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = _linked_model(client, client.get_run(run_id))
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = (
        known[0]
        if known
        else client.create_model_version(
            name, model.artifact_location, run_id, model_id=model.model_id
        )
    )
    client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _save_model(path: Path, **options: Any) -> None:
    """As MLflow does, without its advice on type hints and examples: the signature is given."""
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"mlflow\.")
        mlflow.pyfunc.save_model(path, **options)


def _linked_model(client: MlflowClient, run: Run) -> LoggedModel:
    """The run's model, made and linked to the run where it is not yet."""
    from mlflow.entities import LoggedModelOutput

    linked = {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}
    models = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    model = next((m for m in models if m.name == NAME), None) or client.create_logged_model(
        run.info.experiment_id, NAME, source_run_id=run.info.run_id
    )
    if model.model_id not in linked:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _signature() -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    vector = Array(DataType.double)
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(Array(DataType.long), "numbers"),
                ColSpec(Array(vector), "positions"),
                ColSpec(Array(vector), "cell", required=False),
                ColSpec(Array(DataType.boolean), "pbc", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(DataType.double, "energy"),
                ColSpec(Array(vector), "forces"),
                ColSpec(vector, "stress", required=False),
            ]
        ),
    )


def fetch_potential(reference: str, uri: str, into: Path) -> Path:
    """A local copy, below `into`, of the potential that MLflow keeps under a run's id, a `runs:/`
    or a `models:/` URI. An earlier copy is used again, unless the name may have moved on.

    Raises UserError where there is none, or the server does not answer.
    """
    source = f"runs:/{reference}/{NAME}" if re.fullmatch("[0-9a-f]{32}", reference) else reference
    if not source.startswith(("runs:/", "models:/")):
        raise UserError(
            f"reload_model {reference}: no such folder: expected a potential's folder, the id of "
            "an MLflow run, or a runs:/ or models:/ URI"
        )
    copy = into / hashlib.sha256(f"{uri} {source}".encode()).hexdigest()[:16]
    fixed = not ("@" in source or source.endswith("/latest"))
    if not (fixed and copy.exists()):
        _download(reference, source, uri, copy)
    heads = sorted(copy.rglob(HEAD))
    if not heads:
        raise UserError(f"reload_model {reference}: {uri} holds no {HEAD} there: not a potential")
    return heads[0].parent


def _download(reference: str, source: str, uri: str, copy: Path) -> None:
    from mlflow.artifacts import download_artifacts

    try:
        client = store.connect(uri)
        if source.startswith("runs:/"):
            client.get_run(source.split("/")[1])  # says more clearly that there is none
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copy.parent) as scratch, store.as_default(uri):
            whole = Path(scratch) / "whole"
            download_artifacts(artifact_uri=source, dst_path=str(whole))
            shutil.rmtree(copy, ignore_errors=True)
            whole.rename(copy)
    except Exception as error:  # MLflow and its transports raise of all kinds
        raise UserError(
            f"reload_model {reference}: {uri} does not give it ({store.reason(error)}): name a "
            "finished run, or its --tracking-uri"
        ) from None
