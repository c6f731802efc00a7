//! Protobuf's wire format, field by field, without allocating: for looking before decoding, and for copying what is not
//! understood.

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A number: its value does not matter here.
    Number,
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the schema.
    pub number: u32,
    /// What it holds.
    pub content: Content<'a>,
    /// The whole of it, key included, as it stands.
    pub whole: &'a [u8],
}

/// The fields of a message, in the order in which they stand; ends after the first broken one, which is an error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of the message in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// `None` where the bytes are no field.
    fn parse(&self) -> Option<Field<'a>> {
        let (key, rest) = varint(self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
        let (content, rest) = match key & 7 {
            0 => (Content::Number, varint(rest)?.1),
            1 => (Content::Number, rest.get(8..)?),
            2 => {
                let (length, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Content::Bytes(bytes), rest)
            }
            5 => (Content::Number, rest.get(4..)?),
            // Groups, which ONNX's schema does not have.
            _ => return None,
        };
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        Some(Field { number, content, whole })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.parse();
        self.rest = field.as_ref().and_then(|field| self.rest.get(field.whole.len()..)).unwrap_or(&[]);
        Some(field.ok_or(Broken))
    }
}

/// The bytes are not protobuf: truncated, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not protobuf: a field is cut off or of an unknown kind")]
pub struct Broken;

/// Appends a field with bytes.
pub fn push_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push_varint(out, u64::from(number) << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(position).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(position + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Broken, Content, Fields, push_bytes};
    use crate::onnx::proto::{NodeProto, OperatorSetIdProto};

    #[test]
    fn fields_are_those_that_prost_writes() {
        let node = NodeProto {
            input: vec!["a".repeat(300), String::new()],
            op_type: "Add".to_owned(),
            ..NodeProto::default()
        };
        let bytes = node.encode_to_vec();
        let fields: Vec<_> = Fields::of(&bytes).map(Result::unwrap).collect();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 1, 4]);
        assert_eq!(fields[2].content, Content::Bytes(b"Add"));
        let mut copy: Vec<u8> = fields[..2].iter().flat_map(|field| field.whole).copied().collect();
        push_bytes(&mut copy, 4, b"Add");
        assert_eq!(NodeProto::decode(copy.as_slice()).unwrap(), node);
    }

    #[test]
    fn every_truncation_ends_in_an_error_or_between_two_fields() {
        let opset = OperatorSetIdProto { domain: "com.microsoft".to_owned(), version: 1 << 40 };
        let bytes = opset.encode_to_vec();
        for length in 0..bytes.len() {
            let fields: Vec<_> = Fields::of(&bytes[..length]).collect();
            assert!(length == 0 || length == 15 || fields.contains(&Err(Broken)), "{length}: {fields:?}");
        }
    }

    #[test]
    fn an_endless_number_is_broken() {
        assert_eq!(Fields::of(&[0xff; 64]).next(), Some(Err(Broken)));
    }
}
