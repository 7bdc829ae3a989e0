import io
import json
import os
import shlex
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import captioning, media, storage
from frostline.captioning import programs
from frostline.errors import WrongUse
from frostline.media.kinds import Medium
from frostline.params.sources import CommandCaptioner, ModelCaptioner
from frostline.sources.entries import Entry
from tests.waiting import until

ASKED = "asked.txt"  # what a program was asked, one id a line
HONEST = """
    digest = hashlib.md5(open(asked["path"], "rb").read()).hexdigest()
    say(id=asked["id"], caption=f"{asked['medium']} {digest}")
"""


def program(folder, answer, before="", after=""):
    """A captioner of the user's, in Python: ``answer`` is done for each line."""
    text = f"""
import hashlib, json, os, signal, sys, time
def say(**words):
    print(json.dumps(words), flush=True)
{before}
for line in sys.stdin:
    asked = json.loads(line)
    with open({str(folder / ASKED)!r}, "a") as file:
        print(asked["id"], file=file)
{answer}
{after}
"""
    path = folder / "captioner.py"
    path.write_text(text)
    return CommandCaptioner(command=(sys.executable, str(path)))


def asked(folder):
    path = folder / ASKED
    return sorted(path.read_text().split()) if path.exists() else []


def entry(root, name, medium: Medium | None = "image"):
    return Entry(
        locator=name,
        file=name,
        blobs=(storage.blob(str(root), name),),
        medium=medium,
        item=None,
        captions=(),
        attributes="{}",
    )


@pytest.fixture
def root(tmp_path):
    for number in range(5):
        picture = np.full((8, 8, 3), 40 * number, dtype=np.uint8)
        media.write_png(tmp_path / "media" / f"{number}.png", picture)
    return tmp_path / "media"


def entries(root, count=5):
    return [entry(root, f"{number}.png") for number in range(count)]


def md5(data):
    import hashlib

    return hashlib.md5(data).hexdigest()  # noqa: S324


def fill(found, params, tmp_path, **changed):
    return captioning.fill(found, params, tmp_path / "work", str(tmp_path / "media"), **changed)


def refused(found, params, tmp_path, *words):
    with pytest.raises(WrongUse) as caught:
        fill(found, params, tmp_path)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_every_item_is_asked_once_and_found_again(root, tmp_path):
    params = program(tmp_path, HONEST)
    seen = []
    captions = fill(entries(root), params, tmp_path, progress=lambda items: seen.append(len(items)) or items)
    assert captions == {f"{n}.png": f"image {md5((root / f'{n}.png').read_bytes())}" for n in range(5)}
    assert seen == [5]
    assert fill(entries(root), params, tmp_path) == captions
    assert asked(tmp_path) == [f"{n}.png" for n in range(5)]


def test_other_bytes_and_another_command_are_asked_anew(root, tmp_path):
    params = program(tmp_path, HONEST)
    first = fill(entries(root), params, tmp_path)
    (root / "2.png").write_bytes((root / "3.png").read_bytes() + b"\0")
    second = fill(entries(root), params, tmp_path)
    assert {name for name in first if first[name] != second[name]} == {"2.png"}
    assert len(asked(tmp_path)) == 6
    fill(entries(root), CommandCaptioner(command=(*params.command, "again")), tmp_path)
    assert len(asked(tmp_path)) == 11


