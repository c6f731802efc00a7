//! How a graph falls apart into what a provider takes and what it leaves: the algorithm of ONNX Runtime, as its own
//! checker (`onnxruntime.tools.mobile_helpers.usability_checker`) has it.
//!
//! A partition is grown along the graph: a node that the provider takes joins it; one that it does not take, and that
//! depends on the partition, waits until the partition is closed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::graph::domain;
use super::shapes::{Shapes, ValueShape, attribute_graphs};
use crate::onnx::proto::{GraphProto, NodeProto};

/// What a provider takes.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Operators as `domain:operator`, with the conditions that are not checked.
    pub operators: &'static [(&'static str, &'static str)],
    /// Most dimensions of an input.
    pub max_rank: usize,
    /// Whether inputs of varying shape are left.
    pub fixed_shapes_only: bool,
}

/// What a provider would take of a graph and its subgraphs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitioning {
    /// Nodes in all.
    pub nodes: usize,
    /// Nodes in each partition.
    pub partitions: Vec<usize>,
    /// Nodes left for their operator.
    pub by_operator: usize,
    /// Nodes left for an input of varying or unknown shape.
    pub by_shape: usize,
    /// Nodes left for an input of too many dimensions.
    pub by_rank: usize,
    /// Operators that are not taken.
    pub unsupported_operators: BTreeSet<String>,
    /// Operators with inputs of too many dimensions.
    pub operators_of_unsupported_rank: BTreeSet<String>,
    /// Conditions on the operators that are taken.
    pub unchecked: BTreeMap<String, String>,
}

impl Partitioning {
    /// Nodes that are taken.
    pub fn supported(&self) -> usize {
        self.partitions.iter().sum()
    }
}

/// The partitions of `graph` by `rules`.
pub fn partition(graph: &GraphProto, shapes: &Shapes, rules: &Rules) -> Partitioning {
    let operators = rules.operators.iter().copied().collect();
    let mut checker = Checker { rules, operators, found: Partitioning::default() };
    let mut scope = Scope::default();
    // Where shapes do not matter, the checker looks at none in the main graph, but at those of subgraphs.
    if rules.fixed_shapes_only {
        scope.add_values(shapes);
    }
    checker.graph(graph, Some(shapes), &scope);
    checker.found
}

/// The values that are seen from inside a graph.
#[derive(Debug, Clone, Default)]
struct Scope<'a> {
    values: HashMap<&'a str, ValueShape>,
    initializers: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn add_values(&mut self, shapes: &'a Shapes) {
        self.values.extend(shapes.values.iter().map(|(name, shape)| (name.as_str(), *shape)));
    }

    fn is_fixed(&self, value: &str) -> bool {
        self.values.get(value).map_or_else(|| self.initializers.contains(value), |shape| shape.is_fixed)
    }
}

struct Checker<'a> {
    rules: &'a Rules,
    operators: BTreeMap<&'static str, &'static str>,
    found: Partitioning,
}

