import pytest

from frostline import findings
from frostline.checks import catalogue
from frostline.findings import Bound

CHECK = findings.Check(
    id="D99", name="example", question="Does it hold?", procedure="Look.", remedy="Mend it.", reference="none"
)
BOUNDS = (Bound(measure="error", op="<", value=0.1), Bound(measure="rows", op=">=", value=10.0, otherwise="warn"))


@pytest.mark.parametrize(
    ("error", "rows", "verdict"),
    [(0.05, 10, "pass"), (0.05, 9, "warn"), (0.1, 10, "fail"), (0.2, 9, "fail"), (float("nan"), 10, "fail")],
)
def test_the_worst_broken_bound_decides(error, rows, verdict):
    finding = findings.judge(CHECK, {"error": error, "rows": rows}, BOUNDS)
    assert finding.verdict == verdict
    assert bool(finding.reason) == bool(finding.remedy) == (verdict != "pass")


def test_a_reason_names_the_measure_and_the_bound():
    finding = findings.judge(CHECK, {"error": 0.25, "rows": 20}, BOUNDS)
    assert finding.reason == "error is 0.25, wanted < 0.1"
    assert [str(bound) for bound in finding.threshold] == ["error < 0.1", "rows >= 10"]


def test_a_measure_nobody_took_is_an_error():
    with pytest.raises(KeyError):
        findings.judge(CHECK, {"error": 0.0}, BOUNDS)


def test_a_check_that_could_not_run_does_not_pass():
    finding = findings.not_applicable(CHECK, "no sampler")
    assert (finding.verdict, finding.reason) == ("not-applicable", "no sampler")


def test_findings_become_json():
    finding = findings.judge(CHECK, {"error": 0.25, "rows": 20}, BOUNDS)
    assert finding.model_dump(mode="json")["measured"] == {"error": 0.25, "rows": 20.0}


def test_the_catalogue_says_what_each_check_asks():
    assert list(catalogue.CHECKS) == ["D03", "D04", "D05", "D08", "D09", "D11"]
    for key, about in catalogue.ABOUT.items():
        assert about.id == key
        assert about.question.endswith("?")
        assert about.procedure
        assert about.remedy
