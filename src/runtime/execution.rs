//! A provider made ready for sessions: found, its settings checked, its device chosen.

use std::path::PathBuf;
use std::sync::Arc;

use ort::session::builder::SessionBuilder;

use super::devices::{Device, PlugIn};
use super::library::Library;
use super::messages::with_logged_reason;
use super::placement::{Placement, record};
use super::providers::{
    self, CPU, Chosen, Circumstances, Dtype, FLOAT32, Instructions, Options, Provider, ProviderRequest, Shapes,
};
use super::session::LoadedSession;
use super::work::Work;
use crate::error::{EmbeddingError, Result};
use crate::graph::Target;

/// Where providers are looked for, and what they are given.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// ONNX Runtime.
    pub library: Arc<Library>,
    /// Libraries that bring providers.
    pub plug_ins: Vec<PlugIn>,
    /// The type of the arithmetic, by name.
    pub dtype: String,
    /// Threads that the process may use.
    pub threads: usize,
    /// A folder for what providers compile and what was found out about them.
    pub cache: Option<PathBuf>,
    /// The model, in letters for the name of a folder; nothing is kept of what is compiled where it is not known.
    pub model: Option<String>,
}

/// How a provider is put into a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It is part of the library.
    BuiltIn,
    /// By its device.
    Device(Device),
}

/// A provider that is there.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its row.
    pub provider: &'static Provider,
    /// The name it was asked for by.
    pub name: String,
    /// ONNX Runtime's name.
    pub runtime_name: String,
    /// The type it computes in.
    pub dtype: Dtype,
    /// Its settings.
    pub chosen: Chosen,
    options: Options,
    place: Place,
}

impl Execution {
    /// The CPU, which is always there.
    ///
    /// # Errors
    /// `InvalidInput` where it does not compute in the type that was asked for.
    pub fn cpu(dtype: &str) -> Result<Self> {
        let request = ProviderRequest::named(CPU.name);
        Ok(Self {
            provider: CPU,
            name: CPU.name.to_owned(),
            runtime_name: CPU.runtime_name.to_owned(),
            dtype: CPU.dtype(dtype)?,
            chosen: request.chosen(CPU)?,
            options: Options::new(),
            place: Place::BuiltIn,
        })
    }

    /// The CPU for what another provider leaves, whatever that computes in.
    ///
    /// # Errors
    /// None in practice: the CPU computes in single precision.
    pub fn cpu_beside_others() -> Result<Self> {
        Self::cpu(FLOAT32.name)
    }

    /// Finds the provider of `request`.
    ///
    /// # Errors
    /// `ProviderUnavailable` where it is not installed or has no device, `InvalidInput` for settings that it does not
    /// have and types that it does not compute in.
    pub fn find(request: &ProviderRequest, surroundings: &Surroundings) -> Result<Self> {
        let (provider, runtime_name) = row(request.name(), surroundings)?;
        let chosen = request.chosen(provider)?;
        let dtype = provider.dtype(&surroundings.dtype)?;
        if provider.is_cpu() {
            return Self::cpu(&surroundings.dtype);
        }
        let place = place(request.name(), provider, &runtime_name, &chosen, surroundings)?;
        check_instructions(request.name(), dtype, &chosen)?;
        let cache = cache_folder(provider, surroundings);
        let circumstances = Circumstances {
            dtype: dtype.name,
            threads: surroundings.threads,
            cache: cache.filter(|cache| crate::cache::make_folder(cache).is_ok()),
            is_plug_in: matches!(place, Place::Device(_)),
            chosen: &chosen,
        };
        let options = chosen.completed((provider.options)(&circumstances));
        Ok(Self { provider, name: request.name().to_owned(), runtime_name, dtype, chosen, options, place })
    }

    /// True for the CPU, whose sessions belong to workers and whose weights are packed.
    pub fn is_cpu(&self) -> bool {
        self.provider.is_cpu()
    }

    /// The graph to write.
    pub fn target(&self) -> Target {
        self.provider.target(self.dtype, &self.chosen)
    }

    /// How its batches are shaped: `Any` or `Ladder`.
    pub fn shapes(&self) -> Shapes {
        match self.provider.shapes {
            Shapes::AnyOnTheCpu { .. } if self.chosen.get("device") == Some("cpu") => Shapes::Any,
            Shapes::AnyOnTheCpu { token_budget } => Shapes::Ladder { token_budget },
            shapes => shapes,
        }
    }

