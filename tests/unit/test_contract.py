import pytest

from frostline import contract
from frostline.errors import Refused, WrongUse
from tests import tiny


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
