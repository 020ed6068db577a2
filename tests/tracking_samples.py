"""Output folders of small trainings, and what MLflow holds of them."""

import json
import shutil

from lightpfp_ray.evaluation import errors_of
from lightpfp_ray.journal import Journal, records
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.plots import loss_plot, parity_plot
from lightpfp_ray.potential import Potential
from lightpfp_ray.tracking import Recording
from lightpfp_ray.tracking.points import points
from lightpfp_ray.tracking.store import connect

from .training_samples import sets, trained

CONTROL = {"common_config": {"total_epoch": 10, "epoch_list": [3, 4]}, "mtp_config": {"rc": 4.0}}


def finished_run(path):
    """A folder as a training leaves it."""
    output, structures = OutputFolder(path), sets()
    output.begin(CONTROL, {"fingerprint": "of the data"})
    model = trained(output.checkpoints, structures, Journal(output.journal))
    Potential(model, {}).save(output.potential)
    written = records(output.journal)
    parity_plot({s: pairs_of(model, v) for s, v in structures.items()}, output.parity)
    loss_plot(written, output.losses)
    metrics = {split: errors_of(written[-1][split], len(structures[split])) for split in structures}
    output.metrics.write_text(json.dumps(metrics))
    return output


def pairs_of(model, structures):
    """Labels and predictions of a set."""
    batch = structures.batch(range(len(structures)))
    found = model(batch)
    pairs = {
        "energy": (batch.energy_S, found.energy_S),
        "forces": (batch.forces_A3, found.forces_A3),
        "stress": (batch.stress_S6, found.stress_S6),
    }
    present = {label: ~reference.isnan() for label, (reference, _) in pairs.items()}
    return {k: tuple(t[present[k]].detach().numpy() for t in pair) for k, pair in pairs.items()}


def copied(output, path):
    shutil.copytree(output.path, path)
    return OutputFolder(path)


def unfinished(output):
    """The same folder as it is before the first record."""
    for file in (output.journal, output.metrics):
        file.unlink()
    shutil.rmtree(output.checkpoints)
    output.checkpoints.mkdir()
    return output


def cover(output, record):
    """A checkpoint's name, as it stands after an epoch."""
    name = f"{record['stage_index']:03d}-{record['epoch']:07d}-000000000.pt"
    (output.checkpoints / name).touch()


def in_journal(output):
    """Curve -> its (step, value) in order."""
    return curves((p.key, p.step, p.value) for r in records(output.journal) for p in points(r))


def in_mlflow(output):
    """The same in the run that the folder was recorded as."""
    recording = Recording.load(output)
    client = connect(recording.uri)
    run = client.get_run(recording.run_id)
    histories = (client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return curves((m.key, m.step, m.value) for history in histories for m in history)


def curves(triples):
    found = {}
    for key, step, value in triples:
        found.setdefault(key, []).append((step, value))
    return {key: sorted(values) for key, values in found.items()}
