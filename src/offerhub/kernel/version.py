"""Which release of the program this is."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("offerhub")
"""As the installed package says."""
