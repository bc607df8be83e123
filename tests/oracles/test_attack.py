"""FGSM against foolbox."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import underdog as ud

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports from old places in scipy
    import foolbox


@pytest.mark.parametrize("eps", [1 / 255, 8 / 255, 0.3])
@pytest.mark.parametrize("channels", [1, 3])
def test_fgsm_gives_foolboxs_images(eps: float, channels: int) -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (32, channels, 16, 16), dtype=np.uint8))
    pixels[:, :, :4], pixels[:, :, 4:8] = 0, 255  # both bounds are met
    y = torch.from_numpy(rng.integers(0, 5, 32))
    torch.manual_seed(0)
    learner = ud.Learner(ud.PaperNet(channels, 5, (16, 16), width=0.25), 5)
    for _ in range(3):  # BatchNorm's statistics are then no longer trivial
        learner.step(ud.to_unit(pixels), y)
    x = ud.to_unit(pixels).contiguous(memory_format=torch.channels_last)
    ours = ud.FGSM(eps)(learner, x, y, rng)
    victim = foolbox.PyTorchModel(learner.model.eval(), bounds=(0, 1), device="cpu")
    _, theirs, _ = foolbox.attacks.LinfFastGradientAttack(random_start=False)(victim, x, y, epsilons=eps)
    assert torch.equal(ours, theirs)
    assert (ours - x).abs().max() == pytest.approx(eps, abs=1e-6)
    assert (ours[:, :, 4:8] <= 1).all()
    assert (ours[:, :, :4] >= 0).all()
