"""What a look-up costs from Python: sidql beside sqlite3, the same rows back, in one process, taking turns.

A catalogue with seeded SIDs of 3 levels of 64 codes. sqlite3 has the same codes as the primary key of a table WITHOUT ROWID,
with the id of the item beside them. Both databases are files, both keep what they read in memory.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import sidql

CODES = 64
LOOKUPS = 2_000
TURN = 100


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e6


def build(folder, items, seed):
    draw = random.Random(seed)
    codes = [tuple(int(CODES * draw.random() ** 2) for _ in range(3)) for _ in range(items)]
    (folder / "codes.tsv").write_text(
        "".join(f"i{at}\t{' '.join(map(str, sid))}\n" for at, sid in enumerate(codes))
    )
    ours = sidql.connect(folder / "a.sidql")
    ours.insert("items", [{"id": f"i{at}"} for at in range(items)])
    ours.execute(f"COPY codes FROM '{folder}/codes.tsv' WITH (codebook = 'full', publish = true)")
    theirs = sqlite3.connect(folder / "a.sqlite")
    theirs.execute(
        "CREATE TABLE items (a INT, b INT, c INT, n INT, id TEXT, PRIMARY KEY (a, b, c, n)) WITHOUT ROWID"
    )
    rows = ((*sid, at, f"i{at}") for at, sid in enumerate(codes))
    theirs.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
    theirs.execute("CREATE UNIQUE INDEX by_id ON items (id)")
    theirs.commit()
    return ours, theirs, codes, draw


def questions(ours, theirs):
    """Pairs of a name and two functions of a SID and an id that give the same ids."""
    tree = "SELECT id FROM items WHERE prefix = ?"
    return {
        "two codes": (
            lambda sid, _: ours.execute(tree, [f"a{sid[0]}.b{sid[1]}"]).fetchall(),
            lambda sid, _: theirs.execute(
                "SELECT id FROM items WHERE a = ? AND b = ?", sid[:2]
            ).fetchall(),
        ),
        "one code": (
            lambda sid, _: ours.execute(tree, [f"a{sid[0]}"]).fetchall(),
            lambda sid, _: theirs.execute("SELECT id FROM items WHERE a = ?", sid[:1]).fetchall(),
        ),
        "one item by its id": (
            lambda _, id: ours.execute("SELECT id FROM items WHERE id = ?", [id]).fetchall(),
            lambda _, id: theirs.execute("SELECT id FROM items WHERE id = ?", [id]).fetchall(),
        ),
    }


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", required=True)
    args.add_argument("--items", type=int, default=12_000)
    args = args.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, codes, draw = build(Path(folder), args.items, 7)
        for name, (one, other) in questions(ours, theirs).items():
            times = {"sidql": [], "sqlite3": []}
            found = []
            for turn in range(LOOKUPS // TURN):
                asked = [draw.randrange(args.items) for _ in range(TURN)]
                pairs = [("sidql", one), ("sqlite3", other)]
                for who, ask in pairs if turn % 2 else reversed(pairs):
                    answers = []
                    for at in asked:
                        began = time.perf_counter()
                        answer = ask(codes[at], f"i{at}")
                        times[who].append(time.perf_counter() - began)
                        answers.append(sorted(answer))
                    found.append(answers)
                assert found[-1] == found[-2], "both give the same rows"
            size = statistics.mean(len(answer) for answers in found for answer in answers)
            for who, all in times.items():
                rows.append((name, f"{size:.1f}", who, percentile(all, 0.5), percentile(all, 0.99)))
    print(f"{args.items} items, {LOOKUPS} look-ups each, microseconds")
    print(f"{'look-up':20} {'rows':>7} {'by':10} {'p50':>9} {'p99':>9}")
    for name, size, who, half, most in rows:
        print(f"{name:20} {size:>7} {who:10} {half:9.1f} {most:9.1f}")
    lines = ["# calls", "lookup\trows\tby\tp50_us\tp99_us"]
    lines += ["\t".join(map(str, row)) for row in rows]
    (Path(args.out) / "raw.tsv").write_text("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
