"""What is left out, and why: one function a reason, each of one medium or its captions alone.

    too_small          the shorter side has fewer pixels than minimum_side
    too_short          a clip that names its rate lasts less than minimum_seconds
    static             it changes by less than minimum_motion from one look to the next
    black              it is darker than minimum_brightness
    blurred            it is less sharp than minimum_sharpness
    no_caption         nobody describes it, or only with blanks
    caption_too_short  a caption has fewer characters than caption_characters allows, caption_too_long: more

A threshold of zero turns its reason off. What brightness, sharpness and motion are says frostline/media/measures.py.
A medium with several captions loses those that are too short or too long, and goes only when none is left.
"""

from collections.abc import Sequence

from frostline.media.probing import Probe
from frostline.params.sources import FilterParams
from frostline.sources.entries import Caption

Why = tuple[str, str]  # reason, detail


def of_medium(probe: Probe, params: FilterParams) -> Why | None:
    """Why a medium is left out for what it shows, the first reason that holds; None if it stays."""
    return next((why for reason in _REASONS if (why := reason(probe, params)) is not None), None)


def of_captions(captions: Sequence[Caption], params: FilterParams) -> tuple[tuple[Caption, ...], list[Why]]:
    """The captions that stay, without blanks around them, and why each of the others goes."""
    stripped = [Caption(caption.text.strip(), caption.weight) for caption in captions]
    written = [caption for caption in stripped if caption.text]
    if not written:
        return (), [("no_caption", "nothing describes it; caption it, or set a captioner")]
    judged = [(caption, _length(caption, params)) for caption in written]
    kept = tuple(caption for caption, why in judged if why is None)
    return kept, [why for _, why in judged if why is not None]


def seconds(probe: Probe) -> float | None:
    """How long a clip is seen, its last frame as long as the mean of the others; None where it names no rate."""
    frames, (numerator, denominator) = len(probe.pts), probe.time_base
    if frames > 1 and numerator:
        return (probe.pts[-1] - probe.pts[0]) * numerator / denominator * frames / (frames - 1)
    return probe.extent.frames / probe.extent.fps if probe.extent.fps else None


def too_small(probe: Probe, params: FilterParams) -> Why | None:
    """Few pixels."""
    width, height = probe.extent.width, probe.extent.height
    return _below("too_small", min(width, height), "minimum_side", params.minimum_side, f"{width} x {height} pixels")


def too_short(probe: Probe, params: FilterParams) -> Why | None:
    """Few seconds."""
    lasts = seconds(probe)
    if probe.medium == "image" or lasts is None:
        return None
    return _below("too_short", lasts, "minimum_seconds", params.minimum_seconds, f"{lasts:.3g} s")


def static(probe: Probe, params: FilterParams) -> Why | None:
    """A clip in which nothing moves."""
    if probe.medium == "image":
        return None
    motion = probe.measures.motion
    return _below("static", motion, "minimum_motion", params.minimum_motion, f"motion {motion:.4g}")


def black(probe: Probe, params: FilterParams) -> Why | None:
    """Nothing to be seen."""
    brightness = probe.measures.brightness
    return _below("black", brightness, "minimum_brightness", params.minimum_brightness, f"brightness {brightness:.4g}")


def blurred(probe: Probe, params: FilterParams) -> Why | None:
    """Nothing sharp."""
    sharpness = probe.measures.sharpness
    return _below("blurred", sharpness, "minimum_sharpness", params.minimum_sharpness, f"sharpness {sharpness:.4g}")


_REASONS = (too_small, too_short, static, black, blurred)


def _below(reason: str, value: float, name: str, threshold: float, shown: str) -> Why | None:
    return (reason, f"{shown}, {name} is {threshold:g}") if value < threshold else None


def _length(caption: Caption, params: FilterParams) -> Why | None:
    fewest, most = params.caption_characters
    length = len(caption.text)
    detail = f"{length} characters ({caption.text[:40]!r}), caption_characters is {[fewest, most]}"
    if length < fewest:
        return "caption_too_short", detail
    return ("caption_too_long", detail) if length > most else None
