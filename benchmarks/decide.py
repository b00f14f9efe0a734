"""CPU-seconds of decisions: answers alone, and with the fewest missing facts, over random records of each protocol.

    python benchmarks/decide.py [--records 10000] [--known 0.5] [--protocol salvage-crt ...]

Values are those that the protocol's conditions tell apart; each fact is known in a share of the records.
"""

from __future__ import annotations

import argparse
import random
import time

from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols import available, load
from tailort.protocols.decision import Deciding, Detail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--known", type=float, default=0.5)
    parser.add_argument("--protocol", nargs="*", default=list(available()))
    given = parser.parse_args()
    print("protocol        facts  unknown  invalid  answers, CPU s  with fewest missing, CPU s")
    for name in given.protocol:
        deciding = Deciding.of(load(name))
        domain = deciding.domain
        draw = random.Random(1)
        records = [
            {
                entry.name: Fact(entry.name, draw.choice(values))
                for entry, values in zip(domain.entries, domain.values, strict=True)
                if draw.random() < given.known
            }
            for _ in range(given.records)
        ]
        open_, invalid, seconds = 0, 0, {}
        details: tuple[Detail, ...] = ("answers", "missing")
        for detail in details:
            start = time.process_time()
            open_ = invalid = 0
            for record in records:
                try:
                    open_ += deciding.decide(record, detail).answer == "unknown"
                except InputError:
                    invalid += 1
            seconds[detail] = time.process_time() - start
        print(
            f"{name:<15} {len(domain.entries):5d} {open_:8d} {invalid:8d} {seconds['answers']:15.1f} "
            f"{seconds['missing']:15.1f}"
        )


if __name__ == "__main__":
    main()
