//! What records consist of: stands in every file, so that an unknown kind can be skipped and shown.

use std::fmt::Write as _;

use crate::varint::{Cursor, Malformed, put, put_bytes, unzigzag};

pub(crate) mod table;
#[cfg(test)]
mod tests;

/// Registers that numbers are written as differences to. Reset at the begin of each chunk.
pub(crate) const N_REGISTERS: usize = 16;
/// Those of a register that is one per vCPU.
pub(crate) const N_BANKS: usize = 8;

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A number.
    Number,
    /// A number of either sign.
    Signed,
    /// One byte.
    Byte,
    /// A length and so many bytes.
    Bytes,
    /// The same, UTF-8.
    Text,
    /// The same, a value in JSON.
    Json,
    /// 32 bytes.
    Hash,
    /// The difference to a register, which then holds the value.
    Delta(u8),
    /// The same, to one more than the register holds.
    Next(u8),
    /// What is left over the first register, as the difference to the second, which then holds it.
    Lag(u8, u8),
    /// A number, which the register then holds.
    Keep(u8),
    /// A number, which chooses the bank of those registers that are one per vCPU.
    Bank,
    /// A byte that chooses a variant, and its fields.
    Sum(u8),
    /// The fields of the only variant, without a byte.
    Group(u8),
}

impl Wire {
    fn encode(self, out: &mut Vec<u8>) {
        let bytes = match self {
            Self::Number => [0, 0, 0],
            Self::Signed => [1, 0, 0],
            Self::Byte => [2, 0, 0],
            Self::Bytes => [3, 0, 0],
            Self::Text => [4, 0, 0],
            Self::Json => [5, 0, 0],
            Self::Hash => [6, 0, 0],
            Self::Delta(register) => [7, register, 0],
            Self::Next(register) => [8, register, 0],
            Self::Lag(base, register) => [9, base, register],
            Self::Keep(register) => [10, register, 0],
            Self::Bank => [11, 0, 0],
            Self::Sum(index) => [12, index, 0],
            Self::Group(index) => [13, index, 0],
        };
        out.extend(bytes);
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let [code, a, b] = cursor.array()?;
        let register = |number: u8| {
            if usize::from(number) < N_REGISTERS { Ok(number) } else { Err(Malformed) }
        };
        Ok(match code {
            0 => Self::Number,
            1 => Self::Signed,
            2 => Self::Byte,
            3 => Self::Bytes,
            4 => Self::Text,
            5 => Self::Json,
            6 => Self::Hash,
            7 => Self::Delta(register(a)?),
            8 => Self::Next(register(a)?),
            9 => Self::Lag(register(a)?, register(b)?),
            10 => Self::Keep(register(a)?),
            11 => Self::Bank,
            12 => Self::Sum(a),
            13 => Self::Group(a),
            _ => return Err(Malformed),
        })
    }
}

/// A variant: its tag, its name, its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) tag: u8,
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, Wire)>,
}

/// All types; the first is the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    /// Bit n: there is one register n per vCPU.
    pub(crate) banked: u32,
    pub(crate) types: Vec<Vec<Variant>>,
}

