"""The short check of a prepared set: kept with the cache, and made again for another one."""

import json
from dataclasses import replace

import pytest

from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.write import writing
from lightpfp_ray.doctor import brief, kept
from lightpfp_ray.doctor.kept import NAME, kept_brief

from .data_samples import prepared
from .doctor_samples import clean, with_stress


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Manifest and training set whose stress has the wrong sign."""
    folder = tmp_path_factory.mktemp("kept")
    with writing(folder / "a.extxyz") as add:
        for structure in with_stress(-1.0)(clean(), None):
            add(structure)
    manifest = prepared(folder / "cache", folder / "a.extxyz", cutoff=5.0)
    return manifest, StructureSet.open(manifest.path, "train")


@pytest.fixture
def looks(cache, monkeypatch):
    """One item each time that the structures are looked at; nothing is kept yet."""
    (cache[0].path / NAME).unlink(missing_ok=True)
    found, look = [], brief.brief

    def counted(*arguments):
        found.append(arguments)
        return look(*arguments)

    monkeypatch.setattr(brief, "brief", counted)
    return found


def test_a_second_start_tells_the_same_without_looking(cache, looks):
    first, second = kept_brief(*cache), kept_brief(*cache)
    assert first == second
    assert "stress sign" in {finding.kind for finding in first}
    assert len(looks) == 1


@pytest.mark.parametrize("change", ["fingerprint", "version"])
def test_other_structures_and_other_checks_are_looked_at_again(cache, looks, monkeypatch, change):
    manifest, train = cache
    kept_brief(manifest, train)
    if change == "version":
        monkeypatch.setattr(kept, "VERSION", kept.VERSION + 1)
    else:
        manifest = replace(manifest, fingerprint="0" * 64)
    kept_brief(manifest, train)
    kept_brief(manifest, train)
    assert len(looks) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"findings": [', "half a finding"])
def test_what_is_damaged_is_made_again(cache, looks, content):
    manifest, train = cache
    whole, path = kept_brief(manifest, train), manifest.path / NAME
    if content == "half a finding":
        stored = json.loads(path.read_text())
        del stored["findings"][0]["do"]
        content = json.dumps(stored)
    path.write_text(content)
    assert kept_brief(manifest, train) == whole == kept_brief(manifest, train)
    assert len(looks) == 2


def test_a_cache_that_cannot_be_written_is_looked_at_each_time(cache, looks, tmp_path):
    manifest, train = replace(cache[0], path=tmp_path / "gone"), cache[1]
    assert kept_brief(manifest, train) == kept_brief(manifest, train) != []
    assert len(looks) == 2
