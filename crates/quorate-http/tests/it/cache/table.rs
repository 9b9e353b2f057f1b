//! Requirements of the RFCs as lines of a table, each run against the layer.

use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use quorate_http::cache::Standard;

use super::site::{Answer, Site, response};

/// One requirement: what it says, what the service answers (in this order, the last one from then on), and what then
/// happens.
///
/// A line of the last is `wait 60`, or a request and what becomes of it:
/// `run` (the service answers), `hit`, `stale` (what is there is given), `valid` (what is there is given after the service
/// said that it holds), `error` (what is there stands in for a failure), `not modified`, `timeout`, `head` (a hit without
/// its body). They compare the body with the last one; `again`, `new` and `validated` are `hit` with any body, `hit` with
/// another body, and `valid` with any body; `two` is `run` with two questions. Behind `&` stands what a field of the answer
/// says.
pub(super) struct Requirement(
    pub(super) &'static str,
    pub(super) &'static [&'static str],
    pub(super) &'static [&'static str],
);

/// Runs them all, and says which do not hold.
pub(super) async fn check(table: &[Requirement]) {
    let mut broken = Vec::new();
    for requirement in table {
        if let Err(what) = run(requirement).await {
            broken.push(format!("{}\n    {what}", requirement.0));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

async fn run(Requirement(_, answers, script): &Requirement) -> Result<(), String> {
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let mode = Standard::new();
    let site = Site::new(
        |builder| builder.standard(mode),
        move |parts, count| {
            let answer = dated(&answers[count.min(answers.len() - 1)]);
            let is_empty =
                answer.starts_with("304") || answer.starts_with("204") || parts.method == "HEAD";
            let body = if is_empty {
                String::new()
            } else {
                format!("answer {count}")
            };
            std::future::ready(response(&answer, body))
        },
    );
    let mut last = String::new();
    for line in *script {
        if let Some(seconds) = line.strip_prefix("wait ") {
            let seconds: u64 = seconds.parse().expect("seconds");
            tokio::time::advance(Duration::from_secs(seconds)).await;
            continue;
        }
        let (request, expected) = line.split_once("=>").expect("what becomes of it");
        let before = site.runs();
        let answer = site.send(&dated(request.trim())).await;
        let runs = site.runs() - before;
        let mut expected = expected.split('&').map(str::trim);
        let what = expected.next().expect("what becomes of it");
        check_answer(what, runs, &answer, &last).map_err(|wrong| format!("{line}: {wrong}"))?;
        for field in expected {
            let (name, value) = field.split_once(':').expect("a field");
            let said = answer.header(name.trim()).unwrap_or("nothing");
            if said != dated(value.trim()) {
                return Err(format!("{line}: {name} is {said}"));
            }
        }
        if answer.status != StatusCode::NOT_MODIFIED && !answer.body.is_empty() {
            last = String::from_utf8_lossy(&answer.body).into_owned();
        }
        // What goes on in the background is done before the next line.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn check_answer(what: &str, runs: usize, answer: &Answer, last: &str) -> Result<(), String> {
    let cache = answer.cache();
    let is_last = answer.body == last.as_bytes();
    let holds = match what {
        "run" => runs == 1 && !cache.contains("hit") && !cache.contains("fwd-status"),
        "hit" => runs == 0 && cache.contains("hit; ttl=") && !cache.contains("ttl=-") && is_last,
        // A new one may be on its way.
        "stale" => cache.contains("hit; ttl=-") && is_last,
        "head" => runs == 0 && cache.contains("hit") && answer.body.is_empty(),
        "valid" => runs == 1 && cache.contains("fwd-status=304") && is_last,
        "error" => runs == 1 && cache.contains("detail=error") && is_last,
        "not modified" => {
            runs == 0 && answer.status == StatusCode::NOT_MODIFIED && answer.body.is_empty()
        }
        "again" => runs == 0 && cache.contains("hit; ttl=") && !cache.contains("ttl=-"),
        "new" => runs == 0 && cache.contains("hit; ttl=") && !is_last,
        "validated" => runs == 1 && cache.contains("fwd-status=304"),
        "two" => runs == 2 && !cache.contains("fwd-status"),
        "timeout" => runs == 0 && answer.status == StatusCode::GATEWAY_TIMEOUT,
        other => panic!("{other}"),
    };
    if holds {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let status = answer.status;
    Err(format!(
        "{status}, {runs} runs, {cache:?}, {body:?} after {last:?}"
    ))
}

/// `{now}`, `{now+60}` and `{now-60}` as dates.
fn dated(text: &str) -> String {
    let mut parts = text.split('{');
    let mut dated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once('}').expect("an end");
        let seconds: i64 = inner["now".len()..].parse().unwrap_or(0);
        let now: SystemTime = jiff::Timestamp::now().into();
        let away = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { now - away } else { now + away };
        dated.push_str(&httpdate::fmt_http_date(time));
        dated.push_str(rest);
    }
    dated
}
