//! Extensions a machine may have, and the `--isa` strings that choose them.

use core::fmt;

/// Where an extension shows up in the device tree, and whether it can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Part of every machine modelled here, and named in `riscv,isa`.
    Base,
    /// Part of every machine modelled here, and not named in `riscv,isa`.
    Hidden,
    /// A single-letter extension.
    Letter,
    /// An extension with a longer name.
    Named,
    /// A paging mode: the device tree tells it as `mmu-type`.
    Paging,
}

macro_rules! extensions {
    ($( $ext:ident $name:literal $kind:ident [$($needs:ident)*] $doc:literal; )*) => {
        /// An extension, in the canonical order of the manual.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Ext { $( #[doc = $doc] $ext, )* }

        impl Ext {
            /// All extensions in canonical order.
            pub const ALL: &'static [Self] = &[$( Self::$ext, )*];

            /// The name in lower case, as in an ISA string.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$ext => $name, )* }
            }

            /// What the extension is, in a few words.
            pub const fn summary(self) -> &'static str {
                match self { $( Self::$ext => $doc, )* }
            }

            /// The extensions that this one is built upon.
            pub const fn needs(self) -> &'static [Self] {
                match self { $( Self::$ext => &[$( Self::$needs, )*], )* }
            }

            const fn kind(self) -> Kind {
                match self { $( Self::$ext => Kind::$kind, )* }
            }
        }
    };
}

extensions! {
    I           "i"           Base   []       "RV64I base integer instructions";
    M           "m"           Letter []       "multiplication and division";
    A           "a"           Letter []       "atomic instructions";
    F           "f"           Letter [Zicsr]  "single-precision floating point";
    D           "d"           Letter [F]      "double-precision floating point";
    C           "c"           Letter []       "compressed instructions";
    H           "h"           Letter [S Sv39] "hypervisor: two-stage translation and VS mode";
    S           "s"           Hidden [Zicsr]  "supervisor and user modes";
    Zicbom      "zicbom"      Named  []       "cache-block management";
    Zicbop      "zicbop"      Named  []       "cache-block prefetch hints";
    Zicboz      "zicboz"      Named  []       "cache-block zeroing";
    Zicntr      "zicntr"      Named  [Zicsr]  "cycle, time and instret counters";
    Zicsr       "zicsr"       Base   []       "instructions on CSRs";
    Zifencei    "zifencei"    Named  []       "instruction-fetch fence";
    Zihintpause "zihintpause" Named  []       "pause hint";
    Zihpm       "zihpm"       Named  [Zicntr] "hardware performance counters";
    Zawrs       "zawrs"       Named  [A]      "wait on a reservation set";
    Zba         "zba"         Named  []       "address generation";
    Zbb         "zbb"         Named  []       "basic bit manipulation";
    Zbs         "zbs"         Named  []       "single-bit instructions";
    Sstc        "sstc"        Named  [S]      "supervisor timer compare";
    Svadu       "svadu"       Named  [Sv39]   "hardware update of the A and D bits";
    Svinval     "svinval"     Named  [Sv39]   "fine-grained invalidation of translations";
    Svnapot     "svnapot"     Named  [Sv39]   "NAPOT translation contiguity";
    Svpbmt      "svpbmt"      Named  [Sv39]   "page-based memory types";
    Sv39        "sv39"        Paging [S]      "39-bit virtual addresses";
    Sv48        "sv48"        Paging [Sv39]   "48-bit virtual addresses";
    Sv57        "sv57"        Paging [Sv48]   "57-bit virtual addresses";
    Xdv         "xdv"         Named  [H]      "delegated virtualization (DV-ext)";
}

impl Ext {
    /// The extension of this name, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ext| ext.name().eq_ignore_ascii_case(name))
    }

    /// Whether every machine modelled here has it.
    pub const fn is_fixed(self) -> bool {
        matches!(self.kind(), Kind::Base | Kind::Hidden)
    }
}

impl fmt::Display for Ext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of extensions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extensions(u64);

impl Extensions {
    /// What no machine goes without: I, Zicsr and the supervisor and user modes.
    pub const FIXED: Self = Self(0).with(Ext::I).with(Ext::Zicsr).with(Ext::S);

