#!/bin/sh
# Rebuilds every guest beside the committed images and compares bytes.
set -eu
cross=${1:-riscv64-unknown-elf-}
if ! command -v "${cross}gcc" >/dev/null; then
    echo "guests: no ${cross}gcc here, images not rebuilt"
    exit 0
fi
(cd prebuilt && sha256sum --check --quiet SHA256SUMS)
rm -rf build
make --no-print-directory -s CROSS="$cross" OUT=build
if ! cmp -s build/COMPILER prebuilt/COMPILER; then
    echo "guests: built with another compiler than prebuilt/COMPILER says, bytes not compared"
    exit 0
fi
for image in build/*.elf prebuilt/*.elf; do
    name=${image##*/}
    cmp "build/$name" "prebuilt/$name"
    size=$(wc -c < "prebuilt/$name")
    [ "$size" -lt 65536 ] || { echo "prebuilt/$name: $size bytes, the limit is 64 KiB"; exit 1; }
    grep -q "^\[guest\.${name%.elf}\]" guests.toml || { echo "guests.toml: no [guest.${name%.elf}]"; exit 1; }
done
echo "guests: $(ls prebuilt/*.elf | wc -l) images are as committed"
