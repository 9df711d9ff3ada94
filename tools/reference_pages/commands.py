"""The commands of `offerhub`, each as its `--help` shows it, from the declarations of the command line."""

import re
from typing import Final

from offerhub.cli.main import app

BLOCK: Final = "`offerhub.cli`"
_TITLE: Final = re.compile(r"\A# offerhub\n.*?(?=^## Table of Contents$)", re.DOTALL | re.MULTILINE)


def render() -> str:
    """The block of the page: the list of the commands, then every one of them."""
    text = app.generate_docs(output_format="markdown")
    return _TITLE.sub("", text).replace("## Table of Contents", "## All commands", 1).replace("```console", "```text")
