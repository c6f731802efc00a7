//! What the inputs of a site are like, channel by channel, from rows that are seen once.

use crate::error::{EmbeddingError, Result};

/// The power whose mean ranks channels. A row's scale is as coarse as its largest number, so what counts is how large a
/// channel becomes and how often; a maximum would let one odd token decide. On unseen texts, rows of a BERT whose outliers
/// were chosen by it have less noise than by the 2nd, 8th and 16th power, the maximum and the 0.999 quantile.
const POWER: i32 = 4;

/// The statistics of the channels of an input, in `f64` and in the order of the rows: how these are cut into blocks makes
/// no difference.
///
/// ```
/// use oxembed::quantize::ChannelStatistics;
///
/// let mut statistics = ChannelStatistics::new(2);
/// statistics.add(&[1.0, -8.0, 3.0, 2.0])?;
/// assert_eq!(statistics.largest(), [3.0, 8.0]);
/// assert_eq!(statistics.means(), [2.0, -3.0]);
/// assert!(statistics.magnitudes()[1] > statistics.magnitudes()[0]);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChannelStatistics {
    rows: usize,
    channels: Vec<Channel>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    largest: f32,
    sum: f64,
    powers: f64,
}

impl ChannelStatistics {
    /// Of no rows yet.
    pub fn new(inputs: usize) -> Self {
        Self { rows: 0, channels: vec![Channel::default(); inputs] }
    }

    /// Adds `rows`, `(rows, inputs)`.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where the numbers are no whole rows or not finite.
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        check_rows(rows, self.channels.len(), self.rows)?;
        for row in rows.chunks_exact(self.channels.len()) {
            for (channel, &number) in self.channels.iter_mut().zip(row) {
                channel.largest = channel.largest.max(number.abs());
                channel.sum += f64::from(number);
                channel.powers += f64::from(number).powi(POWER);
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// How many rows were added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The largest magnitude of each channel.
    pub fn largest(&self) -> Vec<f32> {
        self.channels.iter().map(|channel| channel.largest).collect()
    }

    /// The mean of each channel.
    pub fn means(&self) -> Vec<f64> {
        self.channels.iter().map(|channel| channel.sum / self.count()).collect()
    }

    /// How large each channel becomes: what outliers are chosen by.
    pub fn magnitudes(&self) -> Vec<f64> {
        self.channels.iter().map(|channel| (channel.powers / self.count()).powf(1.0 / f64::from(POWER))).collect()
    }

    fn count(&self) -> f64 {
        self.rows.max(1) as f64
    }
}

/// Refuses numbers that are no rows of `inputs` channels and numbers that are not finite; `before` is how many rows came
/// before these.
pub(super) fn check_rows(rows: &[f32], inputs: usize, before: usize) -> Result<()> {
    if inputs == 0 || !rows.len().is_multiple_of(inputs) {
        let problem = format!("{} numbers cannot be cut into rows of {inputs} channels", rows.len());
        return Err(EmbeddingError::invalid_input(problem));
    }
    if let Some((place, number)) = rows.iter().enumerate().find(|(_, number)| !number.is_finite()) {
        let (row, channel) = (before + place / inputs, place % inputs);
        let problem = format!("the model cannot be quantized: channel {channel} of token {row} is {number}");
        return Err(EmbeddingError::invalid_input(problem));
    }
    Ok(())
}
