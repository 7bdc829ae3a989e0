"""The miniature Wan's frozen parts: made once by the stage of the same name, shipped with the project, measured here.

A base folder has the layout of a diffusers Wan pipeline without its transformer (model_index.json, vae/,
text_encoder/, tokenizer/, scheduler/), beside which stand the judge (judge/) and the record of the making
(foundation.json).
"""

from frostline.foundation.figures import Fidelity, drifting, psnr
from frostline.foundation.making import Recipe, make

__all__ = ["Fidelity", "Recipe", "drifting", "make", "psnr"]
