//! A site as a kernel reads it, and its product with rows of numbers.

use std::cell::RefCell;

use super::instructions::Instructions;
use super::kernel::Kernel;
use super::order::Order;
use super::packed_linear::PackedLinear;
use super::product::{Epilogue, Tile};
use super::rows::{Group, QuantizedRows, RowPlan, groups_of};
use super::site::QuantizedSite;
use super::tasks::{ParallelFor, on_this_thread, run_each_once};
use crate::error::{EmbeddingError, Result};

/// The quantized linear layers of one input, packed for the instructions of one kernel: for each of them
/// `activation(bias + rows · weightᵀ)`.
///
/// A row of a result depends on that row alone, bit for bit: not on its neighbours, the number of threads, or the kernel.
/// A row with a number that is not finite gives a row of NaN.
///
/// ```
/// use oxembed::int8::{Epilogue, Instructions, PackedSite, QuantizedLinear, QuantizedSite, on_this_thread};
///
/// # fn main() -> oxembed::Result<()> {
/// let linear = QuantizedLinear {
///     key: "dense".to_owned(),
///     outputs: 1,
///     weight: vec![-50, 100], // Columns in `order`: that of channel 1, and that of channel 0.
///     weight_scales: vec![0.01],
///     bias: vec![0.5],
/// };
/// let site = QuantizedSite { inputs: 2, order: vec![1, 0], groups: vec![2], linears: vec![linear] };
/// let packed = PackedSite::new(&site, Epilogue::None, Instructions::detect())?;
/// let mut output = [0.0; 2];
/// packed.run(&[1.0, 0.0, 0.0, 1.0], &mut [&mut output], &on_this_thread)?;
/// assert!((output[0] - 1.5).abs() < 0.01 && output[1].abs() < 0.01);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PackedSite {
    inputs: usize,
    order: Order,
    groups: Vec<Group>,
    linears: Vec<PackedLinear>,
    /// The panels of all layers: the layer, and which of its panels.
    panels: Vec<(usize, usize)>,
    epilogue: Epilogue,
    kernel: Kernel,
}

/// Rows that are quantized together: few enough that their bytes stay in the cache close to the core.
const BLOCK_ROWS: usize = 96;

/// Products that a task should have at least, so that it takes longer than it takes to hand it out.
const PRODUCTS_OF_A_TASK: usize = 500_000;

/// Tiles that a task of rows should have, one above the other: all weights are read for each task.
const FEWEST_TILES: usize = 8;

thread_local! {
    /// The scratch memory of [`PackedSite::run`]: one block of rows for each thread.
    static SCRATCH: RefCell<QuantizedRows> = RefCell::default();
}

impl PackedSite {
    /// Packs a site; `epilogue` is applied to all its layers.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] for a site whose parts do not fit each other ([`QuantizedSite::check`]), and for
    /// instructions that this processor has not.
    pub fn new(site: &QuantizedSite, epilogue: Epilogue, instructions: Instructions) -> Result<Self> {
        let kernel = Kernel::of(instructions).ok_or_else(|| {
            let available: Vec<_> = Instructions::available().into_iter().map(Instructions::name).collect();
            EmbeddingError::invalid_input(format!(
                "this processor does not run the int8 kernel {:?}; it runs {}",
                instructions.name(),
                available.join(", ")
            ))
        })?;
        Self::for_kernel(site, epilogue, kernel)
    }

    /// Packs a site for one kernel.
    pub(super) fn for_kernel(site: &QuantizedSite, epilogue: Epilogue, kernel: Kernel) -> Result<Self> {
        site.check()?;
        let groups = groups_of(&site.groups, kernel.shape.depth);
        let pack = |linear| PackedLinear::new(linear, site.inputs, &groups, kernel.shape);
        let linears: Vec<_> = site.linears.iter().map(pack).collect();
        let panels_of =
            |(index, linear): (usize, &PackedLinear)| (0..linear.panel_count()).map(move |panel| (index, panel));
        let panels = linears.iter().enumerate().flat_map(panels_of).collect();
        Ok(Self { inputs: site.inputs, order: Order::new(&site.order), groups, linears, panels, epilogue, kernel })
    }

