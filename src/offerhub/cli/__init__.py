"""The command line: `offerhub …`."""
