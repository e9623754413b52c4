"""Vectors in and out of a file from Python: sidql beside LanceDB, the same float32 matrix, each with the ids of its rows.

LanceDB gets and gives Arrow tables, as it wants them; sidql both NumPy and Arrow. Each reads its file anew, through a new
connection. The items exist in sidql before their vectors come; that time is told by itself.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa

import sidql


def timed(work):
    began = time.perf_counter()
    done = work()
    return done, time.perf_counter() - began


def size(path):
    """Megabytes that the files take on the disk. Ours grows by doubling and is longer than what is written in it."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / 1e6


def ours(folder, ids, matrix, how):
    path = folder / "a.sidql"
    dim = matrix.shape[1]
    arrow = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), dim)
    with sidql.connect(path) as con:
        _, first = timed(lambda: con.insert("items", pa.table({"id": ids})))
        given = matrix if how == "NumPy" else arrow
        _, into = timed(lambda: con.insert_embeddings("v", ids, given))
    question = "SELECT id, embedding('v') AS v FROM items"
    with sidql.connect(path, read_only=True) as con:
        if how == "NumPy":
            found, out = timed(lambda: con.execute(question).fetchnumpy()["v"])
        else:
            found, out = timed(lambda: con.execute(question).arrow()["v"])
            found = found.combine_chunks().flatten().to_numpy().reshape(-1, dim)
    assert np.array_equal(found, matrix)
    megabytes = size(path)
    path.unlink()
    return into, out, megabytes, first


def theirs(folder, ids, matrix):
    path = folder / "lance"
    dim = matrix.shape[1]
    arrow = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), dim)
    table = pa.table({"id": ids, "vector": arrow})
    _, into = timed(lambda: lancedb.connect(path).create_table("v", table))
    found, out = timed(lambda: lancedb.connect(path).open_table("v").to_arrow()["vector"])
    found = found.combine_chunks().flatten().to_numpy().reshape(-1, dim)
    assert np.array_equal(found, matrix)
    megabytes = size(path)
    shutil.rmtree(path)
    return into, out, megabytes, float("nan")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", required=True)
    args.add_argument("--items", type=int, default=1_000_000)
    args.add_argument("--dims", type=int, nargs="*", default=[128])
    args.add_argument("--rounds", type=int, default=3)
    args = args.parse_args()
    ids = [f"i{at}" for at in range(args.items)]
    lines = ["# vectors", "dim\tby\tround\tin_s\tout_s\tfile_mb\titems_s"]
    print(f"{args.items} vectors of float32, seconds, the middle of {args.rounds} rounds that take turns")
    print(f"{'dim':>4} {'by':15} {'in':>8} {'out':>8} {'file MB':>9} {'items first':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for dim in args.dims:
            matrix = np.random.default_rng(7).standard_normal((args.items, dim), dtype=np.float32)
            contenders = {
                "sidql, NumPy": lambda: ours(Path(folder), ids, matrix, "NumPy"),
                "sidql, Arrow": lambda: ours(Path(folder), ids, matrix, "Arrow"),
                "LanceDB, Arrow": lambda: theirs(Path(folder), ids, matrix),
            }
            found = {name: [] for name in contenders}
            for turn in range(args.rounds):
                for name, run in contenders.items():
                    found[name].append(run())
                    figures = "\t".join(f"{figure:.3f}" for figure in found[name][-1])
                    lines.append(f"{dim}\t{name}\t{turn}\t{figures}")
            for name, rounds in found.items():
                into, out, file, first = np.median(np.array(rounds), axis=0)
                print(f"{dim:4} {name:15} {into:8.2f} {out:8.2f} {file:9.0f} {first:12.2f}")
    (Path(args.out) / "raw.tsv").write_text("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
