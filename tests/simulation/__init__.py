"""Deterministic simulation: the whole product, several processes of it, and its outside world, on one seeded loop.

`python -m simulation --seed 7` runs one seed, and twice the same seed is twice the same run, statement by statement.
What is real: the program, PostgreSQL, the sandbox. What is simulated: time, chance, the order in which things happen,
the network, the queue, and when a process dies or stands still (docs/operating/simulation.md).
"""
