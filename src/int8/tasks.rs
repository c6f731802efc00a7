//! Work in tasks that a caller's threads run.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{EmbeddingError, Result};

/// Runs a function for each of so many tasks, on as many threads as there are, and returns when all are done.
pub type ParallelFor<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// Runs the tasks one after the other: a [`ParallelFor`] without threads.
pub fn on_this_thread(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    (0..tasks).for_each(task);
}

/// Runs each task once: a task that is asked for again is not, so that no two threads ever write the same numbers.
///
/// # Errors
///
/// [`EmbeddingError::Internal`] where `parallel_for` left a task out.
pub fn run_each_once(tasks: usize, parallel_for: ParallelFor<'_>, task: &(dyn Fn(usize) + Sync)) -> Result<()> {
    let taken: Vec<AtomicBool> = std::iter::repeat_with(AtomicBool::default).take(tasks).collect();
    parallel_for(tasks, &|index| {
        if taken.get(index).is_some_and(|taken| !taken.swap(true, Ordering::Relaxed)) {
            task(index);
        }
    });
    let left_out = taken.into_iter().filter(|taken| !taken.load(Ordering::Relaxed)).count();
    if left_out == 0 {
        return Ok(());
    }
    let message = format!("{left_out} of {tasks} tasks of a quantized layer were not run");
    Err(EmbeddingError::Internal { message })
}
