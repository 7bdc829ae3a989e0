"""The one way between pixels and latents, and between words and embeddings. Everything here is frozen.

    pixels uint8 (B, T, H, W, 3) -> raw latents (B, C, T', H', W') -> latents (normalised) -> pixels

Raw latents are posterior means as the VAE gives them: what the cache stores. Latents are what a transformer sees:
see frostline/latents.py.

What is encoded equals what diffusers' own ``encode`` gives, to the last bit; large frames may go in windows, which
leave no seam (frostline/piecewise.py). The miniature encoded clips of 320x448 pixels, of digits and of the rendered
world, on one CPU thread in windows of 104 to 320 pixels: most gave the bits of whole frames, the others their latents
to 3e-8 of the standard deviation (root mean square; 1.1e-6 at most), decoded 147 dB. Tests hold windows to 1e-6 and
1e-5, those of a VAE of Wan2.1's depth too.
"""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKLWan
from diffusers.pipelines.wan import pipeline_wan
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from frostline import digests, files, latents, offloading, piecewise, tiling
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse
from frostline.params import Params
from frostline.tiling import Tiling

Dtype = Literal["float32", "bfloat16"]
Part = Literal["vae", "text_encoder"]
VAE_FACTS = ("z_dim", "latents_mean", "latents_std", "scale_factor_spatial", "scale_factor_temporal")
PRESENTATION = ("latents_mean", "latents_std")  # of the VAE's config: change nothing it encodes


