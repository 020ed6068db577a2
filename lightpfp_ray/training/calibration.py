"""The coefficients of the calibration stage: energy, forces and stress weigh the same.

    c_k = W / (K L_k),     W = sum_k c'_k L_k

L_k are the mean losses of the last list stage, c'_k its coefficients, and K counts the labels that
are present: every weighted loss becomes W / K, and the weighted total stays W. The product says
only that the three contribute almost equally; the formula is ours.
"""

from collections.abc import Mapping

from ..errors import UserError


def calibrated(losses: Mapping[str, float], coefficients: Mapping[str, float]) -> dict[str, float]:
    """Coefficients by label; a label without a loss (None) gets 0. Raises UserError where no loss
    is positive.
    """
    present = {k: loss for k, loss in losses.items() if loss is not None and loss > 0}
    total = sum(coefficients[k] * loss for k, loss in present.items())
    if total <= 0:
        raise UserError(
            f"calibration needs a positive weighted loss, found {dict(losses)}: switch it off"
        )
    return {k: total / (len(present) * present[k]) if k in present else 0.0 for k in losses}


def weighted_losses(
    losses: Mapping[str, float], before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, dict[str, float | None]]:
    """The losses, and what they contribute with the coefficients before and after, by label."""

    def times(coefficients: Mapping[str, float]) -> dict[str, float | None]:
        return {k: None if v is None else coefficients[k] * v for k, v in losses.items()}

    return {"losses": dict(losses), "before": times(before), "after": times(after)}
