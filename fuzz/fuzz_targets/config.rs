//! Validating any configuration never panics, names a field, and shows no secret.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use quorate_link::{LinkConfig, LinkErrorKind, ReconnectPolicy};

#[derive(Arbitrary, Debug)]
struct Input {
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<u64>,
    client_name: Option<String>,
    connect_timeout: Duration,
    command_timeout: Duration,
    ping_interval: Option<Duration>,
    ping_timeout: Duration,
    tcp_keepalive: Option<Duration>,
    reconnect: Option<(Duration, f64, Duration, f64)>,
    max_in_flight: usize,
    max_depth: usize,
}

fuzz_target!(|input: Input| {
    let mut config = LinkConfig::new(input.host, input.port);
    config.username = input.username;
    // Long enough not to appear by chance.
    let password = input.password.map(|n| format!("secret-{n:020}"));
    config.password = password.clone().map(Into::into);
    config.client_name = input.client_name;
    config.connect_timeout = input.connect_timeout;
    config.command_timeout = input.command_timeout;
    config.ping_interval = input.ping_interval;
    config.ping_timeout = input.ping_timeout;
    config.tcp_keepalive = input.tcp_keepalive;
    if let (Some((initial, factor, max, jitter)), policy) = (input.reconnect, &mut config.reconnect)
    {
        *policy = ReconnectPolicy::backoff(initial, factor, max, jitter);
    }
    config.limits.max_in_flight = input.max_in_flight;
    config.limits.max_depth = input.max_depth;

    let verdict = config.validate();
    let shown = format!("{config:?} {verdict:?}");
    assert!(password.is_none_or(|p| !shown.contains(&p)));
    if let Err(error) = verdict {
        assert_eq!(error.kind(), LinkErrorKind::Config);
        assert!(error.to_string().contains(": "), "{error}");
    }
});
