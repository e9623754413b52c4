#!/bin/sh
# bench/captions.sh   what captions in the codes bring a policy: `decoder` and `hybrid` on industrial_mm, whose items have real
# captions of their photos. Some minutes.
#
# In the environment: DATA, the folder of the data (../shared/data); SIDQL_MODELS, the folder of models; SEEDS (1 2 3).
set -eu
cd "$(dirname "$0")/.."
data=$(cd "${DATA:-../shared/data}" && pwd)/industrial_mm
models=$(cd "${SIDQL_MODELS:?names no folder}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --locked --quiet --bin sidql
program=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)/sidql

# Of each user the longest of its samples, which holds the others.
gzip -dc "$data"/train.tsv.gz "$data"/valid.tsv.gz "$data"/test.tsv.gz | awk -F '\t' -v OFS='\t' '
  { count = split($2, items, " ") }
  count + 1 > longest[$1] { longest[$1] = count + 1; sequence[$1] = $2 " " $3 }
  END { for (user in sequence) print user, sequence[user] }' | sort -n >"$work/sequences.tsv"

space() { echo "ENRICH items BY text USING minilm WITH (parts = $2, space = '$1');
CREATE CODEBOOK $1 USING rq_kmeans ON $1 WITH (levels = 3, codes = 32);
REBUILD CODEBOOK $1;"; }
{
  echo "COPY items FROM '$data/items.jsonl.gz';"
  echo "COPY interactions FROM '$work/sequences.tsv' WITH (layout = 'sequences');"
  echo "ENRICH items BY caption WITH (from = 'caption');"
  echo "CREATE MODEL minilm USING bert WITH (path = '$models/minilm-fp16');"
  space text "['title', 'description']"
  space captioned "['title', 'description', 'caption']"
  for kind in decoder hybrid; do
    for seed in ${SEEDS:-1 2 3}; do
      for codes in text captioned; do
        name=${kind}_${codes}_$seed
        echo "CREATE POLICY $name USING $kind ON CODEBOOK $codes;"
        echo "TRAIN POLICY $name WITH (epochs = 60, patience = 6, seed = $seed);"
        echo "EVALUATE POLICY $name ON test AT 10;"
      done
    done
  done
  echo ".mode jsonl"
  echo "SELECT policy, metrics FROM evaluations;"
} >"$work/captions.sql"
"$program" "$work/captions.sidql" --mode box -f "$work/captions.sql"
