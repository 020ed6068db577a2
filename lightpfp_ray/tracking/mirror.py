"""The run in MLflow of an output folder, made equal to it: what is not there yet is sent.

MLflow is asked which step each curve has reached, and is sent what comes after it. So every step
stands there once: when an answer was lost, when the journal was cut back to a checkpoint and the
same epochs are written again with the same numbers, and however often a folder is tracked. The
seconds of an epoch are not the same when it is repeated: they wait until a checkpoint covers it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import write_atomically
from ..journal import Follower
from ..output import OutputFolder, leaves
from . import store
from .points import SECONDS, Point, place, points
from .potential import log_potential

if TYPE_CHECKING:
    from mlflow.entities import Run

POINTS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_LENGTH = 500
TOKEN = "lightpfp_ray.recording"
"""Tag by which the run is found again."""

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow shows a run below another."""


@dataclass(frozen=True)
class Recording:
    """Where and under which names a folder is recorded: tracking.json in it."""

    uri: str
    experiment: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    run_id: str | None = None  # for people; the run is found by its token
    experiment_id: str | None = None
    parent: str | None = None  # id of the run that this one is a part of

    @staticmethod
    def file(output: OutputFolder) -> Path:
        return output.path / "tracking.json"

    @classmethod
    def load(cls, output: OutputFolder) -> Recording | None:
        """Of an output folder, None where it was never recorded. Raises UserError."""
        file = cls.file(output)
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): remove it, and the folder is recorded anew"
            ) from None

    def save(self, output: OutputFolder) -> None:
        write_atomically(self.file(output), (json.dumps(asdict(self), indent=2) + "\n").encode())

    def begun(self, output: OutputFolder) -> Recording:
        """The same, written to a folder: as the run of an earlier start where there was one."""
        earlier = self.load(output)
        found = replace(self, token=earlier.token) if earlier else self
        found.save(output)
        return found


def status_of(error: type[BaseException] | None) -> str:
    """MLflow's word for a block that an exception of this class left, or none."""
    if error is None:
        return "FINISHED"
    return "FAILED" if issubclass(error, Exception) else "KILLED"


class Mirror:
    """A connection to the run. After any failure a new one is made: it asks MLflow anew what it
    has.
    """

    def __init__(self, recording: Recording, output: OutputFolder) -> None:
        self.output = output
        self.client = store.connect(recording.uri)
        self.run = self._found_or_created(recording)
        self.run_id = self.run.info.run_id
        replace(recording, run_id=self.run_id, experiment_id=self.run.info.experiment_id).save(
            output
        )
        self.sent = {m.key: m.step for m in self.run.data.to_proto().metrics}
        self.follower = Follower(output.journal)
        self.held: list[tuple[tuple[int, int], Point]] = []
        self._describe(recording)

    def _found_or_created(self, recording: Recording) -> Run:
        experiment = store.experiment_id(self.client, recording.experiment)
        found = self.client.search_runs(
            [experiment], f"tags.`{TOKEN}` = '{recording.token}'", max_results=1
        )
        if found:
            return found[0]
        began = next(iter(Follower(self.output.journal).read()[0]), {}).get("time")
        return self.client.create_run(
            experiment,
            start_time=began and int(1000 * began),
            tags={TOKEN: recording.token}
            | ({PARENT: recording.parent} if recording.parent else {}),
            run_name=recording.name,
        )

    def _describe(self, recording: Recording) -> None:
        """The resolved control file as parameters, the manifest, the tags."""
        from mlflow.entities import Param, RunTag

        control = json.loads(self.output.control.read_text())
        params = [
            Param(key, _shortened(value))
            for key, value in leaves(control)
            if key not in self.run.data.params
        ]
        for some in _in_lists(params, PARAMS_PER_CALL):
            self.client.log_batch(self.run_id, params=some, synchronous=True)
        tags = [RunTag(k, v) for k, v in recording.tags.items() if self.run.data.tags.get(k) != v]
        if tags:
            self.client.log_batch(self.run_id, tags=tags, synchronous=True)
        self._log_files(self.output.control, self.output.data)

    def resume(self) -> None:
        """Show a run as running that had ended before its training did."""
        if self.run.info.status != "RUNNING":
            self.client.update_run(self.run_id, status="RUNNING")

    def update(self) -> int:
        """Send what the journal has and MLflow has not. Returns the number of points."""
        records, anew = self.follower.read()
        if anew:
            self.held.clear()
        return self._send(self._due(records)) + self._send(self._settled())

    def finish(self, status: str, with_potential: bool = True) -> int:
        """Send the rest and set the status, which is written last: a run that has it already is
        complete. `status`: FINISHED, FAILED or KILLED. Returns the number of points.
        """
        n = self.update()
        if status == "FINISHED":
            n += self._send([point for _, point in self.held])
            self.held.clear()
        if self.client.get_run(self.run_id).info.status != status:
            out = self.output
            self._log_files(out.journal, out.metrics, out.skipped)
            self._log_files(out.parity, out.losses, out.report)
            if status == "FINISHED" and with_potential:
                log_potential(self.client, self.run_id, out.potential)
            self.client.set_terminated(self.run_id, status, end_time=self._end_time())
        return n

    def _end_time(self) -> int | None:
        """Of the last record, in ms; None, for now, where there is none."""
        last = self.follower.last
        return int(1000 * json.loads(last)["time"]) if last else None

    def _due(self, records: Iterable[dict[str, Any]]) -> Iterator[Point]:
        """Points of records, but for those that are held back."""
        for record in records:
            for point in points(record):
                if point.key == SECONDS:
                    self.held.append((place(record), point))
                else:
                    yield point

    def _settled(self) -> list[Point]:
        """Points whose epoch the newest checkpoint covers: it is not trained again."""
        covered = newest_place(self.output.checkpoints)
        due = [point for epoch, point in self.held if epoch <= covered]
        self.held = [(epoch, point) for epoch, point in self.held if epoch > covered]
        return due

    def _send(self, found: Iterable[Point]) -> int:
        from mlflow.entities import Metric

        n = 0
        new = (p for p in found if p.step > self.sent.get(p.key, -1))
        for some in _in_lists(new, POINTS_PER_CALL):
            metrics = [Metric(p.key, p.value, int(1000 * p.time), p.step) for p in some]
            self.client.log_batch(self.run_id, metrics=metrics, synchronous=True)
            self.sent.update((p.key, p.step) for p in some)
            n += len(some)
        return n

    def _log_files(self, *files: Path) -> None:
        for file in files:
            if file.exists():
                self.client.log_artifact(self.run_id, str(file))


def newest_place(checkpoints: Path) -> tuple[int, int]:
    """Stage and finished epochs of the newest checkpoint, as its name says; before all without."""
    name = max((path.name for path in checkpoints.glob("*.pt")), default=None)
    if name is None:
        return (-1, 0)
    stage, epoch, _ = name.removesuffix(".pt").split("-")
    return int(stage), int(epoch)


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= PARAM_LENGTH else text[: PARAM_LENGTH - 3] + "..."


def _in_lists(items: Iterable[Any], length: int) -> Iterator[list[Any]]:
    """Lists of at most `length` items."""
    iterator = iter(items)
    while some := list(islice(iterator, length)):
        yield some
