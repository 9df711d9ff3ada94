"""`offerhub demo`: the main job from deposit to payout on real servers, with a crash in the middle.

`stage` starts and stops what it takes, `script` plays the acts over HTTP, `report` holds the outcome against the
chain, `progress` shows what is going on, `client` is the little HTTP client that they share.
"""

from offerhub.cli.demo.command import demo

__all__ = ["demo"]
