"""The page of the data: what stands out is found, counts and costs are right, nothing runs, all is escaped."""

import base64
import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from frostline import contract as contracts
from frostline import models, params, records, survey
from frostline.contract import LatentSpace
from frostline.errors import Refused, WrongUse
from frostline.manifest import Rejected, Row
from frostline.pages import bars, words
from frostline.params import Params
from frostline.params.trainings import TunedParams
from frostline.survey import captions, contact, forecast
from frostline.survey.material import Source
from frostline.survey.sheets import Picture, Sheet
from tests import prepared, tiny
from tests.html_reader import tags

ROOT = Path(__file__).parents[2]
BUCKETS = {"1x32x32": {"share": 1.0, "batch": 4}, "5x32x32": {"share": 3.0, "batch": 2}}
EMPTY = Sheet(rows=[], rejected=[], histograms={})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """Params of one training of 40 steps on images and clips, and of its student."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"sources": {"mine": prepared.source()}}
    values["train"]["runs"]["teacher"] |= {"buckets": BUCKETS, "steps": 40}
    values["students"]["guided"] |= {"buckets": {"1x32x32": {"share": 1.0, "batch": 4}}, "steps": 40}
    del values["students"]["fast"], values["trajectories"]["teacher"]
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return params.load(path)


def source(rows: Sequence[Row], rejected: Sequence[Rejected] = (), name: str = "mine") -> Source:
    media = [dataclasses.replace(row, source=name) for row in rows if row.medium != "prompt"]
    prompts = [row for row in rows if row.medium == "prompt"]
    return Source(name=name, rows=media, prompts=prompts, rejected=list(rejected), sheet=EMPTY)


def healthy() -> list[Row]:
    images = prepared.splits([prepared.row(n) for n in range(30)])
    return [*images, *prepared.splits([prepared.clip(100 + n) for n in range(30)])]


def letters(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def look(settings: Params, *sources: Source, space: LatentSpace | None = None) -> survey.Survey:
    return survey.survey(sources, settings, space or tiny.space(), letters)


def stands_out(settings: Params, *sources: Source, space: LatentSpace | None = None) -> list[tuple[str, str]]:
    return [(one.weight, one.subject) for one in look(settings, *sources, space=space).findings]


def test_nothing_stands_out_of_healthy_data(settings: Params):
    found = look(settings, source(healthy()))
    assert found.findings == []
    assert "Nothing: no static or tiny media" in survey.render(survey.compose(found))


def change(rows: list[Row], first: int, count: int, **changed: Any) -> list[Row]:
    """Some of the rows changed."""
    return [dataclasses.replace(row, **changed) if first <= n < first + count else row for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (change(healthy(), 30, 5, shown=(0, 0, 1, 1, 2)), ("look", "static")),
        (change(healthy(), 0, 5, source_width=16, source_height=16, crop=(0, 0, 16, 16)), ("look", "tiny")),
        (change(healthy(), 0, 5, source_width=192, crop=(8, 0, 56, 48)), ("look", "cropped")),
        (change(healthy(), 0, 3, content="same"), ("look", "duplicated")),
        (change(healthy(), 27, 2, content="same"), ("wrong", "leak")),
        (change(healthy(), 0, 10, item="one film"), ("look", "uneven")),
        (change(healthy(), 0, 10, captions=("a video",)), ("look", "captions")),
        (change(healthy(), 0, 1, captions=("",)), ("wrong", "captions")),
        (change(healthy(), 0, 1, captions=("one two three four five six seven",)), ("look", "captions")),
        (healthy()[:30], ("wrong", "trainings")),  # the teacher trains on clips too
        (change(healthy(), 28, 2, split="train"), ("look", "splits")),
        (change(healthy(), 0, 60, frames=9, height=16), ("look", "trainings")),  # a bucket no training uses
        (change(healthy(), 0, 28, split="test"), ("wrong", "splits")),
    ],
)
def test_what_is_broken_stands_out(settings: Params, broken: list[Row], expected: tuple[str, str]):
    assert expected in stands_out(settings, source(broken), space=tiny.space(spatial_stride=8))


def test_findings_name_the_media_and_how_many(settings: Params):
    found = look(settings, source(change(healthy(), 0, 5, source_width=16, source_height=16, crop=(0, 0, 16, 16))))
    (tiny_one,) = [one for one in found.findings if one.subject == "tiny"]
    assert "5 of 60 rows (8.3 %) of mine" in tiny_one.text
    assert "at most 2 times" in tiny_one.text
    assert "pictures/0.png" in tiny_one.text


def test_still_dark_and_blurred_media_stand_out_unless_they_were_left_out(settings: Params):
    histograms = {"motion": [(0.01, 4), (5.0, 26)], "brightness": [(200.0, 60)], "sharpness": [(0.2, 3), (9.0, 57)]}
    shown = dataclasses.replace(EMPTY, histograms=histograms)
    blurred = [prepared.rejected(f"{n}.png", "blurred", "soft") for n in range(3)]
    found = look(settings, dataclasses.replace(source(healthy(), blurred), sheet=shown)).findings
    (static,) = [one for one in found if one.subject == "static"]
    assert "4 of 30 media of mine change by less than" in static.text
    assert not {"black", "blurred"} & {one.subject for one in found}


def test_much_left_out_and_small_buckets_stand_out(settings: Params):
    rejected = [prepared.rejected(f"{n}.png", "blurred", "soft") for n in range(20)]
    assert ("look", "left out") in stands_out(settings, source(healthy(), rejected))
    many = prepared.splits([prepared.row(1000 + n) for n in range(400)])
    small = [*many, *prepared.splits([prepared.clip(n) for n in range(3)])]
    assert ("look", "uneven") in stands_out(settings, source(small))


def test_the_wrong_comes_first_and_like_stands_with_like(settings: Params):
    page = survey.compose(look(settings, source(change(healthy()[:30], 0, 10, captions=("a video",)))))
    assert [group.weight for group in page.findings] == sorted((g.weight for g in page.findings), reverse=True)
    assert len({(group.weight, group.subject) for group in page.findings}) == len(page.findings)


def test_bytes_calls_and_tokens_follow_bucket_base_and_params(settings: Params):
    space = tiny.space(stored_dtype="bfloat16", text_stored_dtype="bfloat16")
    cost = forecast.forecast([source(healthy())], settings, space, letters)
    images, clips = cost.buckets
    assert images.shape == (4, 1, 4, 4)
    assert images.latent_bytes == 30 * 4 * 1 * 4 * 4 * 2
    assert clips.latent_bytes == 30 * 4 * 2 * 4 * 4 * 2
    assert images.calls == -(-30 // settings.cache.encode_batch)
    (text,) = cost.texts
    assert text.captions == 60
    assert text.text_bytes == 60 * 4 * space.text_dim * 2  # four words each
    of_run = {(run.run, run.bucket): run for run in cost.runs}
    assert (of_run["teacher", "5x32x32"].tokens, of_run["teacher", "5x32x32"].step_tokens) == (32, 64)
    assert of_run["teacher", "1x32x32"].steps == 10
    assert of_run["teacher", "1x32x32"].seen == pytest.approx(10 * 4 / 28)
    assert of_run["guided", "1x32x32"].seen == pytest.approx(40 * 4 / 28)


def test_what_goes_on_from_a_model_costs_its_patches(settings: Params, tmp_path: Path, tiny_model: Path):
    buckets = {"1x32x32": {"share": 1.0, "batch": 4}}
    guided, run = settings.students["guided"], settings.train.runs["teacher"]
    facts = run.model_dump(mode="json", exclude={"model": True, "validate_every": {"epochs"}}) | {"buckets": buckets}
    tuned = {
        name: records.parse(TunedParams, {**facts, "start": start}, origin="x")
        for name, start in {"second": "models/first", "first": "models/teacher", "third": "bases/mine"}.items()
    }
    changed = settings.model_copy(update={"tuned": tuned, "students": {"late": guided}})
    costs = forecast.forecast([source(healthy())], changed, tiny.space(), letters)
    assert {run.run: run.tokens for run in costs.runs if run.bucket == "1x32x32"} == dict.fromkeys(
        ("teacher", "first", "second", "late"), 16
    )
    base = tmp_path / "bases" / "mine"
    meaning = models.facts(tiny_model)[0]
    base.mkdir(parents=True)
    process = tiny.process(patch_size=(1, 2, 2))
    contracts.save(meaning.model_copy(update={"process": process}), base)
    costs = forecast.forecast(
        [source(healthy())], changed.model_copy(update={"base": str(base)}), tiny.space(), letters
    )
    assert {run.tokens for run in costs.runs if run.run == "third"} == {4}


def test_captions_alone_cost_text_and_no_latents(settings: Params):
    prompts = [prepared.row(n, medium="prompt", frames=1, locator=f"line {n}") for n in range(4)]
    found = look(settings, source(healthy()), source(prompts, name="words"))
    assert {one.source for one in found.costs.buckets} == {"mine"}
    assert [text.captions for text in found.costs.texts] == [60, 4]
    assert "4 captions without media" in survey.render(survey.compose(found))
    assert survey.numbers(found)["sources"]["words"]["rows"] == 4


def test_many_captions_are_sampled_and_scaled(settings: Params, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forecast, "SAMPLED", 20)
    (text,) = forecast.forecast([source(healthy())], settings, tiny.space(), letters).texts
    assert (len(text.lengths), text.text_bytes) == (20, 60 * 4 * tiny.space().text_dim * 4)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A red fox, “jumping”!", ["a", "red", "fox", "jumping"]),
        ("一只猫 sleeps", ["一", "只", "猫", "sleeps"]),
        ("नीली साड़ी", ["नीली", "साड़ी"]),
        ("طفل يركض", ["طفل", "يركض"]),
        ("well-lit ... 24fps", ["well-lit", "24fps"]),
        (" \n ", []),
    ],
)
def test_words_of_any_script(caption: str, found: list[str]):
    assert list(captions.words(caption)) == found


def test_frequent_words_say_something_and_repeated_captions_are_counted():
    rows = [prepared.row(n, captions=("the fox in the snow", f"a fox number {n}")) for n in range(3)]
    found = captions.survey([source(rows)])
    assert found.words[0] == ("fox", 4)
    assert not {"the", "in", "a"} & {word for word, _ in found.words}
    assert found.repeated == [("the fox in the snow", 3)]
    assert (found.distinct, found.used) == (4, 6)


def test_crops_are_drawn_where_they_are_on_every_tile():
    picture = Picture(base64="", tile=(32, 24), tiles=3)
    shown = contact.shown(picture, prepared.clip(0, crop=(16, 0, 64, 48)))
    assert (shown.width, shown.height) == (96, 24)
    assert shown.crops == [(left, "0.0", "24.0", "24.0") for left in ("8.0", "40.0", "72.0")]


def test_bars_hold_every_value_once():
    groups = {"a": [float(n) for n in range(100)], "b": [50.5] * 7, "empty": []}
    drawn = bars.histogram("t", "", "pixels", groups)
    assert [layer.name for layer in drawn.layers] == ["a", "b"]
    assert [sum(layer.counts) for layer in drawn.layers] == [100, 7]
    assert len(drawn.marks) == drawn.bins + 1
    (tallest,) = [n for n, count in enumerate(drawn.layers[1].counts) if count]
    assert drawn.marks[tallest] <= 50.5 < drawn.marks[tallest + 1]


@pytest.mark.parametrize("values", [[0.001, 5.0, 900.0], [1.0, 2.0], [-3.0, 4.0], [n / 7 for n in range(500)], [9.0]])
def test_bars_stay_inside_their_frame(values: list[float]):
    drawn = bars.svg(bars.histogram("<t>", "", "x & y", {"<b>": values}))
    rects = list(ET.fromstring(drawn).iter("rect"))  # noqa: S314 (our own output)
    assert rects
    for rect in rects:
        assert float(rect.attrib["x"]) >= bars.LEFT
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= bars.WIDTH - bars.RIGHT + 0.2
        assert float(rect.attrib["y"]) >= bars.TOP - 0.1


def test_far_values_get_logarithmic_bins():
    marks = bars.histogram("t", "", "s", {"a": [2.0**n for n in range(10)]}).marks
    assert {5.0, 50.0, 500.0} <= set(marks)


def test_a_group_keeps_its_colour_in_every_chart_and_many_share_the_last():
    assert bars.histogram("t", "", "x", {"a": [], "b": [1.0]}).legend == [("b", 1)]
    many = bars.histogram("t", "", "x", {f"s{n}": [float(n)] for n in range(9)})
    assert many.legend[-1] == (bars.OTHERS, bars.COLOURS - 1)
    assert sum(many.layers[-1].counts) == 4


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.of_bytes(999), "999 bytes"),
        (words.of_bytes(3.14e6), "3.14 MB"),
        (words.of_seconds(90), "90 s"),
        (words.of_seconds(7200), "2 h"),
        (words.share(0, 9), "0 %"),
        (words.share(1, 5000), "<0.1 %"),
        (words.share(1, 3), "33 %"),
    ],
)
def test_numbers_in_words(said: str, expected: str):
    assert said == expected


# The page


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest and sheet of a source with wicked captions, names and details."""
    root = tmp_path_factory.mktemp("prepared")
    rows = change(healthy(), 0, 8, captions=(prepared.WICKED, "short", "x" * 500))
    rows = change(rows, 1, 1, locator='a"><img src=x onerror=y>.png')
    rejected = [prepared.rejected("<b>.png", "too_small", "<i>3 x 3</i>") for _ in range(9)]
    prepared.write(root, "mine", rows, rejected, histograms={"motion": [[0.0, 5], [3.5, 25]]})
    return root


