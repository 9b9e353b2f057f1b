//! The program, as the README says.

use crate::support::{Instance, Person, chat};

#[tokio::test]
async fn browser_two_instances_of_one_process_are_one_chat() {
    let mut command = chat(&["--listen", "127.0.0.1:0", "--instances", "2"]);
    let both = Instance::of(&mut command, 2).await;
    let (ada, bob) = tokio::join!(
        Person::join(both.addresses[0], "Ada"),
        Person::join(both.addresses[1], "Bob")
    );
    ada.says("Hello there").await;
    bob.until_messages(1).await;
    assert_eq!(bob.messages().await, ["Hello there"]);
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_the_reason() {
    for (arguments, says) in [
        (&["--listen", "here"][..], "--listen"),
        (&["--instances", "0"], "--instances"),
        (
            &["--listen", "127.0.0.1:65535", "--instances", "2"],
            "--instances",
        ),
        (&["--secret", "too short"], "at least 32 bytes"),
        (&["--url", "carrier-pigeon://loft"], "url must begin"),
    ] {
        let refused = chat(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
