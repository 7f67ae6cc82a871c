//! Exceptions as result documents describe them.

use lovage_core::{Failure, write_json_string};

/// The exceptions that every Python has under these names without an import.
const BUILTINS: [&str; 66] = [
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "BaseExceptionGroup",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EncodingWarning",
    "EnvironmentError",
    "Exception",
    "ExceptionGroup",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "GeneratorExit",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "KeyboardInterrupt",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "SystemExit",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
    "UnicodeTranslateError",
    "ValueError",
    "ZeroDivisionError",
];

/// A module that cannot clash with one of the caller's, for exceptions that name none.
const MODULE: &str = "lovage.exceptions";

/// Appends `{"exc_type", "exc_message", "exc_module"}`.
///
/// A caller's Celery takes the class from the module, if that is imported there, and invents one
/// otherwise. It refuses a name of `builtins` that is no exception, so none is written: the caller
/// would get an error of security in place of the task's.
pub(crate) fn push(text: &mut String, failure: &Failure) {
    let name = failure.exception_type.as_str();
    let is_builtin = BUILTINS.binary_search(&name).is_ok();
    let module = match failure.exception_module.as_deref() {
        Some("builtins") | None if is_builtin => "builtins",
        Some("builtins" | "") | None => MODULE,
        Some(module) => module,
    };
    text.push_str("{\"exc_type\": ");
    write_json_string(text, name);
    text.push_str(", \"exc_message\": ");
    if failure.arguments.is_array() {
        text.push_str(failure.arguments.as_str());
    } else {
        text.push('[');
        text.push_str(failure.arguments.as_str());
        text.push(']');
    }
    text.push_str(", \"exc_module\": ");
    write_json_string(text, module);
    text.push('}');
}

#[cfg(test)]
mod tests {
    use lovage_core::{Failure, Json};

    use super::{BUILTINS, push};

    fn written(module: Option<&str>, name: &str, arguments: &str) -> String {
        let failure = Failure {
            exception_type: name.into(),
            exception_module: module.map(Into::into),
            arguments: Json::parse(arguments).unwrap(),
            traceback: None,
        };
        let mut text = String::new();
        push(&mut text, &failure);
        text
    }

    #[test]
    fn the_names_are_in_the_order_that_the_search_needs() {
        assert!(BUILTINS.is_sorted());
    }

    #[test]
    fn a_builtin_is_found_without_its_module_and_nothing_else_poses_as_one() {
        let value_error =
            r#"{"exc_type": "ValueError", "exc_message": [1], "exc_module": "builtins"}"#;
        assert_eq!(written(None, "ValueError", "[1]"), value_error);
        assert_eq!(written(Some("builtins"), "ValueError", "1"), value_error);
        for module in [None, Some(""), Some("builtins")] {
            assert!(written(module, "eval", "[]").ends_with("\"lovage.exceptions\"}"));
        }
        assert!(written(Some("shop"), "ValueError", "[]").ends_with("\"shop\"}"));
    }
}
