"""MLflow follows a training from a thread of the driver, and never holds it up."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import click

from ..errors import UserError
from ..output import OutputFolder
from . import store
from .mirror import Mirror, Recording, status_of

INTERVAL_S = 2.0
LONGEST_WAIT_S = 60.0
"""Between two tries while MLflow does not answer; the first ones follow sooner."""

SHORT_WAIT_S = 4.0
"""At the end, for an MLflow that did not answer before, or of a run that did not finish."""


class Recorder:
    """Mirrors an output folder into MLflow while a block runs; use as a context.

    Begin it when the folder has its control file. MLflow is loaded and its store made in the
    thread, while the training starts. The end of the block waits for MLflow at most `patience_s`.
    """

    def __init__(self, recording: Recording, output: OutputFolder, patience_s: float) -> None:
        self.recording, self.output, self.patience_s = recording, output, patience_s
        self.status: str | None = None  # of MLflow's, once the block has ended
        self.ended = threading.Event()
        self.failure: str | None = None
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Recorder:
        self.recording = self.recording.begun(self.output)
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.status = status_of(kind)
        short_s = min(self.patience_s, SHORT_WAIT_S)
        self.deadline = time.monotonic() + (short_s if kind else self.patience_s)
        self.ended.set()
        self.thread.join(short_s)
        if not self.failure:
            self.thread.join(max(0.0, self.deadline - time.monotonic()))
        if self.thread.is_alive() or self.failure:
            click.echo(
                f"note: MLflow at {self.recording.uri} is not up to date "
                f"({self.failure or 'it takes long'}): `lightpfp-ray track {self.output.path}` "
                "brings it there"
            )

    def _follow(self) -> None:
        """Until the block has ended and MLflow has all, or its time is over."""
        mirror, wait_s, told = None, 0.0, False
        while True:
            self.ended.wait(wait_s)
            status, failed_before = self.status, self.failure
            try:
                mirror = self._updated(mirror, status)
                wait_s, self.failure = INTERVAL_S, None
                if status:
                    return
            except Exception as error:  # of MLflow, its store or the network: never the training's
                mirror, self.failure = None, store.reason(error)
                wait_s = min(2 * wait_s or 1.0, LONGEST_WAIT_S)
                if not told and not status:
                    told = True
                    click.echo(
                        f"note: MLflow at {self.recording.uri}: {self.failure}; the training goes "
                        "on, and MLflow is told later"
                    )
            left = self.deadline - time.monotonic() if status else 0.0
            if status and (failed_before or left <= 0):
                return
            time.sleep(min(wait_s, left))

    def _updated(self, mirror: Mirror | None, status: str | None) -> Mirror:
        if mirror is None:
            mirror = Mirror(self.recording, self.output)
            self.failure = None
            mirror.resume()
        if status:
            mirror.finish(status)
        else:
            mirror.update()
        return mirror


def track(folder: Path, uri: str | None = None) -> list[str]:
    """Bring MLflow up to date with an output folder, finished or not; what a person is told.

    `uri` in place of the one that the folder was recorded under. Raises UserError where MLflow does
    not answer.
    """
    output = OutputFolder(folder.resolve())
    if not output.control.exists():
        raise UserError(f"{folder} is not the output folder of a training: it has no control.json")
    earlier = Recording.load(output)
    recording = earlier or Recording(
        store.default_uri(output.path), "lightpfp_ray", output.path.name
    )
    if uri:
        recording = replace(recording, uri=store.checked_uri(uri))
    recording.save(output)
    try:
        mirror = Mirror(recording, output)
        n = mirror.finish("FINISHED") if output.is_finished else mirror.update()
    except UserError:
        raise
    except Exception as error:  # of MLflow, its store or the network
        raise UserError(
            f"MLflow at {recording.uri}: {store.reason(error)}: start it, or name another with "
            "--tracking-uri"
        ) from None
    lines = [f"{n} points sent", *where(output.path)]
    if not output.is_finished:
        lines.append("the training is not finished: its command goes on, and so does the record")
    return lines


def where(folder: Path) -> list[str]:
    """Lines that say which run an output folder is in MLflow, and how to look at it."""
    recording = Recording.load(OutputFolder(folder))
    if not recording or not recording.run_id:
        return [f"MLflow:    not there yet: `lightpfp-ray track {folder}`"]
    run, uri = recording.run_id, recording.uri
    if uri.startswith(store.SERVERS):
        return [f"MLflow:    {uri}/#/experiments/{recording.experiment_id}/runs/{run}"]
    return [
        f"MLflow:    run {run} of the experiment {recording.experiment}",
        f"           mlflow ui --workers 1 --backend-store-uri {uri}",
    ]
