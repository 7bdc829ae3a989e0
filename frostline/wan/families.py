"""The published Wan models as data. Nothing in the code asks for a family by name: what a folder holds decides.

Sources: the configurations published with Wan2.1 and Wan2.2, and Wan: Open and Advanced Large-Scale Video Generative
Models, arXiv:2503.20314. Tests hold names and shapes of every tensor against the published ones.
"""

from collections.abc import Mapping
from typing import Any, Literal

from frostline.records import Record

TEXT_LENGTH = 512  # tokens that every Wan transformer sees, zeros after the true length
HEAD_DIM = 128  # of every published transformer
ROPE_LENGTH = 1024  # positions along each axis
EPS = 1e-6


class Vae(Record):
    """An autoencoder: what its configuration in diffusers says."""

    base_dim: int
    decoder_base_dim: int | None
    z_dim: int
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    is_residual: bool
    in_channels: int
    out_channels: int
    patch_size: int | None
    scale_factor_temporal: int = 4
    scale_factor_spatial: int

    def config(self) -> dict[str, Any]:
        """The keyword arguments of diffusers' AutoencoderKLWan."""
        listed = {key: list(value) if isinstance(value, tuple) else value for key, value in self}
        return {**listed, "attn_scales": [], "dropout": 0.0}


class TextEncoder(Record):
    """The encoder half of a UMT5."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    def config(self) -> dict[str, Any]:
        """The keyword arguments of transformers' UMT5Config."""
        return {
            **dict(self),
            "num_decoder_layers": self.num_layers,
            "feed_forward_proj": "gated-gelu",
            "layer_norm_epsilon": EPS,
            "dropout_rate": 0.0,
            "tie_word_embeddings": True,
        }


class Transformer(Record):
    """A diffusion transformer."""

    heads: int
    ffn_dim: int
    layers: int
    in_channels: int
    out_channels: int
    image_dim: int | None = None  # of the CLIP embedding that Wan2.1's image-to-video models see
    text_dim: int = 4096
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)

    def config(self) -> dict[str, Any]:
        """The keyword arguments of diffusers' WanTransformer3DModel."""
        return {
            "patch_size": list(self.patch_size),
            "num_attention_heads": self.heads,
            "attention_head_dim": HEAD_DIM,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "text_dim": self.text_dim,
            "freq_dim": self.freq_dim,
            "ffn_dim": self.ffn_dim,
            "num_layers": self.layers,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "eps": EPS,
            "image_dim": self.image_dim,
            "added_kv_proj_dim": None if self.image_dim is None else self.heads * HEAD_DIM,
            "rope_max_seq_len": ROPE_LENGTH,
            "pos_embed_seq_len": None,
        }


class Family(Record):
    """A published model."""

    name: str
    hub: tuple[str, ...]  # repositories: native layout first, then that of diffusers
    task: Literal["text", "text or image", "image"]  # what a video is made from
    transformer: Transformer
    vae: Vae
    expert_boundary: float | None = None  # sigma from which the high-noise expert serves; None: one expert
    timesteps: Literal["one", "per token"] = "one"
    trained: bool = True  # here; False: loaded, audited and estimated only
    shift: float
    steps: int
    guidance: tuple[float, ...]  # high-noise expert first
    fps: int
    frames: int
    sizes: tuple[tuple[int, int], ...]  # height, width

    @property
    def experts(self) -> int:
        """How many transformers it has."""
        return 1 if self.expert_boundary is None else 2

    @property
    def text_encoder(self) -> TextEncoder:
        """UMT5-XXL's encoder, in all of them."""
        return UMT5_XXL


VAE_21 = Vae(
    base_dim=96,
    decoder_base_dim=None,
    z_dim=16,
    latents_mean=(
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    ),
    latents_std=(
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    ),
    is_residual=False,
    in_channels=3,
    out_channels=3,
    patch_size=None,
    scale_factor_spatial=8,
)

