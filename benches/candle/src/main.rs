//! candle's BERT as a peer: answers the requests of `benches/peer/protocol.py` on its standard streams.

mod model;
mod usage;

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use model::Model;

/// Texts that a batch size is chosen with.
const SAMPLE: usize = 200;

#[derive(Default)]
struct Session {
    model: Option<Model>,
    texts: Vec<String>,
    note: String,
}

impl Session {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let what = request["do"].as_str().context("a request without `do`")?;
        match what {
            "load" => self.load(&request["settings"]),
            "texts" => self.read_texts(request),
            "vectors" => self.vectors(request),
            "round" => self.round(),
            "single" => self.single(request),
            "finish" => Ok(json!({"peak_bytes": usage::peak_bytes()?})),
            other => bail!("there is no request {other:?}"),
        }
    }

    fn load(&mut self, settings: &Value) -> Result<Value> {
        let start = Instant::now();
        let folder = settings["folder"].as_str().context("settings without `folder`")?;
        self.model = Some(Model::load(folder.as_ref(), settings["sorted"] == true)?);
        Ok(json!({"seconds": start.elapsed().as_secs_f64(), "versions": {"candle": env!("CANDLE_VERSION")}}))
    }

    fn read_texts(&mut self, request: &Value) -> Result<Value> {
        let file = request["file"].as_str().context("`texts` without `file`")?;
        self.texts = serde_json::from_slice(&std::fs::read(file)?)?;
        let sizes: Vec<usize> = serde_json::from_value(request["batches"].clone())?;
        let step = (self.texts.len() / SAMPLE).max(1);
        let sample: Vec<String> = self.texts.iter().step_by(step).take(SAMPLE).cloned().collect();
        let model = self.model.as_mut().context("nothing is loaded yet")?;
        let mut fastest = None;
        for size in sizes {
            model.batch = size;
            let start = Instant::now();
            model.encode(&sample)?;
            let time = start.elapsed();
            if fastest.is_none_or(|(_, shortest)| time < shortest) {
                fastest = Some((size, time));
            }
        }
        if let Some((size, _)) = fastest {
            model.batch = size;
        }
        let order = if model.sorted { "sorted" } else { "in input order" };
        self.note = format!("batches of {}, {order}", model.batch);
        Ok(json!({"note": self.note}))
    }

    fn encode(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        self.model.as_ref().context("nothing is loaded yet")?.encode(texts)
    }

    fn vectors(&self, request: &Value) -> Result<Value> {
        let every = usize::try_from(request["every"].as_u64().context("`vectors` without `every`")?)?;
        let texts: Vec<String> = self.texts.iter().step_by(every.max(1)).cloned().collect();
        let start = Instant::now();
        let rows = self.encode(&texts)?;
        let seconds = start.elapsed().as_secs_f64();
        let file = request["file"].as_str().context("`vectors` without `file`")?;
        std::fs::write(file, numpy_file(&rows))?;
        Ok(json!({"seconds": seconds}))
    }

    fn round(&self) -> Result<Value> {
        let (before, start) = (usage::cpu_seconds()?, Instant::now());
        self.encode(&self.texts)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(json!({"seconds": seconds, "cpu_seconds": usage::cpu_seconds()? - before}))
    }

    fn single(&self, request: &Value) -> Result<Value> {
        let text = request["text"].as_str().context("`single` without `text`")?;
        let runs = request["runs"].as_u64().context("`single` without `runs`")?;
        let texts = [text.to_owned()];
        let mut seconds = Vec::new();
        for _ in 0..runs {
            let start = Instant::now();
            self.encode(&texts)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(json!({"seconds": seconds}))
    }
}

/// Rows as a file that numpy reads: version 1.0 of its format.
fn numpy_file(rows: &[Vec<f32>]) -> Vec<u8> {
    let width = rows.first().map_or(0, Vec::len);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", rows.len());
    // The data begin at a multiple of 64 bytes; the header ends in a line break.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap_or(u16::MAX).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    file
}

fn main() -> Result<()> {
    let mut session = Session::default();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = session.answer(&request);
        let failed = answer.is_err();
        let shown = answer.unwrap_or_else(|error| json!({"error": format!("{error:#}").replace('\n', " ")}));
        println!("{shown}");
        std::io::stdout().flush()?;
        if failed || request["do"] == "finish" {
            break;
        }
    }
    Ok(())
}