@pytest.fixture(scope="module")
def text(root: Path, settings: Params) -> str:
    return page(root, settings)


def page(root: Path, settings: Params) -> str:
    sources = survey.read(["mine"], root / "manifest", root / "sheets")
    return survey.render(survey.compose(look(settings, *sources)))


def test_the_page_is_well_formed_and_runs_and_fetches_nothing(text: str):
    found = tags(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found}
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    links = [value or "" for _, attributes in found for name, value in attributes.items() if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "http" not in text
    assert "url(" not in text


def test_links_within_the_page_lead_somewhere(text: str):
    found = tags(text)
    places = {attributes["id"] for _, attributes in found if "id" in attributes}
    assert {(a["href"] or "#")[1:] for tag, a in found if tag == "a"} <= places


def test_everything_foreign_is_escaped(text: str):
    assert "<script" not in text
    assert "onerror=y>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34; {{ page.title }}" in text
    assert "&lt;i&gt;3 x 3&lt;/i&gt;" in text


def test_long_captions_are_shortened_and_there_in_full(text: str):
    assert text.count("x" * 500) >= 1


def test_thumbnails_show_crops_and_splits(root: Path, text: str):
    found = tags(text)
    data = base64.b64encode((root / "sheets" / "mine" / "three.jpg").read_bytes()).decode()
    assert [a for tag, a in found if tag == "image" and (a["href"] or "").endswith(data)]
    assert [a for tag, a in found if tag == "rect" and a.get("class") == "crop"]
    for split in ("train", "validation", "test"):
        assert f'class="badge {split}"' in text


def test_measured_histograms_are_drawn_when_there_are_some(text: str, settings: Params):
    assert "what lies near 0 stands still" in text
    assert "what lies near 0 stands still" not in survey.render(survey.compose(look(settings, source(healthy()))))


def test_the_same_data_are_the_same_bytes(root: Path, text: str, settings: Params):
    assert page(root, settings) == text
    assert str(root) not in text


def test_the_page_follows_light_and_dark_narrow_screens_and_keyboards(text: str):
    for words_of_style in ("prefers-color-scheme: dark", "max-width: 40rem", ":focus-visible", 'name="viewport"'):
        assert words_of_style in text
    scrollers = [a for _, a in tags(text) if a.get("class") == "scroll"]
    assert scrollers
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in scrollers)


