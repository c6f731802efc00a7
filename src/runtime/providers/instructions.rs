//! Instructions of the processor, for types that a provider computes in where the processor can, and silently not where it
//! cannot.

/// Instructions that a type needs on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Products of half precision.
    Float16,
    /// Products of brain floating point.
    Bfloat16,
}

impl Instructions {
    /// Whether this processor has what `OpenVINO` asks for; of processors of other kinds that is not known here.
    #[cfg(target_arch = "x86_64")]
    pub fn are_here(self) -> bool {
        use std::arch::is_x86_feature_detected as has;

        let on_256_bits = has!("avxvnni") && has!("avxvnniint8") && has!("avxneconvert");
        let on_512_bits = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
        match self {
            Self::Float16 => on_512_bits && has!("avx512fp16") || on_256_bits,
            Self::Bfloat16 => on_512_bits || on_256_bits,
        }
    }

    /// Whether this processor has them: it is asked for them, and may refuse.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn are_here(self) -> bool {
        true
    }
}
