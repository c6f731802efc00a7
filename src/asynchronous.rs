//! Calls that wait without holding a thread, for services with many of them at once.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;

use crate::call::PreparedCall;
#[cfg(feature = "serve")]
use crate::call::TextUsage;
use crate::embedder::{Embedder, Embeddings};
use crate::error::{EmbeddingError, Result};
use crate::forward::{BatchRows, BatchWork};
use crate::options::EncodeOptions;
use crate::runtime::pool::StopSignal;
use crate::stages::{Stage, Stopwatch};

/// Texts of so many bytes are tokenized where they are, in less time than another thread takes to wake up.
const SMALL_BYTES: usize = 4096;

impl Embedder {
    /// As [`Embedder::encode`], without a thread that waits: calls share the workers, and small ones their batches.
    /// Dropping the future gives the call up: its batches leave the queue, and a run that nobody else waits for is
    /// stopped. It has to be polled inside a tokio runtime.
    ///
    /// ```
    /// use oxembed::{Embedder, EncodeOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> oxembed::Result<()> {
    /// let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
    /// let texts = vec!["one".to_owned(), "two".to_owned()];
    /// let embeddings = embedder.encode_async(texts, EncodeOptions::default()).await?;
    /// assert_eq!(embeddings.vectors.dim(), (2, 384));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Embedder::encode`].
    pub async fn encode_async(&self, texts: Vec<String>, options: EncodeOptions) -> Result<Embeddings> {
        let stop = StopOnDrop::default();
        let call = self.prepare_texts(texts, options, &stop).await?;
        self.finish_async(call, &stop).await
    }

    /// As [`encode_async`](Self::encode_async), of texts that were tokenized with the model's own tokenizer, special
    /// tokens included. Prompts have no part in it.
    ///
    /// # Errors
    /// As [`Embedder::encode`], and `InvalidInput` for ids that the model has no embedding for.
    pub async fn encode_tokens_async(&self, texts: Vec<Vec<u32>>, options: EncodeOptions) -> Result<Embeddings> {
        let stop = StopOnDrop::default();
        let call = self.prepare_ids(texts, options, &stop).await?;
        self.finish_async(call, &stop).await
    }

    /// As [`encode_async`](Self::encode_async), with what each text takes.
    #[cfg(feature = "serve")]
    pub(crate) async fn encode_each_async(
        &self,
        texts: Vec<String>,
        options: EncodeOptions,
    ) -> Result<(Embeddings, Vec<TextUsage>)> {
        let stop = StopOnDrop::default();
        let call = self.prepare_texts(texts, options, &stop).await?;
        let each = call.each();
        Ok((self.finish_async(call, &stop).await?, each))
    }

    /// As [`encode_tokens_async`](Self::encode_tokens_async), with what each text takes.
    #[cfg(feature = "serve")]
    pub(crate) async fn encode_tokens_each_async(
        &self,
        texts: Vec<Vec<u32>>,
        options: EncodeOptions,
    ) -> Result<(Embeddings, Vec<TextUsage>)> {
        let stop = StopOnDrop::default();
        let call = self.prepare_ids(texts, options, &stop).await?;
        let each = call.each();
        Ok((self.finish_async(call, &stop).await?, each))
    }

    async fn prepare_texts(
        &self,
        texts: Vec<String>,
        options: EncodeOptions,
        stop: &StopOnDrop,
    ) -> Result<PreparedCall> {
        let small = texts.iter().map(String::len).sum::<usize>() <= SMALL_BYTES;
        let prepare = move |embedder: &Self, stop: &StopSignal| embedder.prepare_owned(&texts, &options, stop);
        self.prepare_async(small, stop, prepare).await
    }

    async fn prepare_ids(
        &self,
        texts: Vec<Vec<u32>>,
        options: EncodeOptions,
        stop: &StopOnDrop,
    ) -> Result<PreparedCall> {
        let small = texts.iter().map(Vec::len).sum::<usize>() <= SMALL_BYTES;
        let prepare = move |embedder: &Self, _: &StopSignal| {
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            embedder.prepare_tokens(&texts, &options, &mut Stopwatch::start(&embedder.forward().stages))
        };
        self.prepare_async(small, stop, prepare).await
    }

    /// Runs the batches of a call.
    async fn finish_async(&self, call: PreparedCall, stop: &StopOnDrop) -> Result<Embeddings> {
        let PreparedCall { mut works, mut rows, mut usage } = call;
        let stages = &self.forward().stages;
        if works.len() == 1 && self.pool().is_idle() {
            match self.run_alone(works.remove(0), stop).await? {
                Ran::Rows(output) => drop(rows.place(&output)),
                Ran::NotFree(work) => works.push(work),
            }
        }
        if !works.is_empty() {
            let count = works.len();
            let (sender, mut receiver) = unbounded_channel();
            // Where nobody waits any more there is nobody to tell.
            let report = move |_, output| drop(sender.send(output));
            let ticket = self.pool().submit(works, Box::new(report))?;
            for _ in 0..count {
                let output = receiver.recv().await;
                let output = output.ok_or_else(|| EmbeddingError::internal("the workers went away"))??;
                let mut clock = Stopwatch::start(stages);
                rows.place(&output);
                clock.lap(Stage::Pool);
            }
            usage.waiting = ticket.waited();
            stages.add(Stage::Wait, usage.waiting);
        }
        stages.call(usage.inputs, usage.truncated_inputs);
        rows.finish(usage)
    }

    /// Here where there is little to do, else on a thread that may take its time.
    async fn prepare_async(
        &self,
        small: bool,
        stop: &StopOnDrop,
        prepare: impl FnOnce(&Self, &StopSignal) -> Result<PreparedCall> + Send + 'static,
    ) -> Result<PreparedCall> {
        if small {
            return prepare(self, &stop.0);
        }
        let (embedder, stop) = (self.clone(), Arc::clone(&stop.0));
        on_a_thread(move || prepare(&embedder, &stop)).await
    }

    fn prepare_owned(&self, texts: &[String], options: &EncodeOptions, stop: &StopSignal) -> Result<PreparedCall> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut clock = Stopwatch::start(&self.forward().stages);
        self.prepare(&texts, options, &mut clock, &mut |_| {
            if stop.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// One batch with all threads, unless somebody else has taken them.
    async fn run_alone(&self, work: BatchWork, stop: &StopOnDrop) -> Result<Ran> {
        let (embedder, stop) = (self.clone(), Arc::clone(&stop.0));
        on_a_thread(move || match embedder.free_worker() {
            Some(mut worker) => embedder.run_direct(&mut worker, &work, &stop).map(Ran::Rows),
            None => Ok(Ran::NotFree(work)),
        })
        .await
    }
}

/// What became of a batch that would have all threads.
enum Ran {
    Rows(BatchRows),
    NotFree(BatchWork),
}

/// Stops what other threads do for a call that nobody waits for any more.
#[derive(Default)]
struct StopOnDrop(Arc<StopSignal>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(EmbeddingError::internal(format!("the task was lost: {error}"))),
    }
}
