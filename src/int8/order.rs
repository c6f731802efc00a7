//! The order in which a site takes the channels of its input.

#![allow(clippy::inline_always)] // It is compiled anew for the instructions of each kernel.

/// Numbers that one move takes: a register of 256 bits, which processors store at once.
const WIDTH: usize = 8;

/// A permutation of channels, as moves of neighbours: an order is mostly the natural one, with a few channels taken out.
#[derive(Debug)]
pub struct Order {
    /// Moves of [`WIDTH`] numbers, to rising places: what one writes too much is overwritten by those after it.
    wide: Vec<Move>,
    /// Moves of one number, after all the others: where a wide one would read beyond the row.
    single: Vec<Move>,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
struct Move {
    from: u32,
    to: u32,
}

impl Order {
    /// The place `k` of an arranged row is for the channel `order[k]`. No move is made for a channel that is not there,
    /// whatever the order says, so that none ever leaves the row.
    pub fn new(order: &[u32]) -> Self {
        let (mut wide, mut single) = (Vec::new(), Vec::new());
        let mut moved = 0..0;
        for ((place, &from), to) in order.iter().enumerate().zip(0..) {
            let follows =
                place > 0 && order.get(place - 1).is_some_and(|previous| previous.checked_add(1) == Some(from));
            if follows && moved.contains(&place) {
                continue;
            }
            if from as usize + WIDTH <= order.len() {
                wide.push(Move { from, to });
                moved = place..place + WIDTH;
            } else if (from as usize) < order.len() {
                single.push(Move { from, to });
                moved = 0..0;
            }
        }
        Self { wide, single, length: order.len() }
    }

    /// Numbers of a buffer for an arranged row, which has room for what the last move writes too much.
    pub fn room(&self) -> usize {
        self.length + WIDTH
    }

    /// Bytes of memory that it takes.
    pub fn size(&self) -> usize {
        (self.wide.len() + self.single.len()) * size_of::<Move>()
    }

    /// Writes the channels of a row to their places.
    ///
    /// # Safety
    ///
    /// The row has as many channels as the order, and `arranged` is the [`Order::room`] for them.
    #[inline(always)]
    pub unsafe fn arrange(&self, row: &[f32], arranged: &mut [f32]) {
        let (channels, places) = (row.as_ptr(), arranged.as_mut_ptr());
        for &Move { from, to } in &self.wide {
            // SAFETY: `new` has made sure that the row, as long as the order, has so many channels from `from` on. `to` is a
            // place in the row, and the room goes on for so many places behind its last.
            unsafe {
                let channels = channels.add(from as usize).cast::<[f32; WIDTH]>().read_unaligned();
                places.add(to as usize).cast::<[f32; WIDTH]>().write_unaligned(channels);
            }
        }
        for &Move { from, to } in &self.single {
            // SAFETY: `new` has made sure that both are below the length of the order.
            unsafe { *places.add(to as usize) = *channels.add(from as usize) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arranged(order: &[u32], row: &[f32]) -> Vec<f32> {
        let order = Order::new(order);
        let mut arranged = vec![f32::NAN; order.room()];
        // SAFETY: the row is as long as the order, and the room is the order's.
        unsafe { order.arrange(row, &mut arranged) };
        arranged.truncate(row.len());
        arranged
    }

    fn permutation() -> impl Strategy<Value = Vec<u32>> {
        let any_order = (1_u32..120).prop_flat_map(|length| Just((0..length).collect::<Vec<_>>()).prop_shuffle());
        let outliers_first =
            (1_u32..120, prop::collection::btree_set(0_u32..120, 0..10)).prop_map(|(length, outliers)| {
                let (first, rest): (Vec<u32>, Vec<u32>) = (0..length).partition(|channel| outliers.contains(channel));
                [first, rest].concat()
            });
        prop_oneof![any_order, outliers_first]
    }

    proptest! {
        #[test]
        fn every_place_holds_its_channel(order in permutation()) {
            let row: Vec<f32> = (0_u16..).map(f32::from).take(order.len()).collect();
            let expected: Vec<f32> = order.iter().map(|&channel| row[channel as usize]).collect();
            prop_assert_eq!(arranged(&order, &row), expected);
        }
    }

    #[test]
    fn the_natural_order_is_moved_in_wide_moves() {
        let order: Vec<u32> = (0..64).collect();
        let Order { wide, single, .. } = Order::new(&order);
        assert_eq!((wide.len(), single.len()), (8, 0));
    }
}
