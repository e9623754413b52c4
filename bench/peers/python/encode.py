"""The peer of `encode`: the titles of a file as vectors, by sentence-transformers.

Prints lines of a name, a tab and a number, as the children of the measurements do: seconds to import, to load the
model and to encode, and the peak of memory in MiB. The vectors go to a file as 32-bit floats, row by row.
"""

import argparse
import json
import time


def peak_mib():
    """The most memory that this process had so far."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--texts", required=True, help="JSON lines with a title each")
    args.add_argument("--weights", required=True, help="the folder of the model")
    args.add_argument("--vectors", required=True, help="the file to write")
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--batch", type=int, default=32, help="sentence-transformers' default")
    args = args.parse_args()

    started = time.perf_counter()
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    imported = time.perf_counter()
    torch.set_num_threads(args.threads)
    # A folder without sentence-transformers' own cards: the layers of all-MiniLM-L6-v2 by hand. Weights of 16 bits are
    # widened, as the other side does.
    words = Transformer(
        args.weights, max_seq_length=256, model_kwargs={"dtype": torch.float32}
    )
    pooling = Pooling(words.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[words, pooling, Normalize()], device="cpu")
    loaded = time.perf_counter()
    with open(args.texts) as lines:
        texts = [json.loads(line)["title"] for line in lines]
    began = time.perf_counter()
    vectors = model.encode(texts, batch_size=args.batch, show_progress_bar=False)
    done = time.perf_counter()
    vectors.astype("<f4").tofile(args.vectors)

    for name, figure in [
        ("import", imported - started),
        ("load", loaded - imported),
        ("encode", done - began),
        ("peak", peak_mib()),
    ]:
        print(f"{name}\t{figure}")


if __name__ == "__main__":
    main()
