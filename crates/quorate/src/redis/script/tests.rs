//! What is sent again, and what not.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use quorate_link::{Decoder, Limits, LinkConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

#[test]
fn the_shebang_stays_first_and_the_offset_changes_the_hash() {
    let script = Script::new("#!lua\nreturn now()\n");
    let (plain, moved) = (script.render(0), script.render(5));
    assert!(plain.text.starts_with("#!lua\n"));
    assert!(moved.text.contains("OFFSET = 5"));
    assert_ne!(plain.hash, moved.hash);
    assert_eq!(plain.hash.len(), 40);
}

static ADD: Script = Script::new("#!lua\nreturn 'add'\n");
static TAKE: Script = Script::new("#!lua\nreturn 'take'\n");

/// Two servers behind one address, as a proxy before a cluster has them: which is asked depends on the first letter
/// of the key. Each knows scripts of its own.
#[derive(Debug, Default)]
struct Nodes {
    know: [HashSet<String>; 2],
    /// The keys that scripts were run for, in order.
    ran: Vec<String>,
    in_full: usize,
}

impl Nodes {
    fn answer(&mut self, command: &[&str]) -> String {
        let simple = "+OK\r\n".to_owned();
        let info = "redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n";
        let (script, key) = match command {
            ["HELLO", ..] => return "%1\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n".to_owned(),
            ["INFO", ..] => return format!("${}\r\n{info}\r\n", info.len()),
            ["EVALSHA", hash, _, key, ..] => ((*hash).to_owned(), *key),
            ["EVAL", text, _, key, ..] => {
                self.in_full += 1;
                let hash = sha1_smol::Sha1::from(text).digest().to_string();
                self.node(key).insert(hash.clone());
                (hash, *key)
            }
            _ => return simple,
        };
        if !self.node(key).contains(&script) {
            return "-NOSCRIPT No matching script.\r\n".to_owned();
        }
        self.ran.push(key.to_owned());
        format!("+{key}\r\n")
    }

    fn node(&mut self, key: &str) -> &mut HashSet<String> {
        &mut self.know[usize::from(key.starts_with('b'))]
    }

    fn forget(&mut self, node: usize) {
        self.know[node].clear();
    }

    /// What was run since it was last asked, sorted, and how many texts that took.
    fn ran(&mut self) -> (Vec<String>, usize) {
        let mut ran = std::mem::take(&mut self.ran);
        ran.sort_unstable();
        (ran, std::mem::take(&mut self.in_full))
    }
}

async fn serve(mut stream: TcpStream, nodes: Arc<Mutex<Nodes>>) {
    let mut decoder = Decoder::new(&Limits::default());
    let mut input = BytesMut::new();
    while stream.read_buf(&mut input).await.is_ok_and(|n| n > 0) {
        while let Some(command) = decoder.decode(&mut input).unwrap() {
            let parts = command.as_array().unwrap().iter();
            let parts: Vec<_> = parts.map(|part| part.as_str().unwrap()).collect();
            let reply = nodes.lock().answer(&parts);
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// A runner before two nodes, for as long as the tasks are there.
async fn two_nodes() -> (ScriptRunner, Arc<Mutex<Nodes>>, JoinSet<()>) {
    let nodes = Arc::new(Mutex::new(Nodes::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    let asked = nodes.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, asked.clone()));
        }
    });
    let link = Link::open(LinkConfig::new("127.0.0.1", port), None).unwrap();
    let runner = ScriptRunner::new(link.clone(), DurableLane::new(link), None);
    (runner, nodes, tasks)
}

fn call(script: &'static Script, key: &str) -> ScriptCall {
    ScriptCall {
        script,
        keys: vec![key.into()],
        arguments: Vec::new(),
    }
}

/// Each is answered with its own key.
async fn run(runner: &ScriptRunner, calls: &[ScriptCall], tracked: bool) {
    let options = CallOptions::until(Instant::now() + Duration::from_secs(10));
    let replies: Vec<_> = if tracked {
        let replies = runner.run_tracked(calls, options).await.unwrap();
        replies.into_iter().map(|(reply, _)| reply).collect()
    } else {
        runner.run_many(calls, options).await.unwrap()
    };
    assert_eq!(replies.len(), calls.len());
    for (call, reply) in calls.iter().zip(replies) {
        let reply = reply.unwrap();
        assert_eq!(reply.as_str().unwrap().as_bytes(), call.keys[0]);
    }
}

#[tokio::test]
async fn of_a_batch_only_what_a_node_did_not_run_is_sent_again() {
    let (runner, nodes, _tasks) = two_nodes().await;
    let keys = ["a1", "b1", "a2", "b2", "b3"];
    let calls = keys.map(|key| call(&ADD, key));
    let ran = || {
        let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    // Neither knows the script: the text reaches one of them, and then the other.
    run(&runner, &calls, false).await;
    assert_eq!(nodes.lock().ran(), (ran(), 1 + 3));
    run(&runner, &calls, false).await;
    assert_eq!(nodes.lock().ran(), (ran(), 0));
    // One has forgotten it: what the other ran is not run again.
    for node in [0, 1] {
        nodes.lock().forget(node);
        run(&runner, &calls, false).await;
        assert_eq!(nodes.lock().ran(), (ran(), 1), "node {node}");
    }
    // Another script in the same batch, which is known to nobody.
    let both = keys.map(|key| call(if key.ends_with('2') { &TAKE } else { &ADD }, key));
    nodes.lock().forget(1);
    run(&runner, &both, false).await;
    assert_eq!(nodes.lock().ran(), (ran(), 2 + 1));
}

/// What only reads may be run twice, and is answered all the same.
#[tokio::test]
async fn tracked_reads_are_answered_by_nodes_that_forgot_their_script() {
    let (runner, nodes, _tasks) = two_nodes().await;
    let calls = ["a1", "b1", "a2", "b2"].map(|key| call(&ADD, key));
    run(&runner, &calls, true).await;
    for node in [0, 1] {
        nodes.lock().forget(node);
        run(&runner, &calls, true).await;
    }
}
