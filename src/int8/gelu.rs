//! The exact GELU, `x · Φ(x)`, in additions, multiplications and one division, so that every kernel gives the same bits.
//!
//! With `a = |x|` it is `max(x, 0) - a · Q(a)`, where `Q` is the upper tail of the normal distribution. Abramowitz and
//! Stegun, 26.2.19, give `Q(a) = 0.5 / p(a)^16` with a polynomial of six coefficients and an error below 1.5e-7. Its
//! tails are right by themselves: all coefficients are positive, so that far out the quotient goes to 0.

/// The coefficients of `p`, the constant first.
pub const COEFFICIENTS: [f32; 7] =
    [1.0, 0.049_867_347, 0.021_141_006, 0.003_277_626_3, 0.000_038_003_6, 0.000_048_890_6, 0.000_005_383];

/// From about 17 on `p^16` is infinite and the tail is 0. The limit keeps infinity out of the numerator.
pub const LIMIT: f32 = 100.0;

/// How often `p` is squared.
pub const SQUARINGS: usize = 4;

/// `x · Φ(x)`, within 1e-6; NaN stays NaN.
///
/// The comparisons are those of the vector instructions, which return the second operand where they do not hold.
#[allow(clippy::inline_always)] // It is compiled anew for the instructions of each kernel.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let magnitude = x.abs();
    let a = if magnitude < LIMIT { magnitude } else { LIMIT };
    let mut power = COEFFICIENTS.iter().rev().fold(0.0, |sum, &coefficient| sum * a + coefficient);
    for _ in 0..SQUARINGS {
        power *= power;
    }
    let positive = if 0.0 > x { 0.0 } else { x };
    positive - (0.5 * a) / power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(x: f32) -> f64 {
        let x = f64::from(x);
        0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
    }

    #[test]
    fn it_is_the_exact_gelu_within_a_millionth() {
        // Interpreted by miri, each takes a millisecond.
        let step = if cfg!(miri) { 1.0 / 16.0 } else { 1.0 / 4096.0 };
        let mut x = -20.0_f32;
        while x < 20.0 {
            assert!((f64::from(gelu(x)) - truth(x)).abs() <= 1e-6, "{x}: {} {}", gelu(x), truth(x));
            x += step + x.abs() * 1e-6;
        }
    }

    #[test]
    fn the_tails_are_right() {
        for x in [10.0_f32, 15.0, 16.5, 18.0, 99.0, 101.0, 1e3, 1e20, f32::MAX, f32::INFINITY] {
            assert_eq!(gelu(x).to_bits(), x.to_bits());
            assert!((-1e-16..=0.0).contains(&gelu(-x)), "{x}: {}", gelu(-x));
            assert_eq!(gelu(-x) == 0.0, x >= 18.0, "{x}: {}", gelu(-x));
        }
        assert_eq!(gelu(0.0).to_bits(), 0.0_f32.to_bits());
        assert!(gelu(f32::NAN).is_nan());
        // It falls to its one minimum, near -0.75, and rises from there, but for steps of rounding.
        let mut previous = gelu(-15.0);
        for step in (1..=30_000_i16).step_by(if cfg!(miri) { 500 } else { 1 }) {
            let x = f32::from(step).mul_add(0.001, -15.0);
            let value = gelu(x);
            let rises = value >= previous;
            let still = (value - previous).abs() < 2e-7;
            assert!(still || rises == (x > -0.7518), "{x}");
            previous = value;
        }
    }
}
