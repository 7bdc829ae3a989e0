"""Memory of one process of a training, part by part.

Between steps there are weights, optimiser state, average and teacher. A step adds rows, activations and gradients; the
optimiser, when activations are gone, what Muon stacks. The larger of the two is the most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from frostline import eight_bit, transformer
from frostline.estimating import activations
from frostline.estimating.activations import Row
from frostline.estimating.figures import Figure
from frostline.estimating.machines import WIDTHS, Dtype, Machine
from frostline.estimating.networks import MASTER, Moved, Network

UNROUNDED = 21  # bytes that lie around a number while its means are whole: counted in frostline/eight_bit.py


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One bucket of a training."""

    name: str
    share: float  # of the steps
    batch: int  # rows of a step
    row: Row


@dataclass(frozen=True, kw_only=True)
class Critic:
    """The network beside a student that learns what it makes."""

    network: Network
    moved: Moved
    updates: int  # before each step of the student
    jumps: int  # of the student's sampler


@dataclass(frozen=True, kw_only=True)
class Learning:
    """One training, as far as memory asks."""

    network: Network
    teacher: Network | None
    moved: Moved
    buckets: Sequence[Bucket]
    dtype: Dtype
    accumulate: int
    recompute: bool
    teacher_waits: bool = False  # on the host, but for the block that computes
    critic: Critic | None = None
    target: bool = False  # is there an average beside the one that is sampled?
    graphs: int = 1  # losses of a row whose activations are kept at once
    passes: int = 0  # more of the student, of which nothing goes back
    asked: int = 1  # times that a teacher is, with the text and without

    @property
    def largest(self) -> Network:
        """Of the networks that learn, one after the other, the one that takes more."""
        both = [self.network, *([self.critic.network] if self.critic else [])]
        return max(both, key=lambda network: network.parameters)

    def together(self, bucket: Bucket, machine: Machine) -> int:
        """Rows that go through one process at once."""
        return bucket.batch // (machine.world * self.accumulate)


def figures(learning: Learning, machine: Machine) -> list[Figure]:
    """All parts, and the most that is held at once."""
    between = _between(learning, machine)
    why = "float32 sums" + ("; of the student or of its critic, whichever is more" if learning.critic else "")
    gradients = _bytes("gradients", learning.largest.trained, MASTER, machine, why)
    whole = _whole(learning, machine)
    steps = [figure for bucket in learning.buckets for figure in _activations(learning, bucket, machine)]
    around = [*_muon(learning, machine), *_unrounded(learning.moved, machine)]
    most = _most(learning, between, gradients, whole, around, machine)
    return [*between, gradients, *whole, *steps, *around, *most, *_host(learning, machine)]


def _bytes(name: str, numbers: int, width: int, machine: Machine, why: str) -> Figure:
    """Something of every parameter, spread over all processes."""
    return Figure(
        name=name,
        value=numbers * width / machine.world,
        unit="bytes",
        formula=f"{width} × {numbers:,}{_spread(machine)}: {why}",
    )


def _spread(machine: Machine) -> str:
    return f" / {machine.world} processes" if machine.world > 1 else ""


def _between(learning: Learning, machine: Machine) -> list[Figure]:
    """What is held between steps."""
    network, moved, teacher = learning.network, learning.moved, learning.teacher
    frozen = []
    if network.adapter is not None:
        numbers, held = network.parameters - network.trained, network.frozen_bytes(learning.dtype)
        why = f"{numbers:,} as stored, or computed with; norms and what embeds time in float32"
        why += f"; {network.in_float8:,} in float8" if network.in_float8 else ""
        frozen = [_bytes("frozen weights", held, 1, machine, why)]
    found = [
        *frozen,
        _bytes("weights", network.trained, MASTER, machine, "float32 masters"),
        _state("optimiser state", moved, machine),
        _bytes("average", network.trained, MASTER, machine, "what is sampled and saved"),
        *_beside(learning, machine),
    ]
    if teacher is not None:
        numbers, width = teacher.parameters * teacher.experts, teacher.width_of_weight
        why = f"{teacher.experts} expert(s), frozen, as stored"
        if learning.teacher_waits and machine.device != "cpu":
            waiting = f"{width} × {numbers:,} wait on the host; of a block see whole blocks"
            found.append(Figure(name="teacher", value=0, unit="bytes", formula=waiting))
        else:
            found.append(_bytes("teacher", numbers, width, machine, why))
    return found