def test_a_program_of_the_project_that_changed_is_another_command(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word, times in (("one", 1), ("one", 1), ("two", 2)):
        program(tmp_path, f"    say(id=asked['id'], caption={word!r})")
        params = CommandCaptioner(command=(sys.executable, "captioner.py", "x" * 300))
        assert fill(entries(root, 1), params, tmp_path) == {"0.png": word}
        assert len(asked(tmp_path)) == times


def test_the_same_bytes_elsewhere_are_not_asked_again(root, tmp_path):
    params = program(tmp_path, HONEST)
    first = fill(entries(root), params, tmp_path)
    (root / "4.png").rename(root / "moved.png")
    os.utime(root / "1.png", ns=(1, 1))
    moved = [*entries(root, 4), entry(root, "moved.png")]
    again = fill(moved, params, tmp_path)
    assert again["moved.png"] == first["4.png"]
    assert len(asked(tmp_path)) == 5
    for number in range(4):
        (root / f"{number}.png").write_bytes(b"")  # with stamps known, nothing is opened
    assert fill(moved, params, tmp_path) == again


def test_a_program_that_dies_leaves_what_it_said_and_a_second_run_goes_on(root, tmp_path):
    dying = f"""
    if len(open({str(tmp_path / ASKED)!r}).read().split()) == 3:
        print("out of memory", file=sys.stderr)
        sys.exit(3)
    say(id=asked["id"], caption="a " + asked["id"])
"""
    params = program(tmp_path, dying)
    message = refused(entries(root), params, tmp_path, shlex.quote(params.command[1]), "exit code 3", "out of memory")
    assert "again" in message
    captions = fill(entries(root), params, tmp_path)
    assert captions == {f"{n}.png": f"a {n}.png" for n in range(5)}
    assert asked(tmp_path) == sorted([*(f"{n}.png" for n in range(5)), "2.png"])


def test_a_half_line_of_a_killed_run_is_cut_off_and_a_damaged_one_refused(root, tmp_path):
    params = program(tmp_path, HONEST)
    first = fill(entries(root), params, tmp_path)
    table = tmp_path / "work" / captioning.TABLE
    table.write_bytes(table.read_bytes()[:-7])
    assert fill(entries(root), params, tmp_path) == first
    assert len(asked(tmp_path)) == 6
    assert [json.loads(line)["caption"] for line in table.read_text().splitlines()] == [
        first[f"{number}.png"] for number in range(5)
    ]
    table.write_bytes(b"{}\n" + table.read_bytes())
    refused(entries(root), params, tmp_path, f"{captioning.TABLE}:1", "damaged")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("    say(id='other', caption='x')", ("'other'", "not asked")),
        ("    say(id=asked['id'], caption='x'); say(id=asked['id'], caption='y')", ("'0.png'", "answered before")),
        ("    print('loading', flush=True)", ("not JSON", "'loading", "stderr")),
        ("    say(id=asked['id'])", ('"caption": "..."',)),
        ("    say(id=asked['id'], caption=None)", ('"caption": "..."',)),
        ("    say(id=7, caption='x')", ("the id 7",)),
        ("    say(id=asked['id'], caption='\\ud800')", ("not JSON in UTF-8",)),
        ("    print(end='x' * (1 << 20), flush=True)", ("1048576 bytes",)),
        ("    sys.exit()", ("exit code 0", "no notes")),
        ("    os.kill(os.getpid(), signal.SIGSEGV)", ("SIGSEGV",)),
        ("    print('\\n'.join(map(str, range(99))), file=sys.stderr); sys.exit(1)", ("exit code 1", "\n98")),
    ],
)
def test_what_a_program_does_wrong_is_named(root, tmp_path, answer, words):
    message = refused(entries(root, 2), program(tmp_path, answer), tmp_path, "captioner", *words)
    assert "\n88\n" not in message
    assert not [path for path in (tmp_path / "work").iterdir() if path.is_dir()]


def test_a_program_that_hangs_is_ended_with_what_it_started(root, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "PATIENCE", 1.0)
    child = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, file=sys.stderr, flush=True)"
    message = refused(
        entries(root), program(tmp_path, "    time.sleep(60)", before=child), tmp_path, "no answer for 1 s"
    )
    started = int(message.split()[-1])
    until(lambda: not _runs(started), 10)


def _runs(process):
    """Is it there, and not a dead process that nobody has asked about?"""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_program_that_is_not_there_is_named(root, tmp_path):
    params = CommandCaptioner(command=("no-such-captioner", "two\nlines", "x" * 300))
    assert "\n" not in refused(entries(root), params, tmp_path, "captioner `no-such-captioner 'two lines' xxx")


def test_an_empty_caption_leaves_the_item_without_and_is_asked_again(root, tmp_path):
    params = program(tmp_path, "    say(id=asked['id'], caption='' if asked['id'] == '1.png' else ' a\\nb ')")
    assert fill(entries(root, 3), params, tmp_path) == {"0.png": "a\nb", "2.png": "a\nb"}
    fill(entries(root, 3), params, tmp_path)
    assert asked(tmp_path).count("1.png") == 2


def test_a_program_may_read_ahead_and_answer_in_any_order(root, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "AHEAD", 2)
    pairs = """
    held = globals().setdefault("held", [])
    held.append(asked["id"])
    if len(held) == 2:
        for name in held[::-1]:
            say(id=name, caption="a " + name)
        held.clear()
"""
    params = program(tmp_path, pairs, after="for name in held: say(id=name, caption='the last')")
    expected = {f"{n}.png": f"a {n}.png" for n in range(4)} | {"4.png": "the last"}
    assert fill(entries(root), params, tmp_path) == expected


