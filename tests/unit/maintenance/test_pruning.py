import collections
import shutil

import pytest

from frostline import files
from frostline.errors import Refused
from frostline.maintenance import pruning
from tests.unit.caching.rows import row
from tests.unit.maintenance.project import IMAGES, ROWS, SETTINGS

OTHERS = [row(n, caption="other words") for n in range(20, 26)]


def unused(project):
    return pruning.find(project.sources, project.latents, project.manifests, SETTINGS, project.pool)


def kinds(project):
    return dict(collections.Counter(one.kind for one in unused(project)))


def pruned(project):
    pruning.remove(unused(project), project.pool)
    assert unused(project) == []


def test_a_pool_of_which_all_is_used_loses_nothing(made):
    assert unused(made) == []


def test_what_a_source_had_that_is_gone_goes_and_the_others_stay_whole(project, made):
    project.encode("cats", OTHERS)
    project.sources = ["tiny"]
    assert kinds(project) == {"items": 1, "captions": 1, "text": 1, "sources": 1, "digests": 5}
    pruned(project)
    assert project.lines("tiny", deep=True) == []
    assert project.encode() == []
    assert project.digest() == made.digest()
    assert project.encode("cats", OTHERS) == [f"item-{n}" for n in range(20, 26)]


def test_bytes_that_a_cache_still_has_are_not_freed(project):
    project.encode("cats", OTHERS)
    parts = [one for one in unused(project) if one.kind == "items"]
    assert all(one.size > 0 and one.freed == 0 for one in parts)
    shutil.rmtree(project.latents / "cats")
    assert all(one.freed == one.size for one in unused(project))


def test_parts_that_were_superseded_and_bear_rows_that_nobody_wants_go(project, made):
    project.encode(rows=[*ROWS, *OTHERS])
    project.encode()
    assert kinds(project)["items"] == 1
    pruned(project)
    assert project.encode() == []
    assert project.digest() == made.digest()


def test_units_of_a_killed_run_stay_while_its_manifest_asks_for_them(project, small):
    project.sources = ["cats", "tiny"]
    with pytest.raises(KeyboardInterrupt):
        project.encode("cats", OTHERS, stop="item-25")
    there = len(project.fresh("latents"))
    assert there
    assert not {"fresh latents", "fresh text", "fresh captions"} & kinds(project).keys()
    pruned(project)
    assert len(project.fresh("latents")) == there
    project.sources = ["tiny"]
    assert kinds(project)["fresh latents"] == there
    pruned(project)
    assert project.fresh("latents") == project.fresh("captions") == project.fresh("text") == []


def test_a_source_of_another_name_keeps_what_it_asks_for(project):
    shutil.move(project.manifests / "tiny", project.manifests / "renamed")
    project.sources = ["renamed"]
    assert kinds(project) == {"sources": 1, "prompts": 1, "digests": 1}
    pruned(project)
    assert project.encode("renamed") == []


def test_a_source_of_which_nothing_is_known_is_refused(project):
    project.sources = ["tiny", "unknown"]
    with pytest.raises(Refused, match=r"\['unknown'\] are neither prepared nor cached"):
        unused(project)


def test_what_cannot_be_read_and_nobody_uses_goes(project):
    stray = project.pool.path(f"items/{IMAGES}/0000000000000000.parquet")
    stray.write_bytes(b"no parquet")
    left = stray.with_name(".half.parquet")
    left.write_bytes(b"")
    claim = project.pool.folder / "claims" / "unit"
    claim.parent.mkdir(exist_ok=True)
    claim.write_text("")
    assert kinds(project) == {"items": 1, "killed writers": 1, "claims": 1}
    pruned(project)
    assert not stray.exists()


def test_parts_that_a_cache_lists_stay_though_the_pool_forgot_the_source(project):
    (project.pool.folder / "sources" / "tiny.json").unlink()
    shutil.rmtree(project.manifests)
    assert unused(project) == []
    assert files.read_json(project.latents / "tiny" / "manifest.json")