class Codec:
    """The frozen VAE and text encoder of a base folder, each loaded when first asked for.

    A base folder has the layout of a diffusers Wan pipeline: ``vae/``, ``text_encoder/``, ``tokenizer/``.
    """

    def __init__(
        self,
        base: str | Path,
        *,
        encode_dtype: Dtype = "float32",
        stored_dtype: Dtype = "bfloat16",
        device: str = "cpu",
        offload: bool = False,
    ) -> None:
        """``device`` is cpu or cuda; ``offload`` leaves the text encoder on the host but for the block that computes.

        Raises WrongUse if a part of the base is missing.
        """
        self.base = Path(base)
        self.device = device
        self.offload = offload and device != "cpu"
        for part in ("vae/config.json", "text_encoder/config.json", "tokenizer"):
            if not (self.base / part).exists():
                raise WrongUse(f"{self.base / part}: missing; a base is a diffusers Wan pipeline folder")
        self.latent_space = latent_space(self.base, stored_dtype, encode_dtype)

    @functools.cached_property
    def vae(self) -> AutoencoderKLWan:
        """The frozen VAE in float32."""
        return self._vae_in(torch.float32)

    @functools.cached_property
    def _rounded_vae(self) -> AutoencoderKLWan:
        return self._vae_in(torch.bfloat16)

    def _vae_in(self, dtype: torch.dtype) -> AutoencoderKLWan:
        loaded: Any = AutoencoderKLWan.from_pretrained(
            self.base / "vae", torch_dtype=dtype, output_loading_info=True, local_files_only=True
        )
        vae, audit = loaded
        _require_whole(audit, self.base / "vae")
        return vae.eval().requires_grad_(False).to(self.device)

    @functools.cached_property
    def text_encoder(self) -> UMT5EncoderModel:
        """The frozen text encoder in its own dtype."""
        rounded = self.latent_space.text_stored_dtype == "bfloat16"
        loaded: Any = UMT5EncoderModel.from_pretrained(
            self.base / "text_encoder",
            dtype=torch.bfloat16 if rounded else torch.float32,
            output_loading_info=True,
            local_files_only=True,
        )
        encoder, audit = loaded
        _require_whole(audit, self.base / "text_encoder")
        encoder = encoder.eval().requires_grad_(False)
        if not self.offload:
            return encoder.to(self.device)
        offloading.spread(encoder.encoder, torch.device(self.device))
        return encoder

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return AutoTokenizer.from_pretrained(self.base / "tokenizer", local_files_only=True)

    def release(self, part: Part) -> None:
        """Let go of a part that was loaded, so that its memory is free; it is loaded again when next asked for.

        Who encodes all texts first and then lets go of the text encoder never holds it together with the VAE.
        """
        for name in (part, "_rounded_vae") if part == "vae" else (part,):
            self.__dict__.pop(name, None)

    def parameters_of(self, part: Part) -> int:
        """How many parameters a part has, from its configuration: no weights are loaded.

        Weights that two layers share count once, as in the loaded part; in a file they may stand twice.
        """
        with torch.device("meta"):  # shapes without storage
            if part == "vae":
                config: Any = AutoencoderKLWan.load_config(self.base / part, local_files_only=True)
                module: Any = AutoencoderKLWan.from_config(config)
            else:
                module = UMT5EncoderModel(UMT5Config.from_pretrained(self.base / part, local_files_only=True))
        return sum(p.numel() for p in module.parameters())

    @torch.inference_mode()
    def encode(self, pixels: Tensor, tiled: Tiling = tiling.WHOLE) -> Tensor:
        """Pixels uint8 (B, T, H, W, 3) -> raw latents float32 (B, C, T', H', W'): the posterior's mean.

        ``tiled`` bounds the memory that a large frame takes; it changes latents in their last bits at most.
        Computed in the latent space's encode dtype: float32 unless the codec was made with another.
        Results depend on B in the last bits: whoever needs equal bytes pads to a fixed B.
        Raises WrongUse for a number of frames or a size that the VAE would cut, and for a tile of no use.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 5 or pixels.shape[-1] != 3:
            raise WrongUse(f"pixels {pixels.dtype} {tuple(pixels.shape)}: uint8 (B, T, H, W, 3) is asked for")
        expected = self.latent_space.shape(pixels.shape[1:4])
        vae = self.vae if self.latent_space.encode_dtype == "float32" else self._rounded_vae
        with self._exactly():
            raw = piecewise.encode(vae, pixels, self._scaled, tiled.tile).float()
        if tuple(raw.shape[1:]) != expected:
            raise Refused(
                f"{self.base / 'vae'} gave latents {tuple(raw.shape[1:])} where its config promises {expected}"
            )
        return raw

    def _exactly(self) -> contextlib.AbstractContextManager[None]:
        """On a GPU: convolutions in the dtype that was asked for (not in TF32), by the same kernels every time."""
        if self.device == "cpu":
            return contextlib.nullcontext()
        return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)

    def _scaled(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (B, T, H, W, 3) -> (B, 3, T, H, W) as the VAE takes them, on the device."""
        low, high = self.latent_space.input_range
        unit = pixels.to(self.device).permute(0, 4, 1, 2, 3).float() / 255
        return unit * (high - low) + low

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw latents -> latents."""
        return latents.normalise(raw, self.latent_space)

    def denormalise(self, normalised: Tensor) -> Tensor:
        """Latents -> raw latents."""
        return latents.denormalise(normalised, self.latent_space)

    @torch.inference_mode()
    def decode_float(self, normalised: Tensor) -> Tensor:
        """Latents (B, C, T', H', W') -> pixels float32 (B, T, H, W, 3) in 0 to 1."""
        low, high = self.latent_space.input_range
        with self._exactly():
            decoded: Any = self.vae.decode(self.denormalise(normalised.to(self.device).float()))
        video: Tensor = decoded.sample
        return ((video - low) / (high - low)).clamp(0, 1).permute(0, 2, 3, 4, 1)

    def decode(self, normalised: Tensor) -> Tensor:
        """Latents (B, C, T', H', W') -> pixels uint8 (B, T, H, W, 3)."""
        return (self.decode_float(normalised) * 255).round().to(torch.uint8)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> list[Tensor]:
        """Texts -> embeddings float32, one (n_tokens, D) each, unpadded: numbers of the text encoder's own dtype.

        Cleaned, tokenised and masked as the Wan pipeline does (diffusers, WanPipeline._get_t5_prompt_embeds).
        """
        tokens = self.tokenizer(
            [clean(text) for text in texts],
            padding="max_length",
            max_length=self.latent_space.text_length,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.device)
        states = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        lengths = tokens.attention_mask.gt(0).sum(dim=1).tolist()
        return [state[:length].float().clone() for state, length in zip(states, lengths, strict=True)]


def of_params(settings: Params, device: str = "cpu", *, offload: bool | None = None) -> Codec:
    """The codec that caches of a project are made with; ``offload`` is that of caches unless it is said."""
    cache = settings.cache
    return Codec(
        settings.base,
        encode_dtype=cache.encode_dtype,
        stored_dtype=cache.stored_dtype,
        device=device,
        offload=cache.offload if offload is None else offload,
    )


def clean(text: str) -> str:
    """A caption as the Wan pipeline reads it: mended Unicode, no HTML entities, single spaces."""
    if text.isascii() and text.isprintable() and "&" not in text:  # nothing to mend, and ftfy takes long to see that
        return " ".join(text.split())
    return pipeline_wan.prompt_clean(text)


def latent_space(base: Path, stored_dtype: Dtype = "bfloat16", encode_dtype: Dtype = "float32") -> LatentSpace:
    """The LatentSpace of a base folder, from its files alone: no weights are loaded."""
    vae = _config(base / "vae")
    text = _config(base / "text_encoder")
    tokenizer = files.read_json(base / "tokenizer" / "tokenizer_config.json")
    _require_stated(base / "vae" / "config.json", vae, VAE_FACTS)
    _require_stated(base / "tokenizer" / "tokenizer_config.json", tokenizer, ("model_max_length",))
    return LatentSpace(
        vae_digest=_digest(base / "vae", {key: vae[key] for key in vae if key not in PRESENTATION}),
        z_dim=vae["z_dim"],
        latents_mean=tuple(map(float, vae["latents_mean"])),
        latents_std=tuple(map(float, vae["latents_std"])),
        spatial_stride=vae["scale_factor_spatial"],
        temporal_stride=vae["scale_factor_temporal"],
        encode_dtype=encode_dtype,
        stored_dtype=stored_dtype,
        text_encoder_digest=digests.of_json(
            [_digest(base / "text_encoder", text), digests.of_folder(base / "tokenizer")]
        ),
        text_dim=text["d_model"],
        text_length=tokenizer["model_max_length"],
        text_stored_dtype=_text_dtype(text),
    )


def _require_stated(path: Path, values: dict[str, Any], keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise WrongUse(
            f"{path}: does not say {', '.join(missing)}; `frostline fetch {path.parents[1]} NEW` completes it"
        )


def _text_dtype(config: dict[str, Any]) -> Dtype:
    """What a text encoder is computed in: bfloat16 if its config names that, by either of its names; else float32."""
    named = [config[key] for key in ("dtype", "torch_dtype") if key in config]
    return "bfloat16" if "bfloat16" in named else "float32"


def _config(folder: Path) -> dict[str, Any]:
    """A part's configuration without the notes libraries leave in it (version, where it was loaded from)."""
    values = files.read_json(folder / "config.json")
    return {key: value for key, value in values.items() if not key.startswith("_") and key != "transformers_version"}


def _digest(folder: Path, config: dict[str, Any]) -> str:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise WrongUse(f"{folder}: holds no .safetensors weights")
    return digests.of_json([config, [digests.of_file(file) for file in weights]])


def _require_whole(audit: dict[str, Any], folder: Path) -> None:
    wrong = {
        key: sorted(map(str, audit[key]))
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if audit[key]
    }
    if wrong:
        raise Refused(f"{folder}: weights and configuration do not belong together: {wrong}")
