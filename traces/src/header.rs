//! The file's header: what a recording was made of.
//!
//! ```text
//!  0 magic 89 "DVT" 0d 0a 1a 0a     8 major   10 minor   12 length of the body
//! 16 required features             24 optional features
//! 32 body: sections, each a tag, a length and so many bytes
//!    then a CRC over all before
//! ```

use thiserror::Error;

use crate::schema;
use crate::varint::{Cursor, Malformed, is_crc, put, put_bytes};

/// The first bytes of a file.
pub const FILE_MAGIC: [u8; 8] = [0x89, b'D', b'V', b'T', 0x0d, 0x0a, 0x1a, 0x0a];
/// Another container.
pub const MAJOR: u16 = 1;
/// Additions that older programs can do without.
pub const MINOR: u16 = 0;
/// Bytes before the body.
pub const FILE_HEADER: usize = 32;
/// No body is longer.
pub const BODY_MAX: usize = 1 << 20;
/// Features that a reader must know, by bit: none yet.
pub const REQUIRED: &[&str] = &[];

/// Sections of the body.
const RECORDING: u8 = 1;
const SCHEMA: u8 = 2;
const FEATURES: u8 = 3;

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VM.
    Vm,
    /// A bare machine.
    Machine,
}

/// What was loaded into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Payload, initrd, dtb, firmware or disk.
    pub role: String,
    /// A path, or the name of a guest that comes with the program.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content; of a disk zero, for its blocks are hashed when they are first read.
    pub hash: [u8; 32],
}

/// What a recording was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Program and version.
    pub tool: String,
    /// Version of the saved state's format.
    pub model: u32,
    /// What was recorded.
    pub kind: Kind,
    /// Resolved options, in order.
    pub settings: Vec<(String, String)>,
    /// Everything that was loaded.
    pub images: Vec<Image>,
    /// A number of its own for each recording.
    pub id: [u8; 16],
}

/// Why bytes are not the header of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("not a recording")]
    Foreign,
    #[error("format {major}.x is newer than {MAJOR}.x")]
    Newer { major: u16 },
    #[error("it needs {0}, which this program does not have")]
    Feature(String),
    #[error("its header is damaged")]
    Damaged,
    #[error("its header is cut off")]
    Short,
}

impl Header {
    fn section(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.tool.as_bytes());
        put(&mut out, u64::from(self.model));
        out.push(match self.kind {
            Kind::Vm => 0,
            Kind::Machine => 1,
        });
        out.extend(self.id);
        put(&mut out, self.settings.len() as u64);
        for (name, value) in &self.settings {
            put_bytes(&mut out, name.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        put(&mut out, self.images.len() as u64);
        for image in &self.images {
            put_bytes(&mut out, image.role.as_bytes());
            put_bytes(&mut out, image.name.as_bytes());
            put(&mut out, image.bytes);
            out.extend(image.hash);
        }
        out
    }

    fn from_section(bytes: &[u8]) -> Result<Self, Malformed> {
        let cursor = &mut Cursor::new(bytes);
        let tool = cursor.text()?.to_owned();
        let model = u32::try_from(cursor.number()?).map_err(|_wide| Malformed)?;
        let kind = match cursor.byte()? {
            0 => Kind::Vm,
            1 => Kind::Machine,
            _ => return Err(Malformed),
        };
        let id = cursor.array()?;
        let mut settings = Vec::new();
        for _ in 0..cursor.number()? {
            settings.push((cursor.text()?.to_owned(), cursor.text()?.to_owned()));
        }
        let mut images = Vec::new();
        for _ in 0..cursor.number()? {
            let (role, name) = (cursor.text()?.to_owned(), cursor.text()?.to_owned());
            images.push(Image { role, name, bytes: cursor.number()?, hash: cursor.array()? });
        }
        // What follows is from a later minor version.
        Ok(Self { tool, model, kind, settings, images, id })
    }

    /// The whole header as it stands in the file.
    pub(crate) fn encode(&self, schema: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (tag, section) in [(RECORDING, self.section()), (SCHEMA, schema.to_vec())] {
            body.push(tag);
            put_bytes(&mut body, &section);
        }
        let mut out = FILE_MAGIC.to_vec();
        out.extend(MAJOR.to_le_bytes());
        out.extend(MINOR.to_le_bytes());
        out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend([0; 16]);
        out.extend(body);
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }
}

/// A header that was read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) header: Header,
    pub(crate) schema: schema::Schema,
    pub(crate) minor: u16,
    /// Its bytes in the file.
    pub(crate) len: usize,
}

/// How long a header is, from its first bytes.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, HeaderError> {
    let cursor = &mut Cursor::new(bytes);
    let n = bytes.len().min(FILE_MAGIC.len());
    if bytes[..n] != FILE_MAGIC[..n] {
        return Err(HeaderError::Foreign);
    }
    let mut parts = || -> Result<(u16, u32), Malformed> {
        cursor.take(FILE_MAGIC.len())?;
        let major = cursor.u16()?;
        cursor.u16()?;
        let body = cursor.u32()?;
        cursor.take(16)?;
        Ok((major, body))
    };
    let (major, body) = parts().map_err(|Malformed| HeaderError::Short)?;
    if major > MAJOR {
        return Err(HeaderError::Newer { major });
    }
    if major == 0 || body as usize > BODY_MAX {
        return Err(HeaderError::Damaged);
    }
    Ok(FILE_HEADER + body as usize + 4)
}

/// Reads a header, all of which must be there.
pub(crate) fn decode(bytes: &[u8]) -> Result<Read, HeaderError> {
    let len = length(bytes)?;
    let whole = bytes.get(..len).ok_or(HeaderError::Short)?;
    let (body, crc) = whole.split_at(len - 4);
    if !is_crc(crc32c::crc32c(body), crc) {
        return Err(HeaderError::Damaged);
    }
    sections(body).map_err(|Malformed| HeaderError::Damaged)?.map(|(minor, header, schema)| Read {
        header,
        schema,
        minor,
        len,
    })
}

type Sections = Result<(u16, Header, schema::Schema), HeaderError>;

fn sections(bytes: &[u8]) -> Result<Sections, Malformed> {
    let cursor = &mut Cursor::new(bytes);
    cursor.take(10)?;
    let minor = cursor.u16()?;
    cursor.take(4)?;
    let required = cursor.u64()?;
    cursor.take(8)?;
    let (mut header, mut schema, mut names) = (None, None, Vec::new());
    while !cursor.is_empty() {
        let tag = cursor.byte()?;
        let section = cursor.bytes()?;
        match tag {
            RECORDING => header = Some(Header::from_section(section)?),
            SCHEMA => schema = Some(schema::Schema::decode(section)?),
            FEATURES => names = feature_names(section)?,
            _ => {}
        }
    }
    let unknown = (0..64).find(|bit| required >> bit & 1 == 1 && *bit >= REQUIRED.len());
    if let Some(bit) = unknown {
        let name = names.iter().find(|(number, _)| *number == bit as u64);
        let name = name.map_or_else(|| format!("feature {bit}"), |(_, name)| format!("\"{name}\""));
        return Ok(Err(HeaderError::Feature(name)));
    }
    Ok(Ok((minor, header.ok_or(Malformed)?, schema.ok_or(Malformed)?)))
}

fn feature_names(bytes: &[u8]) -> Result<Vec<(u64, String)>, Malformed> {
    let cursor = &mut Cursor::new(bytes);
    let mut names = Vec::new();
    while !cursor.is_empty() {
        names.push((cursor.number()?, cursor.text()?.to_owned()));
    }
    Ok(names)
}
