"""`offerhub sandbox`: runs the sandbox, and tells a running one what to do.

`run` starts it, `client` speaks to its controls, `money`, `airtm`, `connect`, `faults` and `webhooks` hold the
commands, `show` prints. `app` puts them together.
"""
