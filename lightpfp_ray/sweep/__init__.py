"""A sweep: one control file with some of its values varied, and what came out of each trial.

`file` reads and checks the sweep file, `trials` says what is trained and what is in a trial's
folder, `table` and `picture` show the outcome. Nothing here knows what runs the trials.
"""

from .file import Sweep, load_sweep
from .trials import Trial, TrialFolder

__all__ = ["Sweep", "Trial", "TrialFolder", "load_sweep"]
