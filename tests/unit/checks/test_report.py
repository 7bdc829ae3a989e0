import pytest

from frostline import files
from frostline.checks import report, schedule_coverage
from frostline.errors import Refused, WrongUse
from frostline.findings import Finding


@pytest.fixture
def findings():
    import torch

    line = torch.linspace(1, 0, 21, dtype=torch.float64)
    draws = torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    good = schedule_coverage.check(draws=draws, sampler_sigmas=line, intended_sigmas=line, expert_boundary=None)
    bad = schedule_coverage.check(draws=draws, sampler_sigmas=line**3, intended_sigmas=line, expert_boundary=None)
    assert (good.verdict, bad.verdict) == ("pass", "fail")
    return good, bad


def test_one_fail_is_the_verdict_of_the_whole(findings):
    good, bad = findings
    assert report.summary({"a": [good]}, "data")["passed"] is True
    whole = report.summary({"a": [good], "b": [good, bad]}, "data")
    assert (whole["passed"], whole["failed"]) == (False, [bad.id])
    assert [finding["verdict"] for finding in whole["findings"]["b"]] == ["pass", "fail"]


def test_a_fail_is_refused_with_its_remedy(findings):
    good, bad = findings
    report.require([good], "a")
    with pytest.raises(Refused, match=r"b failed its checks") as caught:
        report.require([good, bad], "b")
    assert bad.remedy in str(caught.value)
    assert bad.reason in str(caught.value)


def test_a_report_is_required_to_have_passed_on_these_data(findings, tmp_path):
    path = tmp_path / "preflight.json"
    with pytest.raises(WrongUse, match="no such file"):
        report.require_passed(path, "data")
    files.write_json(path, report.summary({"a": list(findings)}, "data"))
    with pytest.raises(Refused, match=findings[1].id):
        report.require_passed(path, "data")
    files.write_json(path, report.summary({"a": [findings[0]]}, "data"))
    report.require_passed(path, "data")
    with pytest.raises(Refused, match=r"other data \(data, these are more\)"):
        report.require_passed(path, "more")


def test_every_finding_is_printed(findings, capsys):
    report.show({"a": list(findings)})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert isinstance(findings[0], Finding)
    assert lines[1].startswith(f"a: {findings[1].id}")
    assert "fail" in lines[1]