impl Schema {
    /// What this program writes.
    pub(crate) fn ours() -> Self {
        let variant = |(tag, name, fields): &table::Row| Variant {
            tag: *tag,
            name: (*name).to_owned(),
            fields: fields.iter().map(|(name, wire)| ((*name).to_owned(), *wire)).collect(),
        };
        let types = table::TYPES.iter().map(|rows| rows.iter().map(variant).collect());
        Self { banked: table::BANKED, types: types.collect() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.banked.to_le_bytes().to_vec();
        put(&mut out, self.types.len() as u64);
        for variants in &self.types {
            put(&mut out, variants.len() as u64);
            for variant in variants {
                out.push(variant.tag);
                put_bytes(&mut out, variant.name.as_bytes());
                put(&mut out, variant.fields.len() as u64);
                for (name, wire) in &variant.fields {
                    put_bytes(&mut out, name.as_bytes());
                    wire.encode(&mut out);
                }
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let cursor = &mut Cursor::new(bytes);
        let banked = cursor.u32()?;
        let mut types = Vec::new();
        for _ in 0..cursor.number()? {
            let mut variants = Vec::new();
            for _ in 0..cursor.number()? {
                let (tag, name) = (cursor.byte()?, cursor.text()?.to_owned());
                let mut fields = Vec::new();
                for _ in 0..cursor.number()? {
                    fields.push((cursor.text()?.to_owned(), Wire::decode(cursor)?));
                }
                variants.push(Variant { tag, name, fields });
            }
            types.push(variants);
        }
        if types.is_empty() { Err(Malformed) } else { Ok(Self { banked, types }) }
    }

    pub(crate) fn variant(&self, index: u8, tag: u8) -> Option<&Variant> {
        self.types.get(usize::from(index))?.iter().find(|variant| variant.tag == tag)
    }

    /// Whether records with this tag are written as this program writes them.
    pub(crate) fn agrees(&self, ours: &Self, tag: u8) -> bool {
        match (self.variant(0, tag), ours.variant(0, tag)) {
            (Some(a), Some(b)) => self.banked == ours.banked && self.same(a, ours, b, 8),
            _ => false,
        }
    }

    fn same(&self, a: &Variant, ours: &Self, b: &Variant, depth: usize) -> bool {
        let all = |x: u8, y: u8| {
            let (x, y) = (self.types.get(usize::from(x)), ours.types.get(usize::from(y)));
            let (Some(x), Some(y)) = (x, y) else { return false };
            depth > 0
                && x.len() == y.len()
                && x.iter().zip(y).all(|(a, b)| a.tag == b.tag && self.same(a, ours, b, depth - 1))
        };
        a.fields.len() == b.fields.len()
            && a.fields.iter().zip(&b.fields).all(|((name, x), (other, y))| {
                let wires = match (*x, *y) {
                    (Wire::Sum(x), Wire::Sum(y)) | (Wire::Group(x), Wire::Group(y)) => all(x, y),
                    (x, y) => x == y,
                };
                name == other && wires
            })
    }
}

/// The registers while a chunk is written or read.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    pub(crate) values: [[u64; N_BANKS]; N_REGISTERS],
    pub(crate) bank: usize,
}

impl Registers {
    pub(crate) fn new() -> Self {
        Self { values: [[0; N_BANKS]; N_REGISTERS], bank: 0 }
    }
}

/// Fields of one record, at most: types may contain each other.
const FIELDS_MAX: usize = 4096;
/// And so deep.
const DEPTH_MAX: usize = 8;

/// Reads records by nothing but the schema, as JSON.
#[derive(Debug)]
pub(crate) struct Generic<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) registers: &'a mut Registers,
    budget: usize,
}

impl<'a> Generic<'a> {
    pub(crate) fn new(schema: &'a Schema, registers: &'a mut Registers) -> Self {
        Self { schema, registers, budget: FIELDS_MAX }
    }

    /// A record, whose tag has been read.
    pub(crate) fn record(&mut self, tag: u8, cursor: &mut Cursor<'_>) -> Result<String, Malformed> {
        let variant = self.schema.variant(0, tag).ok_or(Malformed)?;
        let mut out = format!("{{\"event\":{}", quoted(&variant.name));
        for (name, wire) in &variant.fields {
            let _ = write!(out, ",{}:", quoted(name));
            self.field(*wire, cursor, &mut out, 0)?;
        }
        out.push('}');
        Ok(out)
    }

    fn register(&mut self, number: u8) -> &mut u64 {
        let banked = self.schema.banked >> number & 1 == 1;
        let bank = if banked { self.registers.bank } else { 0 };
        &mut self.registers.values[usize::from(number) % N_REGISTERS][bank]
    }

