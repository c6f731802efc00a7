//! Ragged token rows into one padded batch. The only file that knows on which side padding goes.

use std::borrow::Cow;
use std::ops::Range;

use crate::config::Side;
use crate::graph::{PositionScheme, StaticShape};
use crate::runtime::session::Feed;

/// The tokens of one text, special tokens included, padding not.
#[derive(Debug, Clone, Copy)]
pub struct TokenRow<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// Token types; empty where all are zero.
    pub type_ids: &'a [u32],
}

/// How a model wants its rows laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The side on which shorter rows are filled up.
    pub padding_side: Side,
    /// The id they are filled up with.
    pub padding_id: u32,
    /// How positions are numbered.
    pub positions: PositionScheme,
    /// Fewest tokens of a row, padding included.
    pub shortest: usize,
}

/// A padded batch, `rows` by `sequence`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows: texts, and behind them, where the shape is fixed, padding.
    pub rows: usize,
    /// Tokens of a row, padding included, at least one.
    pub sequence: usize,
    input_ids: Vec<i64>,
    attention_mask: Vec<i64>,
    position_ids: Vec<i64>,
    token_type_ids: Vec<i64>,
    spans: Vec<Range<usize>>,
}

impl Batch {
    /// Pads `rows` to the longest of them.
    pub fn pad(rows: &[TokenRow<'_>], layout: &Layout) -> Self {
        let sequence = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0).max(layout.shortest).max(1);
        Self::pad_to(StaticShape { batch: rows.len(), sequence }, rows, layout)
    }

    /// Pads `rows` to a shape into which they fit. Rows that are nothing but padding have one token to look at, as a
    /// softmax over nothing is no number.
    pub fn pad_to(shape: StaticShape, rows: &[TokenRow<'_>], layout: &Layout) -> Self {
        let sequence = shape.sequence;
        let size = shape.batch * sequence;
        let mut batch = Self {
            rows: shape.batch,
            sequence,
            input_ids: vec![i64::from(layout.padding_id); size],
            attention_mask: vec![0; size],
            position_ids: vec![padding_position(layout.positions); size],
            token_type_ids: Vec::new(),
            spans: Vec::with_capacity(rows.len()),
        };
        for (index, row) in rows.iter().enumerate() {
            let start = match layout.padding_side {
                Side::Right => 0,
                Side::Left => sequence - row.ids.len(),
            };
            let span = start..start + row.ids.len();
            batch.fill(index * sequence + start, row, layout.positions);
            batch.spans.push(span);
        }
        for row in rows.len()..shape.batch {
            copy(batch.attention_mask.get_mut(row * sequence..), std::iter::once(1));
        }
        batch
    }

    fn fill(&mut self, start: usize, row: &TokenRow<'_>, positions: PositionScheme) {
        let end = start + row.ids.len();
        copy(self.input_ids.get_mut(start..end), row.ids.iter().map(|id| i64::from(*id)));
        copy(self.attention_mask.get_mut(start..end), std::iter::repeat(1));
        copy(self.position_ids.get_mut(start..end), position_ids(row.ids, positions));
        if row.type_ids.iter().any(|id| *id != 0) {
            self.token_type_ids.resize(self.input_ids.len(), 0);
            copy(self.token_type_ids.get_mut(start..end), row.type_ids.iter().map(|id| i64::from(*id)));
        }
    }

    /// The numbers for one input of the graph.
    pub fn values(&self, feed: Feed) -> Cow<'_, [i64]> {
        match feed {
            Feed::InputIds => Cow::Borrowed(&self.input_ids),
            Feed::AttentionMask => Cow::Borrowed(&self.attention_mask),
            Feed::PositionIds => Cow::Borrowed(&self.position_ids),
            Feed::TokenTypeIds if self.token_type_ids.is_empty() => Cow::Owned(vec![0; self.input_ids.len()]),
            Feed::TokenTypeIds => Cow::Borrowed(&self.token_type_ids),
        }
    }

    /// Where the tokens of each row lie in its sequence.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }
}

fn copy(target: Option<&mut [i64]>, values: impl Iterator<Item = i64>) {
    for (slot, value) in target.into_iter().flatten().zip(values) {
        *slot = value;
    }
}

fn padding_position(positions: PositionScheme) -> i64 {
    match positions {
        PositionScheme::FromZero => 0,
        PositionScheme::AfterPadding { padding_id } => i64::from(padding_id),
    }
}