    /// Everything modelled here.
    pub const ALL: Self = Self((1 << Ext::ALL.len()) - 1);

    /// RV64GC with Sv39, and nothing else.
    pub const RV64GC: Self = Self::FIXED
        .with(Ext::M)
        .with(Ext::A)
        .with(Ext::F)
        .with(Ext::D)
        .with(Ext::C)
        .with(Ext::Zifencei)
        .with(Ext::Sv39);

    /// Whether `ext` is in the set.
    pub const fn has(self, ext: Ext) -> bool {
        self.0 >> (ext as u32) & 1 == 1
    }

    /// The set with `ext` added.
    #[must_use]
    pub const fn with(self, ext: Ext) -> Self {
        Self(self.0 | 1 << (ext as u32))
    }

    /// The set with `ext` taken out. What needs it stays: [`Extensions::check`] tells.
    #[must_use]
    pub const fn without(self, ext: Ext) -> Self {
        Self(self.0 & !(1 << (ext as u32)))
    }

    /// The extensions of the set in canonical order.
    pub fn iter(self) -> impl Iterator<Item = Ext> {
        Ext::ALL.iter().copied().filter(move |&ext| self.has(ext))
    }

    /// The set as a number, for a recording's configuration; bit positions follow [`Ext`].
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set that [`Extensions::bits`] gave, or `None` when an unknown bit is set.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// The value of `misa`: MXL = 2 (64 bits) and the letters.
    ///
    /// B stands for Zba, Zbb and Zbs together; X for DV-ext, which is not a standard extension.
    pub const fn misa(self) -> u64 {
        let letters = [
            (Ext::A, b'a'),
            (Ext::C, b'c'),
            (Ext::D, b'd'),
            (Ext::F, b'f'),
            (Ext::H, b'h'),
            (Ext::I, b'i'),
            (Ext::M, b'm'),
            (Ext::S, b's'),
            (Ext::S, b'u'),
            (Ext::Xdv, b'x'),
        ];
        let mut misa = 2 << 62;
        let mut i = 0;
        while i < letters.len() {
            if self.has(letters[i].0) {
                misa |= 1 << (letters[i].1 - b'a');
            }
            i += 1;
        }
        if self.has(Ext::Zba) && self.has(Ext::Zbb) && self.has(Ext::Zbs) {
            misa |= 1 << 1;
        }
        misa
    }

    /// Whether every extension of the set has what it is built upon.
    pub fn check(self) -> Result<(), IsaError<'static>> {
        for ext in Ext::ALL.iter().copied().filter(|ext| ext.is_fixed()) {
            if !self.has(ext) {
                return Err(IsaError::Fixed { ext });
            }
        }
        for ext in self.iter() {
            for &missing in ext.needs() {
                if !self.has(missing) {
                    return Err(IsaError::Needs { ext, missing });
                }
            }
        }
        Ok(())
    }

    /// Reads an `--isa` string: `rv64gc_zba_zbb`, or changes to `default` such as
    /// `no-sstc,no-svadu`, or the first with the second behind it.
    ///
    /// A full string means exactly what it names, plus what no machine goes without and Sv39.
    /// Version numbers (`rv64i2p1`) are not understood. Letters may be of either case.
    pub fn parse(text: &str, default: Self) -> Result<Self, IsaError<'_>> {
        let mut set = default;
        for (i, token) in text.split(',').map(str::trim).enumerate() {
            set = match strip_prefix_ignoring_case(token, "rv64") {
                Some(rest) if i == 0 => parse_full(rest, token)?,
                Some(_) => return Err(IsaError::Misplaced { token }),
                None => modify(set, token)?,
            };
        }
        set.check()?;
        Ok(set)
    }

    /// The names for the property `riscv,isa-extensions`, in canonical order.
    pub fn device_tree_names(self) -> impl Iterator<Item = &'static str> {
        self.iter().filter(|ext| !matches!(ext.kind(), Kind::Hidden | Kind::Paging)).map(Ext::name)
    }

    /// The property `riscv,isa`, such as `rv64imafdc_zicsr_zifencei`.
    pub const fn device_tree_isa(self) -> IsaString {
        IsaString(self)
    }

    /// The property `mmu-type`: the largest paging mode.
    pub const fn mmu_type(self) -> &'static str {
        if self.has(Ext::Sv57) {
            "riscv,sv57"
        } else if self.has(Ext::Sv48) {
            "riscv,sv48"
        } else if self.has(Ext::Sv39) {
            "riscv,sv39"
        } else {
            "riscv,none"
        }
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Writes a set as the device tree's `riscv,isa`, see [`Extensions::device_tree_isa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsaString(Extensions);