    /// Length of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Lengths of the rows of the results, one for each layer.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = usize> {
        self.linears.iter().map(|linear| linear.outputs)
    }

    /// The instructions that it was packed for.
    pub fn instructions(&self) -> Instructions {
        self.kernel.instructions
    }

    /// Bytes of memory that the packed layers take.
    pub fn size(&self) -> usize {
        self.order.size() + self.linears.iter().map(PackedLinear::size).sum::<usize>()
    }

    /// Computes `rows`, `(count, inputs)`, into one output for each layer, `(count, outputs of the layer)`, in tasks that
    /// `parallel_for` may run at the same time: blocks of rows, or of columns where the rows are few, or one task where
    /// all of it is little work.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] for slices that are not of these shapes, and [`EmbeddingError::Internal`] where
    /// `parallel_for` leaves a task out.
    pub fn run(&self, rows: &[f32], outputs: &mut [&mut [f32]], parallel_for: ParallelFor<'_>) -> Result<()> {
        let count = self.require_shapes(rows, outputs)?;
        let windows: Vec<_> = outputs.iter_mut().map(|output| OutputWindow(output.as_mut_ptr())).collect();
        let tasks = rows.len().saturating_mul(self.outputs().sum()) / PRODUCTS_OF_A_TASK;
        if tasks < 2 {
            self.run_row_tasks(rows, count, 1, &windows, &on_this_thread)
        } else if count >= BLOCK_ROWS {
            self.run_row_tasks(rows, count, tasks, &windows, parallel_for)
        } else {
            self.run_column_tasks(rows, tasks, &windows, parallel_for)
        }
    }

    fn require_shapes(&self, rows: &[f32], outputs: &[&mut [f32]]) -> Result<usize> {
        let count = rows.len() / self.inputs;
        let widths = self.outputs().map(|width| count.checked_mul(width));
        if rows.len() == count * self.inputs && widths.eq(outputs.iter().map(|output| Some(output.len()))) {
            return Ok(count);
        }
        Err(EmbeddingError::invalid_input(format!(
            "layers of {} inputs and {:?} outputs cannot take {} numbers to {:?}",
            self.inputs,
            self.outputs().collect::<Vec<_>>(),
            rows.len(),
            outputs.iter().map(|output| output.len()).collect::<Vec<_>>()
        )))
    }

    /// Tasks of rows; each quantizes its own.
    fn run_row_tasks(
        &self,
        rows: &[f32],
        count: usize,
        tasks: usize,
        windows: &[OutputWindow],
        parallel_for: ParallelFor<'_>,
    ) -> Result<()> {
        let height = self.kernel.shape.rows;
        let rows_of_task = count.div_ceil(tasks).next_multiple_of(height).clamp(FEWEST_TILES * height, BLOCK_ROWS);
        run_each_once(count.div_ceil(rows_of_task), parallel_for, &|task| {
            let first = task * rows_of_task;
            let end = count.min(first + rows_of_task);
            let Some(rows) = rows.get(first * self.inputs..end * self.inputs) else { return };
            with_scratch(|scratch| {
                self.quantize(rows, scratch);
                self.compute_panels(&self.panels, scratch, first, windows);
            });
        })
    }

    /// Tasks of columns, of rows that are quantized before.
    fn run_column_tasks(
        &self,
        rows: &[f32],
        tasks: usize,
        windows: &[OutputWindow],
        parallel_for: ParallelFor<'_>,
    ) -> Result<()> {
        with_scratch(|scratch| {
            self.quantize(rows, scratch);
            let scratch = &*scratch;
            let panels_of_task = self.panels.len().div_ceil(tasks);
            run_each_once(self.panels.len().div_ceil(panels_of_task), parallel_for, &|task| {
                let panels = self.panels.chunks(panels_of_task).nth(task).unwrap_or_default();
                self.compute_panels(panels, scratch, 0, windows);
            })
        })
    }

    fn quantize(&self, rows: &[f32], scratch: &mut QuantizedRows) {
        let plan = RowPlan {
            order: &self.order,
            groups: &self.groups,
            encoding: self.kernel.encoding,
            depth: self.kernel.shape.depth,
        };
        // SAFETY: the processor has the instructions, as `Kernel::of` has found; rows are `inputs` long, as is the order,
        // and the groups cut exactly that.
        unsafe { scratch.fill(rows, self.inputs, &plan, self.kernel.quantize) };
    }

    /// All rows of the scratch memory, which are those from `first_row` on of the outputs, by some panels.
    fn compute_panels(
        &self,
        panels: &[(usize, usize)],
        rows: &QuantizedRows,
        first_row: usize,
        windows: &[OutputWindow],
    ) {
        for &(layer, panel) in panels {
            let (Some(linear), Some(window)) = (self.linears.get(layer), windows.get(layer)) else { return };
            self.compute_panel(linear, panel, rows, window.0.wrapping_add(first_row * linear.outputs));
        }
    }

    /// All rows of the scratch memory by one panel, in tiles of about the same height.
    fn compute_panel(&self, linear: &PackedLinear, index: usize, rows: &QuantizedRows, output: *mut f32) {
        let Some(panel) = linear.panel(index) else { return };
        let width = self.kernel.shape.columns;
        let first_column = index * width;
        let count = rows.count();
        let tiles = count.div_ceil(self.kernel.shape.rows);
        let mut first_row = 0;
        for left in (1..=tiles).rev() {
            let row_count = (count - first_row).div_ceil(left);
            let tile = Tile {
                rows,
                first_row,
                row_count,
                groups: &self.groups,
                panel,
                epilogue: self.epilogue,
                output: output.wrapping_add(first_row * linear.outputs + first_column),
                output_stride: linear.outputs,
                columns: width.min(linear.outputs - first_column),
            };
            // SAFETY: the processor has the instructions, as `Kernel::of` has found; rows and panel were made for its
            // shape; the output has all rows, and this panel's columns of them are written by this task alone.
            unsafe { (self.kernel.compute)(&tile) };
            first_row += row_count;
        }
    }
}

/// Where the rows of one result go. It may be written from several threads, each its own rows or columns.
#[derive(Debug, Clone, Copy)]
struct OutputWindow(*mut f32);

// SAFETY: it is an address only; who writes through it says why nobody else does.
unsafe impl Send for OutputWindow {}
// SAFETY: as above.
unsafe impl Sync for OutputWindow {}

fn with_scratch<T>(work: impl FnOnce(&mut QuantizedRows) -> T) -> T {
    // Taken out, so that work which comes to run inside this work finds nothing borrowed.
    let mut scratch = SCRATCH.take();
    let result = work(&mut scratch);
    SCRATCH.set(scratch);
    result
}
