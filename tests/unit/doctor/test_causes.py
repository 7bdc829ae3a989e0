import pytest

from frostline.doctor import causes


def test_nothing_failed_nothing_is_wrong():
    found = causes.diagnose([])
    assert found.cause is None
    assert not found.others


@pytest.mark.parametrize(
    ("failed", "cause", "symptoms"),
    [
        (["D20", "D01", "D02", "D27"], "D01", {"D02", "D20", "D27"}),
        (["D28", "D21"], "D21", {"D28"}),
        (["D27"], "D27", set()),
        (["D36", "D20", "D03", "D27"], "D36", {"D03", "D20", "D27"}),
        (["D08", "D36", "D20"], "D08", {"D20", "D36"}),
    ],
)
def test_the_cause_explains_the_others_and_is_explained_by_none(failed: list[str], cause: str, symptoms: set[str]):
    found = causes.diagnose(failed)
    assert found.cause == cause
    assert set(found.symptoms) == symptoms


def test_what_no_cause_explains_is_a_second_one():
    """The first post-mortem: the teacher of zeros, and beside it the sampler that was blamed for it."""
    found = causes.diagnose(["D03", "D01", "D20", "D02"])
    assert found.cause == "D01"
    assert found.others == ("D03",)
    assert set(found.symptoms) == {"D02", "D20"}


def test_of_equals_the_one_nearest_to_the_data_comes_first():
    assert causes.diagnose(["D32", "D13", "D05"]).cause == "D13"
    assert causes.diagnose(["D30", "D24"]).cause == "D24"


def test_symptoms_of_symptoms_are_symptoms():
    assert causes.explained("D16", {"D25", "D20"}) == {"D25", "D20"}
    assert causes.explained("D04", {"D36", "D27"}) == {"D36", "D27"}
    assert causes.explained("D04", {"D27"}) == set()
