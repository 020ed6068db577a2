"""Chunks -> parts, by Ray Data: a task labels one chunk, with a teacher that its process keeps.

The folder of the parts and the files of the structures must be seen by every node of the cluster.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from ..errors import UserError
from ..teachers import Teacher, load_teacher
from ..teachers.chunks import Chunk, label_chunk
from .errors import unwrap

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by the libraries of a teacher when they are loaded."""


def label(
    chunks: Sequence[Chunk], teacher: str, modules: Path, folder: Path, workers: int
) -> Iterator[tuple[Chunk, int]]:
    """Each chunk as its part is there, and how many of its structures have no labels.

    `teacher` is a name of `load_teacher`, `modules` where a module of its own is looked for. Ray is
    initialised by the caller. Raises UserError where a worker cannot load the teacher.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    work = [
        {"work": pickle.dumps((number, chunk, teacher, modules, folder))}
        for number, chunk in enumerate(chunks)
    ]
    dataset = ray.data.from_items(work, override_num_blocks=len(work))
    try:
        for row in dataset.map(_task, num_cpus=1, concurrency=workers).iter_rows():
            done = json.loads(row["done"])
            if "error" in done:
                raise UserError(done["error"])
            yield chunks[done["number"]], done["failures"]
    except Exception as error:
        raise (unwrap(error) or error) from None


def _task(row: dict) -> dict:
    """One chunk. A mistake of the user is data here: Ray would log its traceback."""
    number, chunk, teacher, modules, folder = pickle.loads(row["work"])
    try:
        failures = label_chunk(chunk, _teacher_of_this_process(teacher, modules), folder)
        done = {"number": number, "failures": failures}
    except UserError as error:
        done = {"error": str(error)}
    return {"done": json.dumps(done)}


@cache
def _teacher_of_this_process(name: str, modules: Path) -> Teacher:
    """Loaded once, on one thread: the other processors have workers of their own."""
    for variable in THREADS:
        os.environ[variable] = "1"
    return load_teacher(name, modules)
