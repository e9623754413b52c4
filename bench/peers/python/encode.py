"""Encodes titles with sentence-transformers, as `bench/src/bin/encode.rs` asks.

usage: encode.py ITEMS.jsonl.gz MODEL_FOLDER OUT.f32 THREADS

Prints one line of JSON: seconds to load, seconds to encode, peak memory in MiB, versions.
"""

import gzip
import json
import resource
import sys
import time

started = time.perf_counter()

import numpy
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer, models

items, folder, out, threads = sys.argv[1:5]
torch.set_num_threads(int(threads))
titles = [json.loads(line).get("title", "") for line in gzip.open(items, "rt")]
words = models.Transformer(folder, max_seq_length=256, model_kwargs={"dtype": torch.float32})
pooling = models.Pooling(words.get_embedding_dimension(), pooling_mode="mean")
model = SentenceTransformer(modules=[words, pooling, models.Normalize()], device="cpu")
loaded = time.perf_counter()
vectors = model.encode(titles, batch_size=32, convert_to_numpy=True, show_progress_bar=False)
done = time.perf_counter()
numpy.asarray(vectors, dtype=numpy.float32).tofile(out)
print(
    json.dumps(
        {
            "load": loaded - started,
            "encode": done - loaded,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "versions": f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}",
        }
    )
)
