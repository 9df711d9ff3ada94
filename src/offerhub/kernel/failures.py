"""Faults that are told to whoever runs the service."""


class OperatorError(Exception):
    """Something that whoever runs the service can remedy: the text says what, and is all that they need to read."""
