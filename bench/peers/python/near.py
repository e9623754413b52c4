"""The peer of `near`: faiss itself, one question after another, in one thread.

Prints lines of a name, a tab and a number, as the children of the measurements do: the median time of a question by
comparing all; the first `nprobe` at which IVF passes a mark of recall, its recall and its time; the same under a selection
of the items, whose numbers are at hand (there is no predicate to evaluate).
"""

import argparse
import time

import faiss
import numpy as np

MARKS = (0.95, 0.99)
SHARES = (500, 50, 5)


def ask(search, queries, k):
    """The answers, and the median time in milliseconds."""
    found, times = [], []
    for query in queries:
        began = time.perf_counter()
        _, labels = search(query[None], k)
        times.append(time.perf_counter() - began)
        found.append(labels[0])
    return np.stack(found), float(np.median(times)) * 1e3


def recall(found, exact):
    share = [len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist())]
    return float(np.mean(share))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--folder", required=True)
    args.add_argument("--items", type=int, required=True)
    args.add_argument("--queries", type=int, required=True)
    args.add_argument("--lists", type=int, required=True)
    args.add_argument("--k", type=int, default=10)
    args = args.parse_args()
    faiss.omp_set_num_threads(1)
    x = np.fromfile(f"{args.folder}/vectors.f32", dtype=np.float32).reshape(args.items, -1)
    queries = np.fromfile(f"{args.folder}/queries.f32", dtype=np.float32).reshape(args.queries, -1)
    flat = faiss.IndexFlatIP(x.shape[1])
    flat.add(x)
    exact, ms = ask(flat.search, queries, args.k)
    print(f"flat ms\t{ms}")
    began = time.perf_counter()
    ivf = faiss.index_factory(x.shape[1], f"IVF{args.lists},Flat", faiss.METRIC_INNER_PRODUCT)
    ivf.train(x)
    ivf.add(x)
    print(f"build faiss\t{time.perf_counter() - began}")
    marks, enough = list(MARKS), None
    for power in range(10):
        ivf.nprobe = 1 << power
        found, ms = ask(ivf.search, queries, args.k)
        reached = recall(found, exact)
        while marks and reached >= marks[0]:
            name = f"faiss {round(marks.pop(0) * 100)}"
            print(f"{name} recall\t{reached}\n{name} ms\t{ms}\n{name} effort\t{ivf.nprobe}")
            enough = enough or ivf.nprobe
        if not marks:
            break
    numbers = np.random.default_rng(7).integers(0, 1000, args.items)
    for share in SHARES:
        chosen = faiss.IDSelectorBitmap(np.packbits(numbers < share, bitorder="little"))
        one = faiss.SearchParameters(sel=chosen)
        truth, ms = ask(lambda q, k: flat.search(q, k, params=one), queries, args.k)
        print(f"flat {share} recall\t1\nflat {share} ms\t{ms}\nflat {share} rows\t{args.k}")
        if enough:
            many = faiss.SearchParametersIVF(sel=chosen, nprobe=enough)
            found, ms = ask(lambda q, k: ivf.search(q, k, params=many), queries, args.k)
            rows = float((found >= 0).sum(1).mean())
            print(f"faiss {share} recall\t{recall(found, truth)}\nfaiss {share} ms\t{ms}")
            print(f"faiss {share} rows\t{rows}")


if __name__ == "__main__":
    main()
