import json

import pytest
import torch

from frostline import adapting, digests, files, generation, merging, models, origins, weights
from frostline.codec import Codec
from frostline.errors import Refused, WrongUse
from frostline.wan import exporting, fetching, lora, lora_files
from tests.unit.test_teachers import family, single
from tests.unit.wan import folders

__all__ = ["family", "single"]

MODULES = ("blocks.0.attn1.to_q", "blocks.1.ffn.net.0.proj")
RANK = 3


@pytest.fixture
def change(tiny_model) -> lora.Lora:
    """A LoRA of two matrices of the tiny model."""
    generator, found = torch.Generator().manual_seed(1), {}
    kinds = origins.find(tiny_model).single().kinds
    for module in MODULES:
        out, into = kinds[f"{module}.weight"].shape
        down, up = torch.randn(RANK, into, generator=generator), torch.randn(out, RANK, generator=generator)
        found[module] = lora.Change(down, up / 10, 6.0)
    return found


@pytest.fixture
def file(tmp_path, change):
    lora_files.write(change, tmp_path / "lora.safetensors", "native")
    return tmp_path / "lora.safetensors"


def test_a_merged_model_is_the_sum_and_keeps_contract_and_base(tiny_model, change, file, tmp_path):
    before = models.load(tiny_model)
    adapting.merge(origins.find(tiny_model), file, tmp_path / "merged", scale=0.5)
    after = models.load(tmp_path / "merged")
    ours, theirs = after.transformer.state_dict(), before.transformer.state_dict()
    for name in theirs:
        module = name.removesuffix(".weight")
        if module in change:
            assert torch.allclose(ours[name] - theirs[name], change[module].delta(0.5), atol=1e-6)
            assert not torch.equal(ours[name], theirs[name])
        else:
            assert torch.equal(ours[name], theirs[name])
    assert (after.contract, after.base) == (before.contract, before.base)
    assert {**after.transformer.config} == {**before.transformer.config}
    assert (tmp_path / "merged" / "scheduler").is_dir()


def test_its_records_claim_no_training_and_say_what_it_is_made_of(tiny_model, file, tmp_path):
    before = models.load(tiny_model).training
    adapting.merge(origins.find(tiny_model), file, tmp_path / "merged", scale=0.5)
    after = models.load(tmp_path / "merged").training
    assert after.weights_digest not in ("", before.weights_digest)
    assert (after.stage, after.objective, after.steps_planned, after.steps_done) == ("merge", "merge", 0, 0)
    assert (after.dataset_digest, after.ema_decay, after.teacher_digest, after.tensor_sources) == ("", 0.0, None, None)
    assert after.parameters == before.parameters
    assert files.read_json(tmp_path / "merged" / merging.RECORD) == {
        "model": tiny_model.name,
        "model_weights_digest": before.weights_digest,
        "lora": "lora.safetensors",
        "lora_digest": digests.of_file(file),
        "scale": 0.5,
        "matrices": 2,
        "training": before.model_dump(mode="json"),
        "earlier": None,
    }


def test_merging_again_and_taking_it_back_are_both_on_record(tiny_model, file, tmp_path):
    first = adapting.merge(origins.find(tiny_model), file, tmp_path / "merged")
    second = adapting.merge(origins.find(tmp_path / "merged"), file, tmp_path / "back", scale=-1.0)
    assert second.earlier == first
    ours, theirs = (models.load(folder).transformer.state_dict() for folder in (tmp_path / "back", tiny_model))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)


def test_a_merged_model_is_drawn_from(tiny_model, tiny_base, file, tmp_path):
    adapting.merge(origins.find(tiny_model), file, tmp_path / "merged")
    draw = generation.Draw(seed=0, frames=1, height=32, width=32)
    pixels = [
        generation.Generator(models.load(folder), Codec(tiny_base)).sample(["one"], draw)
        for folder in (tiny_model, tmp_path / "merged")
    ]
    assert pixels[0].shape == pixels[1].shape
    assert not torch.equal(*pixels)


def test_the_same_merge_is_the_same_bytes(tiny_model, file, tmp_path):
    for name in ("a", "b"):
        adapting.merge(origins.find(tiny_model), file, tmp_path / name)
    assert digests.of_folder(tmp_path / "a") == digests.of_folder(tmp_path / "b")


