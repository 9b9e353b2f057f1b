//! Options from environment variables.

use super::{FleetConfig, Secret};
use crate::error::{Error, Result};

/// Reads the `REDIS_…` variables through `read`, which is `std::env::var_os` outside of tests.
///
/// Nothing set is an error: a service that was meant to share its state must not fall back to
/// keeping it to itself.
pub(super) fn from_variables(
    read: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<FleetConfig> {
    let text = |name: &'static str| -> Result<Option<String>> {
        match read(name).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) if value.is_empty() => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(Error::config(name, "must be UTF-8")),
        }
    };
    let config = FleetConfig {
        url: text("REDIS_URL")?.map(Secret::new),
        host: text("REDIS_HOST")?,
        port: parsed(
            "REDIS_PORT",
            text("REDIS_PORT")?,
            "must be a port number from 1 to 65535",
        )?,
        username: text("REDIS_USERNAME")?,
        password: text("REDIS_PASSWORD")?.map(Secret::new),
        db: parsed("REDIS_DB", text("REDIS_DB")?, "must be a database number")?,
        // An empty prefix is a choice ("no prefix"), unlike an empty host.
        namespace: match read("REDIS_KEY_PREFIX") {
            Some(prefix) if prefix.is_empty() => Some(String::new()),
            _ => text("REDIS_KEY_PREFIX")?,
        },
        tls: match text("REDIS_TLS")?.as_deref() {
            None => None,
            Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            Some(_) => return Err(Error::config("REDIS_TLS", "must be `true` or `false`")),
        },
        ..FleetConfig::default()
    };
    if config.url.is_none() && config.host.is_none() && config.port.is_none() {
        return Err(Error::config(
            "REDIS_URL",
            "or REDIS_HOST must be set (use Fleet::embedded() to keep the state in this process)",
        ));
    }
    Ok(config)
}

fn parsed<T: std::str::FromStr>(
    name: &str,
    value: Option<String>,
    rule: &str,
) -> Result<Option<T>> {
    value
        .map(|value| value.trim().parse().map_err(|_| Error::config(name, rule)))
        .transpose()
}

impl FleetConfig {
    /// The options in `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_USERNAME`, `REDIS_PASSWORD`,
    /// `REDIS_DB`, `REDIS_KEY_PREFIX` (the namespace) and `REDIS_TLS`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a variable breaks its rule, or if none says
    /// where the server is.
    pub fn from_env() -> Result<Self> {
        from_variables(|name| std::env::var_os(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<FleetConfig> {
        from_variables(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn nothing_set_is_an_error_and_never_silently_embedded() {
        let error = from(&[]).unwrap_err().to_string();
        assert!(error.contains("REDIS_URL"), "{error}");
        assert!(from(&[("REDIS_PASSWORD", "x")]).is_err());
    }

    #[test]
    fn each_variable_is_read() {
        let config = from(&[
            ("REDIS_HOST", "h"),
            ("REDIS_PORT", "7000"),
            ("REDIS_USERNAME", "u"),
            ("REDIS_PASSWORD", "p"),
            ("REDIS_DB", "2"),
            ("REDIS_KEY_PREFIX", "myapp:"),
            ("REDIS_TLS", "true"),
        ])
        .unwrap();
        assert_eq!(config.host.as_deref(), Some("h"));
        assert_eq!(
            (config.port, config.db, config.tls),
            (Some(7000), Some(2), Some(true))
        );
        assert_eq!(config.username.as_deref(), Some("u"));
        assert_eq!(config.password, Some(Secret::new("p")));
        assert_eq!(config.namespace.as_deref(), Some("myapp:"));
    }

    #[test]
    fn a_bad_variable_is_named_and_its_value_is_not() {
        for (name, value) in [
            ("REDIS_PORT", "hunter2"),
            ("REDIS_DB", "hunter2"),
            ("REDIS_TLS", "hunter2"),
        ] {
            let error = from(&[("REDIS_HOST", "h"), (name, value)])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(name) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
