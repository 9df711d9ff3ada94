"""Ids: their form is a promise to clients, their order one to indexes."""

import re
import time
import uuid

from offerhub.kernel.ids import is_id, new_id, new_uuid


def test_an_id_is_a_prefix_and_32_alphanumerics() -> None:
    assert re.fullmatch(r"ord_[0-9A-Za-z]{32}", new_id("ord"))


def test_ids_sort_by_the_time_they_were_made() -> None:
    first = new_id("evt")
    time.sleep(0.003)
    assert first < new_id("evt")


def test_ids_do_not_repeat() -> None:
    assert len({new_id("usr") for _ in range(10_000)}) == 10_000


def test_only_its_own_prefix_makes_an_id() -> None:
    assert is_id(new_id("wd"), "wd")
    assert not is_id(new_id("wd"), "usr")
    assert not is_id("wd_" + "x" * 31, "wd")
    assert not is_id("wd_" + "x" * 31 + "\n", "wd")


def test_a_uuid_is_one_of_version_4() -> None:
    made = {new_uuid() for _ in range(10_000)}
    assert len(made) == 10_000
    for text in made:
        read = uuid.UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, uuid.RFC_4122)