def test_numbers_add_up(root: Path, settings: Params):
    found = survey.numbers(look(settings, *survey.read(["mine"], root / "manifest", root / "sheets")))
    assert (found["rows"], found["items"], found["rejected"]) == (60, 60, 9)
    assert found["sources"]["mine"]["rejected"] == {"all": 9, "too_small": 9}
    assert found["buckets"]["5x32x32"] == {"items": 30, "rows": 30, "train": 28, "validation": 1, "test": 1}
    assert found["sources"]["mine"]["seconds"] == 60.0
    assert found["cost"]["trainings"]["teacher"]["5x32x32"]["tokens_per_step"] == 64
    json.dumps(found, allow_nan=False)


def broken(root: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    values = json.loads((root / "sheets" / "mine" / "sheets.json").read_text())
    change(values)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sheets.json").write_text(json.dumps(values))
    return tmp_path


def test_a_sheet_that_is_absent_foreign_or_not_whole_is_named(root: Path, tmp_path: Path):
    with pytest.raises(WrongUse, match=r"nowhere/mine/sheets\.json: no such file"):
        survey.read(["mine"], root / "manifest", tmp_path / "nowhere")
    with pytest.raises(Refused, match=r"names the thumbnail '\w+\.jpg', which is not beside it"):
        survey.read(["mine"], root / "manifest", broken(root, tmp_path, lambda values: None))


def test_a_sheet_reaches_no_other_file(root: Path, tmp_path: Path):
    def reach(values: dict[str, Any]) -> None:
        values["rows"][0]["picture"] = "../../secret"

    (tmp_path / "secret").write_text("s")
    with pytest.raises(Refused, match="secret"):
        survey.read(["mine"], root / "manifest", broken(root, tmp_path, reach))


def test_a_sheet_of_another_shape_is_named(root: Path, tmp_path: Path):
    with pytest.raises(WrongUse, match=r"not the sheet of a source \(KeyError\('rows'\)\)"):
        survey.read(["mine"], root / "manifest", broken(root, tmp_path, lambda values: values.pop("rows")))