VAE_22 = Vae(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    latents_mean=(
        *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557),
        *(-0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825),
        *(-0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
        *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230),
        *(-0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748),
        *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
    ),
    latents_std=(
        *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013),
        *(0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978),
        *(0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
        *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093),
        *(0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
        *(0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    ),
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
    scale_factor_spatial=16,
)

UMT5_XXL = TextEncoder(vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64)

_P480 = ((480, 832), (832, 480))
_P720 = ((720, 1280), (1280, 720))

FAMILIES = (
    Family(
        name="wan2.1-t2v-1.3b",
        hub=("Wan-AI/Wan2.1-T2V-1.3B", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
        task="text",
        transformer=Transformer(heads=12, ffn_dim=8960, layers=30, in_channels=16, out_channels=16),
        vae=VAE_21,
        shift=5.0,
        steps=50,
        guidance=(5.0,),
        fps=16,
        frames=81,
        sizes=_P480,
    ),
    Family(
        name="wan2.1-t2v-14b",
        hub=("Wan-AI/Wan2.1-T2V-14B", "Wan-AI/Wan2.1-T2V-14B-Diffusers"),
        task="text",
        transformer=Transformer(heads=40, ffn_dim=13824, layers=40, in_channels=16, out_channels=16),
        vae=VAE_21,
        shift=5.0,
        steps=50,
        guidance=(5.0,),
        fps=16,
        frames=81,
        sizes=(*_P720, *_P480),
    ),
    Family(
        name="wan2.1-i2v-14b",
        hub=(
            "Wan-AI/Wan2.1-I2V-14B-720P",
            "Wan-AI/Wan2.1-I2V-14B-480P",
            "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
            "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        ),
        task="image",
        transformer=Transformer(heads=40, ffn_dim=13824, layers=40, in_channels=36, out_channels=16, image_dim=1280),
        vae=VAE_21,
        trained=False,
        shift=5.0,
        steps=40,
        guidance=(5.0,),
        fps=16,
        frames=81,
        sizes=(*_P720, *_P480),
    ),
    Family(
        name="wan2.2-t2v-a14b",
        hub=("Wan-AI/Wan2.2-T2V-A14B", "Wan-AI/Wan2.2-T2V-A14B-Diffusers"),
        task="text",
        transformer=Transformer(heads=40, ffn_dim=13824, layers=40, in_channels=16, out_channels=16),
        vae=VAE_21,
        expert_boundary=0.875,
        shift=12.0,
        steps=40,
        guidance=(4.0, 3.0),
        fps=16,
        frames=81,
        sizes=(*_P720, *_P480),
    ),
    Family(
        name="wan2.2-i2v-a14b",
        hub=("Wan-AI/Wan2.2-I2V-A14B", "Wan-AI/Wan2.2-I2V-A14B-Diffusers"),
        task="image",
        transformer=Transformer(heads=40, ffn_dim=13824, layers=40, in_channels=36, out_channels=16),
        vae=VAE_21,
        expert_boundary=0.900,
        trained=False,
        shift=5.0,
        steps=40,
        guidance=(3.5, 3.5),
        fps=16,
        frames=81,
        sizes=(*_P720, *_P480),
    ),
    Family(
        name="wan2.2-ti2v-5b",
        hub=("Wan-AI/Wan2.2-TI2V-5B", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
        task="text or image",
        transformer=Transformer(heads=24, ffn_dim=14336, layers=30, in_channels=48, out_channels=48),
        vae=VAE_22,
        timesteps="per token",
        shift=5.0,
        steps=50,
        guidance=(5.0,),
        fps=24,
        frames=121,
        sizes=((704, 1280), (1280, 704)),
    ),
)


def of_hub(repository: str) -> Family | None:
    """The family that is published under a repository's name, or None."""
    found = [family for family in FAMILIES if repository in family.hub]
    return found[0] if found else None


def matching(transformer: Mapping[str, Any], experts: int) -> Family | None:
    """The family whose transformers have this configuration (diffusers' keyword arguments), or None."""
    stated = _comparable(transformer)
    for family in FAMILIES:
        if family.experts == experts and _comparable(family.transformer.config()).items() <= stated.items():
            return family
    return None


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