def test_a_fetched_model_is_merged_into_a_model_folder_on_it(tmp_path, tiny_base, single):
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base)), tmp_path / "base")
    origin = origins.find(tmp_path / "base")
    out, into = origin.single().kinds[f"{MODULES[0]}.weight"].shape
    found = {MODULES[0]: lora.Change(torch.ones(1, into), torch.ones(out, 1), 1.0)}
    lora_files.write(found, tmp_path / "lora.safetensors", "diffusers")
    merged = adapting.merge(origin, tmp_path / "lora.safetensors", tmp_path / "merged")
    after = models.load(tmp_path / "merged")
    assert merged.training is not None
    assert (merged.training.stage, after.base.path) == ("published", str(tmp_path / "base"))
    assert (after.contract, after.training.parameters) == (origin.contract, {"total": origin.parameters})


def test_nothing_is_written_where_something_is_wrong(tiny_model, file, tmp_path, make_model):
    origin = origins.find(tiny_model)
    with pytest.raises(WrongUse, match="exists; name a new folder"):
        adapting.merge(origin, file, tiny_model)
    for scale in (0.0, float("nan"), float("inf")):
        with pytest.raises(WrongUse, match=f"scale {scale:g}: a LoRA is added times a number"):
            adapting.merge(origin, file, tmp_path / "out", scale=scale)
    wrong = {"blocks.7.attn1.to_q": lora.Change(torch.ones(1, 24), torch.ones(24, 1), 1.0)}
    lora_files.write(wrong, tmp_path / "wrong.safetensors", "native")
    with pytest.raises(WrongUse, match=r"wrong\.safetensors: changes blocks\.7.*name the model it was trained on"):
        adapting.merge(origin, tmp_path / "wrong.safetensors", tmp_path / "out")
    exporting.write(origin.single(), origin.contract, tmp_path / "m.safetensors")
    with pytest.raises(Refused, match=r"m\.safetensors: does not say what it is.*`frostline fetch`"):
        adapting.merge(origins.find(tmp_path / "m.safetensors"), file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("naming", ["native", "diffusers"])
def test_what_was_merged_is_extracted_into_a_file_that_says_from_what(tiny_model, change, file, tmp_path, naming):
    adapting.merge(origins.find(tiny_model), file, tmp_path / "merged")
    after, before = origins.find(tmp_path / "merged"), origins.find(tiny_model)
    path = tmp_path / "found.safetensors"
    found = adapting.extract(after, before, path, rank=RANK, naming=naming)
    assert found.overall == pytest.approx(1, abs=1e-6)
    read = lora_files.read(path)
    assert all(torch.allclose(read[module].delta(), change[module].delta(), atol=1e-5) for module in MODULES)
    assert json.loads(lora_files.facts(path)[adapting.METADATA]) == {
        "before": before.weights_digest,
        "after": after.weights_digest,
        "rank": RANK,
        "kept": found.overall,
        "left_out": 0,
    }


def test_models_of_two_shapes_ranks_too_high_and_files_that_exist_are_refused(tiny_model, file, tmp_path, make_model):
    origin, path = origins.find(tiny_model), tmp_path / "found.safetensors"
    with pytest.raises(WrongUse, match=r"lora\.safetensors: exists; name a new \.safetensors file"):
        adapting.extract(origin, origin, file, rank=1, naming="native")
    with pytest.raises(WrongUse, match=r"found\.bin: ends in '\.bin'"):
        adapting.convert(file, path.with_suffix(".bin"), "native")
    with pytest.raises(WrongUse, match=r"rank 49: matrices of .* have ranks up to (\d+); ask for 1 to \1"):
        adapting.extract(origin, origin, path, rank=49, naming="native")
    with pytest.raises(Refused, match="no matrix of the two differs"):
        adapting.extract(origin, origin, path, rank=1, naming="native")
    shallow = {name: kind for name, kind in origin.single().kinds.items() if not name.startswith("blocks.1.")}
    weights.write(
        tmp_path / "s.safetensors",
        shallow,
        models.load(tiny_model).transformer.state_dict().__getitem__,
        {"frostline.config": digests.canonical({**origin.single().config, "num_layers": 1})},
    )
    with pytest.raises(Refused, match=r"blocks\.1\.\S+ is \(.*\), in .*s\.safetensors not there, and \d+ more differ"):
        adapting.extract(origin, origins.find(tmp_path / "s.safetensors"), path, rank=1, naming="native")
    assert not path.exists()


def test_converting_there_and_back_changes_no_byte_and_keeps_what_the_file_says(tiny_model, change, tmp_path):
    first, second, third = (tmp_path / f"{n}.safetensors" for n in range(3))
    lora_files.write(change, first, "native", {"trained_by": "someone"})
    adapting.convert(first, second, "diffusers")
    assert lora_files.facts(second) == {"trained_by": "someone"}
    adapting.convert(second, third, "native")
    assert first.read_bytes() == third.read_bytes() != second.read_bytes()
