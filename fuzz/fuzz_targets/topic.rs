//! What clients name topics with (full names, patterns, parameters, positions) never panics, keeps its
//! rules, and reads back as what it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate::Position;
use quorate_http::{Selector, TopicPath, canonical_json};
use serde_json::Value;

fuzz_target!(|text: &str| {
    if let Ok(path) = TopicPath::parse(text) {
        keeps_the_rules(&path);
        assert_eq!(path.to_string(), text);
        assert_eq!(TopicPath::parse(&path.to_string()).unwrap(), path);
    }
    if let Ok(selector) = Selector::parse(text) {
        assert_eq!(selector.to_string(), text);
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }
    if let Ok(position) = text.parse::<Position>() {
        let shown = position.to_string();
        assert_eq!(shown.parse::<Position>().unwrap(), position, "{shown}");
    }

    let (name, params) = text.split_once(' ').unwrap_or(("job", text));
    if let Ok(params) = serde_json::from_str::<Value>(params) {
        let canonical = canonical_json(&params);
        let again: Value = serde_json::from_str(&canonical).unwrap();
        assert_eq!(canonical_json(&again), canonical);
        if let Ok(path) = TopicPath::with_params(name, &params) {
            keeps_the_rules(&path);
            assert_eq!(TopicPath::with_params(name, &again).unwrap(), path);
        }
    }
});

fn keeps_the_rules(path: &TopicPath) {
    assert!((1..=quorate::events::MAX_TOPIC).contains(&path.name().len()));
    if let Some(key) = path.key() {
        assert!(key.len() <= quorate::events::MAX_TOPIC_KEY);
        assert!(!key.chars().any(char::is_control), "{key:?}");
    }
}
