//! Parameters and data from clients, read as their types. Pure functions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate::{Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::{Code, Problem};

/// Parameters as a value.
pub(super) fn to_value<P: Serialize>(params: &P) -> Result<Value, Error> {
    serde_json::to_value(params).map_err(|source| {
        Error::new(ErrorKind::Encode)
            .with_message("params must be what JSON has")
            .with_source(source)
    })
}

/// Reads a client's parameters as their type: neither text for a number, nor one thing for another. `Null`:
/// none were given.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming the member that is wrong.
pub(super) fn read_params<P: DeserializeOwned>(params: &Value) -> Result<P, Problem> {
    guarded(|| {
        serde_path_to_error::deserialize(params).map_err(|error| {
            wrong(
                "params",
                &error.path().to_string(),
                &error.inner().to_string(),
            )
        })
    })
}

/// Reads a client's data as its type.
///
/// # Errors
/// `INVALID_ARGUMENT`, naming the member that is wrong.
pub(crate) fn read_data<T: DeserializeOwned>(data: &RawValue) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_str(data.get());
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let text = error.inner().to_string();
        // The place in the text means nothing to who sees the whole frame.
        let rule = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(rule, _)| rule);
        wrong("data", &error.path().to_string(), rule)
    })
}

fn wrong(root: &str, path: &str, rule: &str) -> Problem {
    let detail = match path {
        "." => format!("{root}: {rule}"),
        path if path.starts_with('[') => format!("{root}{path}: {rule}"),
        path => format!("{root}.{path}: {rule}"),
    };
    Problem::new(Code::InvalidArgument, detail)
}

/// Runs code of the user's that reads or checks a client's input: its panics are faults of ours.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_panic| {
        tracing::error!("a type panicked while a client's input was read");
        Err(Problem::new(Code::Internal, "the input could not be read"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Job {
        id: u64,
        place: Place,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Place {
        zones: Vec<String>,
        height: f64,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = json!({"id": 7, "place": {"zones": ["eu"], "height": 1}});
        let job: Job = read_params(&good).unwrap();
        assert_eq!(job.place.height, 1.0);
        for (params, says) in [
            (json!(null), "params: "),
            (json!({"id": "7", "place": null}), "params.id: "),
            (json!({"id": 7.0, "place": null}), "params.id: "),
            (json!({"id": 7}), "params: missing field `place`"),
            (
                json!({"id": 7, "place": {"zones": ["eu", 3], "height": 1}}),
                "params.place.zones[1]: ",
            ),
        ] {
            let problem = read_params::<Job>(&params).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidArgument);
            assert!(problem.detail().starts_with(says), "{}", problem.detail());
            let raw = serde_json::value::to_raw_value(&params).unwrap();
            let problem = read_data::<Job>(&raw).unwrap_err();
            let says = says.replace("params", "data");
            assert!(problem.detail().starts_with(&says), "{}", problem.detail());
            assert!(!problem.detail().contains("line"), "{}", problem.detail());
        }
        let problem = read_params::<Vec<u8>>(&json!([1, "x"])).unwrap_err();
        assert!(problem.detail().starts_with("params[1]: "));
        assert!(read_params::<()>(&json!({})).is_err());
        read_params::<()>(&Value::Null).unwrap();
    }

    #[test]
    fn a_type_that_panics_is_a_fault_of_ours() {
        struct Bomb;
        impl<'de> Deserialize<'de> for Bomb {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("bomb")
            }
        }
        let problem = read_params::<Bomb>(&Value::Null).err().unwrap();
        assert_eq!(problem.code(), Code::Internal);
    }

    proptest! {
        #[test]
        fn no_json_makes_reading_panic(text in r#"[\[\]{}",:0-9a-z.e-]{0,40}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let _ = read_params::<Job>(&value);
                let raw = serde_json::value::to_raw_value(&value).unwrap();
                let _ = read_data::<Job>(&raw);
            }
        }
    }
}
