//! `Cache-Status` (RFC 9211): what the cache did with a request.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The field.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    /// It is not for the cache.
    Bypass,
    /// By its method.
    Method,
    /// Nothing is there.
    UriMiss,
    /// Only for others, by what it varies by.
    VaryMiss,
    /// The request wants it anew.
    Request,
    /// What is there is no longer fresh.
    Stale,
    /// Answers of this kind are not kept.
    Miss,
}

/// What the cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Handled {
    /// Answered with what is kept.
    pub(super) is_hit: bool,
    /// Asked the service.
    pub(super) forward: Option<Forward>,
    /// What that said, where it is not what is answered.
    pub(super) forward_status: Option<StatusCode>,
    /// The answer is kept.
    pub(super) is_stored: bool,
    /// It waited for somebody else's answer.
    pub(super) is_collapsed: bool,
    /// How long it is fresh; `Err`: for how long it has not been.
    pub(super) ttl: Option<Result<Duration, Duration>>,
    pub(super) detail: Option<&'static str>,
}

impl Forward {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

impl Handled {
    pub(super) fn hit(ttl: Result<Duration, Duration>) -> Self {
        Self {
            is_hit: true,
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    pub(super) fn forwarded(why: Forward) -> Self {
        Self {
            forward: Some(why),
            ..Self::default()
        }
    }

    pub(super) const fn because(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Says so in a response, behind what other caches say.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let mut text = "quorate".to_owned();
        let mut put = |parameter: std::fmt::Arguments<'_>| {
            write!(text, "; {parameter}").expect("a String takes everything");
        };
        if self.is_hit {
            put(format_args!("hit"));
        }
        if let Some(forward) = self.forward {
            put(format_args!("fwd={}", forward.as_str()));
        }
        if let Some(status) = self.forward_status {
            put(format_args!("fwd-status={}", status.as_u16()));
        }
        match self.ttl {
            Some(Ok(fresh)) => put(format_args!("ttl={}", fresh.as_secs())),
            Some(Err(stale)) => put(format_args!("ttl=-{}", stale.as_secs())),
            None => {}
        }
        if self.is_stored {
            put(format_args!("stored"));
        }
        if self.is_collapsed {
            put(format_args!("collapsed"));
        }
        if let Some(detail) = self.detail {
            put(format_args!("detail={detail}"));
        }
        let value = HeaderValue::try_from(text).expect("names and digits");
        headers.append(CACHE_STATUS, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_structured_field() {
        let mut headers = HeaderMap::new();
        Handled::hit(Ok(Duration::from_secs(30))).write(&mut headers);
        let mut forwarded = Handled::forwarded(Forward::UriMiss);
        (forwarded.is_stored, forwarded.is_collapsed) = (true, true);
        forwarded.forward_status = Some(StatusCode::OK);
        forwarded.because("error").write(&mut headers);
        Handled::hit(Err(Duration::from_secs(5))).write(&mut headers);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(
            lines,
            [
                "quorate; hit; ttl=30",
                "quorate; fwd=uri-miss; fwd-status=200; stored; collapsed; detail=error",
                "quorate; hit; ttl=-5",
            ]
        );
        for line in lines {
            sfv::Parser::new(line.as_bytes())
                .parse::<sfv::List>()
                .unwrap();
        }
    }
}
