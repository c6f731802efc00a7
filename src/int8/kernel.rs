//! The kernel for some instructions: its functions, and the shapes that they want.

use super::instructions::Instructions;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable;
use super::product::{ComputeTile, Shape};
use super::rows::{Encoding, QuantizeRow};
#[cfg(target_arch = "x86_64")]
use super::{avx_vnni, avx2, avx512};

/// A kernel that this processor can run.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    pub instructions: Instructions,
    pub shape: Shape,
    pub encoding: Encoding,
    pub quantize: QuantizeRow,
    pub compute: ComputeTile,
}

impl Kernel {
    /// The kernel of these instructions, where this processor has them.
    pub fn of(instructions: Instructions) -> Option<Self> {
        let (shape, encoding, quantize, compute): (_, _, QuantizeRow, ComputeTile) = match instructions {
            _ if !instructions.is_available() => return None,
            Instructions::Portable => (portable::SHAPE, portable::ENCODING, portable::quantize_row, portable::compute),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => (avx512::SHAPE, avx512::ENCODING, avx512::quantize_row, avx512::compute),
            #[cfg(target_arch = "x86_64")]
            Instructions::AvxVnni => (avx_vnni::SHAPE, avx_vnni::ENCODING, avx2::quantize_row, avx_vnni::compute),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => (avx2::SHAPE, avx2::ENCODING, avx2::quantize_row, avx2::compute),
            #[cfg(target_arch = "aarch64")]
            Instructions::NeonDotProduct => {
                let (shape, encoding) = (neon::DOT_PRODUCT_SHAPE, neon::DOT_PRODUCT_ENCODING);
                (shape, encoding, portable::quantize_row, neon::compute_dot_product)
            }
            #[cfg(target_arch = "aarch64")]
            Instructions::NeonMatrix => {
                (neon::MATRIX_SHAPE, neon::MATRIX_ENCODING, portable::quantize_row, neon::compute_matrix)
            }
            #[allow(unreachable_patterns)] // Each processor has kernels that another lacks.
            _ => return None,
        };
        Some(Self { instructions, shape, encoding, quantize, compute })
    }

    /// The kernel of AVX-VNNI with the instruction as AVX-512 encodes it.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub fn of_avx_vnni_as_avx512() -> Option<Self> {
        let wide = Self::of(Instructions::Avx512Vnni)?;
        let (shape, encoding) = (avx_vnni::SHAPE, avx_vnni::ENCODING);
        Some(Self { shape, encoding, quantize: avx2::quantize_row, compute: avx_vnni::as_avx512::compute, ..wide })
    }
}
