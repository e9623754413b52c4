#!/bin/sh
# bench/run.sh NAME [MACHINE]   runs a measurement and keeps what it says in bench/runs/<date>-<MACHINE>/
#
# NAME      a script of statements, NAME.sql, which runs in a folder with the data, and the models as `models`; a program of
#           sidql-bench; or a program of Python, python/NAME.py, which needs the module of bindings/python in PYTHON
# MACHINE   in words that anybody may read; by itself the cores and the system
#
# In the environment: DATA, the folder of the data (../shared/data); NOTE, what a reader of the figures should
# know, for example what else ran; FEATURES, cargo features of sidql-bench (`faiss` for near); ARGS, what a program is told
# beside its own defaults, and AS, the name that such a run is kept by (`near_1m`); REPLACE, if anything, lets a run take
# the place of one of the same day. Programs read SIDQL_MODELS, the folder of models, and PYTHON, an interpreter with
# bench/peers/python/requirements.txt.
set -eu

[ $# -ge 1 ] && [ $# -le 2 ] || { echo "usage: bench/run.sh NAME [MACHINE]" >&2; exit 2; }
cd "$(dirname "$0")/.."
root=$PWD
name=$1
as=${AS:-$name}
cores=$(nproc)
system=$(. /etc/os-release && echo "$ID$VERSION_ID")
machine=${2:-${cores}core-$system}
folder=$root/bench/runs/$(date -u +%Y-%m-%d)-$machine

if [ -e "$folder/$as.txt" ] && [ -z "${REPLACE:-}" ]; then
  echo "bench/runs/$(basename "$folder")/$as.txt is there already; set REPLACE=1 to take its place" >&2
  exit 2
fi

# Where the programs are, once they have been built.
built() { (cd "${CARGO_TARGET_DIR:-target}/release" && pwd); }
load() { cut -d' ' -f1-3 /proc/loadavg; }
version() { grep -A1 "^name = \"$1\"$" Cargo.lock | sed -n 's/^version = "\(.*\)"$/\1/p' | head -1; }

commit=$(git rev-parse --short HEAD)
changed=$(git status --porcelain -- src storage grammar bench/src bench/peers "bench/$name.sql" Cargo.lock | wc -l)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -f "bench/$name.sql" ]; then
  cargo build --release --locked --quiet --bin sidql
  before=$(load)
  program=$(built)/sidql
  echo "$name runs; this can take many minutes"
  mkdir "$work/in"
  for entry in "$(cd "${DATA:-../shared/data}" && pwd)"/*; do ln -s "$entry" "$work/in/"; done
  [ -z "${SIDQL_MODELS:-}" ] || ln -sfn "$(cd "$SIDQL_MODELS" && pwd)" "$work/in/models"
  (cd "$work/in" && "$program" "$work/$name.sidql" --mode box \
    -f "$root/bench/$name.sql" >"$work/$name.txt" 2>"$work/$name.log") || {
    cat "$work/$name.txt" "$work/$name.log" >&2
    exit 1
  }
  rm "$work/$name.sidql"
elif [ -f "bench/src/bin/$name.rs" ] || [ -d "bench/src/bin/$name" ]; then
  # shellcheck disable=SC2086
  cargo build --release --locked --quiet -p sidql-bench --bin "$name" ${FEATURES:+--features $FEATURES}
  before=$(load)
  # shellcheck disable=SC2086
  "$(built)/$name" --out "$work" ${ARGS:-} >"$work/$name.txt"
  mv "$work/raw.tsv" "$work/$name.tsv"
elif [ -f "bench/python/$name.py" ]; then
  before=$(load)
  "${PYTHON:?names no interpreter}" "bench/python/$name.py" --out "$work" ${ARGS:-} >"$work/$name.txt"
  mv "$work/raw.tsv" "$work/$name.tsv"
elif [ -f "bench/$name.sh" ]; then
  before=$(load)
  "bench/$name.sh" '' arrow parquet cli >"$work/$name.txt"
else
  echo "no measurement is called $name" >&2
  exit 2
fi
cat "$work/$name.txt"

mkdir -p "$folder"
for file in "$work/$name".*; do
  mv "$file" "$folder/$as.${file##*.}"
done
readme=$folder/README.md
[ -f "$readme" ] || printf '# %s\n\n' "$(basename "$folder")" >"$readme"
# The section of an earlier run of the same name goes.
awk -v head="## $as" '/^## / { gone = ($0 == head) } !gone' "$readme" >"$work/readme"
cat "$work/readme" - >"$readme" <<END
## $as

- command: \`${FEATURES:+FEATURES='$FEATURES' }${ARGS:+ARGS='$ARGS' AS=$as }bench/run.sh $name $machine\`
- commit: $commit, $changed files changed since
- versions: $(rustc --version | cut -d' ' -f1-2), redb $(version redb), rusqlite $(version rusqlite)
- machine: $cores cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $system
- load before: $before; after: $(load)
- note: ${NOTE:-none}

END
echo "kept in bench/runs/$(basename "$folder")"
