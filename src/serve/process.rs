//! What the process takes of the machine, under the names that Prometheus' own clients use. Only Linux tells it in files.

use std::fmt::Error;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;

use super::family::single;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    started: SystemTime,
}

impl Default for Process {
    fn default() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").map(|files| files.count() as f64).ok();
        for (name, help, value) in [
            ("process_start_time_seconds", "When the service started, in seconds since 1970", Some(started)),
            (
                "process_resident_memory_bytes",
                "Memory in use",
                field(&status, "VmRSS:").map(|kilobytes: f64| kilobytes * 1024.0),
            ),
            ("process_threads", "Threads", field(&status, "Threads:")),
            ("process_open_fds", "File descriptors in use", files),
        ] {
            if let Some(value) = value {
                single(&mut encoder, name, help, &ConstGauge::new(value))?;
            }
        }
        Ok(())
    }
}

/// The number after `name` in a file such as `/proc/self/status`.
pub(super) fn field<Number: FromStr>(status: &str, name: &str) -> Option<Number> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_of_a_status() {
        let status = "Name:\toxembed\nVmHWM:\t  200 kB\nVmRSS:\t  150 kB\nThreads:\t12\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "Threads:")), (Some(150.0), Some(12.0)));
        assert_eq!((field::<u64>(status, "VmSwap:"), field::<u64>("", "Threads:")), (None, None));
    }
}
