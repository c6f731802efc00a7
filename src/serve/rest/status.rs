//! `GET /status.json`: what the status page shows.

use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::Service;
use super::samples::{Distribution, Samples};
use crate::Placement;
use crate::serve::served::Served;

/// Everything is counted since the model was loaded; who asks twice knows what came in between.
pub(super) async fn status(State(service): State<Service>) -> Json<Value> {
    let samples = Samples::read(&service.metrics().text());
    let limit = service.settings.max_queued_inputs;
    let models: Vec<Value> = service.models.all().iter().map(|served| described(served, &samples, limit)).collect();
    let now = UNIX_EPOCH.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64());
    // A model that had to go for want of memory comes back when it is asked for.
    let unloaded: Vec<Value> = service
        .models
        .describe()
        .into_iter()
        .filter(|model| !model.is_loaded)
        .map(|model| json!({"name": model.name, "requests": model.requests}))
        .collect();
    Json(json!({"version": env!("CARGO_PKG_VERSION"), "now": now, "models": models, "unloaded": unloaded}))
}

fn described(served: &Served, samples: &Samples, limit: usize) -> Value {
    let info = served.embedder.model().info();
    let count = |name: &str| samples.count(name, &served.name);
    let total = |name: &str| count(name).unwrap_or(0);
    let stages = served.embedder.stages();
    let fill = (stages.padded_tokens > 0).then(|| stages.tokens as f64 / stages.padded_tokens as f64);
    let report = served.embedder.placement();
    let sessions: Vec<Value> = report.sessions.iter().map(session).collect();
    let not_used: Vec<Value> = report
        .not_used
        .iter()
        .map(|not_used| json!({"provider": not_used.provider, "reason": not_used.reason}))
        .collect();
    let mut found = json!({
        "name": served.name,
        "loaded": served.since,
        "dimension": info.dimension,
        "max_input_length": info.max_seq_length,
        "dtype": info.dtype,
        "provider": info.provider,
        "requests": total("oxembed_requests_total"),
        "inputs": total("oxembed_inputs_total"),
        "tokens": total("oxembed_tokens_total"),
        "truncated_inputs": total("oxembed_truncated_inputs_total"),
        "latency": latency(&samples.distribution("oxembed_request_seconds", &served.name)),
        "queue": {"inputs": served.admission.inside(), "limit": limit},
        "batches": stages.batches,
        "batch_fill": fill,
        "placement": {"sessions": sessions, "not_used": not_used, "failures": report.failures},
        "cache": null,
    });
    // There is a cache where it is counted.
    if let (Some(hits), Some(misses)) = (count("oxembed_cache_hits_total"), count("oxembed_cache_misses_total")) {
        found["cache"] = json!({"hits": hits, "misses": misses});
    }
    found
}

/// Buckets, of which any share of the requests can be told, of any time; the limit of the last is `null`, as JSON has no
/// infinity.
fn latency(seconds: &Distribution) -> Value {
    let bucket = |(limit, count): &(f64, u64)| json!({"seconds": limit.is_finite().then_some(limit), "count": count});
    json!({"sum": seconds.sum, "buckets": seconds.buckets.iter().map(bucket).collect::<Vec<_>>()})
}

fn session(placement: &Placement) -> Value {
    let share =
        |name: &String| (name.clone(), json!({"nodes": placement.providers.get(name), "share": placement.share(name)}));
    json!({
        "session": placement.session,
        "provider": placement.provider,
        "device": placement.device,
        "dtype": placement.dtype,
        "threads": placement.threads,
        "providers": placement.providers.keys().map(share).collect::<Map<_, _>>(),
    })
}
