#!/bin/sh
# Builds for NVIDIA cards: tools/cuda/build.sh [arguments of cargo build, such as --bin sidql]
#
# Where there is a CUDA toolkit (nvcc), this is `cargo build --release --features cuda`. Where there is none, the compiler comes
# from NVIDIA's packages on PyPI, and two crates are built from copies: candle-core, so that the driver and NVIDIA's libraries
# are loaded when a card is asked for and the program starts without them; candle-kernels, without the kernels that sidql does
# not use (build.rs beside this file). TOOLKIT=no takes this way also where there is a toolkit.
#
# CUDA_COMPUTE_CAP is the oldest generation of cards that it must run on: 80 (Ampere) if not given. Younger ones run it too.
set -eu
cargo=${CARGO:-cargo}
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target/cuda}
here=$target/toolkit
cd "$root"
export CARGO_TARGET_DIR="$target" CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"

if [ "${TOOLKIT:-yes}" != no ] && command -v nvcc >/dev/null; then
	exec $cargo build --release --locked --features cuda "$@"
fi

command -v python3 >/dev/null || { echo "python3 is missing: it fetches NVIDIA's compiler from PyPI" >&2; exit 1; }
mkdir -p "$here"
nvidia=$here/nvidia/cu13
if [ ! -x "$nvidia/bin/nvcc" ]; then
	python3 -m pip install --quiet --no-deps --target "$here" \
		nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
		nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
fi
[ -e "$nvidia/lib64" ] || ln -s lib "$nvidia/lib64"
export CUDA_HOME="$nvidia" CUDA_PATH="$nvidia" CUDA_ROOT="$nvidia" NVCC="$nvidia/bin/nvcc" PATH="$nvidia/bin:$PATH"

# The folder of a crate at the version of Cargo.lock.
crate() {
	$cargo metadata --format-version 1 --locked --features cuda | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == sys.argv[1]))' "$1"
}
for name in candle-core candle-kernels; do
	from=$(crate "$name")
	rm -rf "${here:?}/$name"
	cp -r "$from" "$here/$name"
done
sed -i 's/"dynamic-linking"/"fallback-dynamic-loading"/' "$here/candle-core/Cargo.toml"
grep -q fallback-dynamic-loading "$here/candle-core/Cargo.toml" || {
	echo "candle-core names cudarc in another way than this script knows" >&2; exit 1; }
cp tools/cuda/build.rs "$here/candle-kernels/build.rs"

# Crates that take the place of others are noted in Cargo.lock, which is not wanted there.
cp Cargo.lock "$here/Cargo.lock"
trap 'cp "$here/Cargo.lock" Cargo.lock' EXIT
$cargo build --release --features cuda \
	--config "patch.crates-io.candle-core.path='$here/candle-core'" \
	--config "patch.crates-io.candle-kernels.path='$here/candle-kernels'" "$@"
