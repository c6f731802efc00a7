//! Linear layers in 8-bit integers: rows are quantized as they come, the product is exact, and the result is the same to
//! the bit on every processor.
//!
//! For a row `x`, its channels put into the order of the site and cut into groups:
//!
//! - `lowest` and `highest` bound a group's `x` and 0;
//! - `scale = highest / 255 - lowest / 255`, `zero = round(-lowest / scale)`, and each byte is `round(x / scale) + zero`,
//!   clamped to 0 to 255. Division by the scale is multiplication with its reciprocal, and ties are rounded to even;
//! - `t = Σ (byte - zero) * weight` in integers, which are exact;
//! - `y = bias + Σ t * (scale * weight scale)` over the groups in order, in single multiplications and additions;
//! - then the activation.
//!
//! Only integers are added in an order that depends on the kernel, and their sum does not depend on the order.

/// Calls a function that has the number of rows of a tile, 1 to 6, as its constant.
macro_rules! for_row_count {
    ($count:expr, $function:ident($($argument:expr),*)) => {
        match $count {
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            _ => $function::<6>($($argument),*),
        }
    };
}

mod aligned;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod gelu;
mod instructions;
mod kernel;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;
mod order;
mod packed_linear;
mod packed_site;
mod portable;
mod product;
mod rows;
mod site;
mod tasks;
#[cfg(test)]
mod tests;

pub use instructions::{Instructions, has_amx_int8};
pub use packed_site::PackedSite;
pub use product::Epilogue;
pub(crate) use rows::{RowScale, quantized};
pub(crate) use site::{LONGEST_GROUP, SiteProblem, check_groups, check_order};
pub use site::{QuantizedLinear, QuantizedSite};
pub use tasks::{ParallelFor, on_this_thread};
