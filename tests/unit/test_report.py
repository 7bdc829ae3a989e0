"""The page: nothing fetched, nothing run, captions escaped, the same bytes for the same evaluation, well formed."""

import base64
import dataclasses
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline import evaluation, models, report
from frostline.codec import Codec
from frostline.evaluation import Evaluated, HeldOut, Plan
from frostline.generation import Generator
from frostline.pages import charts
from frostline.pages.charts import Chart, Point, Series
from frostline.report import measures, pictures, tables
from tests.html_reader import tags

IMAGE, CLIP = (1, 32, 32), (5, 32, 32)
WICKED = 'a <script>alert(1)</script> & "quoted" digit'


def real(bucket: tuple[int, int, int]) -> HeldOut:
    pixels = np.random.default_rng(bucket).integers(0, 256, (6, *bucket, 3), dtype=np.uint8)
    return HeldOut(bucket=bucket, captions=(WICKED, "a digit one") * 3, pixels=pixels)


@pytest.fixture(scope="module")
def evaluated(
    make_model: Callable[..., Path], tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Evaluated]:
    root = tmp_path_factory.mktemp("report")
    teacher = make_model(root / "teacher")
    facts = {"sampling": {"guidance_form": "folded"}, "teacher_digest": models.load(teacher).training.weights_digest}
    both = [models.load(teacher), models.load(make_model(root / "guided", seed=1, **facts))]
    plan = Plan(samples={IMAGE: 6, CLIP: 4}, curve_steps=(1, 2), curve_samples=4, seed=0)
    return evaluation.evaluate(
        both, [Generator(m, Codec(tiny_base)) for m in both], [real(IMAGE), real(CLIP)], None, plan
    )


LOSSES = {"teacher": [Point(10.0, 2.0, 0.0), Point(20.0, 1.0, 0.0), Point(30.0, 0.5, 0.0)]}


def page(evaluated: Sequence[Evaluated]) -> str:
    held_out = [real(IMAGE), real(CLIP)]
    numbers = {one.bucket: evaluation.real_numbers(one, None) for one in held_out}
    return report.render(report.compose(evaluated, held_out, numbers, LOSSES, ["no judge <here>"]))


@pytest.fixture(scope="module")
def text(evaluated: list[Evaluated]) -> str:
    return page(evaluated)


def test_the_page_is_well_formed_and_runs_and_fetches_nothing(text: str):
    found = tags(text)
    assert "script" not in {tag for tag, _ in found}
    assert not [name for _, attributes in found for name in attributes if name.startswith("on") or name == "href"]
    sources = [attributes["src"] or "" for tag, attributes in found if tag == "img"]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in text
    assert "url(" not in text


def test_fewer_samples_than_prompts_show_the_prompts_that_were_drawn(evaluated: list[Evaluated]):
    one = evaluated[0]
    drawn = one.drawn[IMAGE]
    first = evaluation.Drawn(prompts=drawn.prompts[:1], latents=drawn.latents[:1], pixels=drawn.pixels[:1])
    text = page([dataclasses.replace(one, drawn={IMAGE: first})])
    alts = [attributes["alt"] or "" for tag, attributes in tags(text) if tag == "img"]
    assert f"teacher: {drawn.prompts[0]}" in alts
    assert not any(f"teacher: {prompt}" in alts for prompt in set(drawn.prompts) - {drawn.prompts[0]})


def test_captions_and_notices_are_escaped(text: str):
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in text
    assert "no judge &lt;here&gt;" in text


def test_the_same_evaluation_is_the_same_bytes(text: str, evaluated: list[Evaluated]):
    assert page(evaluated) == text


def test_every_prompt_shows_every_model_and_the_real_ones(text: str):
    alts = [attributes["alt"] for tag, attributes in tags(text) if tag == "img"]
    for name in ("teacher", "guided", measures.REAL):
        assert alts.count(f"{name}: {WICKED}") == 2  # images and clips


def test_embedded_images_show_the_samples(text: str, evaluated: list[Evaluated]):
    sources = [a["src"] or "" for tag, a in tags(text) if tag == "img" and a["alt"] == f"teacher: {WICKED}"]
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1]))).convert("RGB"))
    prompts = list(evaluated[0].drawn[IMAGE].prompts)
    first = evaluated[0].drawn[IMAGE].pixels[prompts.index(WICKED), 0]
    assert np.array_equal(strip[:, :32], first)
    clip = Image.open(io.BytesIO(base64.b64decode(sources[1].split(",")[1])))
    assert clip.format == "GIF"


