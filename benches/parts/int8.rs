//! The product in 8-bit integers: the widest layer of the embedded model, by the kernel that this processor is given and
//! by the portable one, on one thread.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use oxembed::int8::{Epilogue, Instructions, PackedSite, QuantizedLinear, QuantizedSite, on_this_thread};

use oxembed_benches::{HIDDEN, token_embeddings};

const OUTPUTS: usize = 4 * HIDDEN;

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("int8");
    let site = site();
    let mut kernels = vec![Instructions::detect(), Instructions::Portable];
    kernels.dedup();
    for (instructions, count) in kernels.into_iter().flat_map(|kernel| [(kernel, 8), (kernel, 512)]) {
        let packed = PackedSite::new(&site, Epilogue::Gelu, instructions).unwrap();
        let rows = token_embeddings(count);
        let mut output = vec![0.0; count * OUTPUTS];
        group.throughput(Throughput::Elements((count * HIDDEN * OUTPUTS) as u64));
        group.bench_with_input(BenchmarkId::new(instructions.name(), count), &rows, |bencher, rows| {
            bencher.iter(|| packed.run(black_box(rows), &mut [&mut output], &on_this_thread).unwrap());
        });
    }
    group.finish();
}

fn site() -> QuantizedSite {
    let weight = |index: usize| i8::try_from(index * 7919 % 128).unwrap();
    let linear = QuantizedLinear {
        key: "up".to_owned(),
        outputs: OUTPUTS,
        weight: (0..OUTPUTS * HIDDEN).map(weight).collect(),
        weight_scales: vec![0.01; OUTPUTS],
        bias: vec![0.0; OUTPUTS],
    };
    let order = (0..).take(HIDDEN).collect();
    QuantizedSite { inputs: HIDDEN, order, groups: vec![HIDDEN], linears: vec![linear] }
}
