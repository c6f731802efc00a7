//! MPNet: a bias by relative position added to every layer's attention scores.
//!
//! Agrees with `transformers` `MPNetModel`, whose buckets are T5's: half of them exact distances, the other half
//! logarithmic up to [`MAX_DISTANCE`].

use super::builder::{Attribute, Value};
use super::encoder::{self, Names};
use super::settings::{COUNT, Keys};
use super::target::StaticShape;
use super::transformer::{PositionBias, Transformer};
use super::writer::Writer;
use super::{Author, Family, PositionScheme};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["mpnet"], read };

const NAMES: Names = Names {
    layer: "encoder.layer.{}",
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

/// Fixed in `transformers`, whatever `pad_token_id` says.
const PADDING_ID: u32 = 1;
/// Fixed in `transformers`: the setting in config.json only sizes the table.
const BUCKETS: usize = 32;
/// The setting that sizes the table.
const BUCKETS_KEY: &str = "relative_attention_num_buckets";
/// Fixed in `transformers`.
const MAX_DISTANCE: u16 = 128;

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let positions = PositionScheme::AfterPadding { padding_id: PADDING_ID };
    let epsilon = config.f32_positive_or("layer_norm_eps", 1e-12)?;
    let transformer = encoder::read(config, &Keys::USUAL, &NAMES, positions, epsilon)?;
    let rows = config.optional_usize_in(BUCKETS_KEY, COUNT)?.unwrap_or(BUCKETS);
    if rows < BUCKETS {
        let problem = format!("transformers looks {BUCKETS} buckets up whatever stands here, so fewer cannot work");
        return Err(config.invalid(BUCKETS_KEY, problem));
    }
    Ok(Box::new(Transformer { position_bias: Some(PositionBias { rows, write: position_bias }), ..transformer }))
}

/// `(1, heads, sequence, sequence)`: the row of every distance is looked up once, here; the graph slices by distance.
fn position_bias(writer: &mut Writer<'_>, rows: usize, heads: usize) -> Result<Value> {
    let table = writer.weights.tensor("encoder.relative_attention_bias.weight", &[rows, heads])?.to_f32();
    let of = |head: usize, distance: isize| table.get(bucket(distance) * heads + head).copied().unwrap_or_default();
    if let Some(StaticShape { sequence, .. }) = writer.target.shape {
        let distances = |query: usize| (0..sequence).map(move |key| key.cast_signed() - query.cast_signed());
        let values = (0..heads)
            .flat_map(|head| (0..sequence).flat_map(distances).map(move |distance| (head, distance)))
            .map(|(head, distance)| of(head, distance))
            .collect();
        return Ok(writer.builder.computed("attention_bias", &[1, heads, sequence, sequence], values));
    }
    // Beyond `MAX_DISTANCE` all distances share one bucket, so the table needs no more columns.
    let furthest = usize::from(MAX_DISTANCE);
    let columns = 2 * furthest + 1;
    let by_distance = (0..heads)
        .flat_map(|head| (0..columns).map(move |column| (head, column.cast_signed() - furthest.cast_signed())))
        .map(|(head, distance)| of(head, distance))
        .collect();
    let by_distance = writer.builder.computed("attention_bias_by_distance", &[heads, columns], by_distance);
    let distance = writer.distances();
    let limit = i64::from(MAX_DISTANCE);
    let builder = &mut writer.builder;
    let (lowest, offset) = (builder.integer(-limit), builder.integer(limit));
    let distance = builder.node("Clip", &[&distance, &lowest, &offset], &[]);
    let column = builder.node("Add", &[&distance, &offset], &[]);
    let bias = builder.node("Gather", &[&by_distance, &column], &[("axis", Attribute::Int(1))]);
    let first = builder.integers(&[0]);
    Ok(builder.node("Unsqueeze", &[&bias, &first], &[]))
}

/// The bucket of a distance (key's position less query's), as `MPNetEncoder.relative_position_bucket` computes it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Logarithms of distances below 2^20.
fn bucket(distance: isize) -> usize {
    let half = BUCKETS / 2;
    let after = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs();
    let exact = half / 2;
    if distance < exact {
        return after + distance;
    }
    // In f32 and in this order, as torch does it: the rounding decides on which side of an edge a distance falls.
    let logarithm = (distance as f32 / exact as f32).ln() / (f32::from(MAX_DISTANCE) / exact as f32).ln();
    let bucket = exact + (logarithm * (half - exact) as f32) as usize;
    after + bucket.min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn near_distances_have_buckets_of_their_own() {
        let buckets: Vec<usize> = (-9..=9).map(bucket).collect();
        assert_eq!(buckets, [8, 8, 7, 6, 5, 4, 3, 2, 1, 0, 17, 18, 19, 20, 21, 22, 23, 24, 24]);
    }

    #[test]
    fn far_distances_share_the_last_bucket() {
        assert_eq!((bucket(-5000), bucket(5000)), (15, 31));
    }
}