    /// The device in words.
    pub fn device(&self) -> String {
        match &self.place {
            Place::Device(device) => device.words(),
            Place::BuiltIn if self.is_cpu() => "cpu".to_owned(),
            // Those that are part of the library do not tell of their devices: what was asked for, then.
            Place::BuiltIn => {
                let asked = ["device", "device_id", "compute_units"].into_iter();
                let asked =
                    asked.filter_map(|name| Some((name, self.chosen.get(name)?))).map(|(name, value)| match name {
                        "device" => value.to_owned(),
                        name => format!("{} {value}", name.trim_end_matches("_id").replace('_', " ")),
                    });
                asked.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Puts the provider into a session.
    ///
    /// # Errors
    /// Whatever ONNX Runtime or the provider says against it.
    pub fn put_into(&self, builder: &mut SessionBuilder, library: &Library) -> ort::Result<()> {
        let environment = &library.environment;
        let Place::Device(device) = &self.place else {
            let append = || self.provider.append.to(builder, environment, &self.runtime_name, &self.options);
            return with_logged_reason(append);
        };
        for (known, description) in environment.devices().zip(library.devices().unwrap_or_default()) {
            if description == *device {
                return providers::append_device(builder, environment, &known, &self.options);
            }
        }
        Err(ort::Error::new(format!("the device {} is gone", device.words())))
    }

    /// Where the nodes of a session are that was made for `what`, and how much of `work` they are.
    ///
    /// # Errors
    /// `InferenceFailed` where ONNX Runtime has no record.
    pub fn placement(&self, what: String, session: &LoadedSession, work: &Work) -> Result<Placement> {
        let recorded = record(session.session())?;
        Ok(Placement {
            session: what,
            provider: self.name.clone(),
            device: self.device(),
            dtype: self.dtype.name.to_owned(),
            threads: session.threads,
            providers: recorded.counts(),
            work: recorded.shares(work),
        })
    }

    /// An error that says why the provider cannot be used.
    pub fn unavailable(&self, message: impl Into<String>) -> EmbeddingError {
        unavailable(&self.name, message)
    }
}

/// Providers tell models apart by their graphs at best, so each model has a folder of its own, and each version of ONNX
/// Runtime another.
fn cache_folder(provider: &Provider, surroundings: &Surroundings) -> Option<PathBuf> {
    let version = &surroundings.library.version;
    let name = format!("{}-{version}", surroundings.model.as_ref()?);
    Some(surroundings.cache.as_ref()?.join(provider.name).join(name))
}

fn unavailable(name: &str, message: impl Into<String>) -> EmbeddingError {
    EmbeddingError::ProviderUnavailable { provider: name.to_owned(), message: message.into() }
}

/// Asked for a type that the processor has no instructions for, a provider would compute in another one.
fn check_instructions(name: &str, dtype: Dtype, chosen: &Chosen) -> Result<()> {
    let is_missing = |needed: &Instructions| chosen.get("device") == Some("cpu") && !needed.are_here();
    if !dtype.on_the_cpu.as_ref().is_some_and(is_missing) {
        return Ok(());
    }
    let message = format!(
        "this processor has no instructions for {}, and the provider would silently compute in another type; use \
         dtype=\"float32\", or another device",
        dtype.name
    );
    Err(unavailable(name, message))
}

/// The row of a name, and ONNX Runtime's name for it.
fn row(name: &str, surroundings: &Surroundings) -> Result<(&'static Provider, String)> {
    if let Some(provider) = Provider::named(name) {
        return Ok((provider, provider.runtime_name.to_owned()));
    }
    let brought = surroundings.plug_ins.iter().flat_map(|plug_in| &plug_in.providers);
    if let Some(brought) = brought.into_iter().find(|brought| is_called(brought, name)) {
        return Ok((providers::PLUG_IN, brought.clone()));
    }
    // What the others bring shows when they are loaded.
    let silent = surroundings.plug_ins.iter().filter(|plug_in| plug_in.providers.is_empty());
    let problems: Vec<String> =
        silent.filter_map(|plug_in| surroundings.library.register_plug_in(plug_in).err()).map(reason).collect();
    let offered = surroundings.library.devices()?;
    if let Some(device) = offered.iter().find(|device| is_called(&device.provider, name)) {
        return Ok((providers::PLUG_IN, device.provider.clone()));
    }
    let known = names(surroundings, &offered).join(", ");
    let mut message = format!("no provider is called so; known are {known}, and \"auto\"");
    for problem in problems {
        message.push_str("; ");
        message.push_str(&problem);
    }
    Err(unavailable(name, message))
}

/// Names that a provider can be asked for by: those of the rows, then what plug-ins bring besides.
fn names<'a>(surroundings: &'a Surroundings, offered: &'a [Device]) -> Vec<&'a str> {
    let mut names: Vec<&str> = providers::PROVIDERS.iter().map(|provider| provider.name).collect();
    let brought = surroundings.plug_ins.iter().flat_map(|plug_in| &plug_in.providers);
    for name in brought.chain(offered.iter().map(|device| &device.provider)) {
        if Provider::named(name).is_none() && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn reason(error: EmbeddingError) -> String {
    match error {
        EmbeddingError::ProviderUnavailable { message, .. } => message,
        other => other.to_string(),
    }
}

/// `Fast`, `fast` and `FastExecutionProvider` are the same.
fn is_called(runtime_name: &str, name: &str) -> bool {
    let short = |name: &str| name.strip_suffix("ExecutionProvider").unwrap_or(name).to_lowercase();
    short(runtime_name) == short(name)
}

fn place(
    name: &str,
    provider: &Provider,
    runtime_name: &str,
    chosen: &Chosen,
    surroundings: &Surroundings,
) -> Result<Place> {
    let library = &surroundings.library;
    let built_in = library.available_providers()?;
    if built_in.iter().any(|known| known == runtime_name) {
        return Ok(Place::BuiltIn);
    }
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    let bundled = bundled(provider, library);
    let plug_ins = surroundings.plug_ins.iter().chain(&bundled).filter(|plug_in| plug_in.may_bring(runtime_name));
    for plug_in in plug_ins {
        match library.register_plug_in(plug_in) {
            // Of one that does not say what it brings, only its devices can tell.
            Ok(()) if plug_in.providers.is_empty() => {}
            Ok(()) => loaded.push(plug_in.path.display().to_string()),
            Err(EmbeddingError::ProviderUnavailable { message, .. }) => problems.push(message),
            Err(error) => return Err(error),
        }
    }
    let kind = chosen.get("device");
    let mut mine = library.devices()?;
    mine.retain(|device| device.provider == runtime_name && kind.is_none_or(|kind| device.kind == kind));
    // Those that are there before those that are pretended, which the provider refuses itself, and says why.
    mine.sort_by_key(|device| device.is_virtual);
    if let Some(device) = mine.into_iter().next() {
        return Ok(Place::Device(device));
    }
    if !problems.is_empty() {
        return Err(unavailable(name, problems.join("; ")));
    }
    if !loaded.is_empty() {
        let kind = kind.map_or_else(String::new, |kind| format!(" of the kind {kind:?}"));
        let message =
            format!("its plug-in {} is installed and finds no device{kind} on this machine", loaded.join(", "));
        return Err(unavailable(name, message));
    }
    Err(unavailable(name, not_installed(provider, &built_in, library)))
}

/// The plug-in that comes with ONNX Runtime itself, in builds that have the provider so.
pub fn bundled(provider: &Provider, library: &Library) -> Option<PlugIn> {
    let path = library.path.with_file_name(libloading::library_filename(provider.bundled?));
    path.is_file().then(|| PlugIn { path, providers: vec![provider.runtime_name.to_owned()] })
}

fn not_installed(provider: &Provider, built_in: &[String], library: &Library) -> String {
    if !provider.exists_here() {
        let systems = provider.systems.iter().map(|system| in_words(system)).collect::<Vec<_>>().join(" and ");
        return format!("it exists on {systems} only, and this is {}", in_words(std::env::consts::OS));
    }
    format!(
        "it is not installed: ONNX Runtime {} at {} has {}, and no plug-in brings it. This may make it available: {}",
        library.version,
        library.path.display(),
        built_in.join(", "),
        provider.remedy
    )
}

/// An operating system as its makers spell it.
fn in_words(system: &str) -> &str {
    match system {
        "macos" => "macOS",
        "ios" => "iOS",
        "linux" => "Linux",
        "windows" => "Windows",
        "android" => "Android",
        other => other,
    }
}
