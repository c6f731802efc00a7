//! However the work is split, the bits are the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Numbers, computed, computed_by, kernels, row, same, site};
use crate::int8::{Epilogue, Instructions, PackedSite};

/// Runs the tasks in threads, more tasks than threads.
fn in_threads(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < tasks) {
                    task(index);
                }
            });
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "millions of products; ThreadSanitizer sees them")]
fn the_split_over_threads_changes_no_bit() {
    let mut numbers = Numbers(7);
    let site = site(&mut numbers, vec![16, 368, 130], &[300, 7, 400]);
    for count in [1, 5, 16, 95, 96, 230] {
        let rows: Vec<f32> = (0..count).flat_map(|_| row(&mut numbers, site.inputs, 11)).collect();
        for (name, kernel) in kernels() {
            let packed = PackedSite::for_kernel(&site, Epilogue::Gelu, kernel).unwrap();
            let together = computed(&packed, &rows);
            for (index, row) in rows.chunks(site.inputs).enumerate() {
                let expected: Vec<Vec<f32>> = (together.iter().zip(packed.outputs()))
                    .map(|(result, outputs)| result[index * outputs..][..outputs].to_vec())
                    .collect();
                assert!(same(&computed(&packed, row), &expected), "row {index} of {count}, {name}");
            }
            let tasks_seen = AtomicUsize::new(1);
            let parallel_for = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
                tasks_seen.store(tasks, Ordering::Relaxed);
                in_threads(tasks, task);
            };
            let split = computed_by(&packed, &rows, &parallel_for).unwrap();
            assert!(same(&split, &together), "{count} rows, {name}");
            assert_eq!(tasks_seen.into_inner() > 1, count >= 3, "{count} rows");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of products; ThreadSanitizer sees them")]
fn a_task_that_is_run_twice_does_no_harm_and_one_that_is_left_out_is_an_error() {
    let mut numbers = Numbers(9);
    let site = site(&mut numbers, vec![384], &[256, 128]);
    let packed = PackedSite::new(&site, Epilogue::None, Instructions::detect()).unwrap();
    for count in [12, 200] {
        let rows = numbers.units(count * site.inputs, 1.0);
        let expected = computed(&packed, &rows);
        let twice_and_beyond = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
            in_threads(2 * tasks + 2, &|index| task(index % (tasks + 1)));
        };
        assert!(same(&computed_by(&packed, &rows, &twice_and_beyond).unwrap(), &expected));
        let without_the_first = |tasks: usize, task: &(dyn Fn(usize) + Sync)| (1..tasks).for_each(task);
        let error = computed_by(&packed, &rows, &without_the_first).unwrap_err();
        assert!(error.to_string().contains("1 of "), "{error}");
    }
}
