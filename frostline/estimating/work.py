"""Operations of a training, and the time and money they take.

A multiplication with its addition is two operations. Forward is ``speed.forward_flops``; back is twice that, or once
where weights are frozen, attention apart; what is recomputed is forward once more. A teacher is asked twice, with the
text and without; of two experts both are, as in a step with rows of each. Not counted: validation, previews, waiting
for data, AdamW, the average.
"""

from collections.abc import Sequence

from frostline import speed
from frostline.estimating.figures import Figure
from frostline.estimating.machines import Dtype, Machine
from frostline.estimating.memory import Bucket, Learning
from frostline.estimating.networks import Network


def figures(learning: Learning, machine: Machine, steps: int) -> list[Figure]:
    """Operations of a step and of all, hours, money."""
    each = [_step(learning, bucket) for bucket in learning.buckets]
    total = sum(bucket.share for bucket in learning.buckets)
    mean = sum(bucket.share / total * figure.value for bucket, figure in zip(learning.buckets, each, strict=True))
    shares = " + ".join(
        f"{bucket.share / total:.3g} × {figure.value:.4g}"
        for bucket, figure in zip(learning.buckets, each, strict=True)
    )
    every = Figure(name="all steps", value=steps * mean, unit="FLOP", formula=f"{steps:,} steps × ({shares})")
    muon = _muon(learning, machine, steps)
    return [*each, every, *muon, *time(every.value, learning.dtype, machine, sum(f.value for f in muon))]


def _step(learning: Learning, bucket: Bucket) -> Figure:
    own = _forward(learning.network, bucket)
    value, formula = _own(learning, bucket, own)
    if learning.teacher is not None:
        theirs, experts = _forward(learning.teacher, bucket), learning.teacher.experts
        value += 2 * learning.asked * experts * theirs
        times = f"2 × {f'{learning.asked} × ' if learning.asked > 1 else ''}{f'{experts} × ' if experts > 1 else ''}"
        formula += f" + {times}{theirs:.4g} of the teacher"
    more, said = _beside(learning, bucket, own)
    value, formula = value + more, formula + said
    return Figure(
        name=f"a step {bucket.name}",
        value=bucket.batch * value,
        unit="FLOP",
        formula=f"{bucket.batch} rows of {bucket.row.tokens:,} tokens × ({formula})",
    )


def _own(learning: Learning, bucket: Bucket, forward: float) -> tuple[float, str]:
    """Forward and back through the network that learns, of one row."""
    network, again = learning.network, int(learning.recompute)
    if network.adapter is None:
        return (3 + again) * forward, f"{3 + again} × {forward:.4g}"
    tokens, text, width = bucket.row.tokens, bucket.row.text, network.width
    attention = float(network.config["num_layers"] * 4 * tokens * (tokens + text) * width)
    beside = 2.0 * tokens * network.trained  # as if all of it saw every token
    value = (2 + again) * forward + attention + (3 + again) * beside
    formula = f"{2 + again} × {forward:.4g} + {attention:.4g} of attention + {3 + again} × {beside:.4g} of the adapter"
    return value, formula


def _beside(learning: Learning, bucket: Bucket, own: float) -> tuple[float, str]:
    """Of what moves beside a student, of one row: on the mean it makes half of its jumps before the one that learns."""
    value, formula = learning.passes * own, f" + {learning.passes} × {own:.4g} more" if learning.passes else ""
    if learning.target:
        value, formula = value + own, formula + f" + {own:.4g} of the target"
    critic = learning.critic
    if critic is not None:
        theirs, before = _forward(critic.network, bucket), (critic.jumps - 1) / 2
        again = 3 + int(learning.recompute)
        value += before * own + theirs + critic.updates * ((before + 1) * own + again * theirs)
        formula += (
            f" + {before:g} × {own:.4g} before the jump + {theirs:.4g} of the critic + {critic.updates} updates × "
            f"({before + 1:g} × {own:.4g} + {again} × {theirs:.4g})"
        )
    return value, formula


def _forward(network: Network, bucket: Bucket) -> float:
    return speed.forward_flops(network.config, bucket.row.tokens, bucket.row.text)


def _muon(learning: Learning, machine: Machine, steps: int) -> list[Figure]:
    """Every process computes the same step, in float32."""
    critic = learning.critic
    flops = learning.moved.flops + (critic.updates * critic.moved.flops if critic else 0)
    if not flops:
        return []
    formula = f"{steps:,} steps × {machine.world} process(es) × {flops:.4g}: 5 turns of 4 m²n + 2 m³ for each matrix"
    formula += f", {critic.updates} times those of the critic among them" if critic else ""
    return [Figure(name="Muon, all steps", value=steps * machine.world * flops, unit="FLOP", formula=formula)]


def time(flops: float, dtype: Dtype, machine: Machine, precise: float = 0.0) -> list[Figure]:
    """Hours of devices and of the clock, and money, as far as peak and price are known.

    ``flops`` are done in ``dtype``, ``precise`` in float32.
    """
    hours, more = machine.hours(flops, dtype), machine.hours(precise, "float32")
    if hours is None or more is None:
        return []
    parts = [_quotient(flops, dtype, machine), *([_quotient(precise, "float32", machine)] if precise else [])]
    total = hours + more
    found = [
        Figure(name="device hours", value=total, unit="hours", formula=f"({' + '.join(parts)}) / 3,600"),
        Figure(name="hours", value=total / machine.world, unit="hours", formula=f"those / {machine.world} device(s)"),
    ]
    return [*found, *_money(total, machine)]


def _quotient(flops: float, dtype: Dtype, machine: Machine) -> str:
    return f"{flops:.4g} / ({machine.peaks[dtype] / 1e12:g}e12 × {machine.utilisation:g})"


def _money(hours: float, machine: Machine) -> Sequence[Figure]:
    if machine.price is None:
        return []
    formula = f"{hours:,.4g} device hours × {machine.price:g}"
    return [Figure(name="money", value=hours * machine.price, unit="money", formula=formula)]
