//! Register names: ABI names of x and f registers, and the way back.

/// ABI names of the integer registers.
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// ABI names of the floating-point registers.
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

/// The ABI name of integer register `n`; only the low five bits of `n` count.
pub const fn x_name(n: u8) -> &'static str {
    X_NAMES[(n & 31) as usize]
}

/// The ABI name of floating-point register `n`; only the low five bits of `n` count.
pub const fn f_name(n: u8) -> &'static str {
    F_NAMES[(n & 31) as usize]
}

/// The integer register of this ABI or numeric name: `a0`, `x10`, `fp` for `s0`.
pub fn parse_x(name: &str) -> Option<u8> {
    if name == "fp" {
        return parse_x("s0");
    }
    position(&X_NAMES, name).or_else(|| numeric(name, 'x'))
}

/// The floating-point register of this ABI or numeric name: `fa0`, `f10`.
pub fn parse_f(name: &str) -> Option<u8> {
    position(&F_NAMES, name).or_else(|| numeric(name, 'f'))
}

fn position(names: &[&str; 32], name: &str) -> Option<u8> {
    (0u8..).zip(names).find(|(_, known)| **known == name).map(|(n, _)| n)
}

/// `x7` but neither `x07` nor `x+7`.
fn numeric(name: &str, letter: char) -> Option<u8> {
    let digits = name.strip_prefix(letter)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok().filter(|n| *n < 32)
}
