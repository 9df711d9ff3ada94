"""Does the process of this container answer? `healthcheck.py [URL]` ends with status 0 when it does, else with 1.

Without an address it asks the liveness of the API on PORT. It needs nothing but Python: the image has no curl.
"""

import http.client
import os
import sys
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX: Final = 4.0


def answers(url: str) -> bool:
    """True when this http:// address is answered with 200 in time."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS_MAX)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    default = f"http://127.0.0.1:{os.environ.get('PORT') or 4000}/api/v1/health"
    sys.exit(0 if answers(sys.argv[1] if len(sys.argv) > 1 else default) else 1)
