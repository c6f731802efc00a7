//! Memory that starts on a cache line, so that no vector load straddles two.

use std::marker::PhantomData;

/// One cache line, and one register of 512 bits.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
#[allow(dead_code)] // What is read are numbers, through a pointer.
struct Line([u8; Self::BYTES]);

impl Line {
    const BYTES: usize = 64;
}

/// A number that any bytes are a value of.
///
/// # Safety
///
/// Whoever implements it says that this holds, and that a line is aligned for the number and filled by some of them.
pub unsafe trait Number: Copy {}

// SAFETY: any byte is a number, of any alignment.
unsafe impl Number for u8 {}
// SAFETY: any four bytes are a number, and 4 divides 64.
unsafe impl Number for f32 {}

/// Numbers that start on a cache line.
#[derive(Debug, Clone)]
pub struct Aligned<T> {
    lines: Vec<Line>,
    length: usize,
    number: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), length: 0, number: PhantomData }
    }
}

impl<T: Number> Aligned<T> {
    /// So many zeros.
    pub fn zeros(length: usize) -> Self {
        let mut zeros = Self::default();
        zeros.resize(length);
        zeros
    }

    /// Makes room for `length` numbers; what they are afterwards is of no meaning.
    pub fn resize(&mut self, length: usize) {
        let lines = length.div_ceil(Line::BYTES / size_of::<T>());
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; Line::BYTES]));
        }
        self.length = length;
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: `lines` holds initialized bytes for at least `length` numbers, as `resize` made sure, and any bytes are
        // numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// The numbers, to write.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably for as long.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
