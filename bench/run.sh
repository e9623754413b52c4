#!/bin/sh
# bench/run.sh NAME [ARGUMENT...]   runs a measurement and keeps what it says in bench/runs/<date>-<machine>/NAME/
#
# MACHINE   names the machine in words that anybody may read; by itself the cores and the system
# NOTE      goes into the README of the run, for example what else ran at the time
# REPLACE   if set, a run of the same day is written over
set -eu

[ $# -ge 1 ] || { echo "usage: bench/run.sh NAME [ARGUMENT...]" >&2; exit 2; }
cd "$(dirname "$0")/.."
name=$1
shift
[ -f "bench/src/bin/$name.rs" ] || [ -d "bench/src/bin/$name" ] || {
  echo "no measurement is called $name" >&2
  exit 2
}

cores=$(nproc)
system=$(. /etc/os-release && echo "$ID$VERSION_ID")
folder=bench/runs/$(date -u +%Y-%m-%d)-${MACHINE:-${cores}core-$system}/$name
if [ -e "$folder" ] && [ -z "${REPLACE:-}" ]; then
  echo "$folder is there already; set REPLACE=1 to write it over" >&2
  exit 2
fi

cargo build --release --locked --quiet -p sidql-bench --bin "$name"
rm -rf "$folder"
mkdir -p "$folder"

state=$(git rev-parse --short HEAD)
changed=$(git status --porcelain --untracked-files=no -- src storage grammar bench/src Cargo.lock | wc -l)
version() { cargo metadata --format-version 1 --locked | tr '{' '\n' | sed -n "s/^\"name\":\"$1\",\"version\":\"\([^\"]*\)\".*/\1/p" | head -1; }
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
load=$(cut -d' ' -f1-3 /proc/loadavg)

"${CARGO_TARGET_DIR:-target}/release/$name" --out "$folder" "$@" | tee "$folder/output.txt"

cat > "$folder/README.md" <<END
# $name

| | |
| --- | --- |
| command | \`bench/run.sh $name${*:+ $*}\` |
| commit | $state, $changed files changed since |
| versions | $(rustc --version), redb $(version redb), rusqlite $(version rusqlite) |
| machine | $cores cores, $processor, $memory, $system |
| load before and after | $load; $(cut -d' ' -f1-3 /proc/loadavg) |
| note | ${NOTE:-none} |

\`output.txt\` is what the run printed, \`raw.tsv\` its tables.
END
echo "kept in $folder"