def _state(name: str, moved: Moved, machine: Machine) -> Figure:
    formula = f"({_means(moved)} + 4 × {moved.matrices:,} of Muon){_spread(machine)}"
    return Figure(name=name, value=(moved.means + 4 * moved.matrices) / machine.world, unit="bytes", formula=formula)


def _beside(learning: Learning, machine: Machine) -> list[Figure]:
    """What moves beside a student."""
    critic, found = learning.critic, []
    if critic is not None:
        why = "float32 masters of all layers that the student's come from"
        found += [
            _bytes("critic", critic.network.parameters, MASTER, machine, why),
            _state("critic's optimiser state", critic.moved, machine),
        ]
    if learning.target:
        found.append(_bytes("target", learning.network.parameters, MASTER, machine, "an average that is asked"))
    return found


def _means(moved: Moved) -> str:
    if not moved.widest:
        return f"8 × {moved.rest:,} of AdamW"
    return f"{moved.means:,} of AdamW: 2 codes of a byte × {moved.rest:,}, scales, and float32 of what is small"


def _whole(learning: Learning, machine: Machine) -> list[Figure]:
    """Blocks that are whole on every process while they are computed."""
    if learning.network.adapter is not None:
        return [_whole_beside(learning.network, learning.dtype)]
    if not machine.sharded:
        return []
    networks = [learning.network, *([learning.teacher] if learning.teacher else [])]
    block, width = max(network.block for network in networks), WIDTHS[learning.dtype]
    return [
        Figure(
            name="whole blocks",
            value=(3 * width + 4) * block,
            unit="bytes",
            formula=f"(3 × {width} + 4) × {block:,}: two gathered, one's gradients, and those as they are summed up",
        )
    ]


def _whole_beside(network: Network, dtype: Dtype) -> Figure:
    """The same of a network that is frozen but for an adapter: one process on a CPU has them too."""
    width, block = WIDTHS[dtype], network.block
    own = transformer.parameters(network.module.blocks[0])["trainable"]
    return Figure(
        name="whole blocks",
        value=2 * width * block + (width + 4) * own,
        unit="bytes",
        formula=f"2 × {width} × {block:,} + ({width} + 4) × {own:,}: two gathered, gradients of the adapter of one",
    )


def _activations(learning: Learning, bucket: Bucket, machine: Machine) -> list[Figure]:
    """What is kept for the way back, as params say and the other way, with what one row keeps."""
    kept = activations.of(learning.largest, bucket.row, learning.dtype, machine.device)
    rows = learning.together(bucket, machine)
    straight = Figure(
        name=f"activations {bucket.name} kept",
        value=kept.everything(rows),
        unit="bytes",
        formula=f"b {rows} × (l {kept.layers} × {kept.block:,} + {kept.ends:,}) + {kept.shared:,}",
    )
    again = Figure(
        name=f"activations {bucket.name} recomputed",
        value=kept.recomputed(rows),
        unit="bytes",
        formula=f"b {rows} × (l {kept.layers} × {kept.stream:,} + {kept.block:,} + {kept.ends:,}) + {kept.shared:,}",
    )
    return [
        Figure(name=f"a block, a row {bucket.name}", value=kept.block, unit="bytes", formula=kept.block_formula),
        Figure(name=f"ends, a row {bucket.name}", value=kept.ends, unit="bytes", formula=kept.ends_formula),
        straight,
        again,
        _working(learning, bucket, rows),
    ]


def _working(learning: Learning, bucket: Bucket, rows: int) -> Figure:
    """The batch, and what comes and goes around it: gradients in the widest part of a block."""
    network, row, width = learning.network, bucket.row, WIDTHS[learning.dtype]
    text, ffn = network.config["text_dim"], network.config["ffn_dim"]
    batch = 4 * (row.text * text + 4 * row.values)
    passing = row.tokens * width * ffn
    return Figure(
        name=f"working {bucket.name}",
        value=rows * (batch + passing),
        unit="bytes",
        formula=f"b {rows} × (4 × (L {row.text} × D {text:,} + 4 × P {row.values:,}) "
        f"+ {width} × N {row.tokens:,} × f {ffn:,})",
    )


