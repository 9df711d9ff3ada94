"""`python -m simulation`: run seeds, say what was seen, and how to see it again."""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from simulation.database import server
from simulation.run import Simulation, Verdict


def _one(seed: int, url: str, options: argparse.Namespace) -> Verdict:
    """A seed in a child of its own: what it replaces in its interpreter ends with it."""
    verdicts = [_forked(seed, url, options) for _ in range(2 if options.twice else 1)]
    if options.twice and verdicts[0].trace != verdicts[1].trace:
        verdicts[0].failure += f"\nnot reproducible: {verdicts[0].trace}, then {verdicts[1].trace}"
    return verdicts[0]


def _forked(seed: int, url: str, options: argparse.Namespace) -> Verdict:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            verdict = Simulation(seed, url, echo=options.echo, logs=options.logs).run()
            with os.fdopen(writing, "w") as out:
                json.dump(asdict(verdict), out)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return Verdict(**json.loads(text)) if text else Verdict(seed, failure="the simulator itself broke")


def _share(seeds: list[int], options: argparse.Namespace, told: Any) -> None:
    """One process with a PostgreSQL of its own works through its share of the seeds."""
    with server() as url:
        for seed in seeds:
            started = time.perf_counter()
            verdict = _one(seed, url, options)
            told.put((asdict(verdict), time.perf_counter() - started))


def _command(seed: int) -> str:
    return f"make simulate SEED={seed}"


def _shown(verdict: Verdict, seconds: float) -> str:
    counts = verdict.counts
    lost = sum(count for what, count in counts.items() if what.startswith("calls lost"))
    state = "FAILED" if verdict.failure else "ok"
    return (
        f"seed {verdict.seed}: {state}, trace {verdict.trace}, {verdict.events:,} events, "
        f"{verdict.virtual_seconds:.0f} s virtual ({verdict.calm_seconds:.0f} calm), {seconds:.1f} s, "
        f"{counts.get('crashes', 0)} crashes, {counts.get('freezes', 0)} freezes, {lost} calls lost, "
        f"{counts.get('calls replayed', 0)} replayed, {counts.get('calls stalled', 0)} stalled"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many fresh seeds")
    parser.add_argument("--seed", type=int, action="append", help="this seed; may be given several times")
    parser.add_argument("--from", dest="first", type=int, help="count the seeds from here instead of drawing them")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many at a time")
    parser.add_argument("--twice", action="store_true", help="run each seed twice and compare the traces")
    parser.add_argument("--echo", action="store_true", help="print every event")
    parser.add_argument("--logs", action="store_true", help="print the product's own log")
    parser.add_argument("--json", action="store_true", help="print one verdict a line, for programs")
    return parser.parse_args()


def _seeds(options: argparse.Namespace) -> list[int]:
    if options.seed:
        return list(options.seed)
    if options.first is not None:
        return list(range(options.first, options.first + options.seeds))
    return [random.SystemRandom().randrange(10**6) for _ in range(options.seeds)]


def main() -> int:
    """Run them; 1 when any failed."""
    options, started = _options(), time.perf_counter()
    seeds = _seeds(options)
    jobs = max(1, min(options.jobs, len(seeds)))
    told: Any = multiprocessing.Queue()
    shares = [multiprocessing.Process(target=_share, args=(seeds[n::jobs], options, told)) for n in range(jobs)]
    for share in shares:
        share.start()
    sums: Counter[str] = Counter()
    failed: list[int] = []
    virtual = 0.0
    for _ in seeds:
        found, seconds = told.get()
        verdict = Verdict(**found)
        sums.update(verdict.counts)
        sums["events"] += verdict.events
        virtual += verdict.virtual_seconds
        print(json.dumps(found | {"last": []}) if options.json else _shown(verdict, seconds), flush=True)
        if verdict.failure:
            failed.append(verdict.seed)
            if not options.json:
                print(
                    "\n".join(verdict.last[-30:]), verdict.failure, f"again with: {_command(verdict.seed)}", sep="\n"
                )
    for share in shares:
        share.join()
    if not options.json:
        shown = ", ".join(f"{count:,} {what}" for what, count in sorted(sums.items()))
        wall = time.perf_counter() - started
        print(f"{len(seeds)} seeds, {virtual:,.0f} s virtual in {wall:.0f} s; {shown}")
        print("failed: " + ", ".join(_command(seed) for seed in failed) if failed else "nothing failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
