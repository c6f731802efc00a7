//! The text of the metrics, read back: the status page shows the numbers that Prometheus sees, whoever counts them.

use std::collections::BTreeMap;

/// One line: a number with its labels.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    /// As it is written: a count is a whole number, of any size.
    value: String,
}

/// All lines.
#[derive(Debug)]
pub(super) struct Samples(Vec<Sample>);

/// A histogram: how many observations were at most so large, smallest limit first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Distribution {
    /// `(limit, observations up to it)`; the last limit is infinite.
    pub buckets: Vec<(f64, u64)>,
    pub sum: f64,
}

impl Samples {
    /// Reads the text format of Prometheus, as our own metrics have it.
    pub fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The counter `name` of one model, over all other labels; none where it has not begun.
    pub fn count(&self, name: &str, model: &str) -> Option<u64> {
        self.find(name, model).filter_map(|sample| sample.value.parse::<u64>().ok()).reduce(u64::saturating_add)
    }

    /// The histogram `name` of one model, over all other labels; empty before the first observation.
    pub fn distribution(&self, name: &str, model: &str) -> Distribution {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for sample in self.find(&format!("{name}_bucket"), model) {
            let limit = sample.labels.get("le").and_then(|limit| number(limit));
            let (Some(limit), Ok(count)) = (limit, sample.value.parse::<u64>()) else { continue };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&limit).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((limit, count)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let sum = self.find(&format!("{name}_sum"), model).filter_map(|sample| number(&sample.value)).sum();
        Distribution { buckets, sum }
    }

    fn find(&self, name: &str, model: &str) -> impl Iterator<Item = &Sample> {
        let is_it =
            move |sample: &&Sample| sample.name == name && sample.labels.get("model").is_some_and(|of| of == model);
        self.0.iter().filter(is_it)
    }
}

/// `name{label="value",other="value"} number`; none for a line that is none.
fn sample(line: &str) -> Option<Sample> {
    let (name, labels, rest) = match line.split_once('{') {
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, BTreeMap::new(), rest)
        }
        Some((name, rest)) => {
            let (labels, rest) = labels(rest)?;
            (name, labels, rest)
        }
    };
    let value = rest.split_whitespace().next()?;
    Some(Sample { name: name.to_owned(), labels, value: value.to_owned() })
}

/// The labels up to the closing brace, and what comes after it.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        found.insert(name.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some((found, rest.strip_prefix('}')?))
}

/// A value up to its closing quotation mark, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::serve::label::Label;

    type Labels = Vec<(String, Label<String>)>;

    fn of(model: &str, route: &str) -> Labels {
        vec![("model".to_owned(), Label(model.to_owned())), ("route".to_owned(), Label(route.to_owned()))]
    }

    fn written(registry: &Registry) -> Samples {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        Samples::read(&text)
    }

    #[test]
    fn counters_are_summed_over_other_labels() {
        let mut registry = Registry::default();
        let counter: Family<Labels, Counter> = Family::default();
        registry.register("inputs", "help with {braces=\"and quotes\"} 3", counter.clone());
        let odd = "a \"name\", of {a} \\ model=\"x\"\nin two lines";
        counter.get_or_create(&of(odd, "/embed")).inc_by(3);
        counter.get_or_create(&of(odd, "/v1/embeddings")).inc_by(4);
        counter.get_or_create(&of("other", "/embed")).inc_by(100);
        let samples = written(&registry);
        assert_eq!(samples.count("inputs_total", odd), Some(7));
        assert_eq!(samples.count("inputs_total", "a third"), None);
    }

    #[test]
    fn a_histogram_is_read_as_it_was_filled() {
        let mut registry = Registry::default();
        let histogram: Family<Labels, Histogram> = Family::new_with_constructor(|| Histogram::new([0.5, 1.0, 2.0]));
        registry.register("request_seconds", "Time", histogram.clone());
        for (route, value) in [("a", 0.25), ("a", 0.75), ("b", 0.75), ("b", 5.0)] {
            histogram.get_or_create(&of("mini", route)).observe(value);
        }
        let found = written(&registry).distribution("request_seconds", "mini");
        assert_eq!(found.buckets, [(0.5, 1), (1.0, 3), (2.0, 3), (f64::INFINITY, 4)]);
        assert!((found.sum - 6.75).abs() < 1e-12);
        assert_eq!(written(&registry).distribution("request_seconds", "other"), Distribution::default());
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        assert_eq!(Samples::read("# EOF\n\nname{a=\"b\nname{a} 1\nname\nname{model=\"m\"} 2\n").0.len(), 1);
    }
}
