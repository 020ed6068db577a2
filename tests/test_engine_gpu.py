"""The torch engine on a GPU: what the CPU says, and nothing in a step that waits for the GPU."""

import pytest
import torch

from lightpfp_ray.mtp.engine import default_engine
from lightpfp_ray.mtp.levels import Levels

from .test_engine import (
    EXACT,
    GRADIENT,
    assert_close,
    loss_gradient,
    mixed_batch,
    model_of,
    outputs,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
def test_a_gpu_says_what_the_cpu_says(widths):
    model, batch = model_of(Levels(10), (13, 28), widths), mixed_batch((13, 28))
    expected, gradient = outputs(model(batch)), loss_gradient(default_engine, model, batch)
    model.cuda()
    moved = batch.to(torch.device("cuda"))
    for name, found in outputs(model(moved)).items():
        assert_close(found.cpu(), expected[name], EXACT, name)
    for name, found in loss_gradient(default_engine, model, moved).items():
        assert_close(found.cpu(), gradient[name], GRADIENT, name)


def test_a_step_does_not_wait_for_the_gpu():
    model = model_of(Levels(8), (13, 28)).float().cuda()
    batch = mixed_batch((13, 28)).to(torch.device("cuda"))

    def step():
        default_engine(model, batch, training=True).forces_A3.square().sum().backward()

    step()  # fills the caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
