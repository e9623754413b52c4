#!/bin/sh
# bench/embed.sh   what a plain embed of the crate costs: crates, processor time of a release build from nothing, bytes of a
# program that opens a database and asks it. The first column adds to `default-features = false`.
#
# WORK is an empty folder, which is removed; by itself a temporary one. Features may be named as arguments.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=${WORK:-$(mktemp -d)}
mkdir -p "$work/src"
trap 'rm -rf "$work"' EXIT
cp rustfmt.toml Cargo.lock "$work/"
cat >"$work/src/main.rs" <<'END'
fn main() -> sidql::Result<()> {
    let db = sidql::Database::open(std::env::args().nth(1).unwrap_or_default())?;
    for row in &db.query("SELECT id FROM items LIMIT 5", ())? {
        println!("{}", row.get::<String>("id")?);
    }
    Ok(())
}
END
printf 'features\tcrates\tprocessor_s\tbytes\n'
for features in "${@:-}"; do
  cat >"$work/Cargo.toml" <<END
[package]
name = "embed"
version = "0.0.0"
edition = "2024"

[dependencies]
sidql = { path = "$root", default-features = false, features = [$(echo "$features" | sed 's/[^ ][^ ]*/"&",/g')] }

[profile.release]
strip = true
END
  crates=$(cd "$work" && cargo tree --quiet --edges normal,build --prefix none | sed 's/ .*//' | sort -u | wc -l)
  # The folder is kept between the lines: each tells what it adds to the first.
  began=$(awk '{ print $16 + $17 }' /proc/$$/stat)
  (cd "$work" && CARGO_TARGET_DIR="$work/target" cargo build --release --quiet)
  ended=$(awk '{ print $16 + $17 }' /proc/$$/stat)
  seconds=$(((ended - began) / $(getconf CLK_TCK)))
  printf '%s\t%s\t%s\t%s\n' "${features:-none}" "$crates" "$seconds" "$(stat -c %s "$work/target/release/embed")"
done
