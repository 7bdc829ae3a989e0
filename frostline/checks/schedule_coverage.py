"""D05 schedule-coverage: was the model trained where it is sampled?

The sampler's range is cut into at most ten bins of like numbers of its steps; a student of four steps has four. Each
must hold at least one training draw in a hundred. One bin per step would ask the impossible of many steps: the end
bins of twenty hold 0.2 % of logit-normal draws under the very shift they are sampled with.
"""

import torch
from torch import Tensor

from frostline import findings, schedule
from frostline.findings import Bound, Check, Finding

ABOUT = Check(
    id="D05",
    name="schedule-coverage",
    question="Was the model trained where it is sampled?",
    procedure="Count training draws in each of up to ten bins of the sampler's sigmas, and in each expert's range; "
    "compare the sampler's sigmas with those of one shift.",
    remedy="Train and sample with the shift of one contract, draw training sigmas with frostline.schedule, "
    "and do not let a scheduler shift sigmas that are shifted already.",
    reference="docs/maths.md; Esser et al., arXiv:2403.03206, section 3.1 and eq. 23",
)
LEAST_SHARE = Bound(measure="least_bin_share", op=">=", value=0.01)
EXPERT_SHARE = Bound(measure="least_expert_share", op=">=", value=0.05)
SHIFTED_ONCE = Bound(measure="shift_error", op="<", value=1e-3)


def check(
    *,
    draws: Tensor,
    sampler_sigmas: Tensor,
    intended_sigmas: Tensor,
    expert_boundary: float | None = None,
    end: float = 1.0,
) -> Finding:
    """Judge training ``draws`` (n,) against the sampler's sigmas (steps + 1,), and these against the intended ones.

    A network that learned on a schedule is asked up to its ``end``.
    """
    asked = sampler_sigmas if end >= 1 else sampler_sigmas.clamp(max=end).unique()
    shares = schedule.coverage(draws, schedule.edges(asked))
    measured = {
        "least_bin_share": float(shares.min()),
        "shift_error": float((sampler_sigmas.to(torch.float64) - intended_sigmas.to(torch.float64)).abs().max()),
    }
    if expert_boundary is None:
        return findings.judge(ABOUT, measured, (LEAST_SHARE, SHIFTED_ONCE))
    measured["least_expert_share"] = _least_expert_share(draws, expert_boundary)
    return findings.judge(ABOUT, measured, (LEAST_SHARE, SHIFTED_ONCE, EXPERT_SHARE))


def _least_expert_share(draws: Tensor, boundary: float) -> float:
    high = float((draws >= boundary).to(torch.float64).mean())
    return min(high, 1.0 - high)
