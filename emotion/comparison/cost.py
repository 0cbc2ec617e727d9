"""What a network costs, counted by running it."""

from __future__ import annotations

from typing import Any

from emotion.comparison.arena import Cost

__all__ = ["network_cost"]


def network_cost(model: Any, *inputs: Any) -> Cost:
    """Count the weights of a network and the multiply-adds of running it once on `inputs`."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model(*inputs)
    return Cost(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)
