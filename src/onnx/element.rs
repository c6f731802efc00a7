//! The element types of ONNX.

/// An element type: its number in the schema, its name in NumPy's spelling and the bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementType {
    /// `TensorProto.DataType`.
    pub number: i32,
    /// As `numpy` or `ml_dtypes` spell it.
    pub name: &'static str,
    /// Bits of a number; none for strings.
    pub bits: Option<u64>,
}

const fn row(number: i32, name: &'static str, bits: u64) -> ElementType {
    ElementType { number, name, bits: if bits == 0 { None } else { Some(bits) } }
}

const TYPES: &[ElementType] = &[
    row(1, "float32", 32),
    row(2, "uint8", 8),
    row(3, "int8", 8),
    row(4, "uint16", 16),
    row(5, "int16", 16),
    row(6, "int32", 32),
    row(7, "int64", 64),
    row(8, "string", 0),
    row(9, "bool", 8),
    row(10, "float16", 16),
    row(11, "float64", 64),
    row(12, "uint32", 32),
    row(13, "uint64", 64),
    row(14, "complex64", 64),
    row(15, "complex128", 128),
    row(16, "bfloat16", 16),
    row(17, "float8_e4m3fn", 8),
    row(18, "float8_e4m3fnuz", 8),
    row(19, "float8_e5m2", 8),
    row(20, "float8_e5m2fnuz", 8),
    row(21, "uint4", 4),
    row(22, "int4", 4),
    row(23, "float4_e2m1fn", 4),
    row(24, "float8_e8m0fnu", 8),
    row(25, "uint2", 2),
    row(26, "int2", 2),
];

impl ElementType {
    /// The type of a number in the schema.
    pub fn of(number: i32) -> Option<Self> {
        TYPES.iter().copied().find(|element| element.number == number)
    }

    /// Its name; that of an unknown one says its number.
    pub fn name_of(number: i32) -> String {
        Self::of(number).map_or_else(|| format!("type {number}"), |element| element.name.to_owned())
    }

    /// Bytes that `numbers` of them take; none where they are of no fixed size, or too many to count.
    pub fn bytes(self, numbers: u64) -> Option<u64> {
        Some(numbers.checked_mul(self.bits?)?.div_ceil(8))
    }
}
