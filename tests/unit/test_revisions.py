import pytest

from frostline import revisions
from frostline.errors import WrongUse


def test_the_expensive_stages_have_a_number_and_no_other():
    for stage in ("cache", "train", "distill"):
        assert revisions.of(stage) >= 1
    with pytest.raises(WrongUse, match="'prepare'"):
        revisions.of("prepare")
