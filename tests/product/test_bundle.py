"""The bundle of a marketplace after its main job: another program checks it offline, and finds what was changed."""

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from offerhub.audit.chain import Sealer
from offerhub.operations import bundle
from support.product import Marketplace


@pytest.fixture(scope="module")
async def written(shop: Marketplace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a database in which orders were released and refunded, and one still holds its money."""
    buyer, seller = await shop.people("100", None)
    await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    for end in ("release", "refund"):
        order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
        await shop.done("POST", f"/orders/{order_id}/resolution/{end}", {"reason": "done"})
    file = tmp_path_factory.mktemp("bundle") / "books.zip"
    product = shop.live.product
    network_id = hashlib.sha256(product.settings.stellar.passphrase.encode()).hexdigest()
    while await product.database.run(Sealer(product.vault).seal):
        pass
    with file.open("wb") as to:
        done = await bundle.write(product.database, to, program="test", network_id=network_id)
    assert done.rows["envelopes.csv"] > 0
    with zipfile.ZipFile(file) as archive:
        (file.parent / "verify.py").write_bytes(archive.read("verify.py"))
    return file


def verified(file: Path, *arguments: str, beside: Path | None = None) -> tuple[int, str]:
    """What the verifier says, run as an auditor does: alone, with nothing but the standard library."""
    verifier = (beside or file).parent / "verify.py"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(verifier), str(file), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


def rewritten(file: Path, to: Path, name: str, edit: Callable[[bytes], bytes], *, honest: bool) -> Path:
    """The bundle with one file edited; with `honest` the manifest tells of the new content as if it were the old."""
    with zipfile.ZipFile(file) as archive:
        content = {one: archive.read(one) for one in archive.namelist()}
    before = content[name]
    content[name] = edit(before)
    assert content[name] != before, "the edit must change something"
    if honest:
        manifest = json.loads(content["manifest.json"])
        manifest["files"][name] |= {
            "sha256": hashlib.sha256(content[name]).hexdigest(),
            "bytes": len(content[name]),
        }
        content["manifest.json"] = json.dumps(manifest).encode()
        content["manifest.sha256"] = f"{hashlib.sha256(content['manifest.json']).hexdigest()}\n".encode()
    changed = to / "changed.zip"
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, data in content.items():
            archive.writestr(one, data)
    return changed


def test_it_verifies_and_holds_neither_secrets_nor_texts_of_users(written: Path) -> None:
    code, told = verified(written)
    assert (code, told.splitlines()[-1]) == (0, "everything holds")
    for name in ("I1", "I2", "I3", "I4", "I6", "I8", "I10", "I11", "I12", "I18"):
        assert f"ok    {name} " in told
    with zipfile.ZipFile(written) as archive:
        manifest = archive.read("manifest.json")
        digest = hashlib.sha256(manifest).hexdigest()
        everything = b"".join(archive.read(name) for name in archive.namelist() if name != "audit.txt")
    assert verified(written, "--manifest", digest)[0] == 0
    assert verified(written, "--manifest", "0" * 64)[0] == 1
    assert {"lsn", "takenAt", "schema", "format", "snapshot"} <= json.loads(manifest).keys()
    assert b"@" not in everything
    assert b"secret_blob" not in everything


def test_one_flipped_bit_in_any_file_is_found_and_named(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        names = archive.namelist()
    for name in names:
        file = rewritten(
            written, tmp_path, name, lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:], honest=False
        )
        code, told = verified(file, beside=written)
        assert code == 1, name
        assert name in told
    whole = bytearray(written.read_bytes())
    whole[len(whole) // 2] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(whole)
    assert verified(damaged, beside=written)[0] == 1


def column(name: str, change: Callable[[str], str], row: int = 1) -> Callable[[bytes], bytes]:
    """Change one column of one row of a table; the edit that comes out of it."""

    def edit(data: bytes) -> bytes:
        lines = data.decode().split("\n")
        place = lines[0].split(",").index(name)
        cells = lines[row].split(",")
        cells[place] = change(cells[place])
        lines[row] = ",".join(cells)
        return "\n".join(lines).encode()

    return edit


def doubled(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:2], *lines[1:]])


def same_intent(data: bytes) -> bytes:
    """The second transaction under the business key of the first, in its marketplace."""
    lines = data.decode().split("\n")
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    for name in ("marketplace_id", "business_key"):
        data = column(name, lambda _, name=name: first[name], 2)(data)  # type: ignore[misc]
    return data


def without_last(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


VIOLATIONS: dict[str, tuple[str, Callable[[bytes], bytes], set[str]]] = {
    "an amount": ("postings.csv", column("amount", lambda text: str(int(text) + 1)), {"I1"}),
    "a running balance": ("postings.csv", column("balance_after", lambda text: str(int(text) + 1), 2), {"I2"}),
    "a posting lost": ("postings.csv", without_last, {"I1"}),
    "a balance": ("accounts.csv", column("balance", lambda text: str(int(text) + 1)), {"I2"}),
    "a balance below zero": ("accounts.csv", column("balance", lambda _: "-1"), {"I2"}),
    "an intent twice": ("transactions.csv", same_intent, {"I4"}),
    "a state": ("states.csv", column("status", lambda _: "NOWHERE"), {"I6"}),
    "an event's number": ("events.csv", column("sequence", lambda text: str(int(text) + 5)), {"I8"}),
    "an event lost": ("events.csv", without_last, {"I8"}),
    "an audit entry": ("audit.txt", lambda data: data.replace(b"SUCCESS", b"FAILURE", 1), {"I10"}),
    "the end of the trail": ("audit.txt", without_last, {"I10"}),
    "a deposit twice": ("deposits.csv", doubled, {"I11"}),
    "a deposit's amount": ("deposits.csv", column("amount", lambda text: str(int(text) + 1)), {"I11"}),
    "an escrow's refund": ("escrows.csv", column("refunded", lambda text: str(int(text) + 1)), {"I12"}),
    "an escrow's money": ("escrows.csv", column("funded", lambda text: str(int(text) + 1)), {"I12"}),
    "a sequence number": ("envelopes.csv", column("sequence", lambda text: str(int(text) + 1)), {"I18"}),
    "an envelope's hash": ("envelopes.csv", column("hash", lambda text: text[::-1]), {"I18"}),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_what_does_not_hold_is_named_though_the_manifest_agrees(written: Path, tmp_path: Path, case: str) -> None:
    name, edit, invariants = VIOLATIONS[case]
    code, told = verified(rewritten(written, tmp_path, name, edit, honest=True), beside=written)
    wrong = {line.split()[1] for line in told.splitlines() if line.startswith("WRONG")}
    assert code == 1
    assert invariants <= wrong, told


def test_it_is_short() -> None:
    lines = bundle.VERIFIER.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) < 300
