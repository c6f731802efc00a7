//! How near two vectors are, for whoever compares two ways to compute the same.

/// The cosine of two vectors. Two of zeros agree, one of zeros with another does not, and what holds no number agrees with
/// nothing: NaN.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (first, second) = (dot(a, a), dot(b, b));
    match (first > 0.0, second > 0.0) {
        (true, true) => dot(a, b) / (first * second).sqrt(),
        // Two rows of zeros agree; what is no number stays none.
        (false, false) if (first + second).is_finite() => 1.0,
        _ => (first + second) * 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::cosine;

    #[test]
    fn vectors_are_compared_by_their_direction() {
        assert!((cosine(&[3.0, 4.0], &[4.0, 3.0]) - 0.96).abs() < 1e-12);
        assert!((cosine(&[3.0, 4.0], &[30.0, 40.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[0.0], &[0.0]) - 1.0).abs() < 1e-12);
        // Nothing but zeros is not the vector that something else is.
        assert!(cosine(&[0.0, 0.0], &[4.0, 3.0]).abs() < 1e-12 && cosine(&[4.0, 3.0], &[0.0, 0.0]).abs() < 1e-12);
        assert!(cosine(&[f32::NAN], &[1.0]).is_nan() && cosine(&[0.0], &[f32::INFINITY]).is_nan());
    }
}
