//! Which of the processor's instructions multiply the integers.

/// A kernel, named by the instructions that it is made of. All of them give the same bits.
///
/// ```
/// use oxembed::int8::Instructions;
///
/// assert!(Instructions::available().contains(&Instructions::detect()));
/// assert!(Instructions::Portable.is_available());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instructions {
    /// Plain Rust: right on every processor, fast on none.
    Portable,
    /// x86-64: widened to 16 bits, where a product is exact; the 8-bit product of these processors saturates.
    Avx2,
    /// x86-64: the 8-bit dot product on 256 bits.
    AvxVnni,
    /// x86-64: the 8-bit dot product on 512 bits.
    Avx512Vnni,
    /// ARM: the 8-bit dot product (`sdot`).
    NeonDotProduct,
    /// ARM: the 8-bit product of small matrices (`usmmla`, the extension i8mm).
    NeonMatrix,
}

impl Instructions {
    /// All kernels, the fastest first.
    const ALL: [Self; 6] =
        [Self::Avx512Vnni, Self::AvxVnni, Self::NeonMatrix, Self::NeonDotProduct, Self::Avx2, Self::Portable];

    /// The fastest kernel that this processor can run.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|kernel| kernel.is_available()).unwrap_or(Self::Portable)
    }

    /// Every kernel that this processor can run, the fastest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// Whether this processor can run the kernel.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => {
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotProduct => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonMatrix => std::arch::is_aarch64_feature_detected!("i8mm"),
            #[allow(unreachable_patterns)] // Each processor has kernels that another lacks.
            _ => false,
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::NeonDotProduct => "neon-dotprod",
            Self::NeonMatrix => "neon-i8mm",
        }
    }

    /// Whether the processor multiplies 8-bit integers in one instruction, which is what makes int8 faster than fp32.
    pub fn is_fast(self) -> bool {
        matches!(self, Self::AvxVnni | Self::Avx512Vnni | Self::NeonDotProduct | Self::NeonMatrix)
    }
}

/// Whether the processor has AMX tiles for 8-bit integers. No kernel uses them; a report names them.
pub fn has_amx_int8() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const LEAF_OF_FEATURES: u32 = 7;
        const AMX_INT8: u32 = 1 << 25;
        #[allow(unused_unsafe)] // The newest compilers call these safe.
        // SAFETY: every processor of x86-64 has the instruction.
        unsafe {
            std::arch::x86_64::__cpuid(0).eax >= LEAF_OF_FEATURES
                && std::arch::x86_64::__cpuid_count(LEAF_OF_FEATURES, 0).edx & AMX_INT8 != 0
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detected_kernel_is_the_first_that_can_run() {
        assert_eq!(Instructions::available().first(), Some(&Instructions::detect()));
        assert_eq!(Instructions::available().last(), Some(&Instructions::Portable));
        assert!(Instructions::available().into_iter().all(Instructions::is_available));
    }

    #[test]
    fn what_linux_says_of_the_processor_agrees() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        // An emulated processor sees the file of the real one.
        let title = if cfg!(target_arch = "x86_64") { "flags" } else { "Features" };
        let Some(line) = text.lines().find(|line| line.starts_with(title)) else { return };
        let has = |flag: &str| line.split_whitespace().any(|word| word == flag);
        assert_eq!(Instructions::Avx2.is_available(), has("avx2"));
        assert_eq!(Instructions::AvxVnni.is_available(), has("avx_vnni"));
        assert_eq!(Instructions::Avx512Vnni.is_available(), has("avx512_vnni"));
        assert_eq!(Instructions::NeonDotProduct.is_available(), has("asimddp"));
        assert_eq!(Instructions::NeonMatrix.is_available(), has("i8mm"));
        assert_eq!(has_amx_int8(), has("amx_int8"));
    }
}