impl Checker<'_> {
    fn graph<'g>(&mut self, graph: &'g GraphProto, shapes: Option<&'g Shapes>, scope: &Scope<'g>) {
        let mut scope = scope.clone();
        scope.initializers.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
        self.walk(graph, &scope);
        for (index, subgraph) in attribute_graphs(graph).enumerate() {
            let shapes = shapes.and_then(|shapes| shapes.subgraphs.get(index));
            let mut scope = scope.clone();
            if let Some(shapes) = shapes {
                scope.add_values(shapes);
            }
            self.graph(subgraph, shapes, &scope);
        }
    }

    fn walk(&mut self, graph: &GraphProto, scope: &Scope<'_>) {
        self.found.nodes += graph.node.len();
        let (mut waiting_for, consumers) = edges(graph);
        let mut ready: VecDeque<usize> =
            waiting_for.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| node).collect();
        let mut ready_next: VecDeque<usize> = VecDeque::new();
        let (mut group, mut border) = (0, BTreeSet::<usize>::new());
        loop {
            let Some(index) = ready.pop_front() else {
                if group > 0 {
                    self.found.partitions.push(group);
                }
                group = 0;
                border.clear();
                if ready_next.is_empty() {
                    break;
                }
                std::mem::swap(&mut ready, &mut ready_next);
                continue;
            };
            let Some(node) = graph.node.get(index) else { continue };
            let verdict = self.verdict(node, scope);
            if !verdict.is_supported() && border.contains(&index) {
                ready_next.push_back(index);
                continue;
            }
            self.count(node, verdict);
            let consumers = consumers.get(index).map_or(&[][..], Vec::as_slice);
            if verdict.is_supported() {
                group += 1;
                border.extend(consumers);
            }
            for consumer in consumers {
                if let Some(count) = waiting_for.get_mut(*consumer) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push_back(*consumer);
                    }
                }
            }
        }
    }

    fn verdict(&self, node: &NodeProto, scope: &Scope<'_>) -> Verdict {
        let max_rank = self.rules.max_rank;
        let is_large = |input: &String| scope.values.get(input.as_str()).is_some_and(|shape| shape.rank > max_rank);
        // Where shapes are not known, the attribute of a Transpose tells the rank.
        let is_large_transpose = node.op_type == "Transpose"
            && node.attribute.first().is_some_and(|permutation| permutation.ints.len() > max_rank);
        Verdict {
            operator: self.operators.contains_key(name(node).as_str()),
            // An input that is left out has no shape, so the checker takes it for one that varies.
            shape: !self.rules.fixed_shapes_only || node.input.iter().all(|input| scope.is_fixed(input)),
            rank: !is_large_transpose && !node.input.iter().any(is_large),
        }
    }

    fn count(&mut self, node: &NodeProto, verdict: Verdict) {
        let name = name(node);
        match self.operators.get(name.as_str()) {
            Some(condition) if !condition.is_empty() => {
                self.found.unchecked.insert(name.clone(), (*condition).to_owned());
            }
            _ => {}
        }
        if !verdict.operator {
            self.found.by_operator += 1;
            self.found.unsupported_operators.insert(name.clone());
        }
        self.found.by_shape += usize::from(!verdict.shape);
        if !verdict.rank {
            self.found.by_rank += 1;
            self.found.operators_of_unsupported_rank.insert(name);
        }
    }
}

/// Which of the rules a node keeps.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    operator: bool,
    shape: bool,
    rank: bool,
}

impl Verdict {
    fn is_supported(self) -> bool {
        self.operator && self.shape && self.rank
    }
}

fn name(node: &NodeProto) -> String {
    format!("{}:{}", domain(&node.domain), node.op_type)
}

/// For each node of `graph` the number of nodes it depends on, and the nodes that depend on it.
fn edges(graph: &GraphProto) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    let mut waiting_for = Vec::with_capacity(graph.node.len());
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        let mut needed = BTreeSet::new();
        needs(node, &mut needed);
        let before: BTreeSet<usize> = needed.iter().filter_map(|value| producers.get(value).copied()).collect();
        waiting_for.push(before.len());
        for producer in before {
            if let Some(consumers) = consumers.get_mut(producer) {
                consumers.push(index);
            }
        }
        producers.extend(node.output.iter().map(|output| (output.as_str(), index)));
    }
    (waiting_for, consumers)
}

/// The values that a node takes, those that its subgraphs take from around it included.
fn needs<'a>(node: &'a NodeProto, needed: &mut BTreeSet<&'a str>) {
    needed.extend(node.input.iter().filter(|input| !input.is_empty()).map(String::as_str));
    for subgraph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        let mut local: BTreeSet<&str> = subgraph.input.iter().map(|input| input.name.as_str()).collect();
        local.extend(subgraph.initializer.iter().map(|tensor| tensor.name.as_str()));
        for node in &subgraph.node {
            let mut inner = BTreeSet::new();
            needs(node, &mut inner);
            needed.extend(inner.difference(&local).copied());
            local.extend(node.output.iter().map(String::as_str));
        }
    }
}

#[cfg(test)]
mod tests;
