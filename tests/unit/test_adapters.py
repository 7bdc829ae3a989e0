"""An adapter is trained beside frozen weights: it begins at its start, alone moves, and ends in a whole model."""

import dataclasses
import functools
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard

from frostline import (
    adapters,
    adapting,
    averages,
    codec,
    contract,
    digests,
    eight_bit,
    engine,
    export,
    generation,
    merging,
    models,
    origins,
    records,
    sharding,
    starts,
    teachers,
    trainings,
)
from frostline.errors import Preempted, Refused, WrongUse
from frostline.objectives import flow_matching
from frostline.params.trainings import AdapterParams
from frostline.processes import Team
from frostline.wan import fetching, lora_files
from tests import tiny
from tests.unit.test_engine import stopped_at
from tests.unit.test_starts import BUCKETS, base, rows, same, single
from tests.unit.wan import folders
from tests.unit.wan.test_fetching import family

__all__ = ["base", "family", "rows", "single"]
COMPUTE = {"dtype": "float32", "accumulate": 1, "recompute": False, "compile": False}
ADAPTER = {"rank": 2, "alpha": 4.0, "targets": ["to_q", "attn2.to_v", "ffn.net.0.proj"]}
PER_BLOCK = ("attn1.to_q", "attn2.to_q", "attn2.to_v", "ffn.net.0.proj")


@pytest.fixture(scope="module")
def team():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    aside: Any = distributed.new_group(backend="gloo")
    yield Team(mesh=init_device_mesh("cpu", (1,)), aside=aside)
    distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def halved(tmp_path, base):
    """The small published model as files of bfloat16, fetched."""
    root = tmp_path / "published"
    folders.shards(root, {name: tensor.bfloat16() for name, tensor in folders.read(root).items()})
    fetching.fetch(str(root), tmp_path / "halved")
    return tmp_path / "halved"


def adapter(**changed: Any) -> AdapterParams:
    return records.parse(AdapterParams, {**ADAPTER, **changed}, origin="params.yaml", prefix="adapter")


def job(folder, rows, start, team, **changed):
    """A training of an adapter, as the stage makes it."""
    run = tiny.tuned_params(start, **{"adapter": ADAPTER, "compute": COMPUTE, **changed})
    assert run.adapter is not None
    computed, float8 = sharding.dtype(run.compute, team), run.adapter.frozen_dtype is not None
    begun = starts.frozen(run.start, rows.space, run.buckets, computed, float8=float8)
    adapters.add(begun.transformer, run.adapter, seed=run.seed, where=run.start)
    meaning = trainings.tuned_contract(run, rows.space, begun.contract)
    folder.mkdir(parents=True, exist_ok=True)
    return engine.Job(
        name="tune tiny",
        network=begun.transformer,
        objective=flow_matching.objective(trainings.process_of(meaning)),
        dataset=rows,
        params=run,
        contract=meaning,
        identity={"start": begun.training.weights_digest},
        work=folder,
        team=team,
        offload=run.adapter.offload,
    )


def _stored(folder):
    return FileSystemReader(folder).read_metadata().state_dict_metadata


def moved(network):
    return sharding.whole(averages.moving(network), leads=True)


def published(folder, made, outcome, start, base):
    begun = teachers.load(start)

    def write(beside, found, where, training):
        change = adapters.trained(found, made.params.adapter.alpha)
        merging.write_trained(beside, begun, change, made.contract, where, training)

    digest = begun.training.weights_digest
    trainings.publish(
        folder, made, outcome, stage="tune@tiny", objective="flow_matching", base=str(base), start=digest, write=write
    )
    return folder


@pytest.mark.parametrize("kind", ["base", "halved"])
def test_it_begins_at_exactly_the_loss_of_its_start(tmp_path, rows, team, kind, request):
    start = request.getfixturevalue(kind)
    made = job(tmp_path / "work", rows, start, team, steps=1)
    there = teachers.load(start, torch.float32).transformer
    ours, theirs = tiny.losses_beside(made, there)
    assert torch.equal(ours, theirs)


