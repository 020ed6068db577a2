"""The record of a run in MLflow: the only room that knows it.

The journal is the truth, and MLflow follows it: `points` says what is sent of a record, `mirror`
makes the run in MLflow equal to the output folder, `recorder` does that in the background of a
training, or later; `store` and `potential` are where the runs and the potentials lie. Nothing here
loads MLflow before it is used.
"""

from .potential import fetch_potential
from .recorder import Recorder, Recording, track, where
from .store import checked_uri, default_uri
from .sweep import SweepRecorder

__all__ = [
    "Recorder",
    "Recording",
    "SweepRecorder",
    "checked_uri",
    "default_uri",
    "fetch_potential",
    "track",
    "where",
]
