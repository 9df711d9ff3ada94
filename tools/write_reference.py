"""Write the pages of docs/reference/ that are made from the code."""  # noqa: INP001 (a script, not a package)

from pathlib import Path

from offerhub.settings import render_reference

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "configuration.md").write_text(render_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
