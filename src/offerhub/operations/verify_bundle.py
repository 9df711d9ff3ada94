"""Check a bundle of `offerhub prove --export`, offline. Plain Python 3.9 or newer, nothing else.

    python3 verify.py BUNDLE.zip [--manifest SHA256]

Prints each sentence with what was looked at, and what does not hold. Exit status 0: everything holds; 1: something
does not, or a file is not as it was written; 2: there is no bundle to check. `--manifest` takes what the export
printed, and shows that this is the bundle of that time and not another one.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

SHOWN_MAX = 20
HELD_BY_CONTRACT = {"FUNDED", "RELEASING", "REFUNDING", "DISPUTED"}
WORDS = ("amount", "funded", "released", "refunded", "platform_fee", "protocol_fee", "surplus", "remaining")
Row = dict[str, str]
Key = tuple[str, str]


class Bundle(zipfile.ZipFile):
    """The files, and what was found wrong with each sentence."""

    def begin(self) -> None:
        self.wrong: defaultdict[str, list[str]] = defaultdict(list)
        self.seen: Counter[str] = Counter()
        self.failed = 0

    def rows(self, name: str) -> Iterator[Row]:
        with self.open(name) as file:
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
                self.seen[name] += 1
                yield row

    def hash(self, name: str) -> tuple[str, int]:
        seen, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while block := file.read(1 << 20):
                seen.update(block)
                size += len(block)
        return seen.hexdigest(), size

    def say(self, name: str, sentence: str, looked_at: str) -> None:
        """Print a sentence, and what was found against it under its name."""
        wrong = self.wrong.pop(name, [])
        print(f"{'WRONG' if wrong else 'ok   '} {name.partition(' ')[0]:4} {sentence} ({looked_at})")
        for one in wrong[:SHOWN_MAX]:
            print(f"           {one}")
        if len(wrong) > SHOWN_MAX:
            print(f"           … and {len(wrong) - SHOWN_MAX} more")
        self.failed += bool(wrong)


def manifest_of(bundle: Bundle, kept: str | None) -> Any:
    """The manifest, once every file is what it says; None when something is not."""
    files: dict[str, Any] = {}
    manifest, wrong = None, bundle.wrong["file"]
    try:
        digest = bundle.hash("manifest.json")[0]
        if bundle.read("manifest.sha256") != f"{digest}\n".encode():
            wrong.append("manifest.json or manifest.sha256: not what was written")
        if kept is not None and kept != digest:
            wrong.append(f"manifest.json: its SHA-256 is {digest}, not the one that was kept")
        manifest = json.loads(bundle.read("manifest.json"))
        files = manifest["files"]
    except Exception as error:  # noqa: BLE001 - damaged, in whatever way
        wrong.append(f"manifest.json: {error!r}")
    present = set(bundle.namelist()) - {"manifest.json", "manifest.sha256"}
    wrong += [f"{name}: not in the manifest" for name in sorted(present - set(files))]
    for name, told in files.items():
        try:
            if bundle.hash(name) != (told["sha256"], told["bytes"]):
                wrong.append(f"{name}: not what was written")
        except Exception as error:  # noqa: BLE001 - so that the zip itself notices, or gone
            wrong.append(f"{name}: {error}")
    bundle.say("file", "Every file is what the manifest says.", f"{len(files)} files")
    return None if bundle.failed else manifest


class Books:
    """I1 to I4: what the postings come to, as far as the other checks need it."""

    def __init__(self, bundle: Bundle) -> None:
        self.wrong = bundle.wrong
        self.accounts = {row["id"]: row for row in bundle.rows("accounts.csv")}
        # Of each account: version, balance, and postings that came before their turn.
        self.chains: dict[str, list[Any]] = {key: [0, 0, {}] for key in self.accounts}
        self.escrows: defaultdict[Key, list[int]] = defaultdict(lambda: [0, 0])
        self.credits: dict[Key, tuple[str, int]] = {}
        self.sums: Counter[str] = Counter()
        self.keys: set[Key] = set()
        self._walk(bundle)
        for key, account in self.accounts.items():
            self._compare(account, *self.chains[key])
        self.wrong["I1"] += [f"{asset}: {total}" for asset, total in self.sums.items() if total]
        told = f"{bundle.seen['postings.csv']} postings"
        bundle.say("I1", "Every asset sums to zero.", told)
        bundle.say("I1 transactions", "Every transaction balances, within one marketplace.", told)
        bundle.say("I2", "Every balance follows from its postings, without a gap.", f"{len(self.accounts)} accounts")
        bundle.say("I3", "No account with a floor is below zero, nor ever was.", told)
        bundle.say("I4", "Every intent is posted once.", f"{len(self.keys)} business keys")

    def _walk(self, bundle: Bundle) -> None:
        """Both files are in the order of transactions."""
        postings = bundle.rows("postings.csv")
        posting = next(postings, None)
        for row in bundle.rows("transactions.csv"):
            legs = []
            while posting is not None and int(posting["transaction_id"]) <= int(row["id"]):
                legs.append(posting)
                posting = next(postings, None)
            self._transaction(row, legs)
        if posting is not None:
            self.wrong["I1 transactions"].append(f"postings of transaction {posting['transaction_id']} have none")

    def _transaction(self, row: Row, legs: list[Row]) -> None:
        wrong, by_asset = self.wrong["I1 transactions"], Counter[str]()
        key = (row["marketplace_id"], row["business_key"])
        for leg in legs:
            account, amount = self.accounts.get(leg["account_id"]), int(leg["amount"])
            if account is None or (leg["transaction_id"], account["marketplace_id"]) != (row["id"], key[0]):
                wrong.append(f"a posting at transaction {row['id']} has another, or its account is elsewhere")
                continue
            by_asset[account["asset"]] += amount
            if account["floored"] == "t":
                self._follow(self.chains[account["id"]], leg, amount)
            if account["kind"] == "escrow":
                held = self.escrows[key[0], account["owner"]]
                held[0] += max(amount, 0)
                held[1] += amount
        self.sums.update(by_asset)
        if len(legs) < 2 or any(by_asset.values()):
            wrong.append(f"transaction {row['id']} ({key[1]}): {len(legs)} legs, {dict(by_asset)}")
        if key in self.keys:
            self.wrong["I4"].append(f"{key[1]} is posted twice")
        self.keys.add(key)
        if row["kind"] in {"deposit", "treasury_deposit"}:
            self.credits[key] = (row["kind"], sum(max(int(leg["amount"]), 0) for leg in legs))

    def _follow(self, chain: list[Any], leg: Row, amount: int) -> None:
        """Put a posting behind the one before it, and those that waited for it."""
        chain[2][int(leg["account_version"] or 0)] = (amount, int(leg["balance_after"] or 0), leg)
        while chain[0] + 1 in chain[2]:
            moved, after, leg = chain[2].pop(chain[0] + 1)
            where = f"account {leg['account_id']}, transaction {leg['transaction_id']}"
            if chain[1] + moved != after:
                self.wrong["I2"].append(f"{where}: {chain[1]} and {moved} is not {after}")
            if after < 0:
                self.wrong["I3"].append(f"{where}: {after}")
            chain[0], chain[1] = chain[0] + 1, after

    def _compare(self, account: Row, version: int, balance: int, early: dict[int, Any]) -> None:
        where = f"account {account['id']} ({account['owner']}, {account['kind']})"
        stored = (int(account["balance"]), int(account["version"]))
        if early or stored != (balance, version):
            self.wrong["I2"].append(
                f"{where}: stored {stored}, derived {(balance, version)}, then {sorted(early)[:3]}"
            )
        if account["floored"] == "t" and stored[0] < 0:
            self.wrong["I3"].append(f"{where}: {stored[0]}")


def check_states(bundle: Bundle) -> None:
    """I6 and I8: the events of each aggregate, along the table of moves."""
    moves: defaultdict[Key, set[str]] = defaultdict(set)
    for row in bundle.rows("moves.csv"):
        moves[row["machine"], row["source"]].add(row["target"])
    machines = json.loads(bundle.read("machines.json"))
    told: dict[Key, list[str]] = {}
    last, number, places = ("", ""), 0, list[int]()
    for row in bundle.rows("events.csv"):
        key = (row["aggregate_type"], row["aggregate_id"])
        number = number + 1 if key == last else 1
        if int(row["sequence"]) != number:
            bundle.wrong["I8"].append(f"{key[0]} {key[1]}: event {row['sequence']} stands where {number} should")
        last, number = key, int(row["sequence"])
        places += [int(row["place"])] if row["place"] else []
        states = machines.get(key[0], {"events": {}})["events"].get(row["type"])
        if states is None:
            continue
        if key in told and not reach(machines[key[0]]["machine"], moves, told[key]) & set(states):
            bundle.wrong["I6"].append(f"{key[0]} {key[1]}: {row['type']} does not follow from {told[key]}")
        told[key] = states
    if sorted(places) != list(range(1, len(places) + 1)):
        bundle.wrong["I8"].append("the places of the log have a gap, or two events share one")
    for row in bundle.rows("states.csv"):
        kind, machine = row["aggregate_type"], machines[row["aggregate_type"]]
        known = told.get((kind, row["id"]), [machine["initial"]])
        ended = not moves[machine["machine"], row["status"]]
        if row["status"] not in (known if ended else reach(machine["machine"], moves, known)):
            bundle.wrong["I6"].append(f"{kind} {row['id']} is {row['status']}, its events tell {known}")
    bundle.say("I6", "States moved along the table of moves; ends are told.", f"{bundle.seen['states.csv']} states")
    bundle.say("I8", "Events are numbered without a gap.", f"{bundle.seen['events.csv']} events")


def reach(machine: str, moves: dict[Key, set[str]], sources: Iterable[str]) -> set[str]:
    """These states, and whatever the table reaches from them."""
    found, waiting = set(sources), list(sources)
    while waiting:
        new = moves[machine, waiting.pop()] - found
        found |= new
        waiting += new
    return found


def check_audit(bundle: Bundle, head: str) -> None:
    """I10: each link is SHA-256 of the one before it and of its entry."""
    previous, number = bytes(32), 0
    with bundle.open("audit.txt") as file:
        for number, line in enumerate(file, 1):
            place, digest, content = line.rstrip(b"\n").split(b" ", 2)
            previous = hashlib.sha256(previous + content).digest()
            if (place, digest) != (str(number).encode(), previous.hex().encode()):
                bundle.wrong["I10"].append(
                    f"line {number}, link {place.decode()}: its entry, hash or place was changed"
                )
                previous = bytes.fromhex(digest.decode())
    if f"{number}:{previous.hex()}" != head:
        bundle.wrong["I10"].append(f"the trail ends at {number}, not at the head {head}")
    bundle.say("I10", "The audit trail is an unbroken chain.", f"{number} entries")


def check_deposits(bundle: Bundle, left: dict[Key, tuple[str, int]]) -> None:
    """I11: each credit of the chain is booked once, and nothing else counts as one."""
    seen, wrong = set(), bundle.wrong["I11"]
    for row in bundle.rows("deposits.csv"):
        operation = (row["operation_id"], row["address"], row["operation_index"])
        if operation in seen:
            wrong.append(f"operation {' '.join(operation)} is there twice")
        seen.add(operation)
        booked = left.pop((row["marketplace_id"], row["business_key"]), None)
        if booked != (row["kind"], int(row["amount"])):
            wrong.append(f"operation {' '.join(operation)} of {row['amount']} is booked as {booked}")
    wrong += [f"{key} is booked as {kind}, and no operation of the chain is" for (_, key), (kind, _) in left.items()]
    bundle.say("I11", "Every deposit is booked once, from its operation.", f"{bundle.seen['deposits.csv']} deposits")


def check_escrows(bundle: Bundle, escrows: dict[Key, list[int]]) -> None:
    """I12: what went into a contract came out of it, or is there."""
    wrong = bundle.wrong["I12"]
    for row in bundle.rows("escrows.csv"):
        amount, funded, released, refunded, platform, protocol, surplus, remaining = (int(row[w]) for w in WORDS)
        by_postings = escrows.pop((row["marketplace_id"], row["order_id"]), [0, 0])
        if by_postings != [funded, remaining]:
            wrong.append(f"{row['id']}: {funded} in and {remaining} left, by its postings {by_postings}")
        if funded + surplus != released + refunded + platform + protocol + remaining:
            wrong.append(f"{row['id']}: what came out is not what went in")
        held, whole = row["status"] in HELD_BY_CONTRACT, row["escrow_type"] == "single-release"
        if funded not in {0, amount} or (remaining != amount if held and whole else remaining and not held):
            wrong.append(f"{row['id']} is {row['status']}: {funded} of {amount} in, {remaining} left")
    wrong += [f"an escrow account of {owner} without its escrow" for _, owner in escrows]
    bundle.say("I12", "Funded is released, refunded, fees and what is left.", f"{bundle.seen['escrows.csv']} escrows")


def check_envelopes(bundle: Bundle, network: bytes) -> None:
    """I18: one envelope for a sequence number; the bytes that were signed are what is stored."""
    used: dict[Key, str] = {}
    wrong = bundle.wrong["I18"]
    for row in bundle.rows("envelopes.csv"):
        place = (row["source_account"], row["sequence"])
        if row["status"] != "EXPIRED" and used.setdefault(place, row["hash"]) != row["hash"]:
            wrong.append(f"{row['hash']} and {used[place]} share sequence {place[1]} of {place[0]}")
        if (row["status"] in {"SUCCEEDED", "FAILED"}) != bool(row["ledger"]):
            wrong.append(f"{row['hash']} is {row['status']} with ledger {row['ledger'] or 'none'}")
        if row["xdr"] and signed_facts(base64.b64decode(row["xdr"]), network) != (row["hash"], *place):
            wrong.append(f"{row['hash']}: its bytes are of another hash, account or sequence number")
    bundle.say(
        "I18",
        "No sequence number is used twice, and stored is what was signed.",
        f"{bundle.seen['envelopes.csv']} envelopes",
    )


def signed_facts(envelope: bytes, network: bytes) -> tuple[str, str, str] | None:
    """Hash, source account and sequence number of a signed transaction (TransactionV1Envelope of Stellar's XDR)."""
    for count in range(21):  # signatures of 72 bytes each, behind their number
        end = len(envelope) - 4 - 72 * count
        if end > 52 and int.from_bytes(envelope[end : end + 4], "big") == count:
            tx = envelope[4:end]
            digest = hashlib.sha256(network + b"\0\0\0\2" + tx).hexdigest()
            return digest, address(tx[4:36]), str(int.from_bytes(tx[40:48], "big"))
    return None


def address(key: bytes) -> str:
    """The address of an ed25519 key: version, key and CRC-16 (XMODEM), in base32."""
    data, crc = bytes([6 << 3]) + key, 0
    for bit in (byte >> shift & 1 for byte in data for shift in range(7, -1, -1)):
        crc = (crc << 1 & 0xFFFF) ^ (0x1021 if crc >> 15 != bit else 0)
    return base64.b32encode(data + crc.to_bytes(2, "little")).decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--manifest", metavar="SHA256")
    given = parser.parse_args()
    try:
        bundle = Bundle(given.bundle)
    except (OSError, zipfile.BadZipFile) as error:
        print(f"{given.bundle} is no bundle: {error}")
        return 2
    bundle.begin()
    manifest = manifest_of(bundle, given.manifest)
    if manifest is not None:
        books = Books(bundle)
        check_states(bundle)
        if manifest["auditHead"] is None:
            print("  -   I10  not shown: the bundle was made without the audit trail")
        else:
            check_audit(bundle, manifest["auditHead"])
        check_deposits(bundle, books.credits)
        check_escrows(bundle, books.escrows)
        check_envelopes(bundle, bytes.fromhex(manifest["networkId"]))
        print(f"of {manifest['takenAt']}, at {manifest['lsn']} of the write-ahead log")
    print(f"NOT everything holds: {bundle.failed} sentences do not" if bundle.failed else "everything holds")
    return 1 if bundle.failed else 0


if __name__ == "__main__":
    sys.exit(main())
