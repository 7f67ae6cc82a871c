//! The key under which a call happens once, when its task gives a template for it.

use crate::Json;

/// Bytes that a key may have.
pub const KEY_BYTES_MAX: usize = 255;

/// Fills a template such as `order:{order_id}` or `order:{0}` with a call's arguments.
///
/// A name is looked up among the keyword arguments, then by its place in `params` among the
/// positional ones; a number is a place. Texts go in without their quotes, everything else as its
/// JSON. It is a template and not a function because the host needs the key before it starts
/// anything. `None` when an argument is missing, the template is malformed, or the key is too long.
pub fn render_key(template: &str, params: &[String], args: &Json, kwargs: &Json) -> Option<String> {
    let args = args.elements()?;
    let kwargs = kwargs.members()?;
    let mut key = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        key.push_str(before);
        let quoted = Json::string(name);
        let named = kwargs.iter().find(|(member, _)| *member == quoted.as_str());
        let value = match named {
            Some((_, value)) => value,
            None => args.get(place(name, params)?)?,
        };
        match serde_json::from_str::<String>(value) {
            Ok(text) => key.push_str(&text),
            Err(_) => key.push_str(value),
        }
        rest = after;
    }
    key.push_str(rest);
    (key.len() <= KEY_BYTES_MAX).then_some(key)
}

/// Which positional argument a name means.
fn place(name: &str, params: &[String]) -> Option<usize> {
    name.parse().ok().or_else(|| params.iter().position(|param| param == name))
}

#[cfg(test)]
mod tests {
    use super::render_key;
    use crate::Json;

    fn key(template: &str, args: &str, kwargs: &str) -> Option<String> {
        let params = ["order_id".to_owned(), "cents".to_owned()];
        render_key(template, &params, &Json::parse(args).unwrap(), &Json::parse(kwargs).unwrap())
    }

    #[test]
    fn arguments_are_found_by_name_by_place_and_by_keyword() {
        assert_eq!(key("order:{order_id}", "[42, 1]", "{}").unwrap(), "order:42");
        assert_eq!(key("order:{1}", "[42, 1]", "{}").unwrap(), "order:1");
        assert_eq!(key("{order_id}/{cents}", "[\"a\"]", r#"{"cents": 7}"#).unwrap(), "a/7");
        assert_eq!(key("whole", "[]", "{}").unwrap(), "whole");
    }

    #[test]
    fn what_cannot_be_filled_is_no_key() {
        assert_eq!(key("order:{order_id}", "[]", "{}"), None);
        assert_eq!(key("order:{nobody}", "[1]", "{}"), None);
        assert_eq!(key("order:{order_id", "[1]", "{}"), None);
        assert_eq!(key("{order_id}", &format!("[\"{}\"]", "x".repeat(300)), "{}"), None);
        assert_eq!(key("{0}", "{}", "{}"), None);
    }
}
