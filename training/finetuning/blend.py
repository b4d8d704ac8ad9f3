"""How much of what was learned to keep, where learning it cost something else.

Weights on the way from a model to its fine-tuned self often keep most of the gain and lose little
of what was known before (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..learning.checkpoints import StateDict
from .fit import SCORE, Fitted, Job, copied, trained_state

SHARES = (0.75, 0.5, 0.25)  # of the way; its ends are known from training


@dataclass(frozen=True)
class Blend:
    """What was kept.

    Parameters
    ----------
    share : of the change from the first weights to the last averaged ones; None stands for the
        best weights that training saw
    tried : metrics by share
    """

    share: float | None = None
    tried: Mapping[float, Mapping[str, float]] = field(default_factory=dict)


def keep_what_pays(job: Job, start: StateDict, fitted: Fitted, gain: str) -> Blend:
    """Leave the network with the weights on the way that validate best.

    Nothing is tried where the best whole weights have the greatest gain as well, so that nothing
    was given up for what was known before: on a handful of pictures half of the way would win by
    chance, and loses much elsewhere.

    Parameters
    ----------
    job : its network holds the best weights that `fit` saw
    start : what learns, as it was before
    fitted : how training went
    gain : metric of its history that the score is, before what was lost counts against it
    """
    best = max(row[SCORE] for row in fitted.history)
    if best >= max(row[gain] for row in fitted.history):
        return Blend()
    kept, share = copied(trained_state(job.network)), None
    tried = {}
    for part in SHARES:
        state = between(start, fitted.last, part)
        job.network.load_state_dict(state, strict=False)
        tried[part] = dict(job.validate())
        if tried[part][SCORE] > best:
            best, kept, share = tried[part][SCORE], state, part
    job.network.load_state_dict(kept, strict=False)
    return Blend(share, tried)


def between(start: StateDict, end: StateDict, share: float) -> StateDict:
    """Weights at a share of the way; whole numbers, such as counters, are the end's."""
    return {
        name: start[name].lerp(last, share) if last.dtype.is_floating_point else last
        for name, last in end.items()
    }
