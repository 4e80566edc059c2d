#!/bin/sh
# Runs guests under QEMU and OpenSBI: a second opinion on what the guests expect.
#   qemu.sh [IMAGE…]      HARTS="1 4" and QEMU may be set
set -u
: "${QEMU:=qemu-system-riscv64}"
failed=0
for elf in ${*:-prebuilt/*.elf}; do
    name=$(basename "$elf" .elf)
    # QEMU's own flags for a guest, from its manifest row: "none" leaves it out.
    flags=$(sed -n "/^\[guest\.$name\]/,/^\[/s/^qemu = \"\([^\"]*\)\".*/\1/p" guests.toml)
    [ "$flags" = none ] && continue
    forever=$(sed -n "/^\[guest\.$name\]/,/^\[/s/^expect = \"forever\"/yes/p" guests.toml)
    for harts in ${HARTS:-1 4}; do
        if [ -n "$forever" ]; then     # told to power off, it has to
            (sleep 3; printf 'off\r'; sleep 1) | timeout 60 "$QEMU" -M virt -m 256 -smp "$harts" \
                -nographic -kernel "$elf" >/dev/null 2>&1
            code=$?
            [ "$code" = 0 ] || failed=1
            echo "$name, $harts harts: exit $code, told to power off"
            continue
        fi
        # shellcheck disable=SC2086 # the flags are words
        out=$(timeout 60 "$QEMU" -M virt -m 256 -smp "$harts" $flags -nographic -kernel "$elf" </dev/null 2>&1)
        code=$?
        verdict=$(printf '%s\n' "$out" | tr -d '\r' | grep -aoE "(PASS|FAIL) $name.*" | tail -n 1)
        if [ "$code" != 0 ] || [ "$verdict" != "PASS $name" ]; then failed=1; fi
        echo "$name, $harts harts: exit $code, ${verdict:-no verdict}"
    done
done
exit $failed