impl fmt::Display for IsaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rv64")?;
        for name in self.0.device_tree_names() {
            if name.len() > 1 {
                f.write_str("_")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Why an `--isa` string was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsaError<'a> {
    /// The string names something that is not modelled.
    Unknown {
        /// What it names.
        token: &'a str,
    },
    /// A full string stands behind another part.
    Misplaced {
        /// The full string.
        token: &'a str,
    },
    /// A full string does not begin with `rv64i` or `rv64g`.
    NoBase {
        /// The full string.
        token: &'a str,
    },
    /// An extension was switched off that no machine goes without.
    Fixed {
        /// That extension.
        ext: Ext,
    },
    /// An extension is on that is built upon one that is off.
    Needs {
        /// The one that is on.
        ext: Ext,
        /// The one that is off.
        missing: Ext,
    },
}

impl fmt::Display for IsaError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { token } => write!(f, "unknown extension \"{token}\" in the ISA string"),
            Self::Misplaced { token } => {
                write!(f, "\"{token}\" has to be the first part of the ISA string")
            }
            Self::NoBase { token } => {
                write!(f, "\"{token}\" has to begin with rv64i or rv64g")
            }
            Self::Fixed { ext } => {
                write!(f, "extension {ext} ({}) cannot be switched off", ext.summary())
            }
            Self::Needs { ext, missing } => {
                write!(f, "extension {ext} needs {missing} ({}), which is off", missing.summary())
            }
        }
    }
}

impl core::error::Error for IsaError<'_> {}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// One change to a set: `NAME` or `no-NAME`.
fn modify(set: Extensions, token: &str) -> Result<Extensions, IsaError<'_>> {
    let (name, on) = match strip_prefix_ignoring_case(token, "no-") {
        Some(name) => (name, false),
        None => (token, true),
    };
    let ext = Ext::from_name(name).ok_or(IsaError::Unknown { token: name })?;
    match (on, ext.is_fixed()) {
        (true, _) => Ok(set.with(ext)),
        (false, false) => Ok(set.without(ext)),
        (false, true) => Err(IsaError::Fixed { ext }),
    }
}

/// What follows `rv64`: single letters, then longer names behind underscores.
fn parse_full<'a>(rest: &'a str, token: &'a str) -> Result<Extensions, IsaError<'a>> {
    if !rest.starts_with(['i', 'I', 'g', 'G']) {
        return Err(IsaError::NoBase { token });
    }
    let mut set = Extensions::FIXED.with(Ext::Sv39);
    for part in rest.split('_') {
        set = match Ext::from_name(part) {
            Some(ext) => set.with(ext),
            None => parse_letters(set, part)?,
        };
    }
    Ok(set)
}

/// A run of single letters; the first z, s or x in it begins a longer name.
fn parse_letters(mut set: Extensions, part: &str) -> Result<Extensions, IsaError<'_>> {
    if part.is_empty() {
        return Err(IsaError::Unknown { token: part });
    }
    for (at, letter) in part.char_indices() {
        let tail = &part[at..];
        let one = &part[at..at + letter.len_utf8()];
        match letter.to_ascii_lowercase() {
            'g' => {
                for ext in [Ext::M, Ext::A, Ext::F, Ext::D, Ext::Zifencei] {
                    set = set.with(ext);
                }
            }
            'b' => set = set.with(Ext::Zba).with(Ext::Zbb).with(Ext::Zbs),
            'z' | 's' | 'x' => {
                let ext = Ext::from_name(tail).ok_or(IsaError::Unknown { token: tail })?;
                return Ok(set.with(ext));
            }
            _ => set = set.with(Ext::from_name(one).ok_or(IsaError::Unknown { token: one })?),
        }
    }
    Ok(set)
}
