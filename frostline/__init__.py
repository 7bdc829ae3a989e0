"""Frostline: frozen VAE latents, diffusion transformers trained and distilled on them, and what proves them right."""

__version__ = "0.1.0"
