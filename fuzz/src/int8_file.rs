//! `int8.safetensors`: what is read can be written and computed with.

use oxembed::int8::{Epilogue, Instructions, PackedSite, QuantizedSite, on_this_thread};
use oxembed::quantize::QuantizedModel;

use super::folder::with_file;
use super::header;
use super::outcome::typed;

/// A file that is read is equal to what is written of it, and no kernel fails on it.
pub fn check(input: &[u8]) {
    let file = header::file(input);
    let Some(model) = with_file("int8.safetensors", &file, |path| typed(QuantizedModel::read(path))) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let written = model.write(&folder.path().join("int8.safetensors")).expect("what was read can be written");
    assert_eq!(QuantizedModel::read(&written).expect("what was written can be read"), model);
    model.sites.iter().for_each(run);
}

/// Runs a row through the site with the instructions of this processor and without any: the bits are the same.
fn run(site: &QuantizedSite) {
    let row: Vec<f32> = (0..site.inputs).map(|channel| (channel as f32 * 0.37).sin()).collect();
    let mut first: Option<Vec<Vec<u32>>> = None;
    for instructions in Instructions::available() {
        let packed = PackedSite::new(site, Epilogue::None, instructions).expect("what was read is checked");
        let mut outputs: Vec<Vec<f32>> = packed.outputs().map(|length| vec![0.0; length]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        packed.run(&row, &mut slices, &on_this_thread).expect("a row of the right length");
        let bits: Vec<Vec<u32>> = outputs.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{}", instructions.name());
    }
}
