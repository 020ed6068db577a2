"""What lies before the first step of a stage: radial functions, least squares of what is linear,
and the coordinates in which an optimizer then walks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..mtp.model import MTP
from .batches import WeightedSet, n_batches
from .context import WorkerContext
from .coordinates import Coordinates, Maps
from .finetune import FOLDS, held_out_ridge, lets_go, search_from
from .linear import refit, solve_reference_energies
from .pairs import SharedPairs, keep_shared, with_stretch
from .plan import Plan
from .search import search
from .start import begin_anew
from .update import AdamWalk
from .varpro import VariableProjection
from .whiten import standardise_network, whitened

if TYPE_CHECKING:
    from ..config import Stage

UNDETERMINED = (
    "the energies of the training set do not determine E0 of every element, since their fractions "
    "never vary independently: forces are not affected, energies of other compositions are"
)

LEFT = (
    "the network of the potential to begin at is given up for a start from scratch, which does "
    "better on structures left out; lightpfp_ray.starts 1 keeps it"
)

NETWORK_RIDGE = 1e-5
"""Of the least squares beside a trained network, toward what was trained with it; and over the
basis functions of a committee, toward the mean of its members.
"""

WALKS = {"adam": AdamWalk, "varpro": VariableProjection}

Walk = AdamWalk | VariableProjection


@dataclass(frozen=True)
class Opening:
    """Of the stages of a training. `write` takes the kind of a record and what it holds."""

    plan: Plan
    train: WeightedSet
    context: WorkerContext
    tunes: bool  # the training began at a potential
    write: Callable[..., None]

    def walk(
        self, model: MTP, stage: Stage, coefficients: Mapping[str, float], first: bool
    ) -> Walk:
        """Change the model to where a stage begins, the first of a member of the committee or a
        later one; how it walks on. Calibration goes on from the very losses that it makes equal.
        """
        options, seed = self.plan.options, self.plan.seed + stage.member
        if first:
            self._begin(model, stage, coefficients, seed)
        elif not stage.calibrated:
            self.refit(model, stage, coefficients)
        if stage.optimizer == "varpro":
            plain = Coordinates(model, Maps.identity(model))
            measured = seed if options.whitening else None
            return VariableProjection(model, plain, measured, stage.tolerance)
        maps = Maps.identity(model)
        if options.whitening:
            place = (seed, self.context, options.share_pairs)
            maps = whitened(model, self.train, coefficients, *place)
        if options.share_pairs:
            maps = with_stretch(maps, model, self.plan.radii)
        walk = AdamWalk(model, (SharedPairs if options.share_pairs else Coordinates)(model, maps))
        walk.decay(self._decay(stage))
        return walk

    def _begin(
        self, model: MTP, stage: Stage, coefficients: Mapping[str, float], seed: int
    ) -> None:
        """Radial functions, least squares and a network's neurons: of a start from scratch, or from
        the potential at which the training began.
        """
        anew = not self.tunes or self._lets_go(model, coefficients)
        if anew and (stage.member or self.tunes):
            begin_anew(model, self.train, self.context, seed)
        if anew:
            self._choose_radial(model, coefficients, seed)
        undetermined = solve_reference_energies(model, self.train, self.context)
        if undetermined and not stage.member:
            self.write("note", text=UNDETERMINED)
        if self.plan.options.least_squares_start:
            self._least_squares(model, stage, coefficients, 0.0 if anew else None)
        if not anew:
            self._improve_radial(model, coefficients, stage.loss)
        elif model.widths:
            standardise_network(model, self.train, seed, self.context)

    def _decay(self, stage: Stage) -> float:
        """What a step takes away of a network's weights, as a part of the learning rate: a prior,
        which counts the less the more structures there are, and so steps.
        """
        own = (s for s in self.plan.stages if s.member == stage.member and s.optimizer == "adam")
        batches = n_batches(len(self.train), self.plan.batch_size)
        steps = sum(s.epochs for s in own) * batches
        return self.plan.options.weight_decay / max(1, steps)

    def refit_mean(self, model: MTP, stage: Stage, coefficients: Mapping[str, float]) -> None:
        """xi and E0 of least squares for the mean of a committee, whose members had found theirs
        each by itself.
        """
        if self.plan.options.least_squares_stages:
            place = (self.plan.seed, self.context)
            refit(model, self.train, coefficients, stage.loss, *place, NETWORK_RIDGE)

    def _choose_radial(self, model: MTP, coefficients: Mapping[str, float], seed: int) -> None:
        """The best of some random radial functions, or of one what the pairs share."""
        if self.plan.options.share_pairs:
            keep_shared(model, self.plan.radii)
        elif self._searches:
            with self._searching() as losses:
                losses += search(model, self.train, coefficients, *self._searched(seed))

    def _improve_radial(self, model: MTP, coefficients: Mapping[str, float], power: str) -> None:
        """Of a linear readout: the radial functions that are there, or a better start."""
        if self._searches and not model.widths:
            searched = self._searched(self.plan.seed)
            with self._searching() as losses:
                losses += search_from(model, self.train, coefficients, power, *searched)

    def _lets_go(self, model: MTP, coefficients: Mapping[str, float]) -> bool:
        """Whether the network at which the training began is given up for a start from scratch."""
        if not (self._searches and model.widths and len(self.train) > FOLDS):
            return False
        with self._searching() as losses:
            found, tried = lets_go(model, self.train, coefficients, *self._searched(self.plan.seed))
            losses += tried
        if found:
            self.write("note", text=LEFT)
        return found

    @property
    def _searches(self) -> bool:
        return self.plan.options.starts > 1 and not self.plan.options.share_pairs

    @contextmanager
    def _searching(self) -> Iterator[list[float]]:
        """Takes the losses of the starts, and writes them with the time."""
        began, losses = time.monotonic(), []
        yield losses
        self.write("search", losses=losses, seconds=time.monotonic() - began)

    def _searched(self, seed: int) -> tuple:
        return self.plan.options.starts, seed, self.plan.rounds, self.context

    def refit(self, model: MTP, stage: Stage, coefficients: Mapping[str, float]) -> None:
        """E0 of least squares, and xi where it is asked for, after the first stage; beside a
        network, and where the training began at a potential, xi is held to what it was.
        """
        solve_reference_energies(model, self.train, self.context)
        if self.plan.options.least_squares_stages:
            ridge = NETWORK_RIDGE if model.widths else 0.0
            self._least_squares(model, stage, coefficients, None if self.tunes else ridge)

    def _least_squares(
        self, model: MTP, stage: Stage, coefficients: Mapping[str, float], ridge: float | None
    ) -> None:
        """None: the ridge toward the potential as it is that does best on structures left out."""
        place = (self.plan.seed, self.context)
        if ridge is None:
            ridge = held_out_ridge(model, self.train, coefficients, *place)
        refit(model, self.train, coefficients, stage.loss, *place, ridge)