def test_only_the_adapter_moves_and_in_float32(tmp_path, halved, rows, team):
    made = job(
        tmp_path / "work", rows, halved, team, checkpoint_every=6, keep={"last": 1, "best": 0, "milestones": None}
    )
    frozen = {name: p.detach().clone() for name, p in made.network.named_parameters() if not p.requires_grad}
    begun = {name: p.detach().clone() for name, p in made.network.named_parameters() if p.requires_grad}
    assert {name.rpartition(".lora_")[0] for name in begun} == {
        f"blocks.{number}.{module}" for number in range(len(made.network.blocks)) for module in PER_BLOCK
    }
    engine.run(made)
    whole = sharding.gathered(made.network, leads=True)
    kinds = {torch.float32: set[str](), torch.bfloat16: set[str]()}
    for name, p in made.network.named_parameters():
        kinds[p.dtype].add(name)
        if not p.requires_grad:
            assert torch.equal(whole[name], frozen[name]), name
            assert p.grad is None
    after = moved(made.network)
    assert not any(torch.equal(after[name], tensor) for name, tensor in begun.items())
    assert begun.keys() <= kinds[torch.float32]
    assert "blocks.0.attn1.to_q.base_layer.weight" in kinds[torch.bfloat16]
    assert "condition_embedder.time_embedder.linear_1.weight" in kinds[torch.float32]  # as diffusers keeps it
    stored = _stored(tmp_path / "work" / "step-00000006")
    assert {name for name in stored if name.startswith(("network.", "average."))} == {
        f"{group}.{name}" for group in ("network", "average") for name in begun
    }


def test_what_is_stored_wider_than_it_is_computed_with_is_rounded_once(tmp_path, base, rows):
    held, computed = (starts.frozen(base, rows.space, BUCKETS, dtype) for dtype in (torch.bfloat16, torch.float32))
    for (name, rounded), whole in zip(
        held.transformer.named_parameters(), computed.transformer.parameters(), strict=True
    ):
        assert whole.dtype == torch.float32
        assert torch.equal(rounded.float(), whole.to(rounded.dtype).float()), name
    assert held.transformer.get_parameter("blocks.0.ffn.net.2.weight").dtype == torch.bfloat16


def test_rounding_once_is_what_rounding_at_each_use_comes_to(tmp_path, base, rows, team):
    compute = {**COMPUTE, "dtype": "bfloat16"}
    narrow = job(tmp_path / "narrow", rows, base, team, compute=compute)
    wide = job(tmp_path / "wide", rows, base, team, compute=compute)
    whole = teachers.load(base, torch.float32).transformer.state_dict()
    for name, parameter in wide.network.named_parameters():
        if not parameter.requires_grad:
            parameter.data = whole[name.replace(".base_layer", "")].clone()
    assert {p.dtype for p in wide.network.parameters()} == {torch.float32}
    assert same(moved(engine.run(narrow).network), moved(engine.run(wide).network))


@pytest.fixture
def rounded(tmp_path, halved):
    """The same with matrices of blocks that were rounded to eight bits before, as files of bfloat16."""
    root, eighth = tmp_path / "published", torch.float8_e4m3fn
    tensors = folders.read(root)
    matrix = re.compile(r"blocks\..*(attn\.[qkvo]|ffn\.[02])\.weight")
    named = {name for name in tensors if matrix.fullmatch(name)}
    assert len(named) == 2 * (4 + 4 + 2)
    folders.shards(root, {name: t.to(eighth).bfloat16() if name in named else t for name, t in tensors.items()})
    fetching.fetch(str(root), tmp_path / "rounded")
    return tmp_path / "rounded"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("offload", [False, True])
def test_beside_weights_of_eight_bits_it_learns_what_it_does_beside_the_rounded_ones(
    tmp_path, halved, rounded, rows, team, dtype, offload
):
    compute = {**COMPUTE, "dtype": dtype}
    before = job(tmp_path / "before", rows, rounded, team, compute=compute)
    narrow = {**ADAPTER, "frozen_dtype": "float8_e4m3fn", "offload": offload}
    held = job(tmp_path / "held", rows, halved, team, compute=compute, adapter=narrow)
    kinds = {name: p.dtype for name, p in held.network.named_parameters() if not p.requires_grad}
    assert {name for name, kind in kinds.items() if kind == torch.float8_e4m3fn} == {
        f"blocks.{number}.{module}.weight"
        for number in range(len(held.network.blocks))
        for module in _with_base_layers(held.network, number)
    }
    expected = moved(engine.run(before).network)
    assert same(expected, moved(engine.run(held).network))
    exact = moved(engine.run(job(tmp_path / "exact", rows, halved, team, compute=compute)).network)
    assert not same(expected, exact)


