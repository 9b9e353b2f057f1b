//! Sessions under fire, judged by what everybody was told: none that was ended comes back, none is lost, and of what was written
//! in them nothing either.

use std::future::{IntoFuture, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quorate::{
    Fleet, Outcome, Rotation, Session, SessionId, SessionKey, SessionRef, Sessions, TestClock,
};
use quorate_testing::harness::{eventually, file_url};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const COUNT: SessionKey<u32> = SessionKey::new("count");

/// What one client knows of a session that only it writes to.
struct Known {
    id: SessionId,
    /// What was written last, and what may be there instead because its answer was lost: it may even have come later.
    count: u32,
    maybe: Vec<u32>,
    state: Told,
}

impl Known {
    /// Nothing that was answered is missing.
    fn check(&self, session: &Session) {
        let held = session.get(&COUNT).unwrap().expect("a field was lost");
        let is_told = held == self.count || self.maybe.contains(&held);
        assert!(is_told, "{held}, not {} or {:?}", self.count, self.maybe);
    }
}

/// Whether the session is there, as far as was told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    There,
    /// A call that ends it, or changes its id, was not answered.
    Unknown,
    Gone,
}

/// One client's history: its sessions, and what it was told of each.
struct Client {
    sessions: Sessions,
    user: String,
    random: StdRng,
    known: Vec<Known>,
}

impl Client {
    fn new(fleet: &Fleet, number: u64) -> Self {
        Self {
            sessions: fleet.sessions().deadline(Duration::from_secs(2)),
            user: format!("user-{number}"),
            random: StdRng::seed_from_u64(number),
            known: Vec::new(),
        }
    }

    async fn act(&mut self) {
        let there = |known: &Known| known.state == Told::There;
        let at = (0..self.known.len()).filter(|at| there(&self.known[*at]));
        let at: Vec<_> = at.collect();
        if at.is_empty() || self.random.random_range(0..5) == 0 {
            return self.create().await;
        }
        let at = at[self.random.random_range(0..at.len())];
        match self.random.random_range(0..6) {
            0 => self.delete(at).await,
            1 => self.rotate(at).await,
            2 => self.log_in_anew(at).await,
            3 => self.look(at).await,
            _ => self.write(at).await,
        }
    }

    async fn create(&mut self) {
        // Without an answer nobody knows its id: there is nothing to be told wrongly.
        if let Ok(made) = self.sessions.create(&self.user).field(&COUNT, &0).await {
            self.known.push(Known {
                id: made.id,
                count: 0,
                maybe: Vec::new(),
                state: Told::There,
            });
        }
    }

    async fn write(&mut self, at: usize) {
        let known = &mut self.known[at];
        let latest = known.maybe.last().copied().unwrap_or_default();
        let next = known.count.max(latest) + 1;
        match self.sessions.update(&known.id).set(&COUNT, &next).await {
            Ok(is_there) => {
                assert!(is_there, "a session was lost");
                known.count = next;
            }
            Err(error) if error.outcome() == Outcome::Unknown => known.maybe.push(next),
            Err(_) => {}
        }
    }

    async fn look(&mut self, at: usize) {
        let known = &self.known[at];
        if let Ok(found) = self.sessions.get_and_touch(&known.id).await {
            known.check(&found.expect("a session was lost"));
        }
    }

    async fn delete(&mut self, at: usize) {
        let known = &mut self.known[at];
        known.state = match self.sessions.delete(&known.id).await {
            Ok(_) => Told::Gone,
            Err(error) if error.outcome() == Outcome::Unknown => Told::Unknown,
            Err(_) => known.state,
        };
    }

    async fn rotate(&mut self, at: usize) {
        let known = &mut self.known[at];
        match self.sessions.rotate(&known.id).await {
            Ok(Rotation::Rotated(made)) => known.id = made.id,
            Ok(other) => panic!("a session was lost: {other:?}"),
            Err(_) => known.state = Told::Unknown,
        }
    }

    /// A visitor logs in, and the answer may be lost at any of its steps.
    async fn log_in_anew(&mut self, at: usize) {
        let Ok(visitor) = self.sessions.create_anonymous().field(&COUNT, &7).await else {
            return;
        };
        let login = self.sessions.rotate(&visitor.id).login(&self.user).await;
        if let Ok(Rotation::Rotated(made)) = login {
            self.known.push(Known {
                id: visitor.id,
                count: 0,
                maybe: Vec::new(),
                state: Told::Gone,
            });
            self.known.push(Known {
                id: made.id,
                count: 7,
                maybe: Vec::new(),
                state: Told::There,
            });
        }
        self.look(at).await;
    }