    fn field(
        &mut self,
        wire: Wire,
        cursor: &mut Cursor<'_>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Malformed> {
        self.budget = self.budget.checked_sub(1).ok_or(Malformed)?;
        match wire {
            Wire::Bytes => {
                let list: Vec<String> = cursor.bytes()?.iter().map(u8::to_string).collect();
                let _ = write!(out, "[{}]", list.join(","));
            }
            Wire::Text => out.push_str(&quoted(cursor.text()?)),
            Wire::Json => {
                let value: serde_json::Value =
                    serde_json::from_str(cursor.text()?).map_err(|_no_json| Malformed)?;
                let _ = write!(out, "{value}");
            }
            Wire::Hash => {
                let _ = write!(out, "\"{}\"", hex(&cursor.array::<32>()?));
            }
            Wire::Signed => {
                let _ = write!(out, "{}", unzigzag(cursor.number()?));
            }
            Wire::Sum(index) => {
                let tag = cursor.byte()?;
                let variant = self.schema.variant(index, tag).ok_or(Malformed)?;
                if variant.fields.is_empty() {
                    out.push_str(&quoted(&variant.name));
                } else {
                    let _ = write!(out, "{{{}:", quoted(&variant.name));
                    self.fields(variant, cursor, out, depth)?;
                    out.push('}');
                }
            }
            Wire::Group(index) => {
                let variants = self.schema.types.get(usize::from(index)).ok_or(Malformed)?;
                self.fields(variants.first().ok_or(Malformed)?, cursor, out, depth)?;
            }
            Wire::Number
            | Wire::Byte
            | Wire::Delta(_)
            | Wire::Next(_)
            | Wire::Lag(..)
            | Wire::Keep(_)
            | Wire::Bank => {
                let value = self.number(wire, cursor)?;
                let _ = write!(out, "{value}");
            }
        }
        Ok(())
    }

    fn number(&mut self, wire: Wire, cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
        if wire == Wire::Byte {
            return cursor.byte().map(u64::from);
        }
        let written = cursor.number()?;
        let difference = unzigzag(written).cast_unsigned();
        Ok(match wire {
            Wire::Delta(register) => {
                let value = self.register(register);
                *value = value.wrapping_add(difference);
                *value
            }
            Wire::Next(register) => {
                let value = self.register(register);
                *value = value.wrapping_add(1).wrapping_add(difference);
                *value
            }
            Wire::Lag(base, register) => {
                let base = *self.register(base);
                let lag = self.register(register);
                *lag = lag.wrapping_add(difference);
                base.wrapping_add(*lag)
            }
            Wire::Keep(register) => {
                *self.register(register) = written;
                written
            }
            Wire::Bank => {
                self.registers.bank = usize::try_from(written % N_BANKS as u64).unwrap_or(0);
                written
            }
            Wire::Number
            | Wire::Signed
            | Wire::Byte
            | Wire::Bytes
            | Wire::Text
            | Wire::Json
            | Wire::Hash
            | Wire::Sum(_)
            | Wire::Group(_) => written,
        })
    }

    fn fields(
        &mut self,
        variant: &Variant,
        cursor: &mut Cursor<'_>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return Err(Malformed);
        }
        let unnamed = variant.fields.iter().all(|(name, _)| name.is_empty());
        let (open, close) = match variant.fields.len() {
            1 if unnamed => ("", ""),
            _ if unnamed => ("[", "]"),
            _ => ("{", "}"),
        };
        out.push_str(open);
        for (index, (name, wire)) in variant.fields.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if !unnamed {
                let _ = write!(out, "{}:", quoted(name));
            }
            self.field(*wire, cursor, out, depth + 1)?;
        }
        out.push_str(close);
        Ok(())
    }
}

/// A text in JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The schema as the page has it.
#[must_use]
pub fn schema_table() -> String {
    let schema = Schema::ours();
    let mut text = String::from("| type | tag | name | fields |\n|---|---|---|---|\n");
    for (index, variants) in schema.types.iter().enumerate() {
        for variant in variants {
            let fields = variant.fields.iter().map(|(name, wire)| {
                if name.is_empty() { format!("{wire:?}") } else { format!("`{name}` {wire:?}") }
            });
            let (tag, name) = (variant.tag, &variant.name);
            let fields: Vec<String> = fields.collect();
            let _ = writeln!(text, "| {index} | {tag} | {name} | {} |", fields.join(", "));
        }
    }
    let banked = (0..32).filter(|bit| schema.banked >> bit & 1 == 1).map(|bit| format!("{bit}"));
    let _ = writeln!(text, "\nOne per vCPU: registers {}.", banked.collect::<Vec<_>>().join(", "));
    text
}
