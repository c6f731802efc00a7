//! Which channels of an input share a scale.

use crate::error::{EmbeddingError, Result};
use crate::int8::{LONGEST_GROUP, SiteProblem, check_groups, check_order};

/// Channels that become largest and have a group of their own, where nothing else is asked for.
pub const OUTLIERS: usize = 16;

/// Inputs of fewer channels are one group.
const FEWEST_CHANNELS: usize = 64;
/// Lengths are multiples of it: the product takes as many numbers in one step.
const STEP: usize = 4;

/// The order of the channels of an input and the groups that they are cut into.
///
/// ```
/// use oxembed::quantize::Partition;
///
/// let mut magnitudes = vec![1.0; 100];
/// magnitudes[70] = 9.0;
/// let partition = Partition::choose(&magnitudes, 4, 48)?;
/// assert_eq!(partition.order[..5], [70, 0, 1, 2, 3]);
/// assert_eq!(partition.groups, [4, 48, 48]);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Position `k` holds channel `order[k]`.
    pub order: Vec<u32>,
    /// Lengths of the groups of positions, none empty.
    pub groups: Vec<usize>,
}

impl Partition {
    /// The `outliers` channels of the largest magnitudes, the largest first, and then the others as they come, in groups
    /// that are about `length` long and about equally long. An input of few channels is one group in its own order.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] for an input without channels and one with more than 32 bits can count, and for
    /// a magnitude that is not finite.
    pub fn choose(magnitudes: &[f64], outliers: usize, length: usize) -> Result<Self> {
        if magnitudes.is_empty() || magnitudes.iter().any(|magnitude| !magnitude.is_finite()) {
            let problem = "an input can be cut into groups where it has channels, each of a finite magnitude";
            return Err(EmbeddingError::invalid_input(problem));
        }
        let channels = u32::try_from(magnitudes.len())
            .map_err(|_| EmbeddingError::invalid_input("an input has too many channels to be quantized"))?;
        let few = magnitudes.len() < FEWEST_CHANNELS;
        let outliers = if few { 0 } else { outliers.min(magnitudes.len()) };
        let mut ranked: Vec<(u32, f64)> = (0..channels).zip(magnitudes.iter().copied()).collect();
        // Stable: of equals the first comes first.
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let mut order: Vec<u32> = ranked.into_iter().map(|(channel, _)| channel).collect();
        if let Some(rest) = order.get_mut(outliers..) {
            rest.sort_unstable();
        }
        let mut groups = Vec::new();
        if outliers > 0 {
            groups.push(outliers);
        }
        let rest = magnitudes.len() - outliers;
        groups.extend(cut(rest, if few { rest } else { length }));
        Ok(Self { order, groups })
    }

    /// Whether the order is a permutation and the groups cut it.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where they do not.
    pub fn check(&self) -> Result<()> {
        let inputs = self.order.len();
        check_order("order", &self.order, inputs)
            .and_then(|()| check_groups("groups", &self.groups, inputs))
            .map_err(SiteProblem::into_error)
    }

    /// Puts the numbers of channels into the order.
    pub(super) fn ordered<T: Copy>(&self, channels: &[T]) -> Vec<T> {
        // The order names channels of the input only.
        self.order.iter().filter_map(|&channel| channels.get(channel as usize).copied()).collect()
    }
}

/// `count` channels in groups of about `length`: all but the last are whole steps, and differ by one step at most.
fn cut(count: usize, length: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let steps = count / STEP;
    let wanted = (count + length / 2) / length.max(STEP);
    // One step less, as the last group has what is left over as well.
    let groups = wanted.max(count.div_ceil(LONGEST_GROUP - STEP)).clamp(1, steps.max(1));
    let mut lengths: Vec<usize> =
        (0..groups).map(|group| STEP * (steps * (group + 1) / groups - steps * group / groups)).collect();
    if let Some(last) = lengths.last_mut() {
        *last += count % STEP;
    }
    lengths
}
