#!/bin/sh
# bench/base.sh   what a pretrained base brings `decoder`: the same shape from SmolLM2's weights and from random ones, on the
# users and items of Beauty with twelve interactions at least. An hour or two on two cores.
#
# In the environment: DATA, the folder of the data (../shared/data); SIDQL_MODELS, the folder of models; PYTHON, an
# interpreter with bench/peers/python/requirements.txt and gguf.
set -eu
cd "$(dirname "$0")/.."
data=$(cd "${DATA:-../shared/data}" && pwd)
models=$(cd "${SIDQL_MODELS:?names no folder}" && pwd)
gguf=$(echo "$models"/smollm2-135m/*.gguf)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --locked --quiet --bin sidql
program=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)/sidql
"${PYTHON:?names no interpreter}" bench/peers/python/base.py "$data/beauty" "$gguf" "$work"
cat >"$work/base.sql" <<END
.timer on
COPY items FROM 'items.jsonl';
COPY interactions FROM 'sequences.tsv' WITH (layout = 'sequences');
CREATE MODEL minilm USING bert WITH (path = '$models/minilm-fp16');
ENRICH items BY text USING minilm;
CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 3, codes = 64);
REBUILD CODEBOOK full;
CREATE MODEL pretrained USING causal_lm WITH (path = '$gguf');
CREATE MODEL random USING causal_lm WITH (path = 'random');
CREATE POLICY popular USING popular;
TRAIN POLICY popular;
CREATE POLICY small USING decoder ON CODEBOOK full WITH (history = 12);
TRAIN POLICY small WITH (epochs = 60, patience = 6);
CREATE POLICY pretrained USING decoder ON CODEBOOK full WITH (base = 'pretrained', lora = 0, history = 12);
TRAIN POLICY pretrained WITH (epochs = 3, batch = 16, lr = 0.0003, warmup = 20, validation_users = 200);
CREATE POLICY random USING decoder ON CODEBOOK full WITH (base = 'random', lora = 0, history = 12);
TRAIN POLICY random WITH (epochs = 3, batch = 16, lr = 0.0003, warmup = 20, validation_users = 200);
EVALUATE POLICY popular ON test AT 5, 10;
EVALUATE POLICY small ON test AT 5, 10;
EVALUATE POLICY pretrained ON test AT 5, 10 WITH (beam = 10);
EVALUATE POLICY random ON test AT 5, 10 WITH (beam = 10);
END
cd "$work"
"$program" base.sidql --mode box -f base.sql
