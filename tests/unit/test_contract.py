import json

import pytest

from frostline import contract, digests, records, trainings
from frostline.errors import Refused, WrongUse
from frostline.wan import declaring, families
from tests import conftest, tiny


def test_differences_name_field_ours_and_theirs_in_nested_records():
    ours = contract.Contract(latent_space=tiny.space(), process=tiny.process())
    theirs = contract.Contract(latent_space=tiny.space(vae_digest="c" * 32), process=tiny.process(shift=5.0))
    assert contract.differences(ours, theirs) == [
        ("latent_space.vae_digest", "a" * 32, "c" * 32),
        ("process.shift", 3.0, 5.0),
    ]
    assert contract.differences(ours, ours) == []


def test_a_missing_part_is_a_difference():
    ours = contract.Contract(latent_space=tiny.space(), process=tiny.process())
    assert [found.field for found in contract.differences(ours, contract.Contract(latent_space=tiny.space()))] == [
        "process"
    ]


def test_a_difference_is_refused_with_both_sides_and_the_remedy():
    contract.require_same(tiny.space(), tiny.space(), ours_is="a", theirs_is="b", remedy="none")
    with pytest.raises(Refused) as caught:
        contract.require_same(
            tiny.space(), tiny.space(text_length=512), ours_is="cache x", theirs_is="model y", remedy="cache again"
        )
    for word in ("text_length: 6 (cache x) against 512 (model y)", "cache again"):
        assert word in str(caught.value)


def test_what_was_saved_is_what_is_loaded(tmp_path):
    whole = contract.Contract(latent_space=tiny.space(), process=tiny.process(buckets=((1, 16, 16),)))
    contract.save(whole, tmp_path)
    assert contract.load(tmp_path) == whole
    assert contract.load(tmp_path).digest == whole.digest
    assert contract.Contract(latent_space=tiny.space()).digest != whole.digest


def test_a_negative_prompt_is_part_of_what_is_said_and_unsaid_it_changes_no_digest(tmp_path):
    plain = declaring.sampling(families.FAMILIES[0])
    said = plain.model_dump(mode="json")
    assert "negative_prompt" not in said
    assert contract.digest(plain) == digests.of_json({name: said[name] for name in said})
    whole = contract.Contract(latent_space=tiny.space(), process=tiny.process(), sampling=plain)
    assert whole.negative_prompt == "" == contract.Contract(latent_space=tiny.space()).negative_prompt
    steered = trainings.steered(whole, "blurred")
    assert steered.negative_prompt == "blurred"
    assert contract.differences(whole, steered) == [("sampling.negative_prompt", None, "blurred")]
    assert len({one.digest for one in (whole, steered, trainings.steered(whole, "dull"))}) == 3
    assert trainings.steered(whole, None) == whole
    contract.save(steered, tmp_path)
    assert contract.load(tmp_path) == steered


def test_a_contract_with_an_unknown_word_is_refused(tmp_path):
    (tmp_path / contract.FILE).write_text('{"latent_space": {}, "sampler": "ddim"}')
    with pytest.raises(WrongUse, match="unknown key 'sampler'"):
        contract.load(tmp_path)


def test_shapes_of_images_and_clips():
    assert tiny.space().shape((1, 16, 24)) == (4, 1, 2, 3)
    assert tiny.space().shape((9, 8, 8)) == (4, 3, 1, 1)


@pytest.mark.parametrize(
    ("bucket", "says"),
    [((4, 16, 16), "use 1 or 5"), ((6, 16, 16), "use 5 or 9"), ((0, 16, 16), "0 frames"), ((1, 12, 16), "12x16")],
)
def test_sizes_the_vae_would_cut_are_refused(bucket, says):
    with pytest.raises(WrongUse, match=says):
        tiny.space().shape(bucket)


def sampling(**changed):
    return records.parse(contract.Sampling, {**conftest.EXTERNAL, **changed}, origin="a test")


def test_a_guidance_of_one_network_is_stated_as_it_always_was():
    """Contracts, weights and digests that were made before there were two experts stay what they are."""
    one = contract.Contract(latent_space=tiny.space(), process=tiny.process(), sampling=sampling())
    assert one.model_dump(mode="json")["sampling"].keys() == conftest.EXTERNAL.keys() | {"solver_order"}
    assert contract.digest(sampling()) == "37485d6fce43cc45e53cd844a05ef4cb"
    assert sampling().scales == (2.0,)


def test_two_experts_have_a_guidance_each_and_keep_it(tmp_path):
    two = contract.Contract(
        latent_space=tiny.space(),
        process=tiny.process(expert_boundary=0.875),
        sampling=sampling(guidance=4.0, guidance_low=3.0),
    )
    contract.save(two, tmp_path)
    assert contract.load(tmp_path) == two
    assert two.sampling is not None
    assert two.sampling.scales == (4.0, 3.0)
    assert contract.digest(two.sampling) != contract.digest(sampling(guidance=4.0))
    assert contract.differences(sampling(guidance_low=3.0), sampling()) == [("guidance_low", 3.0, None)]


@pytest.mark.parametrize(
    ("process", "sampled", "says"),
    [
        ({"expert_boundary": 0.875}, {}, r"two experts.*sampling\.guidance_low.*is missing: add it"),
        ({}, {"guidance_low": 3.0}, r"guidance_low 3 .*there is none without process\.expert_boundary: leave it out"),
        ({"expert_boundary": 875.0}, {"guidance_low": 3.0}, "expert_boundary 875 is no sigma between 0 and 1"),
    ],
)
def test_a_guidance_belongs_to_an_expert_and_an_expert_to_a_boundary(tmp_path, process, sampled, says):
    whole = contract.Contract(latent_space=tiny.space(), process=tiny.process(), sampling=sampling())
    values = whole.model_dump(mode="json")
    values["process"] |= process
    values["sampling"] |= sampled
    (tmp_path / contract.FILE).write_text(json.dumps(values))
    with pytest.raises(WrongUse, match=says):
        contract.load(tmp_path)


def test_a_student_of_two_experts_is_one_network_with_two_guidances_folded_in():
    folded = sampling(guidance=4.0, guidance_low=3.0, guidance_form="folded")
    made = contract.Contract(latent_space=tiny.space(), process=tiny.process(), sampling=folded)
    assert made.sampling is not None
    assert made.sampling.scales == (4.0, 3.0)
