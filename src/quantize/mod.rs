//! How a model becomes 8-bit integers: what its inputs are like, which scale each weight gets, how every weight is rounded
//! so that the errors of the others are made up for, and the file that keeps it.
//!
//! [`quantize`] goes through a model layer by layer: the [`calibration`] texts are sent through what is quantized so far,
//! and for each site (an input that one or several linear layers share), in order:
//!
//! 1. [`ChannelStatistics`]: how large each channel of the input becomes;
//! 2. [`Partition`]: the largest channels get a group of their own, the others are cut into groups;
//! 3. [`Gram`]: the covariance of the inputs as the kernels will see them, quantized row by row;
//! 4. [`solve`]: the scales ([`clipped_scales`]), the weights ([`Spread`]) and the biases, so that the mean of every output
//!    stays what it was.
//!
//! [`QuantizedModel`] is the file. Everything gives the same bits on any number of threads.

pub mod calibration;
mod check;
mod cholesky;
mod clip;
mod driver;
mod file;
mod gptq;
mod gram;
mod groups;
mod lookup;
mod quality;
mod report;
mod solve;
mod statistics;
mod stored;
mod stream;
#[cfg(test)]
mod tests;

pub use calibration::{CalibrationText, read_texts};
pub use clip::clipped_scales;
pub use driver::{QuantizeOptions, QuantizeWatch, quantize};
pub use file::{QuantizedModel, RECIPE};
pub use gptq::Spread;
pub use gram::{Gram, Moments};
pub use groups::{OUTLIERS, Partition};
pub use quality::{KindQuality, Quality};
pub use report::{CalibrationSize, LayerReport, Progress, QuantizationReport, SiteReport, Speed, Stage};
pub use solve::{FloatLinear, SiteErrors, solve};
pub use statistics::ChannelStatistics;
