//! `tokenizer.json` and `tokenizer_config.json` changed in their structure.

use arbitrary::{Result, Unstructured};

use super::folder::{FIXTURES, fixture, with_files};
use super::json;
use super::tokenizer_bytes::use_tokenizer;

const FILES: [&str; 2] = ["tokenizer.json", "tokenizer_config.json"];

/// As [`use_tokenizer`] says.
pub fn check(input: &[u8]) {
    let Ok((name, files)) = changed(&mut Unstructured::new(input)) else { return };
    let files = [(FILES[0], files[0].as_slice()), (FILES[1], files[1].as_slice())];
    with_files(name, &files, use_tokenizer);
}

fn changed(input: &mut Unstructured<'_>) -> Result<(&'static str, [Vec<u8>; 2])> {
    let name = input.choose(&FIXTURES)?;
    let read = |file| json::read(&fixture(name).join(file)).expect("a fixture has a tokenizer");
    let mut values = FILES.map(read);
    for value in &mut values {
        if input.ratio(2, 3)? {
            json::mutate(value, input)?;
        }
    }
    Ok((name, values.map(|value| value.to_string().into_bytes())))
}
