import re
from pathlib import Path

import pytest

from frostline.checks import catalogue as of_checks
from frostline.doctor import catalogue, causes, explaining
from frostline.errors import WrongUse

ROOT = Path(__file__).parents[3]


def test_every_check_is_there_in_order():
    assert list(catalogue.entries()) == [f"D{n:02}" for n in range(1, 37)]


def test_what_a_check_says_of_itself_has_one_home():
    import yaml

    stated = yaml.safe_load(catalogue.FILE.read_text())
    for id_, about in of_checks.ABOUT.items():
        assert not set(catalogue.SHARED) & set(stated[id_])
        assert catalogue.about(id_) == about


def test_names_are_unique_and_explained_checks_exist():
    known = catalogue.entries()
    assert len({entry.name for entry in known.values()}) == len(known)
    assert {other for entry in known.values() for other in entry.explains} <= set(known)


def test_nothing_explains_itself_by_way_of_others():
    known = set(catalogue.entries())
    both = [(a, b) for a in known for b in causes.explained(a, known) if a in causes.explained(b, known)]
    assert not both


def test_an_unknown_check_is_refused_with_what_there_is():
    with pytest.raises(WrongUse, match="D99: no such check; they are D01 to D36"):
        catalogue.entry("D99")


def test_the_page_of_the_documentation_is_what_the_catalogue_says():
    assert (ROOT / "docs" / "doctor.md").read_text() == explaining.page(), (
        "python -m frostline.doctor.explaining docs/doctor.md"
    )


def test_references_to_files_are_there():
    for entry in catalogue.entries().values():
        for name in re.findall(r"(?:docs|tests|frostline)/[\w/.-]+", entry.reference):
            assert (ROOT / name).exists(), f"{entry.id}: {name}"
