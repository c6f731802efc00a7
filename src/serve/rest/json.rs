//! Rows as JSON, written number by number: as a tree of JSON values they would take thirty times the memory.

/// `[`, each of the items as `write` writes it, and `]`.
pub(super) fn list<Item>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = Item>,
    mut write: impl FnMut(&mut Vec<u8>, Item),
) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A row as a list: of each number the shortest digits that read back to it.
pub(super) fn numbers<'a>(out: &mut Vec<u8>, row: impl IntoIterator<Item = &'a f32>) {
    list(out, row, |out, value| {
        // Writing a number to memory does not fail.
        let _ = serde_json::to_writer(out, value);
    });
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::{list, numbers};

    fn written(rows: &Array2<f32>) -> Vec<Vec<f32>> {
        let mut out = Vec::new();
        list(&mut out, rows.rows(), numbers);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn lists_may_be_empty() {
        assert_eq!(written(&Array2::zeros((0, 3))), Vec::<Vec<f32>>::new());
        assert_eq!(written(&Array2::zeros((2, 0))), vec![Vec::<f32>::new(); 2]);
        assert_eq!(
            written(&array![[1.0, -0.5], [f32::MIN_POSITIVE, f32::MAX]]),
            [[1.0, -0.5], [f32::MIN_POSITIVE, f32::MAX]]
        );
    }

    proptest! {
        #[test]
        fn every_number_reads_back_to_itself(bits in prop::collection::vec(any::<u32>(), 1..50)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).collect();
            let rows = Array2::from_shape_vec((1, values.len()), values.clone()).unwrap();
            prop_assert_eq!(&written(&rows)[0], &values);
        }
    }
}
