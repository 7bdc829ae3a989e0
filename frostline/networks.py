"""Which classes of diffusers are trained and sampled here: a velocity, or a flow map, which is told two sigmas."""

from collections.abc import Mapping
from typing import Any, cast

from diffusers import AnyFlowTransformer3DModel, WanTransformer3DModel

Transformer = WanTransformer3DModel | AnyFlowTransformer3DModel
"""A network of (noised, sigma), or of (noised, sigma, end): the first with an end embedded beside time."""

FLOW_MAP = AnyFlowTransformer3DModel.__name__  # as a configuration names its class


def of_config(config: Mapping[str, Any]) -> Transformer:
    """The network of a configuration, with weights of no meaning."""
    kind = AnyFlowTransformer3DModel if config.get("_class_name") == FLOW_MAP else WanTransformer3DModel
    return cast(Transformer, kind.from_config(dict(config)))
