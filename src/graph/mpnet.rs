//! MPNet: a bias by relative position added to every layer's attention scores.
//!
//! Agrees with `transformers` `MPNetModel`, whose buckets are T5's: half of them exact distances, the other half
//! logarithmic up to [`MAX_DISTANCE`].

use super::builder::{Attribute, GraphBuilder, Value};
use super::encoder::{COUNT, Encoder, Keys, Names};
use super::{Author, Family, PositionScheme};
use crate::config::Document;
use crate::error::Result;
use crate::weights::Weights;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["mpnet"], read };

const KEYS: Keys = Keys {
    hidden_size: &["hidden_size"],
    layers: &["num_hidden_layers"],
    heads: &["num_attention_heads"],
    intermediate_size: &["intermediate_size"],
    activation: &["hidden_act"],
};

const NAMES: Names = Names {
    embedding_norm: "embeddings.LayerNorm",
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
/// Fixed in `transformers`.
const MAX_DISTANCE: u16 = 128;

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let positions = PositionScheme::AfterPadding { padding_id: PADDING_ID };
    let epsilon = config.f32_positive_or("layer_norm_eps", 1e-12)?;
    let mut encoder = Encoder::read(config, &KEYS, &NAMES, positions, epsilon)?;
    let rows = config.optional_usize_in("relative_attention_num_buckets", COUNT)?.unwrap_or(BUCKETS);
    if rows < BUCKETS {
        let problem = format!("transformers looks {BUCKETS} buckets up whatever stands here, so fewer cannot work");
        return Err(config.invalid("relative_attention_num_buckets", problem));
    }
    encoder.relative_rows = rows;
    encoder.attention_bias = Some(attention_bias);
    Ok(Box::new(encoder))
}

/// `(1, heads, sequence, sequence)`: the row of every distance is looked up once, here; the graph slices by distance.
fn attention_bias(
    encoder: &Encoder,
    builder: &mut GraphBuilder,
    weights: &Weights,
    input_ids: &Value,
) -> Result<Value> {
    let heads = encoder.heads;
    let shape = [encoder.relative_rows, heads];
    let table = weights.tensor("encoder.relative_attention_bias.weight", &shape)?.to_f32();
    // Beyond `MAX_DISTANCE` all distances share one bucket, so the table needs no more columns.
    let furthest = usize::from(MAX_DISTANCE);
    let distances = 2 * furthest + 1;
    let mut by_distance = Vec::with_capacity(heads * distances);
    for head in 0..heads {
        by_distance.extend((0..distances).map(|column| {
            let bucket = bucket(column.cast_signed() - furthest.cast_signed());
            table.get(bucket * heads + head).copied().unwrap_or_default()
        }));
    }
    let by_distance = builder.computed("attention_bias_by_distance", &[heads, distances], by_distance);

    let shape = builder.node("Shape", &[input_ids], &[("start", Attribute::Int(1)), ("end", Attribute::Int(2))]);
    let length = builder.node("Squeeze", &[&shape], &[]);
    let (zero, one) = (builder.integer(0), builder.integer(1));
    let range = builder.node("Range", &[&zero, &length, &one], &[]);
    let (first, second) = (builder.integers(&[0]), builder.integers(&[1]));
    let keys = builder.node("Unsqueeze", &[&range, &first], &[]);
    let queries = builder.node("Unsqueeze", &[&range, &second], &[]);
    let distance = builder.node("Sub", &[&keys, &queries], &[]);
    let limit = i64::try_from(furthest).unwrap_or(i64::MAX);
    let (lowest, offset) = (builder.integer(-limit), builder.integer(limit));
    let distance = builder.node("Clip", &[&distance, &lowest, &offset], &[]);
    let column = builder.node("Add", &[&distance, &offset], &[]);
    let bias = builder.node("Gather", &[&by_distance, &column], &[("axis", Attribute::Int(1))]);
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