def _muon(learning: Learning, machine: Machine) -> list[Figure]:
    if not learning.moved.kernels:
        return []
    own, whole = max(moved.stacked for moved in _all_moved(learning))
    return [
        Figure(
            name="Muon's matrices",
            value=4 * (own / machine.world + whole),
            unit="bytes",
            formula=f"4 × ({own:,}{_spread(machine)} + {whole:,}): all matrices of one shape, whole on every process, "
            "with what lies around them",
        )
    ]


def _all_moved(learning: Learning) -> list[Moved]:
    return [learning.moved, *([learning.critic.moved] if learning.critic else [])]


def _unrounded(moved: Moved, machine: Machine) -> list[Figure]:
    """What lies around the means of the rows that are whole at once, where they are held in 8 bits."""
    if not moved.widest:
        return []
    most = min(moved.widest / machine.world, eight_bit.TOGETHER)
    return [
        Figure(
            name="means made whole",
            value=UNROUNDED * most,
            unit="bytes",
            formula=f"{UNROUNDED} × {most:,.0f}: the largest matrix{_spread(machine)}, {eight_bit.TOGETHER:,} numbers "
            "at most",
        )
    ]


def _most(
    learning: Learning,
    between: Sequence[Figure],
    gradients: Figure,
    whole: Sequence[Figure],
    around: Sequence[Figure],
    machine: Machine,
) -> list[Figure]:
    """The most that is held at once: while a step learns, and while the optimiser moves."""
    settled = sum(figure.value for figure in [*between])
    steps = {bucket.name: _step(learning, bucket, gradients.value, machine) for bucket in learning.buckets}
    name = max(steps, key=lambda name: steps[name])
    learns = settled + steps[name] + sum(figure.value for figure in whole)
    moves = settled + gradients.value + sum(figure.value for figure in around)
    way = "recomputed" if learning.recompute else "kept"
    joined = " + gradients, of earlier parts" if learning.accumulate > 1 else "; or, if that is more,"
    if learning.accumulate == 1:
        joined += " gradients and the activations of one block in their place"
    parts = " + ".join(figure.name for figure in [*between, *whole])
    return [
        Figure(
            name="while it learns",
            value=learns,
            unit="bytes",
            formula=f"{parts} + working {name} + activations {name} {way}{joined}",
        ),
        Figure(
            name="while the optimiser moves",
            value=moves,
            unit="bytes",
            formula=" + ".join(figure.name for figure in [*between, gradients, *around]),
        ),
        Figure(name="memory per device", value=max(learns, moves), unit="bytes", formula="the larger of the two"),
    ]


def _host(learning: Learning, machine: Machine) -> list[Figure]:
    """What a node's own memory holds before networks are spread over GPUs: every process makes them whole."""
    if machine.device == "cpu":
        return []
    network, teacher = learning.network, learning.teacher
    if network.adapter is not None:
        own = network.read_bytes(learning.dtype) + MASTER * network.trained
        formula = f"{machine.per_node} process(es) × {own:,}: the average is made of parts"
        value = machine.per_node * own
        return [Figure(name="host memory of a node, at the start", value=value, unit="bytes", formula=formula)]
    own = MASTER * network.parameters
    beside = sum(figure.value for figure in _beside(learning, machine) if "state" not in figure.name) * machine.world
    theirs = teacher.parameters * teacher.experts * teacher.width_of_weight if teacher else 0
    return [
        Figure(
            name="host memory of a node, at the start",
            value=machine.per_node * (own + beside + max(own, theirs)),
            unit="bytes",
            formula=f"{machine.per_node} process(es) × ({own:,} + the larger of {own:,} of the average"
            + (f" and {theirs:,} of the teacher" if teacher else "")
            + (f", and {beside:,.0f} of what moves beside it)" if beside else ")"),
        )
    ]


def _step(learning: Learning, bucket: Bucket, gradients: float, machine: Machine) -> float:
    """What a step of one bucket adds. Gradients come as activations go, block by block."""
    kept = activations.of(learning.largest, bucket.row, learning.dtype, machine.device)
    rows = learning.together(bucket, machine)
    held = learning.graphs * (kept.recomputed(rows) if learning.recompute else kept.everything(rows))
    if learning.accumulate > 1:
        return held + gradients + _working(learning, bucket, rows).value
    return max(held, gradients + rows * kept.block) + _working(learning, bucket, rows).value
