//! What this process has used.

use anyhow::Result;
#[cfg(not(unix))]
use anyhow::bail;

/// Processor time on all cores, in seconds.
#[cfg(unix)]
pub fn cpu_seconds() -> Result<f64> {
    let usage = usage()?;
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// The most memory at once, in bytes.
#[cfg(unix)]
pub fn peak_bytes() -> Result<u64> {
    // Not getrusage on Linux: its figure begins with that of the process that started this one.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kilobytes) = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()) {
            return Ok(kilobytes * 1024);
        }
    }
    Ok(u64::try_from(usage()?.ru_maxrss)?)
}

#[cfg(unix)]
fn usage() -> Result<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to memory for one `rusage`, which the call fills in where it returns 0.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the call returned 0, so it has filled in all of it.
    Ok(unsafe { usage.assume_init() })
}

#[cfg(not(unix))]
pub fn cpu_seconds() -> Result<f64> {
    bail!("this program measures itself on Linux and macOS only")
}

#[cfg(not(unix))]
pub fn peak_bytes() -> Result<u64> {
    bail!("this program measures itself on Linux and macOS only")
}
