"""What must hold while a training runs, looked at between its steps: D10, D18, D21, D24, D25, D29, D35.

Files cannot tell all of it afterwards. What is found stops the training at once, and what was measured stands in
checks.json of the model.
"""

from frostline.vitals.attendant import Attendant
from frostline.vitals.words import ABOUT, FILE, findings, judged, read, stated

__all__ = ["ABOUT", "FILE", "Attendant", "findings", "judged", "read", "stated"]
