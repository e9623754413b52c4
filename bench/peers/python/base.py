"""The files of bench/base.sh: the dense core of a data set, and random weights in the shape of a pretrained base.

base.py DATA GGUF FOLDER   DATA holds items.jsonl.gz and sequences.tsv.gz
"""

import gzip
import json
import pathlib
import sys
from collections import Counter

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

CORE = 12  # of every user and every item, as many interactions at least


def core(histories):
    """Leaves out what has too few interactions until nothing more falls."""
    while True:
        counts = Counter(item for history in histories.values() for item in history)
        kept = {user: [item for item in history if counts[item] >= CORE] for user, history in histories.items()}
        kept = {user: history for user, history in kept.items() if len(history) >= CORE}
        if kept == histories:
            return kept
        histories = kept


def main(data, gguf, folder):
    with gzip.open(data / "sequences.tsv.gz", "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    histories = core({user: items.split(" ") for user, items in rows})
    items = {item for history in histories.values() for item in history}
    (folder / "sequences.tsv").write_text("".join(f"{u}\t{' '.join(h)}\n" for u, h in histories.items()))
    with gzip.open(data / "items.jsonl.gz", "rt") as file:
        lines = [line for line in file if str(json.loads(line)["id"]) in items]
    (folder / "items.jsonl").write_text("".join(lines))
    print(f"{len(histories)} users, {len(items)} items, {sum(map(len, histories.values()))} interactions")

    torch.manual_seed(0)
    of = dict(gguf_file=gguf.name)
    config = LlamaConfig.from_pretrained(gguf.parent, **of)
    LlamaForCausalLM(config).to(torch.float16).save_pretrained(folder / "random")
    AutoTokenizer.from_pretrained(gguf.parent, **of).save_pretrained(folder / "random")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