def test_contract_differences_stand_out_and_digests_are_there(text: str, evaluated: list[Evaluated]):
    rows = [row for row in text.split("<tr") if "sampling.guidance_form" in row]
    assert ["differs" in row for row in rows] == [True]
    assert not [row for row in text.split("<tr") if "process.patch_size" in row and "differs" in row]
    for one in evaluated:
        assert one.model.training.weights_digest in text
        assert one.model.contract.digest in text


def test_the_lineage_names_what_a_model_went_on_from_where_one_did(evaluated: list[Evaluated]):
    assert "went on from the weights" not in [line.name for line in tables.lineage(evaluated).rows]
    first, *others = evaluated
    training = first.model.training.model_copy(update={"start_digest": "5" * 32})
    tuned = dataclasses.replace(first, model=dataclasses.replace(first.model, training=training))
    (line,) = [line for line in tables.lineage([tuned, *others]).rows if line.name == "went on from the weights"]
    assert line.cells == ["5" * 32, *("–" for _ in others)]


def test_pages_follow_light_and_dark_and_narrow_screens(text: str):
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 40rem" in text
    assert 'name="viewport"' in text


def test_pictures_are_a_grid_of_prompts_and_noises(evaluated: list[Evaluated], tmp_path: Path):
    report.write_pictures(tmp_path, evaluated)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["guided_1x32x32.png", "guided_5x32x32.gif", "teacher_1x32x32.png", "teacher_5x32x32.gif"]
    grid = np.asarray(Image.open(tmp_path / "teacher_1x32x32.png"))
    side, step = 64, 2 * (32 + pictures.GAP)
    assert grid.shape == (step + side, 2 * step + side, 3)  # 2 prompts, 3 samples each, twice as large
    third = evaluated[0].drawn[IMAGE].pixels[3, 0]  # prompt 3 mod 2 = 1, its second sample
    assert np.array_equal(grid[step::2, step : step + side : 2], third)


def test_plots_are_tables_dvc_can_read(evaluated: list[Evaluated], tmp_path: Path):
    report.write_plots(tmp_path, evaluated)
    lines = (tmp_path / "quality" / "teacher.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:2] == ["steps", "evaluations"]
    assert [line.split("\t")[:2] for line in lines[1:]] == [["1", "2"], ["2", "4"]]


def test_training_curves_are_read_from_their_tables():
    found = report.read_curves({"teacher": "step\tloss\n10\t0.5\n20\t0.25\n"})
    assert found == {"teacher": [Point(10.0, 0.5, 0.0), Point(20.0, 0.25, 0.0)]}


def chart(points: Sequence[Point], *, log_x: bool = False, log_y: bool = False, name: str = "teacher") -> Chart:
    series = (Series(name=name, colour=0, points=tuple(points), dots=True),)
    return Chart(title="t", note="", x="steps", y="loss", series=series, log_x=log_x, log_y=log_y)


def circles(svg: str) -> list[tuple[float, float]]:
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in ET.fromstring(svg).iter("circle")]  # noqa: S314 (our own output)


def test_charts_place_points_in_proportion():
    (x1, y1), (x2, y2), (x3, y3) = circles(charts.svg(chart([Point(0, 0, 0), Point(50, 5, 0), Point(100, 10, 0)])))
    assert x1 < x2 < x3
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)  # SVG counts downwards
    assert y3 < y1


def test_logarithmic_charts_space_doublings_evenly():
    points = [Point(n, 1 / n, 0) for n in (1, 2, 4, 8)]
    places = circles(charts.svg(chart(points, log_x=True, log_y=True)))
    for axis in (0, 1):
        gaps = np.diff([place[axis] for place in places])
        assert gaps == pytest.approx([gaps[0]] * 3, abs=0.2)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("points", [[Point(3, 0.25, 0)], [Point(n, 7e-5 * n, 0) for n in range(1, 300)]])
def test_charts_stay_inside_their_frame(points: list[Point], log: bool):
    for x, y in circles(charts.svg(chart(points, log_x=log, log_y=log))):
        assert charts.LEFT <= x <= charts.WIDTH - charts.RIGHT
        assert charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM


def test_errors_are_drawn_as_bars():
    svg = charts.svg(chart([Point(1, 0.5, 0.1), Point(2, 0.6, 0)]))
    assert svg.count('class="bar"') == 1


def test_names_in_charts_are_escaped():
    assert "&lt;b&gt;" in charts.svg(chart([Point(1, 1, 0), Point(2, 2, 0)], name="<b>"))


def test_thinning_keeps_the_mean_and_the_number_of_points_down():
    points = [Point(i, float(i % 7), 0) for i in range(700)]
    thin = charts.thinned(points, most=100)
    assert len(thin) == 100
    assert np.mean([p.y for p in thin]) == pytest.approx(np.mean([p.y for p in points]))
