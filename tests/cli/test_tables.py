"""Lists on a terminal: what somebody is about to type is whole, however narrow it is."""

import pytest
from rich.text import Text

from offerhub.cli.tables import print_list

KEY = "key_00VcAXsGUvJ8yHvDyLqGwiQ9tJ7lxdNF"
COLUMNS = ("id", "name", "scopes", "last used", "state")
ROWS = [(KEY, "A shop [/of] mine", "orders users balance withdrawals", "", Text("revoked", style="red"))]


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str | None) -> list[str]:
    monkeypatch.delenv("COLUMNS", raising=False)
    if width is not None:
        monkeypatch.setenv("COLUMNS", width)
    print_list(COLUMNS, ROWS, folded=("scopes",))
    return capsys.readouterr().out.rstrip("\n").split("\n")


def test_where_there_is_room_it_is_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, monkeypatch, "120")
    assert [KEY in line and "[/of]" in line and "revoked" in line for line in lines].count(True) == 1
    assert all(len(line) <= 120 for line in lines)


def test_a_row_is_a_block_of_lines_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, monkeypatch, "60")
    assert [line.split() for line in lines if line] == [
        ["id", KEY],
        ["name", "A", "shop", "[/of]", "mine"],
        ["scopes", "orders", "users", "balance", "withdrawals"],
        ["state", "revoked"],
    ]


def test_without_a_terminal_a_row_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, monkeypatch, None)
    assert any(KEY in line and "orders users balance withdrawals" in line for line in lines)