def _with_base_layers(network, number):
    """Names in a block of the matrices that may be in eight bits, those beside which an adapter lies too."""
    block = network.blocks[number]
    beside = {name.removesuffix(".base_layer") for name, _ in block.named_modules() if name.endswith(".base_layer")}
    each = [f"attn{n}.{one}" for n in (1, 2) for one in ("to_q", "to_k", "to_v", "to_out.0")]
    return {f"{name}.base_layer" if name in beside else name for name in [*each, "ffn.net.0.proj", "ffn.net.2"]}


def test_the_model_holds_its_start_as_it_was_stored_whatever_was_held(tmp_path, halved, rows, team):
    made = job(tmp_path / "work", rows, halved, team, adapter={**ADAPTER, "frozen_dtype": "float8_e4m3fn"})
    folder = published(tmp_path / "tuned", made, engine.run(made), halved, halved)
    adapting.merge(origins.find(halved), folder / merging.ADAPTER, tmp_path / "merged")
    ours, theirs = (folders.read(tmp_path / name / "transformer") for name in ("tuned", "merged"))
    assert folders.same_bits(ours, theirs)
    stored = teachers.load(halved).transformer.state_dict()
    assert torch.equal(ours["blocks.0.ffn.net.2.weight"], stored["blocks.0.ffn.net.2.weight"])
    assert ours["blocks.0.ffn.net.2.weight"].dtype == torch.bfloat16


def test_numbers_that_eight_bits_do_not_reach_are_refused(tmp_path, base, rows):
    root = tmp_path / "published"
    tensors = folders.read(root)
    tensors["blocks.1.ffn.0.weight"][0, 0] = -449.0
    folders.shards(root, tensors)
    fetching.fetch(str(root), tmp_path / "large")
    with pytest.raises(Refused, match=r"blocks\.1\.ffn\.net\.0\.proj\.weight has numbers up to 449.*ends at 448"):
        starts.frozen(tmp_path / "large", rows.space, BUCKETS, torch.float32, float8=True)
    starts.frozen(tmp_path / "large", rows.space, BUCKETS, torch.float32)


def test_looking_at_it_does_not_change_it(tmp_path, base, rows, team):
    straight = moved(engine.run(job(tmp_path / "one", rows, base, team)).network)
    looked_at = engine.run(job(tmp_path / "two", rows, base, team, validate_every={"steps": 1}))
    assert same(straight, moved(looked_at.network))
    assert len(looked_at.progress.validation) == 6


def test_what_is_validated_and_kept_is_the_average(tmp_path, base, rows, team):
    made = job(tmp_path / "work", rows, base, team, steps=1, validate_every={"steps": 1}, ema_decay=0.9)
    begun = {name: p.detach().clone() for name, p in made.network.named_parameters() if p.requires_grad}
    seen: list[dict[str, torch.Tensor]] = []

    def watched(network, *given):
        if not network.training:
            seen.append(moved(network))
        return made.objective(network, *given)

    kept = moved(engine.run(dataclasses.replace(made, objective=watched)).network)
    plain = moved(engine.run(job(tmp_path / "plain", rows, base, team, steps=1, ema_decay=0.0)).network)
    assert all(same(kept, one) for one in seen)
    assert seen
    for name, tensor in begun.items():  # the first decay is 1 / 10
        assert torch.allclose(kept[name], tensor.lerp(plain[name], 0.9), atol=1e-6), name


def test_activations_made_again_give_the_same_bits(tmp_path, base, rows, team):
    straight = moved(engine.run(job(tmp_path / "one", rows, base, team)).network)
    again = engine.run(job(tmp_path / "two", rows, base, team, compute={**COMPUTE, "recompute": True}))
    assert same(straight, moved(again.network))


def test_weights_that_wait_on_the_host_come_to_the_same_bits(tmp_path, halved, rows, team, monkeypatch):
    """On a CPU host and device are one: that every part is gathered from the host is seen, not what that saves."""
    straight = moved(engine.run(job(tmp_path / "one", rows, halved, team)).network)
    policies: list[object] = []

    def seen(module, *, offload_policy, **others):
        policies.append(offload_policy)
        return fully_shard(module, offload_policy=offload_policy, **others)

    monkeypatch.setattr(sharding, "fully_shard", seen)
    made = job(tmp_path / "two", rows, halved, team, adapter={**ADAPTER, "offload": True}, validate_every={"steps": 2})
    assert same(straight, moved(engine.run(made).network))
    assert len(policies) > len(made.network.blocks)
    assert all(isinstance(policy, CPUOffloadPolicy) for policy in policies)