/// Positions of one text. Counted from its first token, so that they do not depend on the texts beside it.
fn position_ids(ids: &[u32], positions: PositionScheme) -> impl Iterator<Item = i64> {
    let mut next = match positions {
        PositionScheme::FromZero => 0,
        PositionScheme::AfterPadding { padding_id } => i64::from(padding_id) + 1,
    };
    ids.iter().map(move |id| match positions {
        PositionScheme::AfterPadding { padding_id } if *id == padding_id => i64::from(padding_id),
        _ => {
            let position = next;
            next += 1;
            position
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Batch, Layout, TokenRow};
    use crate::config::Side;
    use crate::graph::{PositionScheme, StaticShape};
    use crate::runtime::session::Feed;

    fn layout(padding_side: Side, positions: PositionScheme) -> Layout {
        Layout { padding_side, padding_id: 9, positions, shortest: 1 }
    }

    #[test]
    fn right_and_left_padding() {
        let rows = [TokenRow { ids: &[1, 2, 3], type_ids: &[] }, TokenRow { ids: &[4], type_ids: &[] }];
        let right = Batch::pad(&rows, &layout(Side::Right, PositionScheme::FromZero));
        assert_eq!(*right.values(Feed::InputIds), [1, 2, 3, 4, 9, 9]);
        assert_eq!(*right.values(Feed::AttentionMask), [1, 1, 1, 1, 0, 0]);
        assert_eq!(right.spans(), [0..3, 0..1]);
        let left = Batch::pad(&rows, &layout(Side::Left, PositionScheme::FromZero));
        assert_eq!(*left.values(Feed::InputIds), [1, 2, 3, 9, 9, 4]);
        assert_eq!(*left.values(Feed::AttentionMask), [1, 1, 1, 0, 0, 1]);
        assert_eq!(*left.values(Feed::PositionIds), [0, 1, 2, 0, 0, 0]);
        assert_eq!(left.spans(), [0..3, 2..3]);
    }

    #[test]
    fn a_padding_token_in_the_text_takes_no_position_in_roberta() {
        let rows = [TokenRow { ids: &[5, 9, 6], type_ids: &[] }, TokenRow { ids: &[5, 6, 7, 8], type_ids: &[] }];
        let scheme = PositionScheme::AfterPadding { padding_id: 9 };
        let batch = Batch::pad(&rows, &layout(Side::Right, scheme));
        assert_eq!(*batch.values(Feed::PositionIds), [10, 9, 11, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn a_text_without_tokens_keeps_its_row() {
        let batch = Batch::pad(&[TokenRow { ids: &[], type_ids: &[] }], &layout(Side::Right, PositionScheme::FromZero));
        assert_eq!((batch.rows, batch.sequence), (1, 1));
        assert!(batch.spans()[0].is_empty());
    }

    #[test]
    fn a_fixed_shape_is_filled_up_with_rows_that_have_something_to_look_at() {
        let row = [TokenRow { ids: &[4, 5], type_ids: &[] }];
        let shape = StaticShape { batch: 3, sequence: 3 };
        let batch = Batch::pad_to(shape, &row, &layout(Side::Right, PositionScheme::FromZero));
        assert_eq!((batch.rows, batch.sequence), (3, 3));
        assert_eq!(*batch.values(Feed::InputIds), [4, 5, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(*batch.values(Feed::AttentionMask), [1, 1, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!((batch.spans().len(), batch.spans().first()), (1, Some(&(0..2))));
    }

    #[test]
    fn a_short_row_is_filled_up() {
        let row = [TokenRow { ids: &[4], type_ids: &[] }];
        let batch = Batch::pad(&row, &Layout { shortest: 2, ..layout(Side::Right, PositionScheme::FromZero) });
        assert_eq!(*batch.values(Feed::InputIds), [4, 9]);
        assert_eq!(*batch.values(Feed::AttentionMask), [1, 0]);
        assert_eq!(batch.spans().first(), Some(&(0..1)));
    }

    proptest! {
        #[test]
        fn every_token_can_be_read_back(
            rows in prop::collection::vec(prop::collection::vec(0u32..50, 0..20), 1..10), left in any::<bool>()
        ) {
            let side = if left { Side::Left } else { Side::Right };
            let types: Vec<Vec<u32>> = rows.iter().map(|row| row.iter().map(|id| id % 2).collect()).collect();
            let tokens: Vec<TokenRow<'_>> =
                rows.iter().zip(&types).map(|(ids, type_ids)| TokenRow { ids, type_ids }).collect();
            let batch = Batch::pad(&tokens, &layout(side, PositionScheme::FromZero));
            let (ids, mask) = (batch.values(Feed::InputIds), batch.values(Feed::AttentionMask));
            let read_types = batch.values(Feed::TokenTypeIds);
            for (index, (row, span)) in rows.iter().zip(batch.spans()).enumerate() {
                let start = index * batch.sequence;
                let expected: Vec<i64> = row.iter().map(|id| i64::from(*id)).collect();
                prop_assert_eq!(&ids[start + span.start..start + span.end], &expected[..]);
                let expected: Vec<i64> = row.iter().map(|id| i64::from(*id % 2)).collect();
                prop_assert_eq!(&read_types[start + span.start..start + span.end], &expected[..]);
                prop_assert_eq!(mask[start..start + batch.sequence].iter().filter(|value| **value == 1).count(), row.len());
            }
        }
    }
}
