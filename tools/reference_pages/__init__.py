"""The parts of docs/reference/ that are made from the code, as Markdown."""
