"""Memory of activations: bytes that one forward pass keeps for the way back.

Legend
    N   patches of one row          L   tokens of its text           P   numbers of its latent
    d   width of the stream         f   width between the two layers of the feed-forward part
    h   heads                       l   blocks                       b   rows that go through together
    c   bytes of a number in the blocks' arithmetic: 2 (bfloat16) or 4 (float32)

    kept by a block    N (n d + 2 c f + 8 h + 36) + L (t d + 4) + 32 d      of one row
    kept by the ends   N (8 + c) d + 8 N + c L (D + 3 d) + (c + 4) P + 4 (F + 5 d)     D: of embeddings, F: of timesteps
    activations        b (l block + ends) + 8 N (d / h)                     the last: angles of positions, for all rows
    with recompute     b (l (c N d) + block + ends) + 8 N (d / h)

n counts what a block keeps that is (N, d). In the arithmetic's dtype: inputs of linear layers; queries and keys before
and after their norms, values, outputs of attention; what gates multiply. In float32, whatever the arithmetic: inputs of
the three layer norms, what two of them give to be scaled, and what the last gate multiplies. Where the arithmetic is
float32, a number and its float32 copy are one. On a GPU torch's RMS norms are one kernel, which keeps its input; on a
CPU they are several, and keep the input in float32 and what it was divided to.
Attention keeps queries, keys, values, output and 4 h N bytes of logarithms: its kernels never write N x N numbers.
Counted from torch and diffusers as pinned; a test holds it against what autograd keeps (tests/unit/estimating).
"""

from dataclasses import dataclass

from frostline.estimating.machines import WIDTHS, Device, Dtype
from frostline.estimating.networks import Network

STREAM = {  # n: bytes of a token and a channel of the stream, 4 of each in float32 and 2 of each in bfloat16
    ("float32", "cuda"): 4 * 19,
    ("float32", "cpu"): 4 * 22,
    ("bfloat16", "cuda"): 4 * 6 + 2 * 13,
    ("bfloat16", "cpu"): 4 * 12 + 2 * 10,
}
TEXT = {  # t: keys before and after their norm, and values
    ("float32", "cuda"): 4 * 3,
    ("float32", "cpu"): 4 * 4,
    ("bfloat16", "cuda"): 2 * 3,
    ("bfloat16", "cpu"): 4 * 2 + 2 * 2,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Sizes of one row."""

    tokens: int  # N
    text: int  # L
    values: int  # P


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Bytes that are kept, with how they were counted."""

    block: int  # of one row
    block_formula: str
    ends: int  # of one row
    ends_formula: str
    stream: int  # what a block is given, of one row
    shared: int  # of all rows
    layers: int

    def everything(self, rows: int) -> int:
        """All that so many rows keep."""
        return rows * (self.layers * self.block + self.ends) + self.shared

    def recomputed(self, rows: int) -> int:
        """The same where blocks are computed again: their inputs, and one block at a time."""
        return rows * (self.layers * self.stream + self.block + self.ends) + self.shared


def of(network: Network, row: Row, dtype: Dtype, device: Device) -> Kept:
    """What rows of one size keep in a network that is trained, or that an adapter is trained beside."""
    if network.adapter is None or any(not _inside(name) for name in network.adapted):
        return kept(network, row, dtype, device)
    return _beside(network, network.adapter.rank, row, dtype, device)


def _inside(name: str) -> bool:
    return name.startswith("blocks.") or name == "proj_out"


def _beside(network: Network, rank: int, row: Row, dtype: Dtype, device: Device) -> Kept:
    """The same beside frozen weights: of what only their gradients need, nothing; of adapters, inputs and middles."""
    config, d, c = network.config, network.width, WIDTHS[dtype]
    N, L, f, h = row.tokens, row.text, config["ffn_dim"], config["num_attention_heads"]
    names = {name.split(".", 2)[-1] for name in network.adapted}
    into = {
        "self": names & {"attn1.to_q", "attn1.to_k", "attn1.to_v"},
        "crossed": names & {"attn2.to_q"},
        "ffn": names & {"ffn.net.0.proj"},
    }
    text = names & {"attn2.to_k", "attn2.to_v"}
    normed = 4 if device == "cpu" else c  # bytes of what a norm of queries or keys keeps
    n = 3 * 4 + 3 * normed + c * (6 + sum(map(bool, into.values())))
    t = 2 * c + (normed if "attn2.to_k" in names else 0)
    m = c * rank * len(names - text - {"proj_out"})
    s = c * rank * len(text)
    fed = c * f * (2 if "ffn.net.2" in names else 1)
    out, said = bool(names & {"proj_out"}), bool(text)
    return Kept(
        block=N * (n * d + fed + 8 * h + 36 + m) + L * (t * d + 4 + s) + 16 * d,
        block_formula=f"N {N:,} × ({n} × d {d:,} + {fed:,} + 8 × h {h} + 36 + {m}) "
        f"+ L {L} × ({t} × d {d:,} + 4 + {s}) + 16 × d {d:,}",
        ends=N * (4 + c * out) * d + 8 * N + c * L * d * said + (c + 4) * row.values + 4 * d,
        ends_formula=f"N {N:,} × ({4 + c * out} × d {d:,} + 8) + {c * said} × L {L} × d {d:,} "
        f"+ {c + 4} × P {row.values:,} + 4 × d {d:,}",
        stream=c * N * d,
        shared=8 * N * (d // h),
        layers=config["num_layers"],
    )


def kept(network: Network, row: Row, dtype: Dtype, device: Device) -> Kept:
    """What rows of one size keep in a network."""
    config, d, c = network.config, network.width, WIDTHS[dtype]
    N, L, f, h = row.tokens, row.text, config["ffn_dim"], config["num_attention_heads"]
    n, t = STREAM[dtype, device], TEXT[dtype, device]
    D, F = config["text_dim"], config["freq_dim"]
    return Kept(
        block=N * (n * d + 2 * c * f + 8 * h + 36) + L * (t * d + 4) + 32 * d,
        block_formula=f"N {N:,} × ({n} × d {d:,} + {2 * c} × f {f:,} + 8 × h {h} + 36) "
        f"+ L {L} × ({t} × d {d:,} + 4) + 32 × d {d:,}",
        ends=N * (8 + c) * d + 8 * N + c * L * (D + 3 * d) + (c + 4) * row.values + 4 * (F + 5 * d),
        ends_formula=f"N {N:,} × ({8 + c} × d {d:,} + 8) + {c} × L {L} × (D {D:,} + 3 × d {d:,}) "
        f"+ {c + 4} × P {row.values:,} + 4 × (F {F} + 5 × d {d:,})",
        stream=c * N * d,
        shared=8 * N * (d // h),
        layers=config["num_layers"],
    )
