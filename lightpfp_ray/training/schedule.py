"""Learning rate by update: factors that multiply the rate of a stage.

"None": 1. "step": 0.9 once every scheduler_step_size epochs. "linear_warmup": linear from 0 to 1
over scheduler_step_size epochs, then linear to 0 at the end of the stage. Step factor, warm-up
length and decay are unknown of the product: ours.
"""

STEP_GAMMA = 0.9


def rate_factor(kind: str, update: int, updates: int, step_updates: int) -> float:
    """Factor for update number `update` (from 0) of `updates`; `step_updates` updates are
    scheduler_step_size epochs.
    """
    if kind == "None":
        return 1.0
    if kind == "step":
        return STEP_GAMMA ** (update // step_updates)
    if kind == "linear_warmup":
        warm = min(step_updates, updates)
        if update < warm:
            return (update + 1) / warm
        return (updates - update) / (updates - warm + 1)
    raise ValueError(f'lr_scheduling {kind!r} found, expected "step", "linear_warmup" or "None"')
