//! Whether a command is for this node.

use lovage_celery::ControlRequest;
use regex::RegexBuilder;

/// Bytes that a pattern may have, and its machine.
const PATTERN_MAX: usize = 1_024;
const MACHINE_MAX: usize = 1 << 18;

/// Whether a command is for the node of this name: it is named, it fits the pattern, or nobody is
/// singled out. A pattern that cannot be read fits nobody.
pub fn fits_node(request: &ControlRequest, node: &str) -> bool {
    if !request.destination.is_empty() {
        return request.destination.iter().any(|name| name == node);
    }
    let Some((pattern, matcher)) = &request.pattern else { return true };
    if pattern.len() > PATTERN_MAX {
        return false;
    }
    let expression = match matcher.as_str() {
        "glob" => glob(pattern),
        // Python's `match` begins at the start and may end anywhere.
        "pcre" => format!("^(?:{pattern})"),
        _ => return false,
    };
    let built = RegexBuilder::new(&expression).size_limit(MACHINE_MAX).build();
    built.is_ok_and(|built| built.is_match(node))
}

/// A glob (`*`, `?`, `[a-z]`, `[!a-z]`) as an expression for the whole text.
fn glob(pattern: &str) -> String {
    let mut expression = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => match rest.get(1..).and_then(|inside| inside.find(']')) {
                Some(end) => {
                    let (set, after) = rest.split_at_checked(end + 1).unwrap_or((rest, ""));
                    let (not, set) = set.strip_prefix('!').map_or(("", set), |set| ("^", set));
                    let set = set.replace('\\', "\\\\").replace('[', "\\[").replace('^', "\\^");
                    let set = set.replace('&', "\\&").replace('~', "\\~");
                    expression.extend(["[", not, &set, "]"]);
                    rest = after.get(1..).unwrap_or_default();
                }
                None => expression.push_str("\\["),
            },
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use lovage_celery::ControlRequest;
    use serde_json::Map;

    use super::fits_node;

    fn fits(destination: &[&str], pattern: Option<(&str, &str)>) -> bool {
        let request = ControlRequest {
            method: "ping".into(),
            arguments: Map::new(),
            destination: destination.iter().map(|&name| name.into()).collect(),
            pattern: pattern.map(|(pattern, matcher)| (pattern.into(), matcher.into())),
            reply_to: None,
            ticket: None,
            clock: None,
        };
        fits_node(&request, "w1@box")
    }

    #[test]
    fn a_node_is_meant_by_name_by_pattern_or_with_all_others() {
        assert!(fits(&[], None) && fits(&["x", "w1@box"], None));
        assert!(!fits(&["w1@bo"], None));
        assert!(!fits(&["x"], Some(("*", "glob"))), "who is named is meant alone");
        for glob in ["w*@box", "w?@box", "w[0-9]@*", "[!a]1@box", "*"] {
            assert!(fits(&[], Some((glob, "glob"))), "{glob}");
        }
        for glob in ["w", "w*y", "w[!1]@box", "[", "w1.box", "w[]@box"] {
            assert!(!fits(&[], Some((glob, "glob"))), "{glob}");
        }
        assert!(fits(&[], Some(("^w[0-9]+@", "pcre"))) && fits(&[], Some(("w", "pcre"))));
        assert!(!fits(&[], Some(("box", "pcre"))) && !fits(&[], Some(("(", "pcre"))));
        assert!(!fits(&[], Some(("*", "other"))));
    }
}
