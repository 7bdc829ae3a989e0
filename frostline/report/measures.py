"""What measures are called, and what they say."""

REAL = "real, held out"

# name in the metrics: (what it is called, what it says)
MEASURES = {
    "n": ("samples", "how many the numbers below rest on"),
    "accuracy": ("accuracy", "share that shows the digit asked for, to the judge; of a clip, in its last frame"),
    "direction": ("direction", "share of clips that drift the way they were asked to"),
    "frechet_teacher": (
        "distance to the teacher",
        "Fréchet distance to its teacher's samples of the same noise; 0 is equal",
    ),
    "frechet_real": ("distance to real", "Fréchet distance to held-out pictures; strong guidance raises it"),
    "future_rmse": (
        "error of the future",
        "of the frames it made, against those that really followed; 1 is full white",
    ),
    "still_rmse": ("standing still", "the same error, had the last given frame been shown again and again"),
    "diversity": ("diversity", "how far two samples of one digit lie apart; 0 would be always the same picture"),
    "endpoint_rmse": ("way from the teacher", "per sample, same noise, in standard deviations of the latents"),
    "latent_mean": ("latent mean", "near 0 for latents normalised exactly once"),
    "latent_std": ("latent deviation", "near 1 for latents normalised exactly once"),
    "latent_channel_mean_max": ("furthest channel mean", "of any latent channel; healthy below 0.5"),
    "saturation": ("white", "share of values at full white; compare with real"),
}
