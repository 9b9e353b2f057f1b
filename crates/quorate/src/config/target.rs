//! What a URL says.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use super::{FleetConfig, Secret};
use crate::error::{Error, Result};

/// Which home a URL names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// In-process.
    Memory,
    /// In-process, and in this file.
    File(PathBuf),
    /// A Redis or Valkey server.
    Server(ServerTarget),
}

/// Where a server is and how to log in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) db: u32,
    pub(crate) tls: bool,
}

/// What a URL says of where its home is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Memory,
    File(PathBuf),
    /// Among the options.
    Server,
}

/// The home named by a URL, and the options the URL names.
pub(super) fn parse(field: &'static str, url: &str) -> Result<(Place, FleetConfig)> {
    // By ourselves: to a URL's own rules, no path of a file is relative.
    if let Some((scheme, rest)) = url.split_once(':')
        && scheme.eq_ignore_ascii_case("file")
    {
        return file(field, rest);
    }
    // Never quote the URL in an error: it may hold a password.
    let url = Url::parse(url).map_err(|error| {
        Error::config(
            field,
            format_args!("must be a URL such as `redis://localhost`: {error}"),
        )
    })?;
    let mut options = query(field, &url)?;
    let tls = match url.scheme() {
        "memory" => {
            if url.path() != "" || url.has_host() {
                return Err(Error::config(
                    field,
                    "must be `memory:` with nothing but options after it",
                ));
            }
            return Ok((Place::Memory, options));
        }
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "redis-cluster" | "redis-sentinel" => {
            return Err(Error::config(
                field,
                format_args!(
                    "has the scheme `{}`, which this version does not support yet",
                    url.scheme()
                ),
            )
            .with_retryable(false));
        }
        _ => {
            return Err(Error::config(
                field,
                "must begin with `memory:`, `file:`, `redis://`, `rediss://`, `valkey://` or `valkeys://`",
            ));
        }
    };
    if tls && options.tls == Some(false) {
        return Err(Error::config(
            "tls",
            "must not be false when the URL's scheme asks for TLS",
        ));
    }
    if tls {
        options.tls = Some(true);
    }
    authority(field, &url, &mut options)?;
    Ok((Place::Server, options))
}

/// What follows `file:`, as `path`, `/path` or `///path`, and perhaps options.
fn file(field: &'static str, rest: &str) -> Result<(Place, FleetConfig)> {
    let refused = |rule: &str| Err(Error::config(field, rule));
    let (path, options) = match rest.split_once(['?', '#']) {
        Some((path, _)) => (path, &rest[path.len()..]),
        None => (rest, ""),
    };
    // Options alone are like those of any URL.
    let options = Url::parse(&format!("file:///{options}")).map_err(|error| {
        Error::config(field, format_args!("has options that are refused: {error}"))
    })?;
    let options = query(field, &options)?;
    let path = match path.strip_prefix("//") {
        None => path,
        Some(path) => {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            if !path.starts_with('/') {
                return refused(
                    "must name a file of this machine, such as `file:/var/lib/app.redb`",
                );
            }
            path
        }
    };
    let Ok(path) = percent_decode_str(path).decode_utf8() else {
        return refused("has a path that is not UTF-8");
    };
    if path.is_empty() || path.ends_with('/') {
        return refused("must name a file, such as `file:/var/lib/app.redb`");
    }
    if path.contains('\0') {
        return refused("has a path with a NUL in it");
    }
    Ok((Place::File(PathBuf::from(&*path)), options))
}

/// Host, port, login and database. What the URL names twice must agree, or it is refused.
fn authority(field: &'static str, url: &Url, options: &mut FleetConfig) -> Result<()> {
    fn set<T>(
        field: &'static str,
        name: &str,
        slot: &mut Option<T>,
        value: Option<T>,
    ) -> Result<()> {
        match (&slot, value) {
            (_, None) => Ok(()),
            (None, value) => {
                *slot = value;
                Ok(())
            }
            (Some(_), Some(_)) => Err(Error::config(
                field,
                format_args!("names `{name}` twice: in its authority and in its query"),
            )),
        }
    }
    let text = |part: &str, name: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| Error::config(field, format_args!("has a {name} that is not UTF-8")))
    };
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host
        .map(|host| text(host.trim_matches(['[', ']']), "host"))
        .transpose()?;
    let username = Some(url.username()).filter(|name| !name.is_empty());
    let database = url.path().trim_matches('/');
    let database = Some(database)
        .filter(|number| !number.is_empty())
        .map(|number| {
            number.parse().map_err(|_| {
                Error::config(field, "must have a database number or nothing as its path")
            })
        })
        .transpose()?;
    set(field, "host", &mut options.host, host)?;
    set(field, "port", &mut options.port, url.port())?;
    set(
        field,
        "username",
        &mut options.username,
        username.map(|name| text(name, "username")).transpose()?,
    )?;
    let password = url
        .password()
        .map(|password| text(password, "password"))
        .transpose()?;
    set(
        field,
        "password",
        &mut options.password,
        password.map(Secret::new),
    )?;
    set(field, "db", &mut options.db, database)
}

