//! What is announced of a queue, as text on its channel: a pure function of it, there and back.

use std::fmt;

use super::ask::WorkerId;
use super::job::JobId;

/// Something that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// There may be work for this worker, which is not counted as idle any more.
    Wake(WorkerId),
    /// This job, which somebody waits for, is over.
    Ended(JobId),
    /// This group, which somebody waits for, is over.
    GroupEnded(JobId),
    /// Whoever has this job ought to stop.
    Cancelled(JobId),
    /// There is more to be known of how far this job is, for whose end somebody waits.
    Progress(JobId),
    /// There is a message for this job.
    Message(JobId),
}

impl News {
    /// Reads the form that `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (verb, about) = text.split_once(' ')?;
        match verb {
            "wake" => {
                let worker = about.parse().ok().map(Self::Wake)?;
                (worker.to_string() == text).then_some(worker)
            }
            "ended" => JobId::parse(about).map(Self::Ended),
            "group-ended" => JobId::parse(about).map(Self::GroupEnded),
            "cancelled" => JobId::parse(about).map(Self::Cancelled),
            "progress" => JobId::parse(about).map(Self::Progress),
            "message" => JobId::parse(about).map(Self::Message),
            _ => None,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wake(worker) => write!(f, "wake {worker}"),
            Self::Ended(id) => write!(f, "ended {id}"),
            Self::GroupEnded(id) => write!(f, "group-ended {id}"),
            Self::Cancelled(id) => write!(f, "cancelled {id}"),
            Self::Progress(id) => write!(f, "progress {id}"),
            Self::Message(id) => write!(f, "message {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn news_read_back_what_they_write() {
        let id = JobId::random();
        for news in [
            News::Wake(u64::MAX),
            News::Ended(id),
            News::GroupEnded(id),
            News::Cancelled(id),
            News::Progress(id),
            News::Message(id),
        ] {
            assert_eq!(News::parse(&news.to_string()), Some(news));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_news_or_none(text in "(wake|ended|group-ended|cancelled|progress|message|x)?( [0-9a-f+]{0,33}){0,2}") {
            if let Some(news) = News::parse(&text) {
                prop_assert_eq!(news.to_string(), text);
            }
        }
    }
}
