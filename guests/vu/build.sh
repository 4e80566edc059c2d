#!/bin/sh
# Builds rv64u* tests of a riscv-tests checkout as U-mode guests with our supervisor around them.
#   build.sh RISCV_TESTS_DIR OUT [SUITE…]       (default: rv64ui rv64um rv64ua rv64uf rv64ud rv64uc)
# The images are OUT/<suite>-vu-<test>.elf; a pass is "PASS <suite>-vu-<test>" and a shutdown
# without a reason. Nothing of the tests is kept here.
set -eu
if [ $# -lt 2 ] || [ ! -d "$1/isa/macros/scalar" ]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit 2
fi
: "${CROSS:=riscv64-unknown-elf-}"
tests=$(cd "$1/isa" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- rv64ui rv64um rv64ua rv64uf rv64ud rv64uc
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

common="-mabi=lp64d -mcmodel=medany -mno-relax -nostdlib -static -ffreestanding -Wa,-mno-relax"
base=rv64gc_zicsr_zifencei
# The supervisor: one object, its sections renamed so that the linker can tell them from the test's.
for source in "$here/../start.S" "$here/env/entry.S" "$here/env/supervisor.c"; do
    # shellcheck disable=SC2086 # flags are words
    "${CROSS}gcc" $common -march=$base -Os -Wall -Wextra -Werror -fno-asynchronous-unwind-tables \
        -fno-tree-loop-distribute-patterns -I "$here/.." -c -o "$work/$(basename "$source").o" "$source"
done
"${CROSS}ld" -r -o "$work/all.o" "$work"/*.S.o "$work"/*.c.o
"${CROSS}objcopy" --prefix-alloc-sections=.kernel "$work/all.o" "$work/kernel.o"

built=0
skipped=
for suite in "$@"; do
    extension=${suite#rv64u}
    case $extension in
        ?) march=$base ;;
        *) march=${base}_$extension ;;
    esac
    for source in "$tests/$suite"/*.S; do
        name=$suite-vu-$(basename "$source" .S)
        printf '.globl guest_name\n.section .kernel.rodata\nguest_name: .asciz "%s"\n' "$name" > "$work/name.S"
        # shellcheck disable=SC2086
        if "${CROSS}gcc" $common -march="$march" -I "$here/env" -I "$tests/macros/scalar" \
            -Wl,--no-relax,--build-id=none,--no-warn-rwx-segments,-T,"$here/env/link.ld" \
            -o "$out/$name.elf" "$work/kernel.o" "$work/name.S" "$source" 2> "$work/errors"; then
            "${CROSS}strip" --strip-debug "$out/$name.elf"
            built=$((built + 1))
        else
            skipped="$skipped $name"
            head -n 1 "$work/errors" >&2
        fi
    done
done
echo "$built images in $out"
[ -z "$skipped" ] || echo "not built, this compiler does not know them:$skipped"
