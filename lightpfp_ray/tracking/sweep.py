"""A sweep in MLflow: a run of its own, each trial a child of it, and the best potential registered.

As of a training, the folders are the truth and MLflow follows them from a thread of the driver.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from ..output import OutputFolder
from . import store
from .mirror import TOKEN, Mirror, Recording, status_of
from .potential import log_potential, register
from .recorder import INTERVAL_S, LONGEST_WAIT_S, SHORT_WAIT_S

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "best"

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens."""


class SweepRecorder:
    """Mirrors the trials' folders while a block runs; `conclude` then writes the outcome.

    `folder`: of the sweep; `follow` names a trial when it begins, `ended` says how it ended.
    Nothing that MLflow does or does not do stops the sweep.
    """

    def __init__(self, recording: Recording, folder: Path, patience_s: float) -> None:
        self.recording, self.folder, self.patience_s = recording, OutputFolder(folder), patience_s
        self.trials: dict[Path, str] = {}  # folder -> name of the run
        self.statuses: dict[Path, str] = {}
        self.mirrors: dict[Path, Mirror] = {}
        self.sent: set[Path] = set()
        self.client: MlflowClient | None = None
        self.failure: str | None = None
        self.deadline: float | None = None  # set when the block has ended
        self.ended_block = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def follow(self, folder: Path, name: str) -> None:
        """A trial that may have a folder from now on."""
        self.trials.setdefault(folder, name)

    def ended(self, folder: Path, status: str) -> None:
        """Of MLflow's: FINISHED, FAILED or KILLED."""
        self.statuses[folder] = status

    def __enter__(self) -> SweepRecorder:
        self.recording = self.recording.begun(self.folder)
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        impatient = kind is not None or self.failure is not None
        self.deadline = time.monotonic() + (SHORT_WAIT_S if impatient else self.patience_s)
        self.ended_block.set()
        self.thread.join(max(0.0, self.deadline - time.monotonic()))
        if kind and self.client and not self.thread.is_alive() and not self.failure:
            ended = status_of(kind)
            self._quietly(lambda: self.client.set_terminated(self.recording.run_id, ended))

    def _follow(self) -> None:
        wait_s, told = 0.0, False
        while True:
            self.ended_block.wait(wait_s)
            last = self.ended_block.is_set()
            if self._quietly(self._update):
                wait_s = INTERVAL_S
            else:
                wait_s = min(2 * wait_s or 1.0, LONGEST_WAIT_S)
                if not told:
                    told = True
                    click.echo(
                        f"note: MLflow at {self.recording.uri} does not answer ({self.failure}): "
                        "the sweep goes on, and the same command tells MLflow later"
                    )
            if last and (not self.failure or time.monotonic() + wait_s > self.deadline):
                return
            if last:
                time.sleep(wait_s)

    def _quietly(self, work) -> bool:
        """Whether it worked; MLflow, its store and the network raise of all kinds."""
        try:
            work()
        except Exception as error:
            self.failure = store.reason(error)
            self.mirrors.clear()
            self.client = None
            return False
        self.failure = None
        return True

    def _update(self) -> None:
        if self.client is None:
            self._open()
        for folder, name in list(self.trials.items()):
            output = OutputFolder(folder)
            if folder in self.sent or not output.control.exists():
                continue
            status = self.statuses.get(folder)
            mirror = self._mirror(output, name)
            if status:
                mirror.finish(status, with_potential=False)
                self.sent.add(folder)
            else:
                mirror.update()

    def _open(self) -> None:
        """The sweep's own run, found or made."""
        client = store.connect(self.recording.uri)
        experiment = store.experiment_id(client, self.recording.experiment)
        filter_string = f"tags.`{TOKEN}` = '{self.recording.token}'"
        found = client.search_runs([experiment], filter_string, max_results=1)
        tags = {TOKEN: self.recording.token, **self.recording.tags}
        run = (
            found[0]
            if found
            else client.create_run(experiment, tags=tags, run_name=self.recording.name)
        )
        if run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        self.recording = replace(
            self.recording, run_id=run.info.run_id, experiment_id=run.info.experiment_id
        )
        self.recording.save(self.folder)
        self.client = client

    def _mirror(self, output: OutputFolder, name: str) -> Mirror:
        if output.path not in self.mirrors:
            earlier = Recording.load(output)
            recording = replace(
                self.recording, name=name, parent=self.recording.run_id, run_id=None
            )
            token = earlier.token if earlier else Recording("", "", "").token
            mirror = Mirror(replace(recording, token=token), output)
            mirror.resume()
            self.mirrors[output.path] = mirror
        return self.mirrors[output.path]

    def conclude(
        self,
        worth: Sequence[Path],
        best: Path | None,
        model_name: str,
        files: Iterable[Path],
        metrics: Mapping[str, float],
    ) -> list[str]:
        """Put the outcome into MLflow, after the block; lines that say where it is.

        `worth`: folders of trials whose potentials are put beside their runs; `best` of them is
        registered as `model_name` under the alias "best".
        """
        if self.thread.is_alive():
            return [self._late()]
        lines: list[str] = []

        def work() -> None:
            self._update()
            for folder in self.trials:
                if OutputFolder(folder).control.exists():
                    self._mirror(OutputFolder(folder), self.trials[folder]).update()
            for folder in worth:
                run_id = self.mirrors[folder].run_id
                log_potential(self.client, run_id, OutputFolder(folder).potential)
            if best:
                version = register(self.client, self.mirrors[best].run_id, model_name, ALIAS)
                lines.append(f"registered: models:/{model_name}@{ALIAS}, version {version}")
            self._describe(files, metrics)

        if not self._quietly(work):
            return [self._late()]
        return lines + self._where()

    def _describe(self, files: Iterable[Path], metrics: Mapping[str, float]) -> None:
        run_id = self.recording.run_id
        for file in files:
            self.client.log_artifact(run_id, str(file))
        for name, value in metrics.items():
            self.client.log_metric(run_id, name, value)
        self.client.set_terminated(run_id, "FINISHED")

    def _where(self) -> list[str]:
        """The page that compares the runs; where no server is named, how to start one."""
        uri, served = self.recording.uri, self.recording.uri.startswith(store.SERVERS)
        runs = json.dumps([mirror.run_id for mirror in self.mirrors.values()])
        experiments = json.dumps([self.recording.experiment_id])
        page = f"compare-runs?runs={quote(runs)}&experiments={quote(experiments)}"
        lines = [f"compare:    {uri if served else LOCAL_UI}/#/{page}"]
        if not served:
            lines.append(f"            after: mlflow ui --workers 1 --backend-store-uri {uri}")
        return lines

    def _late(self) -> str:
        return (
            f"note: MLflow at {self.recording.uri} is not up to date "
            f"({self.failure or 'it takes long'}): the same command brings it there"
        )