fn query(field: &'static str, url: &Url) -> Result<FleetConfig> {
    if url.fragment().is_some() {
        return Err(Error::config(
            field,
            "must not have a fragment (`#`); write `%23` in a password",
        ));
    }
    let mut options = Map::new();
    for (name, value) in url.query_pairs() {
        if matches!(&*name, "url" | "cache_url") {
            return Err(Error::config(
                field,
                format_args!("must not carry the option `{name}`"),
            ));
        }
        let previous = options.insert(name.clone().into_owned(), Value::String(value.into_owned()));
        if previous.is_some() {
            return Err(Error::config(
                field,
                format_args!("names the option `{name}` twice"),
            ));
        }
    }
    // One option at a time, so that the error can name the one it is about.
    let mut config = FleetConfig::default();
    for (name, value) in options {
        let secret = name == "password";
        let single = Value::Object(Map::from_iter([(name.clone(), value)]));
        let parsed: FleetConfig = serde_json::from_value(single).map_err(|error| {
            let detail = if secret {
                "is not valid text".to_owned()
            } else {
                format!("is refused: {error}")
            };
            Error::config(&name, detail)
        })?;
        config = parsed.over(config);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn server(url: &str) -> FleetConfig {
        parse("url", url).unwrap().1
    }

    #[test]
    fn a_url_names_host_login_database_and_options() {
        let config =
            server("rediss://ann:p%40ss@cache.example:6380/3?namespace=shop&command_timeout=250ms");
        assert_eq!(config.host.as_deref(), Some("cache.example"));
        assert_eq!(config.port, Some(6380));
        assert_eq!(config.username.as_deref(), Some("ann"));
        assert_eq!(config.password.as_ref().map(Secret::reveal), Some("p@ss"));
        assert_eq!(config.db, Some(3));
        assert_eq!(config.tls, Some(true));
        assert_eq!(config.namespace.as_deref(), Some("shop"));
        assert_eq!(config.command_timeout, Some(Duration::from_millis(250)));
        assert_eq!(server("redis://[::1]:7000").host.as_deref(), Some("::1"));
    }

    #[test]
    fn a_url_names_a_file() {
        for (url, path) in [
            (
                "file:/var/lib/app/quorate.redb",
                "/var/lib/app/quorate.redb",
            ),
            (
                "file:///var/lib/app.redb?namespace=shop",
                "/var/lib/app.redb",
            ),
            ("FILE://localhost/app.redb", "/app.redb"),
            ("file:state/app.redb", "state/app.redb"),
            ("file:../app.redb", "../app.redb"),
            ("file:a%20b%3F%25.redb?service=x", "a b?%.redb"),
        ] {
            let (place, _) = parse("url", url).unwrap();
            assert_eq!(place, Place::File(path.into()), "{url}");
        }
        let config = server("file:a.redb?namespace=shop&command_timeout=1s");
        assert_eq!(config.namespace.as_deref(), Some("shop"));
        assert_eq!(config.command_timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn bad_urls_are_refused_and_never_quoted() {
        for (url, says) in [
            ("localhost:6379", "must begin with"),
            ("redis://:secret@h/x", "database number"),
            ("redis://:secret@h?colour=red", "colour"),
            ("redis://:secret@h?command_timeout=5", "unit"),
            ("redis://:secret@h?port=0x1", "port"),
            ("redis://:secret@h?namespace=a&namespace=b", "twice"),
            ("redis://:secret@h/1?db=2", "twice"),
            ("rediss://:secret@h?tls=false", "tls"),
            ("redis://:secret@h#x", "fragment"),
            ("redis-cluster://:secret@h", "not support"),
            ("memory:shop", "nothing but options"),
            ("file:", "must name a file"),
            ("file:?service=secret", "must name a file"),
            ("file:/var/lib/", "must name a file"),
            ("file://secret/app.redb", "of this machine"),
            ("file:a.redb#secret", "fragment"),
            ("file:a.redb?colour=red", "colour"),
            ("file:a%00b", "NUL"),
            ("file:a%ff", "UTF-8"),
            ("http://:secret@h", "must begin with"),
            ("", "must be a URL"),
        ] {
            let error = parse("url", url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
