//! What ONNX Runtime and its providers say against something, without the places in their sources.

use std::cell::RefCell;

thread_local! {
    /// The last error that was logged on this thread.
    static LOGGED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What an error says, without source files, functions and stack.
pub fn first_line(error: &ort::Error) -> String {
    without_places(error.message())
}

/// Remembers an error that ONNX Runtime logs: it is what some errors are about that say nothing themselves.
pub fn remember(message: &str) {
    LOGGED.with_borrow_mut(|logged| *logged = Some(message.to_owned()));
}

/// The outcome of `work`; its error says what was logged meanwhile, if something was: a provider that is part of the
/// library tells its reasons to the log alone.
///
/// # Errors
/// As `work`.
pub fn with_logged_reason<T>(work: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    LOGGED.set(None);
    let outcome = work();
    match (outcome, LOGGED.take()) {
        (Err(error), Some(reason)) => {
            Err(ort::Error::new(format!("{}: {}", without_places(error.message()), without_places(&reason))))
        }
        (outcome, _) => outcome,
    }
}

fn without_places(message: &str) -> String {
    // The innermost error says what it is about; what stands before it is where it passed through. OpenVINO's own are
    // nested in each other, one a line.
    let said = match message.rsplit_once("[ONNXRuntimeError] : ") {
        Some((_, inner)) => inner.splitn(3, " : ").last().unwrap_or(inner),
        None => message,
    };
    let said = match said.rsplit_once("Exception from ").and_then(|(_, inner)| inner.split_once('\n')) {
        Some((_, inner)) => inner,
        None => said,
    };
    let mut line = said.lines().next().unwrap_or(said).trim();
    while let Some(rest) = after_place(line) {
        line = rest;
    }
    line.trim_end_matches('.').to_owned()
}

/// What follows the first source file with a line, and the function that ONNX Runtime names behind it.
fn after_place(text: &str) -> Option<&str> {
    let place = text.split(' ').find(|word| is_place(word))?;
    let (_, rest) = text.split_once(place)?;
    let mut rest = rest.trim_start();
    let Some(after) = after_brackets(rest, '(', ')') else { return Some(rest) };
    rest = after;
    if let Some(lambda) = rest.strip_prefix("::<lambda") {
        rest = after_brackets(lambda, '(', ')').map_or(lambda, |after| after.trim_start_matches('>'));
    }
    rest = rest.strip_prefix(" const").unwrap_or(rest);
    if rest.starts_with(" [with ") {
        rest = after_brackets(rest, '[', ']').unwrap_or(rest);
    }
    Some(rest.trim_start())
}

/// Whether a word is like `/core/session.cc:71`.
fn is_place(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(file, line)| {
        [".cc", ".cpp", ".h"].iter().any(|kind| file.ends_with(kind)) && line.parse::<u32>().is_ok()
    })
}

/// What follows the first pair of brackets, others inside of it counted.
fn after_brackets(text: &str, open: char, close: char) -> Option<&str> {
    let mut depth = 0_usize;
    for (index, letter) in text.char_indices() {
        if letter == open {
            depth += 1;
        } else if letter == close && depth == 1 {
            return text.get(index + letter.len_utf8()..);
        } else if letter == close {
            depth = depth.saturating_sub(1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{remember, with_logged_reason, without_places};

    #[test]
    fn of_an_error_of_onnx_runtime_what_it_says_is_left() {
        let message = "/onnxruntime_src/core/a.cc:71 virtual X Create(const Y&) Error creating execution provider: \
                       [ONNXRuntimeError] : 11 : EP_FAIL : no device : none at all\nstack";
        assert_eq!(without_places(message), "no device : none at all");
        assert_eq!(without_places("plain\nstack"), "plain");
        assert_eq!(without_places(""), "");
        assert_eq!(without_places("at 10:30 (noon) it was a.cc: file"), "at 10:30 (noon) it was a.cc: file");
    }

    #[test]
    fn of_an_error_of_openvino_what_the_innermost_says_is_left() {
        let message = "Exception during initialization: /o/openvino/basic_backend.cc:136 a::B::B(std::unique_ptr<C>&, D&) \
                       /o/openvino/ov_interface.cc:28 auto a::Boundary(Func&&, Args&& ...) [with bool typed = false; Func = \
                       E::Compile(bool)::<lambda()>; Args = {const char [3]}] [OpenVINO-EP] Exception while Loading Network \
                       for graph x_0: Exception from src/core.cpp:114:\nException from src/plugin.cpp:53:\nException from \
                       src/config.cpp:475:\nNotFound: Unsupported property NONSENSE by CPU plugin.\n\n\n";
        assert_eq!(without_places(message), "NotFound: Unsupported property NONSENSE by CPU plugin");
        let message = message.split_once(": Exception from").map(|(head, _)| head);
        assert_eq!(
            message.map(without_places).as_deref(),
            Some("[OpenVINO-EP] Exception while Loading Network for graph x_0")
        );
    }

    #[test]
    fn functions_are_left_out_with_their_lambdas_and_templates() {
        for function in
            ["int a::f(const X&)", "X::X()", "a::parse(Y&)::<lambda(const std::string&)>", "X a::f(F<G(int)>) const"]
        {
            assert_eq!(without_places(&format!("/src/a.cc:306 {function} JSON (number 1)")), "JSON (number 1)");
        }
        assert_eq!(without_places("/src/a.h:3 no function"), "no function");
    }

    #[test]
    fn an_error_has_what_was_logged_on_its_thread_meanwhile() {
        remember("before");
        let outcome = with_logged_reason(|| {
            std::thread::spawn(|| remember("elsewhere")).join().ok();
            Err::<(), _>(ort::Error::new("it failed."))
        });
        assert_eq!(outcome.map_err(|error| error.message().to_owned()), Err("it failed.".to_owned()));
        let outcome = with_logged_reason(|| {
            remember("/a/b.cc:1 int f(int) no device");
            Err::<(), _>(ort::Error::new("it failed."))
        });
        assert_eq!(outcome.map_err(|error| error.message().to_owned()), Err("it failed: no device".to_owned()));
        assert_eq!(
            with_logged_reason(|| {
                remember("never mind");
                Ok(3)
            })
            .ok(),
            Some(3)
        );
    }
}
