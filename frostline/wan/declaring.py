"""What a published model is, as a contract: its latent space always, the rest where its family is known."""

from pathlib import Path

from frostline import codec
from frostline.contract import Contract, Process, Sampling
from frostline.wan.families import Family

NEEDED = ("vae/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json")


def contract(folder: Path, family: Family | None, boundary: float | None) -> Contract | None:
    """The contract of a folder in the diffusers layout; None if it has no VAE, or no text encoder.

    A family says how a network was trained and is sampled; ``boundary`` is what the folder says of its two experts.
    """
    if not all((folder / name).is_file() for name in NEEDED):
        return None
    space = codec.latent_space(folder)
    if family is None or not family.trained:
        return Contract(latent_space=space)
    return Contract(latent_space=space, process=process(family, boundary), sampling=sampling(family))


def process(family: Family, boundary: float | None) -> Process:
    """Flow matching; timesteps logit-normal, as the report on Wan says (arXiv:2503.20314, section 4.2)."""
    return Process(
        shift=family.shift,
        draws="logit_normal",
        patch_size=family.transformer.patch_size,
        expert_boundary=boundary,
    )


def sampling(family: Family) -> Sampling:
    """As the stock pipeline samples it, with the settings it was published with: each expert under its own guidance."""
    high, *low = family.guidance
    return Sampling(
        sampler="unipc",
        rounds_timesteps=True,
        steps=family.steps,
        allowed_steps=None,
        shift=family.shift,
        allowed_shifts=None,
        sigmas=None,
        guidance=high,
        guidance_low=low[0] if low else None,
        guidance_form="external",
        teacher_digest=None,
    )
