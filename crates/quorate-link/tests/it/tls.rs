//! Encrypted.

use quorate_link::{LinkConfig, LinkErrorKind, LinkState, Outcome, TlsConfig};
use quorate_testing::servers::{Server, ServerKind, TlsFiles};

use crate::support::{ask, config, connected, millis, open, patiently, wait_status, within};

fn read(path: impl AsRef<std::path::Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn trusting(server: &Server, files: &TlsFiles) -> LinkConfig {
    let mut tls = TlsConfig::new();
    tls.system_roots = false;
    tls.ca_pem = Some(read(files.authority()));
    let mut config = config(server.port());
    config.tls = Some(tls);
    config
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let files = TlsFiles::generate().unwrap();
    let server = Server::builder(ServerKind::Redis)
        .tls(files.clone())
        .start()
        .await
        .unwrap();
    let link = connected(trusting(&server, &files)).await;
    let value = vec![b'x'; 3 << 20];
    link.call(&[b"SET", b"k", &value], &patiently())
        .await
        .unwrap();
    let back = link.call(&[b"GET", b"k"], &patiently()).await.unwrap();
    assert!(back.as_bytes() == Some(&value));
    server.restart().await.unwrap();
    crate::support::persist(&link, &["PING"]).await;

    let mut named = trusting(&server, &files);
    named.tls.as_mut().unwrap().server_name = Some("localhost".to_owned());
    ask(&connected(named).await, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let files = TlsFiles::generate().unwrap().require_client_certificate();
    let server = Server::builder(ServerKind::Redis)
        .tls(files.clone())
        .start()
        .await
        .unwrap();
    let mut config = trusting(&server, &files);
    // Without one, the server hangs up.
    let link = open(config.clone());
    let error = link
        .call(&[b"PING"], &within(millis(300)))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_ne!(link.status().borrow().state, LinkState::Ready);

    let tls = config.tls.as_mut().unwrap();
    tls.client_cert_pem = Some(read(files.client_certificate()));
    let key = read(files.client_key());
    tls.client_key_pem = Some(key.clone().into());
    assert!(!format!("{config:?}").contains(key.lines().nth(1).unwrap()));
    ask(&connected(config).await, &["PING"]).await.unwrap();
}

#[tokio::test]
async fn tls_refuses_whom_it_does_not_trust() {
    let files = TlsFiles::generate().unwrap();
    let server = Server::builder(ServerKind::Redis)
        .tls(files.clone())
        .start()
        .await
        .unwrap();
    let others = TlsFiles::generate().unwrap();
    let mut wrong_name = trusting(&server, &files);
    wrong_name.tls.as_mut().unwrap().server_name = Some("elsewhere.example".to_owned());
    for config in [trusting(&server, &others), wrong_name] {
        let link = open(config);
        wait_status(&link, |s| s.reason.contains("TLS handshake failed")).await;
        let error = link
            .call(&[b"PING"], &within(millis(100)))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (LinkErrorKind::Tls, Outcome::NotApplied)
        );
    }
}

#[tokio::test]
async fn tls_configuration_is_checked_when_the_link_is_opened() {
    type Breakage = fn(&mut TlsConfig);
    let broken: [(&str, Breakage); 4] = [
        ("tls.ca_pem", |tls| {
            tls.ca_pem = Some("not a certificate".to_owned())
        }),
        ("tls.client_cert_pem", |tls| {
            tls.client_key_pem = Some("key".into())
        }),
        ("tls.client_cert_pem", |tls| {
            tls.client_cert_pem = Some("nonsense".to_owned());
            tls.client_key_pem = Some("nonsense".into());
        }),
        ("tls.server_name", |tls| {
            tls.server_name = Some("not a name".to_owned())
        }),
    ];
    for (field, breakage) in broken {
        let files = TlsFiles::generate().unwrap();
        let mut tls = TlsConfig::new();
        tls.system_roots = false;
        tls.ca_pem = Some(read(files.authority()));
        breakage(&mut tls);
        let mut config = config(1);
        config.tls = Some(tls);
        let error = quorate_link::Link::open(config, None).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Config);
        assert!(error.to_string().contains(field), "{error}");
    }
}