def test_members_of_tars_are_given_as_files_that_go_after_the_answer(root, tmp_path):
    data = (root / "3.png").read_bytes()
    with tarfile.open(root / "shard.tar", "w") as tar:
        for name in ("a.png", "b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with tarfile.open(root / "shard.tar") as tar:
        places = [member.offset_data for member in tar.getmembers()]
    shard = storage.blob(str(root), "shard.tar")
    found = [
        Entry(
            locator=f"shard.tar/{n}.png",
            file="shard.tar",
            blobs=(shard.part(place, len(data)),),
            medium=None,
            item=None,
            captions=(),
            attributes="{}",
        )
        for n, place in enumerate(places)
    ]
    paths = tmp_path / "paths.txt"
    params = program(tmp_path, f"    print(asked['path'], file=open({str(paths)!r}, 'a'))\n{HONEST}")
    assert fill(found, params, tmp_path) == {f"shard.tar/{n}.png": f"image {md5(data)}" for n in range(2)}
    for path in paths.read_text().split():
        assert path.endswith(".png")
        assert not Path(path).exists()


def test_a_frame_folder_is_given_as_a_folder(root, tmp_path):
    for number in range(3):
        media.write_png(root / "clip" / f"{number}.png", np.full((8, 8, 3), number, dtype=np.uint8))
    blobs = tuple(storage.blob(str(root), f"clip/{number}.png") for number in range(3))
    clip = Entry(locator="clip", file="clip", blobs=blobs, medium="frames", item=None, captions=(), attributes="{}")
    params = program(tmp_path, "    say(id=asked['id'], caption=' '.join(sorted(os.listdir(asked['path']))))")
    assert fill([clip], params, tmp_path) == {"clip": "0.png 1.png 2.png"}


def test_what_cannot_be_read_is_left_out_and_stops_nobody(root, tmp_path):
    (root / "1.png").write_bytes(b"no picture")
    found = [entry(root, f"{number}.png", medium=None) for number in range(3)]
    (root / "0.png").unlink()
    assert fill(found, program(tmp_path, HONEST), tmp_path).keys() == {"2.png"}


# A vision-language model


WORDS = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "describe", "USER", "red", "green", "blue", "dark", "light")


@pytest.fixture(scope="session")
def vision(tmp_path_factory):
    """A LLaVA of random weights, in the layout it would have on a disk."""
    import tokenizers
    import torch
    from tokenizers import models, pre_tokenizers
    from transformers import (
        CLIPImageProcessorPil,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    backend = tokenizers.Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, additional_special_tokens=["<image>"], **special)
    template = (
        "{% for message in messages %}USER {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
        tokenizer=tokenizer,
        patch_size=4,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="full",
        chat_template=template,
    )
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    settings = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 8, "patch_size": 4, **sizes},
        text_config=LlamaConfig(vocab_size=len(WORDS), bos_token_id=1, eos_token_id=2, pad_token_id=0, **sizes),
        image_token_index=4,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    folder = tmp_path_factory.mktemp("vision")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(settings)
        for weight in model.parameters():
            weight.data.normal_(std=0.6)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_a_model_folder_captions_images_and_the_middle_of_clips(vision, root, tmp_path):
    params = ModelCaptioner(model=str(vision), prompt="describe", max_new_tokens=4)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        media.write_png(root / "clip" / f"{number}.png", picture)
    media.write_png(root / "middle.png", pictures[1])
    blobs = tuple(storage.blob(str(root), f"clip/{number}.png") for number in range(3))
    clip = Entry(locator="clip", file="clip", blobs=blobs, medium="frames", item=None, captions=(), attributes="{}")
    found = [clip, entry(root, "middle.png"), entry(root, "0.png")]
    captions = fill(found, params, tmp_path)
    assert captions["clip"] == captions["middle.png"]
    assert captions["0.png"] != captions["clip"]
    for caption in captions.values():
        assert set(caption.split()) <= {"<unk>", *WORDS[5:]}
        assert 1 <= len(caption.split()) <= 4
    assert fill(found, params, tmp_path) == captions


def test_a_folder_without_a_model_is_named(root, tmp_path):
    for folder, says in (("missing", "no such folder"), ("empty", "not a vision-language model")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        params = ModelCaptioner(model=str(tmp_path / folder), prompt="describe", max_new_tokens=4)
        refused(entries(root, 1), params, tmp_path, folder, says)