    /// What is there in the end is what was told.
    async fn judge(&self, sessions: &Sessions) {
        for known in &self.known {
            let found = sessions.get(&known.id).await.unwrap();
            match known.state {
                Told::Gone => assert!(found.is_none(), "{} came back", known.id.handle()),
                Told::There => {
                    known.check(&found.expect("a session was lost"));
                }
                Told::Unknown => {}
            }
        }
        let listed = sessions.list(&self.user).await.unwrap();
        for known in &self.known {
            let is_listed = listed.iter().any(|one| one.handle() == known.id.handle());
            assert!(is_listed || known.state != Told::There, "not listed");
            assert!(!is_listed || known.state != Told::Gone, "listed still");
        }
        // What a login left behind whose answer was lost is listed, so that it can be ended.
        sessions.delete_all(&self.user).await.unwrap();
        for known in &self.known {
            assert!(!sessions.is_valid(&known.id).await.unwrap());
        }
    }
}

/// Through connections that break, with replies that are lost, and a server that is killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_no_session_is_lost_or_comes_back() {
    let server = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let mut clients = Vec::new();
    for number in 0..6 {
        let builder = Fleet::builder()
            .url(proxy.url())
            .command_timeout(Duration::from_secs(1))
            .retry_delay(Duration::from_millis(20))
            .max_reconnect_delay(Duration::from_millis(50));
        clients.push(Client::new(&builder.build().await.unwrap(), number));
    }
    let (over, acts) = (AtomicBool::new(false), AtomicU64::new(0));
    let act = clients.iter_mut().map(async |client| {
        while !over.load(Ordering::SeqCst) {
            client.act().await;
            acts.fetch_add(1, Ordering::SeqCst);
        }
    });
    let trouble = async {
        for round in 0..30_u64 {
            let connections = proxy.stats().accepted;
            match round {
                10 | 20 => {
                    server.kill();
                    server.restart().await.unwrap();
                }
                _ if round % 3 == 0 => proxy.cut().await,
                _ => proxy.cut_before_reply(),
            }
            proxy.wait_connections(connections + 1).await;
            let done = acts.load(Ordering::SeqCst);
            eventually("some acts", async || {
                acts.load(Ordering::SeqCst) > done + 20
            })
            .await;
        }
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(join_all(act), trouble);
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    assert!(
        clients
            .iter()
            .map(|client| client.known.len())
            .sum::<usize>()
            > 0
    );
    for client in &clients {
        client.judge(&fleet.sessions()).await;
    }
}

/// Wherever a login is broken off, what the visitor's session held is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_login_that_is_dropped_leaves_one_session_or_the_other() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let sessions = fleet.sessions();
    let mut moved = 0;
    for most in 1..40 {
        let visitor = sessions
            .create_anonymous()
            .field(&COUNT, &7)
            .await
            .unwrap()
            .id;
        let login = sessions.rotate(&visitor).login("alice").into_future();
        let login = polled(login, most).await;
        let is_there = sessions.is_valid(&visitor).await.unwrap();
        if let Some(login) = login {
            let id = login.unwrap().rotated().unwrap().id;
            assert!(!is_there && sessions.is_valid(&id).await.unwrap());
            moved += 1;
        }
        // What it held is in the visitor's session, or in one that is listed.
        let listed = sessions.list("alice").await.unwrap();
        let holds = |one: &Session| one.get(&COUNT).unwrap() == Some(7);
        assert!(is_there || listed.iter().any(holds), "lost after {most}");
        sessions.delete_all("alice").await.unwrap();
    }
    assert!(moved > 0, "none was let go on");
    fleet.close().await;
}

/// What a future gives that is dropped when it was polled so often.
async fn polled<F: Future + Unpin>(mut future: F, most: usize) -> Option<F::Output> {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        match future.poll_unpin(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == most => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Of a home in a file, whose time goes on from when it was last written.
#[tokio::test]
async fn fault_a_clock_that_is_set_back_brings_no_session_back() {
    let directory = tempfile::tempdir().unwrap();
    let url = file_url(&directory.path().join("home.redb"));
    let hour = Duration::from_secs(3600);
    let open = async |ahead: Duration| {
        let clock = TestClock::new();
        clock.advance(ahead);
        let builder = Fleet::builder().url(url.as_str()).test_clock(clock);
        builder.build().await.unwrap()
    };
    let fleet = open(Duration::ZERO).await;
    let sessions = fleet.sessions();
    let short = sessions.create("alice").ttl(hour).await.unwrap().id;
    let long = sessions.create("alice").ttl(hour * 4).await.unwrap().id;
    let deleted = sessions.create("alice").await.unwrap().id;
    sessions.delete(&deleted).await.unwrap();
    fleet.close().await;
    let fleet = open(hour * 2).await;
    assert!(!fleet.sessions().is_valid(&short).await.unwrap());
    assert!(fleet.sessions().touch(&long).await.unwrap());
    fleet.close().await;
    let fleet = open(Duration::ZERO).await;
    let sessions = fleet.sessions();
    for gone in [&short, &deleted] {
        assert!(!sessions.is_valid(gone).await.unwrap());
    }
    let session = sessions.get_and_touch(&long).await.unwrap().unwrap();
    assert!(session.expires_in() <= hour * 4);
    fleet.close().await;
}
