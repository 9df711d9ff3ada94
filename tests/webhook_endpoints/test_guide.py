"""What the guide shows receivers works as it stands there, in both languages."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offerhub.webhook_endpoints import signing

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "webhooks.md"
BODY = '{"eventType":"order.created","payload":{"title":"Straße ✓"}}'.encode()
OLD, NEW = bytes(range(24)), bytes(range(24, 48))

PYTHON = """
import json, sys
for one in json.load(sys.stdin):
    print(json.dumps(receive(one["secret"], one["headers"], one["body"].encode())))
"""
NODE = """
for (const one of JSON.parse(require("node:fs").readFileSync(0, "utf8")))
  console.log(JSON.stringify(receive(one.secret, one.headers, Buffer.from(one.body))));
"""


def snippet(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_receiver_takes_what_is_ours_and_nothing_else(language: str) -> None:
    if language == "js" and not shutil.which("node"):
        pytest.skip("the example needs Node")
    now = datetime.now(UTC)
    text = BODY.decode()
    right = signing.headers("evt_1", now, BODY, [NEW, OLD])
    late = signing.headers("evt_1", now - timedelta(minutes=6), BODY, [OLD])
    cases = [
        ({"secret": signing.shown(OLD), "headers": right, "body": text}, True),
        ({"secret": signing.shown(NEW), "headers": right, "body": text}, True),
        ({"secret": signing.shown(b"x" * 24), "headers": right, "body": text}, False),
        ({"secret": signing.shown(OLD), "headers": right, "body": text + " "}, False),
        ({"secret": signing.shown(OLD), "headers": right | {"webhook-id": "evt_2"}, "body": text}, False),
        ({"secret": signing.shown(OLD), "headers": late, "body": text}, False),
        ({"secret": signing.shown(OLD), "headers": right | {"webhook-signature": "v1"}, "body": text}, False),
    ]
    program = snippet(language) + (PYTHON if language == "python" else NODE)
    command = [sys.executable, "-c", program] if language == "python" else ["node", "-e", program]
    told = json.dumps([case for case, _ in cases])
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [json.loads(BODY) if is_ours else None for _, is_ours in cases]