@pytest.mark.parametrize("bits", [None, 8])
def test_stopped_and_gone_on_it_is_the_same_bytes(tmp_path, base, rows, team, bits, monkeypatch):
    monkeypatch.setattr(eight_bit, "SMALLEST", 1)
    optimizer = {**tiny.train_params().optimizer.model_dump(), "muon_rate": None, "state_bits": bits}
    whole = job(tmp_path / "whole", rows, base, team, optimizer=optimizer)
    straight = published(tmp_path / "models" / "straight", whole, engine.run(whole), base, base)
    with pytest.raises(Preempted):
        engine.run(stopped_at(job(tmp_path / "broken", rows, base, team, optimizer=optimizer), 3))
    [saved] = (tmp_path / "broken").glob("step-*")
    kinds = {entry.properties.dtype for entry in _stored(saved).values() if isinstance(entry, TensorStorageMetadata)}
    assert (torch.uint8 in kinds) == (bits == 8)
    again = job(tmp_path / "broken", rows, base, team, optimizer=optimizer)
    gone_on = published(tmp_path / "models" / "again", again, engine.run(again), base, base)
    assert digests.of_folder(gone_on) == digests.of_folder(straight)


def test_another_seed_draws_other_matrices_and_the_global_state_stays(base, rows):
    drawn = []
    for seed in (0, 0, 1):
        network = starts.frozen(base, rows.space, BUCKETS, torch.float32).transformer
        before = torch.random.get_rng_state()
        adapters.add(network, adapter(), seed=seed, where="start")
        assert torch.equal(before, torch.random.get_rng_state())
        drawn.append({name: p for name, p in network.named_parameters() if p.requires_grad})
    assert same(drawn[0], drawn[1])
    assert not same(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", ["base", "halved"])
def test_it_ends_in_a_model_that_is_the_start_with_the_adapter_merged_in(tmp_path, rows, team, kind, request):
    start = request.getfixturevalue(kind)
    made = job(tmp_path / "work", rows, start, team)
    outcome = engine.run(made)
    change = lora_files.read(published(tmp_path / "tuned", made, outcome, start, start) / merging.ADAPTER)
    found = moved(outcome.network)
    assert {module: (c.rank, c.alpha) for module, c in change.items()} == {
        f"blocks.{number}.{module}": (2, 4.0) for number in range(len(made.network.blocks)) for module in PER_BLOCK
    }
    assert torch.equal(change["blocks.1.attn2.to_v"].up, found["blocks.1.attn2.to_v.lora_B.adapter.weight"])
    adapting.merge(origins.find(start), tmp_path / "tuned" / merging.ADAPTER, tmp_path / "merged")
    ours, theirs = (folders.read(tmp_path / name / "transformer") for name in ("tuned", "merged"))
    assert folders.same_bits(ours, theirs)
    network = starts.frozen(start, rows.space, BUCKETS, torch.float32).transformer
    assert not same({n: t.float() for n, t in ours.items()}, {n: t.float() for n, t in network.state_dict().items()})


def test_its_records_say_what_was_trained_and_what_it_is_made_of(tmp_path, base, rows, team):
    made = job(tmp_path / "work", rows, base, team, shift=4.0)
    tuned = models.load(published(tmp_path / "tuned", made, engine.run(made), base, base))
    start = teachers.load(base)
    assert (tuned.training.stage, tuned.training.steps_done, tuned.training.complete) == ("tune@tiny", 6, True)
    assert tuned.training.start_digest == start.training.weights_digest
    assert tuned.contract == made.contract
    counts = tuned.training.parameters
    numbers = 2 * sum(c.shape[0] + c.shape[1] for c in lora_files.read(tuned.folder / merging.ADAPTER).values())
    assert counts["trainable"] == numbers
    assert counts["frozen_transformer"] == sum(p.numel() for p in start.transformer.parameters())
    assert counts["total"] == numbers + counts["frozen_transformer"] + 7 + 5
    record = merging.earlier(tuned.folder)
    assert record is not None
    assert (record.model, record.model_weights_digest, record.lora, record.scale, record.matrices) == (
        "base",
        start.training.weights_digest,
        "adapter.safetensors",
        1.0,
        len(PER_BLOCK) * len(start.transformer.blocks),
    )
    assert record.lora_digest == digests.of_file(tuned.folder / merging.ADAPTER)
    said = lora_files.facts(tuned.folder / merging.ADAPTER)
    assert said[merging.START] == start.training.weights_digest
    assert contract.METADATA in said


def test_it_can_be_tuned_again_and_says_so(tmp_path, base, rows, team):
    first = job(tmp_path / "work", rows, base, team, steps=2)
    once = published(tmp_path / "once", first, engine.run(first), base, base)
    second = job(tmp_path / "again", rows, once, team, steps=2)
    twice = merging.earlier(published(tmp_path / "twice", second, engine.run(second), once, base))
    assert twice is not None
    assert twice.earlier == merging.earlier(once)


def test_diffusers_draws_with_the_adapter_as_with_the_merged_model(tmp_path, tiny_base, tiny_model, team):
    from diffusers import WanPipeline

    rows = tiny.data(tmp_path, latent_space=models.facts(tiny_model)[0].latent_space)
    fast = {"muon_rate": None, "adamw_rate": 0.03, "weight_decay": 0.0, "warmup_steps": 0, "schedule": "constant"}
    made = job(tmp_path / "work", rows, tiny_model, team, optimizer={**fast, "clip": 1.0}, ema_decay=0.0)
    tuned = models.load(published(tmp_path / "tuned", made, engine.run(made), tiny_model, tiny_base))
    export.export(models.load(tiny_model), tiny_base, tmp_path / "pipeline")
    pipeline: Any = WanPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    generator = generation.Generator(tuned, codec.Codec(tiny_base))
    draw = generation.Draw(seed=3, frames=1, height=16, width=16)
    call = export.call(*tuned.sampled(), tuned.contract.latent_space.text_length)
    call |= {"num_frames": 1, "height": 16, "width": 16, "latents": generator.noise(1, draw), "output_type": "latent"}
    plain = pipeline("seven", return_dict=False, **call)[0]
    pipeline.load_lora_weights(tuned.folder, weight_name=merging.ADAPTER)
    theirs = pipeline("seven", return_dict=False, **call)[0]
    pipeline.unload_lora_weights()
    pipeline.transformer.load_state_dict(tuned.transformer.state_dict())
    ours = pipeline("seven", return_dict=False, **call)[0]
    assert torch.linalg.norm(ours - theirs) < 1e-5 * torch.linalg.norm(ours)
    assert torch.linalg.norm(ours - plain) > 1e-2 * torch.linalg.norm(ours)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"targets": ["to_q", "to_x"]}, r"adapter\.targets: 'to_x' is no matrix of start.* there are .*attn1\.to_q"),
        ({"targets": ["patch_embedding"]}, r"'patch_embedding' is no matrix of start"),
        ({"targets": ["o_q"]}, r"'o_q' is no matrix"),
        ({"rank": 500}, r"adapter\.rank 500: blocks\.0\.attn1\.to_q of start is .*so no change of it has a rank above"),
    ],
)
def test_what_cannot_be_an_adapter_is_refused(base, rows, changed, says):
    network = starts.frozen(base, rows.space, BUCKETS, torch.float32).transformer
    with pytest.raises(WrongUse, match=says):
        adapters.add(network, adapter(**changed), seed=0, where="start")
    assert not any(name.endswith("base_layer.weight") for name in network.state_dict())


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"rank": 0}, "adapter.rank' has the value 0"), ({"targets": []}, "adapter.targets"), ({"alpha": 0}, "alpha")],
)
def test_params_that_say_nothing_are_refused(changed, says):
    with pytest.raises(WrongUse, match=says):
        adapter(**changed)


def test_starts_that_make_no_sense_are_refused_as_without_an_adapter(tmp_path, tiny_base, tiny_student, family):
    frozen = functools.partial(starts.frozen, buckets=BUCKETS, computed=torch.float32)
    with pytest.raises(Refused, match=r"guidance 2 is folded .*tune the teacher it learned from"):
        frozen(tiny_student, models.facts(tiny_student)[0].latent_space)
    fetching.fetch(str(folders.native(tmp_path / "model", tiny_base, experts=2)), tmp_path / "two")
    with pytest.raises(Refused, match="two experts"):
        frozen(tmp_path / "two", tiny.space())


def test_params_without_an_adapter_are_what_they_were():
    plain = tiny.tuned_params(Path("start"))
    assert "adapter" not in plain.model_dump(mode="json")
    assert contract.digest(plain) == contract.digest(tiny.tuned_params(Path("start"), adapter=None))
    assert contract.digest(plain) != contract.digest(tiny.tuned_params(Path("start"), adapter=ADAPTER))
    assert "frozen_dtype" not in adapter().model_dump(mode="json")
    assert contract.digest(adapter(frozen_dtype=None)) == contract.digest(adapter())
