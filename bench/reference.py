"""The yardstick: pgbench on the same cluster, prepared statements, two threads."""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from samples import Measured, percentile

DATABASE: Final = "bench_reference"
THREADS: Final = 2
SAMPLED_SHARE: Final = 0.2
"""How much of pgbench's transactions are written to its log, from which the percentiles are taken."""

_SCHEMA: Final = """
CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 70);
CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account integer NOT NULL,
    amount bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO accounts SELECT id, 0 FROM generate_series(1, 1000) AS id;
"""
_MOVE: Final = """
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE id = :id;
INSERT INTO entries (account, amount) VALUES (:id, 1);
END;
"""
SCRIPTS: Final = {
    "pgbench_spread": "\\set id random(1, 1000)\n" + _MOVE,
    "pgbench_hot": "\\set id 1\n" + _MOVE,
    "pgbench_select": "\\set id random(1, 1000)\nSELECT balance FROM accounts WHERE id = :id;\n",
}
_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_DONE: Final = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_FAILED: Final = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


async def prepare(server_url: str) -> None:
    """Make the database that pgbench works on."""
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {DATABASE}")
    await connection.close()
    connection = await asyncpg.connect(_url(server_url))
    await connection.execute(_SCHEMA)
    await connection.close()


def run(programs: Path, server_url: str, name: str, *, clients: int, seconds: int) -> Measured:
    """Run one of the scripts for this long. Raises CalledProcessError when pgbench fails."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.sql"
        script.write_text(SCRIPTS[name], encoding="ascii")
        parts = urlsplit(server_url)
        command = [str(programs / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", str(THREADS)]
        command += ["-T", str(seconds), "-f", str(script), "-l", f"--sampling-rate={SAMPLED_SHARE}"]
        command += ["-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), DATABASE]
        environ = {**os.environ, "PGPASSWORD": parts.password or "", "PGSSLMODE": "disable"}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
        logs = (path.read_text(encoding="ascii") for path in Path(folder).glob("pgbench_log.*"))
        latencies = sorted(int(line.split()[2]) / 1000 for log in logs for line in log.splitlines())
    calls, failed = int(_found(_DONE, done.stdout)), int(_found(_FAILED, done.stdout))
    return Measured(
        calls=calls,
        errors=failed,
        seconds=calls / float(_found(_TPS, done.stdout)),
        p50_ms=percentile(latencies, 0.5),
        p99_ms=percentile(latencies, 0.99),
        generator_cpu=0.0,
        faults={"failed": failed} if failed else {},
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found is not None, text
    return found[1]


def _url(server_url: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{DATABASE}"))
